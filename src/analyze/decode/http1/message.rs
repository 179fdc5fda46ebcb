//! What a head, whole or cut, does to the connection.

use super::body::{Facts, Framing, names};
use super::exchange::{Exchange, Method, Part};
use super::half::{Mark, State};
use super::head::{
    FieldLines, Head, Parsed, RequestLine, StatusLine, Version, may_be_request, may_be_response,
    parse_request, parse_response, plain_lines, push_field, request_line, slots, split_fields,
    status_line, without_cr,
};
use super::lone::whole_body;
use super::{Detector, Http1, Mode, log, memo, scan, websocket};
use crate::analyze::decode::grpc::Call;
use crate::analyze::decode::{Direction, End, Late, Sink, http2};
use crate::analyze::fields::Fields;
use crate::analyze::transaction::Message;

/// Bytes between messages that begin none.
const UNEXPECTED: &str = "unexpected-bytes";

impl Http1 {
    /// Reads a head at the beginning of `input` and says how many bytes it
    /// took; None while it is not whole. Bytes that are no head take none
    /// and start resynchronisation.
    pub(super) fn whole_head(
        &mut self,
        direction: Direction,
        mark: Mark,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> Option<usize> {
        match self.plain_head(direction, mark, input, out) {
            None => self.unusual_head(direction, mark, input, out),
            used => used,
        }
    }

    /// The same for one that is not like nearly all.
    #[inline(never)]
    fn unusual_head(
        &mut self,
        direction: Direction,
        mark: Mark,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> Option<usize> {
        let mut slots = slots();
        let used = match direction {
            Direction::ToServer => match parse_request(input, &mut slots) {
                Ok(Parsed::Complete(head, used)) => {
                    let facts = Facts::of(&head.fields);
                    self.request_head(&head, &facts, mark, out);
                    Some(used)
                }
                Ok(Parsed::Incomplete) => return None,
                Err(_) => None,
            },
            Direction::ToClient => match parse_response(input, &mut slots) {
                Ok(Parsed::Complete(head, used)) => {
                    let facts = Facts::of(&head.fields);
                    self.response_head(&head, &facts, mark, out);
                    Some(used)
                }
                Ok(Parsed::Incomplete) => return None,
                Err(_) => None,
            },
        };
        if used.is_none() {
            out.anomaly(UNEXPECTED);
            self.lost(direction, out);
        }
        Some(used.unwrap_or(0))
    }

    /// Reads a head that is like nearly all; None says nothing, and nothing
    /// has happened.
    #[inline]
    fn plain_head(
        &mut self,
        direction: Direction,
        mark: Mark,
        input: &[u8],
        out: &mut Sink<'_>,
    ) -> Option<usize> {
        let (line, rest) = match direction {
            Direction::ToServer => {
                scan::request_line(input).map(|(line, rest)| (FirstLine::Request(line), rest))?
            }
            Direction::ToClient => {
                scan::status_line(input).map(|(line, rest)| (FirstLine::Status(line), rest))?
            }
        };
        let mut facts = Facts::default();
        let len = memo::read(rest, &mut facts)?;
        let (section, body) = rest.split_at_checked(len)?;
        let (fields, malformed) = (FieldLines::Plain(section), false);
        let mut used = input.len() - body.len();
        match line {
            FirstLine::Request(line) => {
                if !self.whole_request(input, (&line, section), &facts, mark, out) {
                    self.request_head(&Head { line, fields, malformed }, &facts, mark, out);
                }
            }
            FirstLine::Status(line) => {
                match self.whole_response(&line, (rest, len), &facts, mark, out) {
                    Some(len) => used += len,
                    None => {
                        self.response_head(&Head { line, fields, malformed }, &facts, mark, out);
                    }
                }
            }
        }
        Some(used)
    }

    /// Does at once what a response does whose body is here as a whole, where
    /// nothing else is to be kept of it or in doubt, and says how long its
    /// body is. None says that all is still to be done. Its fields are the first
    /// `section` bytes of what is behind its line.
    #[inline]
    fn whole_response(
        &mut self,
        line: &StatusLine<'_>,
        (rest, section): (&[u8], usize),
        facts: &Facts<'_>,
        mark: Mark,
        out: &mut Sink<'_>,
    ) -> Option<usize> {
        let len = whole_body(line, facts, rest.get(section..)?)?;
        let simple = !out.wants.log && !out.wants.bodies && self.pairing.is_plain();
        if !simple || matches!(self.halves[0].state, State::Hold) {
            return None;
        }
        let head = kept_lines(rest, section, out);
        let read = |exchange: &mut Exchange| {
            let message = exchange.begin(Direction::ToClient, head, mark);
            message.status = Some(line.status);
            message.body_bytes = len as u64;
        };
        self.pairing.answer(read, out);
        Some(len)
    }

    fn request_head(
        &mut self,
        head: &Head<'_, '_, RequestLine<'_>>,
        facts: &Facts<'_>,
        mark: Mark,
        out: &mut Sink<'_>,
    ) {
        let RequestLine { method, target, version } = head.line;
        out.event(Direction::ToServer, mark.start, || log::request(head, facts.host));
        let mut exchange = Exchange::new(version.protocol(), out);
        let message = exchange.begin(Direction::ToServer, out.fields(), mark);
        request_texts(message, method, target, facts.host);
        message.minor = out.wants.bodies.then_some(version.minor());
        message.body = out.body(mark.packet);
        message.pauses = out.pauses(mark.end);
        if out.wants.headers || facts.grpc {
            head.fields.keep(&mut message.head);
        }
        if facts.grpc {
            exchange.call = Call::detect(message).map(Box::new);
        }
        exchange.method = kind_of(method);
        exchange.hold = exchange.method == Method::Connect || facts.upgrade.is_some();
        if facts.upgrade.is_some() {
            exchange.settings = facts.settings.map(Box::from);
        }
        head_anomalies(&mut exchange, head.malformed, facts);
        let idle = self.halves[1].idle();
        self.pairing.request(exchange, idle, out);
        self.body_begins(Direction::ToServer, facts.request_framing(), mark, out);
    }

    fn response_head(
        &mut self,
        head: &Head<'_, '_, StatusLine<'_>>,
        facts: &Facts<'_>,
        mark: Mark,
        out: &mut Sink<'_>,
    ) {
        let StatusLine { version, status, .. } = head.line;
        out.event(Direction::ToClient, mark.start, || log::response(head));
        if matches!(status, 100 | 102..=199) {
            self.interim(head, mark, out);
            return self.ready(Direction::ToClient);
        }
        let kept = if out.wants.headers { out.fields() } else { Fields::default() };
        let exchange = self.pairing.response(version.protocol(), out);
        let known = exchange.call.is_some();
        let message = exchange.begin(Direction::ToClient, kept, mark);
        message.status = Some(status);
        message.minor = out.wants.bodies.then_some(version.minor());
        message.body = out.body(mark.packet);
        message.pauses = out.pauses(mark.end);
        if out.wants.headers || facts.grpc || known {
            head.fields.keep(&mut message.head);
        }
        if facts.grpc && !known {
            exchange.call = Call::detect(message).map(Box::new);
        }
        head_anomalies(exchange, head.malformed, facts);
        // A tentative pair says nothing for certain about the body.
        let method = if exchange.tentative { Method::Unknown } else { exchange.method };
        if status == 101 || (method == Method::Connect && (200..300).contains(&status)) {
            return self.switch(status, facts, out);
        }
        exchange.hold = false;
        let framing = match (method, facts.response_framing(status)) {
            (Method::Head, _) => Framing::None,
            (_, framing) => framing,
        };
        match framing {
            Framing::None => self.body_begins(Direction::ToClient, framing, mark, out),
            _ if method == Method::Unknown => {
                self.half(Direction::ToClient).drop_carry();
                self.half(Direction::ToClient).state = State::Maybe(framing);
            }
            _ => self.body_begins(Direction::ToClient, framing, mark, out),
        }
        self.release(out);
    }

    /// A direction is between messages.
    fn ready(&mut self, direction: Direction) {
        let half = self.half(direction);
        half.state = State::Head;
        half.drop_carry();
    }

    fn body_begins(
        &mut self,
        direction: Direction,
        framing: Framing,
        mark: Mark,
        out: &mut Sink<'_>,
    ) {
        self.ready(direction);
        self.half(direction).state = match framing {
            Framing::None => return self.message_ended(direction, mark.last, out),
            Framing::Length(len) => State::Length(len),
            Framing::Chunked => State::Chunked(Box::default()),
            Framing::UntilClose => State::UntilClose,
        };
    }

    /// The response being read makes the connection something else.
    fn switch(&mut self, status: u16, facts: &Facts<'_>, out: &mut Sink<'_>) {
        self.ready(Direction::ToClient);
        let Some(mut exchange) = self.pairing.take_current() else { return };
        exchange.ends(Direction::ToClient);
        // Requests that wait beside it will not see an answer.
        self.pairing.close(End::Replaced, true, out);
        // No other answer can follow where this is the one that was asked for.
        self.pairing.finish(exchange.hold, out);
        if exchange.parts[0] == Part::Open {
            // The rest of its body is still to come and belongs to nothing else.
            exchange.cut(Direction::ToServer, None);
        } else {
            self.ready(Direction::ToServer);
        }
        let upgrade = facts.upgrade.filter(|_| status == 101).unwrap_or_default();
        if names(upgrade, b"websocket") {
            out.kind("websocket");
            let connection = Box::new(websocket::Connection::new(facts.deflate));
            self.mode = Mode::WebSocket { connection, exchange: Box::new(exchange) };
        } else if names(upgrade, b"h2c") && exchange.transaction.request.is_some() {
            out.kind(http2::PROTOCOL.name);
            let settings = exchange.settings.take();
            let request = exchange.transaction.request.take().unwrap_or_default();
            let loss = if exchange.gap || exchange.parts[0] != Part::Whole {
                Some(http2::Loss::Gap)
            } else {
                exchange.late.then_some(http2::Loss::Late)
            };
            let decoder = http2::upgraded(request, settings.as_deref(), loss);
            self.mode = Mode::Nested(decoder);
        } else {
            self.mode = Mode::Nested(Box::new(Detector::new(Late::default())));
            out.boxed(exchange.finish());
        }
        self.release(out);
    }

    /// Makes what can be made of a head that will not be whole: the first
    /// line if that is, and the host of a request.
    pub(super) fn salvage(
        &mut self,
        direction: Direction,
        end: Option<End>,
        anomaly: Option<&'static str>,
        out: &mut Sink<'_>,
    ) {
        let half = self.half(direction);
        if half.carry.is_empty() {
            return;
        }
        let (mark, carry) = (half.mark, std::mem::take(&mut half.carry));
        let gap = end.is_none() && anomaly.is_none();
        // Only lines whose end was seen are known to be whole.
        let whole = memchr::memrchr(b'\n', &carry).and_then(|at| carry.get(..=at));
        let lines = whole.unwrap_or_default();
        let first = memchr::memchr(b'\n', lines).unwrap_or(0);
        let (line, fields) = lines.split_at_checked(first).unwrap_or_default();
        let line = if lines.is_empty() { &carry } else { without_cr(line) };
        // Read at once, bytes that no head begins with are told as such; so are they where they
        // came piece by piece and only their end would have said so.
        let begun = match direction {
            Direction::ToServer if lines.is_empty() => may_be_request(&carry),
            Direction::ToServer => request_line(line).is_some(),
            Direction::ToClient if lines.is_empty() => may_be_response(&carry),
            Direction::ToClient => status_line(line).is_some(),
        };
        if !begun {
            out.anomaly(UNEXPECTED);
            return self.lost(direction, out);
        }
        match direction {
            Direction::ToServer => {
                let line = if lines.is_empty() { &[] } else { line };
                self.cut_request(line, fields, mark, gap, anomaly, out);
            }
            Direction::ToClient => self.cut_response(line, fields, mark, (gap, end), anomaly, out),
        }
    }

    fn cut_request(
        &mut self,
        line: &[u8],
        fields: &[u8],
        mark: Mark,
        gap: bool,
        anomaly: Option<&'static str>,
        out: &mut Sink<'_>,
    ) {
        let line = request_line(line);
        let protocol = line.map_or(Version::Http11, |line| line.version).protocol();
        let mut exchange = Exchange::new(protocol, out);
        let message = exchange.begin(Direction::ToServer, out.fields(), mark);
        message.head.mark_cut();
        let mut host = None;
        split_fields(fields, |name, value| {
            if name.eq_ignore_ascii_case(b"host") {
                host.get_or_insert(value);
            }
            if out.wants.headers {
                push_field(&mut message.head, name, value);
            }
        });
        if let Some(RequestLine { method, target, .. }) = line {
            request_texts(message, method, target, host);
            exchange.method = kind_of(method);
        }
        exchange.gap = gap;
        let idle = self.halves[1].idle();
        self.pairing.request(exchange, idle, out);
        if let Some(exchange) = self.pairing.current(Direction::ToServer) {
            exchange.cut(Direction::ToServer, None);
            anomaly.into_iter().for_each(|name| exchange.transaction.anomaly(name));
        }
    }

    fn cut_response(
        &mut self,
        line: &[u8],
        fields: &[u8],
        mark: Mark,
        (gap, end): (bool, Option<End>),
        anomaly: Option<&'static str>,
        out: &mut Sink<'_>,
    ) {
        // A status is whole once a byte follows it.
        let line = Some(line).filter(|line| line.len() > b"HTTP/1.1 200".len());
        let line = line.and_then(status_line);
        if let Some(StatusLine { status: 100 | 102..=199, .. }) = line {
            return;
        }
        let protocol = line.map_or(Version::Http11, |line| line.version).protocol();
        let exchange = self.pairing.response(protocol, out);
        let message = exchange.begin(Direction::ToClient, out.fields(), mark);
        message.head.mark_cut();
        message.status = line.map(|line| line.status);
        if line.is_none() {
            // It may have been an interim response, and the final one began later.
            message.start = None;
        }
        if out.wants.headers {
            split_fields(fields, |name, value| push_field(&mut message.head, name, value));
        }
        exchange.gap |= gap;
        anomaly.into_iter().for_each(|name| exchange.transaction.anomaly(name));
        self.pairing.response_cut(end, out);
        if line.is_none() && end.is_none() {
            // It may have been an interim response.
            self.pairing.unsure();
        }
    }

    /// Keeps the trailers of the current message where they are wanted.
    pub(super) fn trailers(&mut self, direction: Direction, out: &mut Sink<'_>) {
        let State::Chunked(chunked) = &self.halves[direction.index()].state else { return };
        let Some(exchange) = self.pairing.current(direction) else { return };
        if !(out.wants.headers || exchange.call.is_some()) || chunked.trailer().len() <= 2 {
            return;
        }
        if let Some(message) = exchange.message(direction) {
            message.trailers = out.fields();
            let trailers = &mut message.trailers;
            split_fields(chunked.trailer(), |name, value| push_field(trailers, name, value));
        }
    }
}

/// A list with the fields of the plain section of `len` bytes that begins
/// `input`, where they are wanted.
#[inline]
pub(super) fn kept_lines(input: &[u8], len: usize, out: &mut Sink<'_>) -> Fields {
    let mut kept = Fields::default();
    if out.wants.headers {
        kept = out.fields();
        kept.push_lines(plain_lines(input.get(..len).unwrap_or_default()));
    }
    kept
}

/// The first line of a head.
enum FirstLine<'b> {
    Request(RequestLine<'b>),
    Status(StatusLine<'b>),
}

fn head_anomalies(exchange: &mut Exchange, malformed: bool, facts: &Facts<'_>) {
    if malformed {
        exchange.transaction.anomaly("malformed-head");
    }
    facts.anomalies(|name| exchange.transaction.anomaly(name));
}

pub(super) fn kind_of(method: &[u8]) -> Method {
    match method {
        b"HEAD" => Method::Head,
        b"CONNECT" => Method::Connect,
        _ => Method::Other,
    }
}

/// Fills in method, scheme, authority and path (RFC 9112 section 3.2).
fn request_texts(message: &mut Message, method: &[u8], target: &[u8], host: Option<&[u8]>) {
    let absolute = absolute_form(target);
    let authority = match absolute {
        Some((_, authority)) => Some(authority),
        None if method == b"CONNECT" => Some(target),
        None => host,
    };
    let scheme = absolute.map_or(&b"http"[..], |(scheme, _)| scheme);
    // As `plain_texts` lays it out.
    let texts = [scheme, method, b" ", target, authority.unwrap_or_default()];
    let [scheme, method, _, target, host] = message.head.store_all(texts);
    (message.method, message.path, message.scheme) = (Some(method), Some(target), Some(scheme));
    message.authority = authority.map(|_| host);
}

/// The same of a request line with single blanks, which begins `input`.
#[inline]
pub(super) fn plain_texts(
    message: &mut Message,
    input: &[u8],
    line: &RequestLine<'_>,
    host: Option<&[u8]>,
) {
    let (method, target) = (line.method.len(), line.target.len());
    let (Some(text), Some(b'/')) = (input.get(..method + 1 + target), line.target.first()) else {
        return request_texts(message, line.method, line.target, host);
    };
    let texts = [b"http", text, host.unwrap_or_default()];
    let [scheme, text, authority] = message.head.store_all(texts);
    let [method, target] = text.split(method);
    (message.method, message.path, message.scheme) = (Some(method), Some(target), Some(scheme));
    message.authority = host.map(|_| authority);
}

/// Scheme and authority of a target in absolute form.
fn absolute_form(target: &[u8]) -> Option<(&[u8], &[u8])> {
    if target.first().is_none_or(|b| !b.is_ascii_alphabetic()) {
        return None;
    }
    let end = memchr::memmem::find(target, b"://")?;
    let (scheme, rest) = target.split_at_checked(end)?;
    if !scheme.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) {
        return None;
    }
    let rest = rest.get(3..)?;
    let len = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    Some((scheme, rest.get(..len)?))
}
