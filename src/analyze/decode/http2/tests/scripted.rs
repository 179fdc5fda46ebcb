//! Hand-made connections, one rule each.

use super::*;
use crate::analyze::decode::http2::frame::PREFACE;
use crate::analyze::transaction::{Completeness, Outcome, Value};

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn preface() -> Vec<u8> {
    PREFACE.to_vec()
}

pub fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in settings {
        payload.extend(id.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(4, 0, 0, &payload)
}

/// Fields as literals without indexing.
pub fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

pub const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "h")];
pub const GRPC: &[(&str, &str)] = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/p.S/M"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
];
pub const OK: &[(&str, &str)] = &[(":status", "200")];
pub const GRPC_OK: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];

pub fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(1, flags, stream, &literals(fields))
}

pub fn up(frames: &[Vec<u8>]) -> Input {
    Input::Bytes(UP, frames.concat())
}

pub fn down(frames: &[Vec<u8>]) -> Input {
    Input::Bytes(DOWN, frames.concat())
}

pub fn begin() -> Vec<Input> {
    vec![up(&[preface(), settings(&[])]), down(&[settings(&[(3, 100)])])]
}

fn run(inputs: &[Input]) -> Vec<Transaction> {
    transactions(&[&begin()[..], inputs].concat())
}

fn one(inputs: &[Input]) -> Transaction {
    let mut all = run(inputs);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn attribute(t: &Transaction, name: &str) -> Option<String> {
    let (_, value) = t.attributes.iter().find(|(known, _)| *known == name)?;
    Some(match value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
    })
}

#[test]
fn padding_priority_and_continuation_are_unwrapped() {
    let block = literals(GET);
    let (a, b) = block.split_at(11);
    let (b, c) = b.split_at(5);
    let mut first = vec![3, 0, 0, 0, 0, 16];
    first.extend(a);
    first.extend([0; 3]);
    let t = one(&[
        up(&[frame(1, 0x28, 1, &first), frame(9, 0, 1, b)]),
        up(&[frame(9, 0, 1, &[]), frame(9, 4, 1, c), frame(0, 9, 1, &[2, b'h', b'i', 0, 0])]),
        down(&[headers(4, 1, OK), frame(0, 8, 1, &[0]), frame(0, 0, 1, b"abc")]),
        down(&[headers(5, 1, &[("x-sum", "1")])]),
    ]);
    assert_eq!(t.completeness, Completeness::Complete);
    assert_eq!(t.outcome, Outcome::Ok);
    let (request, response) = (t.request.unwrap(), t.response.unwrap());
    assert_eq!(text(&request, request.path).as_deref(), Some("/a"));
    assert_eq!((request.body_bytes, response.body_bytes), (2, 3));
    assert_eq!(response.trailers.value("x-sum"), Some(&b"1"[..]));
    let at = |n: i64| Some(Timestamp::from_nanos(n * 1000));
    assert_eq!((request.start, request.end), (at(3), at(4)));
    assert_eq!((response.start, response.end), (at(5), at(6)));
    assert_eq!((request.packet, response.packet), (3, 5));
}

#[test]
fn interim_responses_are_no_transactions() {
    let t = one(&[
        up(&[headers(5, 1, GET)]),
        down(&[headers(4, 1, &[(":status", "103"), ("link", "x")])]),
        down(&[headers(5, 1, OK)]),
    ]);
    assert_eq!(t.status(), Some(200));
    assert_eq!(attribute(&t, "http.informational").as_deref(), Some("1"));
    assert_eq!(t.response.unwrap().packet, 5);
}

#[test]
fn resets_name_code_and_sender() {
    let cancel = frame(3, 0, 1, &[0, 0, 0, 8]);
    let t = one(&[up(&[headers(5, 1, GET)]), up(std::slice::from_ref(&cancel))]);
    assert_eq!((t.outcome, t.completeness), (Outcome::Reset, Completeness::Unpaired));
    assert_eq!(attribute(&t, "http2.reset.code").as_deref(), Some("CANCEL"));
    assert_eq!(attribute(&t, "http2.reset.by").as_deref(), Some("client"));
    // In the middle of the answer, whose rest is still under way.
    let t = one(&[
        up(&[headers(5, 1, GET)]),
        down(&[headers(4, 1, OK), frame(0, 0, 1, b"x")]),
        up(&[cancel]),
        down(&[frame(0, 1, 1, b"y")]),
    ]);
    assert_eq!((t.outcome, t.completeness), (Outcome::Reset, Completeness::Truncated));
    assert_eq!(t.response.unwrap().end, None);
    // NO_ERROR after a whole answer: the request is not wanted any more.
    let t = one(&[
        up(&[headers(4, 1, GET), frame(0, 0, 1, b"x")]),
        down(&[headers(5, 1, OK), frame(3, 0, 1, &[0; 4])]),
    ]);
    assert_eq!((t.outcome, t.status()), (Outcome::Ok, Some(200)));
    assert_eq!(attribute(&t, "http2.reset.code").as_deref(), Some("NO_ERROR"));
    assert_eq!((t.completeness, t.request.unwrap().end), (Completeness::Truncated, None));
}

