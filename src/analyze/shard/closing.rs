//! Connections that have closed: what is told of them, what is kept of them
//! for a while, and what comes in their place.

use std::collections::VecDeque;

use super::{Shard, Work, joining, notes};
use crate::analyze::decode::End;
use crate::analyze::flow::closed::Closed;
use crate::analyze::flow::table::FlowId;
use crate::analyze::flow::{Flow, SegmentRef};
use crate::analyze::limits::CLOSED_NANOS;
use crate::time::Timestamp;

impl Shard {
    /// Lists a connection that has just closed.
    pub(super) fn list_closed(&mut self, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        flow.listed = true;
        self.closed.push_back((flow.closed.flatten(), id));
        self.closing.push(id);
    }

    /// Tells the totals of the connections that have closed and have got their
    /// numbers, and lets go of all but their ends.
    pub(super) fn let_closed_go(&mut self) {
        let Self { closing, table, aggregate, told, edges, .. } = self;
        let said = edges[1];
        closing.retain(|id| {
            let Some(flow) = table.get_mut(*id) else { return false };
            if flow.number == 0 && !flow.over {
                return true;
            }
            if !(flow.over || flow.waiting)
                && let Some(closed) = Closed::of(flow)
            {
                joining::tell_totals(aggregate, told, flow, said);
                table.close(*id, closed);
            }
            false
        });
    }

    /// Takes a segment of which a closed connection has the key: the next
    /// begins in its place, or it is one of its last again. Where connections
    /// are short, ports are soon used again.
    pub(super) fn begin_after(
        &mut self,
        id: FlowId,
        closed: &Closed,
        segment: &SegmentRef,
        work: &Work<'_>,
    ) -> Option<FlowId> {
        if closed.goes_on(segment, work.run.options.limits.idle_nanos) {
            // Time does not go on for it.
            self.aggregate.add_retransmissions(u64::from(segment.wire_len > 0));
            // Of a joined connection the addresses may be others by now.
            if closed.key.point() == 0 {
                notes::tell_late(closed, segment, work.round, &mut self.aggregate);
            }
            return None;
        }
        if !Flow::may_start_with(segment.flags, segment.wire_len) {
            self.table.forget(id);
            return None;
        }
        if self.keep_small(Some(id), segment, work).is_some() {
            return None;
        }
        self.table.reopen(id, Flow::new(segment));
        self.list_flow(id, work);
        self.fresh.push((segment.packet, id));
        Some(id)
    }

    /// Removes closed connections that were remembered long enough, as far as
    /// they are the first in the list; all of them where times go back.
    pub(super) fn forget_closed(&mut self, all: bool, work: &Work<'_>) {
        let now = work.round.now;
        let limit = CLOSED_NANOS.min(work.run.options.limits.idle_nanos);
        let is_due =
            |at: Option<Timestamp>| now.zip(at).is_some_and(|(now, at)| now.since(at) > limit);
        while let Some((at, id)) = self.closed.pop_front_if(|(at, _)| is_due(*at)) {
            self.forget(at, id, work);
        }
        if all && self.closed.iter().any(|(at, _)| is_due(*at)) {
            let all = std::mem::take(&mut self.closed).into_iter();
            let (due, kept): (VecDeque<_>, VecDeque<_>) = all.partition(|(at, _)| is_due(*at));
            self.closed = kept;
            due.into_iter().for_each(|(at, id)| self.forget(at, id, work));
        }
    }

    /// Forgets a connection that closed at `at`; another one may have taken
    /// its place by now.
    fn forget(&mut self, at: Option<Timestamp>, id: FlowId, work: &Work<'_>) {
        if let Some(closed) = self.table.closed(id) {
            if closed.at == at {
                self.table.forget(id);
            }
            return;
        }
        let Some(flow) = self.table.get(id) else { return };
        if flow.closed == Some(at) && !flow.over {
            self.close(id, End::Replaced, work.round.last_packet, work);
        }
    }
}
