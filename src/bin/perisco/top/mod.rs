//! `perisco top`: what is going on, on the terminal, while it is recorded or
//! replayed.
//!
//! Four threads: one records (`live`), one analyses and takes what it finds into
//! the [`state::Model`] ([`watcher`]), one reads keys ([`keys`]), and this one
//! draws ([`view`]) what [`app`] says. Whichever ends first, the terminal is
//! given back.

mod app;
mod columns;
mod keys;
#[cfg(feature = "record")]
mod live;
mod pace;
mod screen;
mod session;
mod source;
mod state;
mod view;
mod watcher;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use perisco::analyze::options::Options;
use perisco::analyze::report::route::Route;

use crate::filter::FilterArgs;
#[cfg(feature = "record")]
use crate::record::LiveArgs;
use pace::Speed;
use session::Session;
use source::Source;

/// Show what is going on, live: endpoints with rate, errors and latency.
///
/// Without a FILE this host is recorded, which needs root (see `perisco doctor`).
/// A FILE is replayed at the pace of its capture; `-` is a stream on standard
/// input: `tcpdump -i lo -U -w - | perisco top -`. Keys: h says which there are.
///
/// Exit code 0: ended as asked. 1: an input was damaged, or a recording lost
/// something or ended early. 2: nothing could be shown.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    sudo perisco top                                # all that this host says\n  \
    sudo perisco top --port 8080 --where 'status >= 500'\n  \
    sudo perisco top -- ./load-test.sh              # one command and its children\n  \
    perisco top cap.pcapng --speed 10")]
pub struct Args {
    /// Capture file to replay, or - for a stream on standard input
    #[cfg_attr(feature = "record", arg(conflicts_with_all = ["recorded", "until-when"]))]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// How fast a file is replayed: capture seconds in a second, or max [default: 1]
    #[arg(long, value_name = "N", requires = "file")]
    speed: Option<Speed>,

    /// Count paths like this as one endpoint: /users/{id}, /files/{path...}; may be
    /// repeated, the first that fits is taken
    #[arg(long = "route", value_name = "PATH")]
    routes: Vec<Route>,

    /// Keep no header and trailer fields of transactions
    #[arg(short = 'q', long)]
    no_headers: bool,

    #[command(flatten, next_help_heading = "Which transactions are shown (see docs/filter.md)")]
    filter: FilterArgs,

    #[cfg(feature = "record")]
    #[command(flatten)]
    live: LiveArgs,
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    if !std::io::stdout().is_terminal() {
        bail!(
            "top draws on a terminal, and standard output is none: \
             `perisco analyze` writes reports anywhere"
        );
    }
    let terminal = keys::terminal().context("top needs a terminal that keys come from")?;
    let path = args.file.clone().unwrap_or_else(|| PathBuf::from("-"));
    let filter = args.filter.filter(&[path], false)?;
    // What is live leaves the processors to those who are watched.
    let threads = if args.speed == Some(Speed::Max) { Options::default().threads } else { 1 };
    let options = Options { filter, headers: !args.no_headers, threads, ..Options::default() };
    let stop = stop()?;
    let source = source(&args, &stop)?;
    let session = Session::start(source, options, args.routes.into_iter().collect(), stop)?;
    let ended = session.run(terminal)?;
    for line in &ended.errors {
        eprintln!("perisco: {line}");
    }
    // Where the terminal is gone nobody reads it.
    let _ = writeln!(std::io::stdout(), "{}", ended.summary);
    Ok(ended.code)
}

/// Set by the signals that end it. None of them ends the process by itself: the
/// terminal has to be given back.
fn stop() -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot handle signals")?;
    }
    Ok(stop)
}

/// Where packets come from.
fn source(args: &Args, stop: &Arc<AtomicBool>) -> anyhow::Result<Source> {
    #[cfg(feature = "record")]
    if !args.live.command().is_empty() && args.file.is_some() {
        bail!("a COMMAND is recorded, and a FILE replayed: one of them, please");
    }
    match &args.file {
        Some(file) => Source::of_file(file, args.speed),
        None => live(args, stop),
    }
}

#[cfg(feature = "record")]
fn live(args: &Args, stop: &Arc<AtomicBool>) -> anyhow::Result<Source> {
    live::start(&args.live, stop)
}

#[cfg(not(feature = "record"))]
fn live(_: &Args, _: &Arc<AtomicBool>) -> anyhow::Result<Source> {
    bail!(
        "this perisco was built without the recorder: give a file to replay \
         (perisco top cap.pcapng), a stream (tcpdump -U -w - | perisco top -), or build it \
         with the feature `record`"
    )
}
