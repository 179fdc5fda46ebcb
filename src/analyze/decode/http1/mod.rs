//! HTTP/1.1 and HTTP/1.0 (RFC 9112): the state machine of each direction.
//!
//! The reference decoder: `scan`, `head` and `body` are pure parsers, `memo`
//! remembers field lines, `lone` has a short way for the common case, `half` is one direction's place in its bytes,
//! `pairing` finds the request of each response, `exchange` is a transaction
//! in the making and its verdict, `log` prints heads. This file drives them.
//!
//! A chunk is read in place: a head inside one chunk is never copied, body
//! bytes are passed over by arithmetic. Only a head that straddles chunks is
//! carried over. What follows CONNECT or an upgrade belongs to another
//! decoder, and HTTP/1 ends there. The scheme is `http` unless the target is
//! in absolute form: what is decoded here came in cleartext.
//!
//! How responses find their requests after bytes went missing is told in
//! `pairing`.

pub(crate) mod body;
mod exchange;
mod half;
pub(crate) mod head;
mod interim;
mod interrupt;
mod log;
mod lone;
mod memo;
mod message;
mod pairing;
mod probe;
mod scan;
#[cfg(test)]
mod tests;

use crate::analyze::decode::detect::Detector;
use crate::analyze::decode::rest::Rest;
use crate::analyze::decode::websocket;
use crate::analyze::decode::{Chunk, Content, Decoder, Direction, Late, Protocol, Sink};
use crate::time::Timestamp;

use body::{Framing, Piece};
use exchange::Exchange;
use half::{Half, Held, Mark, Origin, State};
use head::may_begin;
use lone::Lone;
use pairing::{Doubt, Pairing};

/// HTTP/1.0 and HTTP/1.1.
pub const PROTOCOL: Protocol = Protocol { name: "http/1", probe: probe::probe, decoder };

/// Bytes of one direction held while the response to CONNECT or an upgrade
/// is awaited; no client sends more before it has the answer.
const HELD_BYTES: usize = 1 << 20;

fn decoder(late: Late) -> Box<dyn Decoder> {
    Box::new(Http1::new(late))
}

/// Decoder of one connection.
struct Http1 {
    halves: [Half; 2],
    pairing: Pairing,
    /// A request that is not in `pairing` yet; never while a chunk is read.
    lone: Option<Lone>,
    mode: Mode,
    /// Bytes of the server came after the client had closed.
    after_fin: bool,
}

/// What the connection speaks by now.
enum Mode {
    Http,
    /// Inside CONNECT or an upgrade.
    Nested(Box<dyn Decoder>),
    WebSocket {
        connection: Box<websocket::Connection>,
        exchange: Box<Exchange>,
    },
}

impl Decoder for Http1 {
    fn push(&mut self, direction: Direction, chunk: Chunk<'_>, out: &mut Sink<'_>) {
        let from = Origin { at: chunk.at, packet: chunk.packet, seq: chunk.seq };
        match chunk.content {
            Content::Data(data) => {
                let used = match direction {
                    Direction::ToServer => self.lone_request(from, data, out),
                    Direction::ToClient => self.answer_lone(from, data, out),
                };
                let used = used.unwrap_or(0);
                match data.get(used..) {
                    None | Some([]) => {}
                    Some(rest) => self.data(direction, from.after(used), rest, out),
                }
            }
            Content::Gap(len, cause) => {
                self.enqueue_lone(out);
                self.gap(direction, from, len, cause, out);
            }
            Content::End(end) => {
                self.enqueue_lone(out);
                self.end(direction, chunk, end, out);
            }
        }
    }

    fn oldest_open(&self) -> Option<Timestamp> {
        let carried = self.halves.iter().filter(|h| !h.carry.is_empty());
        let exchanges = self.pairing.open().filter_map(Exchange::start);
        let nested = match &self.mode {
            Mode::Http => None,
            Mode::Nested(decoder) => decoder.oldest_open(),
            Mode::WebSocket { exchange, .. } => exchange.start(),
        };
        let exchanges = exchanges.chain(self.lone.iter().filter_map(Lone::start));
        exchanges.chain(carried.filter_map(|h| h.mark.start)).chain(nested).min()
    }

    fn memory(&self) -> usize {
        let nested = match &self.mode {
            Mode::Http => 0,
            Mode::Nested(decoder) => decoder.memory(),
            Mode::WebSocket { connection, exchange } => {
                connection.memory() + size_of::<Exchange>() + exchange.memory()
            }
        };
        let halves: usize = self.halves.iter().map(Half::memory).sum();
        let lone = self.lone.as_ref().map_or(0, Lone::memory);
        size_of::<Self>() + halves + self.pairing.memory() + lone + nested
    }

