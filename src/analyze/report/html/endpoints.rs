//! The endpoint table.

use std::collections::BTreeSet;

use super::cards;
use super::spark;
use super::writer::{Html, put};
use crate::analyze::report::Report;
use crate::analyze::report::model::{Endpoint, Figures, Percentiles};
use crate::analyze::report::text::units::{
    count, duration, plural, rate, share, short_count, size,
};

/// Endpoints with the most transactions that are shown.
const BUSIEST: usize = 150;
/// Those with the most failures, and those with the highest 99th percentile.
const WORST: usize = 60;
/// Columns of the table.
const COLUMNS: usize = 12;

/// The section.
pub fn write(page: &mut Html, report: &Report) {
    if report.endpoints.is_empty() && report.endpoints_other.is_none() {
        return;
    }
    put!(
        page,
        "<section id=\"endpoints\" aria-labelledby=\"h-endpoints\"><h2 \
            id=\"h-endpoints\">Endpoints</h2>"
    );
    let mut shown = chosen(&report.endpoints);
    tools(page, &shown);
    head(page);
    let mut written = 0;
    for endpoint in &shown {
        if page.is_full() {
            break;
        }
        row(page, endpoint);
        written += 1;
    }
    shown.truncate(written);
    put!(page, "</tbody>");
    rest(page, report, &shown);
    put!(page, "</table></div>");
    let of = report.endpoints.len();
    if shown.len() < of {
        put!(
            page,
            "<p class=\"note\">{} of {} endpoints shown: those with most transactions, most \
                failures and \
             highest p99. All are in <code>--format json</code>.</p>",
            count(shown.len() as u64),
            count(of as u64)
        );
    }
    put!(page, "</section>");
}

/// The endpoints to be shown, most transactions first.
fn chosen(all: &[Endpoint]) -> Vec<&Endpoint> {
    let ranked = |key: fn(&Endpoint) -> u64| {
        let mut order: Vec<_> = (0..all.len()).collect();
        let key = |place: &usize| std::cmp::Reverse(all.get(*place).map_or(0, key));
        // Stable: what is as bad stays in the order of the report.
        order.sort_by_key(key);
        order
    };
    let by_count = ranked(|endpoint| endpoint.figures.count);
    let by_errors = ranked(|endpoint| endpoint.figures.errors);
    let by_p99 = ranked(|endpoint| endpoint.figures.latency.map_or(0, |p| p.p99_ns));
    let worst = by_errors.iter().take(WORST).chain(by_p99.iter().take(WORST));
    let chosen: BTreeSet<usize> = by_count.iter().take(BUSIEST).chain(worst).copied().collect();
    let shown = by_count.into_iter().filter(|place| chosen.contains(place));
    shown.filter_map(|place| all.get(place)).collect()
}

/// What the script can do with the table; without it they are not shown.
fn tools(page: &mut Html, shown: &[&Endpoint]) {
    if shown.len() < 2 {
        return;
    }
    put!(
        page,
        "<div class=\"tools js\"><label>Filter <input type=\"search\" data-filter=\"eps\" \
         placeholder=\"path, host, method…\" autocomplete=\"off\" spellcheck=\"false\"></label>\
         <label><input type=\"checkbox\" data-group=\"eps\"> Fold by host or service</label>\
         <label><input type=\"checkbox\" data-failing=\"eps\"> Failing only</label>\
         <output data-shown=\"eps\" aria-live=\"polite\"></output></div>"
    );
}

fn head(page: &mut Html) {
    put!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" \
            aria-labelledby=\"h-endpoints\"><table id=\"eps\" \
         class=\"sortable wide\"><caption class=\"sr\">Endpoints, most transactions \
         first</caption><thead><tr>\
         <th scope=\"col\" data-sort=\"text\">endpoint</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\" aria-sort=\"descending\">count</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">rate</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">errors</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\" title=\"Transactions whose outcome was \
         not seen\">unknown</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">p50</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">p90</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">p99</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">max</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\" title=\"Body bytes of \
         responses\">received</th>\
         <th scope=\"col\" title=\"Transactions over the time of the capture, failed ones in the \
         colour of errors\">over time</th>\
         <th scope=\"col\" title=\"How many took how long, on a log scale from 1 µs to 2 min; \
         lines at 1 ms and 1 s\">latency</th>\
         </tr></thead><tbody>"
    );
}

