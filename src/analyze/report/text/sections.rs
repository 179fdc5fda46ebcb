//! The sections of the report, in the order in which they are read.

use super::names::{
    causes, coverage_text, edge_cells, edge_name, endpoint_cells, endpoint_name, hints, kinds,
    missing, offset, sample_ends, sample_name, status, time,
};
use super::spark::Columns;
use super::style::{Paint, Style};
use super::table::{Cell, Table};
use super::units::{count, duration, escape, plural, rate, share, short_count, size, wrap};
use crate::analyze::report::model::{BoundAt, Figures, Groups, Report, Time};
use crate::analyze::report::named::talk;
use crate::time::Timestamp;

/// Pairs of hosts shown.
const EDGES: usize = 10;
/// Ways to fail, anomalies and findings shown.
const ROWS: usize = 15;
/// Inputs and damages listed one by one.
const LISTED: usize = 10;
/// Figures of the main table.
const HEADS: [&str; 10] =
    ["count", "rate", "errors", "unknown", "p50", "p90", "p99", "max", "sent", "received"];
/// Further ones on wide terminals.
const MORE_HEADS: [&str; 2] = ["share", "failed"];
/// Columns of the names left of facts.
const LABEL: usize = 11;

/// The report being written.
pub struct Page {
    style: Style,
    /// What is written so far.
    pub text: String,
}

impl Page {
    /// An empty page.
    pub fn new(style: Style) -> Self {
        Self { style, text: String::new() }
    }

    pub(super) fn line(&mut self, paint: Option<Paint>, text: &str) {
        self.style.push(paint, text, &mut self.text);
        self.text.push('\n');
    }

    pub(super) fn title(&mut self, title: &str) {
        self.text.push('\n');
        self.line(Some(Paint::Bold), title);
    }

