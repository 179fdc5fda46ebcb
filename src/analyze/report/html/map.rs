//! The service map: who talks to whom, drawn and as a table.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::endpoints::{latency, part};
use super::layout;
use super::scale::px;
use super::writer::{Html, put};
use crate::analyze::report::Report;
use crate::analyze::report::graph::{Graph, Line};
use crate::analyze::report::model::{EdgeFigures, Party};
use crate::analyze::report::named;
use crate::analyze::report::text::escape;
use crate::analyze::report::text::units::{
    count, duration, elide, plural, share, short_count, size,
};

/// Pairs that are drawn, the busiest: more cannot be told apart.
const DRAWN: usize = 40;
/// Pairs in the table.
const LISTED: usize = 100;
/// Size of a node, and from one to the next.
const NODE: (f64, f64) = (190.0, 36.0);
const STEP: (f64, f64) = (370.0, 54.0);
/// Letters that a node has room for.
const LETTERS: usize = 26;

/// The section.
pub fn write(page: &mut Html, report: &Report) {
    if report.edges.is_empty() && report.edges_other.is_none() {
        return;
    }
    put!(
        page,
        "<section id=\"map\" aria-labelledby=\"h-map\"><h2 id=\"h-map\">Who talks to whom</h2>"
    );
    let graph = Graph::new(report, DRAWN);
    if !graph.lines.is_empty() {
        draw(page, &graph);
        if graph.of > graph.lines.len() {
            put!(
                page,
                "<p class=\"note\">The {} busiest of {} pairs are drawn.</p>",
                graph.lines.len(),
                count(graph.of as u64)
            );
        }
    }
    if report.workloads.is_empty() {
        pairs(page, report);
    } else {
        workloads(page, report);
    }
    put!(page, "</section>");
}

/// Where the nodes of a drawing are, and how large it is.
struct Drawing {
    corners: Vec<(f64, f64)>,
    size: (f64, f64),
}

impl Drawing {
    fn new(nodes: usize, pairs: &[(usize, usize)]) -> Self {
        let places = layout::places(nodes, pairs);
        let columns = places.iter().map(|(column, _)| column + 1).max().unwrap_or(0);
        let rows = places.iter().map(|(_, row)| row + 1).max().unwrap_or(0);
        let in_column = |column: usize| places.iter().filter(|(c, _)| *c == column).count();
        let corner = |(column, row): &(usize, usize)| {
            // Columns with fewer nodes are in the middle.
            let down = (rows - in_column(*column)) as f64 / 2.0 + *row as f64;
            (8.0 + STEP.0 * *column as f64, 16.0 + STEP.1 * down)
        };
        let width = STEP.0 * columns as f64 - (STEP.0 - NODE.0) + 40.0;
        // Room for lines that go around below.
        let height = STEP.1 * rows as f64 + 40.0;
        Self { corners: places.iter().map(corner).collect(), size: (width, height) }
    }

    fn at(&self, node: usize) -> (f64, f64) {
        self.corners.get(node).copied().unwrap_or_default()
    }
}

