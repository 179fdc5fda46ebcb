//! Single transactions, each with what happened when.

use super::scale::px;
use super::writer::{Html, put};
use crate::analyze::report::detail::{Example, FieldText};
use crate::analyze::report::model::Time;
use crate::analyze::report::text::names::status;
use crate::analyze::report::text::units::{count, duration, size};

/// Width of the drawing of a transaction's times.
const WIDTH: f64 = 640.0;
/// Left of the bars they are named.
const LEFT: f64 = 118.0;
/// Right of them their lengths are written.
const RIGHT: f64 = 560.0;
/// Height of a bar's line.
const LINE: f64 = 20.0;
/// Longest pause of a message that is shown as a stall: a fortieth of the
/// transaction. Less is too narrow to be seen and no reason that it was slow.
const STALL: i64 = 40;

/// A time in the page: UTC, which the script also gives in the reader's zone.
pub fn moment(page: &mut Html, at: Option<Time>) {
    match at {
        Some(at) => {
            let text = at.0.to_string();
            // Microseconds are enough to find it; the attribute has all.
            let from = if page.dated { 0 } else { 11 };
            let clock = text.get(from..26).unwrap_or(&text).replace('T', " ");
            put!(page, "<time datetime=\"{}\" title=\"{}\">{}</time>", text, text, clock);
        }
        None => put!(page, "<span class=\"q\" title=\"not known\">?</span>"),
    }
}

/// A mark for how a transaction ended: a word in a colour.
pub fn badge(page: &mut Html, example: &Example) {
    let class = match example.sample.outcome.as_str() {
        "ok" => "ok",
        "client_error" => "client",
        "server_error" => "server",
        "unknown" => "unknown",
        _ => "reset",
    };
    put!(page, "<span class=\"s s-{}\">{}</span>", class, status(&example.sample));
}

/// Method and target of a request.
fn name(page: &mut Html, example: &Example) {
    let sample = &example.sample;
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    put!(
        page,
        "<span class=\"m\">{}</span> <bdi class=\"p\"><span class=\"host\">{}</span>",
        part(&sample.method),
        part(&sample.host)
    );
    let path = part(&sample.path);
    let space = if path.starts_with('/') { "" } else { " " };
    put!(page, "{}<wbr><b>{}</b></bdi>", space, path);
}

/// A short list of examples, a line each.
pub fn list(page: &mut Html, title: &str, examples: &[Example]) {
    if examples.is_empty() {
        return;
    }
    put!(page, "<h4>{}</h4><ul class=\"ex\">", title);
    for example in examples {
        let sample = &example.sample;
        put!(page, "<li>");
        moment(page, sample.start);
        put!(
            page,
            " <span class=\"lat\">{}</span> ",
            sample.latency_ns.map_or("?".to_owned(), duration)
        );
        badge(page, example);
        put!(page, " ");
        name(page, example);
        put!(
            page,
            " <span class=\"who\">{} → {}, {}</span></li>",
            sample.client,
            sample.server,
            sample.id
        );
    }
    put!(page, "</ul>");
}

/// A transaction that opens to all that is known of it.
pub fn card(page: &mut Html, example: &Example) {
    let sample = &example.sample;
    put!(
        page,
        "<details class=\"tx\"><summary><span class=\"lat\">{}</span>",
        sample.latency_ns.map_or("?".to_owned(), duration)
    );
    badge(page, example);
    put!(page, "<span class=\"nm\">");
    name(page, example);
    put!(page, "</span><span class=\"at\">");
    moment(page, sample.start);
    put!(page, "</span></summary><div class=\"body\">");
    timeline(page, example);
    facts(page, example);
    if page.is_full() {
        put!(page, "<p class=\"note\">Header fields are left out: the page is at its limit.</p>");
    } else {
        for (index, title) in ["Request", "Response"].into_iter().enumerate() {
            let fields = example.fields.get(index).map(Vec::as_slice).unwrap_or_default();
            let left_out = example.fields_left_out.get(index).copied().unwrap_or(0);
            headers(page, title, fields, left_out);
        }
    }
    put!(page, "</div></details>");
}

