//! `html`: the comparison as one page for a browser.
//!
//! Its style is that of a report's page ([`report::html`](crate::analyze::report::html));
//! there is no script, and the page's policy allows none. Everything from the wire goes
//! through `put!`, which escapes it.

use std::io::{self, Write};

use super::model::{
    Change, Diff, EndpointChange, Outcome, RuleVerdict, Ruling, Side, Verdict, Which,
};
use super::rule::Metric;
use super::words;
use crate::analyze::report::html::open;
use crate::analyze::report::html::writer::{Html, put};
use crate::analyze::report::model::{Edge, Filtered};
use crate::analyze::report::text::names::{coverage_text_of, edge_name};
use crate::analyze::report::text::units::{count, duration, plural, rate, share};

/// Endpoints shown, those that changed first.
const ENDPOINTS: usize = 500;
/// Places shown of each rule that was passed.
const PASSED: usize = 50;
/// Pairs of hosts shown, of new and vanished ones each.
const EDGES: usize = 100;
/// Inputs named for each side.
const INPUTS: usize = 10;

/// Writes the page.
///
/// # Errors
/// What `out` returns.
pub fn write(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(render(diff).as_bytes())
}

/// The page.
pub fn render(diff: &Diff) -> String {
    let mut page = Html::new(true);
    let title = format!("{} → {}", input(&diff.before), input(&diff.after));
    open(&mut page, &title, None);
    put!(
        page,
        "<header><div class=\"brand\"><span class=\"logo\">perisco</span><h1><bdi>{}</bdi></h1>\
         </div><p class=\"span\">{}</p></header>",
        title,
        words::headline(diff)
    );
    let has_edges = !(diff.edges.new.is_empty() && diff.edges.vanished.is_empty());
    put!(page, "<nav aria-label=\"Sections\"><ul>");
    for (there, id, name) in [
        (true, "coverage", "Coverage"),
        (true, "sides", "Both sides"),
        (!diff.rules.is_empty(), "rules", "Rules"),
        (!diff.endpoints.is_empty(), "endpoints", "Endpoints"),
        (has_edges, "edges", "Who talks to whom"),
    ] {
        if there {
            put!(page, "<li><a href=\"#{}\">{}</a></li>", id, name);
        }
    }
    put!(page, "</ul></nav><main id=\"main\">");
    coverage(&mut page, diff);
    sides(&mut page, diff);
    rules(&mut page, &diff.rules);
    endpoints(&mut page, diff);
    if has_edges {
        edges(&mut page, diff);
    }
    put!(page, "</main></body></html>\n");
    page.into_text()
}

/// The first input of a side, without its folder.
fn input(side: &Side) -> String {
    let name = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    match side.inputs.as_slice() {
        [] => "no input".to_owned(),
        [one] => name(&one.name),
        [first, rest @ ..] => format!("{} and {} more", name(&first.name), rest.len()),
    }
}

/// What to know before any of it is believed.
fn coverage(page: &mut Html, diff: &Diff) {
    let is_whole = diff.before.is_whole() && diff.after.is_whole();
    let (class, mark, title) = match (is_whole, diff.caveats.is_empty()) {
        (false, _) => (
            "missing",
            "✕",
            "Data is missing: what differs may be what was lost, not what was done",
        ),
        (true, false) => ("partial", "!", "Nothing is known to be lost, but not all is compared"),
        (true, true) => ("whole", "✓", "Nothing is known to be missing on either side"),
    };
    put!(
        page,
        "<section id=\"coverage\" class=\"banner {}\" aria-labelledby=\"h-coverage\">\
         <span class=\"mark\" aria-hidden=\"true\">{}</span><div><h2 id=\"h-coverage\">{}</h2>",
        class,
        mark,
        title
    );
    if !diff.caveats.is_empty() {
        put!(page, "<ul>");
        for caveat in &diff.caveats {
            let side = match caveat.side {
                Which::Before => "Before",
                Which::After => "After",
            };
            put!(page, "<li>{}: {}</li>", side, caveat.text);
        }
        put!(page, "</ul>");
    }
    put!(page, "<p class=\"note\">{}</p></div></section>", words::note(diff));
}

