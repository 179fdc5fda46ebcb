//! Live recording: what applications say over TCP, from eBPF to a pcapng file.
//!
//! Data flows one way: kernel (`bpf/`) → [`event`] → connection → packets →
//! blocks → file. Never imports the analyzer.

pub mod command;
mod connection;
pub mod doctor;
pub mod event;
mod owner;
mod pcapng;
mod sink;
mod skel;
mod synth;
pub mod targets;
pub mod writer;
