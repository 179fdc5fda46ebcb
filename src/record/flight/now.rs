//! The two clocks of a moment: one that is never set, and the one on the wall.

use rustix::time::{ClockId, clock_gettime};

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds of CLOCK_BOOTTIME: goes on while the machine sleeps and does not jump.
    pub boot: i64,
    /// Nanoseconds since 1970 of the wall clock.
    pub wall: i64,
}

impl Now {
    /// This one.
    pub fn read() -> Self {
        let nanos = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec * 1_000_000_000 + time.tv_nsec
        };
        Self { boot: nanos(ClockId::Boottime), wall: nanos(ClockId::Realtime) }
    }

    /// The wall clock's distance from CLOCK_BOOTTIME, nanoseconds.
    pub fn offset(self) -> i64 {
        self.wall.saturating_sub(self.boot)
    }
}

/// The id of this start of the machine, from `/proc`; empty where it is not known.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
