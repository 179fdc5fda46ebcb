//! One batch of packets on its way through the shards.
//!
//! The feeder fills a round while the shards work on the one before.

use std::sync::Arc;

use crate::analyze::flow::SegmentRef;
use crate::analyze::limits::SHARDS;
use crate::analyze::owner::Note;
use crate::analyze::reassembly::half::PayloadRef;
use crate::pcap::Batch;
use crate::time::Timestamp;

/// Marks a chunk index as one of [`Round::owned`].
const OWNED: u32 = 1 << 31;

/// Rounds whose bytes are kept: together up to 32,768 packets or 8 MiB, of a
/// pipe up to 32 MiB. What is sent again comes after some round trips.
const REMEMBERED: usize = 32;

/// Shared bytes of a batch.
type Chunks = Vec<Arc<dyn AsRef<[u8]> + Send + Sync>>;

/// Shared bytes of earlier batches, the last first.
pub type Before = Vec<Arc<Chunks>>;

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
    /// Segments by shard, in packet order.
    pub segments: Vec<Vec<SegmentRef>>,
    /// What comments say, by packet number, ascending.
    pub notes: Vec<(u64, Note)>,
    /// Number of the last packet, which stands for "now" in the order of events.
    pub last_packet: u64,
    /// The latest time seen so far, or the wall clock for a live stream.
    pub now: Option<Timestamp>,
}

impl Round {
    /// What is remembered of it and those before.
    pub fn remembered(&self) -> Before {
        let older = self.before.iter().take(REMEMBERED - 1).cloned();
        std::iter::once(Arc::new(self.batch.chunks.clone())).chain(older).collect()
    }

    /// Empties it for the next batch; `before` is what the last round remembers.
    pub fn clear(&mut self, number: u64, before: Before) {
        self.number = number;
        self.before = before;
        self.batch.clear();
        self.owned.clear();
        self.segments.resize_with(SHARDS, Vec::new);
        for segments in &mut self.segments {
            segments.clear();
        }
        self.notes.clear();
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
