//! The body of a message as it was kept: its bytes as transferred, where some
//! are missing, and when they were captured.
//!
//! Kept only where a run asks for it ([`Wants::bodies`]). Everything is bounded:
//! bytes of a message ([`Keeping::limit`]), of all messages of a shard that are
//! open at once ([`Budget`]), gaps ([`GAPS`]) and pieces ([`PIECES`]). What a bound
//! costs is said by the body itself.
//!
//! [`Wants::bodies`]: crate::analyze::decode::Wants

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::time::Timestamp;

/// Gaps that are kept of a body, one by one: far more than a body has in a
/// capture that is of any use. Past them nothing more is kept.
pub const GAPS: usize = 256;

/// Pieces that are kept of a body. Where there are more, those with the shortest
/// pauses between them become one: what pauses are for is to be noticed.
pub const PIECES: usize = 512;

/// Pauses below this many nanoseconds are the first to go: captures from several
/// CPUs mix by as much.
const FIRST_GRAIN: i64 = 1_000;

/// Pieces or gaps that the first room is for.
const FIRST_ROOM: usize = 4;

/// Which bodies are kept and how much of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Bytes of one message.
    pub limit: usize,
    /// Bytes of all messages at once.
    pub total: usize,
    /// Only of messages whose heads begin in one of these packets, or were not
    /// seen; None for all.
    pub only: Option<Arc<[u64]>>,
}

impl Keeping {
    /// Whether the body of a message is kept that begins in this packet, 0 where
    /// that is not known.
    pub fn takes(&self, packet: u64) -> bool {
        self.only.as_ref().is_none_or(|only| packet == 0 || only.contains(&packet))
    }
}

/// Bytes that the bodies of a shard may still take.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
    struck: AtomicU64,
}

impl Budget {
    /// With so many bytes to take.
    pub fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes), struck: AtomicU64::new(0) }
    }

    /// Takes so many bytes, all or none of them. A shard is one thread's at a
    /// time, so the order of memory does not matter.
    fn take(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bodies that were cut because nothing was left.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }
}

/// Bytes of a body that were not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Where in the body they belong.
    pub at: u64,
    /// How many; None where nothing tells. Places behind such a gap do not count
    /// what is missing there.
    pub bytes: Option<u64>,
}

impl Missing {
    /// Where the bytes behind it belong.
    fn end(&self) -> u64 {
        self.at.saturating_add(self.bytes.unwrap_or(0))
    }
}

/// Bytes of a body that were captured together: it reaches to where the next one
/// begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where in the body it begins.
    pub at: u64,
    /// When its first byte was captured; never before the bytes before it, which
    /// may have come later.
    pub first: Timestamp,
    /// When its last byte was captured, likewise.
    pub last: Timestamp,
}

/// Why not all bytes that were captured are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The message has more than [`Keeping::limit`].
    Limit,
    /// All messages together had [`Keeping::total`].
    Total,
    /// It has more than [`GAPS`].
    Gaps,
}

impl Cut {
    /// The name in jsonl.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Total => "total-limit",
            Self::Gaps => "gaps",
        }
    }
}

/// A part of a body in the order of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Bytes, and where in the body they begin.
    Bytes(u64, &'a [u8]),
    /// Bytes that were not captured.
    Missing(Missing),
}

/// A body.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    gaps: Vec<Missing>,
    pieces: Vec<Piece>,
    /// Pieces closer together than this many nanoseconds are one.
    grain: i64,
    /// Where the next byte belongs.
    next: u64,
    limit: usize,
    cut: Option<Cut>,
    share: Share,
}

impl Kept {
    /// Nothing of it has come yet.
    pub fn new(limit: usize, budget: Option<Arc<Budget>>) -> Self {
        Self { limit, share: Share { budget, bytes: 0 }, ..Self::default() }
    }

    /// Takes the next bytes, captured at `at`.
    pub fn data(&mut self, data: &[u8], at: Option<Timestamp>) {
        if data.is_empty() {
            return;
        }
        if let Some(at) = at {
            self.piece(at);
        }
        self.next = self.next.saturating_add(data.len() as u64);
        if self.cut.is_some() {
            return;
        }
        let room = self.limit.saturating_sub(self.bytes.len());
        let kept = data.get(..room).unwrap_or(data);
        if !self.make_room(kept.len()) {
            return;
        }
        self.bytes.extend_from_slice(kept);
        if kept.len() < data.len() {
            self.cut = Some(Cut::Limit);
        }
    }

