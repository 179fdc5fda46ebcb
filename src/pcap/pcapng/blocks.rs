//! Blocks other than plain enhanced packets, one at a time.

use super::options::{
    InterfaceOptions, Order, PacketOptions, application, names, section_notes, statistics_drops,
};
use super::{
    BLOCK_MIN, Clock, ENHANCED_HEAD, ENHANCED_MIN, ENHANCED_PACKET, INTERFACE_DESCRIPTION,
    INTERFACE_STATISTICS, MAX_BLOCK_BYTES, NAME_RESOLUTION, PACKET, PcapNg, SECTION_HEADER,
    SIMPLE_PACKET, SectionInterface,
};
use crate::pcap::error::Fault;
use crate::pcap::walk::{Halt, Notes, Place};
use crate::pcap::{Batch, Comment, Interface, LinkType, PacketRef, RECORDER};

/// The byte-order magic of a section header.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Memory for descriptions of interfaces in one input. A recorder may write
/// one interface per process (some 300 bytes each); more than 200,000 of them
/// mean a hostile file.
const MAX_INTERFACE_BYTES: usize = 64 << 20;

/// Memory for names of addresses in one input: half a million names.
const MAX_NAME_BYTES: usize = 64 << 20;

/// What an interface or a name costs besides its text.
const ENTRY_BYTES: usize = 128;

/// A `drops_count` of the obsolete packet block that says nothing.
const DROPS_UNKNOWN: u16 = u16::MAX;

/// Fields of a packet block, wherever they stood.
struct PacketFields {
    interface: u32,
    ticks: u64,
    captured: u32,
    original: u32,
    drops: u64,
}

impl PcapNg {
    /// Reads the block that `data` begins with. Returns its length, or why it
    /// cannot be passed. `place` is that of the block.
    pub(super) fn block(
        &mut self,
        data: &[u8],
        place: Place,
        batch: &mut Batch,
        notes: &mut Notes,
    ) -> Result<usize, Halt> {
        let mut order = Order { big: self.big };
        // What is left of an input that ends between two blocks is nothing.
        let Some(kind) = order.u32(data, 0) else { return Err(Halt::Need(BLOCK_MIN)) };
        if kind == SECTION_HEADER {
            order = byte_order(data)?;
        }
        let Some(claimed) = order.u32(data, 4) else { return Err(Halt::Need(BLOCK_MIN)) };
        let length = claimed as usize;
        if length < BLOCK_MIN || !length.is_multiple_of(4) {
            return Err(Halt::Damaged(Fault::BlockLength { length: claimed }));
        }
        if length > MAX_BLOCK_BYTES {
            let limit = MAX_BLOCK_BYTES;
            return Err(Halt::Damaged(Fault::BlockTooLong { length: claimed, limit }));
        }
        let Some(block) = data.get(..length) else { return Err(Halt::Need(length)) };
        match order.u32(block, length - 4) {
            Some(tail) if tail == claimed => {}
            tail => {
                let tail = tail.unwrap_or(0);
                return Err(Halt::Damaged(Fault::BlockTrailer { head: claimed, tail }));
            }
        }
        let body = block.get(8..length - 4).unwrap_or_default();
        match kind {
            SECTION_HEADER => self.section_header(order, body).map_err(Halt::Damaged)?,
            INTERFACE_DESCRIPTION => self.interface_description(body, place, batch, notes)?,
            ENHANCED_PACKET | PACKET | SIMPLE_PACKET => {
                self.packet(kind, block, place, batch, notes);
            }
            NAME_RESOLUTION => self.name_resolution(body, place, batch, notes),
            INTERFACE_STATISTICS => self.statistics(body, place, batch, notes),
            // Custom blocks, decryption secrets, journal entries and what
            // may come: their length is all that is needed.
            _ => {}
        }
        Ok(length)
    }

    fn section_header(&mut self, order: Order, body: &[u8]) -> Result<(), Fault> {
        let version = order.u16(body, 4).zip(order.u16(body, 6));
        let Some((major, minor)) = version.filter(|_| body.len() >= 16) else {
            return Err(Fault::BlockLength { length: (body.len() + BLOCK_MIN) as u32 });
        };
        // Minor 2 means the same as 0 (section 4.1 of the draft).
        if major != 1 {
            return Err(Fault::Version { major, minor });
        }
        self.big = order.big;
        self.begun = true;
        self.sections = self.sections.saturating_add(1);
        let list = body.get(16..).unwrap_or_default();
        self.application = application(order, list).map(std::sync::Arc::from);
        self.notes = section_notes(order, list);
        self.recording = self.application.as_deref().is_some_and(|name| name.starts_with(RECORDER));
        self.interfaces.clear();
        Ok(())
    }

