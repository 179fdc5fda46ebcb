//! A whole capture to a report or to lines, on one thread.
#![allow(missing_docs, reason = "criterion's macros")]

mod common;

use std::io::{Write, sink};
use std::sync::atomic::AtomicBool;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Control};
use perisco::analyze::report::{Destination, Destinations, Format};
use perisco::pcap::Capture;

/// Analyses the capture, lines go to `out`; returns the number of transactions in the report.
fn analyze(capture: &[u8], format: Format, out: &mut dyn Write) -> u64 {
    let options = Options { threads: 1, formats: format.into(), ..Options::default() };
    let stop = AtomicBool::new(false);
    let control = Control { stop: &stop, progress: &|_| {} };
    let mut destinations = Destinations::new(vec![Destination::new(format, out)]);
    let capture = Capture::from_bytes("bench", capture.to_vec()).expect("a capture");
    let analysis = pipeline::run(capture, &options, &control, &mut destinations);
    analysis.expect("memory can be read").report.transactions.figures.count
}

fn bench(criterion: &mut Criterion) {
    let capture = common::capture();
    let mut group = criterion.benchmark_group("end to end");
    group.throughput(Throughput::Bytes(capture.len() as u64));
    for format in [Format::Text, Format::Jsonl] {
        let mut lines = Vec::new();
        let count = analyze(&capture, format, &mut lines);
        // Where there are lines the report is empty.
        let lines = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(count.max(lines), common::REQUESTS as u64);
        group.bench_function(format.name(), |b| b.iter(|| analyze(&capture, format, &mut sink())));
    }
    group.finish();
}

criterion_group!(name = benches; config = common::criterion(); targets = bench);
criterion_main!(benches);
