//! pcapng blocks, appended to a buffer (draft-ietf-opsawg-pcapng-03).
//!
//! Only the blocks and options that every reader knows: no custom block, which
//! Wireshark shows as a packet of its own. Knows nothing of TCP or processes.

use std::net::IpAddr;

/// Section header block.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// Interface description block.
const INTERFACE_DESCRIPTION: u32 = 1;
/// Name resolution block.
const NAME_RESOLUTION: u32 = 4;
/// Interface statistics block.
const INTERFACE_STATISTICS: u32 = 5;
/// Enhanced packet block.
const ENHANCED_PACKET: u32 = 6;

/// LINKTYPE_ETHERNET: the one that libpcap, Suricata and tcpreplay all take
/// from a file of many interfaces.
const ETHERNET: u16 = 1;

/// The longest packet that Wireshark takes, in bytes; ours are shorter.
const SNAP_LIMIT: u32 = 262_144;

/// The longest text put into an option, in bytes. The format allows 65,535;
/// a path of the kernel has at most 4096, three times that when encoded.
const MAX_TEXT: usize = 16_384;

mod option {
    pub const COMMENT: u16 = 1;
    pub const SHB_OS: u16 = 3;
    pub const SHB_USER_APPLICATION: u16 = 4;
    pub const IF_NAME: u16 = 2;
    pub const IF_DESCRIPTION: u16 = 3;
    pub const IF_TSRESOL: u16 = 9;
    pub const IF_OS: u16 = 12;
    pub const EPB_FLAGS: u16 = 2;
    pub const EPB_DROPCOUNT: u16 = 4;
    pub const ISB_STARTTIME: u16 = 2;
    pub const ISB_ENDTIME: u16 = 3;
    pub const ISB_IFRECV: u16 = 4;
    pub const ISB_IFDROP: u16 = 5;
}

/// Direction of a packet, the low two bits of epb_flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    Inbound = 1,
    /// It went out.
    Outbound = 2,
}

/// Head of an enhanced packet block.
#[derive(Clone, Copy, Debug)]
pub struct PacketHead {
    /// Interface, counted from 0 in this section.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Bytes of the packet that are in the file.
    pub captured: u32,
    /// Bytes it had.
    pub original: u32,
}

/// A block under construction: what is appended until [`Block::end`] is in it.
struct Block {
    start: usize,
}

impl Block {
    fn begin(out: &mut Vec<u8>, kind: u32) -> Self {
        let start = out.len();
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        Self { start }
    }

    fn end(self, out: &mut Vec<u8>) {
        let length = (out.len() + 4 - self.start) as u32;
        out[self.start + 4..self.start + 8].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
    }
}

