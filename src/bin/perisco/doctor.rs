//! `perisco doctor`: what this machine grants the recorder, and what to do
//! where it refuses.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args as ClapArgs;
use perisco::record::backend::{self, ProbeReport, ProgramReport};
use perisco::record::confine::{Confine, check};
use perisco::record::doctor;

/// Say what this kernel grants: which back end will record, and why not the others.
///
/// Loads and attaches each program for real and takes it down again; records
/// nothing. Exit code 0: `perisco record` works here. 1: it does not.
#[derive(ClapArgs)]
pub struct Args {
    /// Also list each program, and what libbpf and the verifier said of it
    #[arg(short, long)]
    verbose: bool,

    /// Shut this process in as a running recorder is, and try to get out
    #[arg(long, conflicts_with = "verbose")]
    confine: bool,

    /// The same, with this folder for the output: the process that is shut in.
    #[arg(long, hide = true)]
    confine_in: Option<PathBuf>,

    /// And that may run this binary again.
    #[arg(long, hide = true)]
    spawn: bool,
}

/// Runs the check in a process of its own: who has shut itself in can clean up nothing.
fn confine(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["doctor", "--confine-in"]).arg(folder.path());
    if args.spawn {
        command.arg("--spawn");
    }
    let status = command.status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Shuts in, tries, tells. Exit code 0: it holds. 1: something went otherwise than it should.
fn confine_in(folder: &Path, spawn: bool) -> anyhow::Result<ExitCode> {
    let mut plan = Confine::default();
    plan.rules.write.push(folder.to_owned());
    plan.rules.read.push("/proc".into());
    if spawn {
        plan.allow_own_binary();
    }
    let confined = plan.apply(&|| Ok(()))?;
    println!("confined: {confined}");
    let attempts = check::check(folder, spawn);
    for attempt in &attempts {
        let how = match &attempt.result {
            Ok(()) => "works".to_owned(),
            Err(error) => error.to_string(),
        };
        println!("  {} {:<40} {how}", mark(attempt.good()), attempt.what);
    }
    let holds = attempts.iter().all(check::Attempt::good);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Runs it.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.confine_in {
        return confine_in(folder, args.spawn);
    }
    if args.confine {
        return confine(args);
    }
    println!("System");
    for fact in doctor::facts() {
        println!("  {} {:<18}{}", mark(fact.good), fact.name, fact.found);
    }
    let reports = backend::probe();
    for report in &reports {
        println!();
        back_end(report, args.verbose);
    }
    let chosen = reports.iter().find(|report| report.works() && report.back_end.is_some());
    println!();
    match chosen.and_then(|report| report.back_end) {
        Some(back_end) => {
            println!("`perisco record` will use the {back_end} back end.");
            Ok(ExitCode::SUCCESS)
        }
        None => {
            println!("`perisco record` cannot work here: see above what is missing.");
            Ok(ExitCode::from(1))
        }
    }
}

fn mark(good: bool) -> &'static str {
    if good { "yes" } else { "NO " }
}

fn back_end(report: &ProbeReport, verbose: bool) {
    let name = match report.back_end {
        Some(back_end) => format!("Back end {back_end}"),
        None => "Owners (which process uses a socket; serves both back ends)".to_owned(),
    };
    println!("{name}: {}", if report.works() { "works" } else { "does not work here" });
    let mut told = Vec::new();
    for program in &report.programs {
        if verbose {
            one(program);
        }
        let Some(refusal) = &program.refusal else { continue };
        // Programs of a kind are refused for the same reason: once is enough.
        let line = format!("{}; {}", refusal.why, refusal.remedy);
        if !told.contains(&line) {
            println!("  NO  {}: {line}", hook(program));
            told.push(line);
        }
        if verbose && !refusal.log.is_empty() {
            println!("{}", refusal.log.trim_end());
        }
    }
}

/// What the program hooks on to; its own name where that has none.
fn hook(program: &ProgramReport) -> &str {
    if program.target.is_empty() { &program.name } else { &program.target }
}

fn one(program: &ProgramReport) {
    let ProgramReport { name, verified, .. } = program;
    let target = hook(program);
    let cost = verified.map_or(String::new(), |n| format!(", {n} instructions verified"));
    println!("  {} {name} ({target}){cost}", mark(program.refusal.is_none()));
}
