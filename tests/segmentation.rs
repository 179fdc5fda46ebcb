//! However bytes are cut into segments, shuffled, repeated or interleaved
//! with other connections: the same bytes give the same transactions.

mod common;

use std::sync::LazyLock;

use common::model::{Conversation, conversations, read_packets};
use common::synth::{self, Link, Shape, Writer, Written};
use common::{Case, ORIGIN, TIMES, fields_that_differ, intact_cases, transactions, without};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

/// Random plans tried on each property; each replays one capture.
const CASES: u32 = 150;

/// Captures with more payload than this are left to the golden tests, so
/// that tiny segments stay affordable.
const MAX_PAYLOAD: usize = 200_000;

struct Sample {
    name: String,
    conversations: Vec<Conversation>,
    original: Vec<Value>,
}

/// The captures that the model can read; few may drop out.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let cases = intact_cases();
    let mut refused = Vec::new();
    let mut samples = Vec::new();
    for case in &cases {
        match sample(case) {
            Ok(sample) => samples.push(sample),
            Err(why) => refused.push(format!("{}: {why}", case.name)),
        }
    }
    assert!(
        refused.len() * 5 < cases.len(),
        "too few captures are usable:\n{}",
        refused.join("\n")
    );
    for kind in ["http1/", "h2/", "grpc/"] {
        assert!(samples.iter().any(|sample| sample.name.starts_with(kind)), "no {kind} capture");
    }
    samples
});

fn sample(case: &Case) -> Result<Sample, String> {
    let conversations = conversations(&read_packets(&case.capture))?;
    let payload: usize = conversations.iter().map(Conversation::payload).sum();
    if payload > MAX_PAYLOAD {
        return Err(format!("{payload} bytes of payload"));
    }
    let original = common::transactions_of(&case.capture);
    if original.is_empty() {
        return Err("no transactions".into());
    }
    Ok(Sample { name: case.name.clone(), conversations, original })
}

/// Compares lists of transactions but for the fields named; both are put in
/// one order where `sorted`.
fn compare(
    what: &str,
    expected: &[Value],
    found: &[Value],
    ignored: &[&str],
    sorted: bool,
) -> Result<(), String> {
    let list = |values: &[Value]| {
        let mut list: Vec<_> = values.iter().map(|value| without(value, ignored)).collect();
        if sorted {
            list.sort_by_cached_key(|value| {
                format!(
                    "{} {} {:>10} {value}",
                    value["client"],
                    value["server"],
                    value["stream"].to_string()
                )
            });
        }
        list
    };
    let (a, b) = (list(expected), list(found));
    if a == b {
        return Ok(());
    }
    let mut out = format!("{what}: {} transactions expected, {} found\n", a.len(), b.len());
    for (index, (a, b)) in a.iter().zip(&b).enumerate().filter(|(_, (a, b))| a != b).take(3) {
        out.push_str(&format!("transaction {index} ({} {}):\n", a["method"], a["path"]));
        out.push_str(&fields_that_differ(a, b));
    }
    Err(out)
}

/// As [`compare`], and keeps the capture that fails.
fn check(
    sample: &Sample,
    how: &str,
    capture: Vec<u8>,
    ignored: &[&str],
    sorted: bool,
) -> Result<(), String> {
    let found = transactions(capture.clone());
    let what = format!("{}{how}", sample.name);
    let (a, b) = if sorted {
        (timeless(&sample.original), timeless(&found))
    } else {
        (sample.original.clone(), found)
    };
    compare(&what, &a, &b, ignored, sorted)
        .map_err(|why| why + &common::keep(&sample.name, &capture))
}

fn write(conversation: &Conversation, shape: &Shape) -> Vec<Written> {
    Writer::new(conversation, shape.clone()).write(conversation)
}

fn write_all(sample: &Sample, shape: &Shape) -> Vec<Written> {
    synth::by_time(sample.conversations.iter().map(|one| write(one, shape)).collect())
}

