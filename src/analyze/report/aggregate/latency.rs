//! Latencies of one endpoint or one pair of hosts: exact while few,
//! counted by class after.

use hdrhistogram::Histogram;

use crate::analyze::report::model::{ClassCount, Percentiles};

/// Values kept exactly before they are counted by class. Counts take some
/// 4 KB, this 512 bytes, and most endpoints of a scan are seen once.
const FEW: usize = 64;
/// Resolution below which classes do not tell values apart, in nanoseconds.
/// No answer on a network comes within a microsecond.
const RESOLUTION: u64 = 64;
/// Significant digits of a class: percentiles are at most 1 % off.
const DIGITS: u8 = 2;

/// A latency in nanoseconds and its class, which all sets that it is added
/// to have in common.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    nanos: u64,
    class: usize,
}

impl Value {
    /// A value of that many nanoseconds.
    #[inline]
    pub fn new(nanos: u64) -> Self {
        Self { nanos, class: class::of(nanos) }
    }

    /// In nanoseconds.
    pub fn nanos(self) -> u64 {
        self.nanos
    }

    /// Its coarse class: 16 in an octave, or 512 ns.
    pub fn coarse(self) -> usize {
        self.class >> COARSE_BITS
    }
}

/// Bits by which coarse classes are coarser.
const COARSE_BITS: u32 = 3;

/// The lowest value of a coarse class in nanoseconds.
pub fn coarse_lowest(coarse: usize) -> u64 {
    class::lowest(coarse << COARSE_BITS)
}

/// A set of latencies. Merging in any order gives the same.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// By class, as far as the highest that came up; empty while there are few.
    counts: Vec<u32>,
    few: Vec<u64>,
    max: u64,
}

impl Latency {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: Value) {
        self.max = self.max.max(value.nanos);
        match self.counts.get_mut(value.class) {
            Some(count) => *count = count.saturating_add(1),
            None => self.add_unusual(value),
        }
    }

    /// Adds one of the first values, or one higher than all before. Kept out
    /// of line, so that `add` is short enough to be inlined.
    #[inline(never)]
    fn add_unusual(&mut self, value: Value) {
        if !self.counts.is_empty() {
            self.count(value, 1);
        } else if self.few.len() < FEW {
            self.few.push(value.nanos);
        } else {
            self.spill();
            self.count(value, 1);
        }
    }

    /// Counts the exact values by class.
    fn spill(&mut self) {
        for nanos in std::mem::take(&mut self.few) {
            self.count(Value::new(nanos), 1);
        }
    }

    fn count(&mut self, value: Value, times: u32) {
        if self.counts.len() <= value.class {
            self.counts.resize((value.class + 1).next_multiple_of(class::PER_OCTAVE), 0);
        }
        if let Some(count) = self.counts.get_mut(value.class) {
            *count = count.saturating_add(times);
        }
    }

    /// Adds all values of another set.
    pub fn merge(&mut self, other: &Self) {
        self.max = self.max.max(other.max);
        if !other.counts.is_empty() {
            self.spill();
            if self.counts.len() < other.counts.len() {
                self.counts.resize(other.counts.len(), 0);
            }
            for (count, theirs) in self.counts.iter_mut().zip(&other.counts) {
                *count = count.saturating_add(*theirs);
            }
        }
        for nanos in &other.few {
            self.add(Value::new(*nanos));
        }
    }

    /// Percentiles by nearest rank; None where there is no value.
    pub fn percentiles(&mut self) -> Option<Percentiles> {
        self.few.sort_unstable();
        let many = self.histogram();
        let count = many.as_ref().map_or(self.few.len() as u64, |many| many.len());
        if count == 0 {
            return None;
        }
        let at = |percent: u64| match &many {
            Some(many) => many.value_at_quantile(percent as f64 / 100.0).min(self.max),
            None => {
                let rank = (count * percent).div_ceil(100).max(1) - 1;
                self.few.get(rank as usize).copied().unwrap_or(self.max)
            }
        };
        let (p50, p90, p99) = (at(50), at(90), at(99));
        Some(Percentiles { count, p50_ns: p50, p90_ns: p90, p99_ns: p99, max_ns: self.max })
    }

    /// How many there are in each octave: of 2^n up to 2^(n+1) nanoseconds, the
    /// first with 0. Values counted by class are where its lowest one is.
    pub fn octaves(&self) -> Vec<u64> {
        let mut octaves = Vec::new();
        let mut add = |nanos: u64, count: u64| {
            let octave = nanos.max(1).ilog2() as usize;
            if octaves.len() <= octave {
                octaves.resize(octave + 1, 0);
            }
            if let Some(sum) = octaves.get_mut(octave) {
                *sum += count;
            }
        };
        self.few.iter().for_each(|nanos| add(*nanos, 1));
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.for_each(|(class, count)| add(class::lowest(class), u64::from(*count)));
        octaves
    }

    /// How many there are in each class that has some, lowest first.
    pub fn classes(&self) -> Vec<ClassCount> {
        if self.counts.is_empty() {
            let mut classes: Vec<_> = self.few.iter().map(|nanos| class::of(*nanos)).collect();
            classes.sort_unstable();
            let runs = classes.chunk_by(|a, b| a == b);
            let lowest = |run: &[usize]| run.first().copied().map_or(0, class::lowest);
            return runs.map(|run| (lowest(run), run.len() as u64)).collect();
        }
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(class, count)| (class::lowest(class), u64::from(*count))).collect()
    }

    /// The counts as a histogram; None while there are few values.
    fn histogram(&self) -> Option<Histogram<u32>> {
        if self.counts.is_empty() {
            return None;
        }
        let mut histogram = empty_histogram()?;
        for (class, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            // It grows as needed, so nothing can be out of range.
            histogram.record_n(class::lowest(class), *count).unwrap_or_default();
        }
        Some(histogram)
    }
}