#[test]
fn goaway_resets_what_it_excludes() {
    let goaway = frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11, b'!']);
    let all = run(&[
        up(&[headers(5, 1, GET), headers(5, 3, GET)]),
        down(&[goaway]),
        up(&[headers(5, 5, GET)]),
        down(&[headers(5, 1, OK)]),
    ]);
    let found: Vec<_> = all.iter().map(|t| (t.stream.unwrap(), t.outcome)).collect();
    assert_eq!(found, [(3, Outcome::Reset), (5, Outcome::Reset), (1, Outcome::Ok)]);
    assert_eq!(attribute(&all[0], "http2.goaway.code").as_deref(), Some("ENHANCE_YOUR_CALM"));
    assert_eq!(attribute(&all[2], "http2.goaway.code"), None);
}

#[test]
fn pushed_requests_are_transactions() {
    let mut promise = 2u32.to_be_bytes().to_vec();
    promise.extend(literals(&[(":method", "GET"), (":path", "/style.css")]));
    let all = run(&[
        up(&[headers(5, 1, GET)]),
        down(&[frame(5, 4, 1, &promise), headers(5, 1, OK)]),
        down(&[headers(4, 2, OK), frame(0, 1, 2, b"body")]),
    ]);
    let pushed = &all[1];
    assert_eq!((pushed.stream, pushed.outcome), (Some(2), Outcome::Ok));
    assert_eq!(pushed.request_text(|m| m.path), Some(&b"/style.css"[..]));
    assert_eq!(attribute(pushed, "http2.pushed").as_deref(), Some("1"));
    assert_eq!(pushed.completeness, Completeness::Complete);
}

#[test]
fn how_connections_end_decides_open_streams() {
    let open = up(&[headers(5, 1, GET)]);
    let fin = [Input::End(DOWN, End::Fin), Input::End(UP, End::Fin)];
    let rst = [Input::End(DOWN, End::Reset(DOWN)), Input::End(UP, End::Reset(DOWN))];
    let end = |ends: &[Input], answer: &[Vec<u8>]| {
        let t = one(&[&[open.clone(), down(answer)], ends].concat());
        (t.outcome, t.completeness)
    };
    let part = [headers(4, 1, OK), frame(0, 0, 1, b"x")];
    assert_eq!(end(&fin, &[]), (Outcome::Unanswered, Completeness::Unpaired));
    assert_eq!(end(&rst, &[]), (Outcome::Reset, Completeness::Unpaired));
    assert_eq!(end(&fin, &part), (Outcome::Reset, Completeness::Truncated));
    assert_eq!(end(&[], &[]), (Outcome::Unknown, Completeness::Truncated));
    assert_eq!(end(&[], &part), (Outcome::Unknown, Completeness::Truncated));
    // The last frame is cut short: its END_STREAM never came.
    let mut cut = headers(5, 1, OK);
    cut.pop();
    assert_eq!(end(&[], &[cut]), (Outcome::Unknown, Completeness::Truncated));
}

#[test]
fn grpc_calls() {
    let message = [0, 0, 0, 0, 2, 8, 1];
    let call = |down_frames: &[Vec<u8>], ends: &[Input]| {
        let request = up(&[headers(4, 1, GRPC), frame(0, 1, 1, &message)]);
        one(&[&[request, down(down_frames)], ends].concat())
    };
    let trailers = headers(5, 1, &[("grpc-status", "0")]);
    let t = call(&[headers(4, 1, GRPC_OK), frame(0, 0, 1, &message), trailers], &[]);
    assert_eq!((t.protocol, t.outcome), ("grpc", Outcome::Ok));
    let kind = t.grpc.as_ref().unwrap().kind;
    assert_eq!((t.service(), kind), (Some(&b"p.S"[..]), Some("unary")));
    let t = call(
        &[headers(5, 1, &[(":status", "200"), ("grpc-status", "5"), ("grpc-message", "no%20x")])],
        &[],
    );
    assert_eq!(t.outcome, Outcome::ClientError);
    assert_eq!(t.grpc.unwrap().message.as_deref(), Some("no x"));
    // No trailers: the cause is what ended it, never OK.
    let begun = [headers(4, 1, GRPC_OK), frame(0, 0, 1, &message)];
    let t = call(&begun, &[Input::End(DOWN, End::Fin)]);
    assert_eq!((t.outcome, t.grpc.as_ref().unwrap().status), (Outcome::Reset, None));
    assert_eq!(attribute(&t, "connection.end").as_deref(), Some("fin"));
    let t = call(&begun, &[down(&[frame(3, 0, 1, &[0, 0, 0, 2])])]);
    assert_eq!(t.outcome, Outcome::Reset);
    assert_eq!(attribute(&t, "http2.reset.code").as_deref(), Some("INTERNAL_ERROR"));
    assert_eq!(call(&begun, &[]).outcome, Outcome::Unknown);
    let t = call(&[&begun[..], &[frame(0, 1, 1, &[])]].concat(), &[]);
    assert_eq!((t.outcome, &t.anomalies[..]), (Outcome::Unknown, &["grpc-status-missing"][..]));
}

