//! Heads of HTTP/1 messages: bytes in, borrowed values out.
//!
//! The plainest heads are read by `scan`, all else that RFC 9112 allows by
//! `httparse`; what it refuses and real peers send all the same goes to a
//! lenient line splitter, and is then marked as malformed. Pure: no state, no
//! framing rules (see `body`), no pairing.

use std::mem::MaybeUninit;

use memchr::{memchr, memchr_iter};
use thiserror::Error;

use crate::analyze::fields::Fields;

/// Field slots on the stack; heads with more go to the line splitter.
const SLOTS: usize = 64;

/// Longest method. RFC 9110 knows none above 16; extension methods are rarer still.
pub const METHOD_BYTES: usize = 32;

/// Stack space that `httparse` fills.
pub type Slots<'b> = [MaybeUninit<httparse::Header<'b>>; SLOTS];

/// Empty slots; costs nothing, since they are not initialised.
pub const fn slots<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; SLOTS]
}

/// Why bytes can never become a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeadError {
    /// They do not begin with `method SP target … HTTP/1.x`.
    #[error("not a request line")]
    NotRequest,
    /// They do not begin with `HTTP/1.x SP status`.
    #[error("not a status line")]
    NotResponse,
}

/// What came of parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A value and how many bytes it took.
    Complete(T, usize),
    /// More bytes are needed.
    Incomplete,
}

/// HTTP/1.0 or HTTP/1.1 (which stands for all later minor versions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0, and ICY.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    const fn of_minor(minor: u8) -> Self {
        if minor == 0 { Self::Http10 } else { Self::Http11 }
    }

    /// The name in the `protocol` of a transaction.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Http10 => "http/1.0",
            Self::Http11 => "http/1.1",
        }
    }

    /// The digit behind the point.
    pub const fn minor(self) -> u8 {
        match self {
            Self::Http10 => 0,
            Self::Http11 => 1,
        }
    }

    /// As on the wire.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// First line of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine<'b> {
    /// Method.
    pub method: &'b [u8],
    /// Request target as sent.
    pub target: &'b [u8],
    /// Version.
    pub version: Version,
}

/// First line of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusLine<'b> {
    /// Version.
    pub version: Version,
    /// Status, three digits.
    pub status: u16,
    /// Reason phrase; empty where there is none.
    pub reason: &'b [u8],
}

/// A head: its first line and its fields.
#[derive(Clone, Copy, Debug)]
pub struct Head<'h, 'b, L> {
    /// First line.
    pub line: L,
    /// Field lines.
    pub fields: FieldLines<'h, 'b>,
    /// Whether it breaks the grammar of RFC 9112.
    pub malformed: bool,
}

/// The fields of a head, from whichever parser read it.
#[derive(Clone, Copy, Debug)]
pub enum FieldLines<'h, 'b> {
    /// Read by `httparse`.
    Strict(&'h [httparse::Header<'b>]),
    /// Field lines to split, without the first line.
    Lenient(&'b [u8]),
    /// A section read by `scan`: plain lines ([`Fields::push_lines`]) and the
    /// empty one.
    Plain(&'b [u8]),
}

impl<'b> FieldLines<'_, 'b> {
    /// Calls `f` with each name and value in order. A folded value still
    /// holds its line ends ([`unfold`]).
    #[inline]
    pub fn each(&self, mut f: impl FnMut(&'b [u8], &'b [u8])) {
        match self {
            Self::Strict(headers) => {
                headers.iter().for_each(|h| f(h.name.as_bytes(), h.value));
            }
            Self::Lenient(lines) | Self::Plain(lines) => {
                split_fields(lines, f);
            }
        }
    }

    /// Keeps all of them.
    #[inline]
    pub fn keep(&self, fields: &mut Fields) {
        match self {
            Self::Plain(section) => fields.push_lines(plain_lines(section)),
            _ => self.each(|name, value| push_field(fields, name, value)),
        }
    }
}

/// The lines of a section that `scan` has read, without the empty one.
pub fn plain_lines(section: &[u8]) -> &[u8] {
    section.strip_suffix(b"\r\n").unwrap_or(section)
}

/// Keeps a field, its value as one line.
pub fn push_field(fields: &mut Fields, name: &[u8], value: &[u8]) {
    if memchr(b'\n', value).is_some() {
        fields.push(name, &unfold(value));
    } else {
        fields.push(name, value);
    }
}

