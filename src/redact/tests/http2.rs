//! HTTP/2: an encoder that picks among all representations, frames cut anywhere, and the
//! analyzer's decoder to read what came out.

use proptest::prelude::*;

use super::encoder::{Encoder, How, frame, headers, int, text};
use super::*;
use crate::analyze::decode::http2::frame::PREFACE;
use crate::analyze::decode::http2::hpack::Decoder;
use crate::analyze::decode::http2::hpack::huffman::{decode as huffman_decode, encode};
use crate::analyze::decode::http2::hpack::table::Name;

type Field = (String, Option<Vec<u8>>);

/// All header blocks in what was said, decoded.
pub fn blocks(mut said: &[u8]) -> Vec<Vec<Field>> {
    let mut decoder = Decoder::new(false);
    let (mut found, mut block) = (Vec::new(), Vec::new());
    said = said.strip_prefix(PREFACE).unwrap_or(said);
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = said {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let (mut payload, after) = rest.split_at(length);
        said = after;
        if !matches!(kind, 1 | 9) {
            continue;
        }
        if *kind == 1 && flags & 8 != 0 {
            payload = &payload[1..payload.len() - usize::from(payload[0])];
        }
        if *kind == 1 && flags & 32 != 0 {
            payload = &payload[5..];
        }
        block.extend_from_slice(payload);
        if flags & 4 != 0 {
            let mut fields = Vec::new();
            let result = decoder.decode(&std::mem::take(&mut block), &mut |field| {
                let name = match field.name {
                    Name::Known(name) => String::from_utf8_lossy(name).into_owned(),
                    Name::Unknown(id) => format!("?n{id}"),
                };
                fields.push((name, field.value.map(<[u8]>::to_vec)));
            });
            assert_eq!(result, Ok(()), "{fields:?}");
            found.push(fields);
        }
    }
    assert!(said.is_empty());
    found
}

/// Whether bytes hold a text: plain, or as Huffman code from any bit on.
pub fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    if memchr::memmem::find(bytes, secret).is_some() {
        return true;
    }
    (0..8).any(|shift| {
        let shifted: Vec<u8> = bytes
            .iter()
            .zip(bytes.iter().skip(1).chain([&0]))
            .map(|(a, b)| ((u16::from(*a) << 8 | u16::from(*b)) >> (8 - shift)) as u8)
            .collect();
        let code = encode(secret);
        memchr::memmem::find(&shifted, &code[..code.len() - 1]).is_some()
    })
}

const NAMES: [&str; 9] = [
    "authorization",
    "cookie",
    "x-api-key",
    "x-api-key-bin",
    "accept",
    "x-plain",
    ":path",
    "set-cookie",
    "content-type",
];

fn field() -> impl Strategy<Value = (&'static str, String, u8)> {
    let value = prop_oneof![
        Just(SECRET.to_owned()),
        "[ -~]{0,60}",
        "[{}<>|\"]{1,30}",
        "/[a-z]{0,5}\\?(a=1&)?token=[a-zA-Z0-9._-]{0,30}(&(b=[a-z]{0,4}|key=[0-9a-f]{1,9}))?",
    ];
    (proptest::sample::select(NAMES.to_vec()), value, any::<u8>())
}

/// What a value may become.
fn fits(name: &str, before: &[u8], after: &[u8]) -> bool {
    match name {
        "accept" | "x-plain" | "content-type" => before == after,
        ":path" => {
            let end = memchr::memmem::find(before, b"?").unwrap_or(before.len());
            after.starts_with(&before[..end])
        }
        _ => before.is_empty() == after.is_empty() && after.iter().all(|b| b"*o-x<!$>".contains(b)),
    }
}

