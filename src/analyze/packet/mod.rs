//! Packet headers to TCP segments: link layer, tunnels, IP, fragments, TCP.
//!
//! In goes one packet as captured, out comes the innermost TCP segment or the
//! reason why there is none. Knows nothing of flows: retransmissions and
//! packets captured twice come out twice.
//!
//! Checksums are not validated: a capture on the sending host holds packets
//! whose checksums the network card fills in later, so a wrong one says
//! nothing about the wire.
//!
//! Lengths come from the IP header, never from the frame, which may be padded.
//! Where the capture holds less than was on the wire (snap length), a segment
//! has the payload bytes that are there and the length that was.
//!
//! Each header is a pure step from bytes to the next layer (`Next`);
//! [`Dissector`] drives them and keeps the only state, unfinished fragments.
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]

mod captured;
mod fragment;
mod ip;
mod link;
mod plain;
mod tcp;
mod tunnel;
mod wifi;

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;

use captured::Captured;
use fragment::{Added, Reassembler};

pub use fragment::{
    DATAGRAM_BYTES, FRAGMENT_AGE_NANOS, FRAGMENT_BYTES, FRAGMENT_DATAGRAMS, FragmentCounters,
};
pub use plain::Plain;

use crate::pcap::LinkType;
use crate::time::Timestamp;

/// Headers followed in one packet before it is given up. Overlays over
/// provider tags over pseudowires stay below 20; a hostile packet could nest
/// thousands.
pub const MAX_LAYERS: u32 = 48;

/// TCP flag bits (RFC 9293 section 3.1).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
}

/// One TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Sender's address (of the innermost IP header).
    pub source: IpAddr,
    /// Receiver's address; the final one where a routing header is under way.
    pub destination: IpAddr,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; meaningful with [`flags::ACK`].
    pub ack: u32,
    /// Flag bits, see [`flags`].
    pub flags: u8,
    /// Window field, unscaled. 65535 where the capture ends before it, so
    /// that no closed window is seen that was not there.
    pub window: u16,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
    /// Captured payload. Borrowed but for reassembled IP fragments.
    pub payload: Cow<'a, [u8]>,
    /// Payload bytes on the wire: more than `payload` where the capture cut it.
    pub wire_len: u32,
}

impl Segment<'_> {
    /// The same segment with its own copy of the payload.
    pub fn into_owned(self) -> Segment<'static> {
        Segment { payload: Cow::Owned(self.payload.into_owned()), ..self }
    }
}

/// What a packet turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dissected<'a> {
    /// A TCP segment, perhaps put together from fragments.
    Segment(Segment<'a>),
    /// An IP fragment, kept or known already: its datagram is not yet whole.
    Fragment,
    /// Not TCP; the name of what it is instead: "udp", "arp", …
    Other(&'static str),
    /// Headers that contradict themselves or that the capture cut.
    Malformed(&'static str),
    /// A link type (LINKTYPE_… number) that is not understood.
    UnsupportedLink(u16),
}

impl Dissected<'_> {
    /// The same with its own copy of the payload.
    pub fn into_owned(self) -> Dissected<'static> {
        match self {
            Dissected::Segment(segment) => Dissected::Segment(segment.into_owned()),
            Dissected::Fragment => Dissected::Fragment,
            Dissected::Other(name) => Dissected::Other(name),
            Dissected::Malformed(why) => Dissected::Malformed(why),
            Dissected::UnsupportedLink(link) => Dissected::UnsupportedLink(link),
        }
    }
}

/// How the bytes at hand begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Ethernet,
    /// What an EtherType announces.
    EtherType(u16),
    Llc,
    Null,
    Sll,
    Sll2,
    CiscoHdlc,
    Ppp,
    Pppoe,
    Arcnet,
    ArcnetLinux,
    Nflog,
    Pflog,
    Enc,
    Radiotap,
    Wifi,
    Mpls,
    /// IPv4 or IPv6, as the first four bits say.
    Ip,
    /// What an IP protocol number announces.
    Transport(Network, u8),
}

/// What a segment takes from its IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    source: IpAddr,
    destination: IpAddr,
    ip_id: u16,
}

/// Where a header leads.
#[derive(Debug)]
enum Next<'a> {
    /// To another header.
    Layer(Layer, Captured<'a>),
    /// To the other fragments of a datagram.
    Fragment(fragment::Fragment<'a>),
    /// Nowhere.
    Done(Dissected<'a>),
}

/// A header that contradicts itself or is cut short.
fn malformed<'a>(why: &'static str) -> Next<'a> {
    Next::Done(Dissected::Malformed(why))
}

