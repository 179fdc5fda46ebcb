//! Message bodies: which framing a head asks for, and where the body ends.
//!
//! Pure: the rules of RFC 9112 section 6.3 and the chunked coding of section
//! 7.1. Body bytes are only delimited here, never kept.

use memchr::memchr;

use super::head::{FieldLines, head_end};

/// What a head says about what follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'b> {
    /// Content-Length.
    pub length: Length,
    /// Transfer-Encoding.
    pub transfer: Transfer,
    /// First Host.
    pub host: Option<&'b [u8]>,
    /// First Upgrade.
    pub upgrade: Option<&'b [u8]>,
    /// HTTP2-Settings (RFC 7540 section 3.2.1).
    pub settings: Option<&'b [u8]>,
    /// Content-Type is `application/grpc…`.
    pub grpc: bool,
    /// Sec-WebSocket-Extensions names permessage-deflate (RFC 7692).
    pub deflate: bool,
}

/// A field that [`Facts`] are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Host.
    Host,
    /// Upgrade.
    Upgrade,
    /// Content-Type.
    ContentType,
    /// Content-Length.
    ContentLength,
    /// HTTP2-Settings.
    Settings,
    /// Transfer-Encoding.
    TransferEncoding,
    /// Sec-WebSocket-Extensions.
    Extensions,
}

impl Known {
    /// The field of this name; None for all others.
    #[inline]
    pub fn of(name: &[u8]) -> Option<Self> {
        let (known, spelled): (_, &[u8]) = match name.len() {
            4 => (Self::Host, b"host"),
            7 => (Self::Upgrade, b"upgrade"),
            12 => (Self::ContentType, b"content-type"),
            14 if matches!(name, [b'H' | b'h', ..]) => (Self::Settings, b"http2-settings"),
            14 => (Self::ContentLength, b"content-length"),
            17 => (Self::TransferEncoding, b"transfer-encoding"),
            24 => (Self::Extensions, b"sec-websocket-extensions"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelled).then_some(known)
    }
}

/// Content-Length as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// No such field.
    #[default]
    Absent,
    /// One value, however often repeated.
    Bytes(u64),
    /// Values that differ; the first one.
    Differing(u64),
    /// Not a number.
    Invalid,
}

/// Transfer-Encoding as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// No such field.
    #[default]
    Absent,
    /// The final coding is chunked.
    Chunked,
    /// The final coding is another one.
    Other,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// That many bytes.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// All bytes until the connection is closed.
    UntilClose,
}

impl<'b> Facts<'b> {
    /// Reads the fields that matter for framing and pairing, nothing else.
    #[inline]
    pub fn of(fields: &FieldLines<'_, 'b>) -> Self {
        let mut facts = Self::default();
        fields.each(|name, value| facts.field(name, value));
        facts
    }

    /// Takes one field in.
    #[inline]
    pub fn field(&mut self, name: &[u8], value: &'b [u8]) {
        if let Some(known) = Known::of(name) {
            self.take(known, value);
        }
    }

    /// Takes in a field whose name is known.
    #[inline]
    pub fn take(&mut self, name: Known, value: &'b [u8]) {
        match name {
            Known::Host => {
                self.host.get_or_insert(value);
            }
            Known::Upgrade => {
                self.upgrade.get_or_insert(value);
            }
            Known::ContentType => {
                let prefix = value.get(..16);
                self.grpc = prefix.is_some_and(|p| p.eq_ignore_ascii_case(b"application/grpc"));
            }
            Known::ContentLength => self.length.add_all(value),
            Known::Settings => self.settings = Some(value),
            Known::TransferEncoding => {
                let last = value.rsplit(|b| *b == b',').next().unwrap_or_default().trim_ascii();
                self.transfer = if last.eq_ignore_ascii_case(b"chunked") {
                    Transfer::Chunked
                } else {
                    Transfer::Other
                };
            }
            Known::Extensions => {
                self.deflate |= memchr::memmem::find(value, b"permessage-deflate").is_some();
            }
        }
    }

    /// Framing of a request (RFC 9112 section 6.3, rules 3 to 7).
    pub fn request_framing(&self) -> Framing {
        match (self.transfer, self.length) {
            (Transfer::Chunked, _) => Framing::Chunked,
            // A server must refuse it; nothing tells where it ends.
            (Transfer::Other, _) => Framing::UntilClose,
            (_, Length::Bytes(0) | Length::Absent | Length::Invalid) => Framing::None,
            (_, Length::Bytes(n) | Length::Differing(n)) => Framing::Length(n),
        }
    }