fn draw<'a>(page: &mut Html, graph: &Graph<'a>) {
    let mut lines: BTreeMap<(usize, usize), Vec<&Line<'a>>> = BTreeMap::new();
    for line in &graph.lines {
        lines.entry((line.from, line.to)).or_default().push(line);
    }
    let labels = labels(graph);
    let pairs: Vec<_> = lines.keys().copied().collect();
    let drawing = Drawing::new(labels.len(), &pairs);
    let (width, height) = (px(drawing.size.0), px(drawing.size.1));
    put!(page, "<figure class=\"chart map\"><div class=\"scroll\" tabindex=\"0\" role=\"group\" ");
    put!(
        page,
        "aria-labelledby=\"h-map\"><svg viewBox=\"0 0 {} {}\" width=\"{}\" ",
        width,
        height,
        width
    );
    put!(
        page,
        "role=\"img\" aria-labelledby=\"t-map d-map\"><title id=\"t-map\">Service map</title>"
    );
    let (nodes, arrows) = (labels.len(), lines.len());
    put!(
        page,
        "<desc id=\"d-map\">{} nodes and {} arrows from clients to servers; ",
        nodes,
        arrows
    );
    put!(page, "the table below has the same</desc>");
    let leaving = |node: usize| pairs.iter().filter(|(from, _)| *from == node).count();
    let coming = |node: usize| pairs.iter().filter(|(_, to)| *to == node).count();
    let arrow = |((from, to), lines): (&(usize, usize), &Vec<&Line<'a>>)| {
        let at = match leaving(*from).cmp(&coming(*to)) {
            Ordering::Less => 0.22,
            Ordering::Equal => 0.5,
            Ordering::Greater => 0.78,
        };
        let figures = lines.iter().map(|line| line.figures).collect();
        Arrow::new(figures, drawing.at(*from), drawing.at(*to), at)
    };
    let arrows: Vec<_> = lines.iter().map(arrow).collect();
    let most = arrows.iter().map(Arrow::transactions).max().unwrap_or(0);
    arrows.iter().for_each(|arrow| arrow.line(page, most));
    for (number, label) in labels.iter().enumerate() {
        node(page, label, drawing.at(number));
    }
    // Figures stand over all lines and nodes.
    arrows.iter().for_each(|arrow| arrow.label(page));
    put!(page, "</svg></div></figure>");
}

fn node(page: &mut Html, (name, below): &(String, String), (x, y): (f64, f64)) {
    put!(page, "<g class=\"node\"><title>{} {}</title><rect ", name, below);
    put!(page, "x=\"{}\" y=\"{}\" width=\"{}\" ", px(x), px(y), px(NODE.0));
    put!(page, "height=\"{}\" rx=\"6\"/>", px(NODE.1));
    let middle = px(x + NODE.0 / 2.0);
    let name_at = px(if below.is_empty() { y + 22.0 } else { y + 15.5 });
    let name = elide(&escape(name), LETTERS);
    put!(page, "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>", middle, name_at, name);
    if !below.is_empty() {
        let below = elide(&escape(below), LETTERS + 4);
        put!(page, "<text class=\"below\" x=\"{}\" y=\"{}\" ", middle, px(y + 29.0));
        put!(page, "text-anchor=\"middle\">{}</text>", below);
    }
    put!(page, "</g>");
}

/// What is written in the nodes, with Services and ports of servers.
fn labels(graph: &Graph<'_>) -> Vec<(String, String)> {
    let labels = graph.labels.iter().map(|label| (label.name.clone(), label.below.clone()));
    let mut labels: Vec<_> = labels.collect();
    let mut known = BTreeSet::new();
    for line in &graph.lines {
        let Some((name, below)) = labels.get_mut(line.to) else { continue };
        let port = line.port.map(|port| format!(":{port}"));
        let port = port.filter(|port| !name.ends_with(port.as_str()));
        let service = line.service.as_ref().map(|service| format!("Service {service}"));
        for word in [service, port].into_iter().flatten() {
            if known.insert((line.to, word.clone())) {
                *below = format!("{below} {word}").trim_start().to_owned();
            }
        }
    }
    labels
}

/// A line from one node to another.
struct Arrow<'a> {
    edges: Vec<&'a EdgeFigures>,
    /// The corners of its curve: ends and where they aim.
    curve: [(f64, f64); 4],
    /// How far along it its figures stand: where fewer lines meet.
    at: f64,
}

impl<'a> Arrow<'a> {
    fn new(edges: Vec<&'a EdgeFigures>, from: (f64, f64), to: (f64, f64), at: f64) -> Self {
        let middle = NODE.1 / 2.0;
        let (x1, y1) = (from.0 + NODE.0, from.1 + middle);
        let (x2, y2) = (to.0 - 7.0, to.1 + middle);
        let curve = if x2 > x1 {
            let bend = (x2 - x1) / 2.0;
            [(x1, y1), (x1 + bend, y1), (x2 - bend, y2), (x2, y2)]
        } else {
            // Backwards and to itself it goes around below.
            let low = y1.max(y2) + 46.0;
            [(x1, y1), (x1 + 60.0, low), (x2 - 60.0, low), (x2, y2)]
        };
        Self { edges, curve, at }
    }

