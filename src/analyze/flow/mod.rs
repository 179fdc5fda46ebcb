//! A flow: one TCP connection, two half streams in order, and its decoder.
//!
//! Decides what may be delivered next: bytes in sequence, and never a byte
//! before the bytes of the other direction that its sender had received by
//! then (its acknowledgement number). So a response is never decoded before
//! its request, however packets were mixed in the capture. What does not
//! come is given up as a gap of exact length, by the rules of [`give_up`].

pub mod begun;
mod calm;
pub mod closed;
mod deliver;
mod give_up;
pub mod key;
mod learn;
pub mod parked;
pub mod table;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::analyze::decode::spare;
use crate::analyze::decode::{Decoder, Direction, End, Late, Output, Wants};
use crate::analyze::flow::key::{FlowKey, Side};
use crate::analyze::limits::{Limits, SETTLE_SEGMENTS};
use crate::analyze::owner::Owners;
use crate::analyze::packet::flags;
use crate::analyze::reassembly::half::{Fit, Half, PayloadRef, Placed, differ};
use crate::analyze::reassembly::seq::SeqNum;
use crate::analyze::watch::Coverage;
use crate::time::{Timestamp, earliest, latest};

/// A segment as the shards get it: everything but the payload's bytes.
#[derive(Clone, Copy, Debug)]
pub struct SegmentRef {
    /// Connection.
    pub key: FlowKey,
    /// Who sent it.
    pub side: Side,
    /// TCP flags, see [`flags`].
    pub flags: u8,
    /// Sequence number as on the wire.
    pub seq: u32,
    /// Acknowledgement number as on the wire.
    pub ack: u32,
    /// Window field.
    pub window: u16,
    /// IPv4 identification.
    pub ip_id: u16,
    /// Payload bytes on the wire.
    pub wire_len: u32,
    /// Where the captured payload lies.
    pub payload: PayloadRef,
    /// Capture time.
    pub at: Option<Timestamp>,
    /// Packet number, from 1.
    pub packet: u64,
    /// Interface.
    pub interface: u32,
}

impl SegmentRef {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[inline(always)]
    fn placed(&self) -> Placed {
        Placed {
            start: SeqNum(self.seq).plus(u32::from(self.has(flags::SYN))),
            wire_len: self.wire_len,
            ack: self.has(flags::ACK).then_some(SeqNum(self.ack)),
            at: self.at,
            packet: self.packet,
            interface: self.interface,
            mark: u64::from(self.flags) << 32
                | u64::from(self.window) << 16
                | u64::from(self.ip_id),
        }
    }
}

/// Makes the decoder of a new connection.
pub type NewDecoder = fn(Late) -> Box<dyn Decoder>;

/// What a flow needs of its surroundings while it takes a segment.
pub struct Context<'a, 'b> {
    /// Bounds.
    pub limits: &'a Limits,
    /// What reports need.
    pub wants: Wants,
    /// Makes decoders.
    pub new_decoder: NewDecoder,
    /// Where decoders put what they find.
    pub output: &'a mut Output,
    /// Finds remembered payload bytes, while their batch lives.
    pub bytes: &'a dyn Fn(PayloadRef) -> Option<&'b [u8]>,
}

impl Context<'_, '_> {
    /// The decoder of a new connection, a used one where possible.
    fn decoder(&mut self, late: Late) -> Box<dyn Decoder> {
        let used = self.output.spares.take(spare::FIRST, late);
        used.unwrap_or_else(|| (self.new_decoder)(late))
    }
}

/// A RST that was seen and has not ended the connection yet.
#[derive(Clone, Copy, Debug)]
struct Reset {
    side: Side,
    at: SeqNum,
    since: Option<Timestamp>,
    /// It has no ACK: it answers what came after the end of its sender's
    /// bytes (RFC 9293 section 3.10.7.1).
    answers: bool,
}

/// Counters of a connection that are not of one direction.
#[derive(Clone, Debug, Default)]
pub struct FlowCounts {
    /// Segments, copies not counted.
    pub segments: u64,
    /// Missing bytes by cause.
    pub gap_bytes: [u64; 3],
    /// Gaps by cause.
    pub gaps: [u64; 3],
}