    /// A label and a text that is broken between words where it is long.
    pub(super) fn fact(&mut self, label: &str, text: &str, paint: Option<Paint>) {
        let room = self.style.width.saturating_sub(LABEL + 2);
        for (index, part) in wrap(text, room).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.text.push_str(&format!("  {label:LABEL$}"));
            self.line(paint, part);
        }
    }

    pub(super) fn table(&mut self, table: Table) {
        table.render(self.style, &mut self.text);
    }

    /// What is missing: first, and in red.
    pub fn missing(&mut self, report: &Report) {
        let loss = &report.loss;
        if loss.none_known {
            return;
        }
        let what = missing(loss);
        for part in wrap(&format!("{what}: the figures hold for what is there."), self.style.width)
        {
            self.line(Some(Paint::Alarm), &part);
        }
        let red = Some(Paint::Red);
        for damage in loss.damage.iter().take(LISTED) {
            let place = format!("{} at byte {}", escape(&damage.file), count(damage.offset));
            self.fact("damage", &format!("{place}: {}", escape(&damage.what)), red);
        }
        if let Some(more) = loss.damage.len().checked_sub(LISTED).filter(|more| *more > 0) {
            self.fact("", &format!("and {}", plural(more as u64, "other", "others")), red);
        }
        for (text, gap) in causes(&loss.gaps) {
            if gap.count + gap.bytes > 0 {
                let bytes = plural(gap.bytes, "byte", "bytes");
                let gaps = plural(gap.count, "gap", "gaps");
                self.fact("gaps", &format!("{bytes} in {gaps}: {text}"), red);
            }
        }
        if loss.dropped_packets > 0 {
            let packets = plural(loss.dropped_packets, "packet", "packets");
            self.fact("drops", &format!("{packets} lost by the capturer, as it says itself"), red);
        }
        if loss.cut_packets > 0 {
            let packets = plural(loss.cut_packets, "packet", "packets");
            self.fact("cut", &format!("{packets} cut by the snap length"), red);
        }
        self.limits(report);
        if loss.coverage_percent.is_some() && loss.gap_bytes > 0 {
            self.fact("coverage", &coverage_text(report), red);
        }
        self.text.push('\n');
    }

    fn limits(&mut self, report: &Report) {
        for limit in &report.loss.limits {
            let times = plural(limit.count, "time", "times");
            self.fact("limits", &format!("{}: reached {times}", escape(&limit.name)), None);
        }
    }

    /// One line that says it all, or why there is nothing to say.
    pub fn headline(&mut self, report: &Report) {
        let all = &report.transactions.figures;
        if all.count == 0 {
            return match &report.filter {
                Some(filter) if filter.left_out + filter.undecided > 0 => {
                    self.line(Some(Paint::Bold), "No transaction is within the filter");
                }
                _ => self.nothing_found(report),
            };
        }
        let mut text = plural(all.count, "transaction", "transactions");
        if let Some(span) = report.capture.span_ns {
            text += &format!(" in {}", duration(span));
        }
        let ok = all.count - all.errors - all.unknown;
        text += &format!(": {} ok, {} failed", share(ok, all.count), share(all.errors, all.count));
        if all.unknown > 0 {
            text += &format!(", {} unknown", share(all.unknown, all.count));
        }
        if report.interrupted {
            text += " (interrupted)";
        }
        for part in wrap(&text, self.style.width) {
            self.line(Some(Paint::Bold), &part);
        }
    }

    /// What a filter took and left out.
    pub fn filter(&mut self, report: &Report) {
        let Some(filter) = &report.filter else { return };
        let bound = |name: &str, bound: &Option<BoundAt>| {
            bound.as_ref().map(|bound| match bound.at {
                Some(at) => format!("{name} {}", at.0),
                None => format!("{name} {} (no packet has a time)", escape(&bound.given)),
            })
        };
        let times = [bound("since", &filter.since), bound("until", &filter.until)];
        let expression = filter.expression.as_deref().map(escape);
        for (name, text) in
            [("where", expression)].into_iter().chain(times.map(|time| ("begins", time)))
        {
            text.into_iter().for_each(|text| self.fact(name, &text, None));
        }
        let all = filter.taken + filter.left_out + filter.undecided;
        let transactions = plural(all, "transaction", "transactions");
        let text =
            format!("{} of {transactions}; loss is of the whole capture", count(filter.taken));
        self.fact("taken", &text, None);
        if filter.undecided > 0 {
            let text = format!(
                "{} left out, since what decides was not seen or cannot be worked out",
                plural(filter.undecided, "transaction", "transactions")
            );
            self.fact("undecided", &text, Some(Paint::Yellow));
        }
    }

    fn nothing_found(&mut self, report: &Report) {
        let flows = &report.flows;
        let mut text = format!("No HTTP found: {}", plural(flows.count, "flow", "flows"));
        for kind in flows.kinds.iter().take(ROWS) {
            text += &format!(", {} {}", count(kind.count), escape(&kind.name));
        }
        if report.interrupted {
            text += " (interrupted)";
        }
        let width = self.style.width;
        for part in wrap(&text, width) {
            self.line(Some(Paint::Bold), &part);
        }
        for hint in hints(report) {
            for (index, part) in wrap(hint, width - 4).iter().enumerate() {
                let bullet = if index == 0 { "  - " } else { "    " };
                self.line(None, &format!("{bullet}{part}"));
            }
        }
    }

    /// What was read.
    pub fn read(&mut self, report: &Report) {
        self.title("Read");
        for input in report.inputs.iter().take(LISTED) {
            let text = format!("{} ({})", escape(&input.name), escape(&input.format));
            self.fact("input", &text, None);
        }
        if let Some(more) = report.inputs.len().checked_sub(LISTED).filter(|more| *more > 0) {
            self.fact("", &format!("and {}", plural(more as u64, "other", "others")), None);
        }
        let capture = &report.capture;
        let mut packets = format!("{}, {}", count(capture.packets), size(capture.bytes));
        if capture.captured_bytes != capture.bytes {
            packets += &format!(" on the wire, {} captured", size(capture.captured_bytes));
        }
        packets += &format!("; {}", plural(capture.segments, "TCP segment", "TCP segments"));
        if !capture.other_packets.is_empty() {
            packets += &format!("; {}", kinds(&capture.other_packets));
        }
        self.fact("packets", &packets, None);
        if let (Some(first), Some(last)) = (capture.first, capture.last) {
            let span = capture.span_ns.map(|span| format!(" ({})", duration(span)));
            let text = format!("{} to {}{}", time(first), time(last), span.unwrap_or_default());
            self.fact("time", &text, None);
        }
        self.flows(report);
        if report.loss.none_known {
            if report.loss.coverage_percent.is_some() {
                self.fact("coverage", &coverage_text(report), None);
            }
            self.limits(report);
        }
    }

    fn flows(&mut self, report: &Report) {
        let flows = &report.flows;
        let mut text = count(flows.count);
        if !flows.kinds.is_empty() {
            text += &format!(": {}", kinds(&flows.kinds));
        }
        if flows.without_handshake > 0 {
            text += &format!("; {} began before the capture", count(flows.without_handshake));
        }
        self.fact("flows", &text, None);
        let odd = [
            (flows.retransmissions, "retransmitted"),
            (flows.out_of_order, "out of order"),
            (flows.duplicates, "copies from other interfaces"),
        ];
        let odd: Vec<_> = odd
            .iter()
            .filter(|(times, _)| *times > 0)
            .map(|(times, what)| format!("{} {what}", count(*times)))
            .collect();
        if !odd.is_empty() {
            self.fact("segments", &odd.join(", "), None);
        }
    }

    /// All transactions together.
    pub fn transactions(&mut self, report: &Report) {
        let totals = &report.transactions;
        let all = &totals.figures;
        if all.count == 0 {
            return;
        }
        self.title("Transactions");
        let rate = all.rate_per_second.map(|per_second| format!(" ({})", rate(per_second)));
        self.fact("count", &(count(all.count) + &rate.unwrap_or_default()), None);
        self.over_time(report);
        self.fact("protocol", &kinds(&totals.protocols), None);
        self.fact("outcome", &kinds(&totals.outcomes), None);
        let paint = totals.completeness.iter().any(|n| n.name != "complete" && n.count > 0);
        self.fact("seen", &kinds(&totals.completeness), paint.then_some(Paint::Yellow));
        if let Some(p) = &all.latency {
            let times =
                [("p50", p.p50_ns), ("p90", p.p90_ns), ("p99", p.p99_ns), ("max", p.max_ns)];
            let text = times.map(|(name, nanos)| format!("{name} {}", duration(nanos))).join(", ");
            self.fact("latency", &text, None);
        }
        let (sent, received) = (size(all.request_body_bytes), size(all.response_body_bytes));
        self.fact("bodies", &format!("{sent} in requests, {received} in responses"), None);
    }

    /// When transactions began, and failed ones.
    fn over_time(&mut self, report: &Report) {
        let (Some(over), Some(ends)) = (&report.over, within(report)) else { return };
        let failed = over.errors.iter().any(|errors| *errors > 0).then_some(&over.errors);
        let room = self.style.width.saturating_sub(LABEL + 2 + "||".len());
        for (label, counts, paint) in
            [("rate", Some(&over.counts), None), ("errors", failed, Some(Paint::Red))]
        {
            let columns = counts.and_then(|counts| Columns::new(over, counts, ends, room));
            let Some(columns) = columns else { continue };
            self.text.push_str(&format!("  {label:LABEL$}|"));
            self.style.push(paint, &columns.line(self.style), &mut self.text);
            self.text.push_str("|\n");
            let (most, at) = columns.peak();
            // The first column begins before the capture does.
            let at = Time(Timestamp::from_nanos(at.max(ends.0)));
            let at = offset(Some(at), report.capture.first);
            let step = duration(columns.step_ns);
            let mut text = format!("a column is {step}; most: {}, at {at}", count(most));
            if label == "rate" && over.untimed > 0 {
                let untimed = plural(over.untimed, "transaction", "transactions");
                text += &format!("; {untimed} without a known start not in it");
            }
            self.fact("", &text, Some(Paint::Dim));
        }
    }

    /// By endpoint.
    pub fn endpoints(&mut self, report: &Report) {
        if report.endpoints.is_empty() && report.endpoints_other.is_none() {
            return;
        }
        self.title("Endpoints");
        let mut table = Table::new("endpoint", &HEADS).more(&MORE_HEADS);
        let shown = self.style.rows;
        let figures = report.endpoints.iter().take(shown).map(|endpoint| &endpoint.figures);
        let scale = scale(report, figures.chain(&report.endpoints_other));
        for endpoint in report.endpoints.iter().take(shown) {
            let cells = endpoint_cells(&endpoint.figures, scale, self.style);
            table.row(escape(&endpoint_name(endpoint)), cells);
        }
        if let Some(other) = &report.endpoints_other {
            let cells = endpoint_cells(other, scale, self.style);
            table.row("(other: past the limit on endpoints)".to_owned(), cells);
        }
        self.table(table);
        let rest = report.endpoints.iter().skip(shown);
        let sum = rest.clone().map(|endpoint| endpoint.figures.count).sum();
        self.more(rest.count(), "endpoint", "endpoints", sum);
    }

    /// By what the user asked for.
    pub fn groups(&mut self, report: &Report, groups: &Groups) {
        if report.transactions.figures.count == 0 {
            return;
        }
        self.title(&format!("By {}", groups.by));
        let mut table = Table::new(groups.by, &HEADS).more(&MORE_HEADS);
        let shown = self.style.rows;
        let figures = groups.rows.iter().take(shown).map(|group| &group.figures);
        let scale = scale(report, figures.chain(&groups.other));
        for group in groups.rows.iter().take(shown) {
            let name = group.name.as_deref().map_or("? (not seen)".to_owned(), escape);
            table.row(name, endpoint_cells(&group.figures, scale, self.style));
        }
        if let Some(other) = &groups.other {
            let cells = endpoint_cells(other, scale, self.style);
            table.row("(other: past the limit on groups)".to_owned(), cells);
        }
        self.table(table);
        let rest = groups.rows.iter().skip(shown);
        let sum = rest.clone().map(|group| group.figures.count).sum();
        self.more(rest.count(), "row", "rows", sum);
    }

    fn more(&mut self, rows: usize, one: &str, many: &str, transactions: u64) {
        if rows > 0 {
            let rows = plural(rows as u64, one, many);
            let sum = plural(transactions, "transaction", "transactions");
            let text = format!("  … and {rows} more with {sum}; all are in --format json");
            self.line(Some(Paint::Dim), &text);
        }
    }

    /// The slowest.
    pub fn slowest(&mut self, report: &Report) {
        if report.slowest.is_empty() {
            return;
        }
        self.title("Slowest");
        let mut table = Table::new("transaction", &["latency", "total", "status", "at", "id"])
            .more(&["seen", "client", "server"]);
        for sample in &report.slowest {
            let nanos = |nanos: Option<u64>| Cell::new(nanos.map_or("?".to_owned(), duration));
            let failed = sample.outcome != "ok";
            let cells = vec![
                nanos(sample.latency_ns),
                nanos(sample.duration_ns),
                Cell::painted(status(sample), Paint::Yellow, failed),
                Cell::new(offset(sample.start, report.capture.first)),
                Cell::new(sample.id.clone()),
                Cell::painted(
                    sample.completeness.clone(),
                    Paint::Yellow,
                    sample.completeness != "complete",
                ),
                Cell::new(sample.client.to_string()),
                Cell::new(sample.server.to_string()),
            ];
            table.row(escape(&sample_name(sample)), cells);
            sample_ends(sample).iter().for_each(|ends| table.note(escape(ends)));
        }
        self.table(table);
    }

    /// Failed transactions by status.
    pub fn errors(&mut self, report: &Report) {
        if report.errors.is_empty() {
            return;
        }
        self.title("Errors by status");
        let mut table = Table::new("status", &["count", "share"]);
        for failure in report.errors.iter().take(ROWS) {
            let part = share(failure.count, report.transactions.figures.count);
            let cells =
                vec![Cell::painted(short_count(failure.count), Paint::Red, true), Cell::new(part)];
            let by = if failure.by == "grpc" { "grpc " } else { "" };
            table.row(format!("{by}{}", escape(&failure.name)), cells);
            if let Some(sample) = failure.samples.first() {
                let at = offset(sample.start, report.capture.first);
                let name = escape(&sample_name(sample));
                table.note(format!("first {at}, {}: {name}", sample.id));
                sample_ends(sample).iter().for_each(|ends| table.note(escape(ends)));
            }
        }
        self.table(table);
        let rest = report.errors.iter().skip(ROWS);
        let sum = rest.clone().map(|failure| failure.count).sum();
        self.more(rest.count(), "status", "statuses", sum);
    }

    /// Who talks to whom: by workload where the capture says names.
    pub fn edges(&mut self, report: &Report) {
        let by_workload = !report.workloads.is_empty();
        let pairs: Vec<_> = match by_workload {
            true => report.workloads.iter().map(|t| (talk(t), &t.figures)).collect(),
            false => report.edges.iter().map(|e| (edge_name(e), &e.figures)).collect(),
        };
        let other = if by_workload { &report.workloads_other } else { &report.edges_other };
        if pairs.is_empty() && other.is_none() {
            return;
        }
        self.title("Who talks to whom");
        let heads = ["flows", "count", "errors", "unknown", "p50", "p99", "to server", "to client"];
        let mut table = Table::new("client → server", &heads).more(&["rate", "p90", "max"]);
        for (name, figures) in pairs.iter().take(EDGES) {
            table.row(escape(name), edge_cells(figures));
        }
        if let Some(other) = other {
            table.row("(other: past the limit on pairs)".to_owned(), edge_cells(other));
        }
        self.table(table);
        let rest = pairs.iter().skip(EDGES);
        let sum = rest.clone().map(|(_, figures)| figures.transactions.count).sum();
        self.more(rest.count(), "pair", "pairs", sum);
    }

    /// Anomalies by name.
    pub fn anomalies(&mut self, report: &Report) {
        if report.anomalies.is_empty() {
            return;
        }
        self.title("Anomalies");
        let mut table = Table::new("anomaly", &["count"]);
        for anomaly in report.anomalies.iter().take(ROWS) {
            table.row(escape(&anomaly.name), vec![Cell::new(short_count(anomaly.count))]);
        }
        self.table(table);
        if let Some(more) = report.anomalies.len().checked_sub(ROWS).filter(|more| *more > 0) {
            let kinds = plural(more as u64, "kind", "kinds");
            self.line(Some(Paint::Dim), &format!("  … and {kinds} more; all are in --format json"));
        }
    }

    /// What a real endpoint would have refused.
    pub fn findings(&mut self, report: &Report) {
        let findings = &report.findings;
        if findings.count == 0 {
            return;
        }
        self.title("A real HTTP/2 endpoint would have refused");
        for finding in findings.listed.iter().take(ROWS) {
            let place = format!("connection #{}, packet {}", finding.connection, finding.packet);
            let text = format!("{place}, {}: {}", finding.direction, escape(&finding.text));
            for (index, part) in wrap(&text, self.style.width - 4).iter().enumerate() {
                let indent = if index == 0 { "  " } else { "    " };
                self.line(None, &format!("{indent}{part}"));
            }
        }
        let more = findings.count.saturating_sub(findings.listed.len().min(ROWS) as u64);
        if more > 0 {
            let text = format!("  … and {} more", count(more));
            self.line(Some(Paint::Dim), &text);
        }
    }
}

/// The time that is reported: the capture's, or what a filter leaves of it.
fn within(report: &Report) -> Option<(i64, i64)> {
    let filter = report.filter.as_ref();
    let bound = |bound: Option<&BoundAt>| bound.and_then(|bound| bound.at).map(|at| at.0.nanos());
    let since = bound(filter.and_then(|filter| filter.since.as_ref()));
    let until = bound(filter.and_then(|filter| filter.until.as_ref()));
    let (first, last) = (report.capture.first?.0.nanos(), report.capture.last?.0.nanos());
    let first = since.map_or(first, |since| since.max(first));
    Some((first, until.map_or(last, |until| until.min(last)).max(first)))
}

/// Of how many transactions rows are parts, and how many the largest row has.
fn scale<'a>(report: &Report, rows: impl Iterator<Item = &'a Figures>) -> [u64; 2] {
    let most = rows.map(|figures| figures.count).max().unwrap_or(0);
    [report.transactions.figures.count, most]
}
