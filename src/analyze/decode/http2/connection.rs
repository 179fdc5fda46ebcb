//! The streams of one connection: what frames mean to them.
//!
//! Knows nothing of chunks or frame boundaries. Everything that was lost is
//! kept per direction of each stream, so that what was not touched by a loss
//! stays certain.

use std::collections::{HashMap, HashSet, VecDeque};

use foldhash::fast::RandomState;

use crate::analyze::decode::grpc::Call;
use crate::analyze::decode::http2::block::{self, Block, Decoded};
use crate::analyze::decode::http2::frame::{
    self, ACK, DEFAULT_MAX_FRAME, END_HEADERS, END_STREAM, Head, Kind, SETTINGS_MAX_FRAME_SIZE,
};
use crate::analyze::decode::http2::framer::{Seen, Step};
use crate::analyze::decode::http2::hpack::Decoder;
use crate::analyze::decode::http2::log;
use crate::analyze::decode::http2::stream::{LIMIT_HEAD, Loss, Reset, Stream, Why};
use crate::analyze::decode::{Direction, End, Sink};
use crate::analyze::transaction::Message;
use crate::time::Timestamp;

/// Ids of streams given out before both sides ended, whose late frames must
/// not look like new streams. As many as may be open at once by default.
const CLOSED: usize = 4096;
/// Frames of a stream that was never opened or is over.
const STRAY: &str = "http2-stray-frame";
/// A frame that RFC 9113 section 6 calls an error.
const MALFORMED_FRAME: &str = "http2-malformed-frame";
/// A header block that HPACK cannot decode.
const MALFORMED_BLOCK: &str = "http2-malformed-header-block";
/// A header block that other frames interrupt.
const INTERRUPTED_BLOCK: &str = "http2-interrupted-header-block";
const LIMIT_PENDING: &str = "limit-pending-per-flow";
const LIMIT_STATE: &str = "limit-state-bytes-per-flow";

/// One direction of the connection.
#[derive(Debug)]
struct Way {
    hpack: Decoder,
    block: Option<Block>,
    /// Set where frames of it were or may have been missed.
    loss: Option<Loss>,
    /// Whether any byte of it came.
    spoke: bool,
    /// Largest stream id opened by it.
    highest: u32,
    /// Largest frame that its sender may send.
    max_frame: u32,
    goaway: Option<(u32, Reset)>,
    end: Option<End>,
}

impl Way {
    fn new(late: bool) -> Self {
        Self {
            hpack: Decoder::new(late),
            block: None,
            loss: late.then_some(Loss::Late),
            spoke: false,
            highest: 0,
            max_frame: DEFAULT_MAX_FRAME,
            goaway: None,
            end: None,
        }
    }
}

/// The streams of one connection.
pub struct Connection {
    ways: [Way; 2],
    streams: HashMap<u32, Stream, RandomState>,
    /// Ids in the order of opening, some of them given out by now.
    order: VecDeque<u32>,
    closed: HashSet<u32, RandomState>,
    closed_order: VecDeque<u32>,
    /// Bytes held by `streams`.
    charged: usize,
    /// The direction whose last frame is cut short by its end.
    dying: Option<Direction>,
    /// Whether request bytes are held back by the search for a frame.
    pub held_requests: bool,
}

