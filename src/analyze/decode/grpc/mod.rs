//! gRPC on top of HTTP transactions (gRPC over HTTP/2, PROTOCOL-HTTP2.md,
//! and gRPC-Web, PROTOCOL-WEB.md, of the grpc repository).
//!
//! A [`Call`] follows the body bytes of one HTTP stream and, once that ends,
//! turns its transaction into a call. A status that was not seen is None and
//! never OK.

mod messages;
#[cfg(test)]
mod tests;

use crate::analyze::decode::Direction;
use crate::analyze::fields::{Fields, Span};
use crate::analyze::transaction::{Completeness, Grpc, Message, Outcome, Transaction, Value};
use crate::time::Timestamp;
use messages::Messages;

/// `CANCEL` of RST_STREAM (RFC 9113 section 7).
const CANCEL: u32 = 8;
/// The server ended a 200 response without a status.
const STATUS_MISSING: &str = "grpc-status-missing";
/// A body that is not made of length-prefixed messages.
const MALFORMED: &str = "grpc-message-malformed";

/// Follows one gRPC call beside the HTTP stream that carries it.
#[derive(Debug)]
pub struct Call {
    web: bool,
    /// Request and response messages, by [`Direction::index`].
    messages: [Messages; 2],
}

/// RST_STREAM: way, code and time.
pub type Reset = (Direction, Option<u32>, Option<Timestamp>);

impl Call {
    /// A call where this request or response head says that it is one.
    pub fn detect(head: &Message) -> Option<Self> {
        kind_of(head).map(Self::new)
    }

    /// A call, of gRPC-Web or not.
    pub fn new(web: bool) -> Self {
        Self { web, messages: [Messages::new(web), Messages::new(web)] }
    }

    /// Takes body bytes in order.
    pub fn data(&mut self, direction: Direction, data: &[u8]) {
        self.side(direction).data(data);
    }

    /// That many body bytes are missing.
    pub fn gap(&mut self, direction: Direction, len: u64) {
        self.side(direction).gap(len);
    }

    /// A message's head is here: its body is still to come, whatever was lost before.
    pub fn begin(&mut self, direction: Direction) {
        *self.side(direction) = Messages::new(self.web);
    }

    /// Body bytes may be missing, how many is not known; or came before the
    /// call was known to be one.
    pub fn lost(&mut self, direction: Direction) {
        self.side(direction).lost();
    }

    /// Bytes of memory held besides its own.
    pub fn memory(&self) -> usize {
        self.messages.iter().map(|m| m.trailers.capacity()).sum()
    }

    fn side(&mut self, direction: Direction) -> &mut Messages {
        let [request, response] = &mut self.messages;
        match direction {
            Direction::ToServer => request,
            Direction::ToClient => response,
        }
    }

    /// Completes the transaction: sets its protocol, `grpc`, outcome.
    pub fn finish(self, transaction: &mut Transaction) {
        let ended = |message: &Option<Message>| message.as_ref().is_some_and(|m| m.end.is_some());
        let ended = [ended(&transaction.request), ended(&transaction.response)];
        let whole = transaction.completeness == Completeness::Complete;
        self.finish_stream(transaction, ended, whole, None);
    }

    /// As [`Call::finish`], where the caller knows which messages ended,
    /// whether all that was sent was seen, and whether RST_STREAM ended the
    /// stream.
    pub fn finish_stream(
        self,
        t: &mut Transaction,
        ended: [bool; 2],
        seen_all: bool,
        reset: Option<Reset>,
    ) {
        t.protocol = "grpc";
        let mut grpc = Grpc {
            request_messages: self.messages[0].count,
            response_messages: self.messages[1].count,
            ..Grpc::default()
        };
        if let Some(request) = &mut t.request {
            (grpc.service, grpc.method) = split_path(request).unzip();
            grpc.timeout_ns = request.head.value("grpc-timeout").and_then(parse_timeout);
        }
        self.status(t, &mut grpc);
        grpc.kind = self.kind(ended == [true, true] || seen_all);
        if ended[1] && seen_all && grpc.status.is_none() && t.status() == Some(200) {
            t.anomaly(STATUS_MISSING);
        }
        self.outcome(t, &grpc, ended[1], reset);
        self.attributes(t);
        t.grpc = Some(grpc);
    }

