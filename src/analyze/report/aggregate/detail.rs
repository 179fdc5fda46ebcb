//! What only a page shows, summed up where one is asked for.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::connections::Outstanding;
use super::example::example;
use super::latency::coarse_lowest;
use super::samples::{Cause, FAILURES, Order, Smallest, order};
use super::stats::Facts;
use super::timeline::{Cell, Timeline, axis};
use crate::analyze::report::detail::{
    self, CoarseStep, Detail, EndpointDetail, Example, Outcomes, Step, StepLatency,
};
use crate::analyze::report::model::Time;
use crate::analyze::report::{FlowTotals, Item};
use crate::analyze::transaction::Outcome;
use crate::time::{Timestamp, earliest, latest};

/// Steps of the timeline, at most: as many as a chart has room for.
const STEPS: usize = 240;
/// Steps of each endpoint and way to fail: a line of a table has room for a
/// small chart, and there can be thousands.
const FEW_STEPS: usize = 48;
/// Bands of latency in the heat map, at most.
const BANDS: usize = 36;
/// Least number of slowest transactions that a page has.
const SLOWEST: usize = 25;
/// Failed transactions of each kind.
const FAILED: usize = 3;
/// Slowest and failed transactions of each endpoint.
const OF_ENDPOINT: usize = 2;

type Slowest = Smallest<(Reverse<u64>, Order), Example>;
type Earliest = Smallest<Order, Example>;

/// Sums over the transactions and connections of one shard.
pub struct Sums {
    headers: bool,
    timeline: Timeline<Sum>,
    untimed: u64,
    /// Earliest and latest time of the timeline.
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    slowest: Slowest,
    causes: BTreeMap<Cause, CauseSums>,
    connections: Outstanding,
}

impl Sums {
    /// Nothing yet; `top` slowest transactions, or more where that is few.
    pub fn new(top: usize, headers: bool) -> Self {
        Self {
            headers,
            timeline: Timeline::new(STEPS),
            untimed: 0,
            first: None,
            last: None,
            slowest: Smallest::new(top.max(SLOWEST)),
            causes: BTreeMap::new(),
            connections: Outstanding::new(),
        }
    }

    /// Adds a finished transaction.
    pub fn add(&mut self, item: &Item<'_>, facts: &Facts) {
        match item.transaction.rank() {
            Some(at) => {
                self.seen(at);
                self.timeline.at(at).add(item.transaction.outcome, facts);
            }
            None => self.untimed += 1,
        }
        if let Some(latency) = facts.latency {
            let rank = (Reverse(latency.nanos()), order(item));
            self.slowest.add(rank, || example(item, self.headers));
        }
        if facts.error {
            self.add_failed(item);
        }
    }

    fn seen(&mut self, at: Timestamp) {
        self.first = earliest(self.first, Some(at));
        self.last = latest(self.last, Some(at));
    }

    fn add_failed(&mut self, item: &Item<'_>) {
        let mut cause = Cause::of(item);
        if self.causes.len() >= FAILURES && !self.causes.contains_key(&cause) {
            cause = Cause::Outcome(item.transaction.outcome);
        }
        let sums = self.causes.entry(cause).or_default();
        sums.count += 1;
        if let Some(at) = item.transaction.rank() {
            sums.first = earliest(sums.first, Some(at));
            sums.last = latest(sums.last, Some(at));
            sums.steps.at(at).add(true, item.transaction.latency_ns());
        }
        sums.examples.add(order(item), || example(item, self.headers));
    }

    /// Adds a connection that is over.
    pub fn add_flow(&mut self, flow: &FlowTotals) {
        if let Some(at) = flow.first {
            self.seen(at);
            self.timeline.at(at).opened += 1;
        }
        self.connections.add(flow);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Self) {
        self.timeline.merge(other.timeline);
        self.untimed += other.untimed;
        self.first = earliest(self.first, other.first);
        self.last = latest(self.last, other.last);
        self.slowest.merge(other.slowest);
        for (cause, theirs) in other.causes {
            let ours = self.causes.entry(cause).or_default();
            ours.count += theirs.count;
            ours.first = earliest(ours.first, theirs.first);
            ours.last = latest(ours.last, theirs.last);
            ours.steps.merge(theirs.steps);
            ours.examples.merge(theirs.examples);
        }
        self.connections.merge(other.connections);
    }

    /// What the page shows.
    pub fn finish(self) -> Detail {
        let ends = self.first.zip(self.last).map(|(first, last)| (first.nanos(), last.nanos()));
        let few = ends.map(|(first, last)| axis(first, last, FEW_STEPS)).unwrap_or_default();
        let causes = self.causes.into_iter();
        let mut causes: Vec<_> = causes.map(|(cause, sums)| sums.finish(cause, few)).collect();
        // Stable, as the report's errors are.
        causes.sort_by_key(|cause| Reverse(cause.count));
        Detail {
            timeline: self.timeline.finish().map(|steps| finish_timeline(steps, few)),
            untimed: self.untimed,
            slowest: self.slowest.finish(),
            causes,
            connections: self.connections.finish(),
            headers: self.headers,
        }
    }
}

impl Detail {
    /// Where the few steps of endpoints begin, how long they are and how many.
    pub(super) fn axis(&self) -> (i64, i64, usize) {
        let timeline = self.timeline.as_ref();
        timeline.map(|t| (t.coarse.0, t.coarse.1, t.coarse_len)).unwrap_or_default()
    }
}

/// A step of the timeline.
#[derive(Default)]
struct Sum {
    outcomes: Outcomes,
    opened: u64,
    /// Latencies by coarse class, as far as the highest that came up.
    classes: Vec<u32>,
    max: u64,
}

