//! Lengths, options and extension headers.

use super::*;

#[test]
fn ipv4_options_are_skipped() {
    let mut header = header4(IpNumber::TCP);
    header.options = [1u8; 12].into();
    let packet = tcp_packet(IpHeaders::Ipv4(header, Default::default()), PAYLOAD);
    assert_eq!(dissect(RAW, &packet), Dissected::Segment(segment4(PAYLOAD)));
}

#[test]
fn tcp_options_are_no_payload() {
    let mut packet = Vec::new();
    PacketBuilder::ip(IpHeaders::Ipv4(header4(IpNumber::TCP), Default::default()))
        .tcp(40_000, 80, 0x0102_0304, 512)
        .ack(0x0a0b_0c0d)
        .psh()
        .options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])
        .unwrap()
        .write(&mut packet, PAYLOAD)
        .unwrap();
    for (link, frame) in [(RAW, packet.clone()), (ETHERNET, ethernet(0x0800, &packet))] {
        assert_eq!(dissect(link, &frame), Dissected::Segment(segment4(PAYLOAD)));
    }
}

#[test]
fn each_flag_comes_through() {
    for flag in 0..=255u8 {
        let mut frame = ethernet(0x0800, &packet4(PAYLOAD));
        frame[47] = flag;
        let expected = Segment { flags: flag, ..segment4(PAYLOAD) };
        assert_eq!(dissect(ETHERNET, &frame), Dissected::Segment(expected));
    }
}

#[test]
fn length_zero_is_segmentation_offload() {
    for (mut packet, at, expected) in
        [(packet4(PAYLOAD), 2, segment4(PAYLOAD)), (packet6(PAYLOAD), 4, segment6(PAYLOAD))]
    {
        packet[at..at + 2].fill(0);
        assert_eq!(dissect(RAW, &packet), Dissected::Segment(expected.clone()));
        // The capture was cut: only the original length tells.
        let kept = packet.len() - 10;
        let cut = Segment { payload: Cow::Borrowed(&PAYLOAD[..PAYLOAD.len() - 10]), ..expected };
        let original = packet.len() as u32;
        assert_eq!(
            Dissector::new().dissect(RAW, &packet[..kept], original, None),
            Dissected::Segment(cut)
        );
    }
}

#[test]
fn padding_is_no_payload() {
    let mut frame = ethernet(0x0800, &packet4(b""));
    frame.resize(60, 0xee);
    assert_eq!(dissect(ETHERNET, &frame), Dissected::Segment(segment4(b"")));
    let mut frame = ethernet(0x86dd, &packet6(b""));
    frame.resize(90, 0xee);
    assert_eq!(dissect(ETHERNET, &frame), Dissected::Segment(segment6(b"")));
}

#[test]
fn the_802_3_length_bounds_what_ip_leaves_open() {
    let mut packet = packet4(PAYLOAD);
    packet[2..4].fill(0);
    let mut frame = ethernet(packet.len() as u16 + 3, &join(&[&[6, 6, 3], &packet]));
    frame.extend_from_slice(&[0xee; 9]);
    assert_eq!(dissect(ETHERNET, &frame), Dissected::Segment(segment4(PAYLOAD)));
}

#[test]
fn ip_length_tells_what_was_on_the_wire() {
    // Even where the capture's own original length does not.
    let packet = packet4(PAYLOAD);
    let kept = &packet[..packet.len() - 4];
    let expected =
        Segment { payload: Cow::Borrowed(&PAYLOAD[..PAYLOAD.len() - 4]), ..segment4(PAYLOAD) };
    assert_eq!(dissect(RAW, kept), Dissected::Segment(expected));
}

#[test]
fn a_cut_tcp_header_still_counts() {
    let packet = packet4(PAYLOAD);
    let dissect_cut = |tcp_bytes: usize| {
        Dissector::new().dissect(RAW, &packet[..20 + tcp_bytes], packet.len() as u32, None)
    };
    let without_payload = Segment { payload: Cow::Borrowed(&[]), ..segment4(PAYLOAD) };
    assert_eq!(dissect_cut(16), Dissected::Segment(without_payload.clone()));
    // The window is not there: not a closed one.
    let without_window = Segment { window: u16::MAX, ..without_payload };
    assert_eq!(dissect_cut(14), Dissected::Segment(without_window));
    assert_eq!(dissect_cut(13), Dissected::Malformed("tcp header cut"));
}