fn fact(page: &mut Html, name: &str, text: &str) {
    put!(page, "<dt>{}</dt><dd>{}</dd>", name, text);
}

fn facts(page: &mut Html, example: &Example) {
    let sample = &example.sample;
    put!(page, "<dl class=\"facts\">");
    let end = |address: &dyn std::fmt::Display, process: &Option<String>| match process {
        Some(process) => format!("{address} ({process})"),
        None => address.to_string(),
    };
    let [client, server] = &example.processes;
    let [client_runs, server_runs] = &example.runs;
    fact(page, "client", &end(&sample.client, client));
    client_runs.iter().for_each(|text| fact(page, "client is", text));
    fact(page, "server", &end(&sample.server, server));
    server_runs.iter().for_each(|text| fact(page, "server is", text));
    let stream = sample.stream.map_or(String::new(), |stream| format!(", stream {stream}"));
    fact(page, "id", &sample.id);
    fact(page, "connection", &format!("#{}{stream}, {}", sample.connection, sample.protocol));
    fact(page, "outcome", &sample.outcome);
    fact(page, "seen", &sample.completeness);
    sample.status.iter().for_each(|status| fact(page, "HTTP status", &status.to_string()));
    sample.grpc_status.iter().for_each(|status| fact(page, "gRPC status", status));
    example.grpc_message.iter().for_each(|text| fact(page, "gRPC message", text));
    example.timeout_ns.iter().for_each(|nanos| fact(page, "deadline", &duration(*nanos)));
    if let Some([sent, received]) = example.messages {
        fact(page, "messages", &format!("{} sent, {} received", count(sent), count(received)));
    }
    let bytes = |bytes: Option<u64>| bytes.map_or("?".to_owned(), size);
    let (sent, received) = (bytes(example.request_body_bytes), bytes(example.response_body_bytes));
    fact(page, "bodies", &format!("{sent} sent, {received} received"));
    let stalls: Vec<_> = phases(example).0.iter().filter_map(stall).collect();
    if !stalls.is_empty() {
        fact(page, "stalled", &stalls.join(", "));
    }
    if !example.anomalies.is_empty() {
        fact(page, "anomalies", &example.anomalies.join(", "));
    }
    example.interface.iter().for_each(|name| fact(page, "interface", name));
    put!(page, "</dl>");
}

/// The stall of a phase in words.
fn stall(phase: &Phase) -> Option<String> {
    let (from, to) = phase.stall?;
    Some(format!("{} for {}, {} after the start", phase.name, offset(to - from), offset(from)))
}

fn headers(page: &mut Html, title: &str, fields: &[FieldText], left_out: u64) {
    if fields.is_empty() {
        return;
    }
    put!(page, "<table class=\"hd\"><caption>{} fields</caption><tbody>", title);
    for field in fields {
        put!(page, "<tr><th scope=\"row\"><bdi>{}</bdi>", field.name);
        if field.trailer {
            put!(page, " <small>trailer</small>");
        }
        match &field.value {
            Some(value) => put!(page, "</th><td><bdi>{}</bdi></td></tr>", value),
            None => put!(
                page,
                "</th><td class=\"q\">? (not known: its header table began before the \
                    capture)</td></tr>"
            ),
        }
    }
    put!(page, "</tbody></table>");
    if left_out > 0 {
        put!(page, "<p class=\"note\">and {} more fields</p>", count(left_out));
    }
}

/// A span between two times, as nanoseconds since the transaction began.
struct Phase {
    name: &'static str,
    class: &'static str,
    from: i64,
    to: i64,
    /// The longest pause within it.
    stall: Option<(i64, i64)>,
}

impl Phase {
    fn words(&self) -> String {
        let own = format!("{} {} to {}", self.name, offset(self.from), offset(self.to));
        match self.stall {
            Some((from, to)) => format!("{own}, stalled {} to {}", offset(from), offset(to)),
            None => own,
        }
    }
}

