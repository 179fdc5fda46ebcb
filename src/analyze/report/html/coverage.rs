//! What is missing, before everything else.

use super::writer::{Html, put};
use crate::analyze::report::Report;
use crate::analyze::report::model::Filtered;
use crate::analyze::report::text::names::{causes, coverage_text, hints};
use crate::analyze::report::text::units::{count, plural};

/// Damages listed one by one.
const LISTED: usize = 10;

/// How much can be relied on.
enum Verdict {
    /// Bytes, packets or the rest of an input are known to be missing.
    Missing,
    /// Nothing is missing in between, but not all of it was seen to its end or
    /// from its beginning.
    Partial,
    /// Nothing is known to be missing.
    Whole,
}

/// The section.
pub fn write(page: &mut Html, report: &Report) {
    let missing = missing(report);
    let partial = partial(report);
    let verdict = match (missing.is_empty() && report.loss.none_known, partial.is_empty()) {
        (false, _) => Verdict::Missing,
        (true, false) => Verdict::Partial,
        (true, true) => Verdict::Whole,
    };
    let (class, mark, title) = match verdict {
        Verdict::Missing => {
            ("missing", "✕", "Something is missing: the figures hold for what is there")
        }
        Verdict::Partial => {
            ("partial", "!", "No byte is known to be missing, but not everything was seen whole")
        }
        Verdict::Whole => ("whole", "✓", "Nothing is known to be missing"),
    };
    put!(
        page,
        "<section id=\"coverage\" class=\"banner {}\" aria-labelledby=\"h-coverage\">",
        class
    );
    put!(
        page,
        "<span class=\"mark\" aria-hidden=\"true\">{}</span><div><h2 id=\"h-coverage\">{}</h2>",
        mark,
        title
    );
    let points: Vec<_> = missing.into_iter().chain(partial).collect();
    if !points.is_empty() {
        put!(page, "<ul>");
        points.iter().for_each(|point| put!(page, "<li>{}</li>", point));
        put!(page, "</ul>");
    }
    put!(page, "<p class=\"note\">");
    if report.loss.coverage_percent.is_some() {
        put!(page, "Coverage: {}. ", coverage_text(report));
    }
    put!(
        page,
        "Coverage counts bytes that TCP’s sequence numbers prove missing. A connection or \
            direction of which \
         nothing was captured leaves no trace and cannot be counted.</p>"
    );
    told_apart(page, report);
    put!(page, "</div></section>");
    report.filter.iter().for_each(|filter| filtered(page, filter));
    let left_out = report.filter.as_ref().is_some_and(|f| f.left_out + f.undecided > 0);
    if report.transactions.figures.count == 0 && !left_out {
        nothing(page, report);
    }
}

/// What a filter took and left out: all that follows is of what it took.
fn filtered(page: &mut Html, filter: &Filtered) {
    let all = filter.taken + filter.left_out + filter.undecided;
    put!(
        page,
        "<section id=\"filter\" class=\"banner filter\" aria-labelledby=\"h-filter\"><span \
            class=\"mark\" aria-hidden=\"true\">⊂</span><div><h2 id=\"h-filter\">Filtered: {} of \
            {}</h2><ul>",
        count(filter.taken),
        plural(all, "transaction", "transactions")
    );
    if let Some(expression) = &filter.expression {
        put!(page, "<li>where <code>{}</code></li>", expression);
    }
    for (name, bound) in [("since", &filter.since), ("until", &filter.until)] {
        match bound.as_ref().map(|bound| (bound.at, &bound.given)) {
            Some((Some(at), _)) => put!(page, "<li>begins {} {}</li>", name, at.0),
            Some((None, given)) => {
                put!(page, "<li>begins {} {} (no packet has a time)</li>", name, given);
            }
            None => {}
        }
    }
    if filter.undecided > 0 {
        put!(
            page,
            "<li>{} left out, since what decides was not seen or cannot be worked out</li>",
            plural(filter.undecided, "transaction", "transactions")
        );
    }
    put!(
        page,
        "</ul><p class=\"note\">Coverage and loss, connections and payload are of the whole \
            capture; transactions and what is worked out of them are those that were \
            taken.</p></div></section>"
    );
}

