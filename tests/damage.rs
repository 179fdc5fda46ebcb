//! Damaged captures: whatever is missing, what is said is true.
//!
//! Packets are dropped, cut and flipped, files are cut anywhere, connections
//! are joined late; each result is compared with that of the intact capture.
//! See [`common::contradict`] for what may differ.

mod common;

use std::sync::LazyLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use common::contradict::lies;
use common::model::{FILE_HEADER, Packet, RECORD_HEADER, one_link, read_packets, write_pcap};
use common::{analyze, in_memory, intact_cases, lines, options, transactions, try_analyze};
use perisco::analyze::report::Format;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

/// Random damages tried on each property.
const CASES: u32 = 250;

/// Every single packet and every prefix is tried on captures with no more
/// packets than this.
const EXHAUSTIVE_PACKETS: usize = 70;

/// Every byte is tried as the end of the file on captures no larger.
const EXHAUSTIVE_BYTES: usize = 3_000;

/// Nothing takes so long that does not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Failures shown of each test.
const SHOWN: usize = 12;

struct Sample {
    name: String,
    packets: Vec<Packet>,
    intact: Vec<Value>,
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let cases = intact_cases().into_iter().filter_map(|case| {
        let packets = read_packets(&case.capture);
        (one_link(&packets) && !sent_again(&packets)).then(|| {
            let intact = transactions(write_pcap(&packets));
            Sample { name: case.name, packets, intact }
        })
    });
    let samples: Vec<_> = cases.filter(|sample| !sample.intact.is_empty()).collect();
    assert!(samples.len() >= 30, "only {} usable captures", samples.len());
    samples
});

/// Whether bytes were sent twice, as on a busy machine: without the first
/// copy, the times of the second are the truth.
fn sent_again(packets: &[Packet]) -> bool {
    let capture = in_memory("test.pcap", write_pcap(packets));
    analyze(vec![capture], &options(Format::Json, 1)).analysis.report.flows.retransmissions > 0
}

fn small() -> impl Iterator<Item = &'static Sample> {
    SAMPLES.iter().filter(|sample| sample.packets.len() <= EXHAUSTIVE_PACKETS)
}

/// What is false in the result of a damaged capture.
fn falsehoods(sample: &Sample, what: &str, capture: Vec<u8>) -> Vec<String> {
    let found = transactions(capture.clone());
    let lies = lies(&sample.intact, &found);
    if lies.is_empty() {
        return Vec::new();
    }
    let kept = common::keep(&format!("{}, {what}", sample.name), &capture);
    lies.into_iter()
        .map(|lie| format!("── {}, {what}: {}\n{kept}", sample.name, lie.what))
        .collect()
}

fn report(failures: Vec<String>) {
    let shown: Vec<_> = failures.iter().take(SHOWN).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} falsehoods, e.g.\n{}", failures.len(), shown.join("\n"));
}

fn all_but(packets: &[Packet], gone: impl Fn(usize) -> bool) -> Vec<u8> {
    write_pcap(packets.iter().enumerate().filter(|(index, _)| !gone(*index)).map(|(_, p)| p))
}

#[test]
fn nothing_false_without_any_one_packet() {
    let mut failures = Vec::new();
    for sample in small() {
        for hole in 0..sample.packets.len() {
            let capture = all_but(&sample.packets, |index| index == hole);
            failures.extend(falsehoods(sample, &format!("without packet {}", hole + 1), capture));
        }
    }
    report(failures);
}

#[test]
fn nothing_false_when_the_capture_ends_after_any_packet() {
    let mut failures = Vec::new();
    for sample in small() {
        for end in 1..sample.packets.len() {
            let capture = all_but(&sample.packets, |index| index >= end);
            failures.extend(falsehoods(sample, &format!("the first {end} packets"), capture));
        }
    }
    report(failures);
}

#[test]
fn nothing_false_when_the_capture_begins_after_any_packet() {
    let mut failures = Vec::new();
    for sample in small() {
        for begin in 1..sample.packets.len() {
            let capture = all_but(&sample.packets, |index| index < begin);
            failures.extend(falsehoods(sample, &format!("from packet {}", begin + 1), capture));
        }
    }
    report(failures);
}

#[test]
fn nothing_false_with_one_direction_missing() {
    let mut failures = Vec::new();
    for sample in SAMPLES.iter() {
        for way in [true, false] {
            let conversations = sample.intact.iter().filter_map(|t| {
                let port = common::text_of(t, "server").rsplit(':').next()?.parse::<u16>().ok()?;
                Some(port.to_be_bytes())
            });
            let ports: std::collections::HashSet<_> = conversations.collect();
            // The source port stands first in a TCP header; finding it by
            // the dissector keeps link layers out of this test.
            let capture = all_but(&sample.packets, |index| {
                source_port(&sample.packets[index])
                    .is_some_and(|port| ports.contains(&port.to_be_bytes()) == way)
            });
            let what = if way { "without the servers" } else { "without the clients" };
            failures.extend(falsehoods(sample, what, capture));
        }
    }
    report(failures);
}

fn source_port(packet: &Packet) -> Option<u16> {
    use perisco::analyze::packet::{Dissected, Dissector};
    match Dissector::new().dissect(packet.link, &packet.bytes, packet.original, None) {
        Dissected::Segment(segment) => Some(segment.source_port),
        _ => None,
    }
}

#[test]
fn nothing_false_with_any_snap_length() {
    let mut failures = Vec::new();
    for sample in SAMPLES.iter() {
        for snaplen in [40, 54, 60, 66, 70, 90, 120, 200, 300, 400, 800] {
            failures.extend(falsehoods(
                sample,
                &format!("snaplen {snaplen}"),
                cut(sample, snaplen),
            ));
        }
    }
    report(failures);
}

