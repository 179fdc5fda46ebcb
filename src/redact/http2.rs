//! One direction of HTTP/2 (RFC 9113): frames, of which header blocks are read and, if asked,
//! bodies dropped.

use super::chunk::Chunk;
use super::hpack::{Blocks, Context};
use super::rules::Unparsed;
use super::shared::Shared;
use crate::analyze::decode::http2::frame::{
    DEFAULT_MAX_FRAME, END_HEADERS, Expected, HEAD_BYTES, Head, Kind, PADDED, PREFACE, PRIORITY,
};
use crate::analyze::decode::http2::framer::Seen;
use crate::analyze::decode::http2::sync::Sync;

/// Octets of a client's preface.
pub const PREFACE_BYTES: usize = PREFACE.len();

/// What the next octet belongs to.
#[derive(Debug)]
enum State {
    /// A frame's header; so many of its octets were seen.
    Head(usize),
    /// A payload that stays.
    Pass(u64),
    /// The length of the padding of a payload of so many octets.
    Padding { left: u64, head: Head },
    /// Fields before a header block.
    Before { skip: u64, left: u64, padding: u64, head: Head },
    /// A piece of a header block, and padding behind it.
    Block { left: u64, padding: u64, last: bool },
    /// A body that is dropped.
    Drop(u64),
}

/// One direction.
#[derive(Debug)]
pub struct Http2 {
    state: State,
    head: [u8; HEAD_BYTES],
    blocks: Blocks,
    /// Set while it is not known where frames begin.
    search: Option<Box<Sync>>,
    /// Frames were found by search: one that nobody sends ends them.
    searched: bool,
    client: bool,
}

impl Http2 {
    /// From the first frame of a client or server.
    pub fn new(client: bool) -> Self {
        Self {
            state: State::Head(0),
            head: [0; HEAD_BYTES],
            blocks: Blocks::new(false),
            search: None,
            searched: false,
            client,
        }
    }

    /// From anywhere.
    pub fn midway(client: bool) -> Self {
        let mut half = Self::new(client);
        half.lose();
        half
    }

    fn lose(&mut self) {
        self.state = State::Head(0);
        self.blocks = Blocks::new(true);
        self.search = Some(Box::default());
        self.searched = true;
    }

    /// Reads a chunk to its end.
    pub fn data(&mut self, chunk: &mut Chunk<'_>, shared: &mut Shared, cx: &mut Context<'_>) {
        while chunk.left() > 0 {
            if self.search.is_some() {
                self.look(chunk, shared, cx);
            } else {
                self.step(chunk, shared, cx);
            }
        }
    }

    /// Looks for a frame, as the analyzer does. What passes until one is found cannot be read.
    fn look(&mut self, chunk: &mut Chunk<'_>, shared: &mut Shared, cx: &mut Context<'_>) {
        let Some(search) = &mut self.search else { return };
        let highest = shared.stream;
        let is_open = |id: u32| id > 0 && id <= highest;
        let client = Some(self.client);
        let expected = Expected { max_frame: DEFAULT_MAX_FRAME, client, is_open: &is_open };
        let found = search.feed(chunk.rest(), Seen::default(), expected);
        let begun: usize = found.iter().map(|piece| piece.bytes.len()).sum();
        let here = chunk.left();
        unparsed(chunk, here.saturating_sub(begun), cx);
        if found.is_empty() {
            return;
        }
        self.search = None;
        // Frames that began in an earlier chunk: read once more for what they tell.
        let mut earlier: Vec<u8> = found.into_iter().flat_map(|piece| piece.bytes).collect();
        earlier.truncate(begun.saturating_sub(here));
        let mut drops = Vec::new();
        let mut earlier = Chunk::new(&mut earlier, &mut drops);
        let mut counts = super::report::Counts::default();
        let mut cx = Context { rules: cx.rules, counts: &mut counts };
        while earlier.left() > 0 && self.search.is_none() {
            self.step(&mut earlier, shared, &mut cx);
        }
    }

