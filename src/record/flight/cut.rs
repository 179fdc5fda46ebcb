//! A span of time out of segments, as one capture.
//!
//! Whole blocks go from the segments to the output as they stand, each segment as
//! a section of its own, so nothing is decoded and nothing can be changed. Where a
//! segment is cut, the comments of connections that began before are put to their
//! first packets behind the cut, as in a segment that begins there.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::blocks::{
    self, Block, COMMENT_KEYS, ENHANCED_PACKET, HEAD_BYTES, INTERFACE_DESCRIPTION, NAME_RESOLUTION,
    SECTION_HEADER,
};
use super::now::Now;
use crate::record::pcapng;
use crate::time::Timestamp;

/// Read from a file at a time.
const READ_BYTES: usize = 256 << 10;

/// Interfaces and names of a segment that wait for its first packet: more than a
/// node has processes and pods.
const MAX_WAITING: usize = 128 << 20;

/// Connections whose comments wait for their next packet: as many as are recorded
/// at once.
const MAX_CONNECTIONS: usize = 131_072;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// By the clock that nobody sets: nanoseconds of CLOCK_BOOTTIME, both ends included.
    Boot {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// By the wall clock as the segments have it, nanoseconds since 1970.
    Wall {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Packets.
    pub packets: u64,
    /// Segments that they are from.
    pub segments: u64,
    /// Time of the first, nanoseconds since 1970.
    pub first: Option<i64>,
    /// Time of the last.
    pub last: Option<i64>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// What is in the output.
    pub span: Span,
    /// Segments that were removed while they were being read.
    pub torn: Vec<PathBuf>,
    /// Segments that are damaged, and why; what could be read is there.
    pub damaged: Vec<(PathBuf, String)>,
    /// Whether something before the window was there: if not, the ring does not reach
    /// back to its beginning.
    pub reaches: bool,
    /// Time of the first packet of all that was read.
    pub oldest: Option<i64>,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return f.write_str("no packets");
        };
        let [from, to] = [first, last].map(Timestamp::from_nanos);
        let long = std::time::Duration::from_nanos(last.abs_diff(first));
        write!(f, "{} packets of {:.1} s, {from} to {to}", self.packets, long.as_secs_f64())
    }
}

/// Copies what is within `window` out of `segments`, in their order. The first section
/// has `comments`; there is one in any case.
///
/// # Errors
///
/// The output cannot be written. What is wrong with a segment is in the result.
pub fn cut(
    segments: &[PathBuf],
    window: Window,
    comments: &[String],
    out: &mut dyn Write,
) -> io::Result<Done> {
    let comments = [&["perisco.saved=true".to_owned()], comments].concat();
    let mut cutter = Cutter {
        window,
        clocks: Clocks::now(),
        comments: comments.clone(),
        done: Done::default(),
        section: Section::default(),
        block: Vec::new(),
        piece: Vec::new(),
    };
    for path in segments {
        cutter.segment(path, out)?;
    }
    if cutter.done.span.segments == 0 {
        // Nothing was said in that time: still a capture, with what is known of it.
        let mut empty = Vec::new();
        let application = concat!("perisco ", env!("CARGO_PKG_VERSION"));
        pcapng::section(&mut empty, application, "", &comments);
        pcapng::interface(&mut empty, "unknown", "owner=unknown ", "");
        out.write_all(&empty)?;
    }
    out.flush()?;
    Ok(cutter.done)
}

struct Cutter {
    window: Window,
    clocks: Clocks,
    /// Of the first section; taken then.
    comments: Vec<String>,
    done: Done,
    section: Section,
    /// The block at hand.
    block: Vec<u8>,
    /// What is put together for the output.
    piece: Vec<u8>,
}

/// The section at hand.
#[derive(Default)]
struct Section {
    /// It is in the output.
    begun: bool,
    /// Its header, interfaces and names until then.
    waiting: Vec<u8>,
    /// From its times to those of the window.
    shift: i64,
    /// Comments of connections that have not been in the output yet.
    connections: HashMap<Ends, Vec<String>>,
}

/// Both ends of a connection in an order of their own: addresses and ports.
type Ends = [(u128, u16); 2];

