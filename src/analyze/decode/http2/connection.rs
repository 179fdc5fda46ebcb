//! The streams of one connection: what frames mean to them.
//!
//! Knows nothing of chunks or frame boundaries. Everything that was lost is
//! kept per direction of each stream, so that what was not touched by a loss
//! stays certain.

use std::collections::{HashSet, VecDeque};

use foldhash::fast::RandomState;

use crate::analyze::decode::grpc::Call;
use crate::analyze::decode::http2::block::Block;
use crate::analyze::decode::http2::frame::{
    self, ACK, DEFAULT_MAX_FRAME, END_STREAM, Head, Kind, SETTINGS_MAX_FRAME_SIZE,
};
use crate::analyze::decode::http2::framer::{Seen, Step};
use crate::analyze::decode::http2::hpack::Decoder;
use crate::analyze::decode::http2::log;
use crate::analyze::decode::http2::stream::{Loss, Reset, Stream, Why};
use crate::analyze::decode::http2::streams::Streams;
use crate::analyze::decode::{Direction, End, Sink};
use crate::analyze::transaction::Message;
use crate::time::Timestamp;

/// Ids of streams given out before both sides ended, whose late frames must
/// not look like new streams. As many as may be open at once by default.
pub(super) const CLOSED: usize = 4096;
/// Frames of a stream that was never opened or is over.
pub(super) const STRAY: &str = "http2-stray-frame";
/// A frame that RFC 9113 section 6 calls an error.
pub(super) const MALFORMED_FRAME: &str = "http2-malformed-frame";

/// One direction of the connection.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) hpack: Decoder,
    pub(super) block: Option<Block>,
    /// Set where frames of it were or may have been missed.
    pub(super) loss: Option<Loss>,
    /// Whether any byte of it came.
    pub(super) spoke: bool,
    /// Largest stream id opened by it.
    pub(super) highest: u32,
    /// Largest frame that its sender may send.
    pub(super) max_frame: u32,
    pub(super) goaway: Option<(u32, Reset)>,
    pub(super) end: Option<End>,
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
    pub(super) ways: [Way; 2],
    pub(super) streams: Streams,
    pub(super) closed: HashSet<u32, RandomState>,
    pub(super) closed_order: VecDeque<u32>,
    /// Bytes held by `streams`.
    pub(super) charged: usize,
    /// The direction whose last frame is cut short by its end.
    pub(super) dying: Option<Direction>,
    /// Directions in which a frame is searched for: what comes meanwhile is
    /// not seen.
    pub(super) searching: [bool; 2],
    /// Whether request bytes are held back by the search for a frame.
    pub held_requests: bool,
}

impl Connection {
    /// A connection whose directions were, or were not, joined late.
    pub fn new(late: [bool; 2]) -> Self {
        Self {
            ways: late.map(Way::new),
            streams: Streams::default(),
            closed: HashSet::default(),
            closed_order: VecDeque::new(),
            charged: 0,
            dying: None,
            searching: late,
            held_requests: false,
        }
    }

