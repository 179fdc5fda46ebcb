//! The dynamic table of one direction, without its text.

use std::collections::VecDeque;

use crate::analyze::decode::http2::hpack::table::DEFAULT_SIZE;
use crate::redact::rules::{Class, Rules};

/// What RFC 7541, section 4.1, adds to the size of each entry.
pub const OVERHEAD: u64 = 32;

/// Size of all entries kept at most, whatever the peers agree on: as in the analyzer.
const KEPT_BYTES: u64 = 256 << 10;

#[derive(Clone, Copy, Debug)]
struct Entry {
    class: Class,
    /// Characters of its name.
    name: u64,
    size: u64,
}

/// The dynamic table, without its text.
#[derive(Debug)]
pub struct Table {
    entries: VecDeque<Entry>,
    size: u64,
    /// What the encoder keeps to; None where that may have been changed unseen.
    max: Option<u64>,
    /// Older entries may exist that were not seen.
    open: bool,
}

impl Table {
    /// An empty one; `open` where earlier entries may have been missed.
    pub fn new(open: bool) -> Self {
        let max = (!open).then_some(DEFAULT_SIZE as u64);
        Self { entries: VecDeque::new(), size: 0, max, open }
    }

    /// Class and length of the name at a dynamic index, from 0 for the newest. The length of
    /// one that was not seen is not known: entries are never thought larger than they are.
    pub fn get(&self, at: usize, rules: &Rules) -> Option<(Class, u64)> {
        let place = self.entries.len().checked_sub(at + 1);
        let entry = place.and_then(|place| self.entries.get(place));
        let known = entry.map(|entry| (entry.class, entry.name));
        known.or_else(|| self.open.then(|| (rules.unknown(), 0)))
    }

    /// The encoder's size update (RFC 7541, section 6.3).
    pub fn resize(&mut self, max: u64) {
        self.max = Some(max);
        if self.shrink(max) || max < OVERHEAD {
            self.open = false;
        }
    }

    /// Inserts an entry as the newest (RFC 7541, section 4.4).
    pub fn insert(&mut self, class: Class, name: u64, size: u64) {
        if let Some(max) = self.max {
            let evicted = self.shrink(max.saturating_sub(size));
            if size > max {
                // Not an error: it empties the table (RFC 7541, section 4.4).
                self.open = false;
                return;
            }
            if evicted {
                self.open = false;
            }
        }
        if self.shrink(KEPT_BYTES.saturating_sub(size)) {
            self.open = true;
        }
        self.entries.push_back(Entry { class, name, size });
        self.size += size;
    }

    /// Evicts down to a size; whether any had to go.
    fn shrink(&mut self, max: u64) -> bool {
        let before = self.entries.len();
        while self.size > max {
            let Some(entry) = self.entries.pop_front() else { break };
            self.size -= entry.size;
        }
        self.entries.len() < before
    }
}
