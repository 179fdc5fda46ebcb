//! How connections begin and end, or do not come about.

use super::*;

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
