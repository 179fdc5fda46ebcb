//! Threads that work on rounds together.
//!
//! Each thread begins with shards of its own, the same in every round, so that
//! what belongs to them stays in its processor's caches, and then takes what
//! others have not come to. One of them, the leader, reads the next round
//! before it joins in, and has all shards to itself between rounds. Knows
//! nothing of what shards find.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::thread::Thread;

use crate::analyze::limits::SHARDS;
use crate::analyze::options::Options;
use crate::analyze::plan::{Plan, Turns, below};
use crate::analyze::round::Round;
use crate::analyze::shard::{Run, Shard, Work};

/// Looks for what a thread waits for before it goes to sleep: some tens of
/// microseconds. A round takes about as long, and so does waking a thread.
const LOOKS: u32 = 1000;

/// A bit for each shard.
pub const ALL: u64 = (1 << SHARDS) - 1;

/// The number of the round after the last: the crew goes home.
const OVER: u64 = u64::MAX >> SHARDS;

/// Rounds, shards, and the threads that bring them together.
pub struct Crew<'a> {
    options: &'a Options,
    shards: &'a [Mutex<Shard>],
    /// Round `n` is at `n % 2`, so that the next is read beside it.
    rounds: [RwLock<Round>; 2],
    interfaces: RwLock<Vec<Option<String>>>,
    /// The round that is worked on, and below it a bit for each unit that
    /// nobody has taken: in one word, so that who comes late takes none of
    /// another round.
    free: AtomicU64,
    /// Units that are not done.
    left: AtomicUsize,
    /// Shards, by bit, that have something to tell.
    told: AtomicU64,
    /// A thread has panicked.
    broken: AtomicBool,
    plan: Plan,
    /// The threads, the leader first.
    threads: Vec<OnceLock<Thread>>,
}

impl<'a> Crew<'a> {
    /// A crew of so many threads, the leader one of them. If it works `ahead`,
    /// some shards are the leader's alone.
    pub fn new(
        shards: &'a [Mutex<Shard>],
        threads: usize,
        ahead: bool,
        options: &'a Options,
    ) -> Self {
        let plan = Plan::new(threads, ahead);
        Self {
            options,
            shards,
            rounds: [Round::with_units(plan.of_shard()), Round::with_units(plan.of_shard())]
                .map(RwLock::new),
            interfaces: RwLock::default(),
            free: AtomicU64::new(0),
            left: AtomicUsize::new(0),
            told: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            plan,
            threads: (0..threads).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The shards, by bit, that are the leader's alone.
    pub fn kept(&self) -> u64 {
        below(self.plan.kept())
    }

    /// The round with this number.
    pub fn read(&self, number: u64) -> RwLockReadGuard<'_, Round> {
        read(self.round(number))
    }

    /// The same, to read packets into it: waits for whoever comes late and
    /// still looks at the one that was there.
    pub fn write(&self, number: u64) -> RwLockWriteGuard<'_, Round> {
        self.round(number).write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of the interfaces so far.
    pub fn interfaces(&self) -> Vec<Option<String>> {
        read(&self.interfaces).clone()
    }

    fn round(&self, number: u64) -> &RwLock<Round> {
        let [even, odd] = &self.rounds;
        if number.is_multiple_of(2) { even } else { odd }
    }

    /// Works as the thread of this index, from 1, until the leader is gone.
    pub fn work_as(&self, thread: usize) {
        let _alarm = Alarm(self);
        self.register(thread);
        let mut done = 0;
        while let Some(number) = self.wait_after(done) {
            self.work(thread, number);
            done = number;
        }
    }

    /// Makes this thread the leader. When what it returns is dropped, the crew
    /// goes home.
    pub fn lead(&self) -> Leader<'_, 'a> {
        self.register(0);
        Leader { crew: self }
    }

    fn register(&self, thread: usize) {
        if let Some(place) = self.threads.get(thread) {
            // Each comes once.
            place.set(std::thread::current()).ok();
        }
    }

    /// Waits for a round after this one; None when there is none.
    fn wait_after(&self, done: u64) -> Option<u64> {
        let now = || self.free.load(Ordering::Acquire) >> SHARDS;
        wait_until(|| now() > done);
        Some(now()).filter(|number| *number != OVER)
    }

    /// Works on units of a round until nobody need take another.
    fn work(&self, thread: usize, number: u64) {
        let mine = self.plan.turns(thread);
        let Some(mut unit) = self.take(&mine, number) else { return };
        let round = read(self.round(number));
        let interfaces = read(&self.interfaces);
        let run = Run::new(self.options, &interfaces);
        let payloads = round.payloads();
        let work = Work::new(&round, &payloads, &run);
        loop {
            let shards = self.plan.shards(unit);
            let first = shards.start;
            let mut shards: Vec<_> =
                self.shards.get(shards).into_iter().flatten().map(lock).collect();
            shards.iter_mut().for_each(|shard| shard.begin_round(&run));
            let told = work.on(unit, first, &mut shards);
            drop(shards);
            if told != 0 {
                self.told.fetch_or(told, Ordering::Relaxed);
            }
            if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.wake(0);
            }
            match self.take(&mine, number) {
                Some(next) => unit = next,
                None => return,
            }
        }
    }

