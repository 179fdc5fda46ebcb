//! The gRPC messages of a kept body, one by one, across gaps whose length is known.

use crate::analyze::body::grpc::{Message, PREFIX};
use crate::analyze::kept::{Kept, Part};
use crate::time::Timestamp;

/// Messages of one body that are told; a stream may have any number.
const MESSAGES: usize = 10_000;

/// Flags that gRPC and gRPC-Web know: compressed, trailers.
const FLAGS: u8 = 0x81;

/// A message and when it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed<'a> {
    /// What there is of it up to the first byte that is missing.
    pub message: Message<'a>,
    /// When its prefix was captured.
    pub first: Option<Timestamp>,
    /// When its last byte was, where that was seen.
    pub last: Option<Timestamp>,
}

/// What a body falls into.
#[derive(Debug, Default)]
pub struct Split<'a> {
    /// The messages in order.
    pub messages: Vec<Timed<'a>>,
    /// Why what follows is not told apart.
    pub stopped: Option<&'static str>,
}

/// Takes a kept body apart.
pub fn split(kept: &Kept) -> Split<'_> {
    let mut splitter = Splitter { kept, split: Split::default(), left: 0, broken: false };
    for part in kept.parts() {
        let stopped = match part {
            Part::Bytes(at, bytes) => splitter.bytes(at, bytes),
            Part::Missing(gap) => match gap.bytes {
                Some(bytes) if bytes <= splitter.left => splitter.pass(gap.at, bytes),
                Some(_) => Some("bytes are missing in which messages may have begun"),
                None => Some("an unknown number of bytes is missing"),
            },
        };
        if stopped.is_some() {
            splitter.split.stopped = stopped;
            break;
        }
    }
    splitter.split
}

struct Splitter<'a> {
    kept: &'a Kept,
    split: Split<'a>,
    /// Bytes of the last message that are still to come.
    left: u64,
    /// Bytes of it are missing: what follows does not join what is there.
    broken: bool,
}

impl<'a> Splitter<'a> {
    fn bytes(&mut self, at: u64, bytes: &'a [u8]) -> Option<&'static str> {
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            if self.left > 0 {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                let (content, after) = rest.split_at(taken);
                if let Some(last) = self.split.messages.last_mut().filter(|_| !self.broken) {
                    last.message.coded = content;
                }
                self.broken = true;
                self.take(at, taken as u64);
                (at, rest) = (at + taken as u64, after);
                continue;
            }
            let Some((&[flags, a, b, c, d], after)) = rest.split_first_chunk::<PREFIX>() else {
                return Some("it ends within the prefix of a message");
            };
            if flags & !FLAGS != 0 {
                return Some("what follows is no length-prefixed message");
            }
            if self.split.messages.len() == MESSAGES {
                return Some("there are more messages than are shown");
            }
            let len = u32::from_be_bytes([a, b, c, d]);
            let place = usize::try_from(at).unwrap_or(usize::MAX);
            let message = Message { at: place, flags, len, coded: &[] };
            let first = self.kept.time_at(at);
            let last = self.kept.time_at(at + PREFIX as u64 - 1).filter(|_| len == 0);
            self.split.messages.push(Timed { message, first, last });
            (self.left, self.broken) = (u64::from(len), false);
            (at, rest) = (at + PREFIX as u64, after);
        }
        None
    }

    /// Passes over missing bytes of the message at hand.
    fn pass(&mut self, at: u64, bytes: u64) -> Option<&'static str> {
        self.broken = true;
        self.take(at, bytes);
        None
    }

    fn take(&mut self, at: u64, bytes: u64) {
        self.left -= bytes;
        if self.left == 0
            && let Some(last) = self.split.messages.last_mut()
        {
            last.last = self.kept.time_at((at + bytes).saturating_sub(1));
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

    fn frame(content: &[u8]) -> Vec<u8> {
        let len = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[0], &len[..], content].concat()
    }

    #[test]
    fn a_gap_within_a_message_leaves_the_next_one() {
        let mut kept = Kept::new(1000, None);
        kept.data(b"\0\0\0\0\x0aabcd", at(1_000));
        kept.gap(Some(3));
        kept.data(b"xyz\0\0\0\0\x01!", at(2_000_000));
        let split = split(&kept);
        assert_eq!(split.stopped, None);
        let [first, second] = split.messages.as_slice() else { panic!("{split:?}") };
        assert_eq!((first.message.coded, first.message.missing()), (&b"abcd"[..], 6));
        assert_eq!((first.first, first.last), (at(1_000), at(2_000_000)));
        assert_eq!((second.message.at, second.message.coded), (15, &b"!"[..]));
    }

    #[test]
    fn a_gap_beyond_a_message_ends_it() {
        for (gap, why) in [(Some(9), "may have begun"), (None, "unknown number")] {
            let mut kept = Kept::new(1000, None);
            kept.data(&[frame(b"one"), b"\0\0\0\0\x05a".to_vec()].concat(), at(0));
            kept.gap(gap);
            kept.data(&frame(b"no message: nobody knows"), at(0));
            let split = split(&kept);
            assert_eq!(split.messages.len(), 2);
            assert!(split.stopped.unwrap().contains(why), "{split:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_pieces(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1..30_usize, 1..20),
        ) {
            let body: Vec<u8> = messages.iter().flat_map(|content| frame(content)).collect();
            let mut kept = Kept::new(usize::MAX, None);
            let (mut rest, mut time) = (body.as_slice(), 0);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                kept.data(piece, at(time));
                (rest, time) = (after, time + 1_000_000);
            }
            let split = split(&kept);
            prop_assert_eq!(split.stopped, None);
            let found: Vec<_> = split.messages.iter().map(|m| m.message.coded.to_vec()).collect();
            prop_assert_eq!(found, messages);
            prop_assert!(split.messages.iter().all(|m| m.first <= m.last));
        }

        #[test]
        fn any_bytes_and_gaps(parts in prop::collection::vec((any::<Vec<u8>>(), any::<Option<u16>>()), 0..8)) {
            let mut kept = Kept::new(100, None);
            for (bytes, gap) in &parts {
                kept.data(bytes, at(5));
                kept.gap(gap.map(u64::from));
            }
            split(&kept);
        }
    }
}
