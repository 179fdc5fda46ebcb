//! `jsonl`: one JSON object per transaction and line.
//!
//! The fields, their order and their meaning are documented in
//! `docs/output.md` and stay; new ones are added at the end.

pub(super) mod bodies;
mod ends;
mod lines;
mod names;

use super::write::{
    TIME, push_address, push_json, push_json_or_null, push_json_text, push_number, push_u64,
    quoted_time,
};
use super::{Item, Parts};
use crate::analyze::fields::{Field, Fields};
use crate::analyze::join::{Joined, Split};
use crate::analyze::owner::Process;
use crate::analyze::transaction::{Grpc, Message, Transaction, Value};
use crate::time::Timestamp;

/// Appends a transaction as one line, its line feed included, with the four lists
/// of header and trailer fields and with bodies where `parts` says so.
pub fn write(item: &Item<'_>, parts: Parts, out: &mut Vec<u8>) {
    let transaction = item.transaction;
    out.reserve(LINE_BYTES);
    out.extend_from_slice(b"{\"protocol\":\"");
    // One of a few names of our own, without anything to escape.
    out.extend_from_slice(transaction.protocol.as_bytes());
    ends::write(item, out);
    push_number(out, transaction.stream.map(u64::from));
    request_line(transaction, out);
    out.extend_from_slice(b",\"status\":");
    push_number(out, transaction.status().map(u64::from));
    match &transaction.grpc {
        Some(_) => {
            out.extend_from_slice(b",\"grpc\":");
            grpc(transaction, out);
        }
        // Most have none: one constant.
        None => out.extend_from_slice(b",\"grpc\":null"),
    }
    times(transaction, out);
    sizes(transaction, out);
    if parts.headers {
        write_headers(transaction, out);
    }
    out.extend_from_slice(b",\"outcome\":\"");
    out.extend_from_slice(transaction.outcome.name().as_bytes());
    out.extend_from_slice(b"\",\"completeness\":\"");
    out.extend_from_slice(transaction.completeness.name().as_bytes());
    remarks(item, out);
    out.extend_from_slice(b",\"id\":\"");
    item.id().push(out);
    out.push(b'"');
    names::write(b",\"names\":", item, out);
    if parts.bodies {
        bodies::write(transaction, out);
    }
    if let Some(joined) = item.joined {
        write_joined(joined, out);
    }
    out.extend_from_slice(b"}\n");
}

