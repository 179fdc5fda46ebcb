//! Several inputs as one, in the order of time.
//!
//! Each input keeps its own order: only the packets at their heads compete.
//! The earliest goes first; at the same time the input that was named first.
//! A packet without a time counts as simultaneous with its predecessor.
//! Segments of one ring follow one another by their numbers instead, whatever
//! the wall clock was set to between them ([`Chain`]).
//! Only one batch of each input is held.

use std::collections::BTreeMap;
use std::path::Path;

use super::capture::InputInfo;
use super::reader::{Progress, Reader};
use super::walk::room;
use super::{BATCH_BYTES, Batch, Comment};

/// What a recorder says of a segment of a ring: its number there.
const SEGMENT: &str = "perisco.segment=";

/// Not yet taken over into the merged batch.
const UNMAPPED: u32 = u32::MAX;

/// What is said of a capture that was saved out of one.
const SAVED: &str = "perisco.saved=";

/// Merges readers.
#[derive(Default)]
pub(super) struct Merge {
    lanes: Vec<Lane>,
    /// Interfaces of all inputs so far.
    interfaces: u32,
}

/// One input of a merge.
struct Lane {
    reader: Reader,
    batch: Batch,
    /// The packet at its head, by index into `batch`.
    next: usize,
    /// The first comment not taken over.
    next_comment: usize,
    /// Its time, or that of the last packet that had one.
    time: i64,
    /// From chunks of `batch` to chunks of the merged batch.
    chunks: Vec<u32>,
    /// From interfaces of the input to those of the run.
    interfaces: Vec<u32>,
    done: bool,
    /// The lane that has to be at its end before this one begins.
    after: Option<usize>,
}

/// Which inputs follow others: by index, the one before.
pub(super) type Chain = Vec<Option<usize>>;

/// Segments of one ring, which are those in one folder, in the order of their numbers.
pub(super) fn chain(inputs: &[InputInfo]) -> Chain {
    let mut rings: BTreeMap<Option<&Path>, BTreeMap<u64, Vec<usize>>> = BTreeMap::new();
    for (index, input) in inputs.iter().enumerate() {
        let mut notes = input.notes.iter().flat_map(|notes| notes.iter());
        // Cut out of a ring: two of those may be of the same time.
        if notes.clone().any(|note| note.starts_with(SAVED)) {
            continue;
        }
        let number = notes.find_map(|note| note.strip_prefix(SEGMENT)?.parse().ok());
        if let Some(number) = number {
            let ring = rings.entry(Path::new(&input.name).parent()).or_default();
            ring.entry(number).or_default().push(index);
        }
    }
    let mut chain = vec![None; inputs.len()];
    for ring in rings.values() {
        // Two of one number are not of one ring: nothing but their times orders those.
        if ring.values().any(|of_number| of_number.len() > 1) {
            continue;
        }
        let in_order: Vec<usize> = ring.values().flatten().copied().collect();
        for (before, after) in in_order.iter().zip(in_order.iter().skip(1)) {
            if let Some(place) = chain.get_mut(*after) {
                *place = Some(*before);
            }
        }
    }
    chain
}

/// When a lane's turn is: its time, then its index.
type Turn = (i64, usize);

impl Merge {
    /// Of these readers, in the order the user named them; some may follow others.
    pub(super) fn new(readers: Vec<Reader>, chain: &Chain) -> Self {
        let after = chain.iter().copied().chain(std::iter::repeat(None));
        let lanes = readers.into_iter().zip(after);
        let lanes = lanes.map(|(reader, after)| Lane::new(reader, after)).collect();
        Self { lanes, interfaces: 0 }
    }

    /// The readers.
    pub(super) fn readers(&self) -> impl Iterator<Item = &Reader> {
        self.lanes.iter().map(|lane| &lane.reader)
    }

    /// Appends the next packets of all inputs to `out`, which is empty.
    pub(super) fn fill(&mut self, out: &mut Batch) -> Progress {
        // Chunks of the last batch are unknown to this one.
        self.lanes.iter_mut().for_each(|lane| lane.chunks.fill(UNMAPPED));
        let mut bytes = 0;
        while room(out) > 0 && bytes < BATCH_BYTES {
            let mut waiting = false;
            self.release();
            let turn = |lane: &&mut Lane| lane.after.is_none() && lane.is_empty() && !lane.done;
            for lane in self.lanes.iter_mut().filter(turn) {
                waiting |= !lane.refill(out, &mut self.interfaces);
            }
            if waiting {
                // What that input brings may have to go first.
                return Progress::Waiting;
            }
            let Some((index, until)) = self.first_two() else {
                // All that may go are at their ends: now those that follow them may.
                if self.lanes.iter().any(|lane| lane.after.is_some()) {
                    continue;
                }
                return Progress::Done;
            };
            if let Some(lane) = self.lanes.get_mut(index) {
                bytes += lane.take(index, until, BATCH_BYTES - bytes, out);
            }
        }
        Progress::Batch
    }

