//! Formats, path folding and the sorter.
//!
//! Input: an operation byte; then for 0 a path, for 1 lines with their keys,
//! otherwise strings of a transaction and a report over it.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use perisco::analyze::fields::Fields;
use perisco::analyze::report::fold::{PATH_BYTES, fold};
use perisco::analyze::report::{
    Aggregate, CaptureTotals, Item, LogKind, LogLine, Parts, SortKey, Sorter, Style, json, jsonl,
    text,
};
use perisco::analyze::transaction::{Grpc, Message, Outcome, Transaction};
use perisco::time::Timestamp;
use perisco_fuzz::bytes::Bytes;
use perisco_fuzz::check;
use serde_json::Value;

/// Folds a path: bounded, and folding again finds nothing new to cut.
fn path(path: &[u8]) {
    let mut out = b"kept".to_vec();
    fold(path, &mut out);
    let folded = out.strip_prefix(b"kept").expect("appends");
    assert!(folded.len() <= PATH_BYTES + "…".len(), "{} bytes", folded.len());
    assert!(!folded.contains(&b'?'), "a query is left");
    if std::str::from_utf8(path).is_ok() {
        assert!(std::str::from_utf8(folded).is_ok(), "cut inside a character");
    }
}

/// Sorts lines with little memory: all come out, in order but for late ones.
fn sorter(mut input: Bytes<'_>) {
    let mut sorter = Sorter::new(64 + usize::from(input.u8()) * 16);
    let mut expected = Vec::new();
    let mut out = Vec::new();
    let mut index = 0_u64;
    while !input.is_empty() && index < 512 {
        let op = input.u8();
        let at = (op & 1 == 0).then(|| Timestamp::from_nanos(i64::from(input.u8())));
        if op & 0x0e == 0x0e {
            sorter.advance(at, &mut out).expect("memory can be written");
            continue;
        }
        let key = SortKey { start: at, connection: u64::from(op >> 6), index };
        let mut line = format!("{:?} {} {index} ", at.map(Timestamp::nanos), key.connection);
        line.push_str(&"x".repeat(usize::from(op >> 4) * 8));
        line.push('\n');
        sorter.push(key, line.as_bytes()).expect("temporary files can be written");
        expected.push((key, line));
        index += 1;
    }
    let late = sorter.late();
    sorter.finish(&mut out).expect("memory can be written");
    expected.sort();
    let sorted: Vec<&str> = expected.iter().map(|(_, line)| line.as_str()).collect();
    let out = String::from_utf8(out).expect("lines as they were");
    let mut got: Vec<&str> = out.split_inclusive('\n').collect();
    if late > 0 {
        got.sort_unstable();
        let mut all = sorted.clone();
        all.sort_unstable();
        assert_eq!(got, all, "lines lost or made up");
    } else {
        assert_eq!(got, sorted, "out of order");
    }
}

fn message(input: &mut Bytes<'_>) -> Message {
    let mut message = Message::default();
    message.method = Some(message.head.store(input.string()));
    message.authority = Some(message.head.store(input.string()));
    message.path = Some(message.head.store(input.string()));
    fields(input, &mut message.head);
    fields(input, &mut message.trailers);
    message.start = Some(Timestamp::from_nanos(i64::from(input.u32()) << 31));
    message.end = message.start.map(|at| at.plus(i64::from(input.u16())));
    message.packet = 1;
    message
}

fn fields(input: &mut Bytes<'_>, fields: &mut Fields) {
    for _ in 0..input.u8() % 4 {
        let name = input.string();
        match input.u8() {
            0 => fields.push_unknown(name),
            _ => fields.push(name, input.string()),
        }
    }
}

/// Names and values as jsonl gives them back must be those put in.
fn headers(fields: &Fields, value: &Value) {
    let rows = value.as_array().expect("a list of headers");
    assert_eq!(rows.len(), fields.len());
    for (field, row) in fields.iter().zip(rows) {
        if let (Ok(name), Ok(Some(text))) =
            (std::str::from_utf8(field.name), field.value.map(std::str::from_utf8).transpose())
        {
            assert_eq!(row[0].as_str(), Some(name));
            assert_eq!(row[1].as_str(), Some(text));
        }
    }
}

fn formats(mut input: Bytes<'_>) {
    let mut transaction = Transaction::new("grpc");
    let mut request = message(&mut input);
    request.body_bytes = u64::MAX;
    let mut response = message(&mut input);
    response.status = Some(100 + input.u16() % 900);
    let service = String::from_utf8_lossy(input.string()).into_owned();
    transaction.grpc = Some(Grpc {
        service: Some(request.head.store(service.as_bytes())),
        message: Some(String::from_utf8_lossy(input.string()).into_owned()),
        status: Some(u32::from(input.u8())),
        ..Grpc::default()
    });
    transaction.outcome = Outcome::ALL[usize::from(input.u8()) % Outcome::ALL.len()];
    transaction.request = Some(request);
    transaction.response = Some(response);
    let comment = String::from_utf8_lossy(input.string()).into_owned();
    let item = Item {
        transaction: &transaction,
        client: SocketAddr::from(([0; 4], 1)),
        server: SocketAddr::from(([0; 16], 2)),
        connection: 1,
        index: 0,
        interface: Some(&comment),
        comment: Some(&comment),
        client_end: Default::default(),
        server_end: Default::default(),
        joined: None,
    };
    let mut out = Vec::new();
    jsonl::write(&item, Parts { headers: true, bodies: true }, &mut out);
    let line = check::json_line(std::str::from_utf8(&out).expect("jsonl is UTF-8"));
    assert_eq!(line["comment"].as_str(), Some(comment.as_str()));
    if let (Some(request), Some(response)) = (&transaction.request, &transaction.response) {
        headers(&request.head, &line["request_headers"]);
        headers(&request.trailers, &line["request_trailers"]);
        headers(&response.head, &line["response_headers"]);
    }
    let mut aggregate = Aggregate::new(10);
    aggregate.add(&item);
    let totals = CaptureTotals { other: vec![(comment.clone(), 1)], ..CaptureTotals::default() };
    let report = aggregate.finish(totals);
    check::terminal(&text::render(&report, Style::default()));
    out.clear();
    json::write(&report, &mut out).expect("memory can be written");
    serde_json::from_slice::<Value>(&out).expect("the report is JSON");
    out.clear();
    let line = LogLine {
        at: transaction.start(),
        server: item.server,
        client: item.client,
        kind: LogKind::Request,
        text: &comment,
    };
    line.write(false, &mut out);
    let line = String::from_utf8(out).expect("the log is UTF-8");
    check::terminal(&line);
    assert_eq!(line.matches('\n').count(), 1, "one line an event");
}

fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    match input.u8() {
        0 => path(input.0),
        1 => sorter(input),
        _ => formats(input),
    }
});
