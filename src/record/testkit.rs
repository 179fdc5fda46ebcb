//! For tests: the events of scripted connections, and what a reader finds in
//! the file that was written from them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use etherparse::{PacketHeaders, TransportHeader};

use super::event::{Event, Kind, Role, Way, close, tcp};
use super::naming::Source;
use super::writer::{Clock, Compression, Output, Summary, WriteOptions, Writer};
use crate::pcap::{Batch, Capture, Input, OpenOptions};

/// CLOCK_BOOTTIME at which scripts begin, nanoseconds.
pub const START: u64 = 1_000_000_000_000;
/// Wall clock minus CLOCK_BOOTTIME.
pub const OFFSET: i64 = 1_700_000_000_000_000_000;
pub const MS: u64 = 1_000_000;

/// An event with its payload.
#[derive(Clone, Debug)]
pub struct Owned {
    pub head: Event<'static>,
    pub payload: Vec<u8>,
}

impl Owned {
    pub fn event(&self) -> Event<'_> {
        Event { payload: &self.payload, ..self.head }
    }
}

/// A process that ends a scripted connection.
#[derive(Clone, Copy, Debug)]
pub struct Party {
    pub pid: u32,
    pub comm: &'static str,
    pub netns: u32,
}

/// A scripted connection; side 0 is the client.
#[derive(Clone, Debug)]
pub struct Talk {
    pub addresses: [SocketAddr; 2],
    pub parties: [Party; 2],
    pub next: [u32; 2],
    pub at: u64,
    pub lost: u32,
    pub packets: bool,
}

pub const CURL: Party = Party { pid: 4_000_001, comm: "curl", netns: 7 };
pub const NGINX: Party = Party { pid: 4_000_002, comm: "nginx", netns: 7 };

impl Talk {
    pub fn new(client: &str, server: &str) -> Self {
        Self {
            addresses: [client.parse().unwrap(), server.parse().unwrap()],
            parties: [CURL, NGINX],
            // The client's numbers wrap soon.
            next: [u32::MAX - 20, 3_000_000_000],
            at: START,
            lost: 0,
            packets: false,
        }
    }

    pub fn local() -> Self {
        Self::new("127.0.0.1:40000", "127.0.0.1:8080")
    }

    /// An event of the socket of `side`.
    pub fn head(&mut self, kind: Kind, side: usize) -> Owned {
        self.at += 1000;
        let head = Event {
            at: self.at,
            socket: 0xffff_0000 + side as u64,
            cgroup: 1,
            netns: self.parties[side].netns,
            pid: 0,
            tid: 0,
            uid: 0,
            seq: self.next[side],
            ack: Some(self.next[1 - side]),
            length: 0,
            lost: self.lost,
            kind,
            way: Way::Sent,
            role: [Role::Client, Role::Server][side],
            tcp_flags: 0,
            gap: None,
            midway: false,
            packet: self.packets,
            in_process: false,
            local: Some(self.addresses[side]),
            remote: Some(self.addresses[1 - side]),
            payload: &[],
        };
        Owned { head, payload: Vec::new() }
    }

    pub fn owner(&mut self, side: usize) -> Owned {
        let mut event = self.head(Kind::Owner, side);
        event.head.pid = self.parties[side].pid;
        event.head.in_process = true;
        event.payload = self.parties[side].comm.as_bytes().to_vec();
        event
    }

    /// OPEN and OWNER of one end.
    pub fn open(&mut self, side: usize) -> Vec<Owned> {
        vec![self.head(Kind::Open, side), self.owner(side)]
    }

    /// Both ends open.
    pub fn open_both(&mut self) -> Vec<Owned> {
        [self.open(0), self.open(1)].concat()
    }

