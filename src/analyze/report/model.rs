//! The report as data: what `json` prints and `text` renders.
//!
//! Names are stable within a [`SCHEMA`]; new ones may be added. Times are
//! RFC 3339 in UTC, durations and latencies nanoseconds, sizes bytes, shares
//! between 0 and 1. What is not known is null, never zero.

use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use super::detail::{Detail, EndpointDetail};
pub use super::talk::{Party, Talk};
use crate::analyze::join::JoinTotals;
use crate::time::Timestamp;

/// Version of the layout; raised when a name changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// All that one run found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Inputs in the order given.
    pub inputs: Vec<Input>,
    /// Whether a signal ended the run before the input did.
    pub interrupted: bool,
    /// What was read.
    pub capture: Capture,
    /// What is missing, by all that is known.
    pub loss: Loss,
    /// Which transactions are reported; null where all are.
    pub filter: Option<Filtered>,
    /// What joining recordings of several nodes came to; not there where there are not several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<JoinTotals>,
    /// TCP connections.
    pub flows: Flows,
    /// All transactions together.
    pub transactions: Totals,
    /// By endpoint, most transactions first unless asked for another order.
    pub endpoints: Vec<Endpoint>,
    /// Transactions of endpoints past the limit on endpoints.
    pub endpoints_other: Option<Figures>,
    /// By something else, where asked for; null otherwise.
    pub groups: Option<Groups>,
    /// Over time, for text; None where nobody asks for that.
    #[serde(skip)]
    pub over: Option<Over>,
    /// The slowest by latency, slowest first.
    pub slowest: Vec<Sample>,
    /// Failed transactions by how they failed, most first.
    pub errors: Vec<Failure>,
    /// Who talks to whom, most transactions first.
    pub edges: Vec<Edge>,
    /// What pairs past the limit on pairs added up to.
    pub edges_other: Option<EdgeFigures>,
    /// The same by workload, most transactions first; empty where the capture says no
    /// names.
    pub workloads: Vec<Talk>,
    /// What pairs of workloads past the limit on pairs added up to.
    pub workloads_other: Option<EdgeFigures>,
    /// Anomalies of transactions and connections, most first.
    #[serde(serialize_with = "as_object")]
    pub anomalies: Vec<Named>,
    /// What a real endpoint would have refused.
    pub findings: Findings,
    /// What a page shows besides; None where none is asked for.
    #[serde(skip)]
    pub detail: Option<Box<Detail>>,
}

/// A file or pipe that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// As the user named it.
    pub name: String,
    /// "pcapng (zstd)", "pcap", …
    pub format: String,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capture {
    /// Packets.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Their bytes in the capture.
    pub captured_bytes: u64,
    /// TCP segments among them.
    pub segments: u64,
    /// Packets that are no TCP segment, by kind, most first.
    #[serde(serialize_with = "as_object")]
    pub other_packets: Vec<Named>,
    /// Time of the earliest packet.
    pub first: Option<Time>,
    /// Time of the latest packet.
    pub last: Option<Time>,
    /// From the earliest to the latest.
    pub span_ns: Option<u64>,
}

/// A filter, and how many transactions it took. Transactions and all that is
/// worked out of them are those that it took; packets, loss, flows and payload
/// are of the whole capture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filtered {
    /// The expression of `--where`.
    #[serde(rename = "where")]
    pub expression: Option<String>,
    /// From when on transactions had to begin.
    pub since: Option<BoundAt>,
    /// Until when.
    pub until: Option<BoundAt>,
    /// Transactions that are reported.
    pub taken: u64,
    /// Transactions that are not.
    pub left_out: u64,
    /// Transactions that are not, since what decides was not seen or could not
    /// be worked out.
    pub undecided: u64,
}

/// A bound in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BoundAt {
    /// As the user wrote it.
    pub given: String,
    /// What that is; null where no packet had a time.
    pub at: Option<Time>,
}

/// What is missing, by all that is known. A connection or a direction that
/// was never captured leaves no trace and is not in here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// Whether nothing below says that anything is missing.
    pub none_known: bool,
    /// Damaged inputs: everything before the place is in the report.
    pub damage: Vec<DamageAt>,
    /// Packets that the capturer says it lost.
    pub dropped_packets: u64,
    /// Packets that the snap length cut.
    pub cut_packets: u64,
    /// Gaps in connections, by cause.
    pub gaps: Gaps,
    /// TCP payload bytes that were decoded in order.
    pub payload_bytes: u64,
    /// TCP payload bytes known to have been sent and not in the capture.
    pub gap_bytes: u64,
    /// `payload_bytes / (payload_bytes + gap_bytes)` in percent; null where
    /// there was no payload.
    pub coverage_percent: Option<f64>,
    /// What limits cost: the limit's flag and how often it bit.
    #[serde(serialize_with = "as_object")]
    pub limits: Vec<Named>,
}

