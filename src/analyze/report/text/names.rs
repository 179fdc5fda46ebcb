//! What rows of the report are called and which numbers they show.
//!
//! Names come from the wire and are not escaped here.

use super::spark::bar;
use super::style::{Paint, Style};
use super::table::Cell;
use super::units::{count, coverage, duration, escape, plural, rate, share, short_count, size};
use crate::analyze::report::model::{
    Edge, EdgeFigures, Endpoint, Figures, Gap, Gaps, Loss, Named, Percentiles, Report, Sample, Time,
};
use crate::analyze::report::named::{in_line, some_of};

/// Kinds of packets and flows named in a line.
const KINDS: usize = 8;

/// Gaps by cause, and what the cause means.
pub fn causes(gaps: &Gaps) -> [(&'static str, Gap); 3] {
    [
        ("sent, and not in the capture", gaps.lost),
        ("cut off by the snap length", gaps.snaplen),
        ("given up by a limit on memory", gaps.limit),
    ]
}

/// How much of the payload was there.
pub fn coverage_text(report: &Report) -> String {
    coverage_text_of(&report.loss)
}

/// The same of what is known to be missing.
pub fn coverage_text_of(loss: &Loss) -> String {
    let all = loss.payload_bytes.saturating_add(loss.gap_bytes);
    let percent = coverage(loss.payload_bytes, loss.gap_bytes);
    let text = format!("{percent} of {} of payload", plural(all, "byte", "bytes"));
    if loss.none_known { text + ", nothing is known to be missing" } else { text }
}

/// What to check where a capture has no HTTP.
pub fn hints(report: &Report) -> Vec<&'static str> {
    let flows = &report.flows;
    let has = |name: &str| flows.kinds.iter().any(|kind| kind.name == name && kind.count > 0);
    let mut hints = Vec::new();
    if report.capture.packets == 0 {
        hints.push("There are no packets: check the interface and the filter of the capture.");
    } else if flows.count == 0 {
        hints
            .push("There is no TCP connection: check the interface and the filter of the capture.");
    }
    if has("tls") {
        hints.push(
            "TLS hides what is in it: capture where it ends, between the proxy or sidecar and \
             the application (often on the loopback interface).",
        );
    }
    if report.loss.cut_packets > 0 {
        hints.push("Packets are cut: capture whole ones (tcpdump -s 0).");
    }
    if flows.without_handshake > 0 && has("unknown") {
        hints.push(
            "Connections began before the capture: start it first, or reconnect the clients.",
        );
    }
    if has("unknown") {
        hints.push(
            "Connections that are not recognised may carry another protocol, or no payload at all.",
        );
    }
    hints
}

/// "1,234 tls, 5 unknown, …" without those that did not occur.
pub fn kinds(counts: &[Named]) -> String {
    let counts: Vec<_> = counts.iter().filter(|named| named.count > 0).collect();
    let mut text: Vec<_> = counts
        .iter()
        .take(KINDS)
        .map(|named| format!("{} {}", count(named.count), escape(&named.name)))
        .collect();
    let rest: u64 = counts.iter().skip(KINDS).map(|named| named.count).sum();
    if rest > 0 {
        text.push(format!("{} other", count(rest)));
    }
    text.join(", ")
}

/// An endpoint in one line.
pub fn endpoint_name(endpoint: &Endpoint) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    let method = part(&endpoint.method);
    match &endpoint.service {
        Some(service) => format!("{} {service}/{method}", endpoint.protocol),
        None => {
            let (host, path) = (part(&endpoint.host), part(&endpoint.path));
            format!("{} {method} {}", endpoint.protocol, join(&host, &path))
        }
    }
}

fn join(host: &str, path: &str) -> String {
    if path.starts_with('/') { format!("{host}{path}") } else { format!("{host} {path}") }
}

/// A transaction in one line.
pub fn sample_name(sample: &Sample) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    format!("{} {}", part(&sample.method), join(&part(&sample.host), &part(&sample.path)))
}

/// Who sent a transaction to whom: names, and the address of who has none; None where
/// neither has one.
pub fn sample_ends(sample: &Sample) -> Option<String> {
    let Sample { client_name, server_name, .. } = sample;
    if client_name.is_none() && server_name.is_none() {
        return None;
    }
    let client = client_name.clone().unwrap_or_else(|| sample.client.ip().to_string());
    let server = server_name.clone().unwrap_or_else(|| sample.server.to_string());
    Some(in_line(&client, &server, sample.service.as_deref()))
}

/// How a transaction ended, in a word.
pub fn status(sample: &Sample) -> String {
    let http = sample.status.map(|status| status.to_string());
    // A failed outcome says more than the status that came before it.
    match (&sample.grpc_status, sample.outcome.as_str()) {
        (Some(name), _) if name != "unknown" => name.clone(),
        (_, "reset" | "timeout" | "unanswered") => sample.outcome.clone(),
        (Some(name), _) => name.clone(),
        (None, _) => http.unwrap_or_else(|| "?".to_owned()),
    }
}