fn row(page: &mut Html, endpoint: &Endpoint) {
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    let group = endpoint.service.as_ref().or(endpoint.host.as_ref());
    put!(page, "<tr data-g=\"{}\"", group.map_or("?", String::as_str));
    if endpoint.figures.errors > 0 {
        put!(page, " class=\"bad\"");
    }
    put!(page, "><th scope=\"row\">");
    let detail = endpoint.detail.as_ref();
    let examples = detail.filter(|d| !(d.slowest.is_empty() && d.failed.is_empty()));
    if examples.is_some() {
        put!(page, "<details><summary>");
    }
    let (method, path) = (part(&endpoint.method), part(&endpoint.path));
    match &endpoint.service {
        Some(service) => {
            put!(
                page,
                "<span class=\"m\">RPC</span> <bdi class=\"p\">{}/<wbr><b>{}</b></bdi>",
                service,
                method
            );
        }
        None => {
            let host = part(&endpoint.host);
            put!(
                page,
                "<span class=\"m\">{}</span> <bdi class=\"p\"><span class=\"host\">{}</span>",
                method,
                host
            );
            let space = if path.starts_with('/') { "" } else { " " };
            put!(page, "{}<wbr><b>{}</b></bdi>", space, path);
        }
    }
    put!(page, " <span class=\"proto\">{}</span>", endpoint.protocol);
    if examples.is_some() {
        put!(page, "</summary></details>");
    }
    put!(page, "</th>");
    figures(page, &endpoint.figures);
    put!(page, "<td>");
    detail.iter().for_each(|detail| spark::over_time(page, &detail.steps));
    put!(page, "</td><td>");
    detail.iter().for_each(|detail| spark::distribution(page, &detail.octaves));
    put!(page, "</td></tr>");
    if let Some(detail) = examples {
        put!(page, "<tr class=\"sub\"><td colspan=\"{}\">", COLUMNS);
        cards::list(page, "Slowest", &detail.slowest);
        cards::list(page, "Earliest that failed", &detail.failed);
        put!(page, "</td></tr>");
    }
}

pub fn figures(page: &mut Html, figures: &Figures) {
    put!(page, "<td class=\"n\" data-v=\"{}\">{}</td>", figures.count, short_count(figures.count));
    match figures.rate_per_second {
        Some(per_second) => put!(
            page,
            "<td class=\"n\" data-v=\"{}\">{}</td>",
            format!("{per_second:.3}"),
            rate(per_second)
        ),
        None => put!(page, "<td class=\"n\"></td>"),
    }
    part(page, figures.errors, figures.count, "err");
    part(page, figures.unknown, figures.count, "unk");
    for pick in [
        |p: &Percentiles| p.p50_ns,
        |p: &Percentiles| p.p90_ns,
        |p: &Percentiles| p.p99_ns,
        |p: &Percentiles| p.max_ns,
    ] {
        latency(page, figures.latency.as_ref().map(pick));
    }
    put!(
        page,
        "<td class=\"n\" data-v=\"{}\">{}</td>",
        figures.response_body_bytes,
        size(figures.response_body_bytes)
    );
}

/// A count and its share; nothing where it is none.
pub fn part(page: &mut Html, part: u64, all: u64, class: &str) {
    if part == 0 {
        put!(page, "<td class=\"n zero\" data-v=\"0\">0</td>");
    } else {
        put!(
            page,
            "<td class=\"n {}\" data-v=\"{}\">{} <small>{}</small></td>",
            class,
            part,
            short_count(part),
            share(part, all)
        );
    }
}

/// A latency; `?` where none was seen.
pub fn latency(page: &mut Html, nanos: Option<u64>) {
    match nanos {
        Some(nanos) => put!(page, "<td class=\"n\" data-v=\"{}\">{}</td>", nanos, duration(nanos)),
        None => put!(page, "<td class=\"n zero\" data-v=\"-1\">?</td>"),
    }
}

/// What is not among the rows, in a foot that sorting leaves alone.
fn rest(page: &mut Html, report: &Report, shown: &[&Endpoint]) {
    let all: u64 = report.endpoints.iter().map(|endpoint| endpoint.figures.count).sum();
    let seen: u64 = shown.iter().map(|endpoint| endpoint.figures.count).sum();
    let hidden = report.endpoints.len() - shown.len();
    put!(page, "<tfoot>");
    if hidden > 0 {
        put!(
            page,
            "<tr><th scope=\"row\">({} more, not shown)</th><td class=\"n\">{}</td><td \
                colspan=\"10\"></td></tr>",
            plural(hidden as u64, "endpoint", "endpoints"),
            short_count(all - seen)
        );
    }
    if let Some(other) = &report.endpoints_other {
        put!(page, "<tr><th scope=\"row\">(others, past the limit on endpoints told apart)</th>");
        figures(page, other);
        put!(page, "<td></td><td></td></tr>");
    }
    put!(page, "</tfoot>");
}
