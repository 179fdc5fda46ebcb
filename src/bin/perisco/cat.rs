//! `perisco cat`: its flags, and nothing but their way to the library.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use perisco::pcap::plain::{Passed, Plain};
use perisco::pcap::{Input, OpenOptions};

use crate::stop;

/// Permissions of a new file: what was said on the network is its owner's business.
const MODE: u32 = 0o600;

/// Write captures uncompressed, for tools that do not read zstd.
///
/// Reads all that `perisco analyze` reads and writes its packets and blocks
/// unchanged: `perisco cat cap.pcapng | tcpdump -nr -`. Several pcapng files
/// become one capture, in the order given. A live stream is passed on at once.
///
/// Exit code 0: all was written. 1: an input was damaged; what comes before
/// the damage was written. 2: not a capture, or wrong use.
#[derive(ClapArgs)]
pub struct Args {
    /// Capture files, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Write to FILE, which must not exist, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let output = args.output.as_deref().filter(|path| *path != Path::new("-"));
    if output.is_none() && std::io::stdout().is_terminal() {
        bail!(
            "a capture is not for a terminal: pipe it into a tool \
             (perisco cat FILE | tcpdump -nr -) or write it to a file (-o)"
        );
    }
    let stop = stop::flag()?;
    let inputs = args.files.iter().map(|path| Input::from_arg(path.as_os_str())).collect();
    let options = OpenOptions { stop: Some(Arc::clone(&stop)), ..OpenOptions::default() };
    let plain = Plain::open(inputs, options)?;
    let live = plain.is_live();
    // After the inputs: what cannot be read leaves no empty file behind.
    let mut out = open_output(output)?;
    let passed = plain.write(&mut out).context("cannot write the output")?;
    Ok(verdict(&passed, passed.stopped && !live))
}

/// Not the buffered standard output: blocks go out as they are at hand.
fn open_output(path: Option<&Path>) -> anyhow::Result<File> {
    match path {
        None => {
            let stdout = std::io::stdout().as_fd().try_clone_to_owned();
            Ok(File::from(stdout.context("cannot write to standard output")?))
        }
        Some(path) => File::options()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display())),
    }
}

/// Says on standard error what is wrong, and picks the exit code.
fn verdict(passed: &Passed, interrupted: bool) -> ExitCode {
    for cut in &passed.cut {
        eprintln!(
            "perisco: {}: at byte {}: {}; what comes before was written",
            cut.file, cut.offset, cut.what
        );
    }
    if let Some(first) = passed.faulty.first() {
        eprintln!(
            "perisco: {} blocks were passed on as they are although something is wrong with them, \
             the first at byte {} of {}; perisco analyze says what",
            passed.faulty.len(),
            first.offset,
            first.file
        );
    }
    if let Some(differing) = passed.differing {
        let [first, other] = [differing.first, differing.other]
            .map(|(link, snaplen)| format!("link type {}, snap length {snaplen}", link.0));
        eprintln!(
            "perisco: note: interfaces differ ({first}; {other}): tools that use libpcap, \
             such as tcpdump, stop there; Wireshark reads on"
        );
    }
    if interrupted {
        eprintln!("perisco: interrupted: the output ends after a whole packet");
    }
    match passed.cut.is_empty() && passed.faulty.is_empty() && !interrupted {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    }
}