impl Connection {
    /// A connection whose directions were, or were not, joined late.
    pub fn new(late: [bool; 2]) -> Self {
        Self {
            ways: late.map(Way::new),
            streams: HashMap::default(),
            order: VecDeque::new(),
            closed: HashSet::default(),
            closed_order: VecDeque::new(),
            charged: 0,
            dying: None,
            held_requests: false,
        }
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        let [to_server, to_client] = &mut self.ways;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    /// Whether a stream is open, and the largest frame to expect.
    pub fn is_open(&self, id: u32) -> bool {
        self.streams.contains_key(&id)
    }

    /// Largest payload that a direction's sender may send, as far as known.
    pub fn max_frame(&self, direction: Direction) -> u32 {
        self.ways.get(direction.index()).map_or(DEFAULT_MAX_FRAME, |way| way.max_frame)
    }

    /// The direction was not joined late after all.
    pub fn from_start(&mut self, direction: Direction) {
        *self.way(direction) = Way::new(false);
    }

    /// Bytes of the direction came.
    pub fn spoke(&mut self, direction: Direction) {
        self.way(direction).spoke = true;
    }

    /// Start of the oldest open stream or header block.
    pub fn oldest_open(&self) -> Option<Timestamp> {
        let blocks = self.ways.iter().filter_map(|way| way.block.as_ref()?.seen.first);
        self.streams.values().filter_map(Stream::start).chain(blocks).min()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        let ways = self.ways.iter().map(|way| {
            way.hpack.memory() + way.block.as_ref().map_or(0, |block| block.bytes.capacity())
        });
        let ids = size_of::<u32>() * (self.order.capacity() + 2 * self.closed_order.capacity());
        self.charged + ways.sum::<usize>() + ids
    }

    /// A request that HTTP/1.1 upgraded becomes stream 1.
    pub fn upgraded(&mut self, request: Message) {
        let mut stream = Stream::new(1);
        let side = stream.side(Direction::ToServer);
        side.last = request.end;
        side.head = true;
        side.ended = true;
        stream.call = Call::detect(&request);
        stream.side(Direction::ToServer).message = Some(request);
        self.way(Direction::ToServer).highest = 1;
        self.open(stream);
    }

    fn open(&mut self, stream: Stream) {
        self.order.push_back(stream.id);
        self.streams.insert(stream.id, stream);
        if self.order.len() > 2 * self.streams.len() + 64 {
            let streams = &self.streams;
            self.order.retain(|id| streams.contains_key(id));
        }
    }

    /// Takes what the framer cut out.
    pub fn step(&mut self, direction: Direction, step: Step<'_>, out: &mut Sink<'_>) {
        match step {
            Step::Data { head, seen, bytes, first, last } => {
                if first {
                    self.interrupted(direction, out);
                    out.event(direction, seen.last, || log::data(&head, bytes));
                }
                self.data(direction, &head, seen, (bytes, last), out);
            }
            Step::Frame { head, seen, payload, cut } => {
                self.frame(direction, &head, (seen, payload, cut), out);
            }
            Step::Missing { head, bytes, padded } => {
                self.missing(direction, &head, (bytes, padded), out);
            }
            Step::NoPreface => out.anomaly("http2-no-preface"),
            Step::Implausible => {}
        }
    }

    fn frame(
        &mut self,
        direction: Direction,
        head: &Head,
        (seen, payload, cut): (Seen, &[u8], bool),
        out: &mut Sink<'_>,
    ) {
        if head.kind != Kind::Continuation {
            self.interrupted(direction, out);
        }
        out.event(direction, seen.last, || log::frame(head, payload));
        if !head.is_sound() {
            out.anomaly(MALFORMED_FRAME);
            if head.kind.has_block() {
                self.way(direction).hpack.invalidate();
            }
            return;
        }
        let code = frame::number(payload).filter(|_| !cut);
        match head.kind {
            Kind::Headers | Kind::PushPromise | Kind::Continuation => {
                self.block(direction, head, (seen, payload, cut), out);
            }
            Kind::RstStream => {
                let reset = Reset { by: direction, code, at: seen.last };
                self.give_out(head.stream, Why::Reset(reset), out);
            }
            Kind::Settings if !head.has(ACK) && !cut => {
                for (id, value) in frame::settings(payload) {
                    if id == SETTINGS_MAX_FRAME_SIZE {
                        let way = self.way(direction.opposite());
                        way.max_frame = way.max_frame.max(value & 0x00ff_ffff);
                    }
                }
            }
            Kind::GoAway => self.goaway(direction, payload, seen, out),
            Kind::AltSvc => out.anomaly("http2-altsvc"),
            Kind::Origin => out.anomaly("http2-origin"),
            Kind::PriorityUpdate => out.anomaly("http2-priority-update"),
            Kind::Unknown(_) => out.anomaly("http2-unknown-frame"),
            _ => {}
        }
    }

    /// HEADERS, PUSH_PROMISE or CONTINUATION.
    fn block(
        &mut self,
        direction: Direction,
        head: &Head,
        (seen, payload, cut): (Seen, &[u8], bool),
        out: &mut Sink<'_>,
    ) {
        let limit = out.limits.head_bytes;
        let ends = head.has(END_HEADERS);
        if head.kind == Kind::Continuation {
            let way = self.way(direction);
            match &mut way.block {
                Some(block) if block.stream == head.stream => {
                    block.seen.and(seen);
                    if !block.broken {
                        let room = limit.saturating_sub(block.bytes.len()).min(payload.len());
                        block.bytes.extend_from_slice(payload.get(..room).unwrap_or_default());
                        block.broken = cut || room < payload.len();
                    }
                    if ends && let Some(block) = way.block.take() {
                        self.complete(direction, block, out);
                    }
                }
                _ => {
                    // What it went on from was lost, or is not there.
                    way.hpack.invalidate();
                    if way.loss.is_none() {
                        out.anomaly(MALFORMED_FRAME);
                    }
                }
            }
            return;
        }
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

    /// A block that frames other than CONTINUATION cut off.
    fn interrupted(&mut self, direction: Direction, out: &mut Sink<'_>) {
        if let Some(mut block) = self.way(direction).block.take() {
            out.anomaly(INTERRUPTED_BLOCK);
            block.broken = true;
            self.complete(direction, block, out);
        }
    }

    fn complete(&mut self, direction: Direction, mut block: Block, out: &mut Sink<'_>) {
        let bytes = std::mem::take(&mut block.bytes);
        self.decoded(direction, &block, &bytes, out);
    }

    fn decoded(&mut self, direction: Direction, block: &Block, bytes: &[u8], out: &mut Sink<'_>) {
        let way = self.way(direction);
        let seen = block.seen;
        let decoded = block::decode(&mut way.hpack, bytes, block.broken, (direction, seen), out);
        let loss = way.loss;
        let limited = decoded.limited || (block.broken && bytes.len() >= out.limits.head_bytes);
        let malformed = decoded.malformed;
        let dying = self.dying == Some(direction);
        let id = match block.promised {
            Some(id) => self.promised(id, block, decoded),
            None => self.headers(direction, block, decoded, out),
        };
        let Some(id) = id else { return };
        if let Some(stream) = self.streams.get_mut(&id) {
            if limited {
                stream.anomaly(LIMIT_HEAD);
            }
            if malformed {
                stream.anomaly(MALFORMED_BLOCK);
            }
            let side =
                stream.side(if block.promised.is_some() { Direction::ToServer } else { direction });
            if block.broken && !limited && !dying {
                side.loss = loss.or(Some(Loss::Gap));
            }
        }
        self.charge(id);
        self.settle(id, out);
        self.bound(out);
    }

    /// PUSH_PROMISE: a request that the server makes up.
    fn promised(&mut self, id: u32, block: &Block, decoded: Decoded) -> Option<u32> {
        let way = self.way(Direction::ToClient);
        way.highest = way.highest.max(id);
        let loss = way.loss.unwrap_or(Loss::Gap);
        if self.streams.contains_key(&id) {
            return None;
        }
        let mut stream = Stream::new(id);
        stream.pushed = true;
        stream.call = Call::detect(&decoded.message);
        let side = stream.side(Direction::ToServer);
        side.unknown = (decoded.unknown && !decoded.limited).then_some(loss);
        side.message = Some(decoded.message);
        side.head = true;
        side.seen(block.seen);
        side.end();
        self.open(stream);
        Some(id)
    }

    /// HEADERS, whole: a head, an interim response or trailers.
    fn headers(
        &mut self,
        direction: Direction,
        block: &Block,
        decoded: Decoded,
        out: &mut Sink<'_>,
    ) -> Option<u32> {
        let id = block.stream;
        let fresh = !self.streams.contains_key(&id);
        if fresh && !self.may_open(direction, id, out) {
            return None;
        }
        let dying = self.dying == Some(direction);
        let loss = self.way(direction).loss;
        let stream = self.streams.get_mut(&id)?;
        let lossy = loss.is_some();
        let status = decoded.message.status;
        let response = direction == Direction::ToClient;
        if response && matches!(status, Some(100..=199)) && !block.end_stream {
            stream.informational += 1;
            return None;
        }
        let side = stream.side(direction);
        let known_status = side.message.as_ref().is_some_and(|message| message.status.is_some());
        let is_head = if side.head {
            // An interim response whose status is not known comes before.
            response && status.is_some() && !known_status
        } else {
            let begun = side.message.is_some();
            decoded.pseudo || !lossy || (decoded.unknown && !begun)
        };
        let unknown = decoded.unknown && !decoded.limited && !decoded.malformed && !dying;
        if unknown {
            side.unknown = Some(loss.unwrap_or(Loss::Gap));
        }
        if is_head {
            if !decoded.pseudo && !decoded.unknown {
                stream.anomaly("http2-no-pseudo-header");
            }
            stream.head(direction, block.seen, decoded.message);
        } else {
            let side = stream.side(direction);
            if !side.head && side.loss.is_none() {
                side.loss = loss;
            }
            let message = side.message.get_or_insert_with(|| Message {
                head: out.fields(),
                packet: block.seen.packet,
                ..Message::default()
            });
            message.trailers = decoded.message.head;
            side.seen(block.seen);
            stream.detect_trailers(direction);
        }
        if block.end_stream && !dying {
            stream.side(direction).end();
        }
        Some(id)
    }

    /// Opens the stream of a HEADERS or DATA frame, where it is not a late
    /// frame of one that is over.
    fn may_open(&mut self, direction: Direction, id: u32, out: &mut Sink<'_>) -> bool {
        if self.closed.contains(&id) {
            return false;
        }
        let client_opens = id % 2 == 1;
        let silent_client = !self.ways[0].spoke;
        let lossy = [self.ways[0].loss.is_some() || silent_client, self.ways[1].loss.is_some()];
        let opener = if client_opens { Direction::ToServer } else { Direction::ToClient };
        let new = direction == opener && client_opens && id > self.way(opener).highest;
        // A stream whose opening was missed; both directions may know of it.
        let missed = lossy[opener.index()] || (lossy[direction.index()] && !client_opens);
        if !new && !missed {
            out.anomaly(STRAY);
            return false;
        }
        let way = self.way(opener);
        way.highest = way.highest.max(id);
        let loss = way.loss;
        let mut stream = Stream::new(id);
        if direction != opener || !client_opens {
            // The request was not seen, or will be.
            stream.side(Direction::ToServer).loss = loss;
            stream.pushed = !client_opens;
        }
        self.open(stream);
        true
    }

    fn data(
        &mut self,
        direction: Direction,
        head: &Head,
        seen: Seen,
        (bytes, last): (&[u8], bool),
        out: &mut Sink<'_>,
    ) {
        let id = head.stream;
        if id == 0 {
            out.anomaly(MALFORMED_FRAME);
            return;
        }
        if !self.touch(direction, id, out) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let side = stream.side(direction);
        side.seen(seen);
        if let Some(message) = &mut side.message {
            message.body_bytes += bytes.len() as u64;
        }
        let ends = last && head.has(END_STREAM);
        if let Some(call) = &mut stream.call {
            call.data(direction, bytes);
        }
        if ends {
            stream.side(direction).end();
            self.settle(id, out);
        }
    }

    /// DATA that was not captured, in a frame that was.
    fn missing(
        &mut self,
        direction: Direction,
        head: &Head,
        (bytes, padded): (u64, bool),
        out: &mut Sink<'_>,
    ) {
        if head.stream == 0 || !self.touch(direction, head.stream, out) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&head.stream) else { return };
        if padded {
            stream.anomaly("http2-padding-unknown");
        }
        if let Some(call) = &mut stream.call {
            call.gap(direction, bytes);
        }
        let side = stream.side(direction);
        side.loss = side.loss.or(Some(Loss::Gap));
        if let Some(message) = &mut side.message {
            message.body_bytes += bytes;
        }
    }

    /// Makes sure that there is a message for DATA; false where the frame is
    /// to be passed over.
    fn touch(&mut self, direction: Direction, id: u32, out: &mut Sink<'_>) -> bool {
        if !self.streams.contains_key(&id) && !self.may_open(direction, id, out) {
            return false;
        }
        let loss = self.way(direction).loss;
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        let side = stream.side(direction);
        if side.ended {
            stream.anomaly(STRAY);
            return false;
        }
        if side.message.is_none() {
            // The head was missed.
            side.message = Some(Message { head: out.fields(), ..Message::default() });
            match loss {
                Some(_) => side.loss = loss,
                None => stream.anomaly("http2-data-before-headers"),
            }
        }
        true
    }

    fn goaway(&mut self, direction: Direction, payload: &[u8], seen: Seen, out: &mut Sink<'_>) {
        let Some((last, code)) = frame::goaway(payload) else { return };
        let reset = Reset { by: direction, code: Some(code), at: seen.last };
        self.way(direction).goaway = Some((last, reset));
        // Streams that the other side opened above `last` were not processed.
        let parity = u32::from(direction == Direction::ToClient);
        let mut above: Vec<u32> = self.streams.keys().copied().filter(|id| *id > last).collect();
        above.retain(|id| id % 2 == parity);
        above.sort_unstable();
        for id in above {
            self.give_out(id, Why::GoAway(reset), out);
        }
    }

    /// Gives a stream out where both sides are done.
    fn settle(&mut self, id: u32, out: &mut Sink<'_>) {
        let held = self.held_requests;
        let Some(stream) = self.streams.get(&id) else { return };
        if stream.is_settled(held) {
            return self.give_out(id, Why::Settled, out);
        }
        // Opened in ignorance of a GOAWAY that excludes it.
        if stream.sides[0].ended
            && id % 2 == 1
            && let Some((last, reset)) = self.way(Direction::ToClient).goaway
            && id > last
        {
            self.give_out(id, Why::GoAway(reset), out);
        }
    }

    fn give_out(&mut self, id: u32, why: Why, out: &mut Sink<'_>) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.charged = self.charged.saturating_sub(stream.charged);
        if !(stream.sides[0].ended && stream.sides[1].ended) && self.closed.insert(id) {
            self.closed_order.push_back(id);
            if self.closed_order.len() > CLOSED
                && let Some(oldest) = self.closed_order.pop_front()
            {
                self.closed.remove(&oldest);
            }
        }
        let silent = [!self.ways[0].spoke, !self.ways[1].spoke];
        out.transaction(stream.finish(why, silent));
    }

    fn charge(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            let memory = stream.memory();
            self.charged = (self.charged + memory).saturating_sub(stream.charged);
            stream.charged = memory;
        }
    }

