//! Recordings of several nodes as one: both ends of a connection that was seen on two
//! nodes are joined, and each of its transactions is reported once.
//!
//! A flow is of one point of observation ([`Points`]): each node's view of a connection is
//! put in order and decoded by itself, in the shards, and what comes of it goes through
//! the [`Joiner`] between rounds instead of straight into reports. That pairs flows by
//! what no NAT changes, their initial sequence numbers (`flows.rs`), their transactions by
//! HTTP/2 stream or by the sequence number of a message's first byte (`held.rs`), makes one
//! of both copies (`pair.rs`), and works out how far apart the clocks are (`clock.rs`).
//! What cannot be proven to be the same stays two, and is counted.
//!
//! Knows no packet. Where captures are of one point, nothing here is used. Users read
//! `docs/join.md`.

mod clock;
mod figures;
mod flows;
mod held;
mod joiner;
mod joining;
mod pair;
mod point;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

pub use figures::{Counts, JoinTotals, LinkTotals, OffsetTotals};
pub use joiner::Joiner;
pub use joining::{Ended, Joining};
pub use point::Points;

use crate::analyze::report::FlowTotals;
use crate::analyze::watch::Watched;
use crate::time::Timestamp;

/// How long a flow or a transaction waits for its other end, in nanoseconds of capture
/// time: clocks of nodes that are a minute apart are broken, and reports say so by what
/// was not joined.
pub const WAIT_NANOS: i64 = 60_000_000_000;

/// Memory that what waits may take, in bytes; past it the longest waiting goes out alone.
pub const WAIT_BYTES: usize = 256 << 20;

/// What tells of a flow whose other end another point may have seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The point of observation, from 1.
    pub point: u16,
    /// Number of the flow.
    pub connection: u64,
    /// Addresses of client and server as they are at this point.
    pub ends: [SocketAddr; 2],
    /// Initial sequence numbers of client and server, where both were seen.
    pub initial: Option<[u32; 2]>,
    /// How far both have come, where that is known.
    pub reached: [Option<u32>; 2],
    /// When its first packet was captured.
    pub first: Option<Timestamp>,
    /// Whether the process of the client and that of the server is known here: who owns
    /// an end has it on this node.
    pub owned: [bool; 2],
}

/// What a shard tells the joiner of a flow.
#[derive(Debug)]
pub struct Told {
    /// The flow.
    pub seen: Seen,
    /// What of it.
    pub what: What,
}

/// What there is to tell of a flow.
#[derive(Debug)]
pub enum What {
    /// A transaction has finished.
    Transaction(Box<Watched>),
    /// The flow is over, and nothing more comes of it.
    Over(Box<FlowTotals>),
}

impl Told {
    /// Its place among what a round tells: by flow, its end last.
    pub fn sort_key(&self) -> (u64, u64) {
        let index = match &self.what {
            What::Transaction(watched) => watched.index,
            What::Over(_) => u64::MAX,
        };
        (self.seen.connection, index)
    }
}

/// What two copies of a connection are known to be one by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Both initial sequence numbers are equal.
    Sequence,
    /// Addresses and ports are equal and sequence numbers are close: of connections whose
    /// start was not seen at one end.
    Address,
}

impl By {
    /// The name in json and jsonl.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Address => "address",
        }
    }
}

/// What is known of a transaction since both its ends were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Names of the client's node and of the server's.
    pub nodes: [Arc<str>; 2],
    /// What the two copies are known to be one by.
    pub by: By,
    /// The server's address as the client has it: a Service's, where a NAT is between.
    pub server_as_seen: SocketAddr,
    /// The client's address as the server has it.
    pub client_as_seen: SocketAddr,
    /// Where the latency went; None where a time is missing.
    pub split: Option<Split>,
}

/// Where the time from the client's write to its read went, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// From the client's write to the server's read, give or take the error.
    pub request_ns: u64,
    /// From the server's read to its write: on one clock, so exact.
    pub server_ns: u64,
    /// From the server's write to the client's read, give or take the error.
    pub response_ns: u64,
    /// The server's clock minus the client's at that time, give or take the error.
    pub offset_ns: i64,
    /// Half the width of what the offset may be.
    pub error_ns: u64,
}
