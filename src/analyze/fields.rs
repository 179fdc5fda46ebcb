//! Header and trailer fields as one flat buffer.
//!
//! One allocation holds all names and values of a message, and the buffers
//! are reused from message to message, so that a decoder that keeps headers
//! does not allocate per header.

use std::num::NonZeroU32;

/// A piece of a [`Fields`] buffer. An `Option` of it takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    /// One more than the length.
    past: NonZeroU32,
}

impl Span {
    fn len(self) -> usize {
        self.past.get() as usize - 1
    }

    /// Its first `at` bytes, and what comes behind the byte after them.
    #[inline]
    pub fn split(self, at: usize) -> [Self; 2] {
        let at = at.min(self.len()) as u32;
        let rest = self.past.get().saturating_sub(at + 1);
        [
            Self { start: self.start, past: NonZeroU32::MIN.saturating_add(at) },
            Self {
                start: self.start + at + 1,
                past: NonZeroU32::new(rest).unwrap_or(NonZeroU32::MIN),
            },
        ]
    }
}

/// One header field, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// As on the wire, case kept. Where HPACK could not resolve it, a stable
    /// placeholder `?nN`, which no field name can be (`?` is no token
    /// character, RFC 9110 section 5.6.2).
    pub name: &'a [u8],
    /// None where HPACK could not resolve it.
    pub value: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Span,
    value: Option<Span>,
}

/// An ordered list of fields, duplicates kept, and free text beside them.
/// It is small where it is kept, since most messages leave it empty.
#[derive(Clone, Debug, Default)]
pub struct Fields(Option<Box<List>>);

#[derive(Clone, Debug, Default)]
struct List {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// Bytes that a list can hold: all places and lengths fit.
const MOST: usize = u32::MAX as usize - 1;

impl List {
    /// Keeps text. What does not fit is cut, which no head limit allows to happen.
    #[inline]
    fn store(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len();
        let text = text.get(..MOST.saturating_sub(start)).unwrap_or(text);
        self.bytes.extend_from_slice(text);
        let past = NonZeroU32::MIN.saturating_add(text.len() as u32);
        Span { start: start as u32, past }
    }
}

impl Fields {
    #[inline]
    fn list(&mut self) -> &mut List {
        self.0.get_or_insert_default()
    }

    /// Appends a field whose value is known.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let list = self.list();
        let name = list.store(name);
        let value = Some(list.store(value));
        list.entries.push(Entry { name, value });
    }

    /// Appends a field whose value could not be resolved.
    pub fn push_unknown(&mut self, name: &[u8]) {
        let list = self.list();
        let name = list.store(name);
        list.entries.push(Entry { name, value: None });
    }

    /// Keeps text that is not a field (a method, a target) in the same buffer.
    #[inline]
    pub fn store(&mut self, text: &[u8]) -> Span {
        self.list().store(text)
    }

    /// Keeps texts that are not fields.
    #[inline]
    pub fn store_all<const N: usize>(&mut self, texts: [&[u8]; N]) -> [Span; N] {
        let list = self.list();
        list.bytes.reserve(texts.iter().map(|text| text.len()).sum());
        texts.map(|text| list.store(text))
    }

    /// The text of a span of this buffer; empty for a span of another one.
    pub fn text(&self, span: Span) -> &[u8] {
        let bytes = self.0.as_ref().map(|list| list.bytes.as_slice()).unwrap_or_default();
        let start = span.start as usize;
        bytes.get(start..start + span.len()).unwrap_or_default()
    }

    fn entries(&self) -> &[Entry] {
        self.0.as_ref().map(|list| list.entries.as_slice()).unwrap_or_default()
    }

    /// All fields in wire order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries().iter().map(|entry| Field {
            name: self.text(entry.name),
            value: entry.value.map(|span| self.text(span)),
        })
    }

    /// The first field of this name, compared without case.
    pub fn get(&self, name: &str) -> Option<Field<'_>> {
        let name = name.as_bytes();
        // In HTTP/2 names are in lower case, as those asked for.
        let is = |known: &[u8]| {
            known.len() == name.len() && (known == name || known.eq_ignore_ascii_case(name))
        };
        self.iter().find(|field| is(field.name))
    }

    /// The value of the first field of this name, where it is known.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.get(name).and_then(|field| field.value)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is no field (text may be stored all the same).
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Becomes equal to another one, whose spans are then its own.
    #[inline]
    pub fn copy_from(&mut self, other: &Self) {
        match &other.0 {
            Some(theirs) => {
                let list = self.list();
                list.bytes.clear();
                list.bytes.extend_from_slice(&theirs.bytes);
                list.entries.clear();
                list.entries.extend_from_slice(&theirs.entries);
            }
            None => self.clear(),
        }
    }

    /// Empties it, keeping the memory for reuse.
    pub fn clear(&mut self) {
        if let Some(list) = &mut self.0 {
            list.bytes.clear();
            list.entries.clear();
        }
    }

    /// Bytes of memory held.
    #[inline]
    pub fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |list| {
            let entries = list.entries.capacity() * size_of::<Entry>();
            size_of::<List>() + list.bytes.capacity() + entries
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_split_at_a_byte_that_goes() {
        let mut fields = Fields::default();
        fields.store(b"before");
        let line = fields.store(b"GET /");
        let halves = |at| line.split(at).map(|span| fields.text(span));
        assert_eq!(halves(3), [&b"GET"[..], b"/"]);
        assert_eq!(halves(0), [&b""[..], b"ET /"]);
        assert_eq!(halves(4), [&b"GET "[..], b""]);
        assert_eq!(halves(9), [&b"GET /"[..], b""]);
    }

    #[test]
    fn keeps_order_duplicates_and_unknown_values() {
        let mut fields = Fields::default();
        let method = fields.store(b"GET");
        fields.push(b"Accept", b"a");
        fields.push_unknown(b"?n3");
        fields.push(b"accept", b"b");
        assert_eq!(fields.text(method), b"GET");
        assert_eq!(fields.value("ACCEPT"), Some(&b"a"[..]));
        let all: Vec<_> = fields.iter().map(|f| (f.name.to_vec(), f.value)).collect();
        assert_eq!(
            all,
            [
                (b"Accept".to_vec(), Some(&b"a"[..])),
                (b"?n3".to_vec(), None),
                (b"accept".to_vec(), Some(&b"b"[..]))
            ]
        );
    }
}
