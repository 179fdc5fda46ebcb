//! What comes for a connection after it has closed, at once or much later.

mod common;

use common::synth::{Role, Shape, Writer, Written, http1, pcap, retime};
use common::{analyze, in_memory, options};
use perisco::analyze::report::Format;
use serde_json::Value;

const SERVER: &str = "10.9.9.9:80";

fn connection(client: &str, isn: [u32; 2], exchanges: usize) -> Vec<Written> {
    let ends = [client, SERVER].map(|end| end.parse().expect("an address"));
    let conversation = http1(ends, 0, exchanges);
    Writer::new(&conversation, Shape { isn, ..Shape::default() }).write(&conversation)
}

fn report(mut packets: Vec<Written>, threads: usize) -> Value {
    retime(&mut packets);
    let inputs = vec![in_memory("one.pcap", pcap(&packets))];
    let bytes = analyze(inputs, &options(Format::Json, threads)).bytes;
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A round is 1,024 packets: what is kept of a closed connection is less in
/// the rounds after the one in which it closed.
#[test]
fn last_segments_again_and_ports_used_again_are_told_apart_whenever_they_come() {
    let first = connection("10.0.0.1:40000", [1_000, 2_000], 3);
    let again = connection("10.0.0.1:40000", [70_000_000, 80_000_000], 5);
    let other = connection("10.0.0.2:50000", [5, 6], 1_500);
    let is_data = |written: &&Written| matches!(written.role, Role::Payload { offset: 0, .. });
    let late: Vec<Written> = first.iter().filter(is_data).cloned().collect();
    assert_eq!(late.len(), 2, "the first request and the first response");
    let count = first.len() + again.len() + late.len() + other.len();

    let near = [first.clone(), late.clone(), again.clone(), other.clone()].concat();
    let far = [first, other, late, again].concat();
    for (packets, threads) in [(near.clone(), 1), (near, 2), (far.clone(), 1), (far, 2)] {
        let report = report(packets, threads);
        assert_eq!(report["capture"]["packets"], count);
        assert_eq!(report["flows"]["count"], 3);
        assert_eq!(report["flows"]["retransmissions"], 2);
        assert_eq!(report["flows"]["without_handshake"], 0);
        assert_eq!(report["transactions"]["count"], 3 + 5 + 1_500);
        assert_eq!(report["loss"]["none_known"], true);
    }
}
