//! HPACK header blocks of requests, as encoders write them after the first.
#![allow(missing_docs, reason = "criterion's macros")]

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use perisco::analyze::decode::http2::hpack::Decoder;

/// `:method GET`, `:scheme http`, and literals with indexing (RFC 7541
/// appendix C.4: Huffman coded values).
const FIRST: &[u8] = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\
    \x58\x86\xa8\xeb\x10\x64\x9c\xbf\
    \x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
/// The same by index, but for a path that is not indexed.
const NEXT: &[u8] = b"\x82\x86\x04\x0a/users/184\xc0\xbf\xbe";
/// Fields of each.
const FIELDS: usize = 6;
const BLOCKS: usize = 1_000;

fn decode() -> usize {
    let mut decoder = Decoder::new(false);
    let mut fields = 0;
    for index in 0..BLOCKS {
        let block = if index == 0 { FIRST } else { NEXT };
        let result = decoder.decode(black_box(block), &mut |field| {
            black_box(field);
            fields += 1;
        });
        assert!(result.is_ok());
    }
    fields
}

fn bench(criterion: &mut Criterion) {
    assert_eq!(decode(), BLOCKS * FIELDS);
    let mut group = criterion.benchmark_group("hpack");
    group.throughput(Throughput::Elements(BLOCKS as u64));
    group.bench_function("requests", |b| b.iter(decode));
    group.finish();
}

criterion_group!(name = benches; config = common::criterion(); targets = bench);
criterion_main!(benches);
