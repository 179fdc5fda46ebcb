//! The folder of a ring: whose it is, and up to where its last file can be read.
//!
//! `.ring` is locked (flock(2)) by the recorder that has the folder, so the lock
//! ends with it, however it ends. In the file stand the recorder's process, and
//! the present segment with how much of it was flushed: after a SIGKILL the next
//! recorder cuts the segment there, so that every tool reads it without a word.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::names;
use super::now::boot_id;

/// The file's name: hidden, so that `DIR/*` has captures only.
const FILE: &str = ".ring";

/// It is written over in place: every state has this length in bytes.
const STATE_BYTES: usize = 128;

/// The folder is for its owner only.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Write permission of everybody.
const ALL_WRITE: u32 = 0o002;

/// Why a folder cannot be a ring.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made, read or written.
    #[error("cannot use {} as a ring: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another recorder records there.
    #[error(
        "{} is the ring of another recorder{}: end it, or use another folder",
        path.display(),
        owner.map_or(String::new(), |pid| format!(" (process {pid})"))
    )]
    Taken {
        /// Which.
        path: PathBuf,
        /// That recorder.
        owner: Option<u32>,
    },
    /// Everybody could put files there.
    #[error("{} can be written by everybody: chmod o-w it, or use another folder", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// More is there than is to be kept, and it cannot be removed.
    #[error(
        "{} has more segments than --keep allows, and they cannot be removed", path.display()
    )]
    Stuck {
        /// Which.
        path: PathBuf,
    },
}

/// A folder that is ours.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked as long as it is open.
    file: File,
    /// Bytes of a block of its file system.
    block: u64,
    boot: String,
}

impl Folder {
    /// Makes it where it is not there, and locks it.
    ///
    /// # Errors
    ///
    /// See [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let fail = |source| FolderError::Folder { path: path.to_owned(), source };
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
        made.map_err(fail)?;
        if path.metadata().map_err(fail)?.mode() & ALL_WRITE != 0 {
            return Err(FolderError::Open { path: path.to_owned() });
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(FILE_MODE);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(path.join(FILE)).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = State::read(&file).map(|state| state.pid);
                return Err(FolderError::Taken { path: path.to_owned(), owner });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        let about = rustix::fs::statvfs(path).map_err(|error| fail(error.into()))?;
        let block = about.f_frsize.clamp(512, 1 << 20);
        Ok(Self { path: path.to_owned(), file, block, boot: boot_id() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of a block of its file system.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// Cuts the segment that a recorder was writing when it was killed to what it had
    /// flushed. Not after the machine itself went down: what the disk has then may be
    /// older than what it says here.
    pub fn repair(&self) {
        let state = State::read(&self.file).filter(|state| state.boot == self.boot);
        let Some(state) = state else { return };
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let found = entries.filter(|entry| names::number(&entry.file_name()) == Some(state.number));
        for entry in found {
            let is_longer =
                entry.metadata().is_ok_and(|about| about.is_file() && about.len() > state.valid);
            if is_longer && let Ok(file) = OpenOptions::new().write(true).open(entry.path()) {
                // What cannot be cut is read to its last whole packet, with a complaint.
                let _ = file.set_len(state.valid);
            }
        }
    }

    /// Says up to where the present segment can be read. Costs one small write.
    pub fn note(&self, number: u64, valid: u64) {
        let state = State { pid: std::process::id(), number, valid, boot: self.boot.clone() };
        // On a full disk the block is there already; without this a killed recorder's
        // last segment ends in the middle of a packet, and that is all.
        let _ = self.file.write_all_at(state.text().as_bytes(), 0);
    }
}

/// What stands in the file.
#[derive(Debug, PartialEq, Eq)]
struct State {
    pid: u32,
    number: u64,
    valid: u64,
    boot: String,
}

impl State {
    fn text(&self) -> String {
        let Self { pid, number, valid, boot } = self;
        let text = format!("pid={pid} segment={number} valid={valid} boot={boot}");
        format!("{text:<width$}\n", width = STATE_BYTES - 1)
    }

    fn read(file: &File) -> Option<Self> {
        let mut bytes = [0; STATE_BYTES];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let value = |key: &str| {
            let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.filter(|(name, _)| *name == key).map(|(_, value)| value).next()
        };
        let number = |key: &str| value(key)?.parse::<u64>().ok();
        Some(Self {
            pid: u32::try_from(number("pid")?).ok()?,
            number: number("segment")?,
            valid: number("valid")?,
            boot: value("boot")?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_recorders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/ring");
        let first = Folder::open(&path).unwrap();
        first.note(3, 10);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        let said = Folder::open(&path).unwrap_err().to_string();
        let pid = format!("(process {})", std::process::id());
        assert!(said.contains("another recorder") && said.contains(&pid), "{said}");
        drop(first);
        Folder::open(&path).unwrap();
    }

    #[test]
    fn a_folder_of_everybody_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let said = Folder::open(folder.path()).unwrap_err().to_string();
        assert!(said.contains("chmod o-w"), "{said}");
    }

    #[test]
    fn what_was_not_flushed_before_a_kill_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let name = names::segment(7, 0, ".pcapng.zst");
        let path = folder.path().join(&name);
        std::fs::write(&path, [1; 100]).unwrap();
        let ours = Folder::open(folder.path()).unwrap();
        ours.note(7, 60);
        ours.repair();
        assert_eq!(path.metadata().unwrap().len(), 60);
        // Of another segment, or of another start of the machine, nothing.
        ours.note(8, 10);
        ours.repair();
        let state = State { pid: 1, number: 7, valid: 5, boot: "another".to_owned() };
        ours.file.write_all_at(state.text().as_bytes(), 0).unwrap();
        ours.repair();
        assert_eq!(path.metadata().unwrap().len(), 60);
    }
}
