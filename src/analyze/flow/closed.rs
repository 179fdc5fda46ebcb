//! What is remembered of a connection that has closed: enough to tell its
//! last segments sent again from the first of the next connection.
//!
//! It is a cache line, where a [`Flow`] is twenty: where connections are
//! short, nearly all that a table holds are closed, and their ports are used
//! again when they are long out of the processor's caches.

use crate::analyze::flow::key::{FlowKey, Side};
use crate::analyze::flow::{Flow, SegmentRef};
use crate::analyze::limits::CLOSED_NANOS;
use crate::analyze::packet::flags;
use crate::time::Timestamp;

/// A connection that has closed, its totals already told.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// Both ends.
    pub key: FlowKey,
    /// When it closed.
    pub at: Option<Timestamp>,
    /// Who was its client, as far as is known.
    pub client: Side,
    /// The end of whom a recorder called client, where it named an owner.
    pub told: Option<Side>,
    isn: [u32; 2],
    /// Whether the SYN of each side was seen.
    syn: [bool; 2],
}

impl Closed {
    /// Of a flow that has closed.
    pub fn of(flow: &Flow) -> Option<Self> {
        let isn = [Side::A, Side::B].map(|side| flow.half(side).isn);
        Some(Self {
            key: flow.key,
            at: flow.closed?,
            client: flow.client(),
            told: flow.owners.client(),
            isn: isn.map(|isn| isn.map_or(0, |isn| isn.0)),
            syn: isn.map(|isn| isn.is_some()),
        })
    }

    /// Whether a segment belongs to this connection, and not to another
    /// after it. The same as of a [`Flow`] that is closed.
    pub fn goes_on(&self, segment: &SegmentRef, idle_limit: i64) -> bool {
        let limit = CLOSED_NANOS.min(idle_limit);
        let over = self.at.zip(segment.at).is_some_and(|(at, now)| now.since(at) > limit);
        !over && !self.is_replaced_by(segment)
    }

    fn is_replaced_by(&self, segment: &SegmentRef) -> bool {
        let side = segment.side.index();
        let again = self.syn[side] && self.isn[side] == segment.seq;
        segment.has(flags::SYN) && !segment.has(flags::RST) && !again
    }
}

impl Flow {
    /// Whether a segment belongs to the flow, whose key it has, and not to
    /// another after it.
    #[inline]
    pub fn goes_on(&self, segment: &SegmentRef, idle_limit: i64) -> bool {
        !(self.is_over(segment.at)
            || self.is_replaced_by(segment)
            || self.is_idle(segment.at, idle_limit))
    }

    /// Whether it has closed and has been remembered long enough.
    pub fn is_over(&self, now: Option<Timestamp>) -> bool {
        let Some(Some(closed)) = self.closed else { return false };
        now.is_some_and(|now| now.since(closed) > CLOSED_NANOS)
    }

    /// Whether it has been without a packet for too long.
    pub fn is_idle(&self, now: Option<Timestamp>, limit: i64) -> bool {
        matches!((self.last, now), (Some(last), Some(now)) if now.since(last) > limit)
    }
}