/// Appends what is known since both ends were seen.
#[cold]
fn write_joined(joined: &Joined, out: &mut Vec<u8>) {
    let [client, server] = &joined.nodes;
    for (name, node) in
        [(&b",\"joined\":{\"client_node\":"[..], client), (b",\"server_node\":", server)]
    {
        out.extend_from_slice(name);
        push_json(out, node.as_bytes());
    }
    out.extend_from_slice(b",\"by\":");
    push_json(out, joined.by.name().as_bytes());
    let ends = [joined.server_as_seen, joined.client_as_seen];
    for (name, end) in
        [&b",\"server_as_seen\":\""[..], b"\",\"client_as_seen\":\""].into_iter().zip(ends)
    {
        out.extend_from_slice(name);
        push_address(out, end);
    }
    out.push(b'"');
    let split = |pick: fn(&Split) -> u64| joined.split.as_ref().map(pick);
    let times: [(&[u8], _); 4] = [
        (b",\"request_ns\":", split(|split| split.request_ns)),
        (b",\"server_ns\":", split(|split| split.server_ns)),
        (b",\"response_ns\":", split(|split| split.response_ns)),
        (b",\"error_ns\":", split(|split| split.error_ns)),
    ];
    for (name, nanos) in times {
        out.extend_from_slice(name);
        push_number(out, nanos);
    }
    out.extend_from_slice(b",\"offset_ns\":");
    match &joined.split {
        Some(split) => out.extend_from_slice(split.offset_ns.to_string().as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// Room for a line without headers: no need to grow the buffer within it.
const LINE_BYTES: usize = 1024;

/// Appends a comma before all but the first.
pub(super) fn comma(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// Anomalies and all that follows them up to the container. Most have none: a constant.
fn remarks(item: &Item<'_>, out: &mut Vec<u8>) {
    let transaction = item.transaction;
    let none = transaction.anomalies.is_empty() && transaction.attributes.is_empty();
    let processes = item.client_end.process.is_some() || item.server_end.process.is_some();
    if none && item.interface.is_none() && item.comment.is_none() && !processes {
        out.extend_from_slice(
            b"\",\"anomalies\":[],\"interface\":null,\"comment\":null,\"attributes\":{},\
              \"process\":null,\"container\":null",
        );
        return;
    }
    out.extend_from_slice(b"\",\"anomalies\":");
    anomalies(transaction, out);
    out.extend_from_slice(b",\"interface\":");
    push_json_or_null(out, item.interface.map(str::as_bytes));
    out.extend_from_slice(b",\"comment\":");
    push_json_or_null(out, item.comment.map(str::as_bytes));
    out.extend_from_slice(b",\"attributes\":");
    attributes(transaction, out);
    owners([b",\"process\":", b",\"container\":"], item, out);
}

fn request_line(transaction: &Transaction, out: &mut Vec<u8>) {
    let request = transaction.request.as_ref();
    let text = |pick: fn(&Message) -> Option<crate::analyze::fields::Span>| {
        request.and_then(|message| message.text(pick(message)))
    };
    out.extend_from_slice(b",\"method\":");
    push_json_or_null(out, text(|m| m.method));
    out.extend_from_slice(b",\"scheme\":");
    push_json_or_null(out, text(|m| m.scheme));
    out.extend_from_slice(b",\"authority\":");
    push_json_or_null(out, text(|m| m.authority));
    out.extend_from_slice(b",\"path\":");
    push_json_or_null(out, text(|m| m.path));
}

/// Appends what gRPC adds, or `null`.
#[inline]
pub(super) fn grpc(transaction: &Transaction, out: &mut Vec<u8>) {
    match &transaction.grpc {
        Some(grpc) => write_grpc(transaction, grpc, out),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_grpc(transaction: &Transaction, grpc: &Grpc, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"service\":");
    push_json_or_null(out, transaction.service());
    out.extend_from_slice(b",\"method\":");
    push_json_or_null(out, transaction.rpc_method());
    out.extend_from_slice(b",\"status\":");
    push_number(out, grpc.status.map(u64::from));
    out.extend_from_slice(b",\"status_name\":");
    push_json(out, grpc.status_name().as_bytes());
    out.extend_from_slice(b",\"message\":");
    push_json_or_null(out, grpc.message.as_deref().map(str::as_bytes));
    out.extend_from_slice(b",\"kind\":");
    push_json_or_null(out, grpc.kind.map(str::as_bytes));
    out.extend_from_slice(b",\"request_messages\":");
    push_u64(out, grpc.request_messages);
    out.extend_from_slice(b",\"response_messages\":");
    push_u64(out, grpc.response_messages);
    out.extend_from_slice(b",\"timeout_ns\":");
    push_number(out, grpc.timeout_ns);
    out.push(b'}');
}

fn times(transaction: &Transaction, out: &mut Vec<u8>) {
    let request = transaction.request.as_ref();
    let response = transaction.response.as_ref();
    let request = [transaction.start(), request.and_then(|m| m.end)];
    two_times([b",\"start\":", b",\"request_end\":"], request, out);
    let response = [response.and_then(|m| m.start), response.and_then(|m| m.end)];
    two_times([b",\"response_start\":", b",\"response_end\":"], response, out);
    out.extend_from_slice(b",\"latency_ns\":");
    push_number(out, transaction.latency_ns());
    out.extend_from_slice(b",\"duration_ns\":");
    push_number(out, transaction.duration_ns());
}

/// Writes when a message began and ended: mostly in one packet.
fn two_times(names: [&[u8]; 2], [begin, end]: [Option<Timestamp>; 2], out: &mut Vec<u8>) {
    let [first, second] = names;
    let text = begin.map(quoted_time);
    time(first, text, out);
    time(second, if begin == end { text } else { end.map(quoted_time) }, out);
}

/// Appends a time, or `null`.
pub(super) fn push_time_or_null(at: Option<Timestamp>, out: &mut Vec<u8>) {
    time(b"", at.map(quoted_time), out);
}

#[inline]
fn time(name: &[u8], text: Option<[u8; TIME]>, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    match text {
        Some(text) => out.extend_from_slice(&text),
        None => out.extend_from_slice(b"null"),
    }
}

fn sizes(transaction: &Transaction, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"request_body_bytes\":");
    push_number(out, transaction.request.as_ref().map(|m| m.body_bytes));
    out.extend_from_slice(b",\"response_body_bytes\":");
    push_number(out, transaction.response.as_ref().map(|m| m.body_bytes));
}

fn write_headers(transaction: &Transaction, out: &mut Vec<u8>) {
    let request = transaction.request.as_ref();
    let response = transaction.response.as_ref();
    fields(b",\"request_headers\":", request.map(|m| &m.head), out);
    fields(b",\"response_headers\":", response.map(|m| &m.head), out);
    let no_trailers = |message: Option<&Message>| message.is_none_or(|m| m.trailers.is_empty());
    if no_trailers(request) && no_trailers(response) {
        out.extend_from_slice(b",\"request_trailers\":[],\"response_trailers\":[]");
        return;
    }
    fields(b",\"request_trailers\":", request.map(|m| &m.trailers), out);
    fields(b",\"response_trailers\":", response.map(|m| &m.trailers), out);
}

fn fields(name: &[u8], fields: Option<&Fields>, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.push(b'[');
    if let Some(fields) = fields {
        lines::write(fields.lines(), out);
        for field in fields.unlined() {
            if out.last() != Some(&b'[') {
                out.push(b',');
            }
            unlined(&field, out);
        }
    }
    out.push(b']');
}

fn unlined(field: &Field<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[\"");
    push_json_text(out, field.name);
    match field.value {
        Some(value) => {
            out.extend_from_slice(b"\",\"");
            push_json_text(out, value);
            out.extend_from_slice(b"\"]");
        }
        None => out.extend_from_slice(b"\",null]"),
    }
}

/// Appends processes and containers of both ends, under these names.
pub(super) fn owners(names: [&[u8]; 2], item: &Item<'_>, out: &mut Vec<u8>) {
    let ends = [item.client_end.process, item.server_end.process];
    let known = ends.map(|process| process.filter(|process| process.is_known()));
    both_ends(names[0], known, out, process);
    let containers = ends.map(|process| process.and_then(|process| process.container.as_deref()));
    both_ends(names[1], containers, out, |id, out| push_json(out, id.as_bytes()));
}

/// An object of what the client's and the server's end have; null if neither.
fn both_ends<T>(name: &[u8], ends: [Option<T>; 2], out: &mut Vec<u8>, write: fn(T, &mut Vec<u8>)) {
    out.extend_from_slice(name);
    if ends.iter().all(Option::is_none) {
        out.extend_from_slice(b"null");
        return;
    }
    for (name, end) in [&b"{\"client\":"[..], b",\"server\":"].into_iter().zip(ends) {
        out.extend_from_slice(name);
        match end {
            Some(end) => write(end, out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

fn process(process: &Process, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"pid\":");
    push_number(out, process.pid.map(u64::from));
    out.extend_from_slice(b",\"comm\":");
    push_json_or_null(out, process.comm.as_deref().map(str::as_bytes));
    out.extend_from_slice(b",\"exe\":");
    push_json_or_null(out, process.exe.as_deref().map(str::as_bytes));
    out.extend_from_slice(b",\"uid\":");
    push_number(out, process.uid.map(u64::from));
    out.push(b'}');
}

/// Appends where both ends run, under this name.
pub(super) fn names(name: &[u8], item: &Item<'_>, out: &mut Vec<u8>) {
    names::write(name, item, out);
}

/// Appends the names of what was odd.
pub(super) fn anomalies(transaction: &Transaction, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, name) in transaction.anomalies.iter().enumerate() {
        comma(index, out);
        push_json(out, name.as_bytes());
    }
    out.push(b']');
}

/// Appends what the protocol adds.
pub(super) fn attributes(transaction: &Transaction, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in transaction.attributes.iter().enumerate() {
        comma(index, out);
        push_json(out, name.as_bytes());
        out.push(b':');
        match value {
            Value::Number(value) => push_u64(out, *value),
            Value::Text(text) => push_json(out, text.as_bytes()),
        }
    }
    out.push(b'}');
}
