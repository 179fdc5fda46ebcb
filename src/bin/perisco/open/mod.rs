//! `perisco open`: a capture in Wireshark, told which port speaks what.

mod survey;
mod wireshark;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use perisco::pcap::plain::Plain;
use perisco::pcap::{Input, OpenOptions};
use tempfile::TempPath;

use crate::stop;
use survey::{Spoken, Survey, survey};
use wireshark::Program;

/// Open a capture in Wireshark, with HTTP/2 and gRPC dissected on any port.
///
/// Wireshark takes few ports for HTTP/2 by itself. Which ones speak it here is
/// found by analysing the capture first, and said to Wireshark as "decode as"
/// (-d). TLS is left alone. What this Wireshark cannot read compressed is
/// decompressed to a temporary file, which is removed when it ends.
///
/// Exit code: that of Wireshark; 2 where it could not be started.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    perisco open cap.pcapng\n  \
    perisco open --tshark cap.pcapng -- -Y grpc\n  \
    perisco open --print cap.pcapng")]
pub struct Args {
    /// Capture file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Use tshark, in the terminal
    #[arg(long)]
    tshark: bool,

    /// Print the command instead of running it
    #[arg(long)]
    print: bool,

    /// More arguments for Wireshark
    #[arg(last = true, value_name = "ARGUMENT")]
    more: Vec<OsString>,
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let path = args.file.as_path();
    if path == Path::new("-") {
        bail!("Wireshark needs a file to go back and forth in: write one (perisco cat -o FILE)");
    }
    let program = if args.tshark { Program::Tshark } else { Program::Wireshark };
    let survey = survey(path)?;
    let ports = wireshark::ports(&survey);
    tell(&survey, &ports);
    let command = |program, path: &Path| wireshark::command(program, &ports, path, &args.more);
    let version = program.version();
    let refuses = version.as_ref().and_then(|version| version.refuses(&survey.format, path));
    if args.print {
        return print(&command, program, path, refuses);
    }
    if version.is_none() {
        bail!(missing(program, &wireshark::command(Program::Tshark, &ports, path, &args.more)));
    }
    // Ctrl-C is for the child as well; the temporary file is removed after it.
    let _stop = stop::flag()?;
    let plain = refuses.map(|why| decompressed(path, program, why)).transpose()?;
    let words = command(program, plain.as_deref().unwrap_or(path));
    run(&words)
}

/// Says what was found, and what was not looked at.
fn tell(survey: &Survey, ports: &[(u16, Spoken)]) {
    for damage in &survey.damage {
        eprintln!("perisco: {damage}");
    }
    if let Some((read, all)) = survey.part {
        eprintln!(
            "perisco: ports were looked for in the first {} MB of {}: others may speak HTTP/2 later",
            read / 1_000_000,
            all / 1_000_000
        );
    }
    for (name, pick) in [
        ("HTTP/1", (|s| s.http1) as fn(&Spoken) -> bool),
        ("HTTP/2", |s| s.http2),
        ("gRPC", |s| s.grpc),
    ] {
        let spoken = ports.iter().filter(|(_, spoken)| pick(spoken));
        let list: Vec<_> = spoken.map(|(port, _)| port.to_string()).collect();
        if !list.is_empty() {
            eprintln!("perisco: {name} on port {}", list.join(", "));
        }
    }
    let left: Vec<_> = survey.ports.iter().filter(|(_, spoken)| spoken.tls).collect();
    let hidden = |spoken: &Spoken| spoken.http1 || spoken.http2;
    if !left.is_empty() {
        let list: Vec<_> = left.iter().map(|(port, _)| port.to_string()).collect();
        let also = left.iter().any(|(_, spoken)| hidden(spoken));
        let also = if also { ", although HTTP without TLS was seen there too" } else { "" };
        eprintln!("perisco: TLS on port {} is left to Wireshark{also}", list.join(", "));
    }
    let all = survey.ports.values().filter(|spoken| wireshark::dissector(spoken).is_some()).count();
    if all > ports.len() {
        eprintln!("perisco: {} more ports speak HTTP and are not named", all - ports.len());
    }
    if all == 0 {
        eprintln!("perisco: no HTTP without TLS was found");
    }
}

/// Prints the command, and the one before it where the file has to be
/// decompressed.
fn print(
    command: &dyn Fn(Program, &Path) -> Vec<OsString>,
    program: Program,
    path: &Path,
    refuses: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let mut line = |words: &[OsString]| {
        out.write_all(wireshark::shell(words).as_bytes()).and_then(|()| out.write_all(b"\n"))
    };
    let Some(why) = refuses else {
        line(&command(program, path))?;
        return Ok(ExitCode::SUCCESS);
    };
    eprintln!("perisco: {} has to be decompressed: {why}", path.display());
    let named = path.extension().is_some_and(|end| end == "zst" || end == "lz4");
    let name = if named { path.file_stem() } else { path.file_name() };
    let mut plain = OsString::from("plain-");
    plain.push(name.unwrap_or_default());
    let cat = ["perisco".into(), "cat".into(), "-o".into(), plain.clone(), path.into()];
    line(&cat)?;
    line(&command(program, Path::new(&plain)))?;
    Ok(ExitCode::SUCCESS)
}

/// What to do where the program is not installed.
fn missing(program: Program, tshark: &[OsString]) -> String {
    let name = program.name();
    let mut text = format!(
        "{name} is not installed: `apt install {name}`, `dnf install wireshark{}`, or \
         https://www.wireshark.org/download.html",
        if program == Program::Tshark { "-cli" } else { "" }
    );
    if program == Program::Wireshark {
        let line = wireshark::shell(tshark);
        text += &format!("\nor in the terminal: {}", line.to_string_lossy());
    }
    text
}

/// The capture without compression, in a temporary file.
fn decompressed(path: &Path, program: Program, why: &str) -> anyhow::Result<TempPath> {
    let mut file = tempfile::Builder::new()
        .prefix("perisco-")
        .suffix(".pcapng")
        .tempfile()
        .context("cannot create a temporary file")?;
    eprintln!("perisco: decompressing to {} for {}: {why}", file.path().display(), program.name());
    let plain = Plain::open(vec![Input::Path(path.to_owned())], OpenOptions::default())?;
    let passed = plain.write(&mut file);
    let passed = passed.with_context(|| format!("cannot write {}", file.path().display()))?;
    for damage in &passed.cut {
        eprintln!("perisco: {}: at byte {}: {}", damage.file, damage.offset, damage.what);
    }
    Ok(file.into_temp_path())
}

/// Runs the command to its end.
fn run(words: &[OsString]) -> anyhow::Result<ExitCode> {
    let Some((program, arguments)) = words.split_first() else { bail!("no command") };
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(code(status))
}

/// As a shell tells it: 128 and the signal where one ended it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
