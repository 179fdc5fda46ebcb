//! What an endpoint did, second by second, and added up over a window.
//!
//! Seconds are those of the capture's clock. The last [`SECONDS`] are kept one
//! by one, and all since the start as one more.

use std::time::Duration;

use perisco::analyze::transaction::{GRPC_STATUS, Outcome, Transaction};

use super::latency::{Latencies, Percentiles, Sum};

/// Seconds that are kept one by one: the longest window that is not all.
pub const SECONDS: usize = 60;

/// Kinds of status that a second tells apart; the rest is one. Servers have a
/// dozen.
const STATUSES: usize = 32;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// How far back figures go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    Short,
    #[default]
    Minute,
    All,
}

impl Window {
    /// The next one.
    pub fn next(self) -> Self {
        match self {
            Self::Short => Self::Minute,
            Self::Minute => Self::All,
            Self::All => Self::Short,
        }
    }

    /// As the header says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "last 10 s",
            Self::Minute => "last 60 s",
            Self::All => "since the start",
        }
    }

    /// Seconds that it has; None is all.
    fn seconds(self) -> Option<usize> {
        match self {
            Self::Short => Some(10),
            Self::Minute => Some(SECONDS),
            Self::All => None,
        }
    }

    /// How long it is at a time, given when the capture began; both in
    /// nanoseconds. Its first second is whole, its last goes on.
    pub fn length(self, first: i64, now: i64) -> Duration {
        let all = now.saturating_sub(first).max(0);
        let length = match self.seconds() {
            None => all,
            Some(seconds) => {
                let whole = (seconds as i64 - 1) * SECOND;
                all.min(whole + now.rem_euclid(SECOND))
            }
        };
        Duration::from_nanos(length.unsigned_abs())
    }
}

/// How a transaction ended, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status.
    Grpc(u32),
    /// Neither says it.
    Outcome(Outcome),
    /// More kinds than are told apart.
    Other,
}

impl Status {
    /// A failed outcome says more than the status that came before it.
    pub fn of(transaction: &Transaction) -> Self {
        let grpc = transaction.grpc.as_ref();
        let failed =
            matches!(transaction.outcome, Outcome::Reset | Outcome::Timeout | Outcome::Unanswered);
        match (grpc.and_then(|grpc| grpc.status), transaction.status()) {
            (Some(code), _) => Self::Grpc(code),
            (None, Some(status)) if !failed && grpc.is_none() => Self::Http(status),
            _ if failed => Self::Outcome(transaction.outcome),
            _ => Self::Outcome(Outcome::Unknown),
        }
    }

    /// As people read it.
    pub fn name(self) -> String {
        match self {
            Self::Http(status) => status.to_string(),
            Self::Grpc(code) => {
                let name = GRPC_STATUS.get(code as usize);
                name.map_or_else(|| format!("CODE_{code}"), |name| (*name).to_owned())
            }
            Self::Outcome(outcome) => outcome.name().to_owned(),
            Self::Other => "others".to_owned(),
        }
    }

    /// Whether it is a failure, an unknown end, or neither.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Http(status) => Outcome::of_status(status),
            Self::Grpc(0) => Outcome::Ok,
            Self::Grpc(_) => Outcome::ServerError,
            Self::Outcome(outcome) => outcome,
            Self::Other => Outcome::Unknown,
        }
    }
}

/// What is counted of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub status: Status,
    pub error: bool,
    pub unknown: bool,
    pub latency_ns: Option<u64>,
}

impl Facts {
    /// Those of a transaction.
    pub fn of(transaction: &Transaction) -> Self {
        Self {
            status: Status::of(transaction),
            error: transaction.outcome.is_error(),
            unknown: transaction.outcome == Outcome::Unknown,
            latency_ns: transaction.latency_ns(),
        }
    }
}

/// What finished within a second.
#[derive(Clone, Debug, Default)]
struct Second {
    count: u64,
    errors: u64,
    unknown: u64,
    latencies: Latencies,
    statuses: Vec<(Status, u64)>,
}

