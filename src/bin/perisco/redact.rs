//! `perisco redact`: its flags, the output file, and what is told at the end.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args as ClapArgs, ValueEnum};
use flate2::write::GzEncoder;
use indicatif::BinaryBytes;
use perisco::pcap::plain::{Passed, Plain};
use perisco::pcap::{Input, OpenOptions};
use perisco::redact::{Redactor, Report, Source, Unparsed};

use crate::redaction::RedactionArgs;
use crate::stop;

/// Permissions of a new file: what was said on the network is its owner's business.
const MODE: u32 = 0o600;

/// zstd(1)'s own default: the file is to be sent.
const ZSTD_LEVEL: i32 = 3;

/// Write a capture without its secrets, to be given to others.
///
/// Values of header fields such as Authorization and Cookie, and of query
/// parameters such as token, become as many stars, in HTTP/1, HTTP/2 and gRPC;
/// nothing moves, so lengths, sequence numbers and header compression stay
/// valid. What cannot be read leaves as an exact gap. Bodies stay, with what
/// is in them, unless --headers-only is given. Reads all that `perisco
/// analyze` reads and writes pcapng.
///
/// Exit code 0: all was written. 1: an input was damaged; what comes before
/// the damage was written. 2: not a capture, or wrong use.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    perisco redact cap.pcapng -o safe.pcapng\n  \
    perisco redact cap.pcapng -o safe.pcapng --redact X-Internal-Id --redact-query code\n  \
    tcpdump -i lo -U -w - | perisco redact - -o - | perisco analyze -")]
pub struct Args {
    /// Capture files, or - for standard input; several become one capture
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Capture file; `-` is standard output, plain
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten, next_help_heading = "What is redacted")]
    redaction: RedactionArgs,

    /// Compression; standard output is never compressed
    #[arg(long, value_enum, default_value_t = Compress::Zstd)]
    compress: Compress,

    /// Overwrite what is there, but never an input
    #[arg(long)]
    force: bool,

    /// Only errors on standard error
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compress {
    Zstd,
    Gzip,
    None,
}

/// Runs it.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        bail!("a capture is not for a terminal: pipe it into a tool or write it to a file");
    }
    let settings = args.redaction.settings(Unparsed::Drop);
    if settings.is_idle() {
        bail!(
            "--redact-none with --unparsed keep leaves everything as it is: \
             perisco cat copies captures"
        );
    }
    let stop = stop::flag()?;
    let inputs = args.files.iter().map(|path| Input::from_arg(path.as_os_str())).collect();
    let options = OpenOptions { stop: Some(Arc::clone(&stop)), ..OpenOptions::default() };
    let plain = Plain::open(inputs, options)?;
    let live = plain.is_live();
    // After the inputs: what cannot be read leaves no empty file behind.
    let out = if to_stdout { stdout()? } else { args.create()? };
    let mut filter = Filter { redactor: Redactor::new(&settings, Source::Any), out };
    let passed = plain.write_pcapng(&mut filter).context("cannot write the output")?;
    let report = filter.end().with_context(|| format!("cannot write {}", args.output.display()))?;
    Ok(args.verdict(&passed, &report, passed.stopped && !live))
}

impl Args {
    /// The new file, which is no input and was not there.
    fn create(&self) -> anyhow::Result<Out> {
        let path = &self.output;
        let there = path.metadata().ok();
        if let Some(there) = &there
            && self.files.iter().any(|file| is_same(file, there))
        {
            bail!("{}: is an input: give the output another name", path.display());
        }
        let special = there.is_some_and(|there| {
            let kind = there.file_type();
            kind.is_fifo() || kind.is_char_device() || kind.is_socket()
        });
        let mut options = File::options();
        options.write(true);
        if !special {
            // Made anew rather than truncated: the mode is ours, and no link is followed.
            if self.force && path.symlink_metadata().is_ok() {
                std::fs::remove_file(path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            options.create_new(true).mode(MODE);
        }
        let file = options.open(path).with_context(|| {
            let hint = if path.exists() { " (--force overwrites it)" } else { "" };
            format!("cannot write {}{hint}", path.display())
        })?;
        Ok(match self.compress {
            Compress::None => Out::Plain(file),
            Compress::Gzip => Out::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Compress::Zstd => {
                let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Out::Zstd(encoder)
            }
        })
    }

    /// Says on standard error what was done and what is wrong, and picks the exit code.
    fn verdict(&self, passed: &Passed, report: &Report, interrupted: bool) -> ExitCode {
        for cut in &passed.cut {
            eprintln!(
                "perisco: {}: at byte {}: {}; what comes before was written",
                cut.file, cut.offset, cut.what
            );
        }
        if let Some(first) = passed.faulty.first() {
            eprintln!(
                "perisco: something is wrong with {} blocks, the first at byte {} of {}; \
                 perisco analyze says what",
                passed.faulty.len(),
                first.offset,
                first.file
            );
        }
        if interrupted {
            eprintln!("perisco: interrupted: the output ends after a whole packet");
        }
        if !self.quiet {
            for line in report.lines(|bytes| BinaryBytes(bytes).to_string()) {
                eprintln!("perisco: {line}");
            }
        }
        match passed.cut.is_empty() && passed.faulty.is_empty() && !interrupted {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(1),
        }
    }
}

fn is_same(file: &Path, other: &Metadata) -> bool {
    let same = |found: Metadata| (found.dev(), found.ino()) == (other.dev(), other.ino());
    file != Path::new("-") && file.metadata().is_ok_and(same)
}

/// Not the buffered standard output: blocks go out as they are at hand.
fn stdout() -> anyhow::Result<Out> {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    Ok(Out::Plain(File::from(stdout.context("cannot write to standard output")?)))
}

/// The output behind its compression.
enum Out {
    Plain(File),
    Zstd(zstd::Encoder<'static, File>),
    Gzip(GzEncoder<File>),
}

impl Out {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.write_all(bytes),
            Self::Zstd(out) => out.write_all(bytes),
            Self::Gzip(out) => out.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Zstd(out) => out.finish().map(drop),
            Self::Gzip(out) => out.finish().map(drop),
        }
    }
}

/// A pcapng goes in, what is left of it comes out.
struct Filter {
    redactor: Redactor,
    out: Out,
}

impl Filter {
    fn end(mut self) -> io::Result<Report> {
        self.redactor.end();
        let rest = self.redactor.take();
        self.out.write_all(&rest)?;
        self.out.finish()?;
        Ok(self.redactor.report())
    }
}

impl Write for Filter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.redactor.feed(bytes);
        let redacted = self.redactor.take();
        self.out.write_all(&redacted)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // A compressor that is flushed after each batch compresses badly; a pipe needs none.
        Ok(())
    }
}
