//! `perisco diff`: two captures to two reports, and those to what differs.
//!
//! Exit codes: 0 compared; 1 a threshold of `--fail-on` was passed; 2 the arguments or an
//! input cannot be used, or an output cannot be written; 3 no threshold was passed, but
//! that is no pass, since an input was damaged or cut short or a rule could be held
//! against nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};
use clap::Args as ClapArgs;
use perisco::analyze::diff::model::RuleVerdict;
use perisco::analyze::diff::{self, Diff, Order, Rule};
use perisco::analyze::filter::{Bound, Filter};
use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Control};
use perisco::analyze::report::route::Route;
use perisco::analyze::report::{Destination, Destinations, Format, Report, Style};
use perisco::pcap::{Capture, Input, OpenOptions};

use crate::analyze::LimitArgs;
use crate::filter::FilterArgs;
use crate::outputs::{self, Ended, Output};
use crate::progress::Progress;
use crate::stop;
use crate::values::ColorArg;

/// Exit code where a threshold was passed.
const FAILED: u8 = 1;
/// Exit code where an output could not be written.
const UNUSABLE: u8 = 2;
/// Exit code where nobody can say that none was passed.
const UNDECIDED: u8 = 3;

/// Compare two captures: what changed by endpoint, and whether it could be chance.
///
/// Rates, errors and latencies of each endpoint before and after, tested for
/// significance; endpoints and pairs of hosts that are new or have vanished. docs/diff.md
/// says how it is tested and where the limits of that are.
///
/// Exit code 0: compared. 1: a threshold of --fail-on was passed. 2: not a capture, wrong
/// use, or an output could not be written. 3: no threshold was passed, but an input was damaged
/// or cut short, or a rule could be held against nothing.
#[derive(ClapArgs)]
pub struct Args {
    /// What is compared with: a capture file, or - for standard input
    #[arg(value_name = "BEFORE")]
    before: Option<PathBuf>,

    /// What is compared, likewise
    #[arg(value_name = "AFTER")]
    after: Option<PathBuf>,

    /// A further file of what is compared with; may be repeated
    #[arg(long = "before", value_name = "FILE")]
    more_before: Vec<PathBuf>,

    /// A further file of what is compared; may be repeated
    #[arg(long = "after", value_name = "FILE")]
    more_after: Vec<PathBuf>,

    /// End with exit code 1 where this is passed at an endpoint: 'p99 > +20%', 'p50 > +5ms',
    /// 'error_rate > 1%', 'error_rate > +0.5pp', 'rate < -50%', 'new > 0'; may be repeated.
    /// Metrics: rate, errors, error_rate, p50, p90, p99, new, vanished
    #[arg(long = "fail-on", value_name = "RULE")]
    rules: Vec<Rule>,

    /// Rules about a change are only passed by significant ones
    #[arg(long)]
    significant: bool,

    /// Format of what is written, where its name does not say it: text, json or html
    /// [default: text]
    #[arg(short, long, value_parser = format)]
    format: Option<Format>,

    /// Write to FILE, in the format that its name says: .txt .json .html, with .gz or
    /// .zst behind it compressed; may be repeated, - is standard output
    #[arg(short, long, value_name = "[FORMAT:]FILE")]
    output: Vec<OsString>,

    /// Threads, of which one decompresses where a capture is compressed [default: one per core]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Which endpoints come first
    #[arg(long, value_enum, default_value_t = Order::Worst)]
    sort: Order,

    /// Count paths like this as one endpoint: /users/{id}, /files/{path...}; may be
    /// repeated, the first that fits is taken
    #[arg(long = "route", value_name = "PATH")]
    routes: Vec<Route>,

    /// Endpoints shown [default: 20]
    #[arg(long, value_name = "N")]
    top: Option<usize>,

    /// Show endpoints without a significant change, too
    #[arg(long)]
    all: bool,

    /// Colours: on a terminal, always, or never (NO_COLOR is respected)
    #[arg(long, value_enum, default_value_t = ColorArg::Auto, value_name = "WHEN")]
    color: ColorArg,

    /// No progress bar
    #[arg(long)]
    no_progress: bool,

    #[command(flatten, next_help_heading = "Which transactions are compared (see docs/filter.md)")]
    filter: FilterArgs,

    #[command(flatten)]
    bounds: SideBounds,

    #[command(flatten, next_help_heading = "Limits (what they cost is counted and reported)")]
    limits: LimitArgs,
}

/// `--since` and `--until` of one side.
#[derive(ClapArgs)]
struct SideBounds {
    /// The same as --since, of BEFORE only
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    before_since: Option<Bound>,

    /// The same as --until, of BEFORE only
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    before_until: Option<Bound>,

    /// The same as --since, of AFTER only
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    after_since: Option<Bound>,

    /// The same as --until, of AFTER only
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    after_until: Option<Bound>,
}

/// A format that a comparison has.
fn format(name: &str) -> Result<Format, String> {
    let format: Format = name.parse().map_err(|_| told(name))?;
    if has(format) { Ok(format) } else { Err(told(name)) }
}

/// Whether a comparison is written in it.
const fn has(format: Format) -> bool {
    matches!(format, Format::Text | Format::Json | Format::Html)
}

