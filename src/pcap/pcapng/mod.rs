//! pcapng captures (draft-ietf-opsawg-pcapng): sections of blocks.
//!
//! Enhanced packet blocks take the short way through [`PcapNg::walk`]; all
//! other blocks, and damaged ones, go through `blocks.rs`.

mod blocks;
mod clock;
mod options;

use std::sync::Arc;

use super::error::Fault;
use super::walk::{self, Halt, Notes, Place, Walked, u32_at};
use super::{Batch, MAX_BLOCK_BYTES, PacketRef, SectionNotes};
use clock::Clock;

/// Section header block; reads the same in both byte orders.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// Interface description block.
const INTERFACE_DESCRIPTION: u32 = 1;
/// Packet block, obsolete.
const PACKET: u32 = 2;
/// Simple packet block.
const SIMPLE_PACKET: u32 = 3;
/// Name resolution block.
const NAME_RESOLUTION: u32 = 4;
/// Interface statistics block.
const INTERFACE_STATISTICS: u32 = 5;
/// Enhanced packet block.
const ENHANCED_PACKET: u32 = 6;

/// Fields of an enhanced packet block before its data, with type and length.
const ENHANCED_HEAD: usize = 28;

/// An enhanced packet block without data and options.
const ENHANCED_MIN: usize = ENHANCED_HEAD + 4;

/// The smallest block: type, length, length.
const BLOCK_MIN: usize = 12;

/// A section header that is read before its turn has at most so many bytes; more are
/// options that the recorder does not write.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// The first four bytes of a section.
pub(super) const MAGIC: [u8; 4] = SECTION_HEADER.to_le_bytes();

/// Bytes of a section header up to its byte-order magic.
pub(super) const ORDER_BYTES: usize = 12;

/// Whether the section that `data` begins with is big-endian; None where
/// that is damaged.
pub(super) fn is_big(data: &[u8]) -> Option<bool> {
    blocks::byte_order(data).ok().map(|order| order.big)
}

/// How long the section header is that `data` begins with, in bytes; None where that is
/// damaged, or more than a header is believed to have.
pub(super) fn header_length(data: &[u8]) -> Option<usize> {
    let length = blocks::byte_order(data).ok()?.u32(data, 4)? as usize;
    (BLOCK_MIN..=MAX_HEADER_BYTES).contains(&length).then_some(length)
}

/// What the section header that `data` begins with says besides, where perisco's recorder
/// wrote it.
pub(super) fn section_notes(data: &[u8]) -> Option<SectionNotes> {
    let order = blocks::byte_order(data).ok()?;
    let body = data.get(8..header_length(data)? - 4)?;
    options::section_notes(order, body.get(16..)?)
}

/// An interface of the section that is being read.
#[derive(Clone, Copy, Debug)]
struct SectionInterface {
    /// Its index over all sections of the file.
    index: u32,
    clock: Clock,
    snaplen: u32,
    /// Packets lost as packet blocks say, and as statistics blocks say. Both
    /// tell of the same losses, so the larger one counts.
    drops: [u64; 2],
}

/// The walk over one pcapng input.
pub(super) struct PcapNg {
    file: usize,
    /// Byte order of the section that is being read.
    big: bool,
    /// A section header was read.
    begun: bool,
    /// Sections read, the one at hand included.
    sections: u32,
    /// Who wrote the section at hand.
    application: Option<Arc<str>>,
    /// It was perisco's recorder.
    recording: bool,
    /// What its header says besides, where it was.
    notes: Option<SectionNotes>,
    interfaces: Vec<SectionInterface>,
    /// Interfaces described in all sections.
    described: u32,
    /// Memory that descriptions of interfaces take for good.
    interface_bytes: usize,
    /// Memory that names take for good.
    name_bytes: usize,
    names_full: bool,
}

impl PcapNg {
    /// Of the input with index `file`.
    pub(super) fn new(file: usize) -> Self {
        Self {
            file,
            big: false,
            begun: false,
            sections: 0,
            application: None,
            recording: false,
            notes: None,
            interfaces: Vec::new(),
            described: 0,
            interface_bytes: 0,
            name_bytes: 0,
            names_full: false,
        }
    }

    /// What it means that the input ends with `have` bytes left.
    pub(super) fn cut(&self, have: usize, need: usize) -> Fault {
        if self.begun { Fault::CutShort { have, need } } else { Fault::HeaderCut { have, need } }
    }

