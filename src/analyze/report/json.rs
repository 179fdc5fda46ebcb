//! `json`: the whole report as one JSON document.
//!
//! The layout is [`Report`]'s own, documented in `docs/output.md`; names stay
//! as long as `schema` does.

use std::io::{self, Write};

use serde::Serialize;

use super::Report;
use super::write::push_u_escape;

/// Writes the report, indented, with a line feed at the end.
///
/// # Errors
/// What `out` returns.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    write_document(report, out)
}

/// Writes any value, indented, with a line feed at the end.
///
/// # Errors
/// What `out` returns, and where the value cannot be JSON.
pub(in crate::analyze) fn write_document(
    value: &impl Serialize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let plain = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    let mut text = Vec::with_capacity(plain.len() + 1);
    push_escaped(&plain, &mut text);
    text.push(b'\n');
    out.write_all(&text)
}

/// Appends a value in one line.
///
/// # Errors
/// When it cannot be JSON.
pub(super) fn push(value: &impl Serialize, out: &mut Vec<u8>) -> io::Result<()> {
    push_escaped(&serde_json::to_string(value).map_err(io::Error::from)?, out);
    Ok(())
}

/// Appends JSON with all control characters escaped.
fn push_escaped(json: &str, out: &mut Vec<u8>) {
    for c in json.chars() {
        match c {
            // DEL and C1, which terminals act on and JSON leaves alone. They
            // can only be within strings.
            '\u{7f}'..='\u{9f}' => push_u_escape(out, c.into()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
