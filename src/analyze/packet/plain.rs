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

/// The IPv4-mapped IPv6 prefix (RFC 4291 section 2.5.5.2), above the address.
const MAPPED: u64 = 0xffff_0000_0000;

/// A plain packet: its headers as they stand, so that each field is read
/// where it is wanted. [`Plain::segment`] makes the usual form of it.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    ip: Ip<'a>,
    tcp: &'a [u8; 20],
    /// Where the payload begins in the packet.
    pub payload_at: u32,
    /// Bytes of payload, all captured.
    pub payload_len: u32,
}

#[derive(Clone, Copy, Debug)]
enum Ip<'a> {
    V4(&'a [u8; 20]),
    V6(&'a [u8; 40]),
}

/// `N` bytes of a header.
#[inline(always)]
fn bytes<const N: usize, const LEN: usize>(header: &[u8; LEN], at: usize) -> [u8; N] {
    header.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

impl<'a> Plain<'a> {
    /// Whether the addresses are IPv6.
    #[inline(always)]
    pub fn v6(&self) -> bool {
        matches!(self.ip, Ip::V6(_))
    }

    /// Sender's address, upper and lower half, and port. IPv4 addresses are
    /// in IPv4-mapped form.
    #[inline(always)]
    pub fn source(&self) -> ([u64; 2], u16) {
        let address = match self.ip {
            Ip::V4(ip) => [0, MAPPED | u64::from(u32::from_be_bytes(bytes(ip, 12)))],
            Ip::V6(ip) => [u64::from_be_bytes(bytes(ip, 8)), u64::from_be_bytes(bytes(ip, 16))],
        };
        (address, u16::from_be_bytes(bytes(self.tcp, 0)))
    }

    /// Receiver's address and port, likewise.
    #[inline(always)]
    pub fn destination(&self) -> ([u64; 2], u16) {
        let address = match self.ip {
            Ip::V4(ip) => [0, MAPPED | u64::from(u32::from_be_bytes(bytes(ip, 16)))],
            Ip::V6(ip) => [u64::from_be_bytes(bytes(ip, 24)), u64::from_be_bytes(bytes(ip, 32))],
        };
        (address, u16::from_be_bytes(bytes(self.tcp, 2)))
    }

    /// Sequence number.
    #[inline(always)]
    pub fn seq(&self) -> u32 {
        u32::from_be_bytes(bytes(self.tcp, 4))
    }

    /// Acknowledgement number.
    #[inline(always)]
    pub fn ack(&self) -> u32 {
        u32::from_be_bytes(bytes(self.tcp, 8))
    }

    /// Flag bits.
    #[inline(always)]
    pub fn flags(&self) -> u8 {
        self.tcp[13]
    }

    /// Window field.
    #[inline(always)]
    pub fn window(&self) -> u16 {
        u16::from_be_bytes(bytes(self.tcp, 14))
    }

    /// IPv4 identification; 0 for IPv6.
    #[inline(always)]
    pub fn ip_id(&self) -> u16 {
        match self.ip {
            Ip::V4(ip) => u16::from_be_bytes(bytes(ip, 4)),
            Ip::V6(_) => 0,
        }
    }

    /// Its payload; `packet` is what it was read from.
    #[inline(always)]
    pub fn payload<'b>(&self, packet: &'b [u8]) -> &'b [u8] {
        let begin = self.payload_at as usize;
        packet.get(begin..begin + self.payload_len as usize).unwrap_or_default()
    }

    /// The same as the other modules would give it; `packet` is what it was
    /// read from.
    pub(super) fn segment(&self, packet: &'a [u8]) -> Segment<'a> {
        let address = |[high, low]: [u64; 2]| match self.ip {
            Ip::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))),
            Ip::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(low as u32)),
        };
        let (source, source_port) = self.source();
        let (destination, destination_port) = self.destination();
        let payload = self.payload(packet);
        Segment {
            source: address(source),
            destination: address(destination),
            source_port,
            destination_port,
            seq: self.seq(),
            ack: self.ack(),
            flags: self.flags(),
            window: self.window(),
            ip_id: self.ip_id(),
            wire_len: self.payload_len,
            payload: Cow::Borrowed(payload),
        }
    }
}

/// Reads a packet if it is a plain one.
#[inline(always)]
pub(super) fn parse(link: LinkType, packet: &[u8]) -> Option<Plain<'_>> {
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
pub(super) fn parse_inner(layer: Layer, bytes: &[u8]) -> Option<Plain<'_>> {
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
fn parse_ip(packet: &[u8], at: usize) -> Option<Plain<'_>> {
    let after = packet.get(at..)?;
    let (ip, rest) = after.split_first_chunk::<20>()?;
    // Version and header length; then "more fragments", fragment offset and
    // protocol.
    let place = u32::from_be_bytes(bytes(ip, 6)) & 0x3fff_00ff;
    if ip[0] == 0x45 && place == u32::from(TCP) {
        let length = usize::from(u16::from_be_bytes(bytes(ip, 2)));
        parse_tcp(Ip::V4(ip), rest, at + 20, length.checked_sub(20)?)
    } else if ip[0] >> 4 == 6 && ip[6] == TCP {
        let (ip, rest) = after.split_first_chunk::<40>()?;
        let length = usize::from(u16::from_be_bytes(bytes(ip, 4)));
        parse_tcp(Ip::V6(ip), rest, at + 40, length)
    } else {
        None
    }
}

/// What follows the IP header is `after`, from `at` in the packet on, and
/// holds a segment of `length` bytes, as that header says.
#[inline(always)]
fn parse_tcp<'a>(ip: Ip<'a>, after: &'a [u8], at: usize, length: usize) -> Option<Plain<'a>> {
    let tcp: &[u8; 20] = after.first_chunk()?;
    let header = usize::from(tcp[12] >> 4) * 4;
    if header < 20 || header > length || length > after.len() {
        return None;
    }
    let (payload_at, payload_len) = ((at + header) as u32, (length - header) as u32);
    Some(Plain { ip, tcp, payload_at, payload_len })
}
