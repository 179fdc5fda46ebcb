//! Which response answers which request.
//!
//! HTTP/1 has no ids: responses come in the order of the requests. While
//! both directions are intact the front of the queue is the answered one.
//! Bytes that are missing may hide messages, and then the rule is:
//!
//! - Requests in the queue before a hole in the request direction stay
//!   certain; what comes behind may be preceded by hidden requests.
//! - A hole in the response direction may hide one answer to each request
//!   then waiting, and no other: where only one candidate is left, it is it.
//! - A response that could belong to two requests is put out without one,
//!   and so is each request that could own it.
//! - With one visible candidate and maybe hidden ones the pair is tentative:
//!   a further response before the next request refutes it (both go out
//!   unpaired), the next request confirms it and brings certainty back. The
//!   pair keeps its label (gap, late-join).
//! - A request that begins while no response is being read, after at least
//!   one was read since the hole, is the only candidate for the next one, on
//!   a connection whose client was never seen to send a request before it
//!   had the answer to the last: all that went before it is answered.

use std::collections::VecDeque;

use super::exchange::{Exchange, Part};
use crate::analyze::decode::{Direction, End, Sink};

/// Where the response being read belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the request at the front of the queue.
    Front,
    /// To none.
    Orphan,
}

/// Why pairing is not certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Bytes are missing.
    Gap,
    /// The connection was joined late.
    Late,
}

/// Requests waiting for their response.
#[derive(Debug, Default)]
pub struct Pairing {
    queue: VecDeque<Exchange>,
    /// A response without request.
    orphan: Option<Exchange>,
    /// The response being read.
    reading: Option<Target>,
    doubt: Option<Doubt>,
    /// Under doubt: requests from the front whose turn is certain.
    sure: usize,
    /// Under doubt: there may be requests that were not seen.
    hidden: bool,
    /// Under doubt: responses seen since.
    answered: usize,
    /// Responses without request since the last request began.
    orphans: usize,
    pipelined: bool,
    /// Interim responses since the last final one.
    interim: u64,
    /// Packet of the last byte of the last request.
    last_packet: u64,
    memory: usize,
}

impl Pairing {
    /// For a connection whose client direction was joined late or not.
    pub fn new(late: bool) -> Self {
        let doubt = late.then_some(Doubt::Late);
        Self { doubt, hidden: late, ..Self::default() }
    }

    /// All that is open.
    pub fn open(&self) -> impl Iterator<Item = &Exchange> {
        self.queue.iter().chain(&self.orphan)
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.memory
            + self.orphan.as_ref().map_or(0, Exchange::memory)
            + self.queue.capacity() * size_of::<Exchange>()
    }

    /// The exchange whose message of this direction is being read.
    pub fn current(&mut self, direction: Direction) -> Option<&mut Exchange> {
        let exchange = match (direction, self.reading) {
            (Direction::ToServer, _) => self.queue.back_mut(),
            (_, Some(Target::Front)) => self.queue.front_mut(),
            (_, Some(Target::Orphan)) => self.orphan.as_mut(),
            (_, None) => None,
        }?;
        (exchange.parts[direction.index()] == Part::Open).then_some(exchange)
    }

    /// Requests without any of their response.
    fn waiting(&self) -> usize {
        let bound = self.queue.front().is_some_and(|e| e.parts[1] != Part::Missing);
        self.queue.len() - usize::from(bound)
    }

    /// A request begins; `idle` where no byte of a response is being read.
    pub fn request(&mut self, exchange: Exchange, idle: bool, out: &mut Sink<'_>) {
        let packet = exchange.transaction.request.as_ref().map_or(0, |m| m.packet);
        if idle && self.reading.is_none() && self.doubt.is_some() {
            self.settle(out);
        }
        self.pipelined |= self.waiting() > 0 && packet == self.last_packet;
        self.orphans = 0;
        self.last_packet = packet;
        self.memory += exchange.memory();
        self.queue.push_back(exchange);
        let limits = out.limits;
        if self.queue.len() > limits.pending_per_flow.max(1)
            || (self.memory > limits.state_bytes_per_flow && self.queue.len() > 1)
        {
            self.give_up(out);
        }
    }

    /// Learns from the next request of a sequential client that all before it
    /// is answered: that confirms a tentative pair and ends doubt, or leaves
    /// the new request as the only candidate.
    fn settle(&mut self, out: &mut Sink<'_>) {
        if self.queue.front().is_some_and(|e| e.tentative && e.parts[1] == Part::Whole) {
            self.put_front(out);
            self.certain();
        } else if !self.pipelined && self.answered > 0 && self.sure == 0 {
            self.flush_unpaired(self.queue.len(), out);
            self.hidden = true;
        }
    }

