//! Takes bytes out of packets: what leaves is cut off, as a snap length would, so that
//! each missing byte has its exact place and no sequence number moves.
//!
//! Where bytes behind it stay, they go on in a packet of their own with the same headers.

use std::net::IpAddr;
use std::ops::Range;

use etherparse::TcpSlice;

use super::flow::Segment;
use crate::pcap::LinkType;

/// Bytes of an IPv4 header without options, and of an IPv6 header.
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;

/// Bytes of the headers of UDP and ICMP.
const SMALL_HEADER: usize = 8;

/// An IP header that begins behind more than this many bytes has another around it: longer than
/// the headers of Ethernet with two tags, and of cooked captures.
const OUTERMOST: usize = 24;

/// IANA's number of TCP.
const TCP: u8 = 6;

/// Where headers of a segment begin.
#[derive(Clone, Copy, Debug)]
struct Headers {
    ip: usize,
    tcp: usize,
    v6: bool,
}

/// One packet of those that are left of one.
#[derive(Debug)]
pub struct Piece {
    /// All of it that is captured.
    pub bytes: Vec<u8>,
    /// Its length on the wire, in bytes.
    pub original: u32,
}

/// Bytes of the payload that stay, by what they are a part of: captured up to `captured`,
/// and as if the packet went on to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: usize,
    captured: usize,
    end: usize,
}

/// Parts of a payload, of which `length` bytes are captured and `wire` were there, without `drops`.
fn parts(length: usize, wire: usize, drops: &[Range<usize>]) -> Vec<Part> {
    let mut kept = Vec::new();
    let mut at = 0;
    for drop in drops {
        kept.push(at..drop.start);
        at = drop.end;
    }
    kept.push(at..length);
    kept.retain(|range| !range.is_empty());
    let mut parts = Vec::new();
    if kept.first().is_none_or(|first| first.start > 0) {
        parts.push(Part { start: 0, captured: 0, end: wire });
    }
    for range in kept {
        if let Some(last) = parts.last_mut() {
            last.end = range.start;
        }
        parts.push(Part { start: range.start, captured: range.end, end: wire });
    }
    parts
}

/// What is left of a packet. `payload` is where the segment's is in it.
pub fn without(
    packet: &[u8],
    original: u32,
    payload: Range<usize>,
    segment: &Segment,
    drops: &[Range<usize>],
) -> Vec<Piece> {
    let wire = segment.wire as usize;
    let parts = parts(payload.len(), wire, drops);
    let headers = packet.get(..payload.start).unwrap_or_default();
    let part_bytes = |part: &Part| {
        let kept = payload.start + part.start..payload.start + part.captured;
        let mut bytes = headers.to_vec();
        bytes.extend_from_slice(packet.get(kept).unwrap_or_default());
        bytes
    };
    let place = locate(packet, payload.start, segment);
    let (Some(place), true) = (place, parts.len() > 1) else {
        // Headers that cannot be changed: all behind the first byte that leaves does.
        let bytes = parts.first().map(part_bytes).unwrap_or_default();
        let mut piece = Piece { bytes, original };
        if let Some(place) = place {
            checksum(&mut piece.bytes, place, payload.start - place.tcp + wire);
        }
        return vec![piece];
    };
    let last = parts.len() - 1;
    let piece = |(nth, part): (usize, &Part)| {
        let mut bytes = part_bytes(part);
        let length = part.end - part.start;
        let first_last = (nth == 0, nth == last);
        change(&mut bytes, place, payload.start, length, segment.seq, part.start, first_last);
        checksum(&mut bytes, place, payload.start - place.tcp + length);
        // Headers around this IP header have lengths of their own: they tell of a packet that
        // was cut.
        let outermost = place.ip <= OUTERMOST;
        let original = if outermost { (payload.start + length) as u32 } else { original };
        Piece { bytes, original }
    };
    parts.iter().enumerate().map(piece).collect()
}

/// Makes the checksum of a segment right, whose payload was overwritten. `payload_at` is where
/// that begins.
pub fn right_checksum(packet: &mut [u8], payload_at: usize, segment: &Segment) {
    if let Some(place) = locate(packet, payload_at, segment) {
        checksum(packet, place, payload_at - place.tcp + segment.wire as usize);
    }
}

/// Finds the headers of a segment before its payload.
fn locate(packet: &[u8], payload_at: usize, segment: &Segment) -> Option<Headers> {
    let word = |at: usize| packet.get(at..)?.first_chunk::<4>().map(|b| u32::from_be_bytes(*b));
    let ports = u32::from(segment.from.1) << 16 | u32::from(segment.to.1);
    let is_tcp = |tcp: &usize| {
        let length = packet.get(tcp + 12).map_or(0, |b| usize::from(b >> 4) * 4);
        length == payload_at - tcp
            && word(*tcp) == Some(ports)
            && word(tcp + 4) == Some(segment.seq)
    };
    let tcp = (20..=60).step_by(4).filter_map(|n| payload_at.checked_sub(n)).find(is_tcp)?;
    match segment.from.0 {
        IpAddr::V4(from) => {
            let is_ip = |ip: &usize| {
                packet.get(*ip).is_some_and(|b| *b == 0x40 | ((tcp - ip) / 4) as u8)
                    && packet.get(ip + 9) == Some(&TCP)
                    && packet.get(ip + 12..ip + 16) == Some(&from.octets()[..])
            };
            let starts = (IPV4_BYTES..=60).step_by(4).filter_map(|n| tcp.checked_sub(n));
            let ip = { starts }.find(is_ip)?;
            Some(Headers { ip, tcp, v6: false })
        }
        IpAddr::V6(from) => {
            let is_ip = |ip: &usize| {
                packet.get(*ip).is_some_and(|b| b >> 4 == 6)
                    && packet.get(ip + 8..ip + 24) == Some(&from.octets()[..])
            };
            let ip = (0..=tcp.checked_sub(IPV6_BYTES)?).rev().find(is_ip)?;
            Some(Headers { ip, tcp, v6: true })
        }
    }
}

