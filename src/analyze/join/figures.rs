//! What joining came to, for reports.

use serde::Serialize;

use crate::analyze::report::aggregate::{Latency, LatencyValue};
use crate::analyze::report::model::{Percentiles, Time};

use super::Split;

/// What was joined and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections of which both ends were seen.
    pub connections_joined: u64,
    /// Connections of which one end was seen, or that could not be told to be one.
    pub connections_alone: u64,
    /// Those of them whose start was not seen, so that behind a NAT nothing tells.
    pub connections_midway: u64,
    /// Flows that could have been the other end of several.
    pub ambiguous: u64,
    /// Transactions of which both copies were seen.
    pub transactions_joined: u64,
    /// Transactions of which one was.
    pub transactions_alone: u64,
    /// Those of them on a connection that was joined: one node has missed them, or nothing
    /// proves which they are.
    pub unmatched: u64,
    /// Pairs of copies that contradict each other; both are reported.
    pub contradicting: u64,
    /// What went out alone before its time, since too much waited.
    pub given_up: u64,
}

/// What joining came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JoinTotals {
    /// Names of the nodes, in the order in which inputs name them; a node that was started
    /// again comes twice.
    pub nodes: Vec<String>,
    /// What was joined and what was not.
    #[serde(flatten)]
    pub counts: Counts,
    /// How far the clocks of two nodes are apart.
    pub clocks: Vec<OffsetTotals>,
    /// Where the time of transactions went, by client's and server's node.
    pub links: Vec<LinkTotals>,
}

/// How far the clocks of two nodes are apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OffsetTotals {
    /// The node whose clock is compared.
    pub node: String,
    /// The node with which.
    pub with: String,
    /// The clock of `node` minus that of `with`, where it is known best; null where no
    /// transaction between them has all times.
    pub offset_ns: Option<i64>,
    /// What the offset may be off.
    pub error_ns: Option<u64>,
    /// When that was, by the clock of `with`.
    pub at: Option<Time>,
    /// Transactions that it follows from.
    pub transactions: u64,
    /// How often one of the clocks was set, or drifted by more than is believed.
    pub steps: u64,
}

/// Where the time of transactions went whose client is on one node and server on another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkTotals {
    /// The client's node.
    pub client: String,
    /// The server's.
    pub server: String,
    /// Transactions.
    pub transactions: u64,
    /// From the client's write to its read, where all times are known.
    pub latency: Option<Percentiles>,
    /// From the client's write to the server's read.
    pub request: Option<Percentiles>,
    /// From the server's read to its write.
    pub server_time: Option<Percentiles>,
    /// From the server's write to the client's read.
    pub response: Option<Percentiles>,
    /// What those over the network may be off.
    pub error: Option<Percentiles>,
}

/// Sums of a link.
#[derive(Debug, Default)]
pub struct LinkSums {
    transactions: u64,
    /// Latency, request, server, response, error.
    times: [Latency; 5],
}

impl LinkSums {
    /// Adds a transaction.
    pub fn add(&mut self, split: Option<Split>) {
        self.transactions += 1;
        let Some(Split { request_ns, server_ns, response_ns, error_ns, .. }) = split else {
            return;
        };
        let latency = request_ns.saturating_add(server_ns).saturating_add(response_ns);
        let values = [latency, request_ns, server_ns, response_ns, error_ns];
        for (times, value) in self.times.iter_mut().zip(values) {
            times.add(LatencyValue::new(value));
        }
    }

    /// What they come to.
    pub fn totals(&mut self, client: String, server: String) -> LinkTotals {
        let transactions = self.transactions;
        let [latency, request, server_time, response, error] =
            self.times.each_mut().map(Latency::percentiles);
        LinkTotals { client, server, transactions, latency, request, server_time, response, error }
    }
}
