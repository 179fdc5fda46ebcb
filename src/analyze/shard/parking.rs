//! Connections that are quiet, where there are many: they are parked, and
//! become flows again when more comes of them.
//!
//! Which flows to look at is told by a queue, not by the table: each is looked
//! at once it may have been quiet for long enough, and where it was not, much
//! later again.

use std::collections::VecDeque;

use super::begun::FLOWS;
use super::{Shard, Work};
use crate::analyze::decode::End;
use crate::analyze::flow::parked::Quiet;
use crate::analyze::flow::table::FlowId;
use crate::analyze::round::REMEMBERED;

/// Rounds after which a flow is looked at for the first time: until then it
/// cannot be quiet.
const FIRST_LOOK: u64 = REMEMBERED as u64 + 1;

/// Rounds after which a flow is looked at again that was not quiet: that costs
/// a flow in use next to nothing.
const NEXT_LOOK: u64 = 4 * FIRST_LOOK;

/// Rounds after which a flow is looked at again for which only too little time
/// went by: packets come so fast that rounds are short.
const SOON: u64 = REMEMBERED as u64 / 2;

/// A flow to be looked at: in this round, and the first packet of the flow,
/// since another may have its place by then.
type Look = (u64, FlowId, u64);

/// The flows that may be parked, by how soon.
#[derive(Default)]
pub struct Parking {
    new: VecDeque<Look>,
    soon: VecDeque<Look>,
    busy: VecDeque<Look>,
    /// All flows are listed; else none is.
    on: bool,
    /// Bytes of decoders of connections that are parked.
    pub state: usize,
}

impl Shard {
    /// Lists a flow that has just come into the table.
    pub(super) fn list_flow(&mut self, id: FlowId, work: &Work<'_>) {
        self.opened_since_sweep += 1;
        if self.parking.on
            && let Some(flow) = self.table.get(id)
        {
            let look = (work.round.number + FIRST_LOOK, id, flow.first_packet);
            self.parking.new.push_back(look);
        }
    }

    /// Parks flows that are quiet, at the end of a round.
    pub(super) fn park_quiet(&mut self, work: &Work<'_>) {
        if !self.parking.on {
            if self.table.len() <= FLOWS {
                return;
            }
            self.parking.on = true;
            for id in self.table.open_ids() {
                self.list_flow(id, work);
            }
        } else if self.table.len() < FLOWS / 2 {
            self.parking = Parking { state: self.parking.state, ..Parking::default() };
            return;
        }
        let round = work.round.number;
        let Parking { new, soon, busy, .. } = &mut self.parking;
        let due = |queue: &mut VecDeque<Look>, to: &mut Vec<Look>| {
            to.extend(std::iter::from_fn(|| queue.pop_front_if(|(at, ..)| *at <= round)));
        };
        let mut looks = Vec::new();
        [new, soon, busy].into_iter().for_each(|queue| due(queue, &mut looks));
        looks.into_iter().for_each(|look| self.look(look, work));
    }

    /// Parks a flow if it is quiet, or lists it again.
    fn look(&mut self, (_, id, first): Look, work: &Work<'_>) {
        let round = work.round;
        let Some(flow) = self.table.get_mut(id) else { return };
        if flow.first_packet != first || flow.closed.is_some() || flow.over {
            return;
        }
        match flow.quiet(round.number, round.now) {
            Quiet::Yes => {
                let (parked, memory) =
                    work.with_context(&mut self.output, |context| flow.park(context));
                self.parking.state += memory;
                self.table.park(id, parked);
            }
            Quiet::Soon => self.parking.soon.push_back((round.number + SOON, id, first)),
            Quiet::No => self.parking.busy.push_back((round.number + NEXT_LOOK, id, first)),
        }
    }

    /// Makes a flow of a connection that is parked, likewise; nothing of another.
    pub(super) fn unpark(&mut self, id: FlowId, work: &Work<'_>) {
        let Some(parked) = self.table.take_parked(id) else { return };
        self.parking.state = self.parking.state.saturating_sub(parked.memory());
        let flow = work.with_context(&mut self.output, |context| parked.flow(context));
        self.table.reopen(id, flow);
    }

    /// Ends a connection that is parked. It has its number: its totals are
    /// told at once, so that of many that end together none waits as a flow.
    /// False of another.
    pub(super) fn end_parked(
        &mut self,
        id: FlowId,
        end: End,
        packet: u64,
        work: &Work<'_>,
    ) -> bool {
        let parked = self.table.parked(id).is_some();
        if parked {
            self.close(id, end, packet, work);
            self.ended.pop();
            self.total(id);
        }
        parked
    }
}
