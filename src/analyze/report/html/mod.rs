//! `html`: the report as one page for a browser.
//!
//! One file that needs nothing else: no network, which its own policy forbids
//! (Content Security Policy level 3), no script to be read; the script only
//! sorts, filters and folds. Everything from the wire is escaped ([`writer`]).
//! What there is too much of is cut, and the page says so where it is.
//!
//! Sections know the [`Report`] only; charts are drawn here as SVG.

mod cards;
mod connections;
mod coverage;
mod endpoints;
mod frame;
mod groups;
mod heat;
mod layout;
mod map;
mod over_time;
mod scale;
mod spark;
mod summary;
#[cfg(test)]
mod tests;
mod transactions;
pub(in crate::analyze) mod writer;

use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::Report;
use writer::{Html, put};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nanoseconds from which on times are shown with their day.
const DAY: u64 = 20 * 3600 * 1_000_000_000;

/// Writes the page.
///
/// # Errors
/// What `out` returns.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(render(report).as_bytes())
}

/// The page.
pub fn render(report: &Report) -> String {
    let dated = report.capture.span_ns.is_none_or(|span| span > DAY);
    let mut page = Html::new(dated);
    open(&mut page, &summary::title(report), Some(SCRIPT));
    summary::head(&mut page, report, &sections(report));
    put!(page, "<main id=\"main\">");
    coverage::write(&mut page, report);
    summary::tiles(&mut page, report);
    over_time::write(&mut page, report);
    groups::write(&mut page, report);
    endpoints::write(&mut page, report);
    transactions::errors(&mut page, report);
    map::write(&mut page, report);
    transactions::samples(&mut page, report);
    connections::write(&mut page, report);
    connections::anomalies(&mut page, report);
    connections::findings(&mut page, report);
    summary::facts(&mut page, report);
    put!(page, "</main><div id=\"tip\" role=\"status\" hidden></div><script>");
    page.constant(SCRIPT);
    put!(page, "</script></body></html>\n");
    page.into_text()
}

/// The sections that the page has, by id and name.
fn sections(report: &Report) -> Vec<(&'static str, &'static str)> {
    let detail = report.detail.as_ref();
    let all = report.transactions.figures.count;
    let examples =
        detail.is_some_and(|detail| !(detail.slowest.is_empty() && detail.causes.is_empty()));
    let sections = [
        (true, "coverage", "Coverage"),
        (detail.is_some_and(|detail| detail.timeline.is_some()), "time", "Over time"),
        (all > 0 && report.groups.is_some(), "groups", "Groups"),
        (all > 0, "endpoints", "Endpoints"),
        (all > 0 && detail.is_some(), "errors", "Errors"),
        (!report.edges.is_empty() || report.edges_other.is_some(), "map", "Map"),
        (examples, "transactions", "Transactions"),
        (report.flows.count > 0, "connections", "Connections"),
        (!report.anomalies.is_empty(), "anomalies", "Anomalies"),
        (report.findings.count > 0, "findings", "Findings"),
        (true, "capture", "Capture"),
    ];
    sections.into_iter().filter(|(there, ..)| *there).map(|(_, id, name)| (id, name)).collect()
}

/// Everything before a page's own head. The policy allows the style and the script, where
/// there is one, by their hashes and nothing else: no network, no other script, no style
/// of an element.
pub(in crate::analyze) fn open(page: &mut Html, title: &str, script: Option<&str>) {
    put!(page, "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    put!(
        page,
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
            'sha256-{}'; ",
        hash(STYLE)
    );
    if let Some(script) = script {
        put!(page, "script-src 'sha256-{}'; ", hash(script));
    }
    put!(page, "base-uri 'none'; form-action 'none'\">");
    put!(
        page,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta \
            name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"referrer\" content=\"no-referrer\"><meta name=\"generator\" \
         content=\"{}\"><title>{} – perisco</title><style>",
        concat!("perisco ", env!("CARGO_PKG_VERSION")),
        title
    );
    page.constant(STYLE);
    put!(page, "</style></head><body><a class=\"skip\" href=\"#main\">Skip to the report</a>");
}

/// SHA-256 as a policy has it.
fn hash(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()))
}
