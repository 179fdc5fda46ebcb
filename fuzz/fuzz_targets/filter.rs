//! Expressions of `--where` and times of `--since`.
//!
//! Input: an operation byte; then for 0 an expression as text, for 1 a time,
//! otherwise bytes that each stand for a word of an expression.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use perisco::analyze::filter::{Bound, Decision, Filter, Window};
use perisco::analyze::report::Item;
use perisco::analyze::transaction::{Completeness, Grpc, Message, Outcome, Transaction};
use perisco::time::Timestamp;

/// Words of expressions: with them the fuzzer gets further than with letters.
const WORDS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "!",
    "-",
    "?",
    ":",
    " && ",
    " || ",
    " == ",
    " != ",
    " < ",
    " <= ",
    " > ",
    " >= ",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " in ",
    "status",
    "latency",
    "latency_ns",
    "duration",
    "path",
    "method",
    "outcome",
    "completeness",
    "anomalies",
    "grpc",
    "grpc.status",
    "grpc.status_name",
    "grpc.message",
    "start",
    "request_headers",
    "response_trailers",
    "stream",
    "request.header(\"a\")",
    "response.headers(\"b\")",
    "response.trailer(\"t\")",
    "scheme",
    "attributes[\"x\"]",
    "process.client.comm",
    "true",
    "false",
    "0",
    "1",
    "200",
    "2.5",
    "\"a\"",
    "\"GET\"",
    "'/'",
    "duration(\"1s\")",
    "timestamp(\"2026-11-22T15:17:26Z\")",
    "path.contains(",
    "path.startsWith(",
    "path.matches(\"a|/\")",
    "x",
    "h",
    "x[0]",
    "h[1]",
    ".exists(x, ",
    ".all(h, ",
    ".map(x, ",
    ".filter(h, ",
    ".exists_one(x, ",
    "size(",
    ".size()",
    "string(",
    "int(",
    "double(",
    ".lowerAscii()",
    "[1, 2, 3, 4, 5, 6, 7, 8]",
    "[\"a\", \"b\"]",
];

fn message(fields: &[(&str, &str)], start: i64) -> Message {
    let mut message = Message::default();
    fields.iter().for_each(|(name, value)| message.head.push(name.as_bytes(), value.as_bytes()));
    message.trailers.push(b"t", b"1");
    message.start = Some(Timestamp::from_nanos(start));
    message.end = Some(Timestamp::from_nanos(start + 1_000_000));
    message.body_bytes = 200;
    message.packet = 1;
    message
}

/// A call of which all was seen.
fn whole() -> Transaction {
    let mut transaction = Transaction::new("grpc");
    let mut request = message(&[("a", "a"), ("content-type", "application/grpc")], 0);
    request.method = Some(request.head.store(b"GET"));
    request.scheme = Some(request.head.store(b"http"));
    request.path = Some(request.head.store(b"/a/GET"));
    let mut response =
        message(&[("b", "GET"), ("b", "a"), ("content-type", "application/grpc")], 2_000_000_000);
    response.status = Some(200);
    transaction.stream = Some(1);
    transaction.grpc = Some(Grpc {
        service: Some(request.head.store(b"a")),
        method: Some(request.head.store(b"GET")),
        status: Some(1),
        message: Some("a".to_owned()),
        kind: Some("unary"),
        request_messages: 1,
        response_messages: 1,
        timeout_ns: Some(1),
    });
    (transaction.request, transaction.response) = (Some(request), Some(response));
    transaction.outcome = Outcome::Ok;
    transaction.completeness = Completeness::Complete;
    transaction.anomaly("a");
    transaction
}

