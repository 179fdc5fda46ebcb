//! Plain field lines as JSON.
//!
//! Peers repeat themselves: the field lines of a message mostly are those of an
//! earlier one, but for a date, a length or an id. So some are remembered with
//! what they came to, and only the lines that differ are written anew. This
//! changes nothing but speed; each thread has its own.

use std::cell::RefCell;
use std::ops::Range;

use crate::analyze::fields::plain_lines;
use crate::analyze::report::write::{is_plain, push_json_text};

/// Sections that a thread remembers: some lengths of each kind of client and
/// server.
const SLOTS: usize = 256;
/// Longest section that is remembered, as lines and as JSON. With [`SLOTS`] they
/// bound a thread to some 2 MB.
const LINES_BYTES: usize = 2048;
const JSON_BYTES: usize = 4096;
/// A section is forgotten for another one once that many in a row have had
/// little of it.
const PATIENCE: u8 = 16;

thread_local! {
    /// None of them until the first is needed.
    static SEEN: RefCell<Vec<Section>> = const { RefCell::new(Vec::new()) };
}

/// Appends `["name","value"]` for each of the lines, with commas between.
pub fn write(lines: &[u8], out: &mut Vec<u8>) {
    if lines.is_empty() {
        return;
    }
    SEEN.with_borrow_mut(|sections| {
        if sections.is_empty() {
            sections.resize_with(SLOTS, Section::default);
        }
        match sections.get_mut(place(lines)) {
            Some(section) => section.write(lines, out),
            None => push_all(lines, out),
        }
    });
    // The last comma.
    out.pop();
}

/// Chooses where a section is remembered, by how it begins and how long it is:
/// of one kind, those of the same length mostly have values of the same lengths.
/// What shares a place costs time and nothing else.
#[inline]
fn place(lines: &[u8]) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let begin = lines.first_chunk::<8>().map_or(0, |begin| u64::from_le_bytes(*begin));
    let mixed = (begin ^ (lines.len() as u64).rotate_left(40)).wrapping_mul(ODD);
    (mixed >> 32) as usize % SLOTS
}

/// Appends a field and a comma.
fn push_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"[\"");
    push_json_text(out, name);
    out.extend_from_slice(b"\",\"");
    push_json_text(out, value);
    out.extend_from_slice(b"\"],");
}

fn push_all(lines: &[u8], out: &mut Vec<u8>) {
    plain_lines(lines).for_each(|(name, value)| push_field(name, value, out));
}

/// A line of a section and what it came to.
struct Line {
    /// Where it is among the lines, CRLF included.
    line: Range<u16>,
    /// What it came to, comma included.
    json: Range<u16>,
    /// How long it is up to its value, and the same of what it came to; none
    /// where the value is not there as it is.
    value: Option<(u16, u16)>,
}

/// What comes behind a value that is there as it is.
const LINE_END: &[u8] = b"\r\n";
const JSON_END: &[u8] = b"\"],";

/// Lines seen before, and what they came to.
#[derive(Default)]
struct Section {
    lines: Vec<u8>,
    json: Vec<u8>,
    table: Vec<Line>,
    /// How many in a row have had little of it.
    misses: u8,
}

fn piece<'a>(bytes: &'a [u8], range: &Range<u16>) -> &'a [u8] {
    bytes.get(usize::from(range.start)..usize::from(range.end)).unwrap_or_default()
}

impl Section {
    #[inline]
    fn write(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        if self.lines == lines || self.adapt(lines) {
            self.misses = 0;
            out.extend_from_slice(&self.json);
        } else {
            self.write_other(lines, out);
        }
    }

    /// Becomes these lines, where values are all that differs and are as long as
    /// those known; else the lines that are known may have changed.
    #[inline]
    fn adapt(&mut self, lines: &[u8]) -> bool {
        let Self { lines: known, json, table, .. } = self;
        known.len() == lines.len()
            && table.iter().all(|at| {
                let new = piece(lines, &at.line);
                new == piece(known, &at.line) || at.adapt(new, known, json)
            })
    }

    /// Lines that are not these: what is known of them is copied.
    #[inline(never)]
    fn write_other(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        let (mut index, mut other) = (0, 0);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            // A line may be missing here.
            let known = self.table.iter().enumerate().skip(index).take(2);
            let same = known.into_iter().find(|(_, at)| piece(&self.lines, &at.line) == line);
            if let Some((at, Line { json, .. })) = same {
                out.extend_from_slice(piece(&self.json, json));
                index = at + 1;
                continue;
            }
            push_all(line, out);
            other += line.len();
            // Or it has another value, or is one more.
            let begin = self.table.get(index).and_then(|at| Some((at, usize::from(at.value?.0))));
            let name = begin.and_then(|(at, end)| piece(&self.lines, &at.line).get(..end));
            index += usize::from(name.is_some_and(|name| line.starts_with(name)));
        }
        if other <= lines.len() / 2 {
            self.misses = 0;
            return;
        }
        self.misses = self.misses.saturating_add(1);
        if (self.lines.is_empty() || self.misses >= PATIENCE) && lines.len() <= LINES_BYTES {
            self.learn(lines);
        }
    }

    fn learn(&mut self, lines: &[u8]) {
        *self = Self::default();
        let mut json = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let (from, begin) = (self.lines.len(), json.len());
            push_all(line, &mut json);
            self.lines.extend_from_slice(line);
            if json.len() > JSON_BYTES {
                *self = Self::default();
                return;
            }
            let value = value_in(line, json.get(begin..).unwrap_or_default());
            self.table.push(Line {
                line: from as u16..self.lines.len() as u16,
                json: begin as u16..json.len() as u16,
                value,
            });
        }
        self.json = json;
    }
}

/// How long a line and its JSON are up to the value, where that stands in both as
/// it is, up to their ends.
fn value_in(line: &[u8], json: &[u8]) -> Option<(u16, u16)> {
    let (_, value) = plain_lines(line).next()?;
    let begin = line.strip_suffix(LINE_END)?.strip_suffix(value)?.len();
    // The end of an escaped value may look like the value.
    let from = json.len().checked_sub(value.len() + JSON_END.len())?;
    is_plain(value).then_some((begin as u16, from as u16))
}

impl Line {
    /// Becomes the line `new` of the same length, where its value is all that
    /// differs and needs no escapes; else nothing has changed.
    #[inline]
    fn adapt(&self, new: &[u8], known: &mut [u8], json: &mut [u8]) -> bool {
        let Some((begin, from)) = self.value else { return false };
        let (begin, from) = (usize::from(begin), usize::from(from));
        let start = usize::from(self.line.start);
        let Some(known) = known.get_mut(start..usize::from(self.line.end)) else { return false };
        let start = usize::from(self.json.start) + from;
        let Some((name, value)) = new.split_at_checked(begin) else { return false };
        let Some(value) = value.strip_suffix(LINE_END) else { return false };
        let Some(json) = json.get_mut(start..start + value.len()) else { return false };
        // Blanks around a value are none of it.
        let bare = |end: Option<&u8>| end.is_none_or(|end| *end != b' ');
        let fits = known.starts_with(name) && bare(value.first()) && bare(value.last());
        if !fits || !is_plain(value) {
            return false;
        }
        known.copy_from_slice(new);
        json.copy_from_slice(value);
        true
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
