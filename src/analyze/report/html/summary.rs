//! The head of the page, the figures over all, and the facts of the capture.

use super::writer::{Html, put};
use crate::analyze::report::Report;
use crate::analyze::report::model::Time;
use crate::analyze::report::text::names::kinds;
use crate::analyze::report::text::units::{
    count, duration, plural, rate, share, short_count, size,
};

/// Inputs named.
const INPUTS: usize = 10;

/// What the page is of, in a line.
pub fn title(report: &Report) -> String {
    let name = |input: &str| input.rsplit('/').next().unwrap_or(input).to_owned();
    match report.inputs.as_slice() {
        [] => "no input".to_owned(),
        [one] => name(&one.name),
        [first, rest @ ..] => format!("{} and {} more", name(&first.name), rest.len()),
    }
}

/// The page's head, with links to its sections.
pub fn head(page: &mut Html, report: &Report, sections: &[(&'static str, &'static str)]) {
    put!(
        page,
        "<header><div class=\"brand\"><span \
            class=\"logo\">perisco</span><h1><bdi>{}</bdi></h1></div>",
        title(report)
    );
    put!(page, "<p class=\"span\">");
    if let (Some(first), Some(last)) = (report.capture.first, report.capture.last) {
        day(page, first);
        put!(page, " to ");
        day(page, last);
        put!(page, " UTC");
        report.capture.span_ns.iter().for_each(|span| put!(page, " · {}", duration(*span)));
    }
    put!(
        page,
        "</p><button type=\"button\" id=\"theme\" class=\"js\" \
            aria-pressed=\"false\">Dark</button></header>"
    );
    put!(page, "<nav aria-label=\"Sections\"><ul>");
    for (id, name) in sections {
        put!(page, "<li><a href=\"#{}\">{}</a></li>", id, name);
    }
    put!(page, "</ul></nav>");
}

fn day(page: &mut Html, at: Time) {
    let text = at.0.to_string();
    let shown = text.get(..23).unwrap_or(&text).replace('T', " ");
    put!(page, "<time datetime=\"{}\" title=\"{}\">{}</time>", text, text, shown);
}

/// The figures that are looked at first.
pub fn tiles(page: &mut Html, report: &Report) {
    let all = &report.transactions.figures;
    if all.count == 0 {
        return;
    }
    put!(page, "<dl class=\"tiles\">");
    let mut tile = |class: &str, name: &str, value: &str, below: &str| {
        put!(
            page,
            "<div class=\"{}\"><dt>{}</dt><dd>{}<small>{}</small></dd></div>",
            class,
            name,
            value,
            below
        );
    };
    let per_second = all.rate_per_second.map_or(String::new(), rate);
    tile("", "transactions", &short_count(all.count), &per_second);
    let class = if all.errors > 0 { "bad" } else { "" };
    tile(
        class,
        "failed",
        &share(all.errors, all.count),
        &plural(all.errors, "transaction", "transactions"),
    );
    if all.unknown > 0 {
        tile(
            "odd",
            "unknown",
            &share(all.unknown, all.count),
            &plural(all.unknown, "transaction", "transactions"),
        );
    }
    match &all.latency {
        Some(p) => {
            tile("", "p50 latency", &duration(p.p50_ns), "median");
            tile("", "p90 latency", &duration(p.p90_ns), "1 in 10 is slower");
            tile("", "p99 latency", &duration(p.p99_ns), "1 in 100 is slower");
            tile("", "slowest", &duration(p.max_ns), "latency");
        }
        None => tile("odd", "latency", "?", "never seen"),
    }
    tile(
        "",
        "received",
        &size(all.response_body_bytes),
        &format!("{} sent", size(all.request_body_bytes)),
    );
    put!(page, "</dl>");
}

/// What was read and by what.
pub fn facts(page: &mut Html, report: &Report) {
    let capture = &report.capture;
    put!(
        page,
        "<section id=\"capture\" aria-labelledby=\"h-capture\"><h2 \
            id=\"h-capture\">Capture</h2><dl class=\"facts\">"
    );
    let mut fact =
        |name: &str, text: &str| put!(page, "<dt>{}</dt><dd><bdi>{}</bdi></dd>", name, text);
    for input in report.inputs.iter().take(INPUTS) {
        fact("input", &format!("{} ({})", input.name, input.format));
    }
    if report.inputs.len() > INPUTS {
        fact("", &format!("and {} more", report.inputs.len() - INPUTS));
    }
    if let (Some(first), Some(last)) = (capture.first, capture.last) {
        fact("from", &format!("{} UTC", first.0));
        fact("to", &format!("{} UTC", last.0));
    }
    let captured = match capture.captured_bytes == capture.bytes {
        true => String::new(),
        false => format!(" on the wire, {} captured", size(capture.captured_bytes)),
    };
    fact("packets", &format!("{}, {}{captured}", count(capture.packets), size(capture.bytes)));
    fact("TCP segments", &count(capture.segments));
    if !capture.other_packets.is_empty() {
        fact("other packets", &kinds(&capture.other_packets));
    }
    let all = &report.transactions;
    if all.figures.count > 0 {
        fact("protocols", &kinds(&all.protocols));
        fact("outcomes", &kinds(&all.outcomes));
        fact("seen", &kinds(&all.completeness));
    }
    fact("analysed by", concat!("perisco ", env!("CARGO_PKG_VERSION")));
    put!(
        page,
        "</dl><p class=\"note\">Percentiles are exact up to 64 values and at most 1 % off beyond; \
            those over time are at most 4 % off. \
         Maxima and counts are exact. Latency is from the first byte of the request to the first \
         byte of the response, at the place of the capture.</p></section>"
    );
}
