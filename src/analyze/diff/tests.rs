//! Comparisons of reports made here, and of the tests against what they promise.

mod rules;
mod significance;

use proptest::prelude::*;

use super::compare::{LEVEL, Order, compare};
use super::model::{Change, Diff, EndpointChange, Outcome, Verdict};
use super::{html, text};
use crate::analyze::report::fixture::clean_capture;
use crate::analyze::report::model::{Endpoint, Figures, Percentiles, Report};
use crate::analyze::report::{Aggregate, CaptureTotals, Style};

/// Numbers that look random and are the same in each run (Vigna, splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Times between independent events and latencies are often so.
    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.next()).ln()
    }
}

/// An endpoint as a capture of a minute would give it.
#[derive(Clone, Debug)]
struct Told {
    path: String,
    failed: u64,
    unknown: u64,
    latencies: Vec<u64>,
}

const SECONDS: u64 = 60;

fn endpoint(told: &Told) -> Endpoint {
    let mut sorted = told.latencies.clone();
    sorted.sort_unstable();
    let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
    let count = sorted.len() as u64;
    let latency = (count > 0).then(|| Percentiles {
        count,
        p50_ns: at(50),
        p90_ns: at(90),
        p99_ns: at(99),
        max_ns: at(100),
    });
    let figures = Figures {
        count,
        rate_per_second: Some(count as f64 / SECONDS as f64),
        errors: told.failed,
        error_share: told.failed as f64 / count.max(1) as f64,
        unknown: told.unknown,
        unknown_share: told.unknown as f64 / count.max(1) as f64,
        latency,
        ..Figures::default()
    };
    let latencies = sorted.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64)).collect();
    Endpoint {
        protocol: "http/1.1".to_owned(),
        host: Some("shop".to_owned()),
        service: None,
        method: Some("GET".to_owned()),
        path: Some(told.path.clone()),
        figures,
        detail: None,
        latencies,
    }
}

fn report(told: &[Told]) -> Report {
    let mut report = Aggregate::default().finish(CaptureTotals { ..clean_capture() });
    report.endpoints = told.iter().map(endpoint).collect();
    report.capture.span_ns = Some(SECONDS * 1_000_000_000);
    let all = &mut report.transactions.figures;
    all.count = told.iter().map(|told| told.latencies.len() as u64).sum();
    all.errors = told.iter().map(|told| told.failed).sum();
    all.unknown = told.iter().map(|told| told.unknown).sum();
    all.rate_per_second = Some(all.count as f64 / SECONDS as f64);
    report
}

fn told(path: &str, count: u64, mean_ms: f64, failed: u64, random: &mut Random) -> Told {
    let latencies = (0..count).map(|_| random.exponential(mean_ms * 1e6) as u64 + 1000).collect();
    Told { path: path.to_owned(), failed, unknown: 0, latencies }
}

fn diff(before: &[Told], after: &[Told]) -> Diff {
    compare(&report(before), &report(after), Order::Worst, &[], false)
}

fn of<'d>(diff: &'d Diff, path: &str) -> &'d EndpointChange {
    let is = |e: &&EndpointChange| e.name.path.as_deref() == Some(path);
    diff.endpoints.iter().find(is).unwrap_or_else(|| panic!("no {path}"))
}

#[test]
fn what_changed_is_found_and_nothing_else() {
    let random = &mut Random(1);
    let before = [
        told("/same", 2_000, 20.0, 20, random),
        told("/slow", 2_000, 20.0, 20, random),
        told("/fails", 2_000, 20.0, 2, random),
        told("/gone", 300, 20.0, 0, random),
        told("/rare", 7, 20.0, 0, random),
    ];
    let after = [
        told("/same", 2_000, 20.0, 20, random),
        told("/slow", 2_000, 60.0, 20, random),
        told("/fails", 2_000, 20.0, 60, random),
        told("/here", 300, 20.0, 0, random),
        told("/rare", 9, 20.0, 1, random),
    ];
    let diff = diff(&before, &after);
    let outcomes: Vec<_> = diff
        .endpoints
        .iter()
        .map(|e| (e.name.path.clone().unwrap_or_default(), e.outcome))
        .collect();
    let expected = [
        ("/fails", Outcome::Worse),
        ("/slow", Outcome::Worse),
        ("/here", Outcome::New),
        ("/gone", Outcome::Vanished),
        ("/rare", Outcome::NotEnough),
        ("/same", Outcome::NotSignificant),
    ];
    assert_eq!(outcomes, expected.map(|(path, outcome)| (path.to_owned(), outcome)));
    let slow = of(&diff, "/slow");
    for change in [&slow.p50, &slow.p90, &slow.p99] {
        assert_eq!(change.verdict, Verdict::Worse, "{change:?}");
        assert!(change.ratio.is_some_and(|ratio| (2.0..4.5).contains(&ratio)), "{change:?}");
    }
    assert_eq!(slow.error_rate.verdict, Verdict::NotSignificant);
    assert_eq!(of(&diff, "/fails").error_rate.verdict, Verdict::Worse);
    assert_eq!(of(&diff, "/rare").p99.verdict, Verdict::NotEnough);
    assert_eq!(of(&diff, "/here").p99.verdict, Verdict::NotSeen);
}

