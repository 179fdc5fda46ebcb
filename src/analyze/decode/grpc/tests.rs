//! Calls as a user would see them, without a connection below.

use super::*;
use proptest::prelude::*;

fn message(head: &[(&str, &str)], trailers: &[(&str, &str)], status: Option<u16>) -> Message {
    let mut message = Message { status, end: Some(Timestamp::from_nanos(9)), ..Message::default() };
    for (name, value) in head {
        if *name == ":path" {
            message.path = Some(message.head.store(value.as_bytes()));
        } else {
            message.head.push(name.as_bytes(), value.as_bytes());
        }
    }
    for (name, value) in trailers {
        message.trailers.push(name.as_bytes(), value.as_bytes());
    }
    message
}

const REQUEST: &[(&str, &str)] =
    &[(":path", "/a.b.Greeter/SayHello"), ("content-type", "application/grpc+proto")];

fn call(response: Message) -> Transaction {
    let mut t = Transaction::new("http/2");
    let request = message(REQUEST, &[], None);
    let call = Call::detect(&request).unwrap();
    t.outcome = response.status.map_or(Outcome::Unknown, Outcome::of_status);
    t.request = Some(request);
    t.response = Some(response);
    call.finish(&mut t);
    t
}

#[test]
fn the_status_decides() {
    for (status, outcome) in [
        ("0", Outcome::Ok),
        ("1", Outcome::ClientError),
        ("4", Outcome::Timeout),
        ("5", Outcome::ClientError),
        ("14", Outcome::ServerError),
        ("99", Outcome::ServerError),
        ("zero", Outcome::Unknown),
    ] {
        let t = call(message(&[], &[("grpc-status", status)], Some(200)));
        assert_eq!(t.outcome, outcome, "{status}");
        assert_eq!(t.service(), Some(&b"a.b.Greeter"[..]));
        assert_eq!(t.rpc_method(), Some(&b"SayHello"[..]));
        let grpc = t.grpc.unwrap();
        assert_eq!(grpc.status, status.parse().ok());
        // Trailers-only.
        let t = call(message(&[("grpc-status", status)], &[], Some(200)));
        assert_eq!(t.outcome, outcome, "{status}");
    }
}

#[test]
fn no_status_is_never_ok() {
    let t = call(message(&[], &[], Some(200)));
    assert_eq!(t.outcome, Outcome::Unknown);
    assert_eq!(t.anomalies, [STATUS_MISSING]);
    assert_eq!(t.grpc.unwrap().status_name(), "unknown");
    assert_eq!(call(message(&[], &[], Some(503))).outcome, Outcome::ServerError);
    assert_eq!(call(message(&[], &[], Some(404))).outcome, Outcome::ClientError);
    assert_eq!(call(message(&[], &[], Some(302))).outcome, Outcome::Unknown);
}

#[test]
fn messages_are_percent_decoded() {
    let trailers = [("grpc-status", "5"), ("grpc-message", "no %22caf%C3%A9%22 100% %zz%ff")];
    let t = call(message(&[], &trailers, Some(200)));
    assert_eq!(t.grpc.unwrap().message.as_deref(), Some("no \"café\" 100% %zz\u{fffd}"));
}

#[test]
fn timeouts() {
    for (text, nanos) in [
        ("1H", Some(3_600_000_000_000)),
        ("2M", Some(120_000_000_000)),
        ("30S", Some(30_000_000_000)),
        ("100m", Some(100_000_000)),
        ("7u", Some(7_000)),
        ("99999999n", Some(99_999_999)),
        ("999999999n", None),
        ("99999999H", None),
        ("S", None),
        ("1x", None),
        ("", None),
        ("-1S", None),
    ] {
        assert_eq!(parse_timeout(text.as_bytes()), nanos, "{text}");
    }
}

