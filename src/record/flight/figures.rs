//! What a ring and its triggers have done, as counts for `/metrics`.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::now::Now;
use super::store::Store;
use crate::record::metrics::{Kind, Metric, Sample};

/// Counts that only grow, but for those of `saved`.
#[derive(Debug, Default)]
pub struct Figures {
    /// Transactions that a trigger asked for, by number of the trigger.
    pub fired: Vec<AtomicU64>,
    /// Calls by signal or on the control socket.
    pub called: AtomicU64,
    /// Triggers that found the limit of the hour reached.
    pub refused: AtomicU64,
    /// Captures that were saved.
    pub saved: AtomicU64,
    /// Captures that could not be saved.
    pub failed: AtomicU64,
    /// Saved captures that were removed to make room for others.
    pub saved_removed: AtomicU64,
    /// Bytes of those that are there.
    pub saved_bytes: AtomicU64,
    /// Packets that the judge did not get.
    pub unjudged: AtomicU64,
    /// Transactions of which nobody knows whether a trigger asks for them.
    pub undecided: AtomicU64,
    /// Transactions that were looked at.
    pub judged: AtomicU64,
    /// Times that the judge was started again.
    pub restarts: AtomicU64,
}

impl Figures {
    /// For so many triggers.
    pub fn new(triggers: usize) -> Self {
        let fired = std::iter::repeat_with(AtomicU64::default).take(triggers).collect();
        Self { fired, ..Self::default() }
    }

    /// As metrics.
    pub fn metrics(&self, triggers: &[String], store: &Store, now: Now) -> Vec<Metric> {
        let mut all = ring(store, now);
        let value = |count: &AtomicU64| count.load(Relaxed) as f64;
        let counter =
            |name, help, count: &AtomicU64| Metric::plain(name, Kind::Counter, help, value(count));
        let labelled = |key: &'static str, text: &str, count| Sample {
            labels: vec![(key, text.to_owned())],
            value: value(count),
        };
        let fired = triggers.iter().zip(&self.fired);
        let mut samples: Vec<_> =
            fired.map(|(expression, count)| labelled("trigger", expression, count)).collect();
        samples.push(labelled("trigger", "call", &self.called));
        let help = "Times that a trigger fired: transactions that it asks for, signals and calls.";
        all.push(Metric { name: "perisco_triggers", kind: Kind::Counter, help, samples });
        all.extend([
            counter(
                "perisco_triggers_refused",
                "Triggers that kept nothing because of --trigger-limit.",
                &self.refused,
            ),
            counter("perisco_saved", "Captures that triggers have kept.", &self.saved),
            counter("perisco_saved_failed", "Captures that could not be kept.", &self.failed),
            counter(
                "perisco_saved_removed",
                "Kept captures that were removed for --keep-saved.",
                &self.saved_removed,
            ),
            Metric::plain(
                "perisco_saved_bytes",
                Kind::Gauge,
                "Bytes on disk of the captures that triggers have kept.",
                value(&self.saved_bytes),
            ),
        ]);
        if !triggers.is_empty() {
            all.extend([
                counter(
                    "perisco_trigger_transactions",
                    "Transactions that triggers were asked about.",
                    &self.judged,
                ),
                counter(
                    "perisco_trigger_undecided",
                    "Transactions of which what decides was not seen.",
                    &self.undecided,
                ),
                counter(
                    "perisco_trigger_dropped_packets",
                    "Packets that no trigger has seen: the process that looks was behind or gone.",
                    &self.unjudged,
                ),
                counter(
                    "perisco_trigger_restarts",
                    "Times that the process that looks was started again.",
                    &self.restarts,
                ),
            ]);
        }
        all
    }
}

fn ring(store: &Store, now: Now) -> Vec<Metric> {
    let (figures, limits) = (store.figures(), store.limits());
    let gauge = |name, help, value| Metric::plain(name, Kind::Gauge, help, value);
    let oldest = figures.oldest.map_or(0, |oldest| now.boot.saturating_sub(oldest));
    let mut all = vec![
        gauge(
            "perisco_segments_bytes",
            "Bytes on disk of the ring's segments, in whole blocks.",
            figures.bytes as f64,
        ),
        gauge("perisco_segments", "Segments of the ring.", figures.segments as f64),
        gauge(
            "perisco_segments_age_seconds",
            "How far the ring reaches back.",
            oldest as f64 / 1e9,
        ),
        Metric::plain(
            "perisco_segments_torn",
            Kind::Counter,
            "Segments that had to leave while they were being saved.",
            figures.torn as f64,
        ),
    ];
    let keeps = [
        limits
            .bytes
            .map(|bytes| gauge("perisco_keep_bytes", "The ring's limit of bytes.", bytes as f64)),
        limits.time.map(|time| {
            gauge("perisco_keep_seconds", "The ring's limit of time.", time.as_secs_f64())
        }),
    ];
    all.extend(keeps.into_iter().flatten());
    all
}
