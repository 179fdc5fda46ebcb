//! Header blocks of a connection: which stream they belong to, and whether
//! they are a head, an interim response, trailers or a promise.

use crate::analyze::decode::grpc::Call;
use crate::analyze::decode::http2::block::{self, Block, Decoded};
use crate::analyze::decode::http2::connection::{Connection, MALFORMED_FRAME, STRAY};
use crate::analyze::decode::http2::frame::{
    self, END_HEADERS, END_STREAM, Head, Kind, PADDED, PRIORITY,
};
use crate::analyze::decode::http2::framer::Seen;
use crate::analyze::decode::http2::log;
use crate::analyze::decode::http2::stream::{LIMIT_HEAD, Loss, Place, Stream};
use crate::analyze::decode::{Direction, Sink};
use crate::analyze::transaction::{INTERIM, Message};

/// A header block that HPACK cannot decode.
const MALFORMED_BLOCK: &str = "http2-malformed-header-block";
/// A header block that other frames interrupt.
const INTERRUPTED_BLOCK: &str = "http2-interrupted-header-block";

impl Connection {
    /// A HEADERS frame with a whole block and nothing besides; false of any
    /// other frame.
    #[inline]
    pub(super) fn whole_block(
        &mut self,
        direction: Direction,
        head: &Head,
        payload: &[u8],
        seen: Seen,
        out: &mut Sink<'_>,
    ) -> bool {
        let plain = head.flags & (END_HEADERS | PADDED | PRIORITY) == END_HEADERS;
        if head.kind != Kind::Headers || !plain || head.stream == 0 {
            return false;
        }
        self.interrupted(direction, out);
        out.event(direction, seen.last, || log::frame(head, payload));
        let (stream, end_stream) = (head.stream, head.has(END_STREAM));
        let (promised, broken, bytes) = (None, false, Vec::new());
        let block = Block { stream, promised, end_stream, seen, bytes, broken };
        self.decoded(direction, &block, payload, out);
        true
    }

    /// HEADERS, PUSH_PROMISE or CONTINUATION.
    pub(super) fn block(
        &mut self,
        direction: Direction,
        head: &Head,
        (seen, payload, cut): (Seen, &[u8], bool),
        out: &mut Sink<'_>,
    ) {
        if head.kind == Kind::Continuation {
            return self.continuation(direction, head, (seen, payload, cut), out);
        }
        let ends = head.has(END_HEADERS);
        let mut fragment = frame::unwrap(head, payload, cut);
        let mut promised = None;
        if head.kind == Kind::PushPromise
            && let Some((id, rest)) = fragment.and_then(|f| f.split_at_checked(4))
        {
            promised = frame::stream_id(id);
            fragment = Some(rest);
        }
        let unusable = fragment.is_none() || (head.kind == Kind::PushPromise && promised.is_none());
        if unusable {
            // Padding longer than the frame, or all of it lost.
            if !cut {
                out.anomaly(MALFORMED_FRAME);
            }
        }
        let bytes = fragment.unwrap_or_default();
        let end_stream = head.kind == Kind::Headers && head.has(END_STREAM);
        let broken = cut || unusable;
        let stream = head.stream;
        if ends && !unusable {
            // The usual case: nothing is copied.
            let block = Block { stream, promised, end_stream, seen, bytes: Vec::new(), broken };
            return self.decoded(direction, &block, bytes, out);
        }
        let bytes = bytes.to_vec();
        let block = Block { stream, promised, end_stream, seen, bytes, broken };
        if ends {
            self.complete(direction, block, out);
        } else {
            self.way(direction).block = Some(block);
        }
    }

    fn continuation(
        &mut self,
        direction: Direction,
        head: &Head,
        (seen, payload, cut): (Seen, &[u8], bool),
        out: &mut Sink<'_>,
    ) {
        let limit = out.limits.head_bytes;
        let way = self.way(direction);
        let Some(block) = way.block.as_mut().filter(|block| block.stream == head.stream) else {
            // What it went on from was lost, or is not there.
            way.hpack.invalidate();
            if way.loss.is_none() {
                out.anomaly(MALFORMED_FRAME);
            }
            return;
        };
        block.seen.and(seen);
        if !block.broken {
            let room = limit.saturating_sub(block.bytes.len()).min(payload.len());
            block.bytes.extend_from_slice(payload.get(..room).unwrap_or_default());
            block.broken = cut || room < payload.len();
        }
        if head.has(END_HEADERS)
            && let Some(block) = way.block.take()
        {
            self.complete(direction, block, out);
        }
    }

    /// A block that frames other than CONTINUATION cut off.
    #[inline]
    pub(super) fn interrupted(&mut self, direction: Direction, out: &mut Sink<'_>) {
        if self.way(direction).block.is_some() {
            self.interrupt(direction, out);
        }
    }

    #[inline(never)]
    fn interrupt(&mut self, direction: Direction, out: &mut Sink<'_>) {
        if let Some(mut block) = self.way(direction).block.take() {
            out.anomaly(INTERRUPTED_BLOCK);
            block.broken = true;
            self.complete(direction, block, out);
        }
    }

