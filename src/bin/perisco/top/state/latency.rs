//! Latencies of one second, and percentiles over many such seconds.
//!
//! Exact while they are few, counted by class after, so that a second of any
//! load takes bounded memory.

/// Values that a second keeps exactly.
const FEW: usize = 32;
/// Values below which all classes have the same width, in nanoseconds.
const LINEAR: u64 = 1 << LINEAR_BITS;
const LINEAR_BITS: u32 = 10;
/// Classes of an octave, a power of two: a class's middle is at most 2 % off.
const PER_OCTAVE: u64 = 1 << OCTAVE_BITS;
const OCTAVE_BITS: u32 = 5;
/// Classes that there are.
const CLASSES: usize = ((u64::BITS - LINEAR_BITS + 1) * (1 << OCTAVE_BITS)) as usize;

/// The class of a value in nanoseconds.
fn class(nanos: u64) -> u16 {
    if nanos < LINEAR {
        return (nanos >> (LINEAR_BITS - OCTAVE_BITS)) as u16;
    }
    let octave = nanos.ilog2() - LINEAR_BITS;
    let within = (nanos >> (octave + LINEAR_BITS - OCTAVE_BITS)) - PER_OCTAVE;
    (u64::from(octave + 1) * PER_OCTAVE + within) as u16
}

/// The middle of a class.
fn middle(class: usize) -> u64 {
    let class = class as u64;
    let shift = LINEAR_BITS - OCTAVE_BITS;
    if class < PER_OCTAVE {
        return (class << shift) + (1 << (shift - 1));
    }
    let shift = shift + (class / PER_OCTAVE - 1) as u32;
    ((PER_OCTAVE + class % PER_OCTAVE) << shift) + (1 << (shift - 1))
}

/// The latencies of a second.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    few: Vec<u64>,
    /// Classes and how often, ascending; empty while there are few.
    classes: Vec<(u16, u32)>,
    max: u64,
}

impl Latencies {
    /// Adds one of so many nanoseconds.
    pub fn add(&mut self, nanos: u64) {
        self.max = self.max.max(nanos);
        if self.classes.is_empty() && self.few.len() < FEW {
            return self.few.push(nanos);
        }
        for nanos in std::mem::take(&mut self.few) {
            self.count(class(nanos));
        }
        self.count(class(nanos));
    }

    fn count(&mut self, class: u16) {
        match self.classes.binary_search_by_key(&class, |(class, _)| *class) {
            Ok(at) => {
                if let Some((_, count)) = self.classes.get_mut(at) {
                    *count = count.saturating_add(1);
                }
            }
            Err(at) => self.classes.insert(at, (class, 1)),
        }
    }
}

/// Percentiles by nearest rank, in nanoseconds: exact where no second had more
/// than a few values, at most 2 % off (16 ns below a microsecond) beyond. The
/// largest is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

/// Latencies of many seconds.
#[derive(Default)]
pub struct Sum {
    exact: Vec<u64>,
    /// How often by class; empty while all are exact.
    classes: Vec<u64>,
    max: u64,
}

impl Sum {
    /// Adds those of a second.
    pub fn add(&mut self, latencies: &Latencies) {
        self.max = self.max.max(latencies.max);
        self.exact.extend_from_slice(&latencies.few);
        if !latencies.classes.is_empty() {
            self.classes.resize(CLASSES, 0);
            for (class, count) in &latencies.classes {
                if let Some(sum) = self.classes.get_mut(usize::from(*class)) {
                    *sum += u64::from(*count);
                }
            }
        }
    }

    /// None where there is no value.
    pub fn percentiles(mut self) -> Option<Percentiles> {
        let max = self.max;
        if self.classes.is_empty() {
            self.exact.sort_unstable();
            let count = self.exact.len();
            let at = |percent: usize| {
                let rank = (count * percent).div_ceil(100).max(1) - 1;
                self.exact.get(rank).copied()
            };
            return Some(Percentiles { p50: at(50)?, p90: at(90)?, p99: at(99)?, max });
        }
        self.spread();
        let count: u64 = self.classes.iter().sum();
        let at = |percent: u64| {
            let rank = u128::from(count) * u128::from(percent);
            let rank = rank.div_ceil(100).max(1);
            let mut seen = 0_u128;
            let class = self.classes.iter().position(|count| {
                seen += u128::from(*count);
                seen >= rank
            });
            class.map_or(max, |class| middle(class).min(max))
        };
        Some(Percentiles { p50: at(50), p90: at(90), p99: at(99), max })
    }

    fn spread(&mut self) {
        self.classes.resize(CLASSES, 0);
        for nanos in std::mem::take(&mut self.exact) {
            if let Some(sum) = self.classes.get_mut(usize::from(class(nanos))) {
                *sum += 1;
            }
        }
    }

    /// How many there are in each octave that has some, and those in between:
    /// the octave's power of two and the count.
    pub fn octaves(mut self) -> Vec<(u32, u64)> {
        self.spread();
        let mut octaves = [0_u64; u64::BITS as usize];
        for (class, count) in self.classes.iter().enumerate() {
            let octave = middle(class).max(1).ilog2() as usize;
            if let Some(sum) = octaves.get_mut(octave) {
                *sum += count;
            }
        }
        let first = octaves.iter().position(|count| *count > 0);
        let last = octaves.iter().rposition(|count| *count > 0);
        let (Some(first), Some(last)) = (first, last) else { return Vec::new() };
        (0..).zip(octaves).skip(first).take(last + 1 - first).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn percentiles(values: &[u64]) -> Option<Percentiles> {
        let mut sum = Sum::default();
        // Some seconds have many values, others few.
        for part in values.chunks(50) {
            let mut latencies = Latencies::default();
            part.iter().for_each(|value| latencies.add(*value));
            sum.add(&latencies);
        }
        sum.percentiles()
    }

    #[test]
    fn few_are_exact_and_none_is_none() {
        assert_eq!(percentiles(&[]), None);
        let expected = Percentiles { p50: 20, p90: 30, p99: 30, max: 30 };
        assert_eq!(percentiles(&[30, 10, 20]), Some(expected));
    }

    #[test]
    fn octaves_have_their_values() {
        let mut latencies = Latencies::default();
        [1500, 1600, 9000].iter().for_each(|value| latencies.add(*value));
        let mut sum = Sum::default();
        sum.add(&latencies);
        assert_eq!(sum.octaves(), [(10, 2), (11, 0), (12, 0), (13, 1)]);
    }

    proptest! {
        #[test]
        fn classes_ascend_and_hold_their_middle(bits in 0..64_u32, random: u64) {
            let value = random >> bits;
            let of = class(value);
            prop_assert!(usize::from(of) < CLASSES);
            prop_assert!(class(value.saturating_add(1)) >= of);
            prop_assert_eq!(class(middle(usize::from(of))), of);
        }

        #[test]
        fn percentiles_are_near_the_true_ones(
            values in prop::collection::vec(0..10_000_000_000_u64, 1..400),
        ) {
            let got = percentiles(&values).unwrap();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for (percent, got) in [(50, got.p50), (90, got.p90), (99, got.p99), (100, got.max)] {
                let exact = sorted[(sorted.len() * percent).div_ceil(100) - 1];
                prop_assert!(got.abs_diff(exact) <= exact / 50 + 16, "p{percent} {got} {exact}");
            }
        }
    }
}
