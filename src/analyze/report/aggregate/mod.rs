//! Transactions and connections summed up into a [`Report`].
//!
//! There is one [`Aggregate`] per shard of flows, and as many shards whatever
//! the number of threads, so that a limit bites at the same place in every
//! run. Nothing depends on the order in which hash tables are walked.

mod cache;
mod connections;
mod counts;
mod detail;
mod edges;
mod endpoints;
mod example;
mod groups;
mod latency;
mod rate;
mod rows;
mod samples;
mod stats;
mod talks;
#[cfg(test)]
mod tests;
mod timeline;
mod wide;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

pub use edges::EDGES;
pub use endpoints::ENDPOINTS;
pub use groups::{By, Sort};
pub(in crate::analyze) use latency::{Latency, Value as LatencyValue};
pub(super) use rate::STEPS;
pub(super) use timeline::axis;

use counts::{bump, count_name, named, ranked};
use detail::Sums;
use edges::{Edges, UNKNOWN_KIND};
use endpoints::Endpoints;
use groups::Grouping;
use rate::Rate;
use rows::RowId;
use samples::{Failures, Slowest};
use stats::{Facts, add};
use talks::Talks;

use super::model::{
    BoundAt, Capture, DamageAt, Filtered, Finding, Findings, Flows, Gap, Gaps, Input, Loss, Named,
    Report, SCHEMA, Talk, Time, Totals,
};
use super::route::Routes;
use super::{BoundTotals, CaptureTotals, FilterTotals, FlowTotals, Item};
use crate::analyze::owner::OwnedEnd;
use crate::analyze::transaction::{Completeness, Outcome};
use crate::analyze::watch::Coverage;
use crate::time::{Timestamp, earliest};

/// Slowest transactions shown unless the user asks for another number.
pub const TOP: usize = 10;
/// Findings listed one by one; all are counted. Traffic that a real endpoint
/// refuses at all is mostly refused for the same few reasons.
const FINDINGS: usize = 100;

