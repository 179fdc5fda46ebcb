//! All flows of one shard, by key and by index.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::analyze::flow::Flow;
use crate::analyze::flow::key::FlowKey;

/// Index of a flow in its table; valid until the flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u32);

/// Flows by key. The hash is seeded anew in each run, so that nobody can
/// craft addresses that collide; nothing depends on its order.
#[derive(Default)]
pub struct FlowTable {
    index: HashTable<FlowId>,
    slots: Vec<Option<Box<Flow>>>,
    /// Whether the flow of each slot is closed: apart from the flows, most of
    /// which are closed and long out of the processor's caches.
    closed: Vec<bool>,
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

    fn has_key(&self, id: FlowId, key: &FlowKey) -> bool {
        matches!(self.slots.get(id.0 as usize), Some(Some(flow)) if flow.key == *key)
    }

    /// Adds a flow under its key, which no flow must have.
    pub fn insert(&mut self, flow: Flow) -> FlowId {
        let key = flow.key;
        let flow = match self.boxes.pop() {
            Some(mut used) => {
                *used = flow;
                used
            }
            None => Box::new(flow),
        };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slots.push(None);
                self.closed.push(false);
                FlowId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
            }
        };
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            *slot = Some(flow);
        }
        self.set_closed(id, false);
        self.set_recent(&key, id);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hasher.hash_one(key), id, |id| {
            slots
                .get(id.0 as usize)
                .and_then(Option::as_ref)
                .map_or(0, |flow| hasher.hash_one(flow.key))
        });
        id
    }

    /// Takes a flow's key from it, so that another may have it. The flow
    /// stays until [`FlowTable::remove`].
    pub fn detach(&mut self, id: FlowId) {
        let Some(key) = self.get(id).map(|flow| flow.key) else { return };
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
        let flow = self.slots.get_mut(id.0 as usize)?.take();
        if flow.is_some() {
            self.free.push(id);
        }
        flow
    }

    /// Takes the box of a removed flow, of which nothing more is needed.
    pub fn recycle(&mut self, flow: Box<Flow>) {
        if self.boxes.len() < BOXES {
            self.boxes.push(flow);
        }
    }

    /// Says whether a flow is closed.
    pub fn set_closed(&mut self, id: FlowId, is: bool) {
        if let Some(closed) = self.closed.get_mut(id.0 as usize) {
            *closed = is;
        }
    }

    /// A flow.
    pub fn get(&self, id: FlowId) -> Option<&Flow> {
        self.slots.get(id.0 as usize)?.as_deref()
    }

    /// A flow, to change it.
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.slots.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// How many flows have their key.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Ids of those that are not closed, likewise.
    pub fn open_ids(&self) -> Vec<FlowId> {
        let is_open = |id: &&FlowId| self.closed.get(id.0 as usize) == Some(&false);
        let mut ids: Vec<_> = self.index.iter().filter(is_open).copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Ids of all flows that have their key, in the order of their slots.
    pub fn ids(&self) -> Vec<FlowId> {
        let mut ids: Vec<_> = self.index.iter().copied().collect();
        ids.sort_unstable();
        ids
    }
}
