//! Fields of pcapng blocks (draft-ietf-opsawg-pcapng-03) in either byte order.

use super::packet::Piece;

/// Section header block.
pub const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// Interface description block.
pub const INTERFACE_DESCRIPTION: u32 = 1;
/// Packet block, obsolete; fields as in an enhanced one but for the interface.
pub const PACKET: u32 = 2;
/// Simple packet block.
pub const SIMPLE_PACKET: u32 = 3;
/// Name resolution block.
pub const NAME_RESOLUTION: u32 = 4;
/// Interface statistics block.
pub const INTERFACE_STATISTICS: u32 = 5;
/// Enhanced packet block.
pub const ENHANCED_PACKET: u32 = 6;
/// Decryption secrets block.
pub const SECRETS: u32 = 10;

/// Where the data of a packet block begins.
pub const PACKET_DATA: usize = 28;
/// Where that of a simple one does.
pub const SIMPLE_DATA: usize = 12;
/// The smallest block: type, length, length.
pub const BLOCK_MIN: usize = 12;

/// `opt_comment`.
const COMMENT: u16 = 1;
/// `epb_flags`.
const EPB_FLAGS: u16 = 2;
/// `epb_hash`: of bytes that are overwritten.
const EPB_HASH: u16 = 3;
/// `if_tsresol`.
const IF_TSRESOL: u16 = 9;

/// Byte order of a section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Numbers are big-endian.
    pub big: bool,
}

impl Order {
    /// Of the section that this header begins.
    pub fn of(block: &[u8]) -> Option<Self> {
        match block.get(8..12)? {
            [0x1a, 0x2b, 0x3c, 0x4d] => Some(Self { big: true }),
            [0x4d, 0x3c, 0x2b, 0x1a] => Some(Self { big: false }),
            _ => None,
        }
    }

    /// A number of two bytes.
    pub fn u16(self, block: &[u8], at: usize) -> Option<u16> {
        let bytes = *block.get(at..)?.first_chunk()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// A number of four bytes.
    pub fn u32(self, block: &[u8], at: usize) -> Option<u32> {
        let bytes = *block.get(at..)?.first_chunk()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn bytes16(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn bytes32(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// Appends a block: `fixed` begins with its type.
    fn block(self, out: &mut Vec<u8>, fixed: &[u8], rest: &[&[u8]]) {
        let begin = out.len();
        out.extend_from_slice(fixed);
        rest.iter().for_each(|part| out.extend_from_slice(part));
        let length = self.bytes32((out.len() - begin + 4) as u32);
        out[begin + 4..begin + 8].copy_from_slice(&length);
        out.extend_from_slice(&length);
    }

    /// A section header with more comments, and without a length of its section.
    pub fn section(self, block: &[u8], comments: &[String], out: &mut Vec<u8>) {
        let (Some(fixed), Some(options)) = (block.get(..24), block.get(24..block.len() - 4)) else {
            return out.extend_from_slice(block);
        };
        let mut head = fixed.to_vec();
        head[16..24].fill(0xff);
        let mut more = Vec::new();
        for comment in comments {
            let length = comment.len();
            more.extend_from_slice(&self.bytes16(COMMENT));
            more.extend_from_slice(&self.bytes16(length as u16));
            more.extend_from_slice(comment.as_bytes());
            more.resize(more.len().next_multiple_of(4), 0);
        }
        let own: usize = self.options(options).map(|(_, whole)| whole.len()).sum();
        let own = options.get(..own).unwrap_or_default();
        self.block(out, &head, &[own, &more, &[0; 4]]);
    }

    /// Options up to their end, as code and all bytes.
    fn options(self, list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
        let mut rest = list;
        std::iter::from_fn(move || {
            let code = self.u16(rest, 0).filter(|code| *code != 0)?;
            let length = usize::from(self.u16(rest, 2)?);
            let (whole, after) = rest.split_at_checked(4 + length.next_multiple_of(4))?;
            rest = after;
            Some((code, whole))
        })
    }

    /// Ticks of an interface in a second, from its description.
    pub fn ticks(self, block: &[u8]) -> u64 {
        let options = block.get(16..block.len().saturating_sub(4)).unwrap_or_default();
        let found = self.options(options).find(|(code, _)| *code == IF_TSRESOL);
        let resolution = found.and_then(|(_, whole)| whole.get(4).copied()).unwrap_or(6);
        let exponent = u32::from(resolution & 0x7f);
        let base: u64 = if resolution & 0x80 != 0 { 2 } else { 10 };
        base.checked_pow(exponent).unwrap_or(u64::MAX)
    }

    /// Whether a packet left its interface, where it says.
    pub fn outbound(self, block: &[u8]) -> Option<bool> {
        let captured = self.u32(block, 20)? as usize;
        let begin = PACKET_DATA + captured.next_multiple_of(4);
        let options = block.get(begin..block.len() - 4)?;
        let (_, whole) = self.options(options).find(|(code, _)| *code == EPB_FLAGS)?;
        match self.u32(whole, 4)? & 3 {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        }
    }

    /// Packet blocks for what is left of the packet in `block`.
    pub fn packets(self, block: &[u8], pieces: &[Piece], out: &mut Vec<u8>) {
        let captured = self.u32(block, 20).unwrap_or(0) as usize;
        let begin = PACKET_DATA + captured.next_multiple_of(4);
        let options = block.get(begin..block.len() - 4).unwrap_or_default();
        for (nth, piece) in pieces.iter().enumerate() {
            let mut head = block.get(..PACKET_DATA).unwrap_or_default().to_vec();
            head[20..24].copy_from_slice(&self.bytes32(piece.bytes.len() as u32));
            head[24..28].copy_from_slice(&self.bytes32(piece.original));
            let padding = piece.bytes.len().next_multiple_of(4) - piece.bytes.len();
            let kept: Vec<u8> = self
                .options(options)
                .filter(|(code, _)| *code != EPB_HASH && (nth == 0 || *code == EPB_FLAGS))
                .flat_map(|(_, whole)| whole.iter().copied())
                .collect();
            let end: &[u8] = if kept.is_empty() { &[] } else { &[0; 4] };
            self.block(out, &head, &[&piece.bytes, &[0; 3][..padding], &kept, end]);
        }
    }
}
