//! Content codings off: gzip, deflate, br, zstd (RFC 9110 section 8.4, RFC 9659).
//!
//! The libraries' decoders are fed piece by piece here rather than through `Read`, which
//! loses what they had written when they find damage. How many bytes come out is
//! bounded, and so are the windows: 32 KiB, 16 MiB of brotli, [`ZSTD_WINDOW_LOG`].

mod inflate;
mod step;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::Limits;
use step::{Brotli, Zstd, run};

/// The largest window of zstd, as a power of two: 8 MiB, which RFC 9659 allows in HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

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
    /// [`Limits::decoded`], [`Limits::codings`] or the limit of a window ended it. Past
    /// [`Limits::codings`] nothing is decoded.
    Capped,
    /// The coded bytes are not, or not any more, of the coding.
    Damaged {
        /// The coding, in lower case.
        coding: &'static str,
        /// Bytes of what the coding was given (the coded body, or what the
        /// coding outside of it held) that could be read: the damage is found there or
        /// a few bytes before, and at the end for a wrong checksum. What is given was
        /// decoded before that was known.
        at: usize,
    },
    /// A coding that is not known, by its name as sent.
    Unknown(String),
}

impl State {
    /// Which of two is told: the one that says more of what is wrong.
    fn rank(&self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Truncated => 1,
            Self::Capped => 2,
            Self::Unknown(_) => 3,
            Self::Damaged { .. } => 4,
        }
    }
}

/// Takes the codings off that `content_encoding` lists, the last one first.
///
/// `content_encoding` is the value of `Content-Encoding` (several field lines
/// joined by commas) or of `grpc-encoding`: `gzip`, `x-gzip`, `deflate` (zlib, or
/// raw as some servers send it), `br`, `zstd`, `identity`, in any case.
pub fn decode<'a>(coded: &'a [u8], content_encoding: &str, limits: &Limits) -> Decoded<'a> {
    let names: Vec<&str> = content_encoding
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
        .take(limits.codings + 1)
        .collect();
    let mut decoded = Decoded { bytes: Cow::Borrowed(coded), state: State::Whole };
    if names.len() > limits.codings {
        decoded.state = State::Capped;
        return decoded;
    }
    for name in names.into_iter().rev() {
        if decoded.bytes.is_empty() {
            break;
        }
        let (bytes, state) = match one(&decoded.bytes, name, limits.decoded) {
            Some((bytes, state)) => (Some(bytes), state),
            None => (None, State::Unknown(name.to_owned())),
        };
        if state.rank() > decoded.state.rank() {
            decoded.state = state;
        }
        let Some(bytes) = bytes else { break };
        decoded.bytes = Cow::Owned(bytes);
    }
    decoded
}

/// Takes one coding off; none if its name is not known.
fn one(coded: &[u8], name: &str, limit: usize) -> Option<(Vec<u8>, State)> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    Some(if is("gzip") || is("x-gzip") {
        inflate::gzip(coded, limit)
    } else if is("deflate") {
        inflate::deflate(coded, limit)
    } else if is("br") {
        run(Brotli::boxed, "br", coded, limit)
    } else if is("zstd") {
        run(|| Zstd::boxed(ZSTD_WINDOW_LOG), "zstd", coded, limit)
    } else {
        return None;
    })
}
