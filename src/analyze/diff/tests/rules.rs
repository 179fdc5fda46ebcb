//! Rules as they are written, and what is held against them.

use proptest::prelude::*;

use super::{Random, report, told};
use crate::analyze::diff::compare::{Order, compare};
use crate::analyze::diff::model::{EndpointName, RuleVerdict};
use crate::analyze::diff::rule::{Metric, Rule};

#[test]
fn slips_in_rules_are_told_with_their_place() {
    for (rule, says) in [
        ("pp99 > +20%", "there is no metric pp99; did you mean p99?\n  pp99 > +20%\n  ^^^^"),
        ("eror_rate > 1%", "did you mean error_rate?"),
        ("latency > 1", "there are rate, errors, error_rate, p50, p90, p99, new, vanished"),
        ("", "here has to be a metric"),
        ("p99 = +20%", "here has to be one of >, >=, < and <=\n  p99 = +20%\n      ^"),
        ("p99 >", "here has to be a value; p99 takes +20%, +5ms or 200ms"),
        ("p99 > 20%", "20% is about a change: it needs a sign"),
        ("p99 > 20", "20 has no unit"),
        ("p99 > +5parsecs", "+5parsecs has a unit that does not fit"),
        ("p99 > fast", "fast is not a number"),
        ("error_rate > 0.5pp", "0.5pp is about a change: it needs a sign"),
        ("error_rate > 5", "5 has no unit; error_rate takes 1%, +0.5pp or +20%"),
        ("errors > +1pp", "+1pp is a difference of shares; errors takes"),
        ("new > +1", "+1 has no unit; new takes 0 or 3"),
        ("new > 10%", "new takes 0 or 3"),
    ] {
        let problem = rule.parse::<Rule>().expect_err(rule).to_string();
        assert!(problem.contains(says), "{rule}: {problem}");
    }
}

#[test]
fn rules_are_passed_where_they_say() {
    let random = &mut Random(5);
    let before = [
        told("/slow", 1_000, 20.0, 10, random),
        told("/few", 10, 20.0, 0, random),
        told("/gone", 50, 20.0, 0, random),
    ];
    let after = [
        told("/slow", 1_000, 40.0, 30, random),
        told("/few", 10, 45.0, 1, random),
        told("/here", 50, 20.0, 0, random),
    ];
    let ruling = |rule: &str, significant: bool| {
        let rules = [rule.parse().expect(rule)];
        let [before, after] = [report(&before), report(&after)];
        let diff = compare(&before, &after, Order::Worst, &rules, significant);
        let ruling = diff.rules.into_iter().next().expect("a ruling");
        let path = |name: &EndpointName| name.path.clone().unwrap_or_default();
        let failed: Vec<_> = ruling.failed.iter().map(|passed| path(&passed.name)).collect();
        (ruling.verdict, failed.join(" "), ruling.held, ruling.undecided)
    };
    let failed = |at: &str, held, undecided| (RuleVerdict::Failed, at.to_owned(), held, undecided);
    let held = |held, undecided| (RuleVerdict::Held, String::new(), held, undecided);
    // New and vanished endpoints have no change, new ones have a level.
    assert_eq!(ruling("p50 > +50%", true), failed("/slow", 0, 3));
    assert_eq!(ruling("p50 > +5ms", true), failed("/slow", 0, 3));
    assert_eq!(ruling("p50 > +1s", false), held(2, 2));
    assert_eq!(ruling("p50 > 1ns", true), failed("/few /slow /here", 0, 1));
    assert_eq!(ruling("error_rate > 1%", false), failed("/few /slow", 1, 1));
    assert_eq!(ruling("error_rate > +1.9pp", true), failed("/slow", 0, 3));
    assert_eq!(ruling("errors > +20%", false), failed("/few /slow", 0, 2));
    assert_eq!(ruling("errors > 29", false), failed("/slow", 2, 1));
    assert_eq!(ruling("rate < -1%", false), held(2, 2));
    assert_eq!(ruling("rate >= +0%", false), failed("/slow /few", 0, 2));
    assert_eq!(ruling("new > 0", false), failed("/here", 3, 0));
    assert_eq!(ruling("new > 1", false), held(4, 0));
    assert_eq!(ruling("vanished >= 1", false), failed("/gone", 3, 0));
    assert_eq!(ruling("new < 2", false), failed("/here", 3, 0));
    for metric in Metric::ALL {
        let rule = format!(
            "{} > 1000000000000000000{}",
            metric.name(),
            match metric {
                Metric::ErrorRate => "%",
                Metric::P50 | Metric::P90 | Metric::P99 => "s",
                _ => "",
            }
        );
        assert_eq!(ruling(&rule, false).0, RuleVerdict::Held, "{rule}");
    }
}

/// What nobody can say is not within a threshold.
#[test]
fn a_rule_that_holds_for_nothing_is_undecided() {
    let random = &mut Random(6);
    let [before, after] = ["/a", "/b"].map(|path| report(&[told(path, 50, 9.0, 0, random)]));
    let rules = ["p99 > +20%".parse().unwrap()];
    let diff = compare(&before, &after, Order::Worst, &rules, false);
    assert_eq!(diff.rules[0].verdict, RuleVerdict::Undecided);
    assert_eq!((diff.rules[0].held, diff.rules[0].undecided), (0, 2));
}

proptest! {
    #[test]
    fn any_rule_is_taken_or_told_where_it_is_wrong(text: String) {
        if let Err(problem) = text.parse::<Rule>() {
            prop_assert!(problem.to_string().contains('^'));
        }
    }
}
