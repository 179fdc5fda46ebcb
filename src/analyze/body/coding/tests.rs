//! Codings against what their own libraries write, whole, cut and damaged.

use std::io::Write as _;

use flate2::Compression;
use proptest::prelude::*;

use super::*;

/// Lines of text by `brotliCompressSync` of Node.js, quality 11: no brotli encoder is
/// among the dependencies.
const BROTLI: &[u8] = include_bytes!("tests/hello.br");
const BROTLI_TEXT: &[u8] = include_bytes!("tests/hello.txt");

fn encode(bytes: &[u8], coding: &str) -> Vec<u8> {
    let level = Compression::default();
    let written = match coding {
        "gzip" => {
            let mut encoder = flate2::GzBuilder::new()
                .filename("a")
                .extra("b")
                .comment("c")
                .write(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        "raw" => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        _ => zstd::encode_all(bytes, 3),
    };
    written.expect("writing to memory")
}

fn name(coding: &str) -> &str {
    if coding == "raw" { "deflate" } else { coding }
}

const CODINGS: [&str; 4] = ["gzip", "deflate", "raw", "zstd"];

fn whole(coded: &[u8], encoding: &str) -> Vec<u8> {
    let decoded = decode(coded, encoding, &Limits::default());
    assert_eq!(decoded.state, State::Whole, "{encoding}");
    decoded.bytes.into_owned()
}

#[test]
fn brotli_and_each_cut_of_it() {
    assert_eq!(whole(BROTLI, "br"), BROTLI_TEXT);
    for end in 1..BROTLI.len() {
        let decoded = decode(&BROTLI[..end], "br", &Limits::default());
        assert_eq!(decoded.state, State::Truncated, "{end}");
        assert!(BROTLI_TEXT.starts_with(&decoded.bytes), "{end}");
    }
    let decoded = decode(&BROTLI[..BROTLI.len() / 2], "br", &Limits::default());
    assert!(!decoded.bytes.is_empty(), "what could be decoded is given");
}

#[test]
fn names_in_any_case_and_lists_in_order() {
    let inner = encode(b"hello", "deflate");
    let both = encode(&inner, "zstd");
    assert_eq!(whole(&both, "Deflate, identity , ZSTD"), b"hello");
    assert_eq!(whole(&encode(b"hello", "gzip"), "x-gzip"), b"hello");
    assert_eq!(whole(b"hello", ""), b"hello");
    let unknown = decode(&both, "snappy, zstd", &Limits::default());
    assert_eq!(unknown.state, State::Unknown("snappy".to_owned()));
    assert_eq!(&*unknown.bytes, inner, "the codings outside of it are off");
}

#[test]
fn members_and_frames_one_after_the_other() {
    for coding in ["gzip", "zstd"] {
        let two = [encode(b"one ", coding), encode(b"two", coding)].concat();
        assert_eq!(whole(&two, coding), b"one two");
    }
}

#[test]
fn bytes_after_the_end_are_said() {
    for coding in CODINGS {
        let coded = encode(b"hello", coding);
        let more = [&coded[..], b"\0\0"].concat();
        let decoded = decode(&more, name(coding), &Limits::default());
        assert_eq!(&*decoded.bytes, b"hello", "{coding}");
        // zstd may not tell a cut magic number from one that is wrong.
        let early = coding == "zstd" && decoded.state == State::Truncated;
        let at = coded.len();
        assert!(
            early
                || decoded.state == State::Damaged { coding: name(coding), at }
                || matches!(decoded.state, State::Damaged { coding: "zstd", .. }),
            "{coding}: {:?}",
            decoded.state
        );
    }
}

#[test]
fn wrong_checksums_are_said() {
    for coding in ["gzip", "deflate"] {
        let mut coded = encode(b"hello", coding);
        let at = coded.len();
        coded[at - 1] ^= 1;
        let decoded = decode(&coded, coding, &Limits::default());
        assert_eq!(&*decoded.bytes, b"hello", "{coding}");
        assert!(matches!(decoded.state, State::Damaged { .. }), "{coding}: {:?}", decoded.state);
    }
}

#[test]
fn bombs_are_capped() {
    let limits = Limits { decoded: 1000, ..Limits::default() };
    for coding in CODINGS {
        let bomb = encode(&vec![0; 64 << 20], coding);
        let decoded = decode(&bomb, name(coding), &limits);
        assert_eq!((decoded.bytes.len(), decoded.state), (1000, State::Capped), "{coding}");
        let exact = encode(&[0; 1000], coding);
        let decoded = decode(&exact, name(coding), &limits);
        assert_eq!((decoded.bytes.len(), decoded.state), (1000, State::Whole), "{coding}");
    }
    let many = decode(b"x", "gzip, gzip, gzip, gzip, gzip", &limits);
    assert_eq!(many.state, State::Capped);
}

#[test]
fn a_window_of_zstd_that_http_does_not_have_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.window_log(27).expect("a window");
    encoder.write_all(&[7; 100_000]).expect("written");
    let coded = encoder.finish().expect("finished");
    assert_eq!(decode(&coded, "zstd", &Limits::default()).state, State::Capped);
}

#[test]
fn what_is_not_of_the_coding() {
    for coding in ["gzip", "br", "zstd"] {
        let decoded = decode(b"<html>not coded at all</html>", coding, &Limits::default());
        assert!(matches!(decoded.state, State::Damaged { .. }), "{coding}: {decoded:?}");
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    // Few letters, so that there is something to compress.
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000),
        proptest::collection::vec(0..4_u8, 0..40_000),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A round trip gives the same, a truncation a prefix that is said to be one.
    #[test]
    fn each_truncation_gives_a_prefix(bytes in bytes(), at: prop::sample::Index) {
        for coding in CODINGS {
            let coded = encode(&bytes, coding);
            prop_assert_eq!(&whole(&coded, name(coding)), &bytes);
            let cut = &coded[..at.index(coded.len())];
            let decoded = decode(cut, name(coding), &Limits::default());
            let expected = if cut.is_empty() { State::Whole } else { State::Truncated };
            prop_assert_eq!(decoded.state, expected, "{}", coding);
            prop_assert!(bytes.starts_with(&decoded.bytes), "{}", coding);
        }
    }

    /// A changed byte is never taken for the whole body where there is a checksum. The first
    /// two bytes say that it is zlib, which has one, and no bare deflate.
    #[test]
    fn damage_is_said(
        bytes in proptest::collection::vec(0..4_u8, 100..5000),
        at: prop::sample::Index,
        by in 1..=255_u8,
    ) {
        let mut coded = encode(&bytes, "deflate");
        let at = 2 + at.index(coded.len() - 2);
        coded[at] ^= by;
        let decoded = decode(&coded, "deflate", &Limits::default());
        prop_assert!(decoded.state != State::Whole || *decoded.bytes == bytes);
    }

    /// Any bytes in any coding end, within the limit.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), coding in 0..5_usize) {
        let coding = ["gzip", "deflate", "br", "zstd", "br, gzip"][coding];
        let limits = Limits { decoded: 100, ..Limits::default() };
        prop_assert!(decode(&bytes, coding, &limits).bytes.len() <= bytes.len().max(100));
    }
}
