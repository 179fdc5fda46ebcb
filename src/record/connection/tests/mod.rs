//! What a user finds in the file, from events in, out of and without order.

mod damaged;
mod gaps;
mod handshakes;
mod names;
mod nat;
mod room;
mod unread;

use crate::record::event::{GapReason, Kind, close, tcp};
use crate::record::testkit::{
    MS, Owned, Packet, Party, START, Talk, options, outline, read, read_file, record, stream,
    writer,
};
use crate::record::writer::{Compression, Summary};

fn file(events: &[Owned]) -> (Vec<Packet>, Summary) {
    let (bytes, summary) = record(events, |_| ());
    (read(bytes), summary)
}

fn text(packets: &[Packet], talk: &Talk, base: [u32; 2]) -> String {
    outline(packets, talk, base)
}

const WHOLE: &str = "Csyn Ssyn C@0 C7@0 S8@0 Cfin@7 Sfin@8 C@8";

/// One exchange of both ends, whole.
fn exchange(talk: &mut Talk) -> Vec<Owned> {
    let mut events = talk.open_both();
    events.extend(talk.send(0, b"request"));
    events.extend(talk.send(1, b"response"));
    events.extend(talk.close(0));
    events
}

#[test]
fn both_ends_are_one_connection() {
    for (client, server) in [("127.0.0.1:1000", "127.0.0.1:80"), ("[::1]:1000", "[::1]:80")] {
        let mut talk = Talk::new(client, server);
        let base = talk.next;
        let (packets, summary) = file(&exchange(&mut talk));
        assert_eq!(text(&packets, &talk, base), WHOLE);
        assert_eq!((summary.connections, summary.packets, summary.bytes), (1, 8, 15));
        assert_eq!((summary.gaps, summary.malformed), (0, 0));
        assert_eq!(
            packets[0].comments,
            ["client=host/curl[4000001]", "server=host/nginx[4000002]"]
        );
        assert!(packets[1..].iter().all(|packet| packet.comments.is_empty()));
        assert_eq!(packets[3].interface, "host/curl[4000001]");
        assert_eq!(packets[4].interface, "host/nginx[4000002]");
        // The SYN has the time of the open; a request that of its send.
        assert_eq!(packets[0].at, START as i64 + 1000);
        // Each acknowledges what is in the file so far.
        assert_eq!(packets[4].ack, Some(base[0].wrapping_add(7)));
    }
}

#[test]
fn ends_in_two_namespaces_are_one_connection_if_their_numbers_agree() {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:80");
    talk.parties[1].netns = 8;
    let base = talk.next;
    let (packets, summary) = file(&exchange(&mut talk));
    assert_eq!(text(&packets, &talk, base), WHOLE);
    assert_eq!(summary.connections, 1);

    // The same addresses elsewhere, at the same time: another connection.
    let mut other = Talk { next: [5, 6], ..talk.clone() };
    other.parties = other.parties.map(|party| Party { netns: party.netns + 10, ..party });
    let mut talk = Talk { next: base, at: START, ..talk };
    let (a, b) = (exchange(&mut talk), exchange(&mut other));
    let events: Vec<Owned> = a.into_iter().zip(b).flat_map(|(a, b)| [a, b]).collect();
    assert_eq!(file(&events).1.connections, 2);

    // Of loopback addresses not even equal numbers make ends of two namespaces one.
    let mut talk = Talk::local();
    talk.parties[1].netns = 8;
    let (packets, summary) = file(&exchange(&mut talk));
    assert_eq!(summary.connections, 2);
    assert_eq!(packets.iter().map(|packet| packet.payload.len()).sum::<usize>(), 30);
}

/// Two pairs of namespaces with equal addresses, at once and for long.
#[test]
fn equal_addresses_elsewhere_do_not_end_a_connection() {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:80");
    let mut other = Talk { next: [5, 6], ..talk.clone() };
    other.parties = other.parties.map(|party| Party { netns: party.netns + 10, ..party });
    let mut events = [talk.open_both(), other.open_both()].concat();
    let mut ticks = Vec::new();
    for _ in 0..5 {
        events.extend([talk.send(0, b"one"), other.send(0, b"two")].concat());
        talk.at += 3000 * MS;
        other.at = talk.at;
        ticks.push((events.len(), talk.at));
    }
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), crate::record::writer::Compression::None);
    let mut writer = writer(&options);
    for (at, event) in events.iter().enumerate() {
        writer.event(&event.event()).unwrap();
        if let Some((_, now)) = ticks.iter().find(|(tick, _)| *tick == at + 1) {
            writer.tick(*now, &[]).unwrap();
        }
    }
    let summary = writer.finish(&[]).unwrap();
    assert_eq!((summary.connections, summary.bytes, summary.gaps), (2, 30, 0));
}

