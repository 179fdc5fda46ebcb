//! One direction of a TCP connection put in order.
//!
//! Knows sequence numbers and nothing of protocols: segments in, chunks of
//! data, gaps and ends out. Which direction may go on first is the flow's
//! business ([`crate::analyze::flow`]).

pub mod half;
pub mod seq;
