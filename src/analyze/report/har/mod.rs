//! `har`: an HTTP Archive 1.2, for browsers' developer tools and their kin
//! (<http://www.softwareishard.com/blog/har-12-spec/>).
//!
//! The archive is one JSON document, but its entries come one by one and are
//! sorted as lines are. What an archive has no place for is in fields that
//! begin with `_`, named as in [`jsonl`], and what it demands and
//! nobody saw is empty, 0 or -1 with a comment that says so. Bodies are in it where
//! they are kept.

mod bodies;
mod cookies;
mod url;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use super::json;
use super::jsonl::{self, comma};
use super::write::{
    push_address, push_json, push_json_or_null, push_json_text, push_number, push_time, push_u64,
};
use super::{Item, Report, text};
use crate::analyze::fields::Fields;
use crate::analyze::transaction::{Completeness, Message, Transaction};
use crate::time::Timestamp;

/// What stands between two entries, and so before each but the first.
pub const SEPARATOR: &[u8] = b",";

/// Appends all that comes before the entries.
pub fn write_begin(out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"perisco\",\"version\":",
    );
    push_json(out, env!("CARGO_PKG_VERSION").as_bytes());
    out.extend_from_slice(b"},\"pages\":[],\"entries\":[");
}

/// Writes all that comes behind the entries: what is known to be missing, and
/// what a filter left out.
///
/// # Errors
/// What `out` returns.
pub fn write_end(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut end = b"\n],\"_inputs\":".to_vec();
    json::push(&report.inputs, &mut end)?;
    end.extend_from_slice(b",\"_interrupted\":");
    json::push(&report.interrupted, &mut end)?;
    end.extend_from_slice(b",\"_loss\":");
    json::push(&report.loss, &mut end)?;
    if report.filter.is_some() {
        end.extend_from_slice(b",\"_filter\":");
        json::push(&report.filter, &mut end)?;
    }
    let mut comment = text::missing(report) + &text::filtered(report);
    if report.interrupted {
        comment.insert_str(0, "interrupted: only what was read until then is here\n");
    }
    if !comment.is_empty() {
        end.extend_from_slice(b",\"comment\":");
        push_json(&mut end, comment.trim_end().as_bytes());
    }
    end.extend_from_slice(b"}}\n");
    out.write_all(&end)
}

/// Appends an entry, with [`SEPARATOR`] before it.
pub fn write(item: &Item<'_>, bodies: bool, out: &mut Vec<u8>) {
    let transaction = item.transaction;
    let mut remarks = Remarks::default();
    out.extend_from_slice(SEPARATOR);
    out.extend_from_slice(b"\n{\"startedDateTime\":\"");
    push_time(out, started(transaction, &mut remarks));
    let timings = Timings::new(transaction);
    out.extend_from_slice(b"\",\"time\":");
    push_milliseconds(out, timings.total());
    request(item, bodies, out);
    response(transaction, bodies, out);
    out.extend_from_slice(b",\"cache\":{}");
    timings.write(out);
    out.extend_from_slice(b",\"serverIPAddress\":\"");
    push_ip(item.server, out);
    out.extend_from_slice(b"\",\"connection\":\"");
    push_u64(out, item.connection);
    out.extend_from_slice(b"\"");
    own_fields(item, out);
    remarks.add(match transaction.completeness {
        Completeness::Complete => "",
        Completeness::Gap => "bytes inside it were not captured",
        Completeness::Truncated => "cut short: sizes are of what was seen",
        Completeness::LateJoin => "it, or a header table that it needs, began before the capture",
        Completeness::Unpaired => "only one of request and response was seen",
    });
    remarks.write(out);
    out.push(b'}');
}

/// What a comment says.
#[derive(Default)]
struct Remarks(String);

impl Remarks {
    fn add(&mut self, remark: &str) {
        if !self.0.is_empty() && !remark.is_empty() {
            self.0.push_str("; ");
        }
        self.0.push_str(remark);
    }

    fn write(&self, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            out.extend_from_slice(b",\"comment\":");
            push_json(out, self.0.as_bytes());
        }
    }
}

/// When it began; an archive must say a time.
fn started(transaction: &Transaction, remarks: &mut Remarks) -> Timestamp {
    if let Some(start) = transaction.start() {
        return start;
    }
    let end = |message: &Option<Message>| message.as_ref().and_then(|message| message.end);
    let later = transaction.rank().or(end(&transaction.request)).or(end(&transaction.response));
    remarks.add(match later {
        Some(_) => "its start was not seen: startedDateTime is the first time known",
        None => "no time is known: startedDateTime is made up",
    });
    later.unwrap_or(Timestamp::from_nanos(0))
}

