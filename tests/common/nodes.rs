//! Nodes with clocks of their own that each record their end of connections, as perisco's
//! recorder does: with true sequence numbers, whatever a NAT between makes of addresses.

use std::net::SocketAddr;

use perisco::pcap::LinkType;

use super::model::Packet;
use super::recording::{Recording, Way};

/// When everything begins, nanoseconds since the epoch.
pub const START: i64 = 1_700_000_000_000_000_000;
pub const MS: i64 = 1_000_000;
/// How long a packet is under way, unless it is said.
pub const DELAY: i64 = 200_000;

/// A packet: the true time, the interface, its way, its bytes, its comments.
type Recorded = (i64, u32, Way, Vec<u8>, Vec<String>);

/// A node and what it has recorded.
#[derive(Clone)]
pub struct Node {
    pub name: String,
    /// Its clock minus the true time.
    pub skew: i64,
    packets: Vec<Recorded>,
    interfaces: Vec<[String; 2]>,
}

impl Node {
    pub fn new(name: &str, skew: i64) -> Self {
        Self { name: name.to_owned(), skew, packets: Vec::new(), interfaces: Vec::new() }
    }

    /// The interface of a process, described when it is first named.
    fn interface(&mut self, name: &str, pid: u32) -> u32 {
        let label = format!("host/{name}[{pid}]");
        let known = self.interfaces.iter().position(|[known, _]| *known == label);
        let index = known.unwrap_or_else(|| {
            self.interfaces.push([label, format!("pid={pid} comm={name} ")]);
            self.interfaces.len() - 1
        });
        index as u32
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        self.part(i64::MIN, i64::MAX)
    }

    /// What it recorded from one true time to another.
    pub fn part(&self, from: i64, to: i64) -> Vec<u8> {
        let mut recording = Recording::of_node(&self.name, "5b5b");
        for [name, description] in &self.interfaces {
            recording.interface(name, description);
        }
        let mut packets: Vec<_> =
            self.packets.iter().filter(|(at, ..)| (from..to).contains(at)).collect();
        packets.sort_by_key(|(at, ..)| *at);
        for (at, interface, way, bytes, comments) in packets {
            let original = bytes.len() as u32;
            let (at, link) = (at + self.skew, LinkType(1));
            let packet = Packet { at, link, bytes: bytes.clone(), original };
            let comments: Vec<_> = comments.iter().map(String::as_str).collect();
            recording.packet(*interface, &packet, *way, &comments);
        }
        recording.bytes
    }
}

/// A connection; side and view 0 are the client's.
#[derive(Clone)]
pub struct Talk {
    /// The nodes of client and server by index, where they record.
    pub nodes: [Option<usize>; 2],
    /// Client and server as the client's node sees them, and as the server's does.
    pub ends: [[SocketAddr; 2]; 2],
    pub next: [u32; 2],
    /// Names of the processes.
    pub names: [&'static str; 2],
    pub delay: i64,
    /// Packets are not recorded by client's node, or server's.
    pub lost: [bool; 2],
    /// Bytes of a segment as each node records it.
    pub segment: [usize; 2],
    told: [bool; 2],
    midway: [bool; 2],
}

impl Talk {
    /// Between two nodes, without a NAT.
    pub fn new(nodes: [Option<usize>; 2], client: &str, server: &str) -> Self {
        let ends = [client, server].map(|end| end.parse().expect("an address"));
        let mix = |end: SocketAddr| u32::from(end.port()).wrapping_mul(2_654_435_761);
        Self {
            nodes,
            ends: [ends, ends],
            next: [mix(ends[0]), mix(ends[1]) ^ mix(ends[0]).rotate_left(9)],
            names: ["curl", "nginx"],
            delay: DELAY,
            lost: [false; 2],
            segment: [60_000; 2],
            told: [false; 2],
            midway: [false; 2],
        }
    }

    /// What the client takes for the server: a Service's address.
    pub fn by_service(mut self, service: &str) -> Self {
        self.ends[0][1] = service.parse().expect("an address");
        self
    }

    /// What the server takes for the client.
    pub fn masqueraded(mut self, client: &str) -> Self {
        self.ends[1][0] = client.parse().expect("an address");
        self
    }

