//! One connection: its ends, its two halves, and the order in which they are
//! written.

use std::net::SocketAddr;
use std::sync::Arc;

use super::half::{GapChange, Half, Piece, Place};
use super::names::Names;
use super::{HELD_BYTES, HOLD_TIME, OWNER_BYTES, OWNER_TIME};
use crate::record::event::MAX_PAYLOAD;
use crate::record::owner::{Owner, Owners};
use crate::record::sink::WriteError;
use crate::record::writer::packets::Packets;

/// A local end of a connection.
#[derive(Debug)]
pub struct End {
    /// Network namespace.
    pub netns: u32,
    /// Identity of the socket, as far as known.
    pub socket: u64,
    /// Who uses it.
    pub owner: Option<Arc<Owner>>,
    /// The socket is gone.
    pub closed: bool,
}

/// What a connection needs from the rest of the writer.
pub struct Context<'a> {
    /// Where packets go.
    pub packets: &'a mut Packets,
    /// Processes by pid.
    pub owners: &'a Owners,
    /// The latest time of any event, nanoseconds of CLOCK_BOOTTIME.
    pub now: u64,
    /// Memory of all that waits.
    pub held: &'a mut usize,
}

/// A connection of one or two local ends. Sides are 0 and 1 in the order of
/// the addresses; a half has the side of its sender.
#[derive(Debug)]
pub struct Connection {
    /// Addresses of the sides.
    pub addresses: [SocketAddr; 2],
    /// Local ends.
    pub ends: [Option<End>; 2],
    /// Directions.
    pub halves: [Half; 2],
    /// The side that connected.
    pub client: Option<usize>,
    /// Two ends of loopback addresses must both be on this host.
    pub both_local: bool,
    /// Something may stand in the file: owners are known or waited for long enough.
    pub started: bool,
    /// Older than the recorder, or its opening was not seen.
    pub midway: bool,
    /// When it was first seen.
    pub since: u64,
    /// An event since the table last looked.
    pub used: bool,
    /// The table looks at it again by itself.
    pub scheduled: bool,
    /// The table will remove it.
    pub closing: bool,
    /// The side whose end was told first.
    pub(super) first_end: Option<usize>,
    /// A reset stands in the file: nothing follows but late bytes.
    pub(super) reset: bool,
    /// File in which its owners are told.
    pub(super) told_in: u32,
    /// Who the ends are changed since it was told.
    pub(super) changed: [bool; 2],
    /// What names they have, where there is somebody to ask.
    pub(super) names: Option<Box<Names>>,
}

impl Connection {
    /// A connection of which nothing is known but its addresses.
    pub fn new(addresses: [SocketAddr; 2], both_local: bool, now: u64) -> Self {
        Self {
            addresses,
            ends: [None, None],
            halves: [Half::default(), Half::default()],
            client: None,
            both_local,
            started: false,
            midway: false,
            since: now,
            used: true,
            scheduled: false,
            closing: false,
            first_end: None,
            reset: false,
            told_in: 0,
            changed: [false; 2],
            names: None,
        }
    }

    /// Both directions have ended.
    pub fn is_over(&self) -> bool {
        self.reset || (self.halves[0].ended && self.halves[1].ended)
    }

    /// Nothing more will come: over, or every known end is closed.
    pub fn is_done(&self) -> bool {
        let closed = self.is_over() || self.ends.iter().flatten().all(|end| end.closed);
        self.started && closed && !self.is_waiting()
    }

    /// Bytes or an end wait for something.
    pub fn is_waiting(&self) -> bool {
        let waits = |half: &Half| half.front().is_some() || (half.end.is_some() && !half.ended);
        if self.started { self.halves.iter().any(waits) } else { self.tried() || self.has_news() }
    }

    /// Bytes of memory of what waits.
    pub fn held_bytes(&self) -> usize {
        self.halves.iter().map(Half::held_bytes).sum()
    }

    /// Someone has sent a SYN.
    fn tried(&self) -> bool {
        self.halves.iter().any(|half| half.isn.is_some())
    }

    /// Whether there is anything to write of a connection that is not started.
    ///
    /// A SYN alone waits for its answer, but not forever.
    fn has_news(&self) -> bool {
        let moved = |half: &Half| half.front().is_some() || half.missing_end().is_some();
        let [a, b] = [&self.halves[0], &self.halves[1]];
        let opened = a.isn.is_some() && b.isn.is_some();
        let ended = a.end.is_some() || b.end.is_some();
        opened || moved(a) || moved(b) || ended
    }

