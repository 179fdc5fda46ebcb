//! A connection's packets: handshake, data, ends, and the comments that say
//! who talks.

use std::sync::Arc;

use super::half::{End, Ending, Piece};
use super::state::{Connection, Context};
use crate::record::event::tcp;
use crate::record::sink::WriteError;
use crate::record::synth::Segment;
use crate::record::writer::packets::{Draft, PREFACE};

impl Connection {
    /// SYN, SYN-ACK and ACK, as far as they were seen and are not written yet.
    pub(super) fn emit_handshake(&mut self, cx: &mut Context<'_>) -> Result<(), WriteError> {
        let client = self.client.unwrap_or(0);
        let [opened, answered] = [client, 1 - client].map(|side| self.halves[side].isn);
        if let Some(isn) = opened.filter(|_| !self.halves[client].syn) {
            self.halves[client].fix();
            self.halves[client].syn = true;
            self.emit(client, Packet { seq: isn.seq, flags: tcp::SYN, ..Packet::at(isn.at) }, cx)?;
        }
        let server = 1 - client;
        if let Some(isn) = answered.filter(|_| !self.halves[server].syn) {
            self.halves[server].fix();
            self.halves[server].syn = true;
            let ack = opened.map(|isn| isn.seq.wrapping_add(1));
            let at = isn.at.max(opened.map_or(0, |isn| isn.at));
            let packet = Packet { seq: isn.seq, flags: tcp::SYN, ack, ..Packet::at(at) };
            self.emit(server, packet, cx)?;
            if let Some(ack) = ack {
                let packet =
                    Packet { seq: ack, ack: Some(isn.seq.wrapping_add(1)), ..Packet::at(at) };
                self.emit(client, packet, cx)?;
            }
        }
        Ok(())
    }

    /// Bytes, in as many segments as they need. `lost`: the running count of
    /// lost events, where a gap is before these bytes.
    pub(super) fn emit_data(
        &mut self,
        from: usize,
        piece: &Piece<'_>,
        lost: Option<u32>,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        let half = &mut self.halves[from];
        half.fix();
        if !half.has_payload {
            half.has_payload = true;
            if piece.payload.starts_with(PREFACE) {
                cx.packets.saw_http2(self.addresses[1 - from].port());
            }
        }
        let mss = crate::record::synth::mss(self.addresses[from]) as u32;
        let ack = self.halves[1 - from].next().or(piece.ack);
        let last = if Self::goes_on(piece) { 0 } else { tcp::PSH };
        let mut at = 0;
        while at < piece.length {
            let part = piece.part(at, mss.min(piece.length - at));
            let drops = lost.filter(|_| at == 0).map_or(0, |lost| cx.packets.newly_lost(lost));
            at += part.length;
            let packet = Packet {
                seq: part.seq,
                ack,
                flags: if at == piece.length { last } else { 0 },
                payload: part.payload,
                length: part.length as usize,
                drops,
                at: piece.at,
            };
            self.emit(from, packet, cx)?;
        }
        Ok(())
    }

    /// A segment without payload, acknowledging all that is written.
    pub(super) fn emit_flags(
        &mut self,
        from: usize,
        seq: u32,
        flags: u8,
        at: u64,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        let ack = self.halves[1 - from].next();
        self.emit(from, Packet { seq, flags, ack, ..Packet::at(at) }, cx)
    }

    /// The other side has what `side` sent so far, also what was just given up.
    /// Where bytes go one way only nothing else would say so, and a reader would
    /// wait for them. Before any byte behind the hole, so that no reader has to
    /// judge one without knowing this.
    pub(super) fn acknowledge(
        &mut self,
        side: usize,
        ack: Option<u32>,
        at: u64,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        let other = 1 - side;
        let Some(seq) = self.halves[other].next().or(ack).filter(|_| !self.reset) else {
            return Ok(());
        };
        self.halves[other].begin(seq);
        self.halves[other].fix();
        self.emit_flags(other, seq, 0, at, cx)
    }

    /// The end of a direction, and the last ACK of both.
    pub(super) fn emit_end(
        &mut self,
        side: usize,
        end: End,
        hole: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        if hole {
            self.give_up(side, end.seq, cx);
        }
        self.halves[side].ended = true;
        self.halves[side].fix();
        match end.ending {
            Ending::Fin => {
                // A FIN takes a number; behind more data than it claims it is moot.
                let seq = self.halves[side].next().unwrap_or(end.seq);
                self.emit_flags(side, seq, tcp::FIN, end.at, cx)?;
                self.halves[side].advance(seq.wrapping_add(1));
            }
            Ending::Reset => {
                self.reset = true;
                for half in &mut self.halves {
                    half.ended = true;
                }
                self.emit_flags(side, end.seq, tcp::RST, end.at, cx)?;
            }
            Ending::Gone if hole => self.emit_flags(side, end.seq, 0, end.at, cx)?,
            Ending::Gone => {}
        }
        let other = 1 - side;
        let closed = |end: Option<End>| end.is_some_and(|end| end.ending == Ending::Fin);
        if end.ending == Ending::Fin && self.halves[other].ended && closed(self.halves[other].end) {
            let seq = self.halves[other].next().unwrap_or_default();
            self.emit_flags(other, seq, 0, end.at, cx)?;
        }
        Ok(())
    }

    fn emit(
        &mut self,
        from: usize,
        packet: Packet<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        self.refresh_owners(cx);
        let comments = self.comments(cx)?;
        let sent = self.ends[from].is_some();
        let side = if sent { from } else { 1 - from };
        let owner = self.ends[side].as_ref().and_then(|end| end.owner.as_deref());
        let interface = cx.packets.interface(owner, self.client == Some(1 - side))?;
        let segment = Segment {
            from: self.addresses[from],
            to: self.addresses[1 - from],
            side: from,
            seq: packet.seq,
            ack: packet.ack,
            flags: packet.flags,
            payload: packet.payload,
            length: packet.length,
        };
        let draft =
            Draft { interface, at: packet.at, sent, drops: packet.drops, comments: &comments };
        cx.packets.packet(&draft, &segment)
    }

    /// Owners that called exec are other processes now.
    fn refresh_owners(&mut self, cx: &Context<'_>) {
        for (end, changed) in self.ends.iter_mut().zip(&mut self.changed) {
            let Some(owner) = end.as_mut().and_then(|end| end.owner.as_mut()) else { continue };
            if owner.is_stale()
                && let Some(fresh) = cx.owners.again(owner.pid)
            {
                *owner = Arc::clone(&fresh);
                *changed = true;
            }
        }
    }
}

/// A packet but for its addresses.
struct Packet<'a> {
    seq: u32,
    ack: Option<u32>,
    flags: u8,
    payload: &'a [u8],
    length: usize,
    drops: u64,
    at: u64,
}

impl Packet<'_> {
    fn at(at: u64) -> Self {
        Self { seq: 0, ack: None, flags: 0, payload: &[], length: 0, drops: 0, at }
    }
}
