//! Lines that are written one after the other, within limits.

use super::{Kind, Limits, Rendered};

/// Spaces for each level.
const INDENT: usize = 2;

/// Levels that are indented further; deeper ones stand below each other, so that a line's
/// indentation is bounded.
const INDENTED: usize = 40;

/// Notes of one body: hostile bodies may have as many faults as bytes.
const NOTES: usize = 50;

/// Lines so far, and what is to be said of them.
#[derive(Debug)]
pub struct Lines {
    lines: Vec<String>,
    notes: Vec<String>,
    max_lines: usize,
    max_columns: usize,
    /// Lines and notes that found no room.
    left_out: usize,
    notes_left_out: usize,
}

impl Lines {
    /// None yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            lines: Vec::new(),
            notes: Vec::new(),
            max_lines: limits.lines,
            max_columns: limits.columns,
            left_out: 0,
            notes_left_out: 0,
        }
    }

    /// A line, `text` being escaped already. Cut where it is too long, with a mark.
    pub fn push(&mut self, level: usize, text: &str) {
        if self.lines.len() >= self.max_lines {
            self.left_out += 1;
            return;
        }
        let indent = INDENT * level.min(INDENTED);
        let mut line = String::with_capacity(indent + text.len().min(self.max_columns));
        line.extend(std::iter::repeat_n(' ', indent));
        match text.char_indices().nth(self.max_columns) {
            Some((at, _)) => {
                let (shown, rest) = text.split_at(at);
                line.push_str(shown);
                line.push_str(&format!(" {}", more(rest.len(), "byte")));
            }
            None => line.push_str(text),
        }
        self.lines.push(line);
    }

    /// Something to be said, escaped already.
    pub fn note(&mut self, text: String) {
        if self.notes.len() < NOTES {
            self.notes.push(text);
        } else {
            self.notes_left_out += 1;
        }
    }

    /// All of it.
    pub fn finish(mut self, kind: Kind) -> Rendered {
        if self.left_out > 0 {
            self.lines.push(more(self.left_out, "line"));
        }
        if self.notes_left_out > 0 {
            self.notes.push(more(self.notes_left_out, "note"));
        }
        Rendered { kind, lines: self.lines, notes: self.notes }
    }
}

/// `1 byte`, `2 bytes`.
pub fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `… 1 more byte`, `… 2 more bytes`.
pub fn more(count: usize, what: &str) -> String {
    format!("… {count} more {what}{}", if count == 1 { "" } else { "s" })
}
