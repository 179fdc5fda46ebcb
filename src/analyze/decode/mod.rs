//! The decoder contract: what a protocol is given and what it may give back.
//!
//! A decoder sees reassembled chunks of one connection, never packets or
//! files. It cannot fail: trouble is an anomaly in its output. Adding a
//! protocol is one file that exports a [`Protocol`] and its line in
//! [`PROTOCOLS`].

pub mod detect;
pub mod grpc;
pub mod http1;
pub mod http2;
pub mod rest;
pub mod spare;
pub mod websocket;

use std::sync::Arc;

use crate::analyze::decode::rest::Rest;
use crate::analyze::decode::spare::Spares;
use crate::analyze::fields::Fields;
use crate::analyze::kept::{Budget, Kept};
use crate::analyze::limits::{Limits, SHARDS};
use crate::analyze::transaction::{Message, Pauses, Transaction};
use crate::time::Timestamp;

/// The protocols that are decoded, strictest probe first.
pub const PROTOCOLS: &[Protocol] = &[http2::PROTOCOL, http1::PROTOCOL];

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

impl Direction {
    /// The other way.
    pub const fn opposite(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// 0 to the server, 1 to the client.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Why bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// No packet held them.
    Lost,
    /// The capture's snap length cut them off.
    Snaplen,
    /// They were held for reordering and a limit gave them up.
    Limit,
}

/// Why a direction has no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN: the sender closed it in order.
    Fin,
    /// RST, sent by the endpoint named: `Direction` is the way that the RST went.
    Reset(Direction),
    /// A new connection took its addresses and ports over.
    Replaced,
    /// No packet for longer than the idle limit.
    Idle,
    /// A memory limit closed it.
    Limit,
    /// The capture ended.
    CaptureEnd,
}

/// What comes next in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Bytes in order; never empty.
    Data(&'a [u8]),
    /// That many bytes are missing here; never 0.
    Gap(u64, GapCause),
    /// Nothing follows in this direction. Comes exactly once for each.
    End(End),
}

/// One step of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Capture time of the packet that held the bytes. Not monotonic: a late
    /// retransmission comes before bytes that were captured earlier.
    pub at: Option<Timestamp>,
    /// Number of that packet in the capture, from 1.
    pub packet: u64,
    /// Sequence number of the first of the bytes, as on the wire. Of a gap and of an end
    /// it says nothing.
    pub seq: u32,
    /// What it is.
    pub content: Content<'a>,
}

/// Whether a connection was joined after its start, by direction
/// ([`Direction::index`]): bytes before the first chunk may have been missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Late(pub [bool; 2]);

impl Late {
    /// Whether this direction was joined late.
    pub fn is(self, direction: Direction) -> bool {
        self.0[direction.index()]
    }

    /// Whether any direction was joined late.
    pub fn any(self) -> bool {
        self.0[0] || self.0[1]
    }
}

/// Who sends bytes like these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A client: these are requests.
    Client,
    /// A server: these are responses.
    Server,
}

/// A probe's verdict on the first bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is this protocol, and the sender has this role.
    Match(Role),
    /// It cannot be.
    No,
    /// It may be; more bytes are needed to tell.
    More,
}

/// A protocol that perisco decodes.
pub struct Protocol {
    /// Its name in connection counts.
    pub name: &'static str,
    /// Looks at bytes that begin a direction (or, where `late`, a segment of
    /// a connection joined midway or resumed after a gap). Pure and cheap:
    /// unknown flows are probed segment by segment.
    pub probe: fn(bytes: &[u8], late: bool) -> Probe,
    /// A decoder for one connection.
    pub decoder: fn(late: Late) -> Box<dyn Decoder>,
}

/// Turns the chunks of one connection into transactions.
pub trait Decoder: Send {
    /// Takes the next chunk of one direction. Response bytes come after the
    /// request bytes that they acknowledge, where those were captured.
    fn push(&mut self, direction: Direction, chunk: Chunk<'_>, out: &mut Sink<'_>);

    /// Start of the oldest transaction that is still open; None where none is.
    fn oldest_open(&self) -> Option<Timestamp>;

    /// Bytes of memory held, roughly.
    fn memory(&self) -> usize;

    /// The decoder to go on with in its place, where it has nothing more to
    /// do than to hand on.
    fn successor(&mut self) -> Option<Box<dyn Decoder>> {
        None
    }

    /// Whether it passes over whatever else comes.
    fn is_done(&self) -> bool {
        false
    }

    /// What it comes to where nothing is open and that is little: one of the
    /// same kind that has seen nothing is then the same after
    /// [`Decoder::wake`]. None says that it has to be kept.
    fn rest(&self) -> Option<Rest> {
        None
    }

    /// Goes on as the one that came to this; only of such a kind.
    fn wake(&mut self, _rest: Rest) {}

