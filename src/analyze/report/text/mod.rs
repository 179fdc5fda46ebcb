//! `text`: the report for people.
//!
//! What is missing comes before everything else. Names and messages come from
//! the wire or from files, so they are escaped before they reach a terminal.

pub(in crate::analyze) mod names;
mod nodes;
mod sections;
mod spark;
pub(in crate::analyze) mod style;
mod table;
pub mod units;

use std::io::{self, Write};

use unicode_width::UnicodeWidthChar;

use super::Report;
pub use style::Style;
pub(in crate::analyze) use units::{escape, must_be_spelled};

/// The report as text.
pub fn render(report: &Report, style: Style) -> String {
    let style = Style { width: style.width.max(style::COLUMNS), ..style };
    let mut page = sections::Page::new(style);
    page.missing(report);
    page.headline(report);
    page.filter(report);
    page.read(report);
    page.transactions(report);
    match &report.groups {
        Some(groups) => page.groups(report, groups),
        None => page.endpoints(report),
    }
    page.slowest(report);
    page.errors(report);
    page.edges(report);
    page.nodes(report);
    page.anomalies(report);
    page.findings(report);
    if style.ascii { plain(&page.text) } else { page.text }
}

/// The text in ASCII, as wide as it was: a terminal that knows no UTF-8 could
/// take its bytes for control characters.
pub(in crate::analyze) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let mark = match c {
            '…' => '~',
            '→' => '>',
            'µ' => 'u',
            _ => '?',
        };
        match c.is_ascii() {
            true => out.push(c),
            false => out.extend(std::iter::repeat_n(mark, c.width().unwrap_or(0))),
        }
    }
    out
}

/// What is known to be missing, as plain text of 80 columns for standard
/// error; empty where nothing is.
pub fn missing(report: &Report) -> String {
    let mut page = sections::Page::new(Style::default());
    page.missing(report);
    page.text
}

/// What a filter took and left out, likewise; empty where there is none.
pub fn filtered(report: &Report) -> String {
    let mut page = sections::Page::new(Style::default());
    page.filter(report);
    page.text
}

/// Writes the report as text.
///
/// # Errors
/// What `out` returns.
pub fn write(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(render(report, style).as_bytes())
}
