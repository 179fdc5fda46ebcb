//! Bytes as offset, hexadecimal and ASCII, in the form of `xxd`.

use std::fmt::Write as _;

use super::Limits;
use super::lines::{Lines, more};

/// Bytes of a line.
const ROW: usize = 16;

/// Columns of the hexadecimal part: two digits a byte, a space after every second.
const DIGITS: usize = ROW * 2 + ROW / 2;

/// Writes the dump, as far as the limits go; `offset` is that of the first byte.
pub fn dump(bytes: &[u8], offset: usize, level: usize, limits: &Limits, lines: &mut Lines) {
    // Whole rows: a row that is cut looks like the end.
    let shown = bytes.len().min(limits.hex.next_multiple_of(ROW));
    let (head, rest) = bytes.split_at(shown);
    for (index, row) in head.chunks(ROW).enumerate() {
        lines.push(level, &line(offset + index * ROW, row));
    }
    if !rest.is_empty() {
        lines.push(level, &more(rest.len(), "byte"));
    }
}

fn line(offset: usize, row: &[u8]) -> String {
    let mut digits = String::with_capacity(DIGITS);
    for pair in row.chunks(2) {
        for byte in pair {
            // Writing to a String cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        digits.push(' ');
    }
    let ascii: String = row
        .iter()
        .map(|byte| if matches!(byte, 0x20..0x7f) { char::from(*byte) } else { '.' })
        .collect();
    format!("{offset:08x}: {digits:<DIGITS$} {ascii}")
}

/// Bytes as digits on one line, at most `max` of them.
pub fn digits(bytes: &[u8], max: usize) -> String {
    let (head, rest) = bytes.split_at(bytes.len().min(max));
    let mut out = String::with_capacity(head.len() * 2);
    for byte in head {
        let _ = write!(out, "{byte:02x}");
    }
    if !rest.is_empty() {
        out.push_str(&more(rest.len(), "byte"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::body::Kind;

    #[test]
    fn looks_like_xxd() {
        let mut lines = Lines::new(&Limits::default());
        dump(b"GET / HTTP/1.1\r\n\x00\xff", 0, 0, &Limits::default(), &mut lines);
        assert_eq!(
            lines.finish(Kind::Hex).lines,
            [
                "00000000: 4745 5420 2f20 4854 5450 2f31 2e31 0d0a  GET / HTTP/1.1..",
                "00000010: 00ff                                     ..",
            ]
        );
    }

    #[test]
    fn says_how_much_is_left_out() {
        let limits = Limits { hex: 17, ..Limits::default() };
        let mut lines = Lines::new(&limits);
        dump(&[b'a'; 40], 0, 0, &limits, &mut lines);
        let lines = lines.finish(Kind::Hex).lines;
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], "… 8 more bytes");
    }
}
