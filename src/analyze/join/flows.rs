//! Which flows are one connection.
//!
//! Both initial sequence numbers together are 64 bits that ends choose at random and that
//! no NAT of the kernel changes: flows at two points that have both in common are one
//! connection, whatever their addresses. Where one end has not seen the start, addresses
//! and ports have to be equal and what both have reached close. Who has more than one
//! candidate gets none.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;

use super::held::Held;
use super::{By, Seen, WAIT_NANOS};
use crate::analyze::report::FlowTotals;

/// How far what two flows have reached may be apart where addresses have to prove that
/// they are one, in bytes: what one connection sends while the other end's recording
/// comes to the same transaction.
const CLOSE_BYTES: u32 = 16 << 20;

/// Flows of one identity that are looked at; honest captures have two.
const CANDIDATES: usize = 8;

/// What is known of a flow, and what waits for its other end.
pub struct State {
    /// Which it is.
    pub seen: Seen,
    /// Number of the flow at the other point, and how that is known.
    pub partner: Option<(u64, By)>,
    /// Whether it is at the client's end, where that is known of two that are one.
    pub is_client: Option<bool>,
    /// It has waited long enough: what comes of it goes out at once.
    pub alone: bool,
    /// What it came to, once it is over.
    pub totals: Option<Box<FlowTotals>>,
    /// Transactions that wait.
    pub held: Held,
}

/// Flows that may be joined or are.
#[derive(Default)]
pub struct Flows {
    flows: HashMap<u64, State>,
    by_initial: HashMap<[u32; 2], Vec<u64>>,
    by_ends: HashMap<[SocketAddr; 2], Vec<u64>>,
}

/// What becomes of a flow that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was known.
    Known,
    /// It is new, and its other end is not here.
    Nobody,
    /// It is new, and joined with another.
    Partner,
    /// It is new, and could be one with several.
    Several,
}

impl Flows {
    /// Makes a flow known, and looks for its other end.
    pub fn add(&mut self, seen: &Seen) -> Found {
        if self.flows.contains_key(&seen.connection) {
            return Found::Known;
        }
        let found = self.find(seen);
        let number = seen.connection;
        let partner = found.ok().flatten();
        let mut is_client = None;
        if let Some((other, by)) = partner
            && let Some(other) = self.flows.get_mut(&other)
        {
            is_client = client_is_first(seen, &other.seen);
            (other.partner, other.is_client) = (Some((number, by)), is_client.map(|is| !is));
        }
        if let Some(initial) = seen.initial {
            list(&mut self.by_initial, initial, number);
        }
        list(&mut self.by_ends, seen.ends, number);
        let state = State {
            seen: *seen,
            partner,
            is_client,
            alone: false,
            totals: None,
            held: Held::default(),
        };
        self.flows.insert(number, state);
        match (found, partner) {
            (Err(()), _) => Found::Several,
            (Ok(_), Some(_)) => Found::Partner,
            (Ok(_), None) => Found::Nobody,
        }
    }

    /// The other end of a flow; an error where several could be.
    fn find(&self, seen: &Seen) -> Result<Option<(u64, By)>, ()> {
        let same = seen.initial.and_then(|initial| self.by_initial.get(&initial));
        if let Some(same) = same.filter(|same| !same.is_empty()) {
            // One that has the numbers already, here or there, makes it doubtful.
            return match same.as_slice() {
                [one] if self.is_free(*one, seen.point) && self.began_with(*one, seen) => {
                    Ok(Some((*one, By::Sequence)))
                }
                _ => Err(()),
            };
        }
        let Some(same) = self.by_ends.get(&seen.ends) else { return Ok(None) };
        let fits = |number: &&u64| {
            self.flows.get(number).is_some_and(|other| {
                let midway = seen.initial.is_none() || other.seen.initial.is_none();
                midway
                    && self.is_free(**number, seen.point)
                    && are_close(seen.reached, other.seen.reached)
            })
        };
        let mut fitting = same.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Ok(Some((*one, By::Address))),
            (None, _) => Ok(None),
            _ => Err(()),
        }
    }

    /// Whether a flow is of another point and has no other end yet.
    fn is_free(&self, number: u64, point: u16) -> bool {
        let state = self.flows.get(&number);
        state.is_some_and(|state| state.seen.point != point && state.partner.is_none())
    }

    /// Whether a flow began when this one did, as far as clocks may be apart.
    fn began_with(&self, number: u64, seen: &Seen) -> bool {
        let first = self.flows.get(&number).and_then(|state| state.seen.first);
        let apart = first.zip(seen.first).map(|(one, other)| one.since(other).saturating_abs());
        apart.is_none_or(|apart| apart <= WAIT_NANOS)
    }

    /// A flow.
    pub fn get(&self, number: u64) -> Option<&State> {
        self.flows.get(&number)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut State> {
        self.flows.get_mut(&number)
    }

    /// Numbers of all of them, ascending.
    pub fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<_> = self.flows.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// Forgets a flow.
    pub fn remove(&mut self, number: u64) -> Option<State> {
        let state = self.flows.remove(&number)?;
        if let Some(initial) = state.seen.initial {
            unlist(&mut self.by_initial, &initial, number);
        }
        unlist(&mut self.by_ends, &state.seen.ends, number);
        Some(state)
    }
}

fn list<K: Eq + Hash>(index: &mut HashMap<K, Vec<u64>>, key: K, number: u64) {
    let numbers = index.entry(key).or_default();
    if numbers.len() < CANDIDATES {
        numbers.push(number);
    }
}

fn unlist<K: Eq + Hash>(index: &mut HashMap<K, Vec<u64>>, key: &K, number: u64) {
    if let Some(numbers) = index.get_mut(key) {
        numbers.retain(|known| *known != number);
        if numbers.is_empty() {
            index.remove(key);
        }
    }
}

/// Whether two flows have come about as far, in each direction where both know it and in
/// one at least.
fn are_close(ours: [Option<u32>; 2], theirs: [Option<u32>; 2]) -> bool {
    let known = ours.into_iter().zip(theirs).filter_map(|(ours, theirs)| ours.zip(theirs));
    let mut distances = known.map(|(ours, theirs)| {
        let ahead = ours.wrapping_sub(theirs);
        ahead.min(ahead.wrapping_neg())
    });
    let first = distances.next();
    first.is_some_and(|first| first <= CLOSE_BYTES) && distances.all(|next| next <= CLOSE_BYTES)
}

/// Whether the first of two flows is at the client's end, where that is known: a node
/// knows the processes of its own ends.
fn client_is_first(first: &Seen, second: &Seen) -> Option<bool> {
    let says = |seen: &Seen| match seen.owned {
        [true, false] => Some(true),
        [false, true] => Some(false),
        _ => None,
    };
    match (says(first), says(second).map(|client| !client)) {
        (Some(one), Some(other)) if one != other => None,
        (one, other) => one.or(other),
    }
}
