//! One part of all flows: its table, what it has finished, its reports.
//!
//! A shard works alone on its segments of a round; what it finished is
//! reported at the start of the next, when connections have their numbers.

use std::net::SocketAddr;

use crate::analyze::decode::detect::Detector;
use crate::analyze::decode::{Direction, End, Finished, Output, Wants};
use crate::analyze::flow::table::{FlowId, FlowTable};
use crate::analyze::flow::{Context, Flow, SegmentRef};
use crate::analyze::limits::{CLOSED_NANOS, SHARDS};
use crate::analyze::options::Options;
use crate::analyze::report::log::LogKind;
use crate::analyze::report::sorter::SortKey;
use crate::analyze::report::{Aggregate, FlowTotals, Format, Item, csv, jsonl};
use crate::analyze::round::{Payloads, Round};
use crate::pcap::prefetch;
use crate::time::{Timestamp, earliest};

/// Segments between two looks at all flows of a shard, at least: with few
/// flows a look costs as much as a few segments.
const SWEEP_SEGMENTS: u64 = 4096;

/// Segments ahead whose payload is loaded: the reader looked at their headers
/// only, and the segments of a shard are too far apart for the processor to
/// guess the next.
const PREFETCH_SEGMENTS: usize = 3;

/// Packet comments kept per connection: its first, and those of the requests
/// in flight.
const COMMENTS_PER_FLOW: usize = 64;

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

/// What a shard needs of the run.
pub struct Run<'a> {
    /// Settings.
    pub options: &'a Options,
    /// What reports need.
    pub wants: Wants,
    /// Interface names by index.
    pub interfaces: &'a [Option<String>],
}

/// What a shard works on.
struct Work<'a> {
    round: &'a Round,
    payloads: &'a Payloads<'a>,
    run: &'a Run<'a>,
}

impl Work<'_> {
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
    finished: Finished,
}

/// One of [`SHARDS`] parts.
#[derive(Default)]
pub struct Shard {
    index: usize,
    table: FlowTable,
    output: Output,
    pending: Vec<Pending>,
    ended: Vec<FlowId>,
    fresh: Vec<FlowId>,
    waiting: Vec<FlowId>,
    swept: u64,
    segments: u64,
    held_since_sweep: usize,
    /// Tables over the transactions so far.
    pub aggregate: Aggregate,
    /// Transactions as lines, since they were last taken.
    pub lines: Lines,
    /// Events since they were last taken.
    pub events: Vec<LogEvent>,
    /// What limits cost.
    pub limits: Vec<(&'static str, u64)>,
}

impl Shard {
    /// The shard of this index.
    pub fn new(index: usize, options: &Options) -> Self {
        Self { index, aggregate: Aggregate::new(options.top), ..Self::default() }
    }

    /// Takes its segments of a round.
    pub fn process(&mut self, round: &Round, run: &Run<'_>) {
        self.report(run);
        let payloads = round.payloads();
        let work = Work { round, payloads: &payloads, run };
        let segments = round.segments.get(self.index).map_or(&[][..], Vec::as_slice);
        for (at, segment) in segments.iter().enumerate() {
            if let Some(next) = segments.get(at + PREFETCH_SEGMENTS)
                && let Some(payload) = payloads.get(next.payload)
            {
                prefetch(payload, 0);
            }
            self.segment(segment, &work);
        }
        self.segments += segments.len() as u64;
        self.tick(&work);
    }

    #[inline]
    fn segment(&mut self, segment: &SegmentRef, work: &Work<'_>) {
        let limit = work.run.options.limits.idle_nanos;
        let known = self.table.find(&segment.key);
        let id = match known {
            Some(id) if self.table.get(id).is_some_and(|flow| goes_on(flow, segment, limit)) => id,
            known => match self.begin(known, segment, work) {
                Some(id) => id,
                None => return,
            },
        };
        let payload = work.payloads.get(segment.payload).unwrap_or_default();
        let Some(flow) = self.table.get_mut(id) else { return };
        work.with_context(&mut self.output, |context| flow.segment(segment, payload, context));
        if !work.round.comments.is_empty() {
            keep_comment(flow, segment.packet, work.round);
        }
        if flow.is_waiting() {
            self.held_since_sweep += payload.len();
            if !flow.waiting {
                flow.waiting = true;
                self.waiting.push(id);
            }
        }
        let closed = flow.closed.is_some();
        self.take_output(id, segment.packet, work.run, closed);
    }

