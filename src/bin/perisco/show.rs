//! `perisco show`: one transaction whole. Finds it in one pass over the files,
//! and keeps its bodies in a second one.

mod find;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use clap::{Args as ClapArgs, ValueEnum};
use perisco::analyze::body::{Context, Schemas, Sources};
use perisco::analyze::kept::Keeping;
use perisco::analyze::limits::Limits;
use perisco::analyze::options::Options;
use perisco::analyze::report::show::{STALL_NANOS, Shown, json, render};
use perisco::analyze::report::{Report, Style};
use perisco::pcap::{Capture, Input, OpenOptions};

use crate::stop;
use crate::values;
use find::Wanted;

/// Bytes of a body that are shown unless somebody asks for others: what a person
/// looks through.
const BODY_BYTES: usize = 256 << 10;

/// Show one transaction whole: who, how it ended, when, all headers, bodies.
///
/// ID is what `jsonl`, `csv`, `har`, `html` and the summary call `id`, such as 12.3:
/// connection 12, HTTP/2 stream 3 or, of HTTP/1, the third transaction. A plain
/// number K is the K-th line of `perisco analyze --format jsonl` without a filter.
/// The files are read twice, so they cannot be pipes. docs/show.md says the rest.
///
/// Exit code 0: it was found and all was read. 1: it was found, and an input was
/// damaged. 2: no such transaction, not a capture or wrong use.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    perisco show cap.pcapng 12.3\n  \
    perisco show cap.pcapng 12.3 --format json | jq .transactions[0].stalls\n  \
    perisco show cap.pcapng 12.3 --proto shop.proto\n  \
    perisco show a.pcap b.pcap 1")]
pub struct Args {
    /// Capture files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The transaction: CONNECTION.N or the number of a line of jsonl
    #[arg(required = true)]
    id: Wanted,

    /// Format of what is written
    #[arg(short, long, value_enum, default_value_t = FormatArg::Text)]
    format: FormatArg,

    /// Show the first LIMIT bytes of each body [default: 256KiB]
    #[arg(long, value_name = "LIMIT", value_parser = values::bytes)]
    bodies: Option<usize>,

    /// Show no bodies
    #[arg(long, conflicts_with = "bodies")]
    no_bodies: bool,

    /// Show protobuf with the names of this .proto file; may be repeated
    #[arg(long, value_name = "FILE")]
    proto: Vec<PathBuf>,

    /// Look for the imports of .proto files here [default: the working directory]
    #[arg(long, value_name = "DIR", requires = "proto")]
    proto_path: Vec<PathBuf>,

    /// The same with what `protoc --include_imports --descriptor_set_out` wrote
    #[arg(long, value_name = "FILE")]
    descriptor_set: Vec<PathBuf>,

    /// Tell pauses within a message from this long on
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration,
        default_value = "10ms")]
    stall: Duration,

    /// Threads [default: one per core]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Colours: on a terminal, always, or never (NO_COLOR is respected)
    #[arg(long, value_enum, default_value_t = values::ColorArg::Auto, value_name = "WHEN")]
    color: values::ColorArg,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Text,
    Json,
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    if args.files.iter().any(|path| path == Path::new("-")) {
        bail!("show reads a capture twice, which a pipe does not allow: write it to a file first");
    }
    let schemas = args.schemas()?;
    let context = Context { schemas: Some(&schemas), ..Context::default() };
    let stop = stop::flag()?;
    let passes = Passes { args: &args, stop: &stop };
    let (found, report) = find::find(&passes, args.id)?;
    let stalls = i64::try_from(args.stall.as_nanos()).unwrap_or(STALL_NANOS);
    let shown: Vec<_> = found
        .iter()
        .map(|watched| Shown {
            watched,
            capture_start: report.capture.first.map(|time| time.0),
            stall_nanos: stalls,
            context: &context,
            bodies: !args.no_bodies,
        })
        .collect();
    let mut out = io::stdout().lock();
    match args.format {
        FormatArg::Text => write_text(&args, &shown, &mut out)?,
        FormatArg::Json => json::write(&shown, &mut out)?,
    }
    out.flush()?;
    Ok(verdict(&report, stop.load(Ordering::Relaxed)))
}

fn write_text(args: &Args, shown: &[Shown<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut style = Style::for_stdout();
    style.color = args.color.decide(true);
    for (index, shown) in shown.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        out.write_all(render(shown, style).as_bytes())?;
    }
    Ok(())
}

/// Says on standard error what is wrong with the input, and picks the exit code.
fn verdict(report: &Report, stopped: bool) -> ExitCode {
    for damage in &report.loss.damage {
        eprintln!("perisco: {}: at byte {}: {}", damage.file, damage.offset, damage.what);
    }
    if stopped {
        eprintln!("perisco: interrupted: only what was read until then was looked at");
    }
    match stopped || !report.loss.damage.is_empty() {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    }
}

impl Args {
    /// The message definitions that were named, and those that are built in.
    fn schemas(&self) -> anyhow::Result<Schemas> {
        let sources = Sources {
            protos: self.proto.clone(),
            proto_paths: self.proto_path.clone(),
            descriptor_sets: self.descriptor_set.clone(),
        };
        Ok(match sources.is_empty() {
            true => Schemas::built_in(),
            false => Schemas::load(&sources)?,
        })
    }
}

/// Passes over the files.
struct Passes<'a> {
    args: &'a Args,
    stop: &'a Arc<AtomicBool>,
}

impl Passes<'_> {
    /// Opens the files once more.
    fn open(&self) -> anyhow::Result<Capture> {
        let files = &self.args.files;
        let inputs = files.iter().map(|path| Input::from_arg(path.as_os_str())).collect();
        let open = OpenOptions {
            stop: Some(Arc::clone(self.stop)),
            threads: Some(self.options(None).threads),
            ..OpenOptions::default()
        };
        let capture = Capture::open(inputs, open)?;
        if capture.is_live() {
            bail!(
                "show reads a capture twice, which a pipe does not allow: write it to a file first"
            );
        }
        Ok(capture)
    }

    /// Settings of a pass; one that keeps bodies, of messages that begin in these
    /// packets.
    fn options(&self, bodies: Option<Arc<[u64]>>) -> Options {
        let default = Options::default();
        let limit = match (self.args.no_bodies, self.args.bodies) {
            (true, _) => 0,
            (false, limit) => limit.unwrap_or(BODY_BYTES),
        };
        let total = Limits::default().bodies.total.max(limit.saturating_mul(4 * find::SHOWN));
        Options {
            threads: self.args.threads.map_or(default.threads, usize::from),
            bodies: bodies.is_some(),
            headers: bodies.is_some(),
            limits: Limits { bodies: Keeping { limit, total, only: bodies }, ..Limits::default() },
            ..default
        }
    }
}
