//! What flows have finished, on its way into lines, events and tables.

use super::{LogEvent, Pending, Run, Shard, TransactionLines, joining, notes};
use crate::analyze::decode::{Direction, Event, Finished};
use crate::analyze::flow::table::FlowId;
use crate::analyze::flow::{Flow, SegmentRef};
use crate::analyze::options::Options;
use crate::analyze::owner::{End, OwnedEnd, Process};
use crate::analyze::packet::flags;
use crate::analyze::report::log::LogKind;
use crate::analyze::report::{
    Aggregate, FlowTotals, Format, Item, Parts, address_text, write_transaction,
};
use crate::analyze::watch::Watched;
use crate::time::Timestamp;

impl Shard {
    /// Takes what a flow's decoder has put out.
    #[inline]
    pub(super) fn take_output(&mut self, id: FlowId, packet: u64, run: &Run<'_>, closed: bool) {
        let nothing = self.output.transactions.is_empty() && self.output.events.is_empty();
        if nothing && !(closed && run.wants.log) {
            return;
        }
        if !self.output.events.is_empty() {
            let events = std::mem::take(&mut self.output.events);
            self.take_events(id, packet, events);
        }
        if !self.output.transactions.is_empty() {
            self.take_transactions(id, packet, run);
        }
        if closed && run.wants.log {
            self.log_close(id, packet);
        }
    }

    /// Reports transactions at once, while they are at hand; those of a
    /// connection that has no number yet wait until it has.
    fn take_transactions(&mut self, id: FlowId, packet: u64, run: &Run<'_>) {
        let mut transactions = std::mem::take(&mut self.output.transactions);
        match transactions.len() {
            // Nearly always: without the cost of a loop that may be left early.
            1 => transactions
                .pop()
                .into_iter()
                .for_each(|finished| self.take_one(id, packet, finished, run)),
            _ => {
                transactions.drain(..).for_each(|finished| self.take_one(id, packet, finished, run))
            }
        }
        self.output.transactions = transactions;
    }

    #[inline(always)]
    fn take_one(&mut self, id: FlowId, packet: u64, finished: Finished, run: &Run<'_>) {
        let Some(flow) = self.table.get_mut(id) else { return };
        flow.transactions += 1;
        let index = flow.transactions;
        if flow.number == 0 {
            return self.pending.push(Pending { flow: id, index, packet, finished });
        }
        let item = item(flow, index, packet, &finished, run);
        if let Some(told) = self.told.as_mut().filter(|_| flow.key.point() > 0) {
            let client = if finished.swapped { flow.guess.other() } else { flow.guess };
            told.push(joining::transaction(flow, client, &item));
        } else if run.options.filter.is_all()
            || self.selection.count(run.options.filter.decide(&item))
        {
            report_item(&item, run.options, &mut self.aggregate, &mut self.lines);
            if run.options.watched {
                self.watched.push(Watched::new(&item));
            }
        }
        self.output.recycle(finished.transaction);
    }

    fn take_events(&mut self, id: FlowId, packet: u64, events: Vec<(Event, bool)>) {
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

    pub(super) fn log(
        &mut self,
        id: FlowId,
        packet: u64,
        at: Option<Timestamp>,
        kind: LogKind,
        text: String,
    ) {
        let Some(flow) = self.table.get(id) else { return };
        let client = flow.client();
        let (server, client) = (flow.end(client.other()), flow.end(client));
        self.events.push(LogEvent { packet, at, server, client, kind, text });
    }

    /// The line of a connection that begins with `segment`.
    pub(super) fn log_begin(&mut self, id: FlowId, segment: &SegmentRef) {
        let Some(flow) = self.table.get(id) else { return };
        let handshake = segment.flags & flags::SYN != 0;
        let mut text = vec![if handshake { "" } else { "joined midway" }.to_owned()];
        // Without a handshake the recorder still knows who connected.
        let client = flow.owners.client().unwrap_or_else(|| flow.client());
        for (role, side) in [("client", client), ("server", client.other())] {
            let end = flow.owners.end(side, segment.packet, segment.packet);
            describe(role, &end, &mut text);
        }
        text.retain(|part| !part.is_empty());
        self.events.push(LogEvent {
            packet: segment.packet,
            at: segment.at,
            server: flow.end(client.other()),
            client: flow.end(client),
            kind: LogKind::Conn,
            text: text.join(" "),
        });
    }

    pub(super) fn log_close(&mut self, id: FlowId, packet: u64) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let Some(text) = flow.take_close_text() else { return };
        let at = flow.last;
        self.log(id, packet, at, LogKind::Close, text);
    }

