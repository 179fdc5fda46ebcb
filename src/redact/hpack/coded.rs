//! Parameters in Huffman-coded URLs, which begin and end within octets.

use super::{Blocks, Context, State};
use crate::redact::chunk::Chunk;
use crate::redact::fill::{self, STARS, Symbols};
use crate::redact::query::Byte;

impl Blocks {
    /// As many of the `octets` at hand, of `left` of the string, as come before what is next to
    /// be decided.
    pub(super) fn coded_url(
        &mut self,
        chunk: &mut Chunk<'_>,
        octets: usize,
        left: u64,
        cx: &mut Context<'_>,
    ) {
        for nth in 0..octets {
            let Some(octet) = chunk.rest().get(nth).copied() else { return };
            self.symbols.feed(octet);
            while let Some((symbol, _)) = self.symbols.next() {
                self.field.chars += 1;
                let Byte::Begins(number) = self.query.next(symbol, cx.rules) else { continue };
                cx.counts.value(number);
                let from = (nth + 1) * 8 - self.symbols.held() as usize;
                return self.coded_parameter(chunk, (from, octets), left, cx);
            }
            if self.symbols.bad {
                chunk.pass(nth);
                return self.lost();
            }
        }
        chunk.pass(octets);
        self.state = State::ValueText { left: left - octets as u64, coded: true };
        if left == octets as u64 {
            self.ended();
        }
    }

    /// Overwrites a parameter from the bit `from` of the `octets` at hand on. Where its end is
    /// not among them, nothing of the string can be told from it any more: all of the rest is
    /// overwritten.
    fn coded_parameter(
        &mut self,
        chunk: &mut Chunk<'_>,
        (from, octets): (usize, usize),
        left: u64,
        cx: &mut Context<'_>,
    ) {
        let last = octets as u64 == left;
        let place = from / 8;
        let string = chunk.rest().get(..octets).unwrap_or_default();
        let mut query = self.query.clone();
        let first = string.get(place).copied().unwrap_or(0xff);
        let mut symbols = Symbols::within(first, (from % 8) as u32);
        let (mut nth, mut end, mut chars, mut found) = (place + 1, from, 0, false);
        while !found && !symbols.bad {
            match symbols.next() {
                Some((symbol, _)) if query.next(symbol, cx.rules) != Byte::Secret => found = true,
                Some((_, bits)) => {
                    end += bits as usize;
                    chars += 1;
                }
                None if nth < octets => {
                    symbols.feed(string.get(nth).copied().unwrap_or(0xff));
                    nth += 1;
                }
                None => break,
            }
        }
        if symbols.bad {
            chunk.pass(place.min(octets));
            return self.lost();
        }
        if found || last {
            fill::exact(chunk.rest_mut(), from, end, chars);
            self.field.chars += chars as u64;
            // On with the symbol that ended it, or with what is padding.
            let done = end / 8;
            let octet = chunk.rest().get(done).copied().unwrap_or(0xff);
            chunk.pass(done);
            let left = left - done as u64;
            if done == octets {
                self.symbols = Symbols::default();
                return self.after_url(left);
            }
            // The octet in which it ended is read again from there.
            self.symbols = Symbols::within(octet, (end % 8) as u32);
            return self.go_on(chunk, octets - done, left, cx);
        }
        self.field.chars += chars as u64;
        self.symbols = symbols;
        self.coded_tail(chunk, (from, octets), left);
    }

    /// Overwrites from the bit `from` on to the end of the string. Characters are counted up
    /// to the end of the `octets` at hand.
    fn coded_tail(&mut self, chunk: &mut Chunk<'_>, (from, octets): (usize, usize), left: u64) {
        let place = from / 8;
        chunk.pass(place);
        self.ahead.clear();
        if place < octets {
            let behind = usize::try_from(left - place as u64 - 1).unwrap_or(usize::MAX);
            let first = chunk.rest().first().copied().unwrap_or(0xff);
            let (octet, next) = fill::tail(first, (from % 8) as u32, behind);
            self.ahead.push_back(octet);
            self.ahead.extend(next);
            for _ in place..octets {
                let octet = self.ahead.pop_front().unwrap_or(STARS);
                chunk.fill(1, octet);
            }
        }
        self.state = State::Tail { left: left - octets as u64 };
    }

    /// Goes on in a coded URL within an octet: what of it was not read is in `symbols` already.
    fn go_on(&mut self, chunk: &mut Chunk<'_>, octets: usize, left: u64, cx: &mut Context<'_>) {
        while let Some((symbol, _)) = self.symbols.next() {
            self.field.chars += 1;
            if let Byte::Begins(number) = self.query.next(symbol, cx.rules) {
                cx.counts.value(number);
                let from = 8 - self.symbols.held() as usize;
                return self.coded_parameter(chunk, (from, octets), left, cx);
            }
        }
        chunk.pass(1);
        self.after_url(left - 1);
    }

    fn after_url(&mut self, left: u64) {
        self.state = State::ValueText { left, coded: true };
        if left == 0 {
            self.ended();
        }
    }

    /// The rest of a value of which all is overwritten.
    pub(super) fn tail(&mut self, chunk: &mut Chunk<'_>, here: usize, left: u64) {
        let octets = usize::try_from(left).map_or(here, |left| left.min(here));
        self.count(chunk.rest().get(..octets).unwrap_or_default(), true);
        for _ in 0..octets {
            let octet = self.ahead.pop_front().unwrap_or(STARS);
            chunk.fill(1, octet);
        }
        let left = left - octets as u64;
        self.state = State::Tail { left };
        if left == 0 {
            self.ended();
        }
    }
}
