//! Compressed captures: which compression it is, and decompression ahead of
//! the analysis on a thread of its own.
//!
//! The thread hands over pieces, of which few may wait (see [`Ahead`] and
//! [`room`]), so whatever a small file expands to, memory stays bounded. Of a
//! zstd file several frames are decompressed at a time ([`team`]), of several
//! files the next ones while the first is read.

mod decoder;
mod frames;
mod room;
mod team;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::error::Fault;
use super::input::{ByteInput, Stop};
use decoder::{Decoder, Feed};
pub(super) use room::Buffer;
use room::{Lane, Room};

/// Decompressed bytes handed over at a time: half of a typical L2 cache, so
/// that they are still there when they are analysed.
const PIECE_BYTES: usize = 1 << 20;

/// Room before the bytes of a piece for the rest of the packet that the piece
/// before ended in: of larger ones, which loopback and offloading cards have at
/// most, the piece is copied once more.
pub(super) const HEADROOM: usize = (64 << 10) + 512;

/// Pieces that may wait for the analysis.
const PIECES_AHEAD: usize = 3;

/// Inputs that may run so far ahead when they are read together. Of a larger
/// set, such as the files of a long recording, few are of use at a time: the
/// others wait with a piece of [`STEP_BYTES`] in hand.
const INPUTS_AHEAD: usize = 8;

/// Most bytes that a decoder is asked for at a time. What it decoded in a
/// call that fails is lost, so this bounds what a damaged place costs.
const STEP_BYTES: usize = 128 << 10;

/// A compression that captures come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
    /// The LZ4 frame format, and its legacy predecessor.
    Lz4,
}

impl Compression {
    /// Recognises the first four bytes.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        match u32::from_le_bytes(magic) {
            0xfd2f_b528 => Some(Self::Zstd),
            0x184d_2204 | 0x184c_2102 => Some(Self::Lz4),
            // Skippable frames are shared by both; zstd is what uses them.
            0x184d_2a50..=0x184d_2a5f => Some(Self::Zstd),
            word if word & 0xff_ffff == 0x0008_8b1f => Some(Self::Gzip),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
        })
    }
}

/// How far threads run ahead, and with whom they share the room for it.
#[derive(Clone)]
pub(super) struct Ahead {
    piece_bytes: usize,
    /// Pieces that an input may always have.
    pieces: usize,
    /// Threads for frames of one file; 0 for several files, of which each has
    /// one for all of it. Any other number gives the same pieces.
    team: usize,
    room: Arc<Room>,
}

impl Ahead {
    /// For each of so many inputs that are read together, with so many
    /// `threads` in all.
    pub(super) fn among(inputs: usize, threads: usize) -> Self {
        let room = Room::new(threads);
        let team = if inputs <= 1 { threads.max(1) } else { 0 };
        match inputs {
            ..=INPUTS_AHEAD => {
                Self { piece_bytes: PIECE_BYTES, pieces: PIECES_AHEAD + 1, team, room }
            }
            _ => Self { piece_bytes: STEP_BYTES, pieces: 1, team, room },
        }
    }
}

/// What the decompressing thread says.
enum Piece {
    /// [`HEADROOM`] unused bytes, then decompressed ones.
    Bytes(Buffer),
    /// All was decompressed, or a stop is due.
    End { stopped: bool },
    /// Decompression cannot go on, at this offset of the compressed file.
    Failed(Fault, u64),
}

/// What the receiver of pieces gets.
pub(super) enum Received {
    /// [`HEADROOM`] unused bytes, then decompressed ones.
    Bytes(Buffer),
    /// Nothing yet.
    Nothing,
    /// The end; `stopped` where it was not the end of the data.
    End {
        /// A stop was asked for.
        stopped: bool,
    },
    /// Damage at this offset of the compressed file.
    Failed(Fault, u64),
}

/// The receiving end of a thread that decompresses one input.
pub(super) struct Decompressed {
    compression: Compression,
    pieces: Receiver<Piece>,
    position: Arc<AtomicU64>,
    gone: Arc<AtomicBool>,
    live: bool,
}