    fn sum(&self, pick: fn(&EdgeFigures) -> u64) -> u64 {
        self.edges.iter().map(|figures| pick(figures)).fold(0, u64::saturating_add)
    }

    fn transactions(&self) -> u64 {
        self.sum(|figures| figures.transactions.count)
    }

    fn errors(&self) -> u64 {
        self.sum(|figures| figures.transactions.errors)
    }

    fn class(&self) -> &'static str {
        match (self.transactions(), self.errors()) {
            (0, _) => "idle",
            (_, 0) => "fine",
            _ => "bad",
        }
    }

    /// The line, thicker where there are more transactions, and all its
    /// figures for who points at it.
    fn line(&self, page: &mut Html, most: u64) {
        let (all, errors) = (self.transactions(), self.errors());
        let connections = self.sum(|figures| figures.connections);
        let latencies = self.edges.iter().filter_map(|figures| figures.transactions.latency);
        let thickness = match most {
            0 => 1.2,
            _ => 1.2 + 3.8 * ((all + 1) as f64).ln() / ((most + 1) as f64).ln(),
        };
        put!(page, "<g class=\"edge {}\"><title>", self.class());
        let connections = plural(connections, "connection", "connections");
        put!(page, "{}, {}", connections, plural(all, "transaction", "transactions"));
        if errors > 0 {
            put!(page, ", {} ({}) failed", count(errors), share(errors, all));
        }
        let slowest = latencies.map(|latency| latency.p99_ns).max();
        slowest.iter().for_each(|nanos| put!(page, ", p99 {}", duration(*nanos)));
        let [a, b, c, d] = self.curve;
        put!(page, "</title><path stroke-width=\"{}\" d=\"M{} {}", px(thickness), px(a.0), px(a.1));
        put!(page, "C{} {} {} {} ", px(b.0), px(b.1), px(c.0), px(c.1));
        put!(page, "{} {}\"/>", px(d.0), px(d.1));
        put!(page, "<path class=\"head\" d=\"M{} {}l-7 -4v8z\"/></g>", px(d.0 + 6.0), px(d.1));
    }

    /// Its figures, over all lines.
    fn label(&self, page: &mut Html) {
        let text = match (self.transactions(), self.errors()) {
            (0, _) => plural(self.sum(|figures| figures.connections), "connection", "connections"),
            (all, 0) => short_count(all),
            (all, errors) => format!("{} · {} failed", short_count(all), share(errors, all)),
        };
        let (t, u) = (self.at, 1.0 - self.at);
        let parts = [u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t];
        let place = |pick: fn(&(f64, f64)) -> f64| -> f64 {
            self.curve.iter().zip(parts).map(|(corner, part)| pick(corner) * part).sum()
        };
        put!(page, "<g class=\"edge {}\"><text x=\"{}\" ", self.class(), px(place(|p| p.0)));
        put!(page, "y=\"{}\" text-anchor=\"middle\">{}</text></g>", px(place(|p| p.1) - 5.0), text);
    }
}

fn head(page: &mut Html) {
    put!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"h-map\"><table \
            class=\"sortable wide\" id=\"edges\">\
         <caption class=\"sr\">Pairs of client and server, most transactions \
         first</caption><thead><tr>\
         <th scope=\"col\" data-sort=\"text\">client</th><th scope=\"col\" \
         data-sort=\"text\">server</th>\
         <th scope=\"col\" data-sort=\"text\">speaks</th><th scope=\"col\" class=\"n\" \
         data-sort=\"num\">connections</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\" aria-sort=\"descending\">transactions</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">errors</th><th scope=\"col\" class=\"n\" \
         data-sort=\"num\">unknown</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">p50</th><th scope=\"col\" class=\"n\" \
         data-sort=\"num\">p99</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">to server</th><th scope=\"col\" \
         class=\"n\" data-sort=\"num\">to client</th>\
         </tr></thead><tbody>"
    );
}

