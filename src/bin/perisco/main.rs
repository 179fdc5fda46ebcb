//! The perisco command: arguments in, exit code out.
//!
//! Exit codes: 0 all was read and reported or passed on; 1 the input was damaged
//! or the work was cut short, and what could be read was; 2 the
//! arguments or the input cannot be used at all. Those of `diff` are in `diff.rs`.

mod analyze;
mod cat;
mod diff;
#[cfg(feature = "record")]
mod doctor;
mod filter;
mod open;
mod outputs;
mod progress;
#[cfg(feature = "record")]
mod record;
mod show;
mod stop;
#[cfg(feature = "top")]
mod top;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The flight recorder for HTTP and gRPC.
#[derive(Parser)]
#[command(name = "perisco", version, about, long_about = None, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Analyze(Box<analyze::Args>),
    Cat(cat::Args),
    Diff(Box<diff::Args>),
    Open(open::Args),
    Show(show::Args),
    #[cfg(feature = "top")]
    Top(Box<top::Args>),
    #[cfg(not(feature = "top"))]
    Top(NoTop),
    #[cfg(feature = "record")]
    Record(Box<record::Args>),
    #[cfg(feature = "record")]
    Doctor(doctor::Args),
    #[cfg(feature = "record")]
    #[command(name = perisco::record::command::HOLD, hide = true)]
    HoldExec(record::HoldArgs),
    #[cfg(feature = "record")]
    #[command(name = perisco::record::confine::LOOK_UP, hide = true)]
    LookUp(record::LookUpArgs),
}

/// Not in this build: it was made without the feature `top`.
#[cfg(not(feature = "top"))]
#[derive(clap::Args)]
struct NoTop {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _any: Vec<std::ffi::OsString>,
}

/// How to get it.
#[cfg(not(feature = "top"))]
const NO_TOP: &str = "this perisco was built without top: build it with the feature `top` \
                      (cargo install --path . --features top)";

fn main() -> ExitCode {
    let cli = match command_line() {
        Ok(cli) => cli,
        Err(error) => {
            eprintln!("perisco: {}", told(&error));
            return ExitCode::from(2);
        }
    };
    let done = match cli.command {
        Command::Analyze(args) => analyze::main(*args),
        Command::Cat(args) => cat::main(args),
        Command::Diff(args) => diff::main(*args),
        Command::Open(args) => open::main(args),
        Command::Show(args) => show::main(args),
        #[cfg(feature = "top")]
        Command::Top(args) => top::main(*args),
        #[cfg(not(feature = "top"))]
        Command::Top(_) => Err(anyhow::anyhow!(NO_TOP)),
        #[cfg(feature = "record")]
        Command::Record(args) => record::main(*args),
        #[cfg(feature = "record")]
        Command::Doctor(args) => doctor::main(&args),
        #[cfg(feature = "record")]
        Command::HoldExec(args) => Ok(record::hold(&args)),
        #[cfg(feature = "record")]
        Command::LookUp(args) => record::look_up(args),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perisco: {}", told(&error));
            ExitCode::from(2)
        }
    }
}

/// The command line; of `record` also variables and a file.
#[cfg(feature = "record")]
fn command_line() -> anyhow::Result<Cli> {
    use record::config::{self, Problem};

    match config::parse() {
        Ok(cli) => Ok(cli),
        Err(Problem::CommandLine(error)) => error.exit(),
        Err(Problem::Settings(error)) => Err(error),
    }
}

/// The command line.
#[cfg(not(feature = "record"))]
fn command_line() -> anyhow::Result<Cli> {
    Ok(Cli::parse())
}

/// The error and its causes, but those that it names itself.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A reader of our output that has seen enough is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
