//! From two reports to what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::model::{
    Caveat, Change, Counts, Diff, EdgeChanges, EndpointChange, EndpointName, Outcome, SCHEMA, Side,
    Verdict, Which,
};
use super::rule::Rule;
use super::significance::{self, Events, Part, Tails, adjusted};
use crate::analyze::report::model::{Edge, Endpoint, Figures, Percentiles, Report};
use crate::analyze::report::text::names;
use crate::analyze::report::text::units::{plural, share};

/// Of the changes called significant at most this share is expected to be chance.
pub const LEVEL: f64 = 0.05;
/// Fewer samples than this on a side say nothing, unless what they say is significant.
pub const FEW: u64 = 20;
/// The same for the 99th percentile: of fewer it is the largest value.
pub const FEW_P99: u64 = 100;

/// What stands in a path for names of which there are too many.
const ANY: &str = "{*}";

/// Which endpoints come first; those that are equal are sorted by transactions, then by
/// name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// The largest significant worsening, then new and vanished ones, then improvements
    #[default]
    Worst,
    /// Most transactions afterwards
    Count,
    /// The largest difference of the error rate
    Errors,
    /// The largest growth of the median latency
    P50,
    /// The largest growth of the 90th percentile
    P90,
    /// The largest growth of the 99th percentile
    P99,
    /// The largest change of the rate, up or down
    Rate,
    /// By name
    Name,
}

/// Compares two reports, and holds what differs against rules. With `significant` a rule
/// about a change is passed only by changes that are significant.
pub fn compare(
    before: &Report,
    after: &Report,
    order: Order,
    rules: &[Rule],
    significant: bool,
) -> Diff {
    let sides = [Side::of(before), Side::of(after)];
    let is_whole = sides.iter().all(Side::is_whole);
    let spans = [before, after].map(rate_span);
    let mut endpoints: Vec<_> = pairs(before, after)
        .into_iter()
        .map(|(name, pair)| endpoint(name, pair, spans, is_whole))
        .collect();
    judge(&mut endpoints);
    sort(&mut endpoints, order);
    let rules = rules.iter().map(|rule| rule.hold(&endpoints, significant)).collect();
    let mut counts = Counts::default();
    endpoints.iter().for_each(|endpoint| *counts.of(endpoint.outcome) += 1);
    let [before_side, after_side] = sides;
    let caveats = caveats(&before_side, Which::Before)
        .chain(folded(&endpoints, Outcome::Vanished, Which::Before))
        .chain(caveats(&after_side, Which::After))
        .chain(folded(&endpoints, Outcome::New, Which::After));
    Diff {
        schema: SCHEMA,
        level: LEVEL,
        caveats: caveats.collect(),
        before: before_side,
        after: after_side,
        rules,
        counts,
        endpoints,
        edges: edges(before, after),
    }
}

impl Counts {
    /// The count of an outcome.
    fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Worse => &mut self.worse,
            Outcome::Mixed => &mut self.mixed,
            Outcome::Better => &mut self.better,
            Outcome::Rate => &mut self.rate,
            Outcome::NotSignificant => &mut self.not_significant,
            Outcome::NotEnough => &mut self.not_enough,
            Outcome::New => &mut self.new,
            Outcome::Vanished => &mut self.vanished,
        }
    }
}

/// How long transactions were counted: what rates are over.
fn rate_span(report: &Report) -> Option<u64> {
    let all = &report.transactions.figures;
    let rate = all.rate_per_second.filter(|rate| *rate > 0.0);
    // Within --since and --until it is less than the capture's span.
    rate.map(|rate| (all.count as f64 / rate * 1e9).round() as u64).or(report.capture.span_ns)
}

/// An endpoint before and afterwards.
type Pair<'r> = [Option<&'r Endpoint>; 2];

fn pairs<'r>(before: &'r Report, after: &'r Report) -> BTreeMap<EndpointName, Pair<'r>> {
    let mut pairs: BTreeMap<EndpointName, Pair<'r>> = BTreeMap::new();
    for (side, report) in [before, after].into_iter().enumerate() {
        for endpoint in &report.endpoints {
            let pair = pairs.entry(EndpointName::of(endpoint)).or_default();
            if let Some(place) = pair.get_mut(side) {
                *place = Some(endpoint);
            }
        }
    }
    pairs
}

