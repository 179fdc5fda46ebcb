//! Cookies (RFC 6265), from the fields that carry them.

use super::push_pair;
use crate::analyze::fields::Fields;
use crate::analyze::report::jsonl::comma;
use crate::analyze::report::write::push_json;

/// Known values of all fields of this name, which is in lower case.
fn values<'a>(fields: Option<&'a Fields>, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let fields = fields.into_iter().flat_map(Fields::iter);
    fields.filter(|field| field.name.eq_ignore_ascii_case(name)).filter_map(|field| field.value)
}

/// Name and value of `name=value`; a pair without `=` is all name.
fn pair(text: &[u8]) -> (&[u8], &[u8]) {
    let equals = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
    let (name, value) = text.split_at_checked(equals).unwrap_or((text, b""));
    (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
}

/// Appends the cookies that a client sent.
pub fn of_request(head: Option<&Fields>, out: &mut Vec<u8>) {
    // HTTP/2 may send a field for each (RFC 9113 section 8.2.3).
    let pieces = values(head, b"cookie").flat_map(|value| value.split(|byte| *byte == b';'));
    let cookies = pieces.map(pair).filter(|(name, value)| !name.is_empty() || !value.is_empty());
    for (index, (name, value)) in cookies.enumerate() {
        comma(index, out);
        push_pair(name, value, out);
    }
}

/// Appends the cookies that a server set. When they expire is in the header
/// fields only, in whatever form the server chose.
pub fn of_response(head: Option<&Fields>, out: &mut Vec<u8>) {
    for (index, value) in values(head, b"set-cookie").enumerate() {
        comma(index, out);
        let mut parts = value.split(|byte| *byte == b';');
        let (name, value) = pair(parts.next().unwrap_or_default());
        push_pair(name, value, out);
        out.pop();
        attributes(parts, out);
        out.push(b'}');
    }
}

/// Appends where a cookie holds; of what is said twice the last counts
/// (RFC 6265 section 5.3).
fn attributes<'a>(parts: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let (mut path, mut domain, mut secure, mut http_only) = (None, None, false, false);
    for (name, value) in parts.map(pair) {
        match name.to_ascii_lowercase().as_slice() {
            b"path" => path = Some(value),
            b"domain" => domain = Some(value),
            b"secure" => secure = true,
            b"httponly" => http_only = true,
            _ => {}
        }
    }
    for (name, value) in [(&b",\"path\":"[..], path), (b",\"domain\":", domain)] {
        if let Some(value) = value {
            out.extend_from_slice(name);
            push_json(out, value);
        }
    }
    for (name, value) in [(&b",\"httpOnly\":"[..], http_only), (b",\"secure\":", secure)] {
        out.extend_from_slice(name);
        out.extend_from_slice(if value { b"true" } else { b"false" });
    }
}