    /// Bytes: written at once where they fit, held where they do not.
    pub(super) fn take(
        &mut self,
        from: usize,
        piece: &Piece<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        let place = self.halves[from].place(piece.seq, piece.length);
        match place {
            Place::Old if self.started => self.late(from, piece, cx),
            Place::Next(old) if self.started && self.halves[from].front().is_none() => {
                if old > 0 {
                    self.late(from, &piece.part(0, old), cx)?;
                }
                let rest = piece.part(old, piece.length - old);
                if self.must_wait(from, &rest) {
                    *cx.held += self.halves[from].hold(&rest, cx.now);
                    return Ok(());
                }
                self.write_next(from, &rest, cx)
            }
            _ => {
                *cx.held += self.halves[from].hold(piece, cx.now);
                Ok(())
            }
        }
    }

    /// Old bytes: only those that no one had before.
    fn late(
        &mut self,
        from: usize,
        piece: &Piece<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        let (parts, change) = self.halves[from].late(piece.seq, piece.length);
        cx.packets.gaps(change);
        for (skip, length) in parts {
            self.emit_data(from, &piece.part(skip, length), None, cx)?;
        }
        Ok(())
    }

    fn write_next(
        &mut self,
        from: usize,
        piece: &Piece<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        self.halves[from].advance(piece.end());
        self.emit_data(from, piece, None, cx)
    }

    /// Whether the other direction has not come as far as this piece's sender
    /// had read.
    fn must_wait(&self, from: usize, piece: &Piece<'_>) -> bool {
        piece.ack.is_some_and(|ack| self.lacks(1 - from, ack, piece.packet))
    }

    fn lacks(&self, side: usize, ack: u32, packet: bool) -> bool {
        let half = &self.halves[side];
        let Some(next) = half.next().filter(|_| !half.ended) else { return false };
        // What a process read may count a FIN that no packet showed.
        let missing = ack.wrapping_sub(next) as i32;
        missing > i32::from(!packet)
    }

    /// Writes all that can be written now.
    pub fn proceed(&mut self, cx: &mut Context<'_>) -> Result<(), WriteError> {
        if !self.started && !self.try_start(cx)? {
            return Ok(());
        }
        // The answer to a SYN that was written alone.
        if self.halves[0].syn != self.halves[1].syn {
            self.emit_handshake(cx)?;
        }
        self.drain(cx, false)
    }

