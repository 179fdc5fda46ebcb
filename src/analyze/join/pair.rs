//! Two copies of a transaction, of a connection, as one.

use std::net::SocketAddr;

use super::{Seen, Split};
use crate::analyze::join::clock::Bounds;
use crate::analyze::owner::OwnedEnd;
use crate::analyze::report::FlowTotals;
use crate::analyze::transaction::{Completeness, Message, Transaction};
use crate::analyze::watch::Watched;
use crate::time::Timestamp;

/// Whether two transactions that should be one cannot be: what both have seen of it differs.
pub fn contradict(one: &Transaction, other: &Transaction) -> bool {
    fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.zip(other).is_some_and(|(one, other)| one != other)
    }
    let differ_in = |pick: fn(&Message) -> Option<crate::analyze::fields::Span>| {
        differ(one.request_text(pick), other.request_text(pick))
    };
    let seq = |message: &Option<Message>| message.as_ref().and_then(|message| message.seq);
    let grpc = |of: &Transaction| of.grpc.as_ref().and_then(|grpc| grpc.status);
    let whole = [one, other].iter().all(|of| of.completeness == Completeness::Complete);
    let size = |message: &Option<Message>| message.as_ref().map(|message| message.body_bytes);
    differ_in(|m| m.method)
        || differ_in(|m| m.path)
        || differ_in(|m| m.authority)
        || differ(seq(&one.request), seq(&other.request))
        || differ(seq(&one.response), seq(&other.response))
        || differ(one.status(), other.status())
        || differ(grpc(one), grpc(other))
        || whole && size(&one.request) != size(&other.request)
        || whole && size(&one.response) != size(&other.response)
}

/// The times at which a transaction's messages began at one end.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    request: Option<Timestamp>,
    response: Option<Timestamp>,
}

impl Times {
    /// Of a copy.
    pub fn of(transaction: &Transaction) -> Self {
        let start = |message: &Option<Message>| message.as_ref().and_then(|message| message.start);
        Self { request: start(&transaction.request), response: start(&transaction.response) }
    }

    /// The earlier one.
    pub fn first(self) -> Option<Timestamp> {
        self.request.or(self.response)
    }

    /// From one to the other, in nanoseconds; None where either is not known.
    pub fn between(self) -> Option<i64> {
        Some(self.response?.since(self.request?))
    }
}

/// What the server's clock minus the client's may be, by one transaction.
pub fn bounds(client: Times, server: Times) -> Bounds {
    let since = |later: Option<Timestamp>, earlier: Option<Timestamp>| {
        later.zip(earlier).map(|(later, earlier)| later.since(earlier))
    };
    Bounds {
        low: since(server.response, client.response).unwrap_or(i64::MIN),
        high: since(server.request, client.request).unwrap_or(i64::MAX),
    }
}

/// Where the time went, where all four times are known and the server's clock is within
/// these bounds ahead of the client's.
pub fn split(client: Times, server: Times, bounds: Bounds) -> Option<Split> {
    let (offset, error_ns) = bounds.estimate()?;
    let request = server.request?.since(client.request?).checked_sub(offset)?;
    let response = client.response?.since(server.response?).checked_add(offset)?;
    Some(Split {
        request_ns: u64::try_from(request).ok()?,
        server_ns: u64::try_from(server.between()?).ok()?,
        response_ns: u64::try_from(response).ok()?,
        offset_ns: offset,
        error_ns,
    })
}

