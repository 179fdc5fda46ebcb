//! All connections: found by addresses, looked at again when something waits,
//! removed when done, bounded in number and memory.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::matching::belongs;
use super::state::{Connection, Context};
use super::{OWNER_TIME, TOTAL_HELD_BYTES};
use crate::record::event::{Event, Kind, Role};
use crate::record::owner::{Owner, Owners};
use crate::record::sink::WriteError;
use crate::record::writer::packets::Packets;

/// Connections known at once, about 600 bytes each. More than a busy proxy
/// has; the least used make room, and are counted.
const MAX_CONNECTIONS: usize = 131_072;

/// Connections of one pair of addresses known at once: the present one, and
/// older ones whose other end is not closed yet.
const MAX_INCARNATIONS: usize = 8;

/// Sockets that listen, known at once; more are not remembered.
const MAX_LISTENERS: usize = 65_536;

/// Time after which what waits is looked at again, nanoseconds: a fraction of
/// the time that it may wait.
const RECHECK_TIME: u64 = OWNER_TIME / 4;

/// Time that a finished connection is remembered, for the other end's copies
/// and retransmissions.
const LINGER_TIME: u64 = 1_000_000_000;

/// A pair of addresses. With `both_ends` each end is a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    /// Namespace, where the addresses mean nothing outside of it.
    scope: u32,
    addresses: [SocketAddr; 2],
    /// Side, if ends are kept apart.
    side: Option<u8>,
}

/// In few words: the derived one hashes an address in six parts.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for address in &self.addresses {
            match address {
                SocketAddr::V4(v4) => {
                    state.write_u64(u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port()))
                }
                SocketAddr::V6(v6) => {
                    state.write_u128(v6.ip().to_bits());
                    state.write_u16(v6.port());
                }
            }
        }
        state.write_u32(self.scope);
        state.write_u8(self.side.map_or(0, |side| 1 + side));
    }
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    key: Key,
    /// The connection of the same key before this one.
    older: Option<u32>,
    connection: Option<Box<Connection>>,
}

/// A slot to be looked at.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: u64,
    slot: u32,
    generation: u32,
}

/// The connections.
#[derive(Debug)]
pub struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    newest: HashMap<Key, u32, foldhash::fast::RandomState>,
    /// In the order of time, all with the same delay.
    waiting: VecDeque<Due>,
    closing: VecDeque<Due>,
    /// Where the search for an unused connection goes on.
    hand: usize,
    held: usize,
    listeners: HashSet<(u32, u16), foldhash::fast::RandomState>,
    both_ends: bool,
    now: u64,
    /// Connections that had to make room.
    pub evicted: u64,
    limit: usize,
}

