//! Transactions that do the same: how they are named, what they did, and some
//! of them to look at.

use std::collections::VecDeque;
use std::sync::Arc;

use perisco::analyze::report::fold::{fold, split_absolute};
use perisco::analyze::report::route::Routes;
use perisco::analyze::report::text::units::escape;
use perisco::analyze::report::text_of;
use perisco::analyze::transaction::Transaction;

use super::example::Example;
use super::series::{Facts, Series};

/// The last transactions that an endpoint keeps.
const LAST: usize = 32;
/// The last failed ones that it keeps.
const FAILED: usize = 32;
/// The slowest that it keeps.
const SLOWEST: usize = 16;

/// Bytes of a host, method or service that are kept.
const NAME_BYTES: usize = 256;

/// Which of an endpoint's transactions are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum List {
    #[default]
    Last,
    Slowest,
    Failed,
}

impl List {
    pub const ALL: [Self; 3] = [Self::Last, Self::Slowest, Self::Failed];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Slowest => "slowest",
            Self::Failed => "failed",
        }
    }

    /// The one that is so many places further.
    pub fn moved(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|list| *list == self).unwrap_or(0) as isize;
        let at = (at + by).rem_euclid(Self::ALL.len() as isize) as usize;
        Self::ALL.get(at).copied().unwrap_or_default()
    }
}

/// Transactions that do the same.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// "1.1", "1.0", "2" or "gRPC".
    pub protocol: &'static str,
    /// As rows show it: safe for a terminal.
    pub name: String,
    pub series: Series,
    last: VecDeque<Arc<Example>>,
    failed: VecDeque<Arc<Example>>,
    slowest: Vec<Arc<Example>>,
}

impl Endpoint {
    /// One of which nothing was seen yet.
    pub fn new(protocol: &'static str, name: String) -> Self {
        Self { protocol, name, ..Self::default() }
    }

    /// Adds a transaction that finished at a time in nanoseconds.
    pub fn add(&mut self, at: i64, facts: &Facts, example: &Arc<Example>) {
        self.series.add(at, facts);
        push(&mut self.last, example, LAST);
        if facts.error {
            push(&mut self.failed, example, FAILED);
        }
        self.keep_slow(example);
    }

    fn keep_slow(&mut self, example: &Arc<Example>) {
        let latency = |example: &Example| example.transaction().latency_ns();
        let Some(nanos) = latency(example) else { return };
        let slower = self.slowest.partition_point(|kept| latency(kept) >= Some(nanos));
        if slower < SLOWEST {
            self.slowest.insert(slower, Arc::clone(example));
            self.slowest.truncate(SLOWEST);
        }
    }

    /// A list of transactions: the newest or the slowest first.
    pub fn list(&self, list: List) -> Vec<Arc<Example>> {
        match list {
            List::Last => self.last.iter().rev().cloned().collect(),
            List::Failed => self.failed.iter().rev().cloned().collect(),
            List::Slowest => self.slowest.clone(),
        }
    }
}

fn push(list: &mut VecDeque<Arc<Example>>, example: &Arc<Example>, most: usize) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(Arc::clone(example));
}

/// What tells endpoints apart, and how rows name them.
#[derive(Debug, Default)]
pub struct Key {
    pub protocol: &'static str,
    /// Host, method and path, or service and method; what was not seen is `?`.
    pub bytes: Vec<u8>,
    path: Vec<u8>,
}

impl Key {
    /// Takes over that of a transaction.
    pub fn set(&mut self, transaction: &Transaction, routes: &Routes) {
        self.bytes.clear();
        self.protocol = match transaction.protocol {
            "http/1.1" => "1.1",
            "http/1.0" => "1.0",
            "http/2" => "2",
            "grpc" => "gRPC",
            other => other,
        };
        if let Some(service) = transaction.service() {
            self.push(Some(service));
            self.bytes.push(b'/');
            return self.push(transaction.rpc_method());
        }
        let method = transaction.request_text(|request| request.method);
        self.push(method);
        self.bytes.push(b' ');
        let host = transaction.request_text(|request| request.authority);
        let Some(path) = transaction.request_text(|request| request.path) else {
            self.push(host);
            return self.bytes.extend_from_slice(b" ?");
        };
        self.path.clear();
        if transaction.grpc.is_some() || method == Some(b"CONNECT") {
            self.path.extend_from_slice(path.get(..NAME_BYTES).unwrap_or(path));
        } else if let Some(route) = routes.find(path) {
            self.path.extend_from_slice(route);
        } else {
            fold(path, &mut self.path);
        }
        let host = split_absolute(path).0.or(host);
        self.push(host);
        if self.path.first() != Some(&b'/') {
            self.bytes.push(b' ');
        }
        self.bytes.extend_from_slice(&self.path);
    }

    fn push(&mut self, part: Option<&[u8]>) {
        let part = part.unwrap_or(b"?");
        match part.get(..NAME_BYTES) {
            Some(head) if part.len() > NAME_BYTES => {
                self.bytes.extend_from_slice(head);
                self.bytes.extend_from_slice("…".as_bytes());
            }
            _ => self.bytes.extend_from_slice(part),
        }
    }

    /// As rows show it.
    pub fn name(&self) -> String {
        escape(&text_of(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::state::example::Budget;
    use crate::top::state::testkit::{lasting, watched};

    fn name(method: &str, path: &str) -> String {
        let mut key = Key::default();
        key.set(&watched(method, path, 200).transaction, &Routes::default());
        key.name()
    }

    #[test]
    fn variable_parts_and_queries_are_folded() {
        assert_eq!(name("GET", "/users/42?q=1"), "GET shop/users/{n}");
        assert_eq!(name("GET", "http://other/users/7"), "GET other/users/{n}");
        assert_eq!(name("CONNECT", "db:5432"), "CONNECT shop db:5432");
        assert_eq!(name("OPTIONS", "*"), "OPTIONS shop *");
    }

    #[test]
    fn names_of_the_wire_are_inert() {
        assert_eq!(name("GET", "/\x1b[31m\u{202e}"), "GET shop/\\x1b[31m\\u{202e}");
        assert!(name(&"M".repeat(9000), &format!("/{}", "p".repeat(9000))).len() < 1200);
    }

    #[test]
    fn lists_keep_the_last_the_slowest_and_the_failed() {
        let mut endpoint = Endpoint::default();
        let budget = Budget::default();
        for index in 0..100_u64 {
            let latency = (index * 37) % 100;
            let watched = lasting(index, latency, if index % 10 == 0 { 500 } else { 200 });
            let facts = Facts::of(&watched.transaction);
            endpoint.add(0, &facts, &Example::new(watched, &budget));
        }
        let latencies = |list| -> Vec<_> {
            let list = endpoint.list(list);
            list.iter().map(|example| example.transaction().latency_ns().unwrap()).collect()
        };
        assert_eq!(latencies(List::Last)[..3], [63, 26, 89]);
        assert_eq!(latencies(List::Last).len(), LAST);
        assert_eq!(latencies(List::Slowest), (84..100).rev().collect::<Vec<_>>());
        assert_eq!(latencies(List::Failed)[..2], [30, 60]);
        assert_eq!(latencies(List::Failed).len(), 10);
        assert_eq!(List::Last.moved(-1), List::Failed);
        assert_eq!(List::Failed.moved(1), List::Last);
    }
}
