//! What a decoder may output: messages and the transactions they pair into.
//!
//! Nothing here knows a protocol or a file. Everything that was not seen is
//! `None`, never a made-up value.

use std::fmt::Write as _;

use crate::analyze::fields::{Fields, Span};
use crate::analyze::kept::Kept;
use crate::time::{Timestamp, earliest, latest};

/// One request or one response: its head, times and sizes.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Header fields, and the text that the spans below refer to.
    pub head: Fields,
    /// Trailer fields.
    pub trailers: Fields,
    /// Request method; its text is in `head`.
    pub method: Option<Span>,
    /// URI scheme; its text is in `head`.
    pub scheme: Option<Span>,
    /// Authority (HTTP/2) or Host (HTTP/1); its text is in `head`.
    pub authority: Option<Span>,
    /// Path with query, or the request target as sent; its text is in `head`.
    pub path: Option<Span>,
    /// Response status.
    pub status: Option<u16>,
    /// HTTP/1's minor version as this message has it, 0 or 1; None where it is
    /// of another protocol, or bodies are not asked for.
    pub minor: Option<u8>,
    /// Earliest capture time of any byte of the message; None where its
    /// beginning was missed.
    pub start: Option<Timestamp>,
    /// Latest capture time of any byte, once the message has ended.
    pub end: Option<Timestamp>,
    /// Body bytes as transferred: without chunked framing or padding, before
    /// content decoding; bytes in gaps of a body of known length included.
    pub body_bytes: u64,
    /// Number of the packet that carried its first byte.
    pub packet: u64,
    /// TCP sequence number of its first byte, as on the wire; None where its beginning
    /// was missed, and in HTTP/2, where a stream has a name.
    pub seq: Option<u32>,
    /// Its pauses, where they are asked for.
    pub pauses: Option<Box<Pauses>>,
    /// The body, where it is kept; None of a message that has none, too.
    pub body: Option<Box<Kept>>,
}

/// A time in which nothing of a message came, though its next byte was the one
/// that followed: who sent it had nothing to send, or could not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When the piece before it was captured.
    pub from: Timestamp,
    /// How long, in nanoseconds.
    pub nanos: u64,
}

/// The pauses between the pieces of a message, of which the longest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// The longest so far.
    pub longest: Option<Pause>,
    /// When the latest piece was captured; None where bytes are missing since,
    /// as nobody knows then who paused, or how long.
    latest: Option<Timestamp>,
}

impl Pauses {
    /// Of a message whose head was captured by then.
    pub fn since(head: Option<Timestamp>) -> Self {
        Self { longest: None, latest: head }
    }

    /// The next piece came.
    #[cold]
    pub fn piece(&mut self, at: Option<Timestamp>) {
        if let (Some(at), Some(from)) = (at, self.latest)
            && let Ok(nanos) = u64::try_from(at.since(from))
            && self.longest.is_none_or(|longest| longest.nanos < nanos)
            && nanos > 0
        {
            self.longest = Some(Pause { from, nanos });
        }
        self.until(at);
    }

    /// The piece went on until then.
    pub fn until(&mut self, at: Option<Timestamp>) {
        self.latest = latest(self.latest, at);
    }

    /// Bytes are missing.
    pub fn gap(&mut self) {
        self.latest = None;
    }
}

impl Message {
    /// Makes it one of which nothing is known yet, keeping the memory of its lists.
    #[inline]
    pub fn clear(&mut self) {
        self.head.clear();
        self.trailers.clear();
        (self.method, self.scheme, self.authority, self.path) = (None, None, None, None);
        (self.status, self.minor, self.start, self.end) = (None, None, None, None);
        (self.body_bytes, self.packet, self.body) = (0, 0, None);
        (self.seq, self.pauses) = (None, None);
    }

    /// Counts a piece of the message captured at `at` into its start and its
    /// pauses and returns the latest time so far.
    #[inline]
    pub fn seen(&mut self, at: Option<Timestamp>, so_far: Option<Timestamp>) -> Option<Timestamp> {
        self.start = earliest(self.start, at);
        if let Some(pauses) = &mut self.pauses {
            pauses.piece(at);
        }
        latest(so_far, at)
    }

    /// The text of a span of the head.
    pub fn text(&self, span: Option<Span>) -> Option<&[u8]> {
        span.map(|span| self.head.text(span))
    }

    /// Bytes of memory held without the body, which has bounds of its own.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.head.memory() + self.trailers.memory()
    }
}

