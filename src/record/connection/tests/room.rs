//! Who makes room: the process that has most of it.

use super::{Talk, options, writer};
use crate::record::connection::Connections;
use crate::record::testkit::{Owned, Packet, Party, read_file};
use crate::record::writer::Compression;

const GREEDY: Party = Party { pid: 4_000_003, comm: "greedy", netns: 7 };

/// A connection whose client is here.
fn talk(port: u16, client: Option<Party>) -> Talk {
    let mut talk = Talk::new(&format!("10.0.0.1:{port}"), "10.0.0.2:80");
    talk.parties[0] = client.unwrap_or(talk.parties[0]);
    // Equal numbers would make two of them the ends of one.
    talk.next = [u32::from(port) * 1_000_000, u32::from(port) * 1_100_000];
    talk
}

/// What the client's end tells of it.
fn said(talk: &mut Talk, bytes: &[u8]) -> Owned {
    let [sent, _] = talk.send(0, bytes);
    sent
}

#[test]
fn a_process_that_opens_connections_without_end_evicts_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), Compression::None);
    let mut writer = writer(&options);
    writer.connections = Connections::with_limit(200);
    let mut others: Vec<Talk> = (1..=20).map(|port| talk(port, None)).collect();
    let mut give = |events: &[Owned]| {
        events.iter().for_each(|event| writer.event(&event.event()).unwrap());
    };
    for talk in &mut others {
        let open = talk.open(0);
        give(&open);
        give(&[said(talk, b"before")]);
    }
    for port in 1001..=3000 {
        let mut talk = talk(port, Some(GREEDY));
        talk.at = others[19].at;
        let open = talk.open(0);
        give(&open);
        give(&[said(&mut talk, b"x")]);
    }
    for talk in &mut others {
        give(&[said(talk, b"after")]);
    }
    let summary = writer.finish(&[]).unwrap();
    assert_eq!(summary.connections, 2020, "none was joined midway");
    assert_eq!(summary.evicted, 1820, "all of the greedy process");
    assert_eq!(summary.gaps, 0);
}

#[test]
fn what_a_process_lets_wait_costs_others_no_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), Compression::None);
    let path = dir.path().join("cap.pcapng");
    let mut writer = writer(&options);
    let mut other = talk(1, None);
    let base = other.next;
    let mut give = |event: &Owned| writer.event(&event.event()).unwrap();
    other.open(0).iter().for_each(&mut give);
    // Its first bytes come last: the others wait for them.
    let first = said(&mut other, b"first ");
    give(&said(&mut other, b"second"));
    let piece = [b'x'; 32_768];
    for port in 1001..=1100 {
        let mut greedy = talk(port, Some(GREEDY));
        greedy.at = other.at;
        greedy.open(0).iter().for_each(&mut give);
        // Never told: a hole that all that follows waits for.
        said(&mut greedy, b"hole");
        for _ in 0..30 {
            give(&said(&mut greedy, &piece));
        }
    }
    give(&first);
    let summary = writer.finish(&[]).unwrap();
    assert_eq!((summary.gaps, summary.gap_bytes), (100, 400), "the holes and nothing else");
    let of_other = |packet: &&Packet| packet.payload == b"first " || packet.payload == b"second";
    let packets = read_file(&path);
    let order: Vec<_> = packets.iter().filter(of_other).map(|packet| packet.seq).collect();
    assert_eq!(order, [base[0], base[0].wrapping_add(6)], "in their order");
}
