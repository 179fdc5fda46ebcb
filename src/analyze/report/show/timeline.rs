//! The timeline: a bar for each phase, all to the same scale.

use super::{BOTH, Shown, name_of};
use crate::analyze::decode::Direction;
use crate::analyze::report::text::units::{duration, size};
use crate::time::{Timestamp, latest};

/// Columns of a bar at least and at most: fewer say little, and more make eyes
/// wander.
const COLUMNS: (usize, usize) = (20, 60);

/// Stalls that have a bar; json has all.
const STALLS: usize = 20;

/// What a bar is drawn with: bytes came, a wait, a pause within a message.
struct Marks {
    bytes: char,
    wait: char,
    stall: char,
}

/// A line of the timeline.
pub struct Bar {
    /// What it is.
    pub name: &'static str,
    /// The bar.
    pub bar: String,
    /// When it began, how long it took and what else there is to say.
    pub says: String,
    /// Whether it is a pause within a message.
    pub stall: bool,
}

/// Begin and end of the whole.
struct Scale {
    start: Timestamp,
    nanos: u64,
    columns: usize,
}

impl Scale {
    /// The column of a time.
    fn column(&self, at: Timestamp) -> usize {
        let since = u64::try_from(at.since(self.start)).unwrap_or(0).min(self.nanos);
        let columns = self.columns as u128;
        let column = u128::from(since) * columns / u128::from(self.nanos.max(1));
        usize::try_from(column).unwrap_or(0).min(self.columns.saturating_sub(1))
    }

    /// A bar over these spans, each at least a column wide.
    fn bar(&self, spans: &[(Timestamp, Timestamp, char)]) -> String {
        let mut bar = vec![' '; self.columns];
        for (from, to, mark) in spans {
            let (first, last) = (self.column(*from), self.column(*to));
            bar.iter_mut().take(last + 1).skip(first).for_each(|place| *place = *mark);
        }
        bar.into_iter().collect()
    }
}

impl Shown<'_> {
    /// First and last time of both messages.
    fn ends(&self) -> Option<(Timestamp, Timestamp)> {
        let mut last = None;
        for message in BOTH.into_iter().filter_map(|direction| self.message(direction)) {
            let pieces = message.body.as_deref().and_then(|kept| kept.pieces().last());
            last = [message.start, message.end, pieces.map(|piece| piece.last)]
                .into_iter()
                .fold(last, latest);
        }
        self.transaction().rank().zip(last)
    }

    /// How long it took from the first byte to the last that is known.
    pub fn span(&self) -> Option<u64> {
        let (start, end) = self.ends()?;
        u64::try_from(end.since(start)).ok()
    }

    /// The lines of the timeline; none where no time is known.
    pub fn timeline(&self, width: usize, ascii: bool) -> Vec<Bar> {
        let Some((start, end)) = self.ends() else { return Vec::new() };
        let nanos = u64::try_from(end.since(start)).unwrap_or(0);
        let columns = width.clamp(COLUMNS.0, COLUMNS.1);
        let scale = Scale { start, nanos, columns };
        let marks = match ascii {
            true => Marks { bytes: '#', wait: '-', stall: '.' },
            false => Marks { bytes: '█', wait: '░', stall: '·' },
        };
        let mut bars = Vec::new();
        bars.extend(self.phase(&scale, &marks, Direction::ToServer));
        bars.extend(self.waiting(&scale, &marks));
        bars.extend(self.interim(&scale, &marks));
        bars.extend(self.phase(&scale, &marks, Direction::ToClient));
        for stall in self.longest_stalls() {
            bars.push(Bar {
                name: "stall",
                bar: scale.bar(&[(stall.from, stall.to, marks.stall)]),
                says: format!(
                    "{}, {} at {} byte {}",
                    self.since(Some(stall.from)),
                    duration(u64::try_from(stall.nanos()).unwrap_or(0)),
                    name_of(stall.direction),
                    stall.after
                ),
                stall: true,
            });
        }
        bars
    }

    /// Interim responses.
    fn interim(&self, scale: &Scale, marks: &Marks) -> impl Iterator<Item = Bar> {
        self.transaction().interim.iter().filter_map(|head| {
            let at = head.start?;
            let status = head.status.map_or("?".to_owned(), |status| status.to_string());
            Some(Bar {
                name: "interim",
                bar: scale.bar(&[(at, head.end.unwrap_or(at), marks.bytes)]),
                says: format!("{}, status {status}", self.since(Some(at))),
                stall: false,
            })
        })
    }

    /// The longest stalls that have a bar, in order of time.
    fn longest_stalls(&self) -> Vec<super::Stall> {
        let mut stalls = self.stalls();
        stalls.sort_by_key(|stall| std::cmp::Reverse(stall.nanos()));
        stalls.truncate(STALLS);
        stalls.sort_by_key(|stall| (stall.from, stall.direction.index()));
        stalls
    }

    /// How many stalls have no bar.
    pub fn stalls_left_out(&self) -> usize {
        self.stalls().len().saturating_sub(STALLS)
    }

    /// A time as an offset from the first byte.
    pub fn since(&self, at: Option<Timestamp>) -> String {
        match self.offset(at) {
            Some(nanos @ 0..) => format!("+{}", duration(nanos.unsigned_abs())),
            Some(nanos) => format!("-{}", duration(nanos.unsigned_abs())),
            None => "?".to_owned(),
        }
    }

    /// Sending a message.
    fn phase(&self, scale: &Scale, marks: &Marks, direction: Direction) -> Option<Bar> {
        let message = self.message(direction)?;
        let kept = message.body.as_deref();
        let last = kept.and_then(|kept| kept.pieces().last()).map(|piece| piece.last);
        let first = message.start.or(kept.and_then(|kept| Some(kept.pieces().first()?.first)));
        let end = message.end.or(last);
        let mut spans: Vec<_> =
            first.map(|first| (first, end.unwrap_or(first), marks.bytes)).into_iter().collect();
        let stalls = self.longest_stalls();
        for stall in stalls.iter().filter(|stall| stall.direction == direction) {
            spans.push((stall.from, stall.to, marks.stall));
            // What came before and after it stays visible.
            spans.push((stall.from, stall.from, marks.bytes));
            spans.push((stall.to, stall.to, marks.bytes));
        }
        let took = match (message.start, message.end) {
            (Some(start), Some(end)) => duration(u64::try_from(end.since(start)).unwrap_or(0)),
            (Some(_), None) => "its end was not seen".to_owned(),
            (None, _) => "its beginning was not seen".to_owned(),
        };
        Some(Bar {
            name: name_of(direction),
            bar: scale.bar(&spans),
            says: format!("{}, {took}, body {}", self.since(first), size(message.body_bytes)),
            stall: false,
        })
    }

    /// From the end of the request to the beginning of the response.
    fn waiting(&self, scale: &Scale, marks: &Marks) -> Option<Bar> {
        let (from, to) = (
            self.transaction().request.as_ref()?.end?,
            self.transaction().response.as_ref()?.start?,
        );
        let bar = |bar, says| Some(Bar { name: "waiting", bar, says, stall: false });
        match u64::try_from(to.since(from)) {
            Ok(nanos) => {
                let says = format!("{}, {}", self.since(Some(from)), duration(nanos));
                bar(scale.bar(&[(from, to, marks.wait)]), says)
            }
            Err(_) => bar(
                scale.bar(&[]),
                "none: the response began before the request had ended".to_owned(),
            ),
        }
    }
}
