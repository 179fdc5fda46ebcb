//! What a user finds in the file, from events in, out of and without order.

mod unread;

use proptest::prelude::*;

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
fn lost_bytes_are_a_gap_of_exact_place_and_length() {
    let mut talk = Talk::local();
    let base = talk.next;
    let mut events = talk.open_both();
    events.extend(talk.send(0, b"first "));
    talk.send(0, b"lost in both copies");
    talk.lost = 2;
    let [after, copy] = talk.send(0, b"after");
    events.extend([after, copy]);
    events.extend(talk.close(0));
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "Csyn Ssyn C@0 C6@0 S@0 C5@25 Cfin@30 Sfin@0 C@31");
    // Nothing else would say that the server has what is missing.
    assert_eq!(packets[4].ack, Some(base[0].wrapping_add(25)));
    assert_eq!((summary.gaps, summary.gap_bytes), (1, 19));
}

#[test]
fn the_other_copy_fills_what_one_lost() {
    let mut talk = Talk::local();
    let base = talk.next;
    let mut events = talk.open_both();
    let mut receiver = Vec::new();
    for (at, part) in [b"one ", b"two ", b"tri "].into_iter().enumerate() {
        let [sent, received] = talk.send(0, part);
        if at != 1 {
            events.push(sent);
        }
        receiver.push(received);
    }
    events.extend(receiver);
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "Csyn Ssyn C@0 C4@0 C4@4 C4@8");
    assert!(packets[4].interface.contains("curl"), "the sender's interface");
    assert_eq!(summary.gaps, 0);
}

/// Pages that one end cannot read are read from the other.
#[test]
fn unreadable_bytes_come_from_the_other_end_or_are_a_gap() {
    for other in [true, false] {
        let mut talk = Talk::local();
        let base = talk.next;
        let mut events = talk.open_both();
        let [mut sent, received] = talk.send(1, b"sendfile body");
        sent.payload.truncate(4);
        sent.head.gap = Some(GapReason::Pages);
        events.push(sent);
        if other {
            events.push(received);
        }
        events.extend(talk.send(1, b"next"));
        let (packets, summary) = file(&events);
        let stream = stream(&packets, talk.addresses[1], base[1]);
        assert_eq!(stream.len(), if other { 17 } else { 8 });
        assert_eq!((summary.gaps, summary.gap_bytes), if other { (0, 0) } else { (1, 9) });
    }
}

#[test]
fn what_is_unreadable_at_the_end_is_seen_too() {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:80");
    let base = talk.next;
    let mut events = talk.open(0);
    let [mut sent, _] = talk.send(0, b"sendfile body");
    sent.payload.clear();
    sent.head.gap = Some(GapReason::Pages);
    events.push(sent);
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "Csyn Ssyn C@0 S@0 C@13");
    assert_eq!((summary.gaps, summary.gap_bytes), (1, 13));
}

#[test]
fn a_lost_tail_is_before_the_fin() {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:80");
    let base = talk.next;
    let mut events = talk.open(0);
    events.push(talk.send(0, b"request")[0].clone());
    talk.send(1, b"a response that no event tells of");
    events.push(talk.close(0)[0].clone());
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "Csyn Ssyn C@0 C7@0 Cfin@7 Sfin@33 C@8");
    assert_eq!((summary.gaps, summary.gap_bytes), (1, 33));
    assert_eq!(packets[0].comments, ["client=host/curl[4000001]"]);
}

#[test]
fn bytes_after_their_gap_was_given_up_are_written_at_their_place() {
    let mut talk = Talk::local();
    let base = talk.next;
    let mut events = talk.open_both();
    let late = talk.send(0, b"late");
    events.extend(talk.send(0, b"soon"));
    talk.at += 300 * MS;
    // Later events make the time go on; the gap is given up.
    events.extend(talk.send(1, b"x"));
    talk.at += 300 * MS;
    events.extend(talk.send(1, b"y"));
    events.extend(late);
    let (packets, summary) = file(&events);
    let stream = stream(&packets, talk.addresses[0], base[0]);
    assert_eq!(stream.into_values().collect::<Vec<u8>>(), b"latesoon");
    assert_eq!((summary.gaps, summary.gap_bytes), (0, 0));
}

#[test]
fn packets_open_and_close_a_connection_as_it_was() {
    let mut talk = Talk::local();
    talk.packets = true;
    let mut events = Vec::new();
    events.extend(talk.flags(0, tcp::SYN));
    events.extend(talk.flags(1, tcp::SYN | tcp::ACK));
    let base = talk.next;
    events.extend(talk.open_both());
    events.extend(talk.send(0, b"request"));
    events.extend(talk.send(1, b"response"));
    // The server closes first, with the retransmission of its response.
    events.extend(talk.flags(1, tcp::FIN | tcp::ACK));
    events.extend(talk.flags(0, tcp::FIN | tcp::ACK));
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "Csyn Ssyn C@0 C7@0 S8@0 Sfin@8 Cfin@7 S@9");
    assert_eq!(packets[0].at, START as i64 + 1000);
    assert_eq!((summary.connections, summary.gaps), (1, 0));
}

