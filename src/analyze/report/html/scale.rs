//! From values to places in a chart, and the values that an axis names.

use crate::time::Timestamp;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Distances between times that an axis names.
const TIME_STEPS: [i64; 34] = [
    MS / 2,
    MS,
    2 * MS,
    5 * MS,
    10 * MS,
    20 * MS,
    50 * MS,
    100 * MS,
    200 * MS,
    500 * MS,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    30 * DAY,
    365 * DAY,
    3650 * DAY,
    36_500 * DAY,
];

/// Times from `start` on that an axis names, at most `most`, and what it
/// writes there.
pub fn time_ticks(start: i64, span: i64, most: i64) -> Vec<(i64, String)> {
    let fits = |step: &&i64| span / **step < most;
    let step = TIME_STEPS.iter().find(fits).copied().unwrap_or(i64::MAX);
    // Hours alone do not tell days apart.
    let text = |at: i64| match clock(at, step) {
        hours if span > DAY && step < DAY => {
            clock(at, i64::MAX).get(5..).unwrap_or_default().to_owned() + " " + &hours
        }
        text => text,
    };
    let mut ticks = Vec::new();
    let mut at = start.div_euclid(step).saturating_mul(step);
    if at < start {
        at = at.saturating_add(step);
    }
    while at <= start.saturating_add(span) && (ticks.len() as i64) < most + 1 {
        ticks.push((at, text(at)));
        match at.checked_add(step) {
            Some(next) => at = next,
            None => break,
        }
    }
    ticks
}

/// A time as far as it differs between steps of that length.
pub fn clock(nanos: i64, step: i64) -> String {
    let text = Timestamp::from_nanos(nanos).to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
    match step {
        ..MS => part(11, 26),
        MS..SECOND => part(11, 23),
        SECOND..MINUTE => part(11, 19),
        MINUTE..DAY => part(11, 16),
        _ => part(0, 10),
    }
}

/// Values up to `max` that an axis from 0 on names, the last one not below it.
pub fn value_ticks(max: f64) -> Vec<f64> {
    if !(max > 0.0 && max.is_finite()) {
        return vec![0.0, 1.0];
    }
    let magnitude = 10_f64.powf((max / 4.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * magnitude);
    let step = steps.into_iter().find(|step| max / step <= 4.0).unwrap_or(magnitude * 10.0);
    (0..=(max / step).ceil() as u32).map(|index| f64::from(index) * step).collect()
}

/// Latencies as places: equal factors are equal distances.
#[derive(Clone, Copy)]
pub struct LogScale {
    low: f64,
    high: f64,
}

impl LogScale {
    /// From the round value below the least to the one above the greatest.
    pub fn new(least: u64, greatest: u64) -> Self {
        let (mut low, mut high) = (1, u64::MAX);
        for value in round_values() {
            if value <= least.max(1) {
                low = value;
            }
            if value >= greatest && high == u64::MAX {
                high = value;
            }
        }
        if high <= low {
            high = low.saturating_mul(2);
        }
        Self { low: (low as f64).log10(), high: (high as f64).log10() }
    }

    /// Between 0 (least) and 1.
    pub fn place(self, value: u64) -> f64 {
        (((value.max(1) as f64).log10() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Round values that it spans: powers of ten, and those between where
    /// there is room for them.
    pub fn ticks(self) -> Vec<u64> {
        let within = |value: &u64| {
            let place = (*value as f64).log10();
            place > self.low - 1e-9 && place < self.high + 1e-9
        };
        let close = self.high - self.low < CLOSE;
        let round = round_values().filter(within);
        round.filter(|value| close || value.to_string().starts_with('1')).collect()
    }
}

/// Decades below which an axis names 2 and 5 too.
const CLOSE: f64 = 2.4;

/// 1, 2, 5, 10, …
fn round_values() -> impl Iterator<Item = u64> {
    let decades = (0..20).filter_map(|power| 10_u64.checked_pow(power));
    decades.flat_map(|decade| [1, 2, 5].map(|factor| decade.saturating_mul(factor)))
}

/// A length in a drawing, with a tenth of a pixel.
pub fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_name_round_values() {
        assert_eq!(value_ticks(7.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(value_ticks(1.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(value_ticks(0.0), [0.0, 1.0]);
        let start = 1_700_000_000 * SECOND;
        let texts =
            |span| time_ticks(start, span, 8).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(9 * SECOND).first().unwrap(), "22:13:20");
        assert_eq!(texts(9 * SECOND).len(), 5);
        assert_eq!(texts(50 * MS).get(1).unwrap(), "22:13:20.010");
        assert_eq!(texts(3 * DAY).first().unwrap(), "11-15 00:00");
        assert_eq!(texts(9 * DAY).first().unwrap(), "2023-11-15");
        assert!(!time_ticks(i64::MIN, i64::MAX, 8).is_empty());
    }

    #[test]
    fn latencies_are_on_a_log_scale() {
        let scale = LogScale::new(150_000, 90_000_000);
        assert_eq!(scale.ticks(), [100_000, 1_000_000, 10_000_000, 100_000_000]);
        assert_eq!(scale.place(100_000), 0.0);
        assert_eq!(scale.place(100_000_000), 1.0);
        assert_eq!(LogScale::new(900, 1100).ticks(), [500, 1000, 2000]);
        assert_eq!(LogScale::new(1000, 1000).ticks(), [1000, 2000]);
        assert!(!LogScale::new(0, u64::MAX).ticks().is_empty());
    }
}