/// Something without TCP inside.
fn other<'a>(name: &'static str) -> Next<'a> {
    Next::Done(Dissected::Other(name))
}

/// Takes packets apart; keeps IP fragments until their datagram is whole.
#[derive(Debug, Default)]
pub struct Dissector {
    fragments: Reassembler,
    now: Option<Timestamp>,
}

impl Dissector {
    /// A dissector that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one packet apart. `original` is its length on the wire in bytes,
    /// `at` its capture time, by which fragments age.
    #[inline]
    pub fn dissect<'a>(
        &mut self,
        link: LinkType,
        packet: &'a [u8],
        original: u32,
        at: Option<Timestamp>,
    ) -> Dissected<'a> {
        match Self::plain(link, packet) {
            Some(plain) => Dissected::Segment(plain.segment(packet)),
            None => self.dissect_any(link, packet, original, at),
        }
    }

    /// The segment of a packet that is like nearly all; None says nothing,
    /// and [`Dissector::dissect_any`] finds out. Together they are
    /// [`Dissector::dissect`].
    #[inline]
    pub fn plain(link: LinkType, packet: &[u8]) -> Option<Plain<'_>> {
        plain::parse(link, packet)
    }

    /// What became of fragments so far.
    pub fn fragment_counters(&self) -> FragmentCounters {
        self.fragments.counters()
    }

    /// Datagrams whose fragments are not all there.
    pub fn unfinished_datagrams(&self) -> usize {
        self.fragments.unfinished()
    }

    /// Takes a packet apart that [`Dissector::plain`] left.
    #[inline(never)]
    pub fn dissect_any<'a>(
        &mut self,
        link: LinkType,
        packet: &'a [u8],
        original: u32,
        at: Option<Timestamp>,
    ) -> Dissected<'a> {
        let Some(layer) = link::first_layer(link) else {
            return Dissected::UnsupportedLink(link.0);
        };
        self.now = at.or(self.now);
        self.follow(layer, Captured::new(packet, original as usize), MAX_LAYERS)
    }

    /// Goes from header to header; `budget` more of them.
    fn follow<'a>(
        &mut self,
        mut layer: Layer,
        mut bytes: Captured<'a>,
        budget: u32,
    ) -> Dissected<'a> {
        for left in (0..budget).rev() {
            match step(layer, bytes) {
                Next::Layer(next, rest) => {
                    if let Some(plain) = plain::parse_inner(next, rest.data) {
                        return Dissected::Segment(plain.segment(rest.data));
                    }
                    (layer, bytes) = (next, rest);
                }
                Next::Done(dissected) => return dissected,
                Next::Fragment(fragment) => {
                    let network = fragment.network;
                    return match self.fragments.add(&fragment, self.now) {
                        Added::Kept => Dissected::Fragment,
                        Added::Malformed(why) => Dissected::Malformed(why),
                        Added::Whole { protocol, data, wire } => {
                            let datagram = Captured::new(&data, wire);
                            self.follow(Layer::Transport(network, protocol), datagram, left)
                                .into_owned()
                        }
                    };
                }
            }
        }
        Dissected::Malformed("too many headers")
    }
}

/// Reads one header.
fn step(layer: Layer, bytes: Captured<'_>) -> Next<'_> {
    match layer {
        Layer::Ip => ip::parse_ip(bytes),
        Layer::Transport(network, protocol) => ip::parse_transport(network, protocol, bytes),
        Layer::Ethernet => link::parse_ethernet(bytes),
        Layer::EtherType(kind) => link::parse_ether_type(kind, bytes),
        Layer::Llc => link::parse_llc(bytes),
        Layer::Null => link::parse_null(bytes),
        Layer::Sll => link::parse_sll(bytes),
        Layer::Sll2 => link::parse_sll2(bytes),
        Layer::CiscoHdlc => link::parse_cisco_hdlc(bytes),
        Layer::Ppp => link::parse_ppp(bytes),
        Layer::Pppoe => link::parse_pppoe(bytes),
        Layer::Arcnet => link::parse_arcnet(bytes),
        Layer::ArcnetLinux => link::parse_arcnet_linux(bytes),
        Layer::Nflog => link::parse_nflog(bytes),
        Layer::Pflog => link::parse_pflog(bytes),
        Layer::Enc => link::parse_enc(bytes),
        Layer::Radiotap => wifi::parse_radiotap(bytes),
        Layer::Wifi => wifi::parse_wifi(bytes),
        Layer::Mpls => tunnel::parse_mpls(bytes),
    }
}
