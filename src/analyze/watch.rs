//! Transactions for somebody who looks on while an analysis runs.
//!
//! Each finished transaction is copied, handed over when its round is done,
//! and then the onlooker's. What the report has of it is not touched.

use std::net::SocketAddr;

use crate::analyze::join::Joined;
use crate::analyze::owner::OwnedEnd;
use crate::analyze::report::Item;
use crate::analyze::report::sorter::SortKey;
use crate::analyze::transaction::Transaction;
use crate::time::Timestamp;

/// A finished transaction that belongs to whoever has it: an [`Item`], owned.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The transaction.
    pub transaction: Transaction,
    /// Who sent the request.
    pub client: SocketAddr,
    /// Who answered.
    pub server: SocketAddr,
    /// Number of the connection, from 1.
    pub connection: u64,
    /// Order of the transaction within its connection.
    pub index: u64,
    /// Name of the interface, where the capture has one.
    pub interface: Option<Box<str>>,
    /// Comment of the packet that began it, or of its connection.
    pub comment: Option<Box<str>>,
    /// What the capture says of the client's end and of the server's.
    pub ends: [OwnedEnd; 2],
    /// What is known of it since both its ends were seen.
    pub joined: Option<Box<Joined>>,
}

impl Watched {
    /// A copy of what reports get.
    pub fn new(item: &Item<'_>) -> Self {
        Self {
            transaction: item.transaction.clone(),
            client: item.client,
            server: item.server,
            connection: item.connection,
            index: item.index,
            interface: item.interface.map(Box::from),
            comment: item.comment.map(Box::from),
            ends: [item.client_end.to_owned(), item.server_end.to_owned()],
            joined: item.joined.cloned().map(Box::new),
        }
    }

    /// The same as reports take it.
    pub fn item(&self) -> Item<'_> {
        let [client, server] = &self.ends;
        Item {
            transaction: &self.transaction,
            client: self.client,
            server: self.server,
            connection: self.connection,
            index: self.index,
            interface: self.interface.as_deref(),
            comment: self.comment.as_deref(),
            client_end: client.end(),
            server_end: server.end(),
            joined: self.joined.as_deref(),
        }
    }

    /// Its place among all transactions.
    pub fn sort_key(&self) -> SortKey {
        self.item().sort_key()
    }

    /// Bytes of memory held, near enough.
    pub fn memory(&self) -> usize {
        let texts = [&self.interface, &self.comment];
        let texts: usize = texts.into_iter().flatten().map(|text| text.len()).sum();
        let ends: usize = self.ends.iter().map(OwnedEnd::memory).sum();
        size_of::<Self>() + self.transaction.memory() + texts + ends
    }
}

/// How far an analysis has come when a round is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The earliest capture time seen.
    pub first: Option<Timestamp>,
    /// The latest capture time seen; of a live stream the wall clock.
    pub time: Option<Timestamp>,
    /// Bytes of input read.
    pub position: u64,
    /// Packets read.
    pub packets: u64,
    /// Packets that the capturer says it lost.
    pub drops: u64,
    /// Packets cut by the snap length.
    pub cut_packets: u64,
    /// Inputs that are damaged.
    pub damaged: u64,
}

/// How much of the payload was there when a round was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// TCP payload bytes that were captured, connections still open included.
    pub payload_bytes: u64,
    /// TCP payload bytes known to have been sent and not in the capture.
    pub gap_bytes: u64,
    /// Gaps that these are in.
    pub gaps: u64,
    /// How often a limit has cost something.
    pub limits: u64,
}

impl Coverage {
    /// Adds what a connection or a shard came to.
    pub fn add(&mut self, other: Self) {
        let sums = [&mut self.payload_bytes, &mut self.gap_bytes, &mut self.gaps, &mut self.limits];
        let more = [other.payload_bytes, other.gap_bytes, other.gaps, other.limits];
        sums.into_iter().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }
}

/// Somebody who looks on.
pub trait Watch {
    /// A round is done. Takes the transactions that have finished, in the order
    /// of their starts; what is left in the list is dropped.
    fn round(&self, finished: &mut Vec<Watched>, progress: &Progress);

    /// Whether it wants to be told the coverage before the round: all connections
    /// are looked at for that, so not after every round.
    fn wants_coverage(&self) -> bool {
        false
    }

    /// The coverage, where it was wanted.
    fn coverage(&self, coverage: &Coverage) {
        let _ = coverage;
    }
}
