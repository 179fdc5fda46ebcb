//! `--fail-on`: a threshold as it is written, and endpoints held against it.
//!
//! `METRIC OP VALUE`. A value with a sign is about the change (`p99 > +20%`,
//! `p50 > +5ms`, `error_rate > +0.5pp`), one without about how it is afterwards
//! (`error_rate > 1%`). What was not seen is neither within nor past a threshold.

use std::fmt;
use std::str::FromStr;

use super::model::{Change, EndpointChange, Outcome, Passed, RuleVerdict, Ruling, Verdict};
use crate::analyze::filter::{Problem, nearest};
use crate::analyze::report::model::Figures;

/// What is held against a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Transactions per second.
    Rate,
    /// Failed transactions.
    Errors,
    /// Failed transactions among those whose outcome is known.
    ErrorRate,
    /// Median latency.
    P50,
    /// 90th percentile.
    P90,
    /// 99th percentile.
    P99,
    /// Endpoints that were only seen afterwards.
    New,
    /// Endpoints that were only seen before.
    Vanished,
}

impl Metric {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Rate,
        Self::Errors,
        Self::ErrorRate,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::New,
        Self::Vanished,
    ];

    /// As it stands in a rule.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Errors => "errors",
            Self::ErrorRate => "error_rate",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::New => "new",
            Self::Vanished => "vanished",
        }
    }

    /// It at an endpoint, in nanoseconds, shares or counts. Of new and vanished endpoints
    /// it is how many transactions they have.
    pub fn of(self, endpoint: &EndpointChange) -> Change {
        let counts = |count: fn(&Figures) -> u64| {
            let of = |side: &Option<Figures>| side.as_ref().map(|figures| count(figures) as f64);
            // Whether failures differ is tested by their share.
            let (before, after) = (of(&endpoint.before), of(&endpoint.after));
            Change { before, after, ..endpoint.error_rate }
        };
        match self {
            Self::Rate => endpoint.rate,
            Self::Errors => counts(|figures| figures.errors),
            Self::ErrorRate => endpoint.error_rate,
            Self::P50 => endpoint.p50,
            Self::P90 => endpoint.p90,
            Self::P99 => endpoint.p99,
            Self::New | Self::Vanished => counts(|figures| figures.count),
        }
    }

    /// Values that it takes, for those who wrote another one.
    const fn examples(self) -> &'static str {
        match self {
            Self::Rate => "+20%, -20%, +50/s or 100/s",
            Self::Errors => "10, +10 or +20%",
            Self::ErrorRate => "1%, +0.5pp or +20%",
            Self::P50 | Self::P90 | Self::P99 => "+20%, +5ms or 200ms",
            Self::New | Self::Vanished => "0 or 3",
        }
    }

    /// Nanoseconds, shares or counts: what one of this unit is; None where the metric does
    /// not take it.
    fn unit(self, unit: &str, signed: bool) -> Option<f64> {
        match (self, unit) {
            (Self::P50 | Self::P90 | Self::P99, unit) => match unit {
                "ns" => Some(1.0),
                "us" | "µs" | "μs" => Some(1e3),
                "ms" => Some(1e6),
                "s" => Some(1e9),
                "m" | "min" => Some(60e9),
                _ => None,
            },
            (Self::ErrorRate, "%") if !signed => Some(0.01),
            (Self::ErrorRate, "pp") if signed => Some(0.01),
            (Self::Rate, "" | "/s") | (Self::Errors, "") => Some(1.0),
            (Self::New | Self::Vanished, "") if !signed => Some(1.0),
            _ => None,
        }
    }
}

/// Which side of a threshold is past it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    More,
    AtLeast,
    Less,
    AtMost,
}

impl Operator {
    /// By how they are written, the longer ones first.
    const ALL: [(&'static str, Self); 4] =
        [(">=", Self::AtLeast), ("<=", Self::AtMost), (">", Self::More), ("<", Self::Less)];

    fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::More => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Less => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }
}

/// What a threshold is of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Threshold {
    /// Of the figure afterwards, in its unit.
    Level(f64),
    /// Of the difference, in the figure's unit.
    Difference(f64),
    /// Of the difference as a share of the figure before.
    Relative(f64),
}

