//! The common case in straight code: the next segment of a connection in
//! good order.
//!
//! Does what [`Flow::any_segment`] would do, where most of it is nothing, and
//! leaves the rest to it before it has changed anything. A test holds the two
//! against each other.

use crate::analyze::decode::{Chunk, Content};
use crate::analyze::flow::{Context, Flow, SegmentRef};
use crate::analyze::packet::flags;
use crate::analyze::reassembly::half::Half;
use crate::analyze::reassembly::seq::SeqNum;
use crate::time::{earliest, latest};

/// The flags that say more than "here is the next".
const SPECIAL: u8 = flags::SYN | flags::FIN | flags::RST;

impl Half {
    /// Whether it is open, with nothing held, missing or acknowledged that
    /// was not seen.
    pub(super) fn is_in_order(&self) -> bool {
        self.next.is_some()
            && self.held.is_empty()
            && self.close.is_none()
            && !self.ended
            && self.hole_since.is_none()
            && !self.maybe_fin
            && !self.hole_acked()
    }
}

impl Flow {
    /// Takes a segment of a connection in order, if that is all there is to
    /// it: the next bytes, whole, or an acknowledgement without any.
    #[inline]
    pub(super) fn calm_segment(
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
        let whole = payload.len() == segment.wire_len as usize;
        let plain = segment.flags & (SPECIAL | flags::ACK) == flags::ACK;
        let due = other.next.is_some_and(|next| !ack.after(next));
        if !(whole && plain && due && half.next == Some(start)) {
            return false;
        }
        if half.may_be_copy(start) {
            return false;
        }
        self.first = earliest(self.first, segment.at);
        self.last = latest(self.last, segment.at);
        self.counts.segments += 1;
        half.remember(segment.placed(), segment.payload);
        half.seen = true;
        half.first.get_or_insert(start);
        other.learn_ack(ack, payload.is_empty());
        if !payload.is_empty() {
            half.next = Some(start.plus(segment.wire_len));
            half.counts.bytes += payload.len() as u64;
            let content = Content::Data(payload);
            let chunk = Chunk { at: segment.at, packet: segment.packet, content };
            self.push_here(segment.side, chunk, context);
        }
        true
    }
}
