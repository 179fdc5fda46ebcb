use std::net::SocketAddr;

use etherparse::{PacketHeaders, TransportHeader};

use super::super::event::tcp;
use super::*;

fn segment<'a>(from: &str, to: &str, flags: u8, payload: &'a [u8]) -> Segment<'a> {
    Segment {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        side: 0,
        seq: 0xfedc_ba98,
        ack: Some(0x0123_4567),
        flags,
        payload,
        length: payload.len(),
    }
}

/// Every byte as etherparse reads it, and both checksums as it computes them.
#[test]
fn headers_are_what_another_implementation_reads() {
    let long: Vec<u8> = (0..mss("[::1]:1".parse().unwrap())).map(|at| (at % 251) as u8).collect();
    for (from, to) in [("10.1.2.3:1000", "10.9.8.7:80"), ("[2001:db8::1]:1000", "[::1]:80")] {
        for payload in [&b""[..], b"a", b"abc", b"hello world", &long] {
            for flags in [tcp::SYN, tcp::PSH, tcp::FIN, tcp::RST] {
                let segment = segment(from, to, flags, payload);
                let mut bytes = Vec::new();
                segment.write(&mut bytes);
                assert_eq!(bytes.len(), segment.headers() + payload.len());
                check(&segment, &bytes);
            }
        }
    }
}

fn check(segment: &Segment<'_>, bytes: &[u8]) {
    let packet = PacketHeaders::from_ethernet_slice(bytes).unwrap();
    let Some(TransportHeader::Tcp(header)) = packet.transport else { panic!("no TCP") };
    assert_eq!(packet.payload.slice(), segment.payload);
    assert_eq!((header.source_port, header.destination_port), (1000, 80));
    assert_eq!((header.sequence_number, header.acknowledgment_number), (segment.seq, 0x0123_4567));
    assert!(header.ack && header.window_size == 65_535);
    assert_eq!(header.syn, segment.flags == tcp::SYN);
    assert_eq!(header.options.is_empty(), segment.flags != tcp::SYN);
    let right = match packet.net.unwrap() {
        etherparse::NetHeaders::Ipv4(ip, _) => {
            assert!(ip.dont_fragment && ip.identification == 0);
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            header.calc_checksum_ipv4(&ip, segment.payload).unwrap()
        }
        etherparse::NetHeaders::Ipv6(ip, _) => {
            header.calc_checksum_ipv6(&ip, segment.payload).unwrap()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(header.checksum, right);
}

#[test]
fn a_cut_segment_keeps_its_true_ip_length() {
    let mut segment = segment("10.1.2.3:1000", "10.9.8.7:80", tcp::PSH, b"start");
    segment.length = 1000;
    let mut bytes = Vec::new();
    segment.write(&mut bytes);
    assert_eq!(bytes.len(), 54 + 5);
    assert_eq!(u16::from_be_bytes([bytes[16], bytes[17]]), 40 + 1000);
}

#[test]
fn the_longest_segments_fit_an_ip_packet() {
    assert_eq!(mss(SocketAddr::from(([127, 0, 0, 1], 1))) + 40, 65_535);
    assert!(mss("[::1]:1".parse().unwrap()) + 20 <= 65_535);
}
