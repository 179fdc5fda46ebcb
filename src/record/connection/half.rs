//! One direction of a connection: which bytes of the stream are written, which
//! wait, which are missing. Writes nothing itself.
//!
//! Sequence numbers are those of TCP, modulo 2³².

use std::collections::VecDeque;

/// Numbers up to this far behind the next byte are old, all others lie ahead:
/// no TCP window is larger than 1 GiB (RFC 7323, section 2.3), but what is lost
/// may be.
const OLD: u32 = 1 << 30;

/// Bytes that a held piece costs besides its payload.
const HELD_OVERHEAD: usize = 128;

/// Given-up ranges per direction that may still be filled. Older ones stay
/// gaps: a hostile stream of holes must not grow the list.
const MAX_HOLES: usize = 64;

/// A point of the stream and when it was known, nanoseconds of CLOCK_BOOTTIME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Sequence number.
    pub seq: u32,
    /// When.
    pub at: u64,
}

/// Bytes that moved, as one event tells of them.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Bytes of the stream; more than `payload` where the snap length cut it.
    pub length: u32,
    /// What was copied.
    pub payload: &'a [u8],
    /// What its sender had of the other direction.
    pub ack: Option<u32>,
    /// Seen as a packet: `ack` is of the kernel, not of the application.
    pub packet: bool,
    /// When it moved.
    pub at: u64,
    /// The running count of lost events.
    pub lost: u32,
}

impl Piece<'_> {
    /// One past its last byte.
    pub fn end(&self) -> u32 {
        self.seq.wrapping_add(self.length)
    }

    /// The part from `skip` bytes on, `length` of them.
    pub fn part(&self, skip: u32, length: u32) -> Self {
        let payload = self.payload.get(skip as usize..).unwrap_or_default();
        let payload = &payload[..payload.len().min(length as usize)];
        Self { seq: self.seq.wrapping_add(skip), length, payload, ..*self }
    }
}

/// A piece that waits.
#[derive(Debug)]
pub struct Held {
    seq: u32,
    length: u32,
    payload: Vec<u8>,
    ack: Option<u32>,
    packet: bool,
    /// When it moved.
    pub at: u64,
    /// When it came to us.
    pub since: u64,
    lost: u32,
}

impl Held {
    /// It, borrowed.
    pub fn piece(&self) -> Piece<'_> {
        Piece {
            seq: self.seq,
            length: self.length,
            payload: &self.payload,
            ack: self.ack,
            packet: self.packet,
            at: self.at,
            lost: self.lost,
        }
    }

    /// Memory it takes, in bytes.
    pub fn cost(&self) -> usize {
        self.payload.len() + HELD_OVERHEAD
    }
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its sender closed it.
    Fin,
    /// Its sender reset the connection.
    Reset,
    /// The socket is gone without either.
    Gone,
}

/// The end of a direction.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// One past the last byte of data.
    pub seq: u32,
    /// What its sender had of the other direction.
    pub ack: Option<u32>,
    /// When it ended.
    pub at: u64,
    /// When we were told.
    pub since: u64,
    /// How.
    pub ending: Ending,
}

/// Change of the gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GapChange {
    /// Ranges more, or fewer.
    pub ranges: i64,
    /// Bytes more, or fewer.
    pub bytes: i64,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Half {
    /// The next byte to be written; None before the first is known.
    next: Option<u32>,
    /// The first byte that the file can have.
    base: u32,
    /// The base can be moved no more: something stands in the file.
    fixed: bool,
    /// Initial sequence number, where the opening was seen.
    pub isn: Option<Mark>,
    /// Its SYN stands in the file.
    pub syn: bool,
    /// Ranges `from..to` left out so far.
    holes: Vec<(u32, u32)>,
    /// What waits, in the order of the stream.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// A range that no event has bytes of, as far as one end is concerned.
    missing: Option<(u32, u32)>,
    /// Where it ends, once known.
    pub end: Option<End>,
    /// Its end stands in the file.
    pub ended: bool,
    /// Payload stands in the file.
    pub has_payload: bool,
}

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It starts at or before the next byte and goes beyond: so many bytes of
    /// it are old.
    Next(u32),
    /// It starts behind a hole.
    Ahead,
    /// All of it is old.
    Old,
}

impl Half {
    /// The next byte to be written.
    pub fn next(&self) -> Option<u32> {
        self.next
    }

    /// The first known number; later ones change nothing unless nothing is
    /// written and they lie before it.
    pub fn begin(&mut self, seq: u32) {
        match self.next {
            None => (self.base, self.next) = (seq, Some(seq)),
            Some(next) if !self.fixed && self.isn.is_none() && is_old(seq, next) => {
                (self.base, self.next) = (seq, Some(seq));
            }
            Some(_) => {}
        }
    }

    /// The initial sequence number is known.
    pub fn open(&mut self, isn: Mark) {
        if self.isn.is_none() && !self.fixed {
            let first = isn.seq.wrapping_add(1);
            (self.base, self.next) = (first, Some(first));
            self.isn = Some(isn);
        }
    }

