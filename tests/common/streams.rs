//! The bytes of each direction of each connection of a capture, put together
//! by sequence number alone: an oracle that shares no code with the analyzer.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

/// What one direction said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The bytes; missing ones are zero.
    pub bytes: Vec<u8>,
    /// Bytes missing inside, or before the FIN.
    pub missing: usize,
}

/// By sender, receiver, and which of the connections between them it is.
pub type Streams = BTreeMap<(SocketAddr, SocketAddr, usize), Stream>;

#[derive(Default)]
struct Half {
    /// Sequence number of the first byte.
    base: Option<u32>,
    bytes: Vec<u8>,
    known: Vec<bool>,
    incarnation: usize,
}

/// Reads a capture, pcap or pcapng, plain or zstd.
pub fn streams(path: &Path) -> Streams {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let bytes = if file.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut plain = Vec::new();
        // A frame that was never closed ends with an error after its last flushed byte.
        let _ = zstd::Decoder::new(&file[..]).expect("zstd").read_to_end(&mut plain);
        plain
    } else {
        file
    };
    let mut halves = BTreeMap::new();
    let mut done = Streams::new();
    for packet in packets(&bytes) {
        add(&mut halves, &mut done, &packet);
    }
    for (key, half) in halves {
        finish(key, half, &mut done);
    }
    done
}

fn packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    if bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        let mut reader = PcapNgReader::new(bytes).expect("pcapng");
        while let Some(block) = reader.next_block() {
            if let (Block::EnhancedPacket(packet), _) = block.expect("a block") {
                packets.push(packet.data.into_owned());
            }
        }
    } else {
        let mut reader = PcapReader::new(bytes).expect("pcap");
        while let Some(packet) = reader.next_packet() {
            packets.push(packet.expect("a packet").into_data().into_owned());
        }
    }
    packets
}

fn add(halves: &mut BTreeMap<(SocketAddr, SocketAddr), Half>, done: &mut Streams, packet: &[u8]) {
    let Ok(sliced) = SlicedPacket::from_ethernet(packet) else { return };
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return };
    let (from, to) = match sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        Some(NetSlice::Ipv6(ip)) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        _ => return,
    };
    let key: (SocketAddr, SocketAddr) =
        (SocketAddr::new(from, tcp.source_port()), SocketAddr::new(to, tcp.destination_port()));
    let half = halves.entry(key).or_default();
    let mut seq = tcp.sequence_number();
    if tcp.syn() {
        seq = seq.wrapping_add(1);
        if half.base.is_some_and(|base| base != seq) {
            let incarnation = half.incarnation + 1;
            finish(key, std::mem::take(half), done);
            half.incarnation = incarnation;
        }
        half.base = Some(seq);
    }
    let payload = tcp.payload();
    if payload.is_empty() && !tcp.fin() {
        return;
    }
    let at = seq.wrapping_sub(*half.base.get_or_insert(seq)) as usize;
    // Before the first byte of a connection joined midway.
    if at > 1 << 30 {
        return;
    }
    let end = at + payload.len();
    if half.bytes.len() < end {
        half.bytes.resize(end, 0);
        half.known.resize(end, false);
    }
    half.bytes[at..end].copy_from_slice(payload);
    half.known[at..end].fill(true);
}

fn finish((from, to): (SocketAddr, SocketAddr), half: Half, done: &mut Streams) {
    if half.base.is_some() && !half.bytes.is_empty() {
        let missing = half.known.iter().filter(|known| !**known).count();
        done.insert((from, to, half.incarnation), Stream { bytes: half.bytes, missing });
    }
}
