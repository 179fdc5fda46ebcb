//! A connection with known bytes, delivered through [`Flow`].
//!
//! Each byte of a side is a function of its place, so that what comes out
//! tells where it belongs. The recording decoder is a thread-local list,
//! because a flow makes its decoder itself.

use std::cell::RefCell;
use std::net::IpAddr;

use perisco::analyze::decode::{
    Chunk, Content, Decoder, Direction, End, GapCause, Late, Output, Sink, Wants,
};
use perisco::analyze::flow::key::{FlowKey, Side};
use perisco::analyze::flow::{Context, Flow, SegmentRef};
use perisco::analyze::limits::Limits;
use perisco::analyze::packet::flags::{ACK, FIN, RST, SYN};
use perisco::analyze::reassembly::half::PayloadRef;
use perisco::time::Timestamp;

use crate::bytes::Bytes;
use crate::steps::EPOCH;

/// Bytes of each side that segments may show: 16 bits of offset, 8 of length.
const SIDE_BYTES: usize = (1 << 16) + (1 << 8);
/// Held segments beyond the limit: one segment, and the bookkeeping.
const SLACK: usize = 64 << 10;

/// What was delivered, and how many segments had been taken by then.
enum Seen {
    Data(Vec<u8>),
    Gap(u64, GapCause),
    End,
}

struct Entry {
    direction: Direction,
    seen: Seen,
    taken: usize,
}

#[derive(Default)]
struct Record {
    late: Late,
    entries: Vec<Entry>,
    taken: usize,
}

thread_local! {
    static RECORD: RefCell<Record> = RefCell::default();
}

struct Recorder;

impl Recorder {
    fn boxed(late: Late) -> Box<dyn Decoder> {
        RECORD.with_borrow_mut(|record| {
            assert!(record.entries.is_empty(), "a second decoder");
            record.late = late;
        });
        Box::new(Self)
    }
}

impl Decoder for Recorder {
    fn push(&mut self, direction: Direction, chunk: Chunk<'_>, _out: &mut Sink<'_>) {
        let seen = match chunk.content {
            Content::Data(data) => {
                assert!(!data.is_empty(), "empty data");
                Seen::Data(data.to_vec())
            }
            Content::Gap(len, cause) => {
                assert!(len > 0, "an empty gap");
                Seen::Gap(len, cause)
            }
            Content::End(_) => Seen::End,
        };
        RECORD.with_borrow_mut(|record| {
            let taken = record.taken;
            record.entries.push(Entry { direction, seen, taken });
        });
    }

    fn oldest_open(&self) -> Option<Timestamp> {
        None
    }

    fn memory(&self) -> usize {
        0
    }
}

