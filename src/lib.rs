//! Perisco: the flight recorder for HTTP and gRPC.
//!
//! Data flows one way: bytes of a capture file → packet → TCP segment → flow
//! (two reassembled half streams) → message → transaction → report.
//!
//! - [`pcap`] reads capture files and knows nothing of TCP.
//! - [`analyze`] turns packets into transactions and reports; it is a pure
//!   function of the input bytes.
//! - `record` (feature `record`) watches TCP sockets with eBPF and writes a capture.
//! - [`time`] holds the one clock type that all of them share.
#![deny(unsafe_code)]
// Module heads point at the private modules beneath, for those who read the code.
#![allow(rustdoc::private_intra_doc_links)]

pub mod analyze;
pub mod pcap;
#[cfg(feature = "record")]
pub mod record;
pub mod redact;
pub mod time;
