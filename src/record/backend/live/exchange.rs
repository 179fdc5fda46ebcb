//! Every byte, with its true number, and who says it.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use super::peers::{Peer, Talk, free_port};
use super::*;
use crate::record::event::close;

const SMALL: Talk = Talk { host: "127.0.0.1", up: 300, down: 200, rounds: 1 };

/// Records one connection between two peers and gives its events, the server
/// and the client's pid.
fn record(talk: Talk, change: impl Fn(Settings) -> Settings) -> Option<(Vec<Seen>, Peer, u32)> {
    let port = free_port();
    let mut recorder = start(&change(both_ends(port)))?;
    let server = Peer::spawn(Command::new("python3"), "server", talk, port);
    let client = Peer::client(talk, port);
    let pid = client.pid();
    let mut events = Vec::new();
    collect(&mut recorder, &mut events, closed(port, 1));
    client.finish();
    assert!(!recorder.counters().any_lost(), "{:?}", recorder.counters());
    Some((events, server, pid))
}

/// That the events of both ends hold what the peers sent, and their numbers agree.
fn check(events: &[Seen], talk: Talk, port: u16) {
    let (up, down) = (sent_by_peer(0, talk.up), sent_by_peer(3, talk.down));
    for (role, sent, received) in [(Role::Client, &up, &down), (Role::Server, &down, &up)] {
        let open = one(events, Kind::Open, role, port);
        let (seq, ack) = (open.seq, open.ack.unwrap());
        assert_same("sent", &stream(events, open.socket, Way::Sent, seq), sent);
        assert_same("received", &stream(events, open.socket, Way::Received, ack), received);
        let close = one(events, Kind::Close, role, port);
        assert_eq!(close.seq, seq.wrapping_add(sent.len() as u32 + 1), "its FIN counts");
        // Who closes first may be gone before the other's FIN is there.
        let fin = close.tcp_flags >> 1 & 1;
        assert_eq!(close.ack, Some(ack.wrapping_add(received.len() as u32 + u32::from(fin))));
        assert_eq!(close.tcp_flags & !close::FIN_RECEIVED, close::FIN_SENT);
    }
    let (client, server) =
        (one(events, Kind::Open, Role::Client, port), one(events, Kind::Open, Role::Server, port));
    assert_eq!((Some(client.seq), client.ack), (server.ack, Some(server.seq)));
    assert_eq!((client.local, client.remote), (server.remote, server.local));
}

#[test]
fn small_exchanges_are_what_the_peers_sent() {
    for host in ["127.0.0.1", "::1"] {
        let talk = Talk { host, ..SMALL };
        let Some((events, server, _)) = record(talk, |settings| settings) else { return };
        check(&events, talk, server.port);
        let open = one(&events, Kind::Open, Role::Client, server.port);
        assert_eq!(open.remote, Some(SocketAddr::new(host.parse().unwrap(), server.port)));
    }
}

#[test]
fn three_megabytes_are_what_the_peers_sent() {
    for host in ["127.0.0.1", "::1"] {
        let talk = Talk { host, up: 3_000_000, down: 3_000_001, rounds: 1 };
        let Some((events, server, _)) =
            record(talk, |settings| Settings { buffer_bytes: 64 << 20, ..settings })
        else {
            return;
        };
        check(&events, talk, server.port);
    }
}

#[test]
fn ipv4_on_an_ipv6_socket_is_ipv4() {
    let talk = Talk { host: "::ffff:127.0.0.1", ..SMALL };
    let Some((events, server, _)) = record(talk, |settings| settings) else { return };
    check(&events, talk, server.port);
    let open = one(&events, Kind::Open, Role::Client, server.port);
    assert_eq!(open.remote, Some(SocketAddr::new("127.0.0.1".parse().unwrap(), server.port)));
}

#[test]
fn loopback_is_copied_once_unless_both_ends_are_asked_for() {
    let talk = Talk { up: 100_000, ..SMALL };
    let Some((events, server, _)) =
        record(talk, |settings| Settings { both_ends: false, ..settings })
    else {
        return;
    };
    for (role, bytes) in
        [(Role::Client, sent_by_peer(0, talk.up)), (Role::Server, sent_by_peer(3, talk.down))]
    {
        let open = one(&events, Kind::Open, role, server.port);
        assert_same("sent", &stream(&events, open.socket, Way::Sent, open.seq), &bytes);
        assert!(stream(&events, open.socket, Way::Received, open.ack.unwrap()).is_empty());
    }
}

#[test]
fn a_snap_length_keeps_the_start_and_says_the_length() {
    let talk = Talk { up: 1000, down: 100, ..SMALL };
    let Some((events, server, _)) = record(talk, |settings| Settings { snaplen: 64, ..settings })
    else {
        return;
    };
    let open = one(&events, Kind::Open, Role::Client, server.port);
    let sent = events.iter().find(|event| {
        event.kind == Kind::Data
            && event.socket == open.socket
            && event.way == Way::Sent
            && event.length > 0
    });
    let sent = sent.unwrap();
    assert_eq!((sent.seq, sent.length), (open.seq, 1000));
    assert_eq!(sent.payload, sent_by_peer(0, 64));
}