    fn step(&mut self, chunk: &mut Chunk<'_>, shared: &mut Shared, cx: &mut Context<'_>) {
        let here = chunk.left();
        let part = |left: u64| usize::try_from(left).map_or(here, |left| left.min(here));
        match self.state {
            State::Head(seen) => {
                let Some(octet) = chunk.next() else { return };
                if let Some(place) = self.head.get_mut(seen) {
                    *place = octet;
                }
                self.state = State::Head(seen + 1);
                if seen + 1 == HEAD_BYTES {
                    self.begin(shared, cx);
                }
            }
            State::Pass(left) => {
                chunk.pass(part(left));
                self.go_on(left - part(left) as u64, State::Pass);
            }
            State::Drop(left) => {
                let octets = part(left);
                cx.counts.bodies += octets as u64;
                chunk.drop(octets);
                self.go_on(left - octets as u64, State::Drop);
            }
            State::Padding { left, head } => {
                let Some(padding) = chunk.next() else { return };
                self.padded(head, left - 1, u64::from(padding), cx);
            }
            State::Before { skip, left, padding, head } => {
                let octets = part(skip);
                chunk.pass(octets);
                let skip = skip - octets as u64;
                if skip == 0 {
                    self.block(head, left, padding);
                } else {
                    self.state = State::Before { skip, left, padding, head };
                }
            }
            State::Block { left, padding, last } => {
                let octets = part(left);
                self.blocks.read(chunk, octets, cx);
                let left = left - octets as u64;
                if left > 0 {
                    self.state = State::Block { left, padding, last };
                } else {
                    self.block_ended(padding, last);
                }
            }
        }
    }

    fn go_on(&mut self, left: u64, state: fn(u64) -> State) {
        self.state = if left == 0 { State::Head(0) } else { state(left) };
    }

    /// A frame's header is whole.
    fn begin(&mut self, shared: &mut Shared, cx: &Context<'_>) {
        let Some(head) = Head::parse(&self.head) else { return };
        if self.searched && (!head.is_sound() || matches!(head.kind, Kind::Unknown(_))) {
            return self.lose();
        }
        let length = u64::from(head.length);
        if head.kind == Kind::Headers {
            shared.stream = shared.stream.max(head.stream);
        }
        let padded = head.has(PADDED) && length > 0;
        match head.kind {
            Kind::Headers | Kind::PushPromise | Kind::Data if padded => {
                self.state = State::Padding { left: length, head };
            }
            Kind::Headers | Kind::PushPromise | Kind::Continuation | Kind::Data => {
                let padding = 0;
                self.padded(head, length, padding, cx);
            }
            _ => self.go_on(length, State::Pass),
        }
    }

    /// So much of a payload is left, padding included.
    fn padded(&mut self, head: Head, left: u64, padding: u64, cx: &Context<'_>) {
        let padding = padding.min(left);
        let skip = match head.kind {
            Kind::Data if cx.rules.headers_only => return self.go_on(left, State::Drop),
            Kind::Data => return self.go_on(left, State::Pass),
            // The stream that a frame depends on, and its weight (RFC 9113, section 6.2).
            Kind::Headers if head.has(PRIORITY) => 5,
            // The promised stream (section 6.6).
            Kind::PushPromise => 4,
            _ => 0,
        };
        let skip = (left - padding).min(skip);
        let left = left - padding - skip;
        if skip > 0 {
            self.state = State::Before { skip, left, padding, head };
        } else {
            self.block(head, left, padding);
        }
    }

    fn block(&mut self, head: Head, left: u64, padding: u64) {
        if head.kind != Kind::Continuation {
            self.blocks.end();
        }
        let last = head.has(END_HEADERS);
        self.state = State::Block { left, padding, last };
        if left == 0 {
            self.block_ended(padding, last);
        }
    }

    fn block_ended(&mut self, padding: u64, last: bool) {
        if last {
            self.blocks.end();
        }
        self.go_on(padding, State::Pass);
    }

    /// So many octets are missing; whether all were of a body, or of what is not looked at.
    pub fn gap(&mut self, missing: u64) -> bool {
        if let Some(search) = &mut self.search {
            search.reset();
            return false;
        }
        match self.state {
            State::Pass(left) if missing <= left => {
                self.go_on(left - missing, State::Pass);
                true
            }
            State::Drop(left) if missing <= left => {
                self.go_on(left - missing, State::Drop);
                true
            }
            // Frames go on behind it; what is left of the block cannot be understood.
            State::Block { left, padding, last } if missing <= left => {
                self.blocks.lost();
                let left = left - missing;
                self.state = State::Block { left, padding, last };
                if left == 0 {
                    self.block_ended(padding, last);
                }
                false
            }
            _ => {
                self.lose();
                false
            }
        }
    }
}

/// So many bytes that cannot be read.
pub fn unparsed(chunk: &mut Chunk<'_>, bytes: usize, cx: &mut Context<'_>) {
    match cx.rules.unparsed {
        Unparsed::Keep => {
            cx.counts.kept += bytes as u64;
            chunk.pass(bytes);
        }
        Unparsed::Drop => {
            cx.counts.dropped += bytes as u64;
            chunk.drop(bytes);
        }
    }
}