/// Runs a check on every capture and reports all that fail.
fn on_every_sample(check: impl Fn(&Sample) -> Result<(), String>) {
    let failures: Vec<_> = SAMPLES.iter().filter_map(|sample| check(sample).err()).collect();
    assert!(failures.is_empty(), "{} captures fail\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn written_anew_they_are_as_captured() {
    on_every_sample(|sample| {
        let capture = synth::pcap(&write_all(sample, &Shape::default()));
        check(sample, "", capture, &ORIGIN, false)
    });
}

#[test]
fn any_link_layer_and_sequence_number_gives_the_same() {
    on_every_sample(|sample| {
        for (index, link) in Link::ALL.into_iter().enumerate() {
            // The streams wrap after some bytes, each time after others.
            let isn = [u32::MAX - 7 * index as u32, u32::MAX - 300 * index as u32];
            let shape = Shape { link, isn, ..Shape::default() };
            let capture = synth::pcap(&write_all(sample, &shape));
            check(sample, &format!(" over {link:?}"), capture, &ORIGIN, false)?;
        }
        Ok(())
    });
}

#[test]
fn segments_of_one_to_three_bytes_give_the_same() {
    on_every_sample(|sample| {
        let payload: usize = sample.conversations.iter().map(Conversation::payload).sum();
        if payload > 12_000 {
            return Ok(());
        }
        for size in 1..=3 {
            let shape = Shape { sizes: vec![size], ..Shape::default() };
            let capture = synth::pcap(&write_all(sample, &shape));
            check(sample, &format!(" in segments of {size}"), capture, &ORIGIN, false)?;
        }
        Ok(())
    });
}

/// Where the first copy of a segment was not captured, its bytes come with a
/// later acknowledgement: each direction then seems to wait for the other.
#[test]
fn a_segment_of_which_only_the_second_copy_was_captured_loses_nothing() {
    on_every_sample(|sample| {
        let each = sample.conversations.iter().map(|one| {
            let mut writer = Writer::new(one, Shape::default());
            let mut written = writer.write(one);
            let payload = |written: &Written| match written.role {
                synth::Role::Payload { way, offset, said, .. } if offset < said => Some(way),
                _ => None,
            };
            // The first bytes of the client only where it goes on after an answer.
            let first = written.iter().position(|w| payload(w) == Some(0));
            let Some(first) = first else { return written };
            let Some(next) = (first + 1..written.len())
                .find(|at| *at > first + 1 && payload(&written[*at]) == Some(0))
            else {
                return written;
            };
            let again = writer.again_with_ack_of(&written[first], &written[next]);
            written.insert(next, again);
            written.remove(first);
            synth::retime(&mut written);
            written
        });
        let capture = synth::pcap(&synth::by_time(each.collect()));
        let ignored: Vec<_> = ORIGIN.into_iter().chain(TIMES).collect();
        check(sample, " with late acknowledgements", capture, &ignored, true)
    });
}

/// Segment sizes: mostly like real ones, now and then tiny.
fn sizes() -> impl Strategy<Value = Vec<u16>> {
    let size = prop_oneof![1 => 1u16..12, 3 => 12u16..600, 3 => 600u16..9_000];
    proptest::collection::vec(size, 1..24)
}

fn any_sample() -> impl Strategy<Value = usize> {
    any::<prop::sample::Index>().prop_map(|index| index.index(SAMPLES.len()))
}

fn any_isn() -> impl Strategy<Value = [u32; 2]> {
    let one = prop_oneof![any::<u32>(), (0u32..60_000).prop_map(|back| u32::MAX - back)];
    [one.clone(), one]
}

fn fail(result: Result<(), String>) -> Result<(), TestCaseError> {
    result.map_err(TestCaseError::fail)
}

fn config() -> ProptestConfig {
    let max_shrink_iters = 200; // each replays a capture
    let failure_persistence = None;
    ProptestConfig { cases: CASES, failure_persistence, max_shrink_iters, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Each byte keeps its time, so that even times must come out the same.
    #[test]
    fn any_cut_order_and_copies_give_the_same_times_too(
        sample in any_sample(),
        sizes in sizes(),
        isn in any_isn(),
        jitter in proptest::collection::vec(0u8..9, 0..40),
        copies in proptest::collection::vec((any::<usize>(), 0u8..20), 0..10),
    ) {
        let sample = &SAMPLES[sample];
        let shape = Shape { sizes, isn, ..Shape::default() };
        let each = sample.conversations.iter().map(|one| {
            synth::duplicate(&synth::reorder(write(one, &shape), &jitter), &copies)
        });
        // Sorting by time keeps the order within equal times only; the
        // conversations are appended to one another where they overlap.
        let packets = merge_by_progress(each.collect());
        fail(check(sample, "", synth::pcap(&packets), &ORIGIN, false))?;
    }

    /// Bytes of successive segments share segments, connections interleave,
    /// segments sent again overlap: all but the times must stay.
    #[test]
    fn any_joining_overlap_and_interleaving_gives_the_same(
        sample in any_sample(),
        sizes in sizes(),
        isn in any_isn(),
        jitter in prop_oneof![Just(Vec::new()), proptest::collection::vec(0u8..6, 1..40)],
        again in proptest::collection::vec((any::<usize>(), 0u8..20, 0u16..3_000, 0u16..3_000), 0..8),
        choices in proptest::collection::vec(any::<u8>(), 1..50),
    ) {
        let sample = &SAMPLES[sample];
        let shape = Shape { sizes, isn, join: true, ..Shape::default() };
        let each = sample.conversations.iter().map(|one| {
            let mut writer = Writer::new(one, shape.clone());
            let mut written = writer.write(one);
            synth::retime(&mut written);
            let moved = synth::reorder(written, &jitter);
            // A segment sent again comes after those that it repeats: only
            // what is in order is repeated.
            match jitter.is_empty() && !again.is_empty() {
                true => synth::overlap(&moved, &mut writer, &again),
                false => moved,
            }
        });
        let mut packets = synth::interleave(each.collect(), &choices);
        synth::retime(&mut packets);
        let ignored: Vec<_> = ORIGIN.into_iter().chain(TIMES).collect();
        fail(check(sample, "", synth::pcap(&packets), &ignored, true))?;
    }
}

/// Whether a reset came after the deadline is a matter of time too.
fn timeless(transactions: &[Value]) -> Vec<Value> {
    let mut copies = transactions.to_vec();
    for copy in copies.iter_mut().filter(|copy| copy["outcome"] == "timeout") {
        copy["outcome"] = "reset".into();
    }
    copies
}

/// Merges by the latest time that each conversation has reached, so that
/// disorder within one stays as it is.
fn merge_by_progress(conversations: Vec<Vec<Written>>) -> Vec<Written> {
    let mut all: Vec<(i64, Written)> = Vec::new();
    for conversation in conversations {
        let mut reached = i64::MIN;
        for written in conversation {
            reached = reached.max(written.packet.at);
            all.push((reached, written));
        }
    }
    all.sort_by_key(|(reached, _)| *reached);
    all.into_iter().map(|(_, written)| written).collect()
}