fn cut(sample: &Sample, snaplen: usize) -> Vec<u8> {
    let packets: Vec<_> = sample
        .packets
        .iter()
        .map(|packet| {
            let mut packet = packet.clone();
            packet.bytes.truncate(snaplen);
            packet
        })
        .collect();
    write_pcap(&packets)
}

#[test]
fn a_file_cut_at_any_byte_gives_what_came_before() {
    let mut failures = Vec::new();
    let mut tried = 0;
    for sample in SAMPLES.iter() {
        let capture = write_pcap(&sample.packets);
        if capture.len() > EXHAUSTIVE_BYTES {
            continue;
        }
        tried += 1;
        // Where packet records begin: a cut there leaves nothing damaged.
        let mut starts = std::collections::HashSet::from([FILE_HEADER]);
        let mut at = FILE_HEADER;
        for packet in &sample.packets {
            at += RECORD_HEADER + packet.bytes.len();
            starts.insert(at);
        }
        for end in FILE_HEADER..=capture.len() {
            let inputs = vec![in_memory("cut.pcap", capture[..end].to_vec())];
            let output = try_analyze(inputs, &options(Format::Jsonl, 1)).expect("a capture");
            let damage = output.analysis.report.loss.damage.len();
            if damage != usize::from(!starts.contains(&end)) {
                failures.push(format!("── {}, {end} bytes: {damage} damages named", sample.name));
            }
            failures.extend(
                lies(&sample.intact, &lines(&output.bytes))
                    .into_iter()
                    .map(|lie| format!("── {}, the first {end} bytes: {}", sample.name, lie.what)),
            );
        }
    }
    assert!(tried > 0, "no capture is small enough");
    report(failures);
}

fn config() -> ProptestConfig {
    let max_shrink_iters = 400; // each replays a capture
    let failure_persistence = None;
    ProptestConfig { cases: CASES, failure_persistence, max_shrink_iters, ..Default::default() }
}

fn any_sample() -> impl Strategy<Value = usize> {
    any::<prop::sample::Index>().prop_map(|index| index.index(SAMPLES.len()))
}

fn check(failures: Vec<String>) -> Result<(), TestCaseError> {
    match failures.first() {
        None => Ok(()),
        Some(first) => Err(TestCaseError::fail(first.clone())),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nothing_false_with_any_holes(
        sample in any_sample(),
        holes in proptest::collection::vec((any::<prop::sample::Index>(), 1usize..4), 1..6),
    ) {
        let sample = &SAMPLES[sample];
        let count = sample.packets.len();
        let gone = |at: usize| {
            holes.iter().any(|(begin, length)| (begin.index(count)..begin.index(count) + length).contains(&at))
        };
        let without: Vec<_> = (0..count).filter(|at| gone(*at)).map(|at| at + 1).collect();
        let capture = all_but(&sample.packets, gone);
        check(falsehoods(sample, &format!("without packets {without:?}"), capture))?;
    }

    #[test]
    fn nothing_false_with_a_late_start_holes_cuts_and_an_early_end(
        sample in any_sample(),
        begin in 0.0f64..0.6,
        end in 0.0f64..0.6,
        holes in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 40usize..1_000), 0..4),
    ) {
        let sample = &SAMPLES[sample];
        let count = sample.packets.len();
        let first = (count as f64 * begin) as usize;
        let last = count - (count as f64 * end) as usize;
        let mut packets = sample.packets.clone();
        for (which, length) in &cuts {
            packets[which.index(count)].bytes.truncate(*length);
        }
        let gone = |at: usize| {
            at < first || at >= last || holes.iter().any(|hole| hole.index(count) == at)
        };
        let what = format!("packets {first}..{last}, holes {holes:?}, cuts {cuts:?}");
        check(falsehoods(sample, &what, all_but(&packets, gone)))?;
    }

    /// A flipped bit may say anything; it must only not bring us down.
    #[test]
    fn flipped_bytes_do_no_harm(
        sample in any_sample(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..30),
        threads in 1usize..3,
    ) {
        let mut capture = write_pcap(&SAMPLES[sample].packets);
        for (place, bits) in &flips {
            let place = place.index(capture.len());
            capture[place] ^= bits;
        }
        survives(capture, threads).map_err(TestCaseError::fail)?;
    }

    /// The same in a file as the peers' tools wrote it: pcapng, compressed.
    #[test]
    fn flipped_bytes_of_any_format_do_no_harm(
        case in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..10),
    ) {
        let mut files: Vec<_> = intact_cases().into_iter().map(|case| case.capture).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension != "pcap"));
        let mut capture = std::fs::read(&files[case.index(files.len())]).expect("readable");
        for (place, bits) in &flips {
            let place = place.index(capture.len());
            capture[place] ^= bits;
        }
        survives(capture, 1).map_err(TestCaseError::fail)?;
    }
}

/// Runs all formats on another thread, so that a hang is seen as one.
fn survives(capture: Vec<u8>, threads: usize) -> Result<(), String> {
    let (done, wait) = channel();
    std::thread::spawn(move || {
        for format in [Format::Jsonl, Format::Text, Format::Log] {
            let inputs = vec![in_memory("flipped", capture.clone())];
            // Not a capture any more is a fine answer.
            let Ok(output) = try_analyze(inputs, &options(format, threads)) else { continue };
            if format == Format::Jsonl {
                lines(&output.bytes); // still one object on each line
            }
        }
        let _ = done.send(());
    });
    match wait.recv_timeout(PATIENCE) {
        Ok(()) => Ok(()),
        Err(RecvTimeoutError::Timeout) => Err(format!("still running after {PATIENCE:?}")),
        Err(RecvTimeoutError::Disconnected) => Err("it panicked".into()),
    }
}
