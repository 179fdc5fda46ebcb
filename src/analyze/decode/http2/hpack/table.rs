//! The dynamic table of one direction (RFC 7541 sections 2.3.2 and 4).
//!
//! The table may be *open*: what it held when the capture joined, or after
//! bytes were lost, is not known. Indices count from the newest entry, so
//! what was inserted since is found exactly; what lies beyond is unknown and
//! gets a stable id. An encoder refers only to entries that its table holds,
//! so an open table may keep entries longer than the peer's, never shorter
//! where the peer's size is known.

use std::collections::VecDeque;

/// What RFC 7541 section 4.1 adds to each entry's size.
const OVERHEAD: usize = 32;
/// Size until the encoder says otherwise (RFC 9113 section 6.5.2).
pub const DEFAULT_SIZE: usize = 4096;
/// Entries kept at most, by their size, whatever the peers agree on: 64 times
/// what h2, Go and nghttp2 use. Entries lost to it become unknown, not wrong.
const KEPT_BYTES: usize = 256 << 10;

/// The name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// As sent.
    Known(&'a [u8]),
    /// Inserted before the capture joined: the id stays with the entry.
    Unknown(u64),
}

/// What an index stands for: a name, and a value where it is known.
pub type Found<'a> = (Name<'a>, Option<&'a [u8]>);

/// Length of a name and of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lens {
    /// Of the name.
    pub name: u32,
    /// Of the value.
    pub value: u32,
}

impl Lens {
    /// Of both together.
    pub fn bytes(self) -> usize {
        self.name as usize + self.value as usize
    }

    /// The size of such an entry (RFC 7541 section 4.1).
    pub fn size(self) -> usize {
        self.bytes() + OVERHEAD
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the name begins, counted from the first byte ever stored; the
    /// value follows it.
    start: usize,
    name_len: u32,
    value_len: u32,
    /// Id of an unknown name, whose `name_len` is 0.
    unknown: Option<u64>,
}

impl Entry {
    /// Its size; a lower bound where the name is unknown.
    fn size(&self) -> usize {
        OVERHEAD + self.name_len as usize + self.value_len as usize
    }
}

/// The dynamic table.
#[derive(Debug)]
pub struct Table {
    /// Names and values, oldest first, after a part that is no longer used.
    arena: Vec<u8>,
    /// Bytes stored before those in `arena`.
    gone: usize,
    entries: VecDeque<Entry>,
    /// Sum of the sizes of `entries`.
    size: usize,
    /// Size that the encoder keeps to; None where it may have been changed unseen.
    max: Option<usize>,
    /// Whether older entries than those in `entries` may exist.
    open: bool,
    /// Id of the newest of those older entries.
    base: u64,
    /// One past the largest id given out.
    next: u64,
}

impl Table {
    /// An empty table of the default size; `open` where earlier bytes of the
    /// direction may have been missed.
    pub fn new(open: bool) -> Self {
        Self {
            arena: Vec::new(),
            gone: 0,
            entries: VecDeque::new(),
            size: 0,
            max: (!open).then_some(DEFAULT_SIZE),
            open,
            base: 0,
            next: 0,
        }
    }

    /// Forgets everything: inserts or size updates may have been missed.
    pub fn invalidate(&mut self) {
        self.clear();
        self.max = None;
        self.forget_older();
    }

    fn clear(&mut self) {
        self.forget(self.arena.len());
        self.entries.clear();
        self.size = 0;
    }

    /// Gives new ids to all entries beyond those kept.
    fn forget_older(&mut self) {
        self.open = true;
        self.base = self.next;
    }

    /// The encoder's size update (RFC 7541 section 6.3).
    pub fn resize(&mut self, max: usize) {
        self.max = Some(max);
        if self.shrink(max) || max < OVERHEAD {
            // Older entries went before those evicted, seen or not.
            self.open = false;
        }
    }

    /// What the dynamic index `at`, from 0 for the newest, stands for; None
    /// where a table known from its start has no such entry.
    pub fn get(&mut self, at: usize) -> Option<Found<'_>> {
        if let Some(place) = self.entries.len().checked_sub(at + 1) {
            let entry = self.entries.get(place)?;
            let (name, value) = self.text(entry)?.split_at_checked(entry.name_len as usize)?;
            return Some((entry.unknown.map_or(Name::Known(name), Name::Unknown), Some(value)));
        }
        if !self.open {
            return None;
        }
        // The same for this entry for as long as it lives: each insert moves
        // its index and the number of entries kept alike.
        let id = self.base + (at - self.entries.len()) as u64;
        self.next = self.next.max(id + 1);
        Some((Name::Unknown(id), None))
    }

