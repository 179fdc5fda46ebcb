//! One request and its response while they are being read, and the verdict
//! on them once they are put out.

use super::half::Mark;
use crate::analyze::decode::grpc::Call;
use crate::analyze::decode::{Direction, End, Sink};
use crate::analyze::fields::Fields;
use crate::analyze::transaction::{Completeness, Message, Outcome, Transaction, Value};
use crate::time::Timestamp;

/// How far a message has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// No byte of it was seen.
    #[default]
    Missing,
    /// It is being read.
    Open,
    /// Its end was seen.
    Whole,
    /// Its end will not be seen.
    Cut,
}

/// What a request's method means for its response's framing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Not seen.
    #[default]
    Unknown,
    /// HEAD: no body whatever the head says.
    Head,
    /// CONNECT: a 2xx makes a tunnel.
    Connect,
    /// Any other.
    Other,
}

/// A transaction in the making.
#[derive(Debug)]
pub struct Exchange {
    /// What is known so far; in its box, since it is large and exchanges move.
    pub transaction: Box<Transaction>,
    /// State of the request and of the response.
    pub parts: [Part; 2],
    /// Latest capture time of each.
    pub latest: [Option<Timestamp>; 2],
    /// Method of the request.
    pub method: Method,
    /// Bytes of it, or what would prove its pairing, were not captured.
    pub gap: bool,
    /// It, or what would prove its pairing, began before the capture.
    pub late: bool,
    /// Its response may have been among bytes that are missing.
    pub holed: bool,
    /// The pairing awaits confirmation.
    pub tentative: bool,
    /// Client bytes after the request wait for the response to tell what they are.
    pub hold: bool,
    /// How the direction of the missing part ended.
    pub closed: Option<End>,
    /// Interim responses seen.
    pub informational: u64,
    /// HTTP2-Settings of an upgrade request.
    pub settings: Option<Box<[u8]>>,
    /// gRPC-Web in the bodies.
    pub call: Option<Box<Call>>,
}

impl Exchange {
    /// Nothing of it was seen yet.
    #[inline]
    pub fn new(protocol: &'static str, out: &mut Sink<'_>) -> Self {
        Self::of(out.blank(protocol))
    }

    /// Of what is known so far.
    #[inline]
    pub fn of(transaction: Box<Transaction>) -> Self {
        Self {
            transaction,
            parts: [Part::Missing; 2],
            latest: [None; 2],
            method: Method::Unknown,
            gap: false,
            late: false,
            holed: false,
            tentative: false,
            hold: false,
            closed: None,
            informational: 0,
            settings: None,
            call: None,
        }
    }

    /// The message that goes this way begins.
    #[inline]
    pub fn begin(&mut self, direction: Direction, head: Fields, mark: Mark) -> &mut Message {
        self.parts[direction.index()] = Part::Open;
        self.latest[direction.index()] = mark.end;
        let Mark { start, packet, seq, .. } = mark;
        let message = Message { head, start, packet, seq: Some(seq), ..Message::default() };
        match direction {
            Direction::ToServer => self.transaction.request.insert(message),
            Direction::ToClient => self.transaction.response.insert(message),
        }
    }

    /// The message that goes this way.
    #[inline]
    pub fn message(&mut self, direction: Direction) -> Option<&mut Message> {
        match direction {
            Direction::ToServer => self.transaction.request.as_mut(),
            Direction::ToClient => self.transaction.response.as_mut(),
        }
    }

    /// Takes in that bytes of the message were captured at `at`.
    #[inline]
    pub fn seen(&mut self, direction: Direction, at: Option<Timestamp>) {
        let so_far = self.latest[direction.index()];
        if let Some(message) = self.message(direction) {
            self.latest[direction.index()] = message.seen(at, so_far);
        }
    }

    /// Counts body bytes, seen or known to be missing.
    #[inline]
    pub fn body(&mut self, direction: Direction, data: &[u8], at: Option<Timestamp>) {
        if let Some(message) = self.message(direction) {
            message.body_bytes += data.len() as u64;
            if let Some(body) = &mut message.body {
                body.data(data, at);
            }
        }
        if let Some(call) = &mut self.call {
            call.data(direction, data);
        }
    }

    /// Counts body bytes that are known to be missing.
    pub fn body_gap(&mut self, direction: Direction, len: u64) {
        self.gap = true;
        if let Some(message) = self.message(direction) {
            message.body_bytes = message.body_bytes.saturating_add(len);
            if let Some(pauses) = &mut message.pauses {
                pauses.gap();
            }
            if let Some(body) = &mut message.body {
                body.gap(Some(len));
            }
        }
        if let Some(call) = &mut self.call {
            call.gap(direction, len);
        }
    }

    /// Bytes of a body are missing, and how many is not known.
    pub fn body_lost(&mut self, direction: Direction) {
        if let Some(body) = self.message(direction).and_then(|message| message.body.as_mut()) {
            body.gap(None);
        }
    }

    /// The end of a message was seen.
    #[inline]
    pub fn ends(&mut self, direction: Direction) {
        self.parts[direction.index()] = Part::Whole;
        let end = self.latest[direction.index()];
        if let Some(message) = self.message(direction) {
            message.end = end;
        }
    }

    /// The end of a message will not be seen.
    pub fn cut(&mut self, direction: Direction, closed: Option<End>) {
        self.parts[direction.index()] = Part::Cut;
        self.closed = self.closed.or(closed);
    }

    /// Time of its first byte.
    #[inline]
    pub fn start(&self) -> Option<Timestamp> {
        self.transaction.rank()
    }

    /// Bytes of memory held, without itself.
    #[inline]
    pub fn memory(&self) -> usize {
        let message = |m: &Option<Message>| m.as_ref().map_or(0, Message::memory);
        message(&self.transaction.request) + message(&self.transaction.response)
    }

    /// The transaction with its verdict.
    #[inline]
    pub fn finish(mut self) -> Box<Transaction> {
        self.transaction.outcome = self.outcome();
        self.transaction.completeness = self.completeness();
        if self.informational > 0 {
            let count = Value::Number(self.informational);
            self.transaction.attributes.push(("http.informational", count));
        }
        if let Some(call) = self.call.take() {
            call.finish(&mut self.transaction);
        }
        self.transaction
    }

    #[inline]
    fn outcome(&self) -> Outcome {
        let status = self.transaction.status().map_or(Outcome::Unknown, Outcome::of_status);
        match (self.parts, self.closed) {
            ([_, Part::Whole], _) => status,
            // Where bytes are missing, all of the answer may have been among them.
            (_, Some(End::Reset(_))) if !self.gap => Outcome::Reset,
            ([Part::Whole, Part::Missing], Some(End::Fin)) => Outcome::Unanswered,
            // The head says so; only success is not a success before its end.
            ([_, Part::Cut], _) if status.is_error() => status,
            _ => Outcome::Unknown,
        }
    }

    #[inline]
    fn completeness(&self) -> Completeness {
        let ended = |end| matches!(end, Some(End::Fin | End::Reset(_)) | None);
        if self.gap {
            Completeness::Gap
        } else if self.late {
            Completeness::LateJoin
        } else if self.parts.iter().any(|p| matches!(p, Part::Cut | Part::Open)) {
            Completeness::Truncated
        } else if self.parts.contains(&Part::Missing) {
            if ended(self.closed) { Completeness::Unpaired } else { Completeness::Truncated }
        } else {
            Completeness::Complete
        }
    }
}
