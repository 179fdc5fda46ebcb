//! Timestamps of pcapng interfaces: `if_tsresol` and `if_tsoffset`.

use crate::time::Timestamp;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Turns the ticks of an interface into points in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// Nanoseconds per tick, where it is a whole number.
    factor: u64,
    /// Ticks below this are converted by multiplication; 0 where never.
    quick_below: u64,
    /// Added to a multiplied time, in nanoseconds.
    shift: i64,
    resolution: u8,
    offset_seconds: i64,
}

impl Clock {
    /// `if_tsresol` where the option is absent: microseconds.
    pub(super) const DEFAULT_RESOLUTION: u8 = 6;

    /// From the option values: `resolution` is the negative power of 10, or
    /// of 2 where its top bit is set; `offset_seconds` is added to all times.
    pub(super) fn new(resolution: u8, offset_seconds: i64) -> Self {
        let factor = match resolution {
            0..=9 => 10u64.pow(9 - u32::from(resolution)),
            0x80 => NANOS_PER_SECOND,
            _ => 0,
        };
        let shift = offset_seconds.checked_mul(NANOS_PER_SECOND as i64);
        // Half of the range for the ticks, half for the shift: no overflow.
        let half = i64::MAX / 2;
        let quick_below = match shift {
            Some(shift) if factor > 0 && shift.abs() < half => half as u64 / factor,
            _ => 0,
        };
        Self { factor, quick_below, shift: shift.unwrap_or(0), resolution, offset_seconds }
    }

    /// The point in time of `ticks`, rounded down to nanoseconds; None where
    /// it lies outside the years 1677 to 2262, which no capture was made in.
    #[inline(always)]
    pub(super) fn at(&self, ticks: u64) -> Option<Timestamp> {
        if ticks < self.quick_below {
            return Some(Timestamp::from_nanos((ticks * self.factor) as i64 + self.shift));
        }
        self.at_slowly(ticks)
    }

    #[cold]
    fn at_slowly(&self, ticks: u64) -> Option<Timestamp> {
        let exponent = u32::from(self.resolution & 0x7f);
        // 64 bits of ticks and 30 of the factor: no overflow in 128.
        let scaled = u128::from(ticks) * u128::from(NANOS_PER_SECOND);
        let nanos = if self.resolution & 0x80 != 0 {
            scaled >> exponent
        } else {
            // A power of ten beyond 128 bits leaves nothing of 94 bits.
            10u128.checked_pow(exponent).map_or(0, |power| scaled / power)
        };
        let shift = i128::from(self.offset_seconds) * i128::from(NANOS_PER_SECOND);
        let nanos = i128::try_from(nanos).ok()?.checked_add(shift)?;
        i64::try_from(nanos).ok().map(Timestamp::from_nanos)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(Self::DEFAULT_RESOLUTION, 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(resolution: u8, offset: i64, ticks: u64) -> Option<i64> {
        Clock::new(resolution, offset).at(ticks).map(Timestamp::nanos)
    }

    #[test]
    fn known_values() {
        let second = 1_700_000_000i64;
        assert_eq!(nanos(6, 0, 1_700_000_000_123_456), Some(second * 1_000_000_000 + 123_456_000));
        assert_eq!(nanos(9, 0, 1_700_000_000_123_456_789), Some(1_700_000_000_123_456_789));
        assert_eq!(nanos(0, 0, 1_700_000_000), Some(second * 1_000_000_000));
        assert_eq!(nanos(0x80, 0, 1_700_000_000), Some(second * 1_000_000_000));
        assert_eq!(nanos(6, 1000, 5), Some(1_000_000_005_000));
        assert_eq!(nanos(6, -1, 5), Some(-999_995_000));
        // 2^-20: half a second is 2^19 ticks.
        assert_eq!(nanos(0x94, 0, (7 << 20) + (1 << 19)), Some(7_500_000_000));
        // Picoseconds lose what is below a nanosecond.
        assert_eq!(nanos(12, 0, 1_999), Some(1));
        assert_eq!(nanos(127, 0, u64::MAX), Some(0));
        assert_eq!(nanos(0xff, 0, u64::MAX), Some(0));
    }

    #[test]
    fn times_outside_the_range_are_unknown() {
        assert_eq!(nanos(0, 0, u64::MAX), None);
        assert_eq!(nanos(6, 0, u64::MAX), None);
        assert_eq!(nanos(6, i64::MAX, 0), None);
        assert_eq!(nanos(6, i64::MIN, 0), None);
    }

    proptest! {
        #[test]
        fn quick_and_slow_agree(
            resolution in 0u8..=9,
            offset in -10_000_000_000i64..10_000_000_000,
            ticks: u64,
        ) {
            let clock = Clock::new(resolution, offset);
            for ticks in [ticks, ticks >> 8, ticks >> 20, ticks >> 40] {
                prop_assert_eq!(clock.at(ticks), clock.at_slowly(ticks));
            }
        }
    }
}
