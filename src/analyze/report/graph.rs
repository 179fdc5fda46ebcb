//! The service map as nodes and lines, for the page and for `dot`: by workload where the
//! capture says names, else by process, host or address.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::Report;
use super::model::{Edge, EdgeFigures, Party, Talk};
use super::named;

/// A workload, a host, a server or a process: whoever sends or answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    /// By its kind, namespace and name.
    Named([String; 3]),
    /// The one process that is known to be at that end.
    Process(IpAddr, String),
    /// A host, whatever its ports.
    Host(IpAddr),
    /// A server on the loopback interface, where all have one address.
    Local(SocketAddr),
    /// All clients on the loopback interface of which no process is known.
    LocalClients(IpAddr),
}

impl Node {
    fn client(address: IpAddr, processes: &[String]) -> Self {
        match processes {
            [one] => Self::Process(address, one.clone()),
            _ if address.is_loopback() => Self::LocalClients(address),
            _ => Self::Host(address),
        }
    }

    fn server(address: SocketAddr, processes: &[String]) -> Self {
        match processes {
            [one] => Self::Process(address.ip(), one.clone()),
            _ if address.ip().is_loopback() => Self::Local(address),
            _ => Self::Host(address.ip()),
        }
    }

    fn named(party: &Party) -> Option<Self> {
        let Party { kind, namespace, name, .. } = party;
        let name = name.clone()?;
        Some(Self::Named([kind.clone()?, namespace.clone().unwrap_or_default(), name]))
    }

    /// What is written in it: its name and what is beneath.
    fn label(&self, host: Option<&str>) -> Label {
        let named = |ip: &IpAddr| host.map_or_else(|| ip.to_string(), str::to_owned);
        let (name, below) = match self {
            Self::Named([kind, namespace, name]) => {
                let slash = if namespace.is_empty() { "" } else { "/" };
                (format!("{namespace}{slash}{name}"), kind.clone())
            }
            Self::Process(ip, process) => (process.clone(), named(ip)),
            Self::Host(ip) => (named(ip), host.map(|_| ip.to_string()).unwrap_or_default()),
            Self::Local(server) => (server.to_string(), String::new()),
            Self::LocalClients(ip) => ("local clients".to_owned(), ip.to_string()),
        };
        Label { name, below }
    }
}

/// What is written in a node, and beneath.
pub struct Label {
    /// The name.
    pub name: String,
    /// What it is, or its address; may be empty.
    pub below: String,
}

/// What goes from one node to another.
pub struct Line<'a> {
    /// The node that sends requests.
    pub from: usize,
    /// The node that answers.
    pub to: usize,
    /// What it adds up to.
    pub figures: &'a EdgeFigures,
    /// The Service that was addressed.
    pub service: Option<String>,
    /// The server's port, where the server has no name.
    pub port: Option<u16>,
}

/// Nodes and lines, without their places.
#[derive(Default)]
pub struct Graph<'a> {
    numbers: BTreeMap<Node, usize>,
    /// What is written in the nodes.
    pub labels: Vec<Label>,
    /// The lines, most transactions first. Between two nodes there may be several.
    pub lines: Vec<Line<'a>>,
    /// How many there are with those that are left out.
    pub of: usize,
    /// What pairs past the limit of the report came to.
    pub other: Option<&'a EdgeFigures>,
}

impl<'a> Graph<'a> {
    /// The busiest pairs of a report, `most` of them.
    pub fn new(report: &'a Report, most: usize) -> Self {
        let mut graph = Self::default();
        if report.workloads.is_empty() {
            report.edges.iter().take(most).for_each(|edge| graph.add_edge(edge));
            (graph.of, graph.other) = (report.edges.len(), report.edges_other.as_ref());
        } else {
            report.workloads.iter().take(most).for_each(|talk| graph.add_talk(talk));
            (graph.of, graph.other) = (report.workloads.len(), report.workloads_other.as_ref());
        }
        graph
    }

    fn add_edge(&mut self, edge: &'a Edge) {
        let client = Node::client(edge.client, &edge.client_processes);
        let from = self.number(client, edge.client_name.as_deref());
        let server = Node::server(edge.server, &edge.server_processes);
        let to = self.number(server, edge.server_name.as_deref());
        let port = Some(edge.server.port());
        self.lines.push(Line { from, to, figures: &edge.figures, service: None, port });
    }

    fn add_talk(&mut self, talk: &'a Talk) {
        let (client, server) = (&talk.client, &talk.server);
        // What has no name has an address, which we wrote ourselves.
        let address = |party: &Party| party.address.clone().unwrap_or_default();
        let at = address(server).parse::<SocketAddr>();
        let from = Node::named(client)
            .or_else(|| Some(Node::client(address(client).parse().ok()?, &client.processes)));
        let to =
            Node::named(server).or_else(|| Some(Node::server(at.clone().ok()?, &server.processes)));
        let (Some(from), Some(to)) = (from, to) else { return };
        let from = self.number(from, client.host.as_deref());
        let to = self.number(to, server.host.as_deref());
        let port = at.ok().map(|address| address.port());
        let service = named::service(talk);
        self.lines.push(Line { from, to, figures: &talk.figures, service, port });
    }

    /// The number of a node, which is a new one where it is not known yet.
    fn number(&mut self, node: Node, host: Option<&str>) -> usize {
        if let Some(number) = self.numbers.get(&node) {
            return *number;
        }
        self.labels.push(node.label(host));
        let number = self.labels.len() - 1;
        self.numbers.insert(node, number);
        number
    }
}
