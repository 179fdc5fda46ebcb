//! The segments of a ring on disk: which there are, which leave, and that they
//! never take more than was asked for.
//!
//! What counts is what the file system gives to the files, in whole blocks, and
//! what is about to be written. Segments are ordered by their numbers; ages are
//! told by a clock that nobody sets. Knows nothing of what is in a segment.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::folder::{Folder, FolderError};
use super::names;
use super::now::Now;

/// Payload of other people's connections: for the owner only.
const MODE: u32 = 0o600;

/// The least that a ring may be told to keep. One segment may pass its size by
/// what is between the ring buffer and the file (3 MB), and there must be several.
pub const MIN_BYTES: u64 = 16 << 20;

/// The shortest time that a ring may be told to keep.
pub const MIN_TIME: Duration = Duration::from_secs(10);

/// Segments that a ring is cut into: the oldest leaves as a whole, so that much
/// less than asked may be there.
const SEGMENTS: u32 = 16;

/// The largest segment: opens in Wireshark without a wait, and a name for
/// every two minutes of a busy host.
const MAX_SEGMENT_BYTES: u64 = 128 << 20;

/// The longest segment.
const MAX_SEGMENT_TIME: Duration = Duration::from_secs(30 * 60);

/// Taken off the limit for what is not in segments: the folder itself, which
/// grows with its names, and the ring's own file.
const FOLDER_BYTES: u64 = 64 << 10;

/// Bytes of a unit of `st_blocks` (stat(2)).
const STAT_BLOCK: u64 = 512;

/// What a ring keeps; at least one of the two is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk, at least [`MIN_BYTES`].
    pub bytes: Option<u64>,
    /// Age of the oldest byte, at least [`MIN_TIME`].
    pub time: Option<Duration>,
}

impl Limits {
    /// Bytes after which a segment ends.
    pub fn segment_bytes(&self) -> u64 {
        let share = self.bytes.map(|bytes| bytes / u64::from(SEGMENTS));
        share.unwrap_or(MAX_SEGMENT_BYTES).min(MAX_SEGMENT_BYTES)
    }

    /// Time after which a segment ends.
    pub fn segment_time(&self) -> Duration {
        let share = self.time.map(|time| time / SEGMENTS);
        share.unwrap_or(MAX_SEGMENT_TIME).min(MAX_SEGMENT_TIME)
    }
}

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number: one more than that of the segment before.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// When it was begun: nanoseconds of CLOCK_BOOTTIME, below 0 where that was before
    /// this start of the machine.
    pub begin: i64,
    /// When it was ended; of the present one now.
    pub end: i64,
    /// What it takes on disk, bytes.
    bytes: u64,
    /// It could not be removed: it counts, and is not tried again.
    stuck: bool,
}

/// What a ring has done and has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes on disk, in whole blocks.
    pub bytes: u64,
    /// Segments on disk, the present one among them.
    pub segments: u64,
    /// Removed because of the limits.
    pub removed: u64,
    /// Removed because the disk was full.
    pub removed_for_space: u64,
    /// Removed while they were being saved: the saved captures say what they miss.
    pub torn: u64,
    /// When the oldest was begun, nanoseconds of CLOCK_BOOTTIME.
    pub oldest: Option<i64>,
}

/// A ring's segments. One process has it at a time.
#[derive(Debug)]
pub struct Store {
    folder: Folder,
    limits: Limits,
    extension: &'static str,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Oldest first; the present one is not among them.
    closed: VecDeque<Segment>,
    /// Bytes of these.
    closed_bytes: u64,
    present: Option<Segment>,
    /// The next number.
    next: u64,
    /// Numbers of segments that are being read, and by how many.
    pins: BTreeMap<u64, u32>,
    removed: u64,
    removed_for_space: u64,
    torn: u64,
}

/// Segments that are being read: they leave last. Dropped when they are read.
#[derive(Debug)]
pub struct Pinned {
    store: Arc<Store>,
    /// Oldest first.
    pub segments: Vec<Segment>,
}

