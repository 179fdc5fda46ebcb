//! Every link type and tunnel around the same segment.

use super::*;

/// LLC and SNAP before IPv4.
const SNAP: [u8; 8] = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];

/// Name, link type and frame of each encapsulation of [`packet4`].
pub(super) fn around4(payload: &[u8]) -> Vec<(&'static str, LinkType, Vec<u8>)> {
    let inner = packet4(payload);
    let mut frames = links(&inner);
    for (name, frame) in ethernet_stacks(&inner) {
        frames.push((name, ETHERNET, frame));
    }
    frames.extend(nflog(&inner));
    frames.extend(wifi(&inner));
    for (name, packet) in udp_tunnels(&inner).into_iter().chain(ip_tunnels(&inner)) {
        frames.push((name, RAW, packet.clone()));
        frames.push((name, ETHERNET, ethernet(0x0800, &packet)));
    }
    frames
}

/// Link types of their own.
fn links(inner: &[u8]) -> Vec<(&'static str, LinkType, Vec<u8>)> {
    // Packet type, hardware type, address length, address, protocol.
    let sll = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0];
    // Protocol, reserved, interface, hardware type, packet type, address.
    let sll2 = [8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    let mut frames = vec![
        ("null, little endian", LinkType(0), join(&[&[2, 0, 0, 0], inner])),
        ("null, big endian", LinkType(0), join(&[&[0, 0, 0, 2], inner])),
        ("null with an EtherType", LinkType(0), join(&[&[0, 8, 0, 0], inner])),
        ("null that is ppp", LinkType(0), join(&[&[0xff, 3, 0, 0x21], inner])),
        ("loop", LinkType(108), join(&[&[0, 0, 0, 2], inner])),
        ("sll", LinkType(113), join(&[&sll, inner])),
        ("sll with vlan", LinkType(113), join(&[&sll[..14], &[0x81, 0, 0, 7, 8, 0], inner])),
        ("sll with llc", LinkType(113), join(&[&sll[..14], &[0, 4], &SNAP, inner])),
        ("sll2", LinkType(276), join(&[&sll2, inner])),
        ("ppp", LinkType(9), join(&[&[0, 0x21], inner])),
        ("ppp, compressed protocol", LinkType(9), join(&[&[0x21], inner])),
        ("ppp in hdlc", LinkType(50), join(&[&[0xff, 3, 0, 0x21], inner])),
        ("ppp_hdlc that is cisco's", LinkType(50), join(&[&[0x0f, 0, 8, 0], inner])),
        ("c-hdlc", LinkType(104), join(&[&[0x0f, 0, 8, 0], inner])),
        ("arcnet", LinkType(7), join(&[&[1, 2, 212, 0, 0, 9], inner])),
        (
            "arcnet, exception",
            LinkType(7),
            join(&[&[1, 2, 212, 255, 255, 255, 212, 0, 0, 9], inner]),
        ),
        ("arcnet, RFC 1051", LinkType(7), join(&[&[1, 2, 240], inner])),
        ("arcnet, linux", LinkType(129), join(&[&[1, 2, 0, 0, 212, 0, 0, 9], inner])),
        ("mpls", LinkType(219), join(&[&[0, 1, 1, 64], inner])),
        // Length 61, family, action, reason, then names; padded to 64.
        ("pflog", LinkType(117), join(&[&[61, 2], &[0; 62], inner])),
        ("enc", LinkType(109), join(&[&[2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], inner])),
    ];
    for link in [12, 14, 101, 228] {
        frames.push(("raw", LinkType(link), inner.to_vec()));
    }
    frames
}