/// Finding in the order of the report: connection, packet, way and text first.
type FindingKey = (u64, u64, &'static str, String, SocketAddr, SocketAddr);

/// Sums over the transactions and connections of one shard.
pub struct Aggregate {
    outcomes: [u64; Outcome::ALL.len()],
    completeness: [u64; Completeness::ALL.len()],
    protocols: Vec<(&'static str, u64)>,
    endpoints: Endpoints,
    /// By something else, where somebody asks for that.
    groups: Option<Grouping>,
    sort: Sort,
    /// Over time, where somebody shows that.
    rate: Option<Rate>,
    edges: Edges,
    /// By workload, once an end with a name has come up.
    talks: Option<Box<Talks>>,
    slowest: Slowest,
    failures: Failures,
    anomalies: BTreeMap<&'static str, u64>,
    flows: Flows,
    kinds: Vec<(&'static str, u64)>,
    gaps: [Gap; 3],
    findings: BTreeSet<FindingKey>,
    finding_count: u64,
    /// What only a page shows, where one is asked for.
    detail: Option<Box<Sums>>,
}

impl Default for Aggregate {
    fn default() -> Self {
        Self::new(TOP)
    }
}

impl Aggregate {
    /// An empty one that keeps the `top` slowest transactions.
    pub fn new(top: usize) -> Self {
        Self {
            outcomes: Default::default(),
            completeness: Default::default(),
            protocols: Vec::new(),
            endpoints: Endpoints::new(),
            groups: None,
            sort: Sort::default(),
            rate: None,
            edges: Edges::new(),
            talks: None,
            slowest: Slowest::new(top),
            failures: Failures::default(),
            anomalies: BTreeMap::new(),
            flows: Flows::default(),
            kinds: Vec::new(),
            gaps: Default::default(),
            findings: BTreeSet::new(),
            finding_count: 0,
            detail: None,
        }
    }

    /// The same with rows of the main table that stand for `by`, in this order.
    pub fn grouped(self, by: By, sort: Sort) -> Self {
        let groups = (by != By::Endpoint).then(|| Grouping::new(by));
        Self { groups, sort, ..self }
    }

    /// The same with counts over time, if `wanted`.
    pub fn timed(self, wanted: bool) -> Self {
        Self { rate: wanted.then(Rate::new), ..self }
    }

    /// The same with paths that the user has named.
    pub fn routed(self, routes: &Routes) -> Self {
        Self { endpoints: self.endpoints.routed(routes.clone()), ..self }
    }

    /// The same whose endpoints have their latencies by class in the report.
    pub fn compared(mut self, wanted: bool) -> Self {
        self.endpoints.compared = wanted;
        self
    }

    /// The same that also gathers what only a page shows; `headers` says whether
    /// transactions carry their header fields.
    pub fn detailed(self, top: usize, headers: bool) -> Self {
        Self { detail: Some(Box::new(Sums::new(top, headers))), ..self }
    }

    /// Adds a finished transaction.
    pub fn add(&mut self, item: &Item<'_>) {
        let transaction = item.transaction;
        let latency_ns = transaction.latency_ns();
        bump(&mut self.outcomes, transaction.outcome as usize);
        bump(&mut self.completeness, transaction.completeness as usize);
        count_name(&mut self.protocols, transaction.protocol, 1);
        let facts = Facts::new(transaction, latency_ns);
        let endpoint = self.endpoints.add(item, &facts);
        if let Some(groups) = &mut self.groups {
            groups.add(item, &facts);
        }
        if self.talks.is_some() || item.client_end.is_named() || item.server_end.is_named() {
            self.add_talk(item);
        }
        self.edges.add(item, &facts);
        self.slowest.add(item, latency_ns);
        if let Some(rate) = &mut self.rate {
            rate.add(transaction.start(), transaction.outcome.is_error());
        }
        if transaction.outcome.is_error() {
            self.failures.add(item);
        }
        for name in &transaction.anomalies {
            *self.anomalies.entry(name).or_default() += 1;
        }
        if self.detail.is_some() {
            self.add_detail(item, endpoint);
        }
    }

    /// Adds it to what only a page shows. Kept out of line and given nothing that
    /// is at hand, so that `add` has no more to do where no page is asked for.
    #[cold]
    #[inline(never)]
    fn add_detail(&mut self, item: &Item<'_>, endpoint: RowId) {
        let Some(detail) = &mut self.detail else { return };
        let facts = Facts::new(item.transaction, item.transaction.latency_ns());
        detail.add(item, &facts);
        self.endpoints.detail(endpoint).add(item, &facts);
    }

    /// Adds it to what is told by workload, as above: before it is added to the pairs of
    /// hosts.
    #[cold]
    #[inline(never)]
    fn add_talk(&mut self, item: &Item<'_>) {
        let facts = Facts::new(item.transaction, item.transaction.latency_ns());
        self.talks().add(item, &facts);
    }

    fn talks(&mut self) -> &mut Talks {
        self.talks.get_or_insert_with(|| Box::new(Talks::after(&self.edges)))
    }

    /// Adds a connection that is over.
    pub fn add_flow(&mut self, flow: &FlowTotals) {
        let [to_server, to_client] = flow.payload_bytes;
        self.flows.count += 1;
        self.flows.without_handshake += u64::from(!flow.handshake);
        add(&mut self.flows.payload_bytes_to_server, to_server);
        add(&mut self.flows.payload_bytes_to_client, to_client);
        self.flows.retransmissions += flow.retransmissions;
        self.flows.out_of_order += flow.out_of_order;
        self.flows.duplicates += flow.duplicates;
        for (sum, (count, bytes)) in self.gaps.iter_mut().zip(flow.gaps.iter().zip(flow.gap_bytes))
        {
            sum.count += count;
            add(&mut sum.bytes, bytes);
        }
        count_name(&mut self.kinds, flow.kind.unwrap_or(UNKNOWN_KIND), 1);
        if self.talks.is_some() || flow.ends.iter().any(|end| end.end().is_named()) {
            self.talks().add_flow(flow);
        }
        self.edges.add_flow(flow);
        if let Some(detail) = &mut self.detail {
            detail.add_flow(flow);
        }
        for (name, count) in &flow.anomalies {
            *self.anomalies.entry(name).or_default() += count;
        }
        self.finding_count += flow.findings.len() as u64;
        for (way, packet, text) in &flow.findings {
            let key = (flow.connection, *packet, *way, text.clone(), flow.client, flow.server);
            self.keep_finding(key);
        }
    }

    /// How much of the payload of connections added so far was there.
    pub fn coverage(&self) -> Coverage {
        let Flows { payload_bytes_to_server, payload_bytes_to_client, .. } = self.flows;
        Coverage {
            payload_bytes: payload_bytes_to_server.saturating_add(payload_bytes_to_client),
            gap_bytes: self.gaps.iter().fold(0, |sum, gap| sum.saturating_add(gap.bytes)),
            gaps: self.gaps.iter().map(|gap| gap.count).sum(),
            limits: 0,
        }
    }

    /// Adds segments that brought nothing new to a connection added before.
    pub fn add_retransmissions(&mut self, count: u64) {
        self.flows.retransmissions += count;
    }

    /// Adds names of processes at the client's and the server's end of a
    /// connection added before, and what else is known of these.
    pub fn add_ends(
        &mut self,
        addresses: [SocketAddr; 2],
        processes: [Vec<String>; 2],
        ends: &[OwnedEnd; 2],
    ) {
        self.edges.add_ends(addresses, processes, ends);
    }

    fn keep_finding(&mut self, key: FindingKey) {
        self.findings.insert(key);
        if self.findings.len() > FINDINGS {
            self.findings.pop_last();
        }
    }

    /// Adds all of another shard.
    pub fn merge(&mut self, other: Self) {
        let counts = self.outcomes.iter_mut().zip(other.outcomes);
        counts
            .chain(self.completeness.iter_mut().zip(other.completeness))
            .for_each(|(sum, more)| *sum += more);
        for (name, count) in other.protocols {
            count_name(&mut self.protocols, name, count);
        }
        self.endpoints.merge(other.endpoints);
        if let (Some(groups), Some(other)) = (&mut self.groups, other.groups) {
            groups.merge(other);
        }
        if let (Some(rate), Some(other)) = (&mut self.rate, other.rate) {
            rate.merge(other);
        }
        if self.talks.is_some() || other.talks.is_some() {
            let theirs = other.talks.unwrap_or_else(|| Box::new(Talks::after(&other.edges)));
            self.talks().merge(*theirs);
        }
        self.edges.merge(other.edges);
        self.slowest.merge(other.slowest);
        self.failures.merge(other.failures);
        self.merge_flows(other.flows);
        for (name, count) in other.anomalies {
            *self.anomalies.entry(name).or_default() += count;
        }
        for (name, count) in other.kinds {
            count_name(&mut self.kinds, name, count);
        }
        for (sum, more) in self.gaps.iter_mut().zip(other.gaps) {
            sum.count += more.count;
            add(&mut sum.bytes, more.bytes);
        }
        if let (Some(detail), Some(theirs)) = (&mut self.detail, other.detail) {
            detail.merge(*theirs);
        }
        self.finding_count += other.finding_count;
        for key in other.findings {
            self.keep_finding(key);
        }
    }

    fn merge_flows(&mut self, other: Flows) {
        let flows = &mut self.flows;
        flows.count += other.count;
        flows.without_handshake += other.without_handshake;
        add(&mut flows.payload_bytes_to_server, other.payload_bytes_to_server);
        add(&mut flows.payload_bytes_to_client, other.payload_bytes_to_client);
        flows.retransmissions += other.retransmissions;
        flows.out_of_order += other.out_of_order;
        flows.duplicates += other.duplicates;
    }

    /// The report over all shards and what was read.
    pub fn finish(self, capture: CaptureTotals) -> Report {
        let capture_ns = span_ns(capture.first, capture.last);
        let span_ns = window_ns(&capture);
        let [lost, snaplen, limit] = self.gaps;
        let mut loss = loss(&capture, &self.flows, Gaps { lost, snaplen, limit });
        let all = self.endpoints.total();
        let detail = self.detail.map(|detail| Box::new(detail.finish()));
        let axis = detail.as_ref().map(|detail| detail.axis()).unwrap_or_default();
        let (endpoints, endpoints_rest) = self.endpoints.finish(span_ns, self.sort, axis);
        let groups = self.groups.map(|groups| groups.finish(span_ns, self.sort));
        let (edges, edges_rest) = self.edges.finish(span_ns, &capture.names);
        let talks = self.talks.map(|talks| talks.finish(span_ns, &capture.names));
        // Where all that was said is on which node a container runs, there is no name.
        let talks = talks.filter(|(talks, _)| talks.iter().any(Talk::has_name));
        let (workloads, workloads_rest) = talks.unwrap_or_default();
        let endpoints_other = (endpoints_rest.count > 0).then(|| endpoints_rest.figures(span_ns));
        let has_edges = edges_rest.connections + edges_rest.stats.count > 0;
        let has_workloads = workloads_rest.connections + workloads_rest.stats.count > 0;
        let workloads_other = has_workloads.then(|| workloads_rest.figures(span_ns));
        let edges_other = has_edges.then(|| edges_rest.figures(span_ns));
        let workload_count =
            workloads_other.as_ref().map(|other| other.connections + other.transactions.count);
        let edge_count = edges_other.as_ref().map(|e| e.connections + e.transactions.count);
        let group_other = groups.as_ref().and_then(|groups| groups.other.as_ref());
        // Nothing is lost by these, it is only not told apart: they come
        // after the verdict on loss.
        for (name, count) in [
            ("endpoints in the report", endpoints_other.as_ref().map(|other| other.count)),
            ("groups in the report", group_other.map(|other| other.count)),
            ("pairs of hosts in the report", edge_count),
            ("pairs of workloads in the report", workload_count),
        ] {
            loss.limits.extend(count.map(|count| Named::new(name, count)));
        }
        Report {
            schema: SCHEMA,
            interrupted: capture.interrupted,
            loss,
            filter: capture.filter.map(filtered),
            joined: capture.joined,
            flows: Flows { kinds: ranked(self.kinds), ..self.flows },
            transactions: Totals {
                figures: all.figures(span_ns),
                outcomes: named(Outcome::ALL.map(Outcome::name), self.outcomes),
                completeness: named(Completeness::ALL.map(Completeness::name), self.completeness),
                protocols: ranked(self.protocols),
            },
            endpoints,
            endpoints_other,
            groups,
            over: self.rate.and_then(Rate::finish),
            slowest: self.slowest.finish(),
            errors: self.failures.finish(),
            edges,
            edges_other,
            workloads,
            workloads_other,
            anomalies: ranked(self.anomalies),
            findings: Findings {
                count: self.finding_count,
                listed: self.findings.into_iter().map(finding).collect(),
            },
            detail,
            capture: Capture {
                packets: capture.packets,
                bytes: capture.bytes,
                captured_bytes: capture.captured_bytes,
                segments: capture.segments,
                other_packets: ranked(capture.other),
                first: capture.first.map(Time),
                last: capture.last.map(Time),
                span_ns: capture_ns,
            },
            inputs: capture.inputs.into_iter().map(input).collect(),
        }
    }
}

fn span_ns(first: Option<Timestamp>, last: Option<Timestamp>) -> Option<u64> {
    let span = last.zip(first).map(|(last, first)| last.since(first));
    span.and_then(|span| u64::try_from(span).ok())
}

/// How long transactions that are reported could begin: rates are over that.
fn window_ns(capture: &CaptureTotals) -> Option<u64> {
    let bound = |pick: fn(&FilterTotals) -> &Option<BoundTotals>| {
        capture.filter.as_ref().and_then(|filter| pick(filter).as_ref()?.1)
    };
    let first = capture.first.max(bound(|filter| &filter.since));
    let last = earliest(capture.last, bound(|filter| &filter.until));
    span_ns(first.filter(|_| capture.first.is_some()), last.filter(|_| capture.last.is_some()))
}

fn filtered(filter: FilterTotals) -> Filtered {
    let bound =
        |bound: Option<BoundTotals>| bound.map(|(given, at)| BoundAt { given, at: at.map(Time) });
    Filtered {
        expression: filter.expression,
        since: bound(filter.since),
        until: bound(filter.until),
        taken: filter.selection.taken,
        left_out: filter.selection.left_out,
        undecided: filter.selection.undecided,
    }
}

fn loss(capture: &CaptureTotals, flows: &Flows, gaps: Gaps) -> Loss {
    let payload_bytes = flows.payload_bytes_to_server.saturating_add(flows.payload_bytes_to_client);
    let causes = [gaps.lost, gaps.snaplen, gaps.limit];
    let gap_bytes = causes.iter().fold(0_u64, |sum, gap| sum.saturating_add(gap.bytes));
    let all = payload_bytes as f64 + gap_bytes as f64;
    let limits = ranked(capture.limits.iter().copied().filter(|(_, times)| *times > 0));
    let none_lost = [capture.drops, capture.cut_packets, gap_bytes].iter().all(|n| *n == 0);
    Loss {
        none_known: none_lost && capture.damage.is_empty() && limits.is_empty(),
        damage: capture
            .damage
            .iter()
            .map(|damage| DamageAt {
                file: damage.file.clone(),
                offset: damage.offset,
                what: damage.what.clone(),
            })
            .collect(),
        dropped_packets: capture.drops,
        cut_packets: capture.cut_packets,
        gaps,
        payload_bytes,
        gap_bytes,
        coverage_percent: (all > 0.0).then(|| payload_bytes as f64 / all * 100.0),
        limits,
    }
}

fn input(input: super::InputTotals) -> Input {
    Input { name: input.name, format: input.format }
}

fn finding(key: FindingKey) -> Finding {
    let (connection, packet, direction, text, client, server) = key;
    Finding { connection, packet, direction, client, server, text }
}
