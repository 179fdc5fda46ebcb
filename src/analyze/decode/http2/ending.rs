//! How streams of a connection end and are given out.

use crate::analyze::decode::http2::connection::{CLOSED, Connection};
use crate::analyze::decode::http2::frame;
use crate::analyze::decode::http2::framer::{Seen, Step};
use crate::analyze::decode::http2::stream::{Loss, Reset, Why};
use crate::analyze::decode::{Direction, End, Sink};

const LIMIT_PENDING: &str = "limit-pending-per-flow";
const LIMIT_STATE: &str = "limit-state-bytes-per-flow";

impl Connection {
    pub(super) fn goaway(
        &mut self,
        direction: Direction,
        payload: &[u8],
        seen: Seen,
        out: &mut Sink<'_>,
    ) {
        let Some((last, code)) = frame::goaway(payload) else { return };
        let reset = Reset { by: direction, code: Some(code), at: seen.last };
        self.way(direction).goaway = Some((last, reset));
        // Streams that the other side opened above `last` were not processed.
        let parity = u32::from(direction == Direction::ToClient);
        for id in self.streams.ids(|stream| stream.id > last && stream.id % 2 == parity) {
            self.give_out(id, Why::GoAway(reset), out);
        }
    }

    /// Gives a stream out where both sides are done.
    pub(super) fn settle(&mut self, id: u32, out: &mut Sink<'_>) {
        let held = self.held_requests;
        let Some(stream) = self.streams.get(id) else { return };
        if stream.is_settled(held) {
            return self.give_out(id, Why::Settled, out);
        }
        // Opened in ignorance of a GOAWAY that excludes it.
        if stream.sides[0].ended
            && id % 2 == 1
            && let Some((last, reset)) = self.way(Direction::ToClient).goaway
            && id > last
        {
            self.give_out(id, Why::GoAway(reset), out);
        }
    }

    /// Gives out what waited for requests that were held back.
    pub fn settle_all(&mut self, out: &mut Sink<'_>) {
        self.held_requests = false;
        for id in self.streams.ids(|_| true) {
            self.settle(id, out);
        }
    }

    pub(super) fn give_out(&mut self, id: u32, why: Why, out: &mut Sink<'_>) {
        let silent = [!self.ways[0].spoke, !self.ways[1].spoke];
        let Some(stream) = self.streams.close(id) else { return };
        let mut transaction = out.blank("http/2");
        stream.finish(&mut transaction, why, silent);
        self.charged = self.charged.saturating_sub(stream.charged);
        if !(stream.sides[0].ended && stream.sides[1].ended) && self.closed.insert(id) {
            self.closed_order.push_back(id);
            if self.closed_order.len() > CLOSED
                && let Some(oldest) = self.closed_order.pop_front()
            {
                self.closed.remove(&oldest);
            }
        }
        out.boxed(transaction);
    }

    pub(super) fn charge(&mut self, id: u32) {
        if let Some(stream) = self.streams.get(id) {
            let memory = stream.memory();
            self.charged = (self.charged + memory).saturating_sub(stream.charged);
            stream.charged = memory;
        }
    }

    /// Gives the oldest streams up where there are too many.
    pub(super) fn bound(&mut self, out: &mut Sink<'_>) {
        loop {
            let name = if self.streams.len() > out.limits.pending_per_flow {
                LIMIT_PENDING
            } else if self.charged > out.limits.state_bytes_per_flow {
                LIMIT_STATE
            } else {
                return;
            };
            let Some(id) = self.streams.pop_oldest() else { return };
            self.give_out(id, Why::Limit(name), out);
        }
    }

    /// Frame boundaries of a direction are lost: any stream may have lost
    /// bytes, and the header table changed.
    pub fn lost(&mut self, direction: Direction, out: &mut Sink<'_>) {
        if let Some(mut block) = self.way(direction).block.take() {
            block.broken = true;
            self.complete(direction, block, out);
        }
        let way = self.way(direction);
        way.hpack.invalidate();
        way.loss = Some(Loss::Gap);
        let held = self.held_requests;
        let mut settled = Vec::new();
        self.streams.each(|stream| {
            let ended = stream.side(direction).ended;
            stream.side(direction).lost();
            if !ended {
                if let Some(call) = &mut stream.call {
                    call.lost(direction);
                }
                if stream.is_settled(held) {
                    settled.push(stream.id);
                }
            }
        });
        settled.sort_unstable();
        for id in settled {
            self.give_out(id, Why::Settled, out);
        }
    }

    /// A direction ended, in the middle of the frame `cut`; after the second
    /// has ended, so has everything.
    pub fn end(
        &mut self,
        direction: Direction,
        end: End,
        cut: Option<Step<'_>>,
        out: &mut Sink<'_>,
    ) {
        self.dying = Some(direction);
        if let Some(step) = cut {
            self.step(direction, step, out);
        }
        if let Some(mut block) = self.way(direction).block.take() {
            block.broken = true;
            self.complete(direction, block, out);
        }
        self.dying = None;
        self.way(direction).end = Some(end);
        let ends = [self.ways[0].end, self.ways[1].end];
        if ends.contains(&None) {
            return;
        }
        let goaway = self.ways[1].goaway.or(self.ways[0].goaway).map(|(_, reset)| reset);
        while let Some(id) = self.streams.pop_oldest() {
            self.give_out(id, Why::End(ends, goaway), out);
        }
    }
}