    /// Name and value of an entry, one after the other.
    #[inline]
    fn text(&self, entry: &Entry) -> Option<&[u8]> {
        let start = entry.start.wrapping_sub(self.gone);
        self.arena.get(start..)?.get(..entry.name_len as usize + entry.value_len as usize)
    }

    /// Name and value of the entry at the dynamic index `at`, one after the
    /// other, and the length of each; None where any of it is not known.
    #[inline]
    pub fn known(&self, at: usize) -> Option<(&[u8], Lens)> {
        let place = self.entries.len().checked_sub(at + 1)?;
        let entry = self.entries.get(place).filter(|entry| entry.unknown.is_none())?;
        Some((self.text(entry)?, Lens { name: entry.name_len, value: entry.value_len }))
    }

    /// Inserts entries whose names and values are all of `text` and whose
    /// sizes add up to `size`: as [`Table::insert`] would, one after the
    /// other. False where that would have to look closer at them, and nothing
    /// has happened.
    #[inline]
    pub fn insert_all(&mut self, text: &[u8], lens: &[Lens], size: usize) -> bool {
        let Some(max) = self.max.filter(|max| size <= *max && *max <= KEPT_BYTES) else {
            return false;
        };
        if self.shrink(max - size) {
            self.open = false;
        }
        self.compact();
        let mut start = self.gone.wrapping_add(self.arena.len());
        self.arena.extend_from_slice(text);
        self.entries.extend(lens.iter().map(|lens| {
            let entry = Entry { start, name_len: lens.name, value_len: lens.value, unknown: None };
            start = start.wrapping_add(lens.bytes());
            entry
        }));
        self.size += size;
        true
    }

    /// Inserts an entry as the newest (RFC 7541 section 4.4).
    pub fn insert(&mut self, name: Name<'_>, value: &[u8]) {
        let (text, unknown) = match name {
            Name::Known(text) => (text, None),
            Name::Unknown(id) => (&[][..], Some(id)),
        };
        let (Ok(name_len), Ok(value_len)) = (text.len().try_into(), value.len().try_into()) else {
            return self.invalidate();
        };
        let entry = Entry { start: 0, name_len, value_len, unknown };
        let size = entry.size();
        if let Some(max) = self.max {
            if size > max {
                // Not an error: it empties the table (RFC 7541 section 4.4).
                self.clear();
                self.open = false;
                return;
            }
            if self.shrink(max - size) {
                self.open = false;
            }
        }
        if size > KEPT_BYTES {
            let max = self.max;
            self.invalidate();
            self.max = max;
            return;
        }
        if self.shrink(KEPT_BYTES - size) {
            self.forget_older();
        }
        self.compact();
        let start = self.gone.wrapping_add(self.arena.len());
        self.arena.extend_from_slice(text);
        self.arena.extend_from_slice(value);
        self.entries.push_back(Entry { start, ..entry });
        self.size += size;
    }

    /// Evicts until the size is at most `max`; whether any had to go.
    fn shrink(&mut self, max: usize) -> bool {
        let before = self.entries.len();
        while self.size > max {
            let Some(entry) = self.entries.pop_front() else { break };
            self.size -= entry.size();
        }
        if self.entries.is_empty() {
            self.forget(self.arena.len());
        }
        self.entries.len() < before
    }

    /// Drops so many bytes at the front of the arena.
    fn forget(&mut self, bytes: usize) {
        self.arena.drain(..bytes);
        self.gone = self.gone.wrapping_add(bytes);
    }

    /// Moves what is used to the front of the arena once as much is unused.
    fn compact(&mut self) {
        let used =
            self.entries.front().map_or(self.arena.len(), |e| e.start.wrapping_sub(self.gone));
        if used > DEFAULT_SIZE && used > self.arena.len() / 2 {
            self.forget(used);
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.arena.capacity() + self.entries.capacity() * size_of::<Entry>()
    }
}