    pub(super) fn way(&mut self, direction: Direction) -> &mut Way {
        let [to_server, to_client] = &mut self.ways;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    /// Whether a stream is open, and the largest frame to expect.
    pub fn is_open(&self, id: u32) -> bool {
        self.streams.contains(id)
    }

    /// Largest payload that a direction's sender may send, as far as known.
    pub fn max_frame(&self, direction: Direction) -> u32 {
        self.ways.get(direction.index()).map_or(DEFAULT_MAX_FRAME, |way| way.max_frame)
    }

    /// The direction was not joined late after all.
    pub fn not_late(&mut self, direction: Direction) {
        *self.way(direction) = Way::new(false);
    }

    /// Frames of the direction are searched for, or were found.
    pub fn search(&mut self, direction: Direction, searching: bool) {
        if let Some(known) = self.searching.get_mut(direction.index()) {
            *known = searching;
        }
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
        let closed = size_of::<u32>() * 2 * self.closed_order.capacity();
        self.charged + self.streams.memory() + ways.sum::<usize>() + closed
    }

    /// A request that HTTP/1.1 upgraded becomes stream 1.
    pub fn upgraded(&mut self, request: Message, loss: Option<Loss>) {
        let mut stream = Stream::new(1);
        let side = stream.side(Direction::ToServer);
        side.last = request.end;
        side.loss = loss;
        side.head = true;
        side.ended = true;
        stream.call = Call::detect(&request);
        stream.side(Direction::ToServer).message = Some(request);
        self.way(Direction::ToServer).highest = 1;
        self.open(stream);
    }

    pub(super) fn open(&mut self, mut stream: Stream) {
        for (side, (searching, way)) in
            stream.sides.iter_mut().zip(self.searching.iter().zip(&self.ways))
        {
            if *searching && !side.ended {
                side.loss = way.loss;
                side.may_have_ended = true;
            }
        }
        self.streams.open(stream);
    }

    /// Takes a frame that came in one piece, without padding where it is of DATA.
    #[inline]
    pub fn whole(
        &mut self,
        direction: Direction,
        head: &Head,
        payload: &[u8],
        seen: Seen,
        out: &mut Sink<'_>,
    ) {
        if head.kind != Kind::Data {
            return match self.whole_block(direction, head, payload, seen, out) {
                true => {}
                false => self.frame(direction, head, (seen, payload, false), out),
            };
        }
        self.interrupted(direction, out);
        out.event(direction, seen.last, || log::data(head, payload));
        self.data(direction, head, seen, (payload, true), out);
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

    pub(super) fn frame(
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

    /// Opens the stream of a HEADERS or DATA frame, where it is not a late
    /// frame of one that is over.
    pub(super) fn may_open(&mut self, direction: Direction, id: u32, out: &mut Sink<'_>) -> bool {
        if self.closed.contains(&id) {
            return false;
        }
        let client_opens = id % 2 == 1;
        if !client_opens && direction == Direction::ToServer {
            // No client sends a message on a stream of the server.
            out.anomaly(STRAY);
            return false;
        }
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

    pub(super) fn data(
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
        let Some(stream) = self.streams.get(id) else { return };
        let side = stream.side(direction);
        side.seen(seen);
        if let Some(message) = &mut side.message {
            message.body_bytes += bytes.len() as u64;
            if let Some(body) = &mut message.body {
                body.data(bytes, seen.last);
            }
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
    pub(super) fn missing(
        &mut self,
        direction: Direction,
        head: &Head,
        (bytes, padded): (u64, bool),
        out: &mut Sink<'_>,
    ) {
        if head.stream == 0 || !self.touch(direction, head.stream, out) {
            return;
        }
        let Some(stream) = self.streams.get(head.stream) else { return };
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
            if let Some(body) = &mut message.body {
                // Of padding nobody knows how much it was.
                body.gap((!padded).then_some(bytes));
            }
        }
    }

    /// Makes sure that there is a message for DATA; false where the frame is
    /// to be passed over.
    pub(super) fn touch(&mut self, direction: Direction, id: u32, out: &mut Sink<'_>) -> bool {
        if self.streams.get(id).is_none() && !self.may_open(direction, id, out) {
            return false;
        }
        let loss = self.way(direction).loss;
        let Some(stream) = self.streams.get(id) else { return false };
        let side = stream.side(direction);
        if side.ended {
            stream.anomaly(STRAY);
            return false;
        }
        if side.message.is_none() {
            // The head was missed, and maybe DATA.
            let (head, mut body) = (out.fields(), out.body(0));
            if let (Some(body), Some(_)) = (&mut body, loss) {
                body.gap(None);
            }
            side.message = Some(Message { head, body, ..Message::default() });
            match loss {
                Some(_) => side.loss = loss,
                None => stream.anomaly("http2-data-before-headers"),
            }
            if let Some(call) = &mut stream.call {
                call.lost(direction);
            }
        }
        true
    }
}
