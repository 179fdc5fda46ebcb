//! Live recording: what applications say over TCP, from eBPF to a pcapng file.
//!
//! Data flows one way: kernel (`bpf/`) → [`event`] → connection → packets →
//! blocks → file. Never imports the analyzer.

mod connection;
pub mod event;
mod owner;
mod pcapng;
mod sink;
mod synth;
#[cfg(test)]
mod testkit;
pub mod writer;
