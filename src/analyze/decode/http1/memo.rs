//! Field sections seen before and what they said.
//!
//! Clients and servers repeat themselves: the field lines of one head mostly
//! are those of an earlier one, byte for byte. Comparing bytes is several
//! times faster than reading lines. This remembers what a pure function gave,
//! so it changes nothing but speed; each thread has its own.

use std::cell::RefCell;

use super::body::{Facts, Length, Transfer};

/// Slots of a thread, a power of two: servers answer the same few hundred
/// things within a second, for which their `Date` is the same. Two slots, of
/// an even and an odd number, are one place.
const SLOTS: usize = 1024;
/// Longest field section that is remembered. With [`SLOTS`] it bounds a
/// thread to 420 KB.
const BYTES: usize = 384;
/// Bytes that choose the slot: enough to reach `Content-Length` in what
/// common servers send, and few enough not to run far into a body.
const CHOOSING: usize = 128;

/// What a field section says, without borrowing from it. Only of sections
/// that hold nothing else that [`Facts`] knows.
#[derive(Clone, Copy)]
struct Said {
    length: Length,
    transfer: Transfer,
    /// Where the value of Host begins and ends.
    host: Option<(u16, u16)>,
}

struct Slot {
    /// 0 in an empty slot.
    len: u16,
    said: Said,
    bytes: [u8; BYTES],
}

impl Slot {
    #[inline]
    fn begins(&self, bytes: &[u8]) -> bool {
        let len = usize::from(self.len);
        len > 0 && bytes.get(..len).is_some_and(|bytes| self.bytes.get(..len) == Some(bytes))
    }
}

const EMPTY: Slot = Slot {
    len: 0,
    said: Said { length: Length::Absent, transfer: Transfer::Absent, host: None },
    bytes: [0; BYTES],
};

thread_local! {
    /// None of them until the first is needed.
    static SEEN: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

/// The first slot of a section that begins `bytes`.
#[derive(Clone, Copy)]
pub struct Place(usize);

/// Chooses the place of a section that begins `bytes`. What shares a place
/// costs time and nothing else, so that the hash may be weak.
#[inline]
pub fn place(bytes: &[u8]) -> Place {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = bytes.get(..CHOOSING).unwrap_or(bytes);
    let (words, _) = bytes.as_chunks::<16>();
    let sum = words.iter().fold(bytes.len() as u64, |sum, word| {
        let (a, b) = halves(u128::from_le_bytes(*word));
        let product = u128::from(a ^ ODD) * u128::from(b ^ !ODD);
        let (low, high) = halves(product);
        sum.rotate_left(19) ^ low ^ high
    });
    Place(((sum.wrapping_mul(ODD) >> 32) as usize % SLOTS) & !1)
}

fn halves(word: u128) -> (u64, u64) {
    (word as u64, (word >> 64) as u64)
}

/// What the section that begins `bytes` says, and its length with the empty
/// line, if it was seen before.
#[inline]
pub fn get(place: Place, bytes: &[u8]) -> Option<(Facts<'_>, usize)> {
    SEEN.with_borrow(|slots| {
        let pair = slots.get(place.0..place.0 + 2)?;
        let slot = pair.iter().find(|slot| slot.begins(bytes))?;
        let len = usize::from(slot.len);
        let Said { length, transfer, host } = slot.said;
        let host = host.and_then(|(from, to)| bytes.get(usize::from(from)..usize::from(to)));
        Some((Facts { length, transfer, host, ..Facts::default() }, len))
    })
}

/// Remembers what a section says, if it can be.
#[inline(never)]
pub fn put(place: Place, section: &[u8], facts: &Facts<'_>) {
    let Facts {
        length,
        transfer,
        host,
        upgrade: None,
        settings: None,
        grpc: false,
        deflate: false,
    } = *facts
    else {
        return;
    };
    if section.len() > BYTES {
        return;
    }
    let host = match host {
        Some(host) => {
            let from = (host.as_ptr() as usize).wrapping_sub(section.as_ptr() as usize);
            let (Ok(from), Ok(to)) = (u16::try_from(from), u16::try_from(from + host.len())) else {
                return;
            };
            Some((from, to))
        }
        None => None,
    };
    SEEN.with_borrow_mut(|slots| {
        if slots.is_empty() {
            slots.resize_with(SLOTS, || EMPTY);
        }
        // The one that came last stays, the other goes.
        if slots.get(place.0).is_some_and(|slot| slot.len > 0) {
            slots.swap(place.0, place.0 + 1);
        }
        let Some(slot) = slots.get_mut(place.0) else { return };
        let Some(bytes) = slot.bytes.get_mut(..section.len()) else { return };
        bytes.copy_from_slice(section);
        slot.len = section.len() as u16;
        slot.said = Said { length, transfer, host };
    });
}

#[cfg(test)]
mod tests {
    use super::super::head::scan_fields;
    use super::*;

    #[test]
    fn a_section_seen_before_says_the_same() {
        let section = b"Host: a.example\r\nContent-Length: 5\r\n\r\n";
        let mut facts = Facts::default();
        let len = scan_fields(section, |name, value| facts.field(name, value)).unwrap();
        assert_eq!(len, section.len());
        put(place(section), section, &facts);
        let again = [&section[..], b"hello"].concat();
        assert!(get(place(section), b"Host: a.example\r\nContent-Length: 6\r\n\r\n").is_none());
        assert_eq!(get(place(section), &again), Some((facts, len)));
        assert_eq!(get(place(section), &section[..20]), None);
    }

    #[test]
    fn what_more_depends_on_is_not_remembered() {
        let section = b"Upgrade: websocket\r\n\r\n";
        let facts = Facts { upgrade: Some(b"websocket"), ..Facts::default() };
        put(place(section), section, &facts);
        assert_eq!(get(place(section), section), None);
    }
}
