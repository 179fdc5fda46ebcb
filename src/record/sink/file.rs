//! Files on disk: created for the owner only, never overwritten unasked, the
//! oldest removed when there are too many or the disk is full.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::names::{order, rotated};
use super::{WriteError, Written};
use crate::record::flight::Now;
use crate::record::flight::store::Store;
use crate::record::writer::options::{Output, WriteOptions};

/// Payload of other people's connections: for the owner only.
const MODE: u32 = 0o600;

/// Files to remove at most for one write on a full disk: more means that what
/// we remove is not what fills it.
const MAX_REMOVALS: u32 = 16;

/// Bits of [`Progress`] for the size: 16 TiB, the limit of ext4.
const SIZE_BITS: u32 = 44;

/// How far the writing thread is, for others.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    /// Number and size of the present file. One word, because a size without
    /// the number of its file would be taken for that of the next.
    present: AtomicU64,
    files: AtomicU64,
    removed: AtomicU64,
    removed_for_space: AtomicU64,
    bytes: AtomicU64,
    disk_bytes: AtomicU64,
    disk_files: AtomicU64,
}

/// What is on disk now, and what was written until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Files begun.
    pub files: u64,
    /// Files removed to keep no more than asked.
    pub removed: u64,
    /// Files removed because the disk was full.
    pub removed_for_space: u64,
    /// Bytes written, of all files.
    pub bytes: u64,
    /// Bytes of the files that are still there.
    pub disk_bytes: u64,
    /// How many those are.
    pub disk_files: u64,
}

impl Progress {
    /// Bytes of file `number`; 0 while another is being written.
    pub fn size(&self, number: u64) -> u64 {
        let word = self.0.present.load(Ordering::Relaxed);
        let low = (1 << SIZE_BITS) - 1;
        if word >> SIZE_BITS == number << SIZE_BITS >> SIZE_BITS { word & low } else { 0 }
    }

    /// The figures, each as of some moment just now.
    pub fn so_far(&self) -> SoFar {
        let figures = &*self.0;
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        SoFar {
            files: load(&figures.files),
            removed: load(&figures.removed),
            removed_for_space: load(&figures.removed_for_space),
            bytes: load(&figures.bytes),
            disk_bytes: load(&figures.disk_bytes),
            disk_files: load(&figures.disk_files),
        }
    }

    fn set(&self, files: &Files) {
        let (figures, written) = (&*self.0, &files.written);
        let store = |place: &AtomicU64, value| place.store(value, Ordering::Relaxed);
        let size = files.position.min((1 << SIZE_BITS) - 1);
        store(&figures.present, written.files << SIZE_BITS | size);
        store(&figures.files, written.files);
        store(&figures.removed, written.removed);
        store(&figures.removed_for_space, written.removed_for_space);
        store(&figures.bytes, written.bytes);
        if let Some(ring) = &files.ring {
            let found = ring.figures();
            store(&figures.removed, found.removed);
            store(&figures.removed_for_space, found.removed_for_space);
            store(&figures.disk_bytes, found.bytes);
            store(&figures.disk_files, found.segments);
        } else if files.sync.is_some() {
            // Neither standard output nor a pipe.
            store(&figures.disk_bytes, files.earlier_bytes + files.position);
            store(&figures.disk_files, files.earlier.len() as u64 + 1);
        }
    }
}

/// Standard output or a pipe, as messages call it.
fn stream(out: BorrowedFd<'_>) -> Result<(Option<PathBuf>, PathBuf, File), WriteError> {
    let path = PathBuf::from("-");
    match out.try_clone_to_owned() {
        Ok(out) => Ok((None, path, File::from(out))),
        Err(source) => Err(WriteError::Create { path, source }),
    }
}

