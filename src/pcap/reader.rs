//! One input: finds out what it is, then yields batches of its packets.

use std::fmt::Write as _;

use super::Batch;
use super::classic::{PcapFile, Variant};
use super::compress::Compression;
use super::error::{Fault, FirstBytes, PcapError};
use super::pcapng::{self, PcapNg};
use super::source::{Filled, Source};
use super::walk::{Halt, Notes, Place, Walked};

/// Bytes that decide the format.
const MAGIC_BYTES: usize = 4;

/// The format of an input.
enum Format {
    Pcap(PcapFile),
    PcapNg(PcapNg),
    /// A stop came before the format was known.
    Unknown,
}

impl Format {
    fn walk(&mut self, data: &[u8], place: Place, batch: &mut Batch, notes: &mut Notes) -> Walked {
        match self {
            Self::Pcap(file) => file.walk(data, place, batch, notes),
            Self::PcapNg(sections) => sections.walk(data, place, batch, notes),
            Self::Unknown => Walked { consumed: 0, halt: Halt::Need(MAGIC_BYTES) },
        }
    }

    /// What is wrong when the input ends with `have` bytes left.
    fn cut(&self, have: usize, need: usize) -> Fault {
        match self {
            Self::Pcap(file) => file.cut(have, need),
            Self::PcapNg(sections) => sections.cut(have, need),
            Self::Unknown => Fault::HeaderCut { have, need },
        }
    }
}

/// What a reader has after a call of [`Reader::fill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The batch has packets, or the walk has come as far as a batch goes.
    Batch,
    /// The input is a stream that has nothing at the moment.
    Waiting,
    /// The input is at its end; the batch may hold the last of it.
    Done,
}

/// Reads one input.
pub(super) struct Reader {
    source: Source,
    format: Format,
    notes: Notes,
    /// Bytes that the next packet needs, as far as known.
    need: usize,
    done: bool,
}

impl Reader {
    /// Finds out the format of `source`, the input with index `file`.
    ///
    /// # Errors
    /// When it is not a capture, or nothing can be read from it.
    pub(super) fn open(source: Source, name: String, file: usize) -> Result<Self, PcapError> {
        let mut source = source;
        let mut inside = None;
        loop {
            let magic = match begin(&mut source, &name)? {
                Begin::Magic(magic) => magic,
                Begin::Stopped => return Ok(Self::stopped(source, name)),
                Begin::Short => return Err(not_a_capture(&source, name, inside)),
            };
            if inside.is_none()
                && let Some(compression) = Compression::of(magic)
            {
                inside = Some(compression);
                source = source
                    .decompress(compression)
                    .map_err(|error| PcapError::from_io(&name, error))?;
                continue;
            }
            let format = if magic == pcapng::MAGIC {
                Format::PcapNg(PcapNg::new(file))
            } else if let Some(variant) = Variant::of(magic) {
                Format::Pcap(PcapFile::new(variant, file))
            } else {
                return Err(not_a_capture(&source, name, inside));
            };
            let notes = Notes::new(name);
            return Ok(Self { source, format, notes, need: 0, done: false });
        }
    }

    fn stopped(source: Source, name: String) -> Self {
        let notes = Notes::new(name);
        Self { source, format: Format::Unknown, notes, need: 0, done: true }
    }

    /// The input as the user named it.
    pub(super) fn name(&self) -> &str {
        self.notes.file()
    }

    /// "pcapng (zstd)", "pcap (µs)", "pcap (ns, gzip)".
    pub(super) fn describe(&self) -> String {
        let compression = self.source.compression();
        let mut text = match &self.format {
            Format::PcapNg(_) => {
                return match compression {
                    Some(compression) => format!("pcapng ({compression})"),
                    None => "pcapng".to_owned(),
                };
            }
            Format::Pcap(file) => format!("pcap ({}", file.variant().describe()),
            Format::Unknown => return "nothing read".to_owned(),
        };
        if let Some(compression) = compression {
            // Writing to a String cannot fail.
            write!(text, ", {compression}").ok();
        }
        text.push(')');
        text
    }

