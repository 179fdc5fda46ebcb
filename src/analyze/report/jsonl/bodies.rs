//! Bodies in lines: text where they are text, else base64, and what is not there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::analyze::kept::Kept;
use crate::analyze::report::jsonl::comma;
use crate::analyze::report::write::{push_json, push_json_text, push_number, push_u64};
use crate::analyze::transaction::{Message, Transaction};

/// Appends the bodies of request and response, each null where nothing of the
/// message was seen.
#[cold]
pub fn write(transaction: &Transaction, out: &mut Vec<u8>) {
    let messages = [&transaction.request, &transaction.response];
    for (name, message) in [&b",\"request_body\":"[..], b",\"response_body\":"].iter().zip(messages)
    {
        out.extend_from_slice(name);
        match message {
            Some(message) => body(message, out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

/// Appends the body of a message, which may have none.
pub fn body(message: &Message, out: &mut Vec<u8>) {
    let none = Kept::default();
    let kept = message.body.as_deref().unwrap_or(&none);
    out.push(b'{');
    content(kept.bytes(), out);
    out.extend_from_slice(b",\"cut\":");
    match kept.cut() {
        Some(cut) => push_json(out, cut.name().as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"gaps\":[");
    for (index, gap) in kept.gaps().iter().enumerate() {
        comma(index, out);
        out.extend_from_slice(b"{\"at\":");
        push_u64(out, gap.at);
        out.extend_from_slice(b",\"bytes\":");
        push_number(out, gap.bytes);
        out.push(b'}');
    }
    out.extend_from_slice(if is_whole(message, kept) {
        b"],\"whole\":true}"
    } else {
        b"],\"whole\":false}"
    });
}

/// Whether all of a body is there: its end was seen, nothing before it is missing
/// and nothing was cut.
pub fn is_whole(message: &Message, kept: &Kept) -> bool {
    let all = kept.bytes().len() as u64 == message.body_bytes;
    message.end.is_some() && kept.gaps().is_empty() && kept.cut().is_none() && all
}

/// Appends `text` and `base64`, one of them null.
pub fn content(bytes: &[u8], out: &mut Vec<u8>) {
    match text(bytes) {
        Some(text) => {
            out.extend_from_slice(b"\"text\":\"");
            push_json_text(out, text.as_bytes());
            out.extend_from_slice(b"\",\"base64\":null");
        }
        None => {
            out.extend_from_slice(b"\"text\":null,\"base64\":\"");
            push_base64(bytes, out);
            out.push(b'"');
        }
    }
}

/// Bytes as text: UTF-8 without control characters but those that end lines or
/// cells. Others make bytes of something binary six times as long.
pub fn text(bytes: &[u8]) -> Option<&str> {
    let odd = |byte: &u8| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127);
    std::str::from_utf8(bytes).ok().filter(|_| !bytes.iter().any(odd))
}

/// Appends base64 (RFC 4648 section 4), padded.
pub fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    /// A multiple of three, so that no group is cut.
    const STEP: usize = 3 << 10;
    for part in bytes.chunks(STEP) {
        out.extend_from_slice(STANDARD.encode(part).as_bytes());
    }
}
