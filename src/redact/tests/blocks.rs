//! Whole captures in memory: order, copies, overlaps, and what is left of packets.

use std::collections::BTreeMap;

use etherparse::{PacketBuilder, TcpSlice};
use proptest::prelude::*;

use super::SECRET;
use crate::analyze::packet::{Dissected, Dissector};
use crate::pcap::LinkType;
use crate::redact::{Redactor, Settings, Source, Unparsed};

const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 80);

/// A packet of one side: so far into what it says, with these flags.
fn packet(side: usize, at: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to) = if side == 0 { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let seq = (1000 + at).wrapping_sub(u32::from(flags & 2 != 0));
    let mut tcp = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(from.0, to.0, 64)
        .tcp(from.1, to.1, seq, 9000);
    tcp = tcp.ack(1);
    if flags & 2 != 0 {
        tcp = tcp.syn();
    }
    if flags & 1 != 0 {
        tcp = tcp.fin();
    }
    let mut out = Vec::new();
    tcp.write(&mut out, payload).expect("a packet");
    out
}

/// A pcapng of packets, a millisecond apart.
pub fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let length = (body.len() as u32 + 12).to_le_bytes();
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&length);
        out.extend_from_slice(body);
        out.extend_from_slice(&length);
    };
    let mut header = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    header.extend([1, 0, 0, 0]);
    header.extend([0xff; 8]);
    block(0x0a0d_0d0a, &header);
    block(1, &[1, 0, 0, 0, 0, 0, 4, 0]);
    for (nth, packet) in packets.iter().enumerate() {
        let mut body = Vec::new();
        let micros = nth as u32 * 1000;
        for word in [0, 0, micros, packet.len() as u32, packet.len() as u32] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        body.extend_from_slice(packet);
        body.resize(body.len().next_multiple_of(4), 0);
        block(6, &body);
    }
    out
}

/// Packets of a pcapng with their lengths on the wire, once its blocks are known to be sound.
fn packets(mut capture: &[u8]) -> Vec<(Vec<u8>, u32)> {
    let word =
        |at: usize, bytes: &[u8]| u32::from_le_bytes(*bytes[at..].first_chunk().expect("a word"));
    let mut found = Vec::new();
    while !capture.is_empty() {
        let length = word(4, capture) as usize;
        let (block, rest) = capture.split_at(length);
        assert_eq!(word(length - 4, block) as usize, length);
        if word(0, block) == 6 {
            let captured = word(20, block) as usize;
            found.push((block[28..28 + captured].to_vec(), word(24, block)));
        }
        capture = rest;
    }
    found
}

/// Bytes of each side by their place; no place may have two. Whole packets must have right
/// checksums.
fn said(capture: &[u8]) -> [BTreeMap<u32, u8>; 2] {
    let mut sides = [BTreeMap::new(), BTreeMap::new()];
    for (packet, original) in packets(capture) {
        assert!(packet.len() <= original as usize);
        let found = Dissector::new().dissect(LinkType(1), &packet, original, None);
        let Dissected::Segment(segment) = found else { panic!("{found:?}") };
        if segment.wire_len as usize == segment.payload.len() {
            let tcp = TcpSlice::from_slice(&packet[34..]).expect("TCP");
            let addresses = [26, 30].map(|at| *packet[at..].first_chunk::<4>().expect("IPv4"));
            let sum = tcp.calc_checksum_ipv4(addresses[0], addresses[1]).expect("a sum");
            assert_eq!(sum, tcp.checksum());
        }
        let side = usize::from(segment.source_port == 80);
        for (at, byte) in (segment.seq..).zip(segment.payload.iter()) {
            let before = sides[side].insert(at.wrapping_sub(1000), *byte);
            assert!(before.is_none_or(|before| before == *byte), "two bytes at {at}");
        }
    }
    sides
}

fn redact(settings: &Settings, packets: &[Vec<u8>]) -> (Vec<u8>, crate::redact::Report) {
    let mut redactor = Redactor::new(settings, Source::Any);
    let input = capture(packets);
    let mut out = Vec::new();
    // In pieces, as a pipe would bring them.
    for piece in input.chunks(100) {
        redactor.feed(piece);
        out.extend(redactor.take());
    }
    redactor.end();
    out.extend(redactor.take());
    (out, redactor.report())
}

