//! One batch of packets on its way through the shards.
//!
//! The feeder fills a round while the shards work on the one before. Of a
//! plain packet it hands on nothing but where it is: to read its headers once
//! more takes a shard less time than to fetch what another processor has just
//! written about it.

use std::sync::Arc;

use crate::analyze::flow::SegmentRef;
use crate::analyze::flow::key::{FlowKey, Side};
use crate::analyze::limits::SHARDS;
use crate::analyze::owner::Note;
use crate::analyze::packet::{Dissector, Plain};
use crate::analyze::reassembly::half::PayloadRef;
use crate::pcap::{Batch, LinkType, PacketRef, prefetch_packet, prefetch_ref};
use crate::time::Timestamp;

/// Marks a chunk index as one of [`Round::owned`].
const OWNED: u32 = 1 << 31;

/// Marks what was dealt as an index into [`Round::special`].
const SPECIAL: u32 = 1 << 31;

/// Packets ahead that are loaded: those of a shard are too far apart for the
/// processor to guess the next.
const PREFETCH_PACKETS: usize = 4;

/// Packets ahead of which is loaded where they are.
const PREFETCH_REFS: usize = 12;

/// Rounds whose bytes are kept: together up to 32,768 packets or 8 MiB, of a
/// pipe up to 32 MiB. What is sent again comes after some round trips.
pub const REMEMBERED: usize = 32;

/// Shared bytes of a batch.
type Chunks = Vec<Arc<dyn AsRef<[u8]> + Send + Sync>>;

/// Shared bytes of earlier batches, the last first.
pub type Before = Vec<Arc<Chunks>>;

/// What has to be known of an interface to tell whose a packet is.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// How its packets begin.
    pub kind: LinkType,
    /// The point of observation that it is part of; 0 unless several are joined.
    pub point: u16,
}

/// Segments of one batch by shard, and the bytes that they refer to.
#[derive(Default)]
pub struct Round {
    /// Counts rounds, from 1.
    pub number: u64,
    /// The packets.
    pub batch: Batch,
    /// Payloads that were put together from fragments.
    pub owned: Vec<Vec<u8>>,
    /// Chunks of the rounds before, the last first, for comparing bytes sent again.
    pub before: Before,
    /// How the packets of each interface of the run begin, and where it is.
    pub links: Vec<Link>,
    /// Packets by shard.
    pub dealt: Dealt,
    /// What comments say, by packet number, ascending.
    pub notes: Vec<(u64, Note)>,
    /// Number of the last packet, which stands for "now" in the order of events.
    pub last_packet: u64,
    /// The latest time seen so far, or the wall clock for a live stream.
    pub now: Option<Timestamp>,
}

/// Of each shard, the unit that it is part of: its packets are dealt out with
/// those of the unit's other shards.
pub type Units = [u8; SHARDS];

/// The packets of a round by unit.
#[derive(Default)]
pub struct Dealt {
    of_shard: Units,
    /// In order: a plain one by its index in the batch, others by [`SPECIAL`]
    /// and where they are in `special`.
    units: Vec<Vec<u32>>,
    /// Segments that were not easily found in their packets.
    special: Vec<SegmentRef>,
}

impl Dealt {
    fn clear(&mut self) {
        self.units.resize_with(SHARDS, Vec::new);
        self.units.iter_mut().for_each(Vec::clear);
        self.special.clear();
    }

    #[inline(always)]
    fn push(&mut self, shard: usize, place: u32) {
        let unit = self.of_shard.get(shard).copied().unwrap_or_default();
        if let Some(dealt) = self.units.get_mut(usize::from(unit)) {
            dealt.push(place);
        }
    }

    /// Deals a segment out to its shard.
    pub fn deal(&mut self, segment: SegmentRef) {
        let place = SPECIAL | u32::try_from(self.special.len()).unwrap_or(0);
        self.push(segment.key.shard(SHARDS), place);
        self.special.push(segment);
    }

    /// Deals the plain packet with this index in the batch out to a shard.
    #[inline(always)]
    pub fn deal_plain(&mut self, shard: usize, index: usize) {
        self.push(shard, index as u32);
    }
}

impl Round {
    /// What is remembered of it and those before.
    pub fn remembered(&self) -> Before {
        let older = self.before.iter().take(REMEMBERED - 1).cloned();
        std::iter::once(Arc::new(self.batch.chunks.clone())).chain(older).collect()
    }

    /// The time of the first packet that has one.
    pub fn first_time(&self) -> Option<Timestamp> {
        self.batch.packets.iter().find_map(|packet| packet.at)
    }

    /// Empties it for the next batch; `before` is what the last round remembers.
    pub fn clear(&mut self, number: u64, before: Before) {
        self.number = number;
        self.before = before;
        self.batch.clear();
        self.owned.clear();
        self.dealt.clear();
        self.notes.clear();
    }

    /// A round whose packets are dealt out to these units.
    pub fn with_units(units: Units) -> Self {
        Self { dealt: Dealt { of_shard: units, ..Dealt::default() }, ..Self::default() }
    }