/// Makes a packet one of those that one became: `length` bytes of payload, from the byte `start`
/// on; only the first opens a connection, only the last ends it.
fn change(
    packet: &mut [u8],
    place: Headers,
    payload_at: usize,
    length: usize,
    seq: u32,
    start: usize,
    (first, last): (bool, bool),
) {
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(to) = packet.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    };
    put(place.tcp + 4, &seq.wrapping_add(start as u32).to_be_bytes());
    let total = payload_at + length - place.ip;
    if place.v6 {
        put(place.ip + 4, &((total - IPV6_BYTES) as u16).to_be_bytes());
    } else {
        put(place.ip + 2, &(total as u16).to_be_bytes());
        put(place.ip + 10, &[0, 0]);
    }
    if !place.v6 {
        let sum =
            etherparse::Ipv4HeaderSlice::from_slice(packet.get(place.ip..).unwrap_or_default())
                .map(|header| header.to_header().calc_header_checksum());
        if let (Ok(sum), Some(to)) = (sum, packet.get_mut(place.ip + 10..place.ip + 12)) {
            to.copy_from_slice(&sum.to_be_bytes());
        }
    }
    if let Some(flags) = packet.get_mut(place.tcp + 13) {
        use crate::analyze::packet::flags::{FIN, PSH, SYN};
        *flags &= if last { u8::MAX } else { !(FIN | PSH) };
        *flags &= if first { u8::MAX } else { !SYN };
    }
}

/// Writes the checksum of a segment of `length` bytes with its header, if all are captured.
fn checksum(packet: &mut [u8], place: Headers, length: usize) {
    let Some(segment) = packet.get(place.tcp..place.tcp + length) else { return };
    let Ok(tcp) = TcpSlice::from_slice(segment) else { return };
    let octets = |at: usize, n: usize| packet.get(place.ip + at..place.ip + at + n);
    let sum = if place.v6 {
        let [from, to] = [8, 24].map(|at| octets(at, 16).and_then(|b| b.first_chunk::<16>()));
        from.zip(to).and_then(|(from, to)| tcp.calc_checksum_ipv6(*from, *to).ok())
    } else {
        let [from, to] = [12, 16].map(|at| octets(at, 4).and_then(|b| b.first_chunk::<4>()));
        from.zip(to).and_then(|(from, to)| tcp.calc_checksum_ipv4(*from, *to).ok())
    };
    let to = packet.get_mut(place.tcp + 16..place.tcp + 18);
    if let (Some(sum), Some(to)) = (sum, to) {
        to.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Bytes of a packet without TCP, or of a fragment, that hold nothing but headers: link layer,
/// IP, and those of UDP and ICMP. Of what is not understood, none.
pub fn headers(link: LinkType, packet: &[u8]) -> usize {
    let kind = |at: usize| packet.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let ip = match link.0 {
        0 | 108 => 4,
        1 => {
            let mut at = 12;
            while matches!(kind(at), Some(0x8100 | 0x88a8)) {
                at += 4;
            }
            match kind(at) {
                // Addresses and nothing else.
                Some(0x0806) => return packet.len(),
                Some(0x0800 | 0x86dd) => at + 2,
                _ => return at + 2,
            }
        }
        12 | 14 | 101 | 228 | 229 => 0,
        113 => 16,
        276 => 20,
        _ => return 0,
    };
    let (header, protocol, whole) = match packet.get(ip).map(|byte| byte >> 4) {
        Some(4) => {
            let length = packet.get(ip).map_or(0, |b| usize::from(b & 15) * 4);
            // Only the first fragment has a header behind it.
            let first = kind(ip + 6).is_some_and(|word| word & 0x1fff == 0);
            (length, packet.get(ip + 9), first)
        }
        Some(6) => (IPV6_BYTES, packet.get(ip + 6), true),
        _ => return ip,
    };
    let small = whole && matches!(protocol, Some(1 | 17 | 58));
    ip + header + if small { SMALL_HEADER } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_what_was_there() {
        let part = |start, captured, end| Part { start, captured, end };
        assert_eq!(parts(10, 10, &[]), [part(0, 10, 10)]);
        assert_eq!(parts(10, 12, std::slice::from_ref(&(4..10))), [part(0, 4, 12)]);
        assert_eq!(parts(10, 10, std::slice::from_ref(&(0..10))), [part(0, 0, 10)]);
        assert_eq!(parts(10, 10, std::slice::from_ref(&(0..4))), [part(0, 0, 4), part(4, 10, 10)]);
        assert_eq!(parts(10, 12, &[2..4, 6..7]), [part(0, 2, 4), part(4, 6, 7), part(7, 10, 12)]);
    }
}
