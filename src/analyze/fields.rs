//! Header and trailer fields as one flat buffer.
//!
//! One allocation holds all names and values of a message, and the buffers
//! are reused from message to message, so that a decoder that keeps headers
//! does not allocate per header.

/// A piece of a [`Fields`] buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
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
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Fields {
    /// Appends a field whose value is known.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = Some(self.store(value));
        self.entries.push(Entry { name, value });
    }

    /// Appends a field whose value could not be resolved.
    pub fn push_unknown(&mut self, name: &[u8]) {
        let name = self.store(name);
        self.entries.push(Entry { name, value: None });
    }

    /// Keeps text that is not a field (a method, a target) in the same buffer.
    /// Text past 4 GiB in all is cut, which no head limit allows to happen.
    #[inline]
    pub fn store(&mut self, text: &[u8]) -> Span {
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let room = usize::try_from(u32::MAX - start).unwrap_or(0);
        let text = text.get(..room).unwrap_or(text);
        self.bytes.extend_from_slice(text);
        Span { start, len: u32::try_from(text.len()).unwrap_or(0) }
    }

    /// Keeps several texts, in one go.
    #[inline]
    pub fn store_all<const N: usize>(&mut self, texts: [&[u8]; N]) -> [Span; N] {
        self.bytes.reserve(texts.iter().map(|text| text.len()).sum());
        let mut spans = [Span::default(); N];
        for (span, text) in spans.iter_mut().zip(texts) {
            *span = self.store(text);
        }
        spans
    }

    /// The text of a span of this buffer; empty for a span of another one.
    pub fn text(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.bytes.get(start..start + span.len as usize).unwrap_or_default()
    }

    /// All fields in wire order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().map(|entry| Field {
            name: self.text(entry.name),
            value: entry.value.map(|span| self.text(span)),
        })
    }

    /// The first field of this name, compared without case.
    pub fn get(&self, name: &str) -> Option<Field<'_>> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The value of the first field of this name, where it is known.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.get(name).and_then(|field| field.value)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no field (text may be stored all the same).
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Empties it, keeping the memory for reuse.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
