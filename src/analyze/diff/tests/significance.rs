//! The tests of significance against known values, and at their ends.

use proptest::prelude::*;

use crate::analyze::diff::significance::{Events, Part, adjusted, percentiles, rates, shares};

#[test]
fn known_tests_give_known_values() {
    let part = |hits, of| Part { of, hits };
    // R: fisher.test(matrix(c(1, 9, 11, 3), 2), alternative = "less") and "greater".
    let tails = shares(part(1, 10), part(11, 14));
    assert!((tails.up - 0.001_379_728).abs() < 1e-8, "{tails:?}");
    assert!((tails.down - 0.999_966_348).abs() < 1e-8, "{tails:?}");
    // R: binom.test(20, 30, 0.5), two-sided 0.09873715.
    let events = |count| Events { count, span_ns: 1_000_000_000 };
    let p = rates(events(10), events(20)).two_sided();
    assert!((p - 0.098_737_15).abs() < 1e-7, "{p}");
    // All of 5 values are above the median of 5 others: of the 7 highest of 10 two are
    // of the others in C(5,2) C(5,5) of C(10,7) ways; doubled for two controls.
    let values = |from: u64| (0..5).map(|i| (from + i, 1)).collect::<Vec<_>>();
    let p = percentiles(&values(10), &values(20), 50).up;
    assert!((p - 2.0 * 10.0 / 120.0).abs() < 1e-9, "{p}");
    // R: p.adjust(c(0.01, 0.04, 0.03, 0.5), "BH").
    let found = adjusted(&[0.01, 0.04, 0.03, 0.5]);
    for (found, expected) in found.iter().zip([0.04, 0.16 / 3.0, 0.16 / 3.0, 0.5]) {
        assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
    }
}

#[test]
fn large_counts_go_on_where_small_ones_end() {
    let part = |hits, of| Part { of, hits };
    for (small, large) in [((50, 4_990), (80, 5_000)), ((250, 4_990), (260, 5_000))] {
        let exact = shares(part(small.0, small.1), part(large.0, large.1)).two_sided();
        let normal = shares(part(small.0, small.1 + 30), part(large.0, large.1)).two_sided();
        assert!((exact - normal).abs() < 0.15 * exact, "{exact} {normal}");
    }
    let nanos = 10_000_000_000;
    let p = |count| {
        let [a, b] = [4_900, count].map(|count| Events { count, span_ns: nanos });
        rates(a, b).two_sided()
    };
    assert!((p(5_095) - p(5_105)).abs() < 0.02, "{} {}", p(5_095), p(5_105));
}

/// Whatever a capture holds, tests end soon and give probabilities.
#[test]
fn huge_counts_are_no_problem() {
    let huge = u64::from(u32::MAX) * 1000;
    for (hits, of) in [(0, huge), (huge, huge), (3, huge), (huge / 2, huge), (1, 1)] {
        for (other, all) in [(0, 10), (9, 10), (5, huge), (huge / 2 + 7_000_000, huge)] {
            let before = Part { of, hits };
            let p = shares(before, Part { of: all, hits: other }).two_sided();
            assert!((0.0..=1.0).contains(&p), "{before:?} {other} of {all}: {p}");
        }
    }
    let p = rates(Events { count: huge, span_ns: u64::MAX }, Events { count: 1, span_ns: 1 });
    assert!((0.0..=1.0).contains(&p.two_sided()), "{p:?}");
}

proptest! {
    #[test]
    fn adjusted_values_keep_their_order(values in prop::collection::vec(0.0..1.0_f64, 0..40)) {
        let adjusted = adjusted(&values);
        prop_assert_eq!(adjusted.len(), values.len());
        for (index, p) in values.iter().enumerate() {
            prop_assert!(adjusted[index] >= *p && adjusted[index] <= 1.0);
            for (other, q) in values.iter().enumerate() {
                prop_assert!(p > q || adjusted[index] <= adjusted[other]);
            }
        }
    }
}
