//! A half stream: the segments of one direction, held until they fit.

use std::collections::VecDeque;

use crate::analyze::decode::End;
use crate::analyze::reassembly::seq::SeqNum;
use crate::time::Timestamp;

/// Largest distance between the next byte and a segment that can belong to
/// the same window: 65,535 scaled by 2^14 (RFC 7323 section 2.3).
const WINDOW: i32 = 1 << 30;

/// Segments in a row outside any window after which the stream is taken to
/// have jumped (a capture that paused for more than a window).
const JUMP_SEGMENTS: u8 = 3;

/// Segments remembered for telling copies from retransmissions and for
/// comparing the bytes of overlaps.
const RECENT: usize = 4;

/// Largest distance in time between two copies of one packet seen at two
/// interfaces: queueing on one host is milliseconds.
pub const COPY_NANOS: i64 = 100_000_000;

/// The parts of a segment that place it, without its payload.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// First byte of payload (after a SYN's own number).
    pub start: SeqNum,
    /// Payload bytes on the wire.
    pub wire_len: u32,
    /// What the sender has received, if it says so.
    pub ack: Option<SeqNum>,
    /// Capture time.
    pub at: Option<Timestamp>,
    /// Packet number.
    pub packet: u64,
    /// Interface, to tell copies.
    pub interface: u32,
    /// Flags, window and IP identification packed, to tell copies.
    pub mark: u64,
}

impl Placed {
    /// First byte, and how many.
    fn span(&self) -> (SeqNum, u32) {
        (self.start, self.wire_len)
    }
}

/// A segment that waits for earlier bytes.
#[derive(Debug)]
pub struct Held {
    /// Where it belongs.
    pub place: Placed,
    /// Its captured payload.
    pub data: Vec<u8>,
}

/// Where the payload of a delivered segment lies, while its batch lives.
#[derive(Clone, Copy, Debug)]
pub struct PayloadRef {
    /// Generation of the batch.
    pub round: u64,
    /// Chunk of the batch.
    pub chunk: u32,
    /// Offset in it.
    pub offset: u32,
    /// Captured bytes.
    pub len: u32,
}

/// A segment seen just before: what tells copies, and where its bytes are. As
/// little as that takes: there are eight of these in each flow.
#[derive(Clone, Copy, Debug)]
struct Recent {
    start: SeqNum,
    wire_len: u32,
    ack: Option<SeqNum>,
    interface: u32,
    at: Option<Timestamp>,
    mark: u64,
    payload: PayloadRef,
}

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HalfCounts {
    /// Payload bytes handed on.
    pub bytes: u64,
    /// Segments that brought nothing new.
    pub retransmissions: u64,
    /// Segments that came after later ones.
    pub out_of_order: u64,
    /// Copies of a packet seen elsewhere.
    pub duplicates: u64,
}

/// What a segment is to its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The next bytes: deliver them now if nothing else forbids it.
    Next,
    /// Later bytes, or not settled yet: hold them.
    Later,
    /// Begins before the next byte and goes past it, by this much known.
    Overlap(u32),
    /// Nothing new.
    Old,
    /// Outside any window.
    Wild,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Half {
    /// Next byte to deliver; None before the direction has a base.
    pub next: Option<SeqNum>,
    /// Initial sequence number, if the SYN was seen.
    pub isn: Option<SeqNum>,
    /// First byte as the other side's handshake tells it, where the SYN of
    /// this side was not captured.
    pub base: Option<SeqNum>,
    /// First byte of the first segment seen.
    pub first: Option<SeqNum>,
    /// What the peer's first bytes acknowledged, where they came before any
    /// segment of this direction.
    pub told: Option<SeqNum>,
    /// Highest byte that the other side says it received.
    pub acked: Option<SeqNum>,
    /// The last acknowledgement went one number on and brought no data, which
    /// a FIN that was not captured does.
    pub acked_one: bool,
    /// The number before `next` was acknowledged and given up, and is a byte
    /// or a FIN: what follows tells.
    pub maybe_fin: bool,
    /// Where FIN or RST stands, and which it is.
    pub close: Option<(SeqNum, End)>,
    /// End was handed on.
    pub ended: bool,
    /// Any segment of this direction was seen.
    pub seen: bool,
    /// Since when bytes are missing that later ones or an ACK prove.
    pub hole_since: Option<Timestamp>,
    /// Waiting segments by start, first copies before later ones.
    pub held: VecDeque<Held>,
    /// Sum of their payload.
    pub held_bytes: usize,
    /// Counters.
    pub counts: HalfCounts,
    /// First bytes of `recent`, apart from it: mostly they alone tell that a
    /// segment is no copy. 0 where there is none, which `recent` tells.
    starts: [u32; RECENT],
    recent: [Option<Recent>; RECENT],
    recent_at: u8,
    wild: u8,
}

