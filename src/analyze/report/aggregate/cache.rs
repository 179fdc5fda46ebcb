//! From requests as sent to their endpoints: clients ask the same again and
//! again, and folding a path costs more than all the rest.
//!
//! Each request has one slot; a new one takes it from the old. So a stream of
//! ever new paths costs the others little, and nothing is allocated.

use super::endpoints::KeyRef;
use super::rows::RowId;

/// Slots in each of the shards, a power of two.
const SLOTS: usize = 512;
/// Bytes of host, method and path together that fit a slot: longer requests
/// are rare and not remembered. With [`SLOTS`] it bounds a shard to 100 KB.
const BYTES: usize = 160;
/// Stands for the length of a part that was not seen.
const NONE: u8 = u8::MAX;

#[derive(Clone)]
struct Slot {
    hash: u64,
    /// None in an empty slot.
    row: Option<RowId>,
    protocol: &'static str,
    lens: [u8; 3],
    text: [u8; BYTES],
}

const EMPTY: Slot = Slot { hash: 0, row: None, protocol: "", lens: [0; 3], text: [0; BYTES] };

/// The cache.
#[derive(Default)]
pub struct Cache {
    /// None of them until the first is needed.
    slots: Vec<Slot>,
}

impl Cache {
    /// The row of a request, where it is remembered.
    #[inline]
    pub fn get(&self, hash: u64, key: &KeyRef<'_>) -> Option<RowId> {
        let slot = self.slots.get(index(hash))?;
        (slot.hash == hash && slot.is(key)).then_some(slot.row).flatten()
    }

    /// Remembers the row of a request that is not of gRPC.
    pub fn put(&mut self, hash: u64, key: &KeyRef<'_>, row: RowId) {
        if self.slots.is_empty() {
            self.slots = vec![EMPTY; SLOTS];
        }
        let Some(slot) = self.slots.get_mut(index(hash)) else { return };
        slot.row = None;
        let mut start = 0;
        for (part, len) in key.parts.iter().zip(&mut slot.lens) {
            *len = NONE;
            let Some(part) = part else { continue };
            let end = start + part.len();
            let Some(place) = slot.text.get_mut(start..end) else { return };
            place.copy_from_slice(part);
            // At most BYTES, which is below NONE.
            *len = part.len() as u8;
            start = end;
        }
        (slot.hash, slot.row, slot.protocol) = (hash, Some(row), key.protocol);
    }
}

impl Slot {
    fn is(&self, key: &KeyRef<'_>) -> bool {
        let mut start = 0;
        self.protocol == key.protocol
            && key.parts.iter().zip(self.lens).all(|(part, len)| match part {
                None => len == NONE,
                Some(part) => {
                    let end = start + usize::from(len);
                    let same = len != NONE && self.text.get(start..end) == Some(*part);
                    start = end;
                    same
                }
            })
    }
}

/// The slot of a hash, by its high bits: hash tables use the low ones.
fn index(hash: u64) -> usize {
    (hash >> 32) as usize % SLOTS
}