    /// `side` sends; the events of the sender's and the receiver's end.
    pub fn send(&mut self, side: usize, bytes: &[u8]) -> [Owned; 2] {
        let mut sent = self.head(Kind::Data, side);
        sent.payload = bytes.to_vec();
        sent.head.length = bytes.len() as u32;
        let mut received = self.head(Kind::Data, 1 - side);
        (received.head.seq, received.head.ack) = (sent.head.seq, Some(self.next[1 - side]));
        received.head.way = Way::Received;
        received.payload = bytes.to_vec();
        received.head.length = bytes.len() as u32;
        self.next[side] = self.next[side].wrapping_add(bytes.len() as u32);
        [sent, received]
    }

    /// A packet without payload, as both ends see it.
    pub fn flags(&mut self, side: usize, flags: u8) -> [Owned; 2] {
        let [mut sent, mut received] = self.send(side, b"");
        for event in [&mut sent, &mut received] {
            event.head.tcp_flags = flags;
            event.head.packet = true;
        }
        if flags & (tcp::SYN | tcp::FIN) != 0 {
            self.next[side] = self.next[side].wrapping_add(1);
        }
        [sent, received]
    }

    /// Both FINs, `first` first, and the close of both ends; without packets.
    pub fn close(&mut self, first: usize) -> Vec<Owned> {
        self.next = self.next.map(|next| next.wrapping_add(1));
        [first, 1 - first]
            .map(|side| {
                let mut event = self.head(Kind::Close, side);
                event.head.tcp_flags = close::FIN_SENT | close::FIN_RECEIVED;
                event
            })
            .to_vec()
    }
}

/// A packet of the file.
#[derive(Clone, Debug)]
pub struct Packet {
    pub from: SocketAddr,
    pub seq: u32,
    pub ack: Option<u32>,
    pub flags: u8,
    pub payload: Vec<u8>,
    pub original: usize,
    pub interface: String,
    pub description: String,
    pub at: i64,
    pub comments: Vec<String>,
}

/// Options for a file in `dir`.
pub fn options(dir: &Path, compression: Compression) -> WriteOptions {
    let path = dir.join("cap.pcapng");
    WriteOptions {
        compression,
        back_end: "test".to_owned(),
        back_end_reason: "no kernel needed".to_owned(),
        ..WriteOptions::new(Output::File(path))
    }
}

pub fn writer(options: &WriteOptions) -> Writer {
    writer_with(options, None)
}

pub fn writer_with(options: &WriteOptions, source: Source) -> Writer {
    // A directory without processes: names are those of the events.
    let proc = Path::new("/nonexistent");
    Writer::with_proc(options, Clock::fixed(OFFSET, START), proc, source).unwrap()
}

/// The file that `events` give, and the summary.
pub fn record(events: &[Owned], change: impl FnOnce(&mut WriteOptions)) -> (Vec<u8>, Summary) {
    record_with(events, None, change)
}

/// The same with somebody who knows names.
pub fn record_with(
    events: &[Owned],
    source: Source,
    change: impl FnOnce(&mut WriteOptions),
) -> (Vec<u8>, Summary) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), Compression::None);
    change(&mut options);
    let mut writer = writer_with(&options, source);
    for event in events {
        writer.event(&event.event()).unwrap();
    }
    let summary = writer.finish(&[]).unwrap();
    (std::fs::read(dir.path().join("cap.pcapng")).unwrap(), summary)
}

/// What a reader finds; fails if it finds any damage.
pub fn read(bytes: Vec<u8>) -> Vec<Packet> {
    read_input(Input::Bytes { name: "cap.pcapng".to_owned(), bytes })
}

pub fn read_file(path: &Path) -> Vec<Packet> {
    read_input(Input::Path(PathBuf::from(path)))
}

