//! Header blocks as a user would see them: RFC 7541 appendix C, a plain
//! encoder of our own, and what is left after a join.

use proptest::prelude::*;

use super::*;

type Owned = (String, Option<Vec<u8>>);

fn decode(decoder: &mut Decoder, block: &[u8]) -> (Vec<Owned>, Result<(), HpackError>) {
    let mut fields = Vec::new();
    let result = decoder.decode(block, &mut |field| {
        let name = match field.name {
            Name::Known(name) => String::from_utf8_lossy(name).into_owned(),
            Name::Unknown(id) => format!("?n{id}"),
        };
        fields.push((name, field.value.map(<[u8]>::to_vec)));
    });
    (fields, result)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn lines(fields: &[Owned]) -> Vec<String> {
    let value = |v: &Option<Vec<u8>>| match v {
        Some(v) => String::from_utf8_lossy(v).into_owned(),
        None => "(unknown)".to_owned(),
    };
    fields.iter().map(|(name, v)| format!("{name}: {}", value(v))).collect()
}

fn check(blocks: &[(&str, &str)], max: Option<usize>) {
    let mut decoder = Decoder::new(false);
    if let Some(max) = max {
        decoder.table.resize(max);
    }
    for (block, expected) in blocks {
        let (fields, result) = decode(&mut decoder, &hex(block));
        assert_eq!(result, Ok(()), "{block}");
        assert_eq!(lines(&fields), expected.split('|').collect::<Vec<_>>());
    }
}

/// RFC 7541 appendix C.2: one representation each.
#[test]
fn single_fields() {
    let custom = "custom-key: custom-header";
    check(&[("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", custom)], None);
    check(&[("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path")], None);
    check(&[("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret")], None);
    check(&[("82", ":method: GET")], None);
}

const REQUESTS: [&str; 3] = [
    ":method: GET|:scheme: http|:path: /|:authority: www.example.com",
    ":method: GET|:scheme: http|:path: /|:authority: www.example.com|cache-control: no-cache",
    ":method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|custom-key: custom-value",
];

/// RFC 7541 appendices C.3 and C.4.
#[test]
fn requests() {
    check(
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUESTS[0]),
            ("8286 84be 5808 6e6f 2d63 6163 6865", REQUESTS[1]),
            (
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                REQUESTS[2],
            ),
        ],
        None,
    );
    check(
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUESTS[0]),
            ("8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1]),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUESTS[2]),
        ],
        None,
    );
}

/// RFC 7541 appendices C.5 and C.6: a table of 256 bytes evicts.
#[test]
fn responses_with_eviction() {
    let first = ":status: 302|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com";
    let second = ":status: 307|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com";
    let third = ":status: 200|cache-control: private|date: Mon, 21 Oct 2013 20:13:22 GMT|location: https://www.example.com|content-encoding: gzip|set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    check(
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                first,
            ),
            ("4883 640e ffc1 c0bf", second),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                third,
            ),
        ],
        Some(256),
    );
}

#[test]
fn a_join_shows_unknown_and_never_a_wrong_value() {
    let mut decoder = Decoder::new(true);
    // Indexed 62 and 63 before the join; a literal whose name is entry 62;
    // then the same entries again, one further back.
    let (fields, result) = decode(&mut decoder, &hex("82 be bf 7e 01 61 be c0 bf be"));
    assert_eq!(result, Ok(()));
    assert_eq!(
        lines(&fields),
        [
            ":method: GET",
            "?n0: (unknown)",
            "?n1: (unknown)",
            "?n0: a",
            "?n0: a",
            "?n1: (unknown)",
            "?n0: (unknown)",
            "?n0: a"
        ]
    );
    // Lost bytes: same indices, other entries, other ids.
    decoder.invalidate();
    let (fields, _) = decode(&mut decoder, &hex("be bf"));
    assert_eq!(lines(&fields), ["?n2: (unknown)", "?n3: (unknown)"]);
}

#[test]
fn a_size_update_to_zero_makes_the_table_known_again() {
    let mut decoder = Decoder::new(true);
    let (fields, result) = decode(&mut decoder, &hex("20 3f e1 1f 82 be"));
    assert_eq!(lines(&fields), [":method: GET"]);
    assert_eq!(result, Err(HpackError::Index(62)));
}