/// What is known of when a transaction did what.
fn phases(example: &Example) -> (Vec<Phase>, Vec<&'static str>) {
    let Some(start) = example.sample.start else { return (Vec::new(), vec!["start"]) };
    let since = |at: Option<Time>| at.map(|at| at.0.since(start.0).max(0));
    let request = example.request_body_bytes.is_some();
    let sent = since(example.request_end);
    let (first, last) = (since(example.response_start), since(example.response_end));
    let [sending, receiving] = example.pauses.map(|pause| {
        let pause = pause?;
        let from = pause.from.since(start.0).max(0);
        Some((from, from.saturating_add_unsigned(pause.nanos)))
    });
    let mut phases = Vec::new();
    let mut unknown = Vec::new();
    match (request, sent) {
        (true, Some(sent)) => {
            phases.push(Phase { name: "request", class: "req", from: 0, to: sent, stall: sending })
        }
        (true, None) => unknown.push("end of the request"),
        (false, _) => unknown.push("request"),
    }
    if let (Some(sent), Some(first)) = (sent, first)
        && first > sent
    {
        phases.push(Phase { name: "waiting", class: "wait", from: sent, to: first, stall: None });
    }
    match (first, last) {
        (Some(first), Some(last)) => phases.push(Phase {
            name: "response",
            class: "res",
            from: first,
            to: last,
            stall: receiving,
        }),
        (Some(_), None) => unknown.push("end of the response"),
        (None, _) => unknown.push("response"),
    }
    let span = phases.iter().map(|phase| phase.to).max().unwrap_or(0);
    let shown = |(from, to): &(i64, i64)| (to - from).saturating_mul(STALL) >= span;
    phases.iter_mut().for_each(|phase| phase.stall = phase.stall.filter(shown));
    (phases, unknown)
}

/// When the request was sent, how long it waited, when the answer came.
fn timeline(page: &mut Html, example: &Example) {
    let (phases, unknown) = phases(example);
    let span = phases.iter().map(|phase| phase.to).max().unwrap_or(0);
    if !phases.is_empty() {
        let height = LINE * phases.len() as f64;
        let words: Vec<_> = phases.iter().map(Phase::words).collect();
        put!(
            page,
            "<div class=\"scroll\"><svg class=\"wf\" viewBox=\"0 0 {} {}\" \
                role=\"img\"><title>{}</title>",
            px(WIDTH),
            px(height),
            words.join("; ")
        );
        for (index, phase) in phases.iter().enumerate() {
            let place = |at: i64| {
                LEFT + (RIGHT - LEFT) * if span > 0 { at as f64 / span as f64 } else { 0.0 }
            };
            let (y, from, to) = (LINE * index as f64, place(phase.from), place(phase.to));
            put!(
                page,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                px(LEFT - 8.0),
                px(y + 14.0),
                phase.name
            );
            put!(page, "<path class=\"grid\" d=\"M{} {}H{}\"/>", px(LEFT), px(y + 10.0), px(RIGHT));
            put!(
                page,
                "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"12\" rx=\"2\"/>",
                phase.class,
                px(from),
                px(y + 4.0),
                px((to - from).max(2.0))
            );
            if let Some((from, to)) = phase.stall {
                let (from, to) = (place(from), place(to));
                put!(
                    page,
                    "<rect class=\"stall\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"4\"/>",
                    px(from),
                    px(y + 8.0),
                    px((to - from).max(2.0))
                );
            }
            put!(
                page,
                "<text x=\"{}\" y=\"{}\">{}</text>",
                px(RIGHT + 8.0),
                px(y + 14.0),
                offset(phase.to - phase.from)
            );
        }
        put!(page, "</svg></div>");
    }
    if !unknown.is_empty() {
        put!(page, "<p class=\"note warn\">Not seen: {}.</p>", unknown.join(", "));
    }
}

fn offset(nanos: i64) -> String {
    duration(nanos.unsigned_abs())
}
