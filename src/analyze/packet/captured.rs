//! A run of captured bytes that knows how long it was on the wire.

/// Part of a packet: the bytes that the capture holds and the number that
/// were on the wire. `wire` is never less than `data.len()`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Captured<'a> {
    /// What was captured.
    pub data: &'a [u8],
    /// Bytes on the wire.
    pub wire: usize,
}

impl<'a> Captured<'a> {
    /// `wire` is raised to what was captured: some writers note less.
    pub fn new(data: &'a [u8], wire: usize) -> Self {
        Self { data, wire: wire.max(data.len()) }
    }

    /// The first `N` bytes; None where the capture or the packet ends before.
    pub fn head<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.data.first_chunk()
    }

    /// The byte at `index`, if captured.
    pub fn byte(&self, index: usize) -> Option<u8> {
        self.data.get(index).copied()
    }

    /// The big endian number at `index`, if captured.
    pub fn u16(&self, index: usize) -> Option<u16> {
        self.data.get(index..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// What follows the first `count` bytes of the wire, perhaps nothing
    /// captured; None where the packet was shorter.
    pub fn skip(self, count: usize) -> Option<Self> {
        let wire = self.wire.checked_sub(count)?;
        Some(Self { data: self.data.get(count..).unwrap_or_default(), wire })
    }

    /// The first `wire` bytes of the wire as a header's length field tells:
    /// cuts off padding, and believes the field where the capture has less.
    pub fn limit(self, wire: usize) -> Self {
        Self { data: self.data.get(..wire).unwrap_or(self.data), wire }
    }

    /// Whether the packet went on after what was captured.
    pub fn is_cut(&self) -> bool {
        self.data.len() < self.wire
    }
}