impl Sum {
    fn add(&mut self, outcome: Outcome, facts: &Facts) {
        if let Some(count) = self.outcomes.get_mut(outcome as usize) {
            *count += 1;
        }
        if let Some(latency) = facts.latency {
            self.max = self.max.max(latency.nanos());
            self.count(latency.coarse(), 1);
        }
    }

    fn count(&mut self, class: usize, times: u32) {
        if self.classes.len() <= class {
            self.classes.resize(class + 1, 0);
        }
        if let Some(count) = self.classes.get_mut(class) {
            *count = count.saturating_add(times);
        }
    }

    fn latency(&self) -> Option<StepLatency> {
        let count: u64 = self.classes.iter().map(|count| u64::from(*count)).sum();
        let at = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut below = 0;
            let class = self.classes.iter().position(|count| {
                below += u64::from(*count);
                below >= rank
            });
            let class = class.unwrap_or(self.classes.len());
            let (from, to) = (coarse_lowest(class), coarse_lowest(class + 1));
            (from + (to - from) / 2).min(self.max)
        };
        let latency = || StepLatency { count, percentiles: [50, 90, 99].map(at), max: self.max };
        (count > 0).then(latency)
    }
}

impl Cell for Sum {
    fn merge(&mut self, other: &Self) {
        for (sum, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += more;
        }
        self.opened += other.opened;
        self.max = self.max.max(other.max);
        for (class, times) in other.classes.iter().enumerate().filter(|(_, times)| **times > 0) {
            self.count(class, *times);
        }
    }
}

/// Coarse classes of latency as the bands of a heat map: the first class, how
/// many make a band, and how many bands.
fn bands(steps: &[Sum]) -> (usize, usize, usize) {
    let used = |step: &Sum| {
        let first = step.classes.iter().position(|count| *count > 0)?;
        Some((first, step.classes.len()))
    };
    let ends = steps.iter().filter_map(used);
    let ends = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let Some((first, end)) = ends else { return (0, 1, 0) };
    let mut classes = 1_usize;
    loop {
        let (from, to) = (first / classes, end.div_ceil(classes));
        if to - from <= BANDS {
            return (from * classes, classes, to - from);
        }
        classes *= 2;
    }
}

fn finish_timeline(
    (start, width, steps): (i64, i64, Vec<Sum>),
    (few_start, few_width, few_len): (i64, i64, usize),
) -> detail::Timeline {
    let (first, classes, len) = bands(&steps);
    let band = |index: usize| coarse_lowest(first + index * classes);
    let finish = |step: Sum| {
        let mut bands = vec![0_u32; len];
        for (class, count) in step.classes.iter().enumerate().skip(first) {
            if let Some(sum) = bands.get_mut((class - first) / classes) {
                *sum = sum.saturating_add(*count);
            }
        }
        Step { outcomes: step.outcomes, opened: step.opened, latency: step.latency(), bands }
    };
    detail::Timeline {
        start,
        width,
        steps: steps.into_iter().map(finish).collect(),
        bands: (0..len).map(band).collect(),
        bands_end: band(len),
        coarse: (few_start, few_width),
        coarse_len: few_len,
    }
}

impl CoarseStep {
    fn add(&mut self, error: bool, latency: Option<u64>) {
        self.count += 1;
        self.errors += u64::from(error);
        self.max = self.max.max(latency.unwrap_or(0));
    }
}

impl Cell for CoarseStep {
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.max = self.max.max(other.max);
    }
}

/// A way to fail.
struct CauseSums {
    count: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    steps: Timeline<CoarseStep>,
    examples: Earliest,
}

impl Default for CauseSums {
    fn default() -> Self {
        let (steps, examples) = (Timeline::new(FEW_STEPS), Smallest::new(FAILED));
        Self { count: 0, first: None, last: None, steps, examples }
    }
}

impl CauseSums {
    fn finish(self, cause: Cause, axis: (i64, i64, usize)) -> detail::Cause {
        let (by, _, name) = cause.describe();
        detail::Cause {
            name,
            by,
            count: self.count,
            first: self.first.map(Time),
            last: self.last.map(Time),
            steps: self.steps.on_axis(axis.0, axis.1, axis.2),
            examples: self.examples.finish(),
        }
    }
}

/// What a page shows of an endpoint.
pub struct EndpointSums {
    steps: Timeline<CoarseStep>,
    slowest: Slowest,
    failed: Earliest,
}

impl Default for EndpointSums {
    fn default() -> Self {
        Self {
            steps: Timeline::new(FEW_STEPS),
            slowest: Smallest::new(OF_ENDPOINT),
            failed: Smallest::new(OF_ENDPOINT),
        }
    }
}

impl EndpointSums {
    /// Adds a transaction. Its examples are without header fields, since there
    /// can be thousands of endpoints.
    pub fn add(&mut self, item: &Item<'_>, facts: &Facts) {
        let nanos = facts.latency.map(|latency| latency.nanos());
        if let Some(at) = item.transaction.rank() {
            self.steps.at(at).add(facts.error, nanos);
        }
        if let Some(nanos) = nanos {
            self.slowest.add((Reverse(nanos), order(item)), || example(item, false));
        }
        if facts.error {
            self.failed.add(order(item), || example(item, false));
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Self) {
        self.steps.merge(other.steps);
        self.slowest.merge(other.slowest);
        self.failed.merge(other.failed);
    }

    /// On that axis: start, length of a step and how many.
    pub fn finish(self, axis: (i64, i64, usize), octaves: Vec<u64>) -> EndpointDetail {
        EndpointDetail {
            steps: self.steps.on_axis(axis.0, axis.1, axis.2),
            octaves,
            slowest: self.slowest.finish(),
            failed: self.failed.finish(),
        }
    }
}
