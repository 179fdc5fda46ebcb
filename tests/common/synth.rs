//! Conversations written anew: other segments, another order, copies, other
//! sequence numbers and link layers, but the same bytes.

use std::net::{IpAddr, SocketAddr};

use etherparse::{PacketBuilder, TcpHeader};
use perisco::pcap::LinkType;

use super::model::{Act, Conversation, Packet, Step};

/// What packets begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Ethernet,
    Vlan,
    QinQ,
    RawIp,
    Null,
    Sll,
}

impl Link {
    /// All, for tests that try each.
    pub const ALL: [Self; 6] =
        [Self::Ethernet, Self::Vlan, Self::QinQ, Self::RawIp, Self::Null, Self::Sll];

    const fn number(self) -> LinkType {
        LinkType(match self {
            Self::Ethernet | Self::Vlan | Self::QinQ => 1,
            Self::RawIp => 101,
            Self::Null => 0,
            Self::Sll => 113,
        })
    }

    fn header(self, v6: bool) -> Vec<u8> {
        let ether: [u8; 2] = if v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let mut out = Vec::new();
        match self {
            Self::Ethernet | Self::Vlan | Self::QinQ => {
                out.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
                if self == Self::QinQ {
                    out.extend([0x88, 0xa8, 0, 100]);
                }
                if self != Self::Ethernet {
                    out.extend([0x81, 0x00, 0, 7]);
                }
                out.extend(ether);
            }
            Self::RawIp => {}
            Self::Null => out.extend(if v6 { 30u32 } else { 2 }.to_le_bytes()),
            Self::Sll => {
                out.extend([0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
                out.extend(ether);
            }
        }
        out
    }
}

/// How to write a conversation.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Sizes of the segments in turn; empty leaves them as they were.
    pub sizes: Vec<u16>,
    /// Whether bytes of successive steps of one side may share a segment.
    pub join: bool,
    /// Initial sequence numbers of client and server.
    pub isn: [u32; 2],
    /// What packets begin with.
    pub link: Link,
}

impl Default for Shape {
    fn default() -> Self {
        Self { sizes: Vec::new(), join: false, isn: [1_000, 900_000], link: Link::Ethernet }
    }
}

/// The largest payload that fits an IP packet with room to spare.
const MAX_SEGMENT: usize = 60_000;

/// What a packet written anew is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// SYN or SYN+ACK: stays where it is.
    Opening,
    /// Bytes or a FIN: may be moved and sent again.
    Payload {
        /// Its direction.
        way: usize,
        /// Where its bytes begin in the direction's stream.
        offset: usize,
        /// Where the bytes end that were said together with these: a segment
        /// sent again may reach so far.
        said: usize,
        /// How much of the other direction was sent by then.
        other: u32,
    },
    /// RST: stays where it is.
    Reset,
}

/// A packet written anew.
#[derive(Clone, Debug)]
pub struct Written {
    pub packet: Packet,
    pub role: Role,
}

/// Writes one conversation; keeps both byte streams for segments sent again.
pub struct Writer {
    ends: [SocketAddr; 2],
    shape: Shape,
    streams: [Vec<u8>; 2],
    /// How much of each stream was sent, FIN included.
    sent: [u32; 2],
    size: usize,
}

/// TCP flags of a packet.
#[derive(Clone, Copy, Default)]
struct Flags {
    syn: bool,
    ack: bool,
    fin: bool,
    rst: bool,
}

impl Writer {
    /// For a conversation in a shape.
    pub fn new(conversation: &Conversation, shape: Shape) -> Self {
        Self {
            ends: conversation.ends,
            shape,
            streams: [Vec::new(), Vec::new()],
            sent: [0; 2],
            size: 0,
        }
    }

    /// All packets of the conversation in order.
    pub fn write(&mut self, conversation: &Conversation) -> Vec<Written> {
        let opened = conversation.opened;
        let syn = Flags { syn: true, ..Flags::default() };
        let syn_ack = Flags { syn: true, ack: true, ..Flags::default() };
        let mut out = Vec::new();
        for (way, flags) in [(0, syn), (1, syn_ack)] {
            let packet = self.packet(way, opened, flags, 0, &[]);
            self.sent[way] = 1;
            out.push(Written { packet, role: Role::Opening });
        }
        let ack = Flags { ack: true, ..Flags::default() };
        out.push(Written { packet: self.packet(0, opened, ack, 1, &[]), role: Role::Opening });
        for step in joined(&conversation.steps, self.shape.join) {
            self.step(&step, &mut out);
        }
        out
    }