impl Half {
    /// The other side says that it has received all before `ack`; `bare` if
    /// it sent nothing else.
    pub fn learn_ack(&mut self, ack: SeqNum, bare: bool) {
        match self.acked {
            Some(acked) if !ack.after(acked) => {}
            before => {
                self.acked_one = bare && before.is_some_and(|before| ack.distance(before) == 1);
                self.acked = Some(ack);
            }
        }
    }

    /// Whether bytes may have been sent before the first one that is known.
    pub fn is_late(&self) -> bool {
        self.isn.is_none() && self.base.is_none()
    }

    /// What a segment with payload is. Does not change anything but the
    /// count of wild segments.
    pub fn fit(&mut self, place: &Placed) -> Fit {
        let Some(next) = self.next else { return Fit::Later };
        let distance = place.start.distance(next);
        if distance == 0 {
            self.wild = 0;
            return Fit::Next;
        }
        if !(-WINDOW..=WINDOW).contains(&distance) {
            self.wild += 1;
            return if self.wild >= JUMP_SEGMENTS { Fit::Later } else { Fit::Wild };
        }
        self.wild = 0;
        if distance > 0 {
            return Fit::Later;
        }
        let known = distance.unsigned_abs();
        if place.wire_len > known { Fit::Overlap(known) } else { Fit::Old }
    }

    /// Holds a segment, sorted by start; of equal starts the first one seen
    /// stays first, so that its bytes win. Returns whether bytes that it
    /// shares with a segment already held differ from those.
    pub fn hold(&mut self, place: Placed, data: &[u8]) -> bool {
        let conflict = self.held.iter().any(|held| {
            shared(held.place.span(), place.span()).is_some_and(|(there, here, len)| {
                differ(held.data.get(there..), data.get(here..), len)
            })
        });
        let at = self.held.partition_point(|held| !held.place.start.after(place.start));
        self.held_bytes += data.len();
        self.held.insert(at, Held { place, data: data.to_vec() });
        conflict
    }

    /// Drops what is held.
    pub fn let_go(&mut self) {
        if self.held.capacity() > 0 {
            (self.held, self.held_bytes) = (VecDeque::new(), 0);
        }
    }

    /// Takes the first held segment out.
    pub fn take_first(&mut self) -> Option<Held> {
        let held = self.held.pop_front()?;
        self.held_bytes -= held.data.len();
        Some(held)
    }

    /// Where the hole before the next provable byte ends: the first held
    /// segment, or what the other side acknowledged. None without a hole.
    pub fn hole_end(&self) -> Option<SeqNum> {
        let next = self.next?;
        let held = self.held.front().map(|held| held.place.start);
        let acked = self.acked.filter(|acked| acked.after(next));
        let close = self.close.map(|(at, _)| at);
        let mut target = match (held, acked) {
            (Some(held), Some(acked)) if held.after(acked) => acked,
            (Some(held), _) => held,
            (None, Some(acked)) => acked,
            (None, None) => close?,
        };
        if let Some(close) = close
            && target.after(close)
        {
            target = close;
        }
        target.after(next).then_some(target)
    }

    /// Whether the receiver has bytes that lie beyond the hole: then the
    /// packet existed and is not to be sent again.
    pub fn hole_acked(&self) -> bool {
        matches!((self.next, self.acked), (Some(next), Some(acked)) if acked.after(next))
    }

    /// Remembers a delivered or held segment.
    #[inline(always)]
    pub fn remember(&mut self, place: Placed, payload: PayloadRef) {
        let slot = usize::from(self.recent_at) % RECENT;
        if let Some(entry) = self.recent.get_mut(slot) {
            let Placed { start, wire_len, ack, at, interface, mark, .. } = place;
            *entry = Some(Recent { start, wire_len, ack, interface, at, mark, payload });
        }
        if let Some(start) = self.starts.get_mut(slot) {
            *start = place.start.0;
        }
        self.recent_at = self.recent_at.wrapping_add(1);
    }

    /// Whether the segment is a copy of a packet seen just before: equal in
    /// all that a retransmission changes, close in time.
    #[inline(always)]
    pub fn is_copy(&self, place: &Placed) -> bool {
        self.may_be_copy(place.start) && self.is_equal(place)
    }

    /// Whether a segment seen just before began there too.
    #[inline]
    pub fn may_be_copy(&self, start: SeqNum) -> bool {
        self.starts.iter().fold(false, |any, known| any | (*known == start.0))
    }

    #[inline(never)]
    fn is_equal(&self, place: &Placed) -> bool {
        self.recent.iter().flatten().any(|seen| {
            seen.start == place.start
                && seen.wire_len == place.wire_len
                && seen.ack == place.ack
                && seen.mark == place.mark
                && ((place.mark & 0xffff) != 0 || seen.interface != place.interface)
                && seen.at.zip(place.at).is_none_or(|(a, b)| b.since(a).abs() <= COPY_NANOS)
        })
    }

