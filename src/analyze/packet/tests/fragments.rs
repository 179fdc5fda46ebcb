//! Fragments of IPv4 and IPv6.

use super::*;

/// Part of `packet4(payload)` as an IPv4 fragment; offsets in bytes.
pub(super) fn fragment4(packet: &[u8], from: usize, to: usize) -> Vec<u8> {
    let body = &packet[20..];
    let mut fragment = join(&[&packet[..20], &body[from..to]]);
    let length = fragment.len() as u16;
    fragment[2..4].copy_from_slice(&length.to_be_bytes());
    let more = if to < body.len() { 0x2000 } else { 0 };
    fragment[6..8].copy_from_slice(&(more | (from / 8) as u16).to_be_bytes());
    fragment
}

/// Part of `packet6(payload)` as an IPv6 fragment; offsets in bytes.
pub(super) fn fragment6(packet: &[u8], from: usize, to: usize) -> Vec<u8> {
    let body = &packet[40..];
    let more = u16::from(to < body.len());
    let place = (from as u16 | more).to_be_bytes();
    ip6(44, &join(&[&[6, 0, place[0], place[1], 0, 1, 2, 3], &body[from..to]]))
}

/// Feeds packets and gives the results as owned values.
fn feed(dissector: &mut Dissector, packets: &[Vec<u8>]) -> Vec<Dissected<'static>> {
    packets
        .iter()
        .map(|packet| dissector.dissect(RAW, packet, packet.len() as u32, None).into_owned())
        .collect()
}

fn long_payload() -> Vec<u8> {
    (0..200u8).collect()
}

#[test]
fn the_last_missing_fragment_gives_the_segment() {
    let payload = long_payload();
    let packet = packet4(&payload);
    let parts = [(0, 8), (8, 16), (16, 200), (200, 220)];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let mut dissector = Dissector::new();
        let packets: Vec<_> =
            order.iter().map(|&i| fragment4(&packet, parts[i].0, parts[i].1)).collect();
        let mut results = feed(&mut dissector, &packets);
        assert_eq!(results.pop(), Some(Dissected::Segment(segment4(&payload))));
        assert_eq!(results, [const { Dissected::Fragment }; 3]);
        assert_eq!(dissector.fragment_counters().reassembled, 1);
        assert_eq!(dissector.unfinished_datagrams(), 0);
    }
}

#[test]
fn the_first_copy_wins() {
    let payload = long_payload();
    let packet = packet4(&payload);
    let mut other = packet4(&[b'x'; 200]);
    other[..40].copy_from_slice(&packet[..40]);
    let mut dissector = Dissector::new();
    let results = feed(
        &mut dissector,
        &[
            fragment4(&packet, 40, 80),
            fragment4(&other, 24, 120),
            fragment4(&packet, 120, 220),
            fragment4(&packet, 0, 48),
        ],
    );
    let mut expected = payload.clone();
    // 24..40 and 80..120 of the datagram came from the other copy.
    expected[4..20].fill(b'x');
    expected[60..100].fill(b'x');
    let Some(Dissected::Segment(segment)) = results.last() else { panic!("{results:?}") };
    assert_eq!(segment.payload, expected);
}

#[test]
fn copies_from_another_interface_are_dropped() {
    let payload = long_payload();
    let packet = packet4(&payload);
    let (first, last) = (fragment4(&packet, 0, 104), fragment4(&packet, 104, 220));
    let mut dissector = Dissector::new();
    let results = feed(&mut dissector, &[first.clone(), first.clone(), last.clone(), last, first]);
    let segments = results.iter().filter(|it| matches!(it, Dissected::Segment(_))).count();
    assert_eq!(segments, 1, "{results:?}");
    assert_eq!(dissector.unfinished_datagrams(), 0);
    assert_eq!(dissector.fragment_counters().duplicates, 3);
}

#[test]
fn an_identification_used_again_is_another_datagram() {
    let mut dissector = Dissector::new();
    for fill in [b'a', b'b'] {
        let payload = [fill; 200];
        let packet = packet4(&payload);
        let results =
            feed(&mut dissector, &[fragment4(&packet, 104, 220), fragment4(&packet, 0, 104)]);
        assert_eq!(results.last(), Some(&Dissected::Segment(segment4(&payload))));
    }
    assert_eq!(dissector.fragment_counters().reassembled, 2);
    // The same bytes, but the datagram ends with them.
    let shorter = packet4(&[b'b'; 200]);
    let results = feed(&mut dissector, &[fragment4(&shorter[..200], 104, 180)]);
    assert_eq!(results, [Dissected::Fragment]);
    assert_eq!(dissector.unfinished_datagrams(), 1);
}

#[test]
fn fragments_of_several_datagrams_do_not_mix() {
    let payload = long_payload();
    let packet = packet4(&payload);
    let first = fragment4(&packet, 0, 104);
    for (at, value) in [(5, 0x35), (9, 17), (15, 9), (19, 9)] {
        let mut last = fragment4(&packet, 104, 220);
        last[at] = value;
        let mut dissector = Dissector::new();
        let results = feed(&mut dissector, &[first.clone(), last]);
        assert_eq!(results, [Dissected::Fragment, Dissected::Fragment], "byte {at}");
        assert_eq!(dissector.unfinished_datagrams(), 2);
    }
}

