//! What ends or interrupts messages: their own end, missing bytes, bytes that
//! wait for a response, and the end of the connection.

use super::body::Framing;
use super::exchange::Exchange;
use super::half::{Held, Origin, State};
use super::pairing::Doubt;
use super::{HELD_BYTES, Http1, Mode};
use crate::analyze::decode::websocket;
use crate::analyze::decode::{Chunk, Content, Decoder, Direction, End, GapCause, Sink};
use crate::analyze::transaction::Transaction;

impl Http1 {
    /// The last byte of the current message was seen.
    pub(super) fn message_ended(&mut self, direction: Direction, packet: u64, out: &mut Sink<'_>) {
        self.half(direction).state = State::Head;
        match direction {
            Direction::ToServer => {
                let hold = self.pairing.current(direction).is_some_and(|e| e.hold);
                self.pairing.request_ended(packet, out);
                if let Some(end) = self.halves[1].ended {
                    self.pairing.close(end, false, out);
                } else if hold {
                    self.half(direction).state = State::Hold;
                }
            }
            Direction::ToClient => self.pairing.response_ended(out),
        }
    }

    /// The current message will not be seen to its end, because bytes of it
    /// are missing or make no sense.
    pub(super) fn message_lost(&mut self, direction: Direction, out: &mut Sink<'_>) {
        match direction {
            Direction::ToServer => {
                if let Some(exchange) = self.pairing.current(direction) {
                    exchange.cut(direction, None);
                }
                self.pairing.put_answered(out);
            }
            Direction::ToClient => self.pairing.response_cut(None, out),
        }
    }

    /// From here on messages may have been missed.
    pub(super) fn lost(&mut self, direction: Direction, out: &mut Sink<'_>) {
        let half = self.half(direction);
        half.state = State::Resync;
        half.drop_carry();
        match direction {
            Direction::ToServer => self.pairing.requests_hidden(Doubt::Gap),
            Direction::ToClient => {
                self.pairing.responses_hidden(Doubt::Gap, out);
                self.release(out);
            }
        }
    }

    /// Bytes between messages made no sense and may have been messages.
    pub(super) fn passed_over(&mut self, direction: Direction, out: &mut Sink<'_>) {
        match direction {
            Direction::ToServer => self.pairing.requests_passed_over(),
            Direction::ToClient => self.pairing.responses_hidden(Doubt::Gap, out),
        }
    }

    #[inline(never)]
    pub(super) fn gap(
        &mut self,
        direction: Direction,
        from: Origin,
        len: u64,
        cause: GapCause,
        out: &mut Sink<'_>,
    ) {
        let len = match &self.mode {
            Mode::Http => len,
            _ => len - self.halves[direction.index()].skip_body_gap(len),
        };
        if len == 0 {
            return;
        }
        let content = Content::Gap(len, cause);
        match &mut self.mode {
            Mode::Http => {}
            Mode::Nested(decoder) => return decoder.push(direction, from.chunk(content), out),
            Mode::WebSocket { connection, exchange } => {
                exchange.gap = true;
                return connection.gap(direction, len, &mut exchange.transaction);
            }
        }
        let half = &mut self.halves[direction.index()];
        if std::mem::take(&mut half.late) && direction == Direction::ToClient {
            self.pairing.responses_hidden(Doubt::Gap, out);
        }
        let half = &mut self.halves[direction.index()];
        let inside = match &mut half.state {
            State::Hold => {
                return self.hold(direction, Held::new(from, content), out);
            }
            State::Length(left) => {
                let inside = len.min(*left);
                *left -= inside;
                inside
            }
            State::UntilClose => len,
            State::Chunked(chunked) => u64::from(chunked.skip(len)) * len,
            _ => 0,
        };
        let over = matches!(half.state, State::Length(0));
        if inside > 0
            && let Some(exchange) = self.pairing.current(direction)
        {
            exchange.body_gap(direction, inside);
        }
        if over {
            self.message_ended(direction, from.packet, out);
        }
        if inside < len {
            match self.half(direction).state {
                State::Hold => self.gap(direction, from, len - inside, cause, out),
                _ => self.gap_outside(direction, out),
            }
        }
    }

    /// Bytes are missing where the next message, or the end of this one, may be.
    fn gap_outside(&mut self, direction: Direction, out: &mut Sink<'_>) {
        let coded = matches!(self.half(direction).state, State::Chunked(_));
        if let Some(exchange) = self.pairing.current(direction) {
            exchange.gap = true;
            if coded {
                exchange.body_lost(direction);
            }
        }
        match self.half(direction).state {
            State::Head => self.salvage(direction, None, None, out),
            _ => self.message_lost(direction, out),
        }
        self.lost(direction, out);
    }

    /// Keeps client bytes until the response tells what they are.
    pub(super) fn hold(&mut self, direction: Direction, held: Held, out: &mut Sink<'_>) {
        let half = self.half(direction);
        half.held.push(held);
        if half.memory() > HELD_BYTES {
            out.anomaly("held-too-long");
            self.release(out);
        }
    }

