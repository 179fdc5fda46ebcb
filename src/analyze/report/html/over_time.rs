//! Rate, errors and latency over time, with the figures as a table.

use super::frame::{Frame, step_clock};
use super::heat;
use super::scale::{LogScale, px, value_ticks};
use super::writer::{Html, put};
use crate::analyze::report::Report;
use crate::analyze::report::detail::{Step, Timeline};
use crate::analyze::report::text::units::{count, duration, plural, rate};
use crate::analyze::transaction::Outcome;

/// Outcomes as a chart stacks them, bottom first, each with its class and name.
pub const STACK: [(Outcome, &str, &str); 7] = [
    (Outcome::Ok, "ok", "ok"),
    (Outcome::Unknown, "unknown", "unknown"),
    (Outcome::ClientError, "client", "client error"),
    (Outcome::ServerError, "server", "server error"),
    (Outcome::Reset, "reset", "reset"),
    (Outcome::Timeout, "timeout", "timeout"),
    (Outcome::Unanswered, "unanswered", "unanswered"),
];

/// The section.
pub fn write(page: &mut Html, report: &Report) {
    let Some(timeline) = report.detail.as_ref().and_then(|detail| detail.timeline.as_ref()) else {
        return;
    };
    let all = report.transactions.figures.count;
    put!(page, "<section id=\"time\" aria-labelledby=\"h-time\"><h2 id=\"h-time\">Over time</h2>");
    put!(
        page,
        "<p class=\"note\">UTC. Each step is {} long; transactions count where they began.",
        duration(timeline.width.unsigned_abs())
    );
    let untimed = report.detail.as_ref().map_or(0, |detail| detail.untimed);
    if untimed > 0 {
        put!(
            page,
            " {} without a time {} not in here.",
            plural(untimed, "transaction", "transactions"),
            if untimed == 1 { "is" } else { "are" }
        );
    }
    put!(page, "</p>");
    if all > 0 {
        rates(page, timeline);
        errors(page, timeline);
        latencies(page, timeline);
        heat::write(page, timeline);
    } else {
        connections(page, timeline);
    }
    table(page, timeline);
    put!(page, "</section>");
}

fn of(step: &Step, outcome: Outcome) -> u64 {
    step.outcomes.get(outcome as usize).copied().unwrap_or(0)
}

fn seconds(timeline: &Timeline) -> f64 {
    timeline.width.max(1) as f64 / 1e9
}

/// What the outcomes of a step come to in words.
fn outcomes(step: &Step) -> String {
    let named = STACK.iter().filter(|(outcome, ..)| of(step, *outcome) > 0);
    let named: Vec<_> =
        named.map(|(outcome, _, name)| format!("{} {name}", count(of(step, *outcome)))).collect();
    if named.is_empty() { "nothing".to_owned() } else { named.join(", ") }
}

/// Transactions per second, stacked by outcome.
fn rates(page: &mut Html, timeline: &Timeline) {
    let most = timeline.steps.iter().map(Step::count).max().unwrap_or(0) as f64 / seconds(timeline);
    let text = format!("Bars by time, stacked by outcome; at most {}", rate(most));
    let frame = Frame::open(page, timeline, "rate", "Transactions per second", &text, 150.0);
    stacked(page, timeline, &frame, |_| true);
    frame.hints(page, |index| {
        let step = timeline.steps.get(index).filter(|step| step.count() > 0)?;
        let per_second = rate(step.count() as f64 / seconds(timeline));
        Some(format!("{per_second}; {}", outcomes(step)))
    });
    frame.close(page);
    legend(page, timeline);
}

/// The same of failed ones alone: beside all the others they are often too
/// few to be seen.
fn errors(page: &mut Html, timeline: &Timeline) {
    let most = timeline.steps.iter().map(Step::errors).max().unwrap_or(0);
    if most == 0 {
        return;
    }
    let text = format!("Failed transactions alone, by outcome; at most {} in a step", count(most));
    let frame = Frame::open(page, timeline, "errors", "Errors per second", &text, 80.0);
    stacked(page, timeline, &frame, Outcome::is_error);
    frame.hints(page, |index| {
        let step = timeline.steps.get(index).filter(|step| step.errors() > 0)?;
        Some(format!(
            "{} of {} failed; {}",
            count(step.errors()),
            count(step.count()),
            outcomes(step)
        ))
    });
    frame.close(page);
}

