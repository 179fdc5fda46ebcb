//! All flows of one shard, by key and by index.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::analyze::flow::Flow;
use crate::analyze::flow::begun::Begun;
use crate::analyze::flow::closed::Closed;
use crate::analyze::flow::key::FlowKey;
use crate::analyze::flow::parked::Parked;
use crate::analyze::limits::{FLOWS, SHARDS};
use crate::time::Timestamp;

/// Index of a flow in its table; valid until the flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u32);

/// A place in the table.
#[derive(Default)]
enum Slot {
    #[default]
    Free,
    Flow(Box<Flow>),
    /// In place, so that nothing else need be loaded to tell whose it is.
    Closed(Closed),
    /// Likewise.
    Begun(Begun),
    /// Likewise.
    Parked(Parked),
}

/// Nothing is wasted on telling them apart.
const _: () = assert!(size_of::<Slot>() <= 104);

impl Slot {
    #[inline]
    fn key(&self) -> Option<FlowKey> {
        match self {
            Self::Free => None,
            Self::Flow(flow) => Some(flow.key),
            Self::Closed(closed) => Some(closed.key),
            Self::Begun(begun) => Some(begun.key),
            Self::Parked(parked) => Some(parked.key()),
        }
    }

    #[inline(never)]
    fn is_of(&self, key: &FlowKey) -> bool {
        self.key() == Some(*key)
    }
}

/// Flows by key. The hash is seeded anew in each run, so that nobody can
/// craft addresses that collide; nothing depends on its order.
#[derive(Default)]
pub struct FlowTable {
    index: HashTable<FlowId>,
    slots: Vec<Slot>,
    /// Boxes of removed flows, to use again: it is the boxes that are kept.
    #[allow(clippy::vec_box)]
    boxes: Vec<Box<Flow>>,
    free: Vec<FlowId>,
    hasher: RandomState,
    /// Flows found last, by a cheap hash of their key, and that hash, so that
    /// others need not be looked at: whoever crafts keys that share a place
    /// gains nothing but the look-up in `index`.
    recent: Vec<(u64, FlowId)>,
}

/// No flow has this index.
const NOBODY: FlowId = FlowId(u32::MAX);

/// Places for flows found last.
const RECENT: usize = 256;

/// Slots from which on there are many.
const MANY: usize = 1024;

/// Slots for as many as there are at once by default, and an eighth of those
/// that have just made room for others.
const ROOM: usize = FLOWS / SHARDS * 9 / 8;

/// Boxes kept for reuse: more than a round frees or needs.
const BOXES: usize = 64;

