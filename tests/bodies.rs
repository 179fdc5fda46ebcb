//! Kept bodies: what the peers sent, however it was cut; what is missing or was
//! not kept, exactly.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::model::{Act, Conversation, Step, conversations, read_packets};
use common::synth::{self, Role, Shape, Writer, Written};
use common::{in_memory, lines};
use perisco::analyze::kept::Keeping;
use perisco::analyze::limits::{Limits, SHARDS};
use perisco::analyze::options::Options;
use perisco::analyze::report::Format;
use perisco::pcap::Input;
use proptest::prelude::*;
use serde_json::{Value, json};

const OPENED: i64 = 1_700_000_000_000_000_000;

/// Options that keep so much of each body, and of all together.
fn keeping(format: Format, limit: usize, total: usize, threads: usize) -> Options {
    let bodies = Keeping { limit, total, only: None };
    let limits = Limits { bodies, ..Limits::default() };
    Options { bodies: true, limits, ..common::options(format, threads) }
}

/// All of each body, on one thread.
fn all(format: Format) -> Options {
    keeping(format, usize::MAX, usize::MAX, 1)
}

fn analyzed(capture: Vec<u8>, options: &Options) -> Vec<Value> {
    lines(&common::analyze(vec![in_memory("test.pcap", capture)], options).bytes)
}

/// The bytes of a body in a line.
fn bytes(body: &Value) -> Vec<u8> {
    match body["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD.decode(body["base64"].as_str().expect("text or base64")).expect("base64"),
    }
}

/// How a body is framed.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    /// In chunks of so many bytes.
    Chunked(usize),
}

fn framed(first: &str, body: &[u8], framing: Framing) -> Vec<u8> {
    let mut message = format!("{first}\r\nHost: shop\r\n").into_bytes();
    match framing {
        Framing::Length => {
            message.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
            message.extend_from_slice(body);
        }
        Framing::Chunked(size) => {
            message.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(size.max(1)) {
                message.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                message.extend_from_slice(chunk);
                message.extend(b"\r\n");
            }
            message.extend(b"0\r\n\r\n");
        }
    }
    message
}

/// A conversation of exchanges with these bodies, a second apart.
fn conversation(exchanges: &[([Vec<u8>; 2], Framing)]) -> Conversation {
    let mut steps = Vec::new();
    for (index, ([request, response], framing)) in exchanges.iter().enumerate() {
        let at = OPENED + (index as i64 + 1) * 1_000_000_000;
        let sent = framed(&format!("POST /{index} HTTP/1.1"), request, *framing);
        let answered = framed("HTTP/1.1 200 OK", response, *framing);
        steps.push(Step { way: 0, at, act: Act::Data(sent) });
        steps.push(Step { way: 1, at: at + 5_000_000, act: Act::Data(answered) });
    }
    let ends = ["10.0.0.1:40000", "10.0.0.2:80"].map(|end| end.parse().expect("an address"));
    Conversation { ends, opened: OPENED, steps }
}

fn written(conversation: &Conversation, shape: Shape) -> Vec<Written> {
    Writer::new(conversation, shape).write(conversation)
}

