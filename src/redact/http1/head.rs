//! A message's head, or trailers: values of fields and parameters of targets are overwritten.

use memchr::{memchr, memchr2};

use super::body::Body;
use crate::analyze::decode::http1::body::{Facts, Framing, Known, Length, Transfer};
use crate::analyze::decode::http1::head::status_line;
use crate::redact::chunk::{Chunk, MASK};
use crate::redact::hpack::Context;
use crate::redact::query::{Byte, Query};
use crate::redact::rules::{Class, NAME_BYTES};
use crate::redact::shared::{Method, Shared};

/// Bytes kept of a status line, or of a value that says how a body is framed.
const WORD_BYTES: usize = 256;

/// A request's version behind the last blank of its line, but for the digit.
const VERSION: &[u8] = b"HTTP/1.";

/// What comes of bytes of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// More of it.
    More,
    /// What was read is no head.
    NoHead,
    /// It is over.
    Over,
}

/// Whose head it is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Request(Method),
    Response { status: u16 },
    Trailers,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// A request's target. `version`: what may be the version behind it, and how many bytes of
    /// that were seen.
    Target {
        version: Option<usize>,
    },
    /// A status line.
    Status,
    /// A line begins.
    Line,
    /// Behind a CR that begins a line.
    End,
    Name,
    /// Blanks before a value.
    Blank(Field),
    Value(Field),
}

/// What is done with a value.
#[derive(Clone, Copy, Debug)]
enum Field {
    Plain,
    Secret(u16),
    /// Of which a byte was overwritten.
    Counted,
    Url,
    /// Says how the body is framed.
    Framing(Known),
}

/// A head that is being read.
#[derive(Debug)]
pub struct Head {
    kind: Kind,
    place: Place,
    /// A name, a status line, or a value that is needed.
    word: Vec<u8>,
    query: Query,
    /// What a line that continues the one before belongs to.
    last: Field,
    length: Length,
    transfer: Transfer,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            kind: Kind::Trailers,
            place: Place::Line,
            word: Vec::new(),
            query: Query::default(),
            last: Field::Plain,
            length: Length::Absent,
            transfer: Transfer::Absent,
        }
    }
}

impl Head {
    /// Reads another one, in the same memory.
    fn again(&mut self, kind: Kind, place: Place) {
        self.word.clear();
        self.query = Query::default();
        (self.kind, self.place, self.last) = (kind, place, Field::Plain);
        (self.length, self.transfer) = (Length::Absent, Transfer::Absent);
    }

