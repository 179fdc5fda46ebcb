//! Time and limits: what is due although no packet came, flows that are idle
//! or over, and what to give up where memory would grow.

use super::{Shard, Work, is_idle};
use crate::analyze::decode::End;
use crate::analyze::flow::table::FlowId;
use crate::analyze::limits::{CLOSED_NANOS, SHARDS};
use crate::time::Timestamp;

/// Segments between two looks at all flows of a shard, at least: with few
/// flows a look costs as much as a few segments.
const SWEEP_SEGMENTS: u64 = 4096;

impl Shard {
    /// Gives up what time has made due, and looks at all flows now and then.
    pub(super) fn tick(&mut self, work: &Work<'_>) {
        let (round, run) = (work.round, work.run);
        for id in std::mem::take(&mut self.waiting) {
            let Some(flow) = self.table.get_mut(id) else { continue };
            if work.with_context(&mut self.output, |context| flow.tick(round.now, context)) {
                self.waiting.push(id);
            } else {
                flow.waiting = false;
            }
            let closed = flow.closed.is_some();
            if closed && !flow.listed {
                self.list_closed(id);
            }
            self.take_output(id, round.last_packet, run, closed);
        }
        self.forget_closed(false, work);
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
        self.forget_closed(true, work);
        for id in self.table.open_ids() {
            let Some(flow) = self.table.get(id) else { continue };
            if is_idle(flow, round.now, limits.idle_nanos) {
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

    /// Removes closed connections that were remembered long enough, as far as
    /// they are the first in the list; all of them where times go back.
    fn forget_closed(&mut self, all: bool, work: &Work<'_>) {
        let now = work.round.now;
        let limit = CLOSED_NANOS.min(work.run.options.limits.idle_nanos);
        let is_due =
            |at: Option<Timestamp>| now.zip(at).is_some_and(|(now, at)| now.since(at) > limit);
        let mut due = Vec::new();
        while let Some((at, id)) = self.closed.pop_front_if(|(at, _)| is_due(*at)) {
            due.push((at, id));
        }
        if all {
            self.closed.retain(|(at, id)| {
                let is_due = is_due(*at);
                if is_due {
                    due.push((*at, *id));
                }
                !is_due
            });
        }
        // Another one may have taken its place by now. All are looked at
        // before the first is worked on: they are long out of the caches, and
        // so the processor loads them side by side.
        due.retain(|(at, id)| {
            self.table.get(*id).is_some_and(|flow| flow.closed == Some(*at) && !flow.over)
        });
        for (_, id) in due {
            self.forget(id, work);
        }
    }

    fn forget(&mut self, id: FlowId, work: &Work<'_>) {
        if self.table.get(id).is_some_and(|flow| flow.number == 0) {
            return self.close(id, End::Replaced, work.round.last_packet, work);
        }
        self.table.detach(id);
        self.total(id);
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
}
