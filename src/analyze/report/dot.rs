//! `dot`: the service map for Graphviz.
//!
//! All text is in quotes: a quote and a backslash have a backslash before them, and `&`
//! is spelled as what it stands for, since labels know character references. Control
//! characters are spelled out before that.

use std::io::{self, Write};

use super::Report;
use super::graph::{Graph, Line};
use super::model::EdgeFigures;
use super::named;
use super::text::names::missing;
use super::text::units::{count, duration, elide, escape, plural, share, short_count};

/// Pairs that are drawn, the busiest: Graphviz draws more, and nobody can read them.
const DRAWN: usize = 200;
/// Columns of a name: those of Kubernetes fit in, hostile ones do not make the page wide.
const COLUMNS: usize = 128;
/// Thickness of the thinnest line, and how much more that of the thickest one is.
const PEN: (f64, f64) = (1.0, 3.0);

/// Writes the map.
///
/// # Errors
/// What `out` returns.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let graph = Graph::new(report, DRAWN);
    writeln!(out, "digraph perisco {{")?;
    writeln!(out, "  graph [rankdir=LR, labelloc=t, fontname=\"sans-serif\"];")?;
    writeln!(out, "  node [shape=box, style=rounded, fontname=\"sans-serif\"];")?;
    writeln!(out, "  edge [fontname=\"sans-serif\", fontsize=10, color=\"#2e7d32\"];")?;
    let title = title(report, &graph);
    if !title.is_empty() {
        writeln!(out, "  label={};", label(&title))?;
    }
    for (number, node) in graph.labels.iter().enumerate() {
        let below = (!node.below.is_empty()).then(|| node.below.clone());
        let lines: Vec<_> = [Some(node.name.clone()), below].into_iter().flatten().collect();
        writeln!(out, "  n{number} [label={}];", label(&lines))?;
    }
    let most = graph.lines.iter().map(|line| line.figures.transactions.count).max().unwrap_or(0);
    for line in &graph.lines {
        let (text, look) = (label(&figures(line)), look(line.figures));
        let pen = pen(line.figures.transactions.count, most);
        writeln!(out, "  n{} -> n{} [label={text}, penwidth={pen:.1}{look}];", line.from, line.to)?;
    }
    writeln!(out, "}}")
}

/// What is missing, filtered or left out: a map that says nothing of it is taken for
/// whole.
fn title(report: &Report, graph: &Graph<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.loss.none_known {
        lines.push(format!("{}: the figures hold for what is there", missing(&report.loss)));
    }
    if report.interrupted {
        lines.push("interrupted: the capture was not read to its end".to_owned());
    }
    if let Some(filter) = &report.filter {
        let rest = [(filter.left_out, "left out"), (filter.undecided, "undecided")];
        let rest = rest.map(|(times, what)| format!(", {} {what}", count(times)));
        let taken = plural(filter.taken, "transaction", "transactions");
        lines.push(format!("filtered: {taken}{}", rest.concat()));
    }
    if graph.of > graph.lines.len() {
        let all = count(graph.of as u64);
        lines.push(format!("the {} busiest of {all} pairs", graph.lines.len()));
    }
    if let Some(other) = graph.other {
        let sum = plural(other.transactions.count, "transaction", "transactions");
        lines.push(format!("not drawn: {sum} past the limit on pairs"));
    }
    if graph.lines.is_empty() {
        lines.push("no connections".to_owned());
    }
    lines
}

/// What is written at a line.
fn figures(line: &Line<'_>) -> Vec<String> {
    let all = &line.figures.transactions;
    let mut lines = Vec::new();
    match (all.count, all.errors) {
        (0, _) => lines.push(plural(line.figures.connections, "connection", "connections")),
        (all, 0) => lines.push(short_count(all)),
        (all, errors) => {
            lines.push(format!("{}, {} failed", short_count(all), share(errors, all)));
        }
    }
    if all.unknown > 0 {
        lines.push(format!("{} unknown", share(all.unknown, all.count)));
    }
    if let Some(latency) = &all.latency {
        let [p50, p99] = [latency.p50_ns, latency.p99_ns].map(duration);
        lines.push(format!("p50 {p50}, p99 {p99}"));
    }
    lines.push(named::spoken(line.figures).join(", "));
    lines.extend(line.service.as_ref().map(|service| format!("Service {service}")));
    lines.extend(line.port.map(|port| format!(":{port}")));
    lines.retain(|line| !line.is_empty());
    lines
}

/// How a line looks whose transactions failed, or that has none.
fn look(figures: &EdgeFigures) -> &'static str {
    match (figures.transactions.count, figures.transactions.errors) {
        (0, _) => ", color=\"#757575\", style=dashed",
        (_, 0) => "",
        _ => ", color=\"#c62828\", fontcolor=\"#c62828\"",
    }
}

fn pen(transactions: u64, most: u64) -> f64 {
    if most == 0 {
        return PEN.0;
    }
    PEN.0 + PEN.1 * ((transactions + 1) as f64).ln() / ((most + 1) as f64).ln()
}

/// A label of some lines, in quotes.
fn label(lines: &[String]) -> String {
    let mut out = "\"".to_owned();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            out.push_str("\\n");
        }
        for c in elide(&escape(line), COLUMNS).chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '&' => out.push_str("&amp;"),
                c => out.push(c),
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stay_within_their_quotes() {
        let text = |line: &str| label(&[line.to_owned()]);
        assert_eq!(text("a\"b"), "\"a\\\"b\"");
        assert_eq!(text("\\N\\"), "\"\\\\N\\\\\"");
        assert_eq!(text("a&lt;b"), "\"a&amp;lt;b\"");
        assert_eq!(text("\x1b[2J\n"), "\"\\\\x1b[2J\\\\n\"");
        assert_eq!(label(&["a".to_owned(), "b".to_owned()]), "\"a\\nb\"");
        assert!(text(&"x".repeat(9000)).chars().count() <= COLUMNS + 2);
    }
}
