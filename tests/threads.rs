//! The same bytes out for any number of threads, and each time.

mod common;

use common::{analyze, cases, difference, options};
use perisco::analyze::report::Format;
use perisco::pcap::Input;

const FORMATS: [Format; 5] = [Format::Text, Format::Json, Format::Jsonl, Format::Csv, Format::Log];

/// All captures of `testdata/` merged by time, and with a synthetic capture
/// of many connections, so that all shards have work.
fn run(format: Format, threads: usize) -> String {
    let mut inputs: Vec<Input> =
        cases().into_iter().map(|case| Input::Path(case.capture)).collect();
    inputs.push(common::in_memory("many.pcap", many_connections()));
    let bytes = analyze(inputs, &options(format, threads)).bytes;
    // The report names the folder of the checkout; nothing depends on it.
    String::from_utf8(bytes).expect("UTF-8")
}

fn many_connections() -> Vec<u8> {
    let conversations = (0..60u16).map(|index| {
        let client = format!("10.0.{}.{}:{}", index % 7, index % 50 + 1, 40_000 + index * 17);
        let ends = [client.parse().expect("an address"), "10.9.9.9:80".parse().expect("one")];
        let opened = 1_700_000_000_000_000_000 + i64::from(index % 9) * 1_000_000;
        let conversation = common::synth::http1(ends, opened, 40);
        common::synth::Writer::new(&conversation, Default::default()).write(&conversation)
    });
    common::synth::pcap(&common::synth::by_time(conversations.collect()))
}

#[test]
fn one_two_and_eight_threads_give_the_same_bytes() {
    for format in FORMATS {
        let one = run(format, 1);
        assert!(one.lines().count() > 20, "{format:?} gives next to nothing:\n{one}");
        for threads in [2, 8] {
            let many = run(format, threads);
            assert!(
                one == many,
                "{format:?}: 1 and {threads} threads differ: {}",
                difference(&one, &many)
            );
        }
    }
}

#[test]
fn repeated_runs_give_the_same_bytes() {
    for format in FORMATS {
        let first = run(format, 3);
        for _ in 0..2 {
            let again = run(format, 3);
            assert!(first == again, "{format:?}: runs differ: {}", difference(&first, &again));
        }
    }
}

#[test]
fn jsonl_is_in_order_of_start_time() {
    let jsonl = run(Format::Jsonl, 2);
    let lines = common::lines(jsonl.as_bytes());
    assert!(lines.len() > 2_400, "only {} transactions", lines.len());
    let starts: Vec<_> = lines.iter().map(|line| common::text_of(line, "start")).collect();
    for pair in starts.windows(2) {
        assert!(pair[0] <= pair[1], "{} comes before {}", pair[0], pair[1]);
    }
}
