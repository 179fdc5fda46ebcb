//! Output lines sorted by start time in bounded memory.
//!
//! Transactions finish in another order than they start. Lines wait here
//! until nothing earlier can come (the caller's watermark); those that do not
//! fit wait in temporary files without a name, as sorted runs that are merged
//! when their time comes.

mod run;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use run::Run;

use crate::time::Timestamp;

/// Bytes of lines held in memory unless the caller says otherwise.
pub const MEMORY: usize = 64 << 20;
/// Runs of one level that are merged into one of the next. Each open run
/// takes some 300 KB.
const FAN_IN: usize = 16;

/// Place of a line in the output. Keys are told apart by their connection
/// and index, so that the order is total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey {
    /// Start of the transaction; unknown ones come first.
    pub start: Option<Timestamp>,
    /// Number of its connection.
    pub connection: u64,
    /// Its place within the connection.
    pub index: u64,
}

/// Why lines could not be sorted or written.
#[derive(Debug, thiserror::Error)]
pub enum SortError {
    /// The output failed, a closed pipe among the causes.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// A temporary file could not be made, written or read back.
    #[error("cannot sort in a temporary file")]
    Temporary(#[source] io::Error),
}

impl SortError {
    /// The error of the operating system beneath.
    pub fn io(&self) -> &io::Error {
        match self {
            Self::Output(error) | Self::Temporary(error) => error,
        }
    }
}

#[derive(Clone, Copy)]
struct Entry {
    key: SortKey,
    offset: usize,
    len: usize,
}

/// Sorts lines by [`SortKey`].
pub struct Sorter {
    memory_limit: usize,
    /// Lines in the order in which they came, those of `entries` and holes.
    lines: Vec<u8>,
    entries: Vec<Entry>,
    /// Bytes of `lines` that no entry has any more.
    dead: usize,
    /// Smallest key of `entries`; nothing is there to do below it.
    first: Option<SortKey>,
    /// Sorted runs in files, with their level.
    runs: Vec<(usize, Run)>,
    /// Lines with an earlier start were written already.
    written: Option<Timestamp>,
    late: u64,
}

impl Sorter {
    /// Holds lines of up to `memory_limit` bytes, bookkeeping included.
    pub fn new(memory_limit: usize) -> Self {
        Self {
            memory_limit,
            lines: Vec::new(),
            entries: Vec::new(),
            dead: 0,
            first: None,
            runs: Vec::new(),
            written: None,
            late: 0,
        }
    }

    /// How many lines came after their place had been written; they are
    /// written out of order.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Takes a line.
    ///
    /// # Errors
    /// [`SortError::Temporary`].
    pub fn push(&mut self, key: SortKey, line: &[u8]) -> Result<(), SortError> {
        if self.written.is_some() && key.start < self.written {
            self.late += 1;
        }
        let held = self.lines.len() + (self.entries.len() + 1) * size_of::<Entry>();
        if held + line.len() > self.memory_limit && !self.entries.is_empty() {
            self.spill().map_err(SortError::Temporary)?;
        }
        self.entries.push(Entry { key, offset: self.lines.len(), len: line.len() });
        self.lines.extend_from_slice(line);
        self.first = Some(self.first.map_or(key, |first| first.min(key)));
        Ok(())
    }

    /// Writes all lines that start before `watermark`, in order: the caller
    /// says that nothing earlier comes any more. None writes nothing.
    ///
    /// # Errors
    /// Either kind.
    pub fn advance(
        &mut self,
        watermark: Option<Timestamp>,
        out: &mut dyn Write,
    ) -> Result<(), SortError> {
        if watermark.is_none() {
            return Ok(());
        }
        self.written = self.written.max(watermark);
        self.emit(|key| key.start < watermark, out)
    }

    /// Writes all that is left.
    ///
    /// # Errors
    /// Either kind.
    pub fn finish(mut self, out: &mut dyn Write) -> Result<(), SortError> {
        self.emit(|_| true, out)
    }