fn framings() -> impl Strategy<Value = Framing> {
    prop_oneof![Just(Framing::Length), (1..60_usize).prop_map(Framing::Chunked)]
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        "[a-zé€\n\t\"\\\\ ]{0,200}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn bodies_are_what_was_sent(
        exchanges in prop::collection::vec((prop::array::uniform2(contents()), framings()), 1..5),
        sizes in prop::collection::vec(1..200_u16, 0..6),
        join: bool,
        limit in prop_oneof![Just(usize::MAX), 0..100_usize],
    ) {
        let shape = Shape { sizes, join, ..Shape::default() };
        let capture = synth::pcap(&written(&conversation(&exchanges), shape));
        let found = analyzed(capture, &keeping(Format::Jsonl, limit, usize::MAX, 1));
        prop_assert_eq!(found.len(), exchanges.len());
        for (line, (sent, _)) in found.iter().zip(&exchanges) {
            for (body, sent) in ["request_body", "response_body"].iter().zip(sent) {
                let (body, whole) = (&line[*body], sent.len() <= limit);
                prop_assert_eq!(bytes(body), sent[..sent.len().min(limit)].to_vec());
                prop_assert_eq!(&body["whole"], &json!(whole));
                prop_assert_eq!(&body["cut"], &if whole { Value::Null } else { json!("limit") });
                prop_assert_eq!(&body["gaps"], &json!([]));
            }
        }
    }

    /// A packet of a body that was not captured: its place and length, and all else.
    #[test]
    fn a_lost_piece_says_where_and_how_long(
        body in prop::collection::vec(any::<u8>(), 400..2000),
        size in 20..200_u16,
        pick: prop::sample::Index,
    ) {
        let exchanges = [([Vec::new(), body.clone()], Framing::Length),
                         ([Vec::new(), b"next".to_vec()], Framing::Length)];
        let shape = Shape { sizes: vec![size], ..Shape::default() };
        let packets = written(&conversation(&exchanges), shape);
        let head = framed("HTTP/1.1 200 OK", &body, Framing::Length).len() - body.len();
        let inside = |packet: &Written| match &packet.role {
            Role::Payload { way: 1, offset, .. } => *offset >= head && offset + usize::from(size) < head + body.len(),
            _ => false,
        };
        let candidates: Vec<_> = (0..packets.len()).filter(|at| inside(&packets[*at])).collect();
        prop_assume!(!candidates.is_empty());
        let lost = candidates[pick.index(candidates.len())];
        let Role::Payload { offset, .. } = packets[lost].role else { unreachable!() };
        let kept: Vec<_> = packets.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, p)| p.clone()).collect();
        let found = analyzed(synth::pcap(&kept), &all(Format::Jsonl));
        let (at, len) = (offset - head, usize::from(size));
        let response = &found[0]["response_body"];
        prop_assert_eq!(&response["gaps"], &json!([{"at": at, "bytes": len}]));
        prop_assert_eq!(bytes(response), [&body[..at], &body[at + len..]].concat());
        prop_assert_eq!(&response["whole"], &json!(false));
        prop_assert_eq!(&found[0]["response_body_bytes"], &json!(body.len()));
        prop_assert_eq!(bytes(&found[1]["response_body"]), b"next");
    }
}

/// Of HTTP/2 and gRPC as well: bodies of real captures do not depend on segments.
#[test]
fn real_bodies_do_not_depend_on_segments() {
    let mut compared = 0;
    for case in common::intact_cases() {
        let Ok(conversations) = conversations(&read_packets(&case.capture)) else { continue };
        let payload: usize = conversations.iter().map(Conversation::payload).sum();
        if payload > 100_000 || conversations.len() > 8 {
            continue;
        }
        let bodies = |shape: Shape| {
            let all_of_them = conversations.iter().map(|one| written(one, shape.clone())).collect();
            let capture = synth::pcap(&synth::by_time(all_of_them));
            let mut bodies: Vec<_> = analyzed(capture, &all(Format::Jsonl))
                .into_iter()
                .map(|line| {
                    let names = ["client", "stream", "path", "request_body", "response_body"];
                    names.map(|name| line[name].to_string()).join(" ")
                })
                .collect();
            bodies.sort();
            bodies
        };
        let whole = bodies(Shape::default());
        compared += whole.len();
        for sizes in [vec![1], vec![7, 100], vec![1448]] {
            assert_eq!(bodies(Shape { sizes, ..Shape::default() }), whole, "{}", case.name);
        }
    }
    assert!(compared > 100, "only {compared} transactions");
}

