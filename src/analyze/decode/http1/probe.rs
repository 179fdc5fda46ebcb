//! Tells HTTP/1 by the first bytes of a direction.

use super::head::{METHOD_BYTES, is_token, may_begin, request_line, status_line, without_cr};
use crate::analyze::decode::{Probe, Role};

/// Whether a line found after a hole may be taken for a request line with this
/// method: a known one, that is not what is left of a longer one.
pub fn resumes(method: &[u8]) -> bool {
    METHODS.contains(&method) && !matches!(method, b"LOCK" | b"SEARCH" | b"SUBSCRIBE")
}

/// Methods whose name alone, with a plausible target, is enough.
const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"NOTIFY",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"M-SEARCH",
    b"PURGE",
];

/// Longest first line waited for; past it an unknown method is no match.
const LINE_BYTES: usize = 512;

/// The verdict on bytes that begin a direction or a segment.
pub fn probe(bytes: &[u8], _late: bool) -> Probe {
    // Servers skip empty lines before a request line (RFC 9112 section 2.2).
    let bytes = match bytes {
        [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
        _ => bytes,
    };
    if may_begin(bytes, b"HTTP/1.") {
        return server(bytes, 12);
    }
    if bytes.len() >= 4 && bytes.starts_with(b"ICY ") {
        return server(bytes, 7);
    }
    client(bytes)
}

/// `len` bytes make a version, a space and a status.
fn server(bytes: &[u8], len: usize) -> Probe {
    match bytes.get(..len) {
        None => Probe::More,
        Some(line) if status_line(line).is_some() => match bytes.get(len) {
            Some(b' ' | b'\r' | b'\n') => Probe::Match(Role::Server),
            Some(_) => Probe::No,
            None => Probe::More,
        },
        Some(_) => Probe::No,
    }
}

fn client(bytes: &[u8]) -> Probe {
    let Some(end) = bytes.iter().take(METHOD_BYTES + 1).position(|b| !is_token(*b)) else {
        return if bytes.len() <= METHOD_BYTES { Probe::More } else { Probe::No };
    };
    let (method, rest) = bytes.split_at_checked(end).unwrap_or_default();
    let Some(target) = rest.strip_prefix(b" ").filter(|_| end > 0) else { return Probe::No };
    if METHODS.contains(&method) {
        let hosts = method == b"CONNECT";
        match target {
            [] => return Probe::More,
            [b'/' | b'*', ..] if !hosts => return Probe::Match(Role::Client),
            [h, t1, t2, p, ..] if !hosts && [*h, *t1, *t2, *p].eq_ignore_ascii_case(b"http") => {
                return Probe::Match(Role::Client);
            }
            [first, ..] if hosts && (first.is_ascii_alphanumeric() || *first == b'[') => {
                return Probe::Match(Role::Client);
            }
            _ => {}
        }
    }
    line(bytes, target)
}

/// Any method: only a whole request line will do.
fn line(bytes: &[u8], target: &[u8]) -> Probe {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => {
            let line = without_cr(bytes.get(..end).unwrap_or_default());
            if request_line(line).is_some() { Probe::Match(Role::Client) } else { Probe::No }
        }
        None if bytes.len() >= LINE_BYTES => Probe::No,
        None if target.iter().any(|b| *b < b' ' && *b != b'\r') => Probe::No,
        None => Probe::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let cases: [(&[u8], Probe); 22] = [
            (b"GET /", Probe::Match(Role::Client)),
            (b"\r\nGET /", Probe::Match(Role::Client)),
            (b"OPTIONS *", Probe::Match(Role::Client)),
            (b"GET http://h/", Probe::Match(Role::Client)),
            (b"CONNECT example.org:443", Probe::Match(Role::Client)),
            (b"FROB /x HTTP/1.1\r\n", Probe::Match(Role::Client)),
            (b"FROB /x", Probe::More),
            (b"GET", Probe::More),
            (b"G", Probe::More),
            (b"GET \x01", Probe::No),
            (b"GET x FROB\r\n", Probe::No),
            (b"FROB /x HTTP/2.0\r\n", Probe::No),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Probe::No),
            (b"HTTP/1.1 200 OK", Probe::Match(Role::Server)),
            (b"HTTP/1.1 200\r\n", Probe::Match(Role::Server)),
            (b"HTTP/1.1 2000", Probe::No),
            (b"HTTP/1", Probe::More),
            (b"HTTP/2.0 200", Probe::No),
            (b"ICY 200 OK", Probe::Match(Role::Server)),
            (b"\x16\x03\x01\x02\x00", Probe::No),
            (b"SSH-2.0-OpenSSH_9\r\n", Probe::No),
            (b"EHLO example.org\r\n", Probe::No),
        ];
        for (bytes, verdict) in cases {
            assert_eq!(probe(bytes, false), verdict, "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_do_not_match(bytes in proptest::collection::vec(0u8.., 0..600)) {
            proptest::prop_assert!(!matches!(probe(&bytes, false), Probe::Match(_)));
        }
    }
}
