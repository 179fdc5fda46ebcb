//! Two ends of one connection that have different addresses: a NAT between
//! them (kube-proxy, a load balancer of the host) rewrote them and kept the
//! sequence numbers.
//!
//! The two initial numbers are 64 bits that two connections of one host do not
//! share by chance. Of two such connections that are each seen from one end,
//! the one of which nothing stands in the file becomes the other end of the
//! other.

use super::state::{Connection, Context};
use crate::record::sink::WriteError;

/// The initial sequence numbers of client and server.
pub type Numbers = (u32, u32);

impl Connection {
    /// Both initial numbers, once they and the roles are known; of connections
    /// that were seen from one end only.
    pub fn numbers(&self) -> Option<Numbers> {
        let client = self.client?;
        let one = self.ends.iter().flatten().count() == 1;
        let isn = |side: usize| self.halves[side].isn.map(|isn| isn.seq);
        Some((isn(client)?, isn(1 - client)?)).filter(|_| one)
    }

    /// Whether the end that was seen is the client's; of those of [`Self::numbers`].
    fn is_of_client(&self) -> bool {
        self.client.is_some_and(|client| self.ends[client].is_some())
    }

    /// Whether `other`, of equal numbers, is the other end of this one and can
    /// be taken into it.
    pub fn takes(&self, other: &Self) -> bool {
        !other.started
            && self.is_of_client() != other.is_of_client()
            && self.addresses != other.addresses
    }

    /// Whether `other` should rather be taken into this one than this one into
    /// it: where nothing stands in the file, the addresses that the server's
    /// end has are written, which are those of whom the client talked to.
    pub fn goes_before(&self, other: &Self) -> bool {
        self.started || (!other.started && !self.is_of_client())
    }

    /// Takes the other end of this connection in. Returns whether its sides are
    /// the other way round.
    pub fn take_in(&mut self, mut other: Self, cx: &mut Context<'_>) -> Result<bool, WriteError> {
        let swapped = self.client != other.client;
        let here = |side: usize| if swapped { 1 - side } else { side };
        let behind = &mut self.names.get_or_insert_default().behind;
        for side in 0..2 {
            let address = other.addresses[side];
            behind[here(side)] = Some(address).filter(|found| *found != self.addresses[here(side)]);
        }
        if let Some(names) = &mut self.names {
            names.ask_again();
        }
        self.since = self.since.min(other.since);
        self.changed = [true; 2];
        for side in 0..2 {
            if let Some(end) = other.ends[side].take() {
                self.ends[here(side)] = Some(end);
            }
            while let Some(held) = other.halves[side].pop() {
                *cx.held -= held.cost();
                self.take(here(side), &held.piece(), cx)?;
            }
            if let Some(end) = other.halves[side].end
                && self.halves[here(side)].end.is_none()
            {
                self.halves[here(side)].begin(end.seq);
                self.halves[here(side)].end = Some(end);
                self.first_end.get_or_insert(here(side));
            }
        }
        Ok(swapped)
    }
}
