//! Pairing while bytes are missing or the connection was joined late: what
//! becomes uncertain, and what settles it. The rules are in the head of
//! [`super`].

use super::super::exchange::{Exchange, Part};
use super::{Pairing, Target};
use crate::analyze::decode::grpc::Call;
use crate::analyze::decode::{Direction, Sink};
use crate::time::Timestamp;

/// Silence before a request that shows that no answer is due, in nanoseconds:
/// a server that owed one would have used the time.
const PAUSE_NANOS: i64 = 1_000_000_000;

/// Strict turns of one request and one response after which the client is one
/// that waits. Clients that fill a pipeline are given away much sooner, by
/// answers that come in a bunch: on a network at once, on one machine within
/// a few.
const PROBATION: usize = 16;

/// Why pairing is not certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Bytes are missing.
    Gap,
    /// The connection was joined late.
    Late,
}

impl Doubt {
    pub(super) fn label(self, exchange: &mut Exchange) {
        match self {
            Self::Gap => exchange.gap = true,
            Self::Late => exchange.late = true,
        }
    }
}

impl Pairing {
    /// Learns from the next request of a sequential client that all before it
    /// is answered: that may confirm tentative pairs and end doubt, or leaves
    /// the new request as the only candidate.
    pub(super) fn settle(&mut self, quiet: bool, out: &mut Sink<'_>) {
        let turn = self.queue.front().is_some_and(|e| e.tentative && e.parts[1] == Part::Whole);
        if turn {
            self.set_aside(out);
        }
        let waits = self.alone && self.doubt == Some(Doubt::Gap);
        let shown = waits || self.probation.len() >= PROBATION;
        if (turn && shown && self.queue.is_empty()) || quiet {
            self.confirm(out);
            self.flush_unpaired(self.queue.len(), out);
            self.certain();
        } else if !self.pipelined && self.answered > 0 && self.sure == 0 {
            self.flush_unpaired(self.queue.len(), out);
            self.hidden = true;
        }
    }

    /// Moves a tentative pair at the front to those on probation.
    pub(super) fn set_aside(&mut self, out: &mut Sink<'_>) {
        if self.probation.len() >= PROBATION {
            self.unpair(out);
        }
        if let Some(exchange) = self.queue.pop_front() {
            self.memory = self.memory.saturating_sub(exchange.memory());
            self.probation.push(exchange);
        }
    }

    /// The pairs on probation are right.
    fn confirm(&mut self, out: &mut Sink<'_>) {
        for exchange in self.probation.drain(..) {
            out.boxed(exchange.finish());
        }
    }

    /// The pairs on probation may be wrong.
    pub(super) fn unpair(&mut self, out: &mut Sink<'_>) {
        for exchange in self.probation.drain(..) {
            let (response, request) = split(exchange, out);
            out.boxed(response.finish());
            out.boxed(request.finish());
        }
    }

    /// The connection becomes something else, or is over: whether that shows
    /// that no answer was due.
    pub fn finish(&mut self, proven: bool, out: &mut Sink<'_>) {
        if proven {
            self.confirm(out);
        } else {
            self.unpair(out);
        }
    }

    /// Whether every request seen has its response and no message came for
    /// long before `at`.
    pub fn is_quiet(&self, at: Option<Timestamp>) -> bool {
        let pause = self.last_end.zip(at).map(|(end, at)| at.since(end));
        self.owed == 0 && pause.is_some_and(|pause| pause >= PAUSE_NANOS)
    }

    fn certain(&mut self) {
        self.owed = 0;
        self.doubt = None;
        self.hidden = false;
        self.sure = 0;
        self.answered = 0;
    }

    /// Puts out the first `count` requests, whose responses are not known.
    fn flush_unpaired(&mut self, count: usize, out: &mut Sink<'_>) {
        for _ in 0..count {
            if let Some(exchange) = self.queue.front_mut() {
                self.doubt.get_or_insert(Doubt::Gap).label(exchange);
                self.put_front(out);
            }
        }
    }

