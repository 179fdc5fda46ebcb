//! What may wait decompressed: how many bytes over all inputs of a run, and
//! the buffers they lie in, which are used again: fresh memory costs a page
//! fault for each 4 KiB, a fifth of what decompressing them does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::HEADROOM;
use crate::pcap::input::TICK;

/// Bytes that may wait decompressed, over all inputs, apart from the few
/// pieces that each of them may always have: four frames of 16 MiB.
const ROOM_BYTES: usize = 68 << 20;

/// Buffers kept for reuse: what the analysis lets go of while others are
/// filled.
const SPARE_BUFFERS: usize = 8;

/// The room of a run.
pub(super) struct Room {
    state: Mutex<State>,
    /// Lanes that decompress at a time: the first, which is being read, and
    /// the next ones, which may do so into the common room.
    threads: usize,
}

struct State {
    /// Less than 0 where a frame had to be let in that is larger.
    free: isize,
    lanes: Vec<LaneState>,
    spare: Vec<Vec<u8>>,
}

struct LaneState {
    /// Pieces that count as its own.
    own: usize,
    /// Bytes of the common room that it has.
    taken: usize,
    finished: bool,
    changed: Arc<Condvar>,
}

impl Room {
    pub(super) fn new(threads: usize) -> Arc<Self> {
        let free = ROOM_BYTES as isize;
        let state = State { free, lanes: Vec::new(), spare: Vec::new() };
        Arc::new(Self { state: Mutex::new(state), threads: threads.max(1) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and counts are whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a lane is one of the next after the first that is not finished:
    /// of a set of files they are the ones that will be read next. The first
    /// needs no more than its few pieces, which stay in the processor's caches.
    fn is_next(&self, lane: usize, threads: usize) -> bool {
        let unfinished = self.lanes.iter().enumerate().filter(|(_, lane)| !lane.finished);
        unfinished.take(threads).skip(1).any(|(index, _)| index == lane)
    }

    /// Wakes the lanes that may go on now.
    fn wake(&self, lane: usize, threads: usize) {
        if let Some(lane) = self.lanes.get(lane) {
            lane.changed.notify_all();
        }
        for lane in self.lanes.iter().filter(|lane| !lane.finished).take(threads) {
            lane.changed.notify_all();
        }
    }
}

/// The share of one input.
pub(super) struct Lane {
    room: Arc<Room>,
    index: usize,
    /// Pieces that it may always have.
    own: usize,
    gone: Arc<AtomicBool>,
    changed: Arc<Condvar>,
}

impl Lane {
    /// A further input, of which nobody wants more once `gone` is set. Earlier
    /// ones go first.
    pub(super) fn new(room: &Arc<Room>, own: usize, gone: Arc<AtomicBool>) -> Self {
        let changed = Arc::new(Condvar::new());
        let mut state = room.lock();
        let lane = LaneState { own: 0, taken: 0, finished: false, changed: changed.clone() };
        state.lanes.push(lane);
        let index = state.lanes.len() - 1;
        drop(state);
        Self { room: room.clone(), index, own: own.max(1), gone, changed }
    }

    /// Leave for one more piece of `bytes`; waited for. None where nobody
    /// wants it any more.
    pub(super) fn piece(&self, bytes: usize) -> Option<Lease> {
        self.wait(|state| {
            let next = state.is_next(self.index, self.room.threads);
            let room = state.free >= bytes as isize;
            let lane = state.lanes.get_mut(self.index)?;
            if lane.own < self.own {
                lane.own += 1;
                return Some(Taken::Own);
            }
            (next && room).then_some(Taken::Common(bytes))
        })
    }

    /// Leave for something larger, if there is room; a lane that has nothing
    /// may always have it.
    pub(super) fn try_large(&self, bytes: usize) -> Option<Lease> {
        let mut state = self.room.lock();
        self.has_room(&state, bytes).then(|| self.lease(&mut state, Taken::Common(bytes)))
    }

    /// The same, waited for.
    pub(super) fn large(&self, bytes: usize) -> Option<Lease> {
        self.wait(|state| self.has_room(state, bytes).then_some(Taken::Common(bytes)))
    }

    fn has_room(&self, state: &State, bytes: usize) -> bool {
        let lane = state.lanes.get(self.index);
        state.free >= bytes as isize || lane.is_none_or(|lane| lane.own == 0 && lane.taken == 0)
    }

    fn wait(&self, mut grant: impl FnMut(&mut State) -> Option<Taken>) -> Option<Lease> {
        let mut state = self.room.lock();
        while !self.gone.load(Ordering::Relaxed) {
            if let Some(taken) = grant(&mut state) {
                return Some(self.lease(&mut state, taken));
            }
            // Nobody wakes it for `gone`.
            let woken = self.changed.wait_timeout(state, TICK);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    fn lease(&self, state: &mut State, taken: Taken) -> Lease {
        if let (Taken::Common(bytes), Some(lane)) = (taken, state.lanes.get_mut(self.index)) {
            state.free -= bytes as isize;
            lane.taken += bytes;
        }
        Lease { room: self.room.clone(), lane: self.index, taken }
    }

    /// An empty buffer with [`HEADROOM`] unused bytes and room for `bytes` more.
    pub(super) fn buffer(&self, bytes: usize) -> Buffer {
        let wanted = HEADROOM + bytes;
        let mut state = self.room.lock();
        // The last one is the warmest.
        let fits = state.spare.iter().rposition(|spare| spare.capacity() >= wanted);
        // What does not fit makes way for what does.
        let small = fits.is_none() && !state.spare.is_empty();
        let spare = fits.or(small.then_some(0)).map(|at| state.spare.remove(at));
        drop(state);
        let mut bytes = spare.filter(|_| !small).unwrap_or_else(|| Vec::with_capacity(wanted));
        bytes.truncate(HEADROOM);
        bytes.resize(HEADROOM, 0);
        Buffer { bytes, room: Some(self.room.clone()), lease: None }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        if let Some(lane) = state.lanes.get_mut(self.index) {
            lane.finished = true;
        }
        state.wake(self.index, self.room.threads);
    }
}

/// Leave for bytes that wait; given back when dropped.
pub(super) struct Lease {
    room: Arc<Room>,
    lane: usize,
    taken: Taken,
}

#[derive(Clone, Copy)]
enum Taken {
    /// A piece of those that the lane may always have.
    Own,
    /// Bytes of the common room.
    Common(usize),
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        if let Some(lane) = state.lanes.get_mut(self.lane) {
            match self.taken {
                Taken::Own => lane.own = lane.own.saturating_sub(1),
                Taken::Common(bytes) => {
                    lane.taken = lane.taken.saturating_sub(bytes);
                    state.free += bytes as isize;
                }
            }
        }
        state.wake(self.lane, self.room.threads);
    }
}

/// Decompressed bytes behind [`HEADROOM`] unused ones. Its memory is used again.
pub(in crate::pcap) struct Buffer {
    pub(super) bytes: Vec<u8>,
    room: Option<Arc<Room>>,
    lease: Option<Lease>,
}

impl Buffer {
    /// With leave to wait.
    pub(super) fn with(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Whether it has leave to wait.
    pub(super) fn may_wait(&self) -> bool {
        self.lease.is_some()
    }

    /// It waits no more.
    pub(super) fn arrive(&mut self) {
        self.lease = None;
    }

    /// Its bytes, to write into the unused ones.
    pub(in crate::pcap) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            let bytes = std::mem::take(&mut self.bytes);
            let mut state = room.lock();
            if state.spare.len() < SPARE_BUFFERS {
                state.spare.push(bytes);
            }
        }
    }
}
