//! Transactions by something else than their endpoint, and what tables are
//! sorted by.

use std::cmp::Reverse;
use std::net::SocketAddr;

use super::endpoints::{ENDPOINTS, push_bounded};
use super::rows::{RowId, Rows};
use super::stats::{Facts, Stats};
use crate::analyze::owner::{End, Process};
use crate::analyze::report::model::{Figures, Group, Groups};
use crate::analyze::report::write::{push_address, push_u64, text_of};
use crate::analyze::report::{Item, address_text};

/// What rows of the main table stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Host, method and folded path, or gRPC service and method
    #[default]
    Endpoint,
    /// Authority or Host, in lower case
    Host,
    /// Address of the client, without its port
    Client,
    /// Address and port of the server
    Server,
    /// HTTP status, or name of the gRPC status
    Status,
    /// Method of the request
    Method,
    /// Names of the processes at both ends, where the capture says them
    Process,
    /// Workloads at both ends, where the capture says them
    Workload,
    /// Pods at both ends, likewise
    Pod,
    /// Namespaces of both ends, likewise
    Namespace,
    /// Service that the client addressed
    Service,
    /// Connection
    Connection,
}

impl By {
    /// As it stands on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Host => "host",
            Self::Client => "client",
            Self::Server => "server",
            Self::Status => "status",
            Self::Method => "method",
            Self::Process => "process",
            Self::Workload => "workload",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
            Self::Service => "service",
            Self::Connection => "connection",
        }
    }
}

/// Which rows of the main table come first; those that are equal are sorted by
/// count, then by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Most transactions
    #[default]
    Count,
    /// Most errors
    Errors,
    /// Largest median latency
    P50,
    /// Largest 99th percentile
    P99,
    /// Largest latency
    Max,
    /// Most body bytes in both directions
    Bytes,
    /// Most transactions per second
    Rate,
}

impl Sort {
    /// As it stands on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Errors => "errors",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Bytes => "bytes",
            Self::Rate => "rate",
        }
    }

    /// The place of figures: less comes first. A latency that was never seen
    /// comes last.
    pub fn place(self, figures: &Figures) -> impl Ord + use<> {
        let latency = figures.latency.as_ref();
        let value = match self {
            // Rates are over the same time for all rows.
            Self::Count | Self::Rate => Some(figures.count),
            Self::Errors => Some(figures.errors),
            Self::P50 => latency.map(|latency| latency.p50_ns),
            Self::P99 => latency.map(|latency| latency.p99_ns),
            Self::Max => latency.map(|latency| latency.max_ns),
            Self::Bytes => {
                Some(figures.request_body_bytes.saturating_add(figures.response_body_bytes))
            }
        };
        (Reverse(value), Reverse(figures.count))
    }
}

/// Name of a row; None where it was not seen.
type Key = Option<Box<[u8]>>;

/// Rows by name, as many in each of the shards as there are endpoints.
pub struct Grouping {
    by: By,
    rows: Rows<Key, Stats>,
    /// Name of the row at hand.
    scratch: Vec<u8>,
}

impl Grouping {
    /// No rows yet.
    pub fn new(by: By) -> Self {
        Self { by, rows: Rows::new(ENDPOINTS), scratch: Vec::new() }
    }

    /// Adds a transaction.
    pub fn add(&mut self, item: &Item<'_>, facts: &Facts) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let seen = push_name(self.by, item, &mut scratch);
        let row = self.row(seen.map(|()| scratch.as_slice()));
        self.rows.value(row).add(facts);
        self.scratch = scratch;
    }

