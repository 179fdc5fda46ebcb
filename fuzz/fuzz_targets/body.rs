//! Bodies: content codings off, lines of what is beneath, gRPC messages one by one.
//!
//! Input: a content coding and a content type as strings with their lengths, a byte of
//! choices (bit 0 the body is cut, bit 1 it is a gRPC body, bit 2 a message of a known
//! type, bit 3 a value of grpc-status-details-bin), then the body.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use perisco::analyze::body::grpc::{self, Piece};
use perisco::analyze::body::{Context, Limits, Rendered, Schemas, State, decode, proto, render};
use perisco_fuzz::bytes::Bytes;
use perisco_fuzz::check;

/// Small enough that they are reached.
const LIMITS: Limits = Limits {
    decoded: 16 << 10,
    codings: 3,
    lines: 200,
    columns: 100,
    hex: 512,
    depth: 12,
    parts: 8,
};

/// Characters of a line: indentation, text, and what says that it is cut.
const WIDTH: usize = 80 + LIMITS.columns + 40;

static BUILT_IN: LazyLock<Schemas> = LazyLock::new(Schemas::built_in);

fn bounded(rendered: &Rendered) {
    assert!(rendered.lines.len() <= LIMITS.lines + 1, "{} lines", rendered.lines.len());
    for line in rendered.lines.iter().chain(&rendered.notes) {
        check::terminal(line);
        assert!(!line.contains('\n'), "two lines: {line:?}");
    }
    for line in &rendered.lines {
        assert!(line.chars().count() <= WIDTH, "{} characters", line.chars().count());
    }
}

fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let [coding, content_type] =
        std::array::from_fn(|_| String::from_utf8_lossy(input.string()).into_owned());
    let choices = input.u8();
    let body = input.0;
    let message = if choices & 4 != 0 { BUILT_IN.message("google.rpc.BadRequest") } else { None };
    let cut = choices & 1 != 0;
    let ctx = Context { schemas: Some(&BUILT_IN), message, cut, limits: LIMITS };
    if choices & 8 != 0 {
        return bounded(&proto::status_details(body, &ctx));
    }
    if choices & 2 != 0 {
        let mut seen = 0;
        for piece in grpc::messages(body) {
            let (at, len) = match piece {
                Piece::Message(message) => {
                    let decoded = message.decode(Some(&coding), &LIMITS);
                    assert!(message.missing() == 0 || decoded.state != State::Whole);
                    bounded(&render(&decoded.bytes, Some(&content_type), &ctx));
                    (message.at, grpc::PREFIX + message.coded.len())
                }
                Piece::Cut { at, bytes } | Piece::Malformed { at, bytes } => (at, bytes.len()),
            };
            assert_eq!(at, seen, "each byte is in one piece");
            seen += len;
        }
        return assert_eq!(seen, body.len(), "each byte is in a piece");
    }
    let decoded = decode(body, &coding, &LIMITS);
    assert!(decoded.bytes.len() <= body.len().max(LIMITS.decoded), "a bomb");
    bounded(&render(&decoded.bytes, Some(&content_type), &ctx));
});
