//! Each filter, in the kernel: of two connections exactly one is recorded.

use super::peers::{Peer, Talk};
use super::*;
use crate::record::counters::Counters;
use crate::record::filter::{Comm, Exe, Net, Side};

const TALK: Talk = Talk { host: "127.0.0.1", up: 300, down: 200, rounds: 2 };

/// Two pairs of peers, the second on 127.0.0.2, that talk while a recorder with
/// `filter` of them runs. Gives the events with payload, and the ports.
fn record(filter: impl Fn(&Peer, &Peer) -> Filter) -> Option<(Vec<Seen>, [u16; 2], Counters)> {
    let servers = ["127.0.0.1", "127.0.0.2"].map(|host| Peer::server(Talk { host, ..TALK }));
    let mut recorder =
        start(&Settings { filter: filter(&servers[0], &servers[1]), ..both_ends(0) })?;
    recorder.scan().unwrap();
    let clients = [("127.0.0.1", &servers[0]), ("127.0.0.2", &servers[1])]
        .map(|(host, server)| Peer::client(Talk { host, ..TALK }, server.port));
    let mut events = Vec::new();
    for mut client in clients {
        client.round_over();
        client.next_round();
        client.finish();
    }
    // The last of it: all is queued by now, but for what closes on timers.
    let until = Instant::now() + Duration::from_millis(300);
    collect(&mut recorder, &mut events, |_| Instant::now() > until);
    let ports = servers.each_ref().map(|server| server.port);
    events
        .retain(|event| ports.iter().any(|&port| event.has_port(port)) && event.kind == Kind::Data);
    Some((events, ports, recorder.counters()))
}

/// That all of the first connection is there and nothing of the second.
fn only_first((events, [first, second], counters): (Vec<Seen>, [u16; 2], Counters), ends: usize) {
    let bytes: usize =
        events.iter().filter(|event| event.has_port(first)).map(|event| event.payload.len()).sum();
    assert_eq!(
        bytes,
        ends * TALK.rounds * (TALK.up + TALK.down),
        "the first connection, {ends} ends"
    );
    assert!(!events.iter().any(|event| event.has_port(second)), "the second connection");
    assert!(counters.filtered > 0, "{counters:?}");
}

#[test]
fn by_port() {
    let filter = |first: &Peer, _: &Peer| Filter {
        ports: vec![first.port..=first.port],
        ..Filter::default()
    };
    let Some(found) = record(filter) else { return };
    only_first(found, 2);
}

#[test]
fn by_network() {
    let net = Net::new("127.0.0.2".parse().unwrap(), 32).unwrap();
    let Some((events, ports, counters)) =
        record(|_, _| Filter { nets: vec![net], ..Filter::default() })
    else {
        return;
    };
    only_first((events, [ports[1], ports[0]], counters), 2);
}

#[test]
fn by_process() {
    let Some(found) = record(|first, _| Filter { pids: vec![first.pid()], ..Filter::default() })
    else {
        return;
    };
    // The server's end only.
    only_first(found, 1);
}

#[test]
fn by_side() {
    let filter = |first: &Peer, _: &Peer| Filter {
        ports: vec![first.port..=first.port],
        role: Some(Side::Client),
        ..Filter::default()
    };
    let Some(found) = record(filter) else { return };
    assert!(found.0.iter().all(|event| event.role == Role::Client));
    only_first(found, 1);
}

#[test]
fn by_name_executable_and_user() {
    let Some((_, ports, _)) =
        record(|_, _| Filter { comms: vec![Comm::new("python3")], ..Filter::default() })
    else {
        return;
    };
    assert_ne!(ports[0], ports[1]);
    // The interpreter that the servers really run, which may be behind a wrapper.
    let exact = |first: &Peer, _: &Peer| {
        let link = format!("/proc/{}/exe", first.pid());
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", first.pid())).unwrap();
        Filter {
            exes: vec![Exe::new(link.as_ref()).unwrap()],
            comms: vec![Comm::new(comm.trim())],
            uids: vec![0],
            ports: vec![first.port..=first.port],
            ..Filter::default()
        }
    };
    let Some(found) = record(exact) else { return };
    only_first(found, 2);
    let Some((events, ..)) =
        record(|_, _| Filter { comms: vec![Comm::new("nobody")], ..Filter::default() })
    else {
        return;
    };
    assert!(events.is_empty(), "{events:?}");
    let Some((events, ..)) = record(|_, _| Filter { uids: vec![65_533], ..Filter::default() })
    else {
        return;
    };
    assert!(events.is_empty(), "{events:?}");
}