    fn row(&mut self, name: Option<&[u8]>) -> RowId {
        let hash = self.rows.hash(name);
        match self.rows.find(hash, |known| known.as_deref() == name) {
            Some(row) => row,
            None => self.rows.insert(hash, name.map(Box::from)),
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Self) {
        let (rows, rest) = other.rows.into_rows();
        for (key, stats) in rows {
            let hash = self.rows.hash(key.as_deref());
            match self.rows.find(hash, |known| *known == key) {
                Some(row) => self.rows.value(row).merge(&stats),
                None => {
                    self.rows.insert_value(hash, key, stats);
                }
            }
        }
        self.rows.rest.merge(&rest);
    }

    /// The rows of the report, and what went past the limit.
    pub fn finish(self, span_ns: Option<u64>, sort: Sort) -> Groups {
        let (rows, rest) = self.rows.into_rows();
        let mut rows: Vec<_> = rows
            .map(|(key, stats)| Group {
                name: key.as_deref().map(text_of),
                figures: stats.figures(span_ns),
            })
            .collect();
        rows.sort_by_cached_key(|group| (sort.place(&group.figures), group.name.clone()));
        let other = (rest.count > 0).then(|| rest.figures(span_ns));
        Groups { by: self.by.name(), sort: sort.name(), rows, other }
    }
}

/// Appends the name of the row that a transaction belongs to.
fn push_name(by: By, item: &Item<'_>, out: &mut Vec<u8>) -> Option<()> {
    let transaction = item.transaction;
    match by {
        // Endpoints have a table of their own.
        By::Endpoint => return None,
        By::Host => {
            push_bounded(transaction.request_text(|m| m.authority)?, out);
            out.make_ascii_lowercase();
        }
        By::Client => out.extend_from_slice(item.client.ip().to_string().as_bytes()),
        By::Server => push_address(out, item.server),
        By::Status => match &transaction.grpc {
            Some(grpc) if grpc.status.is_some() => {
                out.extend_from_slice(b"grpc ");
                out.extend_from_slice(grpc.status_name().as_bytes());
            }
            // A proxy's answer, perhaps; 200 comes before the status of a call.
            Some(_) => push_u64(out, u64::from(transaction.status().filter(|s| *s != 200)?)),
            None => push_u64(out, u64::from(transaction.status()?)),
        },
        By::Method => push_bounded(transaction.request_text(|m| m.method)?, out),
        By::Process => {
            let name = |process: Option<&'_ Process>| {
                process.and_then(|process| process.comm.clone()).unwrap_or_else(|| "?".to_owned())
            };
            let ends = [item.client_end.process, item.server_end.process];
            if ends.iter().all(|end| end.is_none_or(|process| process.comm.is_none())) {
                return None;
            }
            let [client, server] = ends.map(name);
            push_bounded(format!("{client} → {server}").as_bytes(), out);
        }
        By::Workload => push_ends(item, |end| end.name().map(|name| name.to_string()), out),
        By::Pod => push_ends(item, |end| end.pod().map(ToString::to_string), out),
        By::Namespace => {
            let ends = [item.client_end, item.server_end].map(|end| end.namespace());
            if ends.iter().all(Option::is_none) {
                return None;
            }
            let [client, server] = ends.map(|namespace| namespace.unwrap_or("?"));
            push_bounded(format!("{client} → {server}").as_bytes(), out);
        }
        By::Service => push_bounded(item.server_end.service()?.to_string().as_bytes(), out),
        By::Connection => push_connection(item.connection, [item.client, item.server], out),
    }
    Some(())
}

/// Appends the names of both ends; the address of one that has none.
fn push_ends(item: &Item<'_>, name: fn(&End<'_>) -> Option<String>, out: &mut Vec<u8>) {
    let client = name(&item.client_end).unwrap_or_else(|| item.client.ip().to_string());
    let server = name(&item.server_end).unwrap_or_else(|| address_text(item.server));
    push_bounded(format!("{client} → {server}").as_bytes(), out);
}

fn push_connection(number: u64, [client, server]: [SocketAddr; 2], out: &mut Vec<u8>) {
    out.push(b'#');
    push_u64(out, number);
    out.push(b' ');
    push_address(out, client);
    out.extend_from_slice(" → ".as_bytes());
    push_address(out, server);
}
