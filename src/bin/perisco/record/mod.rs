//! `perisco record`: runs the library's recorder, tells the user how it goes,
//! and picks the exit code.

mod args;
pub mod config;
mod confine;
mod kube;
mod reload;
mod summary;
mod values;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use perisco::record::command;
use perisco::record::confine::{Lookup, User, answer};
use perisco::record::metrics::Board;
use perisco::record::metrics::serve::Listening;
use perisco::record::run::{Control, Note, Options, Reload};

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

/// The hidden subcommand that says which file a process runs.
#[derive(clap::Args)]
pub struct LookUpArgs {
    #[arg(long, value_parser = values::account)]
    user: Option<User>,
    #[arg(long)]
    config: Option<std::path::PathBuf>,
}

/// Runs it.
pub fn look_up(args: LookUpArgs) -> anyhow::Result<ExitCode> {
    answer(args.user.as_ref(), args.config)?;
    Ok(ExitCode::SUCCESS)
}

/// Counts and health, listened for from now on and served when the recording
/// begins, if that is asked for.
fn board(args: &Args, options: &mut Options) -> anyhow::Result<()> {
    let Some(address) = args.agent.metrics else { return Ok(()) };
    let board = Arc::new(Board::default());
    let listening =
        Listening::at(address).with_context(|| format!("--metrics: cannot listen on {address}"))?;
    if !args.quiet {
        eprintln!("perisco: metrics are at http://{}/metrics", listening.address()?);
    }
    options.board = Some(Arc::clone(&board));
    options.threads.push(Box::new(move || listening.answer(board)));
    Ok(())
}

/// Starts what knows the processes of others, where the recorder will not.
fn lookup(args: &Args, options: &mut Options) -> anyhow::Result<Option<Arc<Lookup>>> {
    let Some(confine) = &options.confine else { return Ok(None) };
    let config = args.settled.file.as_deref();
    let lookup = Lookup::start(confine.user.as_ref(), config);
    let lookup = Arc::new(lookup.context("cannot start the process that looks up processes")?);
    options.write.lookup = Some(Arc::clone(&lookup));
    Ok(Some(lookup))
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    if args.output == Path::new("-") && std::io::stdout().is_terminal() {
        bail!(
            "a capture is not for a terminal: pipe it into a tool \
             (perisco record -o - | perisco analyze -) or write it to a file"
        );
    }
    let mut options = args.options()?;
    args.confine(&mut options)?;
    board(&args, &mut options)?;
    let lookup = lookup(&args, &mut options)?;
    let stop = stop::flag()?;
    // Without a file there is nothing to read again: a terminal that goes away ends it.
    let again = Arc::new(AtomicBool::new(false));
    let hang_up = if args.settled.file.is_some() { &again } else { &stop };
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(hang_up))
        .context("cannot handle signals")?;
    let status = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&status))
        .context("cannot handle signals")?;
    let name = args.output.display().to_string();
    let mut say = |note: Note<'_>| match note {
        Note::Begun { recorder, confined } => {
            summary::confined(confined, args.quiet);
            if !args.quiet {
                summary::begun(recorder, &name, args.verbose);
            }
        }
        Note::Status { counters, summary } => summary::status(&counters, summary),
        Note::Names(news) => summary::names(&news),
        Note::NotChanged { error } => eprintln!("perisco: not all could be changed: {error}"),
    };
    let mut settings = reload::Settings::new(&args, lookup);
    let mut read = || settings.again();
    let reload = Some(Reload { asked: &again, read: &mut read });
    let control = Control { stop: &stop, status: &status, say: &mut say, reload };
    let outcome = perisco::record::run(options, control)?;
    Ok(summary::ended(&outcome, &name, settings.quiet))
}
