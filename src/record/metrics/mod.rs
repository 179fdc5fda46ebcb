//! What a running recorder tells others: its counts and its health, as
//! [`text`] for Prometheus, [`serve`]d over HTTP.
//!
//! The recording thread puts a [`Snapshot`] on the [`Board`] twice a second and
//! marks each of its rounds there ([`Watch`]); it never waits for a reader.
//! Knows nothing of how things are counted.

pub mod serve;
#[cfg(test)]
mod tests;
pub mod text;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use watch::Watch;

use super::counters::Counters;
use super::writer::{Loss, Summary};

/// A round of the recording takes some 20 ms. One that takes this long waits
/// for a disk that stands still, or has a bug; what is lost meanwhile is
/// counted, but nobody sees it.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// The counts at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The back end's name; empty until there is one.
    pub back_end: String,
    /// Events read from the ring.
    pub events: u64,
    /// What the programs counted.
    pub counters: Counters,
    /// What was lost, by reason. Never less than in an earlier snapshot.
    pub losses: Vec<Loss>,
    /// What the writer counted.
    pub summary: Summary,
    /// Connections that are open now, or were until a second ago.
    pub open: u64,
    /// Size of the ring buffer in bytes.
    pub ring_bytes: u64,
    /// The most that was in it since the last snapshot.
    pub ring_used_bytes: u64,
    /// What is in files of this recording that have not been removed, bytes.
    pub disk_bytes: u64,
    /// How many those are.
    pub disk_files: u64,
    /// Writes that failed and ended the recording: 0 or 1.
    pub write_errors: u64,
    /// What else is to be told: the sources of names, for example.
    pub more: Vec<Metric>,
}

/// A kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Comes and goes.
    Gauge,
}

/// A metric with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name, without `_total`: letters, digits and `_`.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// One sentence on what it is.
    pub help: &'static str,
    /// Values, each with its labels; no value is no line.
    pub samples: Vec<Sample>,
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values. Values may be any text.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Metric {
    /// One without labels.
    pub fn plain(name: &'static str, kind: Kind, help: &'static str, value: f64) -> Self {
        Self { name, kind, help, samples: vec![Sample { labels: Vec::new(), value }] }
    }
}

/// Where a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Programs are being loaded.
    Starting = 0,
    /// Everything is attached.
    Recording = 1,
    /// What is queued is being written, the file closed.
    Ending = 2,
}

/// Where the recording thread leaves what the server reads.
#[derive(Debug)]
pub struct Board {
    made: Instant,
    /// When this process began, seconds since 1970.
    pub began: f64,
    snapshot: Mutex<Arc<Snapshot>>,
    stage: AtomicU8,
    failed: AtomicBool,
    /// When the last round was, milliseconds since `made`.
    turned: AtomicU64,
}

impl Default for Board {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            made: Instant::now(),
            began: now.map_or(0.0, |time| time.as_secs_f64()),
            snapshot: Mutex::default(),
            stage: AtomicU8::new(Stage::Starting as u8),
            failed: AtomicBool::new(false),
            turned: AtomicU64::new(0),
        }
    }
}

impl Board {
    /// The recording goes on. Called in each round: costs a store.
    pub fn turn(&self) {
        self.turned.store(self.now(), Ordering::Relaxed);
    }

    /// Says where the recording is.
    pub fn enter(&self, stage: Stage) {
        self.turn();
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Writing has failed.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Puts a snapshot up; not if somebody reads at this moment, for the next
    /// comes soon and the recording waits for nobody.
    pub fn publish(&self, snapshot: Snapshot) {
        if let Ok(mut place) = self.snapshot.try_lock() {
            *place = Arc::new(snapshot);
        }
    }

    /// The last snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the recording goes on; if not, why.
    ///
    /// # Errors
    ///
    /// Writing failed, or there was no round for [`STUCK_AFTER`].
    pub fn health(&self) -> Result<(), String> {
        if self.failed.load(Ordering::Relaxed) {
            return Err("writing has failed".to_owned());
        }
        let still = self.now().saturating_sub(self.turned.load(Ordering::Relaxed));
        // Loading takes what the kernel's verifier takes.
        if self.stage() == Stage::Recording && u128::from(still) >= STUCK_AFTER.as_millis() {
            return Err(format!("the recording has stood still for {} s", still / 1000));
        }
        Ok(())
    }

    /// Whether all programs are attached and the recording goes on; if not, why.
    ///
    /// # Errors
    ///
    /// As [`Self::health`]; or it has not begun yet, or is ending.
    pub fn readiness(&self) -> Result<(), String> {
        self.health()?;
        match self.stage() {
            Stage::Starting => Err("the programs are being loaded".to_owned()),
            Stage::Recording => Ok(()),
            Stage::Ending => Err("the recording is ending".to_owned()),
        }
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Starting,
            1 => Stage::Recording,
            _ => Stage::Ending,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    fn turned_ago(&mut self, ago: Duration) {
        self.made = Instant::now().checked_sub(ago).expect("this machine runs for a while");
        self.turned.store(0, Ordering::Relaxed);
    }
}