impl Connections {
    /// None yet; with `both_ends` ends are not merged.
    pub fn new(both_ends: bool) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            newest: HashMap::default(),
            waiting: VecDeque::new(),
            closing: VecDeque::new(),
            hand: 0,
            held: 0,
            listeners: HashSet::default(),
            both_ends,
            now: 0,
            evicted: 0,
            limit: MAX_CONNECTIONS,
        }
    }

    /// As [`Self::new`], for fewer connections.
    #[cfg(test)]
    pub(super) fn with_limit(limit: usize) -> Self {
        Self { limit, ..Self::new(false) }
    }

    /// How many are followed: open, or ended a second ago at most.
    pub fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Remembers that a socket listens.
    pub fn listen(&mut self, event: &Event<'_>) {
        if let Some(local) = event.local
            && self.listeners.len() < MAX_LISTENERS
        {
            self.listeners.insert((event.netns, local.port()));
        }
    }

    /// Takes an event of a socket, with its process where it is known.
    /// False: the event names no connection.
    pub fn event(
        &mut self,
        event: &Event<'_>,
        owner: Option<Arc<Owner>>,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<bool, WriteError> {
        self.now = self.now.max(event.at);
        let Some((local, remote)) = event.local.zip(event.remote) else { return Ok(false) };
        // A socket that listens has an owner, too.
        if remote.port() == 0 {
            return Ok(event.kind == Kind::Owner);
        }
        let side = usize::from(local > remote);
        let addresses = if side == 0 { [local, remote] } else { [remote, local] };
        let slot = match self.find(side, addresses, event) {
            Some(slot) => slot,
            // Nothing is known of it and nothing more will come.
            None if matches!(event.kind, Kind::Close) => return Ok(true),
            None => self.insert(side, addresses, event, packets, owners)?,
        };
        let now = self.now;
        if let Some(connection) = self.slots[slot as usize].connection.as_deref_mut() {
            let mut cx = Context { packets, owners, now, held: &mut self.held };
            connection.event(side, event, owner, &mut cx)?;
        }
        self.schedule(slot);
        if self.held > TOTAL_HELD_BYTES {
            self.relieve(packets, owners)?;
        }
        Ok(true)
    }

    /// Looks at what waited long enough. `now` is a time before which all
    /// events have been given.
    pub fn tick(
        &mut self,
        now: u64,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<(), WriteError> {
        self.now = self.now.max(now);
        // Those that wait on are put behind, with a later time.
        while let Some(due) = self.waiting.front().copied().filter(|due| due.at <= self.now) {
            self.waiting.pop_front();
            let now = self.now;
            let Some(connection) = self.connection(due) else { continue };
            connection.scheduled = false;
            let mut held = self.held;
            if let Some(connection) = self.connection(due) {
                let mut cx = Context { packets, owners, now, held: &mut held };
                connection.proceed(&mut cx)?;
            }
            self.held = held;
            self.schedule(due.slot);
        }
        while let Some(due) = self.closing.front().copied().filter(|due| due.at <= self.now) {
            self.closing.pop_front();
            if self.connection(due).is_some() {
                self.remove(due.slot, packets, owners)?;
            }
        }
        Ok(())
    }

    /// Writes all that waits; nothing comes after this.
    pub fn finish(&mut self, packets: &mut Packets, owners: &Owners) -> Result<(), WriteError> {
        for slot in 0..self.slots.len() {
            self.flush(slot, packets, owners)?;
        }
        Ok(())
    }

    fn connection(&mut self, due: Due) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(due.slot as usize)?;
        slot.connection.as_deref_mut().filter(|_| slot.generation == due.generation)
    }

    fn key(&self, side: usize, addresses: [SocketAddr; 2], event: &Event<'_>) -> Key {
        let local = addresses.iter().any(|address| address.ip().is_loopback());
        Key {
            scope: if local || self.both_ends { event.netns } else { 0 },
            addresses,
            side: self.both_ends.then_some(side as u8),
        }
    }

    fn find(&self, side: usize, addresses: [SocketAddr; 2], event: &Event<'_>) -> Option<u32> {
        let mut next = self.newest.get(&self.key(side, addresses, event)).copied();
        while let Some(at) = next {
            let slot = &self.slots[at as usize];
            if slot.connection.as_deref().is_some_and(|found| belongs(found, side, event)) {
                return Some(at);
            }
            next = slot.older;
        }
        None
    }

    fn insert(
        &mut self,
        side: usize,
        addresses: [SocketAddr; 2],
        event: &Event<'_>,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<u32, WriteError> {
        let key = self.key(side, addresses, event);
        self.limit_incarnations(key, packets, owners)?;
        if self.open() >= self.limit {
            self.evict(packets, owners)?;
        }
        let both_local = !self.both_ends && addresses[0].ip().is_loopback();
        let mut connection = Connection::new(addresses, both_local, self.now);
        if event.role == Role::Unknown {
            let listens =
                |side: usize| self.listeners.contains(&(event.netns, addresses[side].port()));
            // Of the other side only where it is in the same namespace for sure.
            connection.client = if listens(side) {
                Some(1 - side)
            } else if both_local && listens(1 - side) {
                Some(side)
            } else {
                None
            };
        }
        let connection = Some(Box::new(connection));
        let older = self.newest.get(&key).copied();
        let at = if let Some(at) = self.free.pop() {
            let slot = &mut self.slots[at as usize];
            (slot.key, slot.older, slot.connection) = (key, older, connection);
            at
        } else {
            self.slots.push(Slot { generation: 0, key, older, connection });
            (self.slots.len() - 1) as u32
        };
        self.newest.insert(key, at);
        if let Some(older) = older
            && self.is_replaced(older, side, event)
        {
            self.close_soon(older);
        }
        Ok(at)
    }

    /// Whether the addresses of an end are used again: the connection is over,
    /// whatever its other end still reads. The same addresses in another
    /// namespace say nothing.
    fn is_replaced(&self, older: u32, side: usize, event: &Event<'_>) -> bool {
        let older = self.slots[older as usize].connection.as_deref();
        older
            .and_then(|older| older.ends[side].as_ref())
            .is_some_and(|end| end.netns == event.netns)
    }

    /// The oldest connections of a pair of addresses make room.
    fn limit_incarnations(
        &mut self,
        key: Key,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<(), WriteError> {
        let mut chain = Vec::new();
        let mut next = self.newest.get(&key).copied();
        while let Some(at) = next {
            chain.push(at);
            next = self.slots[at as usize].older;
        }
        for &at in chain.iter().skip(MAX_INCARNATIONS - 1) {
            self.remove(at, packets, owners)?;
        }
        Ok(())
    }

    /// Looks at a connection again later, if there is a reason.
    fn schedule(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        let Some(connection) = slot.connection.as_deref_mut() else { return };
        if connection.is_waiting() {
            if !connection.scheduled {
                connection.scheduled = true;
                let due = self.now + RECHECK_TIME;
                self.waiting.push_back(Due { at: due, slot: at, generation: slot.generation });
            }
        } else if connection.is_done() {
            self.close_soon(at);
        }
    }

    fn close_soon(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        if let Some(connection) = slot.connection.as_deref_mut()
            && !connection.closing
        {
            connection.closing = true;
            let due = self.now + LINGER_TIME;
            self.closing.push_back(Due { at: due, slot: at, generation: slot.generation });
        }
    }

    /// Too much waits: what waits longest is written with its gaps.
    fn relieve(&mut self, packets: &mut Packets, owners: &Owners) -> Result<(), WriteError> {
        while self.held > TOTAL_HELD_BYTES
            && let Some(due) = self.waiting.pop_front()
        {
            if let Some(connection) = self.connection(due) {
                connection.scheduled = false;
                self.flush(due.slot as usize, packets, owners)?;
            }
        }
        Ok(())
    }

    fn flush(
        &mut self,
        slot: usize,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<(), WriteError> {
        let mut cx = Context { packets, owners, now: self.now, held: &mut self.held };
        match self.slots[slot].connection.as_deref_mut() {
            Some(connection) => connection.flush(&mut cx),
            None => Ok(()),
        }
    }

    /// A connection that was not used since the hand last came by makes room.
    fn evict(&mut self, packets: &mut Packets, owners: &Owners) -> Result<(), WriteError> {
        // The second round finds one for sure.
        for _ in 0..=2 * self.slots.len() {
            self.hand = (self.hand + 1) % self.slots.len();
            match self.slots[self.hand].connection.as_deref_mut() {
                Some(connection) if connection.used => connection.used = false,
                Some(_) => {
                    self.evicted += 1;
                    return self.remove(self.hand as u32, packets, owners);
                }
                None => {}
            }
        }
        Ok(())
    }

    fn remove(
        &mut self,
        at: u32,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<(), WriteError> {
        self.flush(at as usize, packets, owners)?;
        let slot = &mut self.slots[at as usize];
        let (key, older) = (slot.key, slot.older.take());
        slot.connection = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(at);
        // Take it out of the list of its key.
        if self.newest.get(&key) == Some(&at) {
            match older {
                Some(older) => self.newest.insert(key, older),
                None => self.newest.remove(&key),
            };
            return Ok(());
        }
        let mut next = self.newest.get(&key).copied();
        while let Some(before) = next {
            let slot = &mut self.slots[before as usize];
            if slot.older == Some(at) {
                slot.older = older;
                break;
            }
            next = slot.older;
        }
        Ok(())
    }
}
