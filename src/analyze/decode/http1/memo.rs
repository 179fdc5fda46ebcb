//! Field lines seen before.
//!
//! Clients and servers repeat themselves: the field lines of one head mostly
//! are those of an earlier one, but for a date, a length or an id. Comparing
//! bytes is several times faster than reading lines, so only the lines that
//! differ from those of an earlier head are read. A line says the same
//! wherever it stands, so this changes nothing but speed; each thread has its
//! own.

use std::cell::RefCell;
use std::ops::Range;

use super::body::{Facts, Known, Length};
use super::scan;

/// Sections that a thread remembers: one of each kind of client and server.
const SLOTS: usize = 64;
/// Longest section that is remembered. With [`SLOTS`] it bounds a thread to
/// less than 600 KB.
const BYTES: usize = 2048;
/// A section is forgotten for another one once that many in a row have had
/// little of it.
const PATIENCE: u8 = 16;

/// Values of a section that are taken to vary: heads have an id or two, and a
/// date.
const VARYING: usize = 8;

thread_local! {
    /// None of them until the first is needed.
    static SEEN: RefCell<Vec<Section>> = const { RefCell::new(Vec::new()) };
}

/// Reads the field section that begins `input` and gives its length with the
/// empty line. None says nothing, as in [`super::scan`]; `facts` are then void.
#[inline]
pub fn read<'b>(input: &'b [u8], facts: &mut Facts<'b>) -> Option<usize> {
    SEEN.with_borrow_mut(|sections| {
        if sections.is_empty() {
            sections.resize_with(SLOTS, Section::default);
        }
        sections.get_mut(place(input))?.read(input, facts)
    })
}

/// Chooses where a section is remembered, by how it begins. What shares a place
/// costs time and nothing else, so that the hash may be weak.
#[inline]
fn place(bytes: &[u8]) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let begin = bytes.first_chunk::<8>().map_or(0, |begin| u64::from_le_bytes(*begin));
    (begin.wrapping_mul(ODD) >> 32) as usize % SLOTS
}

/// A field line of a section.
#[derive(Clone, Copy)]
struct Line {
    /// Where in the section it begins, and ends with its line end.
    start: u16,
    end: u16,
    /// Length of the name with the colon.
    name: u16,
    /// Where in the line the value is.
    value: (u16, u16),
    /// What it is to [`Facts`].
    field: Option<Known>,
    /// Number of the next line, from this one on, that is anything to them.
    next: u16,
}

impl Line {
    /// Reads the line that begins `input`, at `start` of a section.
    #[inline]
    fn read(start: usize, input: &[u8]) -> Option<Self> {
        let name = scan::name(input)?;
        Self::with_value(start, input, name, Known::of(input.get(..name - 1)?))
    }

    /// The same, where the name is known.
    #[inline]
    fn with_value(start: usize, input: &[u8], name: usize, field: Option<Known>) -> Option<Self> {
        let (value, len) = scan::value(input, name)?;
        // No place is past the end of the line: where that fits, all do.
        let end = u16::try_from(start + len).ok()?;
        let value = (value.start as u16, value.end as u16);
        Some(Self { start: start as u16, end, name: name as u16, value, field, next: 0 })
    }

    fn len(&self) -> usize {
        usize::from(self.end - self.start)
    }

    /// Says what the line says, which begins `input`.
    #[inline]
    fn say<'b>(&self, input: &'b [u8], facts: &mut Facts<'b>) {
        if let Some(field) = self.field {
            let value = input.get(usize::from(self.value.0)..usize::from(self.value.1));
            facts.take(field, value.unwrap_or_default());
        }
    }
}

/// A section seen before: its bytes with the empty line, and its field lines.
#[derive(Default)]
struct Section {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// What it says, where that is no more than a Content-Length or its absence.
    length: Option<Length>,
    /// Where values are that were seen to vary, in order: of lines that are
    /// nothing to [`Facts`].
    varying: Vec<Range<u16>>,
    /// How many in a row have had little of it.
    misses: u8,
}

