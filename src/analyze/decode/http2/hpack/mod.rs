//! HPACK for a passive observer (RFC 7541).
//!
//! Decodes header blocks exactly where the capture allows and says "unknown"
//! where it does not (see [`table`]). Knows nothing of frames or of what the
//! fields mean.

pub mod huffman;
pub mod static_table;
pub mod table;
#[cfg(test)]
mod tests;

use table::{Name, Table};

/// Bytes of one integer: enough for any 32-bit value, padded by one.
const INTEGER_BYTES: u32 = 6;

/// Why the rest of a header block cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HpackError {
    /// The block ends within a field.
    #[error("the block ends within a field")]
    Truncated,
    /// An integer larger than 32 bits (RFC 7541 section 5.1).
    #[error("an integer is too large")]
    Integer,
    /// A bad Huffman string (RFC 7541 section 5.2).
    #[error("a string is not valid Huffman code")]
    Huffman,
    /// Index 0, or one past the end of a table known from its start
    /// (RFC 7541 section 2.3.3).
    #[error("index {0} is not in the table")]
    Index(usize),
    /// A size update after a field (RFC 7541 section 4.2).
    #[error("a table size update comes after a field")]
    LateSizeUpdate,
}

/// One decoded field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// Its value; None where it is not known.
    pub value: Option<&'a [u8]>,
}

/// How the last block depended on the table and changed it.
#[derive(Debug, Default)]
pub struct Trace {
    /// Dynamic indices that it referred to, in order, from 0 for the newest
    /// entry at that time.
    pub refs: Vec<u32>,
    /// Entries that it inserted.
    pub inserts: usize,
    /// Whether it did anything else with the table.
    pub other: bool,
}

/// References that are traced: real blocks have fewer.
const REFS: usize = 32;

impl Trace {
    fn refer(&mut self, at: Option<usize>) {
        match at.and_then(|at| u32::try_from(at).ok()) {
            Some(at) if self.refs.len() < REFS => self.refs.push(at),
            _ => self.other = true,
        }
    }
}

/// The decoder of one direction.
#[derive(Debug)]
pub struct Decoder {
    /// Its dynamic table.
    pub table: Table,
    /// What the last block did with it.
    pub trace: Trace,
    /// Decoded or copied name and value of the field at hand.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// For a direction whose bytes were (`open`) or were not missed before.
    pub fn new(open: bool) -> Self {
        let (name, value) = Default::default();
        Self { table: Table::new(open), trace: Trace::default(), name, value }
    }

    /// Forgets the table: header blocks may have been missed.
    pub fn invalidate(&mut self) {
        self.table.invalidate();
    }