#[test]
fn a_reset_is_a_reset_and_nothing_else_is() {
    let mut talk = Talk::local();
    let base = talk.next;
    let mut events = talk.open_both();
    events.extend(talk.send(0, b"request"));
    events.extend(talk.flags(1, tcp::RST));
    for side in 0..2 {
        let mut closed = talk.head(Kind::Close, side);
        closed.head.tcp_flags = close::RESET;
        events.push(closed);
    }
    assert_eq!(text(&file(&events).0, &talk, base), "Csyn Ssyn C@0 C7@0 Srst@0");

    // The peer is elsewhere and no packet is seen.
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:80");
    let mut events = talk.open(0);
    events.push(talk.send(0, b"request")[0].clone());
    let mut closed = talk.head(Kind::Close, 0);
    closed.head.tcp_flags = close::RESET;
    events.push(closed);
    assert_eq!(text(&file(&events).0, &talk, base), "Csyn Ssyn C@0 C7@0 Srst@0");
}

/// A SYN and whose it is, as the client's end sees it.
fn syn(talk: &mut Talk) -> Vec<Owned> {
    let [syn, _] = talk.flags(0, tcp::SYN);
    vec![syn, talk.owner(0)]
}

#[test]
fn a_refused_connection_is_a_syn_and_its_reset() {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:81");
    talk.next[1] = 0;
    let base = talk.next;
    let mut events = syn(&mut talk);
    let [_, reset] = talk.flags(1, tcp::RST);
    events.extend([reset, talk.head(Kind::Close, 0)]);
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "Csyn Srst@0");
    assert_eq!((packets[0].seq, packets[0].ack), (base[0], None));
    assert_eq!((packets[1].seq, packets[1].ack), (0, Some(base[0].wrapping_add(1))));
    assert_eq!(packets[0].comments, ["client=host/curl[4000001]"]);
    assert_eq!((summary.connections, summary.gaps), (1, 0));
}

#[test]
fn a_syn_without_an_answer_stands_alone() {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:81");
    let base = talk.next;
    let mut events = syn(&mut talk);
    // Repeated, then given up.
    let mut again = events[0].clone();
    again.head.at += 1000 * MS;
    events.push(again);
    talk.at += 3000 * MS;
    events.push(talk.head(Kind::Close, 0));
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "Csyn");
    assert_eq!(packets[0].interface, "host/curl[4000001]");
    assert_eq!((summary.connections, summary.gaps), (1, 0));
    // Still waiting when the recording ends.
    let (packets, _) = file(&events[..1]);
    assert_eq!(text(&packets, &talk, base), "Csyn");
}

/// As [`file`], with a look at what waits before each event.
fn file_in_time(events: &[Owned]) -> (Vec<Packet>, Summary) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&options(dir.path(), Compression::None));
    for event in events {
        writer.tick(event.head.at, &[]).unwrap();
        writer.event(&event.event()).unwrap();
    }
    let summary = writer.finish(&[]).unwrap();
    (read_file(&dir.path().join("cap.pcapng")), summary)
}

