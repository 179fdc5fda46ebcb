//! Heads as lines of the event log.

use super::head::{FieldLines, Head, RequestLine, StatusLine, unfold};

/// `HTTP/1.1 host GET /target Name: value; …`.
pub fn request(head: &Head<'_, '_, RequestLine<'_>>, host: Option<&[u8]>) -> String {
    let mut text = String::from(head.line.version.text());
    for part in [host.unwrap_or(b"-"), head.line.method, head.line.target] {
        text.push(' ');
        escape(&mut text, part);
    }
    fields(&mut text, &head.fields);
    text
}

/// `HTTP/1.1 200 OK Name: value; …`.
pub fn response(head: &Head<'_, '_, StatusLine<'_>>) -> String {
    let mut text = format!("{} {:03}", head.line.version.text(), head.line.status);
    if !head.line.reason.is_empty() {
        text.push(' ');
        escape(&mut text, head.line.reason);
    }
    fields(&mut text, &head.fields);
    text
}

fn fields(text: &mut String, fields: &FieldLines<'_, '_>) {
    let mut separator = " ";
    fields.each(|name, value| {
        text.push_str(separator);
        separator = "; ";
        escape(text, name);
        text.push_str(": ");
        escape(text, &unfold(value));
    });
}

/// Appends bytes as text: UTF-8 as it is, control and other bytes as `\xNN`.
pub fn escape(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
}