    /// Decodes a whole header block, giving each field to `each`. After an
    /// error the rest of the block and the table are unknown.
    pub fn decode(
        &mut self,
        block: &[u8],
        each: &mut impl FnMut(Field<'_>),
    ) -> Result<(), HpackError> {
        self.trace.refs.clear();
        (self.trace.inserts, self.trace.other) = (0, false);
        let result = self.fields(block, each);
        if result.is_err() {
            self.table.invalidate();
        }
        result
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.name.capacity() + self.value.capacity()
    }

    fn fields(&mut self, block: &[u8], each: &mut impl FnMut(Field<'_>)) -> Result<(), HpackError> {
        let mut rest = block;
        let mut fields = false;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            match first {
                // Indexed field (section 6.1).
                0x80.. => {
                    let index = integer(first, 7, &mut rest)?;
                    self.indexed(index, each)?;
                }
                // Literal with incremental indexing (section 6.2.1).
                0x40..0x80 => {
                    let index = integer(first, 6, &mut rest)?;
                    self.literal(index, true, &mut rest, each)?;
                }
                // Dynamic table size update (section 6.3).
                0x20..0x40 => {
                    if fields {
                        return Err(HpackError::LateSizeUpdate);
                    }
                    self.table.resize(integer(first, 5, &mut rest)?);
                    self.trace.other = true;
                    continue;
                }
                // Literal without indexing or never indexed (sections 6.2.2 and 6.2.3).
                0x00..0x20 => {
                    let index = integer(first, 4, &mut rest)?;
                    self.literal(index, false, &mut rest, each)?;
                }
            }
            fields = true;
        }
        Ok(())
    }

    fn indexed(
        &mut self,
        index: usize,
        each: &mut impl FnMut(Field<'_>),
    ) -> Result<(), HpackError> {
        let found = match static_table::ENTRIES.get(index.wrapping_sub(1)) {
            Some((name, value)) => (Name::Known(name.as_bytes()), Some(value.as_bytes())),
            None => self.dynamic(index)?,
        };
        each(Field { name: found.0, value: found.1 });
        Ok(())
    }

    fn dynamic(&mut self, index: usize) -> Result<table::Found<'_>, HpackError> {
        let at = index.checked_sub(static_table::ENTRIES.len() + 1);
        self.trace.refer(at);
        at.and_then(|at| self.table.get(at)).ok_or(HpackError::Index(index))
    }

    fn literal(
        &mut self,
        index: usize,
        insert: bool,
        rest: &mut &[u8],
        each: &mut impl FnMut(Field<'_>),
    ) -> Result<(), HpackError> {
        self.name.clear();
        let name = match static_table::ENTRIES.get(index.wrapping_sub(1)) {
            Some((name, _)) => Name::Known(name.as_bytes()),
            None if index == 0 => Name::Known(string(rest, &mut self.name)?),
            None => {
                let at = index.checked_sub(static_table::ENTRIES.len() + 1);
                self.trace.refer(at);
                let found = at.and_then(|at| self.table.get(at));
                match found.ok_or(HpackError::Index(index))?.0 {
                    // Copied: the insert below may evict the entry it came from.
                    Name::Known(name) => {
                        self.name.extend_from_slice(name);
                        Name::Known(&self.name)
                    }
                    Name::Unknown(id) => Name::Unknown(id),
                }
            }
        };
        self.value.clear();
        let value = string(rest, &mut self.value)?;
        each(Field { name, value: Some(value) });
        if insert {
            self.trace.inserts += 1;
            self.table.insert(name, value);
        }
        Ok(())
    }
}

/// Whether `block` looks like a header block from its start on: it decodes
/// to its end and all literal names are field names (RFC 9113 section
/// 8.2.1). None where it does not, else who sends such a block where a name
/// or status tells, by what its fields are called.
pub fn plausible(block: &[u8]) -> Option<Told> {
    let mut decoder = Decoder::new(true);
    let mut told = Told::default();
    let mut names = true;
    let result = decoder.decode(block, &mut |field| {
        told.fields += 1;
        if let (Name::Known(name), Some(value)) = (field.name, field.value) {
            names &= is_likely(name, value);
        }
        match field.name {
            Name::Known(b":status") => told.server = true,
            Name::Known(b":method" | b":path" | b":scheme" | b":authority") => told.client = true,
            Name::Known(b"grpc-status") => told.server = true,
            Name::Known(name) => names &= is_field_name(name),
            Name::Unknown(id) => names &= id < UNKNOWN_IDS,
        }
    });
    (result.is_ok() && names && told.fields > 0 && !(told.client && told.server)).then_some(told)
}

/// What a header block says of its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// A field that only requests have.
    pub client: bool,
    /// A field that only responses have.
    pub server: bool,
    /// Number of fields.
    pub fields: usize,
}

/// Entries that a plausible table holds: 64 KiB of the smallest real ones.
const UNKNOWN_IDS: u64 = 1024;

/// Whether a pseudo-header has a value that it can have (RFC 9113 section 8.3).
fn is_likely(name: &[u8], value: &[u8]) -> bool {
    match name {
        b":status" => value.len() == 3 && value.iter().all(u8::is_ascii_digit),
        b":method" => !value.is_empty() && value.iter().all(u8::is_ascii_uppercase),
        b":scheme" => value.starts_with(b"http"),
        b":path" => value.starts_with(b"/") || value == b"*",
        b":authority" => !value.is_empty(),
        _ => true,
    }
}

/// Lower-case token, with the colon of a pseudo-header.
fn is_field_name(name: &[u8]) -> bool {
    let name = name.strip_prefix(b":").unwrap_or(name);
    !name.is_empty()
        && name.iter().all(|b| {
            matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
                || matches!(b, b'^' | b'_' | b'`' | b'|' | b'~')
        })
}

/// An integer whose first byte is `first`, with a prefix of `bits`
/// (RFC 7541 section 5.1).
fn integer(first: u8, bits: u32, rest: &mut &[u8]) -> Result<usize, HpackError> {
    let mask = (1u8 << bits) - 1;
    let mut value = u64::from(first & mask);
    if value < u64::from(mask) {
        return Ok(value as usize);
    }
    for place in 0..INTEGER_BYTES {
        let (&byte, after) = rest.split_first().ok_or(HpackError::Truncated)?;
        *rest = after;
        value += u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return u32::try_from(value).map(|v| v as usize).map_err(|_| HpackError::Integer);
        }
    }
    Err(HpackError::Integer)
}

/// A string literal (RFC 7541 section 5.2), decoded into `scratch` where it
/// is Huffman code.
fn string<'a: 'c, 'b: 'c, 'c>(
    rest: &mut &'a [u8],
    scratch: &'b mut Vec<u8>,
) -> Result<&'c [u8], HpackError> {
    let (&first, after) = rest.split_first().ok_or(HpackError::Truncated)?;
    *rest = after;
    let length = integer(first, 7, rest)?;
    let (text, after) = rest.split_at_checked(length).ok_or(HpackError::Truncated)?;
    *rest = after;
    if first & 0x80 == 0 {
        return Ok(text);
    }
    if huffman::decode(text, scratch) { Ok(scratch) } else { Err(HpackError::Huffman) }
}