    /// Writes everything, whatever is missing before it.
    pub fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), WriteError> {
        if !self.started {
            if !self.tried() && !self.has_news() {
                return Ok(());
            }
            self.start(cx)?;
        }
        self.drain(cx, true)?;
        // What is known to be missing behind the last packet shall be seen.
        for side in 0..2 {
            if let Some(end) = self.halves[side].missing_end().filter(|_| !self.halves[side].ended)
            {
                self.give_up(side, end, cx);
                self.acknowledge(side, None, cx.now, cx)?;
                self.emit_flags(side, end, 0, cx.now, cx)?;
            }
        }
        Ok(())
    }

    fn try_start(&mut self, cx: &mut Context<'_>) -> Result<bool, WriteError> {
        let known = |end: &Option<End>| match end {
            Some(end) => end.owner.is_some(),
            None => !self.both_local,
        };
        let held = self.held_bytes();
        let ready = self.ends.iter().all(known)
            || cx.now.saturating_sub(self.since) >= OWNER_TIME
            || held >= OWNER_BYTES;
        let unanswered = self.tried() && cx.now.saturating_sub(self.since) >= HOLD_TIME;
        if !ready || !(unanswered || self.has_news()) {
            return Ok(false);
        }
        self.start(cx)?;
        Ok(true)
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), WriteError> {
        self.started = true;
        let opened = self.halves.iter().any(|half| half.isn.is_some());
        self.midway = !opened;
        cx.packets.connection();
        self.emit_handshake(cx)
    }

    fn drain(&mut self, cx: &mut Context<'_>, force: bool) -> Result<(), WriteError> {
        loop {
            let mut moved = false;
            for side in 0..2 {
                while self.release(side, cx)? {
                    moved = true;
                }
            }
            if !moved && !self.drain_ends(cx, force)? && !self.give_up_first(cx, force)? {
                return Ok(());
            }
        }
    }

    /// Writes the first held piece of a side where nothing is missing.
    fn release(&mut self, side: usize, cx: &mut Context<'_>) -> Result<bool, WriteError> {
        let half = &self.halves[side];
        let Some(front) = half.front() else { return Ok(false) };
        let piece = front.piece();
        match half.place(piece.seq, piece.length) {
            Place::Ahead => return Ok(false),
            Place::Next(_) if self.must_wait(side, &piece) => return Ok(false),
            _ => {}
        }
        self.write_first(side, cx)
    }

    fn write_first(&mut self, side: usize, cx: &mut Context<'_>) -> Result<bool, WriteError> {
        let Some(held) = self.halves[side].pop() else { return Ok(false) };
        *cx.held -= held.cost();
        let piece = held.piece();
        match self.halves[side].place(piece.seq, piece.length) {
            Place::Old => self.late(side, &piece, cx)?,
            Place::Next(old) => {
                if old > 0 {
                    self.late(side, &piece.part(0, old), cx)?;
                }
                self.write_next(side, &piece.part(old, piece.length - old), cx)?;
            }
            Place::Ahead => {
                self.give_up(side, piece.seq, cx);
                self.acknowledge(side, piece.ack, piece.at, cx)?;
                self.halves[side].advance(piece.end());
                self.emit_data(side, &piece, Some(piece.lost), cx)?;
            }
        }
        Ok(true)
    }

    /// Writes the oldest piece that waited long enough. False if none has.
    fn give_up_first(&mut self, cx: &mut Context<'_>, force: bool) -> Result<bool, WriteError> {
        let force = force || self.ends.iter().flatten().all(|end| end.closed);
        let one_end = !self.both_local && self.ends.iter().flatten().count() < 2;
        let expired = |half: &Half| {
            let front = half.front()?;
            let waited = cx.now.saturating_sub(front.since) >= HOLD_TIME;
            let known = one_end && half.is_missed(front.piece().seq);
            (force || waited || known || half.held_bytes() > HELD_BYTES).then_some(front.at)
        };
        let first = match (expired(&self.halves[0]), expired(&self.halves[1])) {
            (Some(a), Some(b)) => usize::from(b < a),
            (Some(_), None) => 0,
            (None, Some(_)) => 1,
            (None, None) => return Ok(false),
        };
        self.write_first(first, cx)
    }

    /// A gap from the next byte to `seq`.
    pub(super) fn give_up(&mut self, side: usize, seq: u32, cx: &mut Context<'_>) {
        // Without a packet before it no reader could tell where the gap begins.
        if !self.halves[side].is_fixed()
            && let Some(next) = self.halves[side].next()
        {
            self.halves[side].fix();
            // A failing writer is found at the next packet.
            let _ = self.emit_flags(side, next, 0, cx.now, cx);
        }
        let change: GapChange = self.halves[side].skip_to(seq);
        cx.packets.gaps(change);
    }

    /// Writes FIN and RST where all before them is written. True if any was.
    fn drain_ends(&mut self, cx: &mut Context<'_>, force: bool) -> Result<bool, WriteError> {
        let closed = self.ends.iter().flatten().all(|end| end.closed);
        let first = self.first_end.unwrap_or(0);
        for side in [first, 1 - first] {
            let half = &self.halves[side];
            let (Some(end), false, None) = (half.end, half.ended, half.front()) else { continue };
            let late = cx.now.saturating_sub(end.since) >= HOLD_TIME;
            let hole = half.place(end.seq, 0) == Place::Ahead;
            // What had come and was not read when its socket closed may still be.
            let unread = hole && self.ends[side].is_none();
            let due = force || late || (closed && !unread);
            let waits = hole || end.ack.is_some_and(|ack| self.lacks(1 - side, ack, true));
            // The other side's bytes come first where they wait as well.
            let other_waits = self.halves[1 - side].front().is_some();
            if waits && (!due || other_waits) {
                continue;
            }
            self.emit_end(side, end, hole, cx)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether an event's payload may go on in the next event.
    pub(super) fn goes_on(piece: &Piece<'_>) -> bool {
        piece.payload.len() == MAX_PAYLOAD
    }
}
