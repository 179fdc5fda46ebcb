//! Bytes that are no HTTP, or of which it is not known what they are.
//!
//! Where they stay, secrets are still looked for: lines that look like header fields, and
//! text right behind a gap, which may be the end of a value.

use crate::redact::chunk::{Chunk, MASK};
use crate::redact::hpack::Context;
use crate::redact::http2::unparsed;
use crate::redact::rules::{Class, NAME_BYTES, Unparsed};

/// Bytes behind a gap that may be the end of a field's value: what servers allow a line to have
/// (nginx and Apache: 8 KiB).
const CUT_BYTES: u32 = 8 << 10;

/// The place in them.
#[derive(Debug)]
pub struct Stray {
    place: Place,
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Right behind a gap: text, of which so many bytes are overwritten.
    Cut(u32),
    /// What may be the name of a field.
    Name,
    /// The rest of a line.
    Line,
    /// The rest of a line that is overwritten.
    Secret,
}

impl Stray {
    /// From the beginning of a line on.
    pub fn line() -> Self {
        Self { place: Place::Name, name: Vec::new() }
    }

    /// The same, behind these bytes.
    pub fn after(seen: &[u8]) -> Self {
        let begin = memchr::memrchr(b'\n', seen).map_or(0, |end| end + 1);
        Self { name: seen.get(begin..).unwrap_or_default().to_vec(), ..Self::line() }
    }

    /// From anywhere.
    pub fn cut() -> Self {
        Self { place: Place::Cut(CUT_BYTES), ..Self::line() }
    }

    /// Whether nothing was read yet behind a gap.
    pub fn is_cut(&self) -> bool {
        self.place == Place::Cut(CUT_BYTES)
    }

    /// Reads a chunk; true where it stops behind an empty line, where a message may begin.
    pub fn data(&mut self, chunk: &mut Chunk<'_>, cx: &mut Context<'_>) -> bool {
        while chunk.left() > 0 {
            let rest = chunk.rest();
            let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let ended = rest.get(line - 1) == Some(&b'\n');
            let blank = matches!(rest.get(..line), Some(b"\n" | b"\r\n"));
            let blank = blank && self.place == Place::Name && self.name.is_empty();
            if cx.rules.unparsed == Unparsed::Drop {
                unparsed(chunk, line, cx);
            } else {
                cx.counts.kept += line as u64;
                self.keep(chunk, line, cx);
            }
            if ended {
                self.place = Place::Name;
                self.name.clear();
                if blank {
                    return true;
                }
            } else if cx.rules.unparsed == Unparsed::Drop {
                self.place = Place::Line;
            }
        }
        false
    }

    /// So many bytes of one line.
    fn keep(&mut self, chunk: &mut Chunk<'_>, line: usize, cx: &mut Context<'_>) {
        let end = chunk.left() - line;
        while chunk.left() > end {
            let Some(byte) = chunk.rest().first().copied() else { return };
            match self.place {
                Place::Line => chunk.pass(chunk.left() - end),
                Place::Cut(left) => {
                    if left == 0 || !(byte >= b' ' || byte == b'\t') || byte >= 0x7f {
                        self.place = Place::Line;
                    } else {
                        chunk.fill(1, MASK);
                        self.place = Place::Cut(left - 1);
                    }
                }
                Place::Secret => {
                    let keep = matches!(byte, b'\r' | b'\n' | b' ' | b'\t');
                    if keep { chunk.pass(1) } else { chunk.fill(1, MASK) }
                }
                Place::Name => {
                    chunk.pass(1);
                    self.named(byte, cx);
                }
            }
        }
    }

    fn named(&mut self, byte: u8, cx: &mut Context<'_>) {
        if byte != b':' && self.name.len() < NAME_BYTES {
            return self.name.push(byte);
        }
        self.place = Place::Line;
        if let Class::Secret(number) = cx.rules.header(self.name.trim_ascii())
            && byte == b':'
        {
            cx.counts.value(number);
            self.place = Place::Secret;
        }
        self.name.clear();
    }
}
