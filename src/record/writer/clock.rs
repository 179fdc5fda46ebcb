//! The kernel's clock of events → wall-clock time.
//!
//! Events have CLOCK_BOOTTIME, which goes on while the machine sleeps and does
//! not jump. Its distance from the wall clock is taken once for each file, so
//! that times within a file are steady when the wall clock is set.

use rustix::time::{ClockId, clock_gettime};

/// Distance of two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Wall clock minus CLOCK_BOOTTIME, nanoseconds.
    offset: i64,
    /// CLOCK_BOOTTIME when it was taken, nanoseconds.
    start: u64,
    /// For tests: never taken again.
    fixed: bool,
}

impl Clock {
    /// The distance now.
    pub fn now() -> Self {
        // The middle of two readings: between them the process may have slept.
        let before = nanos(ClockId::Boottime);
        let wall = nanos(ClockId::Realtime);
        let after = nanos(ClockId::Boottime);
        let middle = before + (after - before) / 2;
        Self { offset: wall - middle, start: after.unsigned_abs(), fixed: false }
    }

    /// A given distance, that stays; `start` is the time of CLOCK_BOOTTIME.
    pub fn fixed(offset: i64, start: u64) -> Self {
        Self { offset, start, fixed: true }
    }

    /// CLOCK_BOOTTIME now, in nanoseconds.
    pub fn boottime() -> u64 {
        nanos(ClockId::Boottime).unsigned_abs()
    }

    /// When it was taken: nanoseconds of CLOCK_BOOTTIME.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Nanoseconds since 1970 of a time of CLOCK_BOOTTIME.
    pub fn wall(&self, at: u64) -> u64 {
        at.saturating_add_signed(self.offset)
    }

    /// The wall clock's distance from CLOCK_BOOTTIME, nanoseconds.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// For the next file: the distance as it is by now.
    pub fn take_again(&mut self) {
        if !self.fixed {
            *self = Self::now();
        }
    }
}

fn nanos(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
