//! Header blocks (RFC 7541), read octet by octet across frames and segments, values
//! overwritten where they stand.
//!
//! Of the dynamic table only what redaction needs is kept: of each entry the class of its
//! name and its size. Values are redacted where they enter the table, so references to
//! them say nothing. Sizes are those that the peers reckon with; a redacted value is never
//! longer when decoded, so that a reader's table holds at least what the peers' hold.

mod coded;
mod table;

use std::collections::VecDeque;

use table::{OVERHEAD, Table};

use super::chunk::{Chunk, MASK};
use super::fill::{self, STARS, Symbols};
use super::query::{Byte, Query};
use super::report::Counts;
use super::rules::{Class, NAME_BYTES, Rules};
use crate::analyze::decode::http2::hpack::static_table;

/// Octets of an integer behind its first at most: any value of 32 bits, and one more.
const INTEGER_OCTETS: u32 = 6;

/// Where in a header block the next octet is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// A representation begins.
    Begin,
    /// An integer goes on.
    Integer { what: What, value: u64, shift: u32 },
    /// The length of a name begins.
    Name,
    /// In a name.
    NameText { left: u64, coded: bool },
    /// The length of a value begins.
    Value,
    /// In a value.
    ValueText { left: u64, coded: bool },
    /// In a coded value of which all that follows is overwritten.
    Tail { left: u64 },
    /// No octet of this block can be understood any more.
    Broken,
}

/// What an integer is.
#[derive(Clone, Copy, Debug)]
enum What {
    Indexed,
    Literal,
    Size,
    NameLength { coded: bool },
    ValueLength { coded: bool },
}

/// The reader of one direction's header blocks.
#[derive(Debug)]
pub struct Blocks {
    table: Table,
    state: State,
    field: Field,
    name: Vec<u8>,
    symbols: Symbols,
    query: Query,
    /// Octets of a tail that are fixed already.
    ahead: VecDeque<u8>,
}

/// The field at hand.
#[derive(Clone, Copy, Debug)]
struct Field {
    insert: bool,
    class: Class,
    /// Characters of the name, and of the value so far, once decoded.
    name: u64,
    chars: u64,
    /// Octets of the value.
    length: u64,
}

impl Field {
    fn new(insert: bool) -> Self {
        Self { insert, class: Class::Plain, name: 0, chars: 0, length: 0 }
    }
}

/// What reading needs besides.
pub struct Context<'a> {
    /// What is redacted.
    pub rules: &'a Rules,
    /// What was.
    pub counts: &'a mut Counts,
}

impl Blocks {
    /// Of a direction of which header blocks may (`open`) or may not have been missed.
    pub fn new(open: bool) -> Self {
        Self {
            table: Table::new(open),
            state: State::Begin,
            field: Field::new(false),
            name: Vec::new(),
            symbols: Symbols::default(),
            query: Query::default(),
            ahead: VecDeque::new(),
        }
    }

    /// Header blocks, or a part of one, were missed.
    pub fn lost(&mut self) {
        self.table = Table::new(true);
        self.state = State::Broken;
    }

    /// A block ends, or the next one begins.
    pub fn end(&mut self) {
        if !matches!(self.state, State::Begin) {
            self.table = Table::new(true);
        }
        self.state = State::Begin;
    }

    /// Reads `octets` of the chunk, which are of this block.
    pub fn read(&mut self, chunk: &mut Chunk<'_>, octets: usize, cx: &mut Context<'_>) {
        let end = chunk.left().saturating_sub(octets);
        while chunk.left() > end {
            let here = chunk.left() - end;
            match self.state {
                // Stays out whatever the policy: it was a header block.
                State::Broken => {
                    cx.counts.dropped += here as u64;
                    chunk.drop(here);
                }
                State::NameText { left, coded } => self.name_text(chunk, here, left, coded, cx),
                State::ValueText { left, coded } => self.value_text(chunk, here, left, coded, cx),
                State::Tail { left } => self.tail(chunk, here, left),
                _ => {
                    let Some(octet) = chunk.next() else { return };
                    self.octet(octet, cx);
                }
            }
        }
    }

    fn octet(&mut self, octet: u8, cx: &mut Context<'_>) {
        match self.state {
            State::Begin => {
                let (what, bits) = match octet {
                    0x80.. => (What::Indexed, 7),
                    0x40..0x80 => (What::Literal, 6),
                    0x20..0x40 => (What::Size, 5),
                    0x00..0x20 => (What::Literal, 4),
                };
                self.field = Field::new(bits == 6);
                self.prefix(octet, bits, what, cx);
            }
            State::Name => self.prefix(octet, 7, What::NameLength { coded: octet & 0x80 != 0 }, cx),
            State::Value => {
                self.prefix(octet, 7, What::ValueLength { coded: octet & 0x80 != 0 }, cx);
            }
            State::Integer { what, value, shift } => {
                let value = value + (u64::from(octet & 0x7f) << shift);
                let next = shift + 7;
                if octet & 0x80 == 0 && value <= u64::from(u32::MAX) {
                    self.integer(what, value, cx);
                } else if octet & 0x80 != 0 && next < 7 * INTEGER_OCTETS {
                    self.state = State::Integer { what, value, shift: next };
                } else {
                    self.lost();
                }
            }
            _ => {}
        }
    }

    fn prefix(&mut self, octet: u8, bits: u32, what: What, cx: &mut Context<'_>) {
        let mask = (1u8 << bits) - 1;
        let value = octet & mask;
        if value == mask {
            self.state = State::Integer { what, value: u64::from(value), shift: 0 };
        } else {
            self.integer(what, u64::from(value), cx);
        }
    }