/// Starts a section of little-endian blocks. Each comment is an option of its own.
pub fn section(out: &mut Vec<u8>, application: &str, os: &str, comments: &[String]) {
    let block = Block::begin(out, SECTION_HEADER);
    out.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
    out.extend_from_slice(&1_u16.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    // Section length: not known while recording.
    out.extend_from_slice(&u64::MAX.to_le_bytes());
    text(out, option::SHB_OS, os);
    text(out, option::SHB_USER_APPLICATION, application);
    for comment in comments {
        text(out, option::COMMENT, comment);
    }
    end_of_options(out);
    block.end(out);
}

/// Describes the next interface; packets of it have times in nanoseconds.
pub fn interface(out: &mut Vec<u8>, name: &str, description: &str, os: &str) {
    let block = Block::begin(out, INTERFACE_DESCRIPTION);
    out.extend_from_slice(&ETHERNET.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    out.extend_from_slice(&SNAP_LIMIT.to_le_bytes());
    text(out, option::IF_NAME, name);
    text(out, option::IF_DESCRIPTION, description);
    value(out, option::IF_TSRESOL, &[9]);
    text(out, option::IF_OS, os);
    end_of_options(out);
    block.end(out);
}

/// Says the name of an address. Readers that go through the file once know it
/// from here on.
pub fn name(out: &mut Vec<u8>, address: IpAddr, name: &str) {
    let block = Block::begin(out, NAME_RESOLUTION);
    let (kind, address) = match address {
        IpAddr::V4(v4) => (1_u16, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2_u16, v6.octets().to_vec()),
    };
    // The value of a record: the address, then the name and the zero at its end.
    let length = address.len() + name.len() + 1;
    option_head(out, kind, length);
    out.extend_from_slice(&address);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out, length);
    // The end of the records, which looks like that of options.
    end_of_options(out);
    block.end(out);
}

/// Appends a packet: `write` appends exactly `head.captured` bytes.
///
/// `drops` are packets lost between the one before and this one; 0 is not
/// written.
pub fn packet(
    out: &mut Vec<u8>,
    head: PacketHead,
    direction: Direction,
    drops: u64,
    comments: &[String],
    write: impl FnOnce(&mut Vec<u8>),
) {
    // The hot path of a recording: few appends, since each asks for room.
    let block = Block { start: out.len() };
    let mut start = [0; 28];
    let fields = [
        ENHANCED_PACKET,
        0,
        head.interface,
        (head.time >> 32) as u32,
        head.time as u32,
        head.captured,
        head.original,
    ];
    for (to, field) in start.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
        *to = field.to_le_bytes();
    }
    out.extend_from_slice(&start);
    let body = out.len();
    write(out);
    debug_assert_eq!(out.len() - body, head.captured as usize);
    pad(out, head.captured as usize);
    value(out, option::EPB_FLAGS, &(direction as u32).to_le_bytes());
    if drops > 0 {
        value(out, option::EPB_DROPCOUNT, &drops.to_le_bytes());
    }
    for comment in comments {
        text(out, option::COMMENT, comment);
    }
    end_of_options(out);
    block.end(out);
}

/// What an interface statistics block says.
#[derive(Clone, Copy, Debug)]
pub struct Statistics<'a> {
    /// Interface, counted from 0 in this section.
    pub interface: u32,
    /// First nanosecond of the section, since 1970.
    pub start: u64,
    /// Last nanosecond of the section, since 1970.
    pub end: u64,
    /// Packets of the interface.
    pub received: u64,
    /// Packets lost.
    pub dropped: u64,
    /// Why, one `key=value` each.
    pub comments: &'a [String],
}

/// Appends the statistics of an interface.
pub fn statistics(out: &mut Vec<u8>, statistics: &Statistics<'_>) {
    let block = Block::begin(out, INTERFACE_STATISTICS);
    out.extend_from_slice(&statistics.interface.to_le_bytes());
    timestamp(out, statistics.end);
    for (code, time) in
        [(option::ISB_STARTTIME, statistics.start), (option::ISB_ENDTIME, statistics.end)]
    {
        option_head(out, code, 8);
        timestamp(out, time);
    }
    value(out, option::ISB_IFRECV, &statistics.received.to_le_bytes());
    value(out, option::ISB_IFDROP, &statistics.dropped.to_le_bytes());
    for comment in statistics.comments {
        text(out, option::COMMENT, comment);
    }
    end_of_options(out);
    block.end(out);
}

/// A time as pcapng has it: the high word first.
fn timestamp(out: &mut Vec<u8>, time: u64) {
    out.extend_from_slice(&((time >> 32) as u32).to_le_bytes());
    out.extend_from_slice(&(time as u32).to_le_bytes());
}

fn option_head(out: &mut Vec<u8>, code: u16, length: usize) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(length as u16).to_le_bytes());
}

fn value(out: &mut Vec<u8>, code: u16, bytes: &[u8]) {
    option_head(out, code, bytes.len());
    out.extend_from_slice(bytes);
    pad(out, bytes.len());
}

/// An option of text; empty text is left out, overlong text is cut.
fn text(out: &mut Vec<u8>, code: u16, text: &str) {
    if !text.is_empty() {
        value(out, code, &text.as_bytes()[..text.floor_char_boundary(MAX_TEXT)]);
    }
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&[0; 3][..length.wrapping_neg() & 3]);
}