#[test]
fn a_late_answer_completes_the_handshake() {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:81");
    let base = talk.next;
    let mut events = syn(&mut talk);
    talk.at += 1000 * MS;
    events.extend(talk.open(0));
    events.push(talk.send(0, b"request")[0].clone());
    let (packets, summary) = file_in_time(&events);
    assert_eq!(text(&packets, &talk, base), "Csyn Ssyn C@1 C7@1");
    assert_eq!(packets[1].ack, Some(base[0].wrapping_add(1)));
    assert!(packets[1].at - packets[0].at >= 1000 * MS as i64);
    assert_eq!(summary.connections, 1);
    // Without the answer the SYN does not wait for the end.
    talk.at += 1000 * MS;
    events.truncate(2);
    events.extend(Talk { at: talk.at, ..Talk::local() }.open_both());
    let (packets, _) = file_in_time(&events);
    assert_eq!(packets[0].seq, base[0]);
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

/// The first bytes after joining are lost: an ACK tells where they would be.
#[test]
fn a_gap_right_after_joining_is_visible() {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:80");
    let base = talk.next;
    let mut open = talk.head(Kind::Open, 0);
    open.head.midway = true;
    let mut events = vec![open, talk.owner(0)];
    talk.send(0, b"lost");
    events.push(talk.send(0, b"request")[0].clone());
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "C@0 S@0 C7@4");
    assert_eq!((summary.gaps, summary.gap_bytes), (1, 4));
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
fn a_snapped_write_keeps_its_length() {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:80");
    let base = talk.next;
    let mut events = talk.open(0);
    let [mut sent, _] = talk.send(0, &[b'a'; 100_000]);
    sent.payload.truncate(64);
    sent.head.gap = Some(GapReason::Snaplen);
    events.push(sent);
    events.push(talk.send(0, b"next")[0].clone());
    let (packets, summary) = file(&events);
    assert_eq!(text(&packets, &talk, base), "Csyn Ssyn C@0 C64@0 C@65495 C4@100000");
    assert_eq!((packets[3].original, packets[4].original), (65_495, 100_000 - 65_495));
    assert_eq!((summary.gaps, summary.snapped_bytes), (0, 100_000 - 64));
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

/// Side and length.
type Write = (usize, usize);
/// Kept, told twice, how far it is put off.
type Fate = (bool, bool, u8);

/// A connection of `writes` bytes each way in turn; then the same events with
/// losses, repeats and disorder within what may wait.
fn damaged() -> impl Strategy<Value = (Vec<Write>, Vec<Fate>, bool)> {
    let writes = prop::collection::vec((0_usize..2, 1_usize..200), 1..30);
    let fates =
        prop::collection::vec((prop::bool::weighted(0.8), prop::bool::weighted(0.2), 0_u8..6), 60);
    (writes, fates, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is lost, repeated or disordered: each byte that any event
    /// carried is in the file once, at its place, and nothing else; what none
    /// carried is the gaps, to the byte.
    #[test]
    fn each_byte_once_and_exact_gaps((writes, fates, both) in damaged()) {
        let mut talk = Talk::local();
        let base = talk.next;
        let mut events = Vec::new();
        let mut expected = [vec![], vec![]];
        let mut fates = fates.into_iter().cycle();
        for (count, (side, length)) in writes.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + count) as u8).collect();
            let mut told = false;
            for event in talk.send(side, &bytes).into_iter().take(1 + usize::from(both)) {
                let (kept, twice, shift) = fates.next().unwrap();
                for _ in 0..usize::from(kept) * (1 + usize::from(twice)) {
                    told = true;
                    events.push((events.len() + usize::from(shift), event.clone()));
                }
            }
            expected[side].extend(bytes.into_iter().map(|byte| told.then_some(byte)));
        }
        events.sort_by_key(|(at, _)| *at);
        let mut all = Talk::local().open_both();
        all.extend(events.into_iter().map(|(_, event)| event));
        all.extend(talk.close(0));
        let (packets, summary) = file(&all);
        let mut missing = 0;
        for side in 0..2 {
            let found = stream(&packets, talk.addresses[side], base[side]);
            let known = expected[side].iter().enumerate();
            let known: Vec<(i32, u8)> =
                known.filter_map(|(at, byte)| byte.map(|byte| (at as i32, byte))).collect();
            missing += expected[side].len() - known.len();
            prop_assert_eq!(found.into_iter().collect::<Vec<_>>(), known);
        }
        prop_assert_eq!(summary.gap_bytes, missing as u64);
        prop_assert_eq!(summary.gaps == 0, missing == 0);
        prop_assert_eq!(summary.connections, 1);
        // Both FINs stand where the streams ended.
        for side in 0..2 {
            let fin = packets.iter().find(|packet| packet.from == talk.addresses[side] && packet.flags == tcp::FIN);
            prop_assert_eq!(fin.unwrap().seq, talk.next[side].wrapping_sub(1));
        }
    }

    /// No event breaks it, and what waits is bounded.
    #[test]
    fn any_event_is_taken(heads in prop::collection::vec(
        (0_u8..4, 0_usize..2, any::<u32>(), any::<Option<u32>>(), 0_u32..70_000, any::<u8>(), any::<bool>(), 0_u64..50), 1..60)) {
        let mut talk = Talk::local();
        let mut events = Vec::new();
        for (kind, side, seq, ack, length, flags, midway, later) in heads {
            let kind = [Kind::Data, Kind::Open, Kind::Close, Kind::Owner][usize::from(kind)];
            talk.at += later * MS;
            let mut event = talk.head(kind, side);
            (event.head.seq, event.head.ack, event.head.length) = (seq, ack, length);
            (event.head.tcp_flags, event.head.midway) = (flags, midway);
            event.payload = vec![b'x'; (length as usize).min(32_768)];
            event.head.gap = (length > 32_768).then_some(GapReason::CallLimit);
            events.push(event);
        }
        file(&events);
    }
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
