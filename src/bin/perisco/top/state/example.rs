//! Transactions that are kept to be looked at, within bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use perisco::analyze::fields::{Fields, Span};
use perisco::analyze::transaction::{Message, Transaction};
use perisco::analyze::watch::Watched;

/// Bytes of a transaction that is kept with its header fields: more than any
/// that is sent in good faith.
const EXAMPLE_BYTES: usize = 64 << 10;

/// Bytes of all examples with header fields; past it they are kept without.
const KEPT_BYTES: usize = 64 << 20;

/// Bytes of a name that an example without header fields keeps.
const NAME_BYTES: usize = 512;

/// Bytes that all examples take.
#[derive(Clone, Debug, Default)]
pub struct Budget(Arc<AtomicUsize>);

/// Whether an example has its header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// It has all that were seen, where the analysis keeps them at all.
    Kept,
    /// They were too large.
    TooLarge,
    /// All examples together had too many.
    NoRoom,
}

/// A finished transaction that can be looked at.
#[derive(Debug)]
pub struct Example {
    pub watched: Watched,
    pub headers: Headers,
    size: usize,
    budget: Budget,
}

impl Example {
    /// Keeps a transaction; without its header fields where it has too many.
    pub fn new(watched: Watched, budget: &Budget) -> Arc<Self> {
        let used = budget.0.load(Ordering::Relaxed);
        let size = watched.memory();
        let headers = match size {
            _ if size > EXAMPLE_BYTES => Headers::TooLarge,
            _ if used.saturating_add(size) > KEPT_BYTES => Headers::NoRoom,
            _ => Headers::Kept,
        };
        let watched = if headers == Headers::Kept { watched } else { slim(watched) };
        let size = watched.memory();
        budget.0.fetch_add(size, Ordering::Relaxed);
        Arc::new(Self { watched, headers, size, budget: budget.clone() })
    }

    /// What tells it from all others.
    pub fn key(&self) -> (u64, u64) {
        (self.watched.connection, self.watched.index)
    }

    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.watched.transaction
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// A transaction without header and trailer fields and with short names.
fn slim(mut watched: Watched) -> Watched {
    let transaction = &mut watched.transaction;
    if let Some(request) = &mut transaction.request {
        let (old, mut head) = (std::mem::take(&mut request.head), Fields::default());
        let mut keep = |span: Option<Span>| span.map(|span| head.store(cut(old.text(span))));
        if let Some(grpc) = &mut transaction.grpc {
            grpc.service = keep(grpc.service);
            grpc.method = keep(grpc.method);
        }
        let Message { method, scheme, authority, path, trailers, .. } = request;
        for span in [method, scheme, authority, path] {
            *span = keep(*span);
        }
        *trailers = Fields::default();
        request.head = head;
    }
    if let Some(response) = &mut transaction.response {
        (response.head, response.trailers) = Default::default();
    }
    if let Some(message) = transaction.grpc.as_mut().and_then(|grpc| grpc.message.as_mut()) {
        let end =
            (0..=NAME_BYTES.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or(0));
    }
    watched
}

fn cut(text: &[u8]) -> &[u8] {
    text.get(..NAME_BYTES).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::state::testkit::watched;

    #[test]
    fn what_is_too_large_is_kept_without_header_fields() {
        let budget = Budget::default();
        let small = Example::new(watched("GET", "/small", 200), &budget);
        assert_eq!(small.headers, Headers::Kept);
        assert!(budget.0.load(Ordering::Relaxed) > 0);
        let long = format!("/{}", "x".repeat(EXAMPLE_BYTES));
        let large = Example::new(watched("GET", &long, 200), &budget);
        assert_eq!(large.headers, Headers::TooLarge);
        let path = large.transaction().request_text(|request| request.path).unwrap();
        assert_eq!(path, &long.as_bytes()[..NAME_BYTES]);
        assert!(large.watched.memory() < 8 * NAME_BYTES);
        drop((small, large));
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_together_are_bounded() {
        let budget = Budget::default();
        let path = format!("/{}", "x".repeat(EXAMPLE_BYTES / 4));
        let many: Vec<_> = (0..8 * KEPT_BYTES / EXAMPLE_BYTES)
            .map(|_| Example::new(watched("GET", &path, 200), &budget))
            .collect();
        assert_eq!(many.last().unwrap().headers, Headers::NoRoom);
        assert!(budget.0.load(Ordering::Relaxed) < KEPT_BYTES + many.len() * 8 * NAME_BYTES);
    }
}