#[test]
fn content_types() {
    for (text, expected) in [
        ("application/grpc", Some(false)),
        ("application/grpc+proto", Some(false)),
        ("Application/GRPC;charset=x", Some(false)),
        ("application/grpc-web", Some(true)),
        ("application/grpc-web-text+proto", Some(true)),
        ("application/grpcish", None),
        ("application/json", None),
        ("", None),
    ] {
        assert_eq!(content_type(text.as_bytes()), expected, "{text}");
    }
}

fn frame(flags: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![flags];
    frame.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    frame.extend(bytes);
    frame
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for group in bytes.chunks(3) {
        let mut bits = 0u32;
        for n in 0..3 {
            bits = bits << 8 | u32::from(group.get(n).copied().unwrap_or(0));
        }
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
            out.push(if n <= group.len() { digit } else { b'=' });
        }
    }
    out
}

#[test]
fn web_trailers_in_the_body_give_the_status() {
    for text in [false, true] {
        let head = [
            (":path", "/a.b.Greeter/SayHello"),
            (
                "content-type",
                if text { "application/grpc-web-text" } else { "application/grpc-web" },
            ),
        ];
        let request = message(&head, &[], None);
        let mut call = Call::detect(&request).unwrap();
        let code = |bytes: Vec<u8>| if text { base64(&bytes) } else { bytes };
        call.data(Direction::ToServer, &code(frame(0, b"hi")));
        for byte in code(frame(1, b"hello")) {
            call.data(Direction::ToClient, &[byte]);
        }
        let trailers = frame(0x80, b"grpc-status:5\r\nGrpc-Message: not%20here\r\n");
        for byte in code(trailers) {
            call.data(Direction::ToClient, &[byte]);
        }
        let mut t = Transaction::new("http/1.1");
        t.outcome = Outcome::Ok;
        t.request = Some(request);
        t.response = Some(message(&head, &[], Some(200)));
        call.finish(&mut t);
        assert_eq!(t.outcome, Outcome::ClientError);
        let compressed = ("grpc.response.compressed", Value::Number(1));
        assert!(t.attributes.contains(&compressed), "{:?}", t.attributes);
        let grpc = t.grpc.unwrap();
        assert_eq!((grpc.status, grpc.message.as_deref()), (Some(5), Some("not here")));
        assert_eq!((grpc.request_messages, grpc.response_messages), (1, 1));
        assert_eq!(grpc.kind, Some("unary"));
    }
}

#[test]
fn a_cancel_after_the_deadline_is_a_timeout() {
    let cancelled = |after: i64| {
        let head = [("content-type", "application/grpc"), ("grpc-timeout", "50m")];
        let mut request = message(&head, &[], None);
        request.start = Some(Timestamp::from_nanos(1000));
        let call = Call::detect(&request).unwrap();
        let mut t = Transaction::new("http/2");
        t.outcome = Outcome::Reset;
        t.request = Some(request);
        let at = Some(Timestamp::from_nanos(1000 + after));
        call.finish_stream(&mut t, [true, false], false, Some((Direction::ToServer, Some(8), at)));
        t.outcome
    };
    assert_eq!(cancelled(50_000_000), Outcome::Timeout);
    assert_eq!(cancelled(49_000_000), Outcome::Reset);
}

proptest! {
    /// Counts do not depend on how the bytes are split, and a gap inside a
    /// message costs nothing.
    #[test]
    fn messages_are_counted_in_any_split(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
        cut in 1usize..20,
        hole in 0usize..400,
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|m| frame(0, m)).collect();
        let mut side = Messages::new(false);
        for piece in bytes.chunks(cut) {
            side.data(piece);
        }
        prop_assert_eq!(side.count, messages.len() as u64);
        prop_assert!(side.certain && side.is_whole());
        let total: usize = messages.iter().map(Vec::len).sum();
        prop_assert_eq!(side.bytes, total as u64);

        let mut side = Messages::new(false);
        let (before, after) = bytes.split_at(hole.min(bytes.len()));
        let (lost, after) = after.split_at(cut.min(after.len()));
        side.data(before);
        if !lost.is_empty() {
            side.gap(lost.len() as u64);
        }
        side.data(after);
        prop_assert!(!side.certain || side.count == messages.len() as u64);
    }
}
