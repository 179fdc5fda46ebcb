//! Numbers, addresses, times and JSON strings straight into a byte buffer.
//!
//! The formats with a line per transaction must not cost more than finding
//! the transaction did, so nothing here goes through `fmt`.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::time::Timestamp;

/// Two digits for each number below 100.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

fn pair(n: u64) -> [u8; 2] {
    PAIRS.get((n % 100) as usize).copied().unwrap_or(*b"00")
}

/// Appends a number in decimal.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    // u64::MAX has 20 digits.
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    while rest >= 10 {
        at -= 2;
        if let Some(place) = digits.get_mut(at..at + 2) {
            place.copy_from_slice(&pair(rest));
        }
        rest /= 100;
    }
    if rest > 0 || at == digits.len() {
        at -= 1;
        if let Some(place) = digits.get_mut(at) {
            *place = b'0' + rest as u8;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Appends a number, or `null`.
#[inline]
pub fn push_number(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => push_u64(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends "ip:port", IPv6 in brackets (RFC 3986 section 3.2.2) and without a
/// zone, which captures do not hold.
pub fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => push_ipv4(out, ip),
        IpAddr::V6(ip) => {
            out.push(b'[');
            push_ipv6(out, ip);
            out.push(b']');
        }
    }
    out.push(b':');
    push_u64(out, u64::from(address.port()));
}

/// Each octet in decimal with a dot behind, and how long that is.
const OCTETS: [([u8; 4], usize); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut n = 0;
    while n < 256 {
        let digits = [b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8];
        let len = if n >= 100 {
            3
        } else if n >= 10 {
            2
        } else {
            1
        };
        let mut digit = 0;
        while digit < len {
            octets[n].0[digit] = digits[3 - len + digit];
            digit += 1;
        }
        octets[n].1 = len + 1;
        n += 1;
    }
    octets
};

fn push_ipv4(out: &mut Vec<u8>, ip: Ipv4Addr) {
    let mut text = [0; 16];
    let mut len = 0;
    for octet in ip.octets() {
        let (digits, more) = OCTETS[usize::from(octet)];
        if let Some(place) = text.get_mut(len..len + 4) {
            place.copy_from_slice(&digits);
        }
        len += more;
    }
    // Without the last dot.
    out.extend_from_slice(text.get(..len - 1).unwrap_or_default());
}

fn push_ipv6(out: &mut Vec<u8>, ip: Ipv6Addr) {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        out.extend_from_slice(b"::ffff:");
        return push_ipv4(out, mapped);
    }
    let groups = ip.segments();
    let (zeros, len) = longest_zeros(&groups);
    for (index, group) in groups.into_iter().enumerate() {
        if len > 1 && (zeros..zeros + len).contains(&index) {
            if index == zeros {
                out.extend_from_slice(b"::");
            }
            continue;
        }
        if index > 0 && !(len > 1 && index == zeros + len) {
            out.push(b':');
        }
        push_hex(out, group);
    }
}

/// Start and length of the first longest run of zero groups.
fn longest_zeros(groups: &[u16; 8]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = (0, 0);
    for (index, group) in groups.iter().enumerate() {
        run = match (*group, run.1) {
            (0, 0) => (index, 1),
            (0, len) => (run.0, len + 1),
            _ => (0, 0),
        };
        if run.1 > best.1 {
            best = run;
        }
    }
    best
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex_digit(nibble: u32) -> u8 {
    HEX.get((nibble & 15) as usize).copied().unwrap_or(b'0')
}

fn push_hex(out: &mut Vec<u8>, value: u16) {
    let value = u32::from(value);
    for shift in [12, 8, 4] {
        if value >> shift != 0 {
            out.push(hex_digit(value >> shift));
        }
    }
    out.push(hex_digit(value));
}

/// Appends `\u00XX`.
pub fn push_u_escape(out: &mut Vec<u8>, code: u32) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(hex_digit(code >> shift));
    }
}

/// "2026-11-22T15:17:26." of the last second that was printed: consecutive
/// times mostly share it, and the calendar is the dear part.
type Second = (i64, [u8; 20]);

thread_local! {
    static SECOND: Cell<Second> = const { Cell::new((0, *b"1970-01-01T00:00:00.")) };
}

/// Appends a time as RFC 3339 in UTC with nine fractional digits; the same
/// text as [`Timestamp::write_rfc3339`], faster.
pub fn push_time(out: &mut Vec<u8>, at: Timestamp) {
    let quoted = quoted_time(at);
    out.extend_from_slice(quoted.get(1..TIME - 1).unwrap_or_default());
}

/// Length of a time in quotes.
pub const TIME: usize = 32;

/// A time in quotes.
pub fn quoted_time(at: Timestamp) -> [u8; TIME] {
    let nanos = at.nanos();
    let second = nanos.div_euclid(1_000_000_000);
    let fraction = nanos.rem_euclid(1_000_000_000) as u64;
    let mut cached = SECOND.get();
    if cached.0 != second {
        let mut text = Vec::with_capacity(30);
        at.write_rfc3339(&mut text);
        // Years have four digits from 1677 to 2262, so it is always as long.
        cached = (second, text.first_chunk().copied().unwrap_or(cached.1));
        SECOND.set(cached);
    }
    let mut text = [b'"'; TIME];
    text[1..21].copy_from_slice(&cached.1);
    text[21..23].copy_from_slice(&pair(fraction / 10_000_000));
    text[23..25].copy_from_slice(&pair(fraction / 100_000));
    text[25..27].copy_from_slice(&pair(fraction / 1000));
    text[27..29].copy_from_slice(&pair(fraction / 10));
    text[29] = b'0' + (fraction % 10) as u8;
    text[30] = b'Z';
    text
}

