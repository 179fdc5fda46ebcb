//! The common case in straight code: how a connection begins, the next
//! segment of one in good order, and how it ends.
//!
//! Does what [`Flow::any_segment`] would do, where most of it is nothing, and
//! leaves the rest to it before it has changed anything. A test holds the two
//! against each other.

use crate::analyze::decode::{Chunk, Content, End, Late};
use crate::analyze::flow::key::Side;
use crate::analyze::flow::{Context, Flow, SegmentRef};
use crate::analyze::packet::flags;
use crate::analyze::reassembly::half::Half;
use crate::analyze::reassembly::seq::SeqNum;
use crate::time::{earliest, latest};

/// The flags that say more than "here is the next" or "it was the last".
const SPECIAL: u8 = flags::SYN | flags::RST;

impl Half {
    /// Whether nothing is held, missing or acknowledged that was not seen,
    /// and it is open, or its FIN was all that came last.
    pub(super) fn is_in_order(&self) -> bool {
        let close = match self.close {
            None => !self.ended,
            Some((at, end)) => self.ended && end == End::Fin && self.next == Some(at.plus(1)),
        };
        close
            && self.next.is_some()
            && self.held.is_empty()
            && self.hole_since.is_none()
            && !self.maybe_fin
            && !self.hole_acked()
    }

    /// Whether no segment was seen, and none of the other side told of any.
    fn is_new(&self) -> bool {
        !self.seen && self.next.is_none() && self.acked.is_none()
    }

    /// Whether a SYN without bytes is all that was seen.
    fn is_begun(&self) -> bool {
        let next = self.isn.map(|isn| isn.plus(1));
        next.is_some()
            && self.next == next
            && self.acked.is_none()
            && self.held.is_empty()
            && self.close.is_none()
    }

    /// Takes a SYN as the first segment.
    fn begin(&mut self, segment: &SegmentRef) {
        let place = segment.placed();
        self.isn = Some(SeqNum(segment.seq));
        self.next = Some(place.start);
        self.first = Some(place.start);
        self.seen = true;
        self.remember(place, segment.payload);
    }
}

impl Flow {
    /// Takes a segment if nothing about it is out of the ordinary.
    #[inline]
    pub(super) fn short_way(
        &mut self,
        segment: &SegmentRef,
        payload: &[u8],
        context: &mut Context<'_, '_>,
    ) -> bool {
        if self.calm {
            self.calm_segment(segment, payload, context)
        } else if segment.flags & flags::SYN != 0 {
            self.opening(segment, context)
        } else {
            false
        }
    }

    /// Takes a segment of a connection in order, if that is all there is to
    /// it: the next bytes, whole, or an acknowledgement without any, and
    /// perhaps a FIN.
    #[inline]
    fn calm_segment(
        &mut self,
        segment: &SegmentRef,
        payload: &[u8],
        context: &mut Context<'_, '_>,
    ) -> bool {
        let (start, ack) = (SeqNum(segment.seq), SeqNum(segment.ack));
        let [a, b] = &mut self.halves;
        let (half, other) = match segment.side.index() {
            0 => (a, b),
            _ => (b, a),
        };
        let fin = segment.has(flags::FIN);
        let whole = payload.len() == segment.wire_len as usize;
        let plain = segment.flags & (SPECIAL | flags::ACK) == flags::ACK;
        let due = other.next.is_some_and(|next| !ack.after(next));
        let over = half.ended && (fin || !payload.is_empty());
        if !(whole && plain && due && half.next == Some(start)) || over {
            return false;
        }
        let place = segment.placed();
        if half.is_copy(&place) {
            return false;
        }
        self.first = earliest(self.first, segment.at);
        self.last = latest(self.last, segment.at);
        self.counts.segments += 1;
        half.remember(place, segment.payload);
        half.seen = true;
        half.first.get_or_insert(start);
        other.learn_ack(ack, payload.is_empty());
        if !payload.is_empty() {
            half.next = Some(start.plus(segment.wire_len));
            half.counts.bytes += payload.len() as u64;
            let content = Content::Data(payload);
            let (at, packet, seq) = (segment.at, segment.packet, segment.seq);
            let chunk = Chunk { at, packet, seq, content };
            self.push_here(segment.side, chunk, context);
        }
        if fin {
            self.calm_fin(segment.side, start.plus(segment.wire_len), context);
        }
        true
    }

    /// Ends a direction in order, whose FIN stands at `at`.
    #[inline(never)]
    fn calm_fin(&mut self, side: Side, at: SeqNum, context: &mut Context<'_, '_>) {
        let half = self.half_mut(side);
        half.close = Some((at, End::Fin));
        half.next = Some(at.plus(1));
        self.end_side(side, End::Fin, self.last, context);
        if self.half(side.other()).ended {
            self.let_go(context.output);
            self.calm = false;
        }
    }

    /// Takes a SYN that is the first segment, or the SYN that answers it.
    #[inline(never)]
    fn opening(&mut self, segment: &SegmentRef, context: &mut Context<'_, '_>) -> bool {
        let bare = segment.wire_len == 0 && segment.flags & (SPECIAL | flags::FIN) == flags::SYN;
        let side = segment.side;
        let (half, other) = (self.half(side), self.half(side.other()));
        let open = !self.settled && self.closed.is_none() && self.reset.is_none();
        if !(bare && open && half.is_new()) {
            return false;
        }
        match (self.counts.segments, segment.has(flags::ACK)) {
            (0, false) if other.is_new() => self.half_mut(side).begin(segment),
            (1, true) if other.is_begun() && other.next == Some(SeqNum(segment.ack)) => {
                self.first = earliest(self.first, segment.at);
                self.last = latest(self.last, segment.at);
                self.half_mut(side).begin(segment);
                self.half_mut(side.other()).learn_ack(SeqNum(segment.ack), true);
                self.guess = side.other();
                self.settled = true;
                self.decoder = Some(context.decoder(Late::default()));
                self.calm = true;
            }
            _ => return false,
        }
        self.counts.segments += 1;
        true
    }
}
