//! A small shop on Kubernetes as perisco's recorder writes it down: the capture of
//! `testdata/recorded/shop`, which is made here and by no recorder.

use proptest::prelude::*;

use super::model::{Act, Conversation, Packet, Step};
use super::recording::{Recording, Way};
use super::synth::{Shape, Writer};

/// When the first connection opens: 2023-11-14T22:13:20Z.
const OPENED: i64 = 1_700_000_000_000_000_000;
const MILLISECOND: i64 = 1_000_000;

/// Names and descriptions of the processes on the recorder's node.
pub const FRONTEND: [&str; 2] = [
    "shop/frontend-5c9d-abcde/node[71]",
    "pid=71 comm=node exe=/usr/bin/node uid=1000 cgroup=/kubepods/podaa/aaaa \
     container=aaaaaaaaaaaaaaaa netns=4026531841 pod=shop/frontend-5c9d-abcde namespace=shop \
     pod_uid=0f7e0a64-0001-4b7c-9a51-000000000001 container_name=app \
     workload=Deployment/frontend labels=app=frontend,tier=web ",
];
pub const CHECKOUT: [&str; 2] = [
    "shop/checkout-7d9f-1/checkout[33]",
    "pid=33 comm=checkout exe=/checkout uid=65532 cgroup=/kubepods/podbb/bbbb \
     container=bbbbbbbbbbbbbbbb netns=4026531842 pod=shop/checkout-7d9f-1 namespace=shop \
     pod_uid=0f7e0a64-0001-4b7c-9a51-000000000002 container_name=server \
     workload=Deployment/checkout labels=app=checkout ",
];
pub const KUBELET: [&str; 2] =
    ["host/kubelet[900]", "pid=900 comm=kubelet exe=/usr/bin/kubelet uid=0 "];

/// What is said of ends that are pods of the recorder's node.
const FRONTEND_IS: [&str; 2] =
    ["pod=shop/frontend-5c9d-abcde", "workload=shop/Deployment/frontend"];
const CHECKOUT_IS: [&str; 2] = ["pod=shop/checkout-7d9f-1", "workload=shop/Deployment/checkout"];

/// A request's path, and the status of its answer.
type Exchange = (&'static str, u16);

/// HTTP/1.1 exchanges, ten milliseconds apart.
fn http1(ends: [&str; 2], opened: i64, exchanges: &[Exchange]) -> Conversation {
    let mut steps = Vec::new();
    for (index, (path, status)) in exchanges.iter().enumerate() {
        let at = opened + (index as i64 + 1) * 10 * MILLISECOND;
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n");
        let response = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
        let answer = at + (index as i64 + 1) * MILLISECOND;
        steps.push(Step { way: 0, at, act: Act::Data(request.into_bytes()) });
        steps.push(Step { way: 1, at: answer, act: Act::Data(response.into_bytes()) });
    }
    closed(ends, opened, steps)
}

/// A connection that is closed by both after these steps.
fn closed(ends: [&str; 2], opened: i64, mut steps: Vec<Step>) -> Conversation {
    let end = steps.last().map_or(opened, |step| step.at) + MILLISECOND;
    steps.push(Step { way: 0, at: end, act: Act::Fin });
    steps.push(Step { way: 1, at: end + 1_000, act: Act::Fin });
    Conversation { ends: ends.map(|end| end.parse().expect("an address")), opened, steps }
}

/// An HTTP/2 frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals that are never indexed (RFC 7541 section 6.2.3).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0x10], text(name), text(value)].concat()).collect()
}

