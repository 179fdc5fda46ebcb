//! What keys do and what columns mean.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::{bold, dim, left, put, span};

/// Keys, and what they do.
const KEYS: [(&str, &str); 9] = [
    ("up down j k PgUp PgDn Home End", "select, scroll"),
    ("Enter", "open an endpoint, then a transaction"),
    ("Esc Backspace", "back"),
    ("Tab", "last, slowest or failed transactions of an endpoint"),
    ("s S  or  > <", "sort by the next column, the one before; r reverses"),
    ("/", "only endpoints with this text; Enter keeps it, Esc clears it"),
    ("w", "figures of the last 10 s, 60 s or all"),
    ("p or space", "stand still; a recording goes on, a replay waits"),
    ("q or Ctrl-C", "quit"),
];

/// Columns, and what they mean.
const COLUMNS: [(&str, &str); 5] = [
    ("RATE COUNT", "transactions that finished within the window"),
    ("ERR", "share that failed: 4xx, 5xx, gRPC errors, reset, unanswered"),
    ("UNKN", "share whose end was not seen: neither good nor bad"),
    ("P50 P90 P99", "first byte of the request to that of the response"),
    ("MAX", "the longest; others are up to 2 % off where there are many"),
];

/// Columns of the left side.
const LEFT: usize = 32;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect) {
    let line = |(what, text): &(&str, &str)| {
        Line::from(vec![span(left(what, LEFT), bold()), span(*text, Style::new())])
    };
    let mut lines: Vec<_> = KEYS.iter().map(line).collect();
    lines.push(Line::default());
    lines.extend(COLUMNS.iter().map(line));
    lines.push(Line::default());
    lines.push(Line::from(span("What is known to be missing is red, above.", dim())));
    put(frame, lines, area);
}