#[test]
fn bad_blocks_keep_what_came_before() {
    for (block, error) in [
        ("82 80", HpackError::Index(0)),
        ("82 be", HpackError::Index(62)),
        ("82 ff ff ff ff ff ff 0f", HpackError::Integer),
        ("82 ff ff ff ff ff ff ff ff", HpackError::Integer),
        ("82 20", HpackError::LateSizeUpdate),
        ("82 40 03 61", HpackError::Truncated),
        ("82 40 81 ff 01 61", HpackError::Huffman),
        ("82 44", HpackError::Truncated),
        ("82 ff", HpackError::Truncated),
    ] {
        let mut decoder = Decoder::new(false);
        let (fields, result) = decode(&mut decoder, &hex(block));
        assert_eq!((lines(&fields), result), (vec![":method: GET".to_owned()], Err(error)));
        // What follows refers to entries that may or may not be there.
        let (fields, result) = decode(&mut decoder, &hex("be"));
        assert_eq!((lines(&fields), result), (vec!["?n0: (unknown)".to_owned()], Ok(())));
    }
}

#[test]
fn memory_stays_bounded_whatever_is_inserted() {
    let mut decoder = Decoder::new(false);
    // A table of 4 GiB, asked for by the encoder.
    let (_, result) = decode(&mut decoder, &hex("3f e0 ff ff ff 0f"));
    assert_eq!(result, Ok(()));
    let mut block = vec![0x40, 1, b'a', 0x7f, 0x81, 0x07];
    block.extend(std::iter::repeat_n(b'x', 1024));
    for _ in 0..4096 {
        assert_eq!(decode(&mut decoder, &block).1, Ok(()));
    }
    assert!(decoder.memory() < 2 << 20, "{}", decoder.memory());
    // An entry that was given up is unknown, not wrong.
    let (fields, result) = decode(&mut decoder, &hex("be ff e1 0f"));
    assert_eq!(result, Ok(()));
    assert_eq!(fields.first().and_then(|f| f.1.as_ref().map(Vec::len)), Some(1024));
    assert_eq!(fields.get(1).and_then(|f| f.1.clone()), None);
}

/// An encoder that picks among all representations as told.
#[derive(Default)]
struct Encoder {
    table: Vec<(Vec<u8>, Vec<u8>)>,
    max: usize,
}

impl Encoder {
    fn field(&mut self, name: &[u8], value: &[u8], how: u8, out: &mut Vec<u8>) {
        let all = |table: &[(Vec<u8>, Vec<u8>)]| -> Vec<(Vec<u8>, Vec<u8>)> {
            let fixed = static_table::ENTRIES.iter();
            let fixed = fixed.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
            fixed.chain(table.iter().rev().cloned()).collect()
        };
        let known = all(&self.table);
        let whole = known.iter().position(|(n, v)| n == name && v == value);
        let same_name = known.iter().rposition(|(n, _)| n == name);
        if let (Some(at), true) = (whole, how & 3 != 3) {
            return int(0x80, 7, at + 1, out);
        }
        let insert = how & 4 != 0;
        let (first, bits) = if insert { (0x40, 6) } else { (u8::from(how & 8 != 0) * 0x10, 4) };
        match same_name.filter(|_| how & 16 != 0) {
            Some(at) => int(first, bits, at + 1, out),
            None => {
                int(first, bits, 0, out);
                text(name, how & 32 != 0, out);
            }
        }
        text(value, how & 64 != 0, out);
        if insert {
            self.table.push((name.to_vec(), value.to_vec()));
            self.evict();
        }
    }

    fn evict(&mut self) {
        let size = |t: &[(Vec<u8>, Vec<u8>)]| -> usize {
            t.iter().map(|(n, v)| n.len() + v.len() + 32).sum()
        };
        while size(&self.table) > self.max {
            self.table.remove(0);
        }
    }

    fn resize(&mut self, max: usize, out: &mut Vec<u8>) {
        self.max = max;
        self.evict();
        int(0x20, 5, max, out);
    }
}

