//! Link layers, from the link type or EtherType to the IP header.

use super::captured::Captured;
use super::ip::{Plausible, plausible_ip};
use super::{Layer, Next, malformed, other};
use crate::pcap::LinkType;

// Link types that also have the hot path (LINKTYPE_…).
pub(super) const ETHERNET: u16 = 1;
pub(super) const RAW: u16 = 101;
pub(super) const SLL: u16 = 113;
pub(super) const SLL2: u16 = 276;

// EtherTypes (IEEE registration authority, IANA "IEEE 802 Numbers").
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const VLAN_PROVIDER: u16 = 0x88a8;
const VLAN_OLD_QINQ: u16 = 0x9100;
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const PPPOE_DISCOVERY: u16 = 0x8863;
const PPPOE: u16 = 0x8864;
const EAPOL: u16 = 0x888e;
const LLDP: u16 = 0x88cc;
const PROVIDER_BACKBONE: u16 = 0x88e7;
const VN_TAG: u16 = 0x8926;
const BRIDGED_ETHERNET: u16 = 0x6558;
const PPP: u16 = 0x880b;

/// Values of a type-or-length field up to this are an 802.3 length.
const MAX_LENGTH: u16 = 1500;

/// How packets of a link type begin (tcpdump.org "Link-layer header types").
pub(super) fn first_layer(link: LinkType) -> Option<Layer> {
    Some(match link.0 {
        ETHERNET => Layer::Ethernet,
        // NULL and LOOP.
        0 | 108 => Layer::Null,
        // RAW and what BSDs call it, IPV4, IPV6.
        12 | 14 | RAW | 228 | 229 => Layer::Ip,
        SLL => Layer::Sll,
        SLL2 => Layer::Sll2,
        // PPP and PPP_HDLC.
        9 | 50 => Layer::Ppp,
        51 => Layer::Pppoe,
        104 => Layer::CiscoHdlc,
        7 => Layer::Arcnet,
        129 => Layer::ArcnetLinux,
        239 => Layer::Nflog,
        117 => Layer::Pflog,
        109 => Layer::Enc,
        219 => Layer::Mpls,
        105 => Layer::Wifi,
        127 => Layer::Radiotap,
        _ => return None,
    })
}