/// What is missing, in capitals.
pub fn missing(loss: &Loss) -> String {
    let bytes = plural(loss.gap_bytes, "BYTE", "BYTES");
    let packets = loss.dropped_packets + loss.cut_packets > 0;
    match (loss.damage.is_empty(), loss.gap_bytes > 0, packets) {
        (false, true, _) => format!("THE CAPTURE IS DAMAGED, AND {bytes} ARE MISSING"),
        (false, false, _) => "THE CAPTURE IS DAMAGED".to_owned(),
        (true, true, _) => format!("{bytes} ARE MISSING"),
        (true, false, true) => "PACKETS ARE MISSING OR CUT".to_owned(),
        (true, false, false) => "LIMITS WERE REACHED".to_owned(),
    }
}

/// A time to the millisecond, as RFC 3339.
pub fn time(at: Time) -> String {
    let text = at.0.to_string();
    // Nine fractional digits and a Z.
    match text.get(..text.len().saturating_sub("000000Z".len())) {
        Some(milliseconds) => format!("{milliseconds}Z"),
        None => text,
    }
}

/// Time since the capture began.
pub fn offset(at: Option<Time>, first: Option<Time>) -> String {
    let nanos = at.zip(first).and_then(|(at, first)| u64::try_from(at.0.since(first.0)).ok());
    nanos.map_or("?".to_owned(), |nanos| format!("+{}", duration(nanos)))
}

/// Empty where there is no transaction, `?` where none had a known latency.
fn latency_cell(figures: &Figures, pick: fn(&Percentiles) -> u64) -> Cell {
    let unknown = if figures.count == 0 { "" } else { "?" };
    Cell::new(figures.latency.as_ref().map_or(unknown.to_owned(), |p| duration(pick(p))))
}

fn share_cells(figures: &Figures) -> [Cell; 2] {
    let errors = match figures.count {
        0 => String::new(),
        count => share(figures.errors, count),
    };
    let unknown = match figures.unknown {
        0 => String::new(),
        unknown => share(unknown, figures.count),
    };
    [
        Cell::painted(errors, Paint::Red, figures.errors > 0),
        Cell::painted(unknown, Paint::Yellow, true),
    ]
}

/// Columns of the bar of a row's share.
const BAR: usize = 10;

/// The numbers of a row of the main table, which are behind each other: of how
/// many transactions, and how many the largest row has.
pub fn endpoint_cells(figures: &Figures, [all, most]: [u64; 2], style: Style) -> Vec<Cell> {
    let [errors, unknown] = share_cells(figures);
    let part = format!("{:>6}", share(figures.count, all));
    let failed = match figures.errors {
        0 => String::new(),
        errors => short_count(errors),
    };
    vec![
        Cell::new(short_count(figures.count)),
        Cell::new(figures.rate_per_second.map_or(String::new(), rate)),
        errors,
        unknown,
        latency_cell(figures, |p| p.p50_ns),
        latency_cell(figures, |p| p.p90_ns),
        latency_cell(figures, |p| p.p99_ns),
        latency_cell(figures, |p| p.max_ns),
        Cell::new(size(figures.request_body_bytes)),
        Cell::new(size(figures.response_body_bytes)),
        Cell::new(format!("{part} {}", bar(figures.count, most, BAR, style))),
        Cell::painted(failed, Paint::Red, true),
    ]
}

/// A pair of hosts in one line.
pub fn edge_name(edge: &Edge) -> String {
    let named = |name: &Option<String>| name.as_ref().map_or(String::new(), |n| format!(" [{n}]"));
    let kinds = match edge.figures.kinds.as_slice() {
        [] => String::new(),
        kinds => format!(" ({})", kinds.join(", ")),
    };
    // Who it is says more than which process of theirs it was.
    let who = |names: &[String], processes: &[String]| {
        some_of(if names.is_empty() { processes } else { names })
    };
    format!(
        "{}{}{} → {}{}{}{kinds}",
        who(&edge.client_workloads, &edge.client_processes),
        edge.client,
        named(&edge.client_name),
        who(&edge.server_workloads, &edge.server_processes),
        edge.server,
        named(&edge.server_name)
    )
}

/// The numbers of a pair of hosts.
pub fn edge_cells(edge: &EdgeFigures) -> Vec<Cell> {
    let figures = &edge.transactions;
    let [errors, unknown] = share_cells(figures);
    vec![
        Cell::new(short_count(edge.connections)),
        Cell::new(short_count(figures.count)),
        errors,
        unknown,
        latency_cell(figures, |p| p.p50_ns),
        latency_cell(figures, |p| p.p99_ns),
        Cell::new(size(edge.payload_bytes_to_server)),
        Cell::new(size(edge.payload_bytes_to_client)),
        Cell::new(
            figures.rate_per_second.filter(|_| figures.count > 0).map_or(String::new(), rate),
        ),
        latency_cell(figures, |p| p.p90_ns),
        latency_cell(figures, |p| p.max_ns),
    ]
}
