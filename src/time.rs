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

    /// From RFC 3339 (section 5.6): `2026-11-22T15:17:26.5+01:00`. As people
    /// write it, a blank may stand for the `T`, and the seconds and the offset
    /// may be missing: it is UTC then. None for anything else, leap seconds
    /// (which captures cannot hold), and times that cannot be held.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_at_checked("2026-11-22".len())?;
        let time = time.strip_prefix(['T', 't', ' '])?;
        let (time, offset) = split_offset(time)?;
        let seconds = i128::from(day_of(date)?) * 86_400 - i128::from(offset);
        let nanos = seconds * 1_000_000_000 + i128::from(time_of_day(time)?);
        i64::try_from(nanos).ok().map(Self::from_nanos)
    }

    /// Midnight (UTC) of the day that this is in; the earliest time that can be
    /// held in the first day, whose midnight cannot.
    pub fn midnight(self) -> Self {
        Self::from_nanos(self.nanos().saturating_sub(self.nanos().rem_euclid(DAY_NANOS)))
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

/// Nanoseconds of a day.
const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

/// Nanoseconds since midnight of `15:17`, `15:17:26` or `15:17:26.123456789`;
/// digits past the ninth are not counted.
pub fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hours = digits(parts.next()?, 2).filter(|hours| *hours < 24)?;
    let minutes = digits(parts.next()?, 2).filter(|minutes| *minutes < 60)?;
    let (seconds, fraction) = match parts.next() {
        None => (0, 0),
        Some(text) => {
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let kept = fraction.get(..9).unwrap_or(fraction);
            let digits_only = !kept.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
            let nanos = digits_only.then(|| format!("{kept:0<9}").parse::<i64>().ok())??;
            (digits(seconds, 2).filter(|seconds| *seconds < 60)?, nanos)
        }
    };
    let whole = parts.next().is_none();
    whole.then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction)
}

/// A number of exactly so many digits.
fn digits(text: &str, len: usize) -> Option<i64> {
    let digits = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// A time of day and its offset from UTC in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (time, offset) = text.split_at_checked(at)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let seconds = time_of_day(offset).filter(|_| offset.len() == "01:00".len())? / 1_000_000_000;
    Some((time, if sign == "-" { -seconds } else { seconds }))
}

/// Days since 1970-01-01 of `2026-11-22`.
fn day_of(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    // The era arithmetic of civil_from_days, the other way.
    let shifted_year = year - i64::from(month <= 2);
    let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    // What is no day, such as 30 February, comes back as another one.
    (civil_from_days(days) == (year, month as u32, day as u32)).then_some(days)
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
    fn reads_rfc3339() {
        let nanos = |text| Timestamp::parse(text).map(Timestamp::nanos);
        let at = 1_700_000_000_000_000_000;
        for (text, expected) in [
            ("2023-11-14T22:13:20Z", at),
            ("2023-11-14 22:13:20", at),
            ("2023-11-14T22:13", at - 20_000_000_000),
            ("2023-11-14T23:13:20.123456789+01:00", at + 123_456_789),
            ("2023-11-14T16:43:20.5-05:30", at + 500_000_000),
            ("2023-11-14t22:13:20.1234567899z", at + 123_456_789),
            ("1969-12-31T23:59:59.999999999Z", -1),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000_000),
        ] {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "2023-11-14",
            "2023-02-30T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-10T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:60:00Z",
            "2023-11-14T22:13:60Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20.xZ",
            "2023-11-14T22:13:20+1:00",
            "2023-11-14T22:13:20+01:00:00",
            "9999-11-14T22:13:20Z",
            "2023-11-14T22:13:20Zü",
            "2023-11-1üT22:13:20Z",
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
        let noon = Timestamp::from_nanos(at);
        assert_eq!(noon.midnight().to_string(), "2023-11-14T00:00:00.000000000Z");
        let earliest = Timestamp::from_nanos(i64::MIN);
        assert_eq!(earliest.midnight(), earliest);
        assert_eq!(Timestamp::parse(&noon.to_string()), Some(noon));
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