    /// Whether nothing of it is held, missing or closing, and nothing out of
    /// place was seen just before.
    pub fn is_steady(&self) -> bool {
        self.next.is_some()
            && self.close.is_none()
            && self.hole_since.is_none()
            && self.held.is_empty()
            && !(self.ended || self.maybe_fin)
            && self.wild == 0
    }

    /// The round of the last segment that is remembered, 0 without any. None
    /// where one has no time, since it never grows too old to have a copy.
    pub fn last_round(&self) -> Option<u64> {
        self.recent
            .iter()
            .flatten()
            .try_fold(0, |last, seen| seen.at.is_some().then_some(seen.payload.round.max(last)))
    }

    /// The remembered bytes that overlap `place`: where they begin in the
    /// remembered payload, where in this one, and how many.
    pub fn overlaps(
        &self,
        place: &Placed,
    ) -> impl Iterator<Item = (PayloadRef, usize, usize, usize)> {
        let place = *place;
        self.recent.iter().flatten().filter_map(move |recent| {
            let (there, here, len) = shared((recent.start, recent.wire_len), place.span())?;
            Some((recent.payload, there, here, len))
        })
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.held_bytes + self.held.capacity() * size_of::<Held>()
    }
}

/// Where the bytes that two segments share begin in each, and how many; of
/// each its first byte and its length.
fn shared(one: (SeqNum, u32), two: (SeqNum, u32)) -> Option<(usize, usize, usize)> {
    let begin = one.0.max(two.0);
    let ends = (one.0.plus(one.1), two.0.plus(two.1));
    let end = if ends.0.after(ends.1) { ends.1 } else { ends.0 };
    let len = usize::try_from(end.distance(begin)).ok()?;
    let in_one = usize::try_from(begin.distance(one.0)).ok()?;
    let in_two = usize::try_from(begin.distance(two.0)).ok()?;
    (len > 0).then_some((in_one, in_two, len))
}

/// Whether the first `len` bytes of two pieces differ, as far as both were
/// captured.
pub fn differ(one: Option<&[u8]>, two: Option<&[u8]>, len: usize) -> bool {
    let (Some(one), Some(two)) = (one, two) else { return false };
    let len = len.min(one.len()).min(two.len());
    one.get(..len) != two.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(start: u32, len: u32) -> Placed {
        Placed {
            start: SeqNum(start),
            wire_len: len,
            ack: None,
            at: None,
            packet: 1,
            interface: 0,
            mark: 0,
        }
    }

    #[test]
    fn fits_by_distance_across_the_wrap() {
        let mut half = Half { next: Some(SeqNum(u32::MAX - 9)), ..Half::default() };
        assert_eq!(half.fit(&place(u32::MAX - 9, 20)), Fit::Next);
        assert_eq!(half.fit(&place(5, 20)), Fit::Later);
        assert_eq!(half.fit(&place(u32::MAX - 19, 10)), Fit::Old);
        assert_eq!(half.fit(&place(u32::MAX - 19, 15)), Fit::Overlap(10));
        assert_eq!(half.fit(&place(0x7000_0000, 15)), Fit::Wild);
    }

    #[test]
    fn three_wild_segments_are_a_jump() {
        let mut half = Half { next: Some(SeqNum(0)), ..Half::default() };
        let far = place(0x7000_0000, 15);
        assert_eq!(
            [half.fit(&far), half.fit(&far), half.fit(&far)],
            [Fit::Wild, Fit::Wild, Fit::Later]
        );
    }

    #[test]
    fn holds_in_order_and_keeps_first_copies_first() {
        let mut half = Half { next: Some(SeqNum(0)), ..Half::default() };
        assert!(!half.hold(place(30, 3), b"ccc"));
        assert!(!half.hold(place(10, 3), b"aaa"));
        assert!(half.hold(place(10, 3), b"bbb"), "conflicting bytes are told");
        let order: Vec<_> = std::iter::from_fn(|| half.take_first()).map(|h| h.data).collect();
        assert_eq!(order, [b"aaa", b"bbb", b"ccc"]);
        assert_eq!(half.held_bytes, 0);
    }

    #[test]
    fn a_hole_ends_at_the_first_proof() {
        let mut half = Half { next: Some(SeqNum(10)), ..Half::default() };
        assert_eq!(half.hole_end(), None);
        half.acked = Some(SeqNum(50));
        assert_eq!(half.hole_end(), Some(SeqNum(50)));
        half.hold(place(20, 3), b"abc");
        assert_eq!(half.hole_end(), Some(SeqNum(20)));
        half.take_first();
        half.close = Some((SeqNum(49), End::Fin));
        assert_eq!(half.hole_end(), Some(SeqNum(49)));
    }
}