#[test]
fn fragments_cut_by_the_capture_give_what_is_there() {
    let payload = long_payload();
    let packet = packet4(&payload);
    let mut dissector = Dissector::new();
    let mut last = Dissected::Fragment;
    for (from, to) in [(104, 220), (0, 104)] {
        let fragment = fragment4(&packet, from, to);
        last = dissector.dissect(RAW, &fragment[..70], fragment.len() as u32, None).into_owned();
    }
    // 50 bytes of the first fragment: 20 of header, 30 of payload.
    let expected = Segment { payload: Cow::Borrowed(&payload[..30]), ..segment4(&payload) };
    assert_eq!(last, Dissected::Segment(expected));
}

#[test]
fn impossible_fragments_are_malformed() {
    let packet = packet4(&long_payload());
    let mut beyond = fragment4(&packet, 104, 220);
    beyond[6..8].copy_from_slice(&0x1fff_u16.to_be_bytes());
    let mut empty = fragment4(&packet, 0, 4);
    empty[6] = 0x20;
    let mut dissector = Dissector::new();
    let results = feed(
        &mut dissector,
        &[
            beyond,
            empty,
            fragment4(&packet, 104, 220),
            // Another end.
            fragment4(&packet[..packet.len() - 8], 104, 212),
            fragment4(&packet, 0, 104),
        ],
    );
    assert_eq!(
        results[..4],
        [
            Dissected::Malformed("ip fragment beyond 65535 bytes"),
            Dissected::Malformed("ip fragment without data"),
            Dissected::Fragment,
            Dissected::Malformed("ip fragment contradicts its datagram's length"),
        ]
    );
    assert!(matches!(results[4], Dissected::Segment(_)));
}

#[test]
fn fragments_of_what_holds_no_tcp_are_named_at_once() {
    let mut packet = ip4(1, &[0; 64]);
    packet[6] = 0x20;
    let mut dissector = Dissector::new();
    assert_eq!(feed(&mut dissector, &[packet]), [Dissected::Other("icmp")]);
    assert_eq!(dissector.unfinished_datagrams(), 0);
}

#[test]
fn old_datagrams_expire_by_capture_time() {
    let packet = packet4(&long_payload());
    let first = fragment4(&packet, 0, 104);
    let last = fragment4(&packet, 104, 220);
    for (gap, whole) in [(FRAGMENT_AGE_NANOS, true), (FRAGMENT_AGE_NANOS + 1, false)] {
        let mut dissector = Dissector::new();
        let at = |nanos| Some(Timestamp::from_nanos(nanos));
        dissector.dissect(RAW, &first, first.len() as u32, at(1000));
        let result = dissector.dissect(RAW, &last, last.len() as u32, at(1000 + gap));
        assert_eq!(matches!(result, Dissected::Segment(_)), whole);
        assert_eq!(dissector.fragment_counters().expired, u64::from(!whole));
    }
}

#[test]
fn limits_hold_and_are_counted() {
    let small = packet4(&[0; 60]);
    let mut dissector = Dissector::new();
    let extra = 10;
    for id in 0..(FRAGMENT_DATAGRAMS + extra) as u16 {
        let mut fragment = fragment4(&small, 0, 40);
        fragment[4..6].copy_from_slice(&id.to_be_bytes());
        assert_eq!(feed(&mut dissector, &[fragment]), [Dissected::Fragment]);
    }
    assert_eq!(dissector.unfinished_datagrams(), FRAGMENT_DATAGRAMS);
    assert_eq!(dissector.fragment_counters().evicted, extra as u64);
    // The oldest went, the newest are there.
    for (id, whole) in [(0, false), ((FRAGMENT_DATAGRAMS + extra - 1) as u16, true)] {
        let mut last = fragment4(&small, 40, 80);
        last[4..6].copy_from_slice(&id.to_be_bytes());
        let results = feed(&mut dissector, &[last]);
        assert_eq!(matches!(results[0], Dissected::Segment(_)), whole);
    }

    // Fragments at the far end take all the room before them.
    let mut dissector = Dissector::new();
    for id in 0..1000u16 {
        let mut fragment = fragment4(&small, 0, 40);
        fragment[4..6].copy_from_slice(&id.to_be_bytes());
        fragment[6..8].copy_from_slice(&(0x2000 | 0x1f00_u16).to_be_bytes());
        feed(&mut dissector, &[fragment]);
    }
    let room = FRAGMENT_BYTES / (0x1f00 * 8 + 40);
    assert_eq!(dissector.unfinished_datagrams(), room);
    assert_eq!(dissector.fragment_counters().evicted, 1000 - room as u64);
}

#[test]
fn a_tunnel_packet_in_fragments_is_followed() {
    let frame = ethernet(0x0800, &packet4(PAYLOAD));
    let packet = udp(1, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &frame]));
    let mut dissector = Dissector::new();
    let end = packet.len() - 20;
    let results = feed(&mut dissector, &[fragment4(&packet, 48, end), fragment4(&packet, 0, 48)]);
    assert_eq!(results, [Dissected::Fragment, Dissected::Segment(segment4(PAYLOAD))]);
}

#[test]
fn ipv6_fragments_may_differ_in_next_header() {
    // RFC 8200 section 4.5: the first fragment's counts.
    let payload = long_payload();
    let packet = packet6(&payload);
    let mut last = fragment6(&packet, 104, 220);
    last[40] = 60;
    let first = fragment6(&packet, 0, 104);
    for order in [[&last, &first], [&first, &last]] {
        let results = feed(&mut Dissector::new(), &order.map(Clone::clone));
        assert_eq!(results, [Dissected::Fragment, Dissected::Segment(segment6(&payload))]);
    }
}
