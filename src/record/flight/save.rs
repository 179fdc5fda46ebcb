//! `perisco save`: what just happened, out of a ring, from another process.
//!
//! Reads the segments by their names. A recorder that is running is asked to flush first
//! and holds them meanwhile; without one there is what there is.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::control::{self, Asked};
use super::cut::{self, Done, Window};
use super::names;
use super::now::Now;

/// Packets wait for missing ones before they are written: by so much a segment may begin
/// before the end of the one before, nanoseconds.
const SLACK: i64 = 2_000_000_000;

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So long before now.
    Last(Duration),
    /// What happened between these times, nanoseconds since 1970; None is open.
    Between(Option<i64>, Option<i64>),
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What was found.
    pub done: Done,
    /// Whether a recorder is running there; false in it if it did not flush in time.
    pub recorder: Option<bool>,
    /// Numbers of segments that are not there between those that are.
    pub missing: Vec<(u64, u64)>,
}

/// Why it cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The folder cannot be read.
    #[error("cannot read {}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no segment.
    #[error("{} is not a ring of perisco record --ring, or has nothing yet", .0.display())]
    Empty(PathBuf),
    /// The running recorder cannot be asked.
    #[error("cannot ask the recorder of {}: {source}", folder.display())]
    Recorder {
        /// The ring's folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

/// The segments of a ring, oldest first.
///
/// # Errors
///
/// The folder cannot be read.
fn segments(folder: &Path) -> Result<Vec<(u64, PathBuf)>, SaveError> {
    let fail = |source| SaveError::Folder { folder: folder.to_owned(), source };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)?.flatten() {
        let Some(number) = names::number(&entry.file_name()) else { continue };
        if entry.metadata().is_ok_and(|about| about.is_file() && about.len() > 0) {
            all.push((number, entry.path()));
        }
    }
    all.sort();
    Ok(all)
}

/// A ring that is ready to be read.
#[derive(Debug)]
pub struct Ring {
    folder: PathBuf,
    window: Window,
    /// Held as long as this.
    recorder: Option<Asked>,
    segments: Vec<(u64, PathBuf)>,
}

impl Ring {
    /// Asks its recorder to flush, and finds its segments.
    ///
    /// # Errors
    ///
    /// See [`SaveError`].
    pub fn open(folder: &Path, wanted: Wanted) -> Result<Self, SaveError> {
        let now = Now::read();
        let window = match wanted {
            Wanted::Last(time) => {
                let nanos = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
                Window::Boot { from: now.boot.saturating_sub(nanos), to: i64::MAX }
            }
            Wanted::Between(from, to) => {
                Window::Wall { from: from.unwrap_or(i64::MIN), to: to.unwrap_or(i64::MAX) }
            }
        };
        // Before anybody is asked: what is no folder is told as such.
        segments(folder)?;
        let from = match window {
            Window::Boot { from, .. } => from,
            // The clock may have been set since: all of it is held.
            Window::Wall { .. } => i64::MIN,
        };
        let recorder = control::ask(folder, &format!("flush {from}"))
            .map_err(|source| SaveError::Recorder { folder: folder.to_owned(), source })?;
        let segments = segments(folder)?;
        if segments.is_empty() {
            return Err(SaveError::Empty(folder.to_owned()));
        }
        Ok(Self { folder: folder.to_owned(), window, recorder, segments })
    }

    /// The ring's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes what is wanted as one capture.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn save(&self, comments: &[String], out: &mut dyn Write) -> Result<Outcome, SaveError> {
        let first = self.first();
        let within = self.segments.get(first..).unwrap_or_default();
        let paths: Vec<PathBuf> = within.iter().map(|(_, path)| path.clone()).collect();
        let mut done = cut::cut(&paths, self.window, comments, out).map_err(SaveError::Output)?;
        done.reaches |= first > 0;
        let gaps = within.windows(2).filter_map(|two| match two {
            [(before, _), (after, _)] if *after > before + 1 => Some((before + 1, after - 1)),
            _ => None,
        });
        let missing = gaps.collect();
        let recorder = self.recorder.as_ref().map(|asked| asked.answer == "flushed");
        Ok(Outcome { done, recorder, missing })
    }

    /// The last segment that begins before the window: those before it have nothing of it.
    /// Of times of the wall clock, which may have been set, nothing follows.
    fn first(&self) -> usize {
        let Window::Boot { from, .. } = self.window else { return 0 };
        let before = from.saturating_sub(SLACK);
        let begins = |path: &Path| cut::begin(path, self.window).is_some_and(|at| at <= before);
        self.segments.iter().rposition(|(_, path)| begins(path)).unwrap_or(0)
    }
}
