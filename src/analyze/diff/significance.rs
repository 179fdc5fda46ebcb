//! Whether what differs could be chance: the tests, as numbers in and p-values out.
//!
//! Knows no endpoint and no report. Which test is for what, its source and its limits are
//! in `docs/diff.md`; distributions come from `statrs`. Both sides exchanged give the
//! same numbers exchanged, to the last bit.

use statrs::distribution::{ContinuousCDF, Discrete, Hypergeometric, Normal};

use crate::analyze::report::model::ClassCount;

/// Up to so many in both samples tests are exact. Beyond, a normal distribution is off by
/// less than what is shown, unless a cell expects few.
const EXACT: u64 = 10_000;
/// A cell of a table that expects fewer than this is no place for a normal
/// distribution (Cochran 1954, "Some methods for strengthening the common χ² tests").
const COCHRAN: f64 = 5.0;
/// Share of a sum below which further terms do not change it.
const NEGLIGIBLE: f64 = 1e-17;

/// What the chance is of a difference like this or larger if there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tails {
    /// With more of it afterwards.
    pub up: f64,
    /// With less of it afterwards.
    pub down: f64,
}

impl Tails {
    /// Nothing speaks for a difference.
    const NONE: Self = Self { up: 1.0, down: 1.0 };

    /// Of a difference in either way: twice the smaller one.
    pub fn two_sided(self) -> f64 {
        (2.0 * self.up.min(self.down)).min(1.0)
    }

    fn exchanged(self) -> Self {
        Self { up: self.down, down: self.up }
    }
}

/// A sample: how many of them have what is looked for, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// How many there are.
    pub of: u64,
    /// How many of them have it; at most `of`.
    pub hits: u64,
}

/// Whether a share differs between two samples: Fisher's exact test where counts are
/// small, the z-test for two proportions with a correction for continuity otherwise.
pub fn shares(before: Part, after: Part) -> Tails {
    if before > after {
        return shares(after, before).exchanged();
    }
    let (all, hits) = (before.of + after.of, before.hits + after.hits);
    if before.of == 0 || hits == 0 || hits == all {
        return Tails::NONE;
    }
    // Of all hits those of the second sample: many of them means more afterwards.
    let [up, down] = table_tails(after.hits, after.of, hits, all);
    Tails { up, down }
}

/// Of `all`, `row` are of one kind and `column` of another: how likely as many as `cell`
/// or more are of both, and how likely as many or fewer, if the kinds are independent.
fn table_tails(cell: u64, row: u64, column: u64, all: u64) -> [f64; 2] {
    let (n, r, c) = (all as f64, row as f64, column as f64);
    let expected = r * c / n;
    let least = r.min(n - r) * c.min(n - c) / n;
    if all <= EXACT || least < COCHRAN {
        return exact_tails(cell, row, column, all).unwrap_or([1.0, 1.0]);
    }
    let spread = (expected * (n - r) * (n - c) / (n * (n - 1.0))).sqrt();
    normal_tails(cell as f64, expected, spread)
}

/// The same by the hypergeometric distribution. Sums run from the cell away from the
/// middle, where terms soon vanish.
fn exact_tails(cell: u64, row: u64, column: u64, all: u64) -> Option<[f64; 2]> {
    let distribution = Hypergeometric::new(all, row, column).ok()?;
    let (least, most) = ((row + column).saturating_sub(all), row.min(column));
    let at = |k: u64| distribution.ln_pmf(k).exp();
    let sum = |cells: &mut dyn Iterator<Item = u64>| {
        let mut sum = 0.0;
        for term in cells.map(at) {
            sum += term;
            if term <= sum * NEGLIGIBLE {
                break;
            }
        }
        sum
    };
    let middle = row as f64 * column as f64 / all as f64;
    let (up, down) = if cell as f64 > middle {
        let up = sum(&mut (cell..=most));
        (up, 1.0 - up + at(cell))
    } else {
        let down = sum(&mut (least..=cell).rev());
        (1.0 - down + at(cell), down)
    };
    Some([up, down].map(|p| p.clamp(0.0, 1.0)))
}

/// By a normal distribution, corrected for being about whole numbers.
fn normal_tails(found: f64, expected: f64, spread: f64) -> [f64; 2] {
    let normal = Normal::standard();
    let up = normal.sf((found - 0.5 - expected) / spread);
    let down = normal.cdf((found + 0.5 - expected) / spread);
    [up, down]
}

