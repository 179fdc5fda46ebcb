//! What an analysis is asked to do, validated.

use crate::analyze::decode::Wants;
use crate::analyze::filter::Filter;
use crate::analyze::limits::Limits;
use crate::analyze::report::route::Routes;
use crate::analyze::report::{Aggregate, By, Format, Formats, Sort};

/// Settings of one run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds on memory.
    pub limits: Limits,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Formats that are written: those of the destinations.
    pub formats: Formats,
    /// Write header fields in jsonl and html.
    pub headers: bool,
    /// Write bodies in jsonl and har, and hand them to who looks on: as much of
    /// them as [`Limits::bodies`] says.
    pub bodies: bool,
    /// Feed intact HTTP/2 connections to a real endpoint.
    pub conformance: bool,
    /// Which transactions are reported.
    pub filter: Filter,
    /// What rows of the main table stand for.
    pub by: By,
    /// Paths that the user has named.
    pub routes: Routes,
    /// Which of them come first.
    pub sort: Sort,
    /// How many rows "slowest" and the like have.
    pub top: usize,
    /// Whether the report is to be compared with another one.
    pub compared: bool,
    /// Whether what was recorded on several nodes is joined, where inputs are of several.
    pub join: bool,
    /// Whether somebody looks on: set by [`watch`](crate::analyze::pipeline::watch).
    pub watched: bool,
}

impl Options {
    /// What decoders must keep for these formats.
    pub fn wants(&self) -> Wants {
        Wants {
            headers: self.headers
                && (self.formats.has(Format::Jsonl)
                    || self.formats.has(Format::Html)
                    || self.watched)
                || self.formats.has(Format::Har)
                || self.filter.wants_headers(),
            log: self.formats.has(Format::Log),
            conformance: self.conformance,
            bodies: self.bodies
                && (self.formats.has(Format::Jsonl)
                    || self.formats.has(Format::Har)
                    || self.watched),
            pauses: self.formats.has(Format::Html),
        }
    }
}

impl Options {
    /// An empty set of tables, as these formats need them.
    pub fn aggregate(&self) -> Aggregate {
        let aggregate = Aggregate::new(self.top)
            .grouped(self.by, self.sort)
            .routed(&self.routes)
            .timed(self.formats.has(Format::Text))
            .compared(self.compared);
        match self.formats.has(Format::Html) {
            true => aggregate.detailed(self.top, self.headers),
            false => aggregate,
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
            bodies: false,
            conformance: false,
            filter: Filter::default(),
            by: By::default(),
            sort: Sort::default(),
            routes: Routes::default(),
            top: 10,
            compared: false,
            join: true,
            watched: false,
        }
    }
}