    /// Reports what was finished of connections that have got their numbers
    /// since.
    pub fn report(&mut self, run: &Run<'_>) {
        let mut pending = std::mem::take(&mut self.pending);
        for waits in pending.drain(..) {
            let Some(flow) = self.table.get(waits.flow) else {
                self.output.recycle(waits.finished.transaction);
                continue;
            };
            if flow.number == 0 {
                self.still_pending.push(waits);
                continue;
            }
            let item = item(flow, waits.index, waits.packet, &waits.finished, run);
            let filter = &run.options.filter;
            if let Some(told) = self.told.as_mut().filter(|_| flow.key.point() > 0) {
                let client = if waits.finished.swapped { flow.guess.other() } else { flow.guess };
                told.push(joining::transaction(flow, client, &item));
            } else if filter.is_all() || self.selection.count(filter.decide(&item)) {
                report_item(&item, run.options, &mut self.aggregate, &mut self.lines);
                if run.options.watched {
                    self.watched.push(Watched::new(&item));
                }
            }
            self.output.recycle(waits.finished.transaction);
        }
        std::mem::swap(&mut self.pending, &mut self.still_pending);
        self.still_pending = pending;
        let mut ended = std::mem::take(&mut self.ended);
        ended.retain(|id| {
            let numbered = self.table.get(*id).is_none_or(|flow| flow.number > 0);
            if numbered {
                self.total(*id);
            }
            !numbered
        });
        self.ended = ended;
    }

    /// Removes a connection that is over and adds up what it came to.
    pub(super) fn total(&mut self, id: FlowId) {
        if let Some(mut flow) = self.table.remove(id) {
            let said = self.edges[1];
            joining::tell_totals(&mut self.aggregate, &mut self.told, &mut flow, said);
            self.table.recycle(flow);
        }
    }
}

/// Adds what the log says of an end.
fn describe(role: &str, end: &End<'_>, text: &mut Vec<String>) {
    let label = end.process.and_then(Process::label);
    text.extend(label.map(|label| format!("{role}={label}")));
    if !end.is_named() {
        return;
    }
    let mut add = |key, value: Option<String>| {
        text.extend(value.map(|value| format!("{role}.{key}={value}")));
    };
    let workload = end.name().filter(|_| end.workload().is_some());
    add("workload", workload.map(|name| name.to_string()));
    add("pod", end.pod().map(ToString::to_string));
    add("service", end.service().map(ToString::to_string));
    add("node", end.node().map(str::to_owned));
    add("address", end.address().map(address_text));
    add("by", end.basis().map(|basis| basis.name().to_owned()));
}

/// A transaction that finished with packet `said`, as reports take it.
#[inline(always)]
fn item<'a>(
    flow: &'a Flow,
    index: u64,
    said: u64,
    finished: &'a Finished,
    run: &'a Run<'_>,
) -> Item<'a> {
    let client = if finished.swapped { flow.guess.other() } else { flow.guess };
    let interface = run.interfaces.get(flow.interface as usize);
    let packet = notes::last_packet(&finished.transaction);
    Item {
        transaction: &finished.transaction,
        client: flow.end(client),
        server: flow.end(client.other()),
        connection: flow.number,
        index,
        interface: interface.and_then(Option::as_deref),
        comment: notes::comment_of(flow, &finished.transaction),
        client_end: flow.owners.end(client, packet, said),
        server_end: flow.owners.end(client.other(), packet, said),
        joined: None,
    }
}

/// Adds what is reported to tables and lines.
#[inline]
pub fn report_item(
    item: &Item<'_>,
    options: &Options,
    aggregate: &mut Aggregate,
    lines: &mut TransactionLines,
) {
    if options.formats.has_summary() {
        aggregate.add(item);
    }
    if options.formats.has_transactions() {
        write_lines(item, options, lines);
    }
}

#[inline]
fn write_lines(item: &Item<'_>, options: &Options, lines: &mut TransactionLines) {
    let parts = Parts { headers: options.headers, bodies: options.bodies };
    for (format, lines) in Format::TRANSACTIONS.into_iter().zip(lines) {
        if options.formats.has(format) {
            write_transaction(format, item, parts, &mut lines.bytes);
            lines.keys.push((item.sort_key(), lines.bytes.len()));
        }
    }
}

/// What a flow came to, with the names that were said up to packet `said`.
pub(super) fn totals(flow: &mut Flow, said: u64) -> FlowTotals {
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
        reset: flow.was_reset(),
        anomalies: std::mem::take(&mut flow.anomalies),
        processes: [client, server].map(|side| flow.owners.names(side)),
        ends: [client, server].map(|side| {
            let end = flow.owners.end(side, u64::MAX, said);
            if end.is_named() { end.to_owned() } else { OwnedEnd::default() }
        }),
        findings: std::mem::take(&mut flow.findings)
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
