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
use super::{Layer, Network, Segment};
use crate::pcap::LinkType;

/// Bytes of IPv4 and TCP headers without options.
const HEADERS_4: usize = 40;

/// Bytes of IPv6 and TCP headers without options.
const HEADERS_6: usize = 60;

/// Reads a packet if it is a plain one.
#[inline]
pub(super) fn parse(link: LinkType, packet: &[u8]) -> Option<Segment<'_>> {
    let ip = match link.0 {
        link::ETHERNET => after_ether_type(packet, 12)?,
        link::RAW => packet,
        link::SLL => after_ether_type(packet, 14)?,
        link::SLL2 => after_sll2(packet)?,
        _ => return None,
    };
    parse_ip(ip)
}

/// Reads what a header led to if it is a plain packet.
#[inline]
pub(super) fn parse_inner(layer: Layer, bytes: &[u8]) -> Option<Segment<'_>> {
    match layer {
        Layer::Ethernet => parse_ip(after_ether_type(bytes, 12)?),
        Layer::Ip => parse_ip(bytes),
        _ => None,
    }
}

#[inline]
fn parse_ip(ip: &[u8]) -> Option<Segment<'_>> {
    // Version and header length; then "more fragments", fragment offset and
    // protocol.
    let head: &[u8; HEADERS_4] = ip.first_chunk()?;
    let place = u32::from_be_bytes([head[6], head[7], head[8], head[9]]) & 0x3fff_00ff;
    if head[0] == 0x45 && place == u32::from(TCP) {
        parse_4(head, ip)
    } else if head[0] >> 4 == 6 && head[6] == TCP {
        parse_6(ip)
    } else {
        None
    }
}

/// What an EtherType at `at` announces, if it is IP with at most one tag.
#[inline]
fn after_ether_type(packet: &[u8], at: usize) -> Option<&[u8]> {
    let (&kind, ip) = packet.get(at..)?.split_first_chunk()?;
    match kind {
        [0x08, 0x00] | [0x86, 0xdd] => Some(ip),
        [0x81, 0x00] => match ip.split_first_chunk()? {
            ([_, _, 0x08, 0x00] | [_, _, 0x86, 0xdd], ip) => Some(ip),
            _ => None,
        },
        _ => None,
    }
}

#[inline]
fn after_sll2(packet: &[u8]) -> Option<&[u8]> {
    match packet.split_first_chunk::<20>()? {
        ([0x08, 0x00, ..] | [0x86, 0xdd, ..], ip) => Some(ip),
        _ => None,
    }
}

#[inline]
fn parse_4<'a>(head: &[u8; HEADERS_4], ip: &'a [u8]) -> Option<Segment<'a>> {
    let address = |at: [u8; 4]| IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes(at)));
    let network = Network {
        source: address([head[12], head[13], head[14], head[15]]),
        destination: address([head[16], head[17], head[18], head[19]]),
        ip_id: u16::from_be_bytes([head[4], head[5]]),
    };
    let segment = ip.get(20..usize::from(u16::from_be_bytes([head[2], head[3]])))?;
    parse_tcp(network, segment)
}

#[inline]
fn parse_6(ip: &[u8]) -> Option<Segment<'_>> {
    let head: &[u8; HEADERS_6] = ip.first_chunk()?;
    let address = |at: &[u8]| at.first_chunk::<16>().map(|it| IpAddr::V6(Ipv6Addr::from(*it)));
    let network =
        Network { source: address(&head[8..24])?, destination: address(&head[24..40])?, ip_id: 0 };
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    parse_tcp(network, ip.get(40..40 + length)?)
}

/// `segment` is as long as the IP header says.
#[inline]
fn parse_tcp(network: Network, segment: &[u8]) -> Option<Segment<'_>> {
    let head: &[u8; 20] = segment.first_chunk()?;
    let header = usize::from(head[12] >> 4) * 4;
    let payload = segment.get(header..).filter(|_| header >= 20)?;
    Some(Segment {
        source: network.source,
        destination: network.destination,
        source_port: u16::from_be_bytes([head[0], head[1]]),
        destination_port: u16::from_be_bytes([head[2], head[3]]),
        seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        flags: head[13],
        window: u16::from_be_bytes([head[14], head[15]]),
        ip_id: network.ip_id,
        wire_len: payload.len() as u32,
        payload: Cow::Borrowed(payload),
    })
}