#[test]
fn with_both_ends_kept_each_copy_has_its_interface() {
    let mut talk = Talk::local();
    talk.parties[1] = talk.parties[0];
    let (bytes, summary) = record(&exchange(&mut talk), |options| options.both_ends = true);
    let packets = read(bytes);
    assert_eq!((summary.connections, summary.bytes), (2, 30));
    let role =
        |role: &str| packets.iter().filter(|packet| packet.description.contains(role)).count();
    assert_eq!((role("role=client "), role("role=server ")), (8, 8));
}

#[test]
fn a_response_in_the_ring_before_its_request_comes_after_it() {
    let mut talk = Talk::local();
    let base = talk.next;
    let mut events = talk.open_both();
    let request = talk.send(0, b"request");
    let response = talk.send(1, b"response");
    events.extend(response);
    events.extend(request);
    events.extend(talk.close(0));
    assert_eq!(text(&file(&events).0, &talk, base), WHOLE);
}

#[test]
fn the_same_ports_again_are_another_connection() {
    let mut talk = Talk::local();
    let mut events = exchange(&mut talk);
    let (packets, _) = file(&events);
    talk.next = [1_000, 2_000];
    let mut second = exchange(&mut talk);
    for event in &mut second {
        event.head.socket += 100;
    }
    // The old server's end is closed only after the new client's has opened.
    let last = events.pop().unwrap();
    events.extend(second.drain(..2));
    events.push(last);
    events.extend(second);
    let (both, summary) = file(&events);
    assert_eq!((summary.connections, summary.gaps), (2, 0));
    assert_eq!(both.len(), 2 * packets.len());
    let second: Vec<Packet> =
        both.into_iter().filter(|packet| packet.seq < 100_000_000 && packet.seq > 900).collect();
    assert_eq!(text(&second, &talk, [1_000, 2_000]), WHOLE);
}

#[test]
fn joined_midway_there_is_no_handshake() {
    let mut talk = Talk::local();
    let base = talk.next;
    let mut events = Vec::new();
    for side in 0..2 {
        let mut open = talk.head(Kind::Open, side);
        open.head.midway = true;
        open.head.pid = talk.parties[side].pid;
        events.extend([open, talk.owner(side)]);
    }
    events.extend(talk.send(0, b"request"));
    events.extend(talk.send(1, b"response"));
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "C7@0 S8@0");
    assert_eq!(
        packets[0].comments,
        ["client=host/curl[4000001]", "server=host/nginx[4000002]", "joined=midway"]
    );
    assert_eq!(summary.gaps, 0);
}

#[test]
fn a_worker_that_takes_over_is_told() {
    let mut talk = Talk::local();
    let mut events = talk.open_both();
    events.extend(talk.send(0, b"request"));
    talk.parties[1] = Party { pid: 4_000_009, comm: "worker", netns: 7 };
    events.push(talk.owner(1));
    events.extend(talk.send(1, b"response"));
    let (packets, _) = file(&events);
    assert_eq!(packets[4].comments, ["server=host/worker[4000009]"]);
    assert_eq!(packets[4].interface, "host/worker[4000009]");
}

#[test]
fn owners_told_late_are_waited_for_but_not_forever() {
    for delay in [50 * MS, 500 * MS] {
        let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:80");
        let mut events = vec![talk.head(Kind::Open, 0), talk.send(0, b"request")[0].clone()];
        talk.at += delay;
        // Another event: time goes on.
        events.push(talk.send(1, b"response")[1].clone());
        events.push(talk.owner(0));
        events.push(talk.send(0, b"again")[0].clone());
        let (packets, _) = file(&events);
        let first = if delay < 100 * MS { "host/curl[4000001]" } else { "unknown" };
        assert_eq!(packets[0].interface, first);
        assert_eq!(packets.last().unwrap().interface, "host/curl[4000001]");
        let told = packets.iter().flat_map(|packet| &packet.comments).count();
        assert_eq!(told, 1, "{packets:?}");
    }
}

#[test]
fn events_that_make_no_sense_are_counted() {
    let mut talk = Talk::local();
    let mut mixed = talk.head(Kind::Data, 0);
    mixed.head.remote = Some("[::1]:80".parse().unwrap());
    let mut nowhere = talk.head(Kind::Data, 0);
    (nowhere.head.local, nowhere.head.remote) = (None, None);
    assert_eq!(file(&[mixed, nowhere]).1.malformed, 2);
}

#[test]
fn too_many_connections_make_room_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&options(dir.path(), crate::record::writer::Compression::None));
    writer.connections = super::Connections::with_limit(10);
    for port in 1..=30 {
        let mut talk = Talk::new(&format!("10.0.0.1:{port}"), "10.0.0.2:80");
        for event in talk.open(0).into_iter().chain(talk.send(0, b"x").into_iter().take(1)) {
            writer.event(&event.event()).unwrap();
        }
    }
    let summary = writer.finish(&[]).unwrap();
    assert_eq!((summary.connections, summary.evicted), (30, 20));
}
