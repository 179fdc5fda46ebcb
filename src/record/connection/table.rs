//! All connections: found by addresses, looked at again when something waits,
//! removed when done, bounded in number and memory.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::matching::belongs;
use super::nat::Numbers;
use super::room::Hand;
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
pub(super) struct Slot {
    generation: u32,
    key: Key,
    /// The connection of the same key before this one.
    older: Option<u32>,
    pub(super) connection: Option<Box<Connection>>,
    /// It was taken into another, as the other end of a NAT.
    into: Option<Taken>,
    /// The one that was taken in.
    took: Option<u32>,
    /// By which it is found from the other end of a NAT.
    numbers: Option<Numbers>,
}

/// Where a connection went that was taken into another.
#[derive(Clone, Copy, Debug)]
struct Taken {
    slot: u32,
    /// Its sides are the other way round there.
    swapped: bool,
}

/// A slot to be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    at: u64,
    pub(super) slot: u32,
    generation: u32,
}

/// The connections.
#[derive(Debug)]
pub struct Connections {
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
    newest: HashMap<Key, u32, foldhash::fast::RandomState>,
    /// Connections seen from one end, by their initial sequence numbers.
    by_numbers: HashMap<Numbers, u32, foldhash::fast::RandomState>,
    /// In the order of time, all with the same delay.
    pub(super) waiting: VecDeque<Due>,
    closing: VecDeque<Due>,
    /// Who makes room.
    pub(super) hand: Hand,
    pub(super) held: usize,
    listeners: HashSet<(u32, u16), foldhash::fast::RandomState>,
    both_ends: bool,
    pub(super) now: u64,
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
            by_numbers: HashMap::default(),
            waiting: VecDeque::new(),
            closing: VecDeque::new(),
            hand: Hand::default(),
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
        let (slot, side) = match self.find(side, addresses, event) {
            Some(found) => found,
            // Nothing is known of it and nothing more will come.
            None if matches!(event.kind, Kind::Close) => return Ok(true),
            None => (self.insert(side, addresses, event, packets, owners)?, side),
        };
        let mut cx = Context { packets, owners, now: self.now, held: &mut self.held };
        if let Some(connection) = self.slots[slot as usize].connection.as_deref_mut() {
            connection.event(side, event, owner, &mut cx)?;
        }
        let slot = self.look_behind_nat(slot, packets, owners)?;
        let mut cx = Context { packets, owners, now: self.now, held: &mut self.held };
        if let Some(connection) = self.slots[slot as usize].connection.as_deref_mut() {
            connection.proceed(&mut cx)?;
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

    pub(super) fn connection(&mut self, due: Due) -> Option<&mut Connection> {
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

    /// The connection of an event, and the side that its end has there.
    fn find(
        &self,
        side: usize,
        addresses: [SocketAddr; 2],
        event: &Event<'_>,
    ) -> Option<(u32, usize)> {
        let mut next = self.newest.get(&self.key(side, addresses, event)).copied();
        while let Some(at) = next {
            let slot = &self.slots[at as usize];
            let (at, side) = match slot.into {
                Some(taken) if taken.swapped => (taken.slot, 1 - side),
                Some(taken) => (taken.slot, side),
                None => (at, side),
            };
            let connection = self.slots[at as usize].connection.as_deref();
            if connection.is_some_and(|found| belongs(found, side, event)) {
                return Some((at, side));
            }
            next = slot.older;
        }
        None
    }

    /// Once both initial numbers of a connection are known: is one with these
    /// numbers known from its other end, which has other addresses? Returns the
    /// slot in which the connection is then.
    fn look_behind_nat(
        &mut self,
        at: u32,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<u32, WriteError> {
        let slot = &mut self.slots[at as usize];
        let Some(connection) = slot.connection.as_deref() else { return Ok(at) };
        if slot.numbers.is_some() || self.both_ends || connection.both_local {
            return Ok(at);
        }
        let Some(numbers) = connection.numbers() else { return Ok(at) };
        slot.numbers = Some(numbers);
        let Some(other) = self.by_numbers.insert(numbers, at) else { return Ok(at) };
        let Some([this, that]) = self.slots.get_disjoint_mut([at as usize, other as usize]).ok()
        else {
            return Ok(at);
        };
        let (Some(here), Some(there)) = (&mut this.connection, &mut that.connection) else {
            return Ok(at);
        };
        let (to, from) = match (here.takes(there), there.takes(here)) {
            (true, true) if there.goes_before(here) => (other, at),
            (true, _) => (at, other),
            (false, true) => (other, at),
            (false, false) => return Ok(at),
        };
        let Some(taken) = self.slots[from as usize].connection.take() else { return Ok(at) };
        let mut cx = Context { packets, owners, now: self.now, held: &mut self.held };
        if let Some(connection) = self.slots[to as usize].connection.as_deref_mut() {
            let swapped = connection.take_in(*taken, &mut cx)?;
            self.slots[from as usize].into = Some(Taken { slot: to, swapped });
            self.slots[to as usize].took = Some(from);
        }
        self.by_numbers.insert(numbers, to);
        self.slots[from as usize].numbers = None;
        Ok(to)
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
            (slot.into, slot.took, slot.numbers) = (None, None, None);
            at
        } else {
            let (into, took, numbers) = (None, None, None);
            self.slots.push(Slot { generation: 0, key, older, connection, into, took, numbers });
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
        let slot = &self.slots[older as usize];
        let (older, side) = match slot.into {
            None => (slot, side),
            Some(Taken { slot, swapped }) => {
                (&self.slots[slot as usize], if swapped { 1 - side } else { side })
            }
        };
        let older = older.connection.as_deref();
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
        let at = self.slots[at as usize].into.map_or(at, |taken| taken.slot);
        let slot = &mut self.slots[at as usize];
        if let Some(connection) = slot.connection.as_deref_mut()
            && !connection.closing
        {
            connection.closing = true;
            let due = self.now + LINGER_TIME;
            self.closing.push_back(Due { at: due, slot: at, generation: slot.generation });
        }
    }

    pub(super) fn remove(
        &mut self,
        at: u32,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<(), WriteError> {
        self.flush(at as usize, packets, owners)?;
        let slot = &mut self.slots[at as usize];
        if let Some(numbers) = slot.numbers.take()
            && self.by_numbers.get(&numbers) == Some(&at)
        {
            self.by_numbers.remove(&numbers);
        }
        let (took, into) = (slot.took.take(), slot.into.take());
        slot.connection = None;
        self.forget(at);
        // Both ends of a NAT go at once.
        if let Some(taken) = into
            && self.slots[taken.slot as usize].took.take().is_some()
        {
            self.remove(taken.slot, packets, owners)?;
        }
        if let Some(took) = took {
            self.slots[took as usize].into = None;
            self.forget(took);
        }
        Ok(())
    }

    /// Frees a slot.
    fn forget(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        let (key, older) = (slot.key, slot.older.take());
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(at);
        // Take it out of the list of its key.
        if self.newest.get(&key) == Some(&at) {
            match older {
                Some(older) => self.newest.insert(key, older),
                None => self.newest.remove(&key),
            };
            return;
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
    }
}