impl EndpointName {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            protocol: endpoint.protocol.clone(),
            host: endpoint.host.clone(),
            service: endpoint.service.clone(),
            method: endpoint.method.clone(),
            path: endpoint.path.clone(),
        }
    }
}

fn endpoint(
    name: EndpointName,
    pair: Pair<'_>,
    spans: [Option<u64>; 2],
    is_whole: bool,
) -> EndpointChange {
    let figures = pair.map(|endpoint| endpoint.map(|endpoint| &endpoint.figures));
    let [before, after] = figures;
    EndpointChange {
        name,
        outcome: match figures {
            [None, _] => Outcome::New,
            [_, None] => Outcome::Vanished,
            _ => Outcome::NotSignificant,
        },
        rate: rate(figures, spans, is_whole),
        error_rate: error_rate(figures),
        p50: percentile(pair, 50, FEW, |p| p.p50_ns),
        p90: percentile(pair, 90, FEW, |p| p.p90_ns),
        p99: percentile(pair, 99, FEW_P99, |p| p.p99_ns),
        before: before.cloned(),
        after: after.cloned(),
    }
}

/// A change whose verdict is still to come, and which has been tested where `tails` says
/// what that gave.
fn change(values: [Option<f64>; 2], samples: [u64; 2], tails: Option<Tails>) -> Change {
    let [before, after] = values;
    let both = before.zip(after);
    Change {
        before,
        after,
        difference: both.map(|(before, after)| after - before),
        ratio: both.filter(|(before, _)| *before > 0.0).map(|(before, after)| after / before),
        samples,
        p: tails.filter(|_| both.is_some()).map(Tails::two_sided),
        p_adjusted: None,
        verdict: if both.is_some() { Verdict::NotEnough } else { Verdict::NotSeen },
    }
}

fn rate(figures: [Option<&Figures>; 2], spans: [Option<u64>; 2], is_whole: bool) -> Change {
    let samples = figures.map(|figures| figures.map_or(0, |figures| figures.count));
    let rates = figures.map(|figures| figures.and_then(|figures| figures.rate_per_second));
    let events = |side: usize| {
        let (count, span) = (samples.get(side), spans.get(side).copied().flatten());
        Some(Events { count: *count?, span_ns: span? })
    };
    let tails = events(0).zip(events(1)).filter(|_| is_whole);
    let tails = tails.map(|(before, after)| significance::rates(before, after));
    let mut change = change(rates, samples, tails);
    if !is_whole && change.verdict == Verdict::NotEnough {
        change.verdict = Verdict::NotTested;
    }
    change
}

/// Failed ones among those whose outcome is known: an unknown one is no success.
pub(super) fn known(figures: &Figures) -> Part {
    Part { of: figures.count.saturating_sub(figures.unknown), hits: figures.errors }
}

fn error_rate(figures: [Option<&Figures>; 2]) -> Change {
    let parts = figures.map(|figures| figures.map(known).filter(|part| part.of > 0));
    let samples = parts.map(|part| part.map_or(0, |part| part.of));
    let shares = parts.map(|part| part.map(|part| part.hits as f64 / part.of as f64));
    let [before, after] = parts;
    let tails = before.zip(after).map(|(before, after)| significance::shares(before, after));
    change(shares, samples, tails)
}

fn percentile(pair: Pair<'_>, percent: u64, few: u64, pick: fn(&Percentiles) -> u64) -> Change {
    let latency = pair.map(|endpoint| endpoint.and_then(|e| e.figures.latency.as_ref()));
    let samples = latency.map(|latency| latency.map_or(0, |latency| latency.count));
    let values = latency.map(|latency| latency.map(|latency| pick(latency) as f64));
    let [before, after] = pair;
    let enough = samples.iter().all(|count| *count >= few);
    let both = before.zip(after).filter(|_| enough);
    let tails = both.map(|(before, after)| {
        significance::percentiles(&before.latencies, &after.latencies, percent)
    });
    change(values, samples, tails)
}