    fn integer(&mut self, what: What, value: u64, cx: &mut Context<'_>) {
        match what {
            What::Indexed => {
                self.state = State::Begin;
                if self.class_at(value, cx.rules).is_none() {
                    self.lost();
                }
            }
            What::Size => {
                self.table.resize(value);
                self.state = State::Begin;
            }
            What::Literal if value == 0 => {
                self.name.clear();
                self.state = State::Name;
            }
            What::Literal => match self.class_at(value, cx.rules) {
                Some((class, name)) => {
                    (self.field.class, self.field.name) = (class, name);
                    self.state = State::Value;
                }
                None => self.lost(),
            },
            What::NameLength { coded } => {
                self.symbols = Symbols::default();
                self.state = State::NameText { left: value, coded };
                if value == 0 {
                    self.named(cx);
                }
            }
            What::ValueLength { coded } => self.value(value, coded, cx),
        }
    }

    /// The class of the name at an index, and its length.
    fn class_at(&self, index: u64, rules: &Rules) -> Option<(Class, u64)> {
        let index = usize::try_from(index).ok()?;
        match static_table::ENTRIES.get(index.wrapping_sub(1)) {
            Some((name, _)) => Some((rules.header(name.as_bytes()), name.len() as u64)),
            None => {
                let at = index.checked_sub(static_table::ENTRIES.len() + 1)?;
                self.table.get(at, rules)
            }
        }
    }

    fn name_text(
        &mut self,
        chunk: &mut Chunk<'_>,
        here: usize,
        left: u64,
        coded: bool,
        cx: &mut Context<'_>,
    ) {
        let Some(octet) = chunk.next() else { return };
        debug_assert!(here > 0);
        if coded {
            self.symbols.feed(octet);
            while let Some((symbol, _)) = self.symbols.next() {
                self.name_char(symbol);
            }
        } else {
            self.name_char(octet);
        }
        let left = left.saturating_sub(1);
        self.state = State::NameText { left, coded };
        if self.symbols.bad {
            self.lost();
        } else if left == 0 {
            self.named(cx);
        }
    }

    fn name_char(&mut self, byte: u8) {
        self.field.name += 1;
        // One more than can be compared: then it is none of those.
        if self.name.len() <= NAME_BYTES {
            self.name.push(byte);
        }
    }

    fn named(&mut self, cx: &Context<'_>) {
        self.field.class = cx.rules.header(&self.name);
        self.state = State::Value;
    }

    fn value(&mut self, length: u64, coded: bool, cx: &mut Context<'_>) {
        self.symbols = Symbols::default();
        self.query = Query::default();
        self.field.length = length;
        self.state = State::ValueText { left: length, coded };
        match self.field.class {
            _ if length == 0 => {}
            Class::Secret(number) => cx.counts.value(number),
            Class::Unknown => cx.counts.unknown += 1,
            _ => {}
        }
        if length == 0 {
            self.ended();
        }
    }

    fn value_text(
        &mut self,
        chunk: &mut Chunk<'_>,
        here: usize,
        left: u64,
        coded: bool,
        cx: &mut Context<'_>,
    ) {
        let octets = usize::try_from(left).map_or(here, |left| left.min(here));
        let left_after = left - octets as u64;
        self.state = State::ValueText { left: left_after, coded };
        match self.field.class {
            Class::Secret(_) | Class::Unknown => self.secret(chunk, octets, coded),
            Class::Url if coded => return self.coded_url(chunk, octets, left, cx),
            Class::Url => self.url(chunk, octets, cx),
            Class::Plain => {
                self.count(chunk.rest().get(..octets).unwrap_or_default(), coded);
                chunk.pass(octets);
            }
        }
        if left_after == 0 && !matches!(self.state, State::Broken) {
            self.ended();
        }
    }

    /// Characters of a value that enters the table.
    fn count(&mut self, octets: &[u8], coded: bool) {
        if !coded {
            self.field.chars += octets.len() as u64;
        } else if self.field.insert {
            for octet in octets {
                self.symbols.feed(*octet);
                while self.symbols.next().is_some() {
                    self.field.chars += 1;
                }
            }
        }
    }

    fn secret(&mut self, chunk: &mut Chunk<'_>, octets: usize, coded: bool) {
        let before = self.field.chars;
        self.count(chunk.rest().get(..octets).unwrap_or_default(), coded);
        if !coded {
            return chunk.fill(octets, MASK);
        }
        // Text that is longer coded than plain: as stars it would be longer when decoded, and
        // a reader's table full before the peers' is. Where all of it is at hand, it is not.
        let chars = self.field.chars - before;
        let whole = octets as u64 == self.field.length;
        if self.field.insert && whole && chars < octets as u64 {
            let symbols = usize::try_from(chars).unwrap_or(0);
            let string = chunk.rest_mut().get_mut(..octets).unwrap_or_default();
            if fill::whole(string, symbols) {
                return chunk.pass(octets);
            }
        }
        chunk.fill(octets, STARS);
    }

    fn url(&mut self, chunk: &mut Chunk<'_>, octets: usize, cx: &mut Context<'_>) {
        self.field.chars += octets as u64;
        for _ in 0..octets {
            let Some(byte) = chunk.rest().first().copied() else { return };
            match self.query.next(byte, cx.rules) {
                Byte::Secret => chunk.fill(1, MASK),
                Byte::Begins(number) => {
                    cx.counts.value(number);
                    chunk.pass(1);
                }
                Byte::Plain => chunk.pass(1),
            }
        }
    }

    /// The field is whole.
    fn ended(&mut self) {
        if self.field.insert {
            let Field { class, name, chars, .. } = self.field;
            self.table.insert(class, name, name + chars + OVERHEAD);
        }
        self.state = State::Begin;
    }
}