#[test]
fn contradictions_are_malformed() {
    let change = |at: usize, value: u8| {
        let mut packet = packet4(PAYLOAD);
        packet[at] = value;
        packet
    };
    for (packet, why) in [
        (change(0, 0x55), "ip version neither 4 nor 6"),
        (change(0, 0x44), "ipv4 header length below 5"),
        (change(3, 19), "ipv4 total length below its header"),
        (change(3, 39), "tcp header longer than its packet"),
        (change(32, 0x40), "tcp data offset below 5"),
        (
            join(&[&change(32, 0xf0)[..3], &[40], &change(32, 0xf0)[4..]]),
            "tcp header longer than its packet",
        ),
        (vec![], "ip header cut"),
        (vec![0x45; 19], "ip header cut"),
        (vec![0x60; 39], "ip header cut"),
    ] {
        assert_eq!(dissect(RAW, &packet), Dissected::Malformed(why), "{packet:02x?}");
        if packet.len() > 20 {
            let frame = ethernet(0x0800, &packet);
            assert_eq!(dissect(ETHERNET, &frame), Dissected::Malformed(why));
        }
    }
}

#[test]
fn ipv6_extension_headers_are_skipped() {
    let tcp = &packet6(PAYLOAD)[40..];
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    // Next, length in words less two, reserved, SPI, sequence, check value.
    let authentication =
        |next: u8| [next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0];
    // Next, length, type 3, none left.
    let routing = |next: u8| [next, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // An atomic fragment (RFC 6946).
    let fragment = |next: u8| [next, 0, 0, 0, 0, 0, 0, 9];
    for packet in [
        ip6(0, &join(&[&options(6), tcp])),
        ip6(60, &join(&[&options(6), tcp])),
        ip6(51, &join(&[&authentication(6), tcp])),
        ip6(44, &join(&[&fragment(6), tcp])),
        ip6(
            0,
            &join(&[
                &options(60),
                &options(43),
                &routing(44),
                &fragment(51),
                &authentication(60),
                &options(6),
                tcp,
            ]),
        ),
    ] {
        assert_eq!(dissect(RAW, &packet), Dissected::Segment(segment6(PAYLOAD)), "{packet:02x?}");
    }
}

#[test]
fn a_routing_header_names_the_destination() {
    let tcp = &packet6(PAYLOAD)[40..];
    let hop = address6(9);
    for (kind, addresses) in [
        (0, join(&[&hop, &address6(3)])),
        (2, address6(3).to_vec()),
        (4, join(&[&address6(3), &hop])),
    ] {
        let length = (addresses.len() / 8) as u8;
        for (left, destination) in [(1, address6(3)), (0, address6(2))] {
            let packet = ip6(43, &join(&[&[6, length, kind, left, 0, 0, 0, 0], &addresses, tcp]));
            let expected = Segment { destination: destination.into(), ..segment6(PAYLOAD) };
            assert_eq!(dissect(RAW, &packet), Dissected::Segment(expected));
        }
    }
}

#[test]
fn jumbograms_have_their_length_in_an_option() {
    let payload = vec![b'x'; 70_000];
    let mut tcp = packet6(b"")[40..].to_vec();
    tcp.extend_from_slice(&payload);
    let length = (tcp.len() as u32 + 8).to_be_bytes();
    // Hop by hop: next, length, jumbo payload of four bytes.
    let option = join(&[&[6, 0, 0xc2, 4], &length]);
    let mut packet = join(&[&ip6(0, &[]), &option, &tcp]);
    let expected = segment6(&payload);
    assert_eq!(dissect(RAW, &packet), Dissected::Segment(expected.clone()));
    packet.extend_from_slice(b"padding");
    assert_eq!(dissect(RAW, &packet), Dissected::Segment(expected));
}