    /// Gives the oldest streams up where there are too many.
    fn bound(&mut self, out: &mut Sink<'_>) {
        loop {
            let name = if self.streams.len() > out.limits.pending_per_flow {
                LIMIT_PENDING
            } else if self.charged > out.limits.state_bytes_per_flow {
                LIMIT_STATE
            } else {
                return;
            };
            let Some(id) = self.order.pop_front() else { return };
            self.give_out(id, Why::Limit(name), out);
        }
    }

    /// Frame boundaries of a direction are lost: any stream may have lost
    /// bytes, and the header table changed.
    pub fn lost(&mut self, direction: Direction, out: &mut Sink<'_>) {
        if let Some(mut block) = self.way(direction).block.take() {
            block.broken = true;
            self.complete(direction, block, out);
        }
        let way = self.way(direction);
        way.hpack.invalidate();
        way.loss = Some(Loss::Gap);
        let mut settled = Vec::new();
        for stream in self.streams.values_mut() {
            if !stream.side(direction).ended {
                stream.side(direction).lost();
                if let Some(call) = &mut stream.call {
                    call.lost(direction);
                }
                if stream.is_settled(self.held_requests) {
                    settled.push(stream.id);
                }
            }
        }
        settled.sort_unstable();
        for id in settled {
            self.give_out(id, Why::Settled, out);
        }
    }

    /// A direction ended, in the middle of the frame `cut`; after the second
    /// has ended, so has everything.
    pub fn end(
        &mut self,
        direction: Direction,
        end: End,
        cut: Option<Step<'_>>,
        out: &mut Sink<'_>,
    ) {
        self.dying = Some(direction);
        if let Some(step) = cut {
            self.step(direction, step, out);
        }
        if let Some(mut block) = self.way(direction).block.take() {
            block.broken = true;
            self.complete(direction, block, out);
        }
        self.dying = None;
        self.way(direction).end = Some(end);
        let ends = [self.ways[0].end, self.ways[1].end];
        if ends.contains(&None) {
            return;
        }
        let goaway = self.ways[1].goaway.or(self.ways[0].goaway).map(|(_, reset)| reset);
        while let Some(id) = self.order.pop_front() {
            self.give_out(id, Why::End(ends, goaway), out);
        }
    }
}
