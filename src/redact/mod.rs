//! Redaction: values that nobody should read leave a capture, and nothing moves.
//!
//! [`half`] reads one direction of a connection in order and overwrites values where they
//! stand, by as many octets; what cannot be read stays or leaves as [`rules`] say. It waits
//! for nothing: the name of a field comes before its value, so each byte is known to be secret or
//! not when it comes. [`flow`] brings segments in order and remembers what came of them, so that
//! a retransmission says no more than what it repeats; [`packet`] takes bytes out of packets;
//! [`capture`] goes through the blocks of a pcapng.
//!
//! Serves `perisco redact` and the recorder. Uses pure functions of the analyzer (headers of
//! packets, HPACK's tables, heads of frames, framing rules), so that both read the same
//! bytes alike; knows no transaction and no report.

mod block;
mod capture;
mod chunk;
mod fill;
mod flow;
mod half;
mod hpack;
mod http1;
mod http2;
mod packet;
mod past;
mod query;
mod report;
pub mod rules;
mod shared;
mod start;

pub use capture::{Redactor, Source};
pub use report::{Counts, Report};
pub use rules::{Settings, Unparsed};

#[cfg(test)]
mod tests;
