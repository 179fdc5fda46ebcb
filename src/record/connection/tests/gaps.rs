//! What one end lost, or nobody could read.

use super::*;

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