/// gRPC calls of `bank.Payments/Pay` with these statuses.
fn grpc(ends: [&str; 2], opened: i64, statuses: &[u32]) -> Conversation {
    const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";
    let settings = frame(4, 0, 0, &[]);
    let mut steps = Vec::new();
    for (index, status) in statuses.iter().enumerate() {
        let (stream, at) = (2 * index as u32 + 1, opened + (index as i64 + 1) * 10 * MILLISECOND);
        let head = block(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/bank.Payments/Pay"),
            (":authority", "payments.bank:50051"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]);
        let preface: &[u8] = if index == 0 { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" } else { b"" };
        let begin = if index == 0 { settings.clone() } else { Vec::new() };
        let request =
            [preface, &begin, &frame(1, 4, stream, &head), &frame(0, 1, stream, MESSAGE)].concat();
        let head = block(&[(":status", "200"), ("content-type", "application/grpc")]);
        let message = if *status == 0 { frame(0, 0, stream, MESSAGE) } else { Vec::new() };
        let trailers = frame(1, 5, stream, &block(&[("grpc-status", &status.to_string())]));
        let response = [begin, frame(1, 4, stream, &head), message, trailers].concat();
        steps.push(Step { way: 0, at, act: Act::Data(request) });
        steps.push(Step { way: 1, at: at + 2 * MILLISECOND, act: Act::Data(response) });
    }
    closed(ends, opened, steps)
}

/// A connection on the recorder's node.
struct Recorded {
    conversation: Conversation,
    /// Interfaces of the client and of the server; None of an end that is elsewhere.
    interfaces: [Option<u32>; 2],
    comments: Vec<String>,
}

/// `E.key=value` for each.
fn of_end<'a>(end: &'a str, says: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    says.iter().map(move |says| format!("{end}.{says}"))
}

