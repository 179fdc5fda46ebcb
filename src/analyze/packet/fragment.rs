//! IP fragments back to datagrams (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! Where fragments overlap the first copy wins. Fragments cut by the capture
//! count with their length on the wire; the datagram then has the bytes up to
//! the first that is missing and its true length.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use super::Network;
use super::captured::Captured;
use crate::time::Timestamp;

/// Bytes of unfinished datagrams held at once. TCP avoids fragments, so even
/// a busy tunnel with a wrong MTU has only some packets under way.
pub const FRAGMENT_BYTES: usize = 16 << 20;

/// Unfinished datagrams held at once, against many tiny ones.
pub const FRAGMENT_DATAGRAMS: usize = 4096;

/// Nanoseconds of capture time that a datagram may take, as Linux allows it
/// (`net.ipv4.ipfrag_time`). Identifications are used again after that.
pub const FRAGMENT_AGE_NANOS: i64 = 30_000_000_000;

/// Bytes of the longest datagram: IP's length fields have 16 bits.
pub const DATAGRAM_BYTES: usize = 65_535;

/// Finished datagrams remembered, to know fragments that were captured on
/// several interfaces. The copies follow each other closely.
const RECENT_DATAGRAMS: usize = 32;

/// What became of fragments. Every datagram that a limit cost is in here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounters {
    /// Datagrams put together.
    pub reassembled: u64,
    /// Datagrams given up as older than [`FRAGMENT_AGE_NANOS`].
    pub expired: u64,
    /// Datagrams given up for [`FRAGMENT_BYTES`] or [`FRAGMENT_DATAGRAMS`].
    pub evicted: u64,
    /// Fragments that brought nothing new.
    pub duplicates: u64,
}

/// One fragment as its IP header tells.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    pub network: Network,
    /// Identification: 16 bits of IPv4, 32 of IPv6.
    pub id: u32,
    /// What the datagram holds.
    pub protocol: u8,
    /// Whether `protocol` tells datagrams apart: not in IPv6, where only the
    /// first fragment's counts.
    pub key_protocol: bool,
    /// Bytes of the datagram before this fragment.
    pub offset: usize,
    /// Whether others follow.
    pub more: bool,
    pub bytes: Captured<'a>,
}

/// What adding a fragment led to.
#[derive(Debug)]
pub(super) enum Added {
    /// Fragments are missing still.
    Kept,
    /// The datagram is whole: its bytes up to the first that was not
    /// captured, and its length on the wire.
    Whole { protocol: u8, data: Vec<u8>, wire: usize },
    /// It cannot belong to a datagram.
    Malformed(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    protocol: Option<u8>,
}

/// Sorted byte ranges that neither touch nor overlap.
#[derive(Debug, Default)]
struct Runs(Vec<(usize, usize)>);

impl Runs {
    /// Adds `start..end` and calls `fresh` for each part that was not covered.
    fn insert(&mut self, start: usize, end: usize, mut fresh: impl FnMut(usize, usize)) {
        if start >= end {
            return;
        }
        let first = self.0.partition_point(|run| run.1 < start);
        let mut last = first;
        let mut merged = (start, end);
        let mut at = start;
        while let Some(&(from, to)) = self.0.get(last).filter(|run| run.0 <= end) {
            if at < from {
                fresh(at, from);
            }
            at = at.max(to);
            merged = (merged.0.min(from), merged.1.max(to));
            last += 1;
        }
        if at < end {
            fresh(at, end);
        }
        self.0.splice(first..last, [merged]);
    }

    /// Where the run that begins at 0 ends.
    fn prefix(&self) -> usize {
        self.0.first().filter(|run| run.0 == 0).map_or(0, |run| run.1)
    }

    /// The end of the last run.
    fn end(&self) -> usize {
        self.0.last().map_or(0, |run| run.1)
    }