    fn rest(&self) -> Option<Rest> {
        let between = matches!(self.mode, Mode::Http)
            && self.lone.is_none()
            && !self.after_fin
            && self.halves.iter().all(Half::is_at_rest);
        self.pairing.rest().filter(|_| between)
    }

    fn wake(&mut self, rest: Rest) {
        self.pairing.wake(rest);
    }

    fn kind(&self) -> Option<&'static str> {
        Some(PROTOCOL.name)
    }

    fn renew(&mut self, late: Late) {
        *self = Self::new(late);
    }
}

impl Http1 {
    fn new(late: Late) -> Self {
        Self {
            halves: [Half::new(late.0[0]), Half::new(late.0[1])],
            pairing: Pairing::new(late.0[0]),
            lone: None,
            mode: Mode::Http,
            after_fin: false,
        }
    }

    #[inline]
    fn half(&mut self, direction: Direction) -> &mut Half {
        &mut self.halves[direction.index()]
    }

    #[inline(never)]
    fn data(&mut self, direction: Direction, from: Origin, data: &[u8], out: &mut Sink<'_>) {
        if std::mem::take(&mut self.half(direction).late) && direction == Direction::ToClient {
            self.pairing.responses_hidden(Doubt::Late, out);
        }
        self.after_fin |= direction == Direction::ToClient && self.halves[0].ended.is_some();
        let (mut rest, mut from) = (data, from);
        while !rest.is_empty() {
            self.enqueue_lone(out);
            let used = match &mut self.mode {
                Mode::Http => self.step(direction, from, rest, out),
                _ if self.halves[direction.index()].in_body() => {
                    self.halves[direction.index()].skip_body(rest, out.limits.head_bytes)
                }
                Mode::Nested(decoder) => {
                    return decoder.push(direction, from.chunk(Content::Data(rest)), out);
                }
                Mode::WebSocket { connection, exchange } => {
                    return connection.data(
                        direction,
                        from.at,
                        rest,
                        &mut exchange.transaction,
                        out,
                    );
                }
            };
            rest = rest.get(used..).unwrap_or_default();
            from = from.after(used);
        }
    }

    /// Takes some of `input` and says how much. Where that is nothing, the
    /// state has changed and the next call takes some.
    #[inline(always)]
    fn step(
        &mut self,
        direction: Direction,
        from: Origin,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> usize {
        let half = &mut self.halves[direction.index()];
        match &mut half.state {
            State::Head if half.carry.is_empty() => self.head(direction, from, input, out),
            State::Head => self.carried_head(direction, from, input, out),
            State::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= len as u64;
                let over = *left == 0;
                self.body(direction, from.at, input.get(..len).unwrap_or_default());
                if over {
                    self.message_ended(direction, from.packet, out);
                }
                len
            }
            State::Chunked(chunked) => {
                let (used, piece) = chunked.next(input, out.limits.head_bytes);
                self.chunked(direction, from, piece, out);
                used
            }
            State::UntilClose => {
                self.body(direction, from.at, input);
                input.len()
            }
            State::Maybe(framing) => {
                let framing = *framing;
                self.maybe(direction, from, framing, input, out)
            }
            State::Resync => self.resync(direction, from, input, out),
            State::Hold => {
                self.hold(direction, Held::new(from, Content::Data(input)), out);
                input.len()
            }
        }
    }

