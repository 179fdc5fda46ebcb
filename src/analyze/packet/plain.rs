//! The hot path: what nearly all packets are, in straight code.
//!
//! Ethernet with at most one VLAN tag, Linux cooked or raw IP; then IP
//! without options, fragments or extension headers; then TCP; all captured.
//! None where anything is otherwise, and the steps of the other modules find
//! out what. Never gives a segment that they would not give.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ip::TCP;
use super::link;
use super::{Layer, Segment};
use crate::pcap::LinkType;

/// Bytes of IPv4 and TCP headers without options.
const HEADERS_4: usize = 40;

/// Bytes of IPv6 and TCP headers without options.
const HEADERS_6: usize = 60;

/// The IPv4-mapped IPv6 prefix (RFC 4291 section 2.5.5.2), above the address.
const MAPPED: u64 = 0xffff_0000_0000;

/// A segment of a plain packet: numbers only, so that it is passed on in
/// registers. [`Plain::segment`] makes the usual form of it.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Whether the addresses are IPv6. IPv4 ones are in IPv4-mapped form.
    pub v6: bool,
    /// Sender's address, upper and lower half.
    pub source: [u64; 2],
    /// Receiver's address, likewise.
    pub destination: [u64; 2],
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flag bits.
    pub flags: u8,
    /// Window field.
    pub window: u16,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
    /// Where the payload begins in the packet.
    pub payload_at: u32,
    /// Bytes of payload, all captured.
    pub payload_len: u32,
}

impl Plain {
    /// The same as the other modules would give it; `packet` is what it was
    /// read from.
    #[inline]
    pub(super) fn segment<'a>(&self, packet: &'a [u8]) -> Segment<'a> {
        let address = |[high, low]: [u64; 2]| match self.v6 {
            true => IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))),
            false => IpAddr::V4(Ipv4Addr::from_bits(low as u32)),
        };
        let begin = self.payload_at as usize;
        let payload = packet.get(begin..begin + self.payload_len as usize).unwrap_or_default();
        Segment {
            source: address(self.source),
            destination: address(self.destination),
            source_port: self.source_port,
            destination_port: self.destination_port,
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            ip_id: self.ip_id,
            wire_len: self.payload_len,
            payload: Cow::Borrowed(payload),
        }
    }
}

/// Reads a packet if it is a plain one.
#[inline(always)]
pub(super) fn parse(link: LinkType, packet: &[u8]) -> Option<Plain> {
    let ip_at = match link.0 {
        link::ETHERNET => after_ether_type(packet, 12)?,
        link::RAW => 0,
        link::SLL => after_ether_type(packet, 14)?,
        link::SLL2 => after_sll2(packet)?,
        _ => return None,
    };
    parse_ip(packet, ip_at)
}

/// Reads what a header led to if it is a plain packet.
#[inline]
pub(super) fn parse_inner(layer: Layer, bytes: &[u8]) -> Option<Plain> {
    match layer {
        Layer::Ethernet => parse_ip(bytes, after_ether_type(bytes, 12)?),
        Layer::Ip => parse_ip(bytes, 0),
        _ => None,
    }
}

/// What an EtherType at `at` announces, if it is IP with at most one tag:
/// where it begins.
#[inline(always)]
fn after_ether_type(packet: &[u8], at: usize) -> Option<usize> {
    match packet.get(at..)?.first_chunk()? {
        [0x08, 0x00] | [0x86, 0xdd] => Some(at + 2),
        [0x81, 0x00] => match packet.get(at + 4..)?.first_chunk()? {
            [0x08, 0x00] | [0x86, 0xdd] => Some(at + 6),
            _ => None,
        },
        _ => None,
    }
}

#[inline(always)]
fn after_sll2(packet: &[u8]) -> Option<usize> {
    match packet.first_chunk::<20>()? {
        [0x08, 0x00, ..] | [0x86, 0xdd, ..] => Some(20),
        _ => None,
    }
}

#[inline(always)]
fn parse_ip(packet: &[u8], at: usize) -> Option<Plain> {
    let ip = packet.get(at..)?;
    // Version and header length; then "more fragments", fragment offset and
    // protocol.
    let head: &[u8; HEADERS_4] = ip.first_chunk()?;
    let place = u32::from_be_bytes([head[6], head[7], head[8], head[9]]) & 0x3fff_00ff;
    if head[0] == 0x45 && place == u32::from(TCP) {
        let address = |at: [u8; 4]| [0, MAPPED | u64::from(u32::from_be_bytes(at))];
        let source = address([head[12], head[13], head[14], head[15]]);
        let destination = address([head[16], head[17], head[18], head[19]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (_, tcp) = head.split_first_chunk::<20>()?;
        let mut plain = parse_tcp(tcp.first_chunk()?, at + 20, length.checked_sub(20)?)?;
        (plain.source, plain.destination) = (source, destination);
        plain.ip_id = u16::from_be_bytes([head[4], head[5]]);
        (length <= ip.len()).then_some(plain)
    } else if head[0] >> 4 == 6 && head[6] == TCP {
        parse_6(ip, at)
    } else {
        None
    }
}

#[inline(never)]
fn parse_6(ip: &[u8], at: usize) -> Option<Plain> {
    let head: &[u8; HEADERS_6] = ip.first_chunk()?;
    let half = |at: usize| head.get(at..)?.first_chunk().map(|it| u64::from_be_bytes(*it));
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let (_, tcp) = head.split_first_chunk::<40>()?;
    let mut plain = parse_tcp(tcp.first_chunk()?, at + 40, length)?;
    plain.v6 = true;
    plain.source = [half(8)?, half(16)?];
    plain.destination = [half(24)?, half(32)?];
    (40 + length <= ip.len()).then_some(plain)
}

/// A segment of `length` bytes, as the IP header says, that begins at `at`;
/// without its addresses. None where its own header is not whole.
#[inline(always)]
fn parse_tcp(head: &[u8; 20], at: usize, length: usize) -> Option<Plain> {
    let header = usize::from(head[12] >> 4) * 4;
    if header < 20 || header > length {
        return None;
    }
    Some(Plain {
        v6: false,
        source: [0; 2],
        destination: [0; 2],
        source_port: u16::from_be_bytes([head[0], head[1]]),
        destination_port: u16::from_be_bytes([head[2], head[3]]),
        seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        flags: head[13],
        window: u16::from_be_bytes([head[14], head[15]]),
        ip_id: 0,
        payload_at: (at + header) as u32,
        payload_len: (length - header) as u32,
    })
}
