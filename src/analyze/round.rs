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

    /// Keeps an owned payload and says where it lies.
    pub fn own(&mut self, payload: Vec<u8>) -> PayloadRef {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.owned.push(payload);
        let chunk = OWNED | u32::try_from(self.owned.len() - 1).unwrap_or(0);
        PayloadRef { round: self.number, chunk, offset: 0, len }
    }

    /// The bytes of a payload of this round, or of the one before while its
    /// chunks are kept.
    pub fn bytes(&self, payload: PayloadRef) -> Option<&[u8]> {
        let range = payload.offset as usize..payload.offset as usize + payload.len as usize;
        if payload.chunk & OWNED != 0 {
            let owned = (payload.round == self.number)
                .then(|| self.owned.get((payload.chunk & !OWNED) as usize))??;
            return owned.get(range);
        }
        let chunks = match self.number.checked_sub(payload.round)? {
            0 => &self.batch.chunks,
            1 => &self.before,
            _ => return None,
        };
        (**chunks.get(payload.chunk as usize)?).as_ref().get(range)
    }
}
