//! One input: finds out what it is, then yields batches of its packets.

use std::convert::Infallible;
use std::fmt::Write as _;

use super::classic::{PcapFile, Variant};
use super::compress::{Ahead, Compression};
use super::error::{Fault, FirstBytes, PcapError};
use super::map::DENSE_PACKET;
use super::pcapng::{self, PcapNg};
use super::source::{Filled, Source};
use super::walk::{Halt, Notes, Place, Walked};
use super::{Batch, SectionNotes};

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
    /// The last packets were small: all pages will be looked at.
    dense: bool,
    done: bool,
    /// It ended before its end.
    cut: bool,
}

impl Reader {
    /// Finds out the format of `source`, the input with index `file`, which is
    /// decompressed `ahead` where it is compressed.
    ///
    /// # Errors
    /// When it is not a capture, or nothing can be read from it.
    pub(super) fn open(
        source: Source,
        name: String,
        file: usize,
        ahead: &Ahead,
    ) -> Result<Self, PcapError> {
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
                    .decompress(compression, ahead)
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
            return Ok(Self {
                source,
                format,
                notes,
                need: 0,
                dense: false,
                done: false,
                cut: false,
            });
        }
    }

    fn stopped(source: Source, name: String) -> Self {
        let notes = Notes::new(name);
        Self {
            source,
            format: Format::Unknown,
            notes,
            need: 0,
            dense: false,
            done: true,
            cut: false,
        }
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

    /// Whether a thread of its own decompresses it.
    pub(super) fn is_compressed(&self) -> bool {
        self.source.compression().is_some()
    }

    /// Whether it is a stream.
    pub(super) fn live(&self) -> bool {
        self.source.live()
    }

    /// Whether it is made of sections (pcapng).
    pub(super) fn has_sections(&self) -> bool {
        matches!(self.format, Format::PcapNg(_))
    }

    /// Whether its first section is big-endian, before anything else is read;
    /// None where it ends before that.
    pub(super) fn section_order(&mut self) -> Option<bool> {
        wait_for(&mut self.source, pcapng::ORDER_BYTES).ok()?;
        pcapng::is_big(self.source.bytes())
    }

    /// What its first section says besides, where perisco's recorder wrote it, before
    /// anything else is read. None of a stream, which may not have sent it yet.
    pub(super) fn first_notes(&mut self) -> Option<SectionNotes> {
        if self.live() || !self.has_sections() {
            return None;
        }
        wait_for(&mut self.source, pcapng::ORDER_BYTES).ok()?;
        let length = pcapng::header_length(self.source.bytes())?;
        wait_for(&mut self.source, length).ok()?;
        pcapng::section_notes(self.source.bytes())
    }

    /// Whether the last damage told is where the input broke off.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Bytes of input consumed, compressed where it is.
    pub(super) fn position(&self) -> u64 {
        self.source.position()
    }

    /// Appends the next packets to `batch`. Interfaces have the numbers of
    /// this input alone.
    pub(super) fn fill(&mut self, batch: &mut Batch) -> Progress {
        let Ok(progress) = self.fill_and(batch, |_| Ok::<(), Infallible>(()));
        progress
    }

    /// As [`Reader::fill`], and gives the bytes of all packets and blocks that
    /// it passes to `take` as they stand in the input, in order.
    ///
    /// # Errors
    /// What `take` says.
    #[inline]
    pub(super) fn fill_and<E>(
        &mut self,
        batch: &mut Batch,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Progress, E> {
        if self.done {
            return Ok(Progress::Done);
        }
        if self.source.stop_due() {
            return Ok(self.end(batch, None));
        }
        self.source.check_length();
        if self.dense {
            self.source.load_ahead();
        }
        loop {
            if self.source.bytes().len() >= self.need.max(1) {
                match self.walk(batch, &mut take)? {
                    Halt::Full => {
                        self.need = 0;
                        return Ok(Progress::Batch);
                    }
                    Halt::Need(need) => self.need = need,
                    Halt::Damaged(fault) => return Ok(self.end(batch, Some((None, fault)))),
                }
                if !batch.packets.is_empty() {
                    return Ok(Progress::Batch);
                }
            }
            match self.source.fill(self.need) {
                Filled::More => {}
                Filled::Nothing if self.live() => return Ok(Progress::Waiting),
                Filled::Nothing => {}
                Filled::Stopped => return Ok(self.end(batch, None)),
                Filled::Failed(fault, offset) => return Ok(self.end(batch, Some((offset, fault)))),
                Filled::End => return self.end_of_input(batch, &mut take),
            }
        }
    }

    /// What is left is less than a packet: says how much less.
    fn end_of_input<E>(
        &mut self,
        batch: &mut Batch,
        take: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Progress, E> {
        if self.source.bytes().is_empty() {
            return Ok(self.end(batch, None));
        }
        let fault = match self.walk(batch, take)? {
            Halt::Full => return Ok(Progress::Batch),
            Halt::Damaged(fault) => fault,
            Halt::Need(need) => self.format.cut(self.source.bytes().len(), need),
        };
        Ok(self.end(batch, Some((None, fault))))
    }

    fn walk<E>(
        &mut self,
        batch: &mut Batch,
        take: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Halt, E> {
        let (shared, base) = self.source.share();
        let place = Place {
            chunk: batch.chunks.len() as u32,
            base: base as u32,
            offset: self.source.offset(),
        };
        let before = batch.packets.len();
        let walked = self.format.walk(self.source.bytes(), place, batch, &mut self.notes);
        take(self.source.bytes().get(..walked.consumed).unwrap_or_default())?;
        self.source.consume(walked.consumed);
        self.dense = walked.consumed < (batch.packets.len() - before) * DENSE_PACKET;
        // A chunk without packets is not kept, so that a stream can go on
        // filling it.
        if batch.packets.len() > before {
            batch.chunks.push(shared);
        }
        Ok(walked.halt)
    }

    /// Ends the input, with damage at an offset (None is where the walk is).
    fn end(&mut self, batch: &mut Batch, damage: Option<(Option<u64>, Fault)>) -> Progress {
        self.done = true;
        self.cut = damage.is_some();
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
    match wait_for(source, MAGIC_BYTES) {
        Ok(()) => {}
        Err(Filled::Stopped) => return Ok(Begin::Stopped),
        Err(Filled::Failed(fault, _)) => {
            return Err(PcapError::Unreadable { file: name.to_owned(), fault });
        }
        Err(_) => return Ok(Begin::Short),
    }
    Ok(source.bytes().first_chunk().map_or(Begin::Short, |magic| Begin::Magic(*magic)))
}

/// Waits until `count` bytes are at hand. Says why they will not come.
fn wait_for(source: &mut Source, count: usize) -> Result<(), Filled> {
    while source.bytes().len() < count {
        match source.fill(count) {
            Filled::More | Filled::Nothing => {}
            end => return Err(end),
        }
    }
    Ok(())
}

fn not_a_capture(source: &Source, file: String, inside: Option<Compression>) -> PcapError {
    let bytes = source.bytes();
    if bytes.is_empty() && inside.is_none() {
        return PcapError::Empty { file };
    }
    PcapError::NotACapture { file, inside, begins: FirstBytes::of(bytes) }
}
