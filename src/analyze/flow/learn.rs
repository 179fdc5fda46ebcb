//! What the headers of segments tell of a connection: where its directions
//! begin, what was received, how it closes.

use super::{Context, Flow, Reset, SegmentRef};
use crate::analyze::decode::{End, Late};
use crate::analyze::flow::key::Side;
use crate::analyze::packet::flags;
use crate::analyze::reassembly::half::Placed;
use crate::analyze::reassembly::seq::SeqNum;

/// Largest hole told before the first bytes of a direction that was joined
/// late, in bytes; past that its numbers prove little.
const LATE_HOLE: i32 = 1 << 20;

impl Flow {
    /// Takes what the header says: bases, acknowledgements, closing.
    pub(super) fn learn(
        &mut self,
        segment: &SegmentRef,
        place: &Placed,
        context: &mut Context<'_, '_>,
    ) {
        let side = segment.side;
        if segment.has(flags::SYN) {
            let half = self.half_mut(side);
            if half.isn.is_none() && half.next.is_none() {
                half.isn = Some(SeqNum(segment.seq));
                half.next = Some(place.start);
                // The decoder keeps the directions that it was given.
                if !self.settled {
                    let client = segment.flags & flags::ACK == 0;
                    self.guess = if client { side } else { side.other() };
                }
            }
        }
        let settled = self.settled;
        let half = self.half_mut(side);
        half.seen = true;
        half.first.get_or_insert(place.start);
        if settled && half.next.is_none() {
            half.next = Some(place.start);
        }
        if let Some(ack) = place.ack {
            self.learn_ack(place, side, ack);
        }
        if segment.has(flags::RST) {
            self.learn_reset(segment, place);
        } else if segment.has(flags::FIN) {
            let end = place.start.plus(segment.wire_len);
            self.half_mut(side).close.get_or_insert((end, End::Fin));
        }
        if !self.settled && self.halves.iter().all(|half| half.next.is_some()) {
            self.settle(context);
        }
    }

    /// A reset counts once nothing contradicts it for a while: receivers
    /// ignore forged and misplaced ones, and the connection goes on.
    fn learn_reset(&mut self, segment: &SegmentRef, place: &Placed) {
        let side = segment.side;
        let half = self.half_mut(side);
        // What waits stands before it, and is where the direction begins.
        if half.held.is_empty() {
            half.next.get_or_insert(place.start);
        }
        if self.reset.is_none() {
            let answers = !segment.has(flags::ACK);
            self.reset = Some(Reset { side, at: place.start, since: segment.at, answers });
        }
    }

    /// Whether a reset ended it.
    pub fn was_reset(&self) -> bool {
        self.reset.is_some()
    }

    /// New bytes of the side that is said to have reset the connection.
    pub(super) fn contradict_reset(&mut self, side: Side, place: &Placed) {
        if let Some(reset) = self.reset
            && reset.side == side
            && place.wire_len > 0
            && place.start.distance(reset.at) >= 0
        {
            self.reset = None;
            self.anomaly("reset-ignored");
        }
    }

    fn learn_ack(&mut self, place: &Placed, side: Side, ack: SeqNum) {
        let settled = self.settled;
        // The handshake's ACK, which has received no more than the SYN.
        let handshake = place.wire_len == 0 && self.half(side).next == Some(place.start);
        let other = self.half_mut(side.other());
        other.learn_ack(ack, place.wire_len == 0);
        if other.next.is_some() {
            return;
        }
        if !settled && place.wire_len > 0 && !other.seen {
            other.told.get_or_insert(ack);
        }
        if settled {
            // Nothing of this direction was captured so far: from here on
            // its sender's peer tells what is missing.
            other.next = Some(ack);
        } else if handshake && other.base.is_none_or(|base| base.after(ack)) {
            other.base = Some(ack);
        }
    }

    /// Fixes where each direction begins, and with that who is late.
    pub(super) fn settle(&mut self, context: &mut Context<'_, '_>) {
        self.settled = true;
        for half in &mut self.halves {
            if half.next.is_none() {
                let held = half.held.front().map(|held| held.place.start);
                half.next = match (half.base, held) {
                    (Some(base), Some(held)) if base.after(held) => Some(held),
                    // Without any bytes of it, it goes on where its first
                    // segment stands, or where its receiver says.
                    // What lies before its first bytes was sent since the join
                    // if a segment without bytes, or a request, came first. A
                    // keep-alive probe stands one before the next byte.
                    (None, Some(held)) => {
                        let told = half.first.into_iter().chain(half.told);
                        let told = told.filter(|at| (2..=LATE_HOLE).contains(&held.distance(*at)));
                        Some(told.fold(held, |a, b| if a.after(b) { b } else { a }))
                    }
                    (base, None) => base.or(half.first).or(half.acked),
                    (base, _) => base,
                };
            }
        }
        let client = self.guess;
        let late = Late([self.half(client).is_late(), self.half(client.other()).is_late()]);
        self.decoder = Some(context.decoder(late));
    }
}