/// Ethernet II or 802.3.
pub(super) fn parse_ethernet(bytes: Captured<'_>) -> Next<'_> {
    match (bytes.u16(12), bytes.skip(14)) {
        (Some(kind), Some(rest)) => parse_type_or_length(kind, rest),
        _ => malformed("ethernet header cut"),
    }
}

fn parse_type_or_length(kind: u16, rest: Captured<'_>) -> Next<'_> {
    match kind {
        IPV4 | IPV6 => Next::Layer(Layer::Ip, rest),
        0..=MAX_LENGTH => Next::Layer(Layer::Llc, rest.limit(usize::from(kind).min(rest.wire))),
        _ => Next::Layer(Layer::EtherType(kind), rest),
    }
}

/// What an EtherType announces.
pub(super) fn parse_ether_type(kind: u16, bytes: Captured<'_>) -> Next<'_> {
    match kind {
        IPV4 | IPV6 => Next::Layer(Layer::Ip, bytes),
        VLAN | VLAN_PROVIDER | VLAN_OLD_QINQ => match (bytes.u16(2), bytes.skip(4)) {
            (Some(kind), Some(rest)) => parse_type_or_length(kind, rest),
            _ => malformed("vlan tag cut"),
        },
        VN_TAG => match (bytes.u16(4), bytes.skip(6)) {
            (Some(kind), Some(rest)) => parse_type_or_length(kind, rest),
            _ => malformed("vn-tag cut"),
        },
        MPLS | MPLS_MULTICAST => Next::Layer(Layer::Mpls, bytes),
        PPPOE => Next::Layer(Layer::Pppoe, bytes),
        PPP => Next::Layer(Layer::Ppp, bytes),
        BRIDGED_ETHERNET => Next::Layer(Layer::Ethernet, bytes),
        // I-TAG: four bytes before the customer's frame (802.1ah).
        PROVIDER_BACKBONE => match bytes.skip(4) {
            Some(rest) => Next::Layer(Layer::Ethernet, rest),
            None => malformed("provider backbone tag cut"),
        },
        ARP => other("arp"),
        0x8035 => other("rarp"),
        0x8137 => other("ipx"),
        0x8809 => other("slow protocols"),
        PPPOE_DISCOVERY => other("pppoe discovery"),
        EAPOL => other("eapol"),
        0x88b8..=0x88ba => other("iec 61850"),
        LLDP => other("lldp"),
        0x88e5 => other("macsec"),
        0x88f7 => other("ptp"),
        0x8902 => other("cfm"),
        _ => other("other ethertype"),
    }
}

/// 802.2 LLC and SNAP (RFC 1042).
pub(super) fn parse_llc(bytes: Captured<'_>) -> Next<'_> {
    let Some(&[destination, source, control]) = bytes.head() else {
        return malformed("llc header cut");
    };
    match (destination, source, control) {
        (0xaa, 0xaa, 0x03) => parse_snap(bytes),
        // RFC 948: IP right behind LLC.
        (0x06, 0x06, 0x03) => match bytes.skip(3) {
            Some(rest) => Next::Layer(Layer::Ip, rest),
            None => malformed("llc header cut"),
        },
        (0x42, 0x42, _) => other("stp"),
        // Novell's raw 802.3 has no LLC, but a checksum of all ones.
        (0xe0, 0xe0, _) | (0xff, 0xff, _) => other("ipx"),
        (0xf0, 0xf0 | 0xf1, _) => other("netbeui"),
        (0xfe, 0xfe, _) => other("osi"),
        _ => other("other llc"),
    }
}

fn parse_snap(bytes: Captured<'_>) -> Next<'_> {
    let (Some(&[_, _, _, o0, o1, o2, k0, k1]), Some(rest)) = (bytes.head(), bytes.skip(8)) else {
        return malformed("snap header cut");
    };
    let kind = u16::from_be_bytes([k0, k1]);
    match [o0, o1, o2] {
        // Encapsulated Ethernet, also as bridges tunnel it.
        [0, 0, 0] | [0, 0, 0xf8] => Next::Layer(Layer::EtherType(kind), rest),
        [0, 0, 0x0c] if kind == 0x2000 => other("cdp"),
        // Bridged Ethernet (RFC 2684 section 5.2): two bytes of padding.
        [0, 0x80, 0xc2] if matches!(kind, 1 | 7) => match rest.skip(2) {
            Some(rest) => Next::Layer(Layer::Ethernet, rest),
            None => malformed("snap header cut"),
        },
        _ => other("other llc"),
    }
}

/// BSD loopback: an address family in the byte order of the machine that
/// captured, or of the network.
pub(super) fn parse_null(bytes: Captured<'_>) -> Next<'_> {
    let (Some(&family), Some(rest)) = (bytes.head::<4>(), bytes.skip(4)) else {
        return malformed("loopback header cut");
    };
    // Either reading of a 16-bit value leaves the upper half of one empty.
    let little = u32::from_le_bytes(family);
    let family = if little > 0xffff { u32::from_be_bytes(family) } else { little };
    match u16::try_from(family) {
        // AF_INET; AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS.
        Ok(2 | 10 | 23 | 24 | 28 | 30) => Next::Layer(Layer::Ip, rest),
        Ok(7) => other("osi"),
        Ok(kind) if kind > MAX_LENGTH => Next::Layer(Layer::EtherType(kind), rest),
        Ok(_) => other("other address family"),
        // Some PPP captures are marked so: address and control bytes first.
        Err(_) if family >> 16 == 0xff03 => Next::Layer(Layer::Ppp, bytes),
        Err(_) => malformed("loopback address family"),
    }
}

/// Linux "cooked" capture, version 1: 16 bytes, protocol last.
pub(super) fn parse_sll(bytes: Captured<'_>) -> Next<'_> {
    match (bytes.u16(14), bytes.skip(16)) {
        (Some(kind), Some(rest)) => parse_linux_protocol(kind, rest),
        _ => malformed("sll header cut"),
    }
}

/// Linux "cooked" capture, version 2: 20 bytes, protocol first.
pub(super) fn parse_sll2(bytes: Captured<'_>) -> Next<'_> {
    match (bytes.head::<20>(), bytes.skip(20)) {
        (Some(&[k0, k1, ..]), Some(rest)) => {
            parse_linux_protocol(u16::from_be_bytes([k0, k1]), rest)
        }
        _ => malformed("sll2 header cut"),
    }
}

/// An EtherType, or one of Linux's own below them (linux/if_ether.h).
fn parse_linux_protocol(kind: u16, rest: Captured<'_>) -> Next<'_> {
    match kind {
        0x0001 => other("ipx"),
        0x0004 => Next::Layer(Layer::Llc, rest),
        0x000c..=0x000e => other("can"),
        _ => Next::Layer(Layer::EtherType(kind), rest),
    }
}

/// Cisco HDLC: address, control, EtherType.
pub(super) fn parse_cisco_hdlc(bytes: Captured<'_>) -> Next<'_> {
    match (bytes.u16(2), bytes.skip(4)) {
        // SLARP, which has RARP's number.
        (Some(0x8035), _) => other("slarp"),
        (Some(0x2000), _) => other("cdp"),
        (Some(kind), Some(rest)) => Next::Layer(Layer::EtherType(kind), rest),
        _ => malformed("c-hdlc header cut"),
    }
}

/// PPP (RFC 1661 section 2), with the HDLC address and control bytes of RFC
/// 1662 or without, with a protocol of two bytes or a compressed one.
pub(super) fn parse_ppp(bytes: Captured<'_>) -> Next<'_> {
    let mut rest = bytes;
    match bytes.head() {
        Some(&[0xff, 0x03]) => rest = bytes.skip(2).unwrap_or(bytes),
        // On the same kind of line: Cisco's addresses.
        Some(&[0x0f | 0x8f, 0x00]) => return Next::Layer(Layer::CiscoHdlc, bytes),
        _ => {}
    }
    let (protocol, length) = match rest.data {
        // Odd bytes end the number.
        [low, _, ..] if low & 1 != 0 => (u16::from(*low), 1),
        [high, low, ..] => (u16::from_be_bytes([*high, *low]), 2),
        _ => return malformed("ppp header cut"),
    };
    let Some(rest) = rest.skip(length) else { return malformed("ppp header cut") };
    match protocol {
        0x0021 | 0x0057 => Next::Layer(Layer::Ip, rest),
        0x0281 | 0x0283 => Next::Layer(Layer::Mpls, rest),
        0x002d | 0x002f => other("ppp compressed headers"),
        0x00fd => other("ppp compressed"),
        0x8000.. => other("ppp control"),
        _ => other("other ppp"),
    }
}

/// PPPoE session (RFC 2516 section 4).
pub(super) fn parse_pppoe(bytes: Captured<'_>) -> Next<'_> {
    let (Some(&[version, code, _, _, l0, l1]), Some(rest)) = (bytes.head(), bytes.skip(6)) else {
        return malformed("pppoe header cut");
    };
    if version != 0x11 {
        return malformed("pppoe version");
    }
    if code != 0 {
        return other("pppoe discovery");
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    Next::Layer(Layer::Ppp, rest.limit(length.min(rest.wire)))
}

/// ARCNET as BSDs give it: source, destination, protocol, and for most
/// protocols split flag and sequence (RFC 1201 section 2).
pub(super) fn parse_arcnet(bytes: Captured<'_>) -> Next<'_> {
    parse_arcnet_at(bytes, 2)
}

/// The same with Linux's two bytes of offset before the protocol.
pub(super) fn parse_arcnet_linux(bytes: Captured<'_>) -> Next<'_> {
    parse_arcnet_at(bytes, 4)
}

fn parse_arcnet_at(bytes: Captured<'_>, at: usize) -> Next<'_> {
    // Protocols of RFC 1051, whose header ends with the protocol.
    const OLD_IP: u8 = 240;
    const OLD_ARP: u8 = 241;
    /// Split flag of a packet that is padded past a forbidden length: the
    /// protocol, flag and sequence come once more.
    const EXCEPTION: u8 = 0xff;
    let Some(kind) = bytes.byte(at) else { return malformed("arcnet header cut") };
    let mut length = at + 4;
    match kind {
        OLD_IP | OLD_ARP => length = at + 1,
        212..=214 | 196 => match bytes.byte(at + 1) {
            None => return malformed("arcnet header cut"),
            Some(0) => {}
            Some(EXCEPTION) => length = at + 8,
            Some(_) => return other("arcnet fragment"),
        },
        221 => return other("appletalk"),
        250 => return other("ipx"),
        _ => return other("other arcnet"),
    }
    match (kind, bytes.skip(length)) {
        (OLD_ARP | 213, _) => other("arp"),
        (214, _) => other("rarp"),
        (_, Some(rest)) => Next::Layer(Layer::Ip, rest),
        (_, None) => malformed("arcnet header cut"),
    }
}

/// Linux netfilter log: attributes in the byte order of the machine that
/// captured, one of which is the packet.
pub(super) fn parse_nflog(bytes: Captured<'_>) -> Next<'_> {
    const PAYLOAD: u16 = 9;
    let Some(mut rest) = bytes.skip(4).filter(|rest| rest.data.len() >= 4) else {
        return malformed("nflog header cut");
    };
    // Attribute types are small: read the wrong way they are not.
    let swapped = rest.data.get(2).is_some_and(|low| *low == 0);
    let number = |bytes: [u8; 2]| {
        if swapped { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    };
    loop {
        let Some(&[l0, l1, k0, k1]) = rest.head() else {
            return if rest.is_cut() {
                malformed("nflog attribute cut")
            } else {
                other("nflog without packet")
            };
        };
        let length = usize::from(number([l0, l1]));
        if length < 4 {
            return malformed("nflog attribute length");
        }
        if number([k0, k1]) == PAYLOAD {
            return match rest.limit(length).skip(4) {
                Some(packet) => Next::Layer(Layer::Ip, packet),
                None => malformed("nflog attribute length"),
            };
        }
        match rest.skip(length.next_multiple_of(4)) {
            Some(after) => rest = after,
            None => return other("nflog without packet"),
        }
    }
}

/// OpenBSD packet filter log: its first byte is its length without padding.
pub(super) fn parse_pflog(bytes: Captured<'_>) -> Next<'_> {
    let Some(length) = bytes.byte(0) else { return malformed("pflog header cut") };
    match bytes.skip(usize::from(length).next_multiple_of(4)) {
        Some(rest) if length >= 4 => Next::Layer(Layer::Ip, rest),
        _ => malformed("pflog header cut"),
    }
}

/// OpenBSD enc interface: address family, SPI, flags.
pub(super) fn parse_enc(bytes: Captured<'_>) -> Next<'_> {
    match bytes.skip(12) {
        Some(rest) => Next::Layer(Layer::Ip, rest),
        None => malformed("enc header cut"),
    }
}

/// Whether an Ethernet frame begins here: a type that occurs, and what it
/// announces. For places where only a port number or label says so.
pub(super) fn plausible_ethernet(bytes: Captured<'_>) -> Plausible {
    let mut at = 12;
    loop {
        let kind = match bytes.u16(at) {
            Some(kind) => kind,
            None if bytes.wire >= at + 2 && bytes.is_cut() => return Plausible::Cut,
            None => return Plausible::No,
        };
        at += 2;
        let Some(rest) = bytes.skip(at) else { return Plausible::No };
        return match kind {
            IPV4 | IPV6 => {
                let version = if kind == IPV4 { 4 } else { 6 };
                match rest.byte(0) {
                    Some(first) if first >> 4 != version => Plausible::No,
                    _ => plausible_ip(rest),
                }
            }
            VLAN | VLAN_PROVIDER | VLAN_OLD_QINQ => {
                at += 2;
                continue;
            }
            ARP | MPLS | MPLS_MULTICAST | PPPOE_DISCOVERY | PPPOE | EAPOL | LLDP
            | PROVIDER_BACKBONE => Plausible::Yes,
            3..=MAX_LENGTH if usize::from(kind) <= rest.wire => plausible_llc(rest),
            _ => Plausible::No,
        };
    }
}

/// Whether LLC's two addresses are of a kind that occurs.
fn plausible_llc(bytes: Captured<'_>) -> Plausible {
    match bytes.head() {
        Some(&[0xaa, 0xaa, 0x03] | &[0x42, 0x42, 0x03] | &[0xe0, 0xe0, 0x03]) => Plausible::Yes,
        Some(_) => Plausible::No,
        None if bytes.is_cut() => Plausible::Cut,
        None => Plausible::No,
    }
}
