//! What an event changes in a connection: its ends, its numbers, its bytes,
//! how it ended.

use std::sync::Arc;

use super::half::{self, End as HalfEnd, Ending, Mark, Piece};
use super::state::{Connection, Context, End};
use crate::record::event::{Event, GapReason, Kind, Role, Way, close, tcp};
use crate::record::owner::Owner;
use crate::record::sink::WriteError;

impl Connection {
    /// Takes an event of side `side`'s end; [`Connection::proceed`] writes what
    /// it makes writable.
    pub fn event(
        &mut self,
        side: usize,
        event: &Event<'_>,
        owner: Option<Arc<Owner>>,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        self.used = true;
        self.end(side, event, owner);
        match event.kind {
            Kind::Data => self.data(side, event, cx)?,
            Kind::Open => self.open(side, event),
            Kind::Close => self.close(side, event, cx.now),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, side: usize, event: &Event<'_>, owner: Option<Arc<Owner>>) {
        match event.role {
            Role::Client => self.client = Some(side),
            Role::Server => self.client = Some(1 - side),
            Role::Unknown => {}
        }
        let end = self.ends[side].get_or_insert(End {
            netns: event.netns,
            socket: 0,
            owner: None,
            closed: false,
        });
        // SYNs are of the listener or of a request socket.
        if event.socket != 0 && event.tcp_flags & tcp::SYN == 0 {
            end.socket = event.socket;
        }
        if let Some(owner) = owner
            && end.owner.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &owner))
        {
            end.owner = Some(owner);
            self.changed[side] = true;
        }
    }

    fn open(&mut self, side: usize, event: &Event<'_>) {
        let numbers = [(side, Some(event.seq)), (1 - side, event.ack)];
        for (side, seq) in numbers {
            let Some(seq) = seq else { continue };
            if event.midway {
                self.halves[side].begin(seq);
            } else {
                self.halves[side].open(Mark { seq: seq.wrapping_sub(1), at: event.at });
            }
        }
    }

    fn data(
        &mut self,
        side: usize,
        event: &Event<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        let from = if event.way == Way::Sent { side } else { 1 - side };
        let syn = event.tcp_flags & tcp::SYN != 0;
        if syn {
            self.halves[from].open(Mark { seq: event.seq, at: event.at });
            if event.tcp_flags & tcp::ACK == 0 {
                self.client = Some(from);
            }
        }
        let start = event.seq.wrapping_add(u32::from(syn));
        let captured = (event.payload.len() as u32).min(event.length);
        let unread = matches!(event.gap, Some(reason) if reason != GapReason::Snaplen);
        let piece = Piece {
            seq: start,
            length: if unread { captured } else { event.length },
            payload: &event.payload[..captured as usize],
            ack: event.ack,
            packet: event.packet,
            at: event.at,
            lost: event.lost,
        };
        if event.length > 0 {
            self.halves[from].begin(start);
        }
        let end = start.wrapping_add(event.length);
        if piece.length > 0 {
            self.take(from, &piece, cx)?;
        }
        if unread {
            self.halves[from].miss(piece.end(), end);
        }
        let ending = match event.tcp_flags {
            flags if flags & tcp::RST != 0 => Ending::Reset,
            flags if flags & tcp::FIN != 0 => Ending::Fin,
            _ => return Ok(()),
        };
        self.set_end(from, end, ending, event, event.ack, cx.now);
        Ok(())
    }

    /// The socket is gone: what it sent and received in all.
    fn close(&mut self, side: usize, event: &Event<'_>, now: u64) {
        let flags = event.tcp_flags;
        let sent_fin = flags & close::FIN_SENT != 0;
        let received_fin = flags & close::FIN_RECEIVED != 0;
        let reset = flags & close::RESET != 0 && !(sent_fin && received_fin);
        let ending = |fin: bool| match fin {
            true => Ending::Fin,
            false if reset => Ending::Reset,
            false => Ending::Gone,
        };
        // A reset is of one side: of the peer, unless that closed in order.
        let (sent, received) = match (ending(sent_fin), ending(received_fin)) {
            (Ending::Reset, Ending::Reset) => (Ending::Gone, Ending::Reset),
            endings => endings,
        };
        let fin = u32::from(sent_fin);
        self.set_end(side, event.seq.wrapping_sub(fin), sent, event, event.ack, now);
        // What a peer on this host sent, its own end knows better.
        if let (None, Some(ack)) = (&self.ends[1 - side], event.ack) {
            let end = ack.wrapping_sub(u32::from(received_fin));
            self.set_end(1 - side, end, received, event, None, now);
        }
        if let Some(end) = &mut self.ends[side] {
            end.closed = true;
        }
    }

    fn set_end(
        &mut self,
        side: usize,
        seq: u32,
        ending: Ending,
        event: &Event<'_>,
        ack: Option<u32>,
        now: u64,
    ) {
        let half = &mut self.halves[side];
        match &mut half.end {
            // A packet of several events has its flags on each of them.
            Some(end) if !half.ended && half::is_before(end.seq, seq) => end.seq = seq,
            Some(_) => {}
            None => {
                half.begin(seq);
                half.end = Some(HalfEnd { seq, ack, at: event.at, since: now, ending });
                self.first_end.get_or_insert(side);
            }
        }
    }
}
