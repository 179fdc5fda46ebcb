//! Packets to TCP segments: the fast path and the general one.
#![allow(missing_docs, reason = "criterion's macros")]

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use perisco::analyze::packet::{Dissected, Dissector};
use perisco::pcap::LinkType;

const ETHERNET: LinkType = LinkType(1);

/// The packet inside a VLAN tag, which the fast path does not take.
fn tagged(packet: &[u8]) -> Vec<u8> {
    [&packet[..12], &[0x81, 0, 0, 7], &packet[12..]].concat()
}

fn dissect(packets: &[Vec<u8>]) -> usize {
    let mut dissector = Dissector::new();
    let segments = packets.iter().filter(|packet| {
        let original = packet.len() as u32;
        let dissected = dissector.dissect(ETHERNET, black_box(packet), original, None);
        matches!(dissected, Dissected::Segment(_))
    });
    segments.count()
}

fn bench(criterion: &mut Criterion) {
    let plain: Vec<Vec<u8>> = common::packets().into_iter().map(|packet| packet.bytes).collect();
    let vlan: Vec<Vec<u8>> = plain.iter().map(|packet| tagged(packet)).collect();
    let mut group = criterion.benchmark_group("packet");
    group.throughput(Throughput::Elements(plain.len() as u64));
    for (name, packets) in [("plain", &plain), ("vlan", &vlan)] {
        assert_eq!(dissect(packets), packets.len());
        group.bench_function(name, |b| b.iter(|| dissect(packets)));
    }
    group.finish();
}

criterion_group!(name = benches; config = common::criterion(); targets = bench);
criterion_main!(benches);
