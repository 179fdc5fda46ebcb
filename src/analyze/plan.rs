//! Which thread begins with which shards.
//!
//! A thread's shards are divided into units: a large one, whose packets it
//! takes in the order in which they lie in memory, and small ones at the end,
//! which others can take from it. Knows nothing of what is in a shard.

use std::ops::Range;

use crate::analyze::limits::SHARDS;
use crate::analyze::round::Units;

/// Shards of a thread that are units of their own, for others to take.
const LOOSE: usize = 2;

/// The units of so many threads.
pub struct Plan {
    /// The shards of each unit, thread by thread.
    units: Vec<Range<usize>>,
    /// The first unit of each thread, and the number of units.
    firsts: Vec<usize>,
    /// Shards, the first ones, that the leader keeps to itself: unit 0, if any.
    kept: usize,
}

impl Plan {
    /// For so many threads, the leader the first. Where it works `ahead`, what it
    /// has of the shards is its alone.
    pub fn new(threads: usize, ahead: bool) -> Self {
        let kept = if ahead { kept(threads) } else { 0 };
        let mut plan = Self { units: Vec::new(), firsts: vec![0], kept };
        let others = threads - usize::from(kept > 0);
        let first = |other: usize| kept + other * (SHARDS - kept) / others.max(1);
        if kept > 0 {
            plan.units.push(0..kept);
            plan.firsts.push(1);
        }
        for other in 0..others {
            plan.add_thread(first(other)..first(other + 1));
        }
        plan
    }

    fn add_thread(&mut self, shards: Range<usize>) {
        let large = shards.len().saturating_sub(LOOSE);
        let split = shards.start + if large > 1 { large } else { 0 };
        self.units.extend(Some(shards.start..split).filter(|large| !large.is_empty()));
        self.units.extend((split..shards.end).map(|shard| shard..shard + 1));
        self.firsts.push(self.units.len());
    }

    /// The shards of a unit.
    pub fn shards(&self, unit: usize) -> Range<usize> {
        self.units.get(unit).cloned().unwrap_or_default()
    }

    /// How many shards, the first ones, are the leader's alone: unit 0, if any.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// A bit for each unit that is not the leader's alone.
    pub fn shared(&self) -> u64 {
        below(self.units.len()) & !below(usize::from(self.kept > 0))
    }

    /// The unit of each shard.
    pub fn of_shard(&self) -> Units {
        let mut of_shard = Units::default();
        for (unit, shards) in (0..).zip(&self.units) {
            of_shard.get_mut(shards.clone()).into_iter().flatten().for_each(|of| *of = unit);
        }
        of_shard
    }

    /// In which order the thread of this index takes units.
    pub fn turns(&self, thread: usize) -> Turns {
        let first = |thread| self.firsts.get(thread).copied().unwrap_or(self.units.len());
        let (before, with_own) = (below(first(thread)), below(first(thread + 1)));
        Turns { own: with_own & !before, before }
    }
}

/// How many shards a leader of so many threads keeps to itself: to find out
/// whose a packet is takes it about a fifth of what work on it takes. For two
/// threads 4 to 9 were measured; with more it should be through a little before
/// the others, since it can help them and they cannot help it.
fn kept(threads: usize) -> usize {
    match threads {
        2 => 7,
        3 => 3,
        4 => 1,
        _ => 0,
    }
}

/// The bits of the first so many.
pub fn below(count: usize) -> u64 {
    (1 << count) - 1
}

/// In which order a thread takes units.
pub struct Turns {
    /// The bits of its own.
    own: u64,
    /// The bits of those before its own, which threads before it begin with.
    before: u64,
}

impl Turns {
    /// The first of the free units: its own upwards; then others downwards,
    /// where their threads come last, and the nearest ones first.
    pub fn first(&self, free: u64) -> Option<usize> {
        let own = free & self.own;
        if own != 0 {
            return Some(own.trailing_zeros() as usize);
        }
        let before = free & self.before;
        let other = if before != 0 { before } else { free };
        other.checked_ilog2().map(|index| index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans() -> impl Iterator<Item = (usize, Plan)> {
        let both = (1..=40).flat_map(|threads| [(threads, false), (threads, true)]);
        both.map(|(threads, ahead)| (threads, Plan::new(threads, ahead)))
    }

    #[test]
    fn each_shard_is_in_one_unit_and_each_unit_is_somebodys() {
        for (threads, plan) in plans() {
            let shards: Vec<_> = (0..plan.units.len()).flat_map(|unit| plan.shards(unit)).collect();
            assert_eq!(shards, (0..SHARDS).collect::<Vec<_>>(), "{threads} threads");
            for (shard, unit) in plan.of_shard().into_iter().enumerate() {
                assert!(plan.shards(unit.into()).contains(&shard));
            }
            let all = (0..threads).map(|thread| plan.turns(thread)).fold(0, |all, turns| {
                assert_eq!(all & turns.own, 0, "{threads} threads share a unit");
                all | turns.own
            });
            assert_eq!(all, below(plan.units.len()), "{threads} threads leave one out");
        }
    }

    #[test]
    fn a_thread_takes_its_own_first_and_then_any() {
        for (threads, plan) in plans() {
            for turns in (0..threads).map(|thread| plan.turns(thread)) {
                let mut free = plan.shared();
                let own = (free & turns.own).count_ones() as usize;
                let mut taken = Vec::new();
                while let Some(unit) = turns.first(free) {
                    free &= !(1 << unit);
                    taken.push(unit);
                }
                assert!(taken.iter().take(own).all(|unit| turns.own >> unit & 1 == 1));
                taken.sort_unstable();
                let kept = usize::from(plan.kept() > 0);
                assert_eq!(taken, (kept..plan.units.len()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_the_leader_keeps_comes_first() {
        for (threads, plan) in plans().filter(|(_, plan)| plan.kept() > 0) {
            assert_eq!(plan.shards(0), 0..plan.kept(), "{threads} threads");
            assert_eq!(plan.shared() & 1, 0);
        }
    }
}
