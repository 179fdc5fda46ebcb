//! One direction of HTTP/1 (RFC 9112), read byte by byte, and what is not known to be
//! anything else.
//!
//! [`head`] reads a message's head and trailers, [`body`] finds where its body ends, [`stray`]
//! goes through what cannot be read. Framing rules are the analyzer's own.

mod body;
mod head;
mod stray;

use body::Body;
use head::Head;
use stray::Stray;

use super::chunk::Chunk;
use super::hpack::Context;
use super::shared::Shared;
use super::start::{START_BYTES, Start, start};

/// What the next byte belongs to.
#[derive(Debug)]
enum State {
    /// A message, or the first bytes of a direction; those seen of it, and whether they are
    /// right behind a gap.
    Start(Vec<u8>, bool),
    /// A head, or trailers.
    Head,
    /// A body.
    Body(Body),
    /// Nothing that is understood.
    Stray(Stray),
}

/// At the beginning of a message.
const NEXT: State = State::Start(Vec::new(), false);

/// What else a direction turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// HTTP/2, from a client's preface whose bytes were all read.
    Http2Client,
    /// HTTP/2, from a server's first frame, of whose header these bytes were read.
    Http2Server([u8; 9]),
    /// What is encrypted.
    Opaque,
}

/// One direction.
#[derive(Debug)]
pub struct Http1 {
    state: State,
    /// The head at hand, or the memory of the last one.
    head: Option<Box<Head>>,
}

impl Http1 {
    /// From the first byte of a direction, or (`late`) from anywhere.
    pub fn new(late: bool) -> Self {
        let state = if late { State::Stray(Stray::cut()) } else { NEXT };
        Self { state, head: None }
    }

    /// Whether a message was begun and is not over, or none can be told.
    pub fn is_stray(&self) -> bool {
        matches!(self.state, State::Stray(_))
    }

    /// Whether nothing was read yet of what comes next.
    pub fn is_fresh(&self) -> bool {
        matches!(&self.state, State::Start(seen, _) if seen.is_empty())
    }

    /// Reads a chunk to its end, or up to where it turns out to be something else.
    pub fn data(
        &mut self,
        chunk: &mut Chunk<'_>,
        shared: &mut Shared,
        cx: &mut Context<'_>,
    ) -> Option<Turn> {
        // A message may begin where a segment does.
        if let State::Stray(stray) = &self.state
            && chunk.is_fresh()
            && begins(chunk.rest(), stray.is_cut())
        {
            self.state = State::Start(Vec::new(), stray.is_cut());
        }
        while chunk.left() > 0 {
            match &mut self.state {
                State::Start(..) => {
                    if let Some(turn) = self.start(chunk) {
                        return Some(turn);
                    }
                }
                State::Head => {
                    let head = self.head.get_or_insert_default();
                    match head.data(chunk, cx) {
                        head::Step::More => {}
                        head::Step::NoHead => self.state = State::Stray(Stray::line()),
                        head::Step::Over => {
                            self.state = head.framing(shared).map_or(NEXT, State::Body);
                        }
                    }
                }
                State::Body(body) => match body.data(chunk, cx) {
                    body::Step::More => {}
                    body::Step::Over => self.state = NEXT,
                    body::Step::Trailers => self.begin(Head::trailers),
                    body::Step::Response => {
                        shared.lost();
                        self.begin(|head| head.response(b"HTTP/1."));
                    }
                    body::Step::Bad => {
                        shared.lost();
                        self.state = State::Stray(Stray::line());
                    }
                },
                State::Stray(stray) => {
                    if stray.data(chunk, cx) {
                        self.state = NEXT;
                    }
                }
            }
        }
        None
    }

    /// A head begins, or trailers.
    fn begin(&mut self, how: impl FnOnce(&mut Head)) {
        how(self.head.get_or_insert_default());
        self.state = State::Head;
    }

    /// The first bytes of a message, or of something else.
    fn start(&mut self, chunk: &mut Chunk<'_>) -> Option<Turn> {
        let State::Start(seen, cut) = &mut self.state else { return None };
        let cut = *cut;
        // Empty lines before a first line (RFC 9112, section 2.2).
        if seen.is_empty() && matches!(chunk.rest(), [b'\r' | b'\n', ..]) {
            chunk.pass(1);
            return None;
        }
        let before = seen.len();
        let mut held = std::mem::take(seen);
        let more = chunk.rest();
        let more = more.get(..START_BYTES.saturating_sub(before)).unwrap_or(more);
        // Nearly always what begins is told by what is here.
        let seen = if before == 0 {
            more
        } else {
            held.extend_from_slice(more);
            &held
        };
        let verdict = match start(seen) {
            Start::More if seen.len() >= START_BYTES => Start::No,
            verdict => verdict,
        };
        let behind = |bytes: usize| bytes.saturating_sub(before);
        match verdict {
            Start::More => {
                let seen = seen.to_vec();
                chunk.pass(seen.len() - before);
                self.state = State::Start(seen, cut);
            }
            Start::Request(target) => {
                let method = seen.get(..target.saturating_sub(1)).unwrap_or_default();
                self.head.get_or_insert_default().request(method);
                self.state = State::Head;
                chunk.pass(behind(target));
            }
            Start::Response(bytes) => {
                let seen = seen.get(..bytes).unwrap_or_default();
                self.head.get_or_insert_default().response(seen);
                self.state = State::Head;
                chunk.pass(behind(bytes));
            }
            Start::Http2Client => {
                chunk.pass(behind(super::http2::PREFACE_BYTES));
                return Some(Turn::Http2Client);
            }
            Start::Http2Server => {
                let head = seen.first_chunk().copied().unwrap_or_default();
                chunk.pass(behind(9));
                return Some(Turn::Http2Server(head));
            }
            Start::Opaque => return Some(Turn::Opaque),
            Start::No => {
                let seen = seen.get(..before).unwrap_or_default();
                let stray = if cut { Stray::cut() } else { Stray::after(seen) };
                self.state = State::Stray(stray);
            }
        }
        None
    }

    /// So many bytes are missing; whether all were of a body.
    pub fn gap(&mut self, missing: u64, shared: &mut Shared) -> bool {
        if let State::Body(body) = &mut self.state
            && body.gap(missing)
        {
            if body.is_over() {
                self.state = NEXT;
            }
            return true;
        }
        shared.lost();
        self.state = State::Stray(Stray::cut());
        false
    }
}

/// Whether a message, or what else is known, begins with these bytes; or `may`, once there are
/// more.
fn begins(bytes: &[u8], may: bool) -> bool {
    let bytes = match bytes {
        [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
        _ => bytes,
    };
    match start(bytes.get(..START_BYTES).unwrap_or(bytes)) {
        _ if bytes.is_empty() => false,
        Start::More => may,
        verdict => verdict != Start::No,
    }
}