/// The same of which less was seen.
fn hidden() -> Vec<Transaction> {
    let no_response = |mut t: Transaction| {
        t.response = None;
        t
    };
    let no_request = |mut t: Transaction| {
        t.request = None;
        t.response = t.response.map(|r| Message { start: None, end: None, ..r });
        if let Some(grpc) = &mut t.grpc {
            (grpc.service, grpc.method, grpc.kind, grpc.timeout_ns) = (None, None, None, None);
        }
        t
    };
    let cut = |mut t: Transaction| {
        for message in [&mut t.request, &mut t.response].into_iter().flatten() {
            let head = message.head.clone();
            message.head.clear();
            let mut store = |span| message.head.store(head.text(span));
            message.method = message.method.map(&mut store);
            message.scheme = message.scheme.map(&mut store);
            message.path = message.path.map(&mut store);
            // The first value, so that it is the first that is found.
            let first = head.iter().next().expect("fields");
            message.head.push(first.name, first.value.expect("known"));
            message.head.mark_cut();
            message.trailers.clear();
            message.trailers.mark_cut();
        }
        let spans = t.request.as_mut().map(|r| [&b"a"[..], b"GET"].map(|name| r.head.store(name)));
        if let (Some(grpc), Some([service, method])) = (&mut t.grpc, spans) {
            (grpc.service, grpc.method) = (Some(service), Some(method));
        }
        t
    };
    let unresolved = |mut t: Transaction| {
        t.grpc = None;
        for message in [&mut t.request, &mut t.response].into_iter().flatten() {
            message.trailers.clear();
            message.trailers.push_unknown(b"t");
            let mut head = perisco::analyze::fields::Fields::default();
            message.method = message.method.map(|span| head.store(message.head.text(span)));
            message.scheme = message.scheme.map(|span| head.store(message.head.text(span)));
            message.path = message.path.map(|span| head.store(message.head.text(span)));
            for (index, field) in message.head.iter().enumerate() {
                match index {
                    0 => head.push_unknown(field.name),
                    _ => head.push_unknown(b"?n7"),
                }
            }
            message.head = head;
        }
        t
    };
    vec![no_response(whole()), no_request(whole()), cut(whole()), unresolved(whole())]
}

fn decide(filter: &Filter, transaction: &Transaction) -> Decision {
    filter.decide(&Item {
        transaction,
        client: SocketAddr::from(([10, 0, 0, 1], 1)),
        server: SocketAddr::from(([0; 16], 2)),
        connection: 1,
        index: 0,
        interface: None,
        comment: None,
        client_end: Default::default(),
        server_end: Default::default(),
        joined: None,
    })
}

fn expression(source: &str) {
    let filter = match Filter::new(Some(source), None) {
        Ok(filter) => filter,
        Err(problem) => {
            let told = problem.to_string();
            assert_eq!(told.lines().count(), 3, "what, where and a mark: {told}");
            return;
        }
    };
    let opposite = Filter::new(Some(&format!("!({source}\n)")), None).ok();
    let all = decide(&filter, &whole());
    let asks_for_null = source.contains("null") || source.contains("has");
    for transaction in [whole()].into_iter().chain(hidden()) {
        let decision = decide(&filter, &transaction);
        assert_eq!(decision, decide(&filter, &transaction), "asked again: {source}");
        if let Some(opposite) = &opposite {
            let opposite = decide(opposite, &transaction);
            let both = (decision == Decision::Take) & (opposite == Decision::Take);
            assert!(!both, "both it and its opposite: {source}");
        }
        // What was not seen decides nothing.
        let known = ![all, decision].contains(&Decision::Undecided) && !asks_for_null;
        assert!(!known || decision == all, "{all:?}, with less of it {decision:?}: {source}");
    }
}

fn time(text: &str) {
    let Ok(bound) = text.parse::<Bound>() else { return };
    let at = |nanos| Some(Timestamp::from_nanos(nanos));
    for (begin, end) in [(0, 1), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN)] {
        let [since, until] = [true, false].map(|since| {
            let bound = Some(bound.clone());
            let (a, b) = if since { (bound, None) } else { (None, bound) };
            let window = Window::new(a, b, at(end));
            window.begin(|| at(begin));
            window
        });
        for start in [i64::MIN, 0, i64::MAX] {
            let [since, until] = [&since, &until].map(|window| window.decide(at(start)));
            assert!(since == Decision::Take || until == Decision::Take, "neither before nor after");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((operation, rest)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match operation {
        0 => expression(&text),
        1 => time(&text),
        _ => {
            let words = rest.iter().map(|byte| WORDS[usize::from(*byte) % WORDS.len()]);
            expression(&words.collect::<String>());
        }
    }
});