    fn contains(&self, start: usize, end: usize) -> bool {
        start >= end || self.0.iter().any(|run| run.0 <= start && end <= run.1)
    }
}

#[derive(Debug, Default)]
struct Datagram {
    /// Bytes from its start; meaningful where `captured`.
    buffer: Vec<u8>,
    captured: Runs,
    /// What was on the wire.
    covered: Runs,
    /// Its length, once the last fragment came.
    length: Option<usize>,
    /// Of the first fragment.
    protocol: u8,
    /// When its first fragment came.
    since: Option<Timestamp>,
    /// Orders datagrams by arrival.
    serial: u64,
}

impl Datagram {
    /// Adds a fragment that ends at `end`; None where it contradicts others.
    /// True if it brought anything new.
    fn add(&mut self, fragment: &Fragment<'_>, end: usize) -> Option<bool> {
        match self.length {
            Some(length) if end > length || (!fragment.more && end != length) => return None,
            None if !fragment.more && self.covered.end() > end => return None,
            None if !fragment.more => self.length = Some(end),
            _ => {}
        }
        if fragment.offset == 0 {
            self.protocol = fragment.protocol;
        }
        let mut news = !fragment.more && self.covered.0.is_empty();
        self.covered.insert(fragment.offset, end, |_, _| news = true);
        let data = fragment.bytes.data;
        let captured_end = end.min(fragment.offset + data.len());
        if self.buffer.len() < captured_end {
            self.buffer.resize(captured_end, 0);
        }
        let buffer = &mut self.buffer;
        self.captured.insert(fragment.offset, captured_end, |from, to| {
            news = true;
            let piece = data.get(from - fragment.offset..to - fragment.offset);
            if let (Some(target), Some(piece)) = (buffer.get_mut(from..to), piece) {
                target.copy_from_slice(piece);
            }
        });
        Some(news)
    }

    fn is_whole(&self) -> bool {
        self.length.is_some_and(|length| self.covered.prefix() >= length)
    }

    /// Whether the same bytes at the same place are known already.
    fn holds(&self, fragment: &Fragment<'_>, end: usize) -> bool {
        let captured_end = end.min(fragment.offset + fragment.bytes.data.len());
        self.covered.contains(fragment.offset, end)
            && (fragment.more || self.length == Some(end))
            && self.captured.contains(fragment.offset, captured_end)
            && self.buffer.get(fragment.offset..captured_end)
                == fragment.bytes.data.get(..captured_end.saturating_sub(fragment.offset))
    }
}

/// Holds fragments until their datagrams are whole.
#[derive(Debug, Default)]
pub(super) struct Reassembler {
    open: HashMap<Key, Datagram>,
    /// Open datagrams by arrival.
    order: BTreeMap<u64, Key>,
    /// Finished ones, oldest first.
    recent: VecDeque<(Key, Datagram)>,
    /// Bytes of all buffers in `open`.
    held: usize,
    next_serial: u64,
    counters: FragmentCounters,
}

impl Reassembler {
    pub fn counters(&self) -> FragmentCounters {
        self.counters
    }

    pub fn unfinished(&self) -> usize {
        self.open.len()
    }

    /// Adds a fragment captured at `at`.
    pub fn add(&mut self, fragment: &Fragment<'_>, at: Option<Timestamp>) -> Added {
        let mut end = fragment.offset + fragment.bytes.wire;
        if fragment.more {
            // Offsets count eight bytes, so what is over could never join.
            end -= end % 8;
        }
        if end > DATAGRAM_BYTES {
            return Added::Malformed("ip fragment beyond 65535 bytes");
        }
        if end <= fragment.offset && fragment.more {
            return Added::Malformed("ip fragment without data");
        }
        let key = Key {
            source: fragment.network.source,
            destination: fragment.network.destination,
            id: fragment.id,
            protocol: fragment.key_protocol.then_some(fragment.protocol),
        };
        self.expire(key, at);
        if self.is_repeated(key, fragment, end) {
            self.counters.duplicates += 1;
            return Added::Kept;
        }
        let added = self.add_to_datagram(key, fragment, end, at);
        self.evict(key);
        added
    }

