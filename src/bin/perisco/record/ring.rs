//! `--ring` and what belongs to it: from flags to the library's options.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use perisco::analyze::filter::Filter;
use perisco::record::flight::Options;
use perisco::record::flight::incident::Rules;
use perisco::record::flight::store::{Limits, MIN_BYTES, MIN_TIME};
use perisco::record::writer::Compression;

use super::values;

/// What `--keep` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many files.
    Files(u32),
    /// So many bytes on disk.
    Bytes(u64),
    /// Nothing older.
    Time(Duration),
}

/// Kept captures together, where the ring has no limit of bytes to go by.
const KEEP_SAVED: u64 = 1 << 30;

/// A ring on disk, and what is kept of it.
#[derive(Args)]
#[group(id = "ring-args")]
pub struct RingArgs {
    /// Record into this folder for ever: the oldest leaves so that --keep is never exceeded
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "rotate_size", "rotate_time", "adopt", "force"])]
    pub ring: Option<PathBuf>,

    /// Keep a capture in DIR/saved when a transaction fits this expression (docs/filter.md):
    /// 'status >= 500', 'latency > duration("1s")', 'size(anomalies) > 0'
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    trigger: Vec<String>,

    /// Time that is kept before what fired
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::time)]
    before: Duration,

    /// Time that is kept after it
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::time)]
    after: Duration,

    /// Captures that may be kept within an hour; what fires beyond is counted
    #[arg(long, value_name = "N", default_value_t = 12)]
    trigger_limit: u32,

    /// All kept captures together, the oldest leave [default: as --keep, or 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = values::megabytes)]
    keep_saved: Option<u64>,
}

impl RingArgs {
    /// What the ring is asked to do, if there is one.
    pub fn options(
        &self,
        keep: &[Keep],
        compression: Compression,
    ) -> anyhow::Result<Option<Options>> {
        let Some(folder) = &self.ring else {
            if !self.trigger.is_empty() {
                bail!("--trigger needs --ring DIR: it keeps a part of what is there");
            }
            return Ok(None);
        };
        for expression in &self.trigger {
            Filter::new(Some(expression), None).map_err(|error| anyhow!("--trigger: {error}"))?;
        }
        let limits = limits(keep)?;
        if limits.time.is_some_and(|time| time < self.before) {
            bail!("--before is longer than --keep: so much is not there");
        }
        Ok(Some(Options {
            folder: folder.clone(),
            limits,
            triggers: self.trigger.clone(),
            rules: Rules { before: self.before, after: self.after, an_hour: self.trigger_limit },
            keep_saved: self.keep_saved.or(limits.bytes).unwrap_or(KEEP_SAVED),
            compression,
        }))
    }
}

/// The limits that `--keep` says for a ring.
fn limits(keep: &[Keep]) -> anyhow::Result<Limits> {
    let mut limits = Limits::default();
    for one in keep {
        let twice = match *one {
            Keep::Files(_) => bail!(
                "--keep of a ring is a size or a time (--keep 2GiB, --keep 24h), not a number of files"
            ),
            Keep::Bytes(bytes) => limits.bytes.replace(bytes).is_some(),
            Keep::Time(time) => limits.time.replace(time).is_some(),
        };
        if twice {
            bail!("--keep: one size and one time at most");
        }
    }
    match limits {
        Limits { bytes: None, time: None } => {
            bail!("--ring needs --keep SIZE or --keep TIME: how much is always there (--keep 2GiB)")
        }
        Limits { bytes: Some(bytes), .. } if bytes < MIN_BYTES => {
            bail!("--keep: a ring has at least {} MiB", MIN_BYTES >> 20)
        }
        Limits { time: Some(time), .. } if time < MIN_TIME => {
            bail!("--keep: a ring has at least {} s", MIN_TIME.as_secs())
        }
        limits => Ok(limits),
    }
}

/// The number of files that `--keep` says without a ring.
pub fn files(keep: &[Keep]) -> anyhow::Result<Option<u32>> {
    match keep {
        [] => Ok(None),
        [Keep::Files(files)] => Ok(Some(*files)),
        [_] => bail!(
            "--keep SIZE and --keep TIME are for --ring DIR; of rotated files it is their number"
        ),
        _ => bail!("--keep takes one number of files"),
    }
}
