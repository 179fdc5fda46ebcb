//! Every bound on memory, as a named constant with its reason, and the set
//! that a run uses.
//!
//! Hostile or damaged input must not grow memory: what a limit costs is
//! counted and reported, never dropped in silence.

/// Bytes of one direction held while waiting for a missing segment. Above
/// it the hole is given up as a gap. A receive window is rarely larger, so a
/// hole that outlives it was never captured.
pub const REORDER_BYTES_PER_FLOW: usize = 4 << 20;

/// Bytes held for reordering over all flows: bounds many half-lost flows.
pub const REORDER_BYTES_TOTAL: usize = 64 << 20;

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

/// Connections tracked at once. Above it the longest idle are closed.
pub const FLOWS: usize = 1_000_000;

/// Nanoseconds without a packet after which a connection is given up.
/// Two minutes past the two hours of a default TCP keep-alive.
pub const IDLE_NANOS: i64 = (2 * 60 + 2) * 60 * 1_000_000_000;

/// Nanoseconds of capture time that a hole may stay open once the receiver
/// has acknowledged bytes beyond it: the packet was not captured in order,
/// and captures from several CPUs mix by milliseconds only.
pub const HOLE_NANOS: i64 = 1_000_000_000;

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
    /// See [`FLOWS`].
    pub flows: usize,
    /// See [`IDLE_NANOS`].
    pub idle_nanos: i64,
    /// See [`HOLE_NANOS`].
    pub hole_nanos: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reorder_bytes_per_flow: REORDER_BYTES_PER_FLOW,
            reorder_bytes_total: REORDER_BYTES_TOTAL,
            head_bytes: HEAD_BYTES,
            pending_per_flow: PENDING_PER_FLOW,
            state_bytes_per_flow: STATE_BYTES_PER_FLOW,
            flows: FLOWS,
            idle_nanos: IDLE_NANOS,
            hole_nanos: HOLE_NANOS,
        }
    }
}
