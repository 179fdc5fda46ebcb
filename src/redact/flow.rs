//! Segments → directions in order. Knows no packet.

use std::net::IpAddr;
use std::ops::Range;

use hashbrown::HashMap;

use super::chunk::Chunk;
use super::half::Half;
use super::hpack::Context;
use super::past::Past;
use super::shared::Shared;
use crate::analyze::packet::flags::{FIN, RST, SYN};

/// Connections at once; beyond, a quarter of them is forgotten, those that were silent
/// longest. As many as the recorder follows.
const CONNECTIONS: usize = 131_072;

/// Memory of all connections beyond which the same happens.
const MEMORY: usize = 256 << 20;

/// Bytes of a direction that are remembered for retransmissions: more than most receive windows.
const PAST_BYTES: usize = 256 << 10;

/// A sequence number this far from the one expected is another connection's.
const FAR: i32 = 64 << 20;

/// A segment but for its payload.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Sender's address and port.
    pub from: (IpAddr, u16),
    /// Receiver's.
    pub to: (IpAddr, u16),
    /// Which copy of the connection it is of, where it was recorded at both ends.
    pub copy: u8,
    /// Sequence number.
    pub seq: u32,
    /// Flags.
    pub flags: u8,
    /// Bytes of payload on the wire.
    pub wire: u32,
}

/// Both ends, the smaller first, and which copy.
type Key = ((IpAddr, u16), (IpAddr, u16), u8);

/// One direction of a connection.
pub type Direction = (Key, usize);

impl Segment {
    /// Its connection and direction.
    pub fn direction(&self) -> Direction {
        if self.from <= self.to {
            ((self.from, self.to, self.copy), 0)
        } else {
            ((self.to, self.from, self.copy), 1)
        }
    }
}

/// One direction.
#[derive(Debug)]
struct Stream {
    half: Half,
    /// Sequence number of the next byte.
    next: Option<u32>,
    past: Past,
    ended: bool,
}

impl Stream {
    fn new(side: usize, late: bool) -> Self {
        Self { half: Half::new(side, late), next: None, past: Past::default(), ended: false }
    }
}

/// A connection.
#[derive(Debug)]
struct Flow {
    shared: Shared,
    streams: [Stream; 2],
    /// When it was last heard of, in segments of all.
    used: u64,
}

impl Flow {
    fn new() -> Self {
        Self {
            shared: Shared::default(),
            streams: [Stream::new(0, true), Stream::new(1, true)],
            used: 0,
        }
    }

    fn memory(&self) -> usize {
        self.streams.iter().map(|stream| stream.past.memory()).sum()
    }
}

/// What came of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was read; whether bytes were overwritten.
    Read { changed: bool },
    /// Bytes before it are missing, and may still come.
    Early,
}

/// How a segment is taken.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// The direction.
    side: usize,
    /// What comes too early waits.
    patient: bool,
    /// Bytes that are remembered.
    past_bytes: usize,
}

/// All connections.
#[derive(Debug)]
pub struct Flows {
    flows: HashMap<Key, Flow, foldhash::fast::RandomState>,
    /// Bytes of each direction that are remembered.
    past_bytes: usize,
    segments: u64,
    memory: usize,
}

impl Flows {
    /// Of captures in which bytes may come again (`remember`) or never do.
    pub fn new(remember: bool) -> Self {
        let past_bytes = if remember { PAST_BYTES } else { 0 };
        Self { flows: HashMap::default(), past_bytes, segments: 0, memory: 0 }
    }

    /// The sequence number that a direction expects next.
    pub fn next(&self, (key, side): &Direction) -> Option<u32> {
        self.flows.get(key)?.streams.get(*side)?.next
    }

    /// Takes a segment, whose payload it may overwrite; `drops` gets what is to leave. With
    /// `patient`, one that comes too early is not read.
    pub fn segment(
        &mut self,
        segment: &Segment,
        payload: &mut [u8],
        drops: &mut Vec<Range<usize>>,
        patient: bool,
        cx: &mut Context<'_>,
    ) -> Came {
        let (key, side) = segment.direction();
        self.segments += 1;
        let flow = self.flows.entry(key).or_insert_with(Flow::new);
        flow.used = self.segments;
        let before = if self.past_bytes > 0 { flow.memory() } else { 0 };
        let manner = Manner { side, patient, past_bytes: self.past_bytes };
        let came = flow.segment(segment, payload, drops, manner, cx);
        if self.past_bytes > 0 {
            self.memory = (self.memory + flow.memory()).saturating_sub(before);
        }
        if self.flows.len() > CONNECTIONS || self.memory > MEMORY {
            self.forget();
        }
        came
    }