fn sides(page: &mut Html, diff: &Diff) {
    put!(
        page,
        "<section id=\"sides\" aria-labelledby=\"h-sides\"><h2 id=\"h-sides\">Both sides</h2>\
         <div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"h-sides\">\
         <table class=\"wide\"><thead><tr><th scope=\"col\"></th><th scope=\"col\">before</th>\
         <th scope=\"col\">after</th></tr></thead><tbody>"
    );
    let mut row = |name: &str, of: &dyn Fn(&Side) -> String| {
        put!(
            page,
            "<tr><th scope=\"row\">{}</th><td><bdi>{}</bdi></td><td><bdi>{}</bdi></td></tr>",
            name,
            of(&diff.before),
            of(&diff.after)
        );
    };
    row("inputs", &inputs);
    row("from", &|side| side.capture.first.map_or("?".to_owned(), |at| at.0.to_string()));
    row("lasts", &|side| side.capture.span_ns.map_or("?".to_owned(), duration));
    row("coverage", &|side| coverage_text_of(&side.loss));
    if diff.before.filter.is_some() || diff.after.filter.is_some() {
        row("taken", &|side| {
            let all = |f: &Filtered| f.taken + f.left_out + f.undecided;
            side.filter.as_ref().map_or("all".to_owned(), |f| words::filter(f, all(f)))
        });
    }
    row("transactions", &|side| {
        let all = &side.transactions;
        let per_second = all.rate_per_second.filter(|_| all.count > 0);
        let per_second = per_second.map_or(String::new(), |r| format!(" ({})", rate(r)));
        format!("{}{per_second}", count(all.count))
    });
    row("failed", &|side| part(side.transactions.errors, side.transactions.count));
    row("unknown", &|side| part(side.transactions.unknown, side.transactions.count));
    row("p50, p99", &|side| match &side.transactions.latency {
        Some(p) => format!("{}, {}", duration(p.p50_ns), duration(p.p99_ns)),
        None => "?".to_owned(),
    });
    put!(page, "</tbody></table></div></section>");
}

fn inputs(side: &Side) -> String {
    let names: Vec<_> = side.inputs.iter().take(INPUTS).map(|input| input.name.as_str()).collect();
    let more = side.inputs.len().checked_sub(INPUTS).filter(|more| *more > 0);
    names.join(", ") + &more.map_or(String::new(), |more| format!(" and {more} more"))
}

fn part(some: u64, all: u64) -> String {
    format!("{} ({})", count(some), share(some, all))
}

fn rules(page: &mut Html, rules: &[Ruling]) {
    if rules.is_empty() {
        return;
    }
    put!(
        page,
        "<section id=\"rules\" aria-labelledby=\"h-rules\"><h2 id=\"h-rules\">Rules</h2>\
         <ul class=\"ex\">"
    );
    for rule in rules {
        let (class, word) = match rule.verdict {
            RuleVerdict::Failed => ("s-server", "failed"),
            RuleVerdict::Held => ("s-ok", "held"),
            RuleVerdict::Undecided => ("s-client", "undecided"),
        };
        put!(
            page,
            "<li><span class=\"s {}\">{}</span> <code>{}</code> {}",
            class,
            word,
            rule.rule,
            words::ruling(rule)
        );
        if !rule.failed.is_empty() {
            put!(page, "<ul>");
            for passed in rule.failed.iter().take(PASSED) {
                let (name, text) = (words::name(&passed.name), words::passed(rule, passed));
                put!(page, "<li><bdi class=\"p\">{}</bdi> <small>{}</small></li>", name, text);
            }
            more(page, rule.failed.len(), PASSED);
            put!(page, "</ul>");
        }
        put!(page, "</li>");
    }
    put!(page, "</ul></section>");
}

/// Says how many there are past those that are shown.
fn more(page: &mut Html, all: usize, shown: usize) {
    if let Some(more) = all.checked_sub(shown).filter(|more| *more > 0) {
        put!(page, "<li class=\"note\">and {} more</li>", count(more as u64));
    }
}

fn endpoints(page: &mut Html, diff: &Diff) {
    if diff.endpoints.is_empty() {
        return;
    }
    put!(
        page,
        "<section id=\"endpoints\" aria-labelledby=\"h-endpoints\">\
         <h2 id=\"h-endpoints\">Endpoints</h2>"
    );
    let (changed, rest): (Vec<_>, Vec<_>) =
        diff.endpoints.iter().partition(|endpoint| words::is_change(endpoint.outcome));
    let shown = table(page, &changed, ENDPOINTS);
    if changed.is_empty() {
        put!(page, "<p>No endpoint with a significant change.</p>");
    }
    let mut shown_rest = 0;
    if !rest.is_empty() {
        let text = plural(rest.len() as u64, "endpoint", "endpoints");
        put!(
            page,
            "<details class=\"data\"><summary>{} without a significant change, or with not \
             enough to say</summary>",
            text
        );
        shown_rest = table(page, &rest, ENDPOINTS.saturating_sub(shown));
        put!(page, "</details>");
    }
    if shown + shown_rest < diff.endpoints.len() {
        put!(
            page,
            "<p class=\"note\">{} of {} endpoints shown. All are in <code>--format json</code>.\
             </p>",
            count((shown + shown_rest) as u64),
            count(diff.endpoints.len() as u64)
        );
    }
    put!(page, "</section>");
}