impl Second {
    fn add(&mut self, facts: &Facts) {
        self.count += 1;
        self.errors += u64::from(facts.error);
        self.unknown += u64::from(facts.unknown);
        facts.latency_ns.into_iter().for_each(|nanos| self.latencies.add(nanos));
        let known = self.statuses.iter().any(|(status, _)| *status == facts.status);
        let fits = known || self.statuses.len() < STATUSES;
        let status = if fits { facts.status } else { Status::Other };
        count(&mut self.statuses, status, 1);
    }
}

fn count(statuses: &mut Vec<(Status, u64)>, status: Status, more: u64) {
    match statuses.iter_mut().find(|(known, _)| *known == status) {
        Some((_, count)) => *count += more,
        None => statuses.push((status, more)),
    }
}

/// What a window comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub count: u64,
    /// Per second; None where the window has no length.
    pub rate: Option<f64>,
    pub errors: u64,
    pub unknown: u64,
    /// None where no latency is known.
    pub latency: Option<Percentiles>,
}

/// All that finished, by second.
#[derive(Clone, Debug)]
pub struct Series {
    /// By the second modulo [`SECONDS`].
    seconds: Vec<Option<Box<Second>>>,
    /// The latest second that was told of.
    newest: i64,
    all: Second,
}

impl Default for Series {
    fn default() -> Self {
        Self { seconds: vec![None; SECONDS], newest: i64::MIN, all: Second::default() }
    }
}

/// The second of a time in nanoseconds.
fn second_of(nanos: i64) -> i64 {
    nanos.div_euclid(SECOND)
}

fn slot(second: i64) -> usize {
    second.rem_euclid(SECONDS as i64) as usize
}

impl Series {
    /// Counts what finished at a time in nanoseconds.
    pub fn add(&mut self, at: i64, facts: &Facts) {
        self.all.add(facts);
        let second = second_of(at);
        self.advance(second);
        // What finished longer ago than the longest window is in `all` only.
        let is_recent = second > self.newest.saturating_sub(SECONDS as i64);
        if let Some(place) = self.seconds.get_mut(slot(second)).filter(|_| is_recent) {
            place.get_or_insert_default().add(facts);
        }
    }

    /// Forgets what is too old by a second that has begun.
    fn advance(&mut self, second: i64) {
        if second <= self.newest {
            return;
        }
        let oldest = second.saturating_sub(SECONDS as i64 - 1);
        for stale in oldest.max(self.newest.saturating_add(1))..=second {
            if let Some(place) = self.seconds.get_mut(slot(stale)) {
                *place = None;
            }
        }
        self.newest = second;
    }

    /// The seconds of a window that ends at a time, latest first.
    fn within(&self, window: Window, now: i64) -> impl Iterator<Item = Option<&Second>> {
        let last = second_of(now);
        let count = window.seconds().unwrap_or(SECONDS) as i64;
        (0..count).map(move |back| {
            let second = last.checked_sub(back)?;
            let is_kept =
                second <= self.newest && self.newest.checked_sub(second)? < SECONDS as i64;
            self.seconds.get(slot(second)).filter(|_| is_kept)?.as_deref()
        })
    }

    /// What a window comes to, given when the capture began and what time it is.
    pub fn figures(&self, window: Window, first: i64, now: i64) -> Figures {
        let mut figures = Figures::default();
        let mut sum = Sum::default();
        let mut add = |second: &Second| {
            figures.count += second.count;
            figures.errors += second.errors;
            figures.unknown += second.unknown;
            sum.add(&second.latencies);
        };
        match window {
            Window::All => add(&self.all),
            _ => self.within(window, now).flatten().for_each(add),
        }
        let seconds = window.length(first, now).as_secs_f64();
        figures.rate = (seconds > 0.0).then(|| figures.count as f64 / seconds);
        figures.latency = sum.percentiles();
        figures
    }

    /// How many of each status, most first.
    pub fn statuses(&self, window: Window, now: i64) -> Vec<(Status, u64)> {
        let mut sums = Vec::new();
        let mut add = |second: &Second| {
            second.statuses.iter().for_each(|(status, more)| count(&mut sums, *status, *more));
        };
        match window {
            Window::All => add(&self.all),
            _ => self.within(window, now).flatten().for_each(add),
        }
        sums.sort_by_key(|(status, count)| (std::cmp::Reverse(*count), *status));
        sums
    }

