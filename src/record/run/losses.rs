//! What the programs have counted as lost, by the reasons that the file gives.

use crate::record::counters::Counters;
use crate::record::writer::Loss;

/// Reasons for a loss.
pub const LOSSES: usize = 7;

/// The programs' counts, as the file has them.
pub fn losses(counters: &Counters) -> [Loss; LOSSES] {
    let loss = |reason, events, bytes| Loss { reason, events, bytes, whole: true };
    [
        Loss { whole: false, ..loss("filling", counters.cut, counters.cut_bytes) },
        loss(
            "ring",
            counters.lost.saturating_sub(counters.recovered),
            counters.lost_bytes.saturating_sub(counters.recovered_bytes),
        ),
        loss("ring_other", counters.lost_other, 0),
        loss("unreadable", counters.unreadable, counters.unreadable_bytes),
        loss("call_limit", counters.over_limit, counters.over_limit_bytes),
        loss("table_full", counters.table_full, 0),
        loss("missed_runs", counters.missed_runs, 0),
    ]
}
