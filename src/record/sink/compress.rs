//! The compressor around the present file.
//!
//! zstd writes one frame for each file: Wireshark before 4.4 shows the first
//! frame only. A flush ends a zstd block (deflate: a stored block) where a
//! pcapng block ends, so that what is on disk can be read to there, with or
//! without what follows.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use zstd::zstd_safe::CParameter;

use super::file::Files;
use super::{WriteError, Written};
use crate::record::writer::options::{Compression, WriteOptions};

/// gzip's fastest level: recording shall not cost what it records.
const GZIP_LEVEL: u32 = 1;

/// Level 1 for recordings, against zstd's own (window 2¹⁹, hash 2¹⁴, match 7):
///
/// - Headers repeat within some KB: short matches count, and a smaller window
///   and table stay in the cache. 5 % smaller and 10 % faster for small
///   messages; bodies that come again after 256 KB are stored again.
/// - A target length of 1 leaves literals as they are (`ZSTD_fast` with any
///   acceleration; the step stays that of level 1). Coding them takes most of
///   the time for bodies, three times the rest: 5 % larger for small messages,
///   15 % for text, 30 % for base64. Levels from 2 on do code them.
const FAST: [CParameter; 4] = [
    CParameter::WindowLog(18),
    CParameter::HashLog(13),
    CParameter::MinMatch(6),
    CParameter::TargetLength(1),
];

/// The files behind their compressor.
enum Stage {
    Plain(Files),
    Zstd(zstd::Encoder<'static, Files>),
    Gzip(GzEncoder<Files>),
}

/// Compresses blocks into files.
pub struct Compressor {
    /// None only while one stage is exchanged for the next.
    stage: Option<Stage>,
    compression: Compression,
    frame_size: Option<u64>,
    /// Bytes before compression in the present frame.
    in_frame: u64,
}

impl Compressor {
    /// Compresses into `files` as the options say.
    pub fn new(options: &WriteOptions, files: Files) -> Result<Self, WriteError> {
        let stage = Some(stage(options.compression, files)?);
        let frame_size = options.frame_size;
        Ok(Self { stage, compression: options.compression, frame_size, in_frame: 0 })
    }

    /// Takes whole blocks.
    pub fn write(&mut self, blocks: &[u8]) -> Result<(), WriteError> {
        // Only now: a file must not end in an empty frame.
        if self.frame_size.is_some_and(|size| self.in_frame >= size) && !blocks.is_empty() {
            self.next_frame()?;
        }
        let written = match self.stage()? {
            Stage::Plain(out) => out.write_all(blocks),
            Stage::Zstd(out) => out.write_all(blocks),
            Stage::Gzip(out) => out.write_all(blocks),
        };
        self.check(written)?;
        self.in_frame += blocks.len() as u64;
        if let (Stage::Plain(out), true) = (self.stage()?, !blocks.is_empty()) {
            out.mark_valid();
        }
        Ok(())
    }

    /// Makes everything so far readable.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        let flushed = match self.stage()? {
            Stage::Plain(out) => out.flush(),
            Stage::Zstd(out) => out.flush(),
            Stage::Gzip(out) => out.flush(),
        };
        self.check(flushed)?;
        self.files()?.flushed();
        Ok(())
    }

    /// Ends this file and begins the next.
    pub fn next_file(&mut self, time: u64) -> Result<(), WriteError> {
        let mut files = self.end_stage()?;
        files.next(time)?;
        self.stage = Some(stage(self.compression, files)?);
        Ok(())
    }

    /// Ends the last file.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        Ok(self.end_stage()?.finish())
    }

    fn next_frame(&mut self) -> Result<(), WriteError> {
        if matches!(self.compression, Compression::Zstd { .. }) {
            let files = self.end_stage()?;
            self.stage = Some(stage(self.compression, files)?);
        }
        Ok(())
    }

    fn end_stage(&mut self) -> Result<Files, WriteError> {
        // The frame's end is the last that may fail, so flush first: what is
        // marked valid then is whole.
        self.flush()?;
        self.in_frame = 0;
        let path = self.files()?.path();
        let ended = match self.stage.take() {
            Some(Stage::Plain(files)) => Ok(files),
            Some(Stage::Zstd(out)) => out.finish(),
            Some(Stage::Gzip(out)) => out.finish(),
            None => return Err(WriteError::Gone),
        };
        let mut files = ended.map_err(|source| WriteError::Write { path, source })?;
        files.mark_valid();
        Ok(files)
    }

    fn stage(&mut self) -> Result<&mut Stage, WriteError> {
        self.stage.as_mut().ok_or(WriteError::Gone)
    }

    fn files(&mut self) -> Result<&mut Files, WriteError> {
        Ok(match self.stage()? {
            Stage::Plain(files) => files,
            Stage::Zstd(out) => out.get_mut(),
            Stage::Gzip(out) => out.get_mut(),
        })
    }

    /// After a failure the file is cut to what can be read.
    fn check(&mut self, result: io::Result<()>) -> Result<(), WriteError> {
        let Err(source) = result else { return Ok(()) };
        let files = self.files()?;
        files.cut_to_valid();
        Err(WriteError::Write { path: files.path(), source })
    }
}

fn stage(compression: Compression, files: Files) -> Result<Stage, WriteError> {
    Ok(match compression {
        Compression::None => Stage::Plain(files),
        Compression::Gzip => {
            Stage::Gzip(GzEncoder::new(files, flate2::Compression::new(GZIP_LEVEL)))
        }
        Compression::Zstd { level } => {
            let mut encoder = zstd::Encoder::new(files, level).map_err(WriteError::Compress)?;
            encoder.include_checksum(true).map_err(WriteError::Compress)?;
            if level == 1 {
                for parameter in FAST {
                    encoder.set_parameter(parameter).map_err(WriteError::Compress)?;
                }
            }
            Stage::Zstd(encoder)
        }
    })
}
