//! Redaction of one connection as a user would see it: what comes out, however the bytes were
//! cut, and that nothing secret does.

mod blocks;
mod encoder;
mod http1;
mod http2;

use std::ops::Range;

use super::chunk::{Chunk, add};
use super::half::{Half, Late};
use super::hpack::Context;
use super::report::Counts;
use super::rules::{Rules, Settings, Unparsed};
use super::shared::Shared;
use crate::analyze::decode::http2::hpack::huffman::encode;
use crate::analyze::decode::http2::hpack::static_table::ENTRIES;

/// What a secret is in all tests.
pub const SECRET: &str = "s3cr3t-VALUE";

/// A connection: side 0 is the client.
pub struct Talk {
    rules: Rules,
    counts: Counts,
    shared: Shared,
    halves: [Half; 2],
}

impl Talk {
    pub fn new(settings: &Settings, late: bool) -> Self {
        Self {
            rules: Rules::new(settings),
            counts: Counts::default(),
            shared: Shared::default(),
            halves: [Half::new(0, late), Half::new(1, late)],
        }
    }

    pub fn keep() -> Self {
        Self::new(&Settings::new(Unparsed::Keep), false)
    }

    pub fn drop() -> Self {
        Self::new(&Settings::new(Unparsed::Drop), false)
    }

    /// Bytes in, in one piece; what comes out, and what leaves.
    pub fn piece(&mut self, side: usize, bytes: &[u8]) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut bytes, mut drops) = (bytes.to_vec(), Vec::new());
        let mut cx = Context { rules: &self.rules, counts: &mut self.counts };
        let mut chunk = Chunk::new(&mut bytes, &mut drops);
        self.halves[side].data(&mut chunk, &mut self.shared, &mut cx);
        assert_eq!(chunk.left(), 0);
        (bytes, drops)
    }

    /// Bytes in pieces of these sizes in turn.
    pub fn say(
        &mut self,
        side: usize,
        bytes: &[u8],
        sizes: &[usize],
    ) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut out, mut drops) = (Vec::new(), Vec::new());
        let mut sizes = sizes.iter().copied().chain([usize::MAX]).cycle();
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(usize::MAX).clamp(1, rest.len());
            let (now, after) = rest.split_at(size);
            let (said, gone) = self.piece(side, now);
            for range in gone {
                add(&mut drops, range.start + out.len()..range.end + out.len());
            }
            out.extend(said);
            rest = after;
        }
        (out, drops)
    }

    pub fn gap(&mut self, side: usize, bytes: u64) -> Late {
        let cx = Context { rules: &self.rules, counts: &mut self.counts };
        self.halves[side].gap(bytes, &mut self.shared, &cx)
    }

    pub fn values(&self) -> u64 {
        self.counts.report(&self.rules).total()
    }
}

/// What is left to read, dropped bytes as `_`.
pub fn shown((mut bytes, drops): (Vec<u8>, Vec<Range<usize>>)) -> String {
    drops.into_iter().for_each(|range| bytes[range].fill(b'_'));
    String::from_utf8_lossy(&bytes).into_owned()
}