    /// Framing of a final response to a request that was not HEAD or
    /// CONNECT (RFC 9112 section 6.3, rules 1 and 3 to 8).
    pub fn response_framing(&self, status: u16) -> Framing {
        if matches!(status, 100..=199 | 204 | 304) {
            return Framing::None;
        }
        match (self.transfer, self.length) {
            (Transfer::Chunked, _) => Framing::Chunked,
            (Transfer::Other, _) | (_, Length::Absent | Length::Invalid) => Framing::UntilClose,
            (_, Length::Bytes(0)) => Framing::None,
            (_, Length::Bytes(n) | Length::Differing(n)) => Framing::Length(n),
        }
    }

    /// Whether nothing is odd about the framing fields, and gRPC is not told of.
    #[inline]
    pub fn is_plain(&self) -> bool {
        let length = matches!(self.length, Length::Absent | Length::Bytes(_));
        self.transfer == Transfer::Absent && length && !self.grpc
    }

    /// The length, where nothing else is known.
    pub fn only_length(&self) -> Option<Length> {
        let length = self.length;
        (*self == Self { length, ..Self::default() }).then_some(length)
    }

    /// Calls `f` with the name of each oddity of the framing fields.
    pub fn anomalies(&self, mut f: impl FnMut(&'static str)) {
        if self.transfer != Transfer::Absent && self.length != Length::Absent {
            f("length-and-chunked");
        }
        match self.length {
            Length::Differing(_) => f("differing-content-length"),
            Length::Invalid => f("invalid-content-length"),
            _ => {}
        }
    }
}

impl Length {
    /// Adds the values of a list (RFC 9110 section 8.6 lets equal ones repeat).
    fn add_all(&mut self, list: &[u8]) {
        match (*self, number(list)) {
            (Self::Absent, Some(n)) => *self = Self::Bytes(n),
            _ => list.split(|b| *b == b',').for_each(|text| self.add(number(text.trim_ascii()))),
        }
    }

    fn add(&mut self, number: Option<u64>) {
        *self = match (*self, number) {
            (Self::Invalid, _) | (_, None) => Self::Invalid,
            (Self::Absent, Some(n)) => Self::Bytes(n),
            (Self::Bytes(old), Some(n)) if old == n => Self::Bytes(n),
            (Self::Bytes(old) | Self::Differing(old), Some(_)) => Self::Differing(old),
        };
    }
}

/// A decimal number of nothing but digits.
fn number(text: &[u8]) -> Option<u64> {
    let digit = |b: &u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
    let sum = if text.len() < 20 {
        // None of so few digits is too large.
        text.iter().try_fold(0, |sum: u64, b| Some(sum.wrapping_mul(10).wrapping_add(digit(b)?)))
    } else {
        text.iter().try_fold(0u64, |sum, b| sum.checked_mul(10)?.checked_add(digit(b)?))
    };
    sum.filter(|_| !text.is_empty())
}

/// Hex digits of a chunk size: more do not fit 64 bits.
const SIZE_DIGITS: u8 = 16;

/// Bytes of a chunk's extensions; nothing real sends more than a few.
const EXTENSION_BYTES: usize = 16 << 10;

/// Where in the chunked coding the input stands (RFC 9112 section 7.1).
#[derive(Debug)]
pub struct Chunked {
    at: At,
    /// Trailer section so far.
    trailer: Vec<u8>,
    scanned: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size { size: u64, digits: u8 },
    Extension { size: u64, bytes: usize },
    Data { left: u64 },
    DataEnd { cr: bool },
    Trailer,
}

/// What [`Chunked::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of the body.
    Data(&'a [u8]),
    /// Bytes of the coding.
    Framing,
    /// The end of the body; its trailers are in [`Chunked::trailer`].
    End,
    /// Not chunked coding.
    Bad,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { at: At::Size { size: 0, digits: 0 }, trailer: Vec::new(), scanned: 0 }
    }
}

