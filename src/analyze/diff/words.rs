//! What a comparison says in words, for text and pages alike.
//!
//! Nothing here is escaped: names come from the wire.

use super::compare::{FEW, FEW_P99};
use super::model::{Change, Diff, EndpointName, Outcome, Passed, Ruling, Verdict};
use super::rule::Metric;
use crate::analyze::report::model::Filtered;
use crate::analyze::report::text::units::{count, duration, plural, rate};

/// What is shown of an endpoint.
pub const SHOWN: [Metric; 5] =
    [Metric::Rate, Metric::ErrorRate, Metric::P50, Metric::P90, Metric::P99];

/// Below this p-values are not told apart.
const SMALLEST: f64 = 0.001;

/// What a metric is called.
pub fn label(metric: Metric) -> &'static str {
    match metric {
        Metric::Errors | Metric::ErrorRate => "errors",
        other => other.name(),
    }
}

/// A value of a metric.
pub fn figure(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Rate => rate(value),
        Metric::ErrorRate => percent(value),
        // Nanoseconds are whole and not negative.
        Metric::P50 | Metric::P90 | Metric::P99 => duration(value as u64),
        Metric::Errors | Metric::New | Metric::Vanished => count(value as u64),
    }
}

/// A share; `0%` and `100%` only where it is nothing or all.
fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0%".to_owned(),
        100.0 => "100%".to_owned(),
        percent if percent < 0.05 => "<0.1%".to_owned(),
        percent if percent >= 99.95 => ">99.9%".to_owned(),
        percent => format!("{percent:.1}%"),
    }
}

/// How much a figure has changed.
pub fn difference(metric: Metric, change: &Change) -> String {
    let Some(difference) = change.difference else { return String::new() };
    if difference == 0.0 {
        return "±0".to_owned();
    }
    if metric == Metric::ErrorRate {
        return signed(difference * 100.0, " pp");
    }
    match change.ratio {
        None => "from 0".to_owned(),
        Some(ratio) if ratio >= 10.0 => format!("×{}", count(ratio.round() as u64)),
        Some(ratio) => signed((ratio - 1.0) * 100.0, "%"),
    }
}

fn signed(value: f64, unit: &str) -> String {
    let digits = if value.abs() < 9.95 { 1 } else { 0 };
    match value.abs() < 0.05 {
        true => format!("{}<0.1{unit}", if value < 0.0 { '-' } else { '+' }),
        false => format!("{value:+.digits$}{unit}"),
    }
}

/// What a change means and why.
pub fn verdict(metric: Metric, change: &Change) -> String {
    let is_latency = matches!(metric, Metric::P50 | Metric::P90 | Metric::P99);
    let word = match change.verdict {
        Verdict::Worse if is_latency => "slower",
        Verdict::Worse => "worse",
        Verdict::Better if is_latency => "faster",
        Verdict::Better => "better",
        Verdict::Differs => "differs",
        Verdict::NotSignificant => "not significant",
        Verdict::NotEnough => "not enough to say",
        Verdict::NotSeen => "not seen on both sides",
        Verdict::NotTested => "not tested: data is missing",
    };
    let mut text = word.to_owned();
    if let (Some(p), true) = (change.p_adjusted, is_tested(change.verdict)) {
        text += &match p < SMALLEST {
            true => format!(", p < {SMALLEST}"),
            false => format!(", p = {p:.3}"),
        };
    }
    let [before, after] = change.samples;
    let thin = thin(metric, before.min(after)).filter(|_| change.verdict != Verdict::NotSeen);
    if let Some(thin) = thin {
        text += &format!(" ({thin})");
    }
    text
}

fn is_tested(verdict: Verdict) -> bool {
    verdict.is_significant() || verdict == Verdict::NotSignificant
}

/// What to know of a figure from so few samples; None where they are enough.
pub fn thin(metric: Metric, samples: u64) -> Option<String> {
    let transactions = || plural(samples, "transaction", "transactions");
    match metric {
        _ if samples == 0 => None,
        Metric::P99 if samples < FEW_P99 => Some(format!("largest of {}", count(samples))),
        _ if samples < FEW => Some(format!("from {}", transactions())),
        _ => None,
    }
}

