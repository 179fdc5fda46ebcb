//! One direction: where the input stands, and the bytes carried over from
//! chunk to chunk while a head is not whole.

use super::body::{Chunked, Framing, Piece};
use super::head::{
    head_end, may_be_request, may_be_response, request_line, status_line, without_cr,
};
use super::probe::resumes;
use crate::analyze::decode::{Chunk, Content, Direction, End, GapCause};
use crate::time::{Timestamp, earliest, latest};

/// Longest first line that resynchronisation waits for.
const RESYNC_LINE: usize = 8 << 10;

/// What the next byte of a direction belongs to.
#[derive(Debug)]
pub enum State {
    /// A head, or the empty lines before one.
    Head,
    /// Unknown: the next head is looked for.
    Resync,
    /// That many bytes of body.
    Length(u64),
    /// A body in chunked coding.
    Chunked(Box<Chunked>),
    /// A body until the connection closes.
    UntilClose,
    /// A body so framed, or none and the next head or a tunnel, where the
    /// response may answer a HEAD or CONNECT that was not seen.
    Maybe(Framing),
    /// Not known before the response is: kept in `held`.
    Hold,
}

/// Where bytes come from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// See [`Chunk`].
    pub at: Option<Timestamp>,
    /// See [`Chunk`].
    pub packet: u64,
    /// Sequence number of the first of the bytes.
    pub seq: u32,
}

impl Origin {
    /// Where the bytes behind the first so many come from.
    #[inline(always)]
    pub fn after(self, bytes: usize) -> Self {
        Self { seq: self.seq.wrapping_add(bytes as u32), ..self }
    }

    /// Where so many bytes before them, of the same direction, come from.
    pub fn before(self, bytes: usize) -> Self {
        Self { seq: self.seq.wrapping_sub(bytes as u32), ..self }
    }

    /// A chunk that comes from there.
    pub fn chunk(self, content: Content<'_>) -> Chunk<'_> {
        Chunk { at: self.at, packet: self.packet, seq: self.seq, content }
    }
}

/// Times and place of the bytes of a head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    /// Earliest capture time.
    pub start: Option<Timestamp>,
    /// Latest capture time.
    pub end: Option<Timestamp>,
    /// Packet of the first byte.
    pub packet: u64,
    /// Packet of the last byte.
    pub last: u64,
    /// Sequence number of the first byte.
    pub seq: u32,
}

impl Mark {
    /// Of bytes of one chunk.
    pub fn new(from: Origin) -> Self {
        Self { start: from.at, end: from.at, packet: from.packet, last: from.packet, seq: from.seq }
    }
}

/// A chunk that waits.
#[derive(Debug)]
pub struct Held {
    /// Where it comes from.
    pub from: Origin,
    bytes: Vec<u8>,
    gap: Option<(u64, GapCause)>,
}

impl Held {
    /// Keeps a chunk that is not an end.
    pub fn new(from: Origin, content: Content<'_>) -> Self {
        let mut held = Self { from, bytes: Vec::new(), gap: None };
        match content {
            Content::Data(data) => held.bytes = data.to_vec(),
            Content::Gap(len, cause) => held.gap = Some((len, cause)),
            Content::End(_) => {}
        }
        held
    }

    /// What was kept.
    pub fn content(&self) -> Content<'_> {
        self.gap.map_or(Content::Data(&self.bytes), |(len, cause)| Content::Gap(len, cause))
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }
}

/// Chunks that wait, and the memory that they take: chunks may be many and
/// small.
#[derive(Debug, Default)]
pub struct Waiting {
    chunks: Vec<Held>,
    memory: usize,
}

impl Waiting {
    /// Keeps one more.
    pub fn push(&mut self, held: Held) {
        self.memory += held.memory();
        self.chunks.push(held);
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// All of them; none is left.
    pub fn take(&mut self) -> Vec<Held> {
        std::mem::take(self).chunks
    }
}

/// One direction of the connection.
#[derive(Debug)]
pub struct Half {
    /// What comes next.
    pub state: State,
    /// Bytes of a head that is not whole, or of a line while looking for one.
    pub carry: Vec<u8>,
    /// How far `carry` is known not to hold the end of a head.
    scanned: usize,
    /// Of the bytes in `carry`.
    pub mark: Mark,
    /// Joined late, and no byte seen yet.
    pub late: bool,
    /// How it ended.
    pub ended: Option<End>,
    /// Chunks that wait for the response to the last request.
    pub held: Waiting,
}

impl Half {
    /// Of a connection joined late or not.
    pub fn new(late: bool) -> Self {
        Self {
            state: if late { State::Resync } else { State::Head },
            carry: Vec::new(),
            scanned: 0,
            mark: Mark::default(),
            late,
            ended: None,
            held: Waiting::default(),
        }
    }

