//! Segments that come before others wait for those, and all blocks behind them with them.

use super::{Fate, Interface, Item, Redactor};
use crate::analyze::packet::Dissected;
use crate::redact::block::PACKET_DATA;
use crate::redact::flow::Direction;

/// Capture time for which a segment waits for those before it, in nanoseconds: what TCP sends
/// again after a timeout comes within it (RFC 6298, section 2.4).
const WAIT_NANOS: u64 = 1_000_000_000;

/// Bytes of blocks that wait at once.
const WAIT_BYTES: usize = 16 << 20;

impl Redactor {
    /// Keeps a block that comes too early.
    pub(super) fn wait(
        &mut self,
        block: Vec<u8>,
        interface: Interface,
        direction: Direction,
        time: u64,
    ) {
        let number = self.gone + self.queue.len() as u64;
        let seq = self.seq_of(&block, interface);
        self.waiting.entry(direction).or_default().push((seq, number));
        let order = self.order;
        self.enqueue(Item::Waiting { block, interface, order, direction, time });
    }

    fn seq_of(&mut self, block: &[u8], interface: Interface) -> u32 {
        let data = block.get(PACKET_DATA..).unwrap_or_default();
        let captured = self.order.u32(block, 20).unwrap_or(0) as usize;
        let original = self.order.u32(block, 24).unwrap_or(0);
        let data = data.get(..captured).unwrap_or_default();
        match self.dissector.dissect(interface.link, data, original, None) {
            Dissected::Segment(segment) => segment.seq,
            _ => 0,
        }
    }

    /// Reads what need not wait any more, lets go what is ready, and gives up waiting for what
    /// does not come.
    pub(super) fn settle(&mut self, read: Option<Direction>, now: u64) {
        if let Some(direction) = read {
            self.catch_up(&direction);
        }
        self.release();
        loop {
            let Some(Item::Waiting { time, .. }) = self.queue.front() else { return };
            if self.queued <= WAIT_BYTES && now.saturating_sub(*time) <= WAIT_NANOS {
                return;
            }
            self.give_up();
        }
    }

    /// Reads segments of a direction whose turn has come.
    fn catch_up(&mut self, direction: &Direction) {
        while let Some(number) = self.due(direction) {
            self.read(number, direction, true);
        }
    }

    /// The segment of a direction that nothing is missing before any more.
    fn due(&self, direction: &Direction) -> Option<u64> {
        let next = self.flows.next(direction)?;
        let waiting = self.waiting.get(direction)?;
        let due = |(seq, _): &&(u32, u64)| seq.wrapping_sub(next).cast_signed() <= 0;
        waiting.iter().find(due).map(|(_, number)| *number)
    }

    /// Reads a segment that waited.
    fn read(&mut self, number: u64, direction: &Direction, patient: bool) {
        if let Some(list) = self.waiting.get_mut(direction) {
            list.retain(|(_, other)| *other != number);
            if list.is_empty() {
                self.waiting.remove(direction);
            }
        }
        let place = usize::try_from(number.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        let Some(item) = self.queue.get_mut(place) else { return };
        let Item::Waiting { block, interface, order, .. } = item else { return };
        let (mut block, interface, order) = (std::mem::take(block), *interface, *order);
        self.queued = self.queued.saturating_sub(block.len());
        if let Fate::Wait(_) = self.redact(&mut block, 0, order, interface, patient) {
            // It was due: it cannot be early. What would be read by nobody does not leave.
            block.clear();
            self.counts.blocks += 1;
        }
        self.queued += block.len();
        if let Some(item) = self.queue.get_mut(place) {
            *item = Item::Ready(block);
        }
    }

    /// The first block waits no longer: what is missing before the segments of its direction
    /// does not come, or comes late.
    pub(super) fn give_up(&mut self) {
        if let Some(Item::Waiting { direction, .. }) = self.queue.front() {
            let direction = *direction;
            let next = self.flows.next(&direction).unwrap_or(0);
            let list = self.waiting.get(&direction);
            let ahead = |(seq, _): &&(u32, u64)| seq.wrapping_sub(next);
            let first = list.and_then(|list| list.iter().min_by_key(ahead)).copied();
            if let Some((_, number)) = first {
                self.read(number, &direction, false);
            }
            self.catch_up(&direction);
        }
        self.release();
    }

    /// Blocks leave, up to the first that waits.
    fn release(&mut self) {
        while let Some(Item::Ready(_)) = self.queue.front() {
            let Some(Item::Ready(block)) = self.queue.pop_front() else { return };
            self.queued = self.queued.saturating_sub(block.len());
            self.gone += 1;
            self.out.extend_from_slice(&block);
        }
    }
}
