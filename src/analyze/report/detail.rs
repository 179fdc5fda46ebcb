//! What only a page shows: how things went over time, transactions with all
//! their times, connections that stand out.
//!
//! It is gathered where the output asks for it ([`super::Aggregate::detailed`])
//! and is not part of `json`. All lists are bounded; of each it is known how
//! many there were in all.

use std::net::SocketAddr;

use super::model::{Sample, Time};
use crate::analyze::transaction::{Outcome, Pause};

/// Transactions by outcome, in the order of [`Outcome::ALL`].
pub type Outcomes = [u64; Outcome::ALL.len()];

/// All that a page shows besides the report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail {
    /// Over time; None where nothing has a time.
    pub timeline: Option<Timeline>,
    /// Transactions without a time, which are not in the timeline.
    pub untimed: u64,
    /// The slowest by latency, slowest first.
    pub slowest: Vec<Example>,
    /// Failed transactions by how they failed, in the order of the report's errors.
    pub causes: Vec<Cause>,
    /// Connections that stand out.
    pub connections: Connections,
    /// Whether header fields were kept.
    pub headers: bool,
}

/// What happened in equal steps of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// Where the first step begins, in nanoseconds since 1970.
    pub start: i64,
    /// Length of a step in nanoseconds.
    pub width: i64,
    /// The steps, without a hole.
    pub steps: Vec<Step>,
    /// Least latency of each band of latencies in nanoseconds, ascending; a
    /// band reaches to the next, the last one up to `bands_end`.
    pub bands: Vec<u64>,
    /// Where the last band ends.
    pub bands_end: u64,
    /// Where the few steps that endpoints and errors have begin, and their length.
    pub coarse: (i64, i64),
    /// How many there are of these.
    pub coarse_len: usize,
}

/// What happened in one of them. Transactions count where they began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// By outcome.
    pub outcomes: Outcomes,
    /// Connections of which the first packet was seen.
    pub opened: u64,
    /// Latencies; None where none is known.
    pub latency: Option<StepLatency>,
    /// Transactions by band of latency.
    pub bands: Vec<u32>,
}

/// Latencies of a step: at most 4 % (or 512 ns) off, the maximum exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLatency {
    /// Transactions whose latency is known.
    pub count: u64,
    /// 50th, 90th and 99th percentile in nanoseconds.
    pub percentiles: [u64; 3],
    /// Largest in nanoseconds.
    pub max: u64,
}

impl Step {
    /// All transactions.
    pub fn count(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Failed ones.
    pub fn errors(&self) -> u64 {
        let counts = Outcome::ALL.into_iter().zip(self.outcomes);
        counts.filter(|(outcome, _)| outcome.is_error()).map(|(_, count)| count).sum()
    }
}

/// One of the few steps of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoarseStep {
    /// Transactions.
    pub count: u64,
    /// Failed ones.
    pub errors: u64,
    /// Largest latency in nanoseconds; 0 where none is known.
    pub max: u64,
}

/// What a page shows of an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointDetail {
    /// Over the whole time of the capture, see [`Timeline::coarse`].
    pub steps: Vec<CoarseStep>,
    /// Transactions in each octave of latency: of 2^n up to 2^(n+1) ns.
    pub octaves: Vec<u64>,
    /// The slowest, slowest first.
    pub slowest: Vec<Example>,
    /// The earliest that failed.
    pub failed: Vec<Example>,
}

/// A way to fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Name, as in the report's errors.
    pub name: String,
    /// "http", "grpc" or "outcome".
    pub by: &'static str,
    /// How many.
    pub count: u64,
    /// When the first and the last of them began.
    pub first: Option<Time>,
    /// See `first`.
    pub last: Option<Time>,
    /// How many over time, see [`Timeline::coarse`].
    pub steps: Vec<CoarseStep>,
    /// The earliest of them.
    pub examples: Vec<Example>,
}

/// A transaction with all its times.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// What json says of it.
    pub sample: Sample,
    /// Last byte of the request.
    pub request_end: Option<Time>,
    /// First and last byte of the response.
    pub response_start: Option<Time>,
    /// See `response_start`.
    pub response_end: Option<Time>,
    /// Body bytes as transferred; None where the message was not seen.
    pub request_body_bytes: Option<u64>,
    /// See `request_body_bytes`.
    pub response_body_bytes: Option<u64>,
    /// The longest pause within the request and within the response.
    pub pauses: [Option<Pause>; 2],
    /// Names of what was odd about it.
    pub anomalies: Vec<&'static str>,
    /// `grpc-message`, cut where it is long.
    pub grpc_message: Option<String>,
    /// Deadline that the client set, in nanoseconds.
    pub timeout_ns: Option<u64>,
    /// Messages of client and server, of gRPC calls.
    pub messages: Option<[u64; 2]>,
    /// The client's and the server's process, where the capture says them.
    pub processes: [Option<String>; 2],
    /// Where the client and the server run, and what that rests on, where it is known.
    pub runs: [Option<String>; 2],
    /// Where it was captured.
    pub interface: Option<String>,
    /// Header and trailer fields of the request and of the response; empty
    /// where they were not kept.
    pub fields: [Vec<FieldText>; 2],
    /// Fields of each that are not in here, as there are too many.
    pub fields_left_out: [u64; 2],
}

/// A header or trailer field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldText {
    /// As sent.
    pub name: String,
    /// None where HPACK could not resolve it.
    pub value: Option<String>,
    /// Whether it came behind the body.
    pub trailer: bool,
}

/// Connections that stand out, each list with what stands out most first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connections {
    /// Longest from first to last packet.
    pub longest: Vec<Connection>,
    /// Most payload.
    pub largest: Vec<Connection>,
    /// Most bytes missing.
    pub gaps: Vec<Connection>,
    /// How many have bytes missing.
    pub gaps_count: u64,
    /// Most segments that brought nothing new.
    pub retransmissions: Vec<Connection>,
    /// How many have such.
    pub retransmissions_count: u64,
    /// The earliest that ended with a reset.
    pub resets: Vec<Connection>,
    /// How many did.
    pub resets_count: u64,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its number.
    pub number: u64,
    /// Client's address and port.
    pub client: SocketAddr,
    /// Server's address and port.
    pub server: SocketAddr,
    /// Names of both ends, where they are known.
    pub names: [Option<String>; 2],
    /// What it spoke; None where not recognised.
    pub kind: Option<&'static str>,
    /// First packet.
    pub first: Option<Time>,
    /// Last packet.
    pub last: Option<Time>,
    /// Whether its start was captured.
    pub handshake: bool,
    /// Payload bytes to server and client.
    pub payload_bytes: [u64; 2],
    /// Missing bytes of all causes.
    pub gap_bytes: u64,
    /// Segments that brought nothing new.
    pub retransmissions: u64,
    /// Whether it ended with a reset.
    pub reset: bool,
}
