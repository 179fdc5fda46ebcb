//! When a missing byte is given up as a gap, and how a flow ends.
//!
//! A hole is a place where bytes are missing and later ones, or an
//! acknowledgement, prove that they existed. It is given up
//! - when the receiver has acknowledged past it and [`HOLE_NANOS`] of capture
//!   time went by: it was sent, and not captured;
//! - when nobody acknowledged it for [`HOLE_UNACKED_NANOS`];
//! - when what waits behind it reaches a limit; that is the cause only where it
//!   was not acknowledged;
//! - at once where no packet of that direction is in the capture at all;
//! - when the connection ends.
//!
//! [`HOLE_NANOS`]: crate::analyze::limits::HOLE_NANOS

use crate::analyze::decode::{Chunk, Content, End, GapCause};
use crate::analyze::flow::key::Side;
use crate::analyze::flow::{Context, Flow};
use crate::analyze::limits::{HOLE_UNACKED_NANOS, REORDER_SEGMENTS, SETTLE_NANOS};
use crate::time::Timestamp;

impl Flow {
    /// Gives up what is due at `now`. Cheap where nothing is missing.
    pub(super) fn give_up_due(&mut self, now: Option<Timestamp>, context: &mut Context<'_, '_>) {
        if !self.settled {
            let waited = now.zip(self.first).map_or(0, |(now, first)| now.since(first));
            if waited < SETTLE_NANOS || self.has_only_begun() {
                return;
            }
            self.settle(context);
            self.pump(context);
        }
        if let Some(reset) = self.reset {
            let waited = now.zip(reset.since).map_or(0, |(now, since)| now.since(since));
            if waited >= context.limits.hole_nanos {
                self.end_by_reset(context);
            }
        }
        if self.opaque {
            return;
        }
        for side in [self.guess, self.guess.other()] {
            while let Some(cause) = self.due(side, now, context) {
                if !self.give_up_hole(side, cause, context) {
                    break;
                }
                self.pump(context);
            }
        }
    }

    /// Whether nothing waits to be handed on, and SYNs, perhaps sent again, are
    /// all that told where directions begin: an answer may take seconds.
    fn has_only_begun(&self) -> bool {
        self.reset.is_none()
            && self.halves.iter().all(|half| {
                !half.seen || half.isn.is_some() && half.held.is_empty() && half.close.is_none()
            })
    }

    fn due(
        &mut self,
        side: Side,
        now: Option<Timestamp>,
        context: &Context<'_, '_>,
    ) -> Option<GapCause> {
        let half = self.half_mut(side);
        if half.ended || half.held.is_empty() && half.acked == half.next && half.close.is_none() {
            return None;
        }
        if half.hole_end().is_none() {
            half.hole_since = None;
            return None;
        }
        if !half.seen {
            return Some(GapCause::Lost);
        }
        if self.tail_may_be_fin(side) {
            return None;
        }
        let half = self.half_mut(side);
        if half.held_bytes > context.limits.reorder_bytes_per_flow
            || half.held.len() > REORDER_SEGMENTS
        {
            return Some(GapCause::Limit);
        }
        let since = *half.hole_since.get_or_insert(now?);
        let patience =
            if half.hole_acked() { context.limits.hole_nanos } else { HOLE_UNACKED_NANOS };
        if now?.since(since) >= patience {
            return Some(GapCause::Lost);
        }
        let other = self.half(side.other());
        let piled = other.held_bytes > context.limits.reorder_bytes_per_flow
            || other.held.len() > REORDER_SEGMENTS;
        piled.then_some(GapCause::Limit)
    }

    /// Whether only acknowledgements prove a hole of a direction whose other
    /// side has closed: then a FIN is likely in it, and later bytes or the
    /// end of the connection will tell its exact length.
    fn tail_may_be_fin(&self, side: Side) -> bool {
        let half = self.half(side);
        let other = self.half(side.other());
        half.held.is_empty()
            && half.close.is_none()
            && matches!(other.close, Some((_, End::Fin)))
            && self.reset.is_none()
    }

