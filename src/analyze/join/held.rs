//! Transactions of one flow that wait for their copy, by what both copies have in common.

use std::collections::{BTreeMap, HashMap};

use crate::analyze::transaction::{Message, Transaction};
use crate::analyze::watch::Watched;

/// What names a transaction within its connection, at either end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// HTTP/2 stream.
    Stream(u32),
    /// Sequence number of the request's first byte.
    Request(u32),
    /// Sequence number of the response's first byte.
    Response(u32),
}

fn keys(transaction: &Transaction) -> impl Iterator<Item = Key> + use<> {
    let seq = |message: &Option<Message>| message.as_ref().and_then(|message| message.seq);
    let keys = match transaction.stream {
        Some(stream) => [Some(Key::Stream(stream)), None],
        None => [
            seq(&transaction.request).map(Key::Request),
            seq(&transaction.response).map(Key::Response),
        ],
    };
    keys.into_iter().flatten()
}

/// Whether two messages may be one.
fn fits(one: &Option<Message>, other: &Option<Message>) -> bool {
    let seq = |message: &Option<Message>| message.as_ref().and_then(|message| message.seq);
    seq(one).zip(seq(other)).is_none_or(|(one, other)| one == other)
}

/// Whether it is a request or a response of HTTP/1 alone: where bytes are missing, it may
/// not be certain which belong together, and both go out by themselves.
pub fn is_half(transaction: &Transaction) -> bool {
    let Transaction { stream, request, response, .. } = transaction;
    stream.is_none() && request.is_some() != response.is_some()
}

/// What may be the copy of a transaction, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// One with both messages, as far as there are two.
    Whole(u64),
    /// Its request or its response; the other one may still come.
    Half(u64),
    /// Both, each by itself: the request first.
    Halves(u64, u64),
}

/// Transactions in the order in which they came.
#[derive(Debug, Default)]
pub struct Held {
    waiting: BTreeMap<u64, Box<Watched>>,
    numbers: HashMap<Key, u64>,
}

impl Held {
    /// Keeps a transaction under a number that no other has and that is higher than those before.
    pub fn keep(&mut self, number: u64, watched: Box<Watched>) {
        self.numbers.extend(keys(&watched.transaction).map(|key| (key, number)));
        self.waiting.insert(number, watched);
    }

    /// What may be the copy of a transaction.
    pub fn find(&self, transaction: &Transaction) -> Option<Copy> {
        let mut found = keys(transaction).filter_map(|key| {
            let number = *self.numbers.get(&key)?;
            let held = &self.waiting.get(&number)?.transaction;
            // A request and a response that are a guess, of which this is the response.
            fits(&transaction.request, &held.request).then_some((number, held))
        });
        let (first, held) = found.next()?;
        if !is_half(held) {
            return Some(Copy::Whole(first));
        }
        let second = found.find(|(second, held)| *second != first && is_half(held));
        Some(match second {
            Some((second, _)) => Copy::Halves(first, second),
            None => Copy::Half(first),
        })
    }

    /// The number of the one with the same name, that is of the same messages.
    pub fn same(&self, transaction: &Transaction) -> Option<u64> {
        keys(transaction).find_map(|key| self.numbers.get(&key).copied())
    }

    /// The transaction of this number, if it still waits.
    pub fn get(&self, number: u64) -> Option<&Watched> {
        self.waiting.get(&number).map(|watched| &**watched)
    }

    /// Whether anything names the transaction, so that it has a copy to wait for.
    pub fn is_named(transaction: &Transaction) -> bool {
        keys(transaction).next().is_some()
    }

    /// Takes the transaction of this number, if it still waits.
    pub fn take(&mut self, number: u64) -> Option<Box<Watched>> {
        let watched = self.waiting.remove(&number)?;
        for key in keys(&watched.transaction) {
            // Another one may have it by now, four gigabytes later.
            if self.numbers.get(&key) == Some(&number) {
                self.numbers.remove(&key);
            }
        }
        Some(watched)
    }

    /// The number of the first.
    pub fn first(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(number, _)| *number)
    }
}
