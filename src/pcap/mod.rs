//! Capture files: pcap and pcapng, plain or compressed, from files or a pipe.
//!
//! Knows nothing of what the packets hold. Packets come in batches of
//! references into shared bytes, so that a memory map is never copied and a
//! batch can be handed to worker threads.
//!
//! Bytes → [`Capture`] (one reader per input: `source.rs` has the bytes,
//! `classic.rs` and `pcapng` walk over them, `merge.rs` orders several) →
//! [`Batch`].
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod capture;
mod classic;
mod compress;
mod error;
mod input;
mod map;
mod merge;
mod pcapng;
pub mod plain;
mod reader;
mod source;
#[cfg(test)]
mod tests;
mod walk;

use std::net::IpAddr;
use std::sync::Arc;

pub use capture::{Capture, Input, InputInfo, OpenOptions};
pub use compress::Compression;
pub(crate) use map::{prefetch_next_batch, prefetch_packet, prefetch_ref};

pub use error::{Fault, FirstBytes, PcapError};

use crate::time::Timestamp;

/// Most packets of a batch. With [`BATCH_BYTES`] it keeps what the stages of
/// the analysis hand on in a core's second-level cache, and is still enough
/// to be worth waking other cores for.
pub const BATCH_PACKETS: usize = 1024;

/// Input that a batch spans at most, in bytes, but for the packet that it
/// ends with.
pub const BATCH_BYTES: usize = 256 << 10;

/// The largest packet record or pcapng block that is believed, in bytes. What
/// claims more is damage: libpcap writes no packet over 256 KiB, Wireshark
/// refuses other blocks over 16 MiB, and a pipe must hold a whole one.
pub const MAX_BLOCK_BYTES: usize = (16 << 20) + (64 << 10);

/// Bytes that are shared between batches and whoever reads them.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A link type of the tcpdump.org registry (LINKTYPE_…).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

/// Where packets were captured: an interface of one section of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Index of the input file.
    pub file: usize,
    /// Index of the section in that file; 0 in pcap files.
    pub section: u32,
    /// Who wrote the section (`shb_userappl`), its first 128 bytes or so; None
    /// in pcap files.
    pub application: Option<Arc<str>>,
    /// Comments of the section's header, where perisco's recorder wrote it: the first 64,
    /// of each the first 1,024 bytes. Else none are kept.
    pub notes: Option<SectionNotes>,
    /// `if_name`; None in pcap files.
    pub name: Option<String>,
    /// `if_description`.
    pub description: Option<String>,
    /// How its packets begin.
    pub link: LinkType,
    /// Snap length in bytes; 0 is no limit.
    pub snaplen: u32,
}

/// Comments of a section's header (`opt_comment`), in order.
pub type SectionNotes = Arc<[Box<str>]>;

/// `shb_userappl` of what perisco's recorder writes is this and a version.
const RECORDER: &str = "perisco ";

impl Interface {
    /// Whether perisco's recorder wrote the section.
    pub fn is_recording(&self) -> bool {
        self.application.as_deref().is_some_and(|name| name.starts_with(RECORDER))
    }
}

/// One packet of a batch.
#[derive(Clone, Copy, Debug)]
pub struct PacketRef {
    /// Index into [`Batch::chunks`].
    pub chunk: u32,
    /// Where its bytes begin in that chunk.
    pub offset: u32,
    /// Bytes captured.
    pub captured: u32,
    /// Bytes on the wire; at least `captured`.
    pub original: u32,
    /// Index over all interfaces of the run, in the order of [`Batch::interfaces`].
    pub interface: u32,
    /// Capture time; None where the file has none (pcapng SPB).
    pub at: Option<Timestamp>,
}

/// A comment of a packet (`opt_comment`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Index into [`Batch::packets`].
    pub packet: usize,
    /// What it says.
    pub text: String,
    /// Whether the packet left its interface (`epb_flags`); None where it
    /// does not say.
    pub outbound: Option<bool>,
}

/// What is wrong with an input, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The input as the user named it; `-` for standard input.
    pub file: String,
    /// Byte offset in the uncompressed capture, or in the compressed file
    /// where decompression failed.
    pub offset: u64,
    /// What is wrong, as a phrase: "the last packet is cut short: …".
    pub what: String,
}

/// Some packets in file (or merged time) order, and what else was read.
#[derive(Default)]
pub struct Batch {
    /// Shared bytes.
    pub chunks: Vec<SharedBytes>,
    /// The packets.
    pub packets: Vec<PacketRef>,
    /// Comments of packets, ascending by packet.
    pub comments: Vec<Comment>,
    /// Interfaces first described in this batch; indices go on from the last batch.
    pub interfaces: Vec<Interface>,
    /// Names of addresses (pcapng NRB).
    pub names: Vec<(IpAddr, String)>,
    /// Packets that the capturer says it lost since the last batch (ISB
    /// ifdrop and osdrop differences, epb_dropcount).
    pub drops: u64,
    /// Inputs found damaged. What came before the damage is in the packets.
    pub damage: Vec<Damage>,
    /// Bytes of input consumed so far, compressed where it is, for progress.
    pub position: u64,
}

impl Batch {
    /// The captured bytes of a packet; empty if it is not of this batch.
    pub fn bytes(&self, packet: &PacketRef) -> &[u8] {
        let start = packet.offset as usize;
        self.chunks
            .get(packet.chunk as usize)
            .and_then(|chunk| (**chunk).as_ref().get(start..start + packet.captured as usize))
            .unwrap_or_default()
    }

    /// The bytes of all chunks.
    pub fn slices(&self) -> Vec<&[u8]> {
        self.chunks.iter().map(|chunk| (**chunk).as_ref()).collect()
    }

    /// Empties it, keeping the memory of its lists.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.packets.clear();
        self.comments.clear();
        self.interfaces.clear();
        self.names.clear();
        self.drops = 0;
        self.damage.clear();
    }
}
