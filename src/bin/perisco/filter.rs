//! `--where`, `--since` and `--until`: from flags to a [`Filter`].

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use perisco::analyze::filter::{Bound, Filter, Window};
use perisco::pcap::{Batch, Capture, Input, OpenOptions};
use perisco::time::{Timestamp, latest};

/// Flags that choose transactions.
#[derive(Args)]
pub struct FilterArgs {
    /// Report only transactions of which this is true, in CEL:
    /// 'status >= 500 || latency > duration("1s")'
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    pub expression: Option<String>,

    /// Report only transactions that began at this time or later: RFC 3339, 15:17[:26]
    /// (UTC, the capture's first day), +30s from its beginning or -5m from its end
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<Bound>,

    /// Report only transactions that began at this time or earlier
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<Bound>,
}

impl FilterArgs {
    /// The filter over these files.
    ///
    /// # Errors
    /// Where the expression is wrong, where a bound is told from an end that
    /// is not known before it comes, and where the event log would be filtered.
    pub fn filter(&self, files: &[PathBuf], log: bool) -> anyhow::Result<Filter> {
        let bounds = [&self.since, &self.until];
        let timed = bounds.iter().any(|bound| bound.is_some());
        if log && (timed || self.expression.is_some()) {
            bail!(
                "--where, --since and --until choose transactions, and the log is of events: \
                 use --format jsonl, or filter its lines"
            );
        }
        let needs_end = bounds.iter().any(|bound| bound.as_ref().is_some_and(Bound::needs_end));
        // Before the capture is looked at: a slip is told at once.
        Filter::new(self.expression.as_deref(), None)
            .map_err(|error| anyhow!("--where: {error}"))?;
        let end = if needs_end { last_time(files)? } else { None };
        let window = timed.then(|| Window::new(self.since.clone(), self.until.clone(), end));
        Filter::new(self.expression.as_deref(), window).map_err(|error| anyhow!("--where: {error}"))
    }
}

/// The time of the last packet: reads all of the files once.
fn last_time(files: &[PathBuf]) -> anyhow::Result<Option<Timestamp>> {
    let pipe = "a time before the end needs a file: the end of a pipe is not known before it comes";
    if files.iter().any(|path| path == Path::new("-")) {
        bail!("{pipe}");
    }
    let inputs = files.iter().map(|path| Input::from_arg(path.as_os_str())).collect();
    let mut capture = Capture::open(inputs, OpenOptions::default())?;
    if capture.is_live() {
        bail!("{pipe}");
    }
    let (mut batch, mut last) = (Batch::default(), None);
    loop {
        batch.clear();
        let more = capture.next_batch(&mut batch).context("cannot find the capture's end")?;
        last = batch.packets.iter().fold(last, |last, packet| latest(last, packet.at));
        if !more {
            return Ok(last);
        }
    }
}