/// A table of endpoints; returns how many of them it has.
fn table(page: &mut Html, endpoints: &[&EndpointChange], limit: usize) -> usize {
    if endpoints.is_empty() || limit == 0 {
        return 0;
    }
    put!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"h-endpoints\">\
         <table class=\"wide\"><thead><tr><th scope=\"col\">endpoint</th>"
    );
    for metric in words::SHOWN {
        put!(page, "<th scope=\"col\" class=\"n\">{}</th>", words::label(metric));
    }
    put!(page, "</tr></thead><tbody>");
    let mut shown = 0;
    for endpoint in endpoints.iter().take(limit) {
        if page.is_full() {
            break;
        }
        let class = match endpoint.outcome {
            Outcome::Worse | Outcome::Mixed => "s-server",
            Outcome::New | Outcome::Vanished => "s-client",
            Outcome::Better => "s-ok",
            Outcome::Rate | Outcome::NotSignificant | Outcome::NotEnough => "s-unknown",
        };
        put!(
            page,
            "<tr><th scope=\"row\"><span class=\"s {}\">{}</span> <bdi class=\"p\">{}</bdi></th>",
            class,
            words::outcome(endpoint.outcome),
            words::name(&endpoint.name)
        );
        words::SHOWN.iter().for_each(|metric| cell(page, endpoint, *metric));
        put!(page, "</tr>");
        shown += 1;
    }
    put!(page, "</tbody></table></div>");
    shown
}

fn cell(page: &mut Html, endpoint: &EndpointChange, metric: Metric) {
    let change = metric.of(endpoint);
    let class = match change.verdict {
        Verdict::Worse => "n err",
        Verdict::Better | Verdict::Differs => "n",
        _ => "n zero",
    };
    put!(page, "<td class=\"{}\">", class);
    match endpoint.outcome {
        Outcome::New => one_sided(page, metric, &change, change.after),
        Outcome::Vanished => one_sided(page, metric, &change, change.before),
        _ => {
            let figure =
                |value: Option<f64>| value.map_or("?".to_owned(), |v| words::figure(metric, v));
            put!(page, "{} → {}", figure(change.before), figure(change.after));
            let difference = words::difference(metric, &change);
            put!(page, "<br><small>{} {}</small>", difference, words::verdict(metric, &change));
        }
    }
    put!(page, "</td>");
}

fn one_sided(page: &mut Html, metric: Metric, change: &Change, value: Option<f64>) {
    let Some(value) = value else { return put!(page, "?") };
    put!(page, "{}", words::figure(metric, value));
    if let Some(thin) = words::thin(metric, change.samples.iter().sum()) {
        put!(page, "<br><small>{}</small>", thin);
    }
}

fn edges(page: &mut Html, diff: &Diff) {
    put!(
        page,
        "<section id=\"edges\" aria-labelledby=\"h-edges\"><h2 id=\"h-edges\">Who talks to \
         whom</h2><ul class=\"ex\">"
    );
    let edges = &diff.edges;
    for (class, word, list) in
        [("s-client", "new", &edges.new), ("s-client", "vanished", &edges.vanished)]
    {
        for edge in list.iter().take(EDGES) {
            put!(
                page,
                "<li><span class=\"s {}\">{}</span> <bdi class=\"p\">{}</bdi> <small>{}</small>\
                 </li>",
                class,
                word,
                edge_name(edge),
                talked(edge)
            );
        }
        more(page, list.len(), EDGES);
    }
    let both = plural(edges.both, "pair", "pairs");
    put!(page, "</ul><p class=\"note\">{} of hosts on both sides.</p></section>", both);
}

fn talked(edge: &Edge) -> String {
    let figures = &edge.figures;
    format!(
        "{}, {}",
        plural(figures.connections, "connection", "connections"),
        plural(figures.transactions.count, "transaction", "transactions")
    )
}
