//! Frames built by hand or by etherparse, and what must come of them.

mod encapsulations;
mod fragments;
mod ip;
mod properties;

use std::net::IpAddr;

use etherparse::{IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};

use super::*;

const ETHERNET: LinkType = LinkType(1);
const RAW: LinkType = LinkType(101);
const PAYLOAD: &[u8] = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n";

/// An IPv4 header with the addresses and identification of [`segment4`].
fn header4(protocol: IpNumber) -> Ipv4Header {
    let mut header = Ipv4Header::new(0, 64, protocol, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
    header.identification = 0x1234;
    header.dont_fragment = false;
    header
}

fn address6(last: u8) -> [u8; 16] {
    [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// An IP packet with one TCP segment, as etherparse builds it.
fn tcp_packet(ip: IpHeaders, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ip(ip).tcp(40_000, 80, 0x0102_0304, 512).ack(0x0a0b_0c0d).psh();
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn packet4(payload: &[u8]) -> Vec<u8> {
    tcp_packet(IpHeaders::Ipv4(header4(IpNumber::TCP), Default::default()), payload)
}

fn packet6(payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header { source: address6(1), destination: address6(2), ..Default::default() };
    tcp_packet(IpHeaders::Ipv6(header, Default::default()), payload)
}

/// What [`packet4`] holds.
fn segment4(payload: &[u8]) -> Segment<'_> {
    Segment {
        source: IpAddr::from([10, 0, 0, 1]),
        destination: IpAddr::from([10, 0, 0, 2]),
        source_port: 40_000,
        destination_port: 80,
        seq: 0x0102_0304,
        ack: 0x0a0b_0c0d,
        flags: flags::ACK | flags::PSH,
        window: 512,
        ip_id: 0x1234,
        payload: Cow::Borrowed(payload),
        wire_len: payload.len() as u32,
    }
}

/// What [`packet6`] holds.
fn segment6(payload: &[u8]) -> Segment<'_> {
    Segment {
        source: IpAddr::from(address6(1)),
        destination: IpAddr::from(address6(2)),
        ip_id: 0,
        ..segment4(payload)
    }
}

/// Joins byte strings.
fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// An Ethernet frame.
fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ether_type.to_be_bytes(), payload])
}

/// An IPv4 packet with other content than TCP.
fn ip4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = Ipv4Header::new(
        payload.len() as u16,
        64,
        IpNumber(protocol),
        [172, 16, 0, 1],
        [172, 16, 0, 2],
    )
    .unwrap();
    header.header_checksum = header.calc_header_checksum();
    join(&[&header.to_bytes(), payload])
}

/// An IPv6 packet with other content than plain TCP.
fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        payload_length: payload.len() as u16,
        next_header: IpNumber(next),
        hop_limit: 64,
        source: address6(1),
        destination: address6(2),
        ..Default::default()
    };
    join(&[&header.to_bytes(), payload])
}

/// An IPv4 packet with a UDP datagram.
fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4([172, 16, 0, 1], [172, 16, 0, 2], 64)
        .udp(source, destination)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

/// Dissects one packet that was captured whole.
fn dissect(link: LinkType, packet: &[u8]) -> Dissected<'_> {
    Dissector::new().dissect(link, packet, packet.len() as u32, None)
}
