//! Errors by kind, and the slowest and failed transactions.

use super::cards;
use super::spark;
use super::writer::{Html, put};
use crate::analyze::report::Report;
use crate::analyze::report::detail::Cause;
use crate::analyze::report::text::units::{count, plural, share, short_count};

/// Ways to fail that are shown.
const CAUSES: usize = 40;

/// Errors by kind: how many, since when and until when, and the earliest.
pub fn errors(page: &mut Html, report: &Report) {
    let Some(detail) = &report.detail else { return };
    let all = &report.transactions.figures;
    if all.count == 0 {
        return;
    }
    put!(
        page,
        "<section id=\"errors\" aria-labelledby=\"h-errors\"><h2 id=\"h-errors\">Errors by \
            kind</h2>"
    );
    if detail.causes.is_empty() {
        put!(page, "<p>No transaction failed");
        if all.unknown > 0 {
            put!(page, ", as far as was seen: the outcome of {} is unknown", count(all.unknown));
        }
        put!(page, ".</p></section>");
        return;
    }
    put!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"h-errors\"><table \
            class=\"sortable wide\" id=\"errs\">\
         <caption class=\"sr\">Failed transactions by how they failed</caption><thead><tr>\
         <th scope=\"col\" data-sort=\"text\">kind</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\" aria-sort=\"descending\">count</th>\
         <th scope=\"col\" class=\"n\" data-sort=\"num\">of all</th>\
         <th scope=\"col\" data-sort=\"text\">first (UTC)</th><th scope=\"col\" \
         data-sort=\"text\">last (UTC)</th>\
         <th scope=\"col\">over time</th></tr></thead><tbody>"
    );
    for cause in detail.causes.iter().take(CAUSES) {
        row(page, cause, all.count);
    }
    put!(page, "</tbody></table></div>");
    let more = detail.causes.iter().skip(CAUSES);
    let sum: u64 = more.clone().map(|cause| cause.count).sum();
    let rows = more.count();
    if rows > 0 {
        put!(
            page,
            "<p class=\"note\">{} of {} kinds shown; the others have {}.</p>",
            CAUSES,
            detail.causes.len(),
            plural(sum, "transaction", "transactions")
        );
    }
    put!(page, "</section>");
}

fn row(page: &mut Html, cause: &Cause, all: u64) {
    let by = match cause.by {
        "http" => "HTTP ",
        "grpc" => "gRPC ",
        _ => "",
    };
    put!(
        page,
        "<tr><th scope=\"row\"><details><summary>{}<b>{}</b></summary></details></th>",
        by,
        cause.name
    );
    put!(page, "<td class=\"n err\" data-v=\"{}\">{}</td>", cause.count, short_count(cause.count));
    put!(page, "<td class=\"n\" data-v=\"{}\">{}</td><td>", cause.count, share(cause.count, all));
    cards::moment(page, cause.first);
    put!(page, "</td><td>");
    cards::moment(page, cause.last);
    put!(page, "</td><td>");
    spark::over_time(page, &cause.steps);
    put!(page, "</td></tr><tr class=\"sub\"><td colspan=\"6\">");
    cards::list(page, "Earliest", &cause.examples);
    put!(page, "</td></tr>");
}

/// The slowest and the failed, each with its times.
pub fn samples(page: &mut Html, report: &Report) {
    let Some(detail) = &report.detail else { return };
    let figures = &report.transactions.figures;
    let timed = figures.latency.map_or(0, |latency| latency.count);
    let failed: Vec<_> = detail.causes.iter().flat_map(|cause| &cause.examples).collect();
    if detail.slowest.is_empty() && failed.is_empty() {
        return;
    }
    put!(
        page,
        "<section id=\"transactions\" aria-labelledby=\"h-tx\"><h2 id=\"h-tx\">Transactions to \
            look at</h2>"
    );
    put!(
        page,
        "<div class=\"tools js\"><button type=\"button\" data-open=\"transactions\">Open \
            all</button>\
         <button type=\"button\" data-close=\"transactions\">Close all</button></div>"
    );
    let mut list = |id: &str, title: &str, examples: &mut dyn Iterator<Item = &_>, of: u64| {
        let mut shown = 0;
        put!(page, "<h3 id=\"h-{}\">{}</h3><div class=\"cards\">", id, title);
        for example in examples {
            if page.is_full() {
                break;
            }
            cards::card(page, example);
            shown += 1;
        }
        put!(page, "</div><p class=\"note\">{} of {} shown.</p>", count(shown), count(of));
    };
    if !detail.slowest.is_empty() {
        list("slow", "Slowest, by latency", &mut detail.slowest.iter(), timed);
    }
    if !failed.is_empty() {
        list(
            "failed",
            "Failed, the earliest of each kind",
            &mut failed.into_iter(),
            figures.errors,
        );
    }
    if detail.headers {
        put!(
            page,
            "<p class=\"note\">Values of fields that carry credentials or cookies are hidden; \
                <code>--format jsonl</code> has them.</p>"
        );
    } else {
        put!(
            page,
            "<p class=\"note\">Header fields were left out, as asked for by \
                <code>--no-headers</code>.</p>"
        );
    }
    put!(page, "</section>");
}
