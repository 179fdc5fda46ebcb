//! Blocks → compressed files, on a thread of its own.
//!
//! Buffers of whole blocks go through a bounded channel and come back empty:
//! a slow disk makes the sender wait, so the kernel's ring fills and counts,
//! and memory does not grow. Knows nothing of what is in the blocks.

mod compress;
mod file;
pub(super) mod names;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::flight::Link;
use super::writer::options::WriteOptions;
use compress::Compressor;
pub use file::SoFar;
use file::{Files, Progress};

/// Bytes of blocks after which a buffer is handed over: large enough that the
/// channel costs nothing, small enough that two of them are in the cache.
pub const BUFFER_BYTES: usize = 256 << 10;

/// Room for the block that crosses [`BUFFER_BYTES`]: the largest packet and
/// some comments.
const BUFFER_SLACK: usize = 80 << 10;

/// Buffers under way. With the one being filled it is all the memory there is
/// between the ring and the file.
const BUFFERS: usize = 8;

/// Why recording cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file could not be created or opened.
    #[error("cannot create {}: {source}{}", path.display(), hint(source))]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed. What was flushed before is valid.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which file; `-` is standard output.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The compressor could not be set up.
    #[error("cannot compress: {0}")]
    Compress(io::Error),
    /// The writing thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The writing thread ended without saying why: a bug.
    #[error("the writing thread is gone")]
    Gone,
}

impl WriteError {
    /// The reader of standard output went away: the end, but no failure.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The disk, the quota or the largest size of a file is used up.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Write { source, .. } if file::is_full(source))
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AlreadyExists => " (--force overwrites it)",
        _ => "",
    }
}

/// What was written, by the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Files begun.
    pub files: u64,
    /// Files removed to keep no more than asked.
    pub removed: u64,
    /// Files removed because the disk was full.
    pub removed_for_space: u64,
    /// Bytes on disk or on standard output, after compression, of all files.
    pub bytes: u64,
    /// The last file; None is standard output.
    pub last: Option<PathBuf>,
}

/// Work for the thread.
enum Job {
    /// Blocks; with `flush`, everything up to here shall be readable.
    Blocks { buffer: Vec<u8>, flush: bool },
    /// The next file begins; its time in nanoseconds since 1970.
    NextFile { time: u64 },
    /// Somebody waits to be told that all up to here is in the files.
    Reached { ticket: u64 },
}

/// The near end of the writing thread.
#[derive(Debug)]
pub struct Sink {
    buffer: Vec<u8>,
    jobs: Option<SyncSender<Job>>,
    empty: Receiver<Vec<u8>>,
    /// Empty buffers; the last one is the next: most likely still in a cache.
    spare: Vec<Vec<u8>>,
    progress: Progress,
    /// Number of the present file, from 1.
    file: u64,
    thread: Option<JoinHandle<Result<Written, WriteError>>>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Blocks { .. } => "Blocks",
            Self::NextFile { .. } => "NextFile",
            Self::Reached { .. } => "Reached",
        })
    }
}

impl Sink {
    /// Opens the first file, named for `time` (nanoseconds since 1970) where
    /// files rotate, and starts the thread.
    ///
    /// # Errors
    ///
    /// The file cannot be created, or no thread.
    pub fn create(options: &WriteOptions, time: u64) -> Result<Self, WriteError> {
        let files = Files::create(options, time)?;
        let progress = files.progress();
        let compressor = Compressor::new(options, files)?;
        let (jobs, work) = sync_channel(BUFFERS);
        let (give_back, empty) = channel();
        let ring = options.ring.clone();
        let thread = std::thread::Builder::new()
            .name("write".to_owned())
            .spawn(move || run(compressor, &work, &give_back, ring.as_deref()))
            .map_err(WriteError::Thread)?;
        let buffer = Vec::with_capacity(BUFFER_BYTES + BUFFER_SLACK);
        let (jobs, spare) = (Some(jobs), Vec::new());
        Ok(Self { buffer, jobs, empty, spare, progress, file: 1, thread: Some(thread) })
    }

    /// Where whole blocks are appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Whether the buffer is large enough to be handed over.
    pub fn is_due(&self) -> bool {
        self.buffer.len() >= BUFFER_BYTES
    }

    /// Bytes of the present file, compressed, as far as the thread has come.
    pub fn file_size(&self) -> u64 {
        self.progress.size(self.file)
    }

    /// What the thread has written so far.
    pub fn so_far(&self) -> SoFar {
        self.progress.so_far()
    }

    /// Hands the buffer over; with `flush`, all of it is readable soon.
    ///
    /// # Errors
    ///
    /// What the thread found.
    pub fn hand_over(&mut self, flush: bool) -> Result<(), WriteError> {
        if self.buffer.is_empty() && !flush {
            return Ok(());
        }
        self.spare.extend(self.empty.try_iter());
        let fresh =
            self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES + BUFFER_SLACK));
        let buffer = std::mem::replace(&mut self.buffer, fresh);
        self.send(Job::Blocks { buffer, flush })
    }

    /// Ends the file and begins the next one.
    ///
    /// # Errors
    ///
    /// What the thread found.
    pub fn next_file(&mut self, time: u64) -> Result<(), WriteError> {
        self.hand_over(false)?;
        self.file += 1;
        self.send(Job::NextFile { time })
    }

    /// Makes all up to here readable, and tells whoever waits for `ticket`.
    ///
    /// # Errors
    ///
    /// What the thread found.
    pub fn reach(&mut self, ticket: u64) -> Result<(), WriteError> {
        self.hand_over(true)?;
        self.send(Job::Reached { ticket })
    }

    /// Ends the last file.
    ///
    /// # Errors
    ///
    /// What the thread found.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        self.hand_over(true)?;
        self.join()
    }

    fn send(&mut self, job: Job) -> Result<(), WriteError> {
        match &self.jobs {
            Some(jobs) if jobs.send(job).is_ok() => Ok(()),
            _ => Err(self.join().err().unwrap_or(WriteError::Gone)),
        }
    }

    fn join(&mut self) -> Result<Written, WriteError> {
        self.jobs = None;
        let thread = self.thread.take().ok_or(WriteError::Gone)?;
        thread.join().unwrap_or(Err(WriteError::Gone))
    }
}

/// The thread: until the other end is dropped or writing fails.
fn run(
    mut compressor: Compressor,
    work: &Receiver<Job>,
    give_back: &Sender<Vec<u8>>,
    ring: Option<&Link>,
) -> Result<Written, WriteError> {
    let mut tee = ring.and_then(Link::take_tee);
    for job in work {
        match job {
            Job::Blocks { mut buffer, flush } => {
                if let Some(tee) = &mut tee {
                    tee.offer(&buffer);
                }
                compressor.write(&buffer)?;
                if flush {
                    compressor.flush()?;
                }
                buffer.clear();
                // No one takes it when recording ends.
                let _ = give_back.send(buffer);
            }
            Job::NextFile { time } => compressor.next_file(time)?,
            Job::Reached { ticket } => ring.into_iter().for_each(|ring| ring.reach(ticket)),
        }
    }
    compressor.finish()
}
