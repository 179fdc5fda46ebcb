//! What the BPF programs counted: the per-CPU array `counters` of
//! `bpf/event.h`, summed. Knows nothing of maps or the file.

/// Counts since the start, each of them only ever growing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets or calls of which only the beginning was kept, because the ring
    /// buffer was filling.
    pub cut: u64,
    /// Bytes of payload cut off those.
    pub cut_bytes: u64,
    /// Data events that found the ring buffer full.
    pub lost: u64,
    /// Bytes of payload of those.
    pub lost_bytes: u64,
    /// Other events (open, close, owner, …) that found it full.
    pub lost_other: u64,
    /// Data events whose memory could not be read.
    pub unreadable: u64,
    /// Bytes of payload of those.
    pub unreadable_bytes: u64,
    /// Calls or packets of more bytes than the programs copy.
    pub over_limit: u64,
    /// Bytes beyond that limit.
    pub over_limit_bytes: u64,
    /// Calls that were not seen: a table of the programs was full, or the kernel
    /// left the programs out ([`missed_runs`](Self::missed_runs)).
    pub table_full: u64,
    /// Calls or packets with payload that the filters kept out.
    pub filtered: u64,
    /// Of [`filtered`](Self::filtered): kept out because the process was not known.
    pub unowned: u64,
    /// Of [`lost`](Self::lost): copied from the other end of the connection after all.
    pub recovered: u64,
    /// Bytes of payload of those.
    pub recovered_bytes: u64,
    /// Events that were not told because their process, or its cgroup, had had
    /// its share of a ring buffer that was nearly full (`bpf/share.h`).
    pub over_share: u64,
    /// Bytes of payload of those.
    pub over_share_bytes: u64,
    /// Runs of a program that the kernel left out because the same program was
    /// running on that CPU (`recursion_misses` of the program; Linux 5.12).
    pub missed_runs: u64,
    /// Records in the ring buffer that do not fit the layout of `event.h`.
    pub malformed: u64,
}

/// Entries of the array `counters` (`PERISCO_COUNTERS`).
pub const COUNTERS: usize = 16;

impl Counters {
    /// From the values of the array, in its order.
    pub fn from_array(values: &[u64; COUNTERS]) -> Self {
        let [
            cut,
            cut_bytes,
            lost,
            lost_bytes,
            lost_other,
            unreadable,
            unreadable_bytes,
            over_limit,
            over_limit_bytes,
            table_full,
            filtered,
            unowned,
            recovered,
            recovered_bytes,
            over_share,
            over_share_bytes,
        ] = *values;
        Self {
            cut,
            cut_bytes,
            lost,
            lost_bytes,
            lost_other,
            unreadable,
            unreadable_bytes,
            over_limit,
            over_limit_bytes,
            table_full,
            filtered,
            unowned,
            recovered,
            recovered_bytes,
            over_share,
            over_share_bytes,
            missed_runs: 0,
            malformed: 0,
        }
    }

    /// Whether anything that should be in the file is not.
    pub fn any_lost(&self) -> bool {
        self.cut > 0
            || self.lost > self.recovered
            || self.lost_other > 0
            || self.over_share > 0
            || self.unreadable > 0
            || self.over_limit > 0
            || self.table_full > 0
            || self.missed_runs > 0
            || self.malformed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_its_place() {
        let counters = Counters::from_array(&std::array::from_fn(|index| index as u64));
        assert_eq!((counters.cut, counters.lost_other), (0, 4));
        assert_eq!((counters.table_full, counters.unowned), (9, 11));
        assert_eq!((counters.recovered, counters.recovered_bytes), (12, 13));
        assert_eq!((counters.over_share, counters.over_share_bytes), (14, 15));
    }

    #[test]
    fn what_the_other_end_made_good_is_not_lost() {
        let mut counters = Counters { lost: 3, recovered: 3, filtered: 9, ..Counters::default() };
        assert!(!counters.any_lost());
        counters.recovered = 2;
        assert!(counters.any_lost());
    }
}