    fn step(&mut self, step: &Step, out: &mut Vec<Written>) {
        let way = step.way;
        let flags = Flags { ack: true, ..Flags::default() };
        match &step.act {
            Act::Data(data) => {
                let begin = self.streams[way].len();
                let said = begin + data.len();
                let mut offset = 0;
                while offset < data.len() {
                    let piece = &data[offset..data.len().min(offset + self.next_size())];
                    let packet = self.packet(way, step.at, flags, self.sent[way], piece);
                    self.sent[way] += piece.len() as u32;
                    let other = self.sent[1 - way];
                    let role = Role::Payload { way, offset: begin + offset, said, other };
                    out.push(Written { packet, role });
                    offset += piece.len();
                }
                self.streams[way].extend(data);
            }
            Act::Fin => {
                let flags = Flags { fin: true, ..flags };
                let packet = self.packet(way, step.at, flags, self.sent[way], &[]);
                self.sent[way] += 1;
                let offset = self.streams[way].len();
                let other = self.sent[1 - way];
                let role = Role::Payload { way, offset, said: offset, other };
                out.push(Written { packet, role });
            }
            Act::Rst => {
                let flags = Flags { rst: true, ..flags };
                let packet = self.packet(way, step.at, flags, self.sent[way], &[]);
                out.push(Written { packet, role: Role::Reset });
            }
        }
    }

    fn next_size(&mut self) -> usize {
        let size = match self.shape.sizes.get(self.size) {
            Some(size) => usize::from(*size).clamp(1, MAX_SEGMENT),
            None => MAX_SEGMENT,
        };
        self.size = (self.size + 1) % self.shape.sizes.len().max(1);
        size
    }

    /// Bytes `from..to` of a direction in one segment once more, clipped to
    /// what there is, with the acknowledgement of then.
    fn again(&mut self, way: usize, from: usize, to: usize, other: u32, at: i64) -> Written {
        let to = to.min(self.streams[way].len()).min(from + MAX_SEGMENT);
        let from = from.min(to);
        let flags = Flags { ack: true, ..Flags::default() };
        let now = std::mem::replace(&mut self.sent[1 - way], other);
        let packet = self.packet(way, at, flags, 1 + from as u32, &self.streams[way][from..to]);
        self.sent[1 - way] = now;
        Written { packet, role: Role::Payload { way, offset: from, said: to, other } }
    }

    /// A packet of payload as it is when sent again at the time of another.
    pub fn again_with_ack_of(&mut self, first: &Written, then: &Written) -> Written {
        match (&first.role, &then.role) {
            (Role::Payload { way, offset, said, .. }, Role::Payload { other, .. }) => {
                self.again(*way, *offset, *said, *other, first.packet.at)
            }
            _ => first.clone(),
        }
    }

    fn packet(&self, way: usize, at: i64, flags: Flags, seq: u32, payload: &[u8]) -> Packet {
        let [from, to] = [self.ends[way], self.ends[1 - way]];
        let seq = self.shape.isn[way].wrapping_add(seq);
        let mut header = TcpHeader::new(from.port(), to.port(), seq, 65_000);
        header.syn = flags.syn;
        header.ack = flags.ack;
        header.fin = flags.fin;
        header.rst = flags.rst;
        if flags.ack {
            header.acknowledgment_number = self.shape.isn[1 - way].wrapping_add(self.sent[1 - way]);
        }
        let mut bytes = self.shape.link.header(from.is_ipv6());
        let builder = match (from.ip(), to.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => PacketBuilder::ipv4(a.octets(), b.octets(), 64),
            (IpAddr::V6(a), IpAddr::V6(b)) => PacketBuilder::ipv6(a.octets(), b.octets(), 64),
            _ => unreachable!("both ends have one address family"),
        };
        builder.tcp_header(header).write(&mut bytes, payload).expect("the packet fits");
        let original = bytes.len() as u32;
        Packet { at, link: self.shape.link.number(), bytes, original }
    }
}

/// Steps with successive bytes of one side put together, where wanted.
fn joined(steps: &[Step], join: bool) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::new();
    for step in steps {
        if join
            && let Act::Data(more) = &step.act
            && let Some(Step { way, act: Act::Data(data), .. }) = out.last_mut()
            && *way == step.way
        {
            data.extend(more);
            continue;
        }
        out.push(step.clone());
    }
    out
}

/// Packets further apart than this in time are not swapped, in nanoseconds:
/// a network delays by milliseconds.
const SWAP_NANOS: i64 = 50_000_000;

/// Moves each packet back by up to `jitter[i]` places. Handshakes and resets
/// stay, and nothing passes them; long pauses are not crossed.
pub fn reorder(packets: Vec<Written>, jitter: &[u8]) -> Vec<Written> {
    if jitter.is_empty() {
        return packets;
    }
    let mut groups: Vec<Vec<(usize, Written)>> = vec![Vec::new()];
    let mut begun: Option<i64> = None;
    for (index, written) in packets.into_iter().enumerate() {
        let at = written.packet.at;
        let fixed = !matches!(written.role, Role::Payload { .. });
        if fixed || begun.is_none_or(|begun| at - begun > SWAP_NANOS) {
            groups.push(Vec::new());
            begun = (!fixed).then_some(at);
        }
        let key = index + usize::from(jitter[index % jitter.len()]);
        groups.last_mut().expect("never empty").push((key, written));
        if fixed {
            groups.push(Vec::new());
        }
    }
    groups
        .into_iter()
        .flat_map(|mut group| {
            group.sort_by_key(|(key, _)| *key);
            group.into_iter().map(|(_, written)| written)
        })
        .collect()
}

