//! Connections of which only a SYN was seen, where there are many: they are
//! kept small, and become flows when more comes of them.

use super::{Shard, Work, joining};
use crate::analyze::decode::End;
use crate::analyze::flow::SegmentRef;
use crate::analyze::flow::begun::Begun;
use crate::analyze::flow::table::FlowId;

/// Connections of a shard above which those that have only begun are kept
/// small: 16 shards of so many flows take some 23 MB. Below, that most of them
/// soon go on makes it no gain.
#[cfg(not(test))]
pub(super) const FLOWS: usize = 1024;
#[cfg(test)]
pub(super) const FLOWS: usize = 2;

impl Shard {
    /// Keeps a connection small that this segment begins, in the place of a
    /// closed one where there is one. None if it has to become a flow.
    pub(super) fn keep_small(
        &mut self,
        place: Option<FlowId>,
        segment: &SegmentRef,
        work: &Work<'_>,
    ) -> Option<FlowId> {
        // What comments and the log say is kept with a flow.
        let told = work.run.wants.log || !work.round.notes.is_empty();
        if self.table.len() < FLOWS || told {
            return None;
        }
        let begun = Begun::of(segment)?;
        let id = match place {
            Some(id) => {
                self.table.reopen_small(id, begun);
                id
            }
            None => self.table.insert_small(begun),
        };
        self.fresh.push((segment.packet, id));
        Some(id)
    }

    /// Makes a flow of a connection that is kept small or parked, which is to be
    /// listed if it goes on; nothing of another.
    pub(super) fn enlarge(&mut self, id: FlowId, work: &Work<'_>) {
        self.unpark(id, work);
        let Some(begun) = self.table.begun(id).copied() else { return };
        let flow = work.with_context(&mut self.output, |context| begun.flow(context));
        self.table.reopen(id, flow);
    }

    /// Ends a connection that is kept small and has its number: its totals are
    /// told at once, as of one that is parked. False of another.
    pub(super) fn end_small(&mut self, id: FlowId, end: End, packet: u64, work: &Work<'_>) -> bool {
        if self.end_parked(id, end, packet, work) {
            return true;
        }
        let Some(begun) = self.table.begun(id).filter(|begun| begun.number > 0).copied() else {
            return false;
        };
        let mut flow = work.with_context(&mut self.output, |context| {
            let mut flow = begun.flow(context);
            flow.finish(end, context);
            flow
        });
        joining::tell_totals(&mut self.aggregate, &mut self.told, &mut flow, packet);
        self.table.forget(id);
        true
    }
}
