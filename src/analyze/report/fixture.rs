//! Hand-made transactions for the tests of reports.

use std::net::SocketAddr;
use std::sync::OnceLock;

use super::{CaptureTotals, FlowTotals, InputTotals, Item};
use crate::analyze::fields::Fields;
use crate::analyze::owner::{End, Process};
use crate::analyze::transaction::{
    Completeness, Grpc, Message, Outcome, Pauses, Transaction, Value,
};
use crate::pcap::Damage;
use crate::time::Timestamp;

/// 2023-11-14T22:13:20Z.
pub const EPOCH: i64 = 1_700_000_000_000_000_000;

/// A time that many microseconds after the epoch of the tests.
pub fn at(micros: i64) -> Option<Timestamp> {
    Some(Timestamp::from_nanos(EPOCH + micros * 1000))
}

/// A request head with two fields.
pub fn request(method: &[u8], host: &[u8], path: &[u8], start: i64) -> Message {
    let mut head = Fields::default();
    let [method, authority, path] = [method, host, path].map(|text| Some(head.store(text)));
    head.push(b"Host", host);
    head.push(b"User-Agent", b"curl/7.88.1");
    let (start, end) = (at(start), at(start + 10));
    Message { head, method, authority, path, start, end, ..Message::default() }
}

/// A response head with two fields.
pub fn response(status: u16, start: i64, end: i64, body_bytes: u64) -> Message {
    let mut head = Fields::default();
    head.push(b"Content-Type", b"application/json");
    head.push(b"Set-Cookie", b"a=\"1\"");
    let (start, end) = (at(start), at(end));
    Message { head, status: Some(status), start, end, body_bytes, ..Message::default() }
}

/// A whole HTTP/1.1 transaction.
pub fn http1(method: &str, path: &str, status: u16, start: i64, latency: i64) -> Transaction {
    let mut transaction = Transaction::new("http/1.1");
    let host = b"api.example.com";
    transaction.request = Some(request(method.as_bytes(), host, path.as_bytes(), start));
    transaction.response = Some(response(status, start + latency, start + latency + 50, 1234));
    transaction.outcome = Outcome::of_status(status);
    transaction
}

/// A gRPC call; no status is one that was not seen.
pub fn grpc(method: &str, status: Option<u32>, start: i64) -> Transaction {
    let mut transaction = Transaction::new("grpc");
    let path = format!("/shop.v1.Cart/{method}");
    let mut request = request(b"POST", b"cart:50051", path.as_bytes(), start);
    request.scheme = Some(request.head.store(b"http"));
    let [service, name] = request.head.store_all([b"shop.v1.Cart", method.as_bytes()]);
    request.body_bytes = 25;
    let mut response = response(200, start + 800, start + 1000, 17);
    if let Some(status) = status {
        response.trailers.push(b"grpc-status", status.to_string().as_bytes());
    }
    transaction.stream = Some(3);
    transaction.request = Some(request);
    transaction.response = Some(response);
    transaction.grpc = Some(Grpc {
        service: Some(service),
        method: Some(name),
        status,
        message: status.filter(|code| *code > 0).map(|_| "käse, \"bad\"".to_owned()),
        kind: status.map(|_| "unary"),
        request_messages: 1,
        response_messages: u64::from(status == Some(0)),
        timeout_ns: Some(1_500_000_000),
    });
    transaction.outcome = match status {
        None => Outcome::Unknown,
        Some(0) => Outcome::Ok,
        Some(4) => Outcome::Timeout,
        Some(_) => Outcome::ServerError,
    };
    transaction
}

/// A transaction with its place.
#[derive(Debug)]
pub struct Placed {
    pub transaction: Transaction,
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub connection: u64,
    pub index: u64,
}

