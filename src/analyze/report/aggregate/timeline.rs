//! Counts over time in a bounded number of steps.
//!
//! A step is a power of two times [`FINEST`] long and begins at a multiple of
//! its length since 1970. When more steps are needed than there may be, they
//! become twice as long and two at a time are one. So what comes out depends
//! on the times alone: neither on their order nor on how they were divided
//! among shards.

use std::collections::VecDeque;

use crate::time::Timestamp;

/// Shortest step in nanoseconds: 1/512 s, so that longer ones come to 1/4 s,
/// 1 s or 4 s. Nobody looks closer at a whole capture.
pub const FINEST: i64 = 1_000_000_000 / 512;

/// What is counted in a step.
pub trait Cell: Default {
    /// Adds another step.
    fn merge(&mut self, other: &Self);
}

/// Steps in the order of time.
pub struct Timeline<C> {
    /// Steps at most.
    room: usize,
    /// They are `FINEST << level` long.
    level: u32,
    /// Number of the first since 1970.
    first: i64,
    steps: VecDeque<C>,
}

/// Length of a step in nanoseconds. All times there are fit one step of the
/// largest level that can come up, and the shift does not overflow before it.
const fn width(level: u32) -> i64 {
    FINEST << level
}

impl<C: Cell> Timeline<C> {
    /// None yet, and at most `room`.
    pub fn new(room: usize) -> Self {
        Self { room: room.max(2), level: 0, first: 0, steps: VecDeque::new() }
    }

    /// The step of a point in time.
    #[inline]
    pub fn at(&mut self, at: Timestamp) -> &mut C {
        let index = at.nanos().div_euclid(width(self.level));
        let place = usize::try_from(index.wrapping_sub(self.first)).unwrap_or(usize::MAX);
        let place = match place < self.steps.len() {
            true => place,
            false => self.make_room(at),
        };
        // It is there: `make_room` has made it.
        if place >= self.steps.len() {
            self.steps.resize_with(place + 1, C::default);
        }
        &mut self.steps[place]
    }

    /// Makes the step of a time that is outside, and returns its place.
    #[cold]
    fn make_room(&mut self, at: Timestamp) -> usize {
        loop {
            let index = at.nanos().div_euclid(width(self.level));
            if self.steps.is_empty() {
                self.first = index;
            }
            let end = self.first + self.steps.len() as i64;
            let (first, end) = (self.first.min(index), end.max(index + 1));
            if (end - first) as u64 <= self.room as u64 {
                while self.first > first {
                    self.steps.push_front(C::default());
                    self.first -= 1;
                }
                self.steps.resize_with((end - first) as usize, C::default);
                return (index - first) as usize;
            }
            self.coarsen();
        }
    }

    /// Makes steps twice as long.
    fn coarsen(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        let first = self.first;
        self.first = first.div_euclid(2);
        self.level += 1;
        for (index, step) in (first..).zip(steps) {
            let place = (index.div_euclid(2) - self.first) as usize;
            match self.steps.get_mut(place) {
                Some(known) => known.merge(&step),
                None => self.steps.push_back(step),
            }
        }
    }

    /// Adds all of another one of the same room.
    pub fn merge(&mut self, mut other: Self) {
        while other.level < self.level {
            other.coarsen();
        }
        while self.level < other.level {
            self.coarsen();
        }
        for (place, step) in other.steps.iter().enumerate() {
            let index = other.first + place as i64;
            let start = Timestamp::from_nanos(index.saturating_mul(width(other.level)));
            self.at(start).merge(step);
        }
    }

    /// Start of the first step, length of a step, and the steps; None where
    /// there are none.
    pub fn finish(self) -> Option<(i64, i64, Vec<C>)> {
        if self.steps.is_empty() {
            return None;
        }
        let width = width(self.level);
        Some((self.first.saturating_mul(width), width, self.steps.into()))
    }

    /// The steps from `start` on, `len` of them and each `step` long; `step` is
    /// at least as long as ours, and ours are within.
    pub fn on_axis(mut self, start: i64, step: i64, len: usize) -> Vec<C> {
        while width(self.level) < step && !self.steps.is_empty() {
            self.coarsen();
        }
        let mut steps = Vec::new();
        steps.resize_with(len, C::default);
        let origin = start.div_euclid(step.max(1));
        for (place, from) in self.steps.iter().enumerate() {
            let place = usize::try_from(self.first + place as i64 - origin).unwrap_or(usize::MAX);
            if let Some(to) = steps.get_mut(place) {
                to.merge(from);
            }
        }
        steps
    }
}

/// Of a set of times, how they would be divided into at most `room` steps:
/// start of the first, length and number.
pub fn axis(first: i64, last: i64, room: usize) -> (i64, i64, usize) {
    let mut level = 0;
    loop {
        let (from, to) = (first.div_euclid(width(level)), last.div_euclid(width(level)));
        let len = to.saturating_sub(from).saturating_add(1);
        if len <= room.max(2) as i64 {
            return (from.saturating_mul(width(level)), width(level), len.max(1) as usize);
        }
        level += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq)]
    struct Count(u64);

    impl Cell for Count {
        fn merge(&mut self, other: &Self) {
            self.0 += other.0;
        }
    }

    fn of(times: &[i64]) -> Timeline<Count> {
        let mut timeline = Timeline::<Count>::new(10);
        times.iter().for_each(|at| timeline.at(Timestamp::from_nanos(*at)).0 += 1);
        timeline
    }

    #[test]
    fn steps_double_until_all_fit() {
        let second = 1_000_000_000;
        let (start, width, steps) = of(&[0, second, 9 * second, 9 * second]).finish().unwrap();
        assert_eq!((start, width), (0, 512 * FINEST));
        let counts: Vec<_> = steps.iter().map(|step| step.0).collect();
        assert_eq!(counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        let (_, width, steps) = of(&[0, 10 * second]).finish().unwrap();
        assert_eq!((width, steps.len()), (1024 * FINEST, 6));
    }

    #[test]
    fn all_times_there_are_fit() {
        let (_, _, steps) = of(&[i64::MIN, 0, i64::MAX]).finish().unwrap();
        assert_eq!(steps.iter().map(|step| step.0).sum::<u64>(), 3);
        assert!(steps.len() <= 10);
    }

    proptest! {
        /// The parts in any order come to what the whole does, which is what
        /// `axis` says.
        #[test]
        fn any_split_and_order_gives_the_same(
            times in prop::collection::vec((any::<i64>(), 0..63_u32), 1..60), parts in 1..5_usize,
        ) {
            let times: Vec<_> = times.iter().map(|(at, shift)| at >> shift).collect();
            let mut split: Vec<_> = (0..parts).map(|_| of(&[])).collect();
            for (index, at) in times.iter().enumerate().rev() {
                split[index * index % parts].at(Timestamp::from_nanos(*at)).0 += 1;
            }
            let merged = split.into_iter().rev().reduce(|mut a, b| { a.merge(b); a }).unwrap();
            let merged = merged.finish().unwrap();
            prop_assert_eq!(&merged, &of(&times).finish().unwrap());
            let at = |at: i64| Timestamp::from_nanos(at).nanos();
            let (first, last) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
            let (start, width, len) = axis(at(first), at(last), 10);
            prop_assert_eq!((start, width, len), (merged.0, merged.1, merged.2.len()));
            let on_axis = of(&times).on_axis(start, width, len);
            prop_assert_eq!(on_axis, merged.2);
        }
    }
}
