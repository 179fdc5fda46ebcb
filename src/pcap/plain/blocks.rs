//! Packets of a classic pcap file as pcapng blocks (draft-ietf-opsawg-pcapng-03): the
//! section header and the interface once, where that was read, then the packets.

use crate::pcap::{Batch, Interface};

/// Section header block.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// Interface description block.
const INTERFACE_DESCRIPTION: u32 = 1;
/// Enhanced packet block.
const ENHANCED_PACKET: u32 = 6;
/// `if_tsresol`.
const IF_TSRESOL: u16 = 9;

/// What a batch holds.
pub(super) fn of(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    for interface in &batch.interfaces {
        section(&mut out, interface);
    }
    for packet in &batch.packets {
        let data = batch.bytes(packet);
        let nanos = packet.at.map_or(0, |at| at.nanos().cast_unsigned());
        let mut body = Vec::with_capacity(data.len() + 24);
        let captured = u32::try_from(data.len()).unwrap_or(u32::MAX);
        for word in [0, (nanos >> 32) as u32, nanos as u32, captured, packet.original] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        body.extend_from_slice(data);
        body.resize(body.len().next_multiple_of(4), 0);
        block(&mut out, ENHANCED_PACKET, &body);
    }
    out
}

fn section(out: &mut Vec<u8>, interface: &Interface) {
    let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    body.extend_from_slice(&[1, 0, 0, 0]);
    // Length of the section: not known.
    body.extend_from_slice(&u64::MAX.to_le_bytes());
    block(out, SECTION_HEADER, &body);
    let mut body = interface.link.0.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(&interface.snaplen.to_le_bytes());
    // Nanoseconds, and the end of the options.
    body.extend_from_slice(&IF_TSRESOL.to_le_bytes());
    body.extend_from_slice(&[1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    block(out, INTERFACE_DESCRIPTION, &body);
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = ((body.len() + 12) as u32).to_le_bytes();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&length);
    out.extend_from_slice(body);
    out.extend_from_slice(&length);
}
