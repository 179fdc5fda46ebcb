//! Packets to rounds: the one stage that sees every packet in order.
//!
//! Reads a batch, dissects it, and deals the segments out to the shards.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::analyze::flow::SegmentRef;
use crate::analyze::flow::key::FlowKey;
use crate::analyze::owner::Registry;
use crate::analyze::packet::{Dissected, Dissector, Segment};
use crate::analyze::reassembly::half::PayloadRef;
use crate::analyze::report::{CaptureTotals, InputTotals};
use crate::analyze::round::{Before, Round};
use crate::pcap::{Capture, Interface, LinkType, PacketRef, PcapError};
use crate::time::{Timestamp, earliest, latest};

/// How far a live stream's packet times may lie from the wall clock to take
/// the one for the other, in nanoseconds: a minute.
const LIVE_NANOS: i64 = 60_000_000_000;

/// Reads the capture and counts what it holds.
pub struct Feeder {
    capture: Capture,
    dissector: Dissector,
    /// What was read so far.
    pub totals: CaptureTotals,
    other: BTreeMap<Cow<'static, str>, u64>,
    rounds: u64,
    live: bool,
    interfaces: Vec<Interface>,
    registry: Registry,
}

impl Feeder {
    /// Over an open capture.
    pub fn new(capture: Capture) -> Self {
        let live = capture.is_live();
        Self {
            capture,
            dissector: Dissector::default(),
            totals: CaptureTotals::default(),
            other: BTreeMap::new(),
            rounds: 0,
            live,
            interfaces: Vec::new(),
            registry: Registry::default(),
        }
    }

    /// Whether packets come as they are captured.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Fills a round; false once nothing follows it.
    pub fn fill(&mut self, round: &mut Round, before: Before) -> Result<bool, PcapError> {
        self.rounds += 1;
        round.clear(self.rounds, before);
        let more = self.capture.next_batch(&mut round.batch)?;
        self.take_metadata(round);
        self.count(&round.batch.packets);
        let batch = std::mem::take(&mut round.batch);
        let number = self.totals.packets - batch.packets.len() as u64;
        let slices = batch.slices();
        for (packet, number) in batch.packets.iter().zip(number + 1..) {
            let start = packet.offset as usize;
            let chunk = slices.get(packet.chunk as usize);
            let bytes = chunk.and_then(|chunk| chunk.get(start..start + packet.captured as usize));
            self.packet(packet, number, bytes.unwrap_or_default(), round);
        }
        round.batch = batch;
        round.now = self.now();
        round.last_packet = self.totals.packets;
        Ok(more)
    }

    /// Adds up what the packet headers of the capture say.
    fn count(&mut self, packets: &[PacketRef]) {
        let totals = &mut self.totals;
        totals.packets += packets.len() as u64;
        for packet in packets {
            totals.bytes += u64::from(packet.original);
            totals.captured_bytes += u64::from(packet.captured);
            totals.cut_packets += u64::from(packet.captured < packet.original);
            totals.first = earliest(totals.first, packet.at);
            totals.last = latest(totals.last, packet.at);
        }
    }

    fn now(&self) -> Option<Timestamp> {
        let last = self.totals.last?;
        if !self.live {
            return Some(last);
        }
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
        let wall = Timestamp::from_nanos(i64::try_from(wall.as_nanos()).ok()?);
        Some(if wall.since(last).abs() < LIVE_NANOS { last.max(wall) } else { last })
    }

    fn take_metadata(&mut self, round: &mut Round) {
        let first = self.totals.packets + 1;
        let batch = &mut round.batch;
        self.totals.drops += batch.drops;
        self.totals.damage.append(&mut batch.damage);
        for interface in &batch.interfaces {
            self.registry.describe(interface);
            self.interfaces.push(interface.clone());
        }
        for (address, name) in batch.names.drain(..) {
            self.totals.names.entry(address).or_insert(name);
        }
        for comment in batch.comments.drain(..) {
            let number = first + comment.packet as u64;
            let packet = batch.packets.get(comment.packet);
            let interface =
                packet.and_then(|packet| self.interfaces.get(packet.interface as usize));
            if let Some(note) = self.registry.note(interface, comment) {
                round.notes.push((number, note));
            }
        }
    }