/// The file being written and those before it.
#[derive(Debug)]
pub struct Files {
    /// None is standard output or a pipe.
    pattern: Option<PathBuf>,
    rotates: bool,
    force: bool,
    keep: Option<u32>,
    /// Whose segments the files are, if they are a ring's.
    ring: Option<Arc<Store>>,
    out: File,
    path: PathBuf,
    /// Earlier files that are still there with their sizes, oldest first.
    earlier: VecDeque<(PathBuf, u64)>,
    /// Bytes of these.
    earlier_bytes: u64,
    /// Bytes of the present file.
    position: u64,
    /// Bytes of it that can be read whatever happens.
    valid: u64,
    progress: Progress,
    /// Takes files to be brought to the disk; None if there is no disk.
    sync: Option<SyncSender<File>>,
    broken: bool,
    written: Written,
}

impl Files {
    /// Opens the first file.
    pub fn create(options: &WriteOptions, time: u64) -> Result<Self, WriteError> {
        let rotates = options.rotates();
        let ring = options.ring.as_ref().map(|link| Arc::clone(&link.store));
        let (pattern, path, out) = match &options.output {
            Output::File(folder) if ring.is_some() => {
                let (path, out) = begin(ring.as_deref(), folder)?;
                (Some(folder.clone()), path, out)
            }
            Output::File(pattern) => {
                let path = if rotates { rotated(pattern, 1, time) } else { pattern.clone() };
                let out = open(&path, options.force)?;
                (Some(pattern.clone()), path, out)
            }
            Output::Stdout => stream(io::stdout().as_fd())?,
            Output::Pipe(pipe) => stream(pipe.as_fd())?,
        };
        let is_file = out.metadata().is_ok_and(|found| found.is_file());
        let written = Written {
            files: 1,
            last: pattern.as_ref().map(|_| path.clone()),
            ..Written::default()
        };
        let mut files = Self {
            rotates: rotates && pattern.is_some(),
            pattern,
            force: options.force,
            keep: options.keep,
            ring,
            out,
            path,
            earlier: VecDeque::new(),
            earlier_bytes: 0,
            position: 0,
            valid: 0,
            progress: Progress::default(),
            sync: if is_file { syncer() } else { None },
            broken: false,
            written,
        };
        if options.adopt && files.rotates {
            files.adopt();
        }
        files.progress.set(&files);
        Ok(files)
    }

    /// Files of earlier recordings with the same pattern are ours, too.
    fn adopt(&mut self) {
        let Some(pattern) = &self.pattern else { return };
        let folder = match pattern.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        // What cannot be read is not there: the recording is what matters.
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter_map(|entry| {
                let order = order(pattern, &entry.file_name())?;
                let about = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
                Some((order, folder.join(entry.file_name()), about.len()))
            })
            .filter(|(_, path, _)| path.file_name() != self.path.file_name())
            .collect();
        found.sort();
        self.earlier_bytes = found.iter().map(|(_, _, bytes)| bytes).sum();
        self.earlier = found.into_iter().map(|(_, path, bytes)| (path, bytes)).collect();
        self.keep_no_more();
    }

    /// Removes the oldest files, down to as many as asked.
    fn keep_no_more(&mut self) {
        while self.keep.is_some_and(|keep| self.earlier.len() as u64 + 1 > u64::from(keep.max(1))) {
            if self.remove_oldest() {
                self.written.removed += 1;
            }
        }
    }

    /// How far the present file is, for another thread.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The present file; `-` is standard output.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// What is written so far can be read, whatever comes.
    pub fn mark_valid(&mut self) {
        self.valid = self.position;
    }

    /// As [`Self::mark_valid`], at a flush: it is on its way to the disk, too.
    pub fn flushed(&mut self) {
        self.mark_valid();
        if let Some(ring) = &self.ring {
            ring.flushed(self.valid, Now::read());
            self.progress.set(self);
        }
        if let Some(sync) = &self.sync
            && let Ok(file) = self.out.try_clone()
        {
            // While one is under way, the next flush is soon enough.
            let _ = sync.try_send(file);
        }
    }

    /// Removes what cannot be read at the end, after a failed write.
    pub fn cut_to_valid(&mut self) {
        self.broken = true;
        if self.pattern.is_some() {
            // Best effort: the failure that led here is the one to be told.
            let _ = self.out.set_len(self.valid);
        }
    }

