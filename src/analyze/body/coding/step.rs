//! Decoders that are fed piece by piece: brotli and zstd.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::State;

/// Bytes that a decoder is given at a time.
const PIECE: usize = 4096;

/// Bytes that it may write at a time: a block of zstd.
const BUFFER: usize = 128 << 10;

/// A decoder at work.
pub trait Step {
    /// Reads from `input`, writes to `out`.
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Stepped;
}

/// What a step did.
pub struct Stepped {
    read: usize,
    written: usize,
    then: Then,
}

/// What comes after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More is to be read or written.
    More,
    /// A frame ended: nothing more need come.
    Boundary,
    /// Nothing more can come.
    Done,
    /// A window that is too large.
    Refused,
    /// This is not of the coding.
    Damaged,
}

/// Decodes up to `limit` bytes. What damage was found in is decoded once more
/// byte by byte, which loses nothing before the damage.
pub fn run<S: Fn() -> Option<Box<dyn Step>>>(
    new: S,
    coding: &'static str,
    coded: &[u8],
    limit: usize,
) -> (Vec<u8>, State) {
    let once = |piece| match new() {
        Some(decoder) => pieces(decoder, coding, coded, limit, piece),
        None => (Vec::new(), State::Capped),
    };
    let (bytes, state) = once(PIECE);
    match state {
        State::Damaged { .. } => once(1),
        state => (bytes, state),
    }
}

fn pieces(
    mut decoder: Box<dyn Step>,
    coding: &'static str,
    coded: &[u8],
    limit: usize,
    piece: usize,
) -> (Vec<u8>, State) {
    let mut buffer = vec![0; BUFFER];
    let mut out = Vec::new();
    let (mut at, mut boundary) = (0, false);
    loop {
        let rest = coded.get(at..).unwrap_or_default();
        if rest.is_empty() && boundary {
            return (out, State::Whole);
        }
        let input = rest.get(..piece).unwrap_or(rest);
        let Stepped { read, written, then } = decoder.step(input, &mut buffer);
        at += read;
        let room = limit.saturating_sub(out.len());
        out.extend_from_slice(buffer.get(..written.min(room)).unwrap_or_default());
        if written > room || then == Then::Refused {
            return (out, State::Capped);
        }
        boundary = then == Then::Boundary;
        match then {
            Then::Done if at == coded.len() => return (out, State::Whole),
            Then::Damaged | Then::Done => return (out, State::Damaged { coding, at }),
            _ if read == 0 && written == 0 && !boundary => {
                let whole = rest.is_empty();
                let state = State::Damaged { coding, at };
                return (out, if whole { State::Truncated } else { state });
            }
            _ => {}
        }
    }
}

/// Brotli (RFC 7932), without the large windows that HTTP does not have.
pub struct Brotli(BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>);

impl Brotli {
    /// At its beginning.
    pub fn boxed() -> Option<Box<dyn Step>> {
        let memory = StandardAlloc::default;
        Some(Box::new(Self(BrotliState::new_strict(memory(), memory(), memory()))))
    }
}

impl Step for Brotli {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Stepped {
        let (mut to_read, mut read) = (input.len(), 0);
        let (mut room, mut written, mut total) = (out.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut to_read,
            &mut read,
            input,
            &mut room,
            &mut written,
            out,
            &mut total,
            &mut self.0,
        );
        let then = match result {
            BrotliResult::ResultSuccess => Then::Done,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Then::More,
            BrotliResult::ResultFailure => Then::Damaged,
        };
        Stepped { read, written, then }
    }
}

/// zstd (RFC 8878): frames one after the other.
pub struct Zstd(Decoder<'static>);

impl Zstd {
    /// At its beginning; none if the library has no memory.
    pub fn boxed(window_log: u32) -> Option<Box<dyn Step>> {
        let mut decoder = Decoder::new().ok()?;
        decoder.set_parameter(DParameter::WindowLogMax(window_log)).ok()?;
        Some(Box::new(Self(decoder)))
    }
}

impl Step for Zstd {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Stepped {
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(out);
        let then = match self.0.run(&mut from, &mut to) {
            Ok(0) => Then::Boundary,
            Ok(_) => Then::More,
            Err(error) if error.to_string().contains("too much memory") => Then::Refused,
            Err(_) => Then::Damaged,
        };
        Stepped { read: from.pos(), written: to.pos(), then }
    }
}
