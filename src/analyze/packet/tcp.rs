//! The TCP header (RFC 9293 section 3.1).

use std::borrow::Cow;

use super::captured::Captured;
use super::{Dissected, Network, Segment};

/// Bytes of a TCP header without options.
const HEADER_BYTES: usize = 20;

/// Bytes up to the flags. A capture that holds these, and the IP header's
/// length, gives everything that reassembly needs.
const ESSENTIAL_BYTES: usize = 14;

/// Reads a TCP segment. `bytes` is as long on the wire as the IP header says.
pub(super) fn parse_tcp(network: Network, bytes: Captured<'_>) -> Dissected<'_> {
    let Some(head) = bytes.head::<ESSENTIAL_BYTES>() else {
        return Dissected::Malformed("tcp header cut");
    };
    if bytes.wire < HEADER_BYTES {
        return Dissected::Malformed("tcp header longer than its packet");
    }
    let header = usize::from(head[12] >> 4) * 4;
    if header < HEADER_BYTES {
        return Dissected::Malformed("tcp data offset below 5");
    }
    let Some(payload) = bytes.skip(header) else {
        return Dissected::Malformed("tcp header longer than its packet");
    };
    let Ok(wire_len) = u32::try_from(payload.wire) else {
        return Dissected::Malformed("tcp segment longer than any packet");
    };
    Dissected::Segment(Segment {
        source: network.source,
        destination: network.destination,
        source_port: u16::from_be_bytes([head[0], head[1]]),
        destination_port: u16::from_be_bytes([head[2], head[3]]),
        seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        flags: head[13],
        window: bytes.u16(14).unwrap_or(u16::MAX),
        ip_id: network.ip_id,
        payload: Cow::Borrowed(payload.data),
        wire_len,
    })
}
