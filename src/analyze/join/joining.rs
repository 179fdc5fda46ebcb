//! From what shards tell to reports, by way of the [`Joiner`].

use std::sync::Mutex;

use super::{JoinTotals, Joiner, Points, Told};
use crate::analyze::crew::lock;
use crate::analyze::filter::Selection;
use crate::analyze::options::Options;
use crate::analyze::report::Aggregate;
use crate::analyze::shard::output::report_item;
use crate::analyze::shard::{Shard, TransactionLines};
use crate::analyze::watch::Watched;
use crate::time::Timestamp;

/// Takes the place of a shard for what comes of joined flows.
pub struct Joining<'a> {
    options: &'a Options,
    joiner: Joiner,
    told: Vec<Told>,
    /// Tables over what went out so far.
    aggregate: Aggregate,
    selection: Selection,
    /// Transactions as lines, since they were last taken.
    pub lines: TransactionLines,
}

/// What it all came to.
pub struct Ended {
    /// Tables.
    pub aggregate: Aggregate,
    /// What the filter has taken.
    pub selection: Selection,
    /// What was joined.
    pub totals: JoinTotals,
}

impl<'a> Joining<'a> {
    /// Of these points, whose shards will tell what they find.
    pub fn new(points: Points, options: &'a Options, shards: &[Mutex<Shard>]) -> Self {
        shards.iter().for_each(|shard| lock(shard).told = Some(Vec::new()));
        Self {
            options,
            joiner: Joiner::new(points),
            told: Vec::new(),
            aggregate: options.aggregate(),
            selection: Selection::default(),
            lines: TransactionLines::default(),
        }
    }

    /// Takes what these shards have told.
    pub fn take<'s>(&mut self, shards: impl Iterator<Item = &'s Mutex<Shard>>) {
        for shard in shards {
            if let Some(told) = &mut lock(shard).told {
                self.told.append(told);
            }
        }
    }

    /// Joins what can be by this time, and reports what is ready; who looks on gets it as
    /// well.
    pub fn settle(&mut self, now: Option<Timestamp>, watched: &mut Vec<Watched>) {
        self.joiner.take(&mut self.told, now);
        self.report(watched);
    }

    /// Nothing more comes: reports all that is left.
    pub fn finish(&mut self, watched: &mut Vec<Watched>) {
        self.joiner.take(&mut self.told, None);
        self.joiner.finish();
        self.report(watched);
    }

    /// The start of the earliest transaction that is still to be reported.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.joiner.watermark()
    }

    /// What it came to.
    pub fn end(mut self) -> Ended {
        let totals = self.joiner.totals();
        Ended { aggregate: self.aggregate, selection: self.selection, totals }
    }

    fn report(&mut self, watched: &mut Vec<Watched>) {
        let Self { options, joiner, aggregate, selection, lines, .. } = self;
        for ready in joiner.ready.drain(..) {
            let item = ready.item();
            let filter = &options.filter;
            if filter.is_all() || selection.count(filter.decide(&item)) {
                report_item(&item, options, aggregate, lines);
                if options.watched {
                    watched.push(*ready);
                }
            }
        }
        joiner.over.drain(..).for_each(|totals| aggregate.add_flow(&totals));
    }
}
