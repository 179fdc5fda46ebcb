//! Classic pcap files (draft-ietf-opsawg-pcap): a header, then packets.
//!
//! Also the "modified" format of patched kernels (magic 0xa1b2cd34), whose
//! packet headers carry eight bytes more.

use super::error::Fault;
use super::walk::{self, Halt, Notes, Place, Walked, u32_at};
use super::{Batch, Interface, LinkType, MAX_BLOCK_BYTES, PacketRef};
use crate::time::Timestamp;

/// Length of the file header in bytes.
const FILE_HEADER: usize = 24;

/// Length of a packet header in bytes.
const PACKET_HEADER: usize = 16;

/// Length of a packet header of the modified format: also interface index,
/// protocol and packet type.
const MODIFIED_PACKET_HEADER: usize = 24;

/// The largest packet that libpcap writes whatever snap length a header gives
/// (its MAXIMUM_SNAPLEN). Captured lengths up to it are believed.
const USUAL_MAX_CAPTURED: u32 = 262_144;

/// Bits of the header's last field that hold the link type; above are the
/// length of frame check sequences and reserved bits.
const LINK_TYPE_BITS: u32 = 0xffff;

/// A variant of the format, as its magic number gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    /// Numbers are big-endian.
    big: bool,
    /// Fractions of seconds are nanoseconds.
    nanos: bool,
    /// Packet headers are [`MODIFIED_PACKET_HEADER`] long.
    modified: bool,
}

impl Variant {
    /// Recognises the first four bytes of a file.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        let (little, big) = (u32::from_le_bytes(magic), u32::from_be_bytes(magic));
        [(little, false), (big, true)].into_iter().find_map(|(magic, big)| match magic {
            0xa1b2_c3d4 => Some(Self { big, nanos: false, modified: false }),
            0xa1b2_3c4d => Some(Self { big, nanos: true, modified: false }),
            0xa1b2_cd34 => Some(Self { big, nanos: false, modified: true }),
            _ => None,
        })
    }

    /// "µs", "ns, big-endian".
    pub(super) fn describe(self) -> String {
        let mut text = String::from(if self.nanos { "ns" } else { "µs" });
        if self.modified {
            text.push_str(", modified");
        }
        if self.big {
            text.push_str(", big-endian");
        }
        text
    }
}

/// How the two lengths of a packet are ordered. Before version 2.3 the
/// original length came first; in 2.3 either may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LengthOrder {
    CapturedFirst,
    OriginalFirst,
    Either,
}

/// The walk over one classic pcap file.
pub(super) struct PcapFile {
    variant: Variant,
    file: usize,
    /// None until the file header was read.
    header: Option<Header>,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    order: LengthOrder,
    /// Captured lengths beyond this are damage.
    limit: u32,
}

impl PcapFile {
    /// Of the input with index `file`.
    pub(super) fn new(variant: Variant, file: usize) -> Self {
        Self { variant, file, header: None }
    }

    /// The variant it is in.
    pub(super) fn variant(&self) -> Variant {
        self.variant
    }

    /// What it means that the input ends with `have` bytes left.
    pub(super) fn cut(&self, have: usize, need: usize) -> Fault {
        match self.header {
            None => Fault::HeaderCut { have, need: FILE_HEADER },
            Some(_) => Fault::CutShort { have, need },
        }
    }

    /// Appends the packets in `data` to `batch`.
    pub(super) fn walk(
        &mut self,
        data: &[u8],
        place: Place,
        batch: &mut Batch,
        _notes: &mut Notes,
    ) -> Walked {
        let (header, begin) = match self.header {
            Some(header) => (header, 0),
            None => match self.read_header(data, batch) {
                Ok(header) => (*self.header.insert(header), FILE_HEADER),
                Err(halt) => return Walked { consumed: 0, halt },
            },
        };
        let walk = Walk { variant: self.variant, header, place };
        if self.variant.big {
            walk.packets::<true>(data, begin, batch)
        } else {
            walk.packets::<false>(data, begin, batch)
        }
    }