/// A threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    text: String,
    metric: Metric,
    operator: Operator,
    threshold: Threshold,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Rule {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Parser { text, at: 0 }.rule()
    }
}

/// Reads a rule from its beginning to its end.
struct Parser<'t> {
    text: &'t str,
    /// Bytes that are read.
    at: usize,
}

impl<'t> Parser<'t> {
    fn rule(mut self) -> Result<Rule, Problem> {
        let metric = self.metric()?;
        let operator = self.operator()?;
        let threshold = self.threshold(metric)?;
        Ok(Rule { text: self.text.trim().to_owned(), metric, operator, threshold })
    }

    /// What is left, without blanks before it.
    fn rest(&mut self) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    /// Takes so many bytes, and says which characters they are.
    fn take(&mut self, len: usize) -> (&'t str, (usize, usize)) {
        let from = self.text.get(..self.at).unwrap_or_default().chars().count();
        let taken = self.text.get(self.at..self.at + len).unwrap_or_default();
        self.at += len;
        (taken, (from, taken.chars().count()))
    }

    fn problem(&self, place: (usize, usize), what: impl Into<String>) -> Problem {
        Problem::new(self.text, place, what)
    }

    fn metric(&mut self) -> Result<Metric, Problem> {
        let rest = self.rest();
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let (name, place) = self.take(rest.find(|c: char| !is_name(c)).unwrap_or(rest.len()));
        let known = Metric::ALL.into_iter().find(|metric| metric.name() == name);
        known.ok_or_else(|| {
            let names = Metric::ALL.map(Metric::name);
            let hint = match nearest(name, names) {
                Some(name) => format!("did you mean {name}?"),
                None => format!("there are {}", names.join(", ")),
            };
            let what = if name.is_empty() {
                "here has to be a metric".to_owned()
            } else {
                format!("there is no metric {name}")
            };
            self.problem(place, what).hint(hint)
        })
    }

    fn operator(&mut self) -> Result<Operator, Problem> {
        let rest = self.rest();
        if let Some((text, operator)) = Operator::ALL.iter().find(|(op, _)| rest.starts_with(op)) {
            self.take(text.len());
            return Ok(*operator);
        }
        let (_, place) = self.take(rest.chars().next().map_or(0, char::len_utf8));
        Err(self.problem(place, "here has to be one of >, >=, < and <="))
    }

    fn threshold(&mut self, metric: Metric) -> Result<Threshold, Problem> {
        let rest = self.rest();
        let (value, place) = self.take(rest.trim_end().len());
        let wrong = |what: String| {
            let hint = format!("{} takes {}", metric.name(), metric.examples());
            self.problem(place, what).hint(hint)
        };
        if value.is_empty() {
            return Err(wrong("here has to be a value".to_owned()));
        }
        let unsigned = value.strip_prefix(['+', '-']);
        let digits = unsigned.unwrap_or(value);
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, unit) =
            digits.split_at(digits.find(|c: char| !is_number(c)).unwrap_or(digits.len()));
        let number: f64 = number.parse().map_err(|_| wrong(format!("{value} is not a number")))?;
        let number = if value.starts_with('-') { -number } else { number };
        let (unit, signed) = (unit.trim(), unsigned.is_some());
        let counts = matches!(metric, Metric::New | Metric::Vanished);
        if unit == "%" && signed && !counts {
            return Ok(Threshold::Relative(number / 100.0));
        }
        // Zero is the same in all units.
        let one = match metric.unit(unit, signed) {
            None if number == 0.0 && unit.is_empty() && !(counts && signed) => 1.0,
            one => one.ok_or_else(|| wrong(told(value, unit, signed)))?,
        };
        Ok(match signed {
            true => Threshold::Difference(number * one),
            false => Threshold::Level(number * one),
        })
    }
}

