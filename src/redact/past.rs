//! What came of the last bytes of a direction, for those that come again.

use std::collections::VecDeque;
use std::ops::Range;

use super::chunk::add;
use super::half::Late;

/// Ranges that are remembered of a direction at most: gaps and what was dropped. Beyond, the
/// oldest are forgotten with all before them.
const RANGES: usize = 4096;

/// What a range of a direction was, where it is not in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    /// It left.
    Dropped,
    /// It was missing; what becomes of it now.
    Missing(Late),
}

/// The last bytes as they went out. Places count from the first byte of the direction.
#[derive(Debug, Default)]
pub struct Past {
    bytes: VecDeque<u8>,
    /// The place behind the last byte.
    end: u64,
    absent: VecDeque<(Range<u64>, Absent)>,
    /// Before this place nothing is known any more.
    forgotten: u64,
}

impl Past {
    /// The place of the next byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that are remembered.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.absent.capacity() * size_of::<(Range<u64>, Absent)>()
    }

    /// Bytes went out but for the ranges `drops`; so many are remembered at most.
    pub fn sent(&mut self, bytes: &[u8], drops: &[Range<usize>], limit: usize) {
        for drop in drops {
            let range = self.end + drop.start as u64..self.end + drop.end as u64;
            self.absent(range, Absent::Dropped);
        }
        self.end += bytes.len() as u64;
        if limit > 0 {
            let from = bytes.len().saturating_sub(limit);
            let over = (self.bytes.len() + bytes.len() - from).saturating_sub(limit);
            self.bytes.drain(..over.min(self.bytes.len()));
            self.bytes.extend(&bytes[from..]);
        }
        self.tidy(limit);
    }

    /// So many bytes are missing.
    pub fn missing(&mut self, bytes: u64, late: Late, limit: usize) {
        self.absent(self.end..self.end + bytes, Absent::Missing(late));
        self.end += bytes;
        // Their places are taken by zeros, unless there are more than are remembered.
        if limit > 0 {
            let zeros = usize::try_from(bytes).map_or(limit, |bytes| bytes.min(limit));
            let over = (self.bytes.len() + zeros).saturating_sub(limit);
            self.bytes.drain(..over.min(self.bytes.len()));
            self.bytes.resize(self.bytes.len() + zeros, 0);
        }
        self.tidy(limit);
    }

    fn absent(&mut self, range: Range<u64>, absent: Absent) {
        match self.absent.back_mut() {
            Some((last, what)) if last.end == range.start && *what == absent => {
                last.end = range.end;
            }
            _ => self.absent.push_back((range, absent)),
        }
    }

    fn tidy(&mut self, limit: usize) {
        let known = if limit == 0 { 0 } else { self.end - self.bytes.len() as u64 };
        self.forgotten = self.forgotten.max(known);
        while self.absent.len() > RANGES
            || self.absent.front().is_some_and(|(range, _)| range.end <= self.forgotten)
        {
            let Some((range, _)) = self.absent.pop_front() else { break };
            self.forgotten = self.forgotten.max(range.end);
        }
    }

    /// Bytes come again, from the place `at` on, or come late. They become what went out before;
    /// what is not known any more leaves.
    pub fn again(&mut self, at: u64, bytes: &mut [u8], drops: &mut Vec<Range<usize>>) {
        let begin = self.end - self.bytes.len() as u64;
        let mut done = 0;
        while done < bytes.len() {
            let place = at + done as u64;
            let next = self.absent.partition_point(|(range, _)| range.end <= place);
            let found = self.absent.get(next).cloned();
            let left = bytes.len() - done;
            let until = |end: u64| usize::try_from(end - place).map_or(left, |n| n.min(left));
            let (count, keep) = match found {
                _ if place < self.forgotten => (until(self.forgotten), false),
                Some((range, what)) if range.start <= place => {
                    let count = until(range.end);
                    let keep = what == Absent::Missing(Late::Keep);
                    if keep {
                        self.came(next, place..place + count as u64, &bytes[done..done + count]);
                    }
                    (count, keep)
                }
                found => {
                    let count = until(found.map_or(u64::MAX, |(range, _)| range.start));
                    (count, self.copy(begin, place, &mut bytes[done..done + count]))
                }
            };
            if !keep {
                add(drops, done..done + count);
            }
            done += count;
        }
    }

    /// What was missing is there now.
    fn came(&mut self, nth: usize, place: Range<u64>, bytes: &[u8]) {
        let begin = self.end - self.bytes.len() as u64;
        for (at, byte) in (place.start..).zip(bytes) {
            let slot = at.checked_sub(begin).and_then(|at| usize::try_from(at).ok());
            if let Some(slot) = slot.and_then(|slot| self.bytes.get_mut(slot)) {
                *slot = *byte;
            }
        }
        // Where nothing is remembered, what comes twice cannot be told from what was missing.
        let Some((range, what)) = self.absent.get(nth).cloned() else { return };
        if !self.bytes.is_empty() {
            self.absent.remove(nth);
            let parts = [(place.end..range.end, what), (range.start..place.start, what)];
            for part in parts.into_iter().filter(|(range, _)| !range.is_empty()) {
                self.absent.insert(nth, part);
            }
        }
    }

    /// Overwrites by what went out; false where that is not known.
    fn copy(&self, begin: u64, place: u64, bytes: &mut [u8]) -> bool {
        let at = place.checked_sub(begin).and_then(|at| usize::try_from(at).ok());
        let Some(at) = at.filter(|at| at + bytes.len() <= self.bytes.len()) else { return false };
        bytes.iter_mut().zip(self.bytes.range(at..)).for_each(|(to, from)| *to = *from);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(past: &mut Past, at: u64, bytes: &[u8]) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut bytes, mut drops) = (bytes.to_vec(), Vec::new());
        past.again(at, &mut bytes, &mut drops);
        (bytes, drops)
    }

    #[test]
    fn what_comes_again_is_what_went_out() {
        let mut past = Past::default();
        past.sent(b"GET /?token=***", &[], 64);
        past.missing(4, Late::Keep, 64);
        past.missing(4, Late::Drop, 64);
        past.sent(b"abcdef", std::slice::from_ref(&(2..4)), 64);
        assert_eq!(again(&mut past, 12, b"abc").0, b"***");
        assert_eq!(
            again(&mut past, 10, b"xxxxx12345678XXYYZ"),
            (b"n=***12345678abYYe".to_vec(), vec![9..13, 15..17])
        );
        // The late bytes are known by now.
        assert_eq!(again(&mut past, 15, b"9999"), (b"1234".to_vec(), vec![]));
    }

    #[test]
    fn what_is_forgotten_leaves() {
        let mut past = Past::default();
        past.sent(b"0123456789", &[], 4);
        assert_eq!(
            again(&mut past, 4, b"......"),
            (b"..6789".to_vec(), Vec::from_iter(Some(0..2)))
        );
        let mut past = Past::default();
        past.sent(b"0123456789", &[], 0);
        past.missing(2, Late::Keep, 0);
        assert_eq!(again(&mut past, 8, b"ABCD"), (b"ABCD".to_vec(), Vec::from_iter(Some(0..2))));
    }
}
