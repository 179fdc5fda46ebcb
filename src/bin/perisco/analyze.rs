//! `perisco analyze`: its flags, and nothing but their way to the library.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use perisco::analyze::limits::Limits;
use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Analysis, AnalyzeError, Control};
use perisco::analyze::report::{Format, Style, json, text};
use perisco::pcap::{Capture, Input, OpenOptions};

use crate::progress::Progress;
use crate::stop;
use crate::values;

/// Buffer of the output: lines are small, writes should not be.
const OUTPUT_BUFFER: usize = 256 << 10;

/// Report every HTTP/1.1, HTTP/2 and gRPC transaction of a capture.
///
/// Reads pcap and pcapng, plain or compressed with zstd, gzip or lz4,
/// recognised by content. Several files are merged by time; `-` is standard
/// input, which may be a live stream: `tcpdump -i lo -U -w - | perisco analyze -`.
///
/// Exit code 0: all was read. 1: an input was damaged or the analysis was
/// cut short; what could be read is reported. 2: not a capture, or wrong use.
#[derive(ClapArgs)]
pub struct Args {
    /// Capture files, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = FormatArg::Text)]
    format: FormatArg,

    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Leave header and trailer lists out of jsonl
    #[arg(short = 'q', long)]
    no_headers: bool,

    /// Threads, of which one decompresses where the capture is compressed [default: one per core]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Rows in "slowest" and similar tables
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    /// Feed intact HTTP/2 connections to a real endpoint's state machine and
    /// report what it would have refused
    #[arg(long)]
    conformance: bool,

    /// Colours: on a terminal, always, or never (NO_COLOR is respected)
    #[arg(long, value_enum, default_value_t = ColorArg::Auto, value_name = "WHEN")]
    color: ColorArg,

    /// No progress bar
    #[arg(long)]
    no_progress: bool,

    #[command(flatten, next_help_heading = "Limits (what they cost is counted and reported)")]
    limits: LimitArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    /// Summary for people
    Text,
    /// The same report as one JSON document
    Json,
    /// One JSON object per transaction, by start time
    Jsonl,
    /// One row per transaction, by start time
    Csv,
    /// One line per event, as it happened
    Log,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorArg {
    Auto,
    Always,
    Never,
}

#[derive(ClapArgs)]
struct LimitArgs {
    /// Connections tracked at once
    #[arg(long, value_name = "N")]
    max_flows: Option<usize>,

    /// Time without a packet after which a connection is given up, e.g. 10m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    idle_timeout: Option<Duration>,

    /// Capture time that an acknowledged hole may stay open, e.g. 500ms
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    hole_timeout: Option<Duration>,

    /// Bytes held for reordering per direction, e.g. 4MiB
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    reorder_bytes: Option<usize>,

    /// Bytes held for reordering over all connections
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    reorder_bytes_total: Option<usize>,

    /// Bytes of one head or header block
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    head_bytes: Option<usize>,

    /// Requests of one connection that may wait for their response
    #[arg(long, value_name = "N")]
    max_pending: Option<usize>,

    /// Bytes of decoder state per connection
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    state_bytes: Option<usize>,