/// How a transaction ended, for the user who asks "did it work?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered with success.
    Ok,
    /// The client is to blame: 4xx, or a gRPC status of that kind.
    ClientError,
    /// The server is to blame: 5xx, or a gRPC status of that kind.
    ServerError,
    /// RST_STREAM, GOAWAY or a TCP reset ended it before the answer was whole.
    Reset,
    /// A deadline passed: gRPC DEADLINE_EXCEEDED, or cancelled after grpc-timeout.
    Timeout,
    /// The request was whole and the connection ended without an answer.
    Unanswered,
    /// What decides was not seen.
    Unknown,
}

impl Outcome {
    /// All, in the order of reports.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::ClientError,
        Self::ServerError,
        Self::Reset,
        Self::Timeout,
        Self::Unanswered,
        Self::Unknown,
    ];

    /// The name in json, jsonl and csv.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Unanswered => "unanswered",
            Self::Unknown => "unknown",
        }
    }

    /// Whether reports count it as an error. Unknown is neither.
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::Ok | Self::Unknown)
    }

    /// From an HTTP status (RFC 9110 section 15). 101 ends a transaction well.
    pub const fn of_status(status: u16) -> Self {
        match status {
            100..=399 => Self::Ok,
            400..=499 => Self::ClientError,
            500..=599 => Self::ServerError,
            _ => Self::Unknown,
        }
    }
}

/// How much of a transaction was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Completeness {
    /// Every byte of both messages.
    Complete,
    /// Bytes inside it were not captured.
    Gap,
    /// The capture ended, a limit was reached, or the stream or connection was
    /// reset inside a message: sizes are of what came before.
    Truncated,
    /// It, or the header table it depends on, began before the capture.
    LateJoin,
    /// Only one of request and response was seen: the other was not captured,
    /// or a reset came in its place.
    Unpaired,
}

impl Completeness {
    /// All, in the order of reports.
    pub const ALL: [Self; 5] =
        [Self::Complete, Self::Gap, Self::Truncated, Self::LateJoin, Self::Unpaired];

    /// The name in json, jsonl and csv.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Gap => "gap",
            Self::Truncated => "truncated",
            Self::LateJoin => "late-join",
            Self::Unpaired => "unpaired",
        }
    }
}

/// A protocol's own attribute of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A count or a size.
    Number(u64),
    /// Text.
    Text(String),
}

/// What gRPC adds to an HTTP transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grpc {
    /// `package.Service`, as UTF-8; its text is in the request's `head`. None
    /// where the path was not seen.
    pub service: Option<Span>,
    /// Method name, likewise.
    pub method: Option<Span>,
    /// Status code; None where it was not seen, which is never OK.
    pub status: Option<u32>,
    /// `grpc-message`, percent-decoded.
    pub message: Option<String>,
    /// "unary", "client_stream", "server_stream", "bidi_stream" as observed;
    /// None where messages were missed.
    pub kind: Option<&'static str>,
    /// Messages that the client sent, as far as seen.
    pub request_messages: u64,
    /// Messages that the server sent, as far as seen.
    pub response_messages: u64,
    /// `grpc-timeout` in nanoseconds.
    pub timeout_ns: Option<u64>,
}

impl Grpc {
    /// The status's name (gRPC core, statuscodes.md), `unknown` where no
    /// status was seen, and `CODE_n` for a number without a name.
    pub fn status_name(&self) -> String {
        match self.status {
            None => "unknown".to_owned(),
            Some(code) => match GRPC_STATUS.get(code as usize) {
                Some(name) => (*name).to_owned(),
                None => {
                    let mut text = String::from("CODE_");
                    let _ = write!(text, "{code}");
                    text
                }
            },
        }
    }
}

/// Names of gRPC status codes 0 to 16.
pub const GRPC_STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Interim responses that are kept of a transaction; nothing real has more than
/// a few.
pub const INTERIM: usize = 16;

/// A request and its response.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// "http/1.1", "http/1.0", "http/2", "grpc".
    pub protocol: &'static str,
    /// HTTP/2 stream id.
    pub stream: Option<u32>,
    /// None where no byte of the request was seen.
    pub request: Option<Message>,
    /// None where no byte of the final response was seen.
    pub response: Option<Message>,
    /// Interim responses (1xx) in order, where bodies are kept: the first
    /// [`INTERIM`].
    pub interim: Vec<Message>,
    /// Set for gRPC calls.
    pub grpc: Option<Grpc>,
    /// How it ended.
    pub outcome: Outcome,
    /// How much of it was seen.
    pub completeness: Completeness,
    /// Names of what was odd about it, each once, in the order found.
    pub anomalies: Vec<&'static str>,
    /// Further attributes by dotted name, e.g. `websocket.client.text.frames`
    /// or `http2.reset.code`.
    pub attributes: Vec<(&'static str, Value)>,
}