/// A histogram that has our classes. The bounds are constants that it accepts.
fn empty_histogram() -> Option<Histogram<u32>> {
    let mut histogram = Histogram::new_with_bounds(RESOLUTION, RESOLUTION * 2, DIGITS).ok()?;
    histogram.auto(true);
    Some(histogram)
}

/// The classes of an HDR histogram, without its checks and running totals:
/// each transaction is counted more than once.
///
/// Values below 256 times the resolution have a class per multiple of it;
/// above, each octave has 128 classes of the same width.
mod class {
    use super::RESOLUTION;

    /// Classes of an octave, a power of two: at least 100 for two digits.
    pub const PER_OCTAVE: usize = 1 << OCTAVE_BITS;
    const OCTAVE_BITS: u32 = 7;
    /// Bits of a value of the first two octaves' worth of classes.
    const LOW_BITS: u32 = RESOLUTION.ilog2() + OCTAVE_BITS + 1;

    /// The class of a value.
    #[inline]
    pub fn of(value: u64) -> usize {
        let octave = u64::BITS - LOW_BITS - (value | ((1 << LOW_BITS) - 1)).leading_zeros();
        let within = value >> (RESOLUTION.ilog2() + octave);
        ((octave as usize) << OCTAVE_BITS) + within as usize
    }

    /// The lowest value of a class.
    pub fn lowest(class: usize) -> u64 {
        let octave = (class >> OCTAVE_BITS).saturating_sub(1);
        let within = class - (octave << OCTAVE_BITS);
        (within as u64) << (RESOLUTION.ilog2() as usize + octave)
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
            latency.add(Value::new(nanos));
        }
        let p = latency.percentiles().unwrap();
        assert_eq!((p.count, p.p50_ns, p.p90_ns, p.max_ns), (3, 20, 30, 30));
    }

    /// Few or many, the classes are the same, so that reports can be compared.
    #[test]
    fn classes_do_not_depend_on_how_many_there_are() {
        let values = [1_000_000, 5, 1_003_000, 2_000_000, 70, 2_000_000];
        let mut latency = Latency::default();
        values.iter().for_each(|nanos| latency.add(Value::new(*nanos)));
        let few = latency.classes();
        assert_eq!(few.iter().map(|(_, count)| count).collect::<Vec<_>>(), [&1, &1, &2, &2]);
        for _ in 0..FEW {
            values.iter().for_each(|nanos| latency.add(Value::new(*nanos)));
        }
        let times = FEW as u64 + 1;
        let many: Vec<_> = few.iter().map(|(lowest, count)| (*lowest, count * times)).collect();
        assert_eq!(latency.classes(), many);
    }

    #[test]
    fn huge_values_are_counted() {
        let mut latency = Latency::default();
        for _ in 0..100 {
            latency.add(Value::new(u64::MAX));
        }
        let p = latency.percentiles().unwrap();
        assert_eq!((p.count, p.max_ns), (100, u64::MAX));
    }

    proptest! {
        /// Percentiles come from the library: what it takes for the same must
        /// be one class, and no more than that.
        #[test]
        fn classes_are_those_of_the_histogram(bits in 0..64_u32, random: u64) {
            let value = random >> bits;
            let mut histogram = empty_histogram().unwrap();
            histogram.record(value).unwrap();
            let lowest = class::lowest(class::of(value));
            prop_assert_eq!(lowest, histogram.lowest_equivalent(value));
            prop_assert_eq!(class::of(lowest), class::of(value));
            if lowest > 0 {
                prop_assert_eq!(class::of(lowest - 1) + 1, class::of(value));
            }
        }

        #[test]
        fn any_split_gives_the_same_within_a_percent(
            values in prop::collection::vec(64..10_000_000_000_u64, 1..400), parts in 1..5_usize,
        ) {
            let mut whole = Latency::default();
            let mut split: Vec<_> = (0..parts).map(|_| Latency::default()).collect();
            for (index, value) in values.iter().enumerate() {
                whole.add(Value::new(*value));
                split[index * index % parts].add(Value::new(*value));
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
