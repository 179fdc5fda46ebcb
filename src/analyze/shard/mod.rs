//! One part of all flows: its table, what it has finished, its reports.
//!
//! A shard works alone on its segments of a round. `begun` is for connections
//! of which only a SYN was seen, `closing` is for connections
//! that have closed, `joining` for those whose other end may have been seen elsewhere, `notes` keeps what packet comments say, `output` reports
//! what its flows have finished, `parking` is for connections that are quiet,
//! `upkeep` keeps time and limits.

mod begun;
mod closing;
mod joining;
mod notes;
pub(super) mod output;
mod parking;
mod upkeep;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::MutexGuard;

use crate::analyze::decode::detect::Detector;
use crate::analyze::decode::{End, Finished, Output, Wants};
use crate::analyze::filter::Selection;
use crate::analyze::flow::table::{FlowId, FlowTable};
use crate::analyze::flow::{Context, Flow, SegmentRef};
use crate::analyze::join::Told;
use crate::analyze::limits::SHARDS;
use crate::analyze::options::Options;
use crate::analyze::report::log::LogKind;
use crate::analyze::report::sorter::SortKey;
use crate::analyze::report::{Aggregate, Format};
use crate::analyze::round::{Payloads, Round};
use crate::analyze::watch::{Coverage, Watched};
use crate::time::{Timestamp, earliest};

/// A line of the event log and where it stands in the order of packets.
#[derive(Debug)]
pub struct LogEvent {
    /// Packet that set it off.
    pub packet: u64,
    /// Capture time of the bytes.
    pub at: Option<Timestamp>,
    /// Server's address.
    pub server: SocketAddr,
    /// Client's address.
    pub client: SocketAddr,
    /// What it is.
    pub kind: LogKind,
    /// The decoded line.
    pub text: String,
}

/// Lines of transactions: keys and ends in one buffer.
#[derive(Debug, Default)]
pub struct Lines {
    /// All lines.
    pub bytes: Vec<u8>,
    /// Key of each line and where it ends.
    pub keys: Vec<(SortKey, usize)>,
}

/// Lines in each format of [`Format::TRANSACTIONS`].
pub type TransactionLines = [Lines; Format::TRANSACTIONS.len()];

/// What a shard needs of the run.
pub struct Run<'a> {
    /// Settings.
    pub options: &'a Options,
    /// What reports need.
    pub wants: Wants,
    /// Interface names by index.
    pub interfaces: &'a [Option<String>],
}

impl<'a> Run<'a> {
    /// A run with these settings, and the interfaces known so far.
    pub fn new(options: &'a Options, interfaces: &'a [Option<String>]) -> Self {
        Self { options, wants: options.wants(), interfaces }
    }
}

/// What a shard works on.
pub struct Work<'a> {
    round: &'a Round,
    payloads: &'a Payloads<'a>,
    run: &'a Run<'a>,
}

impl<'a> Work<'a> {
    /// A round, its payloads, and the run that it is part of.
    pub fn new(round: &'a Round, payloads: &'a Payloads<'a>, run: &'a Run<'a>) -> Self {
        Self { round, payloads, run }
    }

