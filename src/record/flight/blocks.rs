//! pcapng blocks of our own recordings, one after another in a buffer.
//!
//! Only what the recorder writes ([`crate::record::pcapng`]): little-endian,
//! times in nanoseconds. Whatever the bytes are, nothing here reads outside them.

/// Section header block.
pub const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// Interface description block.
pub const INTERFACE_DESCRIPTION: u32 = 1;
/// Name resolution block.
pub const NAME_RESOLUTION: u32 = 4;
/// Enhanced packet block.
pub const ENHANCED_PACKET: u32 = 6;

/// Type and length of a block.
pub const HEAD_BYTES: usize = 8;

/// Type, length and length again.
const MIN_BYTES: usize = 12;

/// The longest that the recorder writes: a packet with some comments. More is damage.
pub const MAX_BYTES: usize = 1 << 20;

/// Bytes of an enhanced packet block before the packet.
const PACKET_HEAD: usize = 28;

/// Bytes of a section header block before its options.
const SECTION_HEAD: usize = 24;

/// `opt_comment`.
pub const COMMENT: u16 = 1;

/// Comments that a packet of ours may have at most: keys of both ends, and how it began.
pub const COMMENT_KEYS: usize = 64;

/// A block, its head and both lengths among its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its type.
    pub kind: u32,
    /// All of it.
    pub bytes: &'a [u8],
}

/// Four bytes as a number; 0 behind the end.
pub fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

/// The length that a block's head says, if it can be one.
pub fn length(head: &[u8]) -> Option<usize> {
    let length = word(head, 4) as usize;
    let is_one = (MIN_BYTES..=MAX_BYTES).contains(&length) && length.is_multiple_of(4);
    is_one.then_some(length)
}

/// All blocks of a buffer, up to the first that is not whole.
pub fn all(mut buffer: &[u8]) -> impl Iterator<Item = Block<'_>> {
    std::iter::from_fn(move || {
        let (bytes, rest) = buffer.split_at_checked(length(buffer)?)?;
        buffer = rest;
        Some(Block { kind: word(bytes, 0), bytes })
    })
}

impl<'a> Block<'a> {
    /// The interface of a packet or of statistics.
    pub fn interface(&self) -> u32 {
        word(self.bytes, 8)
    }

    /// When a packet was: nanoseconds since 1970.
    pub fn time(&self) -> i64 {
        let (high, low) = (word(self.bytes, 12), word(self.bytes, 16));
        (u64::from(high) << 32 | u64::from(low)).cast_signed()
    }

    /// The packet itself.
    pub fn packet(&self) -> &'a [u8] {
        let captured = word(self.bytes, 20) as usize;
        self.bytes.get(PACKET_HEAD..PACKET_HEAD.saturating_add(captured)).unwrap_or_default()
    }

    /// Where the options of a packet or a section begin.
    fn options_at(&self) -> usize {
        match self.kind {
            ENHANCED_PACKET => PACKET_HEAD + self.packet().len().next_multiple_of(4),
            _ => SECTION_HEAD,
        }
    }

    /// The comments of a packet or a section.
    pub fn comments(&self) -> impl Iterator<Item = &'a str> {
        let end = self.bytes.len().saturating_sub(4);
        let mut rest = self.bytes.get(self.options_at()..end).unwrap_or_default();
        let options = std::iter::from_fn(move || {
            let &[a, b, c, d] = rest.first_chunk::<4>()?;
            let (code, length) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            let value = rest.get(4..4 + usize::from(length))?;
            rest = rest.get(4 + usize::from(length).next_multiple_of(4)..)?;
            (code != 0).then_some((code, value))
        });
        let comments = options.filter(|(code, _)| *code == COMMENT);
        comments.filter_map(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Appends it with more comments before its own options.
    pub fn write_with(&self, comments: &[String], out: &mut Vec<u8>) {
        let (begin, at) = (out.len(), self.options_at().min(self.bytes.len() - 4));
        out.extend_from_slice(&self.bytes[..at]);
        for comment in comments {
            // The format allows 65,535 bytes; nobody reads as many.
            let text = &comment.as_bytes()[..comment.floor_char_boundary(MAX_COMMENT)];
            out.extend_from_slice(&COMMENT.to_le_bytes());
            out.extend_from_slice(&(text.len() as u16).to_le_bytes());
            out.extend_from_slice(text);
            out.extend_from_slice(&[0; 3][..text.len().wrapping_neg() & 3]);
        }
        let rest = &self.bytes[at..self.bytes.len() - 4];
        out.extend_from_slice(rest);
        if rest.is_empty() {
            out.extend_from_slice(&[0; 4]);
        }
        let length = (out.len() - begin + 4) as u32;
        out[begin + 4..begin + 8].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
    }
}

/// The longest comment that is added.
const MAX_COMMENT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::pcapng;

    fn packet(comments: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        let head = pcapng::PacketHead { interface: 3, time: 1 << 40, captured: 5, original: 9 };
        let write = |out: &mut Vec<u8>| out.extend_from_slice(b"hello");
        pcapng::packet(&mut out, head, pcapng::Direction::Inbound, 7, comments, write);
        out
    }

    #[test]
    fn a_packet_is_taken_apart_and_gets_comments() {
        let bytes = packet(&["own=1".to_owned()]);
        let block = all(&bytes).next().unwrap();
        assert_eq!((block.kind, block.interface(), block.time()), (ENHANCED_PACKET, 3, 1 << 40));
        assert_eq!(
            (block.packet(), block.comments().collect::<Vec<_>>()),
            (&b"hello"[..], vec!["own=1"])
        );
        let mut out = vec![0xee; 4];
        block.write_with(&["client=é".to_owned(), "abcd".to_owned()], &mut out);
        let again = all(&out[4..]).next().unwrap();
        assert_eq!(again.bytes.len(), out.len() - 4);
        assert_eq!(again.comments().collect::<Vec<_>>(), ["client=é", "abcd", "own=1"]);
        assert_eq!(again.packet(), b"hello");
        assert_eq!(word(again.bytes, again.bytes.len() - 4) as usize, again.bytes.len());
    }

    #[test]
    fn a_section_gets_comments() {
        let mut bytes = Vec::new();
        pcapng::section(&mut bytes, "perisco", "Linux", &["perisco.node=a".to_owned()]);
        let mut out = Vec::new();
        all(&bytes).next().unwrap().write_with(&["x=1".to_owned()], &mut out);
        let block = all(&out).next().unwrap();
        assert_eq!(block.kind, SECTION_HEADER);
        assert_eq!(block.comments().collect::<Vec<_>>(), ["x=1", "perisco.node=a"]);
    }

    #[test]
    fn what_is_no_block_ends_the_walk() {
        let whole = packet(&[]);
        for length in 0..whole.len() {
            assert_eq!(all(&whole[..length]).count(), 0);
        }
        let mut wrong = whole;
        wrong[4..8].copy_from_slice(&13_u32.to_le_bytes());
        assert_eq!(all(&wrong).count(), 0);
        assert_eq!(all(&[0; 64]).count(), 0);
    }
}