    /// Looks for a head.
    #[inline(never)]
    fn resync(
        &mut self,
        direction: Direction,
        from: Origin,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> usize {
        let half = self.half(direction);
        let (found, passed) = half.resync(direction, input, from);
        let carry = if found { std::mem::take(&mut half.carry) } else { Vec::new() };
        if passed {
            self.passed_over(direction, out);
        }
        if found {
            self.half(direction).state = State::Head;
            self.found(direction, from.after(input.len()), &carry, out);
        }
        input.len()
    }

    /// Resynchronised: `carry` begins with the first line of a head, and ends before
    /// what comes from `from`.
    fn found(&mut self, direction: Direction, from: Origin, carry: &[u8], out: &mut Sink<'_>) {
        let mark = self.half(direction).mark;
        let used = self.whole_head(direction, mark, carry, out);
        match used {
            Some(0) | None => self.half(direction).begin_carry(carry),
            Some(used) => {
                let rest = carry.get(used..).unwrap_or_default();
                if !rest.is_empty() {
                    self.data(direction, from.before(rest.len()), rest, out);
                }
            }
        }
    }

    /// Reads a head, or keeps the beginning of one.
    #[inline(always)]
    fn head(
        &mut self,
        direction: Direction,
        from: Origin,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> usize {
        if matches!(input, [b'\r' | b'\n', ..]) {
            // Empty lines before a first line (RFC 9112 section 2.2).
            return input.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        }
        let mark = Mark::new(from);
        match self.whole_head(direction, mark, input, out) {
            Some(used) => used,
            None => {
                let half = self.half(direction);
                half.mark = mark;
                half.begin_carry(input);
                self.check_head_size(direction, out);
                input.len()
            }
        }
    }

    /// Reads a head whose beginning was kept, or keeps more of it.
    #[inline(never)]
    fn carried_head(
        &mut self,
        direction: Direction,
        from: Origin,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> usize {
        let half = self.half(direction);
        half.touch(from);
        let before = half.carry.len();
        let Some(end) = half.add_carry(input) else {
            self.check_head_size(direction, out);
            return input.len();
        };
        let mark = half.mark;
        let mut carry = std::mem::take(&mut half.carry);
        let parsed = self.whole_head(direction, mark, carry.get(..end).unwrap_or_default(), out);
        carry.clear();
        let half = self.half(direction);
        if half.carry.is_empty() {
            half.carry = carry;
            half.drop_carry();
        }
        if parsed.is_none() {
            self.lost(direction, out);
        }
        end.saturating_sub(before)
    }

    /// Gives a head up that outgrows the limit.
    fn check_head_size(&mut self, direction: Direction, out: &mut Sink<'_>) {
        if self.half(direction).carry.len() > out.limits.head_bytes {
            self.salvage(direction, None, Some("head-too-large"), out);
            self.lost(direction, out);
        }
    }

    /// Body bytes of the current message.
    #[inline]
    fn body(&mut self, direction: Direction, at: Option<Timestamp>, data: &[u8]) {
        if let Some(exchange) = self.pairing.current(direction) {
            exchange.seen(direction, at);
            exchange.body(direction, data, at);
        }
    }

    fn chunked(
        &mut self,
        direction: Direction,
        from: Origin,
        piece: Piece<'_>,
        out: &mut Sink<'_>,
    ) {
        match piece {
            Piece::Data(data) => self.body(direction, from.at, data),
            Piece::Framing => self.body(direction, from.at, &[]),
            Piece::End => {
                self.body(direction, from.at, &[]);
                self.trailers(direction, out);
                self.message_ended(direction, from.packet, out);
            }
            Piece::Bad => {
                if let Some(exchange) = self.pairing.current(direction) {
                    exchange.transaction.anomaly("bad-chunk");
                }
                self.message_lost(direction, out);
                self.lost(direction, out);
            }
        }
    }

    /// The first bytes after a response that may or may not have a body.
    #[inline(never)]
    fn maybe(
        &mut self,
        direction: Direction,
        from: Origin,
        framing: Framing,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> usize {
        const STATUS: &[u8] = b"HTTP/1.";
        let half = self.half(direction);
        let before = half.carry.len();
        let wanted = STATUS.len().saturating_sub(before).min(input.len());
        half.touch(from);
        half.carry.extend_from_slice(input.get(..wanted).unwrap_or_default());
        if half.carry.len() < STATUS.len() && may_begin(&half.carry, STATUS) {
            return wanted;
        }
        let is_head = half.carry == STATUS;
        let carry = std::mem::take(&mut half.carry);
        if is_head {
            let mark = half.mark;
            self.message_ended(direction, from.packet, out);
            let half = self.half(direction);
            half.begin_carry(&carry);
            half.mark = mark;
            return wanted;
        }
        let at = half.mark.start;
        half.state = match framing {
            Framing::Length(len) => State::Length(len),
            Framing::Chunked => State::Chunked(Box::default()),
            Framing::UntilClose | Framing::None => State::UntilClose,
        };
        if framing == Framing::UntilClose && self.pairing.may_be_tunnel() {
            self.pairing.response_cut(None, out);
        }
        let kept = carry.get(..before).unwrap_or_default();
        if !kept.is_empty() {
            let from = from.before(kept.len());
            let taken = self.step(direction, Origin { at, ..from }, kept, out);
            let more = kept.get(taken..).unwrap_or_default();
            if !more.is_empty() {
                self.data(direction, from.after(taken), more, out);
            }
        }
        0
    }
}
