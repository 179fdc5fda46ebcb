//! The flight recorder: a ring of segments that never takes more than asked, and what
//! triggers keep of it.
//!
//! ```text
//! writer → compressor ─────────→ segments ([`store`])     ─┐
//!             └ [`tee`] → [`feed`] → judge ([`child`])      ├→ [`cut`] → saved captures
//!                                     └ answers → [`keeper`] ┘          ([`saved`])
//! signals, control socket ────────────────────────↗
//! ```
//!
//! The judge is another process, without privileges, and the only one that looks into
//! what was recorded: here nothing is decoded. Everything beside the recording's own
//! threads may be slow, fail or end: the recording goes on, and what that costs is
//! counted and said.
//!
//! What a recorder that shuts itself in needs after [`Flight::start`]: to write the ring's
//! folder and what is below it, and nothing to execute (see [`child`]).

pub mod answers;
mod blocks;
pub mod child;
pub mod control;
pub mod cut;
mod feed;
mod figures;
mod folder;
mod gate;
pub mod incident;
mod keeper;
mod names;
mod now;
pub mod said;
pub mod save;
mod saved;
pub mod store;
mod tee;
mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::metrics::Metric;
use super::writer::options::{Compression, Output, WriteOptions};
use child::Host;
use control::Control;
use feed::Slot;
use figures::Figures;
pub use folder::FolderError;
use gate::Gate;
use incident::Rules;
use keeper::{Event, Keeper};
pub use now::{Now, boot_id};
use said::{Said, Speaker};
use saved::Saved;
use store::{Limits, Store};
use tee::{Stream, Tee};
use watch::Watcher;

/// The section's comment with the wall clock's distance from CLOCK_BOOTTIME, nanoseconds.
pub const CLOCK_KEY: &str = "perisco.clock";

/// The section's comment with the number of the segment.
pub const SEGMENT_KEY: &str = "perisco.segment";

/// Things to say that may wait.
const SAYINGS: usize = 256;

/// How long the judge may take to its end when the recording is over.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// How long captures may take to be copied then.
const LAST_COPIES: Duration = Duration::from_secs(60);

/// What a flight recorder is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The ring's folder.
    pub folder: PathBuf,
    /// What it keeps.
    pub limits: Limits,
    /// Expressions over transactions, checked by the caller.
    pub triggers: Vec<String>,
    /// How captures are kept.
    pub rules: Rules,
    /// Bytes of all kept captures together, on disk.
    pub keep_saved: u64,
    /// As the segments are compressed.
    pub compression: Compression,
}

