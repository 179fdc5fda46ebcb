//! Live recording: what applications say over TCP, from eBPF to a pcapng file.
//!
//! Data flows one way: kernel (`bpf/`) → [`event`] → connection → packets →
//! blocks → file. Never imports the analyzer.

pub mod event;
mod skel;
