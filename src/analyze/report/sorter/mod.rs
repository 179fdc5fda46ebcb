//! Output lines sorted by start time in bounded memory.
//!
//! Transactions finish in another order than they start. Lines wait here
//! until nothing earlier can come (the caller's watermark); those that do not
//! fit wait in temporary files without a name, as sorted runs that are merged
//! when their time comes.

mod run;
mod store;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice, Write};

use run::Run;
use store::{Place, Store};

use crate::time::Timestamp;

/// Bytes of lines held in memory unless the caller says otherwise.
pub const MEMORY: usize = 64 << 20;
/// Runs of one level that are merged into one of the next. Each open run
/// takes some 300 KB.
const FAN_IN: usize = 16;
/// Lines written at a time: as many as Linux takes (`UIO_MAXIOV`).
const SLICES: usize = 1024;

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

/// Bytes of lines that come between two times that some are let out.
const LET_OUT_BYTES: usize = 4 << 20;

/// A line that waits.
#[derive(Clone, Copy)]
struct Entry {
    key: SortKey,
    place: Place,
}

/// Sorts lines by [`SortKey`].
pub struct Sorter {
    memory_limit: usize,
    /// The lines of `entries`.
    store: Store,
    entries: Vec<Entry>,
    /// Smallest key of `entries`; nothing is there to do below it.
    first: Option<SortKey>,
    /// Bytes of lines when some were last let out.
    used_before: usize,
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
            store: Store::new(memory_limit),
            entries: Vec::new(),
            first: None,
            used_before: 0,
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

    /// Bytes held, bookkeeping included.
    fn held(&self) -> usize {
        self.store.held() + self.entries.len() * size_of::<Entry>()
    }

    /// Whether so much has come that it is time to let lines out, before the
    /// first of them have left the processor's caches.
    pub fn is_filling(&self) -> bool {
        self.store.used() > self.used_before + LET_OUT_BYTES.min(self.memory_limit / 16)
    }

    /// Takes a line.
    ///
    /// # Errors
    /// [`SortError::Temporary`].
    pub fn push(&mut self, key: SortKey, line: &[u8]) -> Result<(), SortError> {
        self.make_room(1, self.store.growth(line.len()))?;
        let place = self.store.copy(line);
        self.enter(key, place);
        Ok(())
    }

    /// Takes lines that stand one behind the other in `lines`, with their keys
    /// and where each ends, and leaves both empty. A buffer of them that is well
    /// filled is taken as it is, with another in its place, so that nothing is
    /// copied; unless `all`, fewer are left where they are, to become more.
    ///
    /// # Errors
    /// [`SortError::Temporary`].
    pub fn take(
        &mut self,
        keys: &mut Vec<(SortKey, usize)>,
        lines: &mut Vec<u8>,
        all: bool,
    ) -> Result<(), SortError> {
        let whole = self.store.is_well_filled(lines);
        if keys.is_empty() || !(all || whole) {
            return Ok(());
        }
        let growth = if whole { lines.capacity() } else { self.store.growth(lines.len()) };
        self.make_room(keys.len(), growth)?;
        let Place { buffer, mut offset, .. } =
            if whole { self.store.adopt(lines, keys.len()) } else { self.store.copy(lines) };
        let begin = offset;
        for (index, (key, end)) in keys.drain(..).enumerate() {
            let end = begin + end;
            let place = Place { buffer, offset, len: end - offset };
            self.enter(key, place);
            if !whole && index > 0 {
                self.store.one_more(buffer);
            }
            offset = end;
        }
        lines.clear();
        Ok(())
    }

    fn enter(&mut self, key: SortKey, place: Place) {
        if self.written.is_some() && key.start < self.written {
            self.late += 1;
        }
        self.entries.push(Entry { key, place });
        self.first = Some(self.first.map_or(key, |first| first.min(key)));
    }

    /// Sees to it that `lines` more lines fit that take `bytes` more.
    fn make_room(&mut self, lines: usize, bytes: usize) -> Result<(), SortError> {
        let more = bytes + lines * size_of::<Entry>();
        if self.held() + more > self.memory_limit {
            self.store.drop_spares();
        }
        if self.held() + more > self.memory_limit && !self.entries.is_empty() {
            self.spill().map_err(SortError::Temporary)?;
        }
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
        if watermark.is_some() {
            self.written = self.written.max(watermark);
            self.emit(|key| key.start < watermark, out)?;
        }
        self.used_before = self.store.used();
        Ok(())
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
        let ready: Vec<Entry> =
            order(&ready).into_iter().filter_map(|at| ready.get(at).copied()).collect();
        if self.runs.is_empty() {
            return self.emit_memory(&ready, out).map_err(SortError::Output);
        }
        for entry in &ready {
            self.emit_runs(|key| key < entry.key, out)?;
            out.write_all(self.store.line(entry.place)).map_err(SortError::Output)?;
            self.store.release(entry.place);
        }
        self.emit_runs(due, out)
    }

    /// Writes lines of memory, many at a time and from where they are.
    fn emit_memory(&mut self, ready: &[Entry], out: &mut dyn Write) -> io::Result<()> {
        for entries in ready.chunks(SLICES) {
            let lines = entries.iter().map(|entry| IoSlice::new(self.store.line(entry.place)));
            write_all(&mut lines.collect::<Vec<_>>(), out)?;
            entries.iter().for_each(|entry| self.store.release(entry.place));
        }
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

    /// Writes all lines in memory to a file as a sorted run.
    fn spill(&mut self) -> io::Result<()> {
        let mut writer = run::Writer::new()?;
        for at in order(&self.entries) {
            let Some(entry) = self.entries.get(at) else { continue };
            writer.push(entry.key, self.store.line(entry.place))?;
        }
        self.runs.push((0, writer.finish()?));
        self.entries.clear();
        self.store.clear();
        self.first = None;
        self.used_before = 0;
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

/// The numbers of `entries` in the order of their keys.
///
/// Starts mostly tell entries apart, and numbers sort several times faster than
/// keys: the rest of a key is looked at only where starts are equal.
fn order(entries: &[Entry]) -> Vec<usize> {
    let mut order: Vec<(u64, usize)> =
        entries.iter().enumerate().map(|(at, entry)| (rank(entry.key.start), at)).collect();
    order.sort_unstable_by_key(|(start, _)| *start);
    for equal in order.chunk_by_mut(|(a, _), (b, _)| a == b).filter(|equal| equal.len() > 1) {
        equal.sort_unstable_by_key(|(_, at)| (entries.get(*at).map(|entry| entry.key), *at));
    }
    order.into_iter().map(|(_, at)| at).collect()
}

/// Writes all of the slices.
fn write_all(mut slices: &mut [IoSlice<'_>], out: &mut dyn Write) -> io::Result<()> {
    // Empty ones at the beginning go: writing nothing would look like the end.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match out.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Starts as numbers in the same order, of which two may share one.
fn rank(start: Option<Timestamp>) -> u64 {
    // The sign bit turned over: negative times below the others.
    start.map_or(0, |start| (start.nanos() as u64) ^ (1 << 63))
}
