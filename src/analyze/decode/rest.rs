//! What a decoder comes to while nothing of its connection is open, where that
//! is little: most connections of most captures wait, and a decoder takes
//! hundreds of bytes.

use crate::analyze::decode::Late;
use crate::analyze::decode::detect::{Detector, counted};
use crate::analyze::decode::spare::{FIRST, Spares};
use crate::analyze::decode::{Decoder, PROTOCOLS};
use crate::time::Timestamp;

/// The state of a decoder at rest: what it means is its own affair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Some bits, of which [`BITS`] are kept.
    pub bits: u8,
    /// A point in time.
    pub at: Option<Timestamp>,
}

/// How many of [`Rest::bits`] are kept.
pub const BITS: u32 = 2;

/// The number of a kind of decoder, see [`Decoder::kind`]: 0 for the one that
/// connections begin with, then those of [`PROTOCOLS`].
pub fn number(kind: &str) -> Option<u8> {
    if kind == FIRST {
        return Some(0);
    }
    let at = PROTOCOLS.iter().position(|protocol| protocol.name == kind)?;
    u8::try_from(at + 1).ok()
}

/// What a connection is that has a decoder of this number.
pub fn kind(number: u8) -> Option<&'static str> {
    PROTOCOLS.get(usize::from(number).checked_sub(1)?).map(|protocol| protocol.name)
}

/// The number of what a connection is that is counted and not decoded.
pub fn number_counted(kind: &str) -> Option<u32> {
    counted().zip(0..).find(|(known, _)| *known == kind).map(|(_, number)| number)
}

/// What a connection of this number is.
pub fn counted_kind(number: u32) -> Option<&'static str> {
    counted().nth(usize::try_from(number).ok()?)
}

/// A decoder of this number, as it was when it came to rest.
pub fn wake(number: u8, rest: Rest, spares: &mut Spares) -> Box<dyn Decoder> {
    let kind = kind(number);
    let late = Late::default();
    let mut decoder = spares.take(kind.unwrap_or(FIRST), late).unwrap_or_else(|| {
        let protocol = PROTOCOLS.iter().find(|protocol| Some(protocol.name) == kind);
        protocol.map_or_else(|| Detector::boxed(late), |protocol| (protocol.decoder)(late))
    });
    decoder.wake(rest);
    decoder
}