/// One of two copies of a transaction: the client's, or where that is not whole and the
/// server's is, or has more messages, the server's. Times are the client's in any case.
pub fn merge(mut client: Box<Watched>, mut server: Box<Watched>) -> Box<Watched> {
    let whole = |of: &Watched| of.transaction.completeness == Completeness::Complete;
    let messages = |of: &Watched| {
        let Transaction { request, response, .. } = &of.transaction;
        usize::from(request.is_some()) + usize::from(response.is_some())
    };
    let fuller = whole(&server) || messages(&server) > messages(&client);
    if !whole(&client) && fuller {
        std::mem::swap(&mut client.transaction, &mut server.transaction);
        let Transaction { request, response, interim, .. } = &mut client.transaction;
        take_times(request, &server.transaction.request);
        take_times(response, &server.transaction.response);
        interim.iter_mut().for_each(|message| (message.start, message.end) = (None, None));
    }
    client.server = server.server;
    client.ends = merge_ends(std::mem::take(&mut client.ends), std::mem::take(&mut server.ends));
    client.comment = client.comment.take().or(server.comment.take());
    client
}

/// What is known of both ends by the client's copy and by the server's: each knows its own
/// end best.
fn merge_ends(client: [OwnedEnd; 2], server: [OwnedEnd; 2]) -> [OwnedEnd; 2] {
    let ([own_client, far_server], [far_client, own_server]) = (client, server);
    [own_client.or(far_client), own_server.or(far_server)]
}

/// Forgets the response of a transaction that is not whole if it is another one than that of
/// the copy, which is: where bytes are missing, who belongs to whom may be a guess.
pub fn drop_guess(transaction: &mut Transaction, copy: &Transaction) {
    let seq = |of: &Transaction| of.response.as_ref().and_then(|message| message.seq);
    let differs = seq(transaction).zip(seq(copy)).is_some_and(|(one, other)| one != other);
    let whole = |of: &Transaction| of.completeness == Completeness::Complete;
    if differs && whole(copy) && !whole(transaction) {
        transaction.response = None;
    }
}

/// A request and the response that belongs to it, which came by themselves, as one. Its
/// bytes are all there as little as before.
pub fn of_halves(request: Box<Watched>, response: Box<Watched>) -> Box<Watched> {
    let (mut whole, mut transaction) = (request, response.transaction);
    transaction.request = whole.transaction.request.take();
    transaction.completeness = Completeness::Gap;
    whole.transaction = transaction;
    whole
}

/// Gives a message the times of another copy of it; those that are not known there are not.
fn take_times(message: &mut Option<Message>, other: &Option<Message>) {
    if let Some(message) = message {
        message.start = other.as_ref().and_then(|other| other.start);
        message.end = other.as_ref().and_then(|other| other.end);
        message.pauses = None;
    }
}

/// The addresses of client and server where each is as on its own node, of two flows of
/// which the first is at the client's end if `is_client`; the first's where that is not known.
pub fn ends([first, second]: [&Seen; 2], is_client: Option<bool>) -> [SocketAddr; 2] {
    match is_client {
        Some(true) => [first.ends[0], second.ends[1]],
        Some(false) => [second.ends[0], first.ends[1]],
        None => first.ends,
    }
}

/// What a connection came to, of what it came to at the client's end and at the server's:
/// the copy with fewer missing bytes, or the client's.
pub fn merge_totals(mut client: Box<FlowTotals>, mut server: Box<FlowTotals>) -> Box<FlowTotals> {
    // What was not recognised at one end may have been at the other.
    let missing = |of: &FlowTotals| {
        let bytes = of.gap_bytes.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        (of.kind.is_none(), bytes)
    };
    let ends = (client.client, server.server);
    let (connection, handshake) = (client.connection, client.handshake || server.handshake);
    let [own, more] = [&mut client.processes, &mut server.processes].map(std::mem::take);
    let [[client_names, server_names], [client_more, server_more]] = [own, more];
    let either = |names: Vec<String>, other| if names.is_empty() { other } else { names };
    let processes = [either(client_names, client_more), either(server_more, server_names)];
    let known = merge_ends(std::mem::take(&mut client.ends), std::mem::take(&mut server.ends));
    let mut used = if missing(&server) < missing(&client) { server } else { client };
    (used.client, used.server, used.ends) = (ends.0, ends.1, known);
    (used.connection, used.processes, used.handshake) = (connection, processes, handshake);
    used
}
