//! Packets to rounds: the one stage that sees every packet in order.
//!
//! Reads a batch, dissects it, and deals the segments out to the shards, or
//! hands them on one by one where nobody else works.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::analyze::flow::SegmentRef;
use crate::analyze::flow::key::FlowKey;
use crate::analyze::join::Points;
use crate::analyze::limits::SHARDS;
use crate::analyze::owner::Registry;
use crate::analyze::packet::{Dissected, Dissector, Segment};
use crate::analyze::reassembly::half::PayloadRef;
use crate::analyze::report::{CaptureTotals, InputTotals};
use crate::analyze::round::{Before, Dealt, Link, Round, bytes_of, plain_key, plain_segment};
use crate::pcap::{Batch, Capture, Interface, PacketRef, PcapError, prefetch_next_batch};
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
    links: Vec<Link>,
    registry: Registry,
    points: Points,
    /// Whether what several points have seen is joined: then they are in the keys of flows.
    joins: bool,
}

impl Feeder {
    /// Over an open capture, of which these points of observation are joined.
    pub fn new(capture: Capture, points: Option<Points>) -> Self {
        let live = capture.is_live();
        Self {
            capture,
            dissector: Dissector::default(),
            totals: CaptureTotals::default(),
            other: BTreeMap::new(),
            rounds: 0,
            live,
            interfaces: Vec::new(),
            links: Vec::new(),
            registry: Registry::default(),
            joins: points.is_some(),
            points: points.unwrap_or_default(),
        }
    }

    /// Whether packets come as they are captured.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Reads the packets of a round; false once nothing follows it.
    pub fn read(&mut self, round: &mut Round, before: Before) -> Result<bool, PcapError> {
        self.rounds += 1;
        round.clear(self.rounds, before);
        let more = self.capture.next_batch(&mut round.batch)?;
        self.take_metadata(round);
        self.count(&round.batch.packets);
        round.now = self.now();
        round.last_packet = self.totals.packets;
        Ok(more)
    }

    /// Reads a round and deals its segments out; false once nothing follows it.
    pub fn fill(&mut self, round: &mut Round, before: Before) -> Result<bool, PcapError> {
        let more = self.read(round, before)?;
        self.deal(round, 0);
        Ok(more)
    }

    /// Gives `take` the segments of a round that was read and belong to the
    /// shards of `own`, by bit, with their shard, while they are at hand; the
    /// others it deals out to `dealt`. It ends with the first that was put
    /// together from fragments, since the round has to keep that one:
    /// [`Feeder::deal_rest`] goes on.
    pub fn segments(
        &mut self,
        round: &Round,
        own: u64,
        dealt: &mut Dealt,
        mut take: impl FnMut(usize, &SegmentRef, &[u8]),
    ) -> Option<Rest> {
        let slices = round.batch.slices();
        let packets = numbered(&round.batch, &slices, round.last_packet, 0);
        for (index, number, packet, bytes) in packets {
            let Some(&link) = self.links.get(packet.interface as usize) else { continue };
            if let Some(plain) = Dissector::plain(link.kind, bytes) {
                self.totals.segments += 1;
                let key = plain_key(&plain, link.point);
                let shard = key.0.shard(SHARDS);
                if own >> shard & 1 == 1 {
                    // Made where it is used: it is large.
                    let segment = plain_segment(&plain, key, packet, number, self.rounds);
                    take(shard, &segment, plain.payload(bytes));
                } else {
                    dealt.deal_plain(shard, index);
                }
                continue;
            }
            match self.any_segment(link, packet, number, bytes) {
                Some((segment, Cow::Borrowed(payload))) => {
                    let shard = segment.key.shard(SHARDS);
                    if own >> shard & 1 == 1 {
                        take(shard, &segment, payload);
                    } else {
                        dealt.deal(segment);
                    }
                }
                Some((segment, Cow::Owned(payload))) => {
                    return Some(Rest { segment, payload, next: index + 1 });
                }
                None => {}
            }
        }
        None
    }

    /// Deals out what [`Feeder::segments`] has not taken.
    pub fn deal_rest(&mut self, round: &mut Round, rest: Rest) {
        let payload = round.own(rest.payload);
        round.dealt.deal(SegmentRef { payload, ..rest.segment });
        self.deal(round, rest.next);
    }

