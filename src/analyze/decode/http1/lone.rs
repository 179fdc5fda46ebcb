//! The common case without the queue: one whole request without a body, on a
//! connection where nothing is open or in doubt, and its whole response.
//!
//! Such a request waits beside [`Pairing`](super::pairing::Pairing) until
//! more of the connection is seen. Where that is a response that is plain and
//! whole, both are put out at once; anything else finds the request in the
//! queue, as if it had been there all the time.

use super::body::{Facts, Framing};
use super::exchange::{Exchange, Method, Part};
use super::half::{Mark, Origin};
use super::head::{RequestLine, StatusLine, plain_lines};
use super::message::{kept_lines, kind_of, plain_texts};
use super::{Http1, Mode, memo, scan};
use crate::analyze::decode::Sink;
use crate::analyze::transaction::{Completeness, Message, Outcome, Transaction};
use crate::time::Timestamp;

/// A request that waits alone.
pub struct Lone {
    /// With the request in it, which has ended.
    transaction: Box<Transaction>,
    method: Method,
    /// Packet of its last byte.
    last: u64,
}

impl Lone {
    /// Time of its first byte.
    pub fn start(&self) -> Option<Timestamp> {
        self.transaction.rank()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.transaction.memory()
    }
}

impl Http1 {
    /// Reads the request that begins `input`, if it can wait alone, and says
    /// how long it is. None says nothing, and nothing has happened.
    #[inline]
    pub(super) fn lone_request(
        &mut self,
        from: Origin,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> Option<usize> {
        let client = &self.halves[0];
        // Others often have a body, and then their head would be read twice.
        let due = input.starts_with(b"GET ") && client.idle() && !client.late;
        if !(due && matches!(self.mode, Mode::Http) && self.is_alone(out)) {
            return None;
        }
        let (line, rest) = scan::request_line(input)?;
        let mut facts = Facts::default();
        let len = memo::read(rest, &mut facts)?;
        let used = input.len() - rest.len() + len;
        let begun = is_whole(&line, &facts);
        if begun {
            let section = rest.get(..len)?;
            self.begin_lone(input, (&line, section), &facts, Mark::new(from), out);
        }
        begun.then_some(used)
    }

    /// Whether nothing is open or in doubt, nor told of that is not told of
    /// a request that waits alone.
    #[inline]
    fn is_alone(&self, out: &Sink<'_>) -> bool {
        let [client, server] = &self.halves;
        let open = client.ended.is_none() && server.ended.is_none();
        let alone = self.lone.is_none() && self.pairing.is_idle();
        !out.wants.log && open && !server.late && server.idle() && alone
    }

    /// Does at once what a request does that has no body, where nothing else
    /// is to be kept of it and nothing follows from it; false where all is
    /// still to be done. Its line begins `input`, as `scan` reads it.
    #[inline]
    pub(super) fn whole_request(
        &mut self,
        input: &[u8],
        (line, section): (&RequestLine<'_>, &[u8]),
        facts: &Facts<'_>,
        mark: Mark,
        out: &mut Sink<'_>,
    ) -> bool {
        let begun = is_whole(line, facts) && self.is_alone(out);
        if begun {
            self.begin_lone(input, (line, section), facts, mark, out);
        }
        begun
    }

    #[inline]
    fn begin_lone(
        &mut self,
        input: &[u8],
        (line, section): (&RequestLine<'_>, &[u8]),
        facts: &Facts<'_>,
        mark: Mark,
        out: &mut Sink<'_>,
    ) {
        let mut transaction = out.with_request(line.version.protocol());
        if let Some(message) = &mut transaction.request {
            (message.start, message.end, message.packet) = (mark.start, mark.end, mark.packet);
            message.seq = Some(mark.seq);
            plain_texts(message, input, line, facts.host);
            if out.wants.headers {
                message.head.push_lines(plain_lines(section));
            }
        }
        let method = kind_of(line.method);
        self.lone = Some(Lone { transaction, method, last: mark.last });
    }

    /// Puts the request that waits alone into the queue.
    #[inline]
    pub(super) fn enqueue_lone(&mut self, out: &mut Sink<'_>) {
        if let Some(lone) = self.lone.take() {
            self.enqueue(lone, out);
        }
    }

    #[inline(never)]
    fn enqueue(&mut self, lone: Lone, out: &mut Sink<'_>) {
        let Lone { transaction, method, last } = lone;
        let end = transaction.request.as_ref().and_then(|request| request.end);
        let mut exchange = Exchange::of(transaction);
        exchange.parts[0] = Part::Open;
        exchange.latest[0] = end;
        exchange.method = method;
        // Whether a response is being read matters only where there is doubt.
        self.pairing.request(exchange, false, out);
        self.pairing.request_ended(last, out);
    }

    /// Reads the response to the request that waits alone, if it begins
    /// `input` and is whole and plain, and says how long it is. None says
    /// nothing, and nothing has happened.
    #[inline]
    pub(super) fn answer_lone(
        &mut self,
        from: Origin,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> Option<usize> {
        self.lone.as_ref().filter(|lone| lone.method == Method::Other && !out.wants.bodies)?;
        let (line, rest) = scan::status_line(input)?;
        let mut facts = Facts::default();
        let len = memo::read(rest, &mut facts)?;
        let body = rest.get(len..)?;
        let body_len = whole_body(&line, &facts, body)?;
        let Lone { mut transaction, last, .. } = self.lone.take()?;
        transaction.response = Some(Message {
            head: kept_lines(rest, len, out),
            status: Some(line.status),
            start: from.at,
            end: from.at,
            body_bytes: body_len as u64,
            packet: from.packet,
            seq: Some(from.seq),
            ..Message::default()
        });
        transaction.outcome = Outcome::of_status(line.status);
        transaction.completeness = Completeness::Complete;
        let request_end = transaction.request.as_ref().and_then(|request| request.end);
        self.pairing.answered_alone(last, request_end, from.at);
        out.boxed(transaction);
        Some(input.len() - body.len() + body_len)
    }
}

/// Whether a request is over with its head, and nothing about it is odd.
#[inline]
fn is_whole(line: &RequestLine<'_>, facts: &Facts<'_>) -> bool {
    facts.is_plain()
        && facts.upgrade.is_none()
        && facts.request_framing() == Framing::None
        && kind_of(line.method) != Method::Connect
}

/// The length of the body of a final response to a request that was neither
/// HEAD nor CONNECT, where `body` begins with all of it and nothing about it
/// is odd.
#[inline]
pub(super) fn whole_body(line: &StatusLine<'_>, facts: &Facts<'_>, body: &[u8]) -> Option<usize> {
    let len = match facts.response_framing(line.status) {
        Framing::None => 0,
        Framing::Length(len) => usize::try_from(len).ok().filter(|len| *len <= body.len())?,
        _ => return None,
    };
    (line.status >= 200 && facts.is_plain()).then_some(len)
}
