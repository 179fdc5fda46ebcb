//! Time and limits: what is due although no packet came, flows that are idle
//! or over, and what to give up where memory would grow.

use super::{Shard, Work};
use crate::analyze::decode::End;
use crate::analyze::flow::table::FlowId;
use crate::analyze::limits::SHARDS;
use crate::time::Timestamp;

/// Segments between two looks at all flows of a shard, at least: with few
/// flows a look costs as much as a few segments.
const SWEEP_SEGMENTS: u64 = 4096;

/// Bytes of state that a connection with an open request has, about: where so
/// many have come that they may have half of what all may, it is looked at.
const FLOW_STATE: usize = 1024;

/// Connections that a look at all may take for each that has come.
const SWEEP_OPENED: usize = 16;

/// Flows with something held back that time may release, in the order in which
/// they were listed.
#[derive(Default)]
pub struct Waiting {
    /// With the time before which nothing is due, unless more of it comes.
    flows: Vec<(FlowId, Option<Timestamp>)>,
    /// Those of which more came in this round, sorted when it ends.
    stirred: Vec<FlowId>,
}

impl Waiting {
    /// Adds a flow.
    pub fn list(&mut self, id: FlowId, before: Option<Timestamp>) {
        self.flows.push((id, before));
    }

    /// More of a flow comes.
    pub fn stir(&mut self, id: FlowId) {
        self.stirred.push(id);
    }

    /// All flows; none is left.
    fn take(&mut self) -> Vec<(FlowId, Option<Timestamp>)> {
        self.stirred.sort_unstable();
        std::mem::take(&mut self.flows)
    }

    /// Whether nothing can be due of a flow: of very many that wait none need
    /// be looked at, which would take longer than all else.
    fn may_skip(&self, id: FlowId, before: Option<Timestamp>, now: Option<Timestamp>) -> bool {
        let early = before.is_some_and(|before| now.is_none_or(|now| now < before));
        early && self.stirred.binary_search(&id).is_err()
    }

    /// The round is over.
    fn settle(&mut self) {
        self.stirred.clear();
    }
}

impl Shard {
    /// Lists a flow that waits, of which so many bytes have come.
    #[inline(never)]
    pub(super) fn look_after(&mut self, id: FlowId, bytes: usize) {
        let Some(flow) = self.table.get_mut(id) else { return };
        if flow.waiting {
            self.waiting.stir(id);
        }
        if flow.is_waiting() {
            self.held_since_sweep += bytes;
            if !flow.waiting {
                flow.waiting = true;
                self.waiting.list(id, flow.nothing_before());
            }
        }
    }

    /// Gives up what time has made due, and looks at all flows now and then.
    pub(super) fn tick(&mut self, work: &Work<'_>) {
        let (round, run) = (work.round, work.run);
        for (id, before) in self.waiting.take() {
            if self.waiting.may_skip(id, before, round.now) {
                self.waiting.list(id, before);
                continue;
            }
            let Some(flow) = self.table.get_mut(id) else { continue };
            if work.with_context(&mut self.output, |context| flow.tick(round.now, context)) {
                self.waiting.list(id, flow.nothing_before());
            } else {
                flow.waiting = false;
            }
            let closed = flow.closed.is_some();
            if closed && !flow.listed {
                self.list_closed(id);
            }
            self.take_output(id, round.last_packet, run, closed);
        }
        self.waiting.settle();
        self.forget_closed(false, work);
        self.park_quiet(work);
        let due = SWEEP_SEGMENTS.max(self.table.len() as u64 / 2);
        let limits = &run.options.limits;
        let piled = self.held_since_sweep > limits.reorder_bytes_total / SHARDS / 2;
        let opened = self.opened_since_sweep * FLOW_STATE > limits.state_bytes_total / SHARDS / 2
            && self.opened_since_sweep > self.table.len() / SWEEP_OPENED;
        if self.segments - self.swept >= due || piled || opened {
            self.sweep(work);
        }
    }

    /// Removes what is over or idle, and keeps the limits that count over
    /// all flows.
    fn sweep(&mut self, work: &Work<'_>) {
        let (round, run) = (work.round, work.run);
        self.swept = self.segments;
        (self.held_since_sweep, self.opened_since_sweep) = (0, 0);
        let limits = &run.options.limits;
        let packet = round.last_packet;
        let (mut held, mut state) = (0, 0);
        let mut by_age = Vec::new();
        self.forget_closed(true, work);
        for id in self.table.idle_small(round.now, limits.idle_nanos) {
            if !self.end_small(id, End::Idle, packet, work) {
                self.close(id, End::Idle, packet, work);
            }
        }
        for id in self.table.open_ids() {
            let Some(flow) = self.table.get(id) else { continue };
            if flow.is_idle(round.now, limits.idle_nanos) {
                self.close(id, End::Idle, packet, work);
            } else {
                let memory = flow.memory();
                held += memory.0;
                state += memory.1;
                by_age.push((flow.last, id, memory));
            }
        }
        state += self.parking.state;
        let too_much = held > limits.reorder_bytes_total / SHARDS;
        if too_much || state > limits.state_bytes_total / SHARDS {
            let parked = self.table.all_parked();
            by_age.extend(parked.map(|(id, parked)| (parked.last, id, (0, parked.memory()))));
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
                self.waiting.stir(*id);
                if closed && !flow.listed {
                    self.list_closed(*id);
                }
                self.take_output(*id, packet, work.run, closed);
            }
        }
    }

    /// Makes room in the table: an eighth of its flows, the longest idle first.
    pub(super) fn evict(&mut self, work: &Work<'_>) {
        let mut by_age: Vec<_> = self
            .table
            .ids()
            .into_iter()
            .filter_map(|id| {
                let open = self.table.get(id).map(|flow| (flow.closed.is_none(), flow.last, id));
                open.or_else(|| self.table.begun(id).map(|begun| (true, begun.at, id)))
                    .or_else(|| self.table.parked(id).map(|parked| (true, parked.last, id)))
                    .or_else(|| self.table.closed(id).map(|closed| (false, closed.at, id)))
            })
            .collect();
        by_age.sort_unstable();
        let packet = work.round.last_packet;
        let count = by_age.len().div_ceil(8);
        for (open, _, id) in by_age.into_iter().take(count) {
            if open {
                self.hit("flows");
            }
            if self.table.closed(id).is_some() {
                self.table.forget(id);
            } else if !self.end_small(id, End::Limit, packet, work) {
                self.close(id, End::Limit, packet, work);
            }
        }
    }

    fn hit(&mut self, name: &'static str) {
        match self.limits.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.limits.push((name, 1)),
        }
    }
}