    pub(super) fn choose_in_doubt(
        &mut self,
        doubt: Doubt,
        waiting: usize,
        out: &mut Sink<'_>,
    ) -> Target {
        if self.sure > 0 && waiting > 0 {
            self.sure -= 1;
            return Target::Front;
        }
        self.answered += 1;
        if !self.hidden && self.answered == waiting {
            self.flush_unpaired(waiting - 1, out);
            self.certain();
            // What is missing can only have been interim responses to it.
            if let Some(front) = self.queue.front_mut() {
                doubt.label(front);
            }
            return Target::Front;
        }
        match self.queue.front_mut() {
            Some(front)
                if self.hidden
                    && !front.holed
                    && waiting == 1
                    && self.orphans == 0
                    && !self.pipelined =>
            {
                doubt.label(front);
                front.tentative = true;
                Target::Front
            }
            _ => Target::Orphan,
        }
    }

    /// Another response comes: it refutes all tentative pairs unless a
    /// further request explains it.
    #[inline]
    pub(super) fn refute(&mut self, out: &mut Sink<'_>) {
        let answered = self.queue.front().is_some_and(|e| e.tentative);
        if answered {
            self.set_aside(out);
        }
        if self.queue.is_empty() && !self.probation.is_empty() {
            self.pipelined = true;
            self.unpair(out);
        }
    }

    /// Bytes between requests are missing, or cannot be told apart.
    pub fn requests_hidden(&mut self, doubt: Doubt) {
        if self.doubt.is_none() {
            self.doubted(doubt, self.waiting());
        }
        self.hidden = true;
        self.answered = self.orphans;
    }

    /// Bytes after a hole made no sense: requests may be among them that
    /// nothing has answered yet.
    pub fn requests_passed_over(&mut self) {
        self.requests_hidden(Doubt::Gap);
        self.orphans = 0;
        self.answered = 0;
    }

    /// Bytes between responses are missing, or cannot be told apart.
    pub fn responses_hidden(&mut self, doubt: Doubt, out: &mut Sink<'_>) {
        // The answers that would refute them may be missing.
        if self.queue.front().is_some_and(|e| e.tentative) {
            self.set_aside(out);
        }
        self.unpair(out);
        if doubt == Doubt::Gap {
            self.queue.iter_mut().for_each(|exchange| exchange.holed = true);
        }
        self.interim = 0;
        self.interim_heads.clear();
        if self.waiting() > 0 || self.doubt.is_some() {
            self.doubted(doubt, 0);
        }
    }

    /// It is not known whether the last response was a final one.
    pub fn unsure(&mut self) {
        self.doubted(Doubt::Gap, 0);
        self.hidden = true;
    }

    pub(super) fn doubted(&mut self, doubt: Doubt, sure: usize) {
        self.doubt.get_or_insert(doubt);
        self.sure = sure;
        self.answered = 0;
    }
}

/// Response and request of a pair that may be wrong.
fn split(mut pair: Exchange, out: &mut Sink<'_>) -> (Exchange, Exchange) {
    let mut response = Exchange::new(pair.transaction.protocol, out);
    response.transaction.response = pair.transaction.response.take();
    response.transaction.anomalies = std::mem::take(&mut pair.transaction.anomalies);
    response.parts[1] = pair.parts[1];
    response.latest[1] = pair.latest[1];
    response.informational = std::mem::take(&mut pair.informational);
    response.transaction.interim = std::mem::take(&mut pair.transaction.interim);
    (response.gap, response.late) = (pair.gap, pair.late);
    response.closed = pair.closed.take();
    pair.parts[1] = Part::Missing;
    pair.tentative = false;
    // A response that says itself that it is a call's goes on as one, without what was counted
    // of the request.
    if let (Some(mut call), Some(message)) = (pair.call.take(), &response.transaction.response)
        && Call::detect(message).is_some()
    {
        call.begin(Direction::ToServer);
        call.lost(Direction::ToServer);
        response.call = Some(call);
    }
    (response, pair)
}
