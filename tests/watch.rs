//! What is told to who looks on while an analysis runs, held against its report.

mod common;

use std::cell::Cell;
use std::sync::atomic::AtomicBool;

use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Control};
use perisco::analyze::watch::{Coverage, Progress, Watch, Watched};
use perisco::pcap::{Capture, Input, OpenOptions};

/// Looks on and keeps what it was last told of the coverage.
struct Covered(std::cell::Cell<Coverage>);

impl Watch for Covered {
    fn round(&self, _: &mut Vec<Watched>, _: &Progress) {}

    fn wants_coverage(&self) -> bool {
        true
    }

    fn coverage(&self, coverage: &Coverage) {
        let before = self.0.replace(*coverage);
        assert!(coverage.gap_bytes >= before.gap_bytes, "{before:?} {coverage:?}");
    }
}

#[test]
fn the_coverage_told_on_the_way_is_that_of_the_report() {
    for case in common::cases() {
        for threads in [1, 3] {
            let covered = Covered(Cell::default());
            let stop = AtomicBool::new(false);
            let control = Control { stop: &stop, progress: &|_| {} };
            let input = Input::Path(case.capture.clone());
            let capture = Capture::open(vec![input], OpenOptions::default()).expect("a capture");
            let options = Options { threads, ..Options::default() };
            let report =
                pipeline::watch(capture, &options, &control, &covered).expect("read").report;
            let loss = &report.loss;
            let gaps = [loss.gaps.lost, loss.gaps.snaplen, loss.gaps.limit];
            let expected = Coverage {
                payload_bytes: loss.payload_bytes,
                gap_bytes: loss.gap_bytes,
                gaps: gaps.iter().map(|gap| gap.count).sum(),
                limits: loss.limits.iter().map(|limit| limit.count).sum(),
            };
            assert_eq!(covered.0.get(), expected, "{} on {threads}", case.name);
        }
    }
}
