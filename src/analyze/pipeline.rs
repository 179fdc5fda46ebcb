//! Reads rounds and works on them with all threads.
//!
//! While the shards work on one round, one thread reads the next; where there
//! is only one thread, it works on each segment as it reads it. Between
//! rounds everything stands still: connections that began get their numbers
//! in the order of their first packets, and finished lines go out. So the
//! output does not depend on how many threads there are.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::analyze::feed::Feeder;
use crate::analyze::flow::table::FlowId;
use crate::analyze::limits::SHARDS;
use crate::analyze::options::Options;
use crate::analyze::report::log::LogLine;
use crate::analyze::report::sorter::{SortError, Sorter};
use crate::analyze::report::{Aggregate, CaptureTotals, Format, Report, csv};
use crate::analyze::round::{Before, Round};
use crate::analyze::shard::{LogEvent, Run, Shard, Work};
use crate::pcap::{Capture, PcapError};
use crate::time::{Timestamp, earliest};

/// Bytes of sorted lines kept in memory before they go to a temporary file.
const SORT_BYTES: usize = 64 << 20;

/// Rounds between two looks for lines that may go out.
const FLUSH_ROUNDS: u64 = 256;

/// Lines wait this long for earlier ones, in nanoseconds: captures from
/// several CPUs mix by milliseconds.
const LATE_NANOS: i64 = 1_000_000_000;

/// A transaction open longer than this does not hold back the lines of
/// others on a live stream, in nanoseconds; it comes out of order.
const LIVE_OPEN_NANOS: i64 = 10_000_000_000;

/// What can end an analysis early.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The input cannot be read.
    #[error(transparent)]
    Input(#[from] PcapError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
    /// Lines could not be sorted.
    #[error(transparent)]
    Sort(#[from] SortError),
    /// Worker threads could not be started.
    #[error("cannot start worker threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// What an analysis came to.
pub struct Analysis {
    /// The tables; the text and json formats print them.
    pub report: Report,
    /// Lines that came out after later ones.
    pub late_lines: u64,
}

/// Hooks of the caller.
pub struct Control<'a> {
    /// Set by a signal: stop reading and report.
    pub stop: &'a AtomicBool,
    /// Told the position in the input now and then.
    pub progress: &'a dyn Fn(u64),
    /// Colours in the log.
    pub color: bool,
}

/// Analyses a capture. Lines of jsonl, csv and log go to `out` as they come;
/// the report is returned.
pub fn run(
    capture: Capture,
    options: &Options,
    control: &Control<'_>,
    out: &mut dyn Write,
) -> Result<Analysis, AnalyzeError> {
    // Decompression is one of the threads: with one more of ours than there are
    // processors, all would wait at the end of each round for who has none.
    let threads = options.threads.saturating_sub(usize::from(capture.is_compressed()));
    let mut pipeline = Pipeline::new(capture, options);
    let pool = (threads > 1)
        .then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build())
        .transpose()?;
    pipeline.begin(out)?;
    let last = match &pool {
        None => pipeline.alone(control, out)?,
        Some(pool) => pipeline.together(pool, control, out)?,
    };
    pipeline.finish(&last, pool.as_ref(), control, out)
}

struct Pipeline<'a> {
    feeder: Feeder,
    shards: Vec<Shard>,
    options: &'a Options,
    interfaces: Vec<Option<String>>,
    connections: u64,
    /// Connections that began in the last round: first packet, shard, id.
    fresh: Vec<(u64, usize, FlowId)>,
    sorter: Sorter,
    rounds: u64,
    buffer: Vec<u8>,
}

impl<'a> Pipeline<'a> {
    fn new(capture: Capture, options: &'a Options) -> Self {
        Self {
            feeder: Feeder::new(capture),
            shards: (0..SHARDS).map(|index| Shard::new(index, options)).collect(),
            options,
            interfaces: Vec::new(),
            connections: 0,
            fresh: Vec::new(),
            sorter: Sorter::new(SORT_BYTES),
            rounds: 0,
            buffer: Vec::new(),
        }
    }

