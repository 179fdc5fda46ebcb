//! What the walks over pcap records and pcapng blocks share.

use super::error::Fault;
use super::{BATCH_BYTES, BATCH_PACKETS, Batch, Damage};

/// Damaged blocks of one input that are listed one by one. The rest is
/// counted, so that a hostile file cannot fill memory with complaints.
const MAX_NOTES: u32 = 16;

/// Where the bytes of a walk lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Index of their chunk in the batch.
    pub(super) chunk: u32,
    /// Where they begin in that chunk.
    pub(super) base: u32,
    /// Where they begin in the uncompressed input.
    pub(super) offset: u64,
}

/// Why a walk came to a halt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The batch is full.
    Full,
    /// The next packet needs this many bytes, as far as known.
    Need(usize),
    /// Nothing can be read from here on.
    Damaged(Fault),
}

/// How far a walk got.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// Bytes consumed: whole packets and blocks.
    pub(super) consumed: usize,
    /// Why not more.
    pub(super) halt: Halt,
}

/// Collects the damages of one input.
pub(super) struct Notes {
    file: String,
    listed: u32,
    more: u64,
    last: u64,
}

impl Notes {
    /// For the input that the user calls `file`.
    pub(super) fn new(file: String) -> Self {
        Self { file, listed: 0, more: 0, last: 0 }
    }

    /// The name of the input.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Damage that the walk goes on after.
    #[cold]
    pub(super) fn note(&mut self, batch: &mut Batch, offset: u64, fault: &Fault) {
        if self.listed < MAX_NOTES {
            self.listed += 1;
            self.push(batch, offset, fault);
        } else {
            self.more += 1;
            self.last = offset;
        }
    }

    /// The end of the input, and the damage that ended it.
    pub(super) fn end(&mut self, batch: &mut Batch, damage: Option<(u64, Fault)>) {
        if self.more > 0 {
            let count = std::mem::take(&mut self.more);
            self.push(batch, self.last, &Fault::More { count });
        }
        if let Some((offset, fault)) = damage {
            self.push(batch, offset, &fault);
        }
    }

    fn push(&self, batch: &mut Batch, offset: u64, fault: &Fault) {
        let what = fault.to_string();
        batch.damage.push(Damage { file: self.file.clone(), offset, what });
    }
}

/// Packets that still fit into `batch`.
pub(super) fn room(batch: &Batch) -> usize {
    BATCH_PACKETS.saturating_sub(batch.packets.len())
}

/// Whether a walk at `position` with `room` packets left has to halt.
#[inline(always)]
pub(super) fn is_full(position: usize, room: usize) -> bool {
    position >= BATCH_BYTES || room == 0
}

/// A 32-bit number in the byte order of a capture.
#[inline(always)]
pub(super) fn u32_at<const BIG: bool>(bytes: [u8; 4]) -> u32 {
    if BIG { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}
