//! Where the bytes of one capture come from, as one contiguous span at a time.
//!
//! A [`Source`] holds the bytes at hand; the walk consumes whole packets from
//! their front and [`Source::fill`] brings more behind what is left: a new
//! window of a mapped file, more of a pipe, or the next decompressed piece.
//! Bytes that a batch refers to are shared with it and never move.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use super::compress::{Ahead, Buffer, Compression, Decompressed, HEADROOM, Received};
use super::error::Fault;
use super::input::{ByteInput, Got, Stop, TICK};
use super::map::Window;
use super::{BATCH_BYTES, MAX_BLOCK_BYTES, SharedBytes};

/// Read from a pipe at most at a time; a batch of a fast one.
const PIPE_BYTES: usize = 1 << 20;

/// Fewer free bytes than this are not read into: what is left is moved first.
const MIN_READ_BYTES: usize = 64 << 10;

/// Bytes of a mapped file that are put into place at a time: enough to be
/// worth a system call.
const LOAD_BYTES: usize = 1 << 20;

/// Bytes that packets lie in.
enum Chunk {
    Owned(Vec<u8>),
    Decompressed(Buffer),
    Mapped(Window),
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Decompressed(buffer) => buffer.as_ref(),
            Self::Mapped(window) => window.as_ref(),
        }
    }
}

/// What [`Source::fill`] did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There are more bytes than before.
    More,
    /// None came within a [`TICK`].
    Nothing,
    /// There will be no more.
    End,
    /// There will be no more because a stop was asked for.
    Stopped,
    /// There will be no more because of this. The offset is that of a
    /// compressed file where it is one, else None.
    Failed(Fault, Option<u64>),
}

/// The bytes of one input.
pub(super) struct Source {
    kind: Kind,
    stop: Stop,
    chunk: Arc<Chunk>,
    /// The span at hand within `chunk`.
    start: usize,
    end: usize,
    /// Place of `start` in the uncompressed input.
    offset: u64,
}

enum Kind {
    /// All of it is at hand.
    Memory,
    Mapped(Mapped),
    Stream(ByteInput),
    Decompressed(Decompressed),
}

struct Mapped {
    file: File,
    /// The most that is mapped at a time.
    window: usize,
    /// The longest that the file was.
    length: u64,
    /// How far into the window pages were put into place.
    loaded: usize,
}

impl Source {
    /// Bytes in memory. What lies beyond 4 GiB cannot be referred to.
    pub(super) fn memory(bytes: Vec<u8>, stop: Stop) -> Self {
        let end = bytes.len().min(u32::MAX as usize);
        Self { end, ..Self::of(Kind::Memory, Chunk::Owned(bytes), stop) }
    }

    /// A regular file of `length` bytes, mapped in windows of `window` bytes.
    pub(super) fn mapped(file: File, length: u64, window: usize, stop: Stop) -> Self {
        let kind = Kind::Mapped(Mapped { file, window, length, loaded: 0 });
        Self::of(kind, Chunk::Owned(Vec::new()), stop)
    }

    /// A pipe or the like.
    pub(super) fn stream(input: ByteInput, stop: Stop) -> Self {
        Self::of(Kind::Stream(input), Chunk::Owned(Vec::new()), stop)
    }

    fn of(kind: Kind, chunk: Chunk, stop: Stop) -> Self {
        Self { kind, stop, chunk: Arc::new(chunk), start: 0, end: 0, offset: 0 }
    }

    /// Takes what this holds for compressed bytes and gives what they
    /// decompress to. Nothing may have been consumed yet.
    ///
    /// # Errors
    /// When a thread or the file's begin cannot be had.
    pub(super) fn decompress(
        self,
        compression: Compression,
        ahead: &Ahead,
    ) -> std::io::Result<Self> {
        let input = match self.kind {
            Kind::Memory => {
                let bytes = Arc::try_unwrap(self.chunk).map(|chunk| match chunk {
                    Chunk::Owned(bytes) => bytes,
                    other => other.as_ref().to_vec(),
                });
                ByteInput::memory(bytes.unwrap_or_default())
            }
            Kind::Mapped(mut mapped) => {
                mapped.file.seek(SeekFrom::Start(0))?;
                ByteInput::file(mapped.file)
            }
            Kind::Stream(mut input) => {
                let chunk: &Chunk = &self.chunk;
                input.unread(chunk.as_ref().get(self.start..self.end).unwrap_or_default());
                input
            }
            Kind::Decompressed(_) => return Ok(self),
        };
        let decompressed = Decompressed::start(compression, input, self.stop.clone(), ahead)?;
        Ok(Self::of(Kind::Decompressed(decompressed), Chunk::Owned(Vec::new()), self.stop))
    }

