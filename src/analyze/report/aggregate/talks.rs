//! Who talks to whom by workload: the service map.
//!
//! There is none until the first end with a name comes up, and captures without names
//! never have one; what came before is taken over from the pairs of hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::edges::{EDGES, EdgeStats, Edges, keep_first};
use super::rows::{RowId, Rows};
use super::stats::Facts;
use crate::analyze::owner::End;
use crate::analyze::owner::place::{Basis, Name, Qualified};
use crate::analyze::report::model::{Party, Talk};
use crate::analyze::report::{FlowTotals, Item, address_text};

/// Of the rows, those that had connections but no transaction when the first of these
/// was over.
const IDLE_TALKS: usize = EDGES / 2;

/// An end as rows are looked up by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Node<'a> {
    Named(Name<'a>),
    Client(IpAddr),
    Server(SocketAddr),
}

/// An end as a row keeps it.
enum Kept {
    Named { kind: Box<str>, namespace: Option<Box<str>>, name: Box<str> },
    Client(IpAddr),
    Server(SocketAddr),
}

impl Kept {
    fn of(node: Node<'_>) -> Self {
        match node {
            Node::Named(Name { kind, namespace, name }) => Self::Named {
                kind: kind.into(),
                namespace: namespace.map(Box::from),
                name: name.into(),
            },
            Node::Client(address) => Self::Client(address),
            Node::Server(address) => Self::Server(address),
        }
    }

    fn node(&self) -> Node<'_> {
        match self {
            Self::Named { kind, namespace, name } => {
                Node::Named(Name { kind, namespace: namespace.as_deref(), name })
            }
            Self::Client(address) => Node::Client(*address),
            Self::Server(address) => Node::Server(*address),
        }
    }
}

/// Both ends and the Service, as rows are looked up by them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Pair<'a> {
    client: Node<'a>,
    server: Node<'a>,
    service: Option<&'a Qualified>,
}

impl<'a> Pair<'a> {
    fn new(addresses: [SocketAddr; 2], [client, server]: [End<'a>; 2]) -> Self {
        let [from, to] = addresses;
        Self {
            client: client.name().map_or(Node::Client(from.ip()), Node::Named),
            server: server.name().map_or(Node::Server(to), Node::Named),
            service: server.service(),
        }
    }
}

/// The same as a row keeps it.
struct Key {
    client: Kept,
    server: Kept,
    service: Option<Qualified>,
}

impl Key {
    fn of(pair: Pair<'_>) -> Self {
        Self {
            client: Kept::of(pair.client),
            server: Kept::of(pair.server),
            service: pair.service.cloned(),
        }
    }

    fn pair(&self) -> Pair<'_> {
        Pair {
            client: self.client.node(),
            server: self.server.node(),
            service: self.service.as_ref(),
        }
    }
}

/// What connections and transactions between two ends add up to.
#[derive(Default)]
pub struct TalkStats {
    pub edge: EdgeStats,
    /// Pods of the client and of the server.
    pods: [BTreeSet<String>; 2],
    basis: [BTreeSet<Basis>; 2],
}

impl TalkStats {
    fn of(edge: &EdgeStats) -> Self {
        Self { edge: edge.clone(), ..Self::default() }
    }

    fn merge(&mut self, other: Self) {
        self.edge.merge(other.edge);
        for (pods, more) in self.pods.iter_mut().zip(other.pods) {
            keep_first(pods, more);
        }
        for (basis, more) in self.basis.iter_mut().zip(other.basis) {
            basis.extend(more);
        }
    }

    /// Keeps who the ends are.
    fn name(&mut self, ends: [End<'_>; 2]) {
        let all = self.pods.iter_mut().zip(&mut self.basis).zip(ends);
        for ((pods, basis), end) in all {
            basis.extend(end.basis());
            // Mostly it is one that is known.
            let is = |known: &String, namespace: &str, name: &str| {
                known.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('/')) == Some(name)
            };
            let known = |pod: &&Qualified| pods.iter().any(|p| is(p, &pod.namespace, &pod.name));
            if let Some(pod) = end.pod().filter(|pod| !known(pod)) {
                keep_first(pods, [pod.to_string()]);
            }
        }
    }
}

/// Rows by both ends and the Service.
pub struct Talks {
    rows: Rows<Key, TalkStats>,
}

