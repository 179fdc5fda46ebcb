//! Offline analysis: capture bytes in, transactions and reports out.
//!
//! Never imports the recorder. Decoders know nothing of files, reports know
//! nothing of packets.

pub mod decode;
pub mod fields;
pub mod limits;
pub mod packet;
pub mod report;
pub mod transaction;
pub mod flow;
pub mod reassembly;
