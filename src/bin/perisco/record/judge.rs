//! The process that triggers look with: the recording in on standard input, answers out on
//! standard output. It has no privileges (`record::flight::child`), and is told nothing
//! but the expressions.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use perisco::analyze::filter::{Decision, Filter};
use perisco::analyze::limits::Limits;
use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Control};
use perisco::analyze::report::address_text;
use perisco::analyze::transaction::Transaction;
use perisco::analyze::watch::{Progress, Watch, Watched};
use perisco::pcap::{Capture, Input, OpenOptions};
use perisco::record::flight::answers::Answer;
use perisco::record::flight::child;

/// Between two answers: what fires meanwhile is one answer.
const ANSWER_EVERY: Duration = Duration::from_millis(100);

/// Between two signs of life.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Connections at once: as many as the recorder follows.
const MAX_FLOWS: usize = 131_072;

/// Exit code where it cannot work at all.
const CANNOT: u8 = 2;

/// Looks until the stream ends.
pub fn main(expressions: &[OsString]) -> ExitCode {
    match look(expressions) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(CANNOT),
    }
}

fn look(expressions: &[OsString]) -> anyhow::Result<()> {
    child::confine()?;
    let filter = |text: &OsString| {
        Filter::new(Some(&text.to_string_lossy()), None).map_err(|error| anyhow::anyhow!("{error}"))
    };
    let filters = expressions.iter().map(filter).collect::<anyhow::Result<Vec<_>>>()?;
    let stop = AtomicBool::new(false);
    let judge = Judge {
        pending: RefCell::new(vec![None; filters.len()]),
        counts: RefCell::new(Counts::default()),
        stop: &stop,
        filters,
    };
    let options = Options {
        limits: Limits { flows: MAX_FLOWS, ..Limits::default() },
        threads: 1,
        headers: judge.filters.iter().any(Filter::wants_headers),
        ..Options::default()
    };
    let capture = Capture::open(vec![Input::Stdin], OpenOptions::default())?;
    let control = Control { stop: &stop, progress: &|_| {} };
    pipeline::watch(capture, &options, &control, &judge)?;
    judge.answer(true);
    Ok(())
}

/// What fired and is not said yet.
#[derive(Clone, Debug)]
struct Pending {
    count: u64,
    first: i64,
    last: i64,
    text: String,
}

#[derive(Debug, Default)]
struct Counts {
    judged: u64,
    undecided: u64,
    answered: Option<Instant>,
    alive: Option<Instant>,
}

struct Judge<'a> {
    filters: Vec<Filter>,
    pending: RefCell<Vec<Option<Pending>>>,
    counts: RefCell<Counts>,
    stop: &'a AtomicBool,
}

impl Watch for Judge<'_> {
    fn round(&self, finished: &mut Vec<Watched>, progress: &Progress) {
        let now = progress.time.map_or(0, |time| time.nanos());
        for watched in finished.iter() {
            self.judge(watched, now);
        }
        self.answer(false);
    }
}

impl Judge<'_> {
    fn judge(&self, watched: &Watched, now: i64) {
        let item = watched.item();
        let mut pending = self.pending.borrow_mut();
        let mut undecided = false;
        for (filter, pending) in self.filters.iter().zip(pending.iter_mut()) {
            match filter.decide(&item) {
                Decision::Leave => continue,
                Decision::Undecided => {
                    undecided = true;
                    continue;
                }
                Decision::Take => {}
            }
            let (first, last) = span(&watched.transaction, now);
            let fired = pending.get_or_insert_with(|| {
                let text = described(watched);
                Pending { count: 0, first, last, text }
            });
            fired.count += 1;
            fired.first = fired.first.min(first);
            fired.last = fired.last.max(last);
        }
        let mut counts = self.counts.borrow_mut();
        counts.judged += 1;
        counts.undecided += u64::from(undecided);
    }

    /// Says what is to be said by now.
    fn answer(&self, all: bool) {
        let mut counts = self.counts.borrow_mut();
        let is_due = |at: Option<Instant>, every| at.is_none_or(|at| at.elapsed() >= every);
        let mut lines = String::new();
        if all || is_due(counts.answered, ANSWER_EVERY) {
            for (trigger, pending) in self.pending.borrow_mut().iter_mut().enumerate() {
                let Some(Pending { count, first, last, text }) = pending.take() else { continue };
                lines += &Answer::Fired { trigger, count, first, last, text }.line();
                counts.answered = Some(Instant::now());
            }
        }
        if all || is_due(counts.alive, ALIVE_EVERY) {
            counts.alive = Some(Instant::now());
            let Counts { judged, undecided, .. } = *counts;
            lines += &Answer::Alive { judged, undecided }.line();
        }
        if !lines.is_empty() && io::stdout().write_all(lines.as_bytes()).is_err() {
            // Nobody listens any more.
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// From its first byte to its last; what was not seen of it is now.
fn span(transaction: &Transaction, now: i64) -> (i64, i64) {
    let ends = [&transaction.response, &transaction.request];
    let end = ends.into_iter().flatten().find_map(|message| message.end.or(message.start));
    let last = end.map_or(now, |at| at.nanos());
    (transaction.start().map_or(last, |at| at.nanos()).min(last), last)
}

/// `GET shop:8080/pay → 500 in 12 ms`.
fn described(watched: &Watched) -> String {
    let transaction = &watched.transaction;
    let text = |bytes: Option<&[u8]>| {
        bytes.map_or("?".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let method = text(transaction.request_text(|message| message.method));
    let path = text(transaction.request_text(|message| message.path));
    let status = transaction.status().map_or("?".to_owned(), |status| status.to_string());
    let grpc = transaction
        .grpc
        .as_ref()
        .map_or(String::new(), |grpc| format!(" (grpc {})", grpc.status_name()));
    let took = transaction
        .duration_ns()
        .map_or(String::new(), |nanos| format!(" in {:.1} ms", nanos as f64 / 1e6));
    // The path may be long: what became of it first.
    let server = address_text(watched.server);
    format!("{status}{grpc}{took} of {method} {server}{path}")
}
