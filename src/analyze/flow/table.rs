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
    free: Vec<FlowId>,
    hasher: RandomState,
    /// Flows found last, by a cheap hash of their key: whoever crafts keys
    /// that share a place gains nothing but the look-up in `index`.
    recent: Vec<FlowId>,
}

/// No flow has this index.
const NOBODY: FlowId = FlowId(u32::MAX);

/// Places for flows found last.
const RECENT: usize = 256;

impl FlowTable {
    /// The flow that now has this key.
    #[inline]
    pub fn find(&mut self, key: &FlowKey) -> Option<FlowId> {
        let place = key.place(RECENT);
        match self.recent.get(place) {
            Some(id) if self.has_key(*id, key) => Some(*id),
            _ => self.look_up(key, place),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, key: &FlowKey, place: usize) -> Option<FlowId> {
        let hash = self.hasher.hash_one(key);
        let id = *self.index.find(hash, |id| self.has_key(*id, key))?;
        if self.recent.is_empty() {
            self.recent.resize(RECENT, NOBODY);
        }
        if let Some(recent) = self.recent.get_mut(place) {
            *recent = id;
        }
        Some(id)
    }

    fn has_key(&self, id: FlowId, key: &FlowKey) -> bool {
        matches!(self.slots.get(id.0 as usize), Some(Some(flow)) if flow.key == *key)
    }

    /// Adds a flow under its key, which no flow must have.
    pub fn insert(&mut self, flow: Flow) -> FlowId {
        let key = flow.key;
        let flow = Some(Box::new(flow));
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.slots.get_mut(id.0 as usize) {
                    *slot = flow;
                }
                id
            }
            None => {
                self.slots.push(flow);
                FlowId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
            }
        };
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
        if let Some(recent) = self.recent.get_mut(key.place(RECENT)).filter(|recent| **recent == id)
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

    /// Ids of all flows that have their key, in the order of their slots.
    pub fn ids(&self) -> Vec<FlowId> {
        let mut ids: Vec<_> = self.index.iter().copied().collect();
        ids.sort_unstable();
        ids
    }
}