    fn certain(&mut self) {
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

    fn give_up(&mut self, out: &mut Sink<'_>) {
        if let Some(exchange) = self.queue.front_mut() {
            exchange.transaction.anomaly("too-many-pending");
            exchange.closed = Some(End::Limit);
            if self.reading == Some(Target::Front) {
                exchange.cut(Direction::ToClient, None);
                self.reading = None;
            }
            self.put_front(out);
        }
        self.doubted(Doubt::Gap, 0);
        self.hidden = true;
    }

    /// Last byte of the request in packet `packet`.
    pub fn request_ended(&mut self, packet: u64, out: &mut Sink<'_>) {
        self.last_packet = packet;
        if let Some(exchange) = self.queue.back_mut() {
            exchange.ends(Direction::ToServer);
        }
        self.put_answered(out);
    }

    /// Puts the front out where its response has ended and it as well.
    pub fn put_answered(&mut self, out: &mut Sink<'_>) {
        let over = |part| matches!(part, Part::Whole | Part::Cut);
        let done = |e: &Exchange| over(e.parts[0]) && over(e.parts[1]) && !e.tentative;
        if self.queue.front().is_some_and(done) {
            self.put_front(out);
        }
    }

    fn put_front(&mut self, out: &mut Sink<'_>) {
        if let Some(exchange) = self.queue.pop_front() {
            self.memory = self.memory.saturating_sub(exchange.memory());
            if self.queue.is_empty() {
                self.memory = 0;
            }
            out.boxed(exchange.finish());
        }
    }

    /// An interim response, which belongs to the request of the next final one.
    pub fn interim(&mut self) {
        self.interim += 1;
    }

    /// A final response begins. `orphan` makes an exchange without request.
    pub fn response(&mut self, protocol: &'static str, out: &mut Sink<'_>) -> &mut Exchange {
        self.refute(out);
        let target = self.choose(out);
        self.reading = Some(target);
        let exchange = match (target, self.queue.front_mut()) {
            (Target::Front, Some(front)) => front,
            _ => {
                self.orphans += 1;
                self.reading = Some(Target::Orphan);
                let mut exchange = Exchange::new(protocol, out);
                if let Some(doubt) = self.doubt {
                    doubt.label(&mut exchange);
                }
                self.orphan.insert(exchange)
            }
        };
        exchange.parts[1] = Part::Open;
        exchange.informational = std::mem::take(&mut self.interim);
        exchange
    }

    fn choose(&mut self, out: &mut Sink<'_>) -> Target {
        let waiting = self.waiting();
        if self.queue.front().is_some_and(|e| e.parts[1] != Part::Missing) {
            return Target::Orphan;
        }
        let Some(doubt) = self.doubt else {
            return if waiting > 0 { Target::Front } else { Target::Orphan };
        };
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
            Some(front) if self.hidden && waiting == 1 && self.orphans == 0 && !self.pipelined => {
                doubt.label(front);
                front.tentative = true;
                Target::Front
            }
            _ => Target::Orphan,
        }
    }

    /// Splits a tentative pair: another response comes before the next request.
    fn refute(&mut self, out: &mut Sink<'_>) {
        let Some(front) = self.queue.front_mut() else { return };
        if !front.tentative {
            return;
        }
        let mut response = Exchange::new(front.transaction.protocol, out);
        response.transaction.response = front.transaction.response.take();
        response.transaction.anomalies = std::mem::take(&mut front.transaction.anomalies);
        response.parts[1] = front.parts[1];
        response.latest[1] = front.latest[1];
        (response.gap, response.late, response.closed) = (front.gap, front.late, front.closed);
        front.parts[1] = Part::Missing;
        front.tentative = false;
        front.call = None;
        out.boxed(response.finish());
        self.put_front(out);
    }

    /// Last byte of the response being read.
    pub fn response_ended(&mut self, out: &mut Sink<'_>) {
        let end = self.current(Direction::ToClient).and_then(|exchange| {
            exchange.ends(Direction::ToClient);
            exchange.transaction.response.as_ref().and_then(|m| m.end)
        });
        if self.reading == Some(Target::Front) && self.doubt.is_none() {
            let next = self.queue.get(1).and_then(Exchange::start);
            self.pipelined |= next.zip(end).is_some_and(|(next, end)| next < end);
        }
        self.put_response(out);
    }

    /// The end of the response being read will not be seen.
    pub fn response_cut(&mut self, end: Option<End>, out: &mut Sink<'_>) {
        if let Some(exchange) = self.current(Direction::ToClient) {
            exchange.cut(Direction::ToClient, end);
        }
        self.put_response(out);
    }

    fn put_response(&mut self, out: &mut Sink<'_>) {
        match self.reading.take() {
            Some(Target::Orphan) => {
                if let Some(orphan) = self.orphan.take() {
                    out.boxed(orphan.finish());
                }
            }
            Some(Target::Front) => self.put_answered(out),
            None => {}
        }
    }

    /// Takes the exchange of the response being read: the connection
    /// becomes something else.
    pub fn take_current(&mut self) -> Option<Exchange> {
        match self.reading.take()? {
            Target::Front => self.queue.pop_front(),
            Target::Orphan => self.orphan.take(),
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
        self.refute(out);
        self.interim = 0;
        if self.waiting() > 0 || self.doubt.is_some() {
            self.doubted(doubt, 0);
        }
    }

    /// It is not known whether the last response was a final one.
    pub fn unsure(&mut self) {
        self.doubted(Doubt::Gap, 0);
        self.hidden = true;
    }

    fn doubted(&mut self, doubt: Doubt, sure: usize) {
        self.doubt.get_or_insert(doubt);
        self.sure = sure;
        self.answered = 0;
    }

    /// Puts out what the end of the response direction leaves without a
    /// response: all requests, or (`all` unset) those that have ended.
    pub fn close(&mut self, end: End, all: bool, out: &mut Sink<'_>) {
        while let Some(front) = self.queue.front_mut() {
            if !all && front.parts[0] == Part::Open {
                return;
            }
            if front.parts[1] == Part::Missing {
                match self.doubt {
                    // It may have been answered where bytes are missing.
                    Some(doubt) if self.sure == 0 => doubt.label(front),
                    _ => front.closed = front.closed.or(Some(end)),
                }
                self.sure = self.sure.saturating_sub(1);
            }
            self.put_front(out);
        }
    }
}

impl Doubt {
    fn label(self, exchange: &mut Exchange) {
        match self {
            Self::Gap => exchange.gap = true,
            Self::Late => exchange.late = true,
        }
    }
}
