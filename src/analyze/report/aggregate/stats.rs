//! Sums over transactions.

use super::latency::Latency;
use crate::analyze::report::model::Figures;
use crate::analyze::transaction::{Outcome, Transaction};

/// What a set of transactions adds up to.
#[derive(Debug, Default)]
pub struct Stats {
    pub count: u64,
    errors: u64,
    unknown: u64,
    request_body_bytes: u64,
    response_body_bytes: u64,
    latency: Latency,
}

impl Stats {
    /// Adds a transaction and its latency, which the caller already knows.
    #[inline]
    pub fn add(&mut self, transaction: &Transaction, latency_ns: Option<u64>) {
        self.count += 1;
        self.errors += u64::from(transaction.outcome.is_error());
        self.unknown += u64::from(transaction.outcome == Outcome::Unknown);
        // Sizes are what the wire claims, so hostile ones must not overflow.
        if let Some(request) = &transaction.request {
            add(&mut self.request_body_bytes, request.body_bytes);
        }
        if let Some(response) = &transaction.response {
            add(&mut self.response_body_bytes, response.body_bytes);
        }
        if let Some(nanos) = latency_ns {
            self.latency.add(nanos);
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
pub fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}