#[test]
fn an_upgraded_request_is_stream_one() {
    let mut request = Message::default();
    request.method = Some(request.head.store(b"GET"));
    request.end = Some(Timestamp::from_nanos(1));
    request.start = request.end;
    let upgraded = |request, loss| {
        let mut decoder = http2::upgraded(request, None, loss);
        let (limits, mut output) = (Limits::default(), Output::default());
        let answer = [settings(&[(3, 1)]), headers(5, 1, OK)].concat();
        for (way, bytes) in [(DOWN, answer), (UP, preface())] {
            let chunk = Chunk { at: None, packet: 1, seq: 0, content: Content::Data(&bytes) };
            decoder.push(way, chunk, &mut Sink::new(Wants::default(), &limits, &mut output));
        }
        output.transactions.remove(0).transaction
    };
    let cut = upgraded(Message { end: None, ..request.clone() }, Some(http2::Loss::Gap));
    assert_eq!((cut.completeness, cut.outcome), (Completeness::Gap, Outcome::Ok));
    let t = upgraded(request, None);
    assert_eq!((t.stream, t.outcome, t.status()), (Some(1), Outcome::Ok, Some(200)));
    assert_eq!(t.request_text(|m| m.method), Some(&b"GET"[..]));
    assert_eq!(t.completeness, Completeness::Complete);
}

#[test]
fn floods_are_bounded_and_named() {
    let limits = Limits {
        head_bytes: 1000,
        pending_per_flow: 10,
        state_bytes_per_flow: 100_000,
        ..Limits::default()
    };
    let wants =
        Wants { headers: true, log: true, conformance: false, bodies: false, pauses: false };
    // CONTINUATION without end.
    let mut inputs = begin();
    inputs.push(up(&[headers(1, 1, GET)]));
    inputs.extend((0..1000).map(|_| up(&[frame(9, 0, 1, &literals(&[("x", &"y".repeat(99))]))])));
    inputs.push(up(&[frame(9, 4, 1, &[])]));
    inputs.push(down(&[headers(5, 1, OK)]));
    let output = decode(&inputs, [false; 2], &limits, wants);
    let t = &output.transactions[0].transaction;
    assert_eq!(t.anomalies, ["limit-head-bytes"]);
    assert_eq!(t.completeness, Completeness::Truncated);
    assert!(t.memory() < 10_000);
    // One byte of block for each copy of a large entry.
    let mut block = vec![0x40, 1, b'x', 0x7f, 0xd1, 0x06];
    block.extend([b'y'; 976]);
    let mut inputs = begin();
    inputs.push(up(&[frame(1, 5, 1, &block[..]), frame(1, 5, 3, &[0xbe; 999])]));
    let output = decode(&inputs, [false; 2], &limits, wants);
    assert!(output.transactions.iter().all(|f| f.transaction.memory() < 10_000));
    assert!(output.events.iter().map(|(e, _)| e.text.len()).sum::<usize>() < 10_000);
    // Streams that are never answered.
    let mut inputs = begin();
    inputs.extend((0..1000).map(|n| up(&[headers(5, 2 * n + 1, GET)])));
    let output = decode(&inputs, [false; 2], &limits, wants);
    assert_eq!(output.transactions.len(), 1000);
    let given_up = &output.transactions[0].transaction;
    assert_eq!(given_up.anomalies, ["limit-pending-per-flow"]);
    assert_eq!(given_up.outcome, Outcome::Unknown);
    assert_eq!(given_up.completeness, Completeness::Truncated);
}

