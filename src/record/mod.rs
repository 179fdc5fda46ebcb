//! Live recording: what applications say over TCP, from eBPF to a pcapng file.
//!
//! Data flows one way: kernel (`bpf/`) → [`ring`] → [`event`] → connection →
//! packets → blocks → file ([`writer`]); [`run()`] is the loop. Never imports
//! the analyzer.

pub mod backend;
pub mod change;
pub mod command;
pub mod confine;
mod connection;
pub mod counters;
pub mod doctor;
pub mod event;
pub mod filter;
pub mod kube;
pub mod metrics;
pub mod naming;
mod owner;
mod pcapng;
pub mod ring;
pub mod run;
pub mod selector;
mod sink;
mod skel;
pub mod sources;
mod synth;
pub mod targets;
#[cfg(test)]
mod testkit;
pub mod writer;

pub use run::run;