/// What is wrong with a value.
fn told(value: &str, unit: &str, signed: bool) -> String {
    match (unit, signed) {
        ("", _) => format!("{value} has no unit"),
        ("%" | "pp", false) => format!("{value} is about a change: it needs a sign"),
        ("pp", true) => format!("{value} is a difference of shares"),
        _ => format!("{value} has a unit that does not fit"),
    }
}

impl Rule {
    /// Holds endpoints against it. With `significant` changes that are not are within.
    pub fn hold(&self, endpoints: &[EndpointChange], significant: bool) -> Ruling {
        match self.metric {
            Metric::New => return self.hold_count(endpoints, Outcome::New),
            Metric::Vanished => return self.hold_count(endpoints, Outcome::Vanished),
            _ => {}
        }
        let (mut held, mut undecided, mut passed) = (0, 0, Vec::new());
        for endpoint in endpoints {
            match self.at(endpoint, significant) {
                Some((true, size, at)) => passed.push((size, at)),
                Some((false, ..)) => held += 1,
                None => undecided += 1,
            }
        }
        // Stable: what is equal stays in the order of endpoints.
        passed.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        let verdict = match (passed.is_empty(), held > 0) {
            (false, _) => RuleVerdict::Failed,
            (true, true) => RuleVerdict::Held,
            (true, false) => RuleVerdict::Undecided,
        };
        let failed = passed.into_iter().map(|(_, passed)| passed).collect();
        self.ruling(verdict, [held, undecided], failed)
    }

    /// Holds the number of endpoints of a kind against it.
    fn hold_count(&self, endpoints: &[EndpointChange], kind: Outcome) -> Ruling {
        let there: Vec<_> = endpoints.iter().filter(|e| e.outcome == kind).collect();
        // The parser lets nothing but levels through.
        let (Threshold::Level(threshold)
        | Threshold::Difference(threshold)
        | Threshold::Relative(threshold)) = self.threshold;
        let is_past = self.operator.holds(there.len() as f64, threshold);
        let passed = |endpoint: &&EndpointChange| {
            let Change { before, after, .. } = self.metric.of(endpoint);
            Passed { name: endpoint.name.clone(), before, after, significant: None }
        };
        let failed: Vec<_> = there.iter().filter(|_| is_past).map(passed).collect();
        let verdict = if is_past { RuleVerdict::Failed } else { RuleVerdict::Held };
        let held = (endpoints.len() - failed.len()) as u64;
        self.ruling(verdict, [held, 0], failed)
    }

    fn ruling(&self, verdict: RuleVerdict, counts: [u64; 2], failed: Vec<Passed>) -> Ruling {
        let ([held, undecided], metric) = (counts, self.metric.name());
        Ruling { rule: self.text.clone(), metric, verdict, held, undecided, failed }
    }

    /// Whether an endpoint is past it, by how much, and what to say then; None where
    /// nobody knows.
    fn at(&self, endpoint: &EndpointChange, significant: bool) -> Option<(bool, f64, Passed)> {
        let change = self.metric.of(endpoint);
        let (after, before) = (change.after, change.before);
        let (value, threshold) = match self.threshold {
            Threshold::Level(level) => (after?, level),
            Threshold::Difference(difference) => (after? - before?, difference),
            Threshold::Relative(share) => (relative(before?, after?), share),
        };
        let is_change = !matches!(self.threshold, Threshold::Level(_));
        let mut past = self.operator.holds(value, threshold);
        if past && is_change && significant {
            past = match change.verdict {
                Verdict::Worse | Verdict::Better | Verdict::Differs => true,
                Verdict::NotSignificant => false,
                Verdict::NotEnough | Verdict::NotSeen | Verdict::NotTested => return None,
            };
        }
        let tested = change.p_adjusted.is_some();
        let significant = tested.then(|| change.verdict.is_significant());
        Some((past, value, Passed { name: endpoint.name.clone(), before, after, significant }))
    }
}

/// A difference as a share of what was there before: from nothing any growth is endless.
fn relative(before: f64, after: f64) -> f64 {
    match (before == 0.0, after == before) {
        (_, true) => 0.0,
        (true, false) => f64::INFINITY,
        (false, false) => (after - before) / before,
    }
}