    /// Begins the connection of a segment, where it may begin one; the one
    /// that has its key is over.
    #[inline(never)]
    fn begin(
        &mut self,
        known: Option<FlowId>,
        segment: &SegmentRef,
        work: &Work<'_>,
    ) -> Option<FlowId> {
        let run = work.run;
        if let Some(id) = known {
            let flow = self.table.get(id)?;
            let replaced = is_over(flow, segment.at) || flow.is_replaced_by(segment);
            let end = if replaced { End::Replaced } else { End::Idle };
            self.close(id, end, segment.packet, work);
        }
        if !Flow::may_start_with(segment.flags, segment.wire_len) {
            return None;
        }
        if self.table.len() >= run.options.limits.flows.div_ceil(SHARDS) {
            self.evict(work);
        }
        let id = self.table.insert(Flow::new(segment));
        self.fresh.push(id);
        if run.wants.log {
            let handshake = segment.flags & crate::analyze::packet::flags::SYN != 0;
            let text = if handshake { "" } else { "joined midway" };
            self.log(id, segment.packet, segment.at, LogKind::Conn, text.to_owned());
        }
        Some(id)
    }

    /// Takes what a flow's decoder has put out.
    #[inline]
    fn take_output(&mut self, id: FlowId, packet: u64, run: &Run<'_>, closed: bool) {
        let nothing = self.output.transactions.is_empty() && self.output.events.is_empty();
        if nothing && !(closed && run.wants.log) {
            return;
        }
        if !self.output.events.is_empty() {
            let events = std::mem::take(&mut self.output.events);
            self.take_events(id, packet, events);
        }
        if !self.output.transactions.is_empty() {
            self.take_transactions(id, run);
        }
        if closed && run.wants.log {
            self.log_close(id, packet);
        }
    }

    /// Reports transactions at once, while they are at hand; those of a
    /// connection that has no number yet wait for the next round.
    fn take_transactions(&mut self, id: FlowId, run: &Run<'_>) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let mut transactions = std::mem::take(&mut self.output.transactions);
        for finished in transactions.drain(..) {
            flow.transactions += 1;
            let index = flow.transactions;
            if flow.number == 0 {
                self.pending.push(Pending { flow: id, index, finished });
                continue;
            }
            let item = item(flow, index, &finished, run);
            report_item(&item, run.options, &mut self.aggregate, &mut self.lines);
            self.output.recycle(finished.transaction);
        }
        self.output.transactions = transactions;
    }

    fn take_events(
        &mut self,
        id: FlowId,
        packet: u64,
        events: Vec<(crate::analyze::decode::Event, bool)>,
    ) {
        let Some(flow) = self.table.get(id) else { return };
        for (event, swapped) in events {
            let client = if swapped { flow.guess.other() } else { flow.guess };
            self.events.push(LogEvent {
                packet,
                at: event.at,
                server: flow.end(client.other()),
                client: flow.end(client),
                kind: match event.direction {
                    Direction::ToServer => LogKind::Request,
                    Direction::ToClient => LogKind::Response,
                },
                text: event.text,
            });
        }
    }

    fn log(&mut self, id: FlowId, packet: u64, at: Option<Timestamp>, kind: LogKind, text: String) {
        let Some(flow) = self.table.get(id) else { return };
        let client = flow.client();
        let (server, client) = (flow.end(client.other()), flow.end(client));
        self.events.push(LogEvent { packet, at, server, client, kind, text });
    }

    fn log_close(&mut self, id: FlowId, packet: u64) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let Some(text) = flow.take_close_text() else { return };
        let at = flow.last;
        self.log(id, packet, at, LogKind::Close, text);
    }

    /// Ends a flow and frees its key; its totals are reported in the next round.
    fn close(&mut self, id: FlowId, end: End, packet: u64, work: &Work<'_>) {
        if let Some(flow) = self.table.get_mut(id) {
            work.with_context(&mut self.output, |context| flow.finish(end, context));
        }
        self.take_output(id, packet, work.run, true);
        self.table.detach(id);
        self.ended.push(id);
    }

    /// Gives up what time has made due, and looks at all flows now and then.
    fn tick(&mut self, work: &Work<'_>) {
        let (round, run) = (work.round, work.run);
        for id in std::mem::take(&mut self.waiting) {
            let Some(flow) = self.table.get_mut(id) else { continue };
            if work.with_context(&mut self.output, |context| flow.tick(round.now, context)) {
                self.waiting.push(id);
            } else {
                flow.waiting = false;
            }
            let closed = flow.closed.is_some();
            self.take_output(id, round.last_packet, run, closed);
        }
        let due = SWEEP_SEGMENTS.max(self.table.len() as u64 / 2);
        let piled = self.held_since_sweep > run.options.limits.reorder_bytes_total / SHARDS / 2;
        if self.segments - self.swept >= due || piled {
            self.sweep(work);
        }
    }

