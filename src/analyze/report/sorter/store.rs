//! Lines in memory: buffers of them that come and go as a whole.
//!
//! Lines are a kilobyte with all headers, and there are hundreds of thousands a
//! second, so they are not copied where a buffer of them can change hands. A
//! buffer goes when the last of its lines does, and is then filled again.

/// Bytes of a buffer: a hundred lines or more, which finished together and so go
/// together.
const BUFFER_BYTES: usize = 128 << 10;
/// Buffers that the memory limit has room for at least; the smaller is the size.
const BUFFERS: usize = 16;
/// Emptied buffers kept to be filled again: many lines are let out at a
/// time.
const SPARES: usize = 32;

/// Where a line is.
#[derive(Clone, Copy)]
pub struct Place {
    /// Number of its buffer.
    pub buffer: usize,
    /// Where it begins.
    pub offset: usize,
    /// Its bytes.
    pub len: usize,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Lines that are still needed.
    lines: usize,
}

/// Buffers of lines.
pub struct Store {
    buffer_bytes: usize,
    buffers: Vec<Buffer>,
    /// Numbers of `buffers` that are free.
    free: Vec<usize>,
    /// The buffer that lines are copied to.
    open: Option<usize>,
    spares: Vec<Vec<u8>>,
    /// Bytes of all buffers, and of spares.
    held: usize,
}

impl Store {
    /// For lines of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer_bytes: BUFFER_BYTES.min(limit / BUFFERS),
            buffers: Vec::new(),
            free: Vec::new(),
            open: None,
            spares: Vec::new(),
            held: 0,
        }
    }

    /// Bytes of memory held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// The same without emptied buffers.
    pub fn used(&self) -> usize {
        self.held - self.spares.iter().map(Vec::capacity).sum::<usize>()
    }

    /// Whether little of a buffer's memory is wasted, so that it can be kept as
    /// it is.
    pub fn is_well_filled(&self, lines: &Vec<u8>) -> bool {
        let most = self.buffer_bytes - self.buffer_bytes / 8;
        lines.len() >= most && lines.len() >= lines.capacity() / 2
    }

    /// How many bytes more are held once `len` bytes are copied here.
    pub fn growth(&self, len: usize) -> usize {
        if self.has_room(len) { 0 } else { self.buffer_bytes.max(len) }
    }

    fn has_room(&self, len: usize) -> bool {
        let open = self.open.and_then(|open| self.buffers.get(open));
        open.is_some_and(|open| open.bytes.capacity() - open.bytes.len() >= len)
    }

    /// Copies a line here.
    pub fn copy(&mut self, line: &[u8]) -> Place {
        let open = self.open.filter(|_| self.has_room(line.len()));
        let open = open.unwrap_or_else(|| {
            let mut bytes = self.spare();
            let before = bytes.capacity();
            bytes.reserve_exact(line.len());
            self.held += bytes.capacity() - before;
            self.insert(Buffer { bytes, lines: 0 })
        });
        self.open = Some(open);
        let mut place = Place { buffer: open, offset: 0, len: line.len() };
        if let Some(buffer) = self.buffers.get_mut(open) {
            place.offset = buffer.bytes.len();
            buffer.bytes.extend_from_slice(line);
            buffer.lines += 1;
        }
        place
    }

    /// Counts a further line of a buffer.
    pub fn one_more(&mut self, buffer: usize) {
        if let Some(buffer) = self.buffers.get_mut(buffer) {
            buffer.lines += 1;
        }
    }

    /// Takes a buffer with its lines, of which there are `count`, and leaves an
    /// empty one.
    pub fn adopt(&mut self, lines: &mut Vec<u8>, count: usize) -> Place {
        let empty = self.spare();
        self.held -= empty.capacity();
        let bytes = std::mem::replace(lines, empty);
        self.held += bytes.capacity();
        let len = bytes.len();
        let buffer = self.insert(Buffer { bytes, lines: count });
        Place { buffer, offset: 0, len }
    }

    fn insert(&mut self, buffer: Buffer) -> usize {
        let at = self.free.pop().unwrap_or(self.buffers.len());
        match self.buffers.get_mut(at) {
            Some(place) => *place = buffer,
            None => self.buffers.push(buffer),
        }
        at
    }

    /// An empty buffer, counted as held.
    fn spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_else(|| {
            let bytes = Vec::with_capacity(self.buffer_bytes);
            self.held += bytes.capacity();
            bytes
        })
    }

    /// A line that is here; empty for one that is not.
    pub fn line(&self, place: Place) -> &[u8] {
        let bytes = self.buffers.get(place.buffer).map(|buffer| &buffer.bytes);
        bytes.and_then(|b| b.get(place.offset..place.offset + place.len)).unwrap_or_default()
    }

    /// A line is needed no more.
    pub fn release(&mut self, place: Place) {
        let Some(buffer) = self.buffers.get_mut(place.buffer) else { return };
        buffer.lines = buffer.lines.saturating_sub(1);
        if buffer.lines == 0 {
            let bytes = std::mem::take(&mut buffer.bytes);
            self.free.push(place.buffer);
            self.open = self.open.filter(|open| *open != place.buffer);
            self.keep(bytes);
        }
    }

    /// Keeps an emptied buffer to be filled again, where it is one of many alike.
    fn keep(&mut self, mut bytes: Vec<u8>) {
        let alike = self.buffer_bytes..=2 * self.buffer_bytes;
        if self.spares.len() < SPARES && alike.contains(&bytes.capacity()) {
            bytes.clear();
            self.spares.push(bytes);
        } else {
            self.held -= bytes.capacity();
        }
    }

    /// Gives the memory of emptied buffers back.
    pub fn drop_spares(&mut self) {
        for bytes in self.spares.drain(..) {
            self.held -= bytes.capacity();
        }
    }

    /// Releases all lines.
    pub fn clear(&mut self) {
        for buffer in std::mem::take(&mut self.buffers) {
            self.keep(buffer.bytes);
        }
        self.free.clear();
        self.open = None;
    }
}