impl Section {
    #[inline]
    fn read<'b>(&mut self, input: &'b [u8], facts: &mut Facts<'b>) -> Option<usize> {
        if let Some(length) = self.length
            && input.starts_with(&self.bytes)
        {
            facts.length = length;
            return Some(self.bytes.len());
        }
        if !self.varying.is_empty()
            && let Some(len) = self.read_known(input, facts)
        {
            return Some(len);
        }
        self.length = None;
        let (mut at, mut index, mut other) = (0, 0, 0);
        loop {
            let rest = input.get(at..)?;
            let known = self.behind(index);
            let same = common(known, rest);
            if same > 0 && same == known.len() {
                self.say(index..self.lines.len(), rest, facts);
                at += same;
                index = self.lines.len();
                break;
            }
            if same > 0 {
                let (lines, len) = self.within(index, same);
                self.say(index..index + lines, rest, facts);
                at += len;
                index += lines;
            }
            let rest = input.get(at..)?;
            if scan::is_end(rest) {
                at += b"\r\n".len();
                break;
            }
            let (line, fits) = self.line(index, at, rest)?;
            line.say(rest, facts);
            other += if fits { 0 } else { line.len() };
            at += line.len();
            index += 1;
        }
        if other > 0 {
            self.judge(input.get(..at)?, other);
        } else if index > 0 && index == self.lines.len() {
            // All that is known is what was read.
            (self.misses, self.length) = (0, facts.only_length());
        }
        Some(at)
    }

    /// Reads the section where it is this one but for values that vary.
    #[inline]
    fn read_known<'b>(&mut self, input: &'b [u8], facts: &mut Facts<'b>) -> Option<usize> {
        let input = input.get(..self.bytes.len())?;
        let mut at = 0;
        for Range { start, end } in &self.varying {
            let (start, end) = (usize::from(*start), usize::from(*end));
            let same = input.get(at..start)? == self.bytes.get(at..start)?;
            if !(same && scan::is_value(input.get(start..end)?)) {
                return None;
            }
            at = end;
        }
        if input.get(at..)? != self.bytes.get(at..)? {
            return None;
        }
        match self.length {
            Some(length) => {
                // The next is looked for as a whole first.
                self.bytes.copy_from_slice(input);
                facts.length = length;
            }
            None => {
                for line in &self.lines {
                    line.say(input.get(usize::from(line.start)..).unwrap_or_default(), facts);
                }
            }
        }
        self.misses = 0;
        Some(input.len())
    }

    /// The section from line number `index` on.
    #[inline]
    fn behind(&self, index: usize) -> &[u8] {
        let start = self.lines.get(index).map(|line| usize::from(line.start));
        start.and_then(|start| self.bytes.get(start..)).unwrap_or_default()
    }

    /// How many lines from number `index` on are within `len` bytes, and how
    /// long they are.
    fn within(&self, index: usize, len: usize) -> (usize, usize) {
        let lines = self.lines.get(index..).unwrap_or_default();
        let start = lines.first().map_or(0, |line| line.start);
        let ends = lines.iter().map(|line| usize::from(line.end - start));
        ends.take_while(|end| *end <= len).fold((0, 0), |(count, _), end| (count + 1, end))
    }

    /// Says what lines say, the first of which begins `input`.
    #[inline]
    fn say<'b>(&self, lines: Range<usize>, input: &'b [u8], facts: &mut Facts<'b>) {
        let Some(first) = self.lines.get(lines.start) else { return };
        let mut next = usize::from(first.next);
        while let Some(line) = self.lines.get(..lines.end).and_then(|lines| lines.get(next)) {
            let place = usize::from(line.start - first.start);
            line.say(input.get(place..).unwrap_or_default(), facts);
            next = self.lines.get(next + 1).map_or(usize::MAX, |line| usize::from(line.next));
        }
    }

    /// Reads the line that begins `input`, at `start`, and says whether it was
    /// put in the place of that of number `index`, whose name and length it has.
    #[inline]
    fn line(&mut self, index: usize, start: usize, input: &[u8]) -> Option<(Line, bool)> {
        let before = self.lines.get_mut(index).and_then(|line| {
            let known = self.bytes.get_mut(usize::from(line.start)..usize::from(line.end))?;
            let name = known.get(..usize::from(line.name))?;
            input.starts_with(name).then_some((line, known))
        });
        let Some((before, known)) = before else {
            return Some((Line::read(start, input)?, false));
        };
        let line = Line::with_value(start, input, usize::from(before.name), before.field)?;
        let fits = line.len() == known.len();
        let value = input.get(..line.len())?;
        if fits && known != value {
            known.copy_from_slice(value);
            before.value = line.value;
            if before.field.is_none() {
                let place = before.start + before.name..before.end - b"\r\n".len() as u16;
                vary(&mut self.varying, place);
            }
        }
        Some((line, fits))
    }

    /// Learns a section, `other` bytes of which were not to be found here, if
    /// that is better than the one that is known.
    #[inline]
    fn judge(&mut self, section: &[u8], other: usize) {
        if other <= section.len() / 2 {
            self.misses = 0;
            return;
        }
        self.misses = self.misses.saturating_add(1);
        if (self.lines.is_empty() || self.misses >= PATIENCE) && section.len() <= BYTES {
            self.learn(section);
        }
    }

    #[inline(never)]
    fn learn(&mut self, section: &[u8]) {
        *self = Self { bytes: section.to_vec(), ..Self::default() };
        let mut at = 0;
        while let Some(rest) = section.get(at..)
            && let Some(line) = Line::read(at, rest)
        {
            self.lines.push(line);
            at += line.len();
        }
        let mut next = u16::MAX;
        for (index, line) in self.lines.iter_mut().enumerate().rev() {
            next = if line.field.is_some() { index as u16 } else { next };
            line.next = next;
        }
    }
}

/// Takes the place of a value that varies in.
#[inline(never)]
fn vary(varying: &mut Vec<Range<u16>>, place: Range<u16>) {
    let at = varying.partition_point(|known| known.start < place.start);
    if varying.len() < VARYING && varying.get(at) != Some(&place) {
        varying.insert(at, place);
    }
}

/// How many bytes both have in common at the beginning: all of `known`, or
/// whole blocks.
#[inline]
fn common(known: &[u8], input: &[u8]) -> usize {
    let (blocks, _) = known.as_chunks::<32>();
    let (others, _) = input.as_chunks::<32>();
    // Most often it is nothing or all.
    if let (Some(block), Some(other)) = (blocks.first(), others.first())
        && block != other
    {
        return 0;
    }
    if input.starts_with(known) {
        return known.len();
    }
    blocks.iter().zip(others).take_while(|(block, other)| block == other).count() * 32
}

#[cfg(test)]
#[path = "tests/memo.rs"]
mod tests;