    /// Lets those begin that had to wait for a lane that is at its end.
    fn release(&mut self) {
        for index in 0..self.lanes.len() {
            let after = self.lanes.get(index).and_then(|lane| lane.after);
            let before = after.and_then(|before| self.lanes.get(before));
            let is_over = before.is_some_and(|before| before.done && before.is_empty());
            if is_over && let Some(lane) = self.lanes.get_mut(index) {
                lane.after = None;
            }
        }
    }

    /// The lane whose turn it is, and the turn that comes after.
    fn first_two(&self) -> Option<(usize, Option<Turn>)> {
        let mut first: Option<Turn> = None;
        let mut second: Option<Turn> = None;
        let ready = |(_, lane): &(usize, &Lane)| lane.after.is_none() && !lane.is_empty();
        for (index, lane) in self.lanes.iter().enumerate().filter(ready) {
            let turn = (lane.time, index);
            if first.is_none_or(|first| turn < first) {
                second = first.replace(turn);
            } else if second.is_none_or(|second| turn < second) {
                second = Some(turn);
            }
        }
        first.map(|(_, index)| (index, second))
    }
}

impl Lane {
    fn new(reader: Reader, after: Option<usize>) -> Self {
        Self {
            after,
            reader,
            batch: Batch::default(),
            next: 0,
            next_comment: 0,
            time: i64::MIN,
            chunks: Vec::new(),
            interfaces: Vec::new(),
            done: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.next >= self.batch.packets.len()
    }

    /// Reads the next batch of the input and hands on all but its packets.
    /// False when the input is a stream that has nothing yet.
    fn refill(&mut self, out: &mut Batch, interfaces: &mut u32) -> bool {
        loop {
            self.batch.clear();
            (self.next, self.next_comment) = (0, 0);
            let progress = self.reader.fill(&mut self.batch);
            for interface in self.batch.interfaces.drain(..) {
                self.interfaces.push(*interfaces);
                *interfaces += 1;
                out.interfaces.push(interface);
            }
            out.names.append(&mut self.batch.names);
            out.damage.append(&mut self.batch.damage);
            out.drops = out.drops.saturating_add(self.batch.drops);
            self.chunks.clear();
            self.chunks.resize(self.batch.chunks.len(), UNMAPPED);
            self.note_time();
            match progress {
                Progress::Done => self.done = true,
                Progress::Waiting if self.is_empty() => return false,
                _ => {}
            }
            if self.done || !self.is_empty() {
                return true;
            }
        }
    }

    /// Takes the time of the packet at the head, if it has one.
    fn note_time(&mut self) {
        let time = self.batch.packets.get(self.next).and_then(|packet| packet.at);
        if let Some(time) = time {
            self.time = time.nanos();
        }
    }

    /// Moves packets to `out` as long as it is this lane's turn, up to about
    /// `limit` bytes. Returns the bytes moved.
    fn take(&mut self, index: usize, until: Option<Turn>, limit: usize, out: &mut Batch) -> usize {
        let mut left = room(out);
        let mut bytes = 0;
        while left > 0 && bytes < limit {
            let Some(packet) = self.batch.packets.get(self.next) else { break };
            if until.is_some_and(|until| (self.time, index) > until) {
                break;
            }
            let mut packet = *packet;
            packet.chunk = self.chunk(packet.chunk, out);
            packet.interface =
                self.interfaces.get(packet.interface as usize).copied().unwrap_or(UNMAPPED);
            self.take_comments(out);
            out.packets.push(packet);
            bytes += packet.captured as usize;
            left -= 1;
            self.next += 1;
            self.note_time();
        }
        bytes
    }

    /// Index in `out` of a chunk of this lane's batch.
    fn chunk(&mut self, chunk: u32, out: &mut Batch) -> u32 {
        let (Some(mapped), Some(shared)) =
            (self.chunks.get_mut(chunk as usize), self.batch.chunks.get(chunk as usize))
        else {
            return UNMAPPED;
        };
        if *mapped == UNMAPPED {
            *mapped = out.chunks.len() as u32;
            out.chunks.push(shared.clone());
        }
        *mapped
    }

    /// Moves the comments of the packet at the head to `out`.
    fn take_comments(&mut self, out: &mut Batch) {
        while let Some(comment) = self.batch.comments.get_mut(self.next_comment)
            && comment.packet == self.next
        {
            let text = std::mem::take(&mut comment.text);
            out.comments.push(Comment {
                packet: out.packets.len(),
                text,
                outbound: comment.outbound,
            });
            self.next_comment += 1;
        }
    }
}
