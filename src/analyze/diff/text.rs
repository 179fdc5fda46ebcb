//! `text`: the comparison for people.
//!
//! What is missing on either side comes before everything else, since a diff of loss is
//! no diff of behaviour. Names come from the wire and are escaped before they reach a
//! terminal.

use std::io::{self, Write};

use super::model::{Diff, EndpointChange, Outcome, RuleVerdict, Ruling, Side, Verdict, Which};
use super::rule::Metric;
use super::words;
use crate::analyze::report::model::Edge;
use crate::analyze::report::text::names::edge_name;
use crate::analyze::report::text::style::{COLUMNS, Paint};
use crate::analyze::report::text::units::{
    count, duration, elide, escape, plural, rate, share, width, wrap,
};
use crate::analyze::report::text::{Style, plain};

/// Places named for each rule that was passed.
const PASSED: usize = 10;
/// Pairs of hosts listed, of new and vanished ones each.
const EDGES: usize = 10;
/// Inputs named for each side.
const INPUTS: usize = 3;
/// Columns of the labels left of facts.
const LABEL: usize = 12;
/// Columns of a figure: the widest is a duration.
const FIGURE: usize = 9;
/// Columns of a difference.
const DIFFERENCE: usize = 9;

/// Writes the comparison. `all` also shows endpoints without a significant change.
///
/// # Errors
/// What `out` returns.
pub fn write(diff: &Diff, style: Style, all: bool, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(render(diff, style, all).as_bytes())
}

/// The comparison as text.
pub fn render(diff: &Diff, style: Style, all: bool) -> String {
    let style = Style { width: style.width.max(COLUMNS), ..style };
    let mut page = Page { style, text: String::new() };
    page.caveats(diff);
    page.headline(diff);
    page.sides(diff);
    page.rules(&diff.rules);
    page.endpoints(diff, all);
    page.edges(diff);
    page.notes(diff);
    if style.ascii { plain(&page.text) } else { page.text }
}

struct Page {
    style: Style,
    text: String,
}

impl Page {
    fn line(&mut self, paint: Option<Paint>, text: &str) {
        self.style.push(paint, text, &mut self.text);
        self.text.push('\n');
    }

    fn title(&mut self, title: &str) {
        self.text.push('\n');
        self.line(Some(Paint::Bold), title);
    }

    /// A text that is broken between words, moved in from its second line on.
    fn wrapped(&mut self, paint: Option<Paint>, indent: usize, text: &str) {
        let room = self.style.width.saturating_sub(indent);
        for part in wrap(text, room) {
            self.line(paint, &format!("{:indent$}{part}", ""));
        }
    }

    /// What to know before any of it is believed: first, and in red.
    fn caveats(&mut self, diff: &Diff) {
        if diff.caveats.is_empty() {
            return;
        }
        if !(diff.before.is_whole() && diff.after.is_whole()) {
            let text = "DATA IS MISSING: WHAT DIFFERS MAY BE WHAT WAS LOST, NOT WHAT WAS DONE.";
            self.wrapped(Some(Paint::Alarm), 0, text);
        }
        for caveat in &diff.caveats {
            let side = match caveat.side {
                Which::Before => "before",
                Which::After => "after",
            };
            let room = self.style.width.saturating_sub(LABEL + 2);
            for (index, part) in wrap(&escape(&caveat.text), room).iter().enumerate() {
                let label = if index == 0 { side } else { "" };
                self.line(Some(Paint::Red), &format!("  {label:LABEL$}{part}"));
            }
        }
        self.text.push('\n');
    }

    fn headline(&mut self, diff: &Diff) {
        let text = words::headline(diff);
        self.wrapped(Some(Paint::Bold), 0, &text);
    }