impl FlowTable {
    /// The flow that now has this key.
    #[inline]
    pub fn find(&mut self, key: &FlowKey) -> Option<FlowId> {
        let (mix, place) = (key.mix(), key.place(RECENT));
        match self.recent.get(place) {
            Some((known, id)) if *known == mix && self.has_key(*id, key) => Some(*id),
            _ => self.look_up(key),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, key: &FlowKey) -> Option<FlowId> {
        let hash = self.hasher.hash_one(key);
        let id = *self.index.find(hash, |id| self.has_key(*id, key))?;
        self.set_recent(key, id);
        Some(id)
    }

    fn set_recent(&mut self, key: &FlowKey, id: FlowId) {
        if self.recent.is_empty() {
            self.recent.resize(RECENT, (0, NOBODY));
        }
        if let Some(recent) = self.recent.get_mut(key.place(RECENT)) {
            *recent = (key.mix(), id);
        }
    }

    #[inline(always)]
    fn has_key(&self, id: FlowId, key: &FlowKey) -> bool {
        match self.slots.get(id.0 as usize) {
            // Nearly always.
            Some(Slot::Flow(flow)) => flow.key == *key,
            Some(other) => other.is_of(key),
            None => false,
        }
    }

    /// Adds a flow under its key, which no flow must have.
    pub fn insert(&mut self, flow: Flow) -> FlowId {
        let key = flow.key;
        let slot = Slot::Flow(self.boxed(flow));
        self.insert_slot(&key, slot)
    }

    /// Adds a connection that has only begun, likewise.
    pub fn insert_small(&mut self, begun: Begun) -> FlowId {
        let key = begun.key;
        self.insert_slot(&key, Slot::Begun(begun))
    }

    /// Puts what has this key into a slot of its own, here where it is made:
    /// to hand a slot on is to copy it.
    #[inline(always)]
    fn insert_slot(&mut self, key: &FlowKey, slot: Slot) -> FlowId {
        let id = match self.free.pop() {
            Some(id) => {
                self.put(id, slot);
                id
            }
            None => {
                if self.slots.len() == self.slots.capacity() {
                    self.make_room();
                }
                self.slots.push(slot);
                FlowId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.set_recent(key, id);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hasher.hash_one(key), id, |id| {
            slots.get(id.0 as usize).and_then(Slot::key).map_or(0, |key| hasher.hash_one(key))
        });
        id
    }

    /// Where there are many, makes room for as many as there may be at once:
    /// what grows by doubling leaves as much behind, in pieces that nothing
    /// else fits in. Memory that nothing was written to takes none.
    #[cold]
    fn make_room(&mut self) {
        let len = self.slots.len();
        if len >= MANY {
            self.slots.reserve_exact(ROOM.saturating_sub(len).max(len));
        }
    }

    fn boxed(&mut self, flow: Flow) -> Box<Flow> {
        match self.boxes.pop() {
            Some(mut used) => {
                *used = flow;
                used
            }
            None => Box::new(flow),
        }
    }

    fn put(&mut self, id: FlowId, slot: Slot) {
        if let Some(place) = self.slots.get_mut(id.0 as usize) {
            *place = slot;
        }
    }

    /// Keeps of a flow only that it has closed; its box is for the next.
    pub fn close(&mut self, id: FlowId, closed: Closed) {
        let Some(place) = self.slots.get_mut(id.0 as usize) else { return };
        if let Slot::Flow(flow) = std::mem::replace(place, Slot::Closed(closed)) {
            self.recycle(flow);
        }
    }

    /// Puts a flow in the place of a closed one, or of one that has only begun,
    /// whose key it has.
    pub fn reopen(&mut self, id: FlowId, flow: Flow) {
        let slot = Slot::Flow(self.boxed(flow));
        self.put(id, slot);
    }

    /// Puts a connection that has only begun in the place of a closed one.
    pub fn reopen_small(&mut self, id: FlowId, begun: Begun) {
        self.put(id, Slot::Begun(begun));
    }

    /// Forgets a connection that is closed or has only begun.
    pub fn forget(&mut self, id: FlowId) {
        self.detach(id);
        if self.closed(id).is_some() || self.begun(id).is_some() {
            self.put(id, Slot::Free);
            self.free.push(id);
        }
    }

    /// Takes a flow's key from it, so that another may have it. The flow
    /// stays until [`FlowTable::remove`].
    pub fn detach(&mut self, id: FlowId) {
        let slot = self.slots.get(id.0 as usize);
        let Some(key) = slot.and_then(Slot::key) else { return };
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.index.find_entry(hash, |known| *known == id) {
            entry.remove();
        }
        // It keeps its key and must not be found by it.
        if let Some((_, recent)) = self.recent.get_mut(key.place(RECENT))
            && *recent == id
        {
            *recent = NOBODY;
        }
    }

    /// Removes a detached flow.
    pub fn remove(&mut self, id: FlowId) -> Option<Box<Flow>> {
        let place = self.slots.get_mut(id.0 as usize)?;
        match std::mem::take(place) {
            Slot::Flow(flow) => {
                self.free.push(id);
                Some(flow)
            }
            other => {
                *place = other;
                None
            }
        }
    }

    /// Takes the box of a removed flow, of which nothing more is needed.
    pub fn recycle(&mut self, flow: Box<Flow>) {
        if self.boxes.len() < BOXES {
            self.boxes.push(flow);
        }
    }

    /// A flow.
    #[inline]
    pub fn get(&self, id: FlowId) -> Option<&Flow> {
        match self.slots.get(id.0 as usize)? {
            Slot::Flow(flow) => Some(flow),
            _ => None,
        }
    }

    /// A flow, to change it.
    #[inline]
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        match self.slots.get_mut(id.0 as usize)? {
            Slot::Flow(flow) => Some(flow),
            _ => None,
        }
    }

    /// A connection of which only this is kept.
    pub fn closed(&self, id: FlowId) -> Option<&Closed> {
        match self.slots.get(id.0 as usize)? {
            Slot::Closed(closed) => Some(closed),
            _ => None,
        }
    }

    /// A connection of which only a SYN is kept.
    pub fn begun(&self, id: FlowId) -> Option<&Begun> {
        match self.slots.get(id.0 as usize)? {
            Slot::Begun(begun) => Some(begun),
            _ => None,
        }
    }

    /// Keeps of a flow only what its future depends on; its box is for the next.
    pub fn park(&mut self, id: FlowId, parked: Parked) {
        let Some(place) = self.slots.get_mut(id.0 as usize) else { return };
        if let Slot::Flow(flow) = std::mem::replace(place, Slot::Parked(parked)) {
            self.recycle(flow);
        }
    }

    /// A connection that is parked.
    pub fn parked(&self, id: FlowId) -> Option<&Parked> {
        match self.slots.get(id.0 as usize)? {
            Slot::Parked(parked) => Some(parked),
            _ => None,
        }
    }

    /// Takes a parked connection out, for [`FlowTable::reopen`] to put the flow
    /// in its place.
    pub fn take_parked(&mut self, id: FlowId) -> Option<Parked> {
        let place = self.slots.get_mut(id.0 as usize)?;
        match std::mem::take(place) {
            Slot::Parked(parked) => Some(parked),
            other => {
                *place = other;
                None
            }
        }
    }

    /// All flows that have not been removed, closed ones too, likewise.
    pub fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Flow(flow) => Some(&**flow),
            _ => None,
        })
    }

    /// All connections that are parked, in the order of their slots.
    pub fn all_parked(&self) -> impl Iterator<Item = (FlowId, &Parked)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| match slot {
            Slot::Parked(parked) => Some((FlowId(index), parked)),
            _ => None,
        })
    }

    /// Numbers a connection.
    pub fn number(&mut self, id: FlowId, number: u64) {
        match self.slots.get_mut(id.0 as usize) {
            Some(Slot::Flow(flow)) => flow.number = number,
            Some(Slot::Begun(begun)) => begun.number = number,
            _ => {}
        }
    }

    /// Number of the first packet of a connection that is not closed.
    pub fn first_packet(&self, id: FlowId) -> Option<u64> {
        match self.slots.get(id.0 as usize)? {
            Slot::Flow(flow) => Some(flow.first_packet),
            Slot::Begun(begun) => Some(begun.packet),
            Slot::Parked(parked) => Some(parked.first_packet),
            _ => None,
        }
    }

    /// How many flows have their key.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Ids of the flows that are not closed, in the order of their slots.
    pub fn open_ids(&self) -> Vec<FlowId> {
        let id_of = |(index, slot): (usize, &Slot)| match slot {
            Slot::Flow(flow) if flow.closed.is_none() && !flow.over => {
                Some(FlowId(u32::try_from(index).ok()?))
            }
            _ => None,
        };
        self.slots.iter().enumerate().filter_map(id_of).collect()
    }

    /// Ids of those that have only begun or are parked and had no packet for
    /// longer than `limit`, likewise.
    pub fn idle_small(&self, now: Option<Timestamp>, limit: i64) -> Vec<FlowId> {
        let id_of = |(index, slot): (usize, &Slot)| match slot {
            Slot::Begun(begun) if begun.is_idle(now, limit) => {
                Some(FlowId(u32::try_from(index).ok()?))
            }
            Slot::Parked(parked) if parked.is_idle(now, limit) => {
                Some(FlowId(u32::try_from(index).ok()?))
            }
            _ => None,
        };
        self.slots.iter().enumerate().filter_map(id_of).collect()
    }

    /// Ids of all that have their key, closed ones too, in the same order.
    pub fn ids(&self) -> Vec<FlowId> {
        let mut ids: Vec<_> = self.index.iter().copied().collect();
        ids.sort_unstable();
        ids
    }
}
