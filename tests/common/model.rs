//! Captures as lists of packets, and packets as TCP conversations: who said
//! what in which order. Independent of perisco's own reassembly, and for
//! captures without loss only.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use perisco::analyze::packet::{Dissected, Dissector, Segment, flags};
use perisco::pcap::{Batch, Capture, Input, LinkType, OpenOptions};
use perisco::time::Timestamp;

/// One packet as captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Nanoseconds since the epoch.
    pub at: i64,
    /// How it begins.
    pub link: LinkType,
    /// Captured bytes.
    pub bytes: Vec<u8>,
    /// Bytes on the wire.
    pub original: u32,
}

/// All packets of a file, of whatever format.
pub fn read_packets(path: &Path) -> Vec<Packet> {
    let inputs = vec![Input::Path(path.to_owned())];
    let mut capture = Capture::open(inputs, OpenOptions::default()).expect("a capture");
    let (mut batch, mut links, mut packets) = (Batch::default(), Vec::new(), Vec::new());
    loop {
        let more = capture.next_batch(&mut batch).expect("a readable capture");
        links.extend(batch.interfaces.iter().map(|interface| interface.link));
        for packet in &batch.packets {
            packets.push(Packet {
                at: packet.at.map_or(0, Timestamp::nanos),
                link: links[packet.interface as usize],
                bytes: batch.bytes(packet).to_vec(),
                original: packet.original,
            });
        }
        if !more {
            return packets;
        }
    }
}

/// Whether all packets have the same link type, so that a pcap can hold them.
pub fn one_link(packets: &[Packet]) -> bool {
    packets.windows(2).all(|pair| pair[0].link == pair[1].link)
}

/// Bytes of a pcap file header and of a packet record header.
pub const FILE_HEADER: usize = 24;
pub const RECORD_HEADER: usize = 16;

/// The packets as a pcap file with nanosecond times. All must have one link
/// type.
pub fn write_pcap<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Vec<u8> {
    let mut packets = packets.into_iter().peekable();
    let link = packets.peek().map_or(LinkType(1), |packet| packet.link);
    let mut out = Vec::new();
    out.extend(0xa1b2_3c4d_u32.to_le_bytes());
    out.extend(2u16.to_le_bytes());
    out.extend(4u16.to_le_bytes());
    out.extend([0; 8]);
    out.extend(262_144u32.to_le_bytes());
    out.extend(u32::from(link.0).to_le_bytes());
    for packet in packets {
        assert_eq!(packet.link, link, "one pcap holds one link type");
        out.extend((packet.at.div_euclid(1_000_000_000) as u32).to_le_bytes());
        out.extend((packet.at.rem_euclid(1_000_000_000) as u32).to_le_bytes());
        out.extend((packet.bytes.len() as u32).to_le_bytes());
        out.extend(packet.original.to_le_bytes());
        out.extend(&packet.bytes);
    }
    out
}

/// What one side did next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sent bytes; never empty.
    Data(Vec<u8>),
    /// Closed its direction.
    Fin,
    /// Reset the connection.
    Rst,
}

/// A step of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// 0 client to server, 1 server to client.
    pub way: usize,
    /// Nanoseconds since the epoch.
    pub at: i64,
    /// What was done.
    pub act: Act,
}

/// One TCP connection from its SYN on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Client and server.
    pub ends: [SocketAddr; 2],
    /// When the SYN was sent.
    pub opened: i64,
    /// What followed, in capture order.
    pub steps: Vec<Step>,
}

impl Conversation {
    /// Payload bytes of both directions.
    pub fn payload(&self) -> usize {
        self.steps.iter().map(|s| if let Act::Data(data) = &s.act { data.len() } else { 0 }).sum()
    }
}

struct Open {
    index: usize,
    /// Next sequence number by way; None before the SYN of that side.
    next: [Option<u32>; 2],
    fin: [bool; 2],
}

/// Puts packets back into conversations. `Err` where that is not simple:
/// loss, reordering or a connection without its start.
pub fn conversations(packets: &[Packet]) -> Result<Vec<Conversation>, String> {
    let mut dissector = Dissector::new();
    let mut done: Vec<Conversation> = Vec::new();
    let mut open: HashMap<[SocketAddr; 2], Open> = HashMap::new();
    for (number, packet) in packets.iter().enumerate() {
        let at = Some(Timestamp::from_nanos(packet.at));
        let segment = match dissector.dissect(packet.link, &packet.bytes, packet.original, at) {
            Dissected::Segment(segment) => segment,
            _ => continue,
        };
        let source = SocketAddr::new(segment.source, segment.source_port);
        let destination = SocketAddr::new(segment.destination, segment.destination_port);
        if segment.flags & flags::SYN != 0 && segment.flags & flags::ACK == 0 {
            let ends = [source, destination];
            let next = [Some(segment.seq.wrapping_add(1)), None];
            // A SYN sent again finds its own conversation, still empty.
            let again = open.get(&ends).is_some_and(|known| {
                known.next[0] == next[0] && done[known.index].steps.is_empty()
            });
            if !again {
                done.push(Conversation { ends, opened: packet.at, steps: Vec::new() });
                open.insert(ends, Open { index: done.len() - 1, next, fin: [false; 2] });
            }
            continue;
        }
        let (way, ends) = match open.contains_key(&[source, destination]) {
            true => (0, [source, destination]),
            false => (1, [destination, source]),
        };
        let Some(known) = open.get_mut(&ends) else {
            return Err(format!("packet {}: a connection without its start", number + 1));
        };
        follow(known, way, &segment, packet.at, &mut done)
            .map_err(|what| format!("packet {}: {what}", number + 1))?;
    }
    Ok(done)
}

fn follow(
    open: &mut Open,
    way: usize,
    segment: &Segment<'_>,
    at: i64,
    done: &mut [Conversation],
) -> Result<(), String> {
    let steps = &mut done[open.index].steps;
    if segment.flags & flags::RST != 0 {
        steps.push(Step { way, at, act: Act::Rst });
        return Ok(());
    }
    if segment.flags & flags::SYN != 0 {
        open.next[way] = Some(segment.seq.wrapping_add(1));
        return Ok(());
    }
    let Some(next) = open.next[way] else { return Err("data before the SYN".into()) };
    if segment.payload.len() != segment.wire_len as usize {
        return Err("cut by the snap length".into());
    }
    let behind = next.wrapping_sub(segment.seq);
    if behind as i32 > 0 {
        let behind = behind as usize;
        if segment.payload.len() > behind {
            return Err("partly sent again".into());
        }
        return Ok(()); // keep-alive probe or sent again
    }
    if behind != 0 {
        return Err("lost or out of order".into());
    }
    let mut after = next;
    if !segment.payload.is_empty() {
        after = after.wrapping_add(segment.wire_len);
        steps.push(Step { way, at, act: Act::Data(segment.payload.to_vec()) });
    }
    if segment.flags & flags::FIN != 0 && !open.fin[way] {
        open.fin[way] = true;
        after = after.wrapping_add(1);
        steps.push(Step { way, at, act: Act::Fin });
    }
    open.next[way] = Some(after);
    Ok(())
}
