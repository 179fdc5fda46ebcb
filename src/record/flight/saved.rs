//! The captures that triggers have kept: a folder with a limit of its own, so that
//! triggers never fill the disk.
//!
//! The oldest leave to make room. A capture is `.part` until it is whole; what is left
//! of one whose recorder was killed is removed by the next.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::figures::Figures;
use super::names;

/// The folder's name in that of the ring.
const FOLDER: &str = "saved";

/// What captures end in, and those that are not whole.
const EXTENSION: &str = ".pcapng.zst";
const PART: &str = ".part";

/// The longest name of a trigger in a file's name, bytes.
const MAX_NAME: usize = 48;

/// Captures of one second and name.
const MAX_SAME: u32 = 1000;

/// Bytes of a unit of `st_blocks` (stat(2)); files are given whole pages at least.
const STAT_BLOCK: u64 = 512;
const PAGE: u64 = 4096;

/// For the owner only, as all that was recorded.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The folder.
#[derive(Debug)]
pub struct Saved {
    folder: PathBuf,
    /// Bytes of all captures together, on disk.
    limit: u64,
    figures: Arc<Figures>,
}

impl Saved {
    /// In the folder of a ring. It is made when there is something to keep.
    pub fn new(ring: &Path, limit: u64, figures: Arc<Figures>) -> Self {
        let saved = Self { folder: ring.join(FOLDER), limit, figures };
        for path in saved.files(PART) {
            let _ = std::fs::remove_file(path.2);
        }
        saved.count(0);
        saved
    }

    /// Regular files with this end: when they were written, what they take, and where they
    /// are; oldest first.
    fn files(&self, end: &str) -> Vec<((i64, i64), u64, PathBuf)> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut all: Vec<_> = entries
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(end))
            .filter_map(|entry| {
                let about = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
                let bytes = taken(about.len(), about.blocks());
                Some(((about.mtime(), about.mtime_nsec()), bytes, entry.path()))
            })
            .collect();
        all.sort();
        all
    }

    fn count(&self, more: u64) {
        let whole: u64 = self.files(EXTENSION).iter().map(|(_, bytes, _)| bytes).sum();
        self.figures.saved_bytes.store(whole + more, Relaxed);
    }

    /// Begins a capture. `time`: nanoseconds since 1970.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub fn begin(self: &Arc<Self>, time: u64, name: &str) -> io::Result<Capture> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.folder)?;
        let stem = format!("{}-{}", names::stamp(time), file_name(name));
        for same in 1..MAX_SAME {
            let number = if same > 1 { format!("-{same}") } else { String::new() };
            let path = self.folder.join(format!("{stem}{number}{EXTENSION}"));
            let part = self.folder.join(format!("{stem}{number}{EXTENSION}{PART}"));
            if path.exists() {
                continue;
            }
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).mode(FILE_MODE).open(&part) {
                Ok(file) => {
                    return Ok(Capture { saved: Arc::clone(self), file, path, part, length: 0 });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many captures of that name"))
    }

    /// Makes room for a capture of so many bytes.
    fn room_for(&self, bytes: u64) -> io::Result<()> {
        let mut files = self.files(EXTENSION).into_iter();
        let mut whole: u64 = files.as_slice().iter().map(|(_, bytes, _)| bytes).sum();
        while whole + bytes > self.limit {
            let Some((_, size, path)) = files.next() else {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "it is larger than --keep-saved allows all captures to be",
                ));
            };
            // What cannot be removed counts on.
            if std::fs::remove_file(path).is_ok() {
                whole -= size;
                self.figures.saved_removed.fetch_add(1, Relaxed);
            }
        }
        self.figures.saved_bytes.store(whole + bytes, Relaxed);
        Ok(())
    }
}

/// A capture that is being written. What is not finished is removed.
#[derive(Debug)]
pub struct Capture {
    saved: Arc<Saved>,
    file: File,
    path: PathBuf,
    part: PathBuf,
    length: u64,
}

