//! Takes what the analysis finds into the model; a replay at its own pace.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use perisco::analyze::watch::{Coverage, Progress, Watch, Watched};
use perisco::time::Timestamp;

use super::pace::{Pace, Step};
use super::state::endpoint::Key;
use super::state::{Feed, Model, finished};

/// How often all connections are looked at for missing bytes: a million take
/// some tens of milliseconds.
const COVERAGE_INTERVAL: Duration = Duration::from_secs(1);

/// What the analysis and the screen share.
pub struct Shared {
    model: Mutex<Model>,
    /// Set to end.
    pub stop: Arc<AtomicBool>,
    /// Set while a replay is to stand still.
    pub paused: AtomicBool,
}

impl Shared {
    /// Over a model of which nothing was seen yet.
    pub fn new(model: Model, stop: Arc<AtomicBool>) -> Self {
        Self { model: Mutex::new(model), stop, paused: AtomicBool::new(false) }
    }

    /// What was seen so far. A panic elsewhere ends all, so it is whole.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Looks on while an analysis runs.
pub struct Watcher<'a> {
    shared: &'a Shared,
    feed: Feed,
    pace: RefCell<Option<Pace>>,
    key: RefCell<Key>,
    /// Transactions of a file whose time has not come.
    waiting: RefCell<Vec<(Option<Timestamp>, Watched)>>,
    /// Up to when the file was read, by the round before the last and the last.
    read: Cell<[Option<Timestamp>; 2]>,
    /// When it was last told the coverage.
    told: Cell<Option<Instant>>,
}

impl<'a> Watcher<'a> {
    /// At a pace, where there is one.
    pub fn new(shared: &'a Shared, feed: Feed, pace: Option<Pace>) -> Self {
        let (pace, key) = (RefCell::new(pace), RefCell::default());
        let (waiting, read) = (RefCell::default(), Cell::default());
        Self { shared, feed, pace, key, waiting, read, told: Cell::new(None) }
    }

    /// Waits until a time has come; false where all is to end.
    fn wait(&self, due: Timestamp) -> bool {
        let mut pace = self.pace.borrow_mut();
        let Some(pace) = pace.as_mut() else { return true };
        loop {
            if self.shared.is_stopped() {
                return false;
            }
            let paused = self.shared.paused.load(Ordering::Relaxed);
            match pace.step(due.nanos(), paused, Instant::now()) {
                Step::Due => return true,
                Step::Wait(so_far, nap) => {
                    self.shared.model().go_on(Some(Timestamp::from_nanos(so_far)));
                    std::thread::sleep(nap);
                }
            }
        }
    }

    /// Takes over those that have finished by now, all at once.
    fn take_all(&self, found: impl Iterator<Item = (Option<Timestamp>, Watched)>) {
        let (mut model, mut key) = (self.shared.model(), self.key.borrow_mut());
        found.for_each(|(at, watched)| model.add(watched, at, &mut key));
    }

    /// Takes those of a file over one by one, each when its time has come, and lets
    /// time go on until then.
    fn replay(&self, until: Option<Timestamp>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.sort_by_key(|(at, _)| *at);
        let due = waiting.partition_point(|(at, _)| *at <= until);
        for (at, watched) in waiting.drain(..due) {
            if !at.is_none_or(|at| self.wait(at)) {
                return;
            }
            let mut model = self.shared.model();
            model.go_on(at);
            model.add(watched, at, &mut self.key.borrow_mut());
        }
        if until.is_none_or(|until| self.wait(until)) {
            self.shared.model().go_on(until);
        }
    }

    /// After the analysis: takes over what is still to come of a file.
    pub fn finish(&self) {
        self.replay(self.read.get()[1]);
    }
}

impl Watch for Watcher<'_> {
    fn round(&self, found: &mut Vec<Watched>, progress: &Progress) {
        let Progress { first, time, .. } = *progress;
        let timed = found.drain(..).map(|watched| {
            let at = finished(&watched.transaction, time, self.feed);
            (at, watched)
        });
        let is_timed = self.pace.borrow().as_ref().is_some_and(Pace::is_timed);
        self.shared.model().take(progress);
        // The first packet is where the clock begins.
        if !first.is_none_or(|first| self.wait(first)) {
            return;
        }
        if !is_timed {
            self.shared.model().go_on(time);
            return self.take_all(timed);
        }
        // Transactions of a connection that has just begun come two rounds later.
        self.waiting.borrow_mut().extend(timed);
        let [before, last] = self.read.get();
        self.read.set([last, time]);
        self.replay(before);
    }

    fn wants_coverage(&self) -> bool {
        let is_due = self.told.get().is_none_or(|told| told.elapsed() >= COVERAGE_INTERVAL);
        if is_due {
            self.told.set(Some(Instant::now()));
        }
        is_due
    }

    fn coverage(&self, coverage: &Coverage) {
        self.shared.model().loss.coverage = *coverage;
    }
}
