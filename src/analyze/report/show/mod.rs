//! One transaction whole: who, how it ended, a timeline, all header fields, and
//! the bodies as far as they were kept.
//!
//! [`Shown`] is what there is to say, [`render`] says it to people and [`json`] to
//! programs (`docs/schema/show-1.schema.json`). Reads nothing and keeps nothing:
//! the transaction comes from [`watch`](crate::analyze::watch).

mod content;
pub mod json;
mod messages;
mod stalls;
mod text;
mod timeline;

use super::{Id, Item};
use crate::analyze::body::Context;
use crate::analyze::decode::Direction;
use crate::analyze::transaction::{Message, Transaction};
use crate::analyze::watch::Watched;
use crate::time::Timestamp;

pub(super) use content::{codings, state};
pub use stalls::{STALL_NANOS, Stall};
pub use text::render;

/// A transaction and what is asked about it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The transaction; its bodies are shown where they were kept.
    pub watched: &'a Watched,
    /// Earliest capture time, which offsets count from.
    pub capture_start: Option<Timestamp>,
    /// Pauses within a message that are told, in nanoseconds and up.
    pub stall_nanos: i64,
    /// How bodies are decoded and shown.
    pub context: &'a Context<'a>,
    /// Whether bodies are shown.
    pub bodies: bool,
}

impl<'a> Shown<'a> {
    fn item(&self) -> Item<'a> {
        self.watched.item()
    }

    fn transaction(&self) -> &'a Transaction {
        &self.watched.transaction
    }

    /// Its name.
    pub fn id(&self) -> Id {
        self.item().id()
    }

    /// The message that goes this way.
    fn message(&self, direction: Direction) -> Option<&'a Message> {
        match direction {
            Direction::ToServer => self.transaction().request.as_ref(),
            Direction::ToClient => self.transaction().response.as_ref(),
        }
    }

    /// Nanoseconds from its first byte to a time; None where either is not known.
    fn offset(&self, at: Option<Timestamp>) -> Option<i64> {
        Some(at?.since(self.transaction().rank()?))
    }
}

/// What a direction's message is called.
const fn name_of(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "request",
        Direction::ToClient => "response",
    }
}

/// Both ways, the request's first.
const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];
