//! What is told of flows whose other end another point of observation may have seen,
//! instead of being reported here: see [`join`](crate::analyze::join).

use super::output;
use crate::analyze::flow::Flow;
use crate::analyze::flow::key::Side;
use crate::analyze::join::{Seen, Told, What};
use crate::analyze::report::{Aggregate, Item};
use crate::analyze::watch::Watched;

/// What tells which connection a flow is of, whose client is this side.
fn seen(flow: &Flow, client: Side) -> Seen {
    let sides = [client, client.other()];
    let initial = sides.map(|side| flow.half(side).isn.map(|isn| isn.0));
    Seen {
        point: flow.key.point(),
        connection: flow.number,
        ends: sides.map(|side| flow.end(side)),
        initial: initial[0].zip(initial[1]).map(Into::into),
        reached: sides.map(|side| flow.half(side).next.map(|next| next.0)),
        first: flow.first,
        owned: sides.map(|side| flow.owners.has_owner(side)),
    }
}

/// A copy of what reports would get.
#[cold]
pub(super) fn transaction(flow: &Flow, client: Side, item: &Item<'_>) -> Told {
    Told { seen: seen(flow, client), what: What::Transaction(Box::new(Watched::new(item))) }
}

/// Tells the totals of a flow that is over, with the names that were said up to packet
/// `said`: to the tables, or where it may have another end.
#[inline]
pub(super) fn tell_totals(
    aggregate: &mut Aggregate,
    told: &mut Option<Vec<Told>>,
    flow: &mut Flow,
    said: u64,
) {
    let totals = output::totals(flow, said);
    match told {
        Some(told) if flow.key.point() > 0 => {
            let seen = seen(flow, flow.client());
            told.push(Told { seen, what: What::Over(Box::new(totals)) });
        }
        _ => aggregate.add_flow(&totals),
    }
}