impl Transaction {
    /// A transaction of which nothing is known yet.
    pub fn new(protocol: &'static str) -> Self {
        Self {
            protocol,
            stream: None,
            request: None,
            response: None,
            interim: Vec::new(),
            grpc: None,
            outcome: Outcome::Unknown,
            completeness: Completeness::Complete,
            anomalies: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// Makes it one of which nothing is known yet, keeping the memory of its lists.
    pub fn reset(&mut self, protocol: &'static str) {
        self.reset_but_request(protocol);
        self.request = None;
    }

    /// The same, but the request stays as it is.
    #[inline]
    pub fn reset_but_request(&mut self, protocol: &'static str) {
        self.protocol = protocol;
        self.stream = None;
        self.response = None;
        self.interim.clear();
        self.grpc = None;
        self.outcome = Outcome::Unknown;
        self.completeness = Completeness::Complete;
        self.anomalies.clear();
        self.attributes.clear();
    }

    /// Adds an anomaly's name once.
    pub fn anomaly(&mut self, name: &'static str) {
        if !self.anomalies.contains(&name) {
            self.anomalies.push(name);
        }
    }

    /// When it began: the request's start, which is None where only its
    /// beginning was missed; the response's where no byte of a request was seen.
    pub fn start(&self) -> Option<Timestamp> {
        self.request.as_ref().or(self.response.as_ref())?.start
    }

    /// What puts transactions in order: the request's start, else the
    /// response's.
    pub fn rank(&self) -> Option<Timestamp> {
        let request = self.request.as_ref().and_then(|m| m.start);
        request.or_else(|| self.response.as_ref().and_then(|m| m.start))
    }

    /// Request start to response start in nanoseconds; None where either is
    /// unknown or the clock went back.
    pub fn latency_ns(&self) -> Option<u64> {
        self.nanos_to(self.response.as_ref()?.start)
    }

    /// Request start to response end in nanoseconds; None as above.
    pub fn duration_ns(&self) -> Option<u64> {
        self.nanos_to(self.response.as_ref()?.end)
    }

    fn nanos_to(&self, at: Option<Timestamp>) -> Option<u64> {
        let start = self.request.as_ref()?.start?;
        u64::try_from(at?.since(start)).ok()
    }

    /// A request's text by the span that `pick` names.
    pub fn request_text(&self, pick: impl Fn(&Message) -> Option<Span>) -> Option<&[u8]> {
        let request = self.request.as_ref()?;
        request.text(pick(request))
    }

    /// The service of a gRPC call.
    pub fn service(&self) -> Option<&[u8]> {
        let service = self.grpc.as_ref()?.service;
        self.request_text(|_| service)
    }

    /// The method of a gRPC call.
    pub fn rpc_method(&self) -> Option<&[u8]> {
        let method = self.grpc.as_ref()?.method;
        self.request_text(|_| method)
    }

    /// The response's status.
    pub fn status(&self) -> Option<u16> {
        self.response.as_ref().and_then(|m| m.status)
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        let message = |m: &Option<Message>| m.as_ref().map_or(0, Message::memory);
        size_of::<Self>() + message(&self.request) + message(&self.response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_not_seen_is_never_ok() {
        assert_eq!(Grpc::default().status_name(), "unknown");
        assert_eq!(Grpc { status: Some(0), ..Grpc::default() }.status_name(), "OK");
        assert_eq!(Grpc { status: Some(99), ..Grpc::default() }.status_name(), "CODE_99");
        assert_eq!(Transaction::new("http/1.1").outcome, Outcome::Unknown);
    }

    #[test]
    fn latency_needs_both_ends() {
        let mut t = Transaction::new("http/1.1");
        t.response = Some(Message { start: Some(Timestamp::from_nanos(9)), ..Message::default() });
        assert_eq!(t.latency_ns(), None);
        t.request = Some(Message { start: Some(Timestamp::from_nanos(4)), ..Message::default() });
        assert_eq!(t.latency_ns(), Some(5));
    }
}
