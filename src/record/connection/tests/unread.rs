//! A socket may close before its process has read what came.

use super::*;

/// The client of a peer elsewhere sends a request and shuts down; the answer
/// and the end of it have come, and are not read, when its socket closes.
fn closed_with_an_answer_unread() -> (Talk, [u32; 2], Vec<Owned>, Owned) {
    let mut talk = Talk::new("10.0.0.1:1000", "10.0.0.2:80");
    let base = talk.next;
    let mut events = talk.open(0);
    events.push(talk.send(0, b"request")[0].clone());
    let [_, mut read] = talk.send(1, b"response");
    events.push(talk.close(0)[0].clone());
    read.head.at = talk.at + MS;
    (talk, base, events, read)
}

#[test]
fn what_is_read_after_the_close_stands_before_its_senders_end() {
    let (talk, base, mut events, read) = closed_with_an_answer_unread();
    events.push(read);
    let (packets, summary) = file(&events);
    let expected = "Csyn Ssyn C@0 C7@0 Cfin@7 S8@0 Sfin@8 C@8";
    assert_eq!(text(&packets, &talk, base), expected);
    assert_eq!((summary.gaps, summary.gap_bytes), (0, 0));
}

#[test]
fn what_is_never_read_is_a_gap() {
    let (talk, base, events, _) = closed_with_an_answer_unread();
    let (packets, summary) = file(&events);
    assert_eq!((summary.gaps, summary.gap_bytes), (1, 8));
    let fin =
        packets.iter().find(|packet| packet.flags == tcp::FIN && packet.from == talk.addresses[1]);
    assert_eq!(fin.unwrap().seq.wrapping_sub(base[1]), 8);
}