fn read_input(input: Input) -> Vec<Packet> {
    let mut capture = Capture::open(vec![input], OpenOptions::default()).unwrap();
    let (mut batch, mut packets, mut interfaces) = (Batch::default(), Vec::new(), Vec::new());
    loop {
        let more = capture.next_batch(&mut batch).unwrap();
        // The one thing that a recorder that was killed cannot do.
        let cut = |what: &str| what == "the zstd data ends in the middle of a frame";
        let damage: Vec<_> = batch.damage.iter().filter(|damage| !cut(&damage.what)).collect();
        assert!(damage.is_empty(), "{damage:?}");
        interfaces.append(&mut batch.interfaces);
        for (index, packet) in batch.packets.iter().enumerate() {
            let interface = &interfaces[packet.interface as usize];
            let mut found = parse(batch.bytes(packet));
            found.original =
                packet.original as usize - (packet.captured as usize - found.payload.len());
            found.interface = interface.name.clone().unwrap();
            found.description = interface.description.clone().unwrap();
            found.at = packet.at.unwrap().nanos() - OFFSET;
            let comments = batch.comments.iter().filter(|comment| comment.packet == index);
            found.comments = comments.map(|comment| comment.text.clone()).collect();
            packets.push(found);
        }
        if !more {
            return packets;
        }
    }
}

fn parse(bytes: &[u8]) -> Packet {
    let headers = PacketHeaders::from_ethernet_slice(bytes);
    // A cut packet: read with the length that is there.
    let headers = headers.or_else(|_| {
        etherparse::LaxPacketHeaders::from_ethernet(bytes).map(|lax| PacketHeaders {
            link: lax.link,
            link_exts: lax.link_exts,
            net: lax.net,
            transport: lax.transport,
            payload: etherparse::PayloadSlice::Tcp(lax.payload.slice()),
        })
    });
    let headers = headers.unwrap();
    let Some(TransportHeader::Tcp(header)) = headers.transport else { panic!("no TCP") };
    let source = match headers.net.unwrap() {
        etherparse::NetHeaders::Ipv4(ip, _) => std::net::IpAddr::from(ip.source),
        etherparse::NetHeaders::Ipv6(ip, _) => std::net::IpAddr::from(ip.source),
        other => panic!("{other:?}"),
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    Packet {
        from: SocketAddr::new(source, header.source_port),
        seq: header.sequence_number,
        ack: header.ack.then_some(header.acknowledgment_number),
        flags: flag(header.syn, tcp::SYN) | flag(header.fin, tcp::FIN) | flag(header.rst, tcp::RST),
        payload: headers.payload.slice().to_vec(),
        original: 0,
        interface: String::new(),
        description: String::new(),
        at: 0,
        comments: Vec::new(),
    }
}

/// `C:SYN`, `S:SYN`, `C:`, `C:4@0` … — side, flags, length and place of the
/// payload relative to `base`.
pub fn outline(packets: &[Packet], talk: &Talk, base: [u32; 2]) -> String {
    let word = |packet: &Packet| {
        let side = usize::from(packet.from != talk.addresses[0]);
        let mut word = ["C", "S"][side].to_owned();
        for (flag, name) in [(tcp::SYN, "syn"), (tcp::FIN, "fin"), (tcp::RST, "rst")] {
            if packet.flags & flag != 0 {
                word.push_str(name);
            }
        }
        if !packet.payload.is_empty() {
            word.push_str(&packet.payload.len().to_string());
        }
        if packet.flags & tcp::SYN == 0 {
            word.push_str(&format!("@{}", packet.seq.wrapping_sub(base[side]) as i32));
        }
        word
    };
    packets.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Bytes of one direction by offset from `base`. Fails where a byte is in two packets.
pub fn stream(packets: &[Packet], from: SocketAddr, base: u32) -> BTreeMap<i32, u8> {
    let mut stream = BTreeMap::new();
    for packet in packets.iter().filter(|packet| packet.from == from) {
        for (at, &byte) in packet.payload.iter().enumerate() {
            let at = packet.seq.wrapping_add(at as u32).wrapping_sub(base) as i32;
            assert_eq!(stream.insert(at, byte), None, "byte {at} is in the file twice");
        }
    }
    stream
}
