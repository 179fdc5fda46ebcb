//! One batch of packets on its way through the shards.
//!
//! The feeder fills a round while the shards work on the one before.

use std::sync::Arc;

use crate::analyze::flow::SegmentRef;
use crate::analyze::limits::SHARDS;
use crate::analyze::reassembly::half::PayloadRef;
use crate::pcap::Batch;
use crate::time::Timestamp;

/// Marks a chunk index as one of [`Round::owned`].
const OWNED: u32 = 1 << 31;

/// Shared bytes of a batch.
pub type Chunks = Vec<Arc<dyn AsRef<[u8]> + Send + Sync>>;

/// Segments of one batch by shard, and the bytes that they refer to.
#[derive(Default)]
pub struct Round {
    /// Counts rounds, from 1.
    pub number: u64,
    /// The packets.
    pub batch: Batch,
    /// Payloads that were put together from fragments.
    pub owned: Vec<Vec<u8>>,
    /// Chunks of the round before, for comparing bytes sent again.
    pub before: Chunks,
    /// Segments by shard, in packet order.
    pub segments: Vec<Vec<SegmentRef>>,
    /// Comments by packet number, ascending.
    pub comments: Vec<(u64, String)>,
    /// Number of the last packet, which stands for "now" in the order of events.
    pub last_packet: u64,
    /// The latest time seen so far, or the wall clock for a live stream.
    pub now: Option<Timestamp>,
}

impl Round {
    /// Empties it for the next batch; `before` is what the last round held.
    pub fn clear(&mut self, number: u64, before: Chunks) {
        self.number = number;
        self.before = before;
        self.batch.clear();
        self.owned.clear();
        self.segments.resize_with(SHARDS, Vec::new);
        for segments in &mut self.segments {
            segments.clear();
        }
        self.comments.clear();
    }

    /// Deals a segment out to its shard.
    #[inline]
    pub fn deal(&mut self, segment: SegmentRef) {
        if let Some(shard) = self.segments.get_mut(segment.key.shard(SHARDS)) {
            shard.push(segment);
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
            before: self.before.iter().map(|chunk| (**chunk).as_ref()).collect(),
            owned: &self.owned,
        }
    }
}

/// The bytes that the segments of a round refer to.
pub struct Payloads<'a> {
    number: u64,
    current: Vec<&'a [u8]>,
    before: Vec<&'a [u8]>,
    owned: &'a [Vec<u8>],
}

impl<'a> Payloads<'a> {
    /// The bytes of a payload of this round, or of the one before while its
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
        let before = payload.round.checked_add(1) == Some(self.number);
        self.before.get(payload.chunk as usize).copied().filter(|_| before)
    }
}