fn stacked(
    page: &mut Html,
    timeline: &Timeline,
    frame: &Frame<'_>,
    shown: impl Fn(Outcome) -> bool,
) {
    let total = |step: &Step| -> u64 {
        let shown = STACK.iter().filter(|(outcome, ..)| shown(*outcome));
        shown.map(|(outcome, ..)| of(step, *outcome)).sum()
    };
    let most = timeline.steps.iter().map(total).max().unwrap_or(0) as f64 / seconds(timeline);
    let ticks = value_ticks(most);
    let top = ticks.last().copied().unwrap_or(1.0);
    for tick in &ticks {
        let text = if *tick == 0.0 { "0".to_owned() } else { rate(*tick) };
        frame.grid(page, tick / top, &text);
    }
    let mut below = vec![0.0; timeline.steps.len()];
    // A hair between bars where there is room for one.
    let gap = if frame.step() > 4.0 { 1.0 } else { 0.0 };
    for (outcome, class, _) in STACK.iter().filter(|(outcome, ..)| shown(*outcome)) {
        if timeline.steps.iter().all(|step| of(step, *outcome) == 0) {
            continue;
        }
        put!(page, "<path class=\"o-{}\" d=\"", class);
        for ((index, step), below) in timeline.steps.iter().enumerate().zip(&mut below) {
            let part = of(step, *outcome) as f64 / seconds(timeline) / top;
            if part > 0.0 {
                let (from, to) = (frame.y(*below), frame.y(*below + part));
                *below += part;
                // Never so low that it cannot be seen.
                let height = (from - to).max(0.8);
                let width = px(frame.step() - gap);
                put!(
                    page,
                    "M{} {}h{}v-{}h-{}z",
                    px(frame.x(index)),
                    px(from),
                    width,
                    px(height),
                    width
                );
            }
        }
        put!(page, "\"/>");
    }
}

fn legend(page: &mut Html, timeline: &Timeline) {
    put!(page, "<ul class=\"legend\" aria-label=\"Outcomes\">");
    for (outcome, class, name) in STACK {
        let sum: u64 = timeline.steps.iter().map(|step| of(step, outcome)).sum();
        if sum > 0 {
            put!(page, "<li><i class=\"b-{}\"></i>{} <b>{}</b></li>", class, name, count(sum));
        }
    }
    put!(page, "</ul>");
}

/// Percentiles of latency, each step by itself.
fn latencies(page: &mut Html, timeline: &Timeline) {
    let steps = || timeline.steps.iter().filter_map(|step| step.latency);
    let least = steps().filter_map(|latency| latency.percentiles.first().copied()).min();
    let greatest = steps().map(|latency| latency.max).max();
    let Some((least, greatest)) = least.zip(greatest) else { return };
    let scale = LogScale::new(least, greatest);
    let text = format!(
        "Median, 90th and 99th percentile and maximum of each step, from {} to {}, on a log scale",
        duration(least),
        duration(greatest)
    );
    let title = "Latency: first byte of the request to first byte of the response";
    let frame = Frame::open(page, timeline, "latency", title, &text, 170.0);
    for value in scale.ticks() {
        frame.grid(page, scale.place(value), &duration(value));
    }
    put!(page, "<path class=\"l-max\" d=\"");
    for (index, step) in timeline.steps.iter().enumerate() {
        if let Some(latency) = step.latency {
            let x = frame.x(index) + frame.step() / 2.0;
            put!(page, "M{} {}h.1", px(x), px(frame.y(scale.place(latency.max))));
        }
    }
    put!(page, "\"/>");
    for (which, class) in ["p50", "p90", "p99"].into_iter().enumerate() {
        put!(page, "<path class=\"l-{}\" d=\"", class);
        let mut pen_down = false;
        for (index, step) in timeline.steps.iter().enumerate() {
            let value = step.latency.and_then(|latency| latency.percentiles.get(which).copied());
            if let Some(value) = value {
                // A step is a level line, so that a single one shows.
                let (from, to) = (frame.x(index), frame.x(index + 1));
                let verb = if pen_down { "L" } else { "M" };
                put!(page, "{}{} {}H{}", verb, px(from), px(frame.y(scale.place(value))), px(to));
            }
            pen_down = value.is_some();
        }
        put!(page, "\"/>");
    }
    frame.hints(page, |index| {
        let latency = timeline.steps.get(index)?.latency?;
        let [p50, p90, p99] = latency.percentiles.map(duration);
        Some(format!("p50 {p50}, p90 {p90}, p99 {p99}, max {}", duration(latency.max)))
    });
    frame.close(page);
    put!(
        page,
        "<ul class=\"legend\" aria-label=\"Lines\"><li><svg viewBox=\"0 0 26 8\" \
            aria-hidden=\"true\">\
         <path class=\"l-p50\" d=\"M0 4H26\"/></svg>p50</li><li><svg viewBox=\"0 0 26 8\" \
         aria-hidden=\"true\">\
         <path class=\"l-p90\" d=\"M0 4H26\"/></svg>p90</li><li><svg viewBox=\"0 0 26 8\" \
         aria-hidden=\"true\">\
         <path class=\"l-p99\" d=\"M0 4H26\"/></svg>p99</li><li><svg viewBox=\"0 0 26 8\" \
         aria-hidden=\"true\">\
         <path class=\"l-max\" d=\"M4 4h.1M13 4h.1M22 4h.1\"/></svg>slowest</li></ul>"
    );
}

