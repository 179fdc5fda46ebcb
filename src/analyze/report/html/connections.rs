//! Connections that stand out, anomalies in plain words, and what a real
//! endpoint would have refused.

use super::cards::moment;
use super::writer::{Html, put};
use crate::analyze::report::Report;
use crate::analyze::report::detail::Connection;
use crate::analyze::report::text::names::kinds;
use crate::analyze::report::text::units::{count, duration, plural, size};

/// Anomalies listed.
const ANOMALIES: usize = 40;

/// What anomalies mean. Those that are not in here stand with their name.
const MEANING: &[(&str, &str)] = &[
    ("bad-chunk", "chunked framing is broken: where the message ends is not known"),
    ("bad-websocket-frame", "bytes that are no WebSocket frame"),
    (
        "conflicting-overlap",
        "the same bytes were sent twice and differ: broken, or someone in between",
    ),
    ("differing-content-length", "several Content-Length fields that contradict each other"),
    ("grpc-message-cut", "a grpc-message too long to be kept whole"),
    ("grpc-message-malformed", "a gRPC message whose framing is broken"),
    ("grpc-status-missing", "a gRPC call that ended without a status"),
    ("held-too-long", "bytes of a client waited too long for the answer that says what they are"),
    ("http2-data-before-headers", "HTTP/2 data on a stream before its headers"),
    ("http2-interrupted-header-block", "another frame within an HTTP/2 header block"),
    ("http2-malformed-frame", "an HTTP/2 frame that breaks the protocol"),
    ("http2-malformed-header-block", "HTTP/2 headers that could not be decompressed"),
    ("http2-no-preface", "an HTTP/2 connection that began without its preface"),
    (
        "http2-no-pseudo-header",
        "an HTTP/2 request or response without the fields that say what it is",
    ),
    (
        "http2-padding-unknown",
        "padding of an HTTP/2 frame that was not captured: a size may be too large",
    ),
    ("http2-stray-frame", "an HTTP/2 frame on a stream that is not open"),
    ("http2-unknown-frame", "an HTTP/2 frame of a kind that is not known"),
    ("invalid-content-length", "a Content-Length that is no number"),
    (
        "length-and-chunked",
        "both Content-Length and chunked: proxies may disagree on where it ends",
    ),
    ("limit-head-bytes", "headers larger than the limit on them"),
    ("limit-pending-per-flow", "more open requests on a connection than the limit"),
    ("limit-state-bytes-per-flow", "a connection that needs more memory than the limit"),
    ("malformed-head", "a request or response line or fields that break the grammar"),
    ("message-not-seen", "only traces of a message were seen: it is not in the counts"),
    ("reset-ignored", "a reset that the other end ignored: forged or late"),
    ("segment-outside-window", "segments that no receiver would have taken"),
    ("short-body", "the connection ended before the body was whole"),
    ("too-many-pending", "more open requests on a connection than the limit"),
    ("unexpected-bytes", "bytes where no message was expected"),
    ("websocket-frames-lost", "WebSocket frames that were not captured"),
];

/// The connections.
pub fn write(page: &mut Html, report: &Report) {
    let flows = &report.flows;
    if flows.count == 0 {
        return;
    }
    put!(
        page,
        "<section id=\"connections\" aria-labelledby=\"h-conn\"><h2 id=\"h-conn\">Connections</h2>"
    );
    put!(
        page,
        "<p>{}: {}.",
        plural(flows.count, "TCP connection", "TCP connections"),
        kinds(&flows.kinds)
    );
    if flows.without_handshake > 0 {
        put!(page, " Of {} the start was not captured.", count(flows.without_handshake));
    }
    put!(
        page,
        " {} to servers, {} to clients.",
        size(flows.payload_bytes_to_server),
        size(flows.payload_bytes_to_client)
    );
    put!(
        page,
        " {} segments were sent again, {} came out of order",
        count(flows.retransmissions),
        count(flows.out_of_order)
    );
    if flows.duplicates > 0 {
        put!(page, ", {} were copies seen on another interface", count(flows.duplicates));
    }
    put!(page, ".</p>");
    if let Some(detail) = &report.detail {
        let lists = &detail.connections;
        list(page, "Most bytes missing", &lists.gaps, lists.gaps_count, true);
        list(page, "Reset, the earliest", &lists.resets, lists.resets_count, true);
        list(
            page,
            "Most segments sent again",
            &lists.retransmissions,
            lists.retransmissions_count,
            false,
        );
        list(page, "Longest", &lists.longest, flows.count, false);
        list(page, "Most payload", &lists.largest, flows.count, false);
    }
    put!(page, "</section>");
}