/// An endpoint in one line.
pub fn name(name: &EndpointName) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    let method = part(&name.method);
    match &name.service {
        Some(service) => format!("{} {service}/{method}", name.protocol),
        None => {
            let (host, path) = (part(&name.host), part(&name.path));
            let blank = if path.starts_with('/') { "" } else { " " };
            format!("{} {method} {host}{blank}{path}", name.protocol)
        }
    }
}

/// What became of an endpoint.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Worse => "worse",
        Outcome::Mixed => "mixed",
        Outcome::New => "new",
        Outcome::Vanished => "vanished",
        Outcome::Better => "better",
        Outcome::Rate => "rate",
        Outcome::NotSignificant => "no evidence",
        Outcome::NotEnough => "not enough",
    }
}

/// Whether an endpoint is shown unless all are.
pub fn is_change(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::NotSignificant | Outcome::NotEnough)
}

/// One line that says it all.
pub fn headline(diff: &Diff) -> String {
    let all = diff.endpoints.len() as u64;
    if all == 0 {
        return "Nothing to compare: no transaction on either side".to_owned();
    }
    let counts = &diff.counts;
    let parts = [
        (counts.worse, "worse"),
        (counts.mixed, "worse and better"),
        (counts.better, "better"),
        (counts.new, "new"),
        (counts.vanished, "vanished"),
        (counts.rate, "with another rate only"),
        (counts.not_significant, "without a significant change"),
        (counts.not_enough, "with not enough to say"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(number, what)| format!("{} {what}", count(*number))).collect();
    format!("{}: {}", plural(all, "endpoint", "endpoints"), parts.join(", "))
}

/// What a filter took.
pub fn filter(filter: &Filtered, all: u64) -> String {
    let mut parts = Vec::new();
    if let Some(expression) = &filter.expression {
        parts.push(format!("where {expression}"));
    }
    for (name, bound) in [("since", &filter.since), ("until", &filter.until)] {
        parts.extend(bound.as_ref().map(|bound| format!("{name} {}", bound.given)));
    }
    let transactions = plural(all, "transaction", "transactions");
    format!("{} of {transactions}: {}", count(filter.taken), parts.join(", "))
}

/// What a rule came to.
pub fn ruling(rule: &Ruling) -> String {
    let held = plural(rule.held, "endpoint", "endpoints");
    let mut text = match rule.failed.len() as u64 {
        0 => format!("{held} within"),
        failed => {
            let failed = plural(failed, "endpoint", "endpoints");
            format!("passed at {failed}, {held} within")
        }
    };
    if rule.undecided > 0 {
        text += &format!(", {} that cannot be decided", count(rule.undecided));
    }
    text
}

/// Where a rule was passed, without the endpoint's name.
pub fn passed(rule: &Ruling, passed: &Passed) -> String {
    let metric = Metric::ALL.into_iter().find(|metric| metric.name() == rule.metric);
    let metric = metric.unwrap_or(Metric::Errors);
    let value = |value: Option<f64>| value.map_or("?".to_owned(), |value| figure(metric, value));
    let (before, after) = (value(passed.before), value(passed.after));
    match metric {
        Metric::New => transactions(passed.after),
        Metric::Vanished => transactions(passed.before) + " before",
        _ => {
            let note = match passed.significant {
                Some(true) => "significant",
                Some(false) => "not significant: may be chance",
                None => "not tested",
            };
            format!("{before} → {after}, {note}")
        }
    }
}

fn transactions(count: Option<f64>) -> String {
    plural(count.unwrap_or(0.0) as u64, "transaction", "transactions")
}

/// How to read it.
pub fn note(diff: &Diff) -> String {
    format!(
        "Of what is called worse, better or another rate at most {:.0} % is expected to be \
         chance, if transactions are independent of each other. Not significant is not \
         the same as unchanged.",
        diff.level * 100.0
    )
}