impl Placed {
    /// As reports take it.
    pub fn item(&self) -> Item<'_> {
        Item {
            transaction: &self.transaction,
            client: self.client,
            server: self.server,
            connection: self.connection,
            index: self.index,
            interface: (self.connection == 1).then_some("eth0"),
            comment: (self.index == 2).then_some("say \"hi\"\nagain"),
            client_end: End::of((self.connection == 2).then(curl)),
            server_end: End::of((self.index == 3).then(nginx)),
            joined: None,
        }
    }
}

/// A process on the host, with all that is known of one.
fn curl() -> &'static Process {
    static CURL: OnceLock<Process> = OnceLock::new();
    CURL.get_or_init(|| Process {
        pid: Some(812),
        comm: Some("cu\x1brl".to_owned()),
        exe: Some("/usr/bin/curl".to_owned()),
        uid: Some(1000),
        container: None,
    })
}

/// A process in a container, of which hardly anything is known.
fn nginx() -> &'static Process {
    static NGINX: OnceLock<Process> = OnceLock::new();
    NGINX.get_or_init(|| Process {
        comm: Some("nginx".to_owned()),
        container: Some("4f1c".repeat(16)),
        ..Process::default()
    })
}

/// Puts a transaction on a connection.
pub fn placed(transaction: Transaction, connection: u64, index: u64) -> Placed {
    let (client, server) = match connection {
        2 => ("[2001:db8::1]:40000", "[2001:db8::2]:50051"),
        3 => ("10.0.0.7:51000", "10.0.0.2:80"),
        _ => ("10.0.0.1:40000", "10.0.0.2:80"),
    };
    let (client, server) = (client.parse().unwrap(), server.parse().unwrap());
    Placed { transaction, client, server, connection, index }
}

/// A bit of everything, hostile bytes and gaps among it.
pub fn everything() -> Vec<Placed> {
    let mut all = vec![
        placed(http1("GET", "/users/42?full=1", 200, 1000, 1500), 1, 0),
        placed(http1("GET", "/users/7", 200, 5000, 2500), 1, 1),
        placed(http1("GET", "/users/8", 404, 9000, 900), 1, 2),
        placed(
            http1(
                "POST",
                "/orders/6f1c2e9a-0b7d-4c53-9e55-2f1d7a1b3c4d/items",
                503,
                20_000,
                1_250_000,
            ),
            1,
            3,
        ),
        placed(grpc("AddItem", Some(0), 2000), 2, 0),
        placed(grpc("AddItem", Some(14), 4000), 2, 1),
        placed(grpc("AddItem", None, 6000), 2, 2),
        placed(grpc("Watch", Some(99), 8000), 2, 3),
    ];
    // The response of the third stood still for 45 of its 50 µs.
    let third = all.get_mut(2).and_then(|third| third.transaction.response.as_mut());
    if let (Some(response), Some(from)) = (third, at(9902)) {
        let mut pauses = Pauses::since(Some(from));
        pauses.piece(Some(from.plus(45_000)));
        response.pauses = Some(Box::new(pauses));
    }
    all.push(placed(hostile(), 3, 0));
    all.push(placed(unpaired(), 3, 1));
    let mut gap = http1("GET", "/static/app.3f2a9c1b.js", 200, 30_000, 700);
    gap.completeness = Completeness::Gap;
    gap.anomaly("body_gap");
    gap.attributes = vec![
        ("websocket.client.text.frames", Value::Number(3)),
        ("http2.reset.code", Value::Text("CANCEL".to_owned())),
    ];
    all.push(placed(gap, 3, 2));
    let mut reset = http1("GET", "/download", 200, 40_000, 700);
    reset.outcome = Outcome::Reset;
    reset.completeness = Completeness::Truncated;
    reset.response.as_mut().unwrap().end = None;
    all.push(placed(reset, 3, 3));
    all
}