fn text(side: &BTreeMap<u32, u8>) -> String {
    let end = side.keys().last().map_or(0, |end| end + 1);
    (0..end).map(|at| side.get(&at).map_or('_', |byte| char::from(*byte))).collect()
}

const HEAD: &str = "GET /?token=s3cr3t-VALUE HTTP/1.1\r\nCookie: s3cr3t-VALUE\r\nHost: h\r\n\r\n";
const SAFE: &str = "GET /?token=************ HTTP/1.1\r\nCookie: ************\r\nHost: h\r\n\r\n";

fn keep() -> Settings {
    Settings::new(Unparsed::Keep)
}

fn dropping() -> Settings {
    Settings::new(Unparsed::Drop)
}

/// A client's packets: a SYN, then pieces of the head.
fn client(pieces: &[std::ops::Range<usize>]) -> Vec<Vec<u8>> {
    let mut all = vec![packet(0, 0, 2, b"")];
    all.extend(pieces.iter().map(|r| packet(0, r.start as u32, 0, &HEAD.as_bytes()[r.clone()])));
    all
}

#[test]
fn out_of_order_again_and_overlapped() {
    for pieces in [
        Vec::from_iter(Some(0..68)),
        vec![0..30, 30..68],
        vec![30..68, 0..30],
        vec![0..20, 40..68, 20..40],
        vec![0..20, 0..20, 10..50, 45..68, 0..68],
        vec![60..68, 40..60, 20..40, 0..20],
    ] {
        for settings in [keep(), dropping()] {
            let (out, report) = redact(&settings, &client(&pieces));
            assert_eq!(text(&said(&out)[0]), SAFE, "{pieces:?}");
            assert_eq!(packets(&out).len(), pieces.len() + 1);
            assert_eq!(report.counts.dropped + report.counts.kept, 0);
        }
    }
}

#[test]
fn again_with_other_bytes() {
    let mut all = client(&[0..68, 0..68]);
    all[2] = packet(0, 0, 0, &[b'Z'; 68]);
    let (out, _) = redact(&keep(), &all);
    assert_eq!(text(&said(&out)[0]), SAFE);
}