/// Gaps by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gaps {
    /// No packet held the bytes.
    pub lost: Gap,
    /// The snap length cut them off.
    pub snaplen: Gap,
    /// A limit gave them up.
    pub limit: Gap,
}

/// Gaps of one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// How many.
    pub count: u64,
    /// Bytes in all.
    pub bytes: u64,
}

/// Damage of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamageAt {
    /// The input as the user named it.
    pub file: String,
    /// Byte offset.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Flows {
    /// How many.
    pub count: u64,
    /// By what they spoke; "unknown" where that was not recognised.
    #[serde(serialize_with = "as_object")]
    pub kinds: Vec<Named>,
    /// Connections whose start was not captured.
    pub without_handshake: u64,
    /// Payload bytes delivered in order, to servers and to clients.
    pub payload_bytes_to_server: u64,
    /// See `payload_bytes_to_server`.
    pub payload_bytes_to_client: u64,
    /// Segments that brought nothing new.
    pub retransmissions: u64,
    /// Segments that came after later ones.
    pub out_of_order: u64,
    /// Packets that were copies of one seen on another interface.
    pub duplicates: u64,
}

/// All transactions together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Totals {
    /// Count, sizes and latency.
    #[serde(flatten)]
    pub figures: Figures,
    /// By outcome; all outcomes are listed.
    #[serde(serialize_with = "as_object")]
    pub outcomes: Vec<Named>,
    /// By how much was seen; all are listed.
    #[serde(serialize_with = "as_object")]
    pub completeness: Vec<Named>,
    /// By protocol.
    #[serde(serialize_with = "as_object")]
    pub protocols: Vec<Named>,
}

/// What a set of transactions adds up to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// How many.
    pub count: u64,
    /// Per second of the capture's time span; null where it has none.
    pub rate_per_second: Option<f64>,
    /// Failed ones: all outcomes but "ok" and "unknown".
    pub errors: u64,
    /// `errors / count`.
    pub error_share: f64,
    /// Those whose outcome was not seen, neither successes nor failures.
    pub unknown: u64,
    /// `unknown / count`.
    pub unknown_share: f64,
    /// Body bytes of requests, as transferred.
    pub request_body_bytes: u64,
    /// Body bytes of responses, as transferred.
    pub response_body_bytes: u64,
    /// Request start to response start; null where that was never seen.
    pub latency: Option<Percentiles>,
}

/// Latency percentiles: exact up to 64 values, at most 1 % (or 64 ns) off beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Transactions whose latency is known.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Largest, exact.
    pub max_ns: u64,
}

/// Latencies of a class of at most 1 % (or 64 ns): the lowest value of the class in
/// nanoseconds, and how many there are. Classes are the same in all reports.
pub type ClassCount = (u64, u64);

/// Transactions that do the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Endpoint {
    /// "http/1.1", "http/1.0", "http/2", "grpc".
    pub protocol: String,
    /// Authority or Host, in lower case; null for gRPC and where not seen.
    pub host: Option<String>,
    /// gRPC service.
    pub service: Option<String>,
    /// HTTP method, or gRPC method.
    pub method: Option<String>,
    /// Path without query, variable parts folded; null for gRPC.
    pub path: Option<String>,
    /// What they add up to.
    #[serde(flatten)]
    pub figures: Figures,
    /// What a page shows besides; None where none is asked for.
    #[serde(skip)]
    pub detail: Option<Box<EndpointDetail>>,
    /// Latencies by class, lowest first, for a comparison; empty where none is
    /// asked for.
    #[serde(skip)]
    pub latencies: Vec<ClassCount>,
}

/// Transactions by something that they have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Groups {
    /// What that is: "host", "client", "server", "status", "method", "process"
    /// or "connection".
    pub by: &'static str,
    /// What the rows are sorted by.
    pub sort: &'static str,
    /// The groups.
    pub rows: Vec<Group>,
    /// Transactions of groups past the limit on groups.
    pub other: Option<Figures>,
}