    /// Whether no message is being read.
    pub fn idle(&self) -> bool {
        matches!(self.state, State::Head) && self.carry.is_empty()
    }

    /// Whether it is as in the beginning of a connection.
    pub fn is_at_rest(&self) -> bool {
        self.idle() && !self.late && self.ended.is_none() && self.held.is_empty()
    }

    /// Whether a body is being read whose end its framing tells.
    pub fn in_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// Passes over body bytes at the beginning of `input`, which is not
    /// empty, and says how many.
    pub fn skip_body(&mut self, input: &[u8], limit: usize) -> usize {
        let (used, over) = match &mut self.state {
            State::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= len as u64;
                (len, *left == 0)
            }
            State::Chunked(chunked) => {
                let (used, piece) = chunked.next(input, limit);
                (used, matches!(piece, Piece::End | Piece::Bad))
            }
            _ => (0, false),
        };
        if over {
            self.state = State::Head;
        }
        used
    }

    /// How many of `len` missing bytes belong to a body that is passed over.
    pub fn skip_body_gap(&mut self, len: u64) -> u64 {
        let (inside, over) = match &mut self.state {
            State::Length(left) => {
                let inside = len.min(*left);
                *left -= inside;
                (inside, *left == 0)
            }
            // Where it ends may not be known; the next decoder looks for its own.
            State::Chunked(chunked) => {
                let inside = chunked.skip(len);
                (if inside { len } else { 0 }, !inside)
            }
            _ => (0, false),
        };
        if over {
            self.state = State::Head;
        }
        inside
    }

    /// Takes in where bytes of a head come from.
    pub fn touch(&mut self, from: Origin) {
        if self.carry.is_empty() {
            self.mark = Mark::new(from);
        } else {
            self.mark.start = earliest(self.mark.start, from.at);
            self.mark.end = latest(self.mark.end, from.at);
            self.mark.last = from.packet;
        }
    }

    /// Keeps the beginning of a head.
    pub fn begin_carry(&mut self, input: &[u8]) {
        self.carry.clear();
        self.scanned = 0;
        self.carry.extend_from_slice(input);
    }

    /// Adds to the beginning of a head. The end of the head in `carry`, once
    /// it is whole.
    pub fn add_carry(&mut self, input: &[u8]) -> Option<usize> {
        self.carry.extend_from_slice(input);
        let end = head_end(&self.carry, self.scanned);
        // An empty line takes at most three bytes to be told.
        self.scanned = self.carry.len().saturating_sub(3);
        end
    }

    /// Forgets what was carried.
    pub fn drop_carry(&mut self) {
        self.carry.clear();
        self.scanned = 0;
    }

    /// Looks for a head at the beginning of `input`, which begins a segment,
    /// and behind each empty line. Leaves `carry` at what may be one. Says
    /// whether it surely is one, with `carry` to be read as the start of a
    /// head, and whether bytes were passed over.
    pub fn resync(&mut self, direction: Direction, input: &[u8], from: Origin) -> (bool, bool) {
        let mut passed = false;
        if !self.carry.is_empty() {
            self.touch(from);
            self.carry.extend_from_slice(input);
            match begins_head(direction, &self.carry) {
                Some(true) => return (true, false),
                None if self.carry.len() < RESYNC_LINE => return (false, false),
                _ => self.drop_carry(),
            }
            passed = true;
        }
        let mut begin = 0;
        loop {
            let rest = input.get(begin..).unwrap_or_default();
            let verdict = begins_head(direction, rest);
            if verdict != Some(false) && !rest.is_empty() {
                self.touch(from.after(begin));
                self.begin_carry(rest);
                return (verdict == Some(true), passed || begin > 0);
            }
            match head_end(input, begin) {
                Some(next) => begin = next,
                None => return (false, true),
            }
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        let body = match &self.state {
            State::Chunked(chunked) => size_of::<Chunked>() + chunked.memory(),
            _ => 0,
        };
        self.carry.capacity() + body + self.held.memory
    }
}

/// Whether bytes begin a head; None where more are needed to tell.
fn begins_head(direction: Direction, bytes: &[u8]) -> Option<bool> {
    let line = memchr::memchr(b'\n', bytes).and_then(|end| bytes.get(..end)).map(without_cr);
    match (direction, line) {
        (Direction::ToServer, Some(line)) => {
            Some(request_line(line).is_some_and(|l| resumes(l.method)))
        }
        (Direction::ToClient, Some(line)) => Some(status_line(line).is_some()),
        (Direction::ToServer, None) if may_be_request(bytes) => None,
        (Direction::ToClient, None) if may_be_response(bytes) => None,
        _ => Some(false),
    }
}
