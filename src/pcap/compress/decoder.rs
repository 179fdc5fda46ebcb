//! The three decoders behind one `read`, and the buffered input they share.
//!
//! Each says `UnexpectedEof` when the data ends within a frame and some other
//! error when it is damaged; `Ok(0)` only when it ends where it may.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use zstd::stream::raw::{InBuffer, Operation, OutBuffer};

use super::Compression;
use crate::pcap::input::{ByteInput, Got, Stop, TICK};

/// Compressed bytes read at a time: zstd's largest block.
const FEED_BYTES: usize = 128 << 10;

/// The largest window that the zstd format allows here (2 GiB, what
/// `zstd --ultra --long=31` writes). Only what is used of it takes memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 31;

/// Buffered compressed bytes, counted as they are consumed.
pub(super) struct Feed {
    input: ByteInput,
    stop: Stop,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    consumed: u64,
    position: Arc<AtomicU64>,
    gone: Arc<AtomicBool>,
    at_end: bool,
    stopped: bool,
}

impl Feed {
    /// `position` is kept up to date; when `gone` is set nobody wants more.
    pub(super) fn new(
        input: ByteInput,
        stop: Stop,
        position: Arc<AtomicU64>,
        gone: Arc<AtomicBool>,
    ) -> Self {
        Self {
            input,
            stop,
            buffer: vec![0; FEED_BYTES],
            start: 0,
            end: 0,
            consumed: 0,
            position,
            gone,
            at_end: false,
            stopped: false,
        }
    }

    /// Of bytes that are all there.
    pub(super) fn memory(bytes: Vec<u8>) -> Self {
        Self {
            input: ByteInput::memory(Vec::new()),
            stop: Stop::default(),
            start: 0,
            end: bytes.len(),
            buffer: bytes,
            consumed: 0,
            position: Arc::default(),
            gone: Arc::default(),
            at_end: true,
            stopped: false,
        }
    }

    /// Whether bytes may come at any time.
    pub(super) fn live(&self) -> bool {
        self.input.live()
    }

    /// Puts the last bytes that were consumed back.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let buffered = self.buffered().to_vec();
        self.input.unread(&buffered);
        self.input.unread(bytes);
        (self.start, self.end) = (0, 0);
        self.at_end = false;
        self.consumed -= bytes.len() as u64;
        self.position.store(self.consumed, Ordering::Relaxed);
    }

    /// Bytes consumed so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Whether the input ended because of a stop.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the next byte may take long to come.
    pub(super) fn would_wait(&self) -> bool {
        self.start == self.end && !self.at_end && !self.input.ready()
    }

    fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Waits for more bytes behind those that are buffered; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.at_end {
            return Ok(false);
        }
        let Some(room) = self.buffer.get_mut(self.end..).filter(|room| !room.is_empty()) else {
            return Ok(true);
        };
        while !self.at_end {
            if self.gone.load(Ordering::Relaxed) || (self.input.live() && self.stop.due()) {
                self.stopped = true;
                self.at_end = true;
                break;
            }
            match self.input.read_within(room, TICK)? {
                Got::Bytes(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Got::Nothing => {}
                Got::End => self.at_end = true,
            }
        }
        Ok(false)
    }

    /// The next `count` bytes without consuming them; fewer only at the end.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.end - self.start < count && self.refill()? {}
        let buffered = self.buffered();
        Ok(buffered.get(..count).unwrap_or(buffered))
    }

    /// The error of an input that ends within something, after all of it.
    fn cut(&mut self) -> io::Error {
        self.consume(self.end - self.start);
        io::ErrorKind::UnexpectedEof.into()
    }

    /// Consumes `count` bytes; false if the input ends before.
    fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        while count > 0 {
            let here = self.fill_buf()?.len();
            if here == 0 {
                return Ok(false);
            }
            let step = here.min(usize::try_from(count).unwrap_or(usize::MAX));
            self.consume(step);
            count -= step as u64;
        }
        Ok(true)
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.refill()?;
        }
        Ok(self.buffered())
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        self.consumed += count as u64;
        self.position.store(self.consumed, Ordering::Relaxed);
    }
}

impl Read for Feed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

/// A decoder of one of the compressions.
pub(super) enum Decoder {
    Zstd(Zstd),
    Gzip(Gzip),
    Lz4(Lz4),
}