    /// The bytes at hand.
    pub(super) fn bytes(&self) -> &[u8] {
        let chunk: &Chunk = &self.chunk;
        chunk.as_ref().get(self.start..self.end).unwrap_or_default()
    }

    /// The chunk they lie in, and where in it they begin.
    pub(super) fn share(&self) -> (SharedBytes, usize) {
        (self.chunk.clone(), self.start)
    }

    /// Takes `count` bytes from the front.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Where the bytes at hand begin in the uncompressed input.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of input consumed, compressed where it is.
    pub(super) fn position(&self) -> u64 {
        match &self.kind {
            Kind::Decompressed(decompressed) => decompressed.position(),
            _ => self.offset,
        }
    }

    /// Whether it is a stream that may bring bytes at any time.
    pub(super) fn live(&self) -> bool {
        match &self.kind {
            Kind::Memory | Kind::Mapped(_) => false,
            Kind::Stream(input) => input.live(),
            Kind::Decompressed(decompressed) => decompressed.live(),
        }
    }

    /// The compression it comes in.
    pub(super) fn compression(&self) -> Option<Compression> {
        match &self.kind {
            Kind::Decompressed(decompressed) => Some(decompressed.compression()),
            _ => None,
        }
    }

    /// Whether reading should end now although there may be more.
    pub(super) fn stop_due(&mut self) -> bool {
        if self.live() { self.stop.due() } else { self.stop.asked() }
    }

    /// Asks for the length of a mapped file again: bytes that are no longer
    /// there must not be touched.
    pub(super) fn check_length(&mut self) {
        if let Kind::Mapped(mapped) = &mut self.kind {
            let length = mapped.file.metadata().map_or(0, |metadata| metadata.len());
            let left = usize::try_from(length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            self.end = self.end.min(self.start.saturating_add(left));
            mapped.length = mapped.length.max(length);
        }
    }

    /// Puts pages of a mapped file into place before they are needed, so that
    /// they can be prefetched.
    pub(super) fn load_ahead(&mut self) {
        let (Kind::Mapped(mapped), Chunk::Mapped(window)) = (&mut self.kind, &*self.chunk) else {
            return;
        };
        if mapped.loaded < self.end && mapped.loaded < self.start + 2 * BATCH_BYTES {
            let begin = mapped.loaded.max(self.start);
            mapped.loaded = self.end.min(begin + LOAD_BYTES);
            window.load(begin..mapped.loaded);
        }
    }

    /// Brings more bytes; `need` is how many are wanted in all, where known.
    pub(super) fn fill(&mut self, need: usize) -> Filled {
        if self.stop_due() {
            return Filled::Stopped;
        }
        match &self.kind {
            Kind::Memory => Filled::End,
            Kind::Mapped(_) => self.map_next(need),
            Kind::Stream(_) => self.read_more(need),
            Kind::Decompressed(_) => self.receive(),
        }
    }

    /// The next window begins with what is left of this one, so that a packet
    /// across its end becomes whole.
    fn map_next(&mut self, need: usize) -> Filled {
        let have = self.end - self.start;
        let Kind::Mapped(mapped) = &mut self.kind else { return Filled::End };
        let length = match mapped.file.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) => return Filled::Failed(Fault::Io { reason: error.to_string() }, None),
        };
        if length < mapped.length {
            return Filled::Failed(Fault::Shrunk { now: length }, None);
        }
        mapped.length = length;
        let left = usize::try_from(length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let size = mapped.window.max(need.min(MAX_BLOCK_BYTES)).min(left);
        if size <= have {
            return Filled::End;
        }
        match Window::map(&mapped.file, self.offset, size) {
            Ok(window) => {
                self.chunk = Arc::new(Chunk::Mapped(window));
                (self.start, self.end) = (0, size);
                mapped.loaded = 0;
                Filled::More
            }
            Err(error) => self.read_instead(error, need),
        }
    }

