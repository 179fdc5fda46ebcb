//! Pauses within a message, and where in it they were.

use super::{BOTH, Shown};
use crate::analyze::decode::Direction;
use crate::analyze::kept::Kept;
use crate::analyze::transaction::Message;
use crate::time::Timestamp;

/// Pauses from this many nanoseconds on are told unless somebody asks for others:
/// more than a round trip within a data centre, less than a person notices.
pub const STALL_NANOS: i64 = 10_000_000;

/// A pause between two pieces of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Which message.
    pub direction: Direction,
    /// Bytes of the body before it; None where it is behind the head, and no byte
    /// of the body had come.
    pub after: u64,
    /// When the last byte before it was captured.
    pub from: Timestamp,
    /// When the next one was.
    pub to: Timestamp,
}

impl Stall {
    /// How long it was, in nanoseconds.
    pub fn nanos(&self) -> i64 {
        self.to.since(self.from)
    }
}

impl Shown<'_> {
    /// Pauses within both messages, in order of time. Of a message whose body is
    /// not kept nothing is known.
    pub fn stalls(&self) -> Vec<Stall> {
        let mut stalls = Vec::new();
        for direction in BOTH {
            let Some(message) = self.message(direction) else { continue };
            let Some(kept) = message.body.as_deref() else { continue };
            let long = |stall: &Stall| stall.nanos() >= self.stall_nanos.max(1);
            stalls.extend(pauses(direction, message, kept).into_iter().filter(long));
        }
        stalls.sort_by_key(|stall| (stall.from, stall.direction.index()));
        stalls
    }
}

/// All pauses of a message: from its head to its body, within its body, and from
/// its body to its end, which may have trailers.
fn pauses(direction: Direction, message: &Message, kept: &Kept) -> Vec<Stall> {
    let mut pauses = Vec::new();
    let (mut from, mut after) = (message.start, 0);
    let pieces = kept.pieces();
    let ends = pieces.iter().skip(1).map(|piece| piece.at).chain([kept.len()]);
    let mut push = |from: Option<Timestamp>, to: Timestamp, after: u64| {
        let stall = from.map(|from| Stall { direction, after, from, to });
        pauses.extend(stall.filter(|stall| stall.nanos() > 0));
    };
    for (piece, end) in pieces.iter().zip(ends) {
        push(from, piece.first, after);
        (from, after) = (Some(piece.last), end);
    }
    if let Some(end) = message.end {
        push(from, end, after);
    }
    pauses
}
