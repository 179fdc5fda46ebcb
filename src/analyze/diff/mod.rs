//! Two reports compared: what changed between one capture and another.
//!
//! Two [`Report`](crate::analyze::report::Report)s in, a [`Diff`] out, which [`text`],
//! [`json`] and [`html`] print. Reads no capture and keeps nothing: who compares
//! analyses both sides first, with [`Options::compared`](crate::analyze::options::Options)
//! set, so that endpoints have their latencies by class.
//!
//! What is too little to say is [`Verdict::NotEnough`], and what was not seen
//! [`Verdict::NotSeen`]; neither is ever "no change". Tests, corrections and their limits
//! are documented for users in `docs/diff.md`.

pub mod compare;
pub mod html;
pub mod json;
pub mod model;
pub mod rule;
pub mod significance;
pub mod text;
mod words;

#[cfg(test)]
mod tests;

pub use compare::{Order, compare};
pub use model::{Diff, Verdict};
pub use rule::Rule;
