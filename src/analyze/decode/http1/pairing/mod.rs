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
//!   request ([`doubt::PAUSE_NANOS`]), a client that closes and a server that follows,
//!   a client seen to wait before the hole, or [`doubt::PROBATION`] exchanges in turn.
//!   What neither confirms nor refutes goes out unpaired.
//! - A request that begins while no response is being read, after at least
//!   one was read since the hole, is the only candidate for the next one, on
//!   a connection whose client was never seen to send a request before it
//!   had the answer to the last: all that went before it is answered.

mod doubt;

use std::collections::VecDeque;

use super::exchange::{Exchange, Method, Part};
use crate::analyze::decode::rest::Rest;
use crate::analyze::decode::{Direction, End, Sink};
use crate::analyze::transaction::{INTERIM, Message};
use crate::time::{Timestamp, latest};

pub use doubt::Doubt;

/// Where the response being read belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the request at the front of the queue.
    Front,
    /// To none.
    Orphan,
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
    /// Their heads, where they are kept.
    interim_heads: Vec<Message>,
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

    /// Keeps the head of one.
    pub fn keep_interim(&mut self, head: Message) {
        if self.interim_heads.len() < INTERIM {
            self.interim_heads.push(head);
        }
    }

    /// Whether nothing is open, awaited or in doubt.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.doubt.is_none()
            && self.reading.is_none()
            && self.orphan.is_none()
            && self.probation.is_empty()
            && self.interim == 0
    }

    /// What it comes to where nothing is open, awaited, in doubt or owed. The
    /// packet of the last request is only asked for while it waits.
    pub fn rest(&self) -> Option<Rest> {
        let settled = !self.hidden && (self.sure, self.answered) == (0, 0);
        let even = (self.orphans, self.owed, self.memory) == (0, 0, 0);
        let bits = u8::from(self.alone) | u8::from(self.pipelined) << 1;
        (self.is_idle() && settled && even).then_some(Rest { bits, at: self.last_end })
    }

    /// Goes on from there, where it is new.
    pub fn wake(&mut self, rest: Rest) {
        (self.alone, self.pipelined) = (rest.bits & 1 != 0, rest.bits & 2 != 0);
        self.last_end = rest.at;
    }

    /// Where nothing is open, awaited or in doubt, a request ended in packet
    /// `packet` at `request`, and its response at `response`; both are put out.
    #[inline]
    pub fn answered_alone(
        &mut self,
        packet: u64,
        request: Option<Timestamp>,
        response: Option<Timestamp>,
    ) {
        self.last_packet = packet;
        self.orphans = 0;
        self.last_end = latest(latest(self.last_end, request), response);
        self.alone = true;
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
        if exchange.informational > 0 {
            exchange.transaction.interim.append(&mut self.interim_heads);
        }
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
