//! What joining recordings of several nodes came to.

use super::sections::Page;
use super::style::Paint;
use super::table::{Cell, Table};
use super::units::{count, duration, escape, plural};
use crate::analyze::join::{Counts, JoinTotals, OffsetTotals};
use crate::analyze::report::Report;
use crate::analyze::report::model::Percentiles;

/// Nodes, pairs of clocks and links listed one by one.
const LISTED: usize = 15;

impl Page {
    /// What was joined, how far clocks are apart, and where the time went.
    pub fn nodes(&mut self, report: &Report) {
        let Some(joined) = &report.joined else { return };
        self.title("Across nodes");
        let names: Vec<_> = joined.nodes.iter().take(LISTED).map(|name| escape(name)).collect();
        let more = joined.nodes.len().saturating_sub(LISTED) as u64;
        let more = if more > 0 {
            format!(" and {}", plural(more, "other", "others"))
        } else {
            String::new()
        };
        self.fact("nodes", &(names.join(", ") + &more), None);
        self.joined(&joined.counts);
        self.clocks(joined);
        self.links(joined);
    }

    fn joined(&mut self, counts: &Counts) {
        let text =
            |joined, alone| format!("{} seen at both ends, {} at one", count(joined), count(alone));
        self.fact("flows", &text(counts.connections_joined, counts.connections_alone), None);
        self.fact("joined", &text(counts.transactions_joined, counts.transactions_alone), None);
        let odd = [
            (
                counts.connections_midway,
                "flows without a start stand alone: nothing tells whose they are behind a NAT",
            ),
            (counts.ambiguous, "flows could be the other end of several and are left alone"),
            (counts.unmatched, "transactions of joined flows have no copy at the other end"),
            (counts.contradicting, "pairs of copies contradict each other; both are reported"),
            (counts.given_up, "times too much waited for the other end, and went out alone"),
        ];
        for (times, what) in odd {
            if times > 0 {
                self.fact("apart", &format!("{} {what}", count(times)), Some(Paint::Yellow));
            }
        }
    }

    fn clocks(&mut self, joined: &JoinTotals) {
        for clock in joined.clocks.iter().take(LISTED) {
            self.fact("clocks", &clock_text(clock), None);
        }
        let more = joined.clocks.len().saturating_sub(LISTED) as u64;
        if more > 0 {
            self.fact("", &format!("and {} more; all are in --format json", count(more)), None);
        }
    }

    fn links(&mut self, joined: &JoinTotals) {
        if joined.links.is_empty() {
            return;
        }
        self.text.push('\n');
        self.line(None, "  Where the latency went (medians), from client's node to server's");
        let heads = ["count", "latency", "request", "server", "response", "+/-", "p99"];
        let mut table = Table::new("client node → server node", &heads);
        let median = |of: &Option<Percentiles>| {
            Cell::new(of.map_or("?".to_owned(), |of| duration(of.p50_ns)))
        };
        for link in joined.links.iter().take(LISTED) {
            let p99 = link.latency.map_or("?".to_owned(), |of| duration(of.p99_ns));
            let cells = vec![
                Cell::new(count(link.transactions)),
                median(&link.latency),
                median(&link.request),
                median(&link.server_time),
                median(&link.response),
                median(&link.error),
                Cell::new(p99),
            ];
            table.row(format!("{} → {}", escape(&link.client), escape(&link.server)), cells);
        }
        self.table(table);
        let more = joined.links.len().saturating_sub(LISTED) as u64;
        if more > 0 {
            let text = format!("  … and {} more; all are in --format json", count(more));
            self.line(Some(Paint::Dim), &text);
        }
    }
}

fn clock_text(clock: &OffsetTotals) -> String {
    let (node, with) = (escape(&clock.node), escape(&clock.with));
    let mut text = match (clock.offset_ns, clock.error_ns) {
        (Some(offset), Some(error)) => {
            let way = if offset < 0 { "behind" } else { "ahead of" };
            let (offset, error) = (duration(offset.unsigned_abs()), duration(error));
            format!("{node} is {offset} {way} {with}, give or take {error}")
        }
        _ => format!("{node} against {with}: not known"),
    };
    text += &format!(", by {}", plural(clock.transactions, "transaction", "transactions"));
    if clock.steps > 0 {
        let times = plural(clock.steps, "time", "times");
        text += &format!("; set or drifting {times}: it was another one then");
    }
    text
}
