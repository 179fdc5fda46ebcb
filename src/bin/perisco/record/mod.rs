//! `perisco record`: runs the library's recorder, tells the user how it goes,
//! and picks the exit code.

mod args;
pub mod config;
mod judge;
mod kube;
mod reload;
mod ring;
mod summary;
mod values;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use perisco::record::command;
use perisco::record::flight::child;
use perisco::record::metrics::{Board, serve};
use perisco::record::run::{Control, Note, Reload};
use signal_hook::consts::{SIGUSR1, SIGUSR2};

pub use args::Args;
#[cfg(feature = "top")]
pub use args::LiveArgs;
#[cfg(feature = "top")]
pub use summary::lost_lines;

use crate::stop;

/// The hidden subcommand behind `perisco record -- COMMAND`: waits until it is
/// watched, then becomes the command.
#[derive(clap::Args)]
pub struct HoldArgs {
    #[arg(last = true, required = true)]
    words: Vec<std::ffi::OsString>,
}

/// Runs the hidden subcommand.
pub fn hold(args: &HoldArgs) -> ExitCode {
    ExitCode::from(u8::try_from(command::hold(&args.words)).unwrap_or(1))
}

/// Runs the hidden process that starts those that triggers look with.
pub fn flight_host(args: &HoldArgs) -> ExitCode {
    ExitCode::from(child::host(&args.words))
}

/// Runs the hidden process that triggers look with.
pub fn flight_judge(args: &HoldArgs) -> ExitCode {
    judge::main(&args.words)
}

/// Counts and health, served from now on if that is asked for.
fn board(args: &Args) -> anyhow::Result<Option<Arc<Board>>> {
    let Some(address) = args.agent.metrics else { return Ok(None) };
    let board = Arc::new(Board::default());
    let place = serve::serve(address, Arc::clone(&board))
        .with_context(|| format!("--metrics: cannot listen on {address}"))?;
    if !args.quiet {
        eprintln!("perisco: metrics are at http://{place}/metrics");
    }
    Ok(Some(board))
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    if args.to_stdout() && std::io::stdout().is_terminal() {
        bail!(
            "a capture is not for a terminal: pipe it into a tool \
             (perisco record -o - | perisco analyze -) or write it to a file"
        );
    }
    let mut options = args.options()?;
    options.board = board(&args)?;
    let stop = stop::flag()?;
    // Without a file there is nothing to read again: a terminal that goes away ends it.
    let again = Arc::new(AtomicBool::new(false));
    let hang_up = if args.settled.file.is_some() { &again } else { &stop };
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(hang_up))
        .context("cannot handle signals")?;
    let status = Arc::new(AtomicBool::new(false));
    let trigger = Arc::new(AtomicBool::new(false));
    // Both tell the counts; SIGUSR1 has a ring keep what just happened, too.
    for (signal, asked) in [(SIGUSR1, &status), (SIGUSR2, &status), (SIGUSR1, &trigger)] {
        signal_hook::flag::register(signal, Arc::clone(asked)).context("cannot handle signals")?;
    }
    let name = args.place().display().to_string();
    let mut say = |note: Note<'_>| match note {
        Note::Begun { recorder } if !args.quiet => summary::begun(recorder, &name, args.verbose),
        Note::Begun { .. } => {}
        Note::Status { counters, summary } => summary::status(&counters, summary),
        // Losses and failures are said even so.
        Note::Flight { said } if args.quiet && !said.is_trouble() => {}
        Note::Flight { said } => eprintln!("perisco: {said}"),
        Note::Names(news) => summary::names(&news),
        Note::NotChanged { error } => eprintln!("perisco: not all could be changed: {error}"),
    };
    let mut settings = reload::Settings::new(&args);
    let mut read = || settings.again();
    let reload = Some(Reload { asked: &again, read: &mut read });
    let trigger = args.is_ring().then_some(&*trigger);
    let control = Control { stop: &stop, status: &status, trigger, say: &mut say, reload };
    let outcome = perisco::record::run(options, control)?;
    Ok(summary::ended(&outcome, &name, settings.quiet))
}
