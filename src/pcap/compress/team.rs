//! Several zstd frames at a time: whole frames go to a few threads, and what
//! they decompress comes back in the order of the file.
//!
//! A frame that says how long it is goes into one buffer at once; of another
//! the pieces come one by one. What is in memory is bounded: the buffers by
//! the [`Room`](super::room) of the run, pieces by [`JOB_PIECES`], and each
//! job has some MiB of compressed bytes. Where pieces begin depends on the file
//! alone, not on the threads.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::decoder::{Decoder, Feed};
use super::frames::{Job, Then, gather};
use super::room::{Buffer, Lane, Lease};
use super::{Ahead, Compression, HEADROOM, Piece, fill_pieces};
use crate::pcap::error::Fault;

/// Threads that decompress at most: more than the analysis can follow, and a
/// bound for the memory of all.
const MAX_THREADS: usize = 4;

/// Most bytes that are decompressed at once: frames of 16 MiB, the size that
/// the documentation of `perisco record --frame-size` suggests, and the packet
/// that each ends with.
const WHOLE_BYTES: u64 = (17 << 20) as u64;

/// Pieces of a job that may wait for those before it: as many as a frame of
/// that size has.
const JOB_PIECES: usize = 16;

/// A job and where its pieces go.
struct Order {
    job: Job,
    /// Leave to decompress all of it at once.
    whole: Option<(usize, Lease)>,
    pieces: SyncSender<Piece>,
    /// Takes the memory of its compressed bytes.
    used: Sender<Vec<u8>>,
}

/// Decompresses the frames of `feed` to `to`. Returns `feed` where one decoder
/// has to go on alone; None when all is said.
pub(super) fn run(mut feed: Feed, ahead: &Ahead, lane: &Lane, to: &Sender<Piece>) -> Option<Feed> {
    let (first, then) = match gather(&mut feed, Vec::new()) {
        Ok(gathered) => gathered,
        Err(error) => {
            to.send(failed(&error, feed.consumed())).ok();
            return None;
        }
    };
    // Little, or one long frame: no work for several.
    if then != Then::More {
        feed.unread(&first.bytes);
        return Some(feed);
    }
    let (orders, queue) = channel();
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        let threads = ahead.team.min(MAX_THREADS);
        for _ in 0..threads {
            scope.spawn(|| work(&queue, lane, ahead.piece_bytes));
        }
        let used = channel();
        let waiting = VecDeque::new();
        Line { orders, waiting, threads, used, lane, ahead, to }.run(first, feed)
    })
}

/// The jobs under way, in order.
struct Line<'a> {
    orders: Sender<Order>,
    /// Where each begins, whether its pieces have leave to wait, and they.
    waiting: VecDeque<(u64, Receiver<Piece>)>,
    threads: usize,
    used: (Sender<Vec<u8>>, Receiver<Vec<u8>>),
    lane: &'a Lane,
    ahead: &'a Ahead,
    to: &'a Sender<Piece>,
}

