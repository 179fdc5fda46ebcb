//! Captures as their bytes, without compression, for tools that read no zstd.
//!
//! Nothing is changed: what goes out are whole packets and blocks as they
//! stand in the input, as far as they can be walked over. Several pcapng
//! inputs become the sections of one capture (draft-ietf-opsawg-pcapng,
//! section 4.1), which libpcap reads where all interfaces have one link type
//! and one snap length (`sf-pcapng.c`, add_interface).

mod blocks;

use std::io::{self, Write};

use super::capture::open_readers;
use super::error::PcapError;
use super::reader::{Progress, Reader};
use super::{Batch, Damage, Input, LinkType, OpenOptions};

/// Why captures cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// An input cannot be read.
    #[error(transparent)]
    Input(#[from] PcapError),
    /// Several inputs, and one of them has no sections.
    #[error(
        "{file}: is {format}, and only pcapng files can follow one another as they are; \
         merge them into one: mergecap -F pcapng -w merged.pcapng FILE…"
    )]
    NoSections {
        /// The input as the user named it.
        file: String,
        /// What it is.
        format: String,
    },
    /// Several inputs in different byte orders, which libpcap refuses.
    #[error(
        "{file}: its byte order is not that of {first}, and tools that use libpcap read one \
         only; merge them into one: mergecap -F pcapng -w merged.pcapng FILE…"
    )]
    ByteOrder {
        /// The input as the user named it.
        file: String,
        /// The first input.
        first: String,
    },
}

/// What was passed on.
#[derive(Debug, Default)]
pub struct Passed {
    /// Bytes written.
    pub bytes: u64,
    /// Where inputs break off: all before it was passed on.
    pub cut: Vec<Damage>,
    /// Blocks that were passed on although something is wrong with them.
    pub faulty: Vec<Damage>,
    /// Interfaces that tools with libpcap will not read: what differs, and
    /// from what.
    pub differing: Option<Differing>,
    /// Whether a stop came before the end.
    pub stopped: bool,
}

/// An interface unlike the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differing {
    /// Link type and snap length of the first interface.
    pub first: (LinkType, u32),
    /// Those of the other.
    pub other: (LinkType, u32),
}

/// Captures that are open to be passed on.
pub struct Plain {
    readers: Vec<Reader>,
    options: OpenOptions,
}

impl Plain {
    /// Opens `inputs` and reads their first bytes; waits for those of streams.
    ///
    /// # Errors
    /// When an input cannot be read or is no capture, or when several cannot
    /// follow one another.
    pub fn open(inputs: Vec<Input>, options: OpenOptions) -> Result<Self, PlainError> {
        let (mut readers, _) = open_readers(inputs, &options)?;
        if readers.len() > 1 {
            let mut first: Option<(String, bool)> = None;
            for reader in &mut readers {
                let file = reader.name().to_owned();
                if !reader.has_sections() {
                    return Err(PlainError::NoSections { file, format: reader.describe() });
                }
                // One that ends before its byte order holds nothing.
                let Some(big) = reader.section_order() else { continue };
                match &first {
                    None => first = Some((file, big)),
                    Some((first, order)) if *order != big => {
                        return Err(PlainError::ByteOrder { file, first: first.clone() });
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(Self { readers, options })
    }

    /// Whether an input is a stream that may go on for ever.
    pub fn is_live(&self) -> bool {
        self.readers.iter().any(Reader::live)
    }

    /// Writes all inputs to `out`, one after another. What a stream brings is
    /// written and flushed at once.
    ///
    /// # Errors
    /// When `out` cannot be written. What is wrong with an input is in the
    /// result.
    pub fn write(self, out: &mut dyn Write) -> io::Result<Passed> {
        self.pass_on(out, false)
    }

    /// The same, with what is no pcapng made into it: little-endian, in nanoseconds.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_pcapng(self, out: &mut dyn Write) -> io::Result<Passed> {
        self.pass_on(out, true)
    }

    fn pass_on(self, out: &mut dyn Write, convert: bool) -> io::Result<Passed> {
        let mut passed = Passed::default();
        let mut batch = Batch::default();
        let mut first = None;
        for mut reader in self.readers {
            let convert = convert && !reader.has_sections();
            loop {
                batch.clear();
                let progress = reader.fill_and(&mut batch, |bytes| {
                    passed.bytes += bytes.len() as u64;
                    if convert {
                        return Ok(());
                    }
                    out.write_all(bytes)?;
                    out.flush()
                })?;
                if convert {
                    out.write_all(&blocks::of(&batch))?;
                    out.flush()?;
                }
                for interface in &batch.interfaces {
                    let other = (interface.link, interface.snaplen);
                    let first = *first.get_or_insert(other);
                    if first != other {
                        passed.differing.get_or_insert(Differing { first, other });
                    }
                }
                passed.faulty.append(&mut batch.damage);
                if progress == Progress::Done {
                    break;
                }
            }
            if reader.is_cut() {
                passed.cut.extend(passed.faulty.pop());
            }
        }
        let stop = self.options.stop.as_ref();
        passed.stopped = stop.is_some_and(|stop| stop.load(std::sync::atomic::Ordering::Relaxed));
        Ok(passed)
    }
}