fn list(page: &mut Html, title: &str, connections: &[Connection], of: u64, open: bool) {
    if connections.is_empty() || page.is_full() {
        return;
    }
    put!(page, "<details class=\"fold\"");
    if open {
        put!(page, " open");
    }
    put!(
        page,
        "><summary><h3>{}</h3> <small>{} of {} shown</small></summary>",
        title,
        connections.len(),
        count(of)
    );
    put!(
        page,
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"wide\"><caption \
            class=\"sr\">{}</caption><thead><tr>",
        title
    );
    put!(
        page,
        "<th scope=\"col\">#</th><th scope=\"col\">client</th><th scope=\"col\">server</th><th \
            scope=\"col\">speaks</th>\
         <th scope=\"col\">began (UTC)</th><th scope=\"col\" class=\"n\">lasted</th><th \
         scope=\"col\" class=\"n\">to server</th>\
         <th scope=\"col\" class=\"n\">to client</th><th scope=\"col\" \
         class=\"n\">missing</th><th scope=\"col\" class=\"n\">sent again</th>\
         <th scope=\"col\">start and end</th></tr></thead><tbody>"
    );
    connections.iter().for_each(|connection| row(page, connection));
    put!(page, "</tbody></table></div></details>");
}

fn row(page: &mut Html, connection: &Connection) {
    put!(page, "<tr><th scope=\"row\">#{}</th>", connection.number);
    let [client, server] = &connection.names;
    for (address, name) in [(connection.client, client), (connection.server, server)] {
        put!(page, "<td><bdi class=\"p\">{}</bdi>", address);
        name.iter().for_each(|name| put!(page, " <bdi>{}</bdi>", name));
        put!(page, "</td>");
    }
    put!(page, "<td>{}</td><td>", connection.kind.unwrap_or("unknown"));
    moment(page, connection.first);
    let lasted = connection.first.zip(connection.last).map(|(first, last)| last.0.since(first.0));
    let lasted =
        lasted.and_then(|nanos| u64::try_from(nanos).ok()).map_or("?".to_owned(), duration);
    put!(page, "</td><td class=\"n\">{}</td>", lasted);
    for bytes in connection.payload_bytes {
        put!(page, "<td class=\"n\">{}</td>", size(bytes));
    }
    match connection.gap_bytes {
        0 => put!(page, "<td class=\"n zero\">0</td>"),
        bytes => put!(page, "<td class=\"n err\">{}</td>", size(bytes)),
    }
    put!(page, "<td class=\"n\">{}</td>", count(connection.retransmissions));
    let start = if connection.handshake { "" } else { "joined midway" };
    let end = if connection.reset { "reset" } else { "" };
    let both = if start.is_empty() || end.is_empty() { "" } else { ", " };
    put!(page, "<td>{}{}{}</td></tr>", start, both, end);
}

/// Anomalies by name, and what they mean.
pub fn anomalies(page: &mut Html, report: &Report) {
    if report.anomalies.is_empty() {
        return;
    }
    put!(
        page,
        "<section id=\"anomalies\" aria-labelledby=\"h-anomalies\"><h2 \
            id=\"h-anomalies\">Anomalies</h2>"
    );
    put!(
        page,
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"sortable wide\" id=\"anom\"><caption \
            class=\"sr\">Anomalies, most frequent first</caption><thead><tr>\
         <th scope=\"col\" data-sort=\"text\">what</th><th scope=\"col\" class=\"n\" \
         data-sort=\"num\" aria-sort=\"descending\">count</th>\
         <th scope=\"col\">in other words</th></tr></thead><tbody>"
    );
    for anomaly in report.anomalies.iter().take(ANOMALIES) {
        let meaning = MEANING
            .iter()
            .find(|(name, _)| *name == anomaly.name)
            .map_or("", |(_, meaning)| meaning);
        put!(
            page,
            "<tr><th scope=\"row\"><code>{}</code></th><td class=\"n\" \
                data-v=\"{}\">{}</td><td>{}</td></tr>",
            anomaly.name,
            anomaly.count,
            count(anomaly.count),
            meaning
        );
    }
    put!(page, "</tbody></table></div>");
    if report.anomalies.len() > ANOMALIES {
        put!(
            page,
            "<p class=\"note\">{} of {} kinds shown.</p>",
            ANOMALIES,
            report.anomalies.len()
        );
    }
    put!(page, "</section>");
}

/// What a real HTTP/2 endpoint would have refused.
pub fn findings(page: &mut Html, report: &Report) {
    let findings = &report.findings;
    if findings.count == 0 {
        return;
    }
    put!(
        page,
        "<section id=\"findings\" aria-labelledby=\"h-findings\"><h2 id=\"h-findings\">A real \
            HTTP/2 endpoint would have refused</h2><ul>"
    );
    for finding in &findings.listed {
        put!(
            page,
            "<li>connection #{}, packet {}, {}: <bdi>{}</bdi></li>",
            finding.connection,
            finding.packet,
            finding.direction,
            finding.text
        );
    }
    put!(
        page,
        "</ul><p class=\"note\">{} of {} shown.</p></section>",
        findings.listed.len(),
        count(findings.count)
    );
}
