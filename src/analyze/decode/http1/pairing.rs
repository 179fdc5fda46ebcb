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
//! - With one visible candidate and maybe hidden ones the pair is tentative
//!   and kept: a client that keeps several requests in flight looks just like
//!   one that sends them one by one, until a response comes that no visible
//!   request explains. That refutes all tentative pairs: requests and
//!   responses go out unpaired. They are confirmed, with their label (gap,
//!   late-join), by what shows that nothing is in flight: a pause before a
//!   request ([`PAUSE_NANOS`]), a client that closes and a server that follows,
//!   a client seen to wait before the hole, or [`PROBATION`] exchanges in turn.
//!   What neither confirms nor refutes goes out unpaired.
//! - A request that begins while no response is being read, after at least
//!   one was read since the hole, is the only candidate for the next one, on
//!   a connection whose client was never seen to send a request before it
//!   had the answer to the last: all that went before it is answered.

use std::collections::VecDeque;

use super::exchange::{Exchange, Method, Part};
use crate::analyze::decode::grpc::Call;
use crate::analyze::decode::{Direction, End, Sink};
use crate::time::{Timestamp, latest};

/// Silence before a request that shows that no answer is due, in nanoseconds:
/// a server that owed one would have used the time.
const PAUSE_NANOS: i64 = 1_000_000_000;