    /// Reads what was held, as whatever the connection speaks now.
    #[inline]
    pub(super) fn release(&mut self, out: &mut Sink<'_>) {
        let half = &self.halves[0];
        let held = matches!(half.state, State::Hold) || !half.held.is_empty();
        if held || matches!(self.mode, Mode::Nested(_)) {
            self.release_held(out);
        }
    }

    #[inline(never)]
    fn release_held(&mut self, out: &mut Sink<'_>) {
        let direction = Direction::ToServer;
        let half = self.half(direction);
        let held = matches!(half.state, State::Hold);
        if held {
            half.state = State::Head;
        }
        for held in half.held.take() {
            self.push(direction, held.from.chunk(held.content()), out);
        }
        // The end waited with them.
        match (self.halves[0].ended, &mut self.mode) {
            (Some(end), Mode::Nested(decoder)) => {
                let chunk = Chunk { at: None, packet: 0, seq: 0, content: Content::End(end) };
                decoder.push(direction, chunk, out);
            }
            (Some(end), Mode::Http) if held => self.half_ended(direction, end, out),
            _ => {}
        }
    }

    #[inline(never)]
    pub(super) fn end(
        &mut self,
        direction: Direction,
        chunk: Chunk<'_>,
        end: End,
        out: &mut Sink<'_>,
    ) {
        self.halves[direction.index()].ended = Some(end);
        match &mut self.mode {
            Mode::Nested(decoder) => return decoder.push(direction, chunk, out),
            Mode::Http => self.half_ended(direction, end, out),
            Mode::WebSocket { .. } => {}
        }
        if self.halves.iter().all(|half| half.ended.is_some()) {
            if let Mode::WebSocket { connection, exchange } =
                std::mem::replace(&mut self.mode, Mode::Http)
            {
                out.boxed(self.websocket_ended(&connection, *exchange));
            }
            // Client bytes that no response explained are requests like others.
            self.release(out);
            let last = self.halves[1].ended.unwrap_or(end);
            self.pairing.close(last, true, out);
            let fins = self.halves.iter().all(|half| half.ended == Some(End::Fin));
            // A client that closes first had all that it asked for.
            let client_first = direction == Direction::ToClient;
            let quiet = end == End::Idle || self.pairing.is_quiet(chunk.at);
            self.pairing.finish(quiet || (fins && client_first), out);
        }
    }

    /// The transaction of a WebSocket handshake once the connection is over.
    fn websocket_ended(
        &self,
        connection: &websocket::Connection,
        mut exchange: Exchange,
    ) -> Box<Transaction> {
        for (half, direction) in self.halves.iter().zip([Direction::ToServer, Direction::ToClient])
        {
            let fin = half.ended == Some(End::Fin) && connection.is_whole(direction);
            // A close frame ends a direction well, whatever TCP does after it.
            if !fin && !connection.is_closed(direction) {
                exchange.cut(direction, half.ended);
            }
        }
        let mut transaction = exchange.finish();
        connection.finish(&mut transaction);
        transaction
    }

    fn half_ended(&mut self, direction: Direction, end: End, out: &mut Sink<'_>) {
        if std::mem::take(&mut self.half(direction).late) && direction == Direction::ToClient {
            // No byte of the answers was captured.
            self.pairing.responses_hidden(Doubt::Late, out);
        }
        // A client that has closed resets what comes all the same: where
        // nothing was seen to come, it was not captured.
        if (direction, end) == (Direction::ToClient, End::Reset(Direction::ToServer))
            && self.halves[0].ended == Some(End::Fin)
            && !self.after_fin
        {
            if let Some(exchange) = self.pairing.current(direction) {
                exchange.gap = true;
            }
            self.pairing.responses_hidden(Doubt::Gap, out);
        }
        let state = std::mem::replace(&mut self.half(direction).state, State::Resync);
        match state {
            State::Head => self.salvage(direction, Some(end), None, out),
            State::UntilClose if end == End::Fin => self.message_ended(direction, 0, out),
            // Whether a body should have come is not known.
            State::Maybe(Framing::UntilClose) if end == End::Fin => {
                self.message_ended(direction, 0, out);
            }
            State::Maybe(_) => self.pairing.response_cut(None, out),
            State::Hold => self.half(direction).state = State::Hold,
            State::Resync => {}
            State::Length(_) | State::Chunked(_) | State::UntilClose => {
                self.message_broken(direction, end, out);
            }
        }
        if !matches!(self.half(direction).state, State::Hold) {
            self.half(direction).state = State::Resync;
            self.half(direction).drop_carry();
        }
        if direction == Direction::ToClient {
            self.pairing.close(end, false, out);
        }
    }

    /// The connection ended inside the current message.
    fn message_broken(&mut self, direction: Direction, end: End, out: &mut Sink<'_>) {
        if let Some(exchange) = self.pairing.current(direction) {
            if end == End::Fin {
                exchange.transaction.anomaly("short-body");
            }
            if direction == Direction::ToServer {
                exchange.cut(direction, None);
            }
        }
        match direction {
            Direction::ToServer => self.pairing.put_answered(out),
            Direction::ToClient => self.pairing.response_cut(Some(end), out),
        }
    }
}