    fn add_to_datagram(
        &mut self,
        key: Key,
        fragment: &Fragment<'_>,
        end: usize,
        at: Option<Timestamp>,
    ) -> Added {
        let serial = self.next_serial;
        let datagram = self.open.entry(key).or_insert_with(|| {
            self.next_serial += 1;
            self.order.insert(serial, key);
            Datagram { since: at, serial, ..Datagram::default() }
        });
        let before = datagram.buffer.len();
        let Some(news) = datagram.add(fragment, end) else {
            return Added::Malformed("ip fragment contradicts its datagram's length");
        };
        self.counters.duplicates += u64::from(!news);
        self.held += datagram.buffer.len() - before;
        if !datagram.is_whole() {
            return Added::Kept;
        }
        let Some(datagram) = self.remove(key) else { return Added::Kept };
        self.counters.reassembled += 1;
        let captured = datagram.captured.prefix();
        let data = datagram.buffer.get(..captured).unwrap_or_default().to_vec();
        let wire = datagram.length.unwrap_or(captured);
        let protocol = datagram.protocol;
        if self.recent.len() == RECENT_DATAGRAMS {
            self.recent.pop_front();
        }
        self.recent.push_back((key, datagram));
        Added::Whole { protocol, data, wire }
    }

    /// Whether a finished datagram had this very fragment. One with the same
    /// identification but other bytes is the start of a new datagram.
    fn is_repeated(&mut self, key: Key, fragment: &Fragment<'_>, end: usize) -> bool {
        let Some(index) = self.recent.iter().position(|recent| recent.0 == key) else {
            return false;
        };
        let repeated =
            self.recent.get(index).is_some_and(|(_, datagram)| datagram.holds(fragment, end));
        if !repeated {
            self.recent.remove(index);
        }
        repeated
    }

    /// Gives up datagrams that have waited too long at `at`.
    fn expire(&mut self, key: Key, at: Option<Timestamp>) {
        let Some(at) = at else { return };
        let age = |since: Option<Timestamp>| since.map_or(0, |since| at.since(since));
        // Also if the clock went back: it is not the same datagram then.
        if self
            .open
            .get(&key)
            .is_some_and(|datagram| age(datagram.since).saturating_abs() > FRAGMENT_AGE_NANOS)
        {
            self.remove(key);
            self.counters.expired += 1;
        }
        while let Some((_, &oldest)) = self.order.first_key_value()
            && self.open.get(&oldest).is_some_and(|it| age(it.since) > FRAGMENT_AGE_NANOS)
        {
            self.remove(oldest);
            self.counters.expired += 1;
        }
        while self.recent.front().is_some_and(|(_, it)| age(it.since) > FRAGMENT_AGE_NANOS) {
            self.recent.pop_front();
        }
    }

    /// Gives up the oldest datagrams until the limits hold; `key` last.
    fn evict(&mut self, key: Key) {
        while self.held > FRAGMENT_BYTES || self.open.len() > FRAGMENT_DATAGRAMS {
            let oldest = self.order.values().find(|it| **it != key).copied().unwrap_or(key);
            if self.remove(oldest).is_none() {
                return;
            }
            self.counters.evicted += 1;
        }
    }

    fn remove(&mut self, key: Key) -> Option<Datagram> {
        let datagram = self.open.remove(&key)?;
        self.order.remove(&datagram.serial);
        self.held -= datagram.buffer.len();
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_report_what_is_new_and_merge() {
        let mut runs = Runs::default();
        let mut fresh = Vec::new();
        for (start, end) in [(8, 16), (24, 32), (40, 48), (12, 44), (0, 8), (5, 5), (0, 48)] {
            runs.insert(start, end, |from, to| fresh.push((from, to)));
        }
        assert_eq!(fresh, [(8, 16), (24, 32), (40, 48), (16, 24), (32, 40), (0, 8)]);
        assert_eq!(runs.0, [(0, 48)]);
        assert_eq!((runs.prefix(), runs.end()), (48, 48));
    }
}
