//! The way in: inputs as a user names them, read as one capture.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::available_parallelism;

use super::compress::Ahead;
use super::error::PcapError;
use super::input::{ByteInput, Stop};
use super::merge::{Merge, chain};
use super::reader::{Progress, Reader};
use super::source::Source;
use super::{Batch, SectionNotes};

/// Bytes of a file that are mapped at a time. Large enough that mapping costs
/// nothing, small enough that a capture of any size takes little memory.
const WINDOW_BYTES: usize = 32 << 20;

/// The windows of all inputs together when several are merged.
const ALL_WINDOWS_BYTES: usize = 2 * WINDOW_BYTES;

/// The smallest window of an input: still many packets. A larger block gets
/// the window that it needs.
const MIN_WINDOW_BYTES: usize = 1 << 20;

/// Where a capture comes from.
pub enum Input {
    /// A file, FIFO or device.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// What is open already: a file, or a pipe of this process.
    Open {
        /// What to call it in messages.
        name: String,
        /// From its current position.
        file: File,
    },
    /// Bytes in memory (tests, fuzzing).
    Bytes {
        /// What to call it in messages.
        name: String,
        /// The capture, compressed or not.
        bytes: Vec<u8>,
    },
    /// Any reader, taken for a live stream. A read that blocks delays a stop.
    Reader {
        /// What to call it in messages.
        name: String,
        /// Where the bytes come from.
        reader: Box<dyn Read + Send>,
    },
}

impl Input {
    /// From a command-line argument: `-` is standard input.
    pub fn from_arg(arg: &OsStr) -> Self {
        if arg == "-" { Self::Stdin } else { Self::Path(arg.into()) }
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
            Self::Open { name, .. } | Self::Bytes { name, .. } | Self::Reader { name, .. } => {
                name.clone()
            }
        }
    }
}

/// How to read.
#[derive(Clone, Default)]
pub struct OpenOptions {
    /// Set to true to end early: files at the next batch, streams within
    /// 100 ms. That is no damage.
    pub stop: Option<Arc<AtomicBool>>,
    /// Bytes mapped at a time, where it is not the usual.
    pub window_bytes: Option<usize>,
    /// Threads that may decompress, where it is not one for each processor.
    pub threads: Option<usize>,
}

/// An input as it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputInfo {
    /// As the user named it.
    pub name: String,
    /// "pcapng (zstd)", "pcap (µs)".
    pub format: String,
    /// Whether it is a stream that may go on for ever.
    pub live: bool,
    /// Whether a thread of its own decompresses it.
    pub compressed: bool,
    /// Its size in bytes, compressed where it is; None for streams.
    pub size: Option<u64>,
    /// Comments of its first section's header, where several inputs are opened that are
    /// no streams and perisco's recorder wrote this one. See [`Interface::notes`].
    ///
    /// [`Interface::notes`]: super::Interface::notes
    pub notes: Option<SectionNotes>,
}

/// One or more inputs, read as one capture. Packets of one input keep their
/// order; several are merged by time.
pub struct Capture {
    lanes: Lanes,
    inputs: Vec<InputInfo>,
}

enum Lanes {
    /// Without the cost of merging.
    One(Box<Reader>),
    Many(Merge),
}

impl Capture {
    /// Opens `inputs` and reads their first bytes. A stream that has not sent
    /// any yet is waited for, until it does or a stop is asked for.
    ///
    /// # Errors
    /// When one of them cannot be read or is not a capture.
    pub fn open(inputs: Vec<Input>, options: OpenOptions) -> Result<Self, PcapError> {
        let (readers, infos) = open_readers(inputs, &options)?;
        let lanes = match <[Reader; 1]>::try_from(readers) {
            Ok([reader]) => Lanes::One(Box::new(reader)),
            Err(readers) => Lanes::Many(Merge::new(readers, &chain(&infos))),
        };
        Ok(Self { lanes, inputs: infos })
    }