#[test]
fn conformance_says_what_an_endpoint_refuses() {
    let wants = Wants { conformance: true, ..Wants::default() };
    let mut inputs = begin();
    inputs.push(up(&[headers(5, 1, &[(":method", "GET"), ("connection", "close")])]));
    inputs.push(up(&[frame(6, 0, 0, b"short")]));
    inputs.push(up(&[frame(6, 0, 0, b"again")]));
    let output = decode(&inputs, [false; 2], &Limits::default(), wants);
    let found: Vec<_> = output.findings.iter().map(|(_, at, what)| (*at, &what[..30])).collect();
    assert_eq!(
        found,
        [(3, "stream error PROTOCOL_ERROR on"), (4, "connection error PROTOCOL_ERRO")]
    );
}

#[test]
fn the_log_shows_frames_and_fields() {
    let wants = Wants { log: true, ..Wants::default() };
    let inputs = [
        begin(),
        vec![up(&[headers(5, 1, GET)]), down(&[headers(4, 1, OK), frame(0, 1, 1, b"hi\n")])],
    ]
    .concat();
    let output = decode(&inputs, [false; 2], &Limits::default(), wants);
    let lines: Vec<_> = output.events.iter().map(|(event, _)| event.text.as_str()).collect();
    assert_eq!(
        lines,
        [
            "SETTINGS stream=0 len=0",
            "SETTINGS stream=0 len=6 MAX_CONCURRENT_STREAMS=100",
            "HEADERS END_STREAM|END_HEADERS stream=1 len=51",
            "  :method: GET",
            "  :scheme: http",
            "  :path: /a",
            "  :authority: h",
            "HEADERS END_HEADERS stream=1 len=13",
            "  :status: 200",
            "DATA END_STREAM stream=1 len=3 hi\\n",
        ]
    );
}

#[test]
fn error_names_are_those_of_h2() {
    for code in 0..14 {
        let name = crate::analyze::decode::http2::frame::error_name(code);
        assert_eq!(name, format!("{:?}", h2::Reason::from(code)));
    }
    assert_eq!(crate::analyze::decode::http2::frame::error_name(99), "CODE_99");
}

#[test]
fn frames_behind_the_end_of_a_message_change_nothing() {
    let t = one(&[
        up(&[headers(5, 1, GET), headers(5, 1, &[("x", "late")]), frame(0, 1, 1, b"late")]),
        down(&[headers(5, 1, OK)]),
    ]);
    let request = t.request.unwrap();
    assert_eq!((request.body_bytes, request.trailers.len()), (0, 0));
    assert_eq!(t.anomalies, ["http2-stray-frame"]);
}

#[test]
fn a_preface_that_is_none_is_the_same_in_pieces() {
    let client = [&PREFACE[..19], &headers(5, 1, GET)].concat();
    let answer = down(&[settings(&[]), headers(5, 1, OK)]);
    for pieces in [1, 7, client.len()] {
        let inputs: Vec<_> = client.chunks(pieces).map(|part| up(&[part.to_vec()])).collect();
        let inputs = [&inputs[..], std::slice::from_ref(&answer)].concat();
        let output = decode(&inputs, [false; 2], &Limits::default(), Wants::default());
        assert_eq!(output.anomalies, [("http2-no-preface", 1)], "{pieces}");
        let t = &output.transactions[0].transaction;
        assert_eq!((t.outcome, t.completeness), (Outcome::Ok, Completeness::Complete), "{pieces}");
    }
}

/// No byte is known to be missing, and still a head was not seen.
#[test]
fn a_message_without_its_head_is_not_complete() {
    let message = [0, 0, 0, 0, 2, 8, 1];
    let t = one(&[
        up(&[frame(0, 1, 1, &message)]),
        down(&[headers(4, 1, GRPC_OK), headers(5, 1, &[("grpc-status", "0")])]),
    ]);
    assert_eq!((t.outcome, t.completeness), (Outcome::Ok, Completeness::Gap));
    assert_eq!(t.anomalies, ["http2-data-before-headers"]);
    let t = one(&[up(&[headers(5, 1, GET)]), down(&[frame(0, 1, 1, b"x")])]);
    assert_eq!((t.outcome, t.completeness), (Outcome::Unknown, Completeness::Gap));
}

/// A call whose head came before the capture, or whose names did, is not OK
/// because HTTP says 200.
#[test]
fn what_may_be_a_call_is_not_ok() {
    let inputs = [
        up(&[headers(5, 3, &GRPC[..3])]),
        // Content-type and trailers as entries from before the capture.
        down(&[frame(1, 4, 3, &[0x88, 0xbe]), frame(0, 0, 3, b"x"), frame(1, 5, 3, &[0xbf])]),
    ];
    let output = decode(&inputs, [true; 2], &Limits::default(), Wants::default());
    let t = &output.transactions[0].transaction;
    assert_eq!((t.status(), t.outcome), (Some(200), Outcome::Unknown));
    assert_eq!(t.completeness, Completeness::LateJoin);
}