/// An outcome that was not seen is neither a success nor a failure.
#[test]
fn unknown_outcomes_are_no_successes() {
    let random = &mut Random(2);
    let mut after = told("/a", 1_000, 20.0, 50, random);
    let before = Told { failed: 50, ..told("/a", 1_000, 20.0, 50, random) };
    after.unknown = 900;
    let diff = diff(&[before], &[after]);
    let change = of(&diff, "/a").error_rate;
    assert_eq!((change.before, change.after), (Some(0.05), Some(0.5)));
    assert_eq!((change.samples, change.verdict), ([1_000, 100], Verdict::Worse));
    assert!(diff.caveats.iter().any(|caveat| caveat.text.contains("90.0%")), "{:?}", diff.caveats);
    // All of them unknown: nobody knows.
    let mut after = told("/a", 1_000, 20.0, 0, random);
    after.unknown = 1_000;
    let before = told("/a", 1_000, 20.0, 0, random);
    let diff = self::diff(&[before], &[after]);
    assert_eq!(of(&diff, "/a").error_rate.verdict, Verdict::NotSeen);
}

#[test]
fn names_folded_on_one_side_only_are_noted() {
    let random = &mut Random(7);
    let before = [told("/users/jo", 50, 9.0, 0, random), told("/{*}", 50, 9.0, 0, random)];
    let after = [told("/users/{*}", 50, 9.0, 0, random), told("/{*}", 50, 9.0, 0, random)];
    let diff = diff(&before, &after);
    let [caveat] = diff.caveats.as_slice() else { panic!("{:?}", diff.caveats) };
    assert!(caveat.text.starts_with("names in /users/{*} are one endpoint"), "{caveat:?}");
    assert_eq!(caveat.side, super::model::Which::After);
}

#[test]
fn rates_of_captures_that_lost_data_are_not_tested() {
    let random = &mut Random(3);
    let [before, after] = [100, 3_000].map(|count| report(&[told("/a", count, 9.0, 0, random)]));
    let whole = compare(&before, &after, Order::Worst, &[], false);
    assert_eq!(whole.endpoints[0].rate.verdict, Verdict::Differs);
    let mut lossy = after.clone();
    lossy.loss.none_known = false;
    lossy.loss.gap_bytes = 7;
    let diff = compare(&before, &lossy, Order::Worst, &[], false);
    assert_eq!(diff.endpoints[0].rate.verdict, Verdict::NotTested);
    assert_eq!(diff.endpoints[0].rate.p, None);
    let shown = text::render(&diff, Style::default(), false);
    assert!(shown.starts_with("DATA IS MISSING"), "{shown}");
    assert!(shown.contains("7 BYTES ARE MISSING"), "{shown}");
}

/// Under the null hypothesis p-values are no smaller than they say, and after the
/// correction false alarms are as rare as is promised.
#[test]
fn chance_is_called_a_change_as_rarely_as_promised() {
    const RUNS: usize = 120;
    const ENDPOINTS: usize = 10;
    let random = &mut Random(4);
    let mut alarms = 0;
    let mut values: [Vec<f64>; 3] = Default::default();
    for _ in 0..RUNS {
        let side = |random: &mut Random| -> Vec<Told> {
            let endpoint = |index: usize| {
                // Poisson arrivals within the minute, failures one in twenty.
                let (mut at, mut count, mut failed) = (0.0, 0, 0);
                let apart = SECONDS as f64 / (100.0 + 40.0 * index as f64);
                loop {
                    at += random.exponential(apart);
                    if at > SECONDS as f64 {
                        break;
                    }
                    count += 1;
                    failed += u64::from(random.next() < 0.05);
                }
                told(&format!("/{index}"), count, 20.0, failed, random)
            };
            (0..ENDPOINTS).map(endpoint).collect()
        };
        let (before, after) = (side(random), side(random));
        let diff = diff(&before, &after);
        let called =
            |e: &EndpointChange| e.behaviour().iter().any(|change| change.verdict.is_significant());
        alarms += usize::from(diff.endpoints.iter().any(called));
        for endpoint in &diff.endpoints {
            let p = |change: &Change| change.p.expect("tested");
            values[0].push(p(&endpoint.rate));
            values[1].push(p(&endpoint.error_rate));
            values[2].push(p(&endpoint.p50));
        }
    }
    for (values, name) in values.iter().zip(["rate", "errors", "p50"]) {
        for level in [0.01, 0.05, 0.2, 0.5] {
            let share = values.iter().filter(|p| **p <= level).count() as f64 / values.len() as f64;
            // Three standard deviations of a share of so many.
            let spread = 3.0 * (level * (1.0 - level) / values.len() as f64).sqrt();
            assert!(share <= level + spread, "{name}: {share} of p-values up to {level}");
        }
        // And they can be small: a test that never speaks is none.
        assert!(values.iter().any(|p| *p < 0.05), "{name}");
    }
    // Where nothing differs the share of false ones among all is one or none: as often
    // as there is any, at most at the level.
    let spread = 3.0 * (LEVEL * (1.0 - LEVEL) / RUNS as f64).sqrt();
    let share = alarms as f64 / RUNS as f64;
    assert!(share <= LEVEL + spread, "{share} of the comparisons have false alarms");
}

