//! Transactions picked out as examples: the slowest, and the earliest that
//! failed in each way.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::analyze::report::Item;
use crate::analyze::report::model::{Failure, Sample, Time};
use crate::analyze::report::write::text_of;
use crate::analyze::transaction::{GRPC_STATUS, Outcome};
use crate::time::Timestamp;

/// Examples kept of each way to fail.
const EARLIEST: usize = 3;
/// Ways to fail that are told apart: all real statuses of HTTP and gRPC, and
/// room for made-up ones. Past it failures count by their outcome.
pub const FAILURES: usize = 256;
/// Bytes of a sample's path or host that are kept.
const TEXT_BYTES: usize = 512;

/// A total order over transactions.
pub type Order = (Option<Timestamp>, u64, u64);

/// The place of a transaction in it.
pub fn order(item: &Item<'_>) -> Order {
    (item.transaction.rank(), item.connection, item.index)
}

/// Keeps what has the smallest rank.
pub struct Smallest<R, T> {
    room: usize,
    /// Ascending by rank.
    kept: Vec<(R, T)>,
}

impl<R: Ord + Copy, T> Smallest<R, T> {
    /// Keeps that many.
    pub fn new(room: usize) -> Self {
        Self { room, kept: Vec::new() }
    }

    /// Compares first: the sample is built only where it enters.
    #[inline]
    pub fn add(&mut self, rank: R, sample: impl FnOnce() -> T) {
        let full = self.kept.len() >= self.room;
        if !full || self.kept.last().is_some_and(|(last, _)| rank < *last) {
            self.insert(rank, sample());
        }
    }

    #[cold]
    fn insert(&mut self, rank: R, sample: T) {
        let at = self.kept.partition_point(|(known, _)| *known < rank);
        self.kept.insert(at, (rank, sample));
        self.kept.truncate(self.room);
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: Self) {
        for (rank, sample) in other.kept {
            self.add(rank, || sample);
        }
    }

    /// By rank.
    pub fn finish(self) -> Vec<T> {
        self.kept.into_iter().map(|(_, sample)| sample).collect()
    }
}

/// The slowest by latency.
pub struct Slowest {
    kept: Smallest<(Reverse<u64>, Order), Sample>,
    /// The least latency that may enter: most transactions are below it, and
    /// then nothing else of them is looked at.
    least_ns: u64,
}

impl Slowest {
    /// Keeps that many.
    pub fn new(room: usize) -> Self {
        Self { kept: Smallest::new(room), least_ns: 0 }
    }

    /// Looks at a transaction.
    #[inline]
    pub fn add(&mut self, item: &Item<'_>, latency_ns: Option<u64>) {
        if let Some(nanos) = latency_ns
            && nanos >= self.least_ns
        {
            self.kept.add((Reverse(nanos), order(item)), || sample(item));
            self.raise();
        }
    }

    fn raise(&mut self) {
        if self.kept.kept.len() >= self.kept.room {
            let last = self.kept.kept.last();
            self.least_ns = last.map_or(u64::MAX, |((Reverse(nanos), _), _)| *nanos);
        }
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: Self) {
        self.kept.merge(other.kept);
        self.raise();
    }

    /// Slowest first.
    pub fn finish(self) -> Vec<Sample> {
        self.kept.finish()
    }
}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The HTTP status says it.
    Http(u16),
    /// The gRPC status says it.
    Grpc(u32),
    /// No status does.
    Outcome(Outcome),
}

impl Cause {
    /// The status where it says how the transaction failed, else the outcome.
    pub fn of(item: &Item<'_>) -> Self {
        let transaction = item.transaction;
        let outcome = transaction.outcome;
        let grpc = transaction.grpc.as_ref().and_then(|grpc| grpc.status);
        match (outcome, grpc, transaction.status()) {
            (Outcome::ClientError | Outcome::ServerError | Outcome::Timeout, Some(code), _)
                if code != 0 =>
            {
                Self::Grpc(code)
            }
            (Outcome::ClientError | Outcome::ServerError, _, Some(status)) if status >= 400 => {
                Self::Http(status)
            }
            _ => Self::Outcome(outcome),
        }
    }

