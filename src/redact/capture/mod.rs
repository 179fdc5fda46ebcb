//! Blocks of a pcapng in, blocks out: packets are read in the order of their connections and
//! leave in the order of the file.
//!
//! A segment that comes before others waits for those, and all blocks behind it with it. What
//! may wait is bounded; a recording of perisco is in order, and nothing waits.

mod order;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use super::block::{
    BLOCK_MIN, ENHANCED_PACKET, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, NAME_RESOLUTION,
    Order, PACKET, PACKET_DATA, SECRETS, SECTION_HEADER, SIMPLE_DATA, SIMPLE_PACKET,
};
use super::flow::{Came, Direction, Flows, Segment};
use super::hpack::Context;
use super::packet::{self, Piece};
use super::report::{Counts, Report};
use super::rules::{Rules, Settings, Unparsed};
use crate::analyze::packet::{Dissected, Dissector};
use crate::pcap::LinkType;

/// The largest block that is believed: what the reader of captures lets through.
const BLOCK_MAX: usize = crate::pcap::MAX_BLOCK_BYTES;

/// Where blocks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Any capture: bytes may come in any order, and again.
    Any,
    /// The recorder: in order, each byte once.
    Recorder,
    /// The recorder, that keeps what both ends of a connection saw.
    BothEnds,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    /// In a second.
    ticks: u64,
}

/// A block that is not out yet.
#[derive(Debug)]
enum Item {
    Ready(Vec<u8>),
    Waiting { block: Vec<u8>, interface: Interface, order: Order, direction: Direction, time: u64 },
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Ready(block) | Self::Waiting { block, .. } => block.len(),
        }
    }
}

/// What became of a packet.
enum Fate {
    /// It is in the output; of which direction it was.
    Out(Option<Direction>),
    /// It waits for others of its direction.
    Wait(Direction),
}