/// Strict turns of one request and one response after which the client is one
/// that waits. Clients that fill a pipeline are given away much sooner, by
/// answers that come in a bunch: on a network at once, on one machine within
/// a few.
const PROBATION: usize = 16;

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
    /// Tentative pairs before the front of the queue.
    probation: Vec<Exchange>,
    /// Visible requests less responses, where they are not more.
    owed: usize,
    /// Without doubt, a response ended and no other request was waiting.
    alone: bool,
    /// Latest time of what has ended.
    last_end: Option<Timestamp>,
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
        self.probation.iter().chain(&self.queue).chain(&self.orphan)
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.memory
            + self.orphan.iter().chain(&self.probation).map(Exchange::memory).sum::<usize>()
            + self.probation.capacity() * size_of::<Exchange>()
            + self.queue.capacity() * size_of::<Exchange>()
    }

    /// The exchange whose message of this direction is being read.
    #[inline]
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
    #[inline]
    fn waiting(&self) -> usize {
        let bound = self.queue.front().is_some_and(|e| e.parts[1] != Part::Missing);
        self.queue.len() - usize::from(bound)
    }

    /// A request begins; `idle` where no byte of a response is being read.
    #[inline]
    pub fn request(&mut self, exchange: Exchange, idle: bool, out: &mut Sink<'_>) {
        let packet = exchange.transaction.request.as_ref().map_or(0, |m| m.packet);
        if idle && self.reading.is_none() && self.doubt.is_some() {
            self.settle(self.is_quiet(exchange.start()), out);
        }
        self.owed += 1;
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
    /// is answered: that may confirm tentative pairs and end doubt, or leaves
    /// the new request as the only candidate.
    fn settle(&mut self, quiet: bool, out: &mut Sink<'_>) {
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
    fn set_aside(&mut self, out: &mut Sink<'_>) {
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
    fn unpair(&mut self, out: &mut Sink<'_>) {
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
    #[inline]
    pub fn request_ended(&mut self, packet: u64, out: &mut Sink<'_>) {
        self.last_packet = packet;
        if let Some(exchange) = self.queue.back_mut() {
            exchange.ends(Direction::ToServer);
            self.last_end = latest(self.last_end, exchange.latest[0]);
        }
        self.put_answered(out);
    }

    /// Puts the front out where its response has ended and it as well.
    #[inline]
    pub fn put_answered(&mut self, out: &mut Sink<'_>) {
        let over = |part| matches!(part, Part::Whole | Part::Cut);
        let done = |e: &Exchange| over(e.parts[0]) && over(e.parts[1]) && !e.tentative;
        if self.queue.front().is_some_and(done) {
            self.put_front(out);
        }
    }

    #[inline]
    fn put_front(&mut self, out: &mut Sink<'_>) {
        if let Some(exchange) = self.queue.pop_front() {
            self.memory = match self.queue.is_empty() {
                true => 0,
                false => self.memory.saturating_sub(exchange.memory()),
            };
            out.boxed(exchange.finish());
        }
    }

    /// An interim response, which belongs to the request of the next final one.
    pub fn interim(&mut self) {
        self.interim += 1;
    }

    /// Whether the next final response surely answers the request at the
    /// front, which has ended and whose method leaves its framing alone.
    #[inline]
    pub fn is_plain(&self) -> bool {
        let plain = |front: &Exchange| {
            front.parts == [Part::Whole, Part::Missing]
                && !front.hold
                && !front.tentative
                && front.method == Method::Other
                && front.call.is_none()
        };
        self.doubt.is_none() && self.probation.is_empty() && self.queue.front().is_some_and(plain)
    }

    /// Does at once what a response does that is here as a whole, where
    /// [`Pairing::is_plain`]; `read` puts it into its exchange.
    #[inline]
    pub fn answer(&mut self, read: impl FnOnce(&mut Exchange), out: &mut Sink<'_>) {
        let Some(exchange) = self.queue.front_mut() else { return };
        exchange.informational = std::mem::take(&mut self.interim);
        read(exchange);
        exchange.ends(Direction::ToClient);
        let end = exchange.latest[1];
        self.owed = self.owed.saturating_sub(1);
        self.ended(end);
        self.put_front(out);
    }

    /// A final response begins. `orphan` makes an exchange without request.
    #[inline]
    pub fn response(&mut self, protocol: &'static str, out: &mut Sink<'_>) -> &mut Exchange {
        self.refute(out);
        self.owed = self.owed.saturating_sub(1);
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

    #[inline]
    fn choose(&mut self, out: &mut Sink<'_>) -> Target {
        let waiting = self.waiting();
        if self.queue.front().is_some_and(|e| e.parts[1] != Part::Missing) {
            return Target::Orphan;
        }
        match self.doubt {
            None if waiting > 0 => Target::Front,
            None => Target::Orphan,
            Some(doubt) => self.choose_in_doubt(doubt, waiting, out),
        }
    }

    fn choose_in_doubt(&mut self, doubt: Doubt, waiting: usize, out: &mut Sink<'_>) -> Target {
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
    fn refute(&mut self, out: &mut Sink<'_>) {
        let answered = self.queue.front().is_some_and(|e| e.tentative);
        if answered {
            self.set_aside(out);
        }
        if self.queue.is_empty() && !self.probation.is_empty() {
            self.pipelined = true;
            self.unpair(out);
        }
    }

    /// Last byte of the response being read.
    #[inline]
    pub fn response_ended(&mut self, out: &mut Sink<'_>) {
        let end = self.current(Direction::ToClient).and_then(|exchange| {
            exchange.ends(Direction::ToClient);
            exchange.transaction.response.as_ref().and_then(|m| m.end)
        });
        if self.reading == Some(Target::Front) && self.doubt.is_none() {
            self.ended(end);
        } else {
            self.last_end = latest(self.last_end, end);
        }
        self.put_response(out);
    }

    /// The response to the request at the front ended at `end`, without doubt.
    #[inline]
    fn ended(&mut self, end: Option<Timestamp>) {
        self.last_end = latest(self.last_end, end);
        match self.queue.get(1) {
            None => self.alone = true,
            Some(next) => {
                self.pipelined |= next.start().zip(end).is_some_and(|(next, end)| next < end);
            }
        }
    }

    /// The end of the response being read will not be seen.
    pub fn response_cut(&mut self, end: Option<End>, out: &mut Sink<'_>) {
        if let Some(exchange) = self.current(Direction::ToClient) {
            exchange.cut(Direction::ToClient, end);
        }
        self.put_response(out);
    }

    #[inline]
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

    /// Whether the response being read may be one to a CONNECT not seen, and
    /// what follows it a tunnel.
    pub fn may_be_tunnel(&mut self) -> bool {
        self.current(Direction::ToClient)
            .and_then(|exchange| exchange.transaction.status())
            .is_some_and(|status| (200..300).contains(&status))
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
        // The answers that would refute them may be missing.
        if self.queue.front().is_some_and(|e| e.tentative) {
            self.set_aside(out);
        }
        self.unpair(out);
        if doubt == Doubt::Gap {
            self.queue.iter_mut().for_each(|exchange| exchange.holed = true);
        }
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
            if front.tentative {
                self.set_aside(out);
            } else {
                self.put_front(out);
            }
        }
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

impl Doubt {
    fn label(self, exchange: &mut Exchange) {
        match self {
            Self::Gap => exchange.gap = true,
            Self::Late => exchange.late = true,
        }
    }
}