#[test]
fn the_owner_of_each_end_is_named() {
    let Some((events, server, client)) = record(SMALL, |settings| settings) else { return };
    for (role, pid) in [(Role::Client, client), (Role::Server, server.pid())] {
        let socket = one(&events, Kind::Open, role, server.port).socket;
        let owners: Vec<&Seen> = events
            .iter()
            .filter(|event| event.kind == Kind::Owner && event.socket == socket)
            .collect();
        assert!(owners.iter().all(|owner| owner.pid == pid), "{role:?}: {owners:?}");
        assert!(owners.iter().all(|owner| owner.comm.starts_with("python3")), "{owners:?}");
        assert!(owners.iter().any(|owner| owner.in_process), "{role:?} was seen in a call");
    }
}

#[test]
fn another_network_namespace_is_seen_and_told_apart() {
    let port = free_port();
    let Some(mut recorder) = start(&both_ends(port)) else { return };
    let server = Peer::server_apart(SMALL, port);
    let netns = std::fs::metadata(format!("/proc/{}/ns/net", server.pid())).unwrap().ino();
    let client = server.client_beside(SMALL);
    let mut events = Vec::new();
    collect(&mut recorder, &mut events, closed(server.port, 1));
    client.finish();
    events.retain(|event| u64::from(event.netns) == netns);
    check(&events, SMALL, server.port);
}

#[test]
fn a_connection_older_than_the_recorder_is_joined_midway() {
    let talk = Talk { up: 5000, down: 4000, rounds: 2, ..SMALL };
    let server = Peer::server(talk);
    let mut client = Peer::client(talk, server.port);
    client.round_over();
    let Some(mut recorder) = start(&both_ends(server.port)) else { return };
    recorder.scan().unwrap();
    client.next_round();
    let mut events = Vec::new();
    collect(&mut recorder, &mut events, closed(server.port, 1));

    let listen = events
        .iter()
        .find(|event| event.kind == Kind::Listen && event.has_port(server.port))
        .unwrap();
    assert!(listen.midway && listen.pid == server.pid());
    let opens: Vec<&Seen> = events
        .iter()
        .filter(|event| event.kind == Kind::Open && event.has_port(server.port))
        .collect();
    assert_eq!(opens.len(), 2, "once for each end: {opens:?}");
    assert!(opens.iter().all(|open| open.midway));
    for (port, pid, salt, moved) in
        [(client.port, client.pid(), 0, talk.up), (server.port, server.pid(), 3, talk.down)]
    {
        let open = opens.iter().find(|open| open.local.unwrap().port() == port).unwrap();
        let expected = sent_by_peer(salt, 2 * moved).split_off(moved);
        assert_same("sent", &stream(&events, open.socket, Way::Sent, open.seq), &expected);
        let owner = events
            .iter()
            .find(|event| event.kind == Kind::Owner && event.socket == open.socket)
            .unwrap();
        assert_eq!(owner.pid, pid);
    }
    let server_end = opens.iter().find(|open| open.local.unwrap().port() == server.port).unwrap();
    assert_eq!(server_end.role, Role::Server, "its port is listened at");
    client.finish();
}

#[test]
fn curl_and_an_http_server_are_recorded() {
    let port = free_port();
    let Some(mut recorder) = start(&both_ends(port)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let body = sent_by_peer(0, 200_000);
    std::fs::write(folder.path().join("body"), &body).unwrap();
    let mut server = Command::new("python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"])
        .arg(folder.path())
        .arg(port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}/body");
    let curl =
        Command::new("curl").args(["-s", "--retry-connrefused", "--retry", "9", &url]).output();
    let mut events = Vec::new();
    let done = |events: &[Seen]| {
        let served = |event: &&Seen| {
            event.kind == Kind::Close && event.role == Role::Server && event.has_port(port)
        };
        events.iter().any(|event| served(&event))
    };
    collect(&mut recorder, &mut events, done);
    let _ = server.kill();
    let _ = server.wait();
    assert_same("curl", &curl.unwrap().stdout, &body);

    let open = one(&events, Kind::Open, Role::Server, port);
    let request = stream(&events, open.socket, Way::Received, open.ack.unwrap());
    assert!(request.starts_with(b"GET /body HTTP/1.1\r\n") && request.ends_with(b"\r\n\r\n"));
    let response = stream(&events, open.socket, Way::Sent, open.seq);
    assert!(response.starts_with(b"HTTP/1.0 200 OK\r\n"));
    assert_same("body", &response[response.len() - body.len()..], &body);
}
