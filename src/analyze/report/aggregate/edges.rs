//! Who talks to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use super::counts::same_name;
use super::rows::{RowId, Rows};
use super::stats::{Facts, Stats, add};
use crate::analyze::owner::OwnedEnd;
use crate::analyze::report::model::{Edge, EdgeFigures};
use crate::analyze::report::{FlowTotals, Item};

/// Pairs of client address and server told apart in each of the shards.
pub const EDGES: usize = 512;
/// Of those, pairs that had connections but no transaction when their first
/// connection was over: a port scan must not take the room of the rest.
const IDLE_EDGES: usize = EDGES / 2;

/// Names of processes kept for each end of a pair, the first by name: a
/// hostile capture can have any number.
pub const PROCESSES: usize = 16;

/// The name of connections whose protocol was not recognised.
pub const UNKNOWN_KIND: &str = "unknown";

/// Client address and server.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    client: IpAddr,
    server: SocketAddr,
}

impl Hash for Key {
    /// In as few pieces as there can be: nearly all pairs are of IPv4.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match (self.client, self.server) {
            (IpAddr::V4(client), SocketAddr::V4(server)) => {
                let addresses = u64::from(client.to_bits()) << 32;
                state.write_u64(addresses | u64::from(server.ip().to_bits()));
                state.write_u16(server.port());
            }
            (client, server) => (client, server).hash(state),
        }
    }
}

/// Names out of few.
#[derive(Clone, Default)]
struct Kinds {
    all: BTreeSet<&'static str>,
    /// The one added last, which mostly is the next one too.
    last: &'static str,
}

impl Kinds {
    #[inline]
    fn add(&mut self, kind: &'static str) {
        if !same_name(kind, self.last) {
            self.insert(kind);
        }
    }

    #[cold]
    fn insert(&mut self, kind: &'static str) {
        self.all.insert(kind);
        self.last = kind;
    }

    fn finish(self) -> Vec<String> {
        self.all.into_iter().map(str::to_owned).collect()
    }
}

/// Adds names and keeps the first, as many as there may be of an end.
pub fn keep_first(names: &mut BTreeSet<String>, more: impl IntoIterator<Item = String>) {
    names.extend(more);
    while names.len() > PROCESSES {
        names.pop_last();
    }
}

/// What connections and transactions between two hosts add up to.
#[derive(Clone, Default)]
pub struct EdgeStats {
    pub connections: u64,
    kinds: Kinds,
    protocols: Kinds,
    payload_bytes: [u64; 2],
    /// Names of processes of the client and of the server.
    processes: [BTreeSet<String>; 2],
    /// Names of workloads, pods, Services or nodes of the client and of the server.
    names: [BTreeSet<String>; 2],
    pub stats: Stats,
}

impl EdgeStats {
    /// Adds all of another.
    pub fn merge(&mut self, other: Self) {
        self.connections += other.connections;
        self.kinds.all.extend(other.kinds.all);
        self.protocols.all.extend(other.protocols.all);
        for (sum, more) in self.payload_bytes.iter_mut().zip(other.payload_bytes) {
            add(sum, more);
        }
        self.add_processes(other.processes);
        self.add_names(other.names);
        self.stats.merge(&other.stats);
    }

    /// Adds a transaction of a protocol.
    #[inline]
    pub fn add(&mut self, protocol: &'static str, facts: &Facts) {
        self.protocols.add(protocol);
        self.stats.add(facts);
    }

    /// Adds a connection that is over.
    pub fn add_flow(&mut self, flow: &FlowTotals) {
        self.connections += 1;
        self.kinds.add(flow.kind.unwrap_or(UNKNOWN_KIND));
        for (sum, more) in self.payload_bytes.iter_mut().zip(flow.payload_bytes) {
            add(sum, more);
        }
        if flow.processes.iter().any(|names| !names.is_empty()) {
            self.add_processes(flow.processes.clone());
        }
        if flow.ends.iter().any(|end| end.end().is_named()) {
            self.add_names(names_of(&flow.ends));
        }
    }

    fn add_processes(&mut self, more: [impl IntoIterator<Item = String>; 2]) {
        for (names, more) in self.processes.iter_mut().zip(more) {
            keep_first(names, more);
        }
    }

    fn add_names(&mut self, more: [impl IntoIterator<Item = String>; 2]) {
        for (names, more) in self.names.iter_mut().zip(more) {
            keep_first(names, more);
        }
    }

    /// The names of processes, which are not in [`EdgeStats::figures`].
    pub fn take_processes(&mut self) -> [Vec<String>; 2] {
        std::mem::take(&mut self.processes).map(|names| names.into_iter().collect())
    }