/// Whether all bytes are printable ASCII other than `"` and `\`: such a
/// string goes into JSON as it is. Eight bytes at a time.
#[inline]
pub fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // High bit of each byte set where that byte is below n (n <= 128), for
    // words without high bits; a borrow can only spoil words that are not
    // plain anyway.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGH;
    let odd = |word: u64| {
        (word & HIGH)
            | below(word, 0x20)
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1)
            | below(word ^ (ONES * 0x7f), 1)
    };
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().copied().all(is_plain_byte);
    };
    // The last word overlaps the one before, so that none is partial.
    let mut found = odd(u64::from_le_bytes(*last));
    for word in bytes.as_chunks::<8>().0 {
        found |= odd(u64::from_le_bytes(*word));
    }
    found == 0
}

/// Appends a JSON string, quotes included.
#[inline]
pub fn push_json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    push_json_text(out, bytes);
    out.push(b'"');
}

/// Appends what is between the quotes of a JSON string.
///
/// Bytes that are not valid UTF-8 become the code points of Latin-1, as
/// RFC 9110 section 5.5 says of obs-text. Control characters, C1 and DEL
/// among them, are escaped, so that a line is safe on a terminal.
#[inline]
pub fn push_json_text(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        push_json_escaped(out, bytes);
    }
}

#[cold]
fn push_json_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_ascii() {
        return decode(bytes).for_each(|c| push_json_char(out, c));
    }
    // Entity tags are in quotes: what is between goes as it is.
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| !is_plain_byte(*byte)) {
        let (plain, odd) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = odd.split_first() else { break };
        push_json_char(out, char::from(*byte));
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn push_json_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if c.is_control() => push_u_escape(out, c.into()),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f) && !matches!(byte, b'"' | b'\\')
}

/// Appends a JSON string, or `null`.
#[inline]
pub fn push_json_or_null(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => push_json(out, bytes),
        None => out.extend_from_slice(b"null"),
    }
}

/// The characters of wire bytes: UTF-8, and Latin-1 for each byte that is not.
pub fn decode(bytes: &[u8]) -> impl Iterator<Item = char> + '_ {
    bytes.utf8_chunks().flat_map(|chunk| {
        chunk.valid().chars().chain(chunk.invalid().iter().map(|byte| char::from(*byte)))
    })
}

/// [`decode`] as a string.
pub fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => decode(bytes).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_at_the_edges() {
        for value in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, u64::MAX, u64::MAX - 1] {
            assert_eq!(written(|out| push_u64(out, value)), value.to_string());
        }
        assert_eq!(written(|out| push_number(out, None)), "null");
    }

    #[test]
    fn hostile_strings_are_safe_and_latin1() {
        let escaped = |bytes: &[u8]| written(|out| push_json(out, bytes));
        assert_eq!(escaped(b"caf\xe9"), "\"café\"");
        assert_eq!(escaped("café".as_bytes()), "\"café\"");
        assert_eq!(escaped(b"\x1b[31m\x7f\x9b"), "\"\\u001b[31m\\u007f\\u009b\"");
        assert_eq!(escaped(b"a\"b\\c\r\n\t"), r#""a\"b\\c\r\n\t""#);
    }

    proptest! {
        #[test]
        fn any_number(value: u64) {
            prop_assert_eq!(written(|out| push_u64(out, value)), value.to_string());
        }

        #[test]
        fn any_address(groups: [u16; 8], mask: u8, v4: [u8; 4], port: u16) {
            let mut groups = groups;
            for (bit, group) in groups.iter_mut().enumerate() {
                if mask >> bit & 1 == 1 { *group = 0; }
            }
            for ip in [IpAddr::from(groups), IpAddr::from(v4),
                       IpAddr::V6(std::net::Ipv4Addr::from(v4).to_ipv6_mapped())] {
                let address = SocketAddr::new(ip, port);
                prop_assert_eq!(written(|out| push_address(out, address)), address.to_string());
            }
        }

        #[test]
        fn any_time(nanos: i64, step in 0..3_000_000_000_i64) {
            for nanos in [nanos, nanos.saturating_add(step)] {
                let at = Timestamp::from_nanos(nanos);
                prop_assert_eq!(written(|out| push_time(out, at)), at.to_string());
            }
        }

        #[test]
        fn any_bytes_are_a_json_string_of_the_same_text(
            bytes in prop_oneof![any::<Vec<u8>>(), prop::collection::vec(0..0x80_u8, 0..40)],
        ) {
            let json = written(|out| push_json(out, &bytes));
            let back: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back, text_of(&bytes));
            prop_assert!(!json.chars().any(char::is_control));
        }

        #[test]
        fn almost_plain_strings(start in 0..20_usize, byte: u8, end in 0..20_usize) {
            let mut bytes = vec![b'x'; start];
            bytes.push(byte);
            bytes.extend(vec![b'~'; end]);
            let plain = (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
            prop_assert_eq!(is_plain(&bytes), plain);
        }
    }
}