/// Linux netfilter log of either byte order.
fn nflog(inner: &[u8]) -> Vec<(&'static str, LinkType, Vec<u8>)> {
    let length = (inner.len() + 4) as u16;
    // Family, version, resource; hook attribute of 8 bytes; prefix of 6, padded.
    let frame = |hook: [u8; 4], prefix: [u8; 4], payload: [u8; 2], kind: [u8; 2]| {
        join(&[
            &[2, 0, 0, 42],
            &hook,
            &[8, 0, 1, 0],
            &prefix,
            &[b'x', 0, 0, 0],
            &payload,
            &kind,
            inner,
            &[0, 0, 0][..inner.len().wrapping_neg() % 4],
        ])
    };
    vec![
        (
            "nflog, little endian",
            LinkType(239),
            frame([8, 0, 1, 0], [6, 0, 10, 0], length.to_le_bytes(), [9, 0]),
        ),
        (
            "nflog, big endian",
            LinkType(239),
            frame([0, 8, 0, 1], [0, 6, 0, 10], length.to_be_bytes(), [0, 9]),
        ),
    ]
}

/// 802.11, with and without radiotap.
fn wifi(inner: &[u8]) -> Vec<(&'static str, LinkType, Vec<u8>)> {
    // 802.11 data to the access point: control, duration, three addresses,
    // sequence; LLC and SNAP.
    let addresses = [2u8; 18];
    let frame = |control: &[u8], qos: &[u8]| {
        join(&[control, &[0, 0], &addresses, &[0x10, 0], qos, &SNAP, inner])
    };
    vec![
        ("802.11", LinkType(105), frame(&[0x08, 1], &[])),
        ("802.11 with qos", LinkType(105), frame(&[0x88, 1], &[0, 0])),
        ("802.11 with ht control", LinkType(105), frame(&[0x88, 0x81], &[0; 6])),
        ("802.11 with four addresses", LinkType(105), frame(&[0x08, 3], &[2; 6])),
        (
            // Time, flags (padding); the header of 26 bytes is padded to 28.
            "radiotap, padded",
            LinkType(127),
            join(&[&[0, 0, 17, 0, 3, 0, 0, 0], &[0; 8], &[0x20], &frame(&[0x88, 1], &[0; 4])]),
        ),
        ("radiotap", LinkType(127), join(&[&[0, 0, 8, 0, 0, 0, 0, 0], &frame(&[0x08, 2], &[])])),
    ]
}

/// What comes between an Ethernet header and IP.
fn ethernet_stacks(inner: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let snap = join(&[&SNAP, inner]);
    let pppoe = |version: u8| {
        let length = (inner.len() + 2) as u16;
        join(&[&[version, 0, 0, 1], &length.to_be_bytes(), &[0, 0x21], inner])
    };
    let frame = ethernet(0x0800, inner);
    vec![
        ("ethernet", frame.clone()),
        ("ethernet with padding", join(&[&frame, &[0xee; 9]])),
        ("vlan", ethernet(0x8100, &join(&[&[0, 7, 8, 0], inner]))),
        ("qinq", ethernet(0x88a8, &join(&[&[0, 7, 0x81, 0, 0, 8, 8, 0], inner]))),
        (
            "old qinq, three tags",
            ethernet(0x9100, &join(&[&[0, 7, 0x91, 0, 0, 8, 0x81, 0, 0, 9, 8, 0], inner])),
        ),
        ("802.3 with snap", ethernet(snap.len() as u16, &snap)),
        (
            "vlan with snap",
            ethernet(0x8100, &join(&[&[0, 7], &(snap.len() as u16).to_be_bytes(), &snap])),
        ),
        ("802.3 with ip behind llc", ethernet(inner.len() as u16 + 3, &join(&[&[6, 6, 3], inner]))),
        ("pppoe", ethernet(0x8864, &pppoe(0x11))),
        ("mpls", ethernet(0x8847, &join(&[&[0, 1, 1, 64], inner]))),
        ("mpls, two labels", ethernet(0x8847, &join(&[&[0, 1, 0, 64, 0, 2, 1, 64], inner]))),
        ("mpls pseudowire", ethernet(0x8847, &join(&[&[0, 1, 1, 64], &frame]))),
        (
            "mpls pseudowire with control word",
            ethernet(0x8848, &join(&[&[0, 1, 1, 64, 0, 0, 0, 0], &frame])),
        ),
        ("provider backbone", ethernet(0x88e7, &join(&[&[0, 0, 0, 5], &frame]))),
        ("vn-tag", ethernet(0x8926, &join(&[&[0, 0, 0, 5, 8, 0], inner]))),
    ]
}

