//! `perisco analyze`: its flags, and nothing but their way to the library.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use perisco::analyze::filter::Filter;
use perisco::analyze::kept::Keeping;
use perisco::analyze::limits::Limits;
use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Analysis, AnalyzeError, Control};
use perisco::analyze::report::route::Route;
use perisco::analyze::report::{
    By, Destination, Destinations, Format, Sort, Style, text, write_end,
};
use perisco::pcap::{Capture, Input, OpenOptions};

use crate::filter::FilterArgs;
use crate::outputs::{self, Ended, Output, Target, finish};
use crate::progress::Progress;
use crate::stop;
use crate::values::{self, ColorArg};

/// Report every HTTP/1.1, HTTP/2 and gRPC transaction of a capture.
///
/// Reads pcap and pcapng, plain or compressed with zstd, gzip or lz4,
/// recognised by content. Several files are merged by time; `-` is standard
/// input, which may be a live stream: `tcpdump -i lo -U -w - | perisco analyze -`.
///
/// Exit code 0: all was read. 1: an input was damaged, the analysis was cut
/// short or one of several outputs could not be written; what could be read is
/// reported. 2: not a capture, wrong use, or nothing could be written.
#[derive(ClapArgs)]
pub struct Args {
    /// Capture files, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Format of what is written, where its name does not say it; with one -o
    /// it wins over the name [default: text]
    #[arg(short, long, value_enum)]
    format: Option<Format>,

    /// Write to FILE, in the format that its name says: .txt .json .jsonl .csv
    /// .log .har, with .gz or .zst behind it compressed. More of them are written in
    /// the same pass; - is standard output
    #[arg(short, long, value_name = "[FORMAT:]FILE")]
    output: Vec<OsString>,

    /// Leave header and trailer lists out of jsonl and html
    #[arg(short = 'q', long)]
    no_headers: bool,

    /// Keep the bodies of messages, in jsonl and har: of each the first LIMIT bytes as
    /// transferred [default of LIMIT: 64KiB]
    #[arg(long, value_name = "LIMIT", num_args = 0..=1, require_equals = true,
        default_missing_value = "64KiB", value_parser = values::bytes)]
    bodies: Option<usize>,

    /// Threads, of which one decompresses where the capture is compressed [default: one per core]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// What rows of the main table stand for
    #[arg(long, value_enum, default_value_t = By::Endpoint)]
    by: By,

    /// Which rows of the main table come first
    #[arg(long, value_enum, default_value_t = Sort::Count)]
    sort: Sort,

    /// Count paths like this as one endpoint: /users/{id}, /files/{path...}; may be
    /// repeated, the first that fits is taken
    #[arg(long = "route", value_name = "PATH")]
    routes: Vec<Route>,

    /// Rows in the main table and of the slowest [default: 20 and 10]
    #[arg(long, value_name = "N")]
    top: Option<usize>,

    /// Make one of the copies of a connection that several nodes have recorded, where
    /// files are of several nodes; or not (see docs/join.md)
    #[arg(long, value_enum, default_value_t = JoinArg::Auto, value_name = "WHEN")]
    join: JoinArg,

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

    #[command(flatten, next_help_heading = "Which transactions are reported (see docs/filter.md)")]
    filter: FilterArgs,

    #[command(flatten, next_help_heading = "Limits (what they cost is counted and reported)")]
    limits: LimitArgs,
}

/// When recordings of several nodes are joined.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum JoinArg {
    /// Where files are of several nodes.
    Auto,
    /// Never.
    Off,
}

/// Flags of limits.
#[derive(ClapArgs)]
pub struct LimitArgs {
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

    /// Bytes kept of all bodies at once (--bodies)
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    bodies_total: Option<usize>,
}