    /// Takes a unit of a round that nobody has taken.
    fn take(&self, turns: &Turns, number: u64) -> Option<usize> {
        let mut free = self.free.load(Ordering::Acquire);
        loop {
            if free >> SHARDS != number {
                return None;
            }
            let unit = turns.first(free & ALL)?;
            let taken = free & !(1 << unit);
            match self.free.compare_exchange(free, taken, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(unit),
                Err(now) => free = now,
            }
        }
    }

    fn wake(&self, thread: usize) {
        if let Some(thread) = self.threads.get(thread).and_then(OnceLock::get) {
            thread.unpark();
        }
    }

    fn wake_all(&self) {
        (1..self.threads.len()).for_each(|thread| self.wake(thread));
    }
}

/// Who hands out the rounds of a crew.
pub struct Leader<'c, 'a> {
    crew: &'c Crew<'a>,
}

impl Leader<'_, '_> {
    /// Lets the crew work on a round that was read.
    pub fn begin(&self, number: u64) {
        let crew = self.crew;
        {
            let round = read(crew.round(number));
            let names = round.batch.interfaces.iter().map(|interface| interface.name.clone());
            if names.len() > 0 {
                crew.interfaces.write().unwrap_or_else(PoisonError::into_inner).extend(names);
            }
        }
        let shared = crew.plan.shared();
        crew.left.store(shared.count_ones() as usize, Ordering::Release);
        crew.free.store(number << SHARDS | shared, Ordering::Release);
        crew.wake_all();
    }

    /// Joins in on that round and waits until it is done. Returns the shards,
    /// by bit, that have something to tell.
    pub fn finish(&self, number: u64) -> u64 {
        let crew = self.crew;
        crew.work(0, number);
        let is_broken = || crew.broken.load(Ordering::Acquire);
        wait_until(|| crew.left.load(Ordering::Acquire) == 0 || is_broken());
        // The panic itself comes out where the threads are joined.
        assert!(!is_broken(), "a worker thread has panicked");
        crew.told.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Leader<'_, '_> {
    fn drop(&mut self) {
        self.crew.free.store(OVER << SHARDS, Ordering::Release);
        self.crew.wake_all();
    }
}

/// Tells the leader of a panic, which would wait for ever.
struct Alarm<'c, 'a>(&'c Crew<'a>);

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Release);
            self.0.wake(0);
        }
    }
}

/// Waits for what another thread does, which wakes this one once it has.
fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        std::hint::spin_loop();
    }
    while !is_so() {
        std::thread::park();
    }
}

/// A shard, alone. A panic elsewhere comes out elsewhere.
pub fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(of: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    of.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_crew() {
        let options = Options::default();
        let shards: Vec<_> =
            (0..SHARDS).map(|index| Mutex::new(Shard::new(index, &options))).collect();
        let crew = Crew::new(&shards, 2, false, &options);
        let ended = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let _alarm = Alarm(&crew);
                panic!("on purpose");
            });
            let leader = crew.lead();
            // Nobody works on this.
            crew.left.store(1, Ordering::Release);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| leader.finish(1)));
            worker.join().unwrap_err();
            ended
        });
        assert!(ended.is_err());
    }
}