/// Why it cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum FlightError {
    /// The folder cannot be a ring.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There can be no control socket.
    #[error("cannot listen in {}: {source}", folder.display())]
    Control {
        /// The ring's folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Triggers have no process to look with.
    #[error("triggers cannot be looked for: {0}")]
    Judge(io::Error),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What the writing thread has of it.
#[derive(Debug)]
pub struct Link {
    /// The segments.
    pub store: Arc<Store>,
    tee: Mutex<Option<Tee>>,
    gate: Arc<Gate>,
}

impl Link {
    /// The way to the judge, for the one who writes; None without triggers.
    pub fn take_tee(&self) -> Option<Tee> {
        self.tee.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// All that came before is in the files.
    pub fn reach(&self, ticket: u64) {
        self.gate.reach(ticket);
    }
}

/// A flight recorder under way.
pub struct Flight {
    link: Arc<Link>,
    triggers: Vec<String>,
    figures: Arc<Figures>,
    events: SyncSender<Event>,
    said: Receiver<Said>,
    ending: Arc<AtomicBool>,
    keeping: Option<JoinHandle<()>>,
    watching: Option<JoinHandle<()>>,
}

impl Flight {
    /// Takes the folder over and starts what works beside the recording: its threads, the
    /// process of the judges, the socket. To be called before privileges are given up.
    ///
    /// # Errors
    ///
    /// See [`FlightError`].
    pub fn start(options: &Options) -> Result<Self, FlightError> {
        let extension = names::extension(options.compression);
        let store = Store::open(&options.folder, options.limits, extension, Now::read())?;
        let figures = Arc::new(Figures::new(options.triggers.len()));
        let (say, said) = sync_channel(SAYINGS);
        let (events, happened) = keeper::events();
        let (gate, ending) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
        let saved = Saved::new(&options.folder, options.keep_saved, Arc::clone(&figures));
        let control =
            Control { store: Arc::clone(&store), gate: Arc::clone(&gate), events: events.clone() };
        control.serve().map_err(|source| {
            let folder = options.folder.clone();
            FlightError::Control { folder, source }
        })?;
        let (mut tee, mut watching) = (None, None);
        if !options.triggers.is_empty() {
            let host = Host::start(&options.triggers).map_err(FlightError::Judge)?;
            let (near, stream) = tee::tee(Arc::clone(&figures));
            let slot = Arc::new(Slot::default());
            let watcher = Watcher {
                host,
                triggers: options.triggers.clone(),
                slot: Arc::clone(&slot),
                events: events.clone(),
                figures: Arc::clone(&figures),
                speaker: Speaker(say.clone()),
                ending: Arc::clone(&ending),
            };
            watching = Some(start("judge", move || watcher.run())?);
            start("feed", feeding(stream, slot, Arc::clone(&figures)))?;
            tee = Some(near);
        }
        let keeper = Keeper {
            store: Arc::clone(&store),
            saved: Arc::new(saved),
            gate: Arc::clone(&gate),
            figures: Arc::clone(&figures),
            speaker: Speaker(say),
        };
        let rules = options.rules;
        let keeping = start("keep", move || keeper.run(rules, &happened))?;
        let link = Arc::new(Link { store, tee: Mutex::new(tee), gate });
        let (triggers, keeping) = (options.triggers.clone(), Some(keeping));
        Ok(Self { link, triggers, figures, events, said, ending, keeping, watching })
    }

    /// Lets a recording go into the ring's segments.
    pub fn write_into(&self, write: &mut WriteOptions) {
        let limits = self.link.store.limits();
        write.output = Output::File(self.link.store.folder().to_owned());
        write.rotate_size = Some(limits.segment_bytes());
        write.rotate_time = Some(limits.segment_time());
        write.ring = Some(Arc::clone(&self.link));
    }

    /// Whether somebody waits for a flush; its number. To be asked in each round.
    pub fn asked(&self) -> Option<u64> {
        self.link.gate.asked()
    }

    /// Somebody calls for a capture.
    pub fn call(&self, name: &str) {
        // When so many wait, one is under way in any case.
        let _ = self.events.try_send(Event::Called { name: name.to_owned(), answer: None });
    }

    /// What there is to say.
    pub fn said(&self) -> impl Iterator<Item = Said> {
        self.said.try_iter()
    }

    /// What is counted.
    pub fn metrics(&self) -> Vec<Metric> {
        self.figures.metrics(&self.triggers, &self.link.store, Now::read())
    }

    /// The recording is about to end: a judge that ends now is not started again.
    pub fn ending(&self) {
        self.ending.store(true, Relaxed);
    }

    /// The recording has ended, and its files are closed: what waits is kept. What there is
    /// to say about it goes to `say`.
    pub fn finish(mut self, say: &mut dyn FnMut(&Said)) {
        self.ending();
        let mut wait = |thread: Option<JoinHandle<()>>, patience: Duration| {
            let until = Instant::now() + patience;
            let Some(thread) = thread else { return };
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            self.said.try_iter().for_each(|said| say(&said));
        };
        wait(self.watching.take(), LAST_ANSWERS);
        let _ = self.events.send(Event::End);
        wait(self.keeping.take(), LAST_COPIES);
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, FlightError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(FlightError::Thread)
}

fn feeding(stream: Stream, slot: Arc<Slot>, figures: Arc<Figures>) -> impl FnOnce() + Send {
    move || feed::feed(&stream, &slot, &figures)
}
