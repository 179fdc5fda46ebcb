use proptest::prelude::*;

use super::*;

fn written(lines: &[u8]) -> String {
    let mut out = b"[".to_vec();
    write(lines, &mut out);
    out.push(b']');
    String::from_utf8(out).unwrap()
}

/// The same without anything remembered.
fn plainly(lines: &[u8]) -> String {
    let mut out = b"[".to_vec();
    push_all(lines, &mut out);
    if out.len() > 1 {
        out.pop();
    }
    out.push(b']');
    String::from_utf8(out).unwrap()
}

#[test]
fn no_line_and_odd_ones() {
    assert_eq!(written(b""), "[]");
    let lines = b"A:b\r\nETag:  \"x\\y\" \r\nEmpty:\r\nName: caf\xe9\r\n";
    let json = r#"[["A","b"],["ETag","\"x\\y\""],["Empty",""],["Name","café"]]"#;
    assert_eq!(written(lines), json);
    assert_eq!(written(lines), json);
}

#[test]
fn a_value_of_the_same_length_takes_the_place_of_another() {
    let lines = |id: &str| format!("X-Id: {id}\r\nHost: a.example\r\n").into_bytes();
    // Blanks, quotes and high bytes in place of what needs no care, and back.
    for id in [
        "00001",
        "00002",
        " 0003",
        "0004 ",
        "\"0\\5\"",
        "00006",
        "\u{e9}\u{e9}7",
        "0000\"",
        "00008",
    ] {
        assert_eq!(written(&lines(id)), plainly(&lines(id)), "{id:?}");
    }
}

#[test]
fn a_kind_that_is_seen_no_more_gives_way() {
    let of = |name: char| format!("Same-Begin: 1\r\n{name}: some text\r\n{name}-{name}: 2\r\n");
    let (old, new) = (of('a'), of('b'));
    assert_eq!(place(old.as_bytes()), place(new.as_bytes()));
    written(old.as_bytes());
    for _ in 0..=PATIENCE {
        assert_eq!(written(new.as_bytes()), plainly(new.as_bytes()));
    }
    let place = place(new.as_bytes());
    SEEN.with_borrow(|seen| assert_eq!(seen[place].lines, new.as_bytes()));
}

#[test]
fn memory_is_bounded() {
    for n in 0..20_000_usize {
        // Each byte of such a value takes two.
        let lines = format!("N{n}: {}\r\n", "\u{ff}".repeat(n % 3000));
        assert_eq!(written(lines.as_bytes()), plainly(lines.as_bytes()));
    }
    SEEN.with_borrow(|seen| {
        assert_eq!(seen.len(), SLOTS);
        assert!(seen.iter().all(|s| s.lines.len() <= LINES_BYTES && s.json.len() <= JSON_BYTES));
    });
}

/// Field lines with few names and values, so that many are alike.
fn sections() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let name = prop::sample::select(vec!["Host", "Date", "X-Request-Id", "ETag"]);
    let value = prop_oneof![
        prop::sample::select(vec![&b"1"[..], b"2", b"\"", b"", b" ", b" x", b"a\xe9", b"\xc3\xa9"])
            .prop_map(<[u8]>::to_vec),
        prop::collection::vec(0x20..0x7f_u8, 0..4),
    ];
    let line =
        (name, value).prop_map(|(name, value)| [name.as_bytes(), b": ", &value, b"\r\n"].concat());
    let section = prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat());
    prop::collection::vec(section, 1..40)
}

proptest! {
    #[test]
    fn what_was_seen_before_changes_nothing(sections in sections()) {
        for lines in &sections {
            prop_assert_eq!(written(lines), plainly(lines));
        }
    }
}
