//! `json`: the whole report as one JSON document.
//!
//! The layout is [`Report`]'s own, documented in `docs/output.md`; names stay
//! as long as `schema` does.

use std::io::{self, Write};

use super::Report;
use super::write::push_u_escape;

/// Writes the report, indented, with a line feed at the end.
///
/// # Errors
/// What `out` returns.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let plain = serde_json::to_string_pretty(report).map_err(io::Error::from)?;
    let mut text = Vec::with_capacity(plain.len() + 1);
    for c in plain.chars() {
        match c {
            // DEL and C1, which terminals act on and JSON leaves alone. They
            // can only be within strings.
            '\u{7f}'..='\u{9f}' => push_u_escape(&mut text, c.into()),
            c => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    text.push(b'\n');
    out.write_all(&text)
}