/// UDP datagrams that carry the packet.
fn udp_tunnels(inner: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let frame = ethernet(0x0800, inner);
    let vxlan = join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &frame]);
    let teredo6 = {
        let mut packet = ip6(4, inner);
        packet[8..24].copy_from_slice(&[0x20, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        packet
    };
    vec![
        ("vxlan", udp(50_000, 4789, &vxlan)),
        ("vxlan on linux's port", udp(50_000, 8472, &vxlan)),
        (
            "vxlan with group policy",
            udp(50_000, 4789, &join(&[&[0x88, 8, 0, 9, 0, 0, 42, 0], &frame])),
        ),
        ("vxlan with vlan", udp(1, 4789, &join(&[&vxlan[..20], &[0x81, 0, 0, 7], &frame[12..]]))),
        ("vxlan-gpe", udp(1, 4790, &join(&[&[0x0c, 0, 0, 1, 0, 0, 42, 0], inner]))),
        (
            "vxlan in vxlan",
            udp(1, 4789, &join(&[&vxlan[..8], &ethernet(0x0800, &udp(1, 4789, &vxlan))])),
        ),
        ("geneve", udp(1, 6081, &join(&[&[0, 0, 0x65, 0x58, 0, 0, 42, 0], &frame]))),
        (
            "geneve with options and ip",
            udp(1, 6081, &join(&[&[2, 0x40, 8, 0, 0, 0, 42, 0, 1, 2, 3, 1, 9, 9, 9, 9], inner])),
        ),
        (
            "gtp-u",
            udp(
                2152,
                2152,
                &join(&[&[0x30, 255], &(inner.len() as u16).to_be_bytes(), &[0, 0, 0, 1], inner]),
            ),
        ),
        (
            // Sequence, no N-PDU number, extension 0x85 of one word, no further.
            "gtp-u with extension",
            udp(
                2152,
                2152,
                &join(&[
                    &[0x36, 255],
                    &(inner.len() as u16 + 8).to_be_bytes(),
                    &[0, 0, 0, 1, 0, 7, 0, 0x85, 1, 0, 9, 0],
                    inner,
                ]),
            ),
        ),
        ("teredo", udp(1, 3544, &teredo6)),
        (
            // Authentication without id or value, nonce, confirmation; origin.
            "teredo with authentication and origin",
            udp(
                3544,
                1,
                &join(&[&[0, 1, 0, 0], &[1; 8], &[0], &[0, 0, 1, 2, 3, 4, 5, 6], &teredo6]),
            ),
        ),
    ]
}

/// IP protocols that carry the packet.
fn ip_tunnels(inner: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let frame = ethernet(0x0800, inner);
    let gre = |head: &[u8], payload: &[u8]| ip4(47, &join(&[head, payload]));
    vec![
        ("gre", gre(&[0, 0, 8, 0], inner)),
        ("gre with key", gre(&[0x20, 0, 8, 0, 0, 0, 0, 1], inner)),
        (
            "gre with checksum, key, sequence",
            gre(&[0xb0, 0, 8, 0, 1, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2], inner),
        ),
        (
            // Checksum and offset; one route entry of 4 bytes, and the end.
            "gre with source route",
            gre(&[0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 4, 9, 9, 9, 9, 0, 0, 0, 0], inner),
        ),
        ("nvgre", gre(&[0x20, 0, 0x65, 0x58, 0, 0, 1, 1], &frame)),
        ("gre with mpls", gre(&[0, 0, 0x88, 0x47, 0, 1, 1, 64], inner)),
        (
            "pptp",
            gre(
                &[0x30, 0x81, 0x88, 0x0b, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21],
                inner,
            ),
        ),
        ("wccp", gre(&[0, 0, 0x88, 0x3e], inner)),
        ("wccp with redirect header", gre(&[0, 0, 0x88, 0x3e, 0, 0, 0, 0], inner)),
        ("erspan i", gre(&[0, 0, 0x88, 0xbe], &frame)),
        ("erspan ii", gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 7, 0, 1, 0, 0, 0, 0], &frame)),
        (
            "erspan iii",
            gre(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &frame),
        ),
        (
            "erspan iii with subheader",
            gre(
                &join(&[
                    &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1],
                    &[0; 8],
                ]),
                &frame,
            ),
        ),
        ("ip in ip", ip4(4, inner)),
        ("mpls in ip", ip4(137, &join(&[&[0, 1, 1, 64], inner]))),
        ("etherip", ip4(97, &join(&[&[0x30, 0], &frame]))),
        ("4in6", ip4(41, &ip6(4, inner))),
        ("srv6 with ethernet", ip4(41, &ip6(143, &frame))),
        // Next header, length, reserved, SPI, sequence, check value.
        (
            "authenticated",
            ip4(51, &join(&[&[4, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 7, 7, 7, 7], inner])),
        ),
    ]
}

