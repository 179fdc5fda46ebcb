//! Every bound on memory, as a named constant with its reason, and the set
//! that a run uses.
//!
//! Hostile or damaged input must not grow memory: what a limit costs is
//! counted and reported, never dropped in silence.

use crate::analyze::kept::Keeping;

/// Parts into which flows are divided by key. A constant, so that what a
/// limit costs is the same for any number of threads; enough for as many
/// cores as one reader can feed.
pub const SHARDS: usize = 16;

/// Bytes of one direction held while waiting for a missing segment. Above
/// it the hole is given up as a gap. A receive window is rarely larger, so a
/// hole that outlives it was never captured.
pub const REORDER_BYTES_PER_FLOW: usize = 4 << 20;

/// Bytes held for reordering over all flows: bounds many half-lost flows.
pub const REORDER_BYTES_TOTAL: usize = 64 << 20;

/// Segments of one direction held while waiting for a missing one: bounds
/// the work of keeping them sorted when they are tiny.
pub const REORDER_SEGMENTS: usize = 8192;

/// Segments of a connection without a handshake that are held before its
/// first byte is taken for the first: packets of several CPUs or interfaces
/// mix, but not over more than a few.
pub const SETTLE_SEGMENTS: usize = 16;

/// Nanoseconds of capture time for the same.
pub const SETTLE_NANOS: i64 = 100_000_000;

/// Nanoseconds of capture time that a hole stays open while the receiver has
/// not acknowledged it: the sender will send again, Linux gives up only after
/// minutes, but by then nobody waits for the answer.
pub const HOLE_UNACKED_NANOS: i64 = 60 * 1_000_000_000;

/// Nanoseconds that a closed connection is remembered, so that its last
/// segments sent again do not look like a connection joined midway.
pub const CLOSED_NANOS: i64 = 5 * 1_000_000_000;

/// Bytes of decoder state over all connections.
pub const STATE_BYTES_TOTAL: usize = 128 << 20;

/// Bytes of one HTTP/1 head or one HTTP/2 header block. Servers refuse far
/// less (nginx 32 KiB, Go 1 MiB), so nothing real is cut.
pub const HEAD_BYTES: usize = 1 << 20;

/// Requests of one connection waiting for their response. HTTP/2 servers
/// allow 100 to 256 streams, pipelining clients a few.
pub const PENDING_PER_FLOW: usize = 10_000;

/// Bytes of decoder state (heads, trailers, header tables, pending
/// transactions) of one connection. Past it the oldest pending transactions
/// are given up as truncated.
pub const STATE_BYTES_PER_FLOW: usize = 16 << 20;

/// Connections tracked at once. Above it the longest idle are closed. A million
/// and what the shards differ by.
pub const FLOWS: usize = 1 << 20;

/// Nanoseconds without a packet after which a connection is given up.
/// Two minutes past the two hours of a default TCP keep-alive.
pub const IDLE_NANOS: i64 = (2 * 60 + 2) * 60 * 1_000_000_000;

/// Nanoseconds of capture time that a hole may stay open once the receiver
/// has acknowledged bytes beyond it: the packet was not captured in order,
/// and captures from several CPUs or interfaces mix by milliseconds only.
pub const HOLE_NANOS: i64 = 100_000_000;

/// Bytes kept of the body of one message, where bodies are kept.
pub const BODY_BYTES: usize = 64 << 10;

/// Bytes kept of the bodies of all messages that are open at once, or whose
/// transactions are not written yet. Each shard has an equal part.
pub const BODY_BYTES_TOTAL: usize = 256 << 20;

/// The bounds of one run; flags of the command line change them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// See [`REORDER_BYTES_PER_FLOW`].
    pub reorder_bytes_per_flow: usize,
    /// See [`REORDER_BYTES_TOTAL`].
    pub reorder_bytes_total: usize,
    /// See [`HEAD_BYTES`].
    pub head_bytes: usize,
    /// See [`PENDING_PER_FLOW`].
    pub pending_per_flow: usize,
    /// See [`STATE_BYTES_PER_FLOW`].
    pub state_bytes_per_flow: usize,
    /// See [`STATE_BYTES_TOTAL`].
    pub state_bytes_total: usize,
    /// See [`FLOWS`].
    pub flows: usize,
    /// See [`IDLE_NANOS`].
    pub idle_nanos: i64,
    /// See [`HOLE_NANOS`].
    pub hole_nanos: i64,
    /// Which bodies are kept, where any are, and how much of them.
    pub bodies: Keeping,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reorder_bytes_per_flow: REORDER_BYTES_PER_FLOW,
            reorder_bytes_total: REORDER_BYTES_TOTAL,
            head_bytes: HEAD_BYTES,
            pending_per_flow: PENDING_PER_FLOW,
            state_bytes_per_flow: STATE_BYTES_PER_FLOW,
            state_bytes_total: STATE_BYTES_TOTAL,
            flows: FLOWS,
            idle_nanos: IDLE_NANOS,
            hole_nanos: HOLE_NANOS,
            bodies: Keeping { limit: BODY_BYTES, total: BODY_BYTES_TOTAL, only: None },
        }
    }
}
