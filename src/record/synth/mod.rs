//! Ethernet, IP and TCP headers around recorded bytes.
//!
//! The addresses, ports, sequence and acknowledgment numbers are those of the
//! connection; MACs, TTL, window and identification are made up, since a
//! socket has none. One writer serves the handshake and the data: measured
//! against `etherparse`'s builder, which needs a buffer of its own and is used
//! as the oracle of the tests instead.

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
    /// IPv4 identification.
    pub id: u16,
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
        TCP_BYTES + if self.is_syn() { syn_options(self.from).len() } else { 0 }
    }

    fn is_syn(&self) -> bool {
        self.flags & super::event::tcp::SYN != 0
    }

    /// Appends the headers and the payload: `headers() + payload.len()` bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MACS[1 - self.side]);
        out.extend_from_slice(&MACS[self.side]);
        let tcp = (self.tcp_bytes() + self.length) as u16;
        let mut sum = Sum::default();
        match (self.from, self.to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let (from, to) = (from.ip().octets(), to.ip().octets());
                out.extend_from_slice(&[0x08, 0x00]);
                ipv4(out, self.id, tcp, from, to);
                sum.add(&from).add(&to);
            }
            (from, to) => {
                let (from, to) = (octets(from), octets(to));
                out.extend_from_slice(&[0x86, 0xdd]);
                ipv6(out, tcp, from, to);
                sum.add(&from).add(&to);
            }
        }
        // The rest of the pseudo header (RFC 9293, section 3.1).
        sum.add(&[0, PROTOCOL_TCP]).add(&tcp.to_be_bytes());
        self.tcp(out, sum);
    }

    fn tcp(&self, out: &mut Vec<u8>, mut sum: Sum) {
        let start = out.len();
        let ack_flag = if self.ack.is_some() { super::event::tcp::ACK } else { 0 };
        out.extend_from_slice(&self.from.port().to_be_bytes());
        out.extend_from_slice(&self.to.port().to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.ack.unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&[(self.tcp_bytes() as u8 / 4) << 4, self.flags | ack_flag]);
        out.extend_from_slice(&WINDOW.to_be_bytes());
        // Checksum and urgent pointer.
        out.extend_from_slice(&[0; 4]);
        if self.is_syn() {
            out.extend_from_slice(&syn_options(self.from));
        }
        // Of a cut segment the rest counts as zeros: no reader checks those.
        let checksum = sum.add(&out[start..]).add(self.payload).fold();
        out[start + 16..start + 18].copy_from_slice(&checksum.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// IANA's number of TCP.
const PROTOCOL_TCP: u8 = 6;

/// Maximum segment size, SACK permitted, window scale: without them Wireshark
/// notes something at every segment.
fn syn_options(from: SocketAddr) -> [u8; 12] {
    let mss = (mss(from) as u16).to_be_bytes();
    [2, 4, mss[0], mss[1], 4, 2, 1, 3, 3, WINDOW_SCALE, 1, 0]
}

fn ipv4(out: &mut Vec<u8>, id: u16, payload: u16, from: [u8; 4], to: [u8; 4]) {
    let start = out.len();
    out.extend_from_slice(&[0x45, 0]);
    out.extend_from_slice(&(payload + IPV4_BYTES as u16).to_be_bytes());
    out.extend_from_slice(&id.to_be_bytes());
    // Don't fragment.
    out.extend_from_slice(&[0x40, 0, TTL, PROTOCOL_TCP, 0, 0]);
    out.extend_from_slice(&from);
    out.extend_from_slice(&to);
    let checksum = Sum::default().add(&out[start..]).fold();
    out[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
}

fn ipv6(out: &mut Vec<u8>, payload: u16, from: [u8; 16], to: [u8; 16]) {
    out.extend_from_slice(&[0x60, 0, 0, 0]);
    out.extend_from_slice(&payload.to_be_bytes());
    out.extend_from_slice(&[PROTOCOL_TCP, TTL]);
    out.extend_from_slice(&from);
    out.extend_from_slice(&to);
}

/// The address in sixteen bytes; IPv4 mapped.
fn octets(address: SocketAddr) -> [u8; 16] {
    match address {
        SocketAddr::V4(address) => address.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(address) => address.ip().octets(),
    }
}