fn told(name: &str) -> String {
    let names: Vec<_> = Format::ALL.into_iter().filter(|f| has(*f)).map(Format::name).collect();
    format!("a comparison is no {name:?}: there are {}", names.join(", "))
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let files = files(&args)?;
    let targets = outputs::targets(&args.output, args.format)?;
    if let Some(target) = targets.iter().find(|target| !has(target.format)) {
        bail!(told(target.format.name()));
    }
    // All that can be wrong is told before anything is read.
    let filters = filters(&args, &files)?;
    for file in files.iter().flatten().filter(|file| *file != Path::new("-")) {
        File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    }
    let outputs = Output::open_all(targets)?;
    let stop = stop::flag()?;
    let (mut reports, mut cut_short) = (Vec::new(), false);
    for (files, filter) in files.iter().zip(filters) {
        let (report, cut) = analyze(&args, files, filter, &stop)?;
        reports.push(report);
        cut_short |= cut;
    }
    let [before, after] = reports.as_slice() else { bail!("there have to be two sides") };
    let diff = diff::compare(before, after, args.sort, &args.rules, args.significant);
    let ended = write(&diff, &args, outputs);
    // It is in the output too, but that may have gone to a file; one line each, for scripts.
    for damage in [before, after].iter().flat_map(|report| &report.loss.damage) {
        eprintln!("perisco: {}: at byte {}: {}", damage.file, damage.offset, damage.what);
    }
    if cut_short {
        eprintln!("perisco: interrupted: only what was read until then is compared");
    }
    Ok(ExitCode::from(code(&diff, ended, cut_short)))
}

/// The files of both sides.
fn files(args: &Args) -> anyhow::Result<[Vec<PathBuf>; 2]> {
    let side = |first: &Option<PathBuf>, more: &[PathBuf]| -> Vec<PathBuf> {
        first.iter().chain(more).cloned().collect()
    };
    let sides = [side(&args.before, &args.more_before), side(&args.after, &args.more_after)];
    for (side, name) in sides.iter().zip(["BEFORE", "AFTER"]) {
        ensure!(!side.is_empty(), "there is no {name} to compare: perisco diff BEFORE AFTER");
    }
    let pipes = sides.iter().flatten().filter(|file| *file == Path::new("-")).count();
    ensure!(pipes <= 1, "standard input can be only one of the captures");
    Ok(sides)
}

/// What each side takes.
fn filters(args: &Args, files: &[Vec<PathBuf>; 2]) -> anyhow::Result<Vec<Filter>> {
    let bounds = &args.bounds;
    let own =
        [(&bounds.before_since, &bounds.before_until), (&bounds.after_since, &bounds.after_until)];
    let side = |((since, until), files): ((&Option<Bound>, &Option<Bound>), &Vec<PathBuf>)| {
        let filter = FilterArgs {
            expression: args.filter.expression.clone(),
            since: since.clone().or_else(|| args.filter.since.clone()),
            until: until.clone().or_else(|| args.filter.until.clone()),
        };
        filter.filter(files, false)
    };
    own.into_iter().zip(files).map(side).collect()
}

/// The report of one side, and whether it was cut short by a signal.
fn analyze(
    args: &Args,
    files: &[PathBuf],
    filter: Filter,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<(Report, bool)> {
    let default = Options::default();
    let options = Options {
        limits: args.limits.limits(None),
        threads: args.threads.map_or(default.threads, usize::from),
        // Of no format that wants more than the report.
        formats: Format::Json.into(),
        filter,
        routes: args.routes.iter().cloned().collect(),
        compared: true,
        ..default
    };
    let inputs = files.iter().map(|path| Input::from_arg(path.as_os_str())).collect();
    let open = OpenOptions {
        stop: Some(Arc::clone(stop)),
        threads: Some(options.threads),
        ..OpenOptions::default()
    };
    let capture = Capture::open(inputs, open)?;
    let live = capture.is_live();
    let progress = Progress::new(&capture, !args.no_progress);
    let tick = |position| progress.tick(position);
    let control = Control { stop, progress: &tick };
    let mut nowhere = io::sink();
    let mut nowhere = Destinations::new(vec![Destination::new(Format::Json, &mut nowhere)]);
    let analysis = pipeline::run(capture, &options, &control, &mut nowhere);
    progress.finish();
    Ok((analysis?.report, stop.load(Ordering::Relaxed) && !live))
}

/// Writes all outputs.
fn write(diff: &Diff, args: &Args, mut outputs: Vec<Output>) -> Ended {
    let written = |output: &mut Output| {
        let (format, style) = (output.format, output.style(args.color, args.top));
        render(diff, args, format, style, output).err()
    };
    let errors = outputs.iter_mut().map(written).collect();
    outputs::finish(outputs, errors)
}

fn render(
    diff: &Diff,
    args: &Args,
    format: Format,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Text => diff::text::write(diff, style, args.all, out),
        Format::Json => diff::json::write(diff, out),
        Format::Html => diff::html::write(diff, out),
        // Refused before.
        Format::Jsonl | Format::Csv | Format::Log | Format::Har | Format::Dot => Ok(()),
    }
}

/// The exit code: what was passed was passed, whatever else is wrong.
fn code(diff: &Diff, ended: Ended, cut_short: bool) -> u8 {
    let is = |verdict: RuleVerdict| diff.rules.iter().any(|rule| rule.verdict == verdict);
    let damaged = [&diff.before, &diff.after].iter().any(|side| !side.loss.damage.is_empty());
    if is(RuleVerdict::Failed) {
        FAILED
    } else if ended != Ended::Whole {
        UNUSABLE
    } else if damaged || cut_short || is(RuleVerdict::Undecided) || nothing_to_hold(diff) {
        UNDECIDED
    } else {
        0
    }
}

/// Whether there are rules and a side without any transaction.
fn nothing_to_hold(diff: &Diff) -> bool {
    let empty = [&diff.before, &diff.after].iter().any(|side| side.transactions.count == 0);
    empty && !diff.rules.is_empty()
}