    /// Deals out the segments of a round, from the packet of this index on.
    fn deal(&mut self, round: &mut Round, from: usize) {
        let batch = std::mem::take(&mut round.batch);
        let slices = batch.slices();
        for (index, number, packet, bytes) in numbered(&batch, &slices, round.last_packet, from) {
            let Some(&link) = self.links.get(packet.interface as usize) else { continue };
            if let Some(plain) = Dissector::plain(link.kind, bytes) {
                self.totals.segments += 1;
                round.dealt.deal_plain(plain_key(&plain, link.point).0.shard(SHARDS), index);
                continue;
            }
            match self.any_segment(link, packet, number, bytes) {
                Some((segment, Cow::Borrowed(_))) => round.dealt.deal(segment),
                Some((segment, Cow::Owned(payload))) => {
                    let payload = round.own(payload);
                    round.dealt.deal(SegmentRef { payload, ..segment });
                }
                None => {}
            }
        }
        round.batch = batch;
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
            self.registry.describe(self.interfaces.len() as u32, interface);
            let point = self.points.of(interface);
            let point = if self.joins { point } else { 0 };
            self.links.push(Link { kind: interface.link, point });
            self.interfaces.push(interface.clone());
        }
        self.registry.follow(first, batch.packets.iter().map(|packet| packet.interface));
        round.links.extend(self.links.iter().skip(round.links.len()));
        for (address, name) in batch.names.drain(..) {
            self.totals.names.entry(address).or_insert(name);
        }
        for comment in batch.comments.drain(..) {
            let number = first + comment.packet as u64;
            let packet = batch.packets.get(comment.packet);
            let interface =
                packet.and_then(|packet| self.interfaces.get(packet.interface as usize));
            self.registry.note(number, interface, comment, &mut round.notes);
        }
        self.registry.share(&mut round.notes);
    }

    /// The segment in a packet that is not a plain one, and its payload, where
    /// there is one. Where the payload is owned, the segment does not say where
    /// it lies.
    #[inline(never)]
    fn any_segment<'b>(
        &mut self,
        link: Link,
        packet: &PacketRef,
        number: u64,
        bytes: &'b [u8],
    ) -> Option<(SegmentRef, Cow<'b, [u8]>)> {
        let other = match self.dissector.dissect_any(link.kind, bytes, packet.original, packet.at) {
            Dissected::Segment(segment) => {
                self.totals.segments += 1;
                return Some(placed(packet, number, bytes, segment, (self.rounds, link.point)));
            }
            Dissected::Fragment => Cow::Borrowed("ip fragment"),
            Dissected::Other(kind) => Cow::Borrowed(kind),
            Dissected::Malformed(what) => Cow::Owned(format!("malformed: {what}")),
            Dissected::UnsupportedLink(link) => Cow::Owned(format!("unsupported link type {link}")),
        };
        self.other(other);
        None
    }

    fn other(&mut self, kind: Cow<'static, str>) {
        *self.other.entry(kind).or_default() += 1;
    }

    /// Name of an interface, where the capture has one.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Points of observation in the input that are not joined, where these are several; else 0.
    pub fn unjoined(&self) -> usize {
        if self.joins || self.points.len() < 2 { 0 } else { self.points.len() }
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

/// What [`Feeder::segments`] leaves: a segment that was put together from
/// fragments, and the packets after it.
pub struct Rest {
    segment: SegmentRef,
    payload: Vec<u8>,
    next: usize,
}

/// The packets of a batch from index `from` on: index, number and bytes;
/// `last` is the number of the last. Loads what the next batch will look at.
#[inline]
fn numbered<'p>(
    batch: &'p Batch,
    slices: &'p [&'p [u8]],
    last: u64,
    from: usize,
) -> impl Iterator<Item = (usize, u64, &'p PacketRef, &'p [u8])> {
    let first = last + 1 - batch.packets.len() as u64;
    batch.packets.iter().enumerate().skip(from).map(move |(index, packet)| {
        let bytes = bytes_of(packet, slices);
        prefetch_next_batch(bytes);
        (index, first + index as u64, packet, bytes)
    })
}

/// A segment as shards take it, and its payload: owned where it is not in the
/// bytes of the packet.
fn placed<'b>(
    packet: &PacketRef,
    number: u64,
    bytes: &'b [u8],
    segment: Segment<'b>,
    (round, point): (u64, u16),
) -> (SegmentRef, Cow<'b, [u8]>) {
    let (key, side) = FlowKey::new(
        (segment.source, segment.source_port),
        (segment.destination, segment.destination_port),
    );
    let place = locate(packet, bytes, &segment, round);
    let Segment { flags, seq, ack, window, ip_id, wire_len, payload, .. } = segment;
    let payload = match place {
        Some(_) => payload,
        None => Cow::Owned(payload.into_owned()),
    };
    let nowhere = PayloadRef { round, chunk: 0, offset: 0, len: 0 };
    let segment = SegmentRef {
        key: key.at(point),
        side,
        flags,
        seq,
        ack,
        window,
        ip_id,
        wire_len,
        payload: place.unwrap_or(nowhere),
        at: packet.at,
        packet: number,
        interface: packet.interface,
    };
    (segment, payload)
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
