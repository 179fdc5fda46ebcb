//! `perisco trigger`: has a running flight recorder keep what just happened.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use perisco::record::flight::control;

/// Have a running recorder keep what just happened.
///
/// The recorder of `perisco record --ring DIR` keeps its time --before and --after now as a
/// capture in DIR/saved. As the recorder's own user or root.
///
/// Exit code 0: it is being kept. 1: not, --trigger-limit is reached. 2: no recorder, or
/// wrong use.
#[derive(ClapArgs)]
pub struct Args {
    /// The ring's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// What the capture is called
    #[arg(long, value_name = "NAME", default_value = "call")]
    name: String,
}

/// Runs it.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = args.folder.display();
    let asked = control::ask(&args.folder, &format!("trigger {}", args.name.replace('\n', " ")))
        .with_context(|| format!("cannot ask the recorder of {folder}"))?;
    let Some(asked) = asked else {
        bail!("no recorder is running on {folder} (perisco save reads what is there)");
    };
    match asked.answer.as_str() {
        "begun" => println!("it is being kept in {folder}/saved"),
        "joined" => println!("it is in the capture that is being kept in {folder}/saved"),
        _ => {
            eprintln!("perisco: nothing is kept: --trigger-limit is reached");
            return Ok(ExitCode::from(1));
        }
    }
    Ok(ExitCode::SUCCESS)
}
