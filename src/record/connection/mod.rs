//! Events of sockets → connections → packets in the order of the streams.
//!
//! [`table`] finds the connection of an event and bounds them all; a
//! [`Connection`](state::Connection) merges its ends and keeps the order;
//! [`half`] knows which bytes of a direction are written.

mod emit;
mod half;
mod intake;
mod matching;
mod names;
mod nat;
mod room;
mod state;
mod table;
#[cfg(test)]
mod tests;

pub use half::GapChange;
pub use table::Connections;

/// Time that bytes wait for what comes before them, in nanoseconds: the ring
/// orders events by when their room was reserved, and the other end's copy of
/// lost bytes is read by then on any machine that keeps up.
const HOLD_TIME: u64 = 200_000_000;

/// Time that a connection's first packets wait for its owners to be known.
const OWNER_TIME: u64 = 100_000_000;

/// Memory of a connection's first packets while its owners are not known.
const OWNER_BYTES: usize = 256 << 10;

/// Memory of what waits in one direction: a millisecond or so of the fastest
/// transfers, where a byte that is still to come does not take longer.
const HELD_BYTES: usize = 1 << 20;

/// Memory of all that waits: as the ring, by default.
const TOTAL_HELD_BYTES: usize = 64 << 20;