    /// Whether it is a stream.
    pub(super) fn live(&self) -> bool {
        self.source.live()
    }

    /// Bytes of input consumed, compressed where it is.
    pub(super) fn position(&self) -> u64 {
        self.source.position()
    }

    /// Appends the next packets to `batch`. Interfaces have the numbers of
    /// this input alone.
    pub(super) fn fill(&mut self, batch: &mut Batch) -> Progress {
        if self.done {
            return Progress::Done;
        }
        if self.source.stop_due() {
            return self.end(batch, None);
        }
        self.source.check_length();
        self.source.load_ahead();
        loop {
            if self.source.bytes().len() >= self.need.max(1) {
                match self.walk(batch) {
                    Halt::Full => {
                        self.need = 0;
                        return Progress::Batch;
                    }
                    Halt::Need(need) => self.need = need,
                    Halt::Damaged(fault) => return self.end(batch, Some((None, fault))),
                }
                if !batch.packets.is_empty() {
                    return Progress::Batch;
                }
            }
            match self.source.fill(self.need) {
                Filled::More => {}
                Filled::Nothing if self.live() => return Progress::Waiting,
                Filled::Nothing => {}
                Filled::Stopped => return self.end(batch, None),
                Filled::Failed(fault, offset) => return self.end(batch, Some((offset, fault))),
                Filled::End => return self.end_of_input(batch),
            }
        }
    }

    /// What is left is less than a packet: says how much less.
    fn end_of_input(&mut self, batch: &mut Batch) -> Progress {
        if self.source.bytes().is_empty() {
            return self.end(batch, None);
        }
        let fault = match self.walk(batch) {
            Halt::Full => return Progress::Batch,
            Halt::Damaged(fault) => fault,
            Halt::Need(need) => self.format.cut(self.source.bytes().len(), need),
        };
        self.end(batch, Some((None, fault)))
    }

    fn walk(&mut self, batch: &mut Batch) -> Halt {
        let (shared, base) = self.source.share();
        let place = Place {
            chunk: batch.chunks.len() as u32,
            base: base as u32,
            offset: self.source.offset(),
        };
        let before = batch.packets.len();
        let walked = self.format.walk(self.source.bytes(), place, batch, &mut self.notes);
        self.source.consume(walked.consumed);
        // A chunk without packets is not kept, so that a stream can go on
        // filling it.
        if batch.packets.len() > before {
            batch.chunks.push(shared);
        }
        walked.halt
    }

    /// Ends the input, with damage at an offset (None is where the walk is).
    fn end(&mut self, batch: &mut Batch, damage: Option<(Option<u64>, Fault)>) -> Progress {
        self.done = true;
        let here = self.source.offset();
        let damage = damage.map(|(offset, fault)| (offset.unwrap_or(here), fault));
        self.notes.end(batch, damage);
        Progress::Done
    }
}

/// What an input begins with.
enum Begin {
    Magic([u8; MAGIC_BYTES]),
    /// It ends before.
    Short,
    Stopped,
}

/// Waits for the first bytes.
fn begin(source: &mut Source, name: &str) -> Result<Begin, PcapError> {
    loop {
        if let Some(magic) = source.bytes().first_chunk::<MAGIC_BYTES>() {
            return Ok(Begin::Magic(*magic));
        }
        match source.fill(MAGIC_BYTES) {
            Filled::More | Filled::Nothing => {}
            Filled::End => return Ok(Begin::Short),
            Filled::Stopped => return Ok(Begin::Stopped),
            Filled::Failed(fault, _) => {
                return Err(PcapError::Unreadable { file: name.to_owned(), fault });
            }
        }
    }
}

fn not_a_capture(source: &Source, file: String, inside: Option<Compression>) -> PcapError {
    let bytes = source.bytes();
    if bytes.is_empty() && inside.is_none() {
        return PcapError::Empty { file };
    }
    PcapError::NotACapture { file, inside, begins: FirstBytes::of(bytes) }
}
