//! Where a body ends (RFC 9112, sections 6.3 and 7.1), and what becomes of its bytes.

use crate::redact::chunk::Chunk;
use crate::redact::hpack::Context;

/// What follows bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// More of it, once there is more.
    More,
    /// The next message.
    Over,
    /// Trailers.
    Trailers,
    /// A response, whose first bytes were read: there was no body.
    Response,
    /// No such coding.
    Bad,
}

/// Digits of a chunk's size at most: 64 bits.
const SIZE_DIGITS: u8 = 16;

/// What a response begins with.
const VERSION: &[u8] = b"HTTP/1.";

/// A body that is being read.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    place: Place,
    /// Bytes seen of what may be the next response, where the request that was answered is not
    /// known: to a HEAD there is no body, whatever the head says.
    peek: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Length(u64),
    UntilClose,
    /// The digits of a chunk's size.
    Size {
        value: u64,
        digits: u8,
    },
    /// Up to the end of the line with the size.
    Extension {
        value: u64,
    },
    /// In a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
}

impl Body {
    fn new(place: Place) -> Self {
        Self { place, peek: None }
    }

    /// So many bytes.
    pub fn length(bytes: u64) -> Self {
        Self::new(Place::Length(bytes))
    }

    /// In chunked coding.
    pub fn chunked() -> Self {
        Self::new(Place::Size { value: 0, digits: 0 })
    }

    /// Until the connection is closed.
    pub fn until_close() -> Self {
        Self::new(Place::UntilClose)
    }

    /// Of a response to a request that is not known: there may be none.
    pub fn doubtful(self) -> Self {
        Self { peek: Some(0), ..self }
    }

    /// Whether nothing of it is still to come.
    pub fn is_over(&self) -> bool {
        matches!(self.place, Place::Length(0))
    }

    /// Reads a chunk as far as the body goes.
    pub fn data(&mut self, chunk: &mut Chunk<'_>, cx: &mut Context<'_>) -> Step {
        if let Some(seen) = self.peek {
            let same = VERSION.iter().skip(seen).zip(chunk.rest()).take_while(|(a, b)| a == b);
            let more = same.count();
            let seen = seen + more;
            let here = chunk.left();
            if seen == VERSION.len() {
                chunk.pass(more);
                return Step::Response;
            }
            if more == here {
                chunk.pass(more);
                self.peek = Some(seen);
                return Step::More;
            }
            // A body after all. What was taken for a version before counts as some of it.
            self.peek = None;
            let taken = seen - more;
            if taken > 0 && !self.passed(taken as u64) {
                return Step::Bad;
            }
        }
        while chunk.left() > 0 {
            match self.step(chunk, cx) {
                Step::More => {}
                other => return other,
            }
        }
        Step::More
    }

    /// So many bytes were of the body; false where it has no such bytes.
    fn passed(&mut self, bytes: u64) -> bool {
        match &mut self.place {
            Place::Length(left) => {
                *left = left.saturating_sub(bytes);
                true
            }
            Place::UntilClose => true,
            // A size has no letters like those.
            _ => false,
        }
    }

    fn step(&mut self, chunk: &mut Chunk<'_>, cx: &mut Context<'_>) -> Step {
        match &mut self.place {
            Place::Length(left) => {
                content(chunk, left, cx);
                if *left == 0 { Step::Over } else { Step::More }
            }
            Place::UntilClose => {
                let mut left = u64::MAX;
                content(chunk, &mut left, cx);
                Step::More
            }
            Place::Chunk(left) => {
                content(chunk, left, cx);
                if *left == 0 {
                    self.place = Place::ChunkEnd;
                }
                Step::More
            }
            Place::ChunkEnd => match chunk.next() {
                Some(b'\n') => {
                    self.place = Place::Size { value: 0, digits: 0 };
                    Step::More
                }
                Some(b'\r') => Step::More,
                _ => Step::Bad,
            },
            Place::Size { .. } | Place::Extension { .. } => self.size(chunk),
        }
    }

    fn size(&mut self, chunk: &mut Chunk<'_>) -> Step {
        let Some(byte) = chunk.next() else { return Step::More };
        match self.place {
            Place::Size { value, digits } => match char::from(byte).to_digit(16) {
                Some(digit) if digits < SIZE_DIGITS => {
                    let value = value << 4 | u64::from(digit);
                    self.place = Place::Size { value, digits: digits + 1 };
                    Step::More
                }
                None if digits > 0 && byte == b'\n' => self.sized(value),
                None if digits > 0 => {
                    self.place = Place::Extension { value };
                    Step::More
                }
                _ => Step::Bad,
            },
            Place::Extension { value } if byte == b'\n' => self.sized(value),
            _ => Step::More,
        }
    }

    fn sized(&mut self, value: u64) -> Step {
        if value == 0 {
            return Step::Trailers;
        }
        self.place = Place::Chunk(value);
        Step::More
    }

    /// So many bytes are missing; whether all of them were of this body.
    pub fn gap(&mut self, missing: u64) -> bool {
        self.peek = None;
        match &mut self.place {
            Place::Length(left) | Place::Chunk(left) if missing <= *left => {
                *left -= missing;
                if matches!(self.place, Place::Chunk(0)) {
                    self.place = Place::ChunkEnd;
                }
                true
            }
            Place::UntilClose => true,
            _ => false,
        }
    }
}

/// Bytes of a body, of which so many are left.
fn content(chunk: &mut Chunk<'_>, left: &mut u64, cx: &mut Context<'_>) {
    let bytes = usize::try_from(*left).map_or(chunk.left(), |left| left.min(chunk.left()));
    *left -= bytes as u64;
    if cx.rules.headers_only {
        cx.counts.bodies += bytes as u64;
        chunk.drop(bytes);
    } else {
        chunk.pass(bytes);
    }
}