/// Fields with how they are written, and how their block is cut.
type Request = (Vec<(&'static str, String, u8)>, u8);

fn said(requests: &[Request]) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    frame(4, 0, 0, &[], &mut out);
    let mut encoder = Encoder::default();
    for (nth, (fields, cut)) in requests.iter().enumerate() {
        let mut block = Vec::new();
        for (name, value, how) in fields {
            encoder.field(name.as_bytes(), value.as_bytes(), How::of(*how), &mut block);
        }
        headers(&block, nth as u32 * 2 + 1, *cut, &mut out);
        frame(0, 1, nth as u32 * 2 + 1, b"authorization: body", &mut out);
    }
    out
}

#[test]
fn parameters_in_coded_paths() {
    for (path, expected) in [
        ("/a?token=abcdef&page=2", "/a?token=______&page=2"),
        ("/a?x=1&token=ABCDEFGH", "/a?x=1&token=________"),
        ("/a?token=a&key=b&x=c", "/a?token=_&key=_&x=c"),
        ("/a?token=&x=c", "/a?token=&x=c"),
        ("/a?sig={{{{{{\"", "/a?sig=_______"),
    ] {
        let mut block = Vec::new();
        Encoder::default().field(b":path", path.as_bytes(), How::of(0x14), &mut block);
        let mut wire = PREFACE.to_vec();
        headers(&block, 1, 0, &mut wire);
        let mut talk = Talk::keep();
        let (out, drops) = talk.say(0, &wire, &[]);
        assert!(drops.is_empty());
        let found = blocks(&out);
        let value = found[0][0].1.clone().unwrap_or_default();
        assert_eq!(value.len(), expected.len(), "{}", String::from_utf8_lossy(&value));
        for (got, wanted) in value.iter().zip(expected.bytes()) {
            assert!(
                wanted == b'_' && b"*o-x<!$>".contains(got) || *got == wanted,
                "{path} {value:?}"
            );
        }
    }
}

#[test]
fn a_coded_secret_is_stars() {
    let mut block = Vec::new();
    Encoder::default().field(b"authorization", b"Basic dXNlcjpwYXNz", How::of(0x15), &mut block);
    let mut wire = PREFACE.to_vec();
    headers(&block, 1, 0, &mut wire);
    let (out, _) = Talk::keep().say(0, &wire, &[]);
    assert_eq!(blocks(&out)[0][0].1.as_deref(), Some(&b"***************"[..]));
}

#[test]
fn names_that_were_not_seen() {
    // A literal whose name is the newest of a table from before: authorization or not.
    let mut talk = Talk::new(&Settings::new(Unparsed::Keep), true);
    let mut block = vec![0x82, 0x84, 0x86];
    int(0x40, 6, 62, &mut block);
    text(SECRET.as_bytes(), false, &mut block);
    let mut wire = Vec::new();
    headers(&block, 3, 0, &mut wire);
    let (out, drops) = talk.say(0, &wire, &[]);
    assert!(drops.is_empty());
    assert!(!holds(&out, SECRET.as_bytes()));
    assert_eq!(out.len(), wire.len());
}

#[test]
fn a_gap_in_a_block() {
    let mut block = Vec::new();
    let mut encoder = Encoder::default();
    encoder.field(b"x-plain", &[b'a'; 40], How::of(0), &mut block);
    encoder.field(b"authorization", SECRET.as_bytes(), How::of(0), &mut block);
    let mut wire = PREFACE.to_vec();
    headers(&block, 1, 0, &mut wire);
    let mut second = Vec::new();
    let mut block = Vec::new();
    encoder.field(b"cookie", SECRET.as_bytes(), How::of(4), &mut block);
    headers(&block, 3, 0, &mut second);
    let mut talk = Talk::keep();
    talk.say(0, &wire[..60], &[]);
    assert_eq!(talk.gap(0, 5), Late::Drop);
    let (out, drops) = talk.say(0, &wire[65..], &[]);
    assert_eq!(
        drops,
        std::slice::from_ref(&(0..out.len())),
        "nothing of the block can be told from it"
    );
    let (out, drops) = talk.say(0, &second, &[]);
    assert!(drops.is_empty() && !holds(&out, SECRET.as_bytes()));
    assert_eq!(blocks(&out)[0][0], ("cookie".to_owned(), Some(vec![b'*'; SECRET.len()])));
}

#[test]
fn bodies_leave() {
    let settings = Settings { headers_only: true, ..Settings::new(Unparsed::Drop) };
    let mut wire = PREFACE.to_vec();
    headers(&[0x82, 0x84, 0x86], 1, 0, &mut wire);
    let before = wire.len() + 9;
    frame(0, 1, 1, b"body", &mut wire);
    for sizes in [&[][..], &[1]] {
        let (_, drops) = Talk::new(&settings, false).say(0, &wire, sizes);
        assert_eq!(drops, std::slice::from_ref(&(before..before + 4)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn blocks_stay_valid(
        requests in proptest::collection::vec((proptest::collection::vec(field(), 1..9), any::<u8>()), 1..20),
        sizes in proptest::collection::vec(1usize..80, 1..40),
    ) {
        let wire = said(&requests);
        let before = blocks(&wire);
        let mut talk = Talk::keep();
        let (out, drops) = talk.say(0, &wire, &sizes);
        prop_assert!(drops.is_empty());
        prop_assert_eq!(out.len(), wire.len());
        let after = blocks(&out);
        prop_assert_eq!(after.len(), before.len());
        for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
            prop_assert_eq!(&before.0, &after.0);
            let (from, to) = (before.1.as_deref().unwrap_or_default(), after.1.as_deref().unwrap_or_default());
            prop_assert!(fits(&before.0, from, to), "{:?} {:?}", before, String::from_utf8_lossy(to));
        }
        // Values of fields that stay may be the secret; none of the others.
        let plain = requests.iter().flat_map(|(fields, _)| fields).any(|(name, value, _)| {
            value.contains(SECRET) && matches!(*name, "accept" | "x-plain" | "content-type" | ":path")
        });
        prop_assert!(plain || !holds(&out, SECRET.as_bytes()));
        // Where no coded path is cut, all splits give the same.
        let paths = requests.iter().flat_map(|(fields, _)| fields).any(|(name, value, how)| {
            (*name == ":path" && How::of(*how).value_coded) || value.bytes().any(|b| b"{}<>|\"".contains(&b))
        });
        if !paths {
            prop_assert_eq!(Talk::keep().say(0, &wire, &[]).0, out);
        }
    }

    #[test]
    fn hostile_frames(
        frames in proptest::collection::vec(
            (0u8..12, any::<u8>(), 0u32..9, proptest::collection::vec(any::<u8>(), 0..60),
             proptest::option::weighted(0.1, 1u64..90)), 0..30),
        sizes in proptest::collection::vec(1usize..80, 1..20),
        late: bool,
    ) {
        let mut talk = Talk::new(&Settings::new(Unparsed::Keep), late);
        if !late {
            talk.say(0, PREFACE, &sizes);
        }
        for (kind, flags, stream, payload, gap) in frames {
            let mut wire = Vec::new();
            frame(kind, flags, stream, &payload, &mut wire);
            if let Some(gap) = gap {
                talk.gap(0, gap);
            }
            prop_assert_eq!(talk.say(0, &wire, &sizes).0.len(), wire.len());
        }
    }
}

#[test]
fn the_oracle_of_huffman_code_is_whole() {
    let mut out = Vec::new();
    assert!(huffman_decode(&encode(SECRET.as_bytes()), &mut out));
    assert!(holds(&encode(format!("abc{SECRET}def").as_bytes()), SECRET.as_bytes()));
}
