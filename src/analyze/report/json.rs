//! `json`: the whole report as one JSON document.
//!
//! The layout is [`Report`]'s own, documented in `docs/output.md`; names stay
//! as long as `schema` does.

use std::io::{self, Write};

use super::Report;

/// Writes the report, indented, with a line feed at the end.
///
/// # Errors
/// What `out` returns.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report).map_err(io::Error::from)?;
    out.write_all(b"\n")
}
