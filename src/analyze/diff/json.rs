//! `json`: the whole comparison as one JSON document.
//!
//! The layout is [`Diff`]'s own, documented in `docs/diff.md` and
//! `docs/schema/diff-1.schema.json`.

use std::io::{self, Write};

use super::model::Diff;
use crate::analyze::report::json::write_document;

/// Writes the comparison, indented, with a line feed at the end.
///
/// # Errors
/// What `out` returns.
pub fn write(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    write_document(diff, out)
}