    /// Removes what is over or idle, and keeps the limits that count over
    /// all flows.
    fn sweep(&mut self, work: &Work<'_>) {
        let (round, run) = (work.round, work.run);
        self.swept = self.segments;
        self.held_since_sweep = 0;
        let limits = &run.options.limits;
        let packet = round.last_packet;
        let (mut held, mut state) = (0, 0);
        let mut by_age = Vec::new();
        for id in self.table.ids() {
            let Some(flow) = self.table.get(id) else { continue };
            if is_over(flow, round.now) {
                self.close(id, End::Replaced, packet, work);
            } else if is_idle(flow, round.now, limits.idle_nanos) {
                self.close(id, End::Idle, packet, work);
            } else {
                let memory = flow.memory();
                held += memory.0;
                state += memory.1;
                by_age.push((flow.last, id, memory));
            }
        }
        let too_much = held > limits.reorder_bytes_total / SHARDS;
        if too_much || state > limits.state_bytes_total / SHARDS {
            by_age.sort_unstable_by_key(|(last, id, _)| (*last, *id));
            self.shrink(held, state, &by_age, work);
        }
    }

    /// Gives up held bytes and decoder state, the longest idle first.
    fn shrink(
        &mut self,
        mut held: usize,
        mut state: usize,
        by_age: &[(Option<Timestamp>, FlowId, (usize, usize))],
        work: &Work<'_>,
    ) {
        let limits = &work.run.options.limits;
        let packet = work.round.last_packet;
        for (_, id, memory) in by_age {
            if state > limits.state_bytes_total / SHARDS * 3 / 4 && memory.1 > 0 {
                state -= memory.1;
                held -= memory.0;
                self.hit("state-bytes-total");
                self.close(*id, End::Limit, packet, work);
            } else if held > limits.reorder_bytes_total / SHARDS * 3 / 4 && memory.0 > 0 {
                held -= memory.0;
                self.hit("reorder-bytes-total");
                let Some(flow) = self.table.get_mut(*id) else { continue };
                work.with_context(&mut self.output, |context| flow.give_up_all(context));
                let closed = flow.closed.is_some();
                self.take_output(*id, packet, work.run, closed);
            }
        }
    }

    /// Makes room in the table: an eighth of its flows, the longest idle first.
    fn evict(&mut self, work: &Work<'_>) {
        let mut by_age: Vec<_> = self
            .table
            .ids()
            .into_iter()
            .filter_map(|id| self.table.get(id).map(|f| (f.closed.is_none(), f.last, id)))
            .collect();
        by_age.sort_unstable();
        let packet = work.round.last_packet;
        let count = by_age.len().div_ceil(8);
        for (open, _, id) in by_age.into_iter().take(count) {
            if open {
                self.hit("flows");
            }
            self.close(id, End::Limit, packet, work);
        }
    }

    fn hit(&mut self, name: &'static str) {
        match self.limits.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.limits.push((name, 1)),
        }
    }

    /// Reports what the last round finished of connections that it began. All
    /// have numbers now.
    pub fn report(&mut self, run: &Run<'_>) {
        let mut pending = std::mem::take(&mut self.pending);
        for Pending { flow, index, finished } in pending.drain(..) {
            if let Some(flow) = self.table.get(flow) {
                let item = item(flow, index, &finished, run);
                report_item(&item, run.options, &mut self.aggregate, &mut self.lines);
            }
            self.output.recycle(finished.transaction);
        }
        self.pending = pending;
        for id in std::mem::take(&mut self.ended) {
            if let Some(flow) = self.table.remove(id) {
                self.aggregate.add_flow(&totals(*flow));
            }
        }
    }

    /// Flows that have no number yet: first packet and id.
    pub fn take_fresh(&mut self) -> Vec<(u64, FlowId)> {
        std::mem::take(&mut self.fresh)
            .into_iter()
            .filter_map(|id| Some((self.table.get(id)?.first_packet, id)))
            .collect()
    }

    /// Gives a connection its number.
    pub fn number(&mut self, id: FlowId, number: u64) {
        if let Some(flow) = self.table.get_mut(id) {
            flow.number = number;
        }
    }

    /// Ends all flows because the capture has ended.
    pub fn finish(&mut self, round: &Round, run: &Run<'_>) {
        self.report(run);
        let payloads = round.payloads();
        let work = Work { round, payloads: &payloads, run };
        let mut flows: Vec<_> = self
            .table
            .ids()
            .into_iter()
            .filter_map(|id| self.table.get(id).map(|flow| (flow.first_packet, id)))
            .collect();
        flows.sort_unstable();
        for (_, id) in flows {
            self.close(id, End::CaptureEnd, u64::MAX, &work);
        }
        self.report(run);
    }

    /// No transaction that begins before this is still to come.
    pub fn watermark(&self, since: Option<Timestamp>) -> Option<Timestamp> {
        let open = self
            .table
            .ids()
            .into_iter()
            .filter_map(|id| self.table.get(id)?.oldest_open())
            .filter(|start| since.is_none_or(|since| *start >= since))
            .min();
        let pending = self.pending.iter().filter_map(|p| p.finished.transaction.rank()).min();
        earliest(open, pending)
    }
}

