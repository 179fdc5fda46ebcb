//! The recording thread's side of the [`Board`]: gathers what a snapshot has
//! while the recording runs. Without a board it does nothing.

use std::sync::Arc;

use super::{Board, Metric, Snapshot, Stage};
use crate::record::counters::Counters;
use crate::record::writer::{Loss, Writer};

/// What is gathered between two snapshots.
#[derive(Debug, Default)]
pub struct Watch {
    board: Option<Arc<Board>>,
    /// What the next snapshot begins with: all that does not change, and the
    /// events so far.
    next: Snapshot,
    /// The losses as counted for the last snapshot, and as told there.
    counted: Vec<Loss>,
    told: Vec<Loss>,
}

impl Watch {
    /// For `board`, if there is one.
    pub fn new(board: Option<Arc<Board>>) -> Self {
        Self { board, ..Self::default() }
    }

    /// All programs are attached.
    pub fn begin(&mut self, back_end: String, ring_bytes: u64) {
        self.next.back_end = back_end;
        self.next.ring_bytes = ring_bytes;
        if let Some(board) = &self.board {
            board.enter(Stage::Recording);
        }
    }

    /// A round begins; `used` says what is in the ring.
    pub fn turn(&mut self, used: impl FnOnce() -> u64) {
        if let Some(board) = &self.board {
            board.turn();
            self.next.ring_used_bytes = self.next.ring_used_bytes.max(used());
        }
    }

    /// So many events were read.
    pub fn read(&mut self, events: usize) {
        self.next.events += events as u64;
    }

    /// Writing has failed.
    pub fn fail(&self) {
        if let Some(board) = &self.board {
            board.fail();
        }
    }

    /// The recording ends.
    pub fn end(&self) {
        if let Some(board) = &self.board {
            board.enter(Stage::Ending);
        }
    }

    /// Tells where it is; `more` is told with it. `writer` is None once
    /// writing has failed: its figures then stay as they were.
    pub fn publish(
        &mut self,
        counters: Counters,
        losses: &[Loss],
        writer: Option<&Writer>,
        more: Vec<Metric>,
    ) {
        let Some(board) = &self.board else { return };
        self.told = settled(losses, &self.counted, &self.told);
        self.counted = losses.to_vec();
        let next = &mut self.next;
        next.counters = counters;
        next.losses.clone_from(&self.told);
        match writer {
            Some(writer) => {
                let (summary, files) = writer.so_far();
                next.summary = summary;
                next.open = writer.open_connections();
                (next.disk_bytes, next.disk_files) = (files.disk_bytes, files.disk_files);
            }
            None => next.write_errors = 1,
        }
        next.more = more;
        board.publish(next.clone());
        next.ring_used_bytes = 0;
    }
}

/// The losses as a counter that only grows can tell them. What found the ring
/// full is taken back within microseconds where the other end of the
/// connection had it, so the smaller of two counts half a second apart is true;
/// the larger would never be forgotten.
pub(super) fn settled(now: &[Loss], before: &[Loss], told: &[Loss]) -> Vec<Loss> {
    let of = |list: &[Loss], reason: &str| {
        list.iter()
            .find(|loss| loss.reason == reason)
            .map_or((0, 0), |loss| (loss.events, loss.bytes))
    };
    let settle = |loss: &Loss| {
        let ((events, bytes), (told, told_bytes)) =
            (of(before, loss.reason), of(told, loss.reason));
        Loss {
            events: loss.events.min(events).max(told),
            bytes: loss.bytes.min(bytes).max(told_bytes),
            ..*loss
        }
    };
    now.iter().map(settle).collect()
}