    fn packet(
        &mut self,
        nodes: &mut [Node],
        view: usize,
        side: usize,
        at: i64,
        tcp: (u32, u8, &[u8]),
    ) {
        let Some(node) = self.nodes[view].filter(|_| !self.lost[view]) else { return };
        let (seq, flags, payload) = tcp;
        let [from, to] = [self.ends[view][side], self.ends[view][1 - side]];
        let ack = if flags == 2 { 0 } else { self.next[1 - side] };
        let name = self.names[view];
        let interface = nodes[node].interface(name, 100 + view as u32);
        let mut comments = Vec::new();
        if !std::mem::replace(&mut self.told[view], true) {
            comments.push(format!("{}=host/{name}[{}]", ["client", "server"][view], 100 + view));
            if self.midway[view] {
                comments.push("joined=midway".to_owned());
            }
        }
        let way = if view == side { Way::Outbound } else { Way::Inbound };
        let bytes = frame([from, to], seq, ack, flags, payload);
        nodes[node].packets.push((at, interface, way, bytes, comments));
    }

    /// A segment, which the sender's node sees at once and the other one later.
    fn segment(&mut self, nodes: &mut [Node], side: usize, at: i64, flags: u8, payload: &[u8]) {
        for view in [side, 1 - side] {
            let at = if view == side { at } else { at + self.delay };
            let seq = self.next[side];
            for (index, piece) in pieces(payload, self.segment[view]).enumerate() {
                let seq = seq.wrapping_add((index * self.segment[view]) as u32);
                self.packet(nodes, view, side, at + index as i64, (seq, flags, piece));
            }
        }
        let length = payload.len() as u32 + u32::from(flags & 3 != 0);
        self.next[side] = self.next[side].wrapping_add(length);
    }

    /// The handshake. Returns when the client may write.
    pub fn open(&mut self, nodes: &mut [Node], at: i64) -> i64 {
        self.segment(nodes, 0, at, 2, b"");
        self.segment(nodes, 1, at + self.delay, 0x12, b"");
        self.segment(nodes, 0, at + 2 * self.delay, 0x10, b"");
        at + 2 * self.delay
    }

    /// The same, unseen by these nodes: they come later.
    pub fn open_unseen(&mut self, nodes: &mut [Node], at: i64, unseen: [bool; 2]) -> i64 {
        (self.midway, self.lost) = (unseen, unseen);
        let open = self.open(nodes, at);
        self.lost = [false; 2];
        open
    }

    /// Bytes of one side. Returns when the other one has them.
    pub fn send(&mut self, nodes: &mut [Node], side: usize, at: i64, bytes: &[u8]) -> i64 {
        self.segment(nodes, side, at, 0x18, bytes);
        at + self.delay
    }

    /// A GET and its answer after `took`. Returns when the client has it.
    pub fn get(&mut self, nodes: &mut [Node], at: i64, path: &str, took: i64) -> i64 {
        let read = self.send(nodes, 0, at, &request(path));
        self.send(nodes, 1, read + took, &response(path))
    }

    /// Both close.
    pub fn close(&mut self, nodes: &mut [Node], at: i64) {
        self.segment(nodes, 0, at, 0x11, b"");
        self.segment(nodes, 1, at + self.delay, 0x11, b"");
        self.segment(nodes, 0, at + 2 * self.delay, 0x10, b"");
    }
}

fn pieces(payload: &[u8], length: usize) -> impl Iterator<Item = &[u8]> {
    let empty = payload.is_empty().then_some(payload);
    empty.into_iter().chain(payload.chunks(length))
}

pub fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n").into_bytes()
}

/// With the path as its body, so that answers differ.
pub fn response(path: &str) -> Vec<u8> {
    let length = path.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}").into_bytes()
}

fn frame(ends: [SocketAddr; 2], seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    bytes.extend((40 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    for end in ends {
        let std::net::IpAddr::V4(address) = end.ip() else { panic!("IPv4 only") };
        bytes.extend(address.octets());
    }
    ends.iter().for_each(|end| bytes.extend(end.port().to_be_bytes()));
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}
