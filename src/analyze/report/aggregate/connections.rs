//! Connections that stand out, in bounded lists.

use std::cmp::Reverse;

use super::samples::Smallest;
use crate::analyze::report::FlowTotals;
use crate::analyze::report::detail::{Connection, Connections};
use crate::analyze::report::model::Time;

/// Connections in each list.
const LISTED: usize = 10;

/// Most of something first, the earlier connection where it is as much.
type Most = Smallest<(Reverse<u64>, u64), Connection>;

/// Connections that stand out, each list by itself.
pub struct Outstanding {
    longest: Most,
    largest: Most,
    gaps: (Most, u64),
    retransmissions: (Most, u64),
    resets: (Smallest<u64, Connection>, u64),
}

impl Outstanding {
    /// None yet.
    pub fn new() -> Self {
        let most = || Smallest::new(LISTED);
        Self {
            longest: most(),
            largest: most(),
            gaps: (most(), 0),
            retransmissions: (most(), 0),
            resets: (Smallest::new(LISTED), 0),
        }
    }

    /// Looks at a connection that is over.
    pub fn add(&mut self, flow: &FlowTotals) {
        let number = flow.connection;
        let nanos = flow.first.zip(flow.last).map(|(first, last)| last.since(first));
        let nanos = nanos.and_then(|nanos| u64::try_from(nanos).ok());
        let add = |list: &mut Most, value: u64| {
            if value > 0 {
                list.add((Reverse(value), number), || connection(flow));
            }
            value > 0
        };
        add(&mut self.longest, nanos.unwrap_or(0));
        add(&mut self.largest, flow.payload_bytes.iter().fold(0, |sum, n| sum.saturating_add(*n)));
        let (list, count) = &mut self.gaps;
        *count += u64::from(add(list, gap_bytes(flow)));
        let (list, count) = &mut self.retransmissions;
        *count += u64::from(add(list, flow.retransmissions));
        if flow.reset {
            let (list, count) = &mut self.resets;
            *count += 1;
            list.add(number, || connection(flow));
        }
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: Self) {
        self.longest.merge(other.longest);
        self.largest.merge(other.largest);
        for (ours, theirs) in
            [(&mut self.gaps, other.gaps), (&mut self.retransmissions, other.retransmissions)]
        {
            ours.0.merge(theirs.0);
            ours.1 += theirs.1;
        }
        self.resets.0.merge(other.resets.0);
        self.resets.1 += other.resets.1;
    }

    /// The lists of the page.
    pub fn finish(self) -> Connections {
        Connections {
            longest: self.longest.finish(),
            largest: self.largest.finish(),
            gaps: self.gaps.0.finish(),
            gaps_count: self.gaps.1,
            retransmissions: self.retransmissions.0.finish(),
            retransmissions_count: self.retransmissions.1,
            resets: self.resets.0.finish(),
            resets_count: self.resets.1,
        }
    }
}

fn gap_bytes(flow: &FlowTotals) -> u64 {
    flow.gap_bytes.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
}

fn connection(flow: &FlowTotals) -> Connection {
    Connection {
        number: flow.connection,
        client: flow.client,
        server: flow.server,
        names: flow.ends.each_ref().map(|end| end.end().name().map(|name| name.to_string())),
        kind: flow.kind,
        first: flow.first.map(Time),
        last: flow.last.map(Time),
        handshake: flow.handshake,
        payload_bytes: flow.payload_bytes,
        gap_bytes: gap_bytes(flow),
        retransmissions: flow.retransmissions,
        reset: flow.reset,
    }
}