/// The table of pairs of hosts.
fn pairs(page: &mut Html, report: &Report) {
    head(page);
    let mut shown = 0;
    for edge in report.edges.iter().take(LISTED) {
        if page.is_full() {
            break;
        }
        put!(page, "<tr><th scope=\"row\">");
        end(page, &edge.client.to_string(), edge.client_name.as_deref(), &edge.client_processes);
        put!(page, "</th><td>");
        end(page, &edge.server.to_string(), edge.server_name.as_deref(), &edge.server_processes);
        put!(page, "</td>");
        figures(page, &edge.figures.kinds, &edge.figures);
        shown += 1;
    }
    foot(page, report.edges_other.as_ref(), shown, report.edges.len());
}

/// The table of pairs of workloads.
fn workloads(page: &mut Html, report: &Report) {
    head(page);
    let mut shown = 0;
    for talk in report.workloads.iter().take(LISTED) {
        if page.is_full() {
            break;
        }
        put!(page, "<tr><th scope=\"row\">");
        party(page, &talk.client);
        put!(page, "</th><td>");
        party(page, &talk.server);
        if let Some(service) = named::service(talk) {
            put!(page, " <bdi>(Service {})</bdi>", service);
        }
        put!(page, "</td>");
        figures(page, named::spoken(&talk.figures), &talk.figures);
        shown += 1;
    }
    foot(page, report.workloads_other.as_ref(), shown, report.workloads.len());
}

fn party(page: &mut Html, of: &Party) {
    match (&of.name, &of.address) {
        (Some(_), _) => {
            put!(page, "<bdi class=\"p\">{}</bdi>", named::party(of));
            of.kind.iter().for_each(|kind| put!(page, " <bdi class=\"proto\">{}</bdi>", kind));
        }
        (None, address) => {
            let address = address.as_deref().unwrap_or("?");
            end(page, address, of.host.as_deref(), &of.processes);
        }
    }
}

fn foot(page: &mut Html, other: Option<&EdgeFigures>, shown: usize, all: usize) {
    put!(page, "</tbody>");
    if let Some(other) = other {
        put!(
            page,
            "<tfoot><tr><th scope=\"row\" colspan=\"2\">(others, past the limit on pairs told \
                apart)</th>"
        );
        figures(page, &other.kinds, other);
        put!(page, "</tfoot>");
    }
    put!(page, "</table></div>");
    if shown < all {
        put!(
            page,
            "<p class=\"note\">{} of {} pairs shown, the busiest. All are in <code>--format \
                json</code>.</p>",
            shown,
            count(all as u64)
        );
    }
}

fn end(page: &mut Html, address: &str, name: Option<&str>, processes: &[String]) {
    put!(page, "<bdi class=\"p\">{}</bdi>", address);
    name.iter().for_each(|name| put!(page, " <bdi>{}</bdi>", name));
    if !processes.is_empty() {
        put!(page, " <bdi class=\"proto\">{}</bdi>", processes.join(", "));
    }
}

fn figures(page: &mut Html, spoken: &[String], edge: &EdgeFigures) {
    let all = &edge.transactions;
    put!(
        page,
        "<td>{}</td><td class=\"n\" data-v=\"{}\">{}</td>",
        spoken.join(", "),
        edge.connections,
        short_count(edge.connections)
    );
    put!(page, "<td class=\"n\" data-v=\"{}\">{}</td>", all.count, short_count(all.count));
    part(page, all.errors, all.count, "err");
    part(page, all.unknown, all.count, "unk");
    if all.count == 0 {
        put!(page, "<td data-v=\"-1\"></td><td data-v=\"-1\"></td>");
    } else {
        latency(page, all.latency.map(|latency| latency.p50_ns));
        latency(page, all.latency.map(|latency| latency.p99_ns));
    }
    for bytes in [edge.payload_bytes_to_server, edge.payload_bytes_to_client] {
        put!(page, "<td class=\"n\" data-v=\"{}\">{}</td>", bytes, size(bytes));
    }
    put!(page, "</tr>");
}
