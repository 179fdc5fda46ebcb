//! The table by what the user asked for with `--by`.

use super::endpoints::figures;
use super::writer::{Html, put};
use crate::analyze::report::Report;
use crate::analyze::report::text::units::count;

/// Rows shown: the rest of a page has to fit, and who needs more than these
/// asks a program.
const ROWS: usize = 300;

/// The section, where one was asked for.
pub fn write(page: &mut Html, report: &Report) {
    let Some(groups) = report.groups.as_ref().filter(|_| report.transactions.figures.count > 0)
    else {
        return;
    };
    put!(
        page,
        "<section id=\"groups\" aria-labelledby=\"h-groups\"><h2 id=\"h-groups\">By {}</h2><div \
            class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"h-groups\"><table \
            class=\"sortable\"><caption class=\"sr\">Transactions by {}</caption><thead><tr><th \
            scope=\"col\" data-sort=\"text\">{}</th>",
        groups.by,
        groups.by,
        groups.by
    );
    for name in ["count", "rate", "errors", "unknown", "p50", "p90", "p99", "max", "received"] {
        let sorted = name == groups.sort;
        put!(page, "<th scope=\"col\" class=\"n\" data-sort=\"num\"");
        if sorted {
            put!(page, " aria-sort=\"descending\"");
        }
        put!(page, ">{}</th>", name);
    }
    put!(page, "</tr></thead><tbody>");
    let mut shown = 0;
    for group in groups.rows.iter().take(ROWS) {
        if page.is_full() {
            break;
        }
        let name = group.name.as_deref().unwrap_or("? (not seen)");
        put!(page, "<tr><th scope=\"row\"><bdi>{}</bdi></th>", name);
        figures(page, &group.figures);
        put!(page, "</tr>");
        shown += 1;
    }
    put!(page, "</tbody>");
    if let Some(other) = &groups.other {
        put!(page, "<tfoot><tr><th scope=\"row\">(others, past the limit on groups)</th>");
        figures(page, other);
        put!(page, "</tr></tfoot>");
    }
    put!(page, "</table></div>");
    if shown < groups.rows.len() {
        put!(
            page,
            "<p class=\"note\">{} of {} shown. All are in <code>--format json</code>.</p>",
            count(shown as u64),
            count(groups.rows.len() as u64)
        );
    }
    put!(page, "</section>");
}