    /// Appends what the blocks in `data` hold to `batch`.
    pub(super) fn walk(
        &mut self,
        data: &[u8],
        place: Place,
        batch: &mut Batch,
        notes: &mut Notes,
    ) -> Walked {
        let mut at = 0;
        loop {
            // Each pass reads blocks of one byte order.
            let pass = if self.big {
                self.section::<true>(data, at, place, batch, notes)
            } else {
                self.section::<false>(data, at, place, batch, notes)
            };
            match pass {
                Pass::OrderChanged { consumed } => at = consumed,
                Pass::Halted(walked) => return walked,
            }
        }
    }

    fn section<const BIG: bool>(
        &mut self,
        data: &[u8],
        begin: usize,
        place: Place,
        batch: &mut Batch,
        notes: &mut Notes,
    ) -> Pass {
        let mut consumed = begin;
        loop {
            consumed = self.enhanced_packets::<BIG>(data, consumed, place, batch);
            if walk::is_full(consumed, walk::room(batch)) {
                return Pass::Halted(Walked { consumed, halt: Halt::Full });
            }
            let rest = data.get(consumed..).unwrap_or_default();
            let here = Place {
                base: place.base + consumed as u32,
                offset: place.offset + consumed as u64,
                ..place
            };
            match self.block(rest, here, batch, notes) {
                Ok(length) => consumed += length,
                Err(halt) => return Pass::Halted(Walked { consumed, halt }),
            }
            if self.big != BIG {
                return Pass::OrderChanged { consumed };
            }
        }
    }

    /// The hot walk: whole enhanced packet blocks whose options say nothing
    /// that is kept, until the batch is full or something else comes. Returns
    /// how far it got.
    fn enhanced_packets<const BIG: bool>(
        &self,
        data: &[u8],
        begin: usize,
        place: Place,
        batch: &mut Batch,
    ) -> usize {
        let mut room = walk::room(batch);
        let mut consumed = begin;
        while !walk::is_full(consumed, room) {
            let rest = data.get(consumed..).unwrap_or_default();
            let Some(head) = rest.first_chunk::<ENHANCED_HEAD>() else { break };
            let [kind, length, interface, high, low, captured, original] = words::<BIG>(head);
            let length = length as usize;
            let plain = ENHANCED_MIN + (captured as usize).next_multiple_of(4);
            if kind != ENHANCED_PACKET || length < plain || length > MAX_BLOCK_BYTES {
                break;
            }
            let Some(tail) = rest.get(ENHANCED_HEAD..length) else { break };
            let Some((options, trailer)) = tail.split_last_chunk::<4>() else { break };
            let differs = u32_at::<BIG>(*trailer) as usize != length;
            if differs || !length.is_multiple_of(4) {
                break;
            }
            if length != plain
                && !says_nothing::<BIG>(options.get(plain - ENHANCED_MIN..).unwrap_or_default())
            {
                break;
            }
            let Some(interface) = self.interfaces.get(interface as usize) else { break };
            batch.packets.push(PacketRef {
                chunk: place.chunk,
                offset: place.base + (consumed + ENHANCED_HEAD) as u32,
                captured,
                original: original.max(captured),
                interface: interface.index,
                at: interface.clock.at(u64::from(high) << 32 | u64::from(low)),
            });
            room -= 1;
            consumed += length;
        }
        consumed
    }
}

/// Whether a list of options is whole and has neither comment nor drop count.
/// Recorders write the direction of each packet as an option.
fn says_nothing<const BIG: bool>(mut list: &[u8]) -> bool {
    while let Some(&[a, b, c, d]) = list.first_chunk::<4>() {
        let [code, length] = [[a, b], [c, d]].map(|number| match BIG {
            true => u16::from_be_bytes(number),
            false => u16::from_le_bytes(number),
        });
        match (code, list.get(4 + usize::from(length).next_multiple_of(4)..)) {
            (0, _) => return true,
            (options::COMMENT | options::DROP_COUNT, _) | (_, None) => return false,
            (_, Some(rest)) => list = rest,
        }
    }
    list.is_empty()
}

/// The seven numbers that an enhanced packet block begins with.
#[inline(always)]
fn words<const BIG: bool>(head: &[u8; ENHANCED_HEAD]) -> [u32; 7] {
    let mut words = [0; 7];
    for (word, bytes) in words.iter_mut().zip(head.as_chunks::<4>().0) {
        *word = u32_at::<BIG>(*bytes);
    }
    words
}

/// How a pass over blocks of one byte order ended.
enum Pass {
    /// A section in the other byte order begins.
    OrderChanged {
        consumed: usize,
    },
    Halted(Walked),
}