    fn interface_description(
        &mut self,
        body: &[u8],
        place: Place,
        batch: &mut Batch,
        notes: &mut Notes,
    ) -> Result<(), Halt> {
        let order = Order { big: self.big };
        let fields = order.u16(body, 0).zip(order.u32(body, 4));
        let kind = INTERFACE_DESCRIPTION;
        let Some((link, snaplen)) = fields else {
            // Later blocks name interfaces by number, so one is missing now.
            let length = body.len() + BLOCK_MIN;
            return Err(Halt::Damaged(Fault::BlockTooShort { kind, length }));
        };
        let options = InterfaceOptions::read(order, body.get(8..).unwrap_or_default());
        if options.damaged {
            notes.note(batch, place.offset, &Fault::Options { kind });
        }
        let text = [options.name.as_deref(), options.description.as_deref()];
        let text = text.into_iter().chain([self.application.as_deref()]).flatten();
        let text = text.chain(self.notes.iter().flat_map(|notes| notes.iter().map(|note| &**note)));
        self.interface_bytes += ENTRY_BYTES + text.map(str::len).sum::<usize>();
        if self.interface_bytes > MAX_INTERFACE_BYTES {
            let limit = MAX_INTERFACE_BYTES;
            return Err(Halt::Damaged(Fault::TooManyInterfaces { limit }));
        }
        let resolution = options.resolution.unwrap_or(Clock::DEFAULT_RESOLUTION);
        self.interfaces.push(SectionInterface {
            index: self.described,
            clock: Clock::new(resolution, options.offset_seconds.unwrap_or(0)),
            snaplen,
            drops: [0; 2],
        });
        self.described += 1;
        batch.interfaces.push(Interface {
            file: self.file,
            section: self.sections.saturating_sub(1),
            application: self.application.clone(),
            notes: self.notes.clone(),
            name: options.name,
            description: options.description,
            link: LinkType(link),
            snaplen,
        });
        Ok(())
    }

    /// A packet block of any kind; a damaged one is noted and left out.
    fn packet(
        &mut self,
        kind: u32,
        block: &[u8],
        place: Place,
        batch: &mut Batch,
        notes: &mut Notes,
    ) {
        let head = if kind == SIMPLE_PACKET { 12 } else { ENHANCED_HEAD };
        let min = if kind == SIMPLE_PACKET { 16 } else { ENHANCED_MIN };
        let room = block.len().saturating_sub(min);
        let fault = match self.packet_fields(kind, block) {
            None => Fault::BlockTooShort { kind, length: block.len() },
            Some(fields) => match self.interfaces.get_mut(fields.interface as usize) {
                None => Fault::UnknownInterface {
                    interface: fields.interface,
                    described: self.interfaces.len(),
                },
                Some(_) if fields.captured as usize > room => {
                    Fault::PacketOverrun { captured: fields.captured, room }
                }
                Some(interface) => {
                    let timed = kind != SIMPLE_PACKET;
                    let index = batch.packets.len();
                    batch.packets.push(PacketRef {
                        chunk: place.chunk,
                        offset: place.base + head as u32,
                        captured: fields.captured,
                        original: fields.original.max(fields.captured),
                        interface: interface.index,
                        at: timed.then(|| interface.clock.at(fields.ticks)).flatten(),
                    });
                    let data_end = head + (fields.captured as usize).next_multiple_of(4);
                    let list = block.get(data_end..block.len() - 4).unwrap_or_default();
                    if !timed || (list.is_empty() && fields.drops == 0) {
                        return;
                    }
                    let order = Order { big: self.big };
                    let options = PacketOptions::read(order, list, kind == ENHANCED_PACKET);
                    let drops = fields.drops.saturating_add(options.drops);
                    let on = fields.interface;
                    let lost = self
                        .counts_of(on)
                        .map_or(0, |counts| counts.lost(0, counts.drops[0].saturating_add(drops)));
                    batch.drops = batch.drops.saturating_add(lost);
                    let outbound = options.outbound;
                    let comment = |text| Comment { packet: index, text, outbound };
                    batch.comments.extend(options.comments.into_iter().map(comment));
                    if !options.damaged {
                        return;
                    }
                    Fault::Options { kind }
                }
            },
        };
        notes.note(batch, place.offset, &fault);
    }