    /// The kind that it is, where it can be used again for another connection.
    fn kind(&self) -> Option<&'static str> {
        None
    }

    /// Makes it as if it were new, for another connection; only of such a kind.
    fn renew(&mut self, _late: Late) {}
}

/// What the reports of this run need, so that nothing else is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wants {
    /// All header and trailer fields.
    pub headers: bool,
    /// Log events.
    pub log: bool,
    /// The verdict of a real HTTP/2 endpoint on intact connections.
    pub conformance: bool,
    /// Bodies of messages, as [`Limits::bodies`] says, and interim responses.
    pub bodies: bool,
    /// The longest pause within each message.
    pub pauses: bool,
}

/// One line of the event log.
#[derive(Clone, Debug)]
pub struct Event {
    /// Way of the bytes: REQUEST to the server, RESPONSE to the client.
    pub direction: Direction,
    /// Capture time of the bytes.
    pub at: Option<Timestamp>,
    /// The decoded line, without a line end; untrusted bytes already escaped.
    pub text: String,
}

/// A transaction on its way out of a decoder.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The transaction, in a box that is used again: it is large, and moved often.
    pub transaction: Box<Transaction>,
    /// Client and server are the other way round than the flow's.
    pub swapped: bool,
}

/// What decoders have put out and the flow layer has not yet taken.
#[derive(Debug, Default)]
pub struct Output {
    /// In the order in which they were finished.
    pub transactions: Vec<Finished>,
    /// Log events with their swap, in the order in which they happened.
    pub events: Vec<(Event, bool)>,
    /// Anomalies that belong to no transaction: name and how often.
    pub anomalies: Vec<(&'static str, u64)>,
    /// What a real endpoint would have refused: way of the bytes, packet
    /// number, what and why. Filled only with [`Wants::conformance`].
    pub findings: Vec<(Direction, u64, String)>,
    /// Decoders to use again.
    pub spares: Spares,
    /// What bodies may still take; None until one is kept.
    pub budget: Option<Arc<Budget>>,
    /// Emptied field lists to use again.
    pub pool: Vec<Fields>,
    /// Boxes to use again: it is the boxes that are kept, not what is in them.
    #[allow(clippy::vec_box)]
    boxes: Vec<Box<Transaction>>,
    /// What the connection speaks, once known.
    pub kind: Option<&'static str>,
    /// Nothing more will be decoded: reassembly may stop.
    pub opaque: bool,
    /// Directions are to be read the other way round, by what is in them.
    pub swapped: bool,
    /// Set once content has told whether client and server are the other way
    /// round than the flow took them.
    pub turned: Option<bool>,
}

/// Field lists kept for reuse; more than enough for the messages in flight
/// of a shard.
const POOL: usize = 256;
/// A pooled list larger than this is given back to the allocator.
const POOLED_BYTES: usize = 64 << 10;

impl Output {
    /// Takes a transaction's box back for reuse, with its field lists.
    #[inline]
    pub fn recycle(&mut self, mut transaction: Box<Transaction>) {
        if self.boxes.len() < POOL {
            let Transaction { request, response, .. } = &mut *transaction;
            for message in [request, response].into_iter().flatten() {
                if message.head.memory() + message.trailers.memory() > POOLED_BYTES {
                    *message = Message::default();
                }
                (message.body, message.pauses) = (None, None);
            }
            transaction.interim.clear();
            self.boxes.push(transaction);
        }
    }

    /// A used box, its field lists in the pool.
    #[inline]
    fn used_box(&mut self) -> Option<Box<Transaction>> {
        let mut used = self.boxes.pop()?;
        let Transaction { request, response, .. } = &mut *used;
        for message in [request, response].into_iter().flatten() {
            self.keep(&mut message.head);
            self.keep(&mut message.trailers);
        }
        Some(used)
    }

    /// Keeps a field list for reuse, where it has memory, but not much.
    #[inline]
    fn keep(&mut self, fields: &mut Fields) {
        if self.pool.len() < POOL && (1..=POOLED_BYTES).contains(&fields.memory()) {
            let mut fields = std::mem::take(fields);
            fields.clear();
            self.pool.push(fields);
        }
    }

    /// Counts an anomaly.
    pub fn count(&mut self, name: &'static str, times: u64) {
        match self.anomalies.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += times,
            None => self.anomalies.push((name, times)),
        }
    }
}

/// Where a decoder puts what it finds.
pub struct Sink<'a> {
    /// What reports need.
    pub wants: Wants,
    /// Bounds to keep.
    pub limits: &'a Limits,
    output: &'a mut Output,
}

impl<'a> Sink<'a> {
    /// A sink that fills `output`.
    pub fn new(wants: Wants, limits: &'a Limits, output: &'a mut Output) -> Self {
        Self { wants, limits, output }
    }