/// Says what each change means, once all of them are tested. Rates are what clients did:
/// how many of them differ must not decide on what the service did.
fn judge(endpoints: &mut [EndpointChange]) {
    let mut rates: Vec<_> = endpoints.iter_mut().map(|endpoint| &mut endpoint.rate).collect();
    adjust(&mut rates);
    for rate in rates {
        decide(rate, FEW, |_| Verdict::Differs);
    }
    let behaviour = endpoints.iter_mut().flat_map(|endpoint| {
        let EndpointChange { error_rate, p50, p90, p99, .. } = endpoint;
        [error_rate, p50, p90, p99]
    });
    let mut behaviour: Vec<_> = behaviour.collect();
    adjust(&mut behaviour);
    for change in behaviour {
        let worse = |difference| if difference > 0.0 { Verdict::Worse } else { Verdict::Better };
        decide(change, FEW, worse);
    }
    for endpoint in endpoints {
        let seen = endpoint.outcome;
        if !matches!(seen, Outcome::New | Outcome::Vanished) {
            endpoint.outcome = outcome(endpoint);
        }
    }
}

fn adjust(changes: &mut [&mut Change]) {
    let values: Vec<_> = changes.iter().filter_map(|change| change.p).collect();
    let tested = changes.iter_mut().filter(|change| change.p.is_some());
    for (change, p) in tested.zip(adjusted(&values)) {
        change.p_adjusted = Some(p);
    }
}

fn decide(change: &mut Change, few: u64, significant: impl Fn(f64) -> Verdict) {
    let (Some(p), Some(difference)) = (change.p_adjusted, change.difference) else { return };
    change.verdict = if p <= LEVEL && difference != 0.0 {
        significant(difference)
    } else if change.samples.iter().any(|count| *count < few) {
        Verdict::NotEnough
    } else {
        Verdict::NotSignificant
    };
}

fn outcome(endpoint: &EndpointChange) -> Outcome {
    let has = |verdict: Verdict| endpoint.behaviour().iter().any(|c| c.verdict == verdict);
    match (has(Verdict::Worse), has(Verdict::Better)) {
        (true, true) => Outcome::Mixed,
        (true, false) => Outcome::Worse,
        (false, true) => Outcome::Better,
        _ if endpoint.rate.verdict.is_significant() => Outcome::Rate,
        _ if has(Verdict::NotSignificant) => Outcome::NotSignificant,
        _ => Outcome::NotEnough,
    }
}

/// How much worse an endpoint is: the largest significant growth, of a latency as it is,
/// of failures with half a failure more on both sides, so that there is a growth from none.
fn worsening(endpoint: &EndpointChange) -> f64 {
    let worse = |change: &Change| change.verdict == Verdict::Worse;
    let latency = [&endpoint.p50, &endpoint.p90, &endpoint.p99];
    let latency = latency.into_iter().filter(|change| worse(change));
    let latency = latency.map(|change| change.ratio.unwrap_or(f64::INFINITY));
    let errors = Some(&endpoint.error_rate).filter(|change| worse(change)).and_then(|_| {
        let odds = |part: Part| (part.hits as f64 + 0.5) / (part.of as f64 + 1.0);
        Some(odds(known(endpoint.after.as_ref()?)) / odds(known(endpoint.before.as_ref()?)))
    });
    latency.chain(errors).fold(0.0, f64::max)
}

fn sort(endpoints: &mut [EndpointChange], order: Order) {
    let growth = |change: &Change| change.ratio.unwrap_or(0.0);
    let size = |endpoint: &EndpointChange| match order {
        Order::Worst => worsening(endpoint),
        Order::Count | Order::Name => 0.0,
        Order::Errors => endpoint.error_rate.difference.unwrap_or(f64::NEG_INFINITY),
        Order::P50 => growth(&endpoint.p50),
        Order::P90 => growth(&endpoint.p90),
        Order::P99 => growth(&endpoint.p99),
        Order::Rate => endpoint.rate.ratio.map_or(0.0, |ratio| ratio.ln().abs()),
    };
    let class = |endpoint: &EndpointChange| match (order, endpoint.outcome) {
        (Order::Worst, Outcome::Mixed) => Some(Outcome::Worse),
        (Order::Worst, outcome) => Some(outcome),
        _ => None,
    };
    let count = |endpoint: &EndpointChange| {
        let of = |figures: &Option<Figures>| figures.as_ref().map_or(0, |figures| figures.count);
        (of(&endpoint.after), of(&endpoint.before))
    };
    endpoints.sort_by(|a, b| {
        let by_name = a.name.cmp(&b.name);
        if order == Order::Name {
            return by_name;
        }
        let by_class = class(a).cmp(&class(b));
        let by_size = by_class.then_with(|| size(b).total_cmp(&size(a)));
        by_size.then_with(|| count(b).cmp(&count(a))).then(by_name)
    });
}

