//! Cuts one direction into frames, whatever the chunks.
//!
//! DATA payload passes through uncopied, piece by piece; other frames are
//! put together whole, up to a bound. Knows nothing of streams or HPACK.

use crate::analyze::decode::http2::frame::{HEAD_BYTES, Head, Kind, PADDED, PREFACE};
use crate::time::{Timestamp, earliest, latest};

/// Bytes kept of a frame that holds no header block: enough for any real
/// SETTINGS, GOAWAY debug data, ALTSVC or ORIGIN.
const CONTROL_BYTES: usize = 4096;

/// When and where bytes were captured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Earliest capture time.
    pub first: Option<Timestamp>,
    /// Latest capture time.
    pub last: Option<Timestamp>,
    /// Number of the packet that held the first byte.
    pub packet: u64,
}

impl Seen {
    /// Bytes of one packet.
    pub fn at(at: Option<Timestamp>, packet: u64) -> Self {
        Self { first: at, last: at, packet }
    }

    /// Counts later bytes in.
    pub fn and(&mut self, more: Self) {
        self.first = earliest(self.first, more.first);
        self.last = latest(self.last, more.last);
    }
}

/// What comes out.
#[derive(Debug)]
pub enum Step<'a> {
    /// A frame other than DATA, with its payload; `cut` where only the
    /// beginning of the payload is there.
    Frame { head: Head, seen: Seen, payload: &'a [u8], cut: bool },
    /// A piece of a DATA frame's content, without padding. The first piece
    /// of a frame and the last may be empty.
    Data { head: Head, seen: Seen, bytes: &'a [u8], first: bool, last: bool },
    /// Content of a DATA frame that was not captured: at most so many bytes
    /// (padding of unknown length among them where `padded`).
    Missing { head: Head, bytes: u64, padded: bool },
    /// The direction does not begin with the preface.
    NoPreface,
    /// A frame header that no sender sends, where frames were only searched for.
    Implausible,
}

#[derive(Debug)]
enum State {
    /// Bytes of the preface that are still to come.
    Preface(usize),
    /// Between or in frame headers.
    Head,
    /// In a payload that is kept.
    Payload { head: Head, left: usize, keep: usize, cut: bool },
    /// In a DATA payload.
    Data { head: Head, left: usize, padding: Option<usize>, first: bool },
}

/// Cuts one direction into frames.
#[derive(Debug)]
pub struct Framer {
    state: State,
    /// Beginning of a header or a payload.
    partial: Vec<u8>,
    /// The payload given out last.
    given: Vec<u8>,
    seen: Seen,
    /// Payload bytes that are kept of a header block's frame.
    block_bytes: usize,
    /// Whether frame boundaries are certain, not found by search.
    pub certain: bool,
}

/// Bytes of a partial buffer that is kept for reuse.
const REUSED_BYTES: usize = 16 << 10;

impl Framer {
    /// From the first byte of a direction.
    pub fn new(preface: bool) -> Self {
        let state = if preface { State::Preface(PREFACE.len()) } else { State::Head };
        Self {
            state,
            partial: Vec::new(),
            given: Vec::new(),
            seen: Seen::default(),
            block_bytes: usize::MAX,
            certain: true,
        }
    }

    /// Sets how much of a header block's frame is kept.
    pub fn bound(&mut self, block_bytes: usize) {
        self.block_bytes = block_bytes;
    }

    /// Starts anew at a frame boundary that was found by search.
    pub fn restart(&mut self) {
        self.state = State::Head;
        self.partial.clear();
        self.certain = false;
    }

    /// When the frame at hand began; None between frames.
    pub fn began(&self) -> Option<Timestamp> {
        let between = matches!(self.state, State::Head | State::Preface(_));
        if between && self.partial.is_empty() { None } else { self.seen.first }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.partial.capacity() + self.given.capacity()
    }

    /// Takes bytes off the front of `input`, captured as `seen` says, up to
    /// the next step. None once all are taken.
    pub fn next<'s, 'b: 's>(&'s mut self, input: &mut &'b [u8], seen: Seen) -> Option<Step<'s>> {
        loop {
            match self.state {
                State::Preface(left) => {
                    if input.is_empty() {
                        return None;
                    }
                    let expected = PREFACE.iter().skip(PREFACE.len() - left);
                    let same = expected.zip(*input).take_while(|(a, b)| a == b).count();
                    // What began like it is not read again: it may have come in pieces.
                    *input = input.get(same..).unwrap_or_default();
                    if same < left && !input.is_empty() {
                        self.state = State::Head;
                        return Some(Step::NoPreface);
                    }
                    self.state = match left - same {
                        0 => State::Head,
                        left => State::Preface(left),
                    };
                }
                State::Head => {
                    let head = self.head(input, seen)?;
                    if !self.certain && (!head.is_sound() || matches!(head.kind, Kind::Unknown(_)))
                    {
                        return Some(Step::Implausible);
                    }
                    self.begin(head);
                }
                State::Payload { .. } => return self.payload(input, seen),
                State::Data { .. } => return self.data(input, seen),
            }
        }
    }

    /// The frame that begins `input`, where all of it is there and nothing
    /// about it has to be looked at closer: its payload is content, or kept
    /// whole. None says nothing, and nothing has happened.
    #[inline]
    pub fn whole<'b>(&mut self, input: &mut &'b [u8], seen: Seen) -> Option<(Head, &'b [u8])> {
        let head = Head::parse(input)?;
        let (payload, rest) = input.get(HEAD_BYTES..)?.split_at_checked(head.length as usize)?;
        let between = matches!(self.state, State::Head) && self.partial.is_empty();
        let fits = match head.kind {
            Kind::Data => !head.has(PADDED),
            kind if kind.has_block() => payload.len() <= self.block_bytes,
            _ => payload.len() <= CONTROL_BYTES,
        };
        if !(between && fits && self.certain && self.given.capacity() <= REUSED_BYTES) {
            return None;
        }
        self.seen = seen;
        *input = rest;
        Some((head, payload))
    }

    fn head(&mut self, input: &mut &[u8], seen: Seen) -> Option<Head> {
        if self.partial.is_empty() {
            if input.is_empty() {
                return None;
            }
            self.seen = seen;
            if let Some(head) = Head::parse(input) {
                *input = input.get(HEAD_BYTES..).unwrap_or_default();
                return Some(head);
            }
        }
        let (taken, rest) = input.split_at((HEAD_BYTES - self.partial.len()).min(input.len()));
        if !taken.is_empty() {
            self.seen.and(seen);
        }
        self.partial.extend_from_slice(taken);
        *input = rest;
        let head = Head::parse(&self.partial)?;
        self.partial.clear();
        Some(head)
    }

    fn begin(&mut self, head: Head) {
        let left = head.length as usize;
        if self.given.capacity() > REUSED_BYTES {
            self.given = Vec::new();
        }
        self.state = if head.kind == Kind::Data {
            let padding = (!head.has(PADDED)).then_some(0);
            State::Data { head, left, padding, first: true }
        } else {
            let bound = if head.kind.has_block() { self.block_bytes } else { CONTROL_BYTES };
            State::Payload { head, left, keep: left.min(bound), cut: left > bound }
        };
    }

    fn payload<'s, 'b: 's>(&'s mut self, input: &mut &'b [u8], seen: Seen) -> Option<Step<'s>> {
        let State::Payload { head, left, keep, cut } = self.state else { return None };
        let (taken, rest) = input.split_at(left.min(input.len()));
        *input = rest;
        if !taken.is_empty() {
            self.seen.and(seen);
        }
        let kept = taken.get(..keep.min(taken.len())).unwrap_or_default();
        if taken.len() < left {
            self.partial.extend_from_slice(kept);
            let (left, keep) = (left - taken.len(), keep - kept.len());
            self.state = State::Payload { head, left, keep, cut };
            return None;
        }
        self.state = State::Head;
        let seen = self.seen;
        let payload = if self.partial.is_empty() {
            kept
        } else {
            self.partial.extend_from_slice(kept);
            // `partial` is empty again for the next header.
            self.given.clear();
            std::mem::swap(&mut self.given, &mut self.partial);
            &self.given
        };
        Some(Step::Frame { head, seen, payload, cut })
    }

    fn data<'s, 'b: 's>(&'s mut self, input: &mut &'b [u8], seen: Seen) -> Option<Step<'s>> {
        let State::Data { head, mut left, mut padding, first } = self.state else { return None };
        if left > 0 && input.is_empty() {
            return None;
        }
        if padding.is_none() && left > 0 {
            let (&byte, rest) = input.split_first()?;
            *input = rest;
            self.seen.and(seen);
            left -= 1;
            padding = Some(usize::from(byte));
        }
        let content = left.saturating_sub(padding.unwrap_or(0));
        let (bytes, rest) = input.split_at(content.min(input.len()));
        left -= bytes.len();
        let mut rest = rest;
        if bytes.len() == content {
            let (skipped, after) = rest.split_at(left.min(rest.len()));
            left -= skipped.len();
            rest = after;
        }
        if input.len() > rest.len() {
            self.seen.and(seen);
        }
        *input = rest;
        let last = left == 0;
        self.state =
            if last { State::Head } else { State::Data { head, left, padding, first: false } };
        let seen = Seen { last: latest(seen.last, self.seen.last), ..self.seen };
        Some(Step::Data { head, seen, bytes, first, last })
    }

    /// Passes over `missing` bytes that were not captured: None where frame
    /// boundaries are lost, else the step that the gap makes, if any. Then
    /// [`Framer::next`] with no input gives the end of a frame that the gap
    /// filled up.
    pub fn gap(&mut self, missing: u64) -> Option<Option<Step<'static>>> {
        let missing = usize::try_from(missing).ok()?;
        match &mut self.state {
            State::Payload { left, keep, cut, .. } if missing <= *left => {
                *left -= missing;
                *keep = 0;
                *cut = true;
                Some(None)
            }
            State::Data { head, left, padding, .. } if missing <= *left => {
                let content = left.saturating_sub(padding.unwrap_or(0)).min(missing);
                let padded = padding.is_none();
                // The byte that says how much is padding is gone.
                padding.get_or_insert(0);
                *left -= missing;
                Some(Some(Step::Missing { head: *head, bytes: content as u64, padded }))
            }
            _ => None,
        }
    }

    /// Gives up the frame at hand, whose rest is not to come: what is there
    /// of a header block.
    pub fn abandon(&mut self) -> Option<Step<'_>> {
        let state = std::mem::replace(&mut self.state, State::Head);
        self.given.clear();
        std::mem::swap(&mut self.given, &mut self.partial);
        match state {
            State::Payload { head, .. } if head.kind.has_block() => {
                Some(Step::Frame { head, seen: self.seen, payload: &self.given, cut: true })
            }
            _ => None,
        }
    }
}