    /// From now on the base stays.
    pub fn fix(&mut self) {
        self.fixed = true;
    }

    /// Whether something of it stands in the file.
    pub fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Where `length` bytes at `seq` lie.
    pub fn place(&self, seq: u32, length: u32) -> Place {
        let Some(next) = self.next else { return Place::Next(0) };
        if !is_old(seq, next) {
            return if seq == next { Place::Next(0) } else { Place::Ahead };
        }
        let old = next.wrapping_sub(seq);
        if old < length { Place::Next(old) } else { Place::Old }
    }

    /// Bytes up to `end` are written.
    pub fn advance(&mut self, end: u32) {
        self.fixed = true;
        self.next = Some(end);
    }

    /// Gives up what lies before `seq`.
    pub fn skip_to(&mut self, seq: u32) -> GapChange {
        let next = self.next.unwrap_or(seq);
        self.fixed = true;
        self.next = Some(seq);
        self.add_hole(next, seq);
        GapChange { ranges: 1, bytes: i64::from(seq.wrapping_sub(next)) }
    }

    fn add_hole(&mut self, from: u32, to: u32) {
        if self.holes.len() >= MAX_HOLES {
            self.holes.remove(0);
        }
        self.holes.push((from, to));
    }

    /// Old bytes that were never written: which parts of `seq..seq + length`
    /// (all before `next`) shall be written late, as pairs of offset and length.
    pub fn late(&mut self, seq: u32, length: u32) -> (Vec<(u32, u32)>, GapChange) {
        let mut change = GapChange::default();
        let mut parts = Vec::new();
        let before = self.base.wrapping_sub(seq);
        if self.isn.is_none() && before != 0 && before <= OLD {
            // Joined midway, and these came late: the file begins earlier now.
            let take = before.min(length);
            parts.push((0, take));
            if take < before {
                let from = seq.wrapping_add(take);
                self.add_hole(from, self.base);
                change.ranges += 1;
                change.bytes += i64::from(self.base.wrapping_sub(from));
            }
            self.base = seq;
        }
        let mut at = 0;
        while let Some(&(from, to)) = self.holes.get(at) {
            at += 1;
            let start = (from.wrapping_sub(seq) as i32).max(0);
            let end = (to.wrapping_sub(seq) as i32).min(length as i32);
            if start >= end || parts.contains(&(start as u32, (end - start) as u32)) {
                continue;
            }
            parts.push((start as u32, (end - start) as u32));
            change.bytes -= i64::from(end - start);
            change.ranges -= 1;
            let (start, end) = (seq.wrapping_add(start as u32), seq.wrapping_add(end as u32));
            at -= 1;
            self.holes.swap_remove(at);
            for (from, to) in [(from, start), (end, to)] {
                if from != to {
                    self.holes.push((from, to));
                    change.ranges += 1;
                }
            }
        }
        (parts, change)
    }

    /// Keeps a piece for later. Returns the memory it takes.
    pub fn hold(&mut self, piece: &Piece<'_>, since: u64) -> usize {
        let held = Held {
            seq: piece.seq,
            length: piece.length,
            payload: piece.payload.to_vec(),
            ack: piece.ack,
            packet: piece.packet,
            at: piece.at,
            since,
            lost: piece.lost,
        };
        let at = self.held.partition_point(|other| !is_before(piece.seq, other.seq));
        let cost = held.cost();
        self.held_bytes += cost;
        self.held.insert(at, held);
        cost
    }

    /// The first that waits.
    pub fn front(&self) -> Option<&Held> {
        self.held.front()
    }

    /// Takes the first that waits.
    pub fn pop(&mut self) -> Option<Held> {
        let held = self.held.pop_front()?;
        self.held_bytes -= held.cost();
        Some(held)
    }

    /// Memory of what waits, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// One end cannot tell these bytes; another may.
    pub fn miss(&mut self, from: u32, to: u32) {
        self.missing = match self.missing {
            Some((start, end)) if end == from => Some((start, to)),
            _ => Some((from, to)),
        };
    }

    /// Whether the bytes before `seq` are known to be missing.
    pub fn is_missed(&self, seq: u32) -> bool {
        self.next
            .zip(self.missing)
            .is_some_and(|(next, (from, to))| !is_before(next, from) && !is_before(to, seq))
    }

    /// One past what is known to be missing behind all that is written.
    pub fn missing_end(&self) -> Option<u32> {
        let (next, (_, to)) = self.next.zip(self.missing)?;
        is_before(next, to).then_some(to)
    }
}

/// Whether `seq` is before `next` by no more than a window.
pub fn is_old(seq: u32, next: u32) -> bool {
    let behind = next.wrapping_sub(seq);
    behind != 0 && behind <= OLD
}

/// Whether `a` is before `b` in the order of the stream (RFC 9293, section 3.4).
pub fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