impl Store {
    /// Takes a folder over: makes it where it is not there, counts what earlier
    /// runs left in, and removes what is too much.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, or another recorder has it.
    pub fn open(
        folder: &Path,
        limits: Limits,
        extension: &'static str,
        now: Now,
    ) -> Result<Arc<Self>, FolderError> {
        let folder = Folder::open(folder)?;
        folder.repair();
        let store = Self { folder, limits, extension, inner: Mutex::default() };
        store.adopt(now)?;
        store.expire(now);
        let fits = store.make_room(&mut store.lock(), 0);
        let path = store.folder.path().to_owned();
        if fits { Ok(Arc::new(store)) } else { Err(FolderError::Stuck { path }) }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it keeps.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The number that the next segment has.
    pub fn next_number(&self) -> u64 {
        self.lock().next
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Segments of earlier runs. Their ages go by the wall clock, which is all there
    /// is of them: one from the future is new.
    fn adopt(&self, now: Now) -> Result<(), FolderError> {
        let path = self.folder.path();
        let entries = std::fs::read_dir(path)
            .map_err(|source| FolderError::Folder { path: path.to_owned(), source })?;
        let mut inner = self.lock();
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let Some(number) = names::number(&entry.file_name()) else { continue };
            // Of the link itself, should it be one.
            let Ok(about) = entry.metadata() else { continue };
            if !about.is_file() {
                continue;
            }
            inner.next = inner.next.max(number.saturating_add(1));
            if about.len() == 0 {
                // Begun, and nothing had come to the disk when its recorder ended.
                let _ = std::fs::remove_file(entry.path());
                continue;
            }
            let written = about.mtime() * 1_000_000_000 + about.mtime_nsec();
            let born = about.created().ok().and_then(|at| {
                i64::try_from(at.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos()).ok()
            });
            let end = now.boot - (now.wall - written).max(0);
            let begin = born.map_or(end, |born| now.boot - (now.wall - born).max(0)).min(end);
            let bytes = self.on_disk(about.len(), about.blocks());
            found.push(Segment { number, path: entry.path(), begin, end, bytes, stuck: false });
        }
        found.sort_by_key(|segment| segment.number);
        inner.next = inner.next.max(1);
        inner.closed_bytes = found.iter().map(|segment| segment.bytes).sum();
        inner.closed = found.into();
        Ok(())
    }

    /// What a file takes: whole blocks of the file system, and more where it has
    /// set more aside (`st_blocks`).
    fn on_disk(&self, length: u64, stat_blocks: u64) -> u64 {
        length.next_multiple_of(self.folder.block()).max(stat_blocks * STAT_BLOCK)
    }

    /// Begins the next segment; the one before is ended.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub fn begin(&self, now: Now) -> io::Result<(PathBuf, File)> {
        let mut inner = self.lock();
        let time = u64::try_from(now.wall).unwrap_or(0);
        let number = inner.next;
        let path = self.folder.path().join(names::segment(number, time, self.extension));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(MODE);
        let file = loop {
            match options.open(&path) {
                Err(error) if is_full(&error) && self.give_up_one(&mut inner) => {}
                opened => break opened?,
            }
        };
        inner.next += 1;
        self.folder.note(number, 0);
        let (begin, end) = (now.boot, now.boot);
        let present = Segment { number, path: path.clone(), begin, end, bytes: 0, stuck: false };
        inner.present = Some(present);
        Ok((path, file))
    }

