//! Offline analysis: capture bytes in, transactions and reports out.
//!
//! Never imports the recorder. Decoders know nothing of files, reports know
//! nothing of packets. [`pipeline::run`] is the way in.

pub mod body;
mod crew;
pub mod decode;
pub mod diff;
pub mod feed;
pub mod fields;
pub mod filter;
pub mod flow;
pub mod join;
pub mod kept;
pub mod limits;
pub mod options;
mod outlet;
pub mod owner;
pub mod packet;
pub mod pipeline;
mod plan;
pub mod reassembly;
pub mod report;
pub mod round;
pub mod shard;
pub mod transaction;
pub mod watch;
