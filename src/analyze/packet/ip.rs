//! IPv4 (RFC 791), IPv6 (RFC 8200) with its extension headers, and what the
//! protocol number leads to.

use std::net::{IpAddr, Ipv6Addr};

use etherparse::{
    IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    err::ipv4::{HeaderError, HeaderSliceError},
};

use super::captured::Captured;
use super::fragment::Fragment;
use super::{Layer, Network, Next, malformed, other, tcp, tunnel};

// IP protocol numbers (IANA "Protocol Numbers").
const HOP_BY_HOP: u8 = 0;
const IPV4: u8 = 4;
pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6: u8 = 41;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;
const NO_NEXT: u8 = 59;
const DESTINATION: u8 = 60;
const ETHER_IP: u8 = 97;
const MOBILITY: u8 = 135;
const MPLS: u8 = 137;
const HIP: u8 = 139;
const SHIM6: u8 = 140;
const ETHERNET: u8 = 143;

/// Reads IPv4 or IPv6, as the version field says.
pub(super) fn parse_ip(bytes: Captured<'_>) -> Next<'_> {
    match bytes.byte(0).map(|first| first >> 4) {
        Some(4) => parse_ipv4(bytes),
        Some(6) => parse_ipv6(bytes),
        Some(_) => malformed("ip version neither 4 nor 6"),
        None => malformed("ip header cut"),
    }
}

fn parse_ipv4(bytes: Captured<'_>) -> Next<'_> {
    let header = match Ipv4HeaderSlice::from_slice(bytes.data) {
        Ok(header) => header,
        Err(HeaderSliceError::Len(_)) => return malformed("ip header cut"),
        Err(HeaderSliceError::Content(HeaderError::HeaderLengthSmallerThanHeader { .. })) => {
            return malformed("ipv4 header length below 5");
        }
        Err(HeaderSliceError::Content(_)) => return malformed("ip version neither 4 nor 6"),
    };
    let total = match usize::from(header.total_len()) {
        // Segmentation offload: the card fills it in (and a length of more
        // than 65535 bytes has no room).
        0 => bytes.wire,
        total => total,
    };
    let Some(payload) = bytes.limit(total).skip(header.slice().len()) else {
        return malformed("ipv4 total length below its header");
    };
    let network = Network {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        ip_id: header.identification(),
    };
    let protocol = header.protocol().0;
    if !header.is_fragmenting_payload() {
        return Next::Layer(Layer::Transport(network, protocol), payload);
    }
    if !may_hold_tcp(protocol) {
        return other(protocol_name(protocol));
    }
    Next::Fragment(Fragment {
        network,
        id: header.identification().into(),
        protocol,
        key_protocol: true,
        offset: usize::from(header.fragments_offset().value()) * 8,
        more: header.more_fragments(),
        bytes: payload,
    })
}

fn parse_ipv6(bytes: Captured<'_>) -> Next<'_> {
    let Ok(header) = Ipv6HeaderSlice::from_slice(bytes.data) else {
        return malformed("ip header cut");
    };
    let Some(payload) = bytes.skip(header.slice().len()) else {
        return malformed("ip header cut");
    };
    let protocol = header.next_header().0;
    let payload = match usize::from(header.payload_length()) {
        0 => match jumbo_length(protocol, payload) {
            Some(length) => payload.limit(length),
            // Segmentation offload, as in IPv4.
            None => payload,
        },
        length => payload.limit(length),
    };
    let network = Network {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        ip_id: 0,
    };
    Next::Layer(Layer::Transport(network, protocol), payload)
}

/// The length that a jumbo payload option gives (RFC 2675 section 2).
fn jumbo_length(protocol: u8, payload: Captured<'_>) -> Option<usize> {
    const PAD1: u8 = 0;
    const JUMBO: u8 = 0xc2;
    if protocol != HOP_BY_HOP {
        return None;
    }
    let length = (usize::from(payload.byte(1)?) + 1) * 8;
    let mut options = payload.data.get(2..length)?;
    loop {
        options = match options {
            [JUMBO, 4, a, b, c, d, ..] => {
                return usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok();
            }
            [PAD1, rest @ ..] => rest,
            [_, length, rest @ ..] => rest.get(usize::from(*length)..)?,
            _ => return None,
        };
    }
}

/// Goes on to what a protocol number announces, over IPv6 extension headers
/// one by one.
pub(super) fn parse_transport(network: Network, protocol: u8, bytes: Captured<'_>) -> Next<'_> {
    match protocol {
        TCP => Next::Done(tcp::parse_tcp(network, bytes)),
        UDP => tunnel::parse_udp(bytes),
        IPV4 | IPV6 => Next::Layer(Layer::Ip, bytes),
        GRE => tunnel::parse_gre(bytes),
        AUTHENTICATION => parse_authentication(network, bytes),
        MPLS => Next::Layer(Layer::Mpls, bytes),
        ETHERNET => Next::Layer(Layer::Ethernet, bytes),
        ETHER_IP => tunnel::parse_ether_ip(bytes),
        _ if network.source.is_ipv4() => other(protocol_name(protocol)),
        HOP_BY_HOP | DESTINATION | MOBILITY | HIP | SHIM6 | ROUTING => {
            parse_extension(network, protocol, bytes)
        }
        FRAGMENT => parse_ipv6_fragment(network, bytes),
        _ => other(protocol_name(protocol)),
    }
}

/// An extension header that counts its length in eight bytes.
fn parse_extension(mut network: Network, protocol: u8, bytes: Captured<'_>) -> Next<'_> {
    let Some(&[next, length]) = bytes.head() else {
        return malformed("ipv6 extension header cut");
    };
    let length = (usize::from(length) + 1) * 8;
    if protocol == ROUTING {
        match final_destination(bytes.data.get(..length)) {
            Ok(Some(destination)) => network.destination = destination,
            Ok(None) => {}
            Err(why) => return malformed(why),
        }
    }
    match bytes.skip(length) {
        Some(rest) => Next::Layer(Layer::Transport(network, next), rest),
        None => malformed("ipv6 extension header longer than its packet"),
    }
}

/// Where a packet with a routing header ends up, which is the address that
/// the TCP connection has; None if it is there already.
///
/// Types 0 (RFC 2460 section 4.4), 2 (RFC 6275 section 6.4) and 4 (RFC 8754
/// section 2).
fn final_destination(header: Option<&[u8]>) -> Result<Option<IpAddr>, &'static str> {
    let Some([_, _, kind, segments_left, _, _, _, _, addresses @ ..]) = header else {
        return Err("ipv6 routing header cut");
    };
    if *segments_left == 0 {
        return Ok(None);
    }
    let (addresses, _) = addresses.as_chunks::<16>();
    let address = match kind {
        0 => addresses.last(),
        2 | 4 => addresses.first(),
        _ => None,
    };
    Ok(address.map(|address| Ipv6Addr::from(*address).into()))
}

fn parse_ipv6_fragment(network: Network, bytes: Captured<'_>) -> Next<'_> {
    let Ok(header) = Ipv6FragmentHeaderSlice::from_slice(bytes.data) else {
        return malformed("ipv6 fragment header cut");
    };
    let Some(rest) = bytes.skip(header.slice().len()) else {
        return malformed("ipv6 fragment header cut");
    };
    let protocol = header.next_header().0;
    if !header.is_fragmenting_payload() {
        return Next::Layer(Layer::Transport(network, protocol), rest);
    }
    if !may_hold_tcp(protocol) {
        return other(protocol_name(protocol));
    }
    Next::Fragment(Fragment {
        network,
        id: header.identification(),
        protocol,
        key_protocol: false,
        offset: usize::from(header.fragment_offset().value()) * 8,
        more: header.more_fragments(),
        bytes: rest,
    })
}

fn parse_authentication(network: Network, bytes: Captured<'_>) -> Next<'_> {
    let Ok(header) = IpAuthHeaderSlice::from_slice(bytes.data) else {
        return malformed("authentication header cut or too short");
    };
    match bytes.skip(header.slice().len()) {
        Some(rest) => Next::Layer(Layer::Transport(network, header.next_header().0), rest),
        None => malformed("authentication header cut or too short"),
    }
}

/// Whether fragments of this protocol are worth putting together.
fn may_hold_tcp(protocol: u8) -> bool {
    matches!(
        protocol,
        TCP | UDP
            | IPV4
            | IPV6
            | GRE
            | HOP_BY_HOP
            | ROUTING
            | DESTINATION
            | MOBILITY
            | HIP
            | SHIM6
            | AUTHENTICATION
            | MPLS
            | ETHERNET
            | ETHER_IP
    )
}

/// What an IP protocol without TCP inside is called in reports.
fn protocol_name(protocol: u8) -> &'static str {
    match protocol {
        1 => "icmp",
        2 => "igmp",
        33 => "dccp",
        46 => "rsvp",
        ESP => "esp",
        58 => "ipv6-icmp",
        NO_NEXT => "ipv6 without payload",
        88 => "eigrp",
        89 => "ospf",
        103 => "pim",
        112 => "vrrp",
        115 => "l2tp",
        132 => "sctp",
        136 => "udp-lite",
        _ => "other ip protocol",
    }
}

/// Whether bytes are what they are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plausible {
    Yes,
    No,
    /// The capture ends before it can be told.
    Cut,
}

/// Whether an IP packet begins here: version and lengths agree with what is
/// there. For places where only a port number says so.
pub(super) fn plausible_ip(bytes: Captured<'_>) -> Plausible {
    let missing = |needed: usize| {
        if bytes.wire >= needed && bytes.data.len() < needed {
            Plausible::Cut
        } else {
            Plausible::No
        }
    };
    let fits = match bytes.byte(0).map(|first| (first >> 4, usize::from(first & 15) * 4)) {
        None => return missing(20),
        Some((4, header)) => {
            let Some(total) = bytes.u16(2).map(usize::from) else { return missing(20) };
            header >= 20 && (total == 0 || (header..=bytes.wire).contains(&total))
        }
        Some((6, _)) => {
            let Some(length) = bytes.u16(4).map(usize::from) else { return missing(40) };
            length + 40 <= bytes.wire
        }
        Some(_) => false,
    };
    if fits { Plausible::Yes } else { Plausible::No }
}