/// Events, and the nanoseconds in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Events {
    /// How many.
    pub count: u64,
    /// In how long.
    pub span_ns: u64,
}

/// Whether a rate differs, if events are independent of each other: of all events those
/// afterwards are binomial (Przyborowski and Wilenski 1940, "Homogeneity of results in
/// testing samples from Poisson series").
pub fn rates(before: Events, after: Events) -> Tails {
    if before > after {
        return rates(after, before).exchanged();
    }
    let all = before.count + after.count;
    if all == 0 || before.span_ns == 0 || after.span_ns == 0 {
        return Tails::NONE;
    }
    let share = after.span_ns as f64 / (before.span_ns as f64 + after.span_ns as f64);
    let expected = all as f64 * share;
    let least = expected.min(all as f64 - expected);
    if all > EXACT && least >= COCHRAN {
        let spread = (expected * (1.0 - share)).sqrt();
        let [up, down] = normal_tails(after.count as f64, expected, spread);
        return Tails { up, down };
    }
    binomial_tails(after.count, all, share).unwrap_or(Tails::NONE)
}

fn binomial_tails(found: u64, all: u64, share: f64) -> Option<Tails> {
    use statrs::distribution::{Binomial, DiscreteCDF};
    let distribution = Binomial::new(share, all).ok()?;
    let up = found.checked_sub(1).map_or(1.0, |below| distribution.sf(below));
    Some(Tails { up, down: distribution.cdf(found) })
}

/// How many values there are.
pub fn count(values: &[ClassCount]) -> u64 {
    values.iter().map(|(_, count)| count).sum()
}

/// Whether a percentile of a distribution differs: the precedence test (Mathisen 1943, "A
/// method of testing the hypothesis that two samples are from the same population";
/// Nelson 1963) with the percentile of each side once as the control, doubled for
/// that. Exact for any distribution; within a class of values what speaks against a
/// difference is assumed.
pub fn percentiles(before: &[ClassCount], after: &[ClassCount], percent: u64) -> Tails {
    let by_before = precedence(before, after, percent);
    let by_after = precedence(after, before, percent).exchanged();
    let double = |a: f64, b: f64| (2.0 * a.min(b)).min(1.0);
    Tails { up: double(by_before.up, by_after.up), down: double(by_before.down, by_after.down) }
}

/// How many of the others are beyond a percentile of the control.
fn precedence(control: &[ClassCount], others: &[ClassCount], percent: u64) -> Tails {
    let (controls, all) = (count(control), count(control) + count(others));
    if controls == 0 || controls == all {
        return Tails::NONE;
    }
    let (place, class) = nearest_rank(control, controls, percent);
    let above = controls - place;
    let beyond = |is: &dyn Fn(u64) -> bool| -> u64 {
        others.iter().filter(|(lowest, _)| is(*lowest)).map(|(_, count)| count).sum()
    };
    // At least so many beyond: among the highest of all there are at most `above` of the
    // control.
    let at_least = |others: u64| table_tails(above, controls, above + others, all);
    let more = beyond(&|lowest| lowest > class);
    let up = if more == 0 { 1.0 } else { at_least(more)[1] };
    let fewer = beyond(&|lowest| lowest >= class);
    let down = if fewer == all - controls {
        1.0
    } else {
        table_tails(above + 1, controls, above + fewer + 1, all)[0]
    };
    Tails { up, down }
}

/// Which of the values in order is the percentile, from 1, and its class.
fn nearest_rank(values: &[ClassCount], of: u64, percent: u64) -> (u64, u64) {
    let place = (u128::from(of) * u128::from(percent)).div_ceil(100).max(1) as u64;
    let mut below = 0;
    for (lowest, count) in values {
        below += count;
        if below >= place {
            return (place, *lowest);
        }
    }
    (place, 0)
}

/// p-values corrected for how many there are, in the same order: of what is at most
/// `q` no more than the share `q` is expected to be chance (Benjamini and Hochberg 1995,
/// "Controlling the false discovery rate").
pub fn adjusted(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<_> = values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all = values.len() as f64;
    let mut out = vec![1.0; values.len()];
    let mut least = 1.0_f64;
    for (after, (index, p)) in order.into_iter().enumerate() {
        // In this order, so that rounding never makes it less than p.
        least = least.min(p * (all / (all - after as f64)));
        if let Some(adjusted) = out.get_mut(index) {
            *adjusted = least;
        }
    }
    out
}
