//! Who makes room when there are too many connections, or too much waits: the
//! process that has most of it, so that one that opens connections without end
//! or lets bytes wait on purpose costs itself what it takes, not others.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::TOTAL_HELD_BYTES;
use super::state::{Connection, Context};
use super::table::{Connections, Slot};
use crate::record::owner::Owners;
use crate::record::sink::WriteError;
use crate::record::writer::packets::Packets;

/// Connections that are looked at to find out whose they are.
const SAMPLE: usize = 64;

/// The part of these from which on a process is greedy: a quarter.
const GREEDY: usize = 4;

/// Evictions after which it is looked anew: a sample costs as much as some dozen of them.
const SAMPLE_EVERY: u32 = 1024;

/// Connections that wait and are looked at to find out who holds most.
const LOOKED_AT: usize = 1024;

/// What may be left when too much has waited: so that it is not too much again at once.
const LEFT_BYTES: usize = TOTAL_HELD_BYTES / 8 * 7;

/// Where the search for a connection that makes room goes on, and whose it shall be.
#[derive(Debug, Default)]
pub(super) struct Hand {
    at: usize,
    /// The process that has most connections, if that is many.
    greedy: Option<u32>,
    /// Evictions until it is looked for again.
    fresh: u32,
}

/// Whose connection it is: of two processes here that of the client, who decided
/// that there is one. 0 where nobody is known.
fn process(connection: &Connection) -> u32 {
    let side = connection.client.unwrap_or(0);
    let owner = |side: usize| connection.ends[side].as_ref()?.owner.as_ref();
    owner(side).or_else(|| owner(1 - side)).map_or(0, |owner| owner.pid)
}

/// The key with the largest sum, and that.
fn most(amounts: impl Iterator<Item = (u32, usize)>) -> Option<(u32, usize)> {
    let mut sums: HashMap<u32, usize, RandomState> = HashMap::default();
    for (pid, amount) in amounts {
        *sums.entry(pid).or_default() += amount;
    }
    // Of equal ones always the same.
    sums.into_iter().max_by_key(|&(pid, sum)| (sum, pid))
}

impl Connections {
    /// A connection makes room: one of the greediest process, if there is such,
    /// that was not used since the hand last came by.
    pub(super) fn evict(
        &mut self,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<(), WriteError> {
        if self.hand.fresh == 0 {
            self.hand.greedy = self.greediest();
            self.hand.fresh = SAMPLE_EVERY;
        }
        self.hand.fresh -= 1;
        let found = match self.hand.greedy {
            Some(pid) => self.turn(|connection| process(connection) == pid),
            None => None,
        };
        if found.is_none() {
            self.hand.greedy = None;
        }
        let Some(slot) = found.or_else(|| self.turn(|_| true)) else { return Ok(()) };
        self.evicted += 1;
        self.remove(slot, packets, owners)
    }

    /// The next connection of those that `mine` says that was not used since the
    /// hand last came by. The second round finds one for sure, if there are any.
    fn turn(&mut self, mine: impl Fn(&Connection) -> bool) -> Option<u32> {
        for _ in 0..=2 * self.slots.len() {
            self.hand.at = (self.hand.at + 1) % self.slots.len();
            match self.slots[self.hand.at].connection.as_deref_mut() {
                Some(connection) if !mine(connection) => {}
                Some(connection) if connection.used => connection.used = false,
                Some(_) => return Some(self.hand.at as u32),
                None => {}
            }
        }
        None
    }

    /// The process that has many of a sample of all connections.
    fn greediest(&self) -> Option<u32> {
        // Spread over all: those that began together stand together.
        let step = (self.slots.len() / SAMPLE).max(1);
        let sample = self.slots.iter().skip(self.hand.at % step).step_by(step);
        let owned = |slot: &Slot| slot.connection.as_deref().map(|found| (process(found), 1));
        let sample: Vec<_> = sample.filter_map(owned).collect();
        let (pid, count) = most(sample.iter().copied())?;
        (count * GREEDY >= sample.len() && pid != 0).then_some(pid)
    }

    /// Too much waits: what waits longest is written with its gaps, of the
    /// process that holds most before all others.
    pub(super) fn relieve(
        &mut self,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<(), WriteError> {
        let looked_at = self.waiting.iter().take(LOOKED_AT);
        let held = looked_at.filter_map(|due| {
            let connection = self.slots.get(due.slot as usize)?.connection.as_deref()?;
            Some((process(connection), connection.held_bytes()))
        });
        if let Some((pid, _)) = most(held) {
            self.write_waiting(|connection| process(connection) == pid, packets, owners)?;
        }
        self.write_waiting(|_| true, packets, owners)
    }

    fn write_waiting(
        &mut self,
        these: impl Fn(&Connection) -> bool,
        packets: &mut Packets,
        owners: &Owners,
    ) -> Result<(), WriteError> {
        if self.held <= TOTAL_HELD_BYTES {
            return Ok(());
        }
        for place in 0..self.waiting.len() {
            if self.held <= LEFT_BYTES {
                return Ok(());
            }
            let Some(due) = self.waiting.get(place).copied() else { return Ok(()) };
            // It stays in the queue, where nothing of it waits any more when its time comes.
            if self.connection(due).is_some_and(|connection| these(connection)) {
                self.flush(due.slot as usize, packets, owners)?;
            }
        }
        Ok(())
    }

    pub(super) fn flush(
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
}
