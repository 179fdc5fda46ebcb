//! Chunks to HTTP/1 transactions, one chunk a message.
#![allow(missing_docs, reason = "criterion's macros")]

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use perisco::analyze::decode::{Chunk, Content, Direction, Late, Output, Sink, Wants, http1};
use perisco::analyze::limits::Limits;
use perisco::time::Timestamp;

/// Decodes the connection; returns the number of transactions.
fn decode(response: &[u8], wants: Wants, limits: &Limits) -> usize {
    let mut decoder = (http1::PROTOCOL.decoder)(Late::default());
    let mut output = Output::default();
    let mut count = 0;
    for packet in 0..common::REQUESTS as u64 * 2 {
        let (direction, data) = if packet.is_multiple_of(2) {
            (Direction::ToServer, common::REQUEST)
        } else {
            (Direction::ToClient, response)
        };
        let at = Some(Timestamp::from_nanos(packet as i64));
        let chunk = Chunk { at, packet: packet + 1, seq: 0, content: Content::Data(data) };
        decoder.push(direction, chunk, &mut Sink::new(wants, limits, &mut output));
        while let Some(finished) = output.transactions.pop() {
            output.recycle(finished.transaction);
            count += 1;
        }
    }
    count
}

fn bench(criterion: &mut Criterion) {
    let response = common::response();
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("http1");
    group.throughput(Throughput::Elements(common::REQUESTS as u64));
    for (name, headers) in [("heads", false), ("heads with all fields", true)] {
        let wants = Wants { headers, ..Wants::default() };
        assert_eq!(decode(&response, wants, &limits), common::REQUESTS);
        group.bench_function(name, |b| b.iter(|| decode(&response, wants, &limits)));
    }
    group.finish();
}

criterion_group!(name = benches; config = common::criterion(); targets = bench);
criterion_main!(benches);
