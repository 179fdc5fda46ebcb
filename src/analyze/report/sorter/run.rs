//! A sorted run in a temporary file: written once, read once, in order.
//!
//! The file has no name, so nothing stays behind however the process ends.
//! Each line is its key, its length and its bytes, in lightly compressed
//! little-endian; the layout lives as long as the file and is nobody else's.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use super::SortKey;
use crate::time::Timestamp;

/// Fast, and still a fifth of the size.
const LEVEL: i32 = 1;
/// Logarithm of the bytes that the compressor looks back: bounds the memory
/// of an open run.
const WINDOW_LOG: u32 = 17;
/// Bytes of file buffered for reading and writing.
const BUFFER: usize = 64 << 10;

/// Known start or not, start, connection, index, length of the line.
const HEAD: usize = 1 + 8 + 8 + 8 + 8;

/// Writes a run.
pub struct Writer {
    encoder: zstd::Encoder<'static, BufWriter<File>>,
}

impl Writer {
    pub fn new() -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, tempfile::tempfile()?);
        let mut encoder = zstd::Encoder::new(file, LEVEL)?;
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(WINDOW_LOG))?;
        Ok(Self { encoder })
    }

    /// Appends a line; keys must ascend.
    pub fn push(&mut self, key: SortKey, line: &[u8]) -> io::Result<()> {
        let mut head = [0; HEAD];
        let numbers = [
            key.start.map_or(0, Timestamp::nanos) as u64,
            key.connection,
            key.index,
            line.len() as u64,
        ];
        head[0] = u8::from(key.start.is_some());
        let (places, _) = head[1..].as_chunks_mut::<8>();
        for (place, number) in places.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        self.encoder.write_all(&head)?;
        self.encoder.write_all(line)
    }

    /// Ends writing and begins reading.
    pub fn finish(self) -> io::Result<Run> {
        let mut file = self.encoder.finish()?.into_inner().map_err(io::Error::from)?;
        file.rewind()?;
        let decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER, file))?;
        let mut run = Run { decoder, key: None, line: Vec::new() };
        run.advance()?;
        Ok(run)
    }
}

/// Reads a run, one line ahead.
pub struct Run {
    decoder: zstd::Decoder<'static, BufReader<File>>,
    key: Option<SortKey>,
    line: Vec<u8>,
}

impl Run {
    /// Key of the line at hand; None at the end.
    pub fn key(&self) -> Option<SortKey> {
        self.key
    }

    /// The line at hand.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Goes on to the next line; false at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        self.key = None;
        self.line.clear();
        let mut head = [0; HEAD];
        // A run ends between lines: no first byte is the end, a part is an error.
        if self.decoder.read(&mut head[..1])? == 0 {
            return Ok(false);
        }
        self.decoder.read_exact(&mut head[1..])?;
        let mut numbers = head[1..].as_chunks::<8>().0.iter().map(|n| u64::from_le_bytes(*n));
        let mut number = || numbers.next().unwrap_or_default();
        let start = Timestamp::from_nanos(number() as i64);
        let start = (head[0] == 1).then_some(start);
        let key = SortKey { start, connection: number(), index: number() };
        let len = number();
        if (&mut self.decoder).take(len).read_to_end(&mut self.line)? as u64 != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.key = Some(key);
        Ok(true)
    }
}
