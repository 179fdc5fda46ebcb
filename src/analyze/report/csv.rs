//! `csv`: a header row and one row per transaction (RFC 4180: CRLF line
//! ends, quotes doubled).
//!
//! Text is always in quotes. Where a spreadsheet would take it for a formula it
//! has a `'` before it, and so has text that begins with one; what terminals act
//! on is spelled out. A value that was not seen is an empty field without
//! quotes, an empty text is `""`.

use super::write::{is_plain, push_address, push_time, push_u64, text_of};
use super::{Id, Item};
use crate::analyze::owner::{End, Process};
use crate::time::Timestamp;

/// The columns: the names are those of `jsonl`, gRPC's prefixed with `grpc.`.
pub const COLUMNS: [&str; 44] = [
    "protocol",
    "client",
    "server",
    "connection",
    "stream",
    "method",
    "scheme",
    "authority",
    "path",
    "status",
    "grpc.service",
    "grpc.method",
    "grpc.status",
    "grpc.status_name",
    "grpc.message",
    "grpc.kind",
    "grpc.request_messages",
    "grpc.response_messages",
    "grpc.timeout_ns",
    "start",
    "request_end",
    "response_start",
    "response_end",
    "latency_ns",
    "duration_ns",
    "request_body_bytes",
    "response_body_bytes",
    "outcome",
    "completeness",
    "anomalies",
    "interface",
    "comment",
    "client_process",
    "server_process",
    "client_container",
    "server_container",
    "id",
    "client_workload",
    "client_pod",
    "client_node",
    "server_workload",
    "server_pod",
    "server_service",
    "server_node",
];

/// Appends the header row.
pub fn write_header(out: &mut Vec<u8>) {
    for (index, name) in COLUMNS.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a transaction's row.
pub fn write(item: &Item<'_>, out: &mut Vec<u8>) {
    let transaction = item.transaction;
    let request = transaction.request.as_ref();
    let response = transaction.response.as_ref();
    let grpc = transaction.grpc.as_ref();
    let mut row = Row { out, first: true };
    row.text(Some(transaction.protocol.as_bytes()));
    row.address(item.client);
    row.address(item.server);
    row.number(Some(item.connection));
    row.number(transaction.stream.map(u64::from));
    row.text(transaction.request_text(|m| m.method));
    row.text(transaction.request_text(|m| m.scheme));
    row.text(transaction.request_text(|m| m.authority));
    row.text(transaction.request_text(|m| m.path));
    row.number(transaction.status().map(u64::from));
    row.text(transaction.service());
    row.text(transaction.rpc_method());
    row.number(grpc.and_then(|g| g.status).map(u64::from));
    row.text(grpc.map(|g| g.status_name()).as_deref().map(str::as_bytes));
    row.text(grpc.and_then(|g| g.message.as_deref()).map(str::as_bytes));
    row.text(grpc.and_then(|g| g.kind).map(str::as_bytes));
    row.number(grpc.map(|g| g.request_messages));
    row.number(grpc.map(|g| g.response_messages));
    row.number(grpc.and_then(|g| g.timeout_ns));
    row.time(transaction.start());
    row.time(request.and_then(|m| m.end));
    row.time(response.and_then(|m| m.start));
    row.time(response.and_then(|m| m.end));
    row.number(transaction.latency_ns());
    row.number(transaction.duration_ns());
    row.number(request.map(|m| m.body_bytes));
    row.number(response.map(|m| m.body_bytes));
    row.text(Some(transaction.outcome.name().as_bytes()));
    row.text(Some(transaction.completeness.name().as_bytes()));
    row.list(&transaction.anomalies);
    row.text(item.interface.map(str::as_bytes));
    row.text(item.comment.map(str::as_bytes));
    let ends = [item.client_end.process, item.server_end.process];
    for process in ends {
        row.text(process.and_then(Process::label).as_deref().map(str::as_bytes));
    }
    for process in ends {
        row.text(process.and_then(|process| process.container.as_deref()).map(str::as_bytes));
    }
    row.id(item.id());
    names(item, &mut row);
    out.extend_from_slice(b"\r\n");
}

/// Where both ends run.
fn names(item: &Item<'_>, row: &mut Row<'_>) {
    let (client, server) = (item.client_end, item.server_end);
    if !client.is_named() && !server.is_named() {
        return row.out.extend_from_slice(b",,,,,,,");
    }
    let workload = |end: End<'_>| {
        let name = end.name().filter(|_| end.workload().is_some());
        name.map(|name| name.to_string())
    };
    let mut text = |text: Option<&str>| row.text(text.map(str::as_bytes));
    text(workload(client).as_deref());
    text(client.pod().map(ToString::to_string).as_deref());
    text(client.node());
    text(workload(server).as_deref());
    text(server.pod().map(ToString::to_string).as_deref());
    text(server.service().map(ToString::to_string).as_deref());
    text(server.node());
}

/// Stands before what a spreadsheet would take for a formula
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
const GUARD: u8 = b'\'';

/// Whether text needs a [`GUARD`]: also where it begins with one, so that
/// whoever takes the first one off has the text again. Tabs and line ends, which
/// can begin a formula too, are spelled out.
fn is_formula(text: &[u8]) -> bool {
    // The wide forms of the four, which spreadsheets take for them.
    const WIDE: [&str; 4] = ["\u{ff1d}", "\u{ff0b}", "\u{ff0d}", "\u{ff20}"];
    match text.first() {
        Some(b'=' | b'+' | b'-' | b'@' | &GUARD) => true,
        Some(first) => !first.is_ascii() && WIDE.iter().any(|c| text.starts_with(c.as_bytes())),
        None => false,
    }
}

struct Row<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Row<'_> {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    fn text(&mut self, text: Option<&[u8]>) {
        self.comma();
        let Some(text) = text else { return };
        self.out.push(b'"');
        if is_formula(text) {
            self.out.push(GUARD);
        }
        if is_plain(text) {
            self.out.extend_from_slice(text);
        } else {
            self.push_escaped(text);
        }
        self.out.push(b'"');
    }

    #[cold]
    fn push_escaped(&mut self, text: &[u8]) {
        let escaped = super::text::escape(&text_of(text)).replace('"', "\"\"");
        self.out.extend_from_slice(escaped.as_bytes());
    }

    fn list(&mut self, names: &[&str]) {
        self.text(Some(names.join(";").as_bytes()));
    }

    fn number(&mut self, value: Option<u64>) {
        self.comma();
        if let Some(value) = value {
            push_u64(self.out, value);
        }
    }

    fn address(&mut self, address: std::net::SocketAddr) {
        self.comma();
        self.out.push(b'"');
        push_address(self.out, address);
        self.out.push(b'"');
    }

    /// In quotes, as `12.30` is no number.
    fn id(&mut self, id: Id) {
        self.comma();
        self.out.push(b'"');
        id.push(self.out);
        self.out.push(b'"');
    }

    fn time(&mut self, at: Option<Timestamp>) {
        self.comma();
        if let Some(at) = at {
            push_time(self.out, at);
        }
    }
}