impl Talks {
    /// With all that was added to the pairs of hosts, of which none had a name.
    pub fn after(edges: &Edges) -> Self {
        let mut talks = Self { rows: Rows::new(EDGES) };
        for (client, server, stats) in edges.rows() {
            let (client, server) = (Node::Client(client), Node::Server(server));
            let row = talks.row(Pair { client, server, service: None });
            *talks.rows.value(row) = TalkStats::of(stats);
        }
        talks.rows.rest = TalkStats::of(edges.rest());
        talks
    }

    /// Adds a transaction.
    pub fn add(&mut self, item: &Item<'_>, facts: &Facts) {
        let ends = [item.client_end, item.server_end];
        let row = self.row(Pair::new([item.client, item.server], ends));
        let stats = self.rows.value(row);
        stats.edge.add(item.transaction.protocol, facts);
        stats.name(ends);
    }

    fn find(&self, pair: Pair<'_>) -> (u64, Option<RowId>) {
        let hash = self.rows.hash(pair);
        (hash, self.rows.find(hash, |known| known.pair() == pair))
    }

    fn row(&mut self, pair: Pair<'_>) -> RowId {
        let (hash, found) = self.find(pair);
        found.unwrap_or_else(|| self.rows.insert(hash, Key::of(pair)))
    }

    /// Adds a connection that is over.
    pub fn add_flow(&mut self, flow: &FlowTotals) {
        let ends = flow.ends.each_ref().map(|end| end.end());
        let pair = Pair::new([flow.client, flow.server], ends);
        let stats = match self.find(pair) {
            (_, Some(row)) => self.rows.value(row),
            (hash, None) if self.rows.len() < IDLE_TALKS => {
                let row = self.rows.insert(hash, Key::of(pair));
                self.rows.value(row)
            }
            (_, None) => &mut self.rows.rest,
        };
        stats.edge.add_flow(flow);
        stats.name(ends);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Self) {
        let (rows, rest) = other.rows.into_rows();
        for (key, stats) in rows {
            match self.find(key.pair()) {
                (_, Some(row)) => self.rows.value(row).merge(stats),
                (hash, None) => {
                    self.rows.insert_value(hash, key, stats);
                }
            }
        }
        self.rows.rest.merge(rest);
    }

    /// The rows of the report, most transactions first, and what went past the
    /// limit.
    pub fn finish(
        self,
        span_ns: Option<u64>,
        names: &BTreeMap<IpAddr, String>,
    ) -> (Vec<Talk>, EdgeStats) {
        let (rows, rest) = self.rows.into_rows();
        let mut talks: Vec<_> = rows.map(|(key, stats)| talk(key, stats, span_ns, names)).collect();
        talks.sort_by_cached_key(|talk| {
            let figures = &talk.figures;
            let busy = (figures.transactions.count, figures.connections);
            let place = |party: &Party| {
                let Party { kind, namespace, name, address, .. } = party.clone();
                (namespace, name, kind, address)
            };
            let ends = (place(&talk.server), place(&talk.client), talk.service.clone());
            (std::cmp::Reverse(busy), ends)
        });
        (talks, rest.edge)
    }
}

fn talk(
    key: Key,
    mut stats: TalkStats,
    span_ns: Option<u64>,
    names: &BTreeMap<IpAddr, String>,
) -> Talk {
    let [client_processes, server_processes] = stats.edge.take_processes();
    let mut client = party(key.client, names);
    let mut server = party(key.server, names);
    (client.processes, server.processes) = (client_processes, server_processes);
    for ((party, pods), basis) in
        [&mut client, &mut server].into_iter().zip(stats.pods).zip(stats.basis)
    {
        party.pods = pods.into_iter().collect();
        party.by = basis.into_iter().map(Basis::name).collect();
    }
    let service = key.service.map(|service| service.to_string());
    Talk { client, server, service, figures: stats.edge.figures(span_ns) }
}

fn party(node: Kept, names: &BTreeMap<IpAddr, String>) -> Party {
    let of = |address: String, ip: IpAddr| Party {
        address: Some(address),
        host: names.get(&ip).cloned(),
        ..Party::default()
    };
    match node {
        Kept::Named { kind, namespace, name } => Party {
            kind: Some(kind.into()),
            namespace: namespace.map(String::from),
            name: Some(name.into()),
            ..Party::default()
        },
        Kept::Client(ip) => of(ip.to_string(), ip),
        Kept::Server(address) => of(address_text(address), address.ip()),
    }
}
