//! How far apart the clocks of two nodes are, by what cannot be otherwise.
//!
//! A request is not read before it is written, nor is a response. Of a transaction that
//! was seen at both ends, with the client's write at `t1` and read at `t4` by its clock and
//! the server's read at `t2` and write at `t3` by its own, the server's clock is at least
//! `t3 - t4` and at most `t2 - t1` ahead. All transactions of a window of time together
//! leave less than each of them, and so do neighbouring windows, as far as clocks drift.
//! The estimate is the middle of what is left, the error half its width.

use std::collections::{BTreeMap, VecDeque};

use crate::time::Timestamp;

/// Length of a window, in nanoseconds: so short that clocks drift by less within it
/// ([`DRIFT_PPM`]) than a packet travels on most networks.
pub const WINDOW_NANOS: i64 = 100_000_000;

/// How much faster one clock may go than another, in millionths: quartz clocks that NTP
/// steers are below 50 (RFC 5905 section 11.3 slews by 500 at most, after a jump).
pub const DRIFT_PPM: i64 = 100;

/// A window is over when so much more time has gone by, in nanoseconds: transactions
/// that last longer take what it came to and add nothing to it, so that it does not
/// depend on when they ended.
pub const GRACE_NANOS: i64 = 1_000_000_000;

/// Windows before a window that count for it.
const LOOK: usize = 64;

/// How far back they may lie, in windows: a minute, in which clocks may drift by 6 ms.
const LOOK_WINDOWS: i64 = 600;

/// Windows of which is remembered what they came to, for transactions that last long.
const REMEMBERED: usize = 6_000;

/// What an offset may be, in nanoseconds; unbounded where nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At least.
    pub low: i64,
    /// At most.
    pub high: i64,
}

impl Bounds {
    /// Anything.
    pub const ANY: Self = Self { low: i64::MIN, high: i64::MAX };

    /// What both allow; None where that is nothing.
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }

    /// The same of clocks that may have drifted by so much since.
    fn widened(self, nanos: i64) -> Self {
        let low = if self.low == i64::MIN { self.low } else { self.low.saturating_sub(nanos) };
        Self { low, high: self.high.saturating_add(nanos) }
    }

    /// The same seen from the other clock.
    pub fn turned(self) -> Self {
        let turn = |nanos: i64| match nanos {
            i64::MIN => i64::MAX,
            i64::MAX => i64::MIN,
            nanos => -nanos,
        };
        Self { low: turn(self.high), high: turn(self.low) }
    }

    /// The middle, and half the width; None where an end is not known.
    pub fn estimate(self) -> Option<(i64, u64)> {
        if self.low == i64::MIN || self.high == i64::MAX {
            return None;
        }
        let width = self.high.checked_sub(self.low)?;
        // Rounded so that both ends are within the error.
        let middle = self.low + width / 2;
        u64::try_from(width - width / 2).ok().map(|error| (middle, error))
    }
}

/// The window that a time of the lower point's clock is in.
pub fn window_of(at: Timestamp) -> i64 {
    at.nanos().div_euclid(WINDOW_NANOS)
}

/// The clocks of two points: bounds are of the higher point's minus the lower point's.
#[derive(Debug, Default)]
pub struct Clocks {
    /// What the transactions of a window leave; None where they contradict each other.
    open: BTreeMap<i64, Option<Bounds>>,
    /// What windows that are over leave by themselves, the last at the end.
    last: VecDeque<(i64, Bounds)>,
    /// What they came to with those before them, likewise; None where a clock was set.
    over: VecDeque<(i64, Option<Bounds>)>,
    /// The narrowest of these.
    pub best: Option<(i64, Bounds)>,
    /// Transactions that counted.
    pub samples: u64,
    /// Windows with transactions that contradict each other or the windows before: a clock
    /// was set, or drifts by more than [`DRIFT_PPM`].
    pub steps: u64,
}

impl Clocks {
    /// Counts a transaction in, while its window is not over; or opens the window for one
    /// that does not count.
    pub fn add(&mut self, window: i64, bounds: Option<Bounds>) {
        if self.is_over(window) {
            return;
        }
        let all = self.open.entry(window).or_insert(Some(Bounds::ANY));
        if let Some(bounds) = bounds {
            self.samples += 1;
            *all = all.and_then(|all| all.and(bounds));
        }
    }

    /// The first window that is not over.
    pub fn first_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    /// When a window is over, by either clock: some time after both have left it.
    pub fn over_at(&self, window: i64) -> i64 {
        let known = self.open.get(&window).copied().flatten();
        let ahead = known.map_or(0, |bounds| if bounds.high == i64::MAX { 0 } else { bounds.high });
        let end = window.saturating_add(1).saturating_mul(WINDOW_NANOS);
        end.saturating_add(ahead.max(0)).saturating_add(GRACE_NANOS)
    }