    /// Status and message: from the trailers, from the head of a
    /// trailers-only response, or from the trailers in a gRPC-Web body.
    fn status(&self, t: &Transaction, grpc: &mut Grpc) {
        let Some(response) = &t.response else { return };
        let web = web_trailers(&self.messages[1].trailers);
        for fields in [&response.trailers, &response.head, &web] {
            grpc.status = fields.value("grpc-status").and_then(parse_status);
            if grpc.status.is_some() {
                grpc.message = fields.value("grpc-message").map(decode_message);
                return;
            }
        }
    }

    /// What the counts show. A call is "unary" with at most one message each
    /// way and one request at least (an error may come before the response),
    /// a stream in each direction that had more; requests of none with a
    /// response are possible only for client streams. None where messages
    /// may have been missed or nothing was sent.
    fn kind(&self, settled: bool) -> Option<&'static str> {
        let [request, response] = &self.messages;
        let (sent, received) = (request.count, response.count);
        if sent > 1 && received > 1 {
            return Some("bidi_stream");
        }
        let certain = settled && request.certain && response.certain;
        if !certain || request.malformed || response.malformed {
            return None;
        }
        match (sent, received) {
            (0, 0) => None,
            (1, 0 | 1) => Some("unary"),
            (1, _) => Some("server_stream"),
            (0, 2..) => Some("bidi_stream"),
            (_, 0 | 1) => Some("client_stream"),
            _ => Some("bidi_stream"),
        }
    }

    fn outcome(&self, t: &mut Transaction, grpc: &Grpc, ended: bool, reset: Option<Reset>) {
        if let Some(status) = grpc.status {
            t.outcome = of_grpc(status);
            return;
        }
        if !ended {
            if t.outcome == Outcome::Reset && is_timeout(t, grpc, reset) {
                t.outcome = Outcome::Timeout;
            }
            return;
        }
        if t.outcome == Outcome::Ok {
            t.outcome = Outcome::Unknown;
        }
    }

    fn attributes(&self, t: &mut Transaction) {
        let encoding = |m: &Option<Message>| {
            let value = m.as_ref()?.head.value("grpc-encoding")?;
            Some(Value::Text(String::from_utf8_lossy(value).into_owned()))
        };
        let [request, response] = &self.messages;
        let [of_request, of_response] = [encoding(&t.request), encoding(&t.response)];
        request.attributes(&REQUEST, of_request, t);
        response.attributes(&RESPONSE, of_response, t);
        if self.web {
            t.attributes.push(("grpc.web", Value::Number(1)));
        }
        let whole = t.completeness == Completeness::Complete && t.outcome != Outcome::Reset;
        if whole && self.messages.iter().any(|m| m.certain && !m.malformed && !m.is_whole()) {
            t.anomaly("grpc-message-cut");
        }
    }
}