#[test]
fn each_encapsulation_gives_the_segment() {
    for (name, link, frame) in around4(PAYLOAD) {
        assert_eq!(
            dissect(link, &frame),
            Dissected::Segment(segment4(PAYLOAD)),
            "{name} on link type {}: {frame:02x?}",
            link.0
        );
    }
}

#[test]
fn ipv6_goes_where_ipv4_goes() {
    let inner = packet6(PAYLOAD);
    let mut frames = vec![
        (RAW, inner.clone()),
        (LinkType(229), inner.clone()),
        (ETHERNET, ethernet(0x86dd, &inner)),
        (ETHERNET, ethernet(0x8100, &join(&[&[0, 7, 0x86, 0xdd], &inner]))),
        (ETHERNET, ethernet(0x8847, &join(&[&[0, 1, 1, 64], &inner]))),
        (LinkType(9), join(&[&[0, 0x57], &inner])),
        (RAW, ip4(41, &inner)),
        (RAW, ip6(41, &inner)),
        (RAW, udp(1, 6081, &join(&[&[0, 0, 0x86, 0xdd, 0, 0, 42, 0], &inner]))),
        (RAW, udp(1, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(0x86dd, &inner)]))),
    ];
    // AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS.
    for family in [10u32, 23, 24, 28, 30] {
        frames.push((LinkType(0), join(&[&family.to_le_bytes(), &inner])));
        frames.push((LinkType(108), join(&[&family.to_be_bytes(), &inner])));
    }
    for (link, frame) in frames {
        assert_eq!(dissect(link, &frame), Dissected::Segment(segment6(PAYLOAD)), "{frame:02x?}");
    }
}

#[test]
fn what_is_not_tcp_is_named() {
    let llc = |head: &[u8]| ethernet(38, &join(&[head, &[0; 35]]));
    for (link, frame, name) in [
        (ETHERNET, ethernet(0x0806, &[0; 28]), "arp"),
        (ETHERNET, ethernet(0x88cc, &[0; 28]), "lldp"),
        (ETHERNET, ethernet(0x888e, &[0; 28]), "eapol"),
        (ETHERNET, ethernet(0x8863, &[0; 28]), "pppoe discovery"),
        (ETHERNET, ethernet(0x1234, &[0; 28]), "other ethertype"),
        (ETHERNET, ethernet(1501, &[0; 28]), "other ethertype"),
        (ETHERNET, llc(&[0x42, 0x42, 3]), "stp"),
        (ETHERNET, llc(&[0xff, 0xff, 0]), "ipx"),
        (ETHERNET, llc(&[0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0]), "cdp"),
        (ETHERNET, ethernet(0x8847, &[0, 1, 1, 64, 0x10, 0, 0, 0, 0, 0]), "mpls"),
        (ETHERNET, ethernet(0x8864, &[0x11, 0, 0, 1, 0, 6, 0xc0, 0x21, 1, 2, 3, 4]), "ppp control"),
        (RAW, ip4(1, &[0; 8]), "icmp"),
        (RAW, ip4(2, &[0; 8]), "igmp"),
        (RAW, ip4(132, &[0; 12]), "sctp"),
        (RAW, ip4(50, &[0; 20]), "esp"),
        (RAW, ip6(50, &[0; 20]), "esp"),
        (RAW, ip6(58, &[0; 8]), "ipv6-icmp"),
        (RAW, ip6(59, &[]), "ipv6 without payload"),
        (RAW, ip4(253, &[0; 8]), "other ip protocol"),
        // IPv6 extension headers are none in IPv4.
        (
            RAW,
            ip4(60, &join(&[&[6, 0, 1, 4, 0, 0, 0, 0], &packet4(b"")[20..]])),
            "other ip protocol",
        ),
        (RAW, udp(53, 53, &[0; 20]), "udp"),
        (RAW, ip4(47, &[0, 0, 0, 0]), "gre"),
        (LinkType(0), vec![7, 0, 0, 0, 1], "osi"),
        (LinkType(104), vec![0x8f, 0, 0x80, 0x35, 0, 0], "slarp"),
        (LinkType(129), vec![1, 0, 0, 0, 213, 0, 0, 9, 1, 2], "arp"),
        (LinkType(129), vec![1, 2, 0, 0, 212, 3, 0, 9, 1, 2], "arcnet fragment"),
        (LinkType(239), vec![2, 0, 0, 42, 8, 0, 1, 0, 8, 0, 1, 0], "nflog without packet"),
        (LinkType(105), vec![0x80, 0, 0, 0, 1, 2], "802.11 management"),
        (LinkType(105), vec![0x08, 0x40, 0, 0, 1, 2], "802.11 encrypted"),
    ] {
        assert_eq!(dissect(link, &frame), Dissected::Other(name), "{frame:02x?}");
    }
}