impl Decoder {
    /// For `feed`, which begins with the magic of `compression`.
    ///
    /// # Errors
    /// When the decoder cannot be had (memory).
    pub(super) fn new(compression: Compression, feed: Feed) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd => Self::Zstd(Zstd::new(feed)?),
            Compression::Gzip => Self::Gzip(Gzip { decoder: GzDecoder::new(feed) }),
            Compression::Lz4 => Self::Lz4(Lz4::new(feed)),
        })
    }

    /// The same decoder for another `feed`: its tables and windows are there.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub(super) fn with(self, feed: Feed) -> io::Result<Self> {
        Ok(match self {
            Self::Zstd(Zstd { decoder, .. }) => {
                Self::Zstd(Zstd { feed, decoder, wanted: 0, between: true })
            }
            Self::Gzip(_) => Self::new(Compression::Gzip, feed)?,
            Self::Lz4(_) => Self::new(Compression::Lz4, feed)?,
        })
    }

    /// Appends what whole zstd frames decompress to, for which there is room,
    /// at once: then it needs no window of its own. False where anything is
    /// wrong with them; the decoder is of no use after that.
    pub(super) fn whole(&mut self, frames: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Self::Zstd(zstd) => zstd.whole(frames, out).unwrap_or(false),
            _ => false,
        }
    }

    /// What it reads from.
    pub(super) fn feed(&self) -> &Feed {
        match self {
            Self::Zstd(zstd) => &zstd.feed,
            Self::Gzip(gzip) => gzip.decoder.get_ref(),
            Self::Lz4(lz4) => &lz4.decoder.get_ref().feed,
        }
    }

    /// Appends decompressed bytes to `out`, which has room for them; some
    /// `most` at most. Returns how many; 0 at the end.
    ///
    /// # Errors
    /// `UnexpectedEof` where the data is cut, else what is wrong with it; `out`
    /// is as it was.
    pub(super) fn read(&mut self, out: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        match self {
            Self::Zstd(zstd) => zstd.read(out),
            Self::Gzip(gzip) => append(out, most, |room| gzip.read(room)),
            Self::Lz4(lz4) => append(out, most, |room| lz4.read(room)),
        }
    }
}

/// Appends what `read` puts into a slice of `most` bytes.
fn append(
    out: &mut Vec<u8>,
    most: usize,
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let before = out.len();
    out.resize(before + most, 0);
    let result = read(out.get_mut(before..).unwrap_or_default()).map(|count| count.min(most));
    out.truncate(before + result.as_ref().copied().unwrap_or(0));
    result
}

/// Any number of zstd frames, skippable ones among them.
pub(super) struct Zstd {
    feed: Feed,
    decoder: zstd::stream::raw::Decoder<'static>,
    /// Bytes the decoder asked for; 0 between frames.
    wanted: usize,
    between: bool,
}

impl Zstd {
    /// Bytes that decide what a frame is.
    const FRAME_START: usize = 5;