/// One TCP connection.
pub struct Flow {
    /// Both ends.
    pub key: FlowKey,
    /// Who is taken for the client: the sender of the SYN, else a guess by
    /// port. Content may tell better, see [`Flow::client`].
    pub guess: Side,
    /// Number of its first packet.
    pub first_packet: u64,
    /// Interface of its first packet.
    pub interface: u32,
    /// Connection number, given after its first batch; 0 before.
    pub number: u64,
    /// First and last capture time.
    pub first: Option<Timestamp>,
    /// See `first`.
    pub last: Option<Timestamp>,
    /// What it speaks.
    pub kind: Option<&'static str>,
    /// Counters.
    pub counts: FlowCounts,
    /// Anomalies that belong to no transaction.
    pub anomalies: Vec<(&'static str, u64)>,
    /// What a real endpoint would have refused.
    pub findings: Vec<(Direction, u64, String)>,
    /// Set once both directions have ended: when.
    pub closed: Option<Option<Timestamp>>,
    /// Listed among those that are closed and remembered for a while.
    pub listed: bool,
    /// Its key was taken from it: only its totals are still to be reported.
    pub over: bool,
    /// Listed among those with something held back.
    pub waiting: bool,
    /// Comments of its packets: number and text, the first packet's first.
    pub comments: Vec<(u64, String)>,
    /// The processes at its ends.
    pub owners: Owners,
    /// Transactions taken from it so far.
    pub transactions: u64,
    ends: [SocketAddr; 2],
    halves: [Half; 2],
    settled: bool,
    opaque: bool,
    swapped: bool,
    close_told: bool,
    /// In good order, see [`Flow::is_in_order`]; false where that is not known.
    calm: bool,
    reset: Option<Reset>,
    decoder: Option<Box<dyn Decoder>>,
}

impl Flow {
    /// A flow that begins with this segment.
    pub fn new(segment: &SegmentRef) -> Self {
        let syn = segment.has(flags::SYN);
        let side = segment.side;
        let guess = match (syn, segment.has(flags::ACK)) {
            (true, false) => side,
            (true, true) => side.other(),
            // Without a handshake the higher port is the client's.
            (false, _) if segment.key.port(side) >= segment.key.port(side.other()) => side,
            (false, _) => side.other(),
        };
        Self {
            key: segment.key,
            guess,
            first_packet: segment.packet,
            interface: segment.interface,
            number: 0,
            first: segment.at,
            last: segment.at,
            kind: None,
            counts: FlowCounts::default(),
            anomalies: Vec::new(),
            findings: Vec::new(),
            closed: None,
            listed: false,
            over: false,
            waiting: false,
            comments: Vec::new(),
            owners: Owners::default(),
            transactions: 0,
            ends: [segment.key.end(Side::A), segment.key.end(Side::B)],
            halves: [Half::default(), Half::default()],
            settled: false,
            opaque: false,
            swapped: false,
            close_told: false,
            calm: false,
            reset: None,
            decoder: None,
        }
    }

    /// Who is the client, as far as is known.
    pub fn client(&self) -> Side {
        if self.swapped { self.guess.other() } else { self.guess }
    }

    /// Whether a SYN was seen.
    pub fn handshake(&self) -> bool {
        self.halves.iter().any(|half| half.isn.is_some())
    }

    /// Address and port of one end.
    pub fn end(&self, side: Side) -> SocketAddr {
        self.ends[side.index()]
    }

    /// How much of its payload was there so far.
    pub fn coverage(&self) -> Coverage {
        Coverage {
            payload_bytes: self.halves.iter().map(|half| half.counts.bytes).sum(),
            gap_bytes: self.counts.gap_bytes.into_iter().sum(),
            gaps: self.counts.gaps.into_iter().sum(),
            limits: 0,
        }
    }

    /// One direction.
    pub fn half(&self, side: Side) -> &Half {
        &self.halves[side.index()]
    }

    fn half_mut(&mut self, side: Side) -> &mut Half {
        &mut self.halves[side.index()]
    }