    /// Gives the segments that were dealt out to this unit to their shards, and
    /// ends the round for these; `first` is the index of the first of them.
    /// Returns those, by bit, that have something to tell.
    pub fn on(&self, unit: usize, first: usize, shards: &mut [MutexGuard<'_, Shard>]) -> u64 {
        self.round.segments(unit, self.payloads, |segment, payload| {
            if let Some(shard) = shards.get_mut(segment.key.shard(SHARDS).wrapping_sub(first)) {
                shard.segment(segment, payload, self);
            }
        });
        let end = |(index, shard): (usize, &mut MutexGuard<'_, Shard>)| {
            shard.end_round(self);
            u64::from(shard.has_told()) << index
        };
        shards
            .iter_mut()
            .zip(first..)
            .map(|(shard, index)| end((index, shard)))
            .fold(0, |all, bit| all | bit)
    }

    /// Runs `f` with what flows need of their surroundings.
    #[inline]
    fn with_context<R>(&self, output: &mut Output, f: impl FnOnce(&mut Context<'_, '_>) -> R) -> R {
        f(&mut Context {
            limits: &self.run.options.limits,
            wants: self.run.wants,
            new_decoder: Detector::boxed,
            output,
            bytes: &|payload| self.payloads.get(payload),
        })
    }
}

struct Pending {
    flow: FlowId,
    index: u64,
    /// The packet that it finished with: what later ones say of its ends is too late
    /// for it, whenever its connection has its number.
    packet: u64,
    finished: Finished,
}

/// One of [`SHARDS`] parts.
#[derive(Default)]
pub struct Shard {
    index: usize,
    table: FlowTable,
    output: Output,
    pending: Vec<Pending>,
    /// Empty, between two uses.
    still_pending: Vec<Pending>,
    ended: Vec<FlowId>,
    /// Connections without a number, and their first packets, ascending.
    fresh: Vec<(u64, FlowId)>,
    /// The numbers that the first of those were given.
    numbers: Vec<u64>,
    /// Last packets of the round before the last, and of the last.
    edges: [u64; 2],
    waiting: upkeep::Waiting,
    /// Connections that are closed and remembered, and since when.
    closed: VecDeque<(Option<Timestamp>, FlowId)>,
    /// Those that have closed in this round.
    closing: Vec<FlowId>,
    swept: u64,
    segments: u64,
    held_since_sweep: usize,
    /// Flows that came into the table since then.
    opened_since_sweep: usize,
    parking: parking::Parking,
    /// Tables over the transactions so far.
    pub aggregate: Aggregate,
    /// What the filter has taken.
    pub selection: Selection,
    /// Transactions as lines, since they were last taken.
    pub lines: TransactionLines,
    /// Events since they were last taken.
    pub events: Vec<LogEvent>,
    /// Transactions for who looks on, since they were last taken.
    pub watched: Vec<Watched>,
    /// What other points of observation may have seen too, since it was last taken; None
    /// where there is only one.
    pub told: Option<Vec<Told>>,
    /// What limits cost.
    pub limits: Vec<(&'static str, u64)>,
}

impl Shard {
    /// The shard of this index.
    pub fn new(index: usize, options: &Options) -> Self {
        Self { index, aggregate: options.aggregate(), ..Self::default() }
    }

    /// Begins a round: before any of its segments. What began in the round
    /// before the last has its number now; what began in the last has not,
    /// since other shards may still be at that one.
    pub fn begin_round(&mut self, run: &Run<'_>) {
        self.take_numbers(self.edges[0]);
        self.report(run);
        self.let_closed_go();
    }

    /// Ends a round: after the last of its segments.
    pub fn end_round(&mut self, work: &Work<'_>) {
        self.tick(work);
        self.edges = [self.edges[1], work.round.last_packet];
    }

    /// Takes a segment and its payload.
    #[inline]
    pub fn segment(&mut self, segment: &SegmentRef, payload: &[u8], work: &Work<'_>) {
        self.segments += 1;
        let limit = work.run.options.limits.idle_nanos;
        let known = self.table.find(&segment.key);
        let (id, begun) = match known {
            Some(id) if self.table.get(id).is_some_and(|flow| flow.goes_on(segment, limit)) => {
                (id, false)
            }
            known => match self.begin(known, segment, work) {
                Some(begun) => begun,
                None => return,
            },
        };
        let Some(flow) = self.table.get_mut(id) else { return };
        work.with_context(&mut self.output, |context| flow.segment(segment, payload, context));
        if !work.round.notes.is_empty() {
            notes::keep(flow, segment, work.round);
        }
        let closed = flow.closed.is_some();
        let unlisted = closed && !flow.listed;
        if flow.is_stirred() {
            self.look_after(id, payload.len());
        }
        if unlisted {
            self.list_closed(id);
        }
        if begun && work.run.wants.log {
            self.log_begin(id, segment);
        }
        self.take_output(id, segment.packet, work.run, closed);
    }

    /// Begins the connection of a segment, where it may begin one and has to be
    /// a flow; the one that has its key is over, or is kept small. Says whether
    /// it has begun.
    #[inline(never)]
    fn begin(
        &mut self,
        known: Option<FlowId>,
        segment: &SegmentRef,
        work: &Work<'_>,
    ) -> Option<(FlowId, bool)> {
        let run = work.run;
        if let Some(id) = known {
            if let Some(closed) = self.table.closed(id).copied() {
                return Some((self.begin_after(id, &closed, segment, work)?, true));
            }
            self.enlarge(id, work);
            let flow = self.table.get(id)?;
            if flow.goes_on(segment, run.options.limits.idle_nanos) {
                self.list_flow(id, work);
                return Some((id, false));
            }
            let replaced = flow.is_over(segment.at) || flow.is_replaced_by(segment);
            let end = if replaced { End::Replaced } else { End::Idle };
            self.close(id, end, segment.packet, work);
        }
        if !Flow::may_start_with(segment.flags, segment.wire_len) {
            return None;
        }
        if self.table.len() >= run.options.limits.flows.div_ceil(SHARDS) {
            self.evict(work);
        }
        if self.keep_small(None, segment, work).is_some() {
            return None;
        }
        let id = self.table.insert(Flow::new(segment));
        self.fresh.push((segment.packet, id));
        self.list_flow(id, work);
        Some((id, true))
    }

