//! Transactions for tests.

use perisco::analyze::transaction::{Message, Outcome, Transaction};
use perisco::analyze::watch::Watched;
use perisco::time::Timestamp;

/// A time in nanoseconds.
pub fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// A request to the host `shop` and its answer.
pub fn watched(method: &str, path: &str, status: u16) -> Watched {
    let mut request = Message { start: Some(at(10)), end: Some(at(20)), ..Message::default() };
    request.method = Some(request.head.store(method.as_bytes()));
    request.authority = Some(request.head.store(b"shop"));
    request.path = Some(request.head.store(path.as_bytes()));
    request.head.push(b"accept", b"*/*");
    let mut response = Message { start: Some(at(40)), end: Some(at(50)), ..Message::default() };
    response.status = Some(status);
    response.body_bytes = 1234;
    response.head.push(b"content-type", b"text/plain");
    let transaction = Transaction {
        request: Some(request),
        response: Some(response),
        outcome: Outcome::of_status(status),
        ..Transaction::new("http/1.1")
    };
    Watched {
        joined: None,
        transaction,
        client: ([10, 0, 0, 1], 40_000).into(),
        server: ([10, 0, 0, 2], 80).into(),
        connection: 1,
        index: 1,
        interface: None,
        comment: None,
        ends: Default::default(),
    }
}

/// One that took so many nanoseconds.
pub fn lasting(index: u64, latency: u64, status: u16) -> Watched {
    let mut watched = watched("GET", "/", status);
    watched.index = index;
    if let Some(response) = &mut watched.transaction.response {
        let start = at(10).plus(latency as i64);
        (response.start, response.end) = (Some(start), Some(start));
    }
    watched
}