    /// So many bytes are missing, or an unknown number.
    pub fn gap(&mut self, bytes: Option<u64>) {
        if bytes == Some(0) {
            return;
        }
        let at = self.next;
        let last = self.gaps.last_mut();
        if let Some(last) = last.filter(|last| at == last.end()) {
            last.bytes = last.bytes.zip(bytes).map(|(one, more)| one.saturating_add(more));
            self.next = last.end();
            return;
        }
        let gap = Missing { at, bytes };
        self.next = gap.end();
        if self.gaps.len() == GAPS {
            self.cut = Some(Cut::Gaps);
        } else if room_for(&mut self.gaps, &mut self.share) {
            self.gaps.push(gap);
        } else {
            self.cut = Some(Cut::Total);
        }
    }

    /// Makes room for bytes, and stops keeping where there is none.
    fn make_room(&mut self, more: usize) -> bool {
        let needed = self.bytes.len() + more;
        let have = self.bytes.capacity();
        if needed > have {
            let grown = needed.max(have.saturating_mul(2)).min(self.limit.max(needed));
            if !self.share.take(grown - have) {
                self.cut = Some(Cut::Total);
                return false;
            }
            self.bytes.reserve_exact(grown - self.bytes.len());
        }
        true
    }

    /// Bytes captured at `at` follow.
    fn piece(&mut self, at: Timestamp) {
        match self.pieces.last_mut() {
            Some(last) if at.since(last.last) <= self.grain => {
                last.last = last.last.max(at);
                return;
            }
            _ => self.push_piece(at),
        }
        while self.pieces.len() > PIECES {
            self.grain = self.grain.saturating_mul(2).max(FIRST_GRAIN);
            let grain = self.grain;
            self.pieces.dedup_by(|next, before| {
                let close = next.first.since(before.last) <= grain;
                if close {
                    before.last = next.last;
                }
                close
            });
        }
    }

    fn push_piece(&mut self, at: Timestamp) {
        if room_for(&mut self.pieces, &mut self.share) {
            self.pieces.push(Piece { at: self.next, first: at, last: at });
        } else {
            self.cut = Some(Cut::Total);
        }
    }

    /// What is there of it, without what is missing.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where bytes are missing, in order.
    pub fn gaps(&self) -> &[Missing] {
        &self.gaps
    }

    /// When it was captured, in order; empty where the capture has no times.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Pauses in nanoseconds up to which pieces are told as one.
    pub fn grain(&self) -> i64 {
        self.grain
    }

    /// Why not all that was captured is there.
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Bytes that it has, those that are missing or were not kept among them, as
    /// far as is known.
    pub fn len(&self) -> u64 {
        self.next
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.next == 0 && self.gaps.is_empty()
    }

    /// Its bytes up to the first gap.
    pub fn head(&self) -> &[u8] {
        let end = self
            .gaps
            .first()
            .map_or(usize::MAX, |gap| usize::try_from(gap.at).unwrap_or(usize::MAX));
        self.bytes.get(..end).unwrap_or(&self.bytes)
    }

    /// Its bytes and gaps in order.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let (mut parts, mut rest, mut at) = (Vec::new(), self.bytes.as_slice(), 0);
        for gap in &self.gaps {
            let before = usize::try_from(gap.at.saturating_sub(at)).unwrap_or(usize::MAX);
            let before = before.min(rest.len());
            let (bytes, after) = rest.split_at(before);
            if !bytes.is_empty() {
                parts.push(Part::Bytes(at, bytes));
            }
            rest = after;
            parts.push(Part::Missing(*gap));
            at = gap.end();
        }
        if !rest.is_empty() {
            parts.push(Part::Bytes(at, rest));
        }
        parts
    }

    /// When the byte at this place was captured, as exactly as pieces tell.
    pub fn time_at(&self, at: u64) -> Option<Timestamp> {
        let after = self.pieces.partition_point(|piece| piece.at <= at);
        let piece = self.pieces.get(after.checked_sub(1)?)?;
        Some(if piece.at == at { piece.first } else { piece.last })
    }
}

/// What a body has taken of a budget; it is given back with the body.
#[derive(Debug, Default)]
struct Share {
    budget: Option<Arc<Budget>>,
    bytes: usize,
}

