//! The messages of a kept gRPC body (PROTOCOL-HTTP2.md, "Length-Prefixed-Message").

use super::{Decoded, Limits, State, decode};

/// Bytes before each message: flags and length.
pub const PREFIX: usize = 5;

/// Flag: the message is compressed with `grpc-encoding`.
const COMPRESSED: u8 = 1;
/// Flag: the message holds trailers (gRPC-Web).
const TRAILERS: u8 = 0x80;

/// A piece of a gRPC body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A message, or the beginning of one.
    Message(Message<'a>),
    /// Fewer bytes than a prefix has, at the end.
    Cut {
        /// Where, in bytes of the body.
        at: usize,
        /// What there is of the prefix.
        bytes: &'a [u8],
    },
    /// Flags that gRPC does not know: from here on it is not known where messages begin.
    Malformed {
        /// Where, in bytes of the body.
        at: usize,
        /// All from there.
        bytes: &'a [u8],
    },
}

/// A length-prefixed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where its prefix begins, in bytes of the body.
    pub at: usize,
    /// The flags of its prefix.
    pub flags: u8,
    /// The length that its prefix says, in bytes.
    pub len: u32,
    /// What there is of it, without the prefix; fewer than `len` bytes where the body ends.
    pub coded: &'a [u8],
}

impl<'a> Message<'a> {
    /// Whether it is compressed with `grpc-encoding`.
    pub fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }

    /// Whether it holds the trailers of gRPC-Web, which are HTTP/1 header lines.
    pub fn is_trailers(&self) -> bool {
        self.flags & TRAILERS != 0
    }

    /// Bytes of it that are not here.
    pub fn missing(&self) -> usize {
        (self.len as usize).saturating_sub(self.coded.len())
    }

    /// Its content, decompressed where its flag says that it is compressed; `encoding` is
    /// the value of `grpc-encoding`. A message that misses bytes is never [`State::Whole`].
    pub fn decode(&self, encoding: Option<&str>, limits: &Limits) -> Decoded<'a> {
        let mut decoded = match encoding.filter(|name| !name.eq_ignore_ascii_case("identity")) {
            Some(encoding) if self.is_compressed() => decode(self.coded, encoding, limits),
            // The flag says that there is one, and no field which.
            None if self.is_compressed() => Decoded {
                bytes: self.coded.into(),
                state: State::Unknown(encoding.unwrap_or_default().to_owned()),
            },
            _ => decode(self.coded, "", limits),
        };
        if decoded.state == State::Whole && self.missing() > 0 {
            decoded.state = State::Truncated;
        }
        decoded
    }
}

/// The messages of a body, in order; what is left of it comes last.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    at: usize,
}

/// Takes a body apart that begins with a prefix.
pub fn messages(body: &[u8]) -> Messages<'_> {
    Messages { rest: body, at: 0 }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let (at, bytes) = (self.at, std::mem::take(&mut self.rest));
        if bytes.is_empty() {
            return None;
        }
        let flags = bytes.first().copied().unwrap_or_default();
        if flags & !(COMPRESSED | TRAILERS) != 0 {
            return Some(Piece::Malformed { at, bytes });
        }
        let Some((&[flags, a, b, c, d], after)) = bytes.split_first_chunk::<PREFIX>() else {
            return Some(Piece::Cut { at, bytes });
        };
        let len = u32::from_be_bytes([a, b, c, d]);
        let (coded, rest) = after.split_at(after.len().min(len as usize));
        self.rest = rest;
        self.at = at + PREFIX + coded.len();
        Some(Piece::Message(Message { at, flags, len, coded }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_one_by_one() {
        let body = b"\0\0\0\0\x02ab\x01\0\0\0\0\x80\0\0\0\x03abc\0\0\0\0\x05ab";
        let pieces: Vec<_> = messages(body).collect();
        let message = |at, flags, len, coded| Piece::Message(Message { at, flags, len, coded });
        assert_eq!(
            pieces,
            [
                message(0, 0, 2, &b"ab"[..]),
                message(7, 1, 0, b""),
                message(12, 0x80, 3, b"abc"),
                message(20, 0, 5, b"ab"),
            ]
        );
        let Piece::Message(last) = pieces[3] else { panic!("{pieces:?}") };
        assert_eq!(last.missing(), 3);
        assert_eq!(last.decode(None, &Limits::default()).state, State::Truncated);
    }

    #[test]
    fn what_is_no_message_comes_last() {
        let after = |rest: &[u8]| [&b"\0\0\0\0\x01a"[..], rest].concat();
        assert_eq!(messages(&after(b"\0\0")).last(), Some(Piece::Cut { at: 6, bytes: b"\0\0" }));
        assert_eq!(
            messages(&after(b"\x02\0\0\0\x01a")).last(),
            Some(Piece::Malformed { at: 6, bytes: b"\x02\0\0\0\x01a" })
        );
    }

    #[test]
    fn compressed_without_a_name_stays_unknown() {
        let body = b"\x01\0\0\0\x01a";
        let Some(Piece::Message(message)) = messages(body).next() else { panic!("no message") };
        for encoding in [None, Some("identity"), Some("snappy")] {
            let decoded = message.decode(encoding, &Limits::default());
            assert_eq!(decoded.state, State::Unknown(encoding.unwrap_or_default().to_owned()));
            assert_eq!(&*decoded.bytes, b"a");
        }
    }
}
