//! A connection whose ends have different addresses is one connection.

use std::net::SocketAddr;

use super::*;
use crate::record::event::Role;

const CLIENT: &str = "10.244.0.5:40000";
const SERVICE: &str = "10.96.0.10:80";
const POD: &str = "10.244.0.7:8080";

/// A connection through a Service: the client's end has the Service's address,
/// the server's that of its pod, and `masked` for the client's where given.
fn translate(events: &mut [Owned], masked: Option<&str>) {
    for event in events {
        if event.head.role == Role::Server {
            event.head.local = Some(POD.parse().unwrap());
            if let Some(address) = masked {
                event.head.remote = Some(address.parse().unwrap());
            }
        }
    }
}

fn talk() -> Talk {
    let mut talk = Talk::new(CLIENT, SERVICE);
    talk.parties[1].netns = 8;
    talk
}

fn ends(packet: &Packet) -> SocketAddr {
    packet.from
}

#[test]
fn the_two_ends_of_a_nat_are_one_connection() {
    for masked in [None, Some("10.244.0.1:61000"), Some("10.250.0.1:40000")] {
        let mut talk = talk();
        let base = talk.next;
        let mut events = exchange(&mut talk);
        translate(&mut events, masked);
        let (packets, summary) = file(&events);
        assert_eq!((summary.connections, summary.packets, summary.gaps), (1, 8, 0), "{masked:?}");
        assert_eq!(text(&packets, &talk, base).replace("S", "C"), WHOLE.replace("S", "C"));
        let comments: Vec<_> = packets.iter().flat_map(|packet| &packet.comments).collect();
        assert!(comments.contains(&&"client=host/curl[4000001]".to_owned()), "{comments:?}");
        assert!(comments.contains(&&"server=host/nginx[4000002]".to_owned()), "{comments:?}");
        let other = comments.iter().find(|comment| comment.starts_with("server.address="));
        assert!(other.is_some(), "{comments:?}");
    }
}

/// Where both ends are told of before anything is written, the addresses are
/// those of whom the client talked to.
#[test]
fn what_is_known_in_time_has_the_servers_addresses() {
    let mut talk = talk();
    let mut events = Vec::new();
    events.extend(talk.flags(0, tcp::SYN));
    events.extend(talk.flags(1, tcp::SYN | tcp::ACK));
    events.extend(talk.open_both());
    events.extend(talk.send(0, b"request"));
    events.extend(talk.send(1, b"response"));
    events.extend(talk.close(0));
    translate(&mut events, None);
    let (packets, summary) = file(&events);
    assert_eq!((summary.connections, summary.gaps), (1, 0));
    let pod: SocketAddr = POD.parse().unwrap();
    assert!(packets.iter().any(|packet| ends(packet) == pod));
    let comments = packets[0].comments.join(" ");
    assert!(comments.contains(&format!("server.address={SERVICE}")), "{comments}");
    assert_eq!(packets.iter().map(|packet| packet.payload.len()).sum::<usize>(), 15);
}

/// The client's end may have been written before the server's is told of.
#[test]
fn an_end_that_comes_late_joins_what_is_written() {
    let mut talk = talk();
    let base = talk.next;
    let mut events = exchange(&mut talk);
    translate(&mut events, None);
    let (late, mut early): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| event.head.role == Role::Server);
    early.extend(late);
    let (packets, summary) = file(&early);
    assert_eq!((summary.connections, summary.gaps), (1, 0));
    let payload = |from: &str, base| stream(&packets, from.parse().unwrap(), base).len();
    assert_eq!((payload(CLIENT, base[0]), payload(SERVICE, base[1])), (7, 8));
}

/// Equal numbers at two ends of one kind are chance.
#[test]
fn two_clients_are_two_connections() {
    let mut one = talk();
    let mut two = Talk { addresses: one.addresses, ..talk() };
    two.addresses[0] = "10.244.0.6:40000".parse().unwrap();
    let mut events = one.open(0);
    events.extend(two.open(0));
    for talk in [&mut one, &mut two] {
        let [sent, _] = talk.send(0, b"request");
        events.push(sent);
    }
    assert_eq!(file(&events).1.connections, 2);
}

/// Addresses and ports are used again: each time it is the pair that belongs together.
#[test]
fn a_port_that_is_used_again_is_another_connection() {
    let mut events = Vec::new();
    let mut talk = talk();
    for round in 0..20 {
        talk.next = [round * 7919, round * 104_729];
        let mut exchange = exchange(&mut talk);
        translate(&mut exchange, None);
        events.extend(exchange);
        talk.at += 2000 * MS;
    }
    let (packets, summary) = file(&events);
    assert_eq!((summary.connections, summary.gaps), (20, 0));
    assert_eq!(packets.iter().map(|packet| packet.payload.len()).sum::<usize>(), 20 * 15);
}

/// With both copies asked for, both are there.
#[test]
fn both_ends_stay_apart_where_that_is_asked_for() {
    let mut talk = talk();
    let mut events = exchange(&mut talk);
    translate(&mut events, None);
    let (_, summary) = record(&events, |options| options.both_ends = true);
    assert_eq!(summary.connections, 2);
}
