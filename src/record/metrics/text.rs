//! A snapshot as text: the format of Prometheus (0.0.4), or OpenMetrics 1.0
//! for those that ask. The two differ in how a counter's family is called and
//! in the end. Pure.

use std::fmt::Write;

use super::{Board, Kind, Metric, Sample, Snapshot};
use crate::record::writer::Loss;

/// Reasons for a loss whose bytes nobody counted: they are not said to be 0.
const WITHOUT_BYTES: [&str; 3] = ["ring_other", "table_full", "missed_runs"];

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for. Prometheus has OpenMetrics among what
    /// it takes; who says nothing gets the older one.
    pub fn asked_for(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// As HTTP calls it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Everything that is told, as text.
pub fn render(board: &Board, format: Format) -> String {
    let snapshot = board.snapshot();
    let mut out = String::with_capacity(8 << 10);
    let began = "Start time of the process, seconds since 1970.";
    family(&mut out, format, &gauge("process_start_time_seconds", began, board.began));
    let ready = u64::from(board.readiness().is_ok());
    let help = "Whether all programs are attached and the recording goes on.";
    family(&mut out, format, &gauge("perisco_ready", help, ready as f64));
    for metric in metrics(&snapshot).iter().chain(&snapshot.more) {
        family(&mut out, format, metric);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn metrics(snapshot: &Snapshot) -> Vec<Metric> {
    let mut all = vec![info(snapshot)];
    all.extend(traffic(snapshot));
    all.extend(missing(snapshot));
    all.extend(files(snapshot));
    all
}

fn info(snapshot: &Snapshot) -> Metric {
    let labels = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("back_end", snapshot.back_end.clone()),
    ];
    let help = "Always 1: the version of perisco and the back end in use.";
    let samples = vec![Sample { labels, value: 1.0 }];
    Metric { name: "perisco_build_info", kind: Kind::Gauge, help, samples }
}

/// What was recorded.
fn traffic(snapshot: &Snapshot) -> [Metric; 9] {
    let Snapshot { summary, counters, .. } = snapshot;
    [
        counter("perisco_events", "Events read from the ring buffer.", snapshot.events),
        counter("perisco_packets", "Packets written.", summary.packets),
        counter("perisco_payload_bytes", "Payload written, before compression.", summary.bytes),
        counter("perisco_connections", "Connections with a packet.", summary.connections),
        gauge(
            "perisco_open_connections",
            "Connections that are followed now.",
            snapshot.open as f64,
        ),
        counter(
            "perisco_filtered_events",
            "Calls or packets with payload that the filters kept out.",
            counters.filtered,
        ),
        counter(
            "perisco_unowned_events",
            "Of the filtered: those kept out because the process was not known.",
            counters.unowned,
        ),
        gauge("perisco_ring_size_bytes", "Size of the ring buffer.", snapshot.ring_bytes as f64),
        gauge(
            "perisco_ring_used_bytes",
            "The most that was in the ring buffer in the last half second.",
            snapshot.ring_used_bytes as f64,
        ),
    ]
}

/// What was not recorded, or not as it was.
fn missing(snapshot: &Snapshot) -> [Metric; 7] {
    let Snapshot { summary, counters, losses, .. } = snapshot;
    let by_reason = |name, help, value: fn(&Loss) -> Option<u64>| {
        let sample = |loss: &Loss| {
            let labels = vec![("reason", loss.reason.to_owned())];
            Some(Sample { labels, value: value(loss)? as f64 })
        };
        Metric {
            name,
            kind: Kind::Counter,
            help,
            samples: losses.iter().filter_map(sample).collect(),
        }
    };
    [
        by_reason(
            "perisco_lost_events",
            "Events lost, or cut short (reason filling), by reason.",
            |loss| Some(loss.events),
        ),
        by_reason(
            "perisco_lost_bytes",
            "Payload of the lost, by reason, where it is known.",
            |loss| (!WITHOUT_BYTES.contains(&loss.reason)).then_some(loss.bytes),
        ),
        // Gauges: what is found later fills a gap.
        gauge("perisco_gaps", "Ranges of the streams that are not written.", summary.gaps as f64),
        gauge("perisco_gap_bytes", "Bytes in these ranges.", summary.gap_bytes as f64),
        counter(
            "perisco_malformed_events",
            "Events that made no sense: a bug.",
            counters.malformed + summary.malformed,
        ),
        counter(
            "perisco_evicted_connections",
            "Connections forgotten because there were too many at once.",
            summary.evicted,
        ),
        counter(
            "perisco_snapped_bytes",
            "Payload cut off by the snap length.",
            summary.snapped_bytes,
        ),
    ]
}

/// The files.
fn files(snapshot: &Snapshot) -> [Metric; 6] {
    let Snapshot { summary, .. } = snapshot;
    let removed = |reason: &str, value: u64| Sample {
        labels: vec![("reason", reason.to_owned())],
        value: value as f64,
    };
    [
        counter("perisco_files", "Files begun.", summary.files),
        Metric {
            name: "perisco_removed_files",
            kind: Kind::Counter,
            help: "Files removed: for --keep, or because the disk was full.",
            samples: vec![
                removed("keep", summary.removed_files),
                removed("disk_full", summary.removed_for_space),
            ],
        },
        counter(
            "perisco_written_bytes",
            "Bytes written to files or standard output, after compression.",
            summary.written_bytes,
        ),
        gauge(
            "perisco_disk_bytes",
            "Bytes in the files of this recording that are still there.",
            snapshot.disk_bytes as f64,
        ),
        gauge("perisco_disk_files", "How many those are.", snapshot.disk_files as f64),
        counter(
            "perisco_write_errors",
            "Failed writes that ended the recording.",
            snapshot.write_errors,
        ),
    ]
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Metric {
    Metric::plain(name, Kind::Counter, help, value as f64)
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Metric {
    Metric::plain(name, Kind::Gauge, help, value)
}

/// A metric with its values; nothing if it has none.
fn family(out: &mut String, format: Format, metric: &Metric) {
    let Metric { name, kind, help, samples } = metric;
    if samples.is_empty() {
        return;
    }
    let suffix = if *kind == Kind::Counter { "_total" } else { "" };
    let named = if format == Format::OpenMetrics { "" } else { suffix };
    let kind = if *kind == Kind::Counter { "counter" } else { "gauge" };
    let help = escaped(help, false);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name}{named} {help}\n# TYPE {name}{named} {kind}");
    for Sample { labels, value } in samples {
        let _ = write!(out, "{name}{suffix}");
        for (index, (key, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(out, "{before}{key}=\"{}\"", escaped(value, true));
        }
        let _ = writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// Both formats escape backslash and newline, in labels the quote too.
fn escaped(text: &str, label: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if label => out.push_str("\\\""),
            _ => out.push(char),
        }
    }
    out
}