/// Whether a segment belongs to the flow that has its key, and not to another
/// after it.
#[inline]
fn goes_on(flow: &Flow, segment: &SegmentRef, idle_limit: i64) -> bool {
    !(is_over(flow, segment.at)
        || flow.is_replaced_by(segment)
        || is_idle(flow, segment.at, idle_limit))
}

/// Whether a closed flow has been remembered long enough.
fn is_over(flow: &Flow, now: Option<Timestamp>) -> bool {
    match (flow.closed, now) {
        (Some(Some(closed)), Some(now)) => now.since(closed) > CLOSED_NANOS,
        _ => false,
    }
}

fn is_idle(flow: &Flow, now: Option<Timestamp>, limit: i64) -> bool {
    matches!((flow.last, now), (Some(last), Some(now)) if now.since(last) > limit)
}

fn keep_comment(flow: &mut Flow, packet: u64, round: &Round) {
    let at = round.comments.partition_point(|(number, _)| *number < packet);
    for (_, text) in round.comments.iter().skip(at).take_while(|(number, _)| *number == packet) {
        match flow.comments.last_mut() {
            Some((last, known)) if *last == packet => {
                known.push('\n');
                known.push_str(text);
            }
            _ => {
                if flow.comments.len() >= COMMENTS_PER_FLOW {
                    flow.comments.remove(1);
                }
                flow.comments.push((packet, text.clone()));
            }
        }
    }
}

/// The comment of the packet that began a transaction, else of the first
/// packet of its connection.
fn comment_of<'a>(flow: &'a Flow, finished: &Finished) -> Option<&'a str> {
    if flow.comments.is_empty() {
        return None;
    }
    let transaction = &finished.transaction;
    let message = transaction.request.as_ref().or(transaction.response.as_ref());
    let packet = message.map_or(0, |message| message.packet);
    let find = |packet| flow.comments.iter().find(|(number, _)| *number == packet);
    find(packet).or_else(|| find(flow.first_packet)).map(|(_, text)| text.as_str())
}

/// A finished transaction as reports take it.
fn item<'a>(flow: &'a Flow, index: u64, finished: &'a Finished, run: &'a Run<'_>) -> Item<'a> {
    let client = if finished.swapped { flow.guess.other() } else { flow.guess };
    let interface = run.interfaces.get(flow.interface as usize);
    Item {
        transaction: &finished.transaction,
        client: flow.end(client),
        server: flow.end(client.other()),
        connection: flow.number,
        index,
        interface: interface.and_then(Option::as_deref),
        comment: comment_of(flow, finished),
    }
}

fn report_item(item: &Item<'_>, options: &Options, aggregate: &mut Aggregate, lines: &mut Lines) {
    match options.format {
        Format::Text | Format::Json => aggregate.add(item),
        Format::Jsonl => jsonl::write(item, options.headers, &mut lines.bytes),
        Format::Csv => csv::write(item, &mut lines.bytes),
        Format::Log => {}
    }
    if matches!(options.format, Format::Jsonl | Format::Csv) {
        lines.keys.push((item.sort_key(), lines.bytes.len()));
    }
}

fn totals(flow: Flow) -> FlowTotals {
    let client = flow.client();
    let server = client.other();
    let sum = |pick: fn(&crate::analyze::reassembly::half::HalfCounts) -> u64| {
        pick(&flow.half(client).counts) + pick(&flow.half(server).counts)
    };
    FlowTotals {
        client: flow.end(client),
        server: flow.end(server),
        connection: flow.number,
        kind: flow.kind,
        first: flow.first,
        last: flow.last,
        handshake: flow.handshake(),
        segments: flow.counts.segments,
        payload_bytes: [flow.half(client).counts.bytes, flow.half(server).counts.bytes],
        gap_bytes: flow.counts.gap_bytes,
        gaps: flow.counts.gaps,
        retransmissions: sum(|c| c.retransmissions),
        out_of_order: sum(|c| c.out_of_order),
        duplicates: sum(|c| c.duplicates),
        anomalies: flow.anomalies,
        findings: flow
            .findings
            .into_iter()
            .map(|(direction, packet, text)| {
                let way = match direction {
                    Direction::ToServer => "to server",
                    Direction::ToClient => "to client",
                };
                (way, packet, text)
            })
            .collect(),
    }
}
