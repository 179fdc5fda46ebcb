//! What an analysis is asked to do, validated.

use crate::analyze::decode::Wants;
use crate::analyze::limits::Limits;
use crate::analyze::report::Format;

/// Settings of one run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds on memory.
    pub limits: Limits,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Output format.
    pub format: Format,
    /// Write header fields in jsonl and log.
    pub headers: bool,
    /// Feed intact HTTP/2 connections to a real endpoint.
    pub conformance: bool,
    /// How many rows "slowest" and the like have.
    pub top: usize,
}

impl Options {
    /// What decoders must keep for this format.
    pub fn wants(&self) -> Wants {
        let lines = matches!(self.format, Format::Jsonl);
        Wants {
            headers: self.headers && lines,
            log: self.format == Format::Log,
            conformance: self.conformance,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            format: Format::Text,
            headers: true,
            conformance: false,
            top: 10,
        }
    }
}
