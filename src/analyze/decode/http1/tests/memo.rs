//! The fast readers of plain heads against the slow parsers, whatever heads
//! were read before.

use proptest::prelude::*;

use super::super::head::{FieldLines, Parsed, parse_request, parse_response, slots};
use super::*;
use crate::analyze::fields::Fields;

/// Field lines of the kind that matters and of others, mostly plain.
fn field() -> impl Strategy<Value = String> {
    let value = "[ -~]{0,40}";
    prop_oneof![
        ("[A-Za-z-]{1,12}", ": ?", value).prop_map(|(name, colon, value)| name + &colon + &value),
        "(Host|host|Upgrade|Content-Type|X-Id): [a-z]{1,3}",
        "(Content-Length|CONTENT-LENGTH): ?[0-9]{1,3}(, 7)?",
        "Content-Type: (text/html|application/json|Application/grpc-web\\+proto)",
        "(Transfer-Encoding|HTTP2-Settings|Sec-WebSocket-Extensions): (chunked|permessage-deflate)",
        Just("Cookie: ".to_owned() + &"c=1; ".repeat(30)),
    ]
}

/// Plain heads that repeat each other in part, some with a byte replaced.
fn heads(first: &'static str) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let section = prop::collection::vec(field(), 0..8);
    let change = (any::<prop::sample::Index>(), field());
    let byte = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    let changes = prop::collection::vec((change, byte), 1..12);
    (section, changes).prop_map(move |(mut section, changes)| {
        let mut all = Vec::new();
        for ((at, field), byte) in changes {
            let lines = section.iter().map(|line| format!("{line}\r\n"));
            let mut head = format!("{first}\r\n{}\r\nrest", lines.collect::<String>()).into_bytes();
            if let Some((at, byte)) = byte {
                let at = at.index(head.len() - 4);
                head[at] = byte;
            }
            all.push(head);
            if !section.is_empty() {
                let at = at.index(section.len());
                section[at] = field;
            }
        }
        all
    })
}

/// A first line, and the fields as they are kept.
fn shown(line: impl std::fmt::Debug, lines: &FieldLines<'_, '_>) -> String {
    let mut fields = Fields::default();
    lines.keep(&mut fields);
    format!("{line:?} {:?}", fields.iter().collect::<Vec<_>>())
}

/// What is there, what the fields say and the length, by the fast readers.
fn fast(input: &[u8], request: bool) -> Option<(String, Facts<'_>, usize)> {
    let (line, rest) = if request {
        let (line, rest) = scan::request_line(input)?;
        (format!("{line:?}"), rest)
    } else {
        let (line, rest) = scan::status_line(input)?;
        (format!("{line:?}"), rest)
    };
    let mut facts = Facts::default();
    let len = read(rest, &mut facts)?;
    let line = shown(format_args!("{line}"), &FieldLines::Plain(&rest[..len]));
    Some((line, facts, input.len() - rest.len() + len))
}

/// The same by the slow parsers, and whether the head is malformed.
fn slow(input: &[u8], request: bool) -> Option<((String, Facts<'_>, usize), bool)> {
    let mut slots = slots();
    if request {
        let Ok(Parsed::Complete(head, len)) = parse_request(input, &mut slots) else { return None };
        Some(((shown(head.line, &head.fields), Facts::of(&head.fields), len), head.malformed))
    } else {
        let Ok(Parsed::Complete(head, len)) = parse_response(input, &mut slots) else {
            return None;
        };
        Some(((shown(head.line, &head.fields), Facts::of(&head.fields), len), head.malformed))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn read_fast_or_slowly_heads_say_the_same(
        requests in heads("GET /a?b=%20 HTTP/1.1"),
        responses in heads("HTTP/1.1 200 Fine it is"),
    ) {
        let requests = requests.iter().map(|head| (head, true));
        for (head, request) in requests.chain(responses.iter().map(|head| (head, false))) {
            if let Some(fast) = fast(head, request) {
                prop_assert_eq!(Some((fast, false)), slow(head, request));
            }
        }
    }

    /// Heads like those of real peers: an id, a date or a length differ, and
    /// now and then a byte anywhere.
    #[test]
    fn values_that_vary_say_the_same(
        heads in prop::collection::vec(
            ("[a-c]{4}|[a-c ]{4}|[a-c]{3}", "[0-1]{2}", "[0-9]", "[a-b]",
             prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()))),
            1..30,
        ),
        host: bool,
    ) {
        for (id, date, length, cookie, byte) in heads {
            let host = if host { "Host: a.example\r\n" } else { "" };
            let mut head = format!(
                "HTTP/1.1 200 OK\r\nServer: one\r\nX-Request-Id: {id}\r\n{host}Date: {date}\r\n\
                 Content-Length: {length}\r\nVary: accept-encoding\r\nCookie:{cookie}\r\n\r\nbody",
            )
            .into_bytes();
            if let Some((at, byte)) = byte {
                let at = at.index(head.len() - 4);
                head[at] = byte;
            }
            if let Some(fast) = fast(&head, false) {
                prop_assert_eq!(Some((fast, false)), slow(&head, false));
            }
        }
    }

    #[test]
    fn plain_heads_are_read_fast(
        method in "(GET|POST|HEAD|X!)",
        target in "[!-~]{1,20}",
        name in "[A-Za-z-]{1,12}",
        value in "[ -~]{0,20}",
    ) {
        let head = format!("{method} {target} HTTP/1.1\r\n{name}:{value}\r\n\r\n");
        prop_assert_eq!(fast(head.as_bytes(), true).map(|(.., len)| len), Some(head.len()));
    }
}

#[test]
fn a_section_that_repeats_is_found() {
    let section =
        |id: &str| format!("Id: {id}\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
    for id in ["1", "1", "2", "345", "345", "6789"] {
        let section = section(id);
        let mut facts = Facts::default();
        assert_eq!(read(section.as_bytes(), &mut facts), Some(section.len() - 5));
        assert_eq!(facts.host, Some(&b"a.example"[..]));
        assert_eq!(facts.length, super::super::body::Length::Bytes(5));
    }
    assert_eq!(read(&section("1").as_bytes()[..20], &mut Facts::default()), None);
}