/// An address without port and brackets.
fn push_ip(address: std::net::SocketAddr, out: &mut Vec<u8>) {
    let begin = out.len();
    push_address(out, address);
    let colon = out.iter().rposition(|byte| *byte == b':').unwrap_or(out.len());
    out.truncate(colon.max(begin));
    if out.get(begin) == Some(&b'[') {
        out.remove(begin);
        out.pop();
    }
}

/// Phases of an exchange in nanoseconds.
struct Timings {
    send: Option<u64>,
    wait: Option<u64>,
    receive: Option<u64>,
}

impl Timings {
    fn new(transaction: &Transaction) -> Self {
        let request = transaction.request.as_ref();
        let response = transaction.response.as_ref();
        let between =
            |from: Option<Timestamp>, to: Option<Timestamp>| u64::try_from(to?.since(from?)).ok();
        let start = request.and_then(|message| message.start);
        let answer = response.and_then(|message| message.start);
        let mut sent = request.and_then(|message| message.end);
        // A server may answer before it has all: then sending and waiting end there.
        if sent.zip(answer).is_some_and(|(sent, answer)| answer < sent) {
            sent = answer;
        }
        Self {
            send: between(start, sent),
            wait: between(sent, answer),
            receive: between(answer, response.and_then(|message| message.end)),
        }
    }

    /// All that is known together.
    fn total(&self) -> Option<u64> {
        let known = [self.send, self.wait, self.receive].into_iter().flatten();
        known.reduce(u64::saturating_add)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"timings\":{\"blocked\":-1,\"dns\":-1,\"connect\":-1,\"ssl\":-1");
        let phases = [(",\"send\":", self.send), (",\"wait\":", self.wait)];
        for (name, phase) in phases.into_iter().chain([(",\"receive\":", self.receive)]) {
            out.extend_from_slice(name.as_bytes());
            push_milliseconds(out, phase);
        }
        out.push(b'}');
    }
}

/// Appends nanoseconds as milliseconds, -1 where they are unknown.
fn push_milliseconds(out: &mut Vec<u8>, nanos: Option<u64>) {
    const MILLISECOND: u64 = 1_000_000;
    let Some(nanos) = nanos else { return out.extend_from_slice(b"-1") };
    push_u64(out, nanos / MILLISECOND);
    let fraction = nanos % MILLISECOND;
    if fraction > 0 {
        let digits = format!("{fraction:06}");
        out.push(b'.');
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
}

/// Appends a number, -1 where it is unknown.
fn push_or_minus(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => push_u64(out, value),
        None => out.extend_from_slice(b"-1"),
    }
}

