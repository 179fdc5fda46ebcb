//! What must hold of every transaction, whatever the bytes.

use std::net::SocketAddr;

use perisco::analyze::decode::Finished;
use perisco::analyze::report::{Item, Parts, csv, jsonl};
use perisco::analyze::transaction::{Completeness, Message, Outcome, Transaction};
use serde_json::Value;

/// Checks transactions in themselves and as lines; returns their jsonl.
pub fn transactions(finished: &[Finished]) -> Vec<String> {
    let lines = finished.iter().enumerate();
    lines.map(|(index, finished)| transaction(&finished.transaction, index as u64)).collect()
}

/// Checks one transaction; returns its line of jsonl.
pub fn transaction(transaction: &Transaction, index: u64) -> String {
    outcome(transaction);
    for message in [&transaction.request, &transaction.response].into_iter().flatten() {
        spans(message);
    }
    if let Some(grpc) = &transaction.grpc {
        // Each length-prefixed message takes five bytes at least, and a
        // gRPC-Web body holds its trailers besides.
        let body = |m: &Option<Message>| m.as_ref().map_or(0, |m| m.body_bytes);
        assert!(
            grpc.request_messages * 5 <= body(&transaction.request),
            "messages without bytes: {transaction:?}"
        );
        assert!(
            grpc.response_messages * 5 <= body(&transaction.response),
            "messages without bytes: {transaction:?}"
        );
    }
    let client = SocketAddr::from(([192, 0, 2, 1], 40_000));
    let server = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 80));
    let item = Item {
        transaction,
        client,
        server,
        connection: 1,
        index,
        interface: Some("eth\u{7}0"),
        comment: None,
        client_end: Default::default(),
        server_end: Default::default(),
        joined: None,
    };
    let mut out = Vec::new();
    csv::write(&item, &mut out);
    csv_rows(&String::from_utf8(std::mem::take(&mut out)).expect("csv is UTF-8"));
    jsonl::write(&item, Parts { headers: true, bodies: true }, &mut out);
    let line = String::from_utf8(out).expect("jsonl is UTF-8");
    json_line(&line);
    line
}

/// Unknown is never OK, and nothing is complete that was not seen.
fn outcome(transaction: &Transaction) {
    let Transaction { request, response, grpc, outcome, completeness, .. } = transaction;
    assert!(request.is_some() || response.is_some(), "a transaction of nothing");
    if *outcome == Outcome::Ok {
        match grpc {
            Some(grpc) => {
                assert_eq!(grpc.status, Some(0), "OK without grpc-status 0: {transaction:?}")
            }
            None => assert!(
                transaction.status().is_some_and(|status| status < 400),
                "OK without a good status: {transaction:?}"
            ),
        }
    }
    if *outcome == Outcome::Unanswered {
        assert!(
            response.is_none() || transaction.status().is_none(),
            "unanswered, but answered: {transaction:?}"
        );
    }
    if *completeness == Completeness::Complete && *outcome == Outcome::Ok {
        let seen = |m: &Option<Message>| m.as_ref().is_some_and(|m| m.packet > 0);
        assert!(seen(request) && seen(response), "complete, but not seen: {transaction:?}");
    }
}

/// Every span is one of the message's own head: none is silently empty.
fn spans(message: &Message) {
    for span in [message.method, message.scheme, message.authority, message.path] {
        let _ = message.text(span);
    }
    if let Some(status) = message.status {
        assert!((100..=999).contains(&status), "status {status}");
    }
}

/// A line of jsonl: one object on one line.
pub fn json_line(line: &str) -> Value {
    let body = line.strip_suffix('\n').expect("ends with a line feed");
    assert!(!body.contains('\n'), "two lines: {body:?}");
    let value: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body:?}"));
    assert!(value.is_object());
    value
}

/// Text for a terminal: no control character but line feeds.
pub fn terminal(text: &str) {
    let bad = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(bad, None, "control character in {text:?}");
}

/// Rows of csv: each has all columns (RFC 4180).
pub fn csv_rows(text: &str) {
    let (mut columns, mut quoted, mut any) = (1, false, false);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        any = true;
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => columns += 1,
            b'\r' if !quoted => {
                assert_eq!(bytes.next(), Some(b'\n'), "a bare CR in {text:?}");
                assert_eq!(columns, csv::COLUMNS.len(), "columns of {text:?}");
                (columns, any) = (1, false);
            }
            b'\n' if !quoted => panic!("a bare LF in {text:?}"),
            _ => {}
        }
    }
    assert!(!quoted && !any, "an unfinished row in {text:?}");
}
