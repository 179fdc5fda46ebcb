//! Live recording: what applications say over TCP, from eBPF to a pcapng file.
//!
//! Data flows one way: kernel (`bpf/`) → [`event`] → connection → packets →
//! blocks → file. Never imports the analyzer.

pub mod backend;
pub mod counters;
pub mod event;
pub mod filter;
pub mod ring;
mod skel;