    fn read_header(&self, data: &[u8], batch: &mut Batch) -> Result<Header, Halt> {
        let Some(header) = data.first_chunk::<FILE_HEADER>() else {
            return Err(Halt::Need(FILE_HEADER));
        };
        let word = |bytes: [u8; 4]| match self.variant.big {
            true => u32_at::<true>(bytes),
            false => u32_at::<false>(bytes),
        };
        let versions = [[header[4], header[5]], [header[6], header[7]]];
        let [major, minor] = match self.variant.big {
            true => versions.map(u16::from_be_bytes),
            false => versions.map(u16::from_le_bytes),
        };
        // 543 is what an old DG/UX tcpdump wrote, lengths swapped (libpcap).
        let order = match (major, minor) {
            (2, 0..=2) | (543, _) => LengthOrder::OriginalFirst,
            (2, 3) => LengthOrder::Either,
            (2, _) => LengthOrder::CapturedFirst,
            _ => return Err(Halt::Damaged(Fault::Version { major, minor })),
        };
        let snaplen = word([header[16], header[17], header[18], header[19]]);
        let network = word([header[20], header[21], header[22], header[23]]);
        batch.interfaces.push(Interface {
            section: 0,
            application: None,
            notes: None,
            file: self.file,
            name: None,
            description: None,
            link: LinkType((network & LINK_TYPE_BITS) as u16),
            snaplen,
        });
        // Zero is no limit; and writers exist that exceed what they announce.
        let most = MAX_BLOCK_BYTES as u32;
        let limit = if snaplen == 0 { most } else { snaplen.clamp(USUAL_MAX_CAPTURED, most) };
        Ok(Header { order, limit })
    }
}

/// What the packets of one call have in common.
struct Walk {
    variant: Variant,
    header: Header,
    place: Place,
}

impl Walk {
    fn packets<const BIG: bool>(&self, data: &[u8], begin: usize, batch: &mut Batch) -> Walked {
        let header_length =
            if self.variant.modified { MODIFIED_PACKET_HEADER } else { PACKET_HEADER };
        let fraction_nanos = if self.variant.nanos { 1 } else { 1000 };
        let mut room = walk::room(batch);
        let mut consumed = begin;
        let halt = loop {
            if walk::is_full(consumed, room) {
                break Halt::Full;
            }
            let rest = data.get(consumed..).unwrap_or_default();
            let Some(head) = rest.first_chunk::<PACKET_HEADER>() else {
                break Halt::Need(header_length);
            };
            let seconds = u32_at::<BIG>([head[0], head[1], head[2], head[3]]);
            let fraction = u32_at::<BIG>([head[4], head[5], head[6], head[7]]);
            let first = u32_at::<BIG>([head[8], head[9], head[10], head[11]]);
            let second = u32_at::<BIG>([head[12], head[13], head[14], head[15]]);
            let (captured, original) = match self.header.order {
                LengthOrder::CapturedFirst => (first, second),
                LengthOrder::OriginalFirst => (second, first),
                LengthOrder::Either => (first.min(second), first.max(second)),
            };
            if captured > self.header.limit {
                let limit = self.header.limit;
                break Halt::Damaged(Fault::PacketTooLong { captured, limit });
            }
            let length = header_length + captured as usize;
            if rest.len() < length {
                break Halt::Need(length);
            }
            // At most 2^32 s and 2^32 µs: far below the year 2262.
            let nanos = i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * fraction_nanos;
            batch.packets.push(PacketRef {
                chunk: self.place.chunk,
                offset: self.place.base + (consumed + header_length) as u32,
                captured,
                original: original.max(captured),
                interface: 0,
                at: Some(Timestamp::from_nanos(nanos)),
            });
            room -= 1;
            consumed += length;
        };
        Walked { consumed, halt }
    }
}