    /// How it is told apart ("http", "grpc", "outcome"), its code and its name.
    pub fn describe(self) -> (&'static str, Option<u32>, String) {
        match self {
            Self::Http(status) => {
                let reason = http::StatusCode::from_u16(status).ok();
                let name = match reason.and_then(|status| status.canonical_reason()) {
                    Some(reason) => format!("{status} {reason}"),
                    None => status.to_string(),
                };
                ("http", Some(status.into()), name)
            }
            Self::Grpc(code) => {
                let known = GRPC_STATUS.get(code as usize).map(|name| (*name).to_owned());
                ("grpc", Some(code), known.unwrap_or_else(|| format!("CODE_{code}")))
            }
            Self::Outcome(outcome) => ("outcome", None, outcome.name().to_owned()),
        }
    }
}

struct Entry {
    count: u64,
    earliest: Smallest<Order, Sample>,
}

impl Default for Entry {
    fn default() -> Self {
        Self { count: 0, earliest: Smallest::new(EARLIEST) }
    }
}

/// Failed transactions by how they failed.
#[derive(Default)]
pub struct Failures(BTreeMap<Cause, Entry>);

impl Failures {
    /// Adds a transaction whose outcome is an error.
    pub fn add(&mut self, item: &Item<'_>) {
        let mut cause = Cause::of(item);
        if self.0.len() >= FAILURES && !self.0.contains_key(&cause) {
            cause = Cause::Outcome(item.transaction.outcome);
        }
        let entry = self.0.entry(cause).or_default();
        entry.count += 1;
        entry.earliest.add(order(item), || sample(item));
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: Self) {
        for (cause, theirs) in other.0 {
            let entry = self.0.entry(cause).or_default();
            entry.count += theirs.count;
            entry.earliest.merge(theirs.earliest);
        }
    }

    /// Most frequent first.
    pub fn finish(self) -> Vec<Failure> {
        let mut failures: Vec<_> = self
            .0
            .into_iter()
            .map(|(cause, entry)| {
                let (by, code, name) = cause.describe();
                Failure { by, code, name, count: entry.count, samples: entry.earliest.finish() }
            })
            .collect();
        // Stable: causes of the same count stay in their order.
        failures.sort_by_key(|failure| Reverse(failure.count));
        failures
    }
}

/// Text of the wire, cut where it is longer than `bytes`.
pub fn text_up_to(text: &[u8], bytes: usize) -> String {
    match text.get(..bytes) {
        Some(head) if text.len() > bytes => text_of(head) + "…",
        _ => text_of(text),
    }
}

/// What json says of a transaction.
#[cold]
pub fn sample(item: &Item<'_>) -> Sample {
    let transaction = item.transaction;
    let text = |text: Option<&[u8]>| text.map(|text| text_up_to(text, TEXT_BYTES));
    Sample {
        start: transaction.start().map(Time),
        latency_ns: transaction.latency_ns(),
        duration_ns: transaction.duration_ns(),
        connection: item.connection,
        index: item.index,
        stream: transaction.stream,
        client: item.client,
        server: item.server,
        protocol: transaction.protocol.to_owned(),
        host: text(transaction.request_text(|m| m.authority)),
        method: text(transaction.request_text(|m| m.method)),
        path: text(transaction.request_text(|m| m.path)),
        status: transaction.status(),
        grpc_status: transaction.grpc.as_ref().map(|grpc| grpc.status_name()),
        outcome: transaction.outcome.name().to_owned(),
        completeness: transaction.completeness.name().to_owned(),
        id: item.id().to_string(),
        client_name: item.client_end.name().map(|name| name.to_string()),
        server_name: item.server_end.name().map(|name| name.to_string()),
        service: item.server_end.service_text(),
    }
}