/// Sends some packets again: `(which, how many places later)`.
pub fn duplicate(packets: &[Written], copies: &[(usize, u8)]) -> Vec<Written> {
    insert(packets, copies, |written| written.clone())
}

/// Sends bytes again in segments that overlap those before and behind:
/// `(which, places later, bytes before, bytes behind)`.
pub fn overlap(
    packets: &[Written],
    writer: &mut Writer,
    again: &[(usize, u8, u16, u16)],
) -> Vec<Written> {
    let copies: Vec<_> = again.iter().map(|(which, later, ..)| (*which, *later)).collect();
    let mut turn = 0;
    insert(packets, &copies, |written| {
        let (_, _, before, behind) = again[turn % again.len()];
        turn += 1;
        match written.role {
            Role::Payload { way, offset, said, other } => {
                let from = offset.saturating_sub(usize::from(before));
                let to = said.min(offset + usize::from(behind) + 1);
                writer.again(way, from, to, other, written.packet.at)
            }
            Role::Opening | Role::Reset => written.clone(),
        }
    })
}

fn insert(
    packets: &[Written],
    copies: &[(usize, u8)],
    mut copy: impl FnMut(&Written) -> Written,
) -> Vec<Written> {
    let mut later: Vec<(usize, Written)> = copies
        .iter()
        .filter(|_| !packets.is_empty())
        .map(|(which, places)| {
            let index = which % packets.len();
            (index + usize::from(*places), copy(&packets[index]))
        })
        .collect();
    later.sort_by_key(|(place, _)| *place);
    let mut later = later.into_iter().peekable();
    let mut out: Vec<Written> = Vec::new();
    let push = |mut written: Written, out: &mut Vec<Written>| {
        let before = out.last().map_or(i64::MIN, |last| last.packet.at);
        written.packet.at = written.packet.at.max(before);
        out.push(written);
    };
    for (index, written) in packets.iter().enumerate() {
        out.push(written.clone());
        while let Some((_, written)) = later.next_if(|(place, _)| *place <= index) {
            push(written, &mut out);
        }
    }
    later.for_each(|(_, written)| push(written, &mut out));
    out
}

/// Merges the packets of several conversations: `choices` picks, in turn,
/// which one goes on.
pub fn interleave(conversations: Vec<Vec<Written>>, choices: &[u8]) -> Vec<Written> {
    let mut queues: Vec<_> = conversations.into_iter().map(Vec::into_iter).collect();
    let mut out = Vec::new();
    let mut turn = 0;
    while !queues.is_empty() {
        let choice = choices.get(turn % choices.len().max(1)).copied().unwrap_or(0);
        let index = usize::from(choice) % queues.len();
        turn += 1;
        match queues[index].next() {
            Some(written) => out.push(written),
            None => drop(queues.remove(index)),
        }
    }
    out
}

/// In order of time, as a capture without disorder holds them.
pub fn by_time(conversations: Vec<Vec<Written>>) -> Vec<Written> {
    let mut all: Vec<Written> = conversations.into_iter().flatten().collect();
    all.sort_by_key(|written| written.packet.at);
    all
}

/// Gives the packets new times, a microsecond apart.
pub fn retime(packets: &mut [Written]) {
    for (index, written) in packets.iter_mut().enumerate() {
        written.packet.at = 1_700_000_000_000_000_000 + index as i64 * 1_000;
    }
}

/// The packets as a pcap file.
pub fn pcap(packets: &[Written]) -> Vec<u8> {
    super::model::write_pcap(packets.iter().map(|written| &written.packet))
}

/// A conversation of HTTP/1.1 exchanges with tiny answers, a millisecond
/// apart: for tests that need many transactions.
pub fn http1(ends: [SocketAddr; 2], opened: i64, exchanges: usize) -> Conversation {
    let mut steps = Vec::new();
    for index in 0..exchanges {
        let at = opened + (index as i64 + 1) * 1_000_000;
        let request = format!("GET /item/{index} HTTP/1.1\r\nHost: shop\r\n\r\n");
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-N: {index}\r\n\r\nok");
        steps.push(Step { way: 0, at, act: Act::Data(request.into_bytes()) });
        steps.push(Step { way: 1, at: at + 400_000, act: Act::Data(response.into_bytes()) });
    }
    let end = opened + (exchanges as i64 + 1) * 1_000_000;
    steps.push(Step { way: 0, at: end, act: Act::Fin });
    steps.push(Step { way: 1, at: end + 1_000, act: Act::Fin });
    Conversation { ends, opened, steps }
}