/// Transactions that have something in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// What they have in common; null where it was not seen.
    pub name: Option<String>,
    /// What they add up to.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Transactions by when they began, in steps of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// Begin of the first step.
    pub start: Time,
    /// Length of a step.
    pub step_ns: u64,
    /// Transactions that began in each step.
    pub counts: Vec<u64>,
    /// Failed ones among them.
    pub errors: Vec<u64>,
    /// Transactions whose start is not known.
    pub untimed: u64,
}

/// One transaction as an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Its start.
    pub start: Option<Time>,
    /// Request start to response start.
    pub latency_ns: Option<u64>,
    /// Request start to response end.
    pub duration_ns: Option<u64>,
    /// Number of its connection.
    pub connection: u64,
    /// Its place among the transactions of its connection.
    pub index: u64,
    /// HTTP/2 stream.
    pub stream: Option<u32>,
    /// Client's address and port.
    pub client: SocketAddr,
    /// Server's address and port.
    pub server: SocketAddr,
    /// As of an endpoint.
    pub protocol: String,
    /// Authority or Host as sent.
    pub host: Option<String>,
    /// HTTP method.
    pub method: Option<String>,
    /// Path as sent, at most 512 bytes.
    pub path: Option<String>,
    /// HTTP status.
    pub status: Option<u16>,
    /// Name of the gRPC status, "unknown" where not seen; null if not gRPC.
    pub grpc_status: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// How much of it was seen.
    pub completeness: String,
    /// Its name for `perisco show`.
    pub id: String,
    /// Name of the client's end, where one is known: see [`Party`].
    pub client_name: Option<String>,
    /// The same of the server's.
    pub server_name: Option<String>,
    /// The Service that the client addressed, where that is known and is not the
    /// server's name: without its namespace where that is the server's.
    pub service: Option<String>,
}

/// Transactions that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// "http" (by HTTP status), "grpc" (by gRPC status) or "outcome" (no
    /// status says it).
    pub by: &'static str,
    /// The HTTP status or the gRPC status code.
    pub code: Option<u32>,
    /// "404 Not Found", "UNAVAILABLE" or the name of the outcome.
    pub name: String,
    /// How many.
    pub count: u64,
    /// The earliest of them.
    pub samples: Vec<Sample>,
}

/// Who talks to whom.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edge {
    /// Client's address.
    pub client: IpAddr,
    /// Its name, where the capture carries one.
    pub client_name: Option<String>,
    /// Server's address and port.
    pub server: SocketAddr,
    /// Its name, where the capture carries one.
    pub server_name: Option<String>,
    /// What they add up to.
    #[serde(flatten)]
    pub figures: EdgeFigures,
    /// Names of the client's processes, where the capture says them: the
    /// first by name, up to a limit.
    pub client_processes: Vec<String>,
    /// The same of the server's.
    pub server_processes: Vec<String>,
    /// Names of workloads, pods, Services or nodes at the client's end, where the capture
    /// says them: likewise.
    pub client_workloads: Vec<String>,
    /// The same at the server's.
    pub server_workloads: Vec<String>,
}

/// What the connections and transactions between two hosts add up to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EdgeFigures {
    /// Connections that are over or that the capture ended.
    pub connections: u64,
    /// What those connections spoke; "unknown" where not recognised.
    pub kinds: Vec<String>,
    /// What the transactions spoke: "http/1.1", "http/2", "grpc", …
    pub protocols: Vec<String>,
    /// Payload bytes of those connections, to the server and to the client.
    pub payload_bytes_to_server: u64,
    /// See `payload_bytes_to_server`.
    pub payload_bytes_to_client: u64,
    /// Their transactions.
    pub transactions: Figures,
}

/// A count by name; lists of them are objects in json, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What is counted.
    pub name: String,
    /// How often.
    pub count: u64,
}

impl Named {
    /// A count by name.
    pub fn new(name: impl Into<String>, count: u64) -> Self {
        Self { name: name.into(), count }
    }
}

fn as_object<S: Serializer>(list: &[Named], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(list.iter().map(|named| (&named.name, named.count)))
}

/// What a real endpoint would have refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// How many there are in all.
    pub count: u64,
    /// The first by connection and packet, up to a limit.
    pub listed: Vec<Finding>,
}

/// Something that a real endpoint would have refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Number of the connection.
    pub connection: u64,
    /// Packet that carried it.
    pub packet: u64,
    /// "to server" or "to client".
    pub direction: &'static str,
    /// Client's address and port.
    pub client: SocketAddr,
    /// Server's address and port.
    pub server: SocketAddr,
    /// What and why.
    pub text: String,
}

/// A timestamp that serializes as RFC 3339 with nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