    /// What both sides are.
    fn sides(&mut self, diff: &Diff) {
        for (label, side) in [("before", &diff.before), ("after", &diff.after)] {
            let room = self.style.width.saturating_sub(LABEL + 2);
            for (index, text) in side_lines(side).iter().enumerate() {
                for (part_index, part) in wrap(text, room).iter().enumerate() {
                    let label = if index + part_index == 0 { label } else { "" };
                    self.line(None, &format!("  {label:LABEL$}{part}"));
                }
            }
        }
    }

    /// Thresholds, those that were passed with where.
    fn rules(&mut self, rules: &[Ruling]) {
        if rules.is_empty() {
            return;
        }
        self.title("Rules");
        for rule in rules {
            let (word, paint) = match rule.verdict {
                RuleVerdict::Failed => ("FAILED", Some(Paint::Alarm)),
                RuleVerdict::Held => ("held", None),
                RuleVerdict::Undecided => ("UNDECIDED", Some(Paint::Yellow)),
            };
            let text = format!("{word:LABEL$}{}: {}", escape(&rule.rule), words::ruling(rule));
            self.wrapped(paint, 2, &text);
            for passed in rule.failed.iter().take(PASSED) {
                let text = words::passed(rule, passed);
                let name = escape(&words::name(&passed.name));
                let indent = LABEL + 2;
                let room = self.style.width.saturating_sub(indent);
                if width(&name) + 2 + width(&text) <= room {
                    self.line(None, &format!("{:indent$}{name}  {text}", ""));
                } else {
                    self.line(None, &format!("{:indent$}{}", "", elide(&name, room)));
                    self.wrapped(None, indent + 2, &text);
                }
            }
            self.more(rule.failed.len(), PASSED, LABEL + 2);
        }
    }

    fn more(&mut self, all: usize, shown: usize, indent: usize) {
        if let Some(more) = all.checked_sub(shown).filter(|more| *more > 0) {
            self.line(Some(Paint::Dim), &format!("{:indent$}and {} more", "", count(more as u64)));
        }
    }

    /// The endpoints that changed, and with `all` the others.
    fn endpoints(&mut self, diff: &Diff, all: bool) {
        let is_shown = |endpoint: &&EndpointChange| all || words::is_change(endpoint.outcome);
        let endpoints: Vec<_> = diff.endpoints.iter().filter(is_shown).collect();
        if endpoints.is_empty() {
            return;
        }
        self.title("Endpoints");
        for endpoint in endpoints.iter().take(self.style.rows) {
            self.endpoint(endpoint);
        }
        self.more(endpoints.len(), self.style.rows, 2);
        let rest = diff.endpoints.len() - endpoints.len();
        if rest > 0 {
            let rest = plural(rest as u64, "endpoint", "endpoints");
            self.line(Some(Paint::Dim), &format!("  {rest} without a change to show: --all"));
        }
    }

    fn endpoint(&mut self, endpoint: &EndpointChange) {
        let paint = match endpoint.outcome {
            Outcome::Worse | Outcome::Mixed => Some(Paint::Red),
            Outcome::New | Outcome::Vanished => Some(Paint::Yellow),
            _ => None,
        };
        let word = words::outcome(endpoint.outcome);
        self.text.push_str("  ");
        self.style.push(paint, &format!("{word:LABEL$}"), &mut self.text);
        let room = self.style.width.saturating_sub(LABEL + 2);
        let name = elide(&escape(&words::name(&endpoint.name)), room);
        self.line(Some(Paint::Bold), &name);
        for metric in words::SHOWN {
            self.change(endpoint, metric);
        }
    }

