//! Segments to chunks in order: as sent, and with neighbours swapped.
#![allow(missing_docs, reason = "criterion's macros")]

mod common;

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use perisco::analyze::decode::{Chunk, Decoder, Direction, End, Late, Output, Sink, Wants};
use perisco::analyze::flow::key::{FlowKey, Side};
use perisco::analyze::flow::{Context, Flow, SegmentRef};
use perisco::analyze::limits::Limits;
use perisco::analyze::packet::flags::{ACK, SYN};
use perisco::analyze::reassembly::half::PayloadRef;
use perisco::time::Timestamp;

/// Takes chunks and does nothing.
struct Nothing;

impl Decoder for Nothing {
    fn push(&mut self, _direction: Direction, chunk: Chunk<'_>, _out: &mut Sink<'_>) {
        black_box(chunk);
    }

    fn oldest_open(&self) -> Option<Timestamp> {
        None
    }

    fn memory(&self) -> usize {
        0
    }
}

fn nothing(_late: Late) -> Box<dyn Decoder> {
    Box::new(Nothing)
}

fn segments() -> Vec<(SegmentRef, Vec<u8>)> {
    let client = (IpAddr::from([10, 0, 0, 1]), 40_000);
    let server = (IpAddr::from([10, 0, 0, 2]), 80);
    let (key, client_side) = FlowKey::new(client, server);
    let segment = |(index, packet): (usize, common::Packet)| {
        let payload = packet.bytes[common::HEADERS..].to_vec();
        let len = payload.len() as u32;
        let segment = SegmentRef {
            key,
            side: if packet.from_server { client_side.other() } else { client_side },
            flags: if index < 2 { SYN | if index == 1 { ACK } else { 0 } } else { ACK },
            seq: packet.seq,
            ack: packet.ack,
            window: 0xffff,
            ip_id: index as u16,
            wire_len: len,
            payload: PayloadRef { round: 1, chunk: 0, offset: 0, len },
            at: Some(Timestamp::from_nanos(index as i64 * 1_000)),
            packet: index as u64 + 1,
            interface: 0,
        };
        (segment, payload)
    };
    common::packets().into_iter().enumerate().map(segment).collect()
}

/// Runs a connection; returns the bytes delivered.
fn deliver(segments: &[(SegmentRef, Vec<u8>)]) -> u64 {
    let mut output = Output::default();
    let limits = Limits::default();
    let bytes = |_| None;
    let mut context = Context {
        limits: &limits,
        wants: Wants::default(),
        new_decoder: nothing,
        output: &mut output,
        bytes: &bytes,
    };
    let Some((first, _)) = segments.first() else { return 0 };
    let mut flow = Flow::new(first);
    for (segment, payload) in segments {
        flow.segment(segment, payload, &mut context);
    }
    flow.finish(End::CaptureEnd, &mut context);
    [Side::A, Side::B].into_iter().map(|side| flow.half(side).counts.bytes).sum()
}

fn bench(criterion: &mut Criterion) {
    let in_order = segments();
    let mut swapped = in_order.clone();
    swapped[2..].chunks_exact_mut(2).for_each(<[_]>::reverse);
    let bytes: u64 = in_order.iter().map(|(_, payload)| payload.len() as u64).sum();
    let mut group = criterion.benchmark_group("reassembly");
    group.throughput(Throughput::Bytes(bytes));
    for (name, segments) in [("in order", &in_order), ("swapped", &swapped)] {
        assert_eq!(deliver(segments), bytes);
        group.bench_function(name, |b| b.iter(|| deliver(segments)));
    }
    group.finish();
}

criterion_group!(name = benches; config = common::criterion(); targets = bench);
criterion_main!(benches);
