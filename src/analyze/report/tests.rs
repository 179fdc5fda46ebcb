use proptest::prelude::*;
use serde_json::Value as Json;

use super::fixture::*;
use super::*;
use crate::analyze::transaction::{Message, Transaction};

/// The field names of a line, in the documented order.
const FIELDS: [&str; 33] = [
    "protocol",
    "client",
    "server",
    "connection",
    "stream",
    "method",
    "scheme",
    "authority",
    "path",
    "status",
    "grpc",
    "start",
    "request_end",
    "response_start",
    "response_end",
    "latency_ns",
    "duration_ns",
    "request_body_bytes",
    "response_body_bytes",
    "request_headers",
    "response_headers",
    "request_trailers",
    "response_trailers",
    "outcome",
    "completeness",
    "anomalies",
    "interface",
    "comment",
    "attributes",
    "process",
    "container",
    "id",
    "names",
];

fn report_of(items: &[Placed], flows: &[FlowTotals], capture: CaptureTotals) -> Report {
    let mut aggregate = Aggregate::default().timed(true);
    items.iter().for_each(|placed| aggregate.add(&placed.item()));
    flows.iter().for_each(|flow| aggregate.add_flow(flow));
    aggregate.finish(capture)
}

fn lines(headers: bool) -> String {
    let mut out = Vec::new();
    for placed in everything() {
        jsonl::write(&placed.item(), Parts { headers, bodies: false }, &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn jsonl_with_headers() {
    insta::assert_snapshot!(lines(true));
}

#[test]
fn jsonl_without_headers() {
    insta::assert_snapshot!(lines(false));
}

#[test]
fn jsonl_fields_come_in_the_documented_order() {
    for (headers, count) in [(true, 33), (false, 29)] {
        for line in lines(headers).lines() {
            let parsed: Json = serde_json::from_str(line).unwrap();
            assert_eq!(parsed.as_object().unwrap().len(), count);
            let mut from = 0;
            for name in FIELDS {
                let list = name.ends_with("_headers") || name.ends_with("_trailers");
                assert_eq!(parsed.get(name).is_some(), headers || !list, "{name}");
                if headers || !list {
                    let key = format!("\"{name}\":");
                    from += line[from..].find(&key).unwrap_or_else(|| panic!("{name}: {line}"));
                }
            }
        }
    }
}

#[test]
fn jsonl_says_what_was_not_seen() {
    let text = lines(true);
    let parsed: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let unknown = &parsed[6];
    assert_eq!(unknown["grpc"]["status"], Json::Null);
    assert_eq!(unknown["grpc"]["status_name"], "unknown");
    assert_eq!(unknown["outcome"], "unknown");
    let hostile = &parsed[8];
    assert_eq!(hostile["authority"], "Höst\u{0}");
    assert_eq!(hostile["request_headers"][2][1], "café\r\n\u{9b}\u{7f}");
    assert_eq!(hostile["request_headers"][3], serde_json::json!(["?n3", null]));
    let unpaired = &parsed[9];
    for name in ["start", "method", "path", "request_body_bytes", "latency_ns"] {
        assert_eq!(unpaired[name], Json::Null, "{name}");
    }
    assert_eq!(unpaired["response_body_bytes"], 0);
    assert_eq!(unpaired["request_headers"], serde_json::json!([]));
}

#[test]
fn csv_rows() {
    let mut out = Vec::new();
    csv::write_header(&mut out);
    for placed in everything() {
        csv::write(&placed.item(), &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    for (count, row) in parse_csv(&text).iter().map(|row| (row.len(), row)) {
        assert_eq!(count, csv::COLUMNS.len(), "{row:?}");
    }
    insta::assert_snapshot!(text.replace("\r\n", "<CRLF>\n"));
}

/// What spreadsheets take for the begin of a formula.
const FORMULA: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

#[test]
fn csv_cells_are_no_formulas_and_drive_no_terminal() {
    let cell = |path: &[u8]| {
        let mut transaction = http1("GET", "/", 200, 0, 1);
        let message = transaction.request.as_mut().unwrap();
        message.path = Some(message.head.store(path));
        let mut out = Vec::new();
        csv::write(&placed(transaction, 1, 0).item(), &mut out);
        parse_csv(&String::from_utf8(out).unwrap()).remove(0).remove(8)
    };
    for (path, expected) in [
        (&b"=cmd|' /C calc'!A0"[..], "'=cmd|' /C calc'!A0"),
        (b"+1", "'+1"),
        (b"-1", "'-1"),
        (b"@SUM(1)", "'@SUM(1)"),
        (b"\t=1", "\\t=1"),
        (b"\r\n=1", "\\r\\n=1"),
        ("\u{ff1d}1".as_bytes(), "'\u{ff1d}1"),
        // Whoever takes the first one off has what was sent.
        (b"'=1", "''=1"),
        (b"", ""),
        (b"/a=b\"c", "/a=b\"c"),
        (b"\x1b[2J\x9b1m\xe9", "\\x1b[2J\\x9b1mé"),
        ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
    ] {
        assert_eq!(cell(path), expected, "{path:?}");
    }
}

/// A strict reader of RFC 4180.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let field = rows.last_mut().unwrap().last_mut().unwrap();
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.push(chars.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => rows.last_mut().unwrap().push(String::new()),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                if chars.peek().is_some() {
                    rows.push(vec![String::new()]);
                }
            }
            c => field.push(c),
        }
    }
    assert!(!quoted);
    rows
}

#[test]
fn log_lines() {
    let line = |at, kind, text| LogLine {
        at,
        server: "10.0.0.2:80".parse().unwrap(),
        client: "[2001:db8::1]:40000".parse().unwrap(),
        kind,
        text,
    };
    let all = [
        line(at(0), LogKind::Conn, "http/1"),
        line(at(1), LogKind::Request, "HTTP/1.1 api.example.com GET /\x1b[2J\nfake"),
        line(None, LogKind::Response, "HTTP/1.1 200"),
        line(at(2), LogKind::Close, ""),
    ];
    let written = |color: bool| {
        let mut out = Vec::new();
        all.iter().for_each(|line| line.write(color, &mut out));
        String::from_utf8(out).unwrap()
    };
    insta::assert_snapshot!(written(false));
    insta::assert_snapshot!("log_lines_in_colour", written(true).replace('\x1b', "<ESC>"));
}

#[test]
fn json_report() {
    let mut out = Vec::new();
    json::write(&report_of(&everything(), &flows(), capture()), &mut out).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn text_report_by_columns() {
    let report = report_of(&everything(), &flows(), capture());
    for width in [80, 120, 160] {
        let text = text::render(&report, Style { width, ..Style::default() });
        insta::assert_snapshot!(format!("text_report_at_{width}"), text);
    }
    let painted = text::render(&report, Style { color: true, ..Style::default() });
    insta::assert_snapshot!("text_report_in_colour", painted.replace('\x1b', "<ESC>"));
    let style = Style { ascii: true, width: 160, ..Style::default() };
    let ascii = text::render(&report, style);
    assert!(ascii.is_ascii(), "{ascii}");
    insta::assert_snapshot!("text_report_in_ascii", ascii);
}

#[test]
fn text_report_of_a_clean_capture() {
    let clean: Vec<_> = flows().into_iter().filter(|flow| flow.gaps == [0; 3]).collect();
    let report = report_of(&everything()[..5], &clean, clean_capture());
    assert!(report.loss.none_known);
    insta::assert_snapshot!(text::render(&report, Style::default()));
}

#[test]
fn text_report_without_http() {
    let flows: Vec<_> = (0..12).map(|n| flow(n, (n < 10).then_some("tls"))).collect();
    let report = report_of(&[], &flows, clean_capture());
    insta::assert_snapshot!(text::render(&report, Style::default()));
    let nothing = report_of(&[], &[], CaptureTotals::default());
    insta::assert_snapshot!("text_report_of_nothing", text::render(&nothing, Style::default()));
}

#[test]
fn loss_comes_first_and_coverage_is_never_rounded_up() {
    let mut flows = flows();
    flows[0].payload_bytes = [0, 1_000_000_000];
    let report = report_of(&everything(), &flows, clean_capture());
    let text = text::render(&report, Style::default());
    assert!(text.starts_with("9,652 BYTES ARE MISSING"), "{text}");
    assert!(text.contains("99.9990%") && !text.contains("100% of"), "{text}");
    assert_eq!(report.loss.gap_bytes, 9652);
}

#[test]
fn the_first_line_names_the_worst() {
    let first = |capture: CaptureTotals| {
        let report = report_of(&everything()[..2], &[], capture);
        text::render(&report, Style::default()).lines().next().unwrap().to_owned()
    };
    let clean = clean_capture;
    assert!(first(clean()).starts_with("2 transactions"));
    assert!(first(CaptureTotals { drops: 1, ..clean() }).starts_with("PACKETS ARE MISSING"));
    let limits = vec![("--flows", 3)];
    assert!(first(CaptureTotals { limits, ..clean() }).starts_with("LIMITS WERE REACHED"));
    let damage = capture().damage;
    assert!(first(CaptureTotals { damage, ..clean() }).starts_with("THE CAPTURE IS DAMAGED:"));
}

#[test]
fn the_documentation_lists_what_is_written() {
    let docs = include_str!("../../../docs/output.md");
    assert!(docs.contains(&format!("`{}`", csv::COLUMNS.join(","))));
    let mut from = 0;
    for name in FIELDS {
        let row = format!("\n| `{name}` |");
        from += docs[from..].find(&row).unwrap_or_else(|| panic!("{name} is not in its place"));
    }
    let report = serde_json::to_value(report_of(&everything(), &flows(), capture())).unwrap();
    let layout = &docs[docs.find("\n## json\n").unwrap()..];
    let objects = [&report, &report["capture"], &report["loss"], &report["flows"]];
    let rows = [&report["endpoints"][0], &report["slowest"][0], &report["edges"][0]];
    for object in objects.into_iter().chain(rows).chain([&report["findings"]["listed"][0]]) {
        for name in object.as_object().unwrap().keys() {
            assert!(layout.contains(&format!("`{name}`")), "{name} is not documented");
        }
    }
}

#[test]
fn shards_and_sorters_may_move_between_threads() {
    fn movable<T: Send>() {}
    movable::<Aggregate>();
    movable::<Sorter>();
}

/// A message of arbitrary bytes.
/// More than any capture holds. Tables are laid out for less: with sums beyond
/// the range of u64 every cell would be as wide as it can be at once.
const PETABYTE: u64 = 1_000_000_000_000_000;

fn any_message() -> impl Strategy<Value = Message> {
    let text = || prop::collection::vec(any::<u8>(), 0..80);
    let time = || prop::option::of(any::<i64>().prop_map(Timestamp::from_nanos));
    (text(), text(), text(), text(), time(), time(), 0..PETABYTE, any::<Option<u16>>()).prop_map(
        |(method, authority, path, value, start, end, body_bytes, status)| {
            let mut message = Message { start, end, body_bytes, status, ..Message::default() };
            message.method = Some(message.head.store(&method));
            message.authority = Some(message.head.store(&authority));
            message.path = Some(message.head.store(&path));
            message.head.push(&method, &value);
            message.trailers.push_unknown(&value);
            message
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was on the wire: lines parse, text is safe and fits.
    #[test]
    fn any_bytes_print_safely(
        messages in prop::collection::vec((prop::option::of(any_message()), prop::option::of(any_message())), 0..12),
        width in 80..200_usize,
    ) {
        let all: Vec<_> = messages.into_iter().enumerate().map(|(n, (request, response))| {
            let mut transaction = Transaction::new("http/1.1");
            (transaction.request, transaction.response) = (request, response);
            transaction.outcome = crate::analyze::transaction::Outcome::ALL[n % 7];
            placed(transaction, n as u64 % 4, n as u64)
        }).collect();
        for placed in &all {
            let mut out = Vec::new();
            jsonl::write(&placed.item(), Parts { headers: true, bodies: false }, &mut out);
            let line = String::from_utf8(out).unwrap();
            prop_assert!(line.ends_with('\n') && !line.trim_end_matches('\n').chars().any(char::is_control));
            let parsed: Json = serde_json::from_str(&line).unwrap();
            let path = placed.transaction.request_text(|m| m.path).map(write::text_of);
            prop_assert_eq!(parsed["path"].as_str(), path.as_deref());
            let mut out = Vec::new();
            csv::write(&placed.item(), &mut out);
            let rows = parse_csv(&String::from_utf8(out).unwrap());
            prop_assert_eq!(rows.len(), 1);
            prop_assert_eq!(rows[0].len(), csv::COLUMNS.len());
            let expected = text::escape(&path.unwrap_or_default());
            let found = rows[0][8].strip_prefix('\'').unwrap_or(&rows[0][8]);
            prop_assert_eq!(found, expected);
            prop_assert!(!rows[0].iter().any(|cell| cell.chars().any(char::is_control)));
            prop_assert!(!rows[0].iter().any(|cell| cell.starts_with(FORMULA)), "{rows:?}");
        }
        let report = report_of(&all, &flows(), capture());
        let mut out = Vec::new();
        json::write(&report, &mut out).unwrap();
        let document = String::from_utf8(out).unwrap();
        prop_assert!(!document.replace('\n', "").chars().any(char::is_control));
        let parsed: Json = serde_json::from_str(&document).unwrap();
        prop_assert_eq!(&parsed["transactions"]["count"], &Json::from(all.len()));
        let text = text::render(&report, Style { width, ..Style::default() });
        for line in text.lines() {
            prop_assert!(unicode_width::UnicodeWidthStr::width(line) <= width, "{line}");
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
}
