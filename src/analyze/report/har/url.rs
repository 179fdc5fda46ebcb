//! The URL of a request, from what was on the wire.
//!
//! What a URI cannot hold (RFC 3986) is percent-encoded byte by byte, so that
//! the URL is one whatever was sent.

use std::net::SocketAddr;

use super::Remarks;
use crate::analyze::report::har::push_pair;
use crate::analyze::report::jsonl::comma;
use crate::analyze::report::write::push_address;

/// What a URL is made of; the parts are as sent, None where not seen.
pub struct Target<'a> {
    pub scheme: Option<&'a [u8]>,
    pub authority: Option<&'a [u8]>,
    pub path: Option<&'a [u8]>,
    /// Who was asked, for want of an authority.
    pub server: SocketAddr,
}

/// Schemes that a URL may begin with: others (`javascript:`) could do harm
/// where somebody follows it.
const SCHEMES: [&[u8]; 2] = [b"http", b"https"];

impl Target<'_> {
    /// Appends the URL; it needs no escaping in JSON.
    pub fn write(&self, remarks: &mut Remarks, out: &mut Vec<u8>) {
        let path = self.path.unwrap_or_default();
        if let Some((scheme, rest)) = absolute(path) {
            // A request to a proxy (RFC 9112 section 3.2.2).
            let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
            push_base(scheme, authority, out);
            return push_path(path, out);
        }
        let scheme = self.scheme.unwrap_or(b"http");
        let known = SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(scheme));
        if known.is_none() {
            remarks.add("its scheme is no scheme of HTTP: the URL has http");
        }
        let scheme = known.unwrap_or(b"http");
        match self.authority.filter(|authority| !authority.is_empty()) {
            Some(authority) => push_base(scheme, authority, out),
            None => {
                out.extend_from_slice(scheme);
                out.extend_from_slice(b"://");
                push_address(out, self.server);
                remarks.add("no host was seen: the URL has the server's address");
            }
        }
        match self.path {
            None => remarks.add("no path was seen: the URL ends before it"),
            // Of the server as a whole, or of what is behind it (RFC 9112 section 3.2).
            Some(b"*" | b"") => {}
            Some(path) if self.authority == Some(path) => {}
            Some(path) => push_path(path, out),
        }
    }
}

/// Scheme and rest of a target that is a URL.
fn absolute(target: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let colon = target.windows(3).position(|three| three == b"://")?;
    let (scheme, rest) = target.split_at_checked(colon)?;
    let known = SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(scheme))?;
    Some((known, rest.get(3..)?))
}

fn push_base(scheme: &[u8], authority: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(scheme);
    out.extend_from_slice(b"://");
    let colon = authority.iter().rposition(|byte| *byte == b':').unwrap_or(authority.len());
    let (host, port) = authority.split_at_checked(colon).unwrap_or((authority, b""));
    let is_port = port.iter().skip(1).all(u8::is_ascii_digit);
    let (host, port) = if is_port { (host, port) } else { (authority, &b""[..]) };
    let inner = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    match inner {
        Some(ip) if ip.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)) => {
            out.extend_from_slice(host);
        }
        _ => push_encoded(host, b"", out),
    }
    out.extend_from_slice(port);
}

/// Appends path and query.
fn push_path(path: &[u8], out: &mut Vec<u8>) {
    if !matches!(path.first(), None | Some(b'/' | b'?')) {
        out.push(b'/');
    }
    let query = path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
    let (path, query) = path.split_at_checked(query).unwrap_or((path, b""));
    push_encoded(path, b":@/", out);
    push_encoded(query, b":@/?", out);
}

/// Appends bytes; all but those of RFC 3986 sections 2.2 and 2.3, and those
/// allowed besides, are percent-encoded. What is encoded already stays so.
fn push_encoded(bytes: &[u8], allowed: &[u8], out: &mut Vec<u8>) {
    const MARKS: &[u8] = b"-._~!$&'()*+,;=";
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for (at, byte) in bytes.iter().enumerate() {
        let is_encoded = *byte == b'%'
            && bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        let plain = byte.is_ascii_alphanumeric() || MARKS.contains(byte) || allowed.contains(byte);
        if plain || is_encoded {
            out.push(*byte);
            continue;
        }
        out.push(b'%');
        for nibble in [byte >> 4, byte & 15] {
            out.extend(HEX.get(usize::from(nibble)));
        }
    }
}

/// Appends the parameters of a target's query as objects of name and value, as
/// they were sent: still encoded.
pub fn query(target: &[u8], out: &mut Vec<u8>) {
    let Some(begin) = target.iter().position(|byte| *byte == b'?') else { return };
    let query = target.get(begin + 1..).unwrap_or_default();
    let parameters = query.split(|byte| *byte == b'&').filter(|one| !one.is_empty());
    for (index, parameter) in parameters.enumerate() {
        comma(index, out);
        let equals = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
        let (name, value) = parameter.split_at_checked(equals).unwrap_or((parameter, b""));
        push_pair(name, value.get(1..).unwrap_or_default(), out);
    }
}