/// Pairs of hosts by their addresses; by their names where both captures say names, since
/// the addresses of a workload's pods come and go.
fn edges(before: &Report, after: &Report) -> EdgeChanges {
    let by_name = [before, after].iter().all(|report| !report.workloads.is_empty());
    let place = |edge: &Edge| place(edge, by_name);
    let [in_before, in_after] = [before, after]
        .map(|report| report.edges.iter().map(place).collect::<BTreeSet<EdgePlace>>());
    let only = |report: &Report, other: &BTreeSet<EdgePlace>| -> Vec<Edge> {
        report.edges.iter().filter(|edge| !other.contains(&place(edge))).cloned().collect()
    };
    EdgeChanges {
        both: in_before.intersection(&in_after).count() as u64,
        new: only(after, &in_before),
        vanished: only(before, &in_after),
    }
}

/// An end of a pair: by its names, or by its address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum EndPlace {
    Named(Vec<String>),
    Client(IpAddr),
    Server(SocketAddr),
}

/// Client and server.
type EdgePlace = [EndPlace; 2];

fn place(edge: &Edge, by_name: bool) -> EdgePlace {
    let named = |names: &Vec<String>| {
        (by_name && !names.is_empty()).then(|| EndPlace::Named(names.clone()))
    };
    [
        named(&edge.client_workloads).unwrap_or(EndPlace::Client(edge.client)),
        named(&edge.server_workloads).unwrap_or(EndPlace::Server(edge.server)),
    ]
}

/// Why a difference from or to this side may be none of what was captured.
fn caveats(side: &Side, which: Which) -> impl Iterator<Item = Caveat> {
    let mut texts = Vec::new();
    if !side.loss.none_known {
        texts.push(names::missing(&side.loss));
    }
    if side.interrupted {
        texts.push("INTERRUPTED: ONLY WHAT WAS READ UNTIL THEN IS COMPARED".to_owned());
    }
    if let Some(other) = &side.endpoints_other {
        let transactions = plural(other.count, "transaction", "transactions");
        texts.push(format!(
            "{transactions} of endpoints past the limit on endpoints are not compared, and what \
             is new or has vanished may be among them"
        ));
    }
    if side.edges_other.is_some() {
        texts.push("pairs of hosts past the limit on pairs are not compared".to_owned());
    }
    if let Some(filter) = side.filter.as_ref().filter(|filter| filter.undecided > 0) {
        let transactions = plural(filter.undecided, "transaction", "transactions");
        texts.push(format!(
            "{transactions} left out, since what decides on the filter was not seen"
        ));
    }
    let all = &side.transactions;
    if all.unknown > 0 {
        let part = share(all.unknown, all.count);
        texts.push(format!("the outcome of {part} of the transactions was not seen"));
    }
    texts.into_iter().map(move |text| Caveat { side: which, text })
}

/// Names that are one endpoint on this side and several on the other: `kind` is what
/// endpoints of this side only are.
fn folded(endpoints: &[EndpointChange], kind: Outcome, which: Which) -> Option<Caveat> {
    let path = |endpoint: &EndpointChange| endpoint.name.path.clone();
    let folds = |path: &String| path.contains(ANY);
    let mut paths = endpoints.iter().filter(|e| e.outcome == kind).filter_map(path).filter(folds);
    let first = paths.next()?;
    let more = match paths.count() as u64 {
        0 => String::new(),
        more => format!(" and in {}", plural(more, "other place", "other places")),
    };
    let text = format!(
        "names in {first}{more} are one endpoint on this side only, so what is new or has \
         vanished there may not be: --route names a place for both sides"
    );
    Some(Caveat { side: which, text })
}