    /// Ends the first window that is not over.
    pub fn end_first(&mut self) {
        let Some((window, raw)) = self.open.pop_first() else { return };
        let came_to = raw.map(|raw| self.with_earlier(window, raw));
        if came_to.is_none_or(|(_, contradicts)| contradicts) {
            self.steps += 1;
            self.last.clear();
        }
        if let Some(raw) = raw {
            self.last.push_back((window, raw));
            if self.last.len() > LOOK {
                self.last.pop_front();
            }
        }
        let bounds = came_to.map(|(bounds, _)| bounds);
        self.over.push_back((window, bounds));
        if self.over.len() > REMEMBERED {
            self.over.pop_front();
        }
        let error = |bounds: Bounds| bounds.estimate().map(|(_, error)| error);
        let best = self.best.and_then(|(_, bounds)| error(bounds));
        if let Some(bounds) = bounds
            && error(bounds).is_some_and(|error| best.is_none_or(|best| error < best))
        {
            self.best = Some((window, bounds));
        }
    }

    /// What a window came to together with those before it, and whether they contradict it.
    fn with_earlier(&self, window: i64, raw: Bounds) -> (Bounds, bool) {
        let drift = |windows: i64| windows * (WINDOW_NANOS / 1_000_000 * DRIFT_PPM);
        let own = raw.widened(drift(1));
        let mut all = own;
        for (earlier, bounds) in self.last.iter().rev() {
            let distance = window - earlier;
            if distance > LOOK_WINDOWS {
                break;
            }
            match all.and(bounds.widened(drift(distance + 1))) {
                Some(both) => all = both,
                None => return (own, true),
            }
        }
        (all, false)
    }

    /// What a window that is over came to.
    pub fn of(&self, window: i64) -> Option<Bounds> {
        let at = self.over.binary_search_by_key(&window, |(window, _)| *window).ok()?;
        self.over.get(at)?.1
    }

    /// Whether a window is over.
    pub fn is_over(&self, window: i64) -> bool {
        self.over.back().is_some_and(|(last, _)| window <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_holds_the_truth_while_clocks_drift() {
        // 80 ppm apart and 3 s ahead; a packet takes 200 µs or up to 1.2 ms.
        let truth = |at: i64| 3_000_000_000 + at / 1_000_000 * 80;
        let mut clocks = Clocks::default();
        for number in 0..10_000_i64 {
            let at = number * 3_000_000;
            let slow = |salt: i64| 200_000 + (number * 7_919 + salt) % 11 * 100_000;
            let offset = truth(at);
            let bounds = Bounds { low: offset - slow(3), high: offset + slow(5) };
            clocks.add(window_of(Timestamp::from_nanos(at)), Some(bounds));
        }
        while clocks.first_open().is_some() {
            clocks.end_first();
        }
        assert_eq!(clocks.steps, 0);
        for number in 0..10_000_i64 {
            let at = number * 3_000_000;
            let bounds = clocks.of(window_of(Timestamp::from_nanos(at))).unwrap();
            let (middle, error) = bounds.estimate().unwrap();
            assert!((middle - truth(at)).unsigned_abs() <= error, "at {at}: {bounds:?}");
            assert!(error <= 260_000, "{error}");
        }
        assert!(clocks.best.unwrap().1.estimate().unwrap().1 <= 215_000);
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_forgotten_soon() {
        let mut clocks = Clocks::default();
        for window in 0..20 {
            let offset = if window < 10 { 0 } else { -2_000_000_000 };
            clocks.add(window, Some(Bounds { low: offset - 100, high: offset + 100 }));
        }
        while clocks.first_open().is_some() {
            clocks.end_first();
        }
        assert_eq!(clocks.steps, 1);
        let middle = |window| clocks.of(window).unwrap().estimate().unwrap().0;
        assert_eq!([middle(9), middle(10), middle(19)], [0, -2_000_000_000, -2_000_000_000]);
        // Within a window nothing is left that could be true.
        let mut clocks = Clocks::default();
        clocks.add(3, Some(Bounds { low: 0, high: 10 }));
        clocks.add(3, Some(Bounds { low: 20, high: 30 }));
        clocks.end_first();
        assert_eq!((clocks.of(3), clocks.steps, clocks.is_over(3)), (None, 1, true));
    }

    #[test]
    fn bounds_without_an_end_are_no_estimate() {
        let half = Bounds { low: i64::MIN, high: 5 };
        assert_eq!(half.estimate(), None);
        assert_eq!(half.turned(), Bounds { low: -5, high: i64::MAX });
        assert_eq!(half.widened(7), Bounds { low: i64::MIN, high: 12 });
        assert_eq!(half.and(Bounds { low: 6, high: 9 }), None);
        let odd = Bounds { low: -1, high: 2 };
        assert_eq!(odd.estimate(), Some((0, 2)));
        assert_eq!(Bounds { low: i64::MIN + 1, high: i64::MAX - 1 }.estimate(), None);
    }
}
