//! One direction of a connection: what it speaks, and who reads it.

use super::chunk::Chunk;
use super::hpack::Context;
use super::http1::{Http1, Turn};
use super::http2::Http2;
use super::shared::Shared;
use super::start::{START_BYTES, Start, start};
use crate::analyze::decode::http2::sync;
use crate::analyze::decode::{Probe, Role};

/// What becomes of bytes of a gap, if they come after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// They stay: they are of a body, or of what is not looked at.
    Keep,
    /// They leave the capture.
    Drop,
}

/// What it speaks.
#[derive(Debug)]
enum Mode {
    /// HTTP/1, what is not known yet, or nothing that is known.
    Http1(Http1),
    Http2(Box<Http2>),
    /// What is encrypted: it stays as it is.
    Opaque,
}

/// One direction.
#[derive(Debug)]
pub struct Half {
    mode: Mode,
    side: usize,
}

impl Half {
    /// Of a connection's side 0 or 1, from its first byte or (`late`) from anywhere.
    pub fn new(side: usize, late: bool) -> Self {
        Self { mode: Mode::Http1(Http1::new(late)), side }
    }

    /// Reads the next bytes.
    pub fn data(&mut self, chunk: &mut Chunk<'_>, shared: &mut Shared, cx: &mut Context<'_>) {
        self.look_for_http2(chunk, shared);
        while chunk.left() > 0 {
            match &mut self.mode {
                Mode::Http1(http1) => {
                    if let Some(turn) = http1.data(chunk, shared, cx) {
                        self.turn(turn, shared, cx);
                    }
                }
                Mode::Http2(http2) => http2.data(chunk, shared, cx),
                Mode::Opaque => chunk.pass(chunk.left()),
            }
        }
    }

    /// Whether what does not begin as a message is HTTP/2 that was joined midway.
    fn look_for_http2(&mut self, chunk: &Chunk<'_>, shared: &mut Shared) {
        let Mode::Http1(http1) = &self.mode else { return };
        if !http1.is_stray() && !http1.is_fresh() {
            return;
        }
        let bytes = chunk.rest();
        let head = bytes.get(..START_BYTES).unwrap_or(bytes);
        let client = match shared.http2 {
            Some(side) if start(head) == Start::No => side == self.side,
            Some(_) => return,
            None => match sync::probe(bytes, http1.is_stray()) {
                Probe::Match(role) if start(head) == Start::No => role == Role::Client,
                _ => return,
            },
        };
        shared.http2 = Some(if client { self.side } else { 1 - self.side });
        self.mode = Mode::Http2(Box::new(Http2::midway(client)));
    }

    fn turn(&mut self, turn: Turn, shared: &mut Shared, cx: &mut Context<'_>) {
        let client = match turn {
            Turn::Opaque => {
                self.mode = Mode::Opaque;
                return;
            }
            Turn::Http2Client => true,
            Turn::Http2Server(_) => false,
        };
        shared.http2 = Some(if client { self.side } else { 1 - self.side });
        let mut http2 = Http2::new(client);
        if let Turn::Http2Server(mut head) = turn {
            let mut drops = Vec::new();
            http2.data(&mut Chunk::new(&mut head, &mut drops), shared, cx);
        }
        self.mode = Mode::Http2(Box::new(http2));
    }

    /// So many bytes are missing. What is to become of them, should they come later.
    pub fn gap(&mut self, missing: u64, shared: &mut Shared, cx: &Context<'_>) -> Late {
        let body = match &mut self.mode {
            Mode::Http1(http1) => http1.gap(missing, shared),
            Mode::Http2(http2) => http2.gap(missing),
            Mode::Opaque => return Late::Keep,
        };
        if body && !cx.rules.headers_only { Late::Keep } else { Late::Drop }
    }
}
