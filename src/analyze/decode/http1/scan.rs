//! Heads like nearly all, read fast.
//!
//! What is read here is what `httparse` would read of the same bytes. None
//! says nothing: where a byte is unusual, or missing, the parsers in `head`
//! decide. Pure, as they are.

use std::ops::Range;

use super::head::{LOWEST_STATUS, RequestLine, StatusLine, Version, is_token};

/// A request line as RFC 9112 section 3 has it, in ASCII, and what comes
/// behind it.
#[inline]
pub fn request_line(input: &[u8]) -> Option<(RequestLine<'_>, &[u8])> {
    let (method, rest) = method(input)?;
    let (target, rest) = rest.split_at_checked(run::<b'!', false>(rest))?;
    let (version, rest) = rest.split_first_chunk::<11>()?;
    let version = version_among(version, [b" HTTP/1.1\r\n", b" HTTP/1.0\r\n"])?;
    (!target.is_empty()).then_some((RequestLine { method, target, version }, rest))
}

/// A method, and what comes behind the space that ends it.
#[inline]
fn method(input: &[u8]) -> Option<(&[u8], &[u8])> {
    if input.starts_with(b"GET ") {
        return Some((input.get(..3)?, input.get(4..)?));
    }
    let len = input.iter().position(|b| !is_token(*b)).filter(|len| *len > 0)?;
    let (method, rest) = input.split_at_checked(len)?;
    Some((method, rest.strip_prefix(b" ")?))
}

/// A status line as RFC 9112 section 4 has it, in ASCII, and what comes
/// behind it.
#[inline]
pub fn status_line(input: &[u8]) -> Option<(StatusLine<'_>, &[u8])> {
    let (version, rest) = input.split_first_chunk::<9>()?;
    let version = version_among(version, [b"HTTP/1.1 ", b"HTTP/1.0 "])?;
    let (digits, rest) = rest.split_first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let (reason, rest) = rest.split_at_checked(run::<b' ', false>(rest))?;
    let reason = if reason.is_empty() { reason } else { reason.strip_prefix(b" ")? };
    let rest = rest.strip_prefix(b"\r\n")?;
    (status >= LOWEST_STATUS).then_some((StatusLine { version, status, reason }, rest))
}

/// Whether the empty line that ends a head begins `input`.
#[inline]
pub fn is_end(input: &[u8]) -> bool {
    matches!(input, [b'\r', b'\n', ..])
}

/// The length of the field name at the beginning of `input`, with its colon:
/// letters, digits and hyphens.
#[inline]
pub fn name(input: &[u8]) -> Option<usize> {
    let len = input.iter().position(|b| !PLAIN_NAME[usize::from(*b)])?;
    (len > 0 && input.get(len) == Some(&b':')).then_some(len + 1)
}

/// The place of a value in the line that begins `input`, behind `name` bytes,
/// and the length of the line with the CRLF that ends it. The value is free
/// of control bytes, and of blanks around it.
#[inline]
pub fn value(input: &[u8], name: usize) -> Option<(Range<usize>, usize)> {
    let rest = input.get(name..)?;
    let (line, end) = rest.split_at_checked(value_bytes(rest))?;
    let begin = name + (line.len() - line.trim_ascii_start().len());
    let value = begin..name + line.trim_ascii_end().len().max(begin - name);
    is_end(end).then_some((value, name + line.len() + b"\r\n".len()))
}

/// Whether all of this may stand in a value.
#[inline]
pub fn is_value(bytes: &[u8]) -> bool {
    value_bytes(bytes) == bytes.len()
}

/// Which version this is, of both spellings. They are compared as a whole:
/// `match` goes byte by byte.
#[inline]
fn version_among<const N: usize>(text: &[u8; N], spelled: [&[u8; N]; 2]) -> Option<Version> {
    let [http11, http10] = spelled;
    if text == http11 { Some(Version::Http11) } else { (text == http10).then_some(Version::Http10) }
}

/// Bytes of the names that are read here: one look-up a byte.
const PLAIN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'-';
        byte += 1;
    }
    table
};

/// How many bytes at the beginning may stand in a value: no control bytes.
#[inline]
fn value_bytes(bytes: &[u8]) -> usize {
    // Vector code, since all of a block are looked at in any case.
    let (blocks, _) = bytes.as_chunks::<16>();
    let fine =
        |block: &&[u8; 16]| block.iter().fold(true, |fine, b| fine & (*b >= b' ' && *b != DEL));
    let len = blocks.iter().take_while(fine).count() * 16;
    len + run::<b' ', true>(bytes.get(len..).unwrap_or_default())
}

const DEL: u8 = 0x7f;

/// How many bytes at the beginning are not below `MIN` (at least a space),
/// not DEL and, unless `HIGH`, ASCII.
#[inline(always)]
fn run<const MIN: u8, const HIGH: bool>(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let odd = odd_bytes::<MIN, HIGH>(*word);
        if odd != 0 {
            return at + odd.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    // The last word once more, with the bytes behind it.
    if let Some(word) = bytes.last_chunk::<8>() {
        let odd = odd_bytes::<MIN, HIGH>(*word);
        return bytes.len() - 8 + odd.trailing_zeros() as usize / 8;
    }
    let fine = |b: &u8| *b >= MIN && *b != DEL && (HIGH || b.is_ascii());
    bytes.iter().take_while(|b| fine(b)).count()
}

/// The top bits of bytes below `MIN`, of DEL and, unless `HIGH`, of those
/// above ASCII. Behind the first that is right others may be wrong.
#[inline(always)]
fn odd_bytes<const MIN: u8, const HIGH: bool>(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let word = u64::from_le_bytes(word);
    let rubout = word ^ (ONES * DEL as u64);
    let low = word.wrapping_sub(ONES * MIN as u64) & !word;
    let rubout = rubout.wrapping_sub(ONES) & !rubout;
    let high = if HIGH { 0 } else { word };
    (low | rubout | high) & TOPS
}