fn int(first: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        return out.push(first | value as u8);
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn text(text: &[u8], huffman: bool, out: &mut Vec<u8>) {
    let coded = if huffman { huffman::encode(text) } else { text.to_vec() };
    int(u8::from(huffman) << 7, 7, coded.len(), out);
    out.extend(coded);
}

fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, u8)> {
    let names = ["x-a", "x-b", "accept", "content-type", ":path", "cookie", "x-long-name-indeed"];
    let name = proptest::sample::select(names.to_vec()).prop_map(|n| n.as_bytes().to_vec());
    let value = prop_oneof![
        proptest::sample::select(vec!["", "1", "/", "gzip, deflate"])
            .prop_map(|v| v.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..90),
    ];
    (name, value, any::<u8>())
}

proptest! {
    /// Blocks decode to what was encoded; joined at any block, each field is
    /// the one that was sent or says that it is unknown; ids never stand for
    /// two names.
    #[test]
    fn joins_are_exact_or_unknown(
        blocks in proptest::collection::vec(
            (proptest::option::of(0usize..400), proptest::collection::vec(field(), 1..8)), 1..30),
        join in 0usize..30,
    ) {
        let mut encoder = Encoder { table: Vec::new(), max: 4096 };
        let mut intact = Decoder::new(false);
        let mut late = Decoder::new(true);
        let mut ids = std::collections::HashMap::new();
        for (nth, (resize, fields)) in blocks.iter().enumerate() {
            let mut block = Vec::new();
            if let Some(max) = resize {
                encoder.resize(*max, &mut block);
            }
            for (name, value, how) in fields {
                encoder.field(name, value, *how, &mut block);
            }
            let (got, result) = decode(&mut intact, &block);
            prop_assert_eq!(result, Ok(()));
            let sent: Vec<Owned> = fields
                .iter()
                .map(|(n, v, _)| (String::from_utf8(n.clone()).unwrap(), Some(v.clone())))
                .collect();
            prop_assert_eq!(&got, &sent);
            if nth >= join {
                let (got, result) = decode(&mut late, &block);
                prop_assert_eq!(result, Ok(()));
                prop_assert_eq!(got.len(), sent.len());
                for (got, sent) in got.iter().zip(&sent) {
                    if got.0.starts_with('?') {
                        let name = ids.entry(got.0.clone()).or_insert(sent.0.clone());
                        prop_assert_eq!(&*name, &sent.0);
                    } else {
                        prop_assert_eq!(&got.0, &sent.0);
                    }
                    prop_assert!(got.1.is_none() || got.1 == sent.1);
                }
            }
        }
    }

    /// Any mix of representations decodes to what h2 makes of it.
    #[test]
    fn blocks_decode_as_in_h2(
        blocks in proptest::collection::vec(
            (proptest::option::of(0usize..400),
             proptest::collection::vec(
                (proptest::sample::select(vec!["x-a", "x-b", "accept", "cookie", "vary"]),
                 "[!-~]{0,40}", any::<u8>()), 1..8)),
            1..20),
    ) {
        let mut encoder = Encoder { table: Vec::new(), max: 4096 };
        let mut decoder = Decoder::new(false);
        for (_, got, theirs) in blocks.iter().scan(Vec::new(), |wire, (resize, fields)| {
            let mut block = Vec::new();
            if let Some(max) = resize {
                encoder.resize(*max, &mut block);
            }
            for (name, value, how) in fields {
                encoder.field(name.as_bytes(), value.as_bytes(), *how, &mut block);
            }
            // A request's trailers on stream 1, all of the connection so far.
            wire.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes()[1..]);
            wire.extend([1, 5, 0, 0, 0, 1]);
            wire.extend_from_slice(&block);
            let theirs = crate::analyze::decode::http2::conformance::frames(wire).pop();
            Some(((), decode(&mut decoder, &block), theirs))
        }) {
            let Some(Ok(h2::frame::Frame::Headers(headers))) = theirs else {
                return Err(TestCaseError::fail("h2 refuses it"));
            };
            let mut theirs: Vec<Owned> = headers
                .fields()
                .iter()
                .map(|(name, value)| (name.to_string(), Some(value.as_bytes().to_vec())))
                .collect();
            let (mut ours, result) = got;
            prop_assert_eq!(result, Ok(()));
            theirs.sort();
            ours.sort();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn hostile_blocks_never_panic(
        blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..20),
        open: bool,
    ) {
        let mut decoder = Decoder::new(open);
        for block in blocks {
            let _ = decode(&mut decoder, &block);
            let _ = plausible(&block);
        }
        prop_assert!(decoder.memory() < 1 << 20);
    }
}
