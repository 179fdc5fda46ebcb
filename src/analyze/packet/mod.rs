//! Packet headers to TCP segments (contract; the dissector follows).

use std::borrow::Cow;
use std::net::IpAddr;

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
    /// Receiver's address.
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
    /// Window field, unscaled.
    pub window: u16,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
    /// Captured payload. Borrowed but for reassembled IP fragments.
    pub payload: Cow<'a, [u8]>,
    /// Payload bytes on the wire: more than `payload` where the capture cut it.
    pub wire_len: u32,
}
