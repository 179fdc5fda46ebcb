//! A recording held against a tcpdump of the same traffic.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::live::{Place, run};
use super::streams::{Streams, streams};

/// The transactions of a capture without times, in an order of their own.
fn transactions(path: &Path) -> Vec<String> {
    let mut lines: Vec<String> = super::transactions_of(path)
        .into_iter()
        .map(|line| {
            super::without(&super::without(&line, &super::TIMES), &super::ORIGIN).to_string()
        })
        .collect();
    lines.sort();
    lines
}

/// The recording has every byte that tcpdump has, in the same streams.
pub fn assert_same_streams(recorded: &Path, dumped: &Path) {
    let (ours, theirs) = (streams(recorded), streams(dumped));
    assert!(!theirs.is_empty(), "tcpdump saw nothing");
    let sizes = |streams: &Streams| -> BTreeSet<_> {
        streams.iter().map(|(key, stream)| (*key, stream.bytes.len(), stream.missing)).collect()
    };
    let (our_sizes, their_sizes) = (sizes(&ours), sizes(&theirs));
    let only = |these: &BTreeSet<_>, those: &BTreeSet<_>| -> Vec<_> {
        these.difference(those).take(20).copied().collect()
    };
    assert!(
        our_sizes == their_sizes,
        "{} streams in the recording, {} in the dump; only in the first: {:?}; only in the second: {:?}",
        ours.len(),
        theirs.len(),
        only(&our_sizes, &their_sizes),
        only(&their_sizes, &our_sizes),
    );
    for (key, stream) in &theirs {
        assert_eq!(stream.missing, 0, "tcpdump lost bytes of {key:?}");
        assert!(ours[key].bytes == stream.bytes, "other bytes in {key:?}");
    }
}

/// The same transactions, but for times and what only one of them knows.
pub fn assert_same_transactions(recorded: &Path, dumped: &Path) {
    assert_eq!(transactions(recorded), transactions(dumped));
}

/// Records what `traffic` does as it is, with tcpdump beside, and compares.
pub fn compare(place: &Place, traffic: impl FnOnce(&Place)) -> Vec<Value> {
    let dump = place.tcpdump("dump.pcap");
    let recorder = place.record("cap.pcapng", &["--redact-none"]);
    traffic(place);
    let (status, said) = recorder.stop();
    dump.stop();
    assert!(status.success(), "{said}");
    assert!(said.contains("nothing lost"), "{said}");
    let (recorded, dumped) = (place.file("cap.pcapng"), place.file("dump.pcap"));
    assert_same_streams(&recorded, &dumped);
    assert_same_transactions(&recorded, &dumped);
    super::transactions_of(&recorded)
}

/// curl inside, quiet; what it printed.
pub fn curl(place: &Place, args: &[&str]) -> String {
    run(place.command("curl").args(["-s", "--max-time", "20"]).args(args))
}

/// tshark complains of nothing but the notes that every closing FIN brings.
pub fn assert_nothing_odd(place: &Place) {
    let said = run(Command::new("tshark").arg("-r").arg(place.file("cap.pcapng")).args([
        "-o",
        "tcp.try_heuristic_first:TRUE",
        "-q",
        "-z",
        "expert",
    ]));
    let mut kind = "";
    for line in said.lines() {
        if let Some((first, _)) = line.split_once(" (") {
            kind = first;
        }
        let odd = matches!(kind, "Errors" | "Warns")
            || kind == "Notes" && line.contains("Sequence") && !line.contains("connection closing");
        assert!(!odd, "{said}");
    }
    assert!(said.contains("Chats ("), "tshark has read it: {said}");
}