impl Chunked {
    /// Takes some of `input` (which is not empty) and says how much and what
    /// it was. `limit` bounds the trailer section.
    pub fn next<'a>(&mut self, input: &'a [u8], limit: usize) -> (usize, Piece<'a>) {
        match self.at {
            At::Data { left } => {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - len as u64;
                self.at = if left == 0 { At::DataEnd { cr: false } } else { At::Data { left } };
                (len, Piece::Data(input.get(..len).unwrap_or_default()))
            }
            At::Trailer => self.trailers(input, limit),
            _ => self.line(input),
        }
    }

    fn line<'a>(&mut self, input: &'a [u8]) -> (usize, Piece<'a>) {
        for (index, &byte) in input.iter().enumerate() {
            self.at = match (self.at, byte) {
                (At::Size { size, digits }, _)
                    if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS =>
                {
                    let digit = (byte as char).to_digit(16).unwrap_or(0);
                    At::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
                }
                (At::Size { size, digits: 1.. }, b';' | b' ' | b'\t' | b'\r') => {
                    At::Extension { size, bytes: 0 }
                }
                (At::Size { size, digits: 1.. } | At::Extension { size, .. }, b'\n') => {
                    self.at = if size == 0 { At::Trailer } else { At::Data { left: size } };
                    return (index + 1, Piece::Framing);
                }
                (At::Extension { size, bytes }, _) if bytes < EXTENSION_BYTES => {
                    At::Extension { size, bytes: bytes + 1 }
                }
                (At::DataEnd { cr: false }, b'\r') => At::DataEnd { cr: true },
                (At::DataEnd { .. }, b'\n') => At::Size { size: 0, digits: 0 },
                _ => return (index, Piece::Bad),
            };
        }
        (input.len(), Piece::Framing)
    }

    fn trailers<'a>(&mut self, input: &'a [u8], limit: usize) -> (usize, Piece<'a>) {
        let before = self.trailer.len();
        self.trailer.extend_from_slice(input);
        let end = match self.trailer.as_slice() {
            [b'\n', ..] => Some(1),
            [b'\r', b'\n', ..] => Some(2),
            bytes => head_end(bytes, self.scanned),
        };
        if let Some(end) = end {
            self.trailer.truncate(end);
            return (end.saturating_sub(before), Piece::End);
        }
        // An empty line takes at most three bytes to be told.
        self.scanned = self.trailer.len().saturating_sub(3);
        if self.trailer.len() > limit {
            return (input.len(), Piece::Bad);
        }
        (input.len(), Piece::Framing)
    }

    /// Passes over `len` missing bytes where they are surely chunk data.
    pub fn skip(&mut self, len: u64) -> bool {
        match self.at {
            At::Data { left } if len <= left => {
                let left = left - len;
                self.at = if left == 0 { At::DataEnd { cr: false } } else { At::Data { left } };
                true
            }
            _ => false,
        }
    }

    /// The trailer section, once at the end.
    pub fn trailer(&self) -> &[u8] {
        &self.trailer
    }

    /// Bytes of memory held besides itself.
    pub fn memory(&self) -> usize {
        self.trailer.capacity()
    }
}

/// Whether an `Upgrade` list names `token` (compared without case and version).
pub fn names(list: &[u8], token: &[u8]) -> bool {
    list.split(|b| *b == b',').any(|item| {
        let item = item.trim_ascii();
        let name = memchr(b'/', item).and_then(|at| item.get(..at)).unwrap_or(item);
        name.eq_ignore_ascii_case(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(lines: &[u8]) -> Facts<'_> {
        Facts::of(&FieldLines::Lenient(lines))
    }

    #[test]
    fn framing_of_section_6_3() {
        let chunked = b"Transfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n";
        assert_eq!(facts(chunked).request_framing(), Framing::Chunked);
        assert_eq!(facts(b"").request_framing(), Framing::None);
        assert_eq!(facts(b"").response_framing(200), Framing::UntilClose);
        assert_eq!(facts(chunked).response_framing(304), Framing::None);
        assert_eq!(facts(b"Content-Length: 5, 5\r\n").request_framing(), Framing::Length(5));
        assert_eq!(
            facts(b"Transfer-Encoding: gzip\r\n").response_framing(200),
            Framing::UntilClose
        );
        let mut names = Vec::new();
        facts(b"Content-Length: 5\r\nContent-Length: 6\r\n").anomalies(|name| names.push(name));
        facts(chunked).anomalies(|name| names.push(name));
        facts(b"Content-Length: -1\r\n").anomalies(|name| names.push(name));
        let expected = ["differing-content-length", "length-and-chunked", "invalid-content-length"];
        assert_eq!(names, expected);
    }

    #[test]
    fn chunked_in_any_pieces() {
        let input = b"5;a=\"b\"\r\nhello\r\n1 \r\n!\r\n0\r\nA: b\r\n\r\nNEXT";
        for size in 1..input.len() {
            let (mut chunked, mut body, mut at) = (Chunked::default(), Vec::new(), 0);
            'all: for part in input.chunks(size) {
                let mut part = part;
                while !part.is_empty() {
                    let (used, piece) = chunked.next(part, 1000);
                    at += used;
                    part = &part[used..];
                    match piece {
                        Piece::Data(data) => body.extend_from_slice(data),
                        Piece::Framing => {}
                        Piece::End => break 'all,
                        Piece::Bad => panic!("bad at {at}"),
                    }
                }
            }
            assert_eq!((body.as_slice(), at), (&b"hello!"[..], input.len() - 4));
            assert_eq!(chunked.trailer(), b"A: b\r\n\r\n");
        }
    }

    #[test]
    fn what_is_not_chunked() {
        for input in [&b"x"[..], b"\r\n", b"11111111111111111", b";"] {
            assert_eq!(Chunked::default().next(input, 10).1, Piece::Bad);
        }
    }
}