    /// Latencies by octave, see [`Sum::octaves`].
    pub fn octaves(&self, window: Window, now: i64) -> Vec<(u32, u64)> {
        let mut sum = Sum::default();
        match window {
            Window::All => sum.add(&self.all.latencies),
            _ => self.within(window, now).flatten().for_each(|second| sum.add(&second.latencies)),
        }
        sum.octaves()
    }

    /// Counts of the last seconds, in so many columns, oldest first.
    pub fn line(&self, window: Window, now: i64, columns: usize) -> Vec<u64> {
        let mut counts: Vec<u64> = self
            .within(window, now)
            .map(|second| second.map_or(0, |second| second.count))
            .collect();
        counts.reverse();
        let columns = columns.min(counts.len());
        let mut line = vec![0; columns];
        for (index, count) in counts.iter().enumerate() {
            if let Some(sum) = line.get_mut(index * columns / counts.len().max(1)) {
                *sum += count;
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(latency_ns: u64, status: u16) -> Facts {
        let outcome = Outcome::of_status(status);
        Facts {
            status: Status::Http(status),
            error: outcome.is_error(),
            unknown: outcome == Outcome::Unknown,
            latency_ns: Some(latency_ns),
        }
    }

    #[test]
    fn windows_forget_and_all_does_not() {
        let mut series = Series::default();
        let first = 1_000 * SECOND;
        for second in 0..120 {
            series.add(first + second * SECOND, &facts(second as u64, 200));
        }
        let now = first + 119 * SECOND + SECOND / 2;
        let of = |window| series.figures(window, first, now);
        assert_eq!(of(Window::All).count, 120);
        assert_eq!(of(Window::Minute).count, 60);
        assert_eq!(of(Window::Short).count, 10);
        assert_eq!(of(Window::Short).latency.unwrap().p50, 114);
        // 9.5 s of 10 have gone by.
        assert_eq!(of(Window::Short).rate, Some(10.0 / 9.5));
        // Nothing more comes, and time goes on.
        let later = series.figures(Window::Short, first, now + 300 * SECOND);
        assert_eq!((later.count, later.rate, later.latency), (0, Some(0.0), None));
    }

    #[test]
    fn what_is_late_is_counted_where_it_belongs() {
        let mut series = Series::default();
        series.add(100 * SECOND, &facts(1, 500));
        series.add(95 * SECOND, &facts(1, 200));
        series.add(SECOND, &facts(1, 200));
        series.add(i64::MIN, &facts(1, 200));
        assert_eq!(series.figures(Window::Minute, 0, 100 * SECOND).count, 2);
        assert_eq!(series.figures(Window::All, 0, 100 * SECOND).count, 4);
        assert_eq!(series.line(Window::Short, 100 * SECOND, 10), [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!(series.line(Window::Minute, 100 * SECOND, 3), [0, 0, 2]);
        series.add(i64::MAX, &facts(1, 200));
        assert_eq!(series.figures(Window::Minute, 0, i64::MAX).count, 1);
    }

    #[test]
    fn a_short_capture_has_its_own_length() {
        let mut series = Series::default();
        let first = 10 * SECOND + SECOND * 9 / 10;
        series.add(first + SECOND / 5, &facts(1, 200));
        let figures = series.figures(Window::Minute, first, first + SECOND / 5);
        assert_eq!(figures.rate, Some(5.0));
        assert_eq!(series.figures(Window::Minute, first, first).rate, None);
    }

    #[test]
    fn statuses_are_bounded() {
        let mut series = Series::default();
        for status in 100..999 {
            series.add(0, &facts(1, status));
        }
        let statuses = series.statuses(Window::Minute, 0);
        assert_eq!(statuses.len(), STATUSES + 1);
        assert_eq!(statuses[0], (Status::Other, 899 - STATUSES as u64));
    }
}
