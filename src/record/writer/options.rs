//! What the writer is asked to do, validated by the caller.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::record::confine::Lookup;

/// Where the recording goes.
#[derive(Clone, Debug)]
pub enum Output {
    /// A file, or with rotation the pattern of the files' names.
    File(PathBuf),
    /// Standard output, flushed at every [`tick`](super::Writer::tick).
    Stdout,
    /// A pipe of this process to somebody who reads along, likewise flushed.
    Pipe(Arc<OwnedFd>),
}

/// How the recording is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// zstd: one frame for each file, unless [`WriteOptions::frame_size`] is set.
    Zstd {
        /// 1 to 22; out of range is brought into it.
        level: i32,
    },
    /// gzip: for readers without zstd.
    Gzip,
    /// Plain pcapng.
    None,
}

/// Options of a recording.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Where it goes.
    pub output: Output,
    /// How it is compressed.
    pub compression: Compression,
    /// Bytes before compression after which a new zstd frame begins, at the
    /// next block. Files of many frames need Wireshark 4.4.
    pub frame_size: Option<u64>,
    /// Bytes of a file on disk, compressed, after which a new one begins.
    pub rotate_size: Option<u64>,
    /// Time after which a new file begins.
    pub rotate_time: Option<Duration>,
    /// Files to keep; older ones are removed.
    pub keep: Option<u32>,
    /// Files of earlier recordings with the same pattern count for `keep`.
    pub adopt: bool,
    /// Overwrite what exists.
    pub force: bool,
    /// Write what both ends of a local connection saw, not one copy.
    pub both_ends: bool,
    /// Bytes kept of each write, as the programs were told; 0 is all. Said in
    /// the file, not enforced here.
    pub snaplen: u32,
    /// The back end, for the section header.
    pub back_end: String,
    /// Why this one, for the section header.
    pub back_end_reason: String,
    /// Name of this node, for the section header.
    pub node: String,
    /// Boot id of this kernel, for the section header: with the node it tells
    /// where a capture was made.
    pub boot: String,
    /// Packets after which [`Writer::is_full`](super::Writer::is_full).
    pub packet_limit: Option<u64>,
    /// Who says which file a process runs; None: `/proc` itself.
    pub lookup: Option<Arc<Lookup>>,
}

impl WriteOptions {
    /// zstd at level 1 into `output`, nothing else set.
    pub fn new(output: Output) -> Self {
        let compression = match output {
            Output::File(_) => Compression::Zstd { level: 1 },
            Output::Stdout | Output::Pipe(_) => Compression::None,
        };
        Self {
            output,
            compression,
            frame_size: None,
            rotate_size: None,
            rotate_time: None,
            keep: None,
            adopt: false,
            force: false,
            both_ends: false,
            snaplen: 0,
            back_end: String::new(),
            back_end_reason: String::new(),
            node: String::new(),
            boot: String::new(),
            packet_limit: None,
            lookup: None,
        }
    }

    /// Whether there may be more than one file.
    pub fn rotates(&self) -> bool {
        self.rotate_size.is_some() || self.rotate_time.is_some()
    }
}