/// Names of the attributes of one direction: encoding, bytes, compressed.
type Names = [&'static str; 3];
const REQUEST: Names = ["grpc.request.encoding", "grpc.request.bytes", "grpc.request.compressed"];
const RESPONSE: Names =
    ["grpc.response.encoding", "grpc.response.bytes", "grpc.response.compressed"];

impl Messages {
    #[inline]
    fn attributes(&self, names: &Names, encoding: Option<Value>, t: &mut Transaction) {
        let [name, bytes, compressed] = *names;
        if let Some(encoding) = encoding {
            t.attributes.push((name, encoding));
        }
        t.attributes.push((bytes, Value::Number(self.bytes)));
        if self.compressed > 0 {
            t.attributes.push((compressed, Value::Number(self.compressed)));
        }
        if self.malformed {
            t.anomaly(MALFORMED);
        }
    }
}

/// Whether this request or response head says that it is of a call
/// (content-type `application/grpc…`, or a `grpc-status` field), and then
/// whether of gRPC-Web.
pub fn kind_of(head: &Message) -> Option<bool> {
    match head.head.value("content-type") {
        Some(value) => content_type(value),
        None => {
            head.head.get("grpc-status").or_else(|| head.trailers.get("grpc-status"))?;
            Some(false)
        }
    }
}

/// Whether the content type is gRPC's, and then whether it is gRPC-Web's.
fn content_type(value: &[u8]) -> Option<bool> {
    const GRPC: &[u8] = b"application/grpc";
    let (start, rest) = value.split_at_checked(GRPC.len())?;
    if !start.eq_ignore_ascii_case(GRPC) {
        return None;
    }
    match rest {
        [] | [b'+' | b';' | b' ', ..] => Some(false),
        [b'-', web @ ..] => {
            web.get(..3).is_some_and(|web| web.eq_ignore_ascii_case(b"web")).then_some(true)
        }
        _ => None,
    }
}

/// `/package.Service/Method`; bytes that are no UTF-8 are replaced.
fn split_path(request: &mut Message) -> Option<(Span, Span)> {
    let span = request.path?;
    let path = request.head.text(span);
    let names = path.strip_prefix(b"/")?;
    let slash = memchr::memrchr(b'/', names).filter(|at| (1..names.len() - 1).contains(at))?;
    if path.is_ascii() || std::str::from_utf8(path).is_ok() {
        let [_, names] = span.split(0);
        let [service, method] = names.split(slash);
        return Some((service, method));
    }
    let (service, method) = (names.get(..slash)?, names.get(slash + 1..)?);
    let [service, method] = [service, method].map(|t| String::from_utf8_lossy(t).into_owned());
    Some((request.head.store(service.as_bytes()), request.head.store(method.as_bytes())))
}

/// `grpc-timeout`: up to 8 digits and a unit, in nanoseconds.
fn parse_timeout(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    // 99,999,999 hours are 3.6e20 ns, more than 64 bits hold.
    std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?.checked_mul(nanos)
}

/// A decimal status code.
fn parse_status(value: &[u8]) -> Option<u32> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// `grpc-message`: percent-encoded UTF-8; what is not stays as it is, and
/// bytes that are no UTF-8 are replaced.
fn decode_message(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let digits = after.first_chunk::<2>().filter(|_| first == b'%');
        let byte = digits.and_then(|[a, b]| Some(hex(*a)? << 4 | hex(*b)?));
        bytes.push(byte.unwrap_or(first));
        if byte.is_some() {
            rest = after.get(2..).unwrap_or_default();
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Trailers as HTTP/1 fields (gRPC-Web, "Trailers").
fn web_trailers(text: &[u8]) -> Fields {
    let mut fields = Fields::default();
    for line in text.split(|b| *b == b'\n') {
        if let Some(colon) = memchr::memchr(b':', line) {
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            fields.push(&name.trim_ascii().to_ascii_lowercase(), value);
        }
    }
    fields
}

/// Who is to blame for a status: the server for those that OpenTelemetry's
/// RPC conventions count as errors of a server span, the client for the
/// rest. DEADLINE_EXCEEDED is a timeout.
const fn of_grpc(status: u32) -> Outcome {
    match status {
        0 => Outcome::Ok,
        4 => Outcome::Timeout,
        // UNKNOWN, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
        2 | 12 | 13 | 14 | 15 => Outcome::ServerError,
        // Codes without a name are to be treated as UNKNOWN.
        17.. => Outcome::ServerError,
        _ => Outcome::ClientError,
    }
}

/// Whether the client cancelled after the time that it had set was over.
fn is_timeout(t: &Transaction, grpc: &Grpc, reset: Option<Reset>) -> bool {
    let Some((Direction::ToServer, Some(CANCEL), Some(at))) = reset else { return false };
    let Some(start) = t.request.as_ref().and_then(|m| m.start) else { return false };
    let elapsed = u64::try_from(at.since(start)).unwrap_or(0);
    grpc.timeout_ns.is_some_and(|timeout| elapsed >= timeout)
}
