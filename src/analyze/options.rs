//! What an analysis is asked to do, validated.

use crate::analyze::decode::Wants;
use crate::analyze::filter::Filter;
use crate::analyze::limits::Limits;
use crate::analyze::report::{Format, Formats};

/// Settings of one run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds on memory.
    pub limits: Limits,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Formats that are written: those of the destinations.
    pub formats: Formats,
    /// Write header fields in jsonl.
    pub headers: bool,
    /// Feed intact HTTP/2 connections to a real endpoint.
    pub conformance: bool,
    /// Which transactions are reported.
    pub filter: Filter,
    /// How many rows "slowest" and the like have.
    pub top: usize,
}

impl Options {
    /// What decoders must keep for these formats.
    pub fn wants(&self) -> Wants {
        Wants {
            headers: self.headers && self.formats.has(Format::Jsonl)
                || self.formats.has(Format::Har)
                || self.filter.wants_headers(),
            log: self.formats.has(Format::Log),
            conformance: self.conformance,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            formats: Format::Text.into(),
            headers: true,
            conformance: false,
            filter: Filter::default(),
            top: 10,
        }
    }
}