impl Share {
    /// Takes bytes; false where there are not so many left.
    fn take(&mut self, bytes: usize) -> bool {
        let Some(budget) = &self.budget else { return true };
        let taken = budget.take(bytes);
        if taken {
            self.bytes += bytes;
        } else {
            budget.struck.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

/// Makes room for one more in a list, paid for; false where that cannot be.
fn room_for<T>(list: &mut Vec<T>, share: &mut Share) -> bool {
    let have = list.capacity();
    if list.len() < have {
        return true;
    }
    let more = have.max(FIRST_ROOM);
    let paid = share.take(more * size_of::<T>());
    if paid {
        list.reserve_exact(more);
    }
    paid
}

/// A copy of a body is not the shard's, and takes nothing from its budget.
impl Clone for Share {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: i64) -> Option<Timestamp> {
        Some(Timestamp::from_nanos(nanos))
    }

    #[test]
    fn gaps_have_their_places() {
        let mut kept = Kept::new(100, None);
        kept.data(b"abc", at(0));
        kept.gap(Some(4));
        kept.gap(Some(1));
        kept.data(b"de", at(1));
        kept.gap(None);
        kept.gap(Some(7));
        kept.data(b"f", at(2));
        let gap = |at, bytes| Missing { at, bytes };
        assert_eq!(kept.gaps(), [gap(3, Some(5)), gap(10, None)]);
        assert_eq!(
            kept.parts(),
            [
                Part::Bytes(0, b"abc"),
                Part::Missing(gap(3, Some(5))),
                Part::Bytes(8, b"de"),
                Part::Missing(gap(10, None)),
                Part::Bytes(10, b"f"),
            ]
        );
        assert_eq!((kept.head(), kept.len(), kept.cut()), (&b"abc"[..], 11, None));
    }

    #[test]
    fn what_a_limit_costs_is_said() {
        let mut kept = Kept::new(4, None);
        kept.data(b"abc", at(0));
        assert_eq!(kept.cut(), None);
        kept.data(b"defg", at(5));
        kept.gap(Some(3));
        kept.data(b"h", at(9));
        assert_eq!((kept.bytes(), kept.cut()), (&b"abcd"[..], Some(Cut::Limit)));
        assert_eq!(kept.gaps(), [Missing { at: 7, bytes: Some(3) }]);
        // Times go on.
        assert_eq!(kept.pieces().last().map(|piece| piece.at), Some(10));
    }

    #[test]
    fn a_budget_is_given_back() {
        let budget = Arc::new(Budget::new(4096));
        let mut first = Kept::new(10_000, Some(Arc::clone(&budget)));
        first.data(&[1; 3900], at(0));
        let mut second = Kept::new(10_000, Some(Arc::clone(&budget)));
        second.data(&[2; 200], None);
        assert_eq!((second.bytes(), second.cut()), (&b""[..], Some(Cut::Total)));
        assert_eq!(budget.struck(), 1);
        drop(first.clone());
        drop(first);
        let mut third = Kept::new(10_000, Some(Arc::clone(&budget)));
        third.data(&[3; 4096], None);
        assert_eq!(third.cut(), None);
        drop((second, third));
        assert_eq!(budget.left.load(Ordering::Relaxed), 4096);
    }

    #[test]
    fn of_many_pieces_the_long_pauses_stay() {
        let mut kept = Kept::new(0, None);
        let mut time = 0;
        for index in 0..100_000_i64 {
            // A pause of a second after each thousand pieces 20 µs apart.
            time += if index % 1000 == 0 { 1_000_000_000 } else { 20_000 };
            kept.data(b"x", at(time));
        }
        assert!(kept.pieces().len() <= PIECES);
        let pause = |two: &[Piece]| two[1].first.since(two[0].last);
        let long = kept.pieces().windows(2).filter(|two| pause(two) == 1_000_000_000);
        assert_eq!(long.count(), 99);
    }

    #[test]
    fn late_bytes_do_not_turn_time_back() {
        let mut kept = Kept::new(10, None);
        for (data, time) in [(b"a", 50), (b"b", 20), (b"c", 70)] {
            kept.data(data, at(time));
        }
        assert_eq!(kept.time_at(0), at(50));
        assert_eq!(kept.time_at(1), at(50));
        assert_eq!(kept.time_at(2), at(70));
    }

    proptest! {
        #[test]
        fn bounded_and_in_order(
            steps in prop::collection::vec((any::<Option<u16>>(), 0..300_usize, any::<i32>()), 0..700),
            limit in 0..5000_usize,
        ) {
            let mut kept = Kept::new(limit, None);
            let mut all = Vec::new();
            for (gap, len, time) in &steps {
                match gap {
                    Some(gap) if gap % 3 == 0 => kept.gap(Some(u64::from(*gap))),
                    _ => {}
                }
                let data = vec![*len as u8; *len];
                kept.data(&data, at(i64::from(*time)));
                all.extend_from_slice(&data);
            }
            prop_assert!(kept.bytes().len() <= limit);
            prop_assert!(all.starts_with(kept.bytes()));
            prop_assert!(kept.cut().is_some() || kept.bytes() == all);
            prop_assert!(kept.gaps().len() <= GAPS && kept.pieces().len() <= PIECES);
            let joined: Vec<u8> = kept.parts().iter().flat_map(|part| match part {
                Part::Bytes(_, bytes) => bytes.to_vec(),
                Part::Missing(_) => Vec::new(),
            }).collect();
            prop_assert_eq!(joined, kept.bytes());
            prop_assert!(kept.pieces().windows(2).all(|two| two[0].at < two[1].at && two[0].last < two[1].first));
        }
    }
}