    /// Forgets the quarter that was silent longest.
    fn forget(&mut self) {
        let mut used: Vec<u64> = self.flows.values().map(|flow| flow.used).collect();
        let quarter = used.len() / 4;
        let (_, limit, _) = used.select_nth_unstable(quarter);
        let limit = *limit;
        self.flows.retain(|_, flow| flow.used > limit);
        self.memory = self.flows.values().map(Flow::memory).sum();
    }
}

impl Flow {
    fn segment(
        &mut self,
        segment: &Segment,
        payload: &mut [u8],
        drops: &mut Vec<Range<usize>>,
        manner: Manner,
        cx: &mut Context<'_>,
    ) -> Came {
        let Manner { side, patient, past_bytes } = manner;
        if segment.flags & SYN != 0 {
            self.opened(side, segment);
        }
        let seq = segment.seq.wrapping_add(u32::from(segment.flags & SYN != 0));
        let end = segment.flags & (FIN | RST) != 0;
        if segment.wire == 0 {
            self.streams[side].ended |= end;
            return Came::Read { changed: false };
        }
        let ahead = self.ahead(side, seq);
        if ahead > 0 && patient {
            return Came::Early;
        }
        let stream = &mut self.streams[side];
        stream.ended |= end;
        if ahead > 0 {
            stream.gap(ahead.unsigned_abs().into(), &mut self.shared, past_bytes, cx);
        }
        let old = usize::try_from(-ahead.min(0)).unwrap_or(0);
        let (again, new) = payload.split_at_mut(old.min(payload.len()));
        if !again.is_empty() {
            let at = stream.past.end().checked_sub(old as u64);
            match at {
                Some(at) => stream.past.again(at, again, drops),
                None => super::chunk::add(drops, 0..again.len()),
            }
        }
        let mut changed = !again.is_empty();
        if !new.is_empty() {
            let mut found = Vec::new();
            let mut chunk = Chunk::new(new, &mut found);
            stream.half.data(&mut chunk, &mut self.shared, cx);
            changed |= chunk.changed;
            stream.past.sent(new, &found, past_bytes);
            for range in found {
                super::chunk::add(drops, range.start + again.len()..range.end + again.len());
            }
        }
        let cut = u64::from(segment.wire).saturating_sub((payload.len()).max(old) as u64);
        if cut > 0 {
            stream.gap(cut, &mut self.shared, past_bytes, cx);
        }
        let read = seq.wrapping_add(segment.wire);
        if stream.next.is_none_or(|next| read.wrapping_sub(next).cast_signed() > 0) {
            stream.next = Some(read);
        }
        Came::Read { changed }
    }

    /// A SYN: the connection begins, unless this one is its own.
    fn opened(&mut self, side: usize, segment: &Segment) {
        let next = segment.seq.wrapping_add(1);
        let same = |known: Option<u32>, past: u64| {
            known.is_some_and(|known| known.wrapping_sub(past as u32) == next)
        };
        let stream = &self.streams[side];
        if same(stream.next, stream.past.end()) {
            return;
        }
        if stream.next.is_some() {
            // The other direction's SYN may have come first.
            let other = &self.streams[1 - side];
            if other.past.end() > 0 || other.ended {
                self.streams[1 - side] = Stream::new(1 - side, true);
            }
            self.shared = Shared::default();
        }
        self.streams[side] = Stream::new(side, false);
        self.streams[side].next = Some(next);
    }

    /// How far a sequence number is ahead of the one expected.
    fn ahead(&mut self, side: usize, seq: u32) -> i32 {
        let stream = &mut self.streams[side];
        let Some(next) = stream.next else {
            // Which of the responses to come answers which request is not known.
            stream.next = Some(seq);
            self.shared.lost();
            return 0;
        };
        let ahead = seq.wrapping_sub(next).cast_signed();
        let before = i64::try_from(stream.past.end()).unwrap_or(i64::MAX);
        let strange = stream.ended && (ahead > 0 || i64::from(-ahead) > before);
        if strange || ahead.abs() > FAR {
            // Another connection, whose SYN was not captured.
            *stream = Stream::new(side, true);
            stream.next = Some(seq);
            self.shared.lost();
            return 0;
        }
        ahead
    }
}

impl Stream {
    fn gap(&mut self, bytes: u64, shared: &mut Shared, limit: usize, cx: &Context<'_>) {
        let late = self.half.gap(bytes, shared, cx);
        self.past.missing(bytes, late, limit);
    }
}
