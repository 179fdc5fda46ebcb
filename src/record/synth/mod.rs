//! Ethernet, IP and TCP headers around recorded bytes.
//!
//! The addresses, ports, sequence and acknowledgment numbers are those of the
//! connection; MACs, TTL, window and identification are made up, since a
//! socket has none. One writer serves the handshake and the data, since
//! `etherparse`'s builder would write into a buffer of its own that had to be
//! copied; etherparse is the oracle of the tests.

mod checksum;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use checksum::Sum;

/// Bytes of an Ethernet header.
const ETHERNET_BYTES: usize = 14;
/// Bytes of an IPv4 header without options.
const IPV4_BYTES: usize = 20;
/// Bytes of an IPv6 header.
const IPV6_BYTES: usize = 40;
/// Bytes of a TCP header without options.
const TCP_BYTES: usize = 20;

/// Bytes of the options of a SYN.
const SYN_OPTIONS: usize = 12;
/// Bytes of the longest headers.
const MAX_HEADERS: usize = ETHERNET_BYTES + IPV6_BYTES + TCP_BYTES + SYN_OPTIONS;

/// The largest payload of an IPv4 segment: an IP packet has at most 65,535 bytes.
const MSS_V4: u16 = 65_495;
/// The same for IPv6, as the kernel's loopback announces it.
const MSS_V6: u16 = 65_475;

/// The window of every segment. With [`WINDOW_SCALE`] it is 1 GiB, so that no
/// reader finds a full window.
const WINDOW: u16 = 65_535;
/// The largest shift that RFC 7323 (section 2.3) allows.
const WINDOW_SCALE: u8 = 14;

/// Hops left: what Linux starts with.
const TTL: u8 = 64;

/// Locally administered addresses, one for each side of a connection.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

/// What one segment says.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Where it is from.
    pub from: SocketAddr,
    /// Where it goes; of the same family.
    pub to: SocketAddr,
    /// Side of the connection that `from` is, 0 or 1.
    pub side: usize,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Acknowledgment number; without it the segment has no ACK flag.
    pub ack: Option<u32>,
    /// Flags but for ACK.
    pub flags: u8,
    /// The payload, or the start of it.
    pub payload: &'a [u8],
    /// Bytes of the whole payload; more than `payload` where the snap length
    /// cut it. At most [`mss`].
    pub length: usize,
}

/// Bytes of payload that one segment between these addresses may have.
pub fn mss(from: SocketAddr) -> usize {
    usize::from(if from.is_ipv4() { MSS_V4 } else { MSS_V6 })
}

impl Segment<'_> {
    /// Bytes before the payload.
    pub fn headers(&self) -> usize {
        let ip = if self.from.is_ipv4() { IPV4_BYTES } else { IPV6_BYTES };
        ETHERNET_BYTES + ip + self.tcp_bytes()
    }

    fn tcp_bytes(&self) -> usize {
        TCP_BYTES + if self.is_syn() { SYN_OPTIONS } else { 0 }
    }

    fn is_syn(&self) -> bool {
        self.flags & super::event::tcp::SYN != 0
    }

    /// Appends the headers and the payload: `headers() + payload.len()` bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut head = [0; MAX_HEADERS];
        let length = self.headers();
        let at = length - self.tcp_bytes();
        let sum = self.lower(&mut head, (self.tcp_bytes() + self.length) as u16);
        self.tcp(&mut head[at..length], sum);
        out.extend_from_slice(&head[..length]);
        out.extend_from_slice(self.payload);
    }

    /// Ethernet and IP. Returns the sum of the pseudo header (RFC 9293, section
    /// 3.1). `tcp` is the length of all that follows.
    fn lower(&self, head: &mut [u8; MAX_HEADERS], tcp: u16) -> Sum {
        head[..6].copy_from_slice(&MACS[1 - self.side]);
        head[6..12].copy_from_slice(&MACS[self.side]);
        let ip = &mut head[ETHERNET_BYTES..];
        let mut sum = Sum::default();
        match (self.from, self.to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                ipv4(ip, tcp, from.ip().octets(), to.ip().octets());
                sum.add(&ip[12..20]);
                head[12..14].copy_from_slice(&[0x08, 0x00]);
            }
            (from, to) => {
                ipv6(ip, tcp, octets(from), octets(to));
                sum.add(&ip[8..40]);
                head[12..14].copy_from_slice(&[0x86, 0xdd]);
            }
        }
        let [high, low] = tcp.to_be_bytes();
        sum.add(&[0, PROTOCOL_TCP, high, low]);
        sum
    }

    fn tcp(&self, tcp: &mut [u8], mut sum: Sum) {
        let ack_flag = if self.ack.is_some() { super::event::tcp::ACK } else { 0 };
        tcp[..2].copy_from_slice(&self.from.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&self.to.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.ack.unwrap_or(0).to_be_bytes());
        tcp[12] = (tcp.len() as u8 / 4) << 4;
        tcp[13] = self.flags | ack_flag;
        tcp[14..16].copy_from_slice(&WINDOW.to_be_bytes());
        if self.is_syn() {
            tcp[TCP_BYTES..].copy_from_slice(&syn_options(self.from));
        }
        // Of a cut segment the rest counts as zeros: no reader checks those.
        let checksum = sum.add(tcp).add(self.payload).fold();
        tcp[16..18].copy_from_slice(&checksum);
    }
}

/// IANA's number of TCP.
const PROTOCOL_TCP: u8 = 6;

/// Maximum segment size, SACK permitted, window scale: without them Wireshark
/// notes something at every segment.
fn syn_options(from: SocketAddr) -> [u8; SYN_OPTIONS] {
    let mss = (mss(from) as u16).to_be_bytes();
    [2, 4, mss[0], mss[1], 4, 2, 1, 3, 3, WINDOW_SCALE, 1, 0]
}

fn ipv4(ip: &mut [u8], payload: u16, from: [u8; 4], to: [u8; 4]) {
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(payload + IPV4_BYTES as u16).to_be_bytes());
    // Identification 0, don't fragment: what is never fragmented needs none (RFC 6864, section
    // 4.1), and numbers that count up cost four bytes of a compressed packet, of twenty.
    ip[6..10].copy_from_slice(&[0x40, 0, TTL, PROTOCOL_TCP]);
    ip[12..16].copy_from_slice(&from);
    ip[16..20].copy_from_slice(&to);
    let checksum = Sum::default().add(&ip[..IPV4_BYTES]).fold();
    ip[10..12].copy_from_slice(&checksum);
}

fn ipv6(ip: &mut [u8], payload: u16, from: [u8; 16], to: [u8; 16]) {
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&payload.to_be_bytes());
    ip[6] = PROTOCOL_TCP;
    ip[7] = TTL;
    ip[8..24].copy_from_slice(&from);
    ip[24..40].copy_from_slice(&to);
}

/// The address in sixteen bytes; IPv4 mapped.
fn octets(address: SocketAddr) -> [u8; 16] {
    match address {
        SocketAddr::V4(address) => address.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(address) => address.ip().octets(),
    }
}