impl Line<'_> {
    fn run(&mut self, first: Job, mut feed: Feed) -> Option<Feed> {
        let (mut job, mut then) = (first, Then::More);
        loop {
            if !job.bytes.is_empty() && !self.order(job) {
                return None;
            }
            if then != Then::More {
                break;
            }
            let used = self.used.1.try_recv().unwrap_or_default();
            (job, then) = match gather(&mut feed, used) {
                Ok(gathered) => gathered,
                Err(error) => {
                    if self.forward_all() {
                        self.to.send(failed(&error, feed.consumed())).ok();
                    }
                    return None;
                }
            };
        }
        if !self.forward_all() {
            return None;
        }
        if then == Then::Rest {
            return Some(feed);
        }
        self.to.send(Piece::End { stopped: feed.stopped() }).ok();
        None
    }

    /// Hands out a job, once there is room for it and a thread. False when
    /// nothing more is to be done.
    fn order(&mut self, job: Job) -> bool {
        while self.waiting.len() >= self.threads {
            if !self.forward_first() {
                return false;
            }
        }
        let whole = job.content.filter(|content| *content <= WHOLE_BYTES);
        let whole = match whole.and_then(|content| usize::try_from(content).ok()) {
            None => None,
            Some(content) => match self.leave(content) {
                None => return false,
                Some(lease) => Some((content, lease)),
            },
        };
        let (pieces, receiver) = sync_channel(JOB_PIECES);
        self.waiting.push_back((job.begin, receiver));
        self.orders.send(Order { job, whole, pieces, used: self.used.0.clone() }).is_ok()
    }

    /// Leave for `bytes`. What is done goes on first: only what was received
    /// gives leave back.
    fn leave(&mut self, bytes: usize) -> Option<Lease> {
        loop {
            if let Some(lease) = self.lane.try_large(bytes) {
                return Some(lease);
            }
            match self.waiting.is_empty() {
                true => return self.lane.large(bytes),
                false if !self.forward_first() => return None,
                false => {}
            }
        }
    }

    fn forward_all(&mut self) -> bool {
        while !self.waiting.is_empty() {
            if !self.forward_first() {
                return false;
            }
        }
        true
    }

    /// Sends on what the first job brings.
    fn forward_first(&mut self) -> bool {
        let Some((begin, pieces)) = self.waiting.pop_front() else { return true };
        for piece in pieces {
            let sent = match piece {
                Piece::End { .. } => return true,
                Piece::Failed(fault, offset) => {
                    self.to.send(Piece::Failed(fault, begin + offset)).ok();
                    return false;
                }
                Piece::Bytes(buffer) if buffer.may_wait() => self.to.send(Piece::Bytes(buffer)),
                Piece::Bytes(buffer) => match self.lane.piece(self.ahead.piece_bytes) {
                    None => return false,
                    Some(lease) => self.to.send(Piece::Bytes(buffer.with(lease))),
                },
            };
            if sent.is_err() {
                return false;
            }
        }
        // Its thread is gone, which the end of the channel tells who listens.
        false
    }
}

/// A thread: decompresses jobs until there are no more.
fn work(queue: &Mutex<Receiver<Order>>, lane: &Lane, piece_bytes: usize) {
    let mut decoder: Option<Decoder> = None;
    loop {
        let order = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Order { job, whole, pieces, used }) = order else { return };
        let bytes = match at_once(&mut decoder, job.bytes, whole, lane) {
            Ok((buffer, bytes)) => {
                if buffer.as_ref().len() > HEADROOM {
                    pieces.send(Piece::Bytes(buffer)).ok();
                }
                pieces.send(Piece::End { stopped: false }).ok();
                bytes
            }
            Err(bytes) => in_pieces(&mut decoder, bytes, lane, piece_bytes, &pieces),
        };
        // Nobody gathers any more at the end.
        used.send(bytes).ok();
    }
}

/// Decompresses a job to one buffer. Gives its bytes back where that cannot be
/// done, for one that says why and how far it comes.
fn at_once(
    decoder: &mut Option<Decoder>,
    bytes: Vec<u8>,
    whole: Option<(usize, Lease)>,
    lane: &Lane,
) -> Result<(Buffer, Vec<u8>), Vec<u8>> {
    let Some((content, lease)) = whole else { return Err(bytes) };
    let ready = match decoder.take() {
        Some(used) => Ok(used),
        None => Decoder::new(Compression::Zstd, Feed::memory(Vec::new())),
    };
    let Ok(mut ready) = ready else { return Err(bytes) };
    let mut buffer = lane.buffer(content);
    if !ready.whole(&bytes, &mut buffer.bytes) {
        return Err(bytes);
    }
    *decoder = Some(ready);
    Ok((buffer.with(lease), bytes))
}

/// Decompresses a job piece by piece. Returns memory.
fn in_pieces(
    decoder: &mut Option<Decoder>,
    bytes: Vec<u8>,
    lane: &Lane,
    piece_bytes: usize,
    to: &SyncSender<Piece>,
) -> Vec<u8> {
    let feed = Feed::memory(bytes);
    let ready = match decoder.take() {
        Some(used) => used.with(feed),
        None => Decoder::new(Compression::Zstd, feed),
    };
    match ready {
        Ok(mut ready) => {
            let buffer = || Some(lane.buffer(piece_bytes));
            let send = |piece| to.send(piece).is_ok();
            fill_pieces(Compression::Zstd, &mut ready, piece_bytes, buffer, send);
            *decoder = Some(ready);
        }
        Err(error) => drop(to.send(failed(&error, 0))),
    }
    Vec::new()
}

fn failed(error: &std::io::Error, offset: u64) -> Piece {
    let fault = Fault::Compressed { compression: Compression::Zstd, reason: error.to_string() };
    Piece::Failed(fault, offset)
}