/// The byte of a side at a place: neighbours and sides differ.
fn truth(side: Side, at: usize) -> u8 {
    let mixed = (at as u64 * 2 + side.index() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

/// Bytes of one side that segments showed: from, to, cut or not, and when.
struct Shown {
    from: usize,
    to: usize,
    taken: usize,
}

/// A segment as the input tells it.
struct Sent {
    segment: SegmentRef,
    payload: Vec<u8>,
    from: usize,
}

fn read(input: &mut Bytes<'_>, isn: [u32; 2], nanos: &mut i64, packet: u64) -> Sent {
    let op = input.u8();
    let from = usize::from(input.u16());
    let wire_len = u32::from(input.u8());
    let ack = u32::from(input.u16());
    let time = input.u8();
    let rest = input.u8();
    let (side, other) = if op & 1 == 0 { (Side::A, Side::B) } else { (Side::B, Side::A) };
    let flags = [ACK, ACK, 0, SYN, SYN | ACK, FIN | ACK, RST, RST | ACK][usize::from(op >> 1 & 7)];
    let syn = flags & SYN != 0;
    let from = if syn { 0 } else { from };
    let cut = if op & 0x30 == 0x30 { u32::from(rest) } else { 0 };
    let captured = wire_len.saturating_sub(cut);
    let payload = (from..from + captured as usize).map(|at| truth(side, at)).collect();
    *nanos += (1_i64 << (time & 31)) * i64::from(time >> 5);
    let (key, _) =
        FlowKey::new((IpAddr::from([10, 0, 0, 1]), 40_000), (IpAddr::from([10, 0, 0, 2]), 80));
    let base = isn[side.index()].wrapping_add(from as u32);
    let segment = SegmentRef {
        key,
        side,
        flags,
        seq: if syn { base } else { base.wrapping_add(1) },
        ack: isn[other.index()].wrapping_add(1).wrapping_add(ack),
        window: u16::from(rest),
        ip_id: u16::from(rest),
        wire_len,
        payload: PayloadRef { round: 1, chunk: 0, offset: 0, len: captured },
        at: (op & 0x80 == 0).then(|| Timestamp::from_nanos(EPOCH + *nanos)),
        packet,
        interface: u32::from(op >> 6 & 1),
    };
    Sent { segment, payload, from }
}

/// Takes the input's segments and checks what comes out.
pub fn run(input: &[u8]) {
    let mut input = Bytes(input);
    let mut limits = Limits::default();
    if input.u8() & 1 != 0 {
        limits.reorder_bytes_per_flow = 1024;
    }
    let isn = [input.u32(), input.u32()];
    RECORD.take();
    let mut output = Output::default();
    // Payloads are not kept: overlaps cannot be compared, which is allowed.
    let bytes = |_| None;
    let mut context = Context {
        limits: &limits,
        wants: Wants::default(),
        new_decoder: Recorder::boxed,
        output: &mut output,
        bytes: &bytes,
    };
    let mut flow: Option<Flow> = None;
    let mut shown: [Vec<Shown>; 2] = Default::default();
    let (mut nanos, mut packet) = (0, 0);
    let mut syn = [false; 2];
    while !input.is_empty() {
        packet += 1;
        let sent = read(&mut input, isn, &mut nanos, packet);
        let segment = &sent.segment;
        if flow.is_none() && !Flow::may_start_with(segment.flags, segment.wire_len) {
            continue;
        }
        let flow = flow.get_or_insert_with(|| Flow::new(segment));
        if flow.closed.is_some() || flow.is_replaced_by(segment) {
            break;
        }
        syn[segment.side.index()] |= segment.flags & SYN != 0;
        let to = sent.from + sent.payload.len();
        RECORD.with_borrow_mut(|record| record.taken += 1);
        flow.segment(segment, &sent.payload, &mut context);
        let taken = RECORD.with_borrow(|record| record.taken);
        if to > sent.from {
            shown[segment.side.index()].push(Shown { from: sent.from, to, taken });
        }
        let held: usize = [Side::A, Side::B].iter().map(|side| flow.half(*side).held_bytes).sum();
        assert!(held <= 2 * limits.reorder_bytes_per_flow + SLACK, "{held} bytes held");
    }
    let Some(mut flow) = flow else { return };
    flow.finish(End::CaptureEnd, &mut context);
    assert!(flow.closed.is_some(), "open after the end");
    let record = RECORD.take();
    for side in [Side::A, Side::B] {
        check(&flow, side, &record, &shown[side.index()], syn[side.index()]);
    }
    let mut gaps = [0_u64; 3];
    for entry in &record.entries {
        if let Seen::Gap(len, cause) = entry.seen {
            gaps[cause as usize] += len;
        }
    }
    assert_eq!(gaps, flow.counts.gap_bytes, "gaps counted and delivered");
}

/// One side's delivery against what was sent.
fn check(flow: &Flow, side: Side, record: &Record, shown: &[Shown], syn: bool) {
    let direction = if side == flow.guess { Direction::ToServer } else { Direction::ToClient };
    let entries: Vec<&Entry> = record.entries.iter().filter(|e| e.direction == direction).collect();
    let ends = entries.iter().filter(|e| matches!(e.seen, Seen::End)).count();
    assert_eq!(ends, 1, "ends of {side:?}");
    assert!(matches!(entries.last().map(|e| &e.seen), Some(Seen::End)), "more after the end");
    let data: usize =
        entries.iter().map(|e| if let Seen::Data(d) = &e.seen { d.len() } else { 0 }).sum();
    assert_eq!(data as u64, flow.half(side).counts.bytes, "bytes counted and delivered");
    let late = record.late.is(direction);
    let starts = if syn && !late { vec![0] } else { starts(side, &entries) };
    let fits: Vec<usize> =
        starts.into_iter().filter(|start| is_true(side, *start, &entries)).collect();
    assert!(data == 0 || !fits.is_empty(), "{side:?}: not the bytes sent, or not in their place");
    if let [start] = fits[..] {
        gaps_were_missing(start, &entries, shown);
    }
}

/// Where delivery may have begun, by the first data.
fn starts(side: Side, entries: &[&Entry]) -> Vec<usize> {
    let mut before = 0;
    for entry in entries {
        match &entry.seen {
            Seen::Gap(len, _) => before += *len as usize,
            Seen::End => return Vec::new(),
            Seen::Data(data) => {
                let sent: Vec<u8> = (0..SIDE_BYTES).map(|at| truth(side, at)).collect();
                let first = &data[..data.len().min(16)];
                let places = sent.windows(first.len()).enumerate();
                let found = places.filter(|(_, there)| *there == first);
                return found.filter_map(|(at, _)| at.checked_sub(before)).collect();
            }
        }
    }
    Vec::new()
}

/// Whether all data is what the side sent, beginning at `start`.
fn is_true(side: Side, start: usize, entries: &[&Entry]) -> bool {
    let mut at = start;
    for entry in entries {
        match &entry.seen {
            Seen::Data(data) => {
                if !data.iter().enumerate().all(|(i, byte)| truth(side, at + i) == *byte) {
                    return false;
                }
                at += data.len();
            }
            Seen::Gap(len, _) => at += *len as usize,
            Seen::End => {}
        }
    }
    true
}

/// A byte given up as lost had not been shown by any segment so far.
fn gaps_were_missing(start: usize, entries: &[&Entry], shown: &[Shown]) {
    let mut at = start;
    for entry in entries {
        match &entry.seen {
            Seen::Data(data) => at += data.len(),
            Seen::Gap(len, cause) => {
                let to = at + *len as usize;
                let there =
                    shown.iter().find(|s| s.taken < entry.taken && s.from < to && s.to > at);
                if let (GapCause::Lost, Some(shown)) = (cause, there) {
                    let Shown { from, to: until, taken } = shown;
                    panic!("gap {at}..{to}, but segment {taken} showed {from}..{until}");
                }
                at = to;
            }
            Seen::End => {}
        }
    }
}
