//! Reads rounds and works on them with all threads.
//!
//! While the shards work on one round, one thread reads the next; where there
//! is only one thread, it works on each segment as it reads it. Between
//! rounds everything stands still: connections that began get their numbers
//! in the order of their first packets, and finished lines go out. So the
//! output does not depend on how many threads there are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::analyze::crew::{ALL, Crew, lock};
use crate::analyze::feed::Feeder;
use crate::analyze::filter::Selection;
use crate::analyze::join::Points;
use crate::analyze::limits::SHARDS;
use crate::analyze::options::Options;
use crate::analyze::outlet::{Now, Outlet};
use crate::analyze::report::{
    CaptureTotals, Destination, Destinations, FilterTotals, Format, Report,
};
use crate::analyze::round::{Before, Round};
use crate::analyze::shard::{Run, Shard, Work};
use crate::analyze::watch::Watch;
use crate::pcap::{Capture, PcapError};

/// What can end an analysis early.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The input cannot be read.
    #[error(transparent)]
    Input(#[from] PcapError),
    /// Nothing can be written to any more; the destinations say why.
    #[error("cannot write the output")]
    Output,
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
    /// Nodes that recorded the input, where these are several and were not joined; else 0.
    pub unjoined: usize,
}

/// Hooks of the caller.
pub struct Control<'a> {
    /// Set by a signal: stop reading and report.
    pub stop: &'a AtomicBool,
    /// Told the position in the input now and then.
    pub progress: &'a dyn Fn(u64),
}

/// Analyses a capture. Lines go to their destinations as they come; the report is
/// returned, for [`write_end`](crate::analyze::report::write_end).
///
/// # Errors
/// When the capture cannot be read or no destination is left. A destination that fails keeps
/// its error and gets nothing more, and the others go on.
pub fn run(
    capture: Capture,
    options: &Options,
    control: &Control<'_>,
    destinations: &mut Destinations<'_>,
) -> Result<Analysis, AnalyzeError> {
    run_for(capture, options, control, destinations, None)
}

/// The same with somebody who looks on while it runs.
///
/// # Errors
/// As those of [`run`], but it goes on where there is no destination.
pub fn watch(
    capture: Capture,
    options: &Options,
    control: &Control<'_>,
    watch: &dyn Watch,
) -> Result<Analysis, AnalyzeError> {
    let options = Options { watched: true, ..options.clone() };
    // All of no destinations have failed, so there has to be one.
    let mut nowhere = std::io::sink();
    let mut destinations = Destinations::new(vec![Destination::new(Format::Text, &mut nowhere)]);
    run_for(capture, &options, control, &mut destinations, Some(watch))
}

fn run_for(
    capture: Capture,
    options: &Options,
    control: &Control<'_>,
    destinations: &mut Destinations<'_>,
    watch: Option<&dyn Watch>,
) -> Result<Analysis, AnalyzeError> {
    // Decompression is one of the threads: with one more of ours than there are
    // processors, all would wait at the end of each round for who has none.
    let threads = options.threads.saturating_sub(usize::from(capture.is_compressed()));
    let points = if options.join { Points::of_capture(&capture) } else { None };
    let shards: Vec<_> = (0..SHARDS).map(|index| Mutex::new(Shard::new(index, options))).collect();
    let joins = points.is_some();
    let outlet = Outlet::new(options, &shards, control, destinations, watch, points.clone());
    let feeder = Feeder::new(capture, points);
    let mut pipeline = Pipeline { feeder, shards: &shards, options, control, outlet, joins };
    let end = if threads > 1 {
        // The leader is one more.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads - 1).build()?;
        pipeline.together(threads, &pool)?
    } else {
        pipeline.alone()?
    };
    let Pipeline { feeder, outlet, .. } = pipeline;
    let (late_lines, joined) = outlet.finish(&end)?;
    let unjoined = feeder.unjoined();
    let mut totals = feeder.finish();
    let mut aggregate = options.aggregate();
    let mut selection = Selection::default();
    for shard in shards {
        let shard = shard.into_inner().unwrap_or_else(PoisonError::into_inner);
        add_limits(&mut totals, &shard.limits);
        if shard.cut_bodies() > 0 {
            add_limits(&mut totals, &[("bodies-total", shard.cut_bodies())]);
        }
        selection.add(shard.selection);
        aggregate.merge(shard.aggregate);
    }
    if let Some(joined) = joined {
        selection.add(joined.selection);
        aggregate.merge(joined.aggregate);
        totals.joined = Some(joined.totals);
    }
    totals.filter = FilterTotals::of(&options.filter, selection);
    Ok(Analysis { report: aggregate.finish(totals), late_lines, unjoined })
}

struct Pipeline<'a, 'w> {
    feeder: Feeder,
    shards: &'a [Mutex<Shard>],
    options: &'a Options,
    control: &'a Control<'a>,
    outlet: Outlet<'a, 'w>,
    /// Whether what several points have seen is joined, between rounds.
    joins: bool,
}