/// A redaction under way.
pub struct Redactor {
    rules: Arc<Rules>,
    comments: Vec<String>,
    source: Source,
    counts: Counts,
    flows: Flows,
    dissector: Dissector,
    order: Order,
    interfaces: Vec<Interface>,
    /// The input is damaged: nothing more of it is read.
    broken: bool,
    /// Input that is no whole block yet.
    rest: Vec<u8>,
    queue: VecDeque<Item>,
    /// Blocks that have left the queue.
    gone: u64,
    queued: usize,
    /// Segments that wait, by direction: their sequence numbers and numbers.
    waiting: HashMap<Direction, Vec<(u32, u64)>, foldhash::fast::RandomState>,
    out: Vec<u8>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Redactor {
    /// One that has seen nothing.
    pub fn new(settings: &Settings, source: Source) -> Self {
        Self {
            rules: Arc::new(Rules::new(settings)),
            comments: settings.comments(),
            source,
            counts: Counts::default(),
            flows: Flows::new(source == Source::Any),
            dissector: Dissector::new(),
            order: Order::default(),
            interfaces: Vec::new(),
            broken: false,
            rest: Vec::new(),
            queue: VecDeque::new(),
            gone: 0,
            queued: 0,
            waiting: HashMap::default(),
            out: Vec::new(),
        }
    }

    /// What was redacted so far.
    pub fn report(&self) -> Report {
        self.counts.report(&self.rules)
    }

    /// Takes bytes of a pcapng, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut held = std::mem::take(&mut self.rest);
        let input = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held
        };
        let read = self.blocks(input);
        self.rest = input.get(read..).unwrap_or_default().to_vec();
    }

    /// Redacts whole blocks where they are.
    pub fn replace(&mut self, blocks: &mut Vec<u8>) {
        self.out.clear();
        self.out.reserve(blocks.len());
        let read = self.blocks(blocks);
        debug_assert_eq!(read, blocks.len());
        std::mem::swap(blocks, &mut self.out);
    }

    /// What may go out by now.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Nothing more comes: what waits goes out.
    pub fn end(&mut self) {
        while !self.queue.is_empty() {
            self.give_up();
        }
    }

    /// Takes the whole blocks that `input` begins with, and says how long they are.
    fn blocks(&mut self, input: &[u8]) -> usize {
        let mut at = if self.broken { input.len() } else { 0 };
        while let Some(rest) = input.get(at..).filter(|rest| rest.len() >= BLOCK_MIN) {
            let section = self.order.u32(rest, 0) == Some(SECTION_HEADER);
            if section && let Some(order) = Order::of(rest) {
                self.order = order;
            }
            let length = self.order.u32(rest, 4).unwrap_or(0) as usize;
            if !(BLOCK_MIN..=BLOCK_MAX).contains(&length) || !length.is_multiple_of(4) {
                // No reader gets past this: nor does anything behind it leave.
                self.counts.blocks += 1;
                self.broken = true;
                return input.len();
            }
            let Some(block) = rest.get(..length) else { break };
            self.block(block);
            at += length;
        }
        at
    }

    fn block(&mut self, block: &[u8]) {
        let kind = self.order.u32(block, 0).unwrap_or(0);
        match kind {
            SECTION_HEADER => {
                self.interfaces.clear();
                let mut header = Vec::new();
                match self.source {
                    Source::Any => self.order.section(block, &self.comments, &mut header),
                    _ => header.extend_from_slice(block),
                }
                self.pass(&header);
            }
            INTERFACE_DESCRIPTION => {
                let link = LinkType(self.order.u16(block, 8).unwrap_or(0));
                self.interfaces.push(Interface { link, ticks: self.order.ticks(block) });
                self.pass(block);
            }
            ENHANCED_PACKET | PACKET => self.packet(block, kind),
            SIMPLE_PACKET => self.simple(block),
            NAME_RESOLUTION | INTERFACE_STATISTICS => self.pass(block),
            // Opens TLS, whatever is redacted besides.
            SECRETS => self.counts.blocks += 1,
            _ if self.rules.unparsed == Unparsed::Drop => self.counts.blocks += 1,
            _ => self.pass(block),
        }
    }

    /// A block that stays as it is.
    fn pass(&mut self, block: &[u8]) {
        if self.queue.is_empty() {
            self.out.extend_from_slice(block);
        } else {
            self.enqueue(Item::Ready(block.to_vec()));
        }
    }

    fn enqueue(&mut self, item: Item) {
        self.queued += item.len();
        self.queue.push_back(item);
    }

    fn packet(&mut self, block: &[u8], kind: u32) {
        let order = self.order;
        let number = match kind {
            PACKET => order.u16(block, 8).map(usize::from),
            _ => order.u32(block, 8).map(|number| number as usize),
        };
        let captured = order.u32(block, 20).unwrap_or(0) as usize;
        let interface = number.and_then(|number| self.interfaces.get(number)).copied();
        let fits = PACKET_DATA + captured <= block.len() - 4;
        let Some(interface) = interface.filter(|_| fits && block.len() >= PACKET_DATA + 4) else {
            // No reader can make anything of it.
            self.counts.blocks += 1;
            return;
        };
        let patient = self.source == Source::Any;
        let mut out = std::mem::take(&mut self.out);
        let begin = out.len();
        out.extend_from_slice(block);
        let fate = self.redact(&mut out, begin, order, interface, patient);
        let direct = self.queue.is_empty();
        let read = match fate {
            Fate::Out(direction) => direction,
            Fate::Wait(_) => None,
        };
        match fate {
            Fate::Out(_) if direct => self.out = out,
            Fate::Out(_) => {
                let blocks = out.split_off(begin);
                self.out = out;
                self.enqueue(Item::Ready(blocks));
            }
            Fate::Wait(direction) => {
                out.truncate(begin);
                self.out = out;
                let time = self.time(block, interface);
                self.wait(block.to_vec(), interface, direction, time);
            }
        }
        if !self.waiting.is_empty() {
            let time = self.time(block, interface);
            self.settle(read, time);
        }
    }

    /// Nanoseconds; only their differences count.
    fn time(&self, block: &[u8], interface: Interface) -> u64 {
        let word = |at| u64::from(self.order.u32(block, at).unwrap_or(0));
        let ticks = u128::from(word(12) << 32 | word(16));
        u64::try_from(ticks * 1_000_000_000 / u128::from(interface.ticks.max(1))).unwrap_or(0)
    }

    /// Redacts the packet block at the end of `out`, from `begin` on.
    fn redact(
        &mut self,
        out: &mut Vec<u8>,
        begin: usize,
        order: Order,
        interface: Interface,
        patient: bool,
    ) -> Fate {
        let block = out.get(begin..).unwrap_or_default();
        let captured = order.u32(block, 20).unwrap_or(0) as usize;
        let original = order.u32(block, 24).unwrap_or(0);
        let data = begin + PACKET_DATA..begin + PACKET_DATA + captured;
        let packet = out.get(data.clone()).unwrap_or_default();
        let Some((segment, payload)) = self.segment(interface.link, packet, original, block, order)
        else {
            self.other(out, begin, order, interface.link);
            return Fate::Out(None);
        };
        let mut drops = Vec::new();
        let packet = out.get_mut(data.clone()).unwrap_or_default();
        let bytes = packet.get_mut(payload.clone()).unwrap_or_default();
        let mut cx = Context { rules: &self.rules, counts: &mut self.counts };
        let came = self.flows.segment(&segment, bytes, &mut drops, patient, &mut cx);
        let Came::Read { changed } = came else { return Fate::Wait(segment.direction()) };
        if drops.is_empty() {
            if changed {
                packet::right_checksum(packet, payload.start, &segment);
            }
            return Fate::Out(Some(segment.direction()));
        }
        let pieces = packet::without(packet, original, payload, &segment, &drops);
        replace(out, begin, order, &pieces);
        Fate::Out(Some(segment.direction()))
    }

    /// The segment in a packet, and where its payload is. None where there is none, or it was put
    /// together of fragments.
    fn segment(
        &mut self,
        link: LinkType,
        packet: &[u8],
        original: u32,
        block: &[u8],
        order: Order,
    ) -> Option<(Segment, Range<usize>)> {
        let Dissected::Segment(found) = self.dissector.dissect(link, packet, original, None) else {
            return None;
        };
        let std::borrow::Cow::Borrowed(payload) = found.payload else { return None };
        let payload = match payload.is_empty() {
            true => packet.len()..packet.len(),
            false => {
                let start = payload.as_ptr().addr() - packet.as_ptr().addr();
                start..start + payload.len()
            }
        };
        let mut segment = Segment {
            from: (found.source, found.source_port),
            to: (found.destination, found.destination_port),
            copy: 0,
            seq: found.seq,
            flags: found.flags,
            wire: found.wire_len,
        };
        if self.source == Source::BothEnds {
            segment.copy = local(&segment, order.outbound(block));
        }
        Some((segment, payload))
    }

    /// A packet without a segment, or a part of one.
    fn other(&mut self, out: &mut Vec<u8>, begin: usize, order: Order, link: LinkType) {
        if self.rules.unparsed == Unparsed::Keep {
            return;
        }
        let block = out.get(begin..).unwrap_or_default();
        let captured = order.u32(block, 20).unwrap_or(0) as usize;
        let original = order.u32(block, 24).unwrap_or(0);
        let packet = block.get(PACKET_DATA..PACKET_DATA + captured).unwrap_or_default();
        let keep = packet::headers(link, packet);
        if keep >= packet.len() {
            return;
        }
        self.counts.other_packets += 1;
        let bytes = packet.get(..keep).unwrap_or_default().to_vec();
        replace(out, begin, order, &[Piece { bytes, original }]);
    }

    /// A simple packet block: it has no room for a captured length of its own, so a packet that
    /// would lose anything leaves.
    fn simple(&mut self, block: &[u8]) {
        let order = self.order;
        let Some(interface) = self.interfaces.first().copied() else {
            self.counts.blocks += 1;
            return;
        };
        let original = order.u32(block, 8).unwrap_or(0);
        let room = block.len().saturating_sub(SIMPLE_DATA + 4);
        let captured = room.min(original as usize);
        let mut data = block.get(SIMPLE_DATA..SIMPLE_DATA + captured).unwrap_or_default().to_vec();
        let found = self.segment(interface.link, &data, original, block, order);
        let mut drops = Vec::new();
        let whole = match found {
            None => {
                self.rules.unparsed == Unparsed::Keep
                    || packet::headers(interface.link, &data) >= data.len()
            }
            Some((segment, payload)) => {
                let bytes = data.get_mut(payload.clone()).unwrap_or_default();
                let mut cx = Context { rules: &self.rules, counts: &mut self.counts };
                let came = self.flows.segment(&segment, bytes, &mut drops, false, &mut cx);
                if came == (Came::Read { changed: true }) {
                    packet::right_checksum(&mut data, payload.start, &segment);
                }
                drops.is_empty()
            }
        };
        if !whole {
            self.counts.other_packets += 1;
            return;
        }
        let mut block = block.to_vec();
        block[SIMPLE_DATA..SIMPLE_DATA + captured].copy_from_slice(&data);
        self.pass(&block);
    }
}

/// Exchanges the packet block at the end of `out` for those of its pieces.
fn replace(out: &mut Vec<u8>, begin: usize, order: Order, pieces: &[Piece]) {
    let block = out.split_off(begin);
    order.packets(&block, pieces, out);
}

/// Which end's copy a segment is of: 1 for the smaller address and port, 2 for the other.
fn local(segment: &Segment, outbound: Option<bool>) -> u8 {
    match outbound {
        None => 0,
        Some(outbound) => 1 + u8::from((segment.from > segment.to) == outbound),
    }
}