    #[inline]
    fn packet(&mut self, packet: &PacketRef, number: u64, bytes: &[u8], round: &mut Round) {
        let Some(interface) = self.interfaces.get(packet.interface as usize) else { return };
        let Some(plain) = Dissector::plain(interface.link, bytes) else {
            return self.packet_any(interface.link, packet, number, bytes, round);
        };
        self.totals.segments += 1;
        let (key, side) = FlowKey::of(plain.source(), plain.destination(), plain.v6());
        round.deal(SegmentRef {
            key,
            side,
            flags: plain.flags(),
            seq: plain.seq(),
            ack: plain.ack(),
            window: plain.window(),
            ip_id: plain.ip_id(),
            wire_len: plain.payload_len,
            payload: PayloadRef {
                round: self.rounds,
                chunk: packet.chunk,
                // A chunk is shorter than 4 GiB.
                offset: packet.offset.wrapping_add(plain.payload_at),
                len: plain.payload_len,
            },
            at: packet.at,
            packet: number,
            interface: packet.interface,
        });
    }

    /// A packet that is not a plain segment.
    #[inline(never)]
    fn packet_any(
        &mut self,
        link: LinkType,
        packet: &PacketRef,
        number: u64,
        bytes: &[u8],
        round: &mut Round,
    ) {
        let segment = match self.dissector.dissect_any(link, bytes, packet.original, packet.at) {
            Dissected::Segment(segment) => segment,
            Dissected::Fragment => return self.other(Cow::Borrowed("ip fragment")),
            Dissected::Other(kind) => return self.other(Cow::Borrowed(kind)),
            Dissected::Malformed(what) => {
                return self.other(Cow::Owned(format!("malformed: {what}")));
            }
            Dissected::UnsupportedLink(link) => {
                return self.other(Cow::Owned(format!("unsupported link type {link}")));
            }
        };
        self.totals.segments += 1;
        let (key, side) = FlowKey::new(
            (segment.source, segment.source_port),
            (segment.destination, segment.destination_port),
        );
        let place = locate(packet, bytes, &segment, self.rounds);
        let Segment { flags, seq, ack, window, ip_id, wire_len, payload, .. } = segment;
        let payload = match (place, payload) {
            (Some(place), _) => place,
            (None, Cow::Owned(payload)) => round.own(payload),
            (None, Cow::Borrowed(payload)) => round.own(payload.to_vec()),
        };
        round.deal(SegmentRef {
            key,
            side,
            flags,
            seq,
            ack,
            window,
            ip_id,
            wire_len,
            payload,
            at: packet.at,
            packet: number,
            interface: packet.interface,
        });
    }

    fn other(&mut self, kind: Cow<'static, str>) {
        *self.other.entry(kind).or_default() += 1;
    }

    /// Name of an interface, where the capture has one.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// All that was counted, once everything is read.
    pub fn finish(mut self) -> CaptureTotals {
        self.totals.other =
            self.other.iter().map(|(kind, count)| (kind.to_string(), *count)).collect();
        self.totals.inputs = self
            .capture
            .inputs()
            .iter()
            .map(|input| InputTotals { name: input.name.clone(), format: input.format.clone() })
            .collect();
        let fragments = self.dissector.fragment_counters();
        for (name, lost) in
            [("fragments-age", fragments.expired), ("fragments-bytes", fragments.evicted)]
        {
            if lost > 0 {
                self.totals.limits.push((name, lost));
            }
        }
        self.totals
    }
}

/// Where a payload that was not put together from fragments lies.
fn locate(
    packet: &PacketRef,
    bytes: &[u8],
    segment: &Segment<'_>,
    round: u64,
) -> Option<PayloadRef> {
    let Cow::Borrowed(payload) = &segment.payload else { return None };
    if payload.is_empty() {
        return Some(PayloadRef { round, chunk: packet.chunk, offset: 0, len: 0 });
    }
    let within = (payload.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    if within + payload.len() > bytes.len() {
        return None;
    }
    let len = u32::try_from(payload.len()).ok()?;
    let offset = packet.offset.checked_add(u32::try_from(within).ok()?)?;
    Some(PayloadRef { round, chunk: packet.chunk, offset, len })
}
