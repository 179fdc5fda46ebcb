//! Tables of one flexible first column and numbers right of it.
//!
//! Where the name column would be too narrow to read, each row takes two
//! lines: the name, then its numbers.

use super::Style;
use super::style::{COLUMNS, Paint};
use super::units::{elide, width};

/// Names are not cut to less than this: rather two lines a row.
const NAME: usize = 56;
/// How far names that stand alone and notes are moved in.
const INDENT: usize = 2;

/// A cell and how it stands out.
pub struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl Cell {
    /// Plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), paint: None }
    }

    /// Text that stands out where `when`.
    pub fn painted(text: impl Into<String>, paint: Paint, when: bool) -> Self {
        Self { text: text.into(), paint: when.then_some(paint) }
    }
}

struct Row {
    name: String,
    cells: Vec<Cell>,
    notes: Vec<String>,
}

/// A table under construction.
pub struct Table {
    name: &'static str,
    heads: Vec<&'static str>,
    /// Columns that it always has.
    base: usize,
    rows: Vec<Row>,
}

impl Table {
    /// With a name column and these number columns.
    pub fn new(name: &'static str, heads: &[&'static str]) -> Self {
        Self { name, heads: heads.to_vec(), base: heads.len(), rows: Vec::new() }
    }

    /// The same with further columns behind, on terminals that have room for
    /// them: each only where no name is cut for it and the rows stay as they are.
    pub fn more(mut self, heads: &[&'static str]) -> Self {
        self.heads.extend_from_slice(heads);
        self
    }

    /// Adds a row; `name` has to be escaped.
    pub fn row(&mut self, name: String, cells: Vec<Cell>) {
        self.rows.push(Row { name, cells, notes: Vec::new() });
    }

    /// Adds a line beneath the last row and its lines; it has to be escaped.
    pub fn note(&mut self, note: String) {
        if let Some(row) = self.rows.last_mut() {
            row.notes.push(note);
        }
    }

    /// Appends the table's lines, none wider than the style says. Columns
    /// without any content are left out.
    pub fn render(mut self, style: Style, out: &mut String) {
        self.drop_empty_columns();
        let names = self.rows.iter().map(|row| width(&row.name)).max().unwrap_or(0);
        let names = names.max(width(self.name));
        let widths = self.fitting(style, names);
        self.heads.truncate(widths.len());
        self.rows.iter_mut().for_each(|row| row.cells.truncate(widths.len()));
        let left = left(style, &widths);
        if left >= names.min(NAME) {
            self.render_lines(style, &widths, names.min(left), out);
        } else {
            let gap = if numbers(&widths) <= style.width { 2 } else { 1 };
            self.render_stacked(style, &widths, gap, out);
        }
    }

    /// Widths of the columns that are shown.
    fn fitting(&self, style: Style, names: usize) -> Vec<usize> {
        let all = self.widths();
        let base = all.get(..self.base).unwrap_or(&all);
        let in_lines = left(style, base) >= names.min(NAME);
        let fits = |columns: &[usize]| match in_lines {
            true => left(style, columns) >= names,
            false => numbers(columns) <= style.width,
        };
        // Files and pipes have the fewest columns, and always the same.
        let most = if style.width > COLUMNS { all.len() } else { base.len() };
        let mut fewer = (base.len()..=most).rev().filter_map(|len| all.get(..len));
        let widest = fewer.find(|columns| fits(columns));
        widest.unwrap_or(base).to_vec()
    }

    fn drop_empty_columns(&mut self) {
        let mut index = 0;
        while index < self.heads.len() {
            let empty = |row: &Row| row.cells.get(index).is_none_or(|cell| cell.text.is_empty());
            if self.rows.iter().all(empty) {
                self.heads.remove(index);
                self.base -= usize::from(index < self.base);
                for row in &mut self.rows {
                    if index < row.cells.len() {
                        row.cells.remove(index);
                    }
                }
            } else {
                index += 1;
            }
        }
    }

    fn widths(&self) -> Vec<usize> {
        let column = |index: usize| self.rows.iter().filter_map(move |row| row.cells.get(index));
        let widest = |index| column(index).map(|cell| width(&cell.text)).max().unwrap_or(0);
        self.heads.iter().enumerate().map(|(index, head)| width(head).max(widest(index))).collect()
    }

    fn render_lines(&self, style: Style, widths: &[usize], names: usize, out: &mut String) {
        let pad = |out: &mut String, columns: usize| out.extend(std::iter::repeat_n(' ', columns));
        let mut head = String::new();
        pad(&mut head, INDENT);
        head.push_str(self.name);
        pad(&mut head, names.saturating_sub(width(self.name)));
        for (text, columns) in self.heads.iter().zip(widths) {
            pad(&mut head, columns + 2 - width(text));
            head.push_str(text);
        }
        line(style, Some(Paint::Dim), &head, out);
        for row in &self.rows {
            let name = elide(&row.name, names);
            pad(out, INDENT);
            out.push_str(&name);
            if !row.cells.is_empty() {
                pad(out, names.saturating_sub(width(&name)));
            }
            cells(style, &row.cells, widths, 2, out);
            note(style, row, out);
        }
    }

    fn render_stacked(&self, style: Style, widths: &[usize], gap: usize, out: &mut String) {
        let mut head = String::new();
        for (index, (text, columns)) in self.heads.iter().zip(widths).enumerate() {
            let gap = if index == 0 && gap == 1 { 0 } else { gap };
            head.extend(std::iter::repeat_n(' ', columns + gap - width(text)));
            head.push_str(text);
        }
        line(style, Some(Paint::Dim), &head, out);
        for row in &self.rows {
            let name = elide(&row.name, style.width.saturating_sub(INDENT));
            line(style, Some(Paint::Bold), &format!("{:INDENT$}{name}", ""), out);
            cells(style, &row.cells, widths, gap, out);
            note(style, row, out);
        }
    }
}

/// Columns that numbers take, two blanks before each.
fn numbers(widths: &[usize]) -> usize {
    widths.iter().map(|width| width + 2).sum()
}

/// Columns that are left for names in the same line.
fn left(style: Style, widths: &[usize]) -> usize {
    style.width.saturating_sub(INDENT + numbers(widths))
}

fn cells(style: Style, cells: &[Cell], widths: &[usize], gap: usize, out: &mut String) {
    let mut pad = 0;
    for (index, (cell, columns)) in cells.iter().zip(widths).enumerate() {
        let gap = if index == 0 && gap == 1 { 0 } else { gap };
        pad += (columns + gap).saturating_sub(width(&cell.text));
        // No blanks at the end of a line.
        if !cell.text.is_empty() {
            out.extend(std::iter::repeat_n(' ', std::mem::take(&mut pad)));
            style.push(cell.paint, &cell.text, out);
        }
    }
    out.push('\n');
}

fn note(style: Style, row: &Row, out: &mut String) {
    for note in &row.notes {
        let text = elide(note, style.width.saturating_sub(2 * INDENT));
        line(style, Some(Paint::Dim), &format!("{:1$}{text}", "", 2 * INDENT), out);
    }
}

fn line(style: Style, paint: Option<Paint>, text: &str, out: &mut String) {
    style.push(paint, text, out);
    out.push('\n');
}
