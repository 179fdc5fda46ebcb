//! The clock of a replay: capture time times a speed, that can be stopped.

use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long a replay sleeps at a time, so that quitting and pausing are at once.
const NAP: Duration = Duration::from_millis(20);

/// How fast a file is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// Capture seconds in a second.
    Times(f64),
    /// As fast as it is read.
    Max,
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Self::Max);
        }
        let number = text.trim_start_matches('×').trim_end_matches(['x', '×']);
        match number.parse() {
            Ok(speed) if speed > 0.0 && f64::is_finite(speed) => Ok(Self::Times(speed)),
            _ => Err("a number greater than 0, or max".to_owned()),
        }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Times(times) => write!(f, "×{times}"),
            Self::Max => f.write_str("as fast as it is read"),
        }
    }
}

/// A clock that runs with capture time.
#[derive(Debug)]
pub struct Pace {
    speed: Speed,
    /// Where it stands, in capture time, and when it was looked at; None before
    /// the first packet that has a time.
    at: Option<(i64, Instant)>,
}

/// What a look at the clock may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It has come this far, and is to be looked at again after a while.
    Wait(i64, Duration),
    /// The time has come.
    Due,
}

impl Pace {
    /// It begins with the first time that it is asked for.
    pub fn new(speed: Speed) -> Self {
        Self { speed, at: None }
    }

    /// Whether there is anything to wait for but pauses.
    pub fn is_timed(&self) -> bool {
        self.speed != Speed::Max
    }

    /// Whether the time `due`, in nanoseconds, has come.
    pub fn step(&mut self, due: i64, paused: bool, now: Instant) -> Step {
        let (so_far, looked) = *self.at.get_or_insert((due, now));
        if paused {
            self.at = Some((so_far, now));
            return Step::Wait(so_far, NAP);
        }
        let Speed::Times(times) = self.speed else {
            self.at = Some((so_far.max(due), now));
            return Step::Due;
        };
        let passed = now.saturating_duration_since(looked).as_nanos() as f64 * times;
        // A fraction of a nanosecond is lost with each look, no more.
        let so_far = so_far.saturating_add(passed as i64);
        self.at = Some((so_far, now));
        let rest = due.saturating_sub(so_far);
        match rest <= 0 {
            true => Step::Due,
            false => {
                let nap = Duration::try_from_secs_f64(rest as f64 / times / 1e9).unwrap_or(NAP);
                Step::Wait(so_far, nap.min(NAP))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn speeds() {
        assert_eq!("10".parse(), Ok(Speed::Times(10.0)));
        assert_eq!("0.5x".parse(), Ok(Speed::Times(0.5)));
        assert_eq!("MAX".parse(), Ok(Speed::Max));
        for wrong in ["0", "-1", "nan", "inf", "", "fast"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn time_passes_as_fast_as_told_and_not_while_paused() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut pace = Pace::new(Speed::Times(10.0));
        assert_eq!(pace.step(100 * SECOND, false, begun), Step::Due);
        assert_eq!(pace.step(130 * SECOND, false, after(1)), Step::Wait(110 * SECOND, NAP));
        assert_eq!(pace.step(130 * SECOND, true, after(60)), Step::Wait(110 * SECOND, NAP));
        assert_eq!(pace.step(130 * SECOND, false, after(61)), Step::Wait(120 * SECOND, NAP));
        assert_eq!(pace.step(130 * SECOND, false, after(62)), Step::Due);
        // What lies before is due, and the last bit is not slept past.
        assert_eq!(pace.step(0, false, after(62)), Step::Due);
        let soon = Step::Wait(130 * SECOND, Duration::from_millis(1));
        assert_eq!(pace.step(130 * SECOND + 10_000_000, false, after(62)), soon);
        assert_eq!(pace.step(i64::MAX, false, after(62)), Step::Wait(130 * SECOND, NAP));
    }

    #[test]
    fn without_a_speed_only_a_pause_holds_up() {
        let now = Instant::now();
        let mut pace = Pace::new(Speed::Max);
        assert_eq!(pace.step(SECOND, false, now), Step::Due);
        assert_eq!(pace.step(i64::MAX, true, now), Step::Wait(SECOND, NAP));
        assert_eq!(pace.step(i64::MAX, false, now), Step::Due);
    }
}
