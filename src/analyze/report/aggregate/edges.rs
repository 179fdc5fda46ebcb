//! Who talks to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use super::rows::{RowId, Rows};
use super::same_name;
use super::stats::{Facts, Stats, add};
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

/// What connections and transactions between two hosts add up to.
#[derive(Default)]
pub struct EdgeStats {
    pub connections: u64,
    kinds: BTreeSet<&'static str>,
    /// The kind added last, which mostly is the next one too.
    last_kind: &'static str,
    payload_bytes: [u64; 2],
    /// Names of processes of the client and of the server.
    processes: [BTreeSet<String>; 2],
    pub stats: Stats,
}

impl EdgeStats {
    fn merge(&mut self, other: Self) {
        self.connections += other.connections;
        self.kinds.extend(other.kinds);
        for (sum, more) in self.payload_bytes.iter_mut().zip(other.payload_bytes) {
            add(sum, more);
        }
        self.add_processes(other.processes);
        self.stats.merge(&other.stats);
    }

    fn add_kind(&mut self, kind: &'static str) {
        if !same_name(kind, self.last_kind) {
            self.kinds.insert(kind);
            self.last_kind = kind;
        }
    }

    fn add_processes(&mut self, more: [impl IntoIterator<Item = String>; 2]) {
        for (names, more) in self.processes.iter_mut().zip(more) {
            names.extend(more);
            while names.len() > PROCESSES {
                names.pop_last();
            }
        }
    }

    /// The figures of the report.
    pub fn figures(self, span_ns: Option<u64>) -> EdgeFigures {
        let [to_server, to_client] = self.payload_bytes;
        EdgeFigures {
            connections: self.connections,
            kinds: self.kinds.into_iter().map(str::to_owned).collect(),
            payload_bytes_to_server: to_server,
            payload_bytes_to_client: to_client,
            transactions: self.stats.figures(span_ns),
        }
    }
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
        self.rows.value(row).stats.add(facts);
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
        let edge = self.of_flow(Key { client: flow.client.ip(), server: flow.server });
        edge.connections += 1;
        edge.add_kind(flow.kind.unwrap_or(UNKNOWN_KIND));
        for (sum, more) in edge.payload_bytes.iter_mut().zip(flow.payload_bytes) {
            add(sum, more);
        }
        if flow.processes.iter().any(|names| !names.is_empty()) {
            edge.add_processes(flow.processes.clone());
        }
    }

    /// Adds names of processes at the client's and the server's end.
    pub fn add_processes(&mut self, [client, server]: [SocketAddr; 2], names: [Vec<String>; 2]) {
        self.of_flow(Key { client: client.ip(), server }).add_processes(names);
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
                let [clients, servers] =
                    std::mem::take(&mut stats.processes).map(|names| names.into_iter().collect());
                Edge {
                    client,
                    client_name: names.get(&client).cloned(),
                    server,
                    server_name: names.get(&server.ip()).cloned(),
                    figures: stats.figures(span_ns),
                    client_processes: clients,
                    server_processes: servers,
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