impl Pipeline<'_, '_> {
    /// Analyses the capture on this thread: works on each segment as soon as it
    /// is dissected, while it is at hand.
    fn alone(&mut self) -> Result<Now, AnalyzeError> {
        let mut round = Round::default();
        let mut interfaces = Vec::new();
        loop {
            let before = round.remembered();
            let more = self.feeder.read(&mut round, before)?;
            self.options.filter.begin(|| round.first_time());
            let last = self.is_last(more);
            interfaces.extend(round.batch.interfaces.iter().map(|i| i.name.clone()));
            let run = Run::new(self.options, &interfaces);
            let told = self.work_on(ALL, &mut round, &run);
            self.outlet.settle(told, &self.now(&round));
            self.outlet.let_out()?;
            if last {
                self.shards.iter().for_each(|shard| lock(shard).finish(&round, &run));
                return Ok(self.now(&round));
            }
        }
    }

    /// Analyses the capture with so many threads, one of them this one and the
    /// others of the pool.
    fn together(&mut self, threads: usize, pool: &rayon::ThreadPool) -> Result<Now, AnalyzeError> {
        // Lines and events of a round are taken before the next is worked on.
        let ahead = self.options.formats.are_summaries() && !self.options.watched && !self.joins;
        let crew = Crew::new(self.shards, threads, ahead, self.options);
        let last = pool.in_place_scope(|scope| {
            for thread in 1..threads {
                let crew = &crew;
                scope.spawn(move |_| crew.work_as(thread));
            }
            self.lead(&crew)
        })?;
        let interfaces = crew.interfaces();
        let (round, run) = (crew.read(last), Run::new(self.options, &interfaces));
        pool.install(|| self.shards.par_iter().for_each(|shard| lock(shard).finish(&round, &run)));
        Ok(self.now(&round))
    }

    /// Reads rounds for a crew, and works with it: on the leader's own shards
    /// of a round while it reads it, on others when it has read the next.
    /// Returns the number of the last.
    fn lead(&mut self, crew: &Crew<'_>) -> Result<u64, AnalyzeError> {
        let leader = crew.lead();
        let mut interfaces = Vec::new();
        let mut number = 1;
        let (mut more, mut told) = self.read_for(crew, number, Before::new(), &mut interfaces)?;
        loop {
            let last = self.is_last(more);
            leader.begin(number);
            // Before it waits for packets of a live stream.
            self.outlet.let_out()?;
            let mut told_ahead = 0;
            if !last {
                let before = crew.read(number).remembered();
                (more, told_ahead) = self.read_for(crew, number + 1, before, &mut interfaces)?;
            }
            told |= leader.finish(number);
            let now = self.now(&crew.read(number));
            self.outlet.settle(told, &now);
            if last {
                self.outlet.let_out()?;
                return Ok(number);
            }
            number += 1;
            told = told_ahead;
        }
    }

    /// Reads a round, works on the leader's shards of it and deals the others'
    /// packets out. Returns whether another follows, and the shards, by bit,
    /// that have something to tell.
    fn read_for(
        &mut self,
        crew: &Crew<'_>,
        number: u64,
        before: Before,
        interfaces: &mut Vec<Option<String>>,
    ) -> Result<(bool, u64), AnalyzeError> {
        let round = &mut *crew.write(number);
        if crew.kept() == 0 {
            let more = self.feeder.fill(round, before)?;
            self.options.filter.begin(|| round.first_time());
            return Ok((more, 0));
        }
        let more = self.feeder.read(round, before)?;
        self.options.filter.begin(|| round.first_time());
        interfaces.extend(round.batch.interfaces.iter().map(|i| i.name.clone()));
        let run = Run::new(self.options, interfaces);
        Ok((more, self.work_on(crew.kept(), round, &run)))
    }

    /// Works on these shards, by bit, of a round that was read, and deals the
    /// others' packets out. Returns those of them that have something to tell.
    fn work_on(&mut self, own: u64, round: &mut Round, run: &Run<'_>) -> u64 {
        let Self { feeder, shards, .. } = self;
        // The own ones are the first.
        let mut shards: Vec<_> = shards.iter().take(own.count_ones() as usize).map(lock).collect();
        shards.iter_mut().for_each(|shard| shard.begin_round(run));
        let mut dealt = std::mem::take(&mut round.dealt);
        let payloads = round.payloads();
        let work = Work::new(round, &payloads, run);
        let rest = feeder.segments(round, own, &mut dealt, |shard, segment, payload| {
            if let Some(shard) = shards.get_mut(shard) {
                shard.segment(segment, payload, &work);
            }
        });
        round.dealt = dealt;
        if let Some(rest) = rest {
            feeder.deal_rest(round, rest);
        }
        let payloads = round.payloads();
        let work = Work::new(round, &payloads, run);
        work.on(0, 0, &mut shards)
    }

    /// Whether a round that was read is the last, and notes why.
    fn is_last(&mut self, more: bool) -> bool {
        let last = !more || self.control.stop.load(Ordering::Relaxed);
        if last {
            self.feeder.totals.interrupted = more;
        }
        last
    }

    fn now(&self, round: &Round) -> Now {
        let totals = &self.feeder.totals;
        Now {
            position: round.batch.position,
            last_packet: round.last_packet,
            first: totals.first,
            time: round.now,
            live: self.feeder.is_live(),
            lost: [totals.drops, totals.cut_packets, totals.damage.len() as u64],
        }
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