/// Addresses, interfaces and comments of a connection.
fn named<'a>(
    ends: [&'a str; 2],
    interfaces: [Option<u32>; 2],
    client: &[&str],
    server: &[&str],
) -> ([&'a str; 2], [Option<u32>; 2], Vec<String>) {
    let of = |role: &str, interface: Option<u32>| {
        let all = [FRONTEND, CHECKOUT, KUBELET];
        interface.map(|number| format!("{role}={}", all[number as usize][0]))
    };
    let owners = [of("client", interfaces[0]), of("server", interfaces[1])];
    let comments = owners.into_iter().flatten();
    let comments = comments.chain(of_end("client", client)).chain(of_end("server", server));
    (ends, interfaces, comments.collect())
}

/// The connections of the shop.
fn connections() -> Vec<Recorded> {
    let at = |index: i64| OPENED + index * 3 * MILLISECOND;
    let checkout = [&CHECKOUT_IS[..], &["service=shop/checkout", "by=cgroup"]].concat();
    let frontend = [&FRONTEND_IS[..], &["by=cgroup"]].concat();
    let all = [
        // Through the Service to a pod of this node, and to one of another.
        (named(["10.1.0.5:40001", "10.1.0.6:8080"], [Some(0), Some(1)], &frontend, &checkout), 0),
        (
            named(
                ["10.1.0.5:40002", "10.96.0.10:80"],
                [Some(0), None],
                &frontend,
                &[
                    "pod=shop/checkout-7d9f-2",
                    "workload=shop/Deployment/checkout",
                    "service=shop/checkout",
                    "address=10.1.1.7:8080",
                    "by=sequence",
                ],
            ),
            1,
        ),
        // A pod that is known by its address, and its namespace is another.
        (
            named(
                ["10.1.0.6:40003", "10.1.1.9:50051"],
                [Some(1), None],
                &[&CHECKOUT_IS[..], &["by=cgroup"]].concat(),
                &["pod=bank/payments-0", "workload=bank/StatefulSet/payments", "by=address"],
            ),
            2,
        ),
        // Nobody knows who asks, or is asked.
        (named(["203.0.113.9:55000", "10.1.0.5:8000"], [None, Some(0)], &[], &frontend), 3),
        (named(["10.1.0.5:40004", "198.51.100.7:80"], [Some(0), None], &frontend, &[]), 4),
        // A process of the node itself.
        (
            named(
                ["10.1.0.1:40005", "10.1.0.5:8000"],
                [Some(2), Some(0)],
                &["node=worker-1", "by=address"],
                &frontend,
            ),
            5,
        ),
    ];
    let exchanges: [&[Exchange]; 6] = [
        &[("/cart/1", 200), ("/cart/2", 500), ("/cart/3", 200)],
        &[("/cart/4", 200), ("/cart/5", 200)],
        &[],
        &[("/", 200), ("/missing", 404)],
        &[("/rates", 200)],
        &[("/healthz", 200)],
    ];
    all.into_iter()
        .map(|((ends, interfaces, comments), index)| {
            let opened = at(index);
            let conversation = match exchanges[index as usize] {
                [] => grpc(ends, opened, &[0, 14]),
                exchanges => http1(ends, opened, exchanges),
            };
            Recorded { conversation, interfaces, comments }
        })
        .collect()
}

/// Packets of a connection and who sent each: 0 the client, 1 the server.
pub fn packets(conversation: &Conversation) -> Vec<(Packet, usize)> {
    let written = Writer::new(conversation, Shape::default()).write(conversation);
    let client = conversation.ends[0].port().to_be_bytes();
    let from_client = |packet: &Packet| packet.bytes[34..36] == client;
    written
        .into_iter()
        .map(|written| {
            let way = usize::from(!from_client(&written.packet));
            (written.packet, way)
        })
        .collect()
}

/// The capture.
pub fn capture() -> Vec<u8> {
    let mut recording = Recording::new();
    for [name, description] in [FRONTEND, CHECKOUT, KUBELET] {
        recording.interface(name, description);
    }
    recording.names(&[
        ([10, 96, 0, 10], "checkout.shop.svc"),
        ([10, 1, 1, 9], "payments-0.bank"),
        ([10, 1, 0, 5], "frontend-5c9d-abcde.shop"),
    ]);
    let connections = connections();
    let mut all = Vec::new();
    for recorded in &connections {
        for (index, (packet, way)) in packets(&recorded.conversation).into_iter().enumerate() {
            // On the interface of its sender, or where that is elsewhere, of its receiver.
            let (sender, receiver) = (recorded.interfaces[way], recorded.interfaces[1 - way]);
            let direction = if sender.is_some() { Way::Outbound } else { Way::Inbound };
            let interface = sender.or(receiver).expect("an end on this node");
            let comments = if index == 0 { recorded.comments.as_slice() } else { &[] };
            all.push((packet, interface, direction, comments));
        }
    }
    all.sort_by_key(|(packet, ..)| packet.at);
    for (packet, interface, direction, comments) in all {
        let comments: Vec<_> = comments.iter().map(String::as_str).collect();
        recording.packet(interface, &packet, direction, &comments);
    }
    recording.statistics(0, 0);
    recording.bytes
}

/// HTTP/1.1 exchanges of a client with 10.0.0.2:80, a millisecond apart.
pub fn conversation(client: &str, after: i64, exchanges: usize) -> Conversation {
    let ends = [client, "10.0.0.2:80"].map(|end| end.parse().expect("an address"));
    super::synth::http1(ends, 1_700_000_000_000_000_000 + after, exchanges)
}

/// Writes connections by time, each on one interface, with comments on its first packet.
pub fn append(recording: &mut Recording, connections: &[(&Conversation, u32, &[String])]) {
    let mut all = Vec::new();
    for (conversation, interface, says) in connections {
        for (index, (packet, way)) in packets(conversation).into_iter().enumerate() {
            let is_server = says.iter().any(|says| says.starts_with("server="));
            let outbound = (way == 1) == is_server;
            let way = if outbound { Way::Outbound } else { Way::Inbound };
            all.push((packet, *interface, way, if index == 0 { *says } else { &[] }));
        }
    }
    all.sort_by_key(|(packet, ..)| packet.at);
    for (packet, interface, way, says) in all {
        let says: Vec<_> = says.iter().map(String::as_str).collect();
        recording.packet(interface, &packet, way, &says);
    }
}

/// Text without line feeds, as hostile as it can be.
pub fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\\".to_owned()),
        Just("\"".to_owned()),
        Just("/".to_owned()),
        Just("\x1b[2J".to_owned()),
        Just("&lt;".to_owned()),
        Just("\u{202e}".to_owned()),
        Just("%2f%00%1b".to_owned()),
        Just("]; x".to_owned()),
        "[a-z<>{}|]{1,9}",
        "\\PC{0,9}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}