    fn begin(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        if self.options.format == Format::Csv {
            csv::write_header(&mut self.buffer);
            out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Analyses the capture on this thread and returns the last round: works
    /// on each segment as soon as it is dissected, while it is at hand.
    fn alone(&mut self, control: &Control<'_>, out: &mut dyn Write) -> Result<Round, AnalyzeError> {
        let mut round = Round::default();
        loop {
            let before = round.remembered();
            let more = self.feeder.read(&mut round, before)?;
            let last = self.is_last(more, control);
            self.work_alone(&mut round);
            self.settle(&round, control, out)?;
            if last {
                return Ok(round);
            }
        }
    }

    fn work_alone(&mut self, round: &mut Round) {
        self.learn_interfaces(round);
        let Self { feeder, shards, options, interfaces, .. } = self;
        let run = Run::new(options, interfaces);
        shards.iter_mut().for_each(|shard| shard.begin_round(&run));
        let payloads = round.payloads();
        let work = Work::new(round, &payloads, &run);
        let rest = feeder.segments(round, |segment, payload| {
            if let Some(shard) = shards.get_mut(segment.key.shard(SHARDS)) {
                shard.segment(segment, payload, &work);
            }
        });
        if let Some(rest) = rest {
            feeder.deal_rest(round, rest);
        }
        let payloads = round.payloads();
        let work = Work::new(round, &payloads, &run);
        shards.iter_mut().for_each(|shard| shard.process(&work));
    }

    /// Analyses the capture with all threads and returns the last round.
    fn together(
        &mut self,
        pool: &rayon::ThreadPool,
        control: &Control<'_>,
        out: &mut dyn Write,
    ) -> Result<Round, AnalyzeError> {
        let (mut current, mut next) = (Round::default(), Round::default());
        let mut more = self.feeder.fill(&mut current, Before::new())?;
        loop {
            let last = self.is_last(more, control);
            more = self.round(&current, &mut next, last, pool)?;
            self.settle(&current, control, out)?;
            if last {
                return Ok(current);
            }
            std::mem::swap(&mut current, &mut next);
        }
    }

    /// Whether a round that was read is the last, and notes why.
    fn is_last(&mut self, more: bool, control: &Control<'_>) -> bool {
        let last = !more || control.stop.load(Ordering::Relaxed);
        if last {
            self.feeder.totals.interrupted = more;
        }
        last
    }

    fn learn_interfaces(&mut self, round: &Round) {
        self.interfaces.extend(round.batch.interfaces.iter().map(|i| i.name.clone()));
    }

    /// Works on `current` and reads `next`, unless this is the last round.
    fn round(
        &mut self,
        current: &Round,
        next: &mut Round,
        last: bool,
        pool: &rayon::ThreadPool,
    ) -> Result<bool, PcapError> {
        self.learn_interfaces(current);
        let Self { feeder, shards, options, interfaces, .. } = self;
        let run = &Run::new(options, interfaces);
        pool.scope(|scope| {
            for shard in shards {
                scope.spawn(move |_| {
                    shard.begin_round(run);
                    let payloads = current.payloads();
                    shard.process(&Work::new(current, &payloads, run));
                });
            }
            if last { Ok(false) } else { feeder.fill(next, current.remembered()) }
        })
    }

    /// Numbers new connections and lets out what is ready.
    fn settle(
        &mut self,
        round: &Round,
        control: &Control<'_>,
        out: &mut dyn Write,
    ) -> Result<(), AnalyzeError> {
        self.shards.iter_mut().for_each(|shard| shard.take_fresh(&mut self.fresh));
        self.fresh.sort_unstable_by_key(|(packet, ..)| *packet);
        for (_, shard, id) in self.fresh.drain(..) {
            self.connections += 1;
            if let Some(shard) = self.shards.get_mut(shard) {
                shard.number(id, self.connections);
            }
        }
        self.write_events(control, out)?;
        self.take_lines()?;
        self.rounds += 1;
        let live = self.feeder.is_live();
        if live || self.rounds.is_multiple_of(FLUSH_ROUNDS) {
            (control.progress)(round.batch.position);
            self.let_out(round.now, live, out)?;
        }
        if live {
            out.flush()?;
        }
        Ok(())
    }

    fn take_lines(&mut self) -> Result<(), SortError> {
        for shard in &mut self.shards {
            let mut begin = 0;
            for (key, end) in shard.lines.keys.drain(..) {
                self.sorter.push(key, shard.lines.bytes.get(begin..end).unwrap_or_default())?;
                begin = end;
            }
            shard.lines.bytes.clear();
        }
        Ok(())
    }

    fn let_out(
        &mut self,
        now: Option<Timestamp>,
        live: bool,
        out: &mut dyn Write,
    ) -> Result<(), SortError> {
        if !matches!(self.options.format, Format::Jsonl | Format::Csv) {
            return Ok(());
        }
        let Some(now) = now else { return Ok(()) };
        let since = live.then(|| now.plus(-LIVE_OPEN_NANOS));
        let open = self.shards.iter().map(|shard| shard.watermark(since)).fold(None, earliest);
        let watermark = earliest(open, Some(now.plus(-LATE_NANOS)));
        self.sorter.advance(watermark, out)
    }

    fn write_events(&mut self, control: &Control<'_>, out: &mut dyn Write) -> std::io::Result<()> {
        if self.options.format != Format::Log {
            return Ok(());
        }
        let mut events: Vec<LogEvent> = Vec::new();
        for shard in &mut self.shards {
            events.append(&mut shard.events);
        }
        events.sort_by_key(|event| event.packet);
        for LogEvent { at, server, client, kind, text, .. } in &events {
            let line = LogLine { at: *at, server: *server, client: *client, kind: *kind, text };
            line.write(control.color, &mut self.buffer);
        }
        out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(
        mut self,
        round: &Round,
        pool: Option<&rayon::ThreadPool>,
        control: &Control<'_>,
        out: &mut dyn Write,
    ) -> Result<Analysis, AnalyzeError> {
        let run = Run::new(self.options, &self.interfaces);
        let shards = &mut self.shards;
        match pool {
            None => shards.iter_mut().for_each(|shard| shard.finish(round, &run)),
            Some(pool) => pool.scope(|scope| {
                for shard in shards {
                    let run = &run;
                    scope.spawn(move |_| shard.finish(round, run));
                }
            }),
        }
        self.write_events(control, out)?;
        self.take_lines()?;
        let late_lines = self.sorter.late();
        self.sorter.finish(out)?;
        let mut totals = self.feeder.finish();
        let mut aggregate = Aggregate::new(self.options.top);
        for shard in self.shards {
            add_limits(&mut totals, &shard.limits);
            aggregate.merge(shard.aggregate);
        }
        Ok(Analysis { report: aggregate.finish(totals), late_lines })
    }
}

fn add_limits(totals: &mut CaptureTotals, limits: &[(&'static str, u64)]) {
    for (name, count) in limits {
        match totals.limits.iter_mut().find(|(known, _)| known == name) {
            Some((_, total)) => *total += count,
            None => totals.limits.push((name, *count)),
        }
    }
}
