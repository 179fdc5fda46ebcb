//! Header and trailer fields as one flat buffer.
//!
//! One allocation holds all names and values of a message, and the buffers
//! are reused from message to message, so that a decoder that keeps headers
//! does not allocate per header. Field lines that are plain are kept as they
//! stood: one copy for all of them, and they are taken apart only where
//! somebody asks for one.

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
    /// Plain field lines, which come before `entries`.
    lines: Option<Span>,
    entries: Vec<Entry>,
    /// See [`Fields::is_cut`].
    cut: bool,
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

    /// Appends fields as plain lines: of each the name, a colon, the value with
    /// nothing or blanks (SP) around it, and CRLF; no control character within
    /// and no colon in a name. Other bytes come out as other fields.
    #[inline]
    pub fn push_lines(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if !self.is_empty() {
            return plain_lines(lines).for_each(|(name, value)| self.push(name, value));
        }
        let list = self.list();
        list.lines = Some(list.store(lines));
    }

    /// The fields that were appended as lines: they come first.
    #[inline]
    pub fn lines(&self) -> &[u8] {
        let span = self.0.as_ref().and_then(|list| list.lines);
        span.map(|span| self.text(span)).unwrap_or_default()
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
        let lines = plain_lines(self.lines());
        lines.map(|(name, value)| Field { name, value: Some(value) }).chain(self.unlined())
    }

    /// The fields behind [`Self::lines`].
    #[inline]
    pub fn unlined(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries().iter().map(|entry| Field {
            name: self.text(entry.name),
            value: entry.value.map(|span| self.text(span)),
        })
    }

    /// The first field of this name, compared without case.
    pub fn get(&self, name: &str) -> Option<Field<'_>> {
        let name = name.as_bytes();
        // In HTTP/2 names are in lower case, as those asked for.
        let is = |known: &[u8]| known == name || known.eq_ignore_ascii_case(name);
        // Only the line that is looked for is taken apart.
        let mut lines = self.lines().split_inclusive(|byte| *byte == b'\n');
        let line = lines.find(|line| {
            line.get(name.len()) == Some(&b':') && line.get(..name.len()).is_some_and(is)
        });
        if let Some((name, value)) = line.and_then(|line| plain_lines(line).next()) {
            return Some(Field { name, value: Some(value) });
        }
        self.unlined().find(|field| field.name.len() == name.len() && is(field.name))
    }

    /// The value of the first field of this name, where it is known.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.get(name).and_then(|field| field.value)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        plain_lines(self.lines()).count() + self.entries().len()
    }

    /// Whether there is no field (text may be stored all the same).
    pub fn is_empty(&self) -> bool {
        self.lines().is_empty() && self.entries().is_empty()
    }

    /// Says that more fields were sent than are in it: bytes of the section are
    /// missing or make no sense, or a limit was reached.
    pub fn mark_cut(&mut self) {
        self.list().cut = true;
    }

    /// Whether fields may be missing from it, so that one that is not in it may
    /// have been sent.
    pub fn is_cut(&self) -> bool {
        self.0.as_ref().is_some_and(|list| list.cut)
    }

    /// Becomes equal to another one, whose spans are then its own.
    #[inline]
    pub fn copy_from(&mut self, other: &Self) {
        match &other.0 {
            Some(theirs) => {
                let list = self.list();
                list.bytes.clear();
                list.bytes.extend_from_slice(&theirs.bytes);
                list.lines = theirs.lines;
                list.entries.clear();
                list.entries.extend_from_slice(&theirs.entries);
                list.cut = theirs.cut;
            }
            None => self.clear(),
        }
    }

    /// All of them as plain lines, to be appended to another list; None where
    /// one cannot be such a line.
    pub fn to_lines(&self) -> Option<Vec<u8>> {
        let mut lines = self.lines().to_vec();
        for Field { name, value } in self.unlined() {
            let value = value?;
            let is_name = |byte: &u8| byte.is_ascii_graphic() && *byte != b':';
            let is_value = |byte: &u8| *byte >= b' ' && *byte != 0x7f;
            let plain = name.iter().all(is_name) && value.iter().all(is_value);
            if name.is_empty() || !plain || value.trim_ascii() != value {
                return None;
            }
            for part in [name, b":", value, b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        Some(lines)
    }

    /// Empties it, keeping the memory for reuse.
    pub fn clear(&mut self) {
        if let Some(list) = &mut self.0 {
            list.bytes.clear();
            list.lines = None;
            list.entries.clear();
            list.cut = false;
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

/// Names and values of plain field lines.
pub fn plain_lines(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at_checked(end)?;
        rest = after;
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at_checked(colon)?;
        Some((name, value.get(1..).unwrap_or_default().trim_ascii()))
    })
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

    #[test]
    fn plain_lines_are_fields_like_others() {
        let mut lined = Fields::default();
        lined.store(b"GET /");
        lined.push_lines(b"Host: a.example\r\nAccept:\r\nX:  b:c \r\n");
        lined.push(b"Last", b"1");
        lined.push_lines(b"Later: 2\r\n");
        let mut pushed = Fields::default();
        for (name, value) in
            [("Host", "a.example"), ("Accept", ""), ("X", "b:c"), ("Last", "1"), ("Later", "2")]
        {
            pushed.push(name.as_bytes(), value.as_bytes());
        }
        let all = |fields: &Fields| fields.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>();
        assert_eq!(all(&lined), all(&pushed));
        assert_eq!((lined.len(), lined.is_empty()), (5, false));
        assert_eq!(lined.value("x"), Some(&b"b:c"[..]));
        let mut copy = Fields::default();
        copy.copy_from(&lined);
        assert_eq!(all(&copy), all(&pushed));
        copy.clear();
        assert!(copy.is_empty() && copy.lines().is_empty());
    }

    #[test]
    fn fields_become_lines_only_where_that_is_the_same() {
        let lines = |name: &str, value: &[u8]| {
            let mut fields = Fields::default();
            fields.push(b"first", b"1");
            fields.push(name.as_bytes(), value);
            fields.to_lines()
        };
        assert_eq!(lines("x", b"a: b\xe9").as_deref(), Some(&b"first:1\r\nx:a: b\xe9\r\n"[..]));
        assert_eq!(lines("x", b"").as_deref(), Some(&b"first:1\r\nx:\r\n"[..]));
        for (name, value) in [
            (":path", &b"/"[..]),
            ("", b"1"),
            ("a b", b"1"),
            ("x", b" 1"),
            ("x", b"1\t"),
            ("x", b"a\nb"),
        ] {
            assert_eq!(lines(name, value), None, "{name:?} {value:?}");
        }
        let mut unknown = Fields::default();
        unknown.push_unknown(b"?n3");
        assert_eq!(unknown.to_lines(), None);
    }
}
