//! What begins here: told by the first bytes of a direction or a message.
//!
//! Bytes that may still become one thing or another pass as they are, so all
//! that is waited for must be without secrets: a method, a version, a preface.

use crate::analyze::decode::http1::head::{is_token, request_line, without_cr};
use crate::analyze::decode::http2::frame::PREFACE;

/// Bytes that are looked at, at most.
pub const START_BYTES: usize = 64;

/// Longest method, as in the analyzer.
const METHOD_BYTES: usize = crate::analyze::decode::http1::head::METHOD_BYTES;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A request; its target begins behind so many bytes.
    Request(usize),
    /// A response; its status line goes on behind so many bytes.
    Response(usize),
    /// A client's preface of HTTP/2.
    Http2Client,
    /// A server's first frame of HTTP/2.
    Http2Server,
    /// What is encrypted.
    Opaque,
    /// More bytes are needed to tell.
    More,
    /// Nothing of these.
    No,
}

/// A server's SETTINGS on stream 0 (RFC 9113, section 6.5), but for the last byte of its length.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Tells what begins with these bytes, of which there is at least one.
pub fn start(bytes: &[u8]) -> Start {
    if begins(bytes, PREFACE) {
        return if bytes.len() < PREFACE.len() { Start::More } else { Start::Http2Client };
    }
    if begins(bytes, b"HTTP/1.") {
        return if bytes.len() < 7 { Start::More } else { Start::Response(7) };
    }
    match bytes {
        [0, rest @ ..] => settings(rest),
        // RFC 8446, section 5.1: a handshake of version 3.x, at most 2^14 + 256 bytes.
        [0x16] | [0x16, 3] | [0x16, 3, 0..=4] | [b'S'] => Start::More,
        [0x16, 3, 0..=4, high, ..] if *high <= 0x41 => Start::Opaque,
        _ if begins(bytes, b"SSH-") => {
            if bytes.len() < 4 {
                Start::More
            } else {
                Start::Opaque
            }
        }
        _ if begins(bytes, b"ICY ") && bytes.len() >= 4 => Start::Response(4),
        _ => request(bytes),
    }
}

fn settings(rest: &[u8]) -> Start {
    let same = |at: usize, byte: u8| match at {
        // Settings have six bytes each.
        1 => byte.is_multiple_of(6),
        _ => SETTINGS.get(at + 1) == Some(&byte),
    };
    match rest.iter().take(8).enumerate().all(|(at, byte)| same(at, *byte)) {
        true if rest.len() < 8 => Start::More,
        true => Start::Http2Server,
        false => Start::No,
    }
}

/// A method that is spelled in capitals, and a path behind it; or any whole request line.
fn request(bytes: &[u8]) -> Start {
    let Some(end) = bytes.iter().take(METHOD_BYTES + 1).position(|b| !is_token(*b)) else {
        let method = bytes.len() <= METHOD_BYTES && bytes.iter().all(|b| is_method(*b));
        return if method { Start::More } else { Start::No };
    };
    let (method, rest) = bytes.split_at(end);
    if !rest.starts_with(b" ") || method.is_empty() {
        return Start::No;
    }
    let named = method.iter().all(|b| is_method(*b));
    let connect = method == b"CONNECT";
    match rest.get(1) {
        None if named => Start::More,
        Some(b'/' | b'*') => Start::Request(end + 1),
        Some(b'h' | b'H') if named && begins_url(&rest[1..]) => Start::Request(end + 1),
        Some(b) if connect && (b.is_ascii_alphanumeric() || *b == b'[') => Start::Request(end + 1),
        _ => {
            let line = memchr::memchr(b'\n', bytes).and_then(|end| bytes.get(..end));
            let whole = line.is_some_and(|line| request_line(without_cr(line)).is_some());
            if whole { Start::Request(end + 1) } else { Start::No }
        }
    }
}

/// `http` of a target in absolute form (RFC 9112, section 3.2.2), or its beginning.
fn begins_url(target: &[u8]) -> bool {
    target.iter().zip(b"http").all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// Methods of real protocols; in text that is none, most words have small letters.
fn is_method(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'-'
}

/// Whether one begins with the other.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.iter().zip(prefix).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins() {
        let cases: [(&[u8], Start); 20] = [
            (b"GET /", Start::Request(4)),
            (b"G", Start::More),
            (b"GET ", Start::More),
            (b"get / HTTP/1.1\r\n", Start::Request(4)),
            (b"OPTIONS *", Start::Request(8)),
            (b"GET http://h/", Start::Request(4)),
            (b"GET h", Start::Request(4)),
            (b"CONNECT example.org:443", Start::Request(8)),
            (b"FROB x HTTP/1.1\r\n", Start::Request(5)),
            (b"PASS secret\r\n", Start::No),
            (b"HTTP/1.1 200 OK", Start::Response(7)),
            (b"HTT", Start::More),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Start::Http2Client),
            (b"PRI * HTT", Start::More),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", Start::Http2Server),
            (b"\x00\x00\x13\x04\x00\x00\x00\x00\x00", Start::No),
            (b"\x00\x00", Start::More),
            (b"\x16\x03\x01\x02\x00", Start::Opaque),
            (b"hello world", Start::No),
            (b"{\"a\":1}", Start::No),
        ];
        for (bytes, expected) in cases {
            assert_eq!(start(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