    /// Makes room for the present segment to have `length` bytes.
    ///
    /// # Errors
    ///
    /// There is none, and nothing left to remove.
    pub fn room_for(&self, file: &File, length: u64) -> io::Result<()> {
        let mut inner = self.lock();
        let about = file.metadata()?;
        // What the file system has set aside beyond the end of the file.
        let known = about.len().next_multiple_of(self.folder.block());
        let ahead = (about.blocks() * STAT_BLOCK).saturating_sub(known);
        let bytes = length.next_multiple_of(self.folder.block()) + ahead;
        if !self.make_room(&mut inner, bytes) {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the limit of the ring is reached, and nothing of it can be removed",
            ));
        }
        if let Some(present) = &mut inner.present {
            present.bytes = bytes;
        }
        Ok(())
    }

    /// Removes segments until a present one of so many bytes fits. Whether it does.
    fn make_room(&self, inner: &mut Inner, present: u64) -> bool {
        let Some(limit) = self.limits.bytes else { return true };
        let limit = limit.saturating_sub(FOLDER_BYTES);
        while inner.closed_bytes + present > limit {
            if !self.remove_one(inner) {
                return false;
            }
            inner.removed += 1;
        }
        true
    }

    /// The disk is full: removes a segment. Whether there was one.
    pub fn make_space(&self) -> bool {
        self.give_up_one(&mut self.lock())
    }

    fn give_up_one(&self, inner: &mut Inner) -> bool {
        let done = self.remove_one(inner);
        inner.removed_for_space += u64::from(done);
        done
    }

    /// Removes what holds something older than the limit of time, all of the segment.
    pub fn expire(&self, now: Now) {
        let Some(time) = self.limits.time else { return };
        let oldest = now.boot.saturating_sub(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        let mut inner = self.lock();
        let mut index = 0;
        while let Some(segment) = inner.closed.get(index) {
            if segment.stuck || segment.begin >= oldest || !self.remove_at(&mut inner, index) {
                index += 1;
            } else {
                inner.removed += 1;
            }
        }
    }

    /// Removes the oldest that nobody reads; if all are being read, the oldest.
    fn remove_one(&self, inner: &mut Inner) -> bool {
        loop {
            let free = |segment: &Segment| !segment.stuck;
            let read = |segment: &Segment| inner.pins.contains_key(&segment.number);
            let unread = inner.closed.iter().position(|segment| free(segment) && !read(segment));
            let Some(index) = unread.or_else(|| inner.closed.iter().position(free)) else {
                return false;
            };
            if self.remove_at(inner, index) {
                return true;
            }
        }
    }

    fn remove_at(&self, inner: &mut Inner, index: usize) -> bool {
        let Some(segment) = inner.closed.get_mut(index) else { return false };
        let is_read = inner.pins.contains_key(&segment.number);
        if is_read && let Ok(file) = OpenOptions::new().write(true).open(&segment.path) {
            // A file that is open keeps its blocks: its reader finds an end instead.
            let _ = file.set_len(0);
        }
        match std::fs::remove_file(&segment.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                segment.stuck = true;
                false
            }
            _ => {
                inner.closed_bytes = inner.closed_bytes.saturating_sub(segment.bytes);
                inner.closed.remove(index);
                inner.torn += u64::from(is_read);
                true
            }
        }
    }

    /// So many bytes of the present segment can be read, whatever comes.
    pub fn flushed(&self, valid: u64, now: Now) {
        let mut inner = self.lock();
        if let Some(present) = &mut inner.present {
            present.end = now.boot;
            self.folder.note(present.number, valid);
        }
        drop(inner);
        self.expire(now);
    }

    /// The present segment is ended; it is `file`, of so many bytes.
    pub fn close(&self, file: &File, length: u64, now: Now) {
        let mut inner = self.lock();
        let Some(mut present) = inner.present.take() else { return };
        self.folder.note(present.number, length);
        present.end = now.boot;
        let blocks = file.metadata().map_or(0, |about| about.blocks());
        present.bytes = self.on_disk(length, blocks);
        inner.closed_bytes += present.bytes;
        inner.closed.push_back(present);
    }

    /// The segments that may hold something of `from..=to`, nanoseconds of
    /// CLOCK_BOOTTIME; they leave last as long as this is held.
    pub fn pin(self: &Arc<Self>, from: i64, to: i64) -> Pinned {
        let mut inner = self.lock();
        let all = inner.closed.iter().chain(&inner.present);
        // The present one goes on.
        let open = inner.present.as_ref().map(|present| present.number);
        let within = |segment: &&Segment| {
            segment.begin <= to && (segment.end >= from || Some(segment.number) == open)
        };
        let segments: Vec<_> = all.filter(within).cloned().collect();
        for segment in &segments {
            *inner.pins.entry(segment.number).or_default() += 1;
        }
        Pinned { store: Arc::clone(self), segments }
    }

    /// What it has and has done.
    pub fn figures(&self) -> Figures {
        let inner = self.lock();
        let all = || inner.closed.iter().chain(&inner.present);
        Figures {
            bytes: all().map(|segment| segment.bytes).sum(),
            segments: all().count() as u64,
            removed: inner.removed,
            removed_for_space: inner.removed_for_space,
            torn: inner.torn,
            oldest: all().map(|segment| segment.begin).min(),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut inner = self.store.lock();
        for segment in &self.segments {
            if let Some(count) = inner.pins.get_mut(&segment.number) {
                *count -= 1;
                if *count == 0 {
                    inner.pins.remove(&segment.number);
                }
            }
        }
    }
}

/// The disk or the quota is used up.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
