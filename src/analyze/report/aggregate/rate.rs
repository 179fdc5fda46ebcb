//! How many transactions began when, for the lines of text that show it.
//!
//! A transaction costs a comparison and a sum here: what begins in the same step
//! as the one before is added beside the timeline, and put into it once another
//! step comes.

use super::timeline::{Cell, Timeline, axis};
use crate::analyze::report::model::{Over, Time};
use crate::time::Timestamp;

/// Steps kept: as many as the widest terminal has columns. Each takes 16 bytes.
pub const STEPS: usize = 256;

/// What began in a step.
#[derive(Default)]
struct Tick {
    count: u64,
    errors: u64,
}

impl Cell for Tick {
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
    }
}

/// Transactions and failed ones over time.
pub struct Rate {
    timeline: Timeline<Tick>,
    /// The first and the last start in the timeline, to the step.
    ends: Option<(i64, i64)>,
    /// The step at hand: from here on …
    from: i64,
    /// … and before this; the same where there is none.
    until: i64,
    tick: Tick,
    /// Transactions whose start is not known.
    untimed: u64,
}

impl Rate {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            timeline: Timeline::new(STEPS),
            ends: None,
            from: 0,
            until: 0,
            tick: Tick::default(),
            untimed: 0,
        }
    }

    /// Adds a transaction.
    #[inline]
    pub fn add(&mut self, start: Option<Timestamp>, is_error: bool) {
        let Some(start) = start else {
            self.untimed += 1;
            return;
        };
        let nanos = start.nanos();
        if nanos < self.from || nanos >= self.until {
            self.turn(nanos);
        }
        self.tick.count += 1;
        self.tick.errors += u64::from(is_error);
    }

    /// Puts the step at hand into the timeline and begins the one of this time.
    #[inline(never)]
    fn turn(&mut self, nanos: i64) {
        self.flush();
        let (first, last) = self.ends.unwrap_or((nanos, nanos));
        let (first, last) = (first.min(nanos), last.max(nanos));
        self.ends = Some((first, last));
        let (_, step, _) = axis(first, last, STEPS);
        self.from = nanos.div_euclid(step).saturating_mul(step);
        self.until = self.from.saturating_add(step);
    }

    fn flush(&mut self) {
        let tick = std::mem::take(&mut self.tick);
        if tick.count > 0 {
            self.timeline.at(Timestamp::from_nanos(self.from)).merge(&tick);
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, mut other: Self) {
        self.flush();
        other.flush();
        self.timeline.merge(other.timeline);
        self.untimed += other.untimed;
        self.ends = match (self.ends, other.ends) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (ends, None) | (None, ends) => ends,
        };
        // The steps have become longer than the one at hand, perhaps.
        (self.from, self.until) = (0, 0);
    }

    /// The steps from the first start to the last; None where no start is known.
    pub fn finish(mut self) -> Option<Over> {
        self.flush();
        let (first, last) = self.ends?;
        let (start, step, len) = axis(first, last, STEPS);
        let ticks = self.timeline.on_axis(start, step, len);
        Some(Over {
            start: Time(Timestamp::from_nanos(start)),
            step_ns: step.unsigned_abs(),
            counts: ticks.iter().map(|tick| tick.count).collect(),
            errors: ticks.iter().map(|tick| tick.errors).collect(),
            untimed: self.untimed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the order and the parts, each start is counted in its step.
        #[test]
        fn each_start_is_counted_in_its_step(
            times in prop::collection::vec((any::<i64>(), 0..63_u32, any::<bool>()), 1..80),
            parts in 1..4_usize,
        ) {
            let times: Vec<_> = times.iter().map(|(at, shift, error)| {
                (Timestamp::from_nanos(at >> shift), *error)
            }).collect();
            let mut split: Vec<_> = (0..parts).map(|_| Rate::new()).collect();
            for (index, (at, error)) in times.iter().enumerate() {
                split[index % parts].add(Some(*at), *error);
            }
            split[0].add(None, true);
            let merged = split.into_iter().reduce(|mut a, b| { a.merge(b); a }).unwrap();
            let over = merged.finish().unwrap();
            let nanos = |(at, _): &(Timestamp, bool)| at.nanos();
            let (first, last) = (times.iter().map(nanos).min(), times.iter().map(nanos).max());
            let (start, step, len) = axis(first.unwrap(), last.unwrap(), STEPS);
            let mut counts = vec![[0_u64; 2]; len];
            for (at, error) in &times {
                let place = at.nanos().div_euclid(step) - start.div_euclid(step);
                counts[place as usize][0] += 1;
                counts[place as usize][1] += u64::from(*error);
            }
            let found = over.counts.iter().zip(&over.errors).map(|(a, b)| [*a, *b]);
            prop_assert_eq!(found.collect::<Vec<_>>(), counts);
            prop_assert_eq!((over.untimed, over.step_ns), (1, step.unsigned_abs()));
        }
    }
}