    /// The figures of the report.
    pub fn figures(self, span_ns: Option<u64>) -> EdgeFigures {
        let [to_server, to_client] = self.payload_bytes;
        EdgeFigures {
            connections: self.connections,
            kinds: self.kinds.finish(),
            protocols: self.protocols.finish(),
            payload_bytes_to_server: to_server,
            payload_bytes_to_client: to_client,
            transactions: self.stats.figures(span_ns),
        }
    }
}

fn names_of(ends: &[OwnedEnd; 2]) -> [Option<String>; 2] {
    ends.each_ref().map(|end| end.end().name().map(|name| name.to_string()))
}

/// Rows by client address and server.
pub struct Edges {
    rows: Rows<Key, EdgeStats>,
    /// The last one: transactions of one connection come in a row.
    last: Option<(Key, RowId)>,
}

impl Edges {
    /// No pairs yet.
    pub fn new() -> Self {
        Self { rows: Rows::new(EDGES), last: None }
    }

    /// Adds a transaction.
    #[inline]
    pub fn add(&mut self, item: &Item<'_>, facts: &Facts) {
        let key = Key { client: item.client.ip(), server: item.server };
        let row = match self.last {
            Some((last, row)) if last == key => row,
            _ => self.row(key),
        };
        self.rows.value(row).add(item.transaction.protocol, facts);
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = (IpAddr, SocketAddr, &EdgeStats)> {
        self.rows.iter().map(|(key, stats)| (key.client, key.server, stats))
    }

    /// What went past the limit.
    pub fn rest(&self) -> &EdgeStats {
        &self.rows.rest
    }

    fn row(&mut self, key: Key) -> RowId {
        let hash = self.rows.hash(key);
        let found = self.rows.find(hash, |known| *known == key);
        let row = found.unwrap_or_else(|| self.rows.insert(hash, key));
        self.last = Some((key, row));
        row
    }

    /// Adds a connection that is over.
    pub fn add_flow(&mut self, flow: &FlowTotals) {
        self.of_flow(Key { client: flow.client.ip(), server: flow.server }).add_flow(flow);
    }

    /// Adds names of processes at the client's and the server's end, and what else is
    /// known of these.
    pub fn add_ends(
        &mut self,
        [client, server]: [SocketAddr; 2],
        processes: [Vec<String>; 2],
        ends: &[OwnedEnd; 2],
    ) {
        let edge = self.of_flow(Key { client: client.ip(), server });
        edge.add_processes(processes);
        edge.add_names(names_of(ends));
    }

    fn of_flow(&mut self, key: Key) -> &mut EdgeStats {
        if let Some((last, row)) = self.last
            && last == key
        {
            return self.rows.value(row);
        }
        let hash = self.rows.hash(key);
        match self.rows.find(hash, |known| *known == key) {
            Some(row) => self.rows.value(row),
            None if self.rows.len() < IDLE_EDGES => {
                let row = self.rows.insert(hash, key);
                self.rows.value(row)
            }
            None => &mut self.rows.rest,
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Self) {
        let (rows, rest) = other.rows.into_rows();
        for (key, stats) in rows {
            let hash = self.rows.hash(key);
            match self.rows.find(hash, |known| *known == key) {
                Some(row) => self.rows.value(row).merge(stats),
                None => {
                    self.rows.insert_value(hash, key, stats);
                }
            }
        }
        self.rows.rest.merge(rest);
    }

    /// The rows of the report, most transactions first, and what went past
    /// the limit.
    pub fn finish(
        self,
        span_ns: Option<u64>,
        names: &BTreeMap<IpAddr, String>,
    ) -> (Vec<Edge>, EdgeStats) {
        let (rows, rest) = self.rows.into_rows();
        let mut edges: Vec<_> = rows
            .map(|(Key { client, server }, mut stats)| {
                let [clients, servers] = stats.take_processes();
                let [client_workloads, server_workloads] =
                    std::mem::take(&mut stats.names).map(|names| names.into_iter().collect());
                Edge {
                    client,
                    client_name: names.get(&client).cloned(),
                    server,
                    server_name: names.get(&server.ip()).cloned(),
                    figures: stats.figures(span_ns),
                    client_processes: clients,
                    server_processes: servers,
                    client_workloads,
                    server_workloads,
                }
            })
            .collect();
        edges.sort_by(|a, b| {
            let busy = |e: &Edge| (e.figures.transactions.count, e.figures.connections);
            let place = |e: &Edge| (e.server, e.client);
            busy(b).cmp(&busy(a)).then_with(|| place(a).cmp(&place(b)))
        });
        (edges, rest)
    }
}