impl Decompressed {
    /// Starts to decompress `input`.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub(super) fn start(
        compression: Compression,
        input: ByteInput,
        stop: Stop,
        ahead: &Ahead,
    ) -> io::Result<Self> {
        // What is in it is bounded by what `lane` gives leave for.
        let (sender, pieces) = channel();
        let position = Arc::new(AtomicU64::new(0));
        let gone = Arc::new(AtomicBool::new(false));
        let live = input.live();
        let lane = Lane::new(&ahead.room, ahead.pieces, gone.clone());
        let feed = Feed::new(input, stop, position.clone(), gone.clone());
        let ahead = ahead.clone();
        std::thread::Builder::new()
            .name(format!("perisco-{compression}"))
            .spawn(move || run(compression, feed, &ahead, &lane, &sender))?;
        Ok(Self { compression, pieces, position, gone, live })
    }

    /// Which compression it is.
    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether the compressed bytes come from a stream.
    pub(super) fn live(&self) -> bool {
        self.live
    }

    /// Compressed bytes consumed so far.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// The next piece, waited for as long as `wait`.
    pub(super) fn receive(&mut self, wait: Duration) -> Received {
        match self.pieces.recv_timeout(wait) {
            Ok(Piece::Bytes(mut bytes)) => {
                bytes.arrive();
                Received::Bytes(bytes)
            }
            Ok(Piece::End { stopped }) => Received::End { stopped },
            Ok(Piece::Failed(fault, offset)) => Received::Failed(fault, offset),
            Err(RecvTimeoutError::Timeout) => Received::Nothing,
            Err(RecvTimeoutError::Disconnected) => Received::Failed(
                Fault::Compressed {
                    compression: self.compression,
                    reason: "the decoder gave up".to_owned(),
                },
                self.position(),
            ),
        }
    }
}

impl Drop for Decompressed {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

/// Decompresses until the end, damage, a stop, or until nobody listens.
fn run(compression: Compression, feed: Feed, ahead: &Ahead, lane: &Lane, sender: &Sender<Piece>) {
    let feed = match compression {
        Compression::Zstd if ahead.team > 0 && !feed.live() => {
            let Some(rest) = team::run(feed, ahead, lane, sender) else { return };
            rest
        }
        _ => feed,
    };
    let mut decoder = match Decoder::new(compression, feed) {
        Ok(decoder) => decoder,
        Err(error) => {
            let fault = Fault::Compressed { compression, reason: error.to_string() };
            sender.send(Piece::Failed(fault, 0)).ok();
            return;
        }
    };
    fill_pieces(
        compression,
        &mut decoder,
        ahead.piece_bytes,
        || lane.piece(ahead.piece_bytes).map(|lease| lane.buffer(ahead.piece_bytes).with(lease)),
        |piece| sender.send(piece).is_ok(),
    );
}

/// Sends all that the decoder has, and how it ended, in buffers of
/// `piece_bytes`; ends early where there is no buffer or nobody listens.
fn fill_pieces(
    compression: Compression,
    decoder: &mut Decoder,
    piece_bytes: usize,
    buffer: impl Fn() -> Option<Buffer>,
    send: impl Fn(Piece) -> bool,
) {
    while let Some(mut buffer) = buffer() {
        let last = fill(compression, decoder, &mut buffer.bytes, HEADROOM + piece_bytes);
        if buffer.bytes.len() > HEADROOM && !send(Piece::Bytes(buffer)) {
            return;
        }
        if let Some(last) = last {
            // Nobody listening any more is no trouble.
            send(last);
            return;
        }
    }
}

/// Fills one buffer up to `limit`, or less of it when more input is not there
/// yet. Returns what to say last where there is no more.
fn fill(
    compression: Compression,
    decoder: &mut Decoder,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Option<Piece> {
    while let Some(room) = limit.checked_sub(buffer.len()).filter(|room| *room > 0) {
        match decoder.read(buffer, room.min(STEP_BYTES)) {
            Ok(0) => return Some(Piece::End { stopped: decoder.feed().stopped() }),
            Ok(_) => {}
            // The decoder lacks the rest only because it was told to stop.
            Err(_) if decoder.feed().stopped() => return Some(Piece::End { stopped: true }),
            Err(error) => {
                let fault = match error.kind() {
                    io::ErrorKind::UnexpectedEof => Fault::CompressedCut { compression },
                    _ => Fault::Compressed { compression, reason: error.to_string() },
                };
                return Some(Piece::Failed(fault, decoder.feed().consumed()));
            }
        }
        if decoder.feed().would_wait() {
            break;
        }
    }
    None
}