impl Cutter {
    fn segment(&mut self, path: &Path, out: &mut dyn Write) -> io::Result<()> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.done.torn.push(path.to_owned());
                return Ok(());
            }
            Err(error) => {
                self.done.damaged.push((path.to_owned(), error.to_string()));
                return Ok(());
            }
        };
        let about = file.try_clone()?;
        self.section = Section::default();
        let ended = match decoder(file) {
            Ok(mut from) => self.copy(&mut *from, out)?,
            Err(error) => Err(error),
        };
        let is_gone = about.metadata().is_ok_and(|about| about.nlink() == 0);
        match ended {
            Ok(()) => {}
            Err(_) if is_gone => self.done.torn.push(path.to_owned()),
            // The segment that is being written, or was when its recorder was killed:
            // all that was flushed is there.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => self.done.damaged.push((path.to_owned(), error.to_string())),
        }
        Ok(())
    }

    /// The outer error is the output's, the inner one the segment's.
    fn copy(&mut self, from: &mut dyn Read, out: &mut dyn Write) -> io::Result<io::Result<()>> {
        loop {
            let mut block = std::mem::take(&mut self.block);
            let read = next_block(from, &mut block);
            if let Ok(true) = read {
                self.take(Block { kind: blocks::word(&block, 0), bytes: &block }, out)?;
            }
            self.block = block;
            match read {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn take(&mut self, block: Block<'_>, out: &mut dyn Write) -> io::Result<()> {
        match block.kind {
            SECTION_HEADER => {
                let shift = self.clocks.shift(block, self.window);
                self.section = Section { shift, ..Section::default() };
                block.write_with(&[], &mut self.section.waiting);
            }
            ENHANCED_PACKET => return self.packet(block, out),
            INTERFACE_DESCRIPTION | NAME_RESOLUTION if !self.section.begun => {
                if self.section.waiting.len() < MAX_WAITING {
                    self.section.waiting.extend_from_slice(block.bytes);
                }
            }
            // Statistics of a section that is not there.
            _ if !self.section.begun => {}
            _ => out.write_all(block.bytes)?,
        }
        Ok(())
    }

    fn packet(&mut self, block: Block<'_>, out: &mut dyn Write) -> io::Result<()> {
        let time = block.time();
        let (Window::Boot { from, to } | Window::Wall { from, to }) = self.window;
        let at = time.saturating_add(self.section.shift);
        self.done.oldest.get_or_insert(time);
        if at < from {
            self.done.reaches = true;
            self.remember(block);
            return Ok(());
        }
        if at > to {
            return Ok(());
        }
        if !self.section.begun {
            self.begin(out)?;
        }
        let span = &mut self.done.span;
        span.packets += 1;
        span.first = Some(span.first.map_or(time, |first| first.min(time)));
        span.last = Some(span.last.map_or(time, |last| last.max(time)));
        if self.section.connections.is_empty() {
            return out.write_all(block.bytes);
        }
        let ends = ends(block.packet());
        let Some(mut kept) = ends.and_then(|ends| self.section.connections.remove(&ends)) else {
            return out.write_all(block.bytes);
        };
        // What it says itself is newer.
        kept.retain(|old| !block.comments().any(|new| key(new) == key(old)));
        self.piece.clear();
        block.write_with(&kept, &mut self.piece);
        out.write_all(&self.piece)
    }

    /// Notes what a packet before the window says of its connection; for the same key the
    /// later word holds.
    fn remember(&mut self, block: Block<'_>) {
        if block.comments().next().is_none() {
            return;
        }
        let Some(ends) = ends(block.packet()) else { return };
        let connections = &mut self.section.connections;
        if connections.len() >= MAX_CONNECTIONS && !connections.contains_key(&ends) {
            return;
        }
        let known = connections.entry(ends).or_default();
        known.retain(|old| !block.comments().any(|new| key(new) == key(old)));
        let room = COMMENT_KEYS.saturating_sub(known.len());
        known.extend(block.comments().take(room).map(str::to_owned));
    }

    /// The section has a packet within the window: what waits goes before it.
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.section.begun = true;
        self.done.span.segments += 1;
        let waiting = std::mem::take(&mut self.section.waiting);
        let comments = std::mem::take(&mut self.comments);
        let mut all = blocks::all(&waiting);
        if let Some(header) = all.next() {
            self.piece.clear();
            header.write_with(&comments, &mut self.piece);
            out.write_all(&self.piece)?;
            out.write_all(waiting.get(header.bytes.len()..).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// What a comment is about.
fn key(comment: &str) -> &str {
    comment.split_once('=').map_or(comment, |(key, _)| key)
}

/// When the first packet of a segment was, by the clock of the window; None where it has
/// none that can be read.
pub fn begin(path: &Path, window: Window) -> Option<i64> {
    let mut from = decoder(File::open(path).ok()?).ok()?;
    let (mut bytes, mut shift) = (Vec::new(), 0);
    let clocks = Clocks::now();
    while next_block(&mut *from, &mut bytes).ok()? {
        let block = Block { kind: blocks::word(&bytes, 0), bytes: &bytes };
        match block.kind {
            SECTION_HEADER => shift = clocks.shift(block, window),
            ENHANCED_PACKET => return Some(block.time().saturating_add(shift)),
            _ => {}
        }
    }
    None
}

/// What times of segments are told by.
struct Clocks {
    now: Now,
    boot: String,
}

impl Clocks {
    fn now() -> Self {
        Self { now: Now::read(), boot: super::now::boot_id() }
    }

    /// What to add to a section's times: those of this start of the machine are told by
    /// CLOCK_BOOTTIME, others by the wall clock as it is now.
    fn shift(&self, header: Block<'_>, window: Window) -> i64 {
        let value = |key: &str| {
            header.comments().find_map(|comment| comment.strip_prefix(key)?.strip_prefix('='))
        };
        let offset = value(super::CLOCK_KEY).and_then(|text| text.parse::<i64>().ok());
        let is_this_boot = value("perisco.boot") == Some(&self.boot);
        match window {
            Window::Wall { .. } => 0,
            Window::Boot { .. } => {
                -offset.filter(|_| is_this_boot).unwrap_or_else(|| self.now.offset())
            }
        }
    }
}

/// Reads one block; false at an end between two.
fn next_block(from: &mut dyn Read, block: &mut Vec<u8>) -> io::Result<bool> {
    let mut head = [0; HEAD_BYTES];
    let mut have = 0;
    while have < HEAD_BYTES {
        match from.read(&mut head[have..]) {
            Ok(0) if have == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let Some(length) = blocks::length(&head) else {
        return Err(io::Error::other("not a segment of a ring, or damaged"));
    };
    block.clear();
    block.extend_from_slice(&head);
    block.resize(length, 0);
    from.read_exact(&mut block[HEAD_BYTES..])?;
    Ok(true)
}

/// Undoes the compression that the first bytes show.
fn decoder(file: File) -> io::Result<Box<dyn Read>> {
    use std::io::BufRead;

    let mut file = BufReader::with_capacity(READ_BYTES, file);
    let plain = || blocks::SECTION_HEADER.to_le_bytes();
    Ok(match *file.fill_buf()? {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(BufReader::with_capacity(
            READ_BYTES,
            zstd::stream::read::Decoder::with_buffer(file)?,
        )),
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(
            READ_BYTES,
            flate2::bufread::MultiGzDecoder::new(file),
        )),
        [a, b, c, d, ..] if [a, b, c, d] == plain() => Box::new(file),
        [] => return Err(io::ErrorKind::UnexpectedEof.into()),
        _ => return Err(io::Error::other("not a segment of a ring")),
    })
}

/// The ends of a packet as the recorder makes it: Ethernet, IP without options, TCP.
fn ends(packet: &[u8]) -> Option<Ends> {
    let kind: [u8; 2] = *packet.get(12..)?.first_chunk()?;
    let (from, to, tcp) = match kind {
        [0x08, 0x00] => (v4(packet, 26)?, v4(packet, 30)?, 34),
        [0x86, 0xdd] => (v6(packet, 22)?, v6(packet, 38)?, 54),
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let mut ends = [(from, port(tcp)?), (to, port(tcp + 2)?)];
    ends.sort_unstable();
    Some(ends)
}

fn v4(packet: &[u8], at: usize) -> Option<u128> {
    Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?).into())
}

fn v6(packet: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_be_bytes(*packet.get(at..)?.first_chunk()?))
}

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