    /// Writes the lines whose keys are due. Due keys are smaller than others.
    fn emit(
        &mut self,
        due: impl Fn(SortKey) -> bool,
        out: &mut dyn Write,
    ) -> Result<(), SortError> {
        let in_memory = self.first.is_some_and(&due);
        let in_runs = self.runs.iter().any(|(_, run)| run.key().is_some_and(&due));
        if !in_memory && !in_runs {
            return Ok(());
        }
        let mut ready = Vec::new();
        self.entries.retain(|entry| {
            let due = due(entry.key);
            if due {
                ready.push(*entry);
            }
            !due
        });
        self.first = self.entries.iter().map(|entry| entry.key).min();
        ready.sort_by_key(|entry| entry.key);
        for entry in &ready {
            self.emit_runs(|key| key < entry.key, out)?;
            let line = line(&self.lines, entry);
            out.write_all(line).map_err(SortError::Output)?;
            self.dead += entry.len;
        }
        self.emit_runs(due, out)?;
        self.compact();
        Ok(())
    }

    /// Writes the lines of runs whose keys are due.
    fn emit_runs(
        &mut self,
        due: impl Fn(SortKey) -> bool,
        out: &mut dyn Write,
    ) -> Result<(), SortError> {
        while let Some((_, run)) = smallest(&mut self.runs)
            && run.key().is_some_and(&due)
        {
            out.write_all(run.line()).map_err(SortError::Output)?;
            if !run.advance().map_err(SortError::Temporary)? {
                self.runs.retain(|(_, run)| run.key().is_some());
            }
        }
        Ok(())
    }

    /// Gives the room of written lines back where that is most of it.
    fn compact(&mut self) {
        if self.entries.is_empty() {
            self.lines.clear();
            self.dead = 0;
        } else if self.dead * 2 > self.lines.len() {
            let mut end = 0;
            // Entries are in the order of their lines, and retaining keeps it.
            for entry in &mut self.entries {
                let start = entry.offset.min(self.lines.len());
                let stop = (start + entry.len).min(self.lines.len());
                self.lines.copy_within(start..stop, end);
                entry.offset = end;
                end += stop - start;
            }
            self.lines.truncate(end);
            self.dead = 0;
        }
    }

    /// Writes all lines in memory to a file as a sorted run.
    fn spill(&mut self) -> io::Result<()> {
        self.entries.sort_by_key(|entry| entry.key);
        let mut writer = run::Writer::new()?;
        for entry in &self.entries {
            writer.push(entry.key, line(&self.lines, entry))?;
        }
        self.runs.push((0, writer.finish()?));
        self.entries.clear();
        self.lines.clear();
        self.dead = 0;
        self.first = None;
        self.merge_runs()
    }

    /// Merges runs where a level has too many, so that their number grows
    /// with the logarithm of the output only.
    fn merge_runs(&mut self) -> io::Result<()> {
        let mut level = 0;
        while self.runs.iter().filter(|(of, _)| *of == level).count() >= FAN_IN {
            let (mut merging, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.runs).into_iter().partition(|(of, _)| *of == level);
            self.runs = rest;
            let mut writer = run::Writer::new()?;
            while let Some((_, run)) = smallest(&mut merging)
                && let Some(key) = run.key()
            {
                writer.push(key, run.line())?;
                if !run.advance()? {
                    merging.retain(|(_, run)| run.key().is_some());
                }
            }
            level += 1;
            self.runs.push((level, writer.finish()?));
        }
        Ok(())
    }
}

impl Default for Sorter {
    fn default() -> Self {
        Self::new(MEMORY)
    }
}

/// The run with the smallest key. There are few, so no heap.
fn smallest(runs: &mut [(usize, Run)]) -> Option<&mut (usize, Run)> {
    runs.iter_mut().filter(|(_, run)| run.key().is_some()).min_by_key(|(_, run)| run.key())
}

fn line<'a>(lines: &'a [u8], entry: &Entry) -> &'a [u8] {
    lines.get(entry.offset..entry.offset + entry.len).unwrap_or_default()
}