#[test]
fn lengths_are_those_that_lines_say() {
    for case in common::intact_cases() {
        let found = common::analyze(vec![Input::Path(case.capture)], &all(Format::Jsonl)).bytes;
        for line in lines(&found) {
            for name in ["request_body", "response_body"] {
                let (body, size) = (&line[name], &line[format!("{name}_bytes")]);
                assert_eq!(body.is_null(), size.is_null(), "{}: {line}", case.name);
                if body["whole"] == true {
                    assert_eq!(json!(bytes(body).len()), *size, "{}: {line}", case.name);
                }
                let complete = line["completeness"] == "complete";
                assert!(!complete || body["whole"] == true, "{}: {line}", case.name);
            }
        }
    }
}

/// Nothing but the bodies is different, in any format, and nothing at all in
/// those that have none.
#[test]
fn all_else_stays_as_it_is() {
    for case in common::cases() {
        for format in Format::ALL {
            let input = || vec![Input::Path(case.capture.clone())];
            let with = common::analyze(input(), &all(format)).bytes;
            let without = common::analyze(input(), &common::options(format, 1)).bytes;
            match format {
                Format::Jsonl => {
                    let bare =
                        |line: &Value| common::without(line, &["request_body", "response_body"]);
                    let with: Vec<_> = lines(&with).iter().map(bare).collect();
                    assert_eq!(with, lines(&without), "{}", case.name);
                }
                Format::Har => {}
                _ => assert!(with == without, "{}: {format:?}", case.name),
            }
        }
    }
}

#[test]
fn any_number_of_threads() {
    for case in common::cases() {
        for (limit, total) in [(64 << 10, usize::MAX), (100, SHARDS * 150)] {
            for format in [Format::Jsonl, Format::Har] {
                let run = |threads| {
                    let options = keeping(format, limit, total, threads);
                    common::analyze(vec![Input::Path(case.capture.clone())], &options).bytes
                };
                let one = run(1);
                for threads in [2, 3, 8] {
                    assert!(run(threads) == one, "{} on {threads} threads", case.name);
                }
            }
        }
    }
}

#[test]
fn a_total_that_is_reached_is_told() {
    let body = vec![b'x'; 10_000];
    let exchanges = [([Vec::new(), body], Framing::Length)];
    let capture = synth::pcap(&written(&conversation(&exchanges), Shape::default()));
    let options = keeping(Format::Jsonl, usize::MAX, SHARDS * 4096, 1);
    let output = common::analyze(vec![in_memory("test.pcap", capture)], &options);
    let line = &lines(&output.bytes)[0];
    assert_eq!(line["response_body"]["cut"], "total-limit");
    assert_eq!(line["response_body_bytes"], 10_000);
    let limits = &output.analysis.report.loss.limits;
    assert!(
        limits.iter().any(|limit| limit.name == "bodies-total" && limit.count == 1),
        "{limits:?}"
    );
}

#[test]
fn archives_have_them() {
    let binary = b"\x00\x01\xff".to_vec();
    let exchanges = [
        ([b"a=1&b=2".to_vec(), "caf\u{e9} \u{1f600}\n".into()], Framing::Length),
        ([binary.clone(), binary.clone()], Framing::Chunked(2)),
        ([Vec::new(), Vec::new()], Framing::Length),
    ];
    let capture = synth::pcap(&written(&conversation(&exchanges), Shape::default()));
    let output = common::analyze(vec![in_memory("test.pcap", capture)], &all(Format::Har));
    let archive: Value = serde_json::from_slice(&output.bytes).expect("JSON");
    let entry = |index: usize| {
        let entry = &archive["log"]["entries"][index];
        (entry["request"]["postData"].clone(), entry["response"]["content"].clone())
    };
    let (post, content) = entry(0);
    assert_eq!((&post["text"], &post["encoding"]), (&json!("a=1&b=2"), &Value::Null));
    assert_eq!((&content["text"], &content["size"]), (&json!("café 😀\n"), &json!(11)));
    let (post, content) = entry(1);
    for one in [post, content] {
        assert_eq!((&one["text"], &one["encoding"]), (&json!("AAH/"), &json!("base64")));
        assert!(one["comment"].is_null(), "{one}");
    }
    let (post, content) = entry(2);
    assert!(post.is_null() && content["text"].is_null(), "{post} {content}");
}