    /// Ends a flow and frees its key; its totals are reported in the next round.
    fn close(&mut self, id: FlowId, end: End, packet: u64, work: &Work<'_>) {
        self.enlarge(id, work);
        if let Some(flow) = self.table.get_mut(id) {
            flow.over = true;
            work.with_context(&mut self.output, |context| flow.finish(end, context));
        }
        self.take_output(id, packet, work.run, true);
        self.table.detach(id);
        self.ended.push(id);
    }

    /// Bodies that were cut because all of them together had what they may.
    pub fn cut_bodies(&self) -> u64 {
        self.output.budget.as_ref().map_or(0, |budget| budget.struck())
    }

    /// Whether the round has left something for all shards together to order:
    /// new connections, lines, events or what somebody looks at.
    pub fn has_told(&self) -> bool {
        let no_lines = self.lines.iter().all(|lines| lines.keys.is_empty());
        let none_told = self.told.as_ref().is_none_or(Vec::is_empty);
        let nothing = no_lines && self.events.is_empty() && self.watched.is_empty() && none_told;
        self.fresh.len() > self.numbers.len() || !nothing
    }

    /// Connections that it keeps.
    pub fn connections(&self) -> usize {
        self.table.len()
    }

    /// Adds the connections up to this packet that were given no number yet, in
    /// the order of their first packets: that packet, and this shard's index.
    pub fn list_fresh(&self, last: u64, to: &mut Vec<(u64, usize)>) {
        let fresh = self.fresh.iter().skip(self.numbers.len()).map(|(packet, _)| *packet);
        to.extend(fresh.take_while(|packet| *packet <= last).map(|packet| (packet, self.index)));
    }

    /// Gives the next of those its number.
    pub fn number(&mut self, number: u64) {
        self.numbers.push(number);
    }

    /// Tells the connections up to this packet their numbers: when a round
    /// begins, so that all shards can do it at once.
    fn take_numbers(&mut self, last: u64) {
        let Self { fresh, numbers, table, .. } = self;
        let count = fresh.partition_point(|(packet, _)| *packet <= last).min(numbers.len());
        for ((_, id), number) in fresh.drain(..count).zip(numbers.drain(..count)) {
            table.number(id, number);
        }
    }

    /// Ends all flows because the capture has ended.
    pub fn finish(&mut self, round: &Round, run: &Run<'_>) {
        self.take_numbers(u64::MAX);
        // Nothing is read ahead any more.
        self.edges[1] = u64::MAX;
        self.report(run);
        let payloads = round.payloads();
        let work = Work::new(round, &payloads, run);
        let mut flows: Vec<_> = self
            .table
            .ids()
            .into_iter()
            .filter_map(|id| Some((self.table.first_packet(id)?, id)))
            .collect();
        flows.sort_unstable();
        for (_, id) in flows {
            if !self.end_small(id, End::CaptureEnd, u64::MAX, &work) {
                self.close(id, End::CaptureEnd, u64::MAX, &work);
                self.report(run);
            }
        }
    }

    /// No transaction that begins before this is still to come.
    pub fn watermark(&self, since: Option<Timestamp>) -> Option<Timestamp> {
        let open = self
            .table
            .open_ids()
            .into_iter()
            .filter_map(|id| self.table.get(id)?.oldest_open())
            .chain(
                self.table.all_parked().filter_map(|(_, parked)| parked.decoder()?.oldest_open()),
            )
            .filter(|start| since.is_none_or(|since| *start >= since))
            .min();
        let pending = self.pending.iter().filter_map(|p| p.finished.transaction.rank()).min();
        earliest(open, pending)
    }

    /// How much of the payload was there so far: looks at every connection.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = self.aggregate.coverage();
        self.table.flows().for_each(|flow| coverage.add(flow.coverage()));
        self.table.all_parked().for_each(|(_, parked)| coverage.add(parked.coverage()));
        let limits = self.limits.iter().map(|(_, times)| times).sum();
        coverage.add(Coverage { limits, ..Coverage::default() });
        coverage
    }
}