    /// Bytes of decoder state over all connections
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    state_bytes_total: Option<usize>,
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let default = Limits::default();
        Limits {
            flows: self.max_flows.unwrap_or(default.flows).max(1),
            idle_nanos: self.idle_timeout.map_or(default.idle_nanos, nanos),
            hole_nanos: self.hole_timeout.map_or(default.hole_nanos, nanos),
            reorder_bytes_per_flow: self.reorder_bytes.unwrap_or(default.reorder_bytes_per_flow),
            reorder_bytes_total: self.reorder_bytes_total.unwrap_or(default.reorder_bytes_total),
            head_bytes: self.head_bytes.unwrap_or(default.head_bytes),
            pending_per_flow: self.max_pending.unwrap_or(default.pending_per_flow).max(1),
            state_bytes_per_flow: self.state_bytes.unwrap_or(default.state_bytes_per_flow),
            state_bytes_total: self.state_bytes_total.unwrap_or(default.state_bytes_total),
        }
    }
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let options = options(&args);
    let stop = stop::flag()?;
    let inputs: Vec<Input> =
        args.files.iter().map(|path| Input::from_arg(path.as_os_str())).collect();
    let open = OpenOptions {
        stop: Some(Arc::clone(&stop)),
        threads: Some(options.threads),
        ..OpenOptions::default()
    };
    let capture = Capture::open(inputs, open)?;
    let live = capture.is_live();
    let progress = Progress::new(&capture, !args.no_progress);
    let color = use_color(args.color, args.output.as_deref());
    let mut output = open_output(args.output.as_deref())?;
    let tick = |position| progress.tick(position);
    let control = Control { stop: &stop, progress: &tick, color };
    let analysis = pipeline::run(capture, &options, &control, &mut output);
    progress.finish();
    let analysis = match analysis {
        Ok(analysis) => analysis,
        Err(AnalyzeError::Output(error)) => return Err(error).context("cannot write the output"),
        Err(error) => return Err(error.into()),
    };
    render(&analysis, &options, &args, color, &mut output)
        .and_then(|()| output.flush())
        .context("cannot write the output")?;
    Ok(verdict(&analysis, &options, stop.load(Ordering::Relaxed) && !live))
}

fn options(args: &Args) -> Options {
    let default = Options::default();
    Options {
        limits: args.limits.limits(),
        threads: args.threads.map_or(default.threads, usize::from),
        format: match args.format {
            FormatArg::Text => Format::Text,
            FormatArg::Json => Format::Json,
            FormatArg::Jsonl => Format::Jsonl,
            FormatArg::Csv => Format::Csv,
            FormatArg::Log => Format::Log,
        },
        headers: !args.no_headers,
        conformance: args.conformance,
        top: args.top,
    }
}

fn open_output(path: Option<&Path>) -> anyhow::Result<BufWriter<Box<dyn Write>>> {
    let inner: Box<dyn Write> = match path {
        Some(path) if path != Path::new("-") => Box::new(
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
        ),
        _ => Box::new(std::io::stdout().lock()),
    };
    Ok(BufWriter::with_capacity(OUTPUT_BUFFER, inner))
}

fn use_color(when: ColorArg, output: Option<&Path>) -> bool {
    match when {
        ColorArg::Always => true,
        ColorArg::Never => false,
        ColorArg::Auto => {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            output.is_none() && std::io::stdout().is_terminal() && !no_color
        }
    }
}

fn render(
    analysis: &Analysis,
    options: &Options,
    args: &Args,
    color: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    match options.format {
        Format::Text => {
            let mut style =
                if args.output.is_none() { Style::for_stdout() } else { Style::default() };
            style.color = color;
            text::write(&analysis.report, style, out)?;
            if options.conformance && analysis.report.findings.count == 0 {
                writeln!(
                    out,
                    "\nConformance\n  nothing that a real HTTP/2 endpoint would have refused"
                )?;
            }
            Ok(())
        }
        Format::Json => json::write(&analysis.report, out),
        Format::Jsonl | Format::Csv | Format::Log => Ok(()),
    }
}

/// Says on standard error what a line format has no place for, and picks the
/// exit code.
fn verdict(analysis: &Analysis, options: &Options, cut_short: bool) -> ExitCode {
    let report = &analysis.report;
    let lines = matches!(options.format, Format::Jsonl | Format::Csv | Format::Log);
    if cut_short {
        eprintln!("perisco: interrupted: the report covers only what was read until then");
    }
    // The report says it too, but may have gone to a file; one line each, for scripts.
    for damage in &report.loss.damage {
        eprintln!("perisco: {}: at byte {}: {}", damage.file, damage.offset, damage.what);
    }
    if lines {
        eprint!("{}", text::missing(report));
        if analysis.late_lines > 0 {
            eprintln!(
                "perisco: {} transactions came out after later ones (long-running on a live stream)",
                analysis.late_lines
            );
        }
    }
    if cut_short || !report.loss.damage.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}