/// New connections, where nothing else is known.
fn connections(page: &mut Html, timeline: &Timeline) {
    let most = timeline.steps.iter().map(|step| step.opened).max().unwrap_or(0);
    let text = format!("Connections by the time of their first packet; at most {}", count(most));
    let frame = Frame::open(page, timeline, "opened", "New connections", &text, 120.0);
    let ticks = value_ticks(most as f64);
    let top = ticks.last().copied().unwrap_or(1.0);
    for tick in ticks.iter().filter(|tick| tick.fract() == 0.0) {
        frame.grid(page, tick / top, &count(*tick as u64));
    }
    put!(page, "<path class=\"o-ok\" d=\"");
    for (index, step) in timeline.steps.iter().enumerate().filter(|(_, step)| step.opened > 0) {
        let (x, y) = (frame.x(index), frame.y(step.opened as f64 / top));
        let width = px(frame.step().max(1.0));
        put!(page, "M{} {}V{}h{}V{}z", px(x), px(frame.y(0.0)), px(y), width, px(frame.y(0.0)));
    }
    put!(page, "\"/>");
    frame.close(page);
}

/// The figures of all charts.
fn table(page: &mut Html, timeline: &Timeline) {
    put!(page, "<details class=\"data\"><summary>These charts as a table</summary>");
    put!(
        page,
        "<div class=\"scroll\" tabindex=\"0\"><table id=\"steps\"><caption class=\"sr\">Each step \
            of time</caption>"
    );
    put!(page, "<thead><tr><th scope=\"col\">from (UTC)</th>");
    let used = |outcome: Outcome| timeline.steps.iter().any(|step| of(step, outcome) > 0);
    let shown: Vec<_> = STACK.iter().filter(|(outcome, ..)| used(*outcome)).collect();
    for (_, _, name) in &shown {
        put!(page, "<th scope=\"col\" class=\"n\">{}</th>", name);
    }
    for name in ["p50", "p90", "p99", "slowest", "new connections"] {
        put!(page, "<th scope=\"col\" class=\"n\">{}</th>", name);
    }
    put!(page, "</tr></thead><tbody>");
    for (index, step) in timeline.steps.iter().enumerate() {
        put!(page, "<tr><th scope=\"row\">{}</th>", step_clock(timeline, index));
        for (outcome, ..) in &shown {
            put!(page, "<td class=\"n\">{}</td>", count(of(step, *outcome)));
        }
        match step.latency {
            Some(latency) => {
                for value in latency.percentiles.into_iter().chain([latency.max]) {
                    put!(page, "<td class=\"n\">{}</td>", duration(value));
                }
            }
            None => put!(page, "<td></td><td></td><td></td><td></td>"),
        }
        put!(page, "<td class=\"n\">{}</td></tr>", count(step.opened));
    }
    put!(page, "</tbody></table></div></details>");
}