    fn new(feed: Feed) -> io::Result<Self> {
        let mut decoder = zstd::stream::raw::Decoder::new()?;
        decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self { feed, decoder, wanted: 0, between: true })
    }

    fn whole(&mut self, frames: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        let begin = out.len();
        let mut input = InBuffer::around(frames);
        let mut output = OutBuffer::around_pos(out, begin);
        let mut wanted = 0;
        while input.pos() < frames.len() {
            let before = input.pos();
            self.decoder.reinit()?;
            wanted = self.decoder.run(&mut input, &mut output)?;
            if wanted != 0 || input.pos() == before {
                return Ok(false);
            }
        }
        Ok(wanted == 0)
    }

    /// The decoder is given just what it asks for, one block at a time: what
    /// it decodes in a call that fails is lost, and this way that is only the
    /// damaged block itself. It writes into memory that nobody has cleared:
    /// clearing takes a fifth as long as decompressing.
    fn read(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let before = out.len();
        let result = self.append(out);
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    fn append(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let before = out.len();
        let mut flush = !self.between;
        loop {
            let wanted = if self.between { Self::FRAME_START } else { self.wanted.max(1) };
            let available = if flush { &[][..] } else { self.feed.fill_buf()? };
            if available.is_empty() && !flush {
                return match self.between {
                    true => Ok(0),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            if self.between {
                self.decoder.reinit()?;
            }
            let given = available.get(..wanted).unwrap_or(available);
            let mut input = InBuffer::around(given);
            let mut output = OutBuffer::around_pos(&mut *out, before);
            self.wanted = self.decoder.run(&mut input, &mut output)?;
            let (consumed, written) = (input.pos(), output.pos() - before);
            // Before a frame and with nothing given it asks for a new frame.
            self.between = self.wanted == 0;
            self.feed.consume(consumed);
            if written > 0 {
                return Ok(written);
            }
            flush = false;
        }
    }
}

/// Any number of gzip members, zero padding after them.
pub(super) struct Gzip {
    decoder: GzDecoder<Feed>,
}

impl Gzip {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoder.read(out)?;
            if count > 0 || !self.next_member()? {
                return Ok(count);
            }
        }
    }

    /// Goes on to the next member; false if there is none.
    fn next_member(&mut self) -> io::Result<bool> {
        let feed = self.decoder.get_mut();
        match feed.peek(2)? {
            [] => Ok(false),
            [0x1f, 0x8b] => {
                // `reset` wants the reader by value, so it is taken out first.
                let feed = self.decoder.reset(Feed::memory(Vec::new()));
                self.decoder.reset(feed);
                Ok(true)
            }
            [0x1f] => Err(feed.cut()),
            _ => only_zeros(feed).map(|()| false),
        }
    }
}

/// Tape padding after the last member is no damage (as in gzip itself).
fn only_zeros(feed: &mut Feed) -> io::Result<()> {
    loop {
        let here = feed.fill_buf()?;
        if here.is_empty() {
            return Ok(());
        }
        if here.iter().any(|byte| *byte != 0) {
            return Err(garbage());
        }
        let count = here.len();
        feed.consume(count);
    }
}

fn garbage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "something else follows the compressed data")
}

/// Any number of lz4 frames, skippable ones among them.
pub(super) struct Lz4 {
    decoder: FrameDecoder<Watched>,
    between: bool,
    legacy: bool,
}

/// lz4_flex takes an input that ends before a block for the end of its frame.
/// It reads exactly what it needs, so whether it ever saw the end tells.
struct Watched {
    feed: Feed,
    saw_end: bool,
}

impl Read for Watched {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.feed.read(out)?;
        self.saw_end |= count == 0 && !out.is_empty();
        Ok(count)
    }
}

impl Lz4 {
    const FRAME: u32 = 0x184d_2204;
    const LEGACY: u32 = 0x184c_2102;

    fn new(feed: Feed) -> Self {
        Self {
            decoder: FrameDecoder::new(Watched { feed, saw_end: false }),
            between: true,
            legacy: false,
        }
    }

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.between && !self.next_frame()? {
                return Ok(0);
            }
            self.between = false;
            let count = self.decoder.read(out)?;
            if count > 0 {
                return Ok(count);
            }
            // Legacy frames have no end mark: they end with the input.
            if self.decoder.get_ref().saw_end && !self.legacy {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.decoder.get_ref().saw_end {
                return Ok(0);
            }
            self.between = true;
        }
    }

    /// Skips skippable frames; false at the end of the input.
    fn next_frame(&mut self) -> io::Result<bool> {
        let feed = &mut self.decoder.get_mut().feed;
        loop {
            let begin = feed.peek(8)?;
            let word = |at: usize| {
                let bytes = begin.get(at..)?.first_chunk::<4>()?;
                Some(u32::from_le_bytes(*bytes))
            };
            match (word(0), word(4)) {
                (None, _) if begin.is_empty() => return Ok(false),
                (None, _) => return Err(feed.cut()),
                (Some(magic @ (Self::FRAME | Self::LEGACY)), _) => {
                    self.legacy = magic == Self::LEGACY;
                    return Ok(true);
                }
                (Some(0x184d_2a50..=0x184d_2a5f), Some(length)) => {
                    if !feed.skip(8 + u64::from(length))? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                (Some(0x184d_2a50..=0x184d_2a5f), None) => return Err(feed.cut()),
                _ => return Err(garbage()),
            }
        }
    }
}