    fn change(&mut self, endpoint: &EndpointChange, metric: Metric) {
        let change = &metric.of(endpoint);
        let figure =
            |value: Option<f64>| value.map_or("?".to_owned(), |v| words::figure(metric, v));
        let absent = match endpoint.outcome {
            Outcome::New => change.after,
            Outcome::Vanished => change.before,
            _ => None,
        };
        let is_one_sided = matches!(endpoint.outcome, Outcome::New | Outcome::Vanished);
        let (figures, verdict) = match (is_one_sided, absent) {
            (true, None) => return,
            (true, Some(value)) => {
                let note = words::thin(metric, change.samples.iter().sum());
                (pad(&words::figure(metric, value), FIGURE), note.unwrap_or_default())
            }
            (false, _) => {
                let before = pad(&figure(change.before), FIGURE);
                let after = pad(&figure(change.after), FIGURE);
                let difference = pad(&words::difference(metric, change), DIFFERENCE);
                (format!("{before} → {after} {difference}"), words::verdict(metric, change))
            }
        };
        let paint = match change.verdict {
            Verdict::Worse => Some(Paint::Red),
            Verdict::Better | Verdict::Differs => Some(Paint::Bold),
            _ => Some(Paint::Dim),
        };
        let head = format!("    {:LABEL$}{figures}", words::label(metric));
        let room = self.style.width.saturating_sub(width(&head) + 2);
        for (index, part) in wrap(&verdict, room).iter().enumerate() {
            let text = match index {
                0 => format!("{head}  {part}"),
                _ => format!("{:1$}  {part}", "", width(&head)),
            };
            self.line(paint.filter(|_| !is_one_sided), text.trim_end());
        }
    }

    /// Who talks to whom and did not, or no longer does.
    fn edges(&mut self, diff: &Diff) {
        let edges = &diff.edges;
        if edges.new.is_empty() && edges.vanished.is_empty() {
            return;
        }
        self.title("Who talks to whom");
        for (word, list) in [("new", &edges.new), ("vanished", &edges.vanished)] {
            for edge in list.iter().take(EDGES) {
                let text = edge_text(edge);
                let room = self.style.width.saturating_sub(LABEL + 2);
                self.line(None, &format!("  {word:LABEL$}{}", elide(&text, room)));
            }
            self.more(list.len(), EDGES, LABEL + 2);
        }
        let both = plural(edges.both, "pair", "pairs");
        self.line(Some(Paint::Dim), &format!("  {both} of hosts on both sides"));
    }

    fn notes(&mut self, diff: &Diff) {
        if diff.endpoints.is_empty() {
            return;
        }
        self.text.push('\n');
        self.wrapped(Some(Paint::Dim), 0, &words::note(diff));
    }
}

/// Right-aligned.
fn pad(text: &str, columns: usize) -> String {
    format!("{:1$}{text}", "", columns.saturating_sub(width(text)))
}

fn side_lines(side: &Side) -> Vec<String> {
    let names: Vec<_> = side.inputs.iter().take(INPUTS).map(|i| escape(&i.name)).collect();
    let more = side.inputs.len().checked_sub(INPUTS).filter(|more| *more > 0);
    let more = more.map_or(String::new(), |more| format!(" and {} more", count(more as u64)));
    let all = &side.transactions;
    let mut text = plural(all.count, "transaction", "transactions");
    if let Some(span) = side.capture.span_ns {
        text += &format!(" in {}", duration(span));
    }
    if let Some(per_second) = all.rate_per_second.filter(|_| all.count > 0) {
        text += &format!(" ({})", rate(per_second));
    }
    text += &format!(", {} failed", share(all.errors, all.count));
    if all.unknown > 0 {
        text += &format!(", {} unknown", share(all.unknown, all.count));
    }
    if let Some(p) = &all.latency {
        text += &format!(", p50 {}, p99 {}", duration(p.p50_ns), duration(p.p99_ns));
    }
    let mut lines = vec![names.join(", ") + &more, text];
    if let Some(filter) = &side.filter {
        let taken = filter.taken + filter.left_out + filter.undecided;
        lines.push(words::filter(filter, taken));
    }
    lines
}

fn edge_text(edge: &Edge) -> String {
    let figures = &edge.figures;
    format!(
        "{}: {}, {}",
        escape(&edge_name(edge)),
        plural(figures.connections, "connection", "connections"),
        plural(figures.transactions.count, "transaction", "transactions")
    )
}