impl Capture {
    /// It is whole: brought to the disk, and given its name.
    ///
    /// # Errors
    ///
    /// The disk does not take it.
    pub fn finish(self) -> io::Result<PathBuf> {
        self.file.sync_data()?;
        std::fs::rename(&self.part, &self.path)?;
        Ok(self.path.clone())
    }
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let blocks = self.file.metadata()?.blocks();
        self.saved.room_for(taken(self.length + bytes.len() as u64, blocks))?;
        let count = self.file.write(bytes)?;
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Gone already where it has its name.
        let _ = std::fs::remove_file(&self.part);
        self.saved.count(0);
    }
}

fn taken(length: u64, blocks: u64) -> u64 {
    length.next_multiple_of(PAGE).max(blocks * STAT_BLOCK)
}

/// A trigger's name for a file: `status >= 500` is `status-500`.
fn file_name(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        let plain = c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if plain && out.len() < MAX_NAME {
            out.push(c);
        } else if !out.ends_with('-') && !out.is_empty() && out.len() < MAX_NAME {
            out.push('-');
        }
    }
    let out = out.trim_matches(['-', '.']);
    if out.is_empty() { "trigger".to_owned() } else { out.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(folder: &Path, limit: u64) -> Arc<Saved> {
        Arc::new(Saved::new(folder, limit, Arc::default()))
    }

    fn keep(saved: &Arc<Saved>, second: u64, bytes: usize) -> io::Result<PathBuf> {
        let mut capture = saved.begin(second * 1_000_000_000, "status >= 500")?;
        for piece in vec![7; bytes].chunks(10_000) {
            capture.write_all(piece)?;
        }
        let path = capture.finish()?;
        // Written in this order, whatever the clock's steps are.
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
        File::options().write(true).open(&path)?.set_modified(at)?;
        Ok(path)
    }

    #[test]
    fn names_are_files_everywhere() {
        assert_eq!(file_name("status >= 500"), "status-500");
        assert_eq!(file_name("latency > duration(\"1s\")"), "latency-duration-1s");
        assert_eq!(file_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_name("\0é/"), "trigger");
        assert!(file_name(&"x".repeat(500)).len() <= MAX_NAME);
    }

    #[test]
    fn the_oldest_leave_and_the_limit_holds() {
        let folder = tempfile::tempdir().unwrap();
        let saved = saved(folder.path(), 100 << 10);
        let paths: Vec<_> = (1..5).map(|second| keep(&saved, second, 40_000).unwrap()).collect();
        let there: Vec<_> = paths.iter().map(|path| path.exists()).collect();
        assert_eq!(there, [false, false, true, true]);
        assert_eq!(saved.figures.saved_removed.load(Relaxed), 2);
        assert!(saved.figures.saved_bytes.load(Relaxed) <= 100 << 10);
        assert!(paths[3].ends_with("saved/19700101T000004Z-status-500.pcapng.zst"), "{paths:?}");
        // The same second is another file.
        assert!(keep(&saved, 4, 10).unwrap().to_string_lossy().ends_with("500-2.pcapng.zst"));
    }

    #[test]
    fn what_is_too_large_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let saved = saved(folder.path(), 100 << 10);
        let error = keep(&saved, 1, 200_000).unwrap_err();
        assert!(error.to_string().contains("--keep-saved"), "{error}");
        assert_eq!(std::fs::read_dir(&saved.folder).unwrap().count(), 0);
        // What a killed recorder left.
        std::fs::write(saved.folder.join("x.pcapng.zst.part"), "x").unwrap();
        std::fs::write(saved.folder.join("mine.txt"), "x").unwrap();
        let again = super::tests::saved(folder.path(), 1 << 20);
        assert_eq!(std::fs::read_dir(&again.folder).unwrap().count(), 1);
    }
}
