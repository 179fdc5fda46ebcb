//! Which transactions are reported: `--where`, `--since` and `--until`.
//!
//! An expression is checked ([`check`]) before anything is read and asked about
//! each transaction ([`eval`]) in the shards. It has three answers: what was
//! not seen is null, and whatever depends on it is neither true nor false. Such
//! a transaction is not taken, and counted, since nobody knows whether it
//! should have been.
//!
//! Knows transactions as reports do: no packet and no protocol. Users read
//! `docs/filter.md`.

mod call;
mod check;
mod convert;
mod eval;
mod field;
#[cfg(test)]
mod oracle;
mod problem;
#[cfg(test)]
mod tests;
mod value;
mod window;

use std::sync::Arc;

use crate::analyze::report::Item;
use crate::time::Timestamp;

use eval::{Frame, Node};
use value::{Value, Why};

pub use convert::duration;
pub use problem::{Problem, nearest};
pub use window::{Bound, Ends, Window};

/// What a run reports; all of it, by default.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    expression: Option<Arc<Expression>>,
    window: Option<Arc<Window>>,
}

#[derive(Debug)]
struct Expression {
    source: String,
    node: Node,
    headers: bool,
}

/// What is done with a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is reported.
    Take,
    /// It is not.
    Leave,
    /// It is not, since nobody knows: what decides was not seen, or cannot be
    /// worked out.
    Undecided,
}

/// How many transactions a filter took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Reported.
    pub taken: u64,
    /// Left out.
    pub left_out: u64,
    /// Left out because nobody knows whether to take them.
    pub undecided: u64,
}

impl Selection {
    /// Counts a decision, and tells whether the transaction is reported.
    pub fn count(&mut self, decision: Decision) -> bool {
        match decision {
            Decision::Take => self.taken += 1,
            Decision::Leave => self.left_out += 1,
            Decision::Undecided => self.undecided += 1,
        }
        decision == Decision::Take
    }

    /// Adds those of another shard.
    pub fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.left_out += other.left_out;
        self.undecided += other.undecided;
    }
}

impl Filter {
    /// A filter of an expression and a window of time.
    ///
    /// # Errors
    /// When the expression cannot be used: what is wrong, and where.
    pub fn new(expression: Option<&str>, window: Option<Window>) -> Result<Self, Problem> {
        let checked = |source: &str| {
            let (node, headers) = check::check(source)?;
            Ok(Arc::new(Expression { source: source.to_owned(), node, headers }))
        };
        let expression = expression.map(checked).transpose()?;
        Ok(Self { expression, window: window.map(Arc::new) })
    }

    /// Whether everything is reported.
    #[inline]
    pub fn is_all(&self) -> bool {
        self.expression.is_none() && self.window.is_none()
    }

    /// Whether it looks at header or trailer fields.
    pub fn wants_headers(&self) -> bool {
        self.expression.as_ref().is_some_and(|expression| expression.headers)
    }

    /// The expression as the user wrote it.
    pub fn expression(&self) -> Option<&str> {
        self.expression.as_ref().map(|expression| expression.source.as_str())
    }

    /// The window of time.
    pub fn window(&self) -> Option<&Window> {
        self.window.as_deref()
    }

    /// Tells it the time of the first packet that has one, before any
    /// transaction of it is asked about.
    pub fn begin(&self, first: impl FnOnce() -> Option<Timestamp>) {
        if let Some(window) = &self.window {
            window.begin(first);
        }
    }

    /// Whether a transaction is reported.
    pub fn decide(&self, item: &Item<'_>) -> Decision {
        let within = match &self.window {
            None => Decision::Take,
            Some(window) => window.decide(item.transaction.start()),
        };
        if within == Decision::Leave {
            return within;
        }
        match self.expression.as_ref().map(|expression| expression.decide(item)) {
            Some(decision) if decision != Decision::Take => decision,
            _ => within,
        }
    }
}

impl Expression {
    fn decide(&self, item: &Item<'_>) -> Decision {
        match self.node.value(&mut Frame::new(Some(item))) {
            Value::Bool(true) => Decision::Take,
            Value::Null(Why::NotSeen | Why::Unclear | Why::Failed | Why::NeverFalse) => {
                Decision::Undecided
            }
            _ => Decision::Leave,
        }
    }
}