/// Reads a request head (RFC 9112 sections 3 and 5).
pub fn parse_request<'h, 'b>(
    input: &'b [u8],
    slots: &'h mut Slots<'b>,
) -> Result<Parsed<Head<'h, 'b, RequestLine<'b>>>, HeadError> {
    let mut request = httparse::Request::new(&mut []);
    let error = match request.parse_with_uninit_headers(input, slots) {
        Ok(httparse::Status::Complete(len)) => {
            let (Some(method), Some(target), Some(minor)) =
                (request.method, request.path, request.version)
            else {
                return Err(HeadError::NotRequest);
            };
            let (method, target) = (method.as_bytes(), target.as_bytes());
            let line = RequestLine { method, target, version: Version::of_minor(minor) };
            let fields = FieldLines::Strict(request.headers);
            return Ok(Parsed::Complete(Head { line, fields, malformed: false }, len));
        }
        Ok(httparse::Status::Partial) => return Ok(Parsed::Incomplete),
        Err(error) => error,
    };
    if !may_be_request(input) {
        return Err(HeadError::NotRequest);
    }
    lenient(input, error, request_line, HeadError::NotRequest)
}

/// The lowest status that there is (RFC 9110 section 15): `HTTP/1.1 020` is no
/// status line.
pub const LOWEST_STATUS: u16 = 100;

/// Reads a response head (RFC 9112 sections 4 and 5).
pub fn parse_response<'h, 'b>(
    input: &'b [u8],
    slots: &'h mut Slots<'b>,
) -> Result<Parsed<Head<'h, 'b, StatusLine<'b>>>, HeadError> {
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let result = config.parse_response_with_uninit_headers(&mut response, input, slots);
    let error = match result {
        Ok(httparse::Status::Complete(len)) => {
            let (Some(minor), Some(status)) = (response.version, response.code) else {
                return Err(HeadError::NotResponse);
            };
            if status < LOWEST_STATUS {
                return Err(HeadError::NotResponse);
            }
            let reason = response.reason.unwrap_or_default().as_bytes();
            let line = StatusLine { version: Version::of_minor(minor), status, reason };
            let fields = FieldLines::Strict(response.headers);
            return Ok(Parsed::Complete(Head { line, fields, malformed: false }, len));
        }
        Ok(httparse::Status::Partial) => return Ok(Parsed::Incomplete),
        Err(error) => error,
    };
    if !may_be_response(input) {
        return Err(HeadError::NotResponse);
    }
    lenient(input, error, status_line, HeadError::NotResponse)
}

/// Reads a head that `httparse` refused with `error`.
fn lenient<'h, 'b, L>(
    input: &'b [u8],
    error: httparse::Error,
    line: fn(&'b [u8]) -> Option<L>,
    not: HeadError,
) -> Result<Parsed<Head<'h, 'b, L>>, HeadError> {
    let Some(first) = memchr(b'\n', input) else { return Ok(Parsed::Incomplete) };
    let value = line(without_cr(input.get(..first).unwrap_or_default())).ok_or(not)?;
    let Some(end) = head_end(input, 0) else { return Ok(Parsed::Incomplete) };
    let lines = input.get(first + 1..end).unwrap_or_default();
    let many = error == httparse::Error::TooManyHeaders;
    let malformed = !(many && split_fields(lines, |_, _| {}));
    Ok(Parsed::Complete(Head { line: value, fields: FieldLines::Lenient(lines), malformed }, end))
}

/// Where the head that begins `bytes` ends: behind its first empty line.
/// Lines before `from` are known not to be empty.
pub fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    for at in memchr_iter(b'\n', tail) {
        match tail.get(at + 1..) {
            Some([b'\n', ..]) => return Some(from + at + 2),
            Some([b'\r', b'\n', ..]) => return Some(from + at + 3),
            _ => {}
        }
    }
    None
}

