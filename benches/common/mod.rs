//! Traffic made up for the benches: one keep-alive connection of requests and
//! responses, as packets.
#![allow(dead_code, reason = "each bench uses its part")]

use std::time::Duration;

use criterion::Criterion;

/// Requests of the made-up connection.
pub const REQUESTS: usize = 2_000;

/// A browser's request.
pub const REQUEST: &[u8] = b"GET /api/v1/users/1842/orders?limit=20 HTTP/1.1\r\n\
    Host: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\n\
    Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Cookie: session=0191e0e25b3a7c448e0a1b2c3d4e5f60\r\nConnection: keep-alive\r\n\r\n";

/// Its response's head; the body follows.
pub const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\
    Date: Sun, 22 Nov 2026 15:17:26 GMT\r\nContent-Type: application/json\r\n\
    Content-Length: 600\r\nConnection: keep-alive\r\n\r\n";

/// Length of the body that [`RESPONSE`] announces.
pub const BODY: usize = 600;

/// Quick: the benches are for spotting a stage that got slower, not for papers.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

/// A response with its body.
pub fn response() -> Vec<u8> {
    [RESPONSE, &[b'x'; BODY]].concat()
}

/// One Ethernet packet of the connection and its place.
pub struct Packet {
    /// From the server.
    pub from_server: bool,
    /// TCP sequence number.
    pub seq: u32,
    /// TCP acknowledgement number.
    pub ack: u32,
    /// Ethernet, IPv4, TCP, payload.
    pub bytes: Vec<u8>,
}

/// Bytes of Ethernet, IPv4 and TCP headers.
pub const HEADERS: usize = 14 + 20 + 20;

fn packet(from_server: bool, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Packet {
    let mut bytes = vec![2; 12];
    bytes.extend([8, 0, 0x45, 0]);
    bytes.extend(((40 + payload.len()) as u16).to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, 6, 0, 0]);
    let (client, server) = (([10, 0, 0, 1], 40_000_u16), ([10, 0, 0, 2], 80_u16));
    let (from, to) = if from_server { (server, client) } else { (client, server) };
    bytes.extend(from.0.into_iter().chain(to.0));
    bytes.extend(from.1.to_be_bytes().into_iter().chain(to.1.to_be_bytes()));
    bytes.extend(seq.to_be_bytes().into_iter().chain(ack.to_be_bytes()));
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend_from_slice(payload);
    Packet { from_server, seq, ack, bytes }
}

/// The connection: handshake, then requests and responses in turn.
pub fn packets() -> Vec<Packet> {
    let response = response();
    let mut packets = vec![packet(false, 2, 0, 0, b""), packet(true, 0x12, 0, 1, b"")];
    let (mut client, mut server) = (1_u32, 1_u32);
    for _ in 0..REQUESTS {
        packets.push(packet(false, 0x18, client, server, REQUEST));
        client += REQUEST.len() as u32;
        packets.push(packet(true, 0x18, server, client, &response));
        server += response.len() as u32;
    }
    packets
}

/// The connection as a pcap file.
pub fn capture() -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    for (index, packet) in packets().iter().enumerate() {
        let (seconds, micros) = (index as u32 / 10_000, index as u32 % 10_000 * 100);
        let len = packet.bytes.len() as u32;
        for word in [1_700_000_000 + seconds, micros, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend_from_slice(&packet.bytes);
    }
    file
}
