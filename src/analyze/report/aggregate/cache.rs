//! From requests as sent to their endpoints: clients ask the same again and
//! again, and finding an endpoint costs more than all the rest.
//!
//! Each request has one slot; a new one takes it from the old. So a stream of
//! ever new paths costs the others little, and nothing is allocated. Of what
//! varies in paths whole numbers are folded first, as that is cheap and most
//! ids are numbers: requests that differ in nothing else share a slot, which
//! then stays near the processor.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use super::counts::same_name;
use super::endpoints::Raw;
use super::rows::RowId;
use crate::analyze::report::fold::{fold_whole_numbers, has_whole_numbers_folded, without_query};

/// Slots in each of the shards, a power of two. With [`BYTES`] it bounds a
/// shard to 96 KB.
const SLOTS: usize = 512;
/// Bytes of a request's parts together that fit a slot: longer requests are
/// rare and not remembered.
const BYTES: usize = 160;
/// Stands for the length of a part that was not seen.
const NONE: u8 = u8::MAX;

/// What tells requests apart.
#[derive(Clone, Copy)]
struct Text {
    protocol: &'static str,
    /// How its parts are to be taken, and the length of each.
    shape: [u8; 4],
    /// The parts, one after the other.
    bytes: [u8; BYTES],
}

const EMPTY: Text = Text { protocol: "", shape: [0; 4], bytes: [0; BYTES] };

/// Begins with a cache line, so that short requests take no more than one.
#[derive(Clone)]
#[repr(align(64))]
struct Slot {
    /// None in an empty slot.
    row: Option<RowId>,
    text: Text,
}

/// The cache.
pub struct Cache {
    /// None of them until the first is needed.
    slots: Vec<Slot>,
    hasher: RandomState,
    /// The request last looked up by its hash.
    text: Text,
    /// Its slot; None where it does not fit one.
    at: Option<usize>,
    /// The slot found last: it is looked at first, without a hash.
    last: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { slots: Vec::new(), hasher: RandomState::default(), text: EMPTY, at: None, last: 0 }
    }
}

impl Cache {
    /// The row of a request, where it is remembered.
    #[inline]
    pub fn get(&mut self, raw: &Raw<'_>) -> Option<RowId> {
        if let Some(slot) = self.slots.get(self.last)
            && slot.row.is_some()
            && slot.text.is_of(raw)
        {
            return slot.row;
        }
        let len = self.text.set(raw);
        self.at = len.map(|len| self.text.hash(len, &self.hasher) as usize % SLOTS);
        let slot = self.slots.get(self.at?)?;
        let row = slot.text.is(&self.text, len?).then_some(slot.row).flatten()?;
        self.last = self.at?;
        Some(row)
    }

    /// Remembers the row of the request last looked up.
    pub fn put(&mut self, row: RowId) {
        let Some(at) = self.at else { return };
        if self.slots.is_empty() {
            self.slots = vec![Slot { row: None, text: EMPTY }; SLOTS];
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot { row: Some(row), text: self.text };
        }
    }
}

impl Raw<'_> {
    /// How the parts are to be taken.
    #[inline]
    fn kind(&self) -> u8 {
        u8::from(self.key.grpc) << 1 | u8::from(self.verbatim)
    }

    /// Whether whole numbers of the path are folded.
    #[inline]
    fn has_numbers(&self) -> bool {
        !self.verbatim && matches!(self.key.parts, [_, _, Some([b'/', ..])])
    }
}

impl Text {
    /// Becomes that of a request and returns its length; None where it is too long.
    #[inline]
    fn set(&mut self, raw: &Raw<'_>) -> Option<usize> {
        let [host, method, path] = raw.key.parts;
        let mut end = 0;
        let host = self.push(host, &mut end)?;
        let method = self.push(method, &mut end)?;
        let path = match path {
            Some(path) if raw.has_numbers() => self.push_path(path, &mut end)?,
            path => self.push(path.map(without_query), &mut end)?,
        };
        self.protocol = raw.key.protocol;
        self.shape = [raw.kind(), host, method, path];
        Some(end)
    }

    /// Appends a part and returns its length.
    #[inline]
    fn push(&mut self, part: Option<&[u8]>, end: &mut usize) -> Option<u8> {
        let Some(part) = part else { return Some(NONE) };
        let place = self.bytes.get_mut(*end..*end + part.len())?;
        place.copy_from_slice(part);
        *end += part.len();
        // At most BYTES, which is below NONE.
        Some(part.len() as u8)
    }

    /// Appends a path without its query, whole numbers folded, and returns
    /// its length.
    #[inline]
    fn push_path(&mut self, path: &[u8], end: &mut usize) -> Option<u8> {
        let len = fold_whole_numbers(path, self.bytes.get_mut(*end..)?)?;
        *end += len;
        Some(len as u8)
    }

    #[inline]
    fn hash(&self, len: usize, hasher: &RandomState) -> u64 {
        let mut state = hasher.build_hasher();
        state.write(self.bytes.get(..len).unwrap_or_default());
        state.write_u32(u32::from_le_bytes(self.shape));
        state.finish()
    }

    /// Whether it is that of a request.
    #[inline]
    fn is_of(&self, raw: &Raw<'_>) -> bool {
        let [kind, host_len, method_len, path_len] = self.shape;
        let [host, method, path] = raw.key.parts;
        let mut rest = self.bytes.as_slice();
        let mut part = |len: u8| {
            let len = if len == NONE { 0 } else { usize::from(len) };
            let (part, after) = rest.split_at_checked(len)?;
            rest = after;
            Some(part)
        };
        let is = |known: Option<&[u8]>, len: u8, part: Option<&[u8]>| match part {
            Some(part) => len != NONE && known == Some(part),
            None => len == NONE,
        };
        kind == raw.kind()
            && same_name(self.protocol, raw.key.protocol)
            && is(part(host_len), host_len, host)
            && is(part(method_len), method_len, method)
            && match (part(path_len), path) {
                (Some(known), Some(path)) if raw.has_numbers() => {
                    path_len != NONE && has_whole_numbers_folded(path, known)
                }
                (known, path) => is(known, path_len, path.map(without_query)),
            }
    }

    /// Whether it is the same as another one of that length.
    #[inline]
    fn is(&self, other: &Self, len: usize) -> bool {
        self.shape == other.shape
            && same_name(self.protocol, other.protocol)
            && self.bytes.get(..len) == other.bytes.get(..len)
    }
}
