//! Headers that carry packets in packets: UDP tunnels, GRE, ERSPAN, MPLS.
//!
//! A UDP port proves nothing, so what comes on a tunnel's port must also look
//! like the tunnel, down to the lengths of the packet inside; else it is udp.

use super::captured::Captured;
use super::ip::{Plausible, plausible_ip};
use super::link::plausible_ethernet;
use super::{Layer, Next, malformed, other};

// UDP ports (IANA "Service Name and Port Number Registry").
const GTP_U: u16 = 2152;
const TEREDO: u16 = 3544;
const VXLAN: u16 = 4789;
const VXLAN_GPE: u16 = 4790;
const GENEVE: u16 = 6081;
/// Linux's default for VXLAN from before the port was assigned; flannel
/// still uses it.
const VXLAN_LINUX: u16 = 8472;

/// "Transparent Ethernet Bridging" (RFC 7637 section 3.2).
const ETHERNET_BRIDGING: u16 = 0x6558;

/// Reads a UDP header (RFC 768) and any tunnel in it.
pub(super) fn parse_udp(bytes: Captured<'_>) -> Next<'_> {
    let Some(&[s0, s1, d0, d1, l0, l1, _, _]) = bytes.head() else {
        return malformed("udp header cut");
    };
    let source = u16::from_be_bytes([s0, s1]);
    let destination = u16::from_be_bytes([d0, d1]);
    let payload = match usize::from(u16::from_be_bytes([l0, l1])) {
        // Segmentation offload or a jumbogram.
        0 => bytes.skip(8),
        length => bytes.limit(length.min(bytes.wire)).skip(8),
    };
    let Some(payload) = payload else { return malformed("udp length below its header") };
    let inside = match destination {
        VXLAN | VXLAN_LINUX | VXLAN_GPE => vxlan(payload),
        GENEVE => geneve(payload),
        GTP_U => gtp_u(payload),
        _ if destination == TEREDO || source == TEREDO => teredo(payload),
        _ => Inside::Nothing,
    };
    match inside {
        Inside::Layer(layer, rest) => Next::Layer(layer, rest),
        Inside::Nothing => other("udp"),
        Inside::Cut => malformed("tunnel header cut"),
    }
}

/// What a UDP payload holds.
enum Inside<'a> {
    Layer(Layer, Captured<'a>),
    Nothing,
    /// The capture ends before it can be told.
    Cut,
}

impl<'a> Inside<'a> {
    /// `bytes` begins after a tunnel header. None is one that was not
    /// captured, or that the packet is too short for.
    fn check(layer: Layer, bytes: Option<Captured<'a>>) -> Self {
        let Some(bytes) = bytes else { return Self::Nothing };
        let plausible = match layer {
            Layer::Ethernet => plausible_ethernet(bytes),
            Layer::Ip => plausible_ip(bytes),
            _ => Plausible::No,
        };
        match plausible {
            Plausible::Yes => Self::Layer(layer, bytes),
            Plausible::No => Self::Nothing,
            Plausible::Cut => Self::Cut,
        }
    }

    /// For a tunnel header that is not all there.
    fn short(bytes: Captured<'a>) -> Self {
        if bytes.is_cut() { Self::Cut } else { Self::Nothing }
    }
}

/// The layer of an EtherType as tunnels use it.
fn tunnel_layer(ether_type: u16) -> Option<Layer> {
    match ether_type {
        ETHERNET_BRIDGING => Some(Layer::Ethernet),
        0x0800 | 0x86dd => Some(Layer::Ip),
        _ => None,
    }
}

/// VXLAN (RFC 7348 section 5), with group policy bits, and its generic
/// protocol extension (draft-ietf-nvo3-vxlan-gpe section 3).
fn vxlan(bytes: Captured<'_>) -> Inside<'_> {
    const VNI_VALID: u8 = 0x08;
    const HAS_PROTOCOL: u8 = 0x04;
    let Some(&[flags, _, _, protocol, _, _, _, reserved]) = bytes.head() else {
        return Inside::short(bytes);
    };
    if flags & VNI_VALID == 0 || reserved != 0 {
        return Inside::Nothing;
    }
    let layer = match protocol {
        1 | 2 if flags & HAS_PROTOCOL != 0 => Layer::Ip,
        _ => Layer::Ethernet,
    };
    Inside::check(layer, bytes.skip(8))
}

/// Geneve (RFC 8926 section 3.4).
fn geneve(bytes: Captured<'_>) -> Inside<'_> {
    let Some(&[version_length, _, p0, p1, _, _, _, reserved]) = bytes.head() else {
        return Inside::short(bytes);
    };
    if version_length >> 6 != 0 || reserved != 0 {
        return Inside::Nothing;
    }
    let options = usize::from(version_length & 0x3f) * 4;
    match tunnel_layer(u16::from_be_bytes([p0, p1])) {
        Some(layer) => Inside::check(layer, bytes.skip(8 + options)),
        None => Inside::Nothing,
    }
}

/// GTP-U (3GPP TS 29.281 section 5): only G-PDU carries packets.
fn gtp_u(bytes: Captured<'_>) -> Inside<'_> {
    const G_PDU: u8 = 255;
    let Some(&[flags, kind, l0, l1, _, _, _, _]) = bytes.head() else {
        return Inside::short(bytes);
    };
    // Version 1, GTP and not GTP'.
    if flags >> 4 != 3 || kind != G_PDU {
        return Inside::Nothing;
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let Some(mut rest) = bytes.skip(8).filter(|rest| length <= rest.wire) else {
        return Inside::Nothing;
    };
    rest = rest.limit(length);
    if flags & 0x07 == 0 {
        return Inside::check(Layer::Ip, Some(rest));
    }
    let Some(&[_, _, _, mut extension]) = rest.head() else { return Inside::short(rest) };
    let mut at = 4;
    while extension != 0 {
        let Some(words) = rest.byte(at) else { return Inside::short(rest) };
        if words == 0 {
            return Inside::Nothing;
        }
        at += usize::from(words) * 4;
        let Some(next) = rest.byte(at - 1) else { return Inside::short(rest) };
        extension = next;
    }
    Inside::check(Layer::Ip, rest.skip(at))
}

/// Teredo (RFC 4380 section 5.1.1): authentication, origin, IPv6 from or to an
/// address of Teredo's prefix or, for its routers, a local one.
fn teredo(bytes: Captured<'_>) -> Inside<'_> {
    const AUTHENTICATION: u16 = 1;
    const ORIGIN: u16 = 0;
    let mut rest = bytes;
    for indicator in [AUTHENTICATION, ORIGIN] {
        if rest.u16(0).is_some_and(|kind| kind != indicator) {
            continue;
        }
        let length = match (indicator, rest.head()) {
            (_, None) => return Inside::short(rest),
            (ORIGIN, _) => 8,
            // A nonce and a confirmation byte follow.
            (_, Some(&[_, _, id, value])) => 13 + usize::from(id) + usize::from(value),
        };
        match rest.skip(length) {
            Some(after) => rest = after,
            None => return Inside::Nothing,
        }
    }
    if rest.byte(0).is_some_and(|first| first >> 4 != 6) {
        return Inside::Nothing;
    }
    let Some(header) = rest.head::<40>() else { return Inside::short(rest) };
    let is_address = |prefix: [u8; 4]| prefix == [0x20, 0x01, 0, 0] || prefix[..2] == [0xfe, 0x80];
    if is_address([header[8], header[9], header[10], header[11]])
        || is_address([header[24], header[25], header[26], header[27]])
    {
        Inside::check(Layer::Ip, Some(rest))
    } else {
        Inside::Nothing
    }
}

/// EtherIP (RFC 3378).
pub(super) fn parse_ether_ip(bytes: Captured<'_>) -> Next<'_> {
    match (bytes.byte(0), bytes.skip(2)) {
        (Some(first), Some(rest)) if first >> 4 == 3 => Next::Layer(Layer::Ethernet, rest),
        (Some(_), _) => other("other ip protocol"),
        (None, _) => malformed("etherip header cut"),
    }
}

/// GRE (RFC 1701, 2784, 2890), NVGRE (RFC 7637) and PPTP's (RFC 2637).
pub(super) fn parse_gre(bytes: Captured<'_>) -> Next<'_> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    /// Of PPTP's version 1 only.
    const ACKNOWLEDGEMENT: u16 = 0x0080;
    const PPP: u16 = 0x880b;
    let Some(&[f0, f1, p0, p1]) = bytes.head() else { return malformed("gre header cut") };
    let flags = u16::from_be_bytes([f0, f1]);
    let protocol = u16::from_be_bytes([p0, p1]);
    let version = flags & 7;
    let has = |flag: u16| usize::from(flags & flag != 0);
    let mut length = 4 + 4 * (has(CHECKSUM | ROUTING) + has(KEY) + has(SEQUENCE));
    match (version, protocol) {
        (0, _) => {}
        (1, PPP) => length += 4 * has(ACKNOWLEDGEMENT),
        _ => return other("gre"),
    }
    let mut rest = bytes.skip(length);
    if flags & ROUTING != 0 {
        rest = rest.and_then(skip_source_routes);
    }
    let Some(rest) = rest else { return malformed("gre header cut") };
    parse_gre_payload(protocol, flags & SEQUENCE != 0, rest)
}

/// Source route entries of RFC 1701: family, offset, length, until one of
/// length 0.
fn skip_source_routes(mut bytes: Captured<'_>) -> Option<Captured<'_>> {
    loop {
        let &[_, _, _, length] = bytes.head()?;
        bytes = bytes.skip(4 + usize::from(length))?;
        if length == 0 {
            return Some(bytes);
        }
    }
}

fn parse_gre_payload(protocol: u16, sequenced: bool, bytes: Captured<'_>) -> Next<'_> {
    const ERSPAN: u16 = 0x88be;
    const ERSPAN_3: u16 = 0x22eb;
    const WCCP: u16 = 0x883e;
    match protocol {
        ETHERNET_BRIDGING => Next::Layer(Layer::Ethernet, bytes),
        // Type I has no header and no sequence number
        // (draft-foschiano-erspan section 4).
        ERSPAN if !sequenced => Next::Layer(Layer::Ethernet, bytes),
        ERSPAN => match bytes.skip(8) {
            Some(rest) => Next::Layer(Layer::Ethernet, rest),
            None => malformed("erspan header cut"),
        },
        ERSPAN_3 => parse_erspan_3(bytes),
        // A redirect header of four bytes came with its second version.
        WCCP if plausible_ip(bytes) == Plausible::No => match bytes.skip(4) {
            Some(rest) => Next::Layer(Layer::Ip, rest),
            None => malformed("gre header cut"),
        },
        WCCP => Next::Layer(Layer::Ip, bytes),
        // Keep-alives and the like.
        0..0x0600 => other("gre"),
        _ => Next::Layer(Layer::EtherType(protocol), bytes),
    }
}

/// ERSPAN type III (draft-foschiano-erspan section 4.3): 12 bytes, and 8
/// more of a platform's own where the last bit is set.
fn parse_erspan_3(bytes: Captured<'_>) -> Next<'_> {
    let Some(&[.., flags, last]) = bytes.head::<12>() else {
        return malformed("erspan header cut");
    };
    let length = if last & 1 != 0 { 20 } else { 12 };
    let layer = match flags >> 2 & 0x1f {
        0 => Layer::Ethernet,
        2 => Layer::Ip,
        _ => return other("erspan"),
    };
    match bytes.skip(length) {
        Some(rest) => Next::Layer(layer, rest),
        None => malformed("erspan header cut"),
    }
}

/// A label stack (RFC 3032 section 2.1) and what it hides: nothing says what,
/// so IP, or Ethernet with or without control word (RFC 4448 section 4.6),
/// whichever is plausible.
pub(super) fn parse_mpls(bytes: Captured<'_>) -> Next<'_> {
    let mut rest = bytes;
    loop {
        let Some(&[_, _, bottom, _]) = rest.head() else { return malformed("mpls label cut") };
        let Some(after) = rest.skip(4) else { return malformed("mpls label cut") };
        rest = after;
        if bottom & 1 != 0 {
            break;
        }
    }
    let Some(first) = rest.byte(0) else { return malformed("mpls payload cut") };
    let looks_ip = matches!(first >> 4, 4 | 6);
    if looks_ip && plausible_ip(rest) == Plausible::Yes {
        return Next::Layer(Layer::Ip, rest);
    }
    if let Some(after) = rest.skip(4).filter(|_| first >> 4 == 0) {
        match plausible_ethernet(after) {
            Plausible::Yes => return Next::Layer(Layer::Ethernet, after),
            Plausible::Cut => return malformed("mpls payload cut"),
            Plausible::No => {}
        }
    }
    match plausible_ethernet(rest) {
        Plausible::Yes => Next::Layer(Layer::Ethernet, rest),
        _ if looks_ip => Next::Layer(Layer::Ip, rest),
        Plausible::Cut => malformed("mpls payload cut"),
        Plausible::No => other("mpls"),
    }
}