#[test]
fn a_port_alone_makes_no_tunnel() {
    let frame = ethernet(0x0800, &packet4(PAYLOAD));
    let mut long_inner = packet4(PAYLOAD);
    long_inner[2..4].copy_from_slice(&2000u16.to_be_bytes());
    let mut long_inner6 = packet6(PAYLOAD);
    long_inner6[4..6].copy_from_slice(&2000u16.to_be_bytes());
    for (port, payload) in [
        (4789, join(&[&[0; 8], &frame])),
        (4789, join(&[&[8, 0, 0, 0, 0, 0, 42, 1], &frame])),
        (4789, join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(0x0800, &packet6(b""))])),
        (4789, join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(0x0800, &long_inner)])),
        (4789, join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(0x86dd, &long_inner6)])),
        (4789, vec![8, 0, 0]),
        (6081, join(&[&[0x40, 0, 0x65, 0x58, 0, 0, 42, 0], &frame])),
        (6081, join(&[&[0, 0, 0x12, 0x34, 0, 0, 42, 0], &frame])),
        (6081, join(&[&[0x3f, 0, 0x65, 0x58, 0, 0, 42, 0], &frame])),
        (2152, join(&[&[0x30, 254, 0, 40, 0, 0, 0, 1], &packet4(b"")])),
        (2152, join(&[&[0x34, 255, 0, 48, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0], &packet4(b"")])),
        (3544, packet6(PAYLOAD)),
        (3544, packet4(PAYLOAD)),
    ] {
        assert_eq!(
            dissect(RAW, &udp(1, port, &payload)),
            Dissected::Other("udp"),
            "{payload:02x?}"
        );
    }
}

#[test]
fn a_tunnel_packet_ends_with_its_datagram() {
    let frame = ethernet(0x0800, &packet4(PAYLOAD));
    let mut packet = udp(1, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &frame]));
    assert!(matches!(dissect(RAW, &packet), Dissected::Segment(_)));
    // UDP's length, after the IPv4 header: less than the packet inside.
    packet[24..26].copy_from_slice(&60u16.to_be_bytes());
    assert_eq!(dissect(RAW, &packet), Dissected::Other("udp"));
}

#[test]
fn nesting_ends() {
    let mut packet = packet4(b"");
    for _ in 0..MAX_LAYERS {
        packet = ip4(4, &packet);
    }
    assert_eq!(dissect(RAW, &packet), Dissected::Malformed("too many headers"));
    assert_eq!(dissect(LinkType(147), &packet), Dissected::UnsupportedLink(147));
}