    /// An empty field list, reused where possible.
    #[inline]
    pub fn fields(&mut self) -> Fields {
        self.output.pool.pop().unwrap_or_default()
    }

    /// Room for the body of a message that begins in this packet (0 where that is
    /// not known), where it is to be kept.
    #[inline]
    pub fn body(&mut self, packet: u64) -> Option<Box<Kept>> {
        if self.wants.bodies { self.kept(packet) } else { None }
    }

    /// The pauses of a message whose head was captured by then, where they are
    /// asked for.
    #[inline]
    pub fn pauses(&self, head: Option<Timestamp>) -> Option<Box<Pauses>> {
        if self.wants.pauses { Some(Box::new(Pauses::since(head))) } else { None }
    }

    #[inline(never)]
    fn kept(&mut self, packet: u64) -> Option<Box<Kept>> {
        let bodies = &self.limits.bodies;
        bodies.takes(packet).then(|| {
            let new = || Arc::new(Budget::new(bodies.total / SHARDS));
            let budget = Arc::clone(self.output.budget.get_or_insert_with(new));
            Box::new(Kept::new(bodies.limit, Some(budget)))
        })
    }

    /// A transaction of which nothing is known yet, in a box that is reused
    /// where possible: for decoders that fill it in place.
    #[inline]
    pub fn blank(&mut self, protocol: &'static str) -> Box<Transaction> {
        match self.output.used_box() {
            Some(mut used) => {
                used.reset(protocol);
                used
            }
            None => Box::new(Transaction::new(protocol)),
        }
    }

    /// The same with a request, of which nothing is known either: its field
    /// list is where it was when the box was used before.
    #[inline]
    pub fn with_request(&mut self, protocol: &'static str) -> Box<Transaction> {
        let mut transaction = match self.output.boxes.pop() {
            Some(mut used) => {
                if self.wants.headers
                    && let Some(response) = &mut used.response
                {
                    self.output.keep(&mut response.head);
                    self.output.keep(&mut response.trailers);
                }
                used.reset_but_request(protocol);
                used
            }
            None => Box::new(Transaction::new(protocol)),
        };
        transaction.request.get_or_insert_default().clear();
        transaction
    }

    /// Puts a finished transaction out. Its anomalies are counted with it.
    pub fn transaction(&mut self, transaction: Transaction) {
        let transaction = match self.output.used_box() {
            Some(mut used) => {
                *used = transaction;
                used
            }
            None => Box::new(transaction),
        };
        self.boxed(transaction);
    }

    /// Puts a finished transaction out that was made in its box. Of one that
    /// has neither message only traces were seen: it is counted, not shown.
    #[inline]
    pub fn boxed(&mut self, transaction: Box<Transaction>) {
        if transaction.request.is_none() && transaction.response.is_none() {
            self.anomaly("message-not-seen");
            self.output.recycle(transaction);
            return;
        }
        let swapped = self.output.swapped;
        self.output.transactions.push(Finished { transaction, swapped });
    }

    /// Logs a line; `text` is called only where the log is wanted.
    pub fn event(
        &mut self,
        direction: Direction,
        at: Option<Timestamp>,
        text: impl FnOnce() -> String,
    ) {
        if self.wants.log {
            let swapped = self.output.swapped;
            self.output.events.push((Event { direction, at, text: text() }, swapped));
        }
    }

    /// A decoder of a protocol for one connection, a used one where possible.
    pub(crate) fn decoder(&mut self, protocol: &Protocol, late: Late) -> Box<dyn Decoder> {
        let used = self.output.spares.take(protocol.name, late);
        used.unwrap_or_else(|| (protocol.decoder)(late))
    }

    /// Counts an anomaly of the connection that belongs to no transaction.
    pub fn anomaly(&mut self, name: &'static str) {
        self.output.count(name, 1);
    }

    /// Reports what a real endpoint would have refused.
    pub fn finding(&mut self, direction: Direction, packet: u64, text: String) {
        self.output.findings.push((direction, packet, text));
    }

    /// Says what the connection speaks: a later call wins, so an upgrade
    /// from HTTP/1.1 shows as what it became.
    pub fn kind(&mut self, name: &'static str) {
        self.output.kind = Some(name);
    }

    /// Says that the rest of the connection needs no reassembly.
    pub fn opaque(&mut self) {
        self.output.opaque = true;
    }

    /// Says whether client and server are the other way round than the flow
    /// took them. Only the outermost detector knows.
    pub(crate) fn turned(&mut self, swapped: bool) {
        let before = self.output.swapped;
        self.output.turned.get_or_insert(before ^ swapped);
    }

    /// Runs `f` with client and server swapped relative to the caller.
    pub(crate) fn with_swap<R>(&mut self, swap: bool, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.output.swapped;
        self.output.swapped = before ^ swap;
        let result = f(self);
        self.output.swapped = before;
        result
    }
}