    fn packet_fields(&self, kind: u32, block: &[u8]) -> Option<PacketFields> {
        let order = Order { big: self.big };
        if kind == SIMPLE_PACKET {
            let original = order.u32(block, 8).filter(|_| block.len() >= 16)?;
            // The captured length is not in the block (section 4.4).
            let snaplen = self.interfaces.first().map_or(0, |interface| interface.snaplen);
            let captured = if snaplen == 0 { original } else { original.min(snaplen) };
            return Some(PacketFields { interface: 0, ticks: 0, captured, original, drops: 0 });
        }
        if block.len() < ENHANCED_MIN {
            return None;
        }
        let (interface, drops) = if kind == PACKET {
            let drops = order.u16(block, 10).filter(|drops| *drops != DROPS_UNKNOWN);
            (order.u16(block, 8)?.into(), drops.unwrap_or(0).into())
        } else {
            (order.u32(block, 8)?, 0)
        };
        let ticks = u64::from(order.u32(block, 12)?) << 32 | u64::from(order.u32(block, 16)?);
        let (captured, original) = order.u32(block, 20).zip(order.u32(block, 24))?;
        Some(PacketFields { interface, ticks, captured, original, drops })
    }

    fn name_resolution(&mut self, body: &[u8], place: Place, batch: &mut Batch, notes: &mut Notes) {
        let (found, damaged) = names(Order { big: self.big }, body);
        for (address, name) in found {
            self.name_bytes += ENTRY_BYTES + name.len();
            if self.name_bytes <= MAX_NAME_BYTES {
                batch.names.push((address, name));
            } else if !std::mem::replace(&mut self.names_full, true) {
                let limit = MAX_NAME_BYTES;
                notes.note(batch, place.offset, &Fault::TooManyNames { limit });
            }
        }
        if damaged {
            notes.note(batch, place.offset, &Fault::Names);
        }
    }

    fn statistics(&mut self, body: &[u8], place: Place, batch: &mut Batch, notes: &mut Notes) {
        let order = Order { big: self.big };
        let kind = INTERFACE_STATISTICS;
        let Some(interface) = order.u32(body, 0).filter(|_| body.len() >= 12) else {
            let length = body.len() + BLOCK_MIN;
            return notes.note(batch, place.offset, &Fault::BlockTooShort { kind, length });
        };
        let (drops, damaged) = statistics_drops(order, body.get(12..).unwrap_or_default());
        match self.counts_of(interface) {
            Some(counts) => {
                let lost = drops.map_or(0, |total| counts.lost(1, total));
                batch.drops = batch.drops.saturating_add(lost);
            }
            None => {
                let described = self.interfaces.len();
                let fault = Fault::UnknownInterface { interface, described };
                return notes.note(batch, place.offset, &fault);
            }
        }
        if damaged {
            notes.note(batch, place.offset, &Fault::Options { kind });
        }
    }
}

impl PcapNg {
    /// Where losses on an interface are counted. The recorder has one count of
    /// lost events for all interfaces: packets on any of them tell of its
    /// growth, the statistics of the first one of the total.
    fn counts_of(&mut self, interface: u32) -> Option<&mut SectionInterface> {
        let index = interface as usize;
        let of_all = self.recording && index < self.interfaces.len();
        self.interfaces.get_mut(if of_all { 0 } else { index })
    }
}

impl SectionInterface {
    /// Takes a new total of one of the two counts of lost packets; returns
    /// how many more are lost than was known.
    fn lost(&mut self, count: usize, total: u64) -> u64 {
        let known = self.drops[0].max(self.drops[1]);
        if let Some(slot) = self.drops.get_mut(count) {
            *slot = total.max(*slot);
        }
        total.saturating_sub(known)
    }
}

/// The byte order of a section, from its header.
pub(super) fn byte_order(data: &[u8]) -> Result<Order, Halt> {
    let Some(found) = (Order { big: false }).u32(data, 8) else {
        return Err(Halt::Need(BLOCK_MIN));
    };
    match found {
        BYTE_ORDER => Ok(Order { big: false }),
        found if found.swap_bytes() == BYTE_ORDER => Ok(Order { big: true }),
        found => Err(Halt::Damaged(Fault::ByteOrder { found })),
    }
}
