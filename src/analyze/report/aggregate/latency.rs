//! Latencies of one endpoint or one pair of hosts: exact while few,
//! a histogram after.

use hdrhistogram::Histogram;

use crate::analyze::report::model::Percentiles;

/// Values kept exactly before they become a histogram. A histogram takes
/// some 8 KB, this 512 bytes, and most endpoints of a scan are seen once.
const FEW: usize = 64;
/// Resolution below which histograms do not tell values apart, in
/// nanoseconds. No answer on a network comes within a microsecond.
const RESOLUTION: u64 = 64;
/// Significant digits of a histogram: percentiles are at most 1 % off.
const DIGITS: u8 = 2;

/// A set of latencies in nanoseconds. Merging in any order gives the same.
#[derive(Debug, Default)]
pub struct Latency {
    few: Vec<u64>,
    many: Option<Box<Histogram<u32>>>,
    max: u64,
}

impl Latency {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, nanos: u64) {
        self.max = self.max.max(nanos);
        match &mut self.many {
            Some(many) => record(many, nanos),
            None if self.few.len() < FEW => self.few.push(nanos),
            None => {
                self.spill();
                self.add(nanos);
            }
        }
    }

    /// Turns the exact values into a histogram.
    #[cold]
    fn spill(&mut self) {
        let low = RESOLUTION;
        // The bounds are constants that it accepts; without a histogram
        // values would stay exact, and correct.
        let Ok(mut many) = Histogram::new_with_bounds(low, low * 2, DIGITS) else { return };
        many.auto(true);
        for nanos in std::mem::take(&mut self.few) {
            record(&mut many, nanos);
        }
        self.many = Some(Box::new(many));
    }

    /// Adds all values of another set.
    pub fn merge(&mut self, other: &Self) {
        self.max = self.max.max(other.max);
        if let Some(theirs) = &other.many {
            if self.many.is_none() {
                self.spill();
            }
            match &mut self.many {
                // Both grow as needed, so nothing can be out of range.
                Some(many) => many.add(&**theirs).unwrap_or_default(),
                None => self.many = Some(theirs.clone()),
            }
        }
        for nanos in &other.few {
            self.add(*nanos);
        }
    }

    /// Percentiles by nearest rank; None where there is no value.
    pub fn percentiles(&mut self) -> Option<Percentiles> {
        self.few.sort_unstable();
        let count = self.many.as_ref().map_or(self.few.len() as u64, |many| many.len());
        if count == 0 {
            return None;
        }
        let at = |percent: u64| match &self.many {
            Some(many) => many.value_at_quantile(percent as f64 / 100.0).min(self.max),
            None => {
                let rank = (count * percent).div_ceil(100).max(1) - 1;
                self.few.get(rank as usize).copied().unwrap_or(self.max)
            }
        };
        let (p50, p90, p99) = (at(50), at(90), at(99));
        Some(Percentiles { count, p50_ns: p50, p90_ns: p90, p99_ns: p99, max_ns: self.max })
    }
}

#[inline]
fn record(histogram: &mut Histogram<u32>, nanos: u64) {
    // It resizes itself; a value that it would not take is counted at its top.
    if histogram.record(nanos).is_err() {
        histogram.saturating_record(nanos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_are_exact() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentiles(), None);
        for nanos in [30, 10, 20] {
            latency.add(nanos);
        }
        let p = latency.percentiles().unwrap();
        assert_eq!((p.count, p.p50_ns, p.p90_ns, p.max_ns), (3, 20, 30, 30));
    }

    #[test]
    fn huge_values_are_counted() {
        let mut latency = Latency::default();
        for _ in 0..100 {
            latency.add(u64::MAX);
        }
        let p = latency.percentiles().unwrap();
        assert_eq!((p.count, p.max_ns), (100, u64::MAX));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_within_a_percent(
            values in prop::collection::vec(64..10_000_000_000_u64, 1..400), parts in 1..5_usize,
        ) {
            let mut whole = Latency::default();
            let mut split: Vec<_> = (0..parts).map(|_| Latency::default()).collect();
            for (index, value) in values.iter().enumerate() {
                whole.add(*value);
                split[index * index % parts].add(*value);
            }
            let merged = split.into_iter().reduce(|mut a, b| { a.merge(&b); a });
            let result = whole.percentiles().unwrap();
            prop_assert_eq!(merged.unwrap().percentiles(), Some(result));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for (percent, got) in [(50, result.p50_ns), (90, result.p90_ns), (99, result.p99_ns)] {
                let exact = sorted[(sorted.len() * percent).div_ceil(100) - 1];
                let off = got.abs_diff(exact);
                prop_assert!(off <= exact / 100 + RESOLUTION, "p{percent} {got} for {exact}");
            }
        }
    }
}