fn any_told() -> impl Strategy<Value = Vec<Told>> {
    let latencies = prop::collection::vec((1..40_u64).prop_map(|n| n * n * 64_000), 0..150);
    let told = (0..8_usize, latencies, 0..9_u64, 0..9_u64);
    prop::collection::vec(told, 0..6).prop_map(|list| {
        let mut all: Vec<Told> = Vec::new();
        for (index, latencies, failed, unknown) in list {
            let path = format!("/{index}");
            if !latencies.is_empty() && all.iter().all(|told| told.path != path) {
                let unknown = unknown.min(latencies.len() as u64);
                let failed = failed.min(latencies.len() as u64 - unknown);
                all.push(Told { path, failed, unknown, latencies });
            }
        }
        all
    })
}

/// A change looked at from the other side.
fn mirrored(change: &Change) -> Change {
    let verdict = match change.verdict {
        Verdict::Worse => Verdict::Better,
        Verdict::Better => Verdict::Worse,
        other => other,
    };
    let [before, after] = change.samples;
    Change {
        before: change.after,
        after: change.before,
        difference: change.difference.map(|difference| 0.0 - difference),
        ratio: change
            .before
            .zip(change.after)
            .filter(|(_, after)| *after > 0.0)
            .map(|(before, after)| before / after),
        samples: [after, before],
        verdict,
        ..*change
    }
}

proptest! {
    #[test]
    fn sides_exchanged_give_the_same_exchanged(before in any_told(), after in any_told()) {
        let there = diff(&before, &after);
        let back = diff(&after, &before);
        prop_assert_eq!(there.endpoints.len(), back.endpoints.len());
        for endpoint in &there.endpoints {
            let other = of(&back, endpoint.name.path.as_deref().unwrap());
            let outcome = match endpoint.outcome {
                Outcome::Worse => Outcome::Better,
                Outcome::Better => Outcome::Worse,
                Outcome::New => Outcome::Vanished,
                Outcome::Vanished => Outcome::New,
                other => other,
            };
            prop_assert_eq!(other.outcome, outcome);
            prop_assert_eq!((&other.before, &other.after), (&endpoint.after, &endpoint.before));
            for metric in super::words::SHOWN {
                prop_assert_eq!(metric.of(other), mirrored(&metric.of(endpoint)));
            }
        }
    }

    /// Nothing has changed between a capture and itself, and that is never said.
    #[test]
    fn a_capture_does_not_differ_from_itself(told in any_told()) {
        let diff = diff(&told, &told);
        for endpoint in &diff.endpoints {
            prop_assert!(matches!(endpoint.outcome, Outcome::NotSignificant | Outcome::NotEnough));
            let few = endpoint.rate.samples[0] < 20;
            prop_assert_eq!(endpoint.outcome == Outcome::NotEnough, few, "{:?}", endpoint);
        }
        let shown = text::render(&diff, Style::default(), true);
        prop_assert!(!shown.contains("no change") && !shown.contains("unchanged\n"));
    }

    #[test]
    fn lines_fit_and_names_are_inert(
        before in any_told(), after in any_told(), host: String, width in 80..200_usize,
    ) {
        let [mut before, mut after] = [report(&before), report(&after)];
        for endpoint in before.endpoints.iter_mut().chain(&mut after.endpoints) {
            endpoint.host = Some(host.clone());
        }
        let rules = ["p50 > +1%", "errors > 0", "new > 0"].map(|rule| rule.parse().unwrap());
        let diff = compare(&before, &after, Order::P99, &rules, false);
        let shown = text::render(&diff, Style { width, ..Style::default() }, true);
        for line in shown.lines() {
            let columns = unicode_width::UnicodeWidthStr::width(line);
            prop_assert!(columns <= width, "{} columns: {}", columns, line);
            prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
        }
        // As many elements as with any other name.
        let tags = |page: &str| page.matches(['<', '>']).count();
        let page = html::render(&diff);
        for endpoint in before.endpoints.iter_mut().chain(&mut after.endpoints) {
            endpoint.host = Some("host".to_owned());
        }
        let plain = compare(&before, &after, Order::P99, &rules, false);
        prop_assert_eq!(tags(&page), tags(&html::render(&plain)));
    }
}
