//! `--since` and `--until`: a window of time.
//!
//! A bound may be told from the beginning of the capture, which is known once
//! the first packet is read, or from its end, which is known before only where
//! somebody has looked.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use super::Decision;
use super::convert::duration;
use crate::time::{Timestamp, time_of_day};

/// A bound as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A point in time.
    At(Timestamp),
    /// Nanoseconds since midnight (UTC) of the capture's first day.
    OfDay(i64),
    /// Nanoseconds after the first packet.
    FromBegin(i64),
    /// Nanoseconds (negative) from the last packet.
    FromEnd(i64),
}

/// A text that is no bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no time: write 2026-11-22T15:17:26Z (RFC 3339; UTC where it has no offset), \
     15:17 or 15:17:26 (UTC, the day that the capture begins), +30s (after the capture's \
     beginning) or -5m (before its end)"
)]
pub struct NoBound(String);

impl FromStr for Bound {
    type Err = NoBound;

    fn from_str(text: &str) -> Result<Self, NoBound> {
        let kind = match text.as_bytes().first() {
            Some(b'+') => duration(text).map(Kind::FromBegin),
            Some(b'-') => duration(text).map(Kind::FromEnd),
            _ => {
                time_of_day(text).map(Kind::OfDay).or_else(|| Timestamp::parse(text).map(Kind::At))
            }
        };
        let kind = kind.ok_or_else(|| NoBound(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), kind })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Bound {
    /// Whether it is told from the capture's end.
    pub fn needs_end(&self) -> bool {
        matches!(self.kind, Kind::FromEnd(_))
    }

    fn resolve(&self, begin: Option<Timestamp>, end: Option<Timestamp>) -> Option<Timestamp> {
        match self.kind {
            Kind::At(at) => Some(at),
            Kind::OfDay(nanos) => begin.map(|begin| begin.midnight().plus(nanos)),
            Kind::FromBegin(nanos) => begin.map(|begin| begin.plus(nanos)),
            Kind::FromEnd(nanos) => end.map(|end| end.plus(nanos)),
        }
    }
}

/// The first and the last time that belong to a window; None where there is
/// no such bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// See [`Ends`].
    pub since: Option<Timestamp>,
    /// See [`Ends`].
    pub until: Option<Timestamp>,
}

/// Transactions that begin within it are reported, both ends included.
#[derive(Debug)]
pub struct Window {
    since: Option<Bound>,
    until: Option<Bound>,
    end: Option<Timestamp>,
    ends: OnceLock<Ends>,
}

impl Window {
    /// Between these bounds; `end` is the time of the capture's last packet,
    /// which a bound that is told from it needs.
    pub fn new(since: Option<Bound>, until: Option<Bound>, end: Option<Timestamp>) -> Self {
        Self { since, until, end, ends: OnceLock::new() }
    }

    /// The bounds as the user wrote them.
    pub fn bounds(&self) -> [Option<&Bound>; 2] {
        [self.since.as_ref(), self.until.as_ref()]
    }

    /// The bounds as times, once they are known.
    pub fn ends(&self) -> Option<Ends> {
        self.ends.get().copied()
    }

    /// Works the bounds out, as soon as `first` knows the capture's first time.
    pub fn begin(&self, first: impl FnOnce() -> Option<Timestamp>) {
        if self.ends.get().is_some() {
            return;
        }
        let Some(begin) = first() else { return };
        // None where there is a bound and no time to tell it from.
        let resolve = |bound: &Option<Bound>| match bound {
            None => Some(None),
            Some(bound) => bound.resolve(Some(begin), self.end).map(Some),
        };
        if let (Some(since), Some(until)) = (resolve(&self.since), resolve(&self.until)) {
            // Only one thread reads; a second value would be the same.
            let _ = self.ends.set(Ends { since, until });
        }
    }

    /// Whether something that begins at `start` is within; nobody knows of
    /// what has no time.
    pub fn decide(&self, start: Option<Timestamp>) -> Decision {
        let (Some(start), Some(ends)) = (start, self.ends.get()) else {
            return Decision::Undecided;
        };
        let after = ends.since.is_none_or(|since| start >= since);
        let before = ends.until.is_none_or(|until| start <= until);
        if after && before { Decision::Take } else { Decision::Leave }
    }
}
