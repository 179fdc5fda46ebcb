//! Text, forms and lines of JSON.

use memchr::memchr;

use super::Limits;
use super::json;
use super::lines::{Lines, plural};
use crate::analyze::report::escape;

/// Columns between tab stops.
const TAB: usize = 8;

/// One in so many bytes may be no text in what is called text; more, and it is shown as bytes.
const ODD_SHARE: usize = 10;

/// How bytes stand for characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8, and with it ASCII.
    Utf8,
    /// ISO 8859-1: each byte is the character of that number.
    Latin1,
}

impl Charset {
    /// By the `charset` of a content type; none if it is not known here.
    pub fn by_name(name: &str) -> Option<Self> {
        let is = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known));
        if is(&["utf-8", "utf8", "us-ascii", "ascii"]) {
            Some(Self::Utf8)
        } else if is(&["iso-8859-1", "iso8859-1", "latin1", "latin-1"]) {
            Some(Self::Latin1)
        } else {
            None
        }
    }
}

/// Bytes that are no text, and where the first of them is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odd {
    /// Bytes that are not of the charset.
    pub invalid: usize,
    /// Control characters that text does not have.
    pub controls: usize,
    /// Where the first byte that is not of the charset is.
    pub first: Option<usize>,
}

impl Odd {
    /// Counts them. Where `cut` is set, a character that the end cuts is none.
    pub fn count(bytes: &[u8], charset: Charset, cut: bool) -> Self {
        let mut odd = Self::default();
        let control = |c: &char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c');
        if charset == Charset::Latin1 {
            odd.controls = bytes.iter().map(|byte| char::from(*byte)).filter(control).count();
            return odd;
        }
        let mut at = 0;
        for chunk in bytes.utf8_chunks() {
            odd.controls += chunk.valid().chars().filter(control).count();
            at += chunk.valid().len();
            let invalid = chunk.invalid();
            let last = at + invalid.len() == bytes.len();
            let begun = || std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
            if !(invalid.is_empty() || cut && last && begun()) {
                odd.invalid += invalid.len();
                odd.first.get_or_insert(at);
            }
            at += invalid.len();
        }
        odd
    }

    /// Whether all is text.
    pub fn is_none(self) -> bool {
        self.invalid + self.controls == 0
    }

    /// Whether there are so many that the bytes are better shown as such.
    pub fn is_much(self, len: usize) -> bool {
        (self.invalid + self.controls).saturating_mul(ODD_SHARE) > len
    }
}

/// Writes text, line by line.
pub fn print(bytes: &[u8], charset: Charset, odd: Odd, level: usize, lines: &mut Lines) {
    for line in split(bytes) {
        lines.push(level, &self::line(line, charset));
    }
    if let Some(first) = odd.first {
        let count = plural(odd.invalid, "byte");
        lines.note(format!("{count} not of UTF-8, the first at byte {first}, shown as \\xNN"));
    }
}

/// Lines of text, without their ends; nothing behind the last line feed is no line.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = match memchr(b'\n', rest) {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
            None => (rest, &[][..]),
        };
        rest = after;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// A line for a terminal: tabs as spaces, what a terminal acts on spelled out, bytes that
/// are not of the charset as `\xNN`.
pub fn line(bytes: &[u8], charset: Charset) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut columns = 0;
    let mut push = |text: &str| {
        let mut pieces = text.split('\t').peekable();
        while let Some(piece) = pieces.next() {
            let piece = escape(piece);
            columns += piece.chars().count();
            out.push_str(&piece);
            if pieces.peek().is_some() {
                let spaces = TAB - columns % TAB;
                columns += spaces;
                out.extend(std::iter::repeat_n(' ', spaces));
            }
        }
    };
    match charset {
        Charset::Latin1 => {
            push(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>());
        }
        Charset::Utf8 => {
            for chunk in bytes.utf8_chunks() {
                push(chunk.valid());
                chunk.invalid().iter().for_each(|byte| push(&format!("\\x{byte:02x}")));
            }
        }
    }
    out
}

/// A form (`application/x-www-form-urlencoded`): a name and its value on each line.
pub fn form(bytes: &[u8], level: usize, lines: &mut Lines) {
    for pair in bytes.split(|byte| *byte == b'&') {
        let equals = memchr(b'=', pair);
        let (name, value) = pair.split_at(equals.unwrap_or(pair.len()));
        let name = spelled(&unquote(name));
        match equals {
            Some(_) => {
                let value = spelled(&unquote(value.get(1..).unwrap_or_default()));
                lines.push(level, &format!("{name} = {value}"));
            }
            None => lines.push(level, &name),
        }
    }
}

/// As [`line`] of UTF-8, but tabs are spelled too: a value is one piece.
fn spelled(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escape(chunk.valid()));
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// `+` and `%NN` as what they stand for; a `%` without two digits stays.
fn unquote(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let quoted = match (first, after) {
            (b'%', [a, b, ..]) => digit(a).zip(digit(b)).map(|(a, b)| a << 4 | b),
            _ => None,
        };
        match (first, quoted) {
            (_, Some(byte)) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(first),
        }
    }
    out
}

/// Lines of JSON, as they are sent; what is none is said.
pub fn json_lines(text: &str, cut: bool, limits: &Limits, level: usize, lines: &mut Lines) {
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        // RFC 7464 begins each with a record separator.
        let value = line.trim_start_matches('\u{1e}').trim();
        at += line.len();
        if value.is_empty() {
            continue;
        }
        lines.push(level, &self::line(value.as_bytes(), Charset::Utf8));
        match json::check(value, limits) {
            Err(json::Stop::Early) if cut && at == text.len() => {
                lines.note("the last line ends early".to_owned());
            }
            Err(stop) => lines.note(format!("line {} is no JSON: {}", index + 1, why(stop))),
            Ok(()) => {}
        }
    }
}

/// Why a text is no JSON.
pub fn why(stop: json::Stop) -> String {
    match stop {
        json::Stop::Early => "it ends early".to_owned(),
        json::Stop::Bad { at, expected } => format!("expected {expected} at byte {at}"),
        json::Stop::Deep { at } => format!("nested too deep to be shown at byte {at}"),
    }
}
