//! `perisco save`: what just happened, out of a flight recorder's ring.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use perisco::record::flight::save::{Outcome, Ring, Wanted};
use perisco::time::Timestamp;

/// Permissions of a new file: what was said on the network is its owner's business.
const MODE: u32 = 0o600;

/// zstd's level: a saved capture is kept for long, and written once.
const LEVEL: i32 = 3;

/// gzip's own default.
const GZIP_LEVEL: u32 = 6;

/// Save what just happened out of a ring (perisco record --ring DIR) as one capture.
///
/// A recorder that is running there writes all it has until now first, and goes on. Without
/// one what is there is read. Connections that began before are without their beginning,
/// but with the names of their ends.
///
/// Exit code 0: saved. 1: saved, but not all of the time asked for is there, or a part
/// could not be read; standard error says what. 2: nothing is saved.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    perisco save /var/lib/perisco --last 5m -o incident.pcapng\n  \
    perisco save /var/lib/perisco --since 2026-11-22T15:10:00Z --until 2026-11-22T15:20:00Z -o - | perisco analyze -")]
pub struct Args {
    /// The ring's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// So long before now, e.g. 30s, 5m; a bare number is seconds [default: all there is]
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["since", "until"])]
    last: Option<Duration>,

    /// From this time on (RFC 3339; UTC where it has no offset)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,

    /// Up to this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,

    /// The capture; .zst and .gz are compressed, `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Overwrite what is there
    #[arg(long)]
    force: bool,

    /// Only what is missing on standard error
    #[arg(short, long)]
    quiet: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    if time.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(time) }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| format!("`{text}` is no time: write 2026-11-22T15:17:26Z"))
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        bail!(
            "a capture is not for a terminal: pipe it into a tool, or write it to a file (-o FILE)"
        );
    }
    let nanos = |at: Option<Timestamp>| at.map(|at| at.nanos());
    let wanted = match args.last {
        Some(last) => Wanted::Last(last),
        None => Wanted::Between(nanos(args.since), nanos(args.until)),
    };
    let ring = Ring::open(&args.folder, wanted)?;
    let comments = [format!("perisco.saved_from={}", args.folder.display())];
    let mut save = |out: &mut dyn Write| ring.save(&comments, out);
    let outcome = if to_stdout {
        save(&mut BufWriter::new(io::stdout().lock()))?
    } else {
        to_file(&args, &mut save)?
    };
    Ok(told(&args, &outcome))
}

/// Writes the file beside its place, and puts it there when it is whole.
fn to_file(
    args: &Args,
    save: &mut dyn FnMut(
        &mut dyn Write,
    ) -> Result<Outcome, perisco::record::flight::save::SaveError>,
) -> anyhow::Result<Outcome> {
    let path = &args.output;
    let shown = path.display();
    let mut options = File::options();
    options.write(true).create_new(true).mode(MODE);
    if args.force
        && let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("cannot replace {shown}"));
    }
    let hint = |error: &io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => " (--force overwrites it)",
        _ => "",
    };
    let file = options.open(path).map_err(|error| {
        let hint = hint(&error);
        anyhow::Error::new(error).context(format!("cannot create {shown}{hint}"))
    })?;
    let done = written(path, file, save);
    if done.is_err() {
        // Half a capture would be taken for a whole one.
        let _ = std::fs::remove_file(path);
    }
    done.with_context(|| format!("{shown} is not saved"))
}

fn written(
    path: &Path,
    file: File,
    save: &mut dyn FnMut(
        &mut dyn Write,
    ) -> Result<Outcome, perisco::record::flight::save::SaveError>,
) -> anyhow::Result<Outcome> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    Ok(match extension {
        "zst" => {
            let mut out = zstd::Encoder::new(file, LEVEL)?;
            out.include_checksum(true)?;
            let outcome = save(&mut out)?;
            out.finish()?;
            outcome
        }
        "gz" => {
            let level = flate2::Compression::new(GZIP_LEVEL);
            let mut out = flate2::write::GzEncoder::new(file, level);
            let outcome = save(&mut out)?;
            out.finish()?;
            outcome
        }
        _ => {
            let mut out = BufWriter::new(file);
            let outcome = save(&mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?;
            outcome
        }
    })
}

/// Says what was saved and what is missing; the exit code.
fn told(args: &Args, outcome: &Outcome) -> ExitCode {
    let Outcome { done, recorder, missing } = outcome;
    if !args.quiet {
        let note = if recorder.is_none() { " (no recorder is running there)" } else { "" };
        eprintln!("perisco: saved {}{note}", done.span);
    }
    let mut short = Vec::new();
    if *recorder == Some(false) {
        short.push("the recorder did not answer in time: its last seconds are missing".to_owned());
    }
    let bounded = args.last.is_some() || args.since.is_some();
    if bounded && !done.reaches {
        let oldest = done.oldest.map(Timestamp::from_nanos);
        let from = oldest.map_or("nothing".to_owned(), |oldest| oldest.to_string());
        short.push(format!("the ring does not reach back so far: it begins with {from}"));
    }
    for (first, last) in missing {
        short.push(format!("segments {first} to {last} are not there: what they had is missing"));
    }
    for path in &done.torn {
        short
            .push(format!("{} had to leave the ring meanwhile: a part is missing", path.display()));
    }
    short.extend(done.damaged.iter().map(|(path, why)| format!("{}: {why}", path.display())));
    for line in &short {
        eprintln!("perisco: {line}");
    }
    if short.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