#[test]
fn never_sent_again() {
    let mut all = client(&[0..20, 40..68]);
    let filler: Vec<_> = (0..3000).map(|_| packet(1, 0, 0, b"")).collect();
    let (out, _) = redact(&dropping(), &all);
    assert_eq!(text(&said(&out)[0]), "GET /?token=********");
    // After some time nothing waits any more; what comes then was never read.
    all.extend(filler);
    all.push(packet(0, 20, 0, &HEAD.as_bytes()[20..40]));
    all.push(packet(0, 68, 0, HEAD.as_bytes()));
    for (settings, middle) in [(dropping(), "_".repeat(28)), (keep(), SAFE[40..].to_owned())] {
        let (out, _) = redact(&settings, &all);
        let found = text(&said(&out)[0]);
        let expected = format!("GET /?token=********{}{middle}{SAFE}", "_".repeat(20));
        assert!(!found.contains(SECRET) && found.ends_with(SAFE), "{found}");
        assert_eq!(found.len(), expected.len());
        if settings.unparsed == Unparsed::Drop {
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_body_that_leaves() {
    let settings = Settings { headers_only: true, ..dropping() };
    let said_by = "PUT /a HTTP/1.1\r\nContent-Length: 6\r\n\r\nsecretPUT /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    let all = vec![packet(0, 0, 2, b""), packet(0, 0, 1, said_by.as_bytes())];
    let (out, report) = redact(&settings, &all);
    let expected = said_by.replace("secret", "______").replace("abc", "");
    assert_eq!(text(&said(&out)[0]), expected);
    assert_eq!(report.counts.bodies, 9);
    // Two packets, cut where the bodies were, as long on the wire together as the one was.
    let found = packets(&out);
    assert_eq!(found.len(), 3);
    let lengths: Vec<_> =
        found[1..].iter().map(|(p, original)| *original as usize - p.len()).collect();
    assert_eq!(lengths, [6, 3]);
    let flags: Vec<_> = found[1..].iter().map(|(packet, _)| packet[47] & 1).collect();
    assert_eq!(flags, [0, 1], "the last one ends the direction");
}

#[test]
fn what_is_not_tcp() {
    let mut udp = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([1; 4], [2; 4], 64)
        .udp(1, 2)
        .write(&mut udp, b"secret")
        .expect("a packet");
    let mut icmp = Vec::new();
    let quoted = packet(0, 0, 0, HEAD.as_bytes());
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([1; 4], [2; 4], 64)
        .icmpv4_raw(3, 1, [0; 4])
        .write(&mut icmp, &quoted[14..])
        .expect("a packet");
    let mut fragment = packet(0, 0, 0, HEAD.as_bytes());
    fragment[20] |= 0x20;
    let all = [udp, icmp, fragment];
    let (out, report) = redact(&dropping(), &all);
    let left: Vec<_> = packets(&out).iter().map(|(packet, _)| packet.len()).collect();
    assert_eq!(left, [42, 42, 34]);
    assert_eq!(report.counts.other_packets, 3);
    let (out, _) = redact(&keep(), &all);
    assert_eq!(packets(&out).iter().map(|(p, _)| p.clone()).collect::<Vec<_>>(), all);
}

#[test]
fn secrets_of_tls_leave() {
    let mut input = capture(&[]);
    let secrets = b"CLIENT_RANDOM 0123 4567\n";
    input.extend_from_slice(&10u32.to_le_bytes());
    input.extend_from_slice(&(secrets.len() as u32 + 20).to_le_bytes());
    input.extend_from_slice(&0x544c_534b_u32.to_le_bytes());
    input.extend_from_slice(&(secrets.len() as u32).to_le_bytes());
    input.extend_from_slice(secrets);
    input.extend_from_slice(&(secrets.len() as u32 + 20).to_le_bytes());
    let mut redactor = Redactor::new(&keep(), Source::Any);
    redactor.feed(&input);
    redactor.end();
    let out = redactor.take();
    assert!(memchr::memmem::find(&out, b"CLIENT_RANDOM").is_none());
    assert!(memchr::memmem::find(&out, b"perisco.redacted=headers,parameters").is_some());
    assert_eq!(redactor.report().counts.blocks, 1);
}

proptest! {
    /// However segments are cut, ordered and repeated, what comes out is the same.
    #[test]
    fn any_order(
        cuts in proptest::collection::vec(1usize..68, 0..8),
        again in proptest::collection::vec((0usize..60, 1usize..40), 0..6),
        order in any::<u64>(),
        drop: bool,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().chain([0, 68]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut pieces: Vec<_> = cuts.windows(2).map(|w| w[0]..w[1]).collect();
        pieces.extend(again.iter().map(|(at, len)| *at..(at + len).min(68)));
        // Any order, from a number.
        let mut random = order;
        for nth in (1..pieces.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            pieces.swap(nth, (random >> 33) as usize % (nth + 1));
        }
        let settings = if drop { dropping() } else { keep() };
        let (out, _) = redact(&settings, &client(&pieces));
        prop_assert_eq!(text(&said(&out)[0]), SAFE);
    }

    /// Blocks cut and damaged anywhere never panic.
    #[test]
    fn damaged(
        flips in proptest::collection::vec((0usize..900, any::<u8>()), 0..20), big: bool,
    ) {
        let mut input = capture(&client(&[0..20, 40..68, 20..40]));
        for (at, byte) in flips {
            if let Some(to) = input.get_mut(at) {
                *to = byte;
            }
        }
        let settings = if big { keep() } else { dropping() };
        let mut redactor = Redactor::new(&settings, Source::Any);
        input.chunks(33).for_each(|piece| redactor.feed(piece));
        redactor.end();
        let _ = redactor.take();
    }
}