    fn direction(&self, side: Side) -> Direction {
        if side == self.guess { Direction::ToServer } else { Direction::ToClient }
    }

    /// Whether this SYN begins another connection of the same addresses.
    pub fn is_replaced_by(&self, segment: &SegmentRef) -> bool {
        if !segment.has(flags::SYN) || segment.has(flags::RST) {
            return false;
        }
        let half = self.half(segment.side);
        match half.isn {
            Some(isn) => isn != SeqNum(segment.seq),
            // Joined midway: a SYN before all that was seen is its own, late.
            None => match half.next.or(half.held.front().map(|held| held.place.start)) {
                None => self.closed.is_some(),
                Some(first) => self.settled || SeqNum(segment.seq).plus(1) != first,
            },
        }
    }

    /// Takes a segment.
    #[inline]
    pub fn segment(&mut self, segment: &SegmentRef, payload: &[u8], context: &mut Context<'_, '_>) {
        if !self.short_way(segment, payload, context) {
            self.long_way(segment, payload, context);
        }
    }

    /// Takes any segment.
    #[inline(never)]
    fn long_way(&mut self, segment: &SegmentRef, payload: &[u8], context: &mut Context<'_, '_>) {
        self.calm = false;
        self.any_segment(segment, payload, context);
        self.calm = self.is_in_order();
    }

    /// Whether both directions are without holes, nothing waits, and not both
    /// are over: then the next bytes of either only have to be handed on.
    fn is_in_order(&self) -> bool {
        self.settled
            && !self.opaque
            && self.closed.is_none()
            && self.reset.is_none()
            && self.halves.iter().all(Half::is_in_order)
    }

    fn any_segment(&mut self, segment: &SegmentRef, payload: &[u8], context: &mut Context<'_, '_>) {
        let place = segment.placed();
        let side = segment.side;
        if self.closed.is_some() {
            // Its last segments again; time does not go on for it.
            self.half_mut(side).counts.retransmissions += u64::from(place.wire_len > 0);
            return;
        }
        self.first = earliest(self.first, segment.at);
        self.last = latest(self.last, segment.at);
        if self.is_copy(side, &place) {
            return;
        }
        self.counts.segments += 1;
        self.half_mut(side).remember(place, segment.payload);
        self.learn(segment, &place, context);
        if self.reset.is_some() && !segment.has(flags::RST) {
            self.contradict_reset(side, &place);
        }
        if self.opaque {
            self.count_opaque(side, &place);
        } else if self.is_next(side, &place) {
            self.deliver_segment(side, &place, payload, context);
            if !self.halves[0].held.is_empty() || !self.halves[1].held.is_empty() {
                self.pump(context);
            }
        } else if place.wire_len > 0 {
            self.slow(segment, &place, payload, context);
        }
        if self.half(side).close.is_some() {
            self.pump(context);
        }
        if self.may_be_due() {
            self.give_up_due(segment.at, context);
        }
    }

    /// Whether anything is held, missing or closing: false for a connection
    /// in good order, without looking closer.
    #[inline]
    fn may_be_due(&self) -> bool {
        !self.settled
            || self.reset.is_some()
            || self.halves.iter().any(|half| {
                !half.held.is_empty()
                    || half.hole_since.is_some()
                    || half.close.is_some()
                    || half.hole_acked()
            })
    }

    /// The common case: bytes in order, nothing held, nothing in its way.
    fn is_next(&self, side: Side, place: &Placed) -> bool {
        let half = self.half(side);
        self.settled
            && place.wire_len > 0
            && half.next == Some(place.start)
            && half.held.is_empty()
            && !half.ended
            && !self.blocked(side, place.ack)
    }

    /// Whether the sender had received bytes of the other direction that are
    /// not delivered yet and may still come.
    fn blocked(&self, side: Side, ack: Option<SeqNum>) -> bool {
        let other = self.half(side.other());
        match (ack, other.next) {
            (Some(ack), Some(next)) => other.seen && !other.ended && ack.after(next),
            _ => false,
        }
    }

    fn is_copy(&mut self, side: Side, place: &Placed) -> bool {
        let half = self.half_mut(side);
        if half.is_copy(place) {
            half.counts.duplicates += 1;
            return true;
        }
        false
    }

