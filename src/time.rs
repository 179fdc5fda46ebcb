//! Points in time as captures hold them.
//!
//! A capture's clock is the machine's wall clock in nanoseconds. Packets may
//! lack a time (pcapng simple packet blocks), so everything above carries
//! `Option<Timestamp>`, which is no larger than a `Timestamp`.

use std::fmt;
use std::num::NonZeroI64;

/// Nanoseconds since 1970-01-01T00:00:00Z, from 1677 to 2262.
///
/// Stored with the sign bit flipped, so that the one value that cannot be
/// held is `i64::MIN` and `Option<Timestamp>` needs no extra space.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp(NonZeroI64);

/// What `i64::MIN + 1` is stored as.
const EARLIEST: NonZeroI64 = NonZeroI64::new(1).unwrap();

impl Timestamp {
    /// From nanoseconds since the epoch; `i64::MIN` saturates to the next value.
    pub const fn from_nanos(nanos: i64) -> Self {
        match NonZeroI64::new(nanos ^ i64::MIN) {
            Some(value) => Self(value),
            None => Self(EARLIEST),
        }
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> i64 {
        self.0.get() ^ i64::MIN
    }

    /// Nanoseconds from `earlier` to `self`; negative where the clock went back.
    pub const fn since(self, earlier: Self) -> i64 {
        self.nanos().saturating_sub(earlier.nanos())
    }

    /// This point moved by `nanos`.
    pub const fn plus(self, nanos: i64) -> Self {
        Self::from_nanos(self.nanos().saturating_add(nanos))
    }

    /// Appends RFC 3339 in UTC with nine fractional digits,
    /// `2026-11-22T15:17:26.000000001Z` (RFC 3339, section 5.6).
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let nanos = self.nanos();
        let seconds = nanos.div_euclid(1_000_000_000);
        let fraction = nanos.rem_euclid(1_000_000_000) as u32;
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let second = seconds.rem_euclid(86_400) as u32;
        push_digits(out, year as u32, 4);
        out.push(b'-');
        push_digits(out, month, 2);
        out.push(b'-');
        push_digits(out, day, 2);
        out.push(b'T');
        push_digits(out, second / 3600, 2);
        out.push(b':');
        push_digits(out, second / 60 % 60, 2);
        out.push(b':');
        push_digits(out, second % 60, 2);
        out.push(b'.');
        push_digits(out, fraction, 9);
        out.push(b'Z');
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos().cmp(&other.nanos())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(30);
        self.write_rfc3339(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

fn push_digits(out: &mut Vec<u8>, value: u32, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value;
    for digit in out.iter_mut().skip(start).rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Days since 1970-01-01 to year, month, day in the proleptic Gregorian
/// calendar (the era arithmetic counts 400-year cycles from 0000-03-01).
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The earlier of two times, where unknown is later than all.
pub fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The later of two times, where unknown is earlier than all.
pub fn latest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.max(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_costs_nothing() {
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
    }

    #[test]
    fn prints_rfc3339() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(Timestamp::from_nanos(nanos).to_string(), text);
        }
    }

    #[test]
    fn orders_and_saturates() {
        let early = Timestamp::from_nanos(-5);
        let late = Timestamp::from_nanos(7);
        assert!(early < late && Timestamp::from_nanos(0) > early);
        assert_eq!(late.since(early), 12);
        assert!(Timestamp::from_nanos(i64::MIN) < early);
        assert_eq!(earliest(None, Some(late)), Some(late));
        assert_eq!(latest(Some(early), Some(late)), Some(late));
    }
}