    /// Opens a capture in memory.
    ///
    /// # Errors
    /// When it is not a capture.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, PcapError> {
        let input = Input::Bytes { name: name.to_owned(), bytes };
        Self::open(vec![input], OpenOptions::default())
    }

    /// The inputs in the order given.
    pub fn inputs(&self) -> &[InputInfo] {
        &self.inputs
    }

    /// Whether one of them is a stream: then batches come as packets do.
    pub fn is_live(&self) -> bool {
        self.inputs.iter().any(|input| input.live)
    }

    /// Whether decompression takes one processor or more.
    pub fn is_compressed(&self) -> bool {
        self.inputs.iter().any(|input| input.compressed)
    }

    /// Bytes in all inputs, compressed where they are, to compare with
    /// [`Batch::position`]; None where one is a stream.
    pub fn size_hint(&self) -> Option<u64> {
        self.inputs.iter().map(|input| input.size).sum()
    }

    /// Clears `batch` and fills it with what comes next. Returns true while
    /// there may be more; after false, `batch` may still hold the last.
    ///
    /// With a stream that is silent it returns true and an empty batch some
    /// ten times a second. How files are cut into batches depends on nothing
    /// but their content.
    ///
    /// # Errors
    /// None at present: an input that fails while it is read is a
    /// [`Damage`](super::Damage).
    pub fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, PcapError> {
        batch.clear();
        let progress = match &mut self.lanes {
            Lanes::One(reader) => reader.fill(batch),
            Lanes::Many(merge) => merge.fill(batch),
        };
        batch.position = match &self.lanes {
            Lanes::One(reader) => reader.position(),
            Lanes::Many(merge) => merge.readers().map(Reader::position).sum(),
        };
        Ok(progress != Progress::Done)
    }
}

/// A reader of each of `inputs`, and what they are.
pub(super) fn open_readers(
    inputs: Vec<Input>,
    options: &OpenOptions,
) -> Result<(Vec<Reader>, Vec<InputInfo>), PcapError> {
    let window = options.window_bytes.unwrap_or_else(|| {
        (ALL_WINDOWS_BYTES / inputs.len().max(1)).clamp(MIN_WINDOW_BYTES, WINDOW_BYTES)
    });
    let threads = options.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    let ahead = Ahead::among(inputs.len(), threads);
    let several = inputs.len() > 1;
    let mut readers = Vec::with_capacity(inputs.len());
    let mut infos = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.into_iter().enumerate() {
        let name = input.name();
        let (source, size) = open_source(input, window, Stop::new(options.stop.clone()))?;
        let mut reader = Reader::open(source, name, index, &ahead)?;
        let notes = if several { reader.first_notes() } else { None };
        infos.push(InputInfo {
            name: reader.name().to_owned(),
            format: reader.describe(),
            live: reader.live(),
            compressed: reader.is_compressed(),
            size,
            notes,
        });
        readers.push(reader);
    }
    Ok((readers, infos))
}

/// The bytes of `input`, and how many there are.
fn open_source(
    input: Input,
    window: usize,
    stop: Stop,
) -> Result<(Source, Option<u64>), PcapError> {
    let name = input.name();
    let (file, is_path) = match input {
        Input::Path(path) => (File::open(path), true),
        Input::Stdin => (std::io::stdin().as_fd().try_clone_to_owned().map(File::from), false),
        Input::Open { file, .. } => (Ok(file), false),
        Input::Bytes { bytes, .. } => {
            let size = bytes.len();
            let source = match u32::try_from(size) {
                Ok(_) => Source::memory(bytes, stop),
                Err(_) => Source::stream(ByteInput::memory(bytes), stop),
            };
            return Ok((source, Some(size as u64)));
        }
        Input::Reader { reader, .. } => {
            return Ok((Source::stream(ByteInput::reader(reader), stop), None));
        }
    };
    let io_error = |error| PcapError::from_io(&name, error);
    let mut file = file.map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    if metadata.is_dir() {
        return Err(PcapError::Directory { file: name });
    }
    let length = metadata.len();
    if !metadata.is_file() {
        return Ok((Source::stream(ByteInput::pipe(file), stop), None));
    }
    // Files of pseudo file systems have no length and cannot be mapped;
    // standard input may have been read from before.
    let position = if is_path { 0 } else { file.stream_position().map_err(io_error)? };
    let source = if length == 0 || position > 0 {
        Source::stream(ByteInput::file(file), stop)
    } else {
        Source::mapped(file, length, window, stop)
    };
    Ok((source, Some(length.saturating_sub(position))))
}