    fn slow(
        &mut self,
        segment: &SegmentRef,
        place: &Placed,
        payload: &[u8],
        context: &mut Context<'_, '_>,
    ) {
        let side = segment.side;
        let settled = self.settled;
        let half = self.half_mut(side);
        match half.fit(place) {
            Fit::Old => {
                // A keep-alive probe sends the byte before the next, or none
                // (RFC 9293 section 3.8.4): nothing was lost or sent again.
                let probe = place.wire_len <= 1
                    && half.next.is_some_and(|next| next.distance(place.start) == 1);
                if probe {
                    return;
                }
                half.counts.retransmissions += 1;
                self.compare(side, place, payload, context);
                return;
            }
            Fit::Wild => {
                self.anomaly("segment-outside-window");
                return;
            }
            Fit::Overlap(_) => self.compare(side, place, payload, context),
            Fit::Later if settled => half.counts.out_of_order += 1,
            Fit::Later | Fit::Next => {}
        }
        if self.half_mut(side).hold(*place, payload) {
            self.anomaly("conflicting-overlap");
        }
        if !self.settled
            && self.halves.iter().map(|h| h.held.len()).sum::<usize>() >= SETTLE_SEGMENTS
        {
            self.settle(context);
        }
        self.pump(context);
    }

    /// Bytes sent twice must be equal: the first copy wins, and a difference
    /// is told, where the first copy is still at hand.
    fn compare(&mut self, side: Side, place: &Placed, payload: &[u8], context: &Context<'_, '_>) {
        let conflict =
            self.half(side).overlaps(place).filter(|(remembered, ..)| remembered.len > 0).any(
                |(remembered, there, here, len)| {
                    let before = (context.bytes)(remembered);
                    differ(before.and_then(|b| b.get(there..)), payload.get(here..), len)
                },
            );
        if conflict {
            self.anomaly("conflicting-overlap");
        }
    }

    /// Counts an anomaly of the connection.
    pub fn anomaly(&mut self, name: &'static str) {
        match self.anomalies.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.anomalies.push((name, 1)),
        }
    }

    /// A connection that is not decoded: bytes are counted, not put in order.
    fn count_opaque(&mut self, side: Side, place: &Placed) {
        let half = self.half_mut(side);
        let end = place.start.plus(place.wire_len);
        let next = half.next.unwrap_or(place.start);
        let new = end.distance(next);
        if new > 0 {
            let seen = new.unsigned_abs().min(place.wire_len);
            half.counts.bytes += u64::from(seen);
            let lost = new.unsigned_abs() - seen;
            half.next = Some(end);
            if lost > 0 {
                self.count_gap(u64::from(lost), 0);
            }
        } else if place.wire_len > 0 {
            half.counts.retransmissions += 1;
        }
    }

    /// How the connection ended, in words; once.
    pub fn take_close_text(&mut self) -> Option<String> {
        if self.close_told {
            return None;
        }
        self.close_told = true;
        let who = |side: Side| if side == self.client() { "client" } else { "server" };
        let mut text = String::new();
        for side in [Side::A, Side::B] {
            let reset = self.reset.is_some_and(|reset| reset.side == side);
            let what = match self.half(side).close {
                _ if reset => "reset by",
                Some((_, End::Fin)) => "closed by",
                _ => continue,
            };
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(what);
            text.push(' ');
            text.push_str(who(side));
        }
        if text.is_empty() {
            text.push_str("not seen to close");
        }
        Some(text)
    }

    /// Start of the oldest transaction still open, or of bytes still held.
    pub fn oldest_open(&self) -> Option<Timestamp> {
        let held = self.halves.iter().flat_map(|h| h.held.iter()).filter_map(|h| h.place.at).min();
        earliest(held, self.decoder.as_ref().and_then(|d| d.oldest_open()))
    }

    /// Bytes held for reordering, and bytes of decoder state.
    pub fn memory(&self) -> (usize, usize) {
        let held = self.halves.iter().map(Half::memory).sum();
        (held, self.decoder.as_ref().map_or(0, |d| d.memory()))
    }
}