    /// Gives `take` the segments that were dealt out to a unit, and their
    /// payloads, which lie in `payloads`.
    #[inline]
    pub fn segments<'r>(
        &'r self,
        unit: usize,
        payloads: &'r Payloads<'r>,
        mut take: impl FnMut(&SegmentRef, &'r [u8]),
    ) {
        let first = self.last_packet + 1 - self.batch.packets.len() as u64;
        let dealt = self.dealt.units.get(unit).map_or(&[][..], Vec::as_slice);
        for (at, &place) in dealt.iter().enumerate() {
            if let Some(&next) = dealt.get(at + PREFETCH_REFS)
                && let Some(packet) = self.batch.packets.get(next as usize)
            {
                prefetch_ref(packet);
            }
            if let Some(&next) = dealt.get(at + PREFETCH_PACKETS)
                && let Some(packet) = self.batch.packets.get(next as usize)
            {
                prefetch_packet(payloads.packet(packet));
            }
            if place & SPECIAL != 0 {
                let Some(segment) = self.dealt.special.get((place & !SPECIAL) as usize) else {
                    continue;
                };
                take(segment, payloads.get(segment.payload).unwrap_or_default());
            } else if let Some(packet) = self.batch.packets.get(place as usize)
                && let Some(link) = self.links.get(packet.interface as usize)
                && let bytes = payloads.packet(packet)
                && let Some(plain) = Dissector::plain(link.kind, bytes)
            {
                let number = first + u64::from(place);
                let key = plain_key(&plain, link.point);
                let segment = plain_segment(&plain, key, packet, number, self.number);
                take(&segment, plain.payload(bytes));
            }
        }
    }

    /// Keeps an owned payload and says where it lies.
    pub fn own(&mut self, payload: Vec<u8>) -> PayloadRef {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.owned.push(payload);
        let chunk = OWNED | u32::try_from(self.owned.len() - 1).unwrap_or(0);
        PayloadRef { round: self.number, chunk, offset: 0, len }
    }

    /// Where the payloads of its segments lie.
    pub fn payloads(&self) -> Payloads<'_> {
        Payloads {
            number: self.number,
            current: self.batch.slices(),
            before: &self.before,
            owned: &self.owned,
        }
    }
}

/// The bytes that the segments of a round refer to.
pub struct Payloads<'a> {
    number: u64,
    current: Vec<&'a [u8]>,
    before: &'a [Arc<Chunks>],
    owned: &'a [Vec<u8>],
}

impl<'a> Payloads<'a> {
    /// The bytes of a packet of this round.
    #[inline(always)]
    fn packet(&self, packet: &PacketRef) -> &'a [u8] {
        bytes_of(packet, &self.current)
    }

    /// The bytes of a payload of this round, or of an earlier one while its
    /// chunks are kept.
    #[inline]
    pub fn get(&self, payload: PayloadRef) -> Option<&'a [u8]> {
        let range = payload.offset as usize..payload.offset as usize + payload.len as usize;
        if payload.round == self.number
            && let Some(chunk) = self.current.get(payload.chunk as usize)
        {
            return chunk.get(range);
        }
        self.get_other(payload)?.get(range)
    }

    /// The chunk of a payload that is not in a chunk of this round.
    #[cold]
    fn get_other(&self, payload: PayloadRef) -> Option<&'a [u8]> {
        if payload.chunk & OWNED != 0 {
            let owned = self.owned.get((payload.chunk & !OWNED) as usize)?;
            return (payload.round == self.number).then_some(owned);
        }
        let age = usize::try_from(self.number.checked_sub(payload.round)?).ok()?;
        let chunks = self.before.get(age.checked_sub(1)?)?;
        chunks.get(payload.chunk as usize).map(|chunk| (**chunk).as_ref())
    }
}

/// The bytes of a packet whose batch has these chunks.
#[inline(always)]
pub fn bytes_of<'a>(packet: &PacketRef, chunks: &[&'a [u8]]) -> &'a [u8] {
    let start = packet.offset as usize;
    let chunk = chunks.get(packet.chunk as usize);
    let bytes = chunk.and_then(|chunk| chunk.get(start..start + packet.captured as usize));
    bytes.unwrap_or_default()
}

/// The connection of a plain packet that was captured at this point, and its sender.
#[inline(always)]
pub fn plain_key(plain: &Plain<'_>, point: u16) -> (FlowKey, Side) {
    let (key, side) = FlowKey::of(plain.source(), plain.destination(), plain.v6());
    (key.at(point), side)
}

/// A plain segment as shards take it.
#[inline(always)]
pub fn plain_segment(
    plain: &Plain<'_>,
    (key, side): (FlowKey, Side),
    packet: &PacketRef,
    number: u64,
    round: u64,
) -> SegmentRef {
    SegmentRef {
        key,
        side,
        flags: plain.flags(),
        seq: plain.seq(),
        ack: plain.ack(),
        window: plain.window(),
        ip_id: plain.ip_id(),
        wire_len: plain.payload_len,
        payload: PayloadRef {
            round,
            chunk: packet.chunk,
            // A chunk is shorter than 4 GiB.
            offset: packet.offset.wrapping_add(plain.payload_at),
            len: plain.payload_len,
        },
        at: packet.at,
        packet: number,
        interface: packet.interface,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_of_earlier_rounds_are_found_for_a_while() {
        let mut round = Round::default();
        for number in 1..=REMEMBERED as u64 + 2 {
            let before = round.remembered();
            round.clear(number, before);
            round.batch.chunks.push(Arc::new(vec![number as u8; 4]));
        }
        let payloads = round.payloads();
        let find = |round| payloads.get(PayloadRef { round, chunk: 0, offset: 1, len: 2 });
        let last = round.number;
        for number in last - REMEMBERED as u64..=last {
            assert_eq!(find(number), Some(&[number as u8; 2][..]), "round {number} of {last}");
        }
        assert_eq!(find(last - REMEMBERED as u64 - 1), None);
        assert_eq!(find(last + 1), None);
        assert_eq!(payloads.get(PayloadRef { round: last, chunk: 0, offset: 3, len: 2 }), None);
        assert_eq!(payloads.get(PayloadRef { round: last, chunk: 1, offset: 0, len: 2 }), None);
    }
}