    /// For file systems that cannot map: reads on as from a stream.
    fn read_instead(&mut self, error: std::io::Error, need: usize) -> Filled {
        let Kind::Mapped(mapped) = &mut self.kind else { return Filled::End };
        let from = self.offset + (self.end - self.start) as u64;
        let reopened = mapped.file.try_clone().and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            Ok(file)
        });
        match reopened {
            Ok(file) => {
                self.kind = Kind::Stream(ByteInput::file(file));
                self.read_more(need)
            }
            Err(_) => Filled::Failed(Fault::Io { reason: error.to_string() }, None),
        }
    }

    /// Appends what a stream has. The first read may wait, later ones not.
    fn read_more(&mut self, need: usize) -> Filled {
        self.make_room(need);
        let Kind::Stream(input) = &mut self.kind else { return Filled::End };
        let Some(Chunk::Owned(buffer)) = Arc::get_mut(&mut self.chunk) else {
            return Filled::Nothing;
        };
        let before = self.end;
        let limit = buffer.len().min(before + PIPE_BYTES);
        let mut wait = TICK;
        while let Some(room) = buffer.get_mut(self.end..limit).filter(|room| !room.is_empty()) {
            match input.read_within(room, wait) {
                Ok(Got::Bytes(count)) => self.end += count,
                Ok(Got::Nothing) => break,
                Ok(Got::End) if self.end > before => break,
                Ok(Got::End) => return Filled::End,
                Err(_) if self.end > before => break,
                Err(error) => {
                    return Filled::Failed(Fault::Io { reason: error.to_string() }, None);
                }
            }
            if !input.ready() {
                break;
            }
            wait = Duration::ZERO;
        }
        if self.end > before { Filled::More } else { Filled::Nothing }
    }

    /// Makes `chunk` a buffer that nobody shares, with room behind the span.
    fn make_room(&mut self, need: usize) {
        let have = self.end - self.start;
        // Doubling keeps the cost of a packet that trickles in linear.
        let wanted = need.min(MAX_BLOCK_BYTES).min(have * 2).max(have) + PIPE_BYTES;
        match Arc::get_mut(&mut self.chunk) {
            Some(Chunk::Owned(buffer)) if buffer.len() - self.end >= MIN_READ_BYTES => {}
            Some(Chunk::Owned(buffer)) if buffer.len() >= wanted => {
                buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, have);
            }
            _ => {
                let mut buffer = vec![0; wanted];
                if let Some(front) = buffer.get_mut(..have) {
                    front.copy_from_slice(self.bytes());
                }
                self.chunk = Arc::new(Chunk::Owned(buffer));
                (self.start, self.end) = (0, have);
            }
        }
    }

    /// Takes the next decompressed piece and puts what is left before it.
    fn receive(&mut self) -> Filled {
        let Kind::Decompressed(decompressed) = &mut self.kind else { return Filled::End };
        let mut piece = match decompressed.receive(TICK) {
            Received::Bytes(piece) => piece,
            Received::Nothing => return Filled::Nothing,
            Received::End { stopped: false } => return Filled::End,
            Received::End { stopped: true } => return Filled::Stopped,
            Received::Failed(fault, offset) => return Filled::Failed(fault, Some(offset)),
        };
        let left = self.bytes();
        let (start, chunk) = match HEADROOM.checked_sub(left.len()) {
            Some(start) => {
                if let Some(front) = piece.bytes_mut().get_mut(start..HEADROOM) {
                    front.copy_from_slice(left);
                }
                (start, Chunk::Decompressed(piece))
            }
            None => {
                let mut joined = left.to_vec();
                joined.extend_from_slice(piece.as_ref().get(HEADROOM..).unwrap_or_default());
                (0, Chunk::Owned(joined))
            }
        };
        (self.start, self.end) = (start, chunk.as_ref().len());
        self.chunk = Arc::new(chunk);
        Filled::More
    }
}