    /// Turns the hole of a direction into a gap. False where there is none.
    pub(super) fn give_up_hole(
        &mut self,
        side: Side,
        cause: GapCause,
        context: &mut Context<'_, '_>,
    ) -> bool {
        let last = self.last;
        let tail = self.tail_may_be_fin(side);
        // What the other side sent inside of the hole comes inside of it.
        let inside = self.half(side.other()).held.front().and_then(|held| held.place.ack);
        let half = self.half_mut(side);
        let (Some(next), Some(end)) = (half.next, half.hole_end()) else { return false };
        // Its receiver has it, so no later packet will bring it: it was not
        // captured, and a limit only found that out before the time did.
        let cause = if half.hole_acked() { GapCause::Lost } else { cause };
        if let Some(ack) = inside
            && ack.after(next)
            && end.after(ack)
        {
            half.next = Some(ack);
            let len = u64::from(ack.distance(next).unsigned_abs());
            self.count_gap(len, cause as usize);
            let chunk = Chunk { at: last, packet: 0, seq: 0, content: Content::Gap(len, cause) };
            self.push(side, chunk, context);
            return true;
        }
        // Of the last number past all data it is not known whether it is a
        // byte or a FIN that was not captured: no byte is claimed missing,
        // until more of this direction shows that it was one.
        let fin = half.acked_one && half.held.is_empty() && half.close.is_none() || tail;
        let before = u64::from(std::mem::replace(&mut half.maybe_fin, fin));
        let len = before + u64::from(end.distance(next).unsigned_abs()) - u64::from(fin);
        half.next = Some(end);
        half.hole_since = None;
        if len == 0 {
            return true;
        }
        let (at, packet) =
            half.held.front().map_or((last, 0), |held| (held.place.at, held.place.packet));
        self.count_gap(len, cause as usize);
        self.push(side, Chunk { at, packet, seq: 0, content: Content::Gap(len, cause) }, context);
        true
    }

    /// Gives up what is due at `now` although no packet came; true while
    /// something is still held back.
    pub fn tick(&mut self, now: Option<Timestamp>, context: &mut Context<'_, '_>) -> bool {
        self.calm = false;
        self.give_up_due(now, context);
        self.is_waiting()
    }

    /// Before this time nothing can be due, unless more of it comes: where it
    /// is not known yet where its directions begin.
    pub fn nothing_before(&self) -> Option<Timestamp> {
        self.first.filter(|_| !self.settled).map(|first| first.plus(SETTLE_NANOS))
    }

    /// Whether something is held back that time may release.
    pub fn is_waiting(&self) -> bool {
        !self.calm
            && !self.opaque
            && self.halves.iter().any(|half| !half.held.is_empty() || half.hole_since.is_some())
    }

    /// Whether it waits or is listed so: false, at a glance, of nearly all.
    #[inline(always)]
    pub fn is_stirred(&self) -> bool {
        !self.calm && (self.waiting || self.is_waiting())
    }

    /// Gives up the largest pile of held segments, for the total limit.
    pub fn give_up_all(&mut self, context: &mut Context<'_, '_>) {
        self.calm = false;
        if !self.settled {
            self.settle(context);
        }
        self.flush(GapCause::Limit, context);
    }

    pub(super) fn flush(&mut self, cause: GapCause, context: &mut Context<'_, '_>) {
        self.pump(context);
        // Each pass closes one hole, the one that others may wait for first.
        loop {
            let sides = [self.guess, self.guess.other()];
            let unblocked = sides.into_iter().find(|side| {
                let half = self.half(*side);
                !half.ended && half.hole_end().is_some()
            });
            let Some(side) = unblocked else { break };
            if !self.give_up_hole(side, cause, context) {
                break;
            }
            self.pump(context);
        }
    }

    /// Ends the connection for a reason outside it.
    pub fn finish(&mut self, end: End, context: &mut Context<'_, '_>) {
        self.calm = false;
        if !self.settled {
            self.settle(context);
        }
        self.end_by_reset(context);
        let cause = if end == End::Limit { GapCause::Limit } else { GapCause::Lost };
        self.flush(cause, context);
        for side in [self.guess, self.guess.other()] {
            self.end_side(side, end, self.last, context);
        }
        self.let_go(context.output);
    }
}