/// Control, Latin-1 and wide characters, an unknown value.
fn hostile() -> Transaction {
    let mut transaction = Transaction::new("http/1.0");
    let path = "/\u{1b}[31m日本語/\"x\\y\u{202e}/".to_owned() + &"a".repeat(120);
    let mut request = request(b"GET", b"H\xf6st\x00", path.as_bytes(), 12_000);
    request.head.push(b"X-Bad", b"caf\xe9\r\n\x9b\x7f");
    request.head.push_unknown(b"?n3");
    transaction.request = Some(request);
    transaction.response = Some(response(200, 12_100, 12_200, 5));
    transaction.outcome = Outcome::Ok;
    transaction.anomaly("malformed_head");
    transaction
}

/// A response alone, without any time.
fn unpaired() -> Transaction {
    let mut transaction = Transaction::new("http/1.1");
    let mut message = response(302, 0, 0, 0);
    (message.start, message.end) = (None, None);
    transaction.response = Some(message);
    transaction.completeness = Completeness::Unpaired;
    transaction
}

/// What a connection added up to.
pub fn flow(connection: u64, kind: Option<&'static str>) -> FlowTotals {
    let place = placed(Transaction::new("http/1.1"), connection, 0);
    FlowTotals {
        client: place.client,
        server: place.server,
        connection,
        kind,
        first: at(0),
        last: at(2_000_000),
        handshake: connection != 2,
        segments: 12,
        payload_bytes: [1000, 20_000],
        gap_bytes: [0; 3],
        gaps: [0; 3],
        retransmissions: 1,
        out_of_order: 0,
        duplicates: 0,
        reset: connection == 3,
        processes: match connection {
            2 => [vec!["cu\x1brl".to_owned()], vec![]],
            3 => [vec![], ["a", "b", "c", "nginx"].map(str::to_owned).to_vec()],
            _ => Default::default(),
        },
        ends: Default::default(),
        anomalies: Vec::new(),
        findings: Vec::new(),
    }
}

/// The connections of [`everything`].
pub fn flows() -> Vec<FlowTotals> {
    let mut gap = flow(3, Some("http/1"));
    (gap.gap_bytes, gap.gaps) = ([1460, 0, 8192], [1, 0, 2]);
    gap.anomalies = vec![("tcp_overlap_conflict", 2)];
    let mut http2 = flow(2, Some("http/2"));
    let text = "HEADERS on stream 3: uppercase field name (PROTOCOL_ERROR)";
    http2.findings = vec![("to server", 17, text.to_owned())];
    vec![flow(1, Some("http/1")), http2, gap, flow(4, Some("tls")), flow(5, None)]
}

/// The capture of [`everything`]: damaged, with drops.
pub fn capture() -> CaptureTotals {
    CaptureTotals {
        inputs: vec![
            InputTotals { name: "a.pcapng.zst".to_owned(), format: "pcapng (zstd)".to_owned() },
            InputTotals { name: "evil\x1b[2J.pcap".to_owned(), format: "pcap".to_owned() },
        ],
        packets: 12_345,
        bytes: 4_500_000,
        captured_bytes: 4_400_000,
        cut_packets: 3,
        segments: 12_000,
        other: vec![("udp".to_owned(), 300), ("arp".to_owned(), 45)],
        first: at(0),
        last: at(2_000_000),
        drops: 12,
        damage: vec![Damage {
            file: "evil\x1b[2J.pcap".to_owned(),
            offset: 123_456,
            what: "the last packet is cut short: 20 of 60 bytes".to_owned(),
        }],
        limits: vec![("--reorder-bytes", 2), ("--flows", 0)],
        names: [("10.0.0.2".parse().unwrap(), "api".to_owned())].into(),
        interrupted: false,
        filter: None,
        joined: None,
    }
}

/// An undamaged capture.
pub fn clean_capture() -> CaptureTotals {
    let whole = capture();
    CaptureTotals {
        inputs: whole.inputs[..1].to_vec(),
        captured_bytes: whole.bytes,
        cut_packets: 0,
        drops: 0,
        damage: Vec::new(),
        limits: Vec::new(),
        ..whole
    }
}
