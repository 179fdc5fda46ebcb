//! Bodies as a user sees them.

use proptest::prelude::*;

use super::*;
use crate::analyze::report::must_be_spelled;

fn shown(bytes: &[u8], content_type: &str) -> (Kind, String, String) {
    let rendered = render(bytes, Some(content_type), &Context::default());
    (rendered.kind, rendered.lines.join("\n"), rendered.notes.join("\n"))
}

/// As [`shown`], of what must have no notes.
fn clean(bytes: &[u8], content_type: &str) -> (Kind, String) {
    let (kind, lines, notes) = shown(bytes, content_type);
    assert_eq!(notes, "");
    (kind, lines)
}

#[test]
fn json_by_its_type_or_by_its_looks() {
    let expected = (Kind::Json, "{\n  \"a\": 1\n}".to_owned());
    for content_type in ["application/json; charset=utf-8", "application/problem+json", ""] {
        assert_eq!(clean(b" {\"a\":1}\r\n", content_type), expected, "{content_type}");
    }
    assert_eq!(clean("\u{feff}[]".as_bytes(), "application/json").1, "[]");
}

#[test]
fn what_is_no_json_is_text_with_the_place() {
    let (kind, lines, notes) = shown(b"{\n  \"a\": <b>\n}", "application/json");
    assert_eq!((kind, lines.as_str()), (Kind::Text, "{\n  \"a\": <b>\n}"));
    assert_eq!(notes, "no JSON: expected a value at byte 9 (line 2, column 8)");
}

#[test]
fn lines_of_json_stay_lines() {
    let (kind, lines, notes) = shown(b"{\"a\": 1}\n\n{\"a\": }\n[2]\n", "application/x-ndjson");
    assert_eq!((kind, lines.as_str()), (Kind::JsonLines, "{\"a\": 1}\n{\"a\": }\n[2]"));
    assert_eq!(notes, "line 3 is no JSON: expected a value at byte 6");
}

#[test]
fn text_keeps_its_lines_and_harms_no_terminal() {
    assert_eq!(
        clean("a\tb\r\n\x1b[31mred\u{202e}\n\nend, a line of text".as_bytes(), "text/plain").1,
        "a       b\n\\x1b[31mred\\u{202e}\n\nend, a line of text"
    );
    assert_eq!(clean(b"caf\xe9", "text/html; charset=\"ISO-8859-1\"").1, "café");
    let (kind, lines, notes) = shown(b"a line of a caf\xe9", "text/plain");
    assert_eq!((kind, lines.as_str()), (Kind::Text, "a line of a caf\\xe9"));
    assert!(notes.contains("the first at byte 15"), "{notes}");
    assert_eq!(shown(b"text", "text/plain; charset=koi8-r").2.split(' ').nth(1), Some("koi8-r"));
    assert_eq!(clean(b"data: {\"a\":1}\n\n", "text/event-stream").0, Kind::Events);
}

#[test]
fn a_form_is_a_list() {
    let form = b"name=J%C3%BCrgen+M.&empty=&flag&bad=100%&esc=%1b%00%ff";
    assert_eq!(
        clean(form, "application/x-www-form-urlencoded"),
        (
            Kind::Form,
            "name = Jürgen M.\nempty = \nflag\nbad = 100%\nesc = \\x1b\\x00\\xff".to_owned()
        )
    );
}

#[test]
fn parts_with_their_headers() {
    let body =
        b"preamble\r\n--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\ntwo\r\n\
        --x\r\nContent-Type: application/json\r\n\r\n[1]\r\n--x--\r\n";
    assert_eq!(
        clean(body, "multipart/form-data; boundary=x"),
        (
            Kind::Multipart,
            "part 1\n  Content-Disposition: form-data; name=\"a\"\n  \n  one\n  two\n\
             part 2\n  Content-Type: application/json\n  \n  [\n    1\n  ]"
                .to_owned()
        )
    );
    let (kind, _, notes) = shown(&body[..body.len() - 8], "multipart/mixed; boundary=x");
    assert_eq!(kind, Kind::Multipart);
    assert!(notes.contains("before the boundary"), "{notes}");
}

#[test]
fn what_is_no_text_is_a_dump() {
    assert_eq!(clean(b"\x89PNG\r\n\x1a\n", "image/png").0, Kind::Hex);
    let (kind, _, notes) = shown(&[0; 100], "text/plain");
    assert_eq!(kind, Kind::Hex);
    assert!(notes.starts_with("not shown as the text"), "{notes}");
    assert_eq!(clean(b"", "application/json"), (Kind::Empty, String::new()));
}

#[test]
fn limits_are_said() {
    let limits = Limits { lines: 2, columns: 3, ..Limits::default() };
    let ctx = Context { limits, ..Context::default() };
    let rendered = render(b"abcdef\nb\nc\nd\n", Some("text/plain"), &ctx);
    assert_eq!(rendered.lines, ["abc … 3 more bytes", "b", "… 2 more lines"]);
}

const TYPES: [&str; 11] = [
    "",
    "application/json",
    "application/x-ndjson",
    "text/plain; charset=latin1",
    "text/html",
    "text/event-stream",
    "application/x-www-form-urlencoded",
    "multipart/mixed; boundary=a",
    "application/grpc",
    "application/octet-stream",
    "application/xml; charset=utf-16",
];

proptest! {
    /// Whatever the bytes: bounded lines that no terminal acts on.
    #[test]
    fn any_bytes_as_anything(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[-a\r\n:{}\\[\\]\",1\u{202e}\u{1b}]{0,100}".prop_map(String::into_bytes),
        ],
        content_type in 0..TYPES.len(),
        cut: bool,
    ) {
        let limits = Limits { lines: 20, columns: 30, hex: 64, depth: 5, ..Limits::default() };
        let ctx = Context { cut, limits, ..Context::default() };
        let rendered = render(&bytes, Some(TYPES[content_type]), &ctx);
        prop_assert!(rendered.lines.len() <= 21);
        for line in rendered.lines.iter().chain(&rendered.notes) {
            prop_assert!(!line.chars().any(must_be_spelled), "{:?}", line);
        }
        for line in &rendered.lines {
            prop_assert!(line.chars().count() <= 30 + 20 + 40 * 2, "{:?}", line);
        }
    }
}
