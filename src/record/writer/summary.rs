//! What a recording was, for the user at its end.

use std::path::PathBuf;

use crate::redact::Report;

/// Events that are missing, or missing a part, for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why: `ring`, `unreadable`, …; the key in the file.
    pub reason: &'static str,
    /// Events so far.
    pub events: u64,
    /// Their payload in bytes, where it is known.
    pub bytes: u64,
    /// Nothing of these events is there: they are dropped packets.
    pub whole: bool,
}

impl Loss {
    /// Packets that are not there at all.
    pub(super) fn dropped(&self) -> u64 {
        if self.whole { self.events } else { 0 }
    }

    /// Its comments in the interface statistics; none if nothing was lost.
    pub(super) fn comments(&self) -> Vec<String> {
        let pair = |suffix: &str, value: u64| {
            (value > 0).then(|| format!("lost.{}{suffix}={value}", self.reason))
        };
        [pair("", self.events), pair("_bytes", self.bytes)].into_iter().flatten().collect()
    }
}

/// The whole recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Connections with at least one packet.
    pub connections: u64,
    /// Packets, synthesised ones counted.
    pub packets: u64,
    /// Payload in the file, bytes.
    pub bytes: u64,
    /// Payload cut off by the snap length, bytes.
    pub snapped_bytes: u64,
    /// Ranges of the streams that are not in the file.
    pub gaps: u64,
    /// Bytes in these ranges.
    pub gap_bytes: u64,
    /// Events lost, for all reasons.
    pub lost_events: u64,
    /// The same, for each reason.
    pub losses: Vec<Loss>,
    /// Events that made no sense: addresses of two families, none at all.
    pub malformed: u64,
    /// Connections forgotten because there were too many at once: what they
    /// said later is in the file as of a connection joined midway.
    pub evicted: u64,
    /// Files begun.
    pub files: u64,
    /// Files removed to keep no more than asked.
    pub removed_files: u64,
    /// Files removed because the disk was full.
    pub removed_for_space: u64,
    /// Bytes written, compressed.
    pub written_bytes: u64,
    /// The last file; None is standard output.
    pub last_file: Option<PathBuf>,
    /// What was redacted, if anything was to be; known at the end.
    pub redacted: Option<Report>,
    /// Server ports on which HTTP/2 without TLS was seen, at most 64:
    /// Wireshark must be told of those.
    pub http2_ports: Vec<u16>,
}