/// Splits off a request line: method up to the first blank, version behind
/// the last, target between, whatever it holds.
pub fn request_line(line: &[u8]) -> Option<RequestLine<'_>> {
    let method_end = line.iter().position(|b| is_blank(*b))?;
    let (method, rest) = line.split_at_checked(method_end)?;
    if method.is_empty() || method.len() > METHOD_BYTES || !method.iter().all(|b| is_token(*b)) {
        return None;
    }
    let rest = rest.trim_ascii();
    let target_end = rest.iter().rposition(|b| is_blank(*b))?;
    let (target, version) = rest.split_at_checked(target_end)?;
    let version = version_of(version.trim_ascii())?;
    Some(RequestLine { method, target: target.trim_ascii(), version })
}

/// Splits off a status line.
pub fn status_line(line: &[u8]) -> Option<StatusLine<'_>> {
    let end = line.iter().position(|b| is_blank(*b))?;
    let (version, rest) = line.split_at_checked(end)?;
    let version = if version == b"ICY" { Version::Http10 } else { version_of(version)? };
    let rest = rest.trim_ascii();
    let (digits, reason) = rest.split_at_checked(3)?;
    let status = digits.iter().try_fold(0u16, |status, b| {
        b.is_ascii_digit().then(|| status * 10 + u16::from(b - b'0'))
    })?;
    if status < LOWEST_STATUS || reason.first().is_some_and(|b| !is_blank(*b)) {
        return None;
    }
    Some(StatusLine { version, status, reason: reason.trim_ascii() })
}

fn version_of(text: &[u8]) -> Option<Version> {
    match text.strip_prefix(b"HTTP/1.")? {
        [minor] if minor.is_ascii_digit() => Some(Version::of_minor(minor - b'0')),
        // Not allowed by RFC 9112 section 2.3; clients read it all the same.
        [zeros @ .., minor] if zeros == b"0" && minor.is_ascii_digit() => {
            Some(Version::of_minor(minor - b'0'))
        }
        _ => None,
    }
}

/// Splits field lines and says whether all of them were well formed. Lines
/// without a colon are passed over; a line that begins with a blank
/// continues the value before it (obs-fold, RFC 9112 section 5.2).
pub fn split_fields<'b>(lines: &'b [u8], mut f: impl FnMut(&'b [u8], &'b [u8])) -> bool {
    let mut regular = true;
    let mut at = 0;
    while let Some(rest) = lines.get(at..).filter(|rest| !rest.is_empty()) {
        let mut end = memchr(b'\n', rest).unwrap_or(rest.len());
        while rest.get(end + 1).is_some_and(|b| is_blank(*b)) {
            regular = false;
            let next = rest.get(end + 1..).unwrap_or_default();
            end += 1 + memchr(b'\n', next).unwrap_or(next.len());
        }
        let line = rest.get(..end).unwrap_or_default();
        at += end + 1;
        if without_cr(line).is_empty() {
            continue;
        }
        match memchr(b':', line) {
            Some(colon) => {
                let (name, value) = line.split_at_checked(colon).unwrap_or_default();
                regular &= !name.is_empty() && name.iter().all(|b| is_token(*b));
                f(name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii());
            }
            None => regular = false,
        }
    }
    regular
}

/// A folded value as one line: each fold becomes spaces (RFC 9112 section 5.2).
pub fn unfold(value: &[u8]) -> Vec<u8> {
    value.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }).collect()
}

/// Whether bytes that go on may become a request line: a method of token
/// characters, a space, and a target that does not begin with a control byte.
pub fn may_be_request(bytes: &[u8]) -> bool {
    match bytes.iter().position(|b| !is_token(*b)) {
        None => bytes.len() <= METHOD_BYTES,
        Some(at) => {
            (1..=METHOD_BYTES).contains(&at)
                && bytes.get(at).is_some_and(|b| is_blank(*b))
                && bytes.get(at + 1).is_none_or(|b| *b >= b' ' || *b == b'\t')
        }
    }
}

/// Whether bytes that go on may become a status line.
pub fn may_be_response(bytes: &[u8]) -> bool {
    may_begin(bytes, b"HTTP/1.") || may_begin(bytes, b"ICY ")
}

/// Whether one begins with the other.
pub fn may_begin(bytes: &[u8], prefix: &[u8]) -> bool {
    let len = bytes.len().min(prefix.len());
    bytes.get(..len) == prefix.get(..len)
}

/// Without the CR of a line end.
pub fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// RFC 9110 section 5.6.2.
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
#[path = "tests/head.rs"]
mod tests;