impl LimitArgs {
    /// The limits, by default where no flag says another one.
    pub fn limits(&self, bodies: Option<usize>) -> Limits {
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
            bodies: Keeping {
                limit: bodies.unwrap_or(default.bodies.limit),
                total: self.bodies_total.unwrap_or(default.bodies.total),
                only: None,
            },
        }
    }
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let targets = outputs::targets(&args.output, args.format)?;
    let options = options(&args, &targets);
    let filter = args.filter.filter(&args.files, options.formats.has(Format::Log))?;
    let options = Options { filter, ..options };
    if options.bodies && !options.wants().bodies {
        eprintln!("perisco: --bodies is for jsonl and har, and none of them is written");
    }
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
    let mut outputs = Output::open_all(targets)?;
    let progress = Progress::new(&capture, !args.no_progress);
    let tick = |position| progress.tick(position);
    let control = Control { stop: &stop, progress: &tick };
    let styles: Vec<_> = outputs.iter().map(|output| output.style(args.color, args.top)).collect();
    let destinations = outputs.iter_mut().zip(&styles);
    let destinations =
        destinations.map(|(out, style)| Destination::new(out.format, out).colored(style.color));
    let mut destinations = Destinations::new(destinations.collect());
    let analysis = pipeline::run(capture, &options, &control, &mut destinations);
    progress.finish();
    if let Ok(analysis) = &analysis {
        for (destination, style) in destinations.iter_mut().zip(&styles) {
            let format = destination.format();
            destination.with(|out| render(analysis, &options, format, *style, out));
        }
    }
    let errors = destinations.into_errors();
    let cut_short = stop.load(Ordering::Relaxed) && !live;
    match analysis {
        Ok(analysis) => {
            let written = finish(outputs, errors);
            Ok(written.and(verdict(&analysis, &options, cut_short)).code())
        }
        Err(AnalyzeError::Output) => Ok(finish(outputs, errors).code()),
        Err(error) => Err(error.into()),
    }
}

fn options(args: &Args, targets: &[Target]) -> Options {
    let default = Options::default();
    Options {
        limits: args.limits.limits(args.bodies),
        threads: args.threads.map_or(default.threads, usize::from),
        formats: targets.iter().map(|target| target.format).collect(),
        headers: !args.no_headers,
        bodies: args.bodies.is_some(),
        conformance: args.conformance,
        join: args.join == JoinArg::Auto,
        filter: Filter::default(),
        by: args.by,
        sort: args.sort,
        routes: args.routes.iter().cloned().collect(),
        top: args.top.unwrap_or(default.top),
        ..default
    }
}

fn render(
    analysis: &Analysis,
    options: &Options,
    format: Format,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_end(format, &analysis.report, style, out)?;
    if format == Format::Text && options.conformance && analysis.report.findings.count == 0 {
        writeln!(out, "\nConformance\n  nothing that a real HTTP/2 endpoint would have refused")?;
    }
    Ok(())
}

/// Says on standard error what no summary says, and what it came to.
fn verdict(analysis: &Analysis, options: &Options, cut_short: bool) -> Ended {
    let report = &analysis.report;
    if cut_short {
        eprintln!("perisco: interrupted: the report covers only what was read until then");
    }
    // The report says it too, but may have gone to a file; one line each, for scripts.
    for damage in &report.loss.damage {
        eprintln!("perisco: {}: at byte {}: {}", damage.file, damage.offset, damage.what);
    }
    if !options.formats.has_summary() {
        eprint!("{}{}", text::missing(report), text::filtered(report));
    }
    if analysis.unjoined > 0 && options.join {
        eprintln!(
            "perisco: recordings of {} nodes on a stream or in one file are not joined: what two of \
             them saw is there twice",
            analysis.unjoined
        );
    }
    if analysis.late_lines > 0 {
        eprintln!(
            "perisco: {} transactions came out after later ones (long-running on a live stream)",
            analysis.late_lines
        );
    }
    if cut_short || !report.loss.damage.is_empty() { Ended::Part } else { Ended::Whole }
}
