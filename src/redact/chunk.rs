//! Payload bytes of one segment that are being looked at, in order.

use std::ops::Range;

/// What redacted bytes become.
pub const MASK: u8 = b'*';

/// The payload, how far it was read, and what becomes of it.
#[derive(Debug)]
pub struct Chunk<'a> {
    data: &'a mut [u8],
    at: usize,
    drops: &'a mut Vec<Range<usize>>,
    /// Whether any byte was overwritten.
    pub changed: bool,
}

impl<'a> Chunk<'a> {
    /// The whole of it; `drops` gets the ranges that leave the capture, in order.
    pub fn new(data: &'a mut [u8], drops: &'a mut Vec<Range<usize>>) -> Self {
        Self { data, at: 0, drops, changed: false }
    }

    /// Whether nothing of it was read yet.
    pub fn is_fresh(&self) -> bool {
        self.at == 0
    }

    /// Bytes that were not read yet.
    pub fn left(&self) -> usize {
        self.data.len() - self.at
    }

    /// What was not read yet.
    pub fn rest(&self) -> &[u8] {
        self.data.get(self.at..).unwrap_or_default()
    }

    /// The same, to be overwritten.
    pub fn rest_mut(&mut self) -> &mut [u8] {
        self.changed = true;
        self.data.get_mut(self.at..).unwrap_or_default()
    }

    /// The next byte is read.
    pub fn next(&mut self) -> Option<u8> {
        let byte = self.data.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    /// So many bytes stay as they are.
    pub fn pass(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.data.len());
    }

    /// So many bytes become `byte`.
    pub fn fill(&mut self, bytes: usize, byte: u8) {
        let end = (self.at + bytes).min(self.data.len());
        if let Some(range) = self.data.get_mut(self.at..end) {
            range.fill(byte);
            self.changed |= !range.is_empty();
        }
        self.at = end;
    }

    /// So many bytes leave the capture.
    pub fn drop(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.data.len());
        add(self.drops, self.at..end);
        self.at = end;
    }
}

/// Appends a range that begins where the last one ends, or later.
pub fn add(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}