    pub(super) fn complete(&mut self, direction: Direction, mut block: Block, out: &mut Sink<'_>) {
        let bytes = std::mem::take(&mut block.bytes);
        self.decoded(direction, &block, &bytes, out);
    }

    pub(super) fn decoded(
        &mut self,
        direction: Direction,
        block: &Block,
        bytes: &[u8],
        out: &mut Sink<'_>,
    ) {
        let way = self.way(direction);
        let seen = block.seen;
        let mut decoded = Decoded::default();
        let from = (direction, seen);
        block::decode(&mut way.hpack, bytes, block.broken, from, &mut decoded, out);
        let loss = way.loss;
        let limited = decoded.limited || (block.broken && bytes.len() >= out.limits.head_bytes);
        let malformed = decoded.malformed;
        if limited || malformed || block.broken {
            decoded.message.head.mark_cut();
        }
        let dying = self.dying == Some(direction);
        let id = match block.promised {
            Some(id) => self.promised(id, block, &mut decoded),
            None => self.headers(direction, block, &mut decoded, out),
        };
        let Some(id) = id else { return };
        if (limited || malformed || block.broken)
            && let Some(stream) = self.streams.get(id)
        {
            if limited {
                stream.anomaly(LIMIT_HEAD);
            }
            if malformed {
                stream.anomaly(MALFORMED_BLOCK);
            }
            let promise = block.promised.is_some();
            let side = stream.side(if promise { Direction::ToServer } else { direction });
            if block.broken && !limited && !dying {
                side.loss = loss.or(Some(Loss::Gap));
            }
        }
        self.settle(id, out);
        self.charge(id);
        self.bound(out);
    }

    /// PUSH_PROMISE: a request that the server makes up.
    pub(super) fn promised(
        &mut self,
        id: u32,
        block: &Block,
        decoded: &mut Decoded,
    ) -> Option<u32> {
        let way = self.way(Direction::ToClient);
        way.highest = way.highest.max(id);
        let loss = way.loss.unwrap_or(Loss::Gap);
        if self.streams.contains(id) {
            return None;
        }
        let mut stream = Stream::new(id);
        stream.pushed = true;
        stream.call = decoded.call.map(Call::new);
        let side = stream.side(Direction::ToServer);
        side.unknown = (decoded.unknown && !decoded.limited).then_some(loss);
        side.message = Some(std::mem::take(&mut decoded.message));
        side.head = true;
        side.seen(block.seen);
        side.end();
        self.open(stream);
        Some(id)
    }

    /// HEADERS, whole: a head, an interim response or trailers.
    pub(super) fn headers(
        &mut self,
        direction: Direction,
        block: &Block,
        decoded: &mut Decoded,
        out: &mut Sink<'_>,
    ) -> Option<u32> {
        let id = block.stream;
        if self.streams.get(id).is_none() && !self.may_open(direction, id, out) {
            return None;
        }
        let dying = self.dying == Some(direction);
        let loss = self.way(direction).loss;
        let stream = self.streams.get(id)?;
        let lossy = loss.is_some();
        let status = decoded.message.status;
        let response = direction == Direction::ToClient;
        if response && matches!(status, Some(100..=199)) && !block.end_stream {
            stream.informational += 1;
            if out.wants.bodies && stream.interim.len() < INTERIM {
                let head = std::mem::take(&mut decoded.message);
                let (start, end) = (block.seen.first, block.seen.last);
                stream.interim.push(Message { start, end, ..head });
            }
            return None;
        }
        if stream.side(direction).ended {
            stream.anomaly(STRAY);
            return None;
        }
        let place = stream.place(direction, block.end_stream, lossy, decoded);
        let side = stream.side(direction);
        let unknown = decoded.unknown && !decoded.limited && !decoded.malformed && !dying;
        if unknown {
            side.unknown = Some(loss.unwrap_or(Loss::Gap));
        }
        match place {
            Place::Head => {
                if !decoded.pseudo && !decoded.unknown {
                    stream.anomaly("http2-no-pseudo-header");
                }
                stream.head(direction, block.seen, decoded);
                if let Some(message) = &mut stream.side(direction).message {
                    message.body = out.body(block.seen.packet);
                    message.pauses = out.pauses(block.seen.last);
                }
            }
            Place::Trailers | Place::Unknown => {
                if !side.head && side.loss.is_none() {
                    side.loss = loss;
                }
                let message = side.message.get_or_insert_with(|| Message {
                    head: out.fields(),
                    packet: block.seen.packet,
                    ..Message::default()
                });
                if place == Place::Trailers {
                    message.trailers = std::mem::take(&mut decoded.message.head);
                }
                side.seen(block.seen);
                stream.detect_trailers(direction);
            }
        }
        if block.end_stream && !dying {
            stream.side(direction).end();
        }
        Some(id)
    }
}