fn version(transaction: &Transaction) -> &'static str {
    match (transaction.protocol, transaction.stream) {
        (_, Some(_)) | ("http/2", None) => "HTTP/2",
        ("http/1.0", None) => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn request(item: &Item<'_>, bodies: bool, out: &mut Vec<u8>) {
    let transaction = item.transaction;
    let mut remarks = Remarks::default();
    let message = transaction.request.as_ref();
    let [method, scheme, authority, path] = [
        transaction.request_text(|m| m.method),
        transaction.request_text(|m| m.scheme),
        transaction.request_text(|m| m.authority),
        transaction.request_text(|m| m.path),
    ];
    match (message, method) {
        (None, _) => remarks.add("no byte of the request was seen"),
        (Some(_), None) => remarks.add("its method was not seen"),
        (Some(_), Some(_)) => {}
    }
    out.extend_from_slice(b",\"request\":{\"method\":");
    push_json(out, method.unwrap_or_default());
    out.extend_from_slice(b",\"url\":\"");
    let target = url::Target { scheme, authority, path, server: item.server };
    target.write(&mut remarks, out);
    out.extend_from_slice(b"\",\"httpVersion\":\"");
    out.extend_from_slice(version(transaction).as_bytes());
    out.extend_from_slice(b"\",\"cookies\":[");
    cookies::of_request(message.map(|m| &m.head), out);
    out.extend_from_slice(b"],\"headers\":[");
    headers(message.map(|m| &m.head), out);
    out.extend_from_slice(b"],\"queryString\":[");
    url::query(path.unwrap_or_default(), out);
    out.extend_from_slice(b"],\"headersSize\":-1,\"bodySize\":");
    push_or_minus(out, message.map(|m| m.body_bytes));
    if bodies && let Some(message) = message {
        bodies::post_data(message, out);
    }
    let wire = [("_scheme", scheme), ("_authority", authority), ("_path", path)];
    for (name, value) in wire {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        push_json_or_null(out, value);
    }
    out.extend_from_slice(b",\"_trailers\":[");
    headers(message.map(|m| &m.trailers), out);
    out.push(b']');
    remarks.write(out);
    out.push(b'}');
}

fn response(transaction: &Transaction, bodies: bool, out: &mut Vec<u8>) {
    let message = transaction.response.as_ref();
    let head = message.map(|m| &m.head);
    let mut remarks = Remarks::default();
    match message.map(|m| m.status) {
        None => remarks.add("no response was seen: the status is unknown"),
        Some(None) => remarks.add("its status was not seen"),
        Some(Some(_)) => {}
    }
    out.extend_from_slice(b",\"response\":{\"status\":");
    push_u64(out, transaction.status().map_or(0, u64::from));
    // The phrase of HTTP/1 is not kept, and HTTP/2 has none.
    out.extend_from_slice(b",\"statusText\":\"\",\"httpVersion\":\"");
    out.extend_from_slice(version(transaction).as_bytes());
    out.extend_from_slice(b"\",\"cookies\":[");
    cookies::of_response(head, out);
    out.extend_from_slice(b"],\"headers\":[");
    headers(head, out);
    out.extend_from_slice(b"],\"content\":{\"size\":");
    let text = message.filter(|_| bodies).and_then(bodies::Text::of);
    let size = |message: &Message| match &text {
        Some(text) => text.size(),
        None => bodies::is_plain(message).then_some(message.body_bytes),
    };
    push_or_minus(out, message.and_then(size));
    let value = |name| head.and_then(|head| head.value(name)).unwrap_or_default();
    out.extend_from_slice(b",\"mimeType\":");
    push_json(out, value("content-type"));
    if let Some(text) = &text {
        text.write(out);
    }
    out.extend_from_slice(b"},\"redirectURL\":");
    push_json(out, value("location"));
    out.extend_from_slice(b",\"headersSize\":-1,\"bodySize\":");
    push_or_minus(out, message.map(|m| m.body_bytes));
    out.extend_from_slice(b",\"_trailers\":[");
    headers(message.map(|m| &m.trailers), out);
    out.push(b']');
    remarks.write(out);
    out.push(b'}');
}

fn headers(fields: Option<&Fields>, out: &mut Vec<u8>) {
    for (index, field) in fields.into_iter().flat_map(Fields::iter).enumerate() {
        comma(index, out);
        push_pair(field.name, field.value.unwrap_or_default(), out);
        if field.value.is_none() {
            out.pop();
            out.extend_from_slice(b",\"comment\":\"its value could not be resolved\"}");
        }
    }
}

/// Appends an object of a name and a value.
fn push_pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"name\":\"");
    push_json_text(out, name);
    out.extend_from_slice(b"\",\"value\":\"");
    push_json_text(out, value);
    out.extend_from_slice(b"\"}");
}

/// What an archive has no place for.
fn own_fields(item: &Item<'_>, out: &mut Vec<u8>) {
    let transaction = item.transaction;
    out.extend_from_slice(b",\"_protocol\":");
    push_json(out, transaction.protocol.as_bytes());
    out.extend_from_slice(b",\"_client\":\"");
    push_address(out, item.client);
    out.extend_from_slice(b"\",\"_server\":\"");
    push_address(out, item.server);
    out.extend_from_slice(b"\",\"_stream\":");
    push_number(out, transaction.stream.map(u64::from));
    out.extend_from_slice(b",\"_start\":");
    jsonl::push_time_or_null(transaction.start(), out);
    out.extend_from_slice(b",\"_latency_ns\":");
    push_number(out, transaction.latency_ns());
    out.extend_from_slice(b",\"_duration_ns\":");
    push_number(out, transaction.duration_ns());
    out.extend_from_slice(b",\"_grpc\":");
    jsonl::grpc(transaction, out);
    out.extend_from_slice(b",\"_outcome\":");
    push_json(out, transaction.outcome.name().as_bytes());
    out.extend_from_slice(b",\"_completeness\":");
    push_json(out, transaction.completeness.name().as_bytes());
    out.extend_from_slice(b",\"_anomalies\":");
    jsonl::anomalies(transaction, out);
    out.extend_from_slice(b",\"_interface\":");
    push_json_or_null(out, item.interface.map(str::as_bytes));
    out.extend_from_slice(b",\"_comment\":");
    push_json_or_null(out, item.comment.map(str::as_bytes));
    out.extend_from_slice(b",\"_attributes\":");
    jsonl::attributes(transaction, out);
    jsonl::owners([b",\"_process\":", b",\"_container\":"], item, out);
    jsonl::names(b",\"_names\":", item, out);
    out.extend_from_slice(b",\"_id\":\"");
    item.id().push(out);
    out.push(b'"');
}