/// What is known not to be there.
fn missing(report: &Report) -> Vec<String> {
    let loss = &report.loss;
    let mut points = Vec::new();
    if report.interrupted {
        points.push(
            "The analysis was interrupted: what comes later in the input is not in here."
                .to_owned(),
        );
    }
    for damage in loss.damage.iter().take(LISTED) {
        points.push(format!(
            "{} is damaged at byte {}: {}",
            damage.file,
            count(damage.offset),
            damage.what
        ));
    }
    if loss.damage.len() > LISTED {
        points.push(format!("and {} other damages", count((loss.damage.len() - LISTED) as u64)));
    }
    if loss.dropped_packets > 0 {
        points.push(format!(
            "{} lost by the capturer, as it says itself",
            plural(loss.dropped_packets, "packet", "packets")
        ));
    }
    if loss.cut_packets > 0 {
        points.push(format!(
            "{} cut by the snap length",
            plural(loss.cut_packets, "packet", "packets")
        ));
    }
    for (text, gap) in causes(&loss.gaps) {
        if gap.count + gap.bytes > 0 {
            points.push(format!(
                "{} in {}: {text}",
                plural(gap.bytes, "byte", "bytes"),
                plural(gap.count, "gap", "gaps")
            ));
        }
    }
    if !loss.none_known {
        points.extend(limits(report, false));
    }
    points
}

/// Names of limits on what the report tells apart: nothing is lost by them.
const TOLD_APART: [&str; 3] =
    ["endpoints in the report", "groups in the report", "pairs of hosts in the report"];

/// Limits that were reached.
fn limits(report: &Report, told_apart: bool) -> Vec<String> {
    let limits = report.loss.limits.iter();
    let mine = limits.filter(|limit| TOLD_APART.contains(&limit.name.as_str()) == told_apart);
    mine.map(|limit| {
        format!("limit {}: reached {}", limit.name, plural(limit.count, "time", "times"))
    })
    .collect()
}

/// What was not seen whole.
fn partial(report: &Report) -> Vec<String> {
    let all = &report.transactions;
    let mut points = Vec::new();
    for named in all.completeness.iter().filter(|named| named.count > 0) {
        let text = match named.name.as_str() {
            "gap" => "with bytes missing inside",
            "truncated" => "cut by the end of the capture or the connection, or by a limit",
            "late-join" => "began before the capture, or depend on header tables that did",
            "unpaired" => "with only one of request and response",
            _ => continue,
        };
        points.push(format!("{} {text}", plural(named.count, "transaction", "transactions")));
    }
    if all.figures.unknown > 0 {
        let count = plural(all.figures.unknown, "transaction", "transactions");
        points.push(format!("{count} of unknown outcome, counted neither as ok nor as failed"));
    }
    if report.flows.without_handshake > 0 {
        let flows = plural(report.flows.without_handshake, "connection", "connections");
        points.push(format!("{flows} of which the start was not captured"));
    }
    points
}

/// What the report no longer tells apart.
fn told_apart(page: &mut Html, report: &Report) {
    for limit in report.loss.limits.iter().filter(|limit| TOLD_APART.contains(&limit.name.as_str()))
    {
        put!(
            page,
            "<p class=\"note\">Limit on {}: {} counted together as others.</p>",
            limit.name,
            count(limit.count)
        );
    }
}

/// Why there may be no transaction.
fn nothing(page: &mut Html, report: &Report) {
    put!(
        page,
        "<section id=\"nothing\" aria-labelledby=\"h-nothing\"><h2 id=\"h-nothing\">No HTTP \
            found</h2><ul>"
    );
    hints(report).iter().for_each(|hint| put!(page, "<li>{}</li>", hint));
    put!(page, "</ul></section>");
}