    /// Of a request, from its target on.
    pub fn request(&mut self, method: &[u8]) {
        let method = match method {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        self.again(Kind::Request(method), Place::Target { version: None });
    }

    /// Of a response, whose first bytes were these.
    pub fn response(&mut self, seen: &[u8]) {
        self.again(Kind::Response { status: 0 }, Place::Status);
        self.word.extend_from_slice(seen);
    }

    /// Trailers.
    pub fn trailers(&mut self) {
        self.again(Kind::Trailers, Place::Line);
    }

    /// Reads a chunk as far as the head goes.
    pub fn data(&mut self, chunk: &mut Chunk<'_>, cx: &mut Context<'_>) -> Step {
        while chunk.left() > 0 {
            let step = match self.place {
                Place::Target { version } => self.target(version, chunk, cx),
                Place::Status => self.status(chunk),
                Place::Line => self.line(chunk),
                Place::End => match chunk.next() {
                    Some(b'\n') => Step::Over,
                    _ => {
                        self.place = Place::Value(Field::Plain);
                        Step::More
                    }
                },
                Place::Name => self.name(chunk, cx),
                Place::Blank(field) => self.blank(field, chunk),
                Place::Value(field) => self.value(field, chunk, cx),
            };
            if step != Step::More {
                return step;
            }
        }
        Step::More
    }

    /// One byte of a request line behind its method. A blank may be in the target all the same.
    fn target(
        &mut self,
        version: Option<usize>,
        chunk: &mut Chunk<'_>,
        cx: &mut Context<'_>,
    ) -> Step {
        let Some(byte) = chunk.rest().first().copied() else { return Step::More };
        let next = match (version, byte) {
            (Some(seen), b'\n') => {
                chunk.pass(1);
                if seen <= VERSION.len() {
                    return Step::NoHead;
                }
                self.place = Place::Line;
                return Step::More;
            }
            (None, b'\n') => {
                chunk.pass(1);
                return Step::NoHead;
            }
            (_, b' ' | b'\t') if version.is_none_or(|seen| seen <= VERSION.len()) => Some(0),
            (Some(seen), _) if VERSION.get(seen) == Some(&byte) => Some(seen + 1),
            (Some(seen), b'0'..=b'9') if seen >= VERSION.len() => Some(seen + 1),
            (Some(seen), b'\r' | b' ' | b'\t') if seen > VERSION.len() => version,
            _ => None,
        };
        self.place = Place::Target { version: next };
        if next.is_some() {
            chunk.pass(1);
        } else {
            url(&mut self.query, byte, chunk, cx);
        }
        Step::More
    }

    fn status(&mut self, chunk: &mut Chunk<'_>) -> Step {
        let rest = chunk.rest();
        let end = memchr(b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let room = WORD_BYTES.saturating_sub(self.word.len());
        self.word.extend_from_slice(line.get(..room).unwrap_or(line));
        chunk.pass(end.map_or(rest.len(), |end| end + 1));
        if end.is_none() {
            return Step::More;
        }
        let line = self.word.strip_suffix(b"\r").unwrap_or(&self.word);
        let Some(line) = status_line(line) else { return Step::NoHead };
        self.kind = Kind::Response { status: line.status };
        self.word.clear();
        self.place = Place::Line;
        Step::More
    }

    fn line(&mut self, chunk: &mut Chunk<'_>) -> Step {
        match chunk.rest().first() {
            Some(b'\n') => {
                chunk.pass(1);
                return Step::Over;
            }
            Some(b'\r') => {
                chunk.pass(1);
                self.place = Place::End;
            }
            // A folded line goes on with the value before (RFC 9112, section 5.2).
            Some(b' ' | b'\t') => self.place = Place::Blank(self.last),
            _ => {
                self.word.clear();
                self.place = Place::Name;
            }
        }
        Step::More
    }

    fn name(&mut self, chunk: &mut Chunk<'_>, cx: &Context<'_>) -> Step {
        let rest = chunk.rest();
        let end = memchr2(b':', b'\n', rest);
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        // One byte more than is compared: then it is none of those.
        let room = (NAME_BYTES + 1).saturating_sub(self.word.len());
        let Some(end) = end else {
            self.word.extend_from_slice(text.get(..room).unwrap_or(text));
            chunk.pass(rest.len());
            return Step::More;
        };
        if rest.get(end) != Some(&b':') {
            chunk.pass(end + 1);
            self.place = Place::Line;
            return Step::More;
        }
        // Nearly always a name is here as a whole.
        let name = if self.word.is_empty() {
            text
        } else {
            self.word.extend_from_slice(text.get(..room).unwrap_or(text));
            &self.word
        };
        let name = name.trim_ascii();
        let field = match Known::of(name) {
            Some(known @ (Known::ContentLength | Known::TransferEncoding)) => Field::Framing(known),
            _ => match cx.rules.header(name) {
                Class::Secret(number) => Field::Secret(number),
                Class::Url => Field::Url,
                Class::Plain | Class::Unknown => Field::Plain,
            },
        };
        chunk.pass(end + 1);
        if matches!(field, Field::Url) {
            self.query = Query::default();
        }
        self.word.clear();
        self.place = Place::Blank(field);
        Step::More
    }

    fn blank(&mut self, field: Field, chunk: &mut Chunk<'_>) -> Step {
        match chunk.rest().first() {
            Some(b' ' | b'\t') => chunk.pass(1),
            _ => self.place = Place::Value(field),
        }
        Step::More
    }

    fn value(&mut self, field: Field, chunk: &mut Chunk<'_>, cx: &mut Context<'_>) -> Step {
        let rest = chunk.rest();
        let end = memchr(b'\n', rest);
        let bytes = end.unwrap_or(rest.len());
        let mut field = field;
        match field {
            Field::Plain => {}
            Field::Framing(_) => {
                let room = WORD_BYTES.saturating_sub(self.word.len());
                self.word.extend_from_slice(rest.get(..bytes.min(room)).unwrap_or_default());
            }
            Field::Secret(number) => {
                if rest.iter().take(bytes).any(|byte| *byte != b'\r') {
                    cx.counts.value(number);
                    field = Field::Counted;
                }
            }
            Field::Counted | Field::Url => {}
        }
        match field {
            Field::Counted => mask(chunk, bytes),
            Field::Url => {
                for _ in 0..bytes {
                    let Some(byte) = chunk.rest().first().copied() else { break };
                    url(&mut self.query, byte, chunk, cx);
                }
            }
            _ => chunk.pass(bytes),
        }
        self.place = Place::Value(field);
        if end.is_some() {
            chunk.pass(1);
            self.last = field;
            if let Field::Framing(known) = field {
                self.told(known);
            }
            self.place = Place::Line;
        }
        Step::More
    }

    /// A value that says how the body is framed.
    fn told(&mut self, known: Known) {
        let mut facts = Facts { length: self.length, transfer: self.transfer, ..Facts::default() };
        facts.take(known, self.word.trim_ascii());
        (self.length, self.transfer) = (facts.length, facts.transfer);
    }

    /// The body that follows, if one does; None where the next message does.
    pub fn framing(&self, shared: &mut Shared) -> Option<Body> {
        let facts = Facts { length: self.length, transfer: self.transfer, ..Facts::default() };
        let body = |framing: Framing| match framing {
            Framing::None => None,
            Framing::Length(bytes) => Some(Body::length(bytes)),
            Framing::Chunked => Some(Body::chunked()),
            Framing::UntilClose => Some(Body::until_close()),
        };
        match self.kind {
            Kind::Trailers => None,
            Kind::Request(method) => {
                shared.request(method);
                body(facts.request_framing())
            }
            // Interim; but for 101, which is the last word in HTTP/1.
            Kind::Response { status: 100 | 102..=199 } => None,
            Kind::Response { status } => {
                let tunnel = (200..300).contains(&status);
                match shared.response() {
                    Some(Method::Head) => None,
                    Some(Method::Connect) if tunnel => None,
                    Some(_) => body(facts.response_framing(status)),
                    None => body(facts.response_framing(status)).map(Body::doubtful),
                }
            }
        }
    }
}

/// One byte of a URL.
fn url(query: &mut Query, byte: u8, chunk: &mut Chunk<'_>, cx: &mut Context<'_>) {
    if matches!(byte, b'\r') {
        return chunk.pass(1);
    }
    match query.next(byte, cx.rules) {
        Byte::Secret => chunk.fill(1, MASK),
        Byte::Begins(number) => {
            cx.counts.value(number);
            chunk.pass(1);
        }
        Byte::Plain => chunk.pass(1),
    }
}

/// Overwrites a value, but for CR: one may be a part of the line's end.
fn mask(chunk: &mut Chunk<'_>, bytes: usize) {
    let mut left = bytes;
    while left > 0 {
        let text = chunk.rest().get(..left).unwrap_or_default();
        let end = memchr(b'\r', text).unwrap_or(left);
        chunk.fill(end, MASK);
        left -= end;
        if left > 0 {
            chunk.pass(1);
            left -= 1;
        }
    }
}