    /// Begins the next file. Standard output goes on as a new section.
    pub fn next(&mut self, time: u64) -> Result<(), WriteError> {
        self.written.files += 1;
        let Some(pattern) = self.pattern.as_ref().filter(|_| self.rotates) else { return Ok(()) };
        if let Some(ring) = &self.ring {
            ring.close(&self.out, self.position, Now::read());
            (self.path, self.out) = begin(Some(ring), pattern)?;
            self.written.last = Some(self.path.clone());
            (self.position, self.valid) = (0, 0);
            self.progress.set(self);
            return Ok(());
        }
        let path = rotated(pattern, self.written.files, time);
        self.out = open(&path, self.force)?;
        self.earlier.push_back((std::mem::replace(&mut self.path, path), self.position));
        self.earlier_bytes += self.position;
        self.written.last = Some(self.path.clone());
        self.position = 0;
        self.valid = 0;
        self.progress.set(self);
        self.keep_no_more();
        self.progress.set(self);
        Ok(())
    }

    /// What was written.
    pub fn finish(mut self) -> Written {
        if let Some(ring) = &self.ring {
            ring.close(&self.out, self.position, Now::read());
            let found = ring.figures();
            self.written.removed = found.removed;
            self.written.removed_for_space = found.removed_for_space;
        }
        self.written
    }

    fn remove_oldest(&mut self) -> bool {
        let Some((path, bytes)) = self.earlier.pop_front() else { return false };
        self.earlier_bytes -= bytes;
        // Gone already, or not ours to remove: not worth the recording's end.
        std::fs::remove_file(path).is_ok()
    }

    /// Makes room on a full disk, where files may be dropped at all.
    fn make_room(&mut self) -> bool {
        if let Some(ring) = &self.ring {
            return ring.make_space();
        }
        if !self.rotates || self.keep.is_none() {
            return false;
        }
        while !self.earlier.is_empty() {
            if self.remove_oldest() {
                self.written.removed_for_space += 1;
                return true;
            }
        }
        false
    }
}

impl Write for Files {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // gzip's encoder would write its trailer behind the cut.
        if self.broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        if let Some(ring) = &self.ring {
            ring.room_for(&self.out, self.position + bytes.len() as u64)?;
        }
        let mut removals = 0;
        let count = loop {
            match self.out.write(bytes) {
                Err(error) if is_full(&error) && removals < MAX_REMOVALS && self.make_room() => {
                    removals += 1;
                }
                result => break result?,
            }
        };
        self.position += count as u64;
        self.written.bytes += count as u64;
        self.progress.set(self);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A thread that brings files to the disk (fdatasync(2)), so that they survive
/// a power cut while the writing thread goes on. It ends with its sender.
fn syncer() -> Option<SyncSender<File>> {
    let (sender, files) = sync_channel::<File>(1);
    let run = move || {
        for file in files {
            // A disk that fails will fail the next write.
            let _ = file.sync_data();
        }
    };
    std::thread::Builder::new().name("sync".to_owned()).spawn(run).ok().map(|_| sender)
}

/// The disk, the quota or the largest size of a file is used up.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// The next segment of a ring.
fn begin(ring: Option<&Store>, folder: &Path) -> Result<(PathBuf, File), WriteError> {
    let path = folder.to_owned();
    let Some(ring) = ring else { return Err(WriteError::Gone) };
    ring.begin(Now::read()).map_err(|source| WriteError::Create { path, source })
}

fn open(path: &Path, force: bool) -> Result<File, WriteError> {
    let fail = |source| WriteError::Create { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.write(true);
    match path.symlink_metadata() {
        // A pipe or a device: there is nothing to overwrite.
        Ok(found) if !found.is_file() && !found.is_symlink() => {
            return options.open(path).map_err(fail);
        }
        // Made anew rather than truncated: the mode is ours, and a link that
        // someone put there is not followed.
        Ok(_) if force => std::fs::remove_file(path).map_err(fail)?,
        _ => {}
    }
    options.create_new(true).mode(MODE).open(path).map_err(fail)
}
