//! What can be wrong with an input.
//!
//! [`PcapError`] means that nothing can be read from an input; [`Fault`] is
//! what becomes a [`Damage`](super::Damage): what came before it counts.

use std::fmt;
use std::io;

use super::compress::Compression;

/// An input that cannot be read at all. Each message is one line that begins
/// with the input as the user named it.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// No such file.
    #[error("{file}: no such file")]
    Missing {
        /// The input as the user named it.
        file: String,
    },
    /// The file may not be read.
    #[error("{file}: permission denied")]
    Permission {
        /// The input as the user named it.
        file: String,
    },
    /// A directory was named.
    #[error("{file}: is a directory, not a capture file")]
    Directory {
        /// The input as the user named it.
        file: String,
    },
    /// Nothing in it.
    #[error("{file}: not a capture file (it is empty)")]
    Empty {
        /// The input as the user named it.
        file: String,
    },
    /// Something else than a capture.
    #[error(
        "{file}: not a capture file ({}begins with {begins}; expected pcap, pcapng{})",
        Inside(*.inside), if .inside.is_some() { "" } else { ", zstd, gzip or lz4" }
    )]
    NotACapture {
        /// The input as the user named it.
        file: String,
        /// The compression that it was found in.
        inside: Option<Compression>,
        /// Its first bytes.
        begins: FirstBytes,
    },
    /// Compressed data that breaks before the first bytes of a capture.
    #[error("{file}: not a capture file ({fault})")]
    Unreadable {
        /// The input as the user named it.
        file: String,
        /// What broke, and how.
        fault: Fault,
    },
    /// The operating system refused.
    #[error("{file}: cannot be read: {error}")]
    Io {
        /// The input as the user named it.
        file: String,
        /// Its reason.
        error: io::Error,
    },
}

impl PcapError {
    /// The error of opening or reading `file`.
    pub(super) fn from_io(file: &str, error: io::Error) -> Self {
        let file = file.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { file },
            io::ErrorKind::PermissionDenied => Self::Permission { file },
            io::ErrorKind::IsADirectory => Self::Directory { file },
            _ => Self::Io { file, error },
        }
    }
}

/// Prefix of a message about what a compressed file holds.
struct Inside(Option<Compression>);

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(compression) => write!(f, "the {compression} data "),
            None => Ok(()),
        }
    }
}

/// The first bytes of something, printed in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBytes {
    bytes: Vec<u8>,
    more: bool,
}

impl FirstBytes {
    /// How many are shown.
    const SHOWN: usize = 8;

    /// Of `data`.
    pub(super) fn of(data: &[u8]) -> Self {
        Self {
            bytes: data.iter().take(Self::SHOWN).copied().collect(),
            more: data.len() > Self::SHOWN,
        }
    }
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bytes.is_empty() {
            return f.write_str("nothing");
        }
        for (index, byte) in self.bytes.iter().enumerate() {
            write!(f, "{}{byte:02x}", if index == 0 { "" } else { " " })?;
        }
        f.write_str(if self.more { " …" } else { "" })
    }
}

/// What is wrong at one place of an input. Offsets are kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The input ends within the header of the file.
    #[error("the file header is cut short: {have} of {need} bytes")]
    HeaderCut {
        /// Bytes there.
        have: usize,
        /// Bytes that it has when whole.
        need: usize,
    },
    /// The input ends within a packet or block.
    #[error("the last packet is cut short: {have} of {need} bytes")]
    CutShort {
        /// Bytes there, with its header.
        have: usize,
        /// Bytes that it has when whole; as far as known.
        need: usize,
    },
    /// pcap: no packet can be this long.
    #[error(
        "a packet header is damaged: it claims {captured} captured bytes, more than the limit of {limit}"
    )]
    PacketTooLong {
        /// Captured length of the header.
        captured: u32,
        /// The most that is believed.
        limit: u32,
    },
    /// pcapng: a block length that no block can have.
    #[error("a block is damaged: it claims a length of {length} bytes")]
    BlockLength {
        /// The length it gives.
        length: u32,
    },
    /// pcapng: a block larger than [`MAX_BLOCK_BYTES`](super::MAX_BLOCK_BYTES).
    #[error("a block claims a length of {length} bytes, more than the limit of {limit}")]
    BlockTooLong {
        /// The length it gives.
        length: u32,
        /// The limit.
        limit: usize,
    },
    /// pcapng: the length before and the length after a block differ.
    #[error("a block is damaged: its length is {head} at its begin and {tail} at its end")]
    BlockTrailer {
        /// Before.
        head: u32,
        /// After.
        tail: u32,
    },
    /// pcapng: too short for the fields of its type.
    #[error("a block of type {kind:#x} is too short ({length} bytes); it is left out")]
    BlockTooShort {
        /// Block type.
        kind: u32,
        /// Its length.
        length: usize,
    },
    /// pcapng: a packet larger than the block it is in.
    #[error(
        "a packet block claims {captured} captured bytes and has room for {room}; it is left out"
    )]
    PacketOverrun {
        /// What it claims.
        captured: u32,
        /// What there is.
        room: usize,
    },
    /// pcapng: a packet of an interface that was not described.
    #[error(
        "a packet block names interface {interface}, but {described} are described; it is left out"
    )]
    UnknownInterface {
        /// What it names.
        interface: u32,
        /// Interfaces described so far in its section.
        described: usize,
    },
    /// pcapng: an option list that is not one.
    #[error("the options of a block of type {kind:#x} are damaged; those before are used")]
    Options {
        /// Block type.
        kind: u32,
    },
    /// pcapng: name records that are not records.
    #[error("the records of a name resolution block are damaged; those before are used")]
    Names,
    /// pcapng: a section in neither byte order.
    #[error("a section header has no byte-order mark ({found:#010x})")]
    ByteOrder {
        /// What stands in its place, as little-endian.
        found: u32,
    },
    /// A version of the format that is not known.
    #[error("version {major}.{minor} of the format is not known")]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// More text about interfaces than is kept.
    #[error("interfaces are described beyond the limit of {limit} bytes; the rest is not read")]
    TooManyInterfaces {
        /// The limit.
        limit: usize,
    },
    /// More names than are kept.
    #[error("names of addresses beyond the limit of {limit} bytes are left out")]
    TooManyNames {
        /// The limit.
        limit: usize,
    },
    /// Damaged blocks that were not listed one by one.
    #[error("{count} more damaged blocks follow, the last one here")]
    More {
        /// How many.
        count: u64,
    },
    /// Compressed data ends within a frame.
    #[error("the {compression} data ends in the middle of a frame")]
    CompressedCut {
        /// Which.
        compression: Compression,
    },
    /// Compressed data is damaged, or followed by something else.
    #[error("the {compression} data is damaged: {reason}")]
    Compressed {
        /// Which.
        compression: Compression,
        /// The decoder's words.
        reason: String,
    },
    /// The file became shorter while it was read.
    #[error("the file was shortened to {now} bytes while it was read")]
    Shrunk {
        /// Its length now.
        now: u64,
    },
    /// The operating system refused to read on.
    #[error("reading failed: {reason}")]
    Io {
        /// Its reason.
        reason: String,
    },
}
