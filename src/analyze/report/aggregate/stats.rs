//! Sums over transactions.

use super::latency::{Latency, Value};
use crate::analyze::report::model::{ClassCount, Figures};
use crate::analyze::transaction::{Message, Outcome, Transaction};

/// What of a transaction is added up, worked out once for all sums.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub error: bool,
    unknown: bool,
    request_body_bytes: u64,
    response_body_bytes: u64,
    pub latency: Option<Value>,
}

impl Facts {
    /// Those of a transaction and its latency, which the caller already knows.
    #[inline]
    pub fn new(transaction: &Transaction, latency_ns: Option<u64>) -> Self {
        let body_bytes = |message: &Option<Message>| message.as_ref().map_or(0, |m| m.body_bytes);
        Self {
            error: transaction.outcome.is_error(),
            unknown: transaction.outcome == Outcome::Unknown,
            request_body_bytes: body_bytes(&transaction.request),
            response_body_bytes: body_bytes(&transaction.response),
            latency: latency_ns.map(Value::new),
        }
    }
}

/// What a set of transactions adds up to.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub count: u64,
    errors: u64,
    unknown: u64,
    request_body_bytes: u64,
    response_body_bytes: u64,
    latency: Latency,
}

impl Stats {
    /// Adds a transaction.
    #[inline]
    pub fn add(&mut self, facts: &Facts) {
        self.count += 1;
        self.errors += u64::from(facts.error);
        self.unknown += u64::from(facts.unknown);
        // Sizes are what the wire claims, so hostile ones must not overflow.
        add(&mut self.request_body_bytes, facts.request_body_bytes);
        add(&mut self.response_body_bytes, facts.response_body_bytes);
        if let Some(latency) = facts.latency {
            self.latency.add(latency);
        }
    }

    /// Adds another set.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.unknown += other.unknown;
        add(&mut self.request_body_bytes, other.request_body_bytes);
        add(&mut self.response_body_bytes, other.response_body_bytes);
        self.latency.merge(&other.latency);
    }

    /// How many latencies there are in each octave.
    pub fn octaves(&self) -> Vec<u64> {
        self.latency.octaves()
    }

    /// How many latencies there are in each class.
    pub fn latencies(&self) -> Vec<ClassCount> {
        self.latency.classes()
    }

    /// The figures of the report, for a capture of that many nanoseconds.
    pub fn figures(mut self, span_ns: Option<u64>) -> Figures {
        let share = |part: u64| if self.count == 0 { 0.0 } else { part as f64 / self.count as f64 };
        let seconds = span_ns.filter(|span| *span > 0).map(|span| span as f64 / 1e9);
        Figures {
            count: self.count,
            rate_per_second: seconds.map(|seconds| self.count as f64 / seconds),
            errors: self.errors,
            error_share: share(self.errors),
            unknown: self.unknown,
            unknown_share: share(self.unknown),
            request_body_bytes: self.request_body_bytes,
            response_body_bytes: self.response_body_bytes,
            latency: self.latency.percentiles(),
        }
    }
}

/// Adds without wrapping.
#[inline]
pub fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}
