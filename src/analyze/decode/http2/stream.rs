//! One stream: its two messages and how they become a transaction.

use crate::analyze::decode::grpc::Call;
use crate::analyze::decode::http2::block::{self, Decoded};
use crate::analyze::decode::http2::frame::error_name;
use crate::analyze::decode::http2::framer::Seen;
use crate::analyze::decode::{Direction, End};
use crate::analyze::transaction::{Completeness, Message, Outcome, Transaction, Value};
use crate::time::{Timestamp, latest};

/// Why bytes of a direction are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// They came before the capture.
    Late,
    /// They were lost within it.
    Gap,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub struct Side {
    /// What was seen of the message.
    pub message: Option<Message>,
    /// Latest capture time of its bytes.
    pub last: Option<Timestamp>,
    /// Whether its head was seen.
    pub head: bool,
    /// Whether END_STREAM was seen.
    pub ended: bool,
    /// Set where bytes of it are missing, or may be.
    pub loss: Option<Loss>,
    /// Whether END_STREAM may have been among them.
    pub may_have_ended: bool,
    /// Set where fields are unknown or missing.
    pub unknown: Option<Loss>,
}

impl Side {
    /// Counts bytes of a frame in.
    pub fn seen(&mut self, seen: Seen) {
        self.last = latest(self.last, seen.last);
        if self.head
            && let Some(message) = &mut self.message
        {
            self.last = message.seen(seen.first, self.last);
            if let Some(pauses) = &mut message.pauses {
                pauses.until(seen.last);
            }
        }
    }

    /// END_STREAM.
    pub fn end(&mut self) {
        self.ended = true;
        self.may_have_ended = false;
        if let Some(message) = &mut self.message {
            message.end = self.last;
        }
    }

    /// Bytes of it may be missing from here on; after its end, RST_STREAM.
    pub fn lost(&mut self) {
        if !self.ended
            && let Some(message) = &mut self.message
        {
            message.body.iter_mut().for_each(|body| body.gap(None));
            message.pauses.iter_mut().for_each(|pauses| pauses.gap());
        }
        self.loss = Some(Loss::Gap);
        self.may_have_ended = !self.ended;
    }
}

/// What a header block is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The head of a message.
    Head,
    /// Its trailers.
    Trailers,
    /// One of both; which cannot be known.
    Unknown,
}

/// An early end of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Reset {
    /// The way that it went.
    pub by: Direction,
    /// Error code, where it was captured.
    pub code: Option<u32>,
    /// When.
    pub at: Option<Timestamp>,
}

/// Why a stream is given out.
#[derive(Clone, Copy, Debug)]
pub enum Why {
    /// Nothing more is to come.
    Settled,
    /// RST_STREAM.
    Reset(Reset),
    /// GOAWAY excludes it.
    GoAway(Reset),
    /// The connection ended: how, by direction, and the last GOAWAY.
    End([Option<End>; 2], Option<Reset>),
    /// A limit of this name.
    Limit(&'static str),
}

/// A stream that is open, or not yet given out.
#[derive(Debug)]
pub struct Stream {
    /// Its id.
    pub id: u32,
    /// Request and response, by [`Direction::index`].
    pub sides: [Side; 2],
    /// The gRPC call that it carries.
    pub call: Option<Call>,
    /// Whether the server made the request up.
    pub pushed: bool,
    /// Interim responses (1xx).
    pub informational: u64,
    /// Their heads, where they are kept.
    pub interim: Vec<Message>,
    /// What was odd.
    pub anomalies: Vec<&'static str>,
    /// Bytes that are counted for it.
    pub charged: usize,
}

impl Stream {
    /// A stream of which nothing was seen yet.
    pub fn new(id: u32) -> Self {
        Self {
            id,
            sides: [Side::default(), Side::default()],
            call: None,
            pushed: false,
            informational: 0,
            interim: Vec::new(),
            anomalies: Vec::new(),
            charged: 0,
        }
    }

    /// One direction.
    pub fn side(&mut self, direction: Direction) -> &mut Side {
        let [request, response] = &mut self.sides;
        match direction {
            Direction::ToServer => request,
            Direction::ToClient => response,
        }
    }

    /// Notes something odd, once.
    pub fn anomaly(&mut self, name: &'static str) {
        if !self.anomalies.contains(&name) {
            self.anomalies.push(name);
        }
    }

    /// Earliest time of it.
    pub fn start(&self) -> Option<Timestamp> {
        self.sides.iter().filter_map(|side| side.message.as_ref()?.start).min()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        let messages = self.sides.iter().filter_map(|side| side.message.as_ref());
        let call = self.call.as_ref().map_or(0, Call::memory);
        size_of::<Self>() + messages.map(Message::memory).sum::<usize>() + call
    }

    /// Whether request and response are whole, or as whole as they will be:
    /// `waiting` for requests whose bytes are still held back.
    pub fn is_settled(&self, waiting: bool) -> bool {
        let [request, response] = &self.sides;
        let unseen = request.message.is_none() && !waiting;
        response.ended && (request.ended || request.may_have_ended || unseen)
    }

    /// Fills in the transaction, of which nothing is known yet, with what is
    /// taken from the stream. `silent` names the directions of which no byte
    /// was captured, by [`Direction::index`].
    pub fn finish(&mut self, t: &mut Transaction, why: Why, silent: [bool; 2]) {
        t.stream = Some(self.id);
        t.outcome = self.outcome(why, silent);
        t.completeness = self.completeness(why, silent);
        t.anomalies.extend_from_slice(&self.anomalies);
        self.attributes(why, t);
        if let Why::Limit(name) = why {
            t.anomaly(name);
        }
        let reset = match why {
            Why::Reset(reset) => Some(reset),
            _ => None,
        };
        let [request, response] = &mut self.sides;
        if !self.interim.is_empty() {
            t.interim.append(&mut self.interim);
        }
        t.request = request.message.take();
        t.response = response.message.take();
        if !response.ended && response.head {
            // A head without a status and nothing behind it may be interim.
            t.response.take_if(|m| m.status.is_none() && m.body_bytes == 0);
        }
        if request.unknown.is_none()
            && let Some(request) = &mut t.request
        {
            block::host(request);
        }
        if let Some(call) = self.call.take() {
            let seen_all = self.is_all(why, t.completeness, silent);
            let ended = [self.sides[0].ended, self.sides[1].ended];
            call.finish_stream(t, ended, seen_all, reset.map(|r| (r.by, r.code, r.at)));
        }
    }

    /// Whether all was seen that was sent, if less than was meant to be.
    fn is_all(&self, why: Why, completeness: Completeness, silent: [bool; 2]) -> bool {
        let [request, response] = &self.sides;
        let lost = [request, response].iter().any(|s| s.loss.is_some() || s.unknown.is_some());
        let reset = matches!(why, Why::Reset(_) | Why::GoAway(_));
        let heard = request.head && !silent[1];
        completeness == Completeness::Complete || (reset && heard && !lost)
    }

    fn outcome(&self, why: Why, silent: [bool; 2]) -> Outcome {
        let [request, response] = &self.sides;
        if response.ended {
            let status = response.message.as_ref().and_then(|m| m.status);
            return match status {
                Some(200) if self.may_be_call() => Outcome::Unknown,
                Some(status) => Outcome::of_status(status),
                None => Outcome::Unknown,
            };
        }
        let (ends, goaway) = match why {
            // It was not processed (RFC 9113 section 6.8).
            Why::GoAway(goaway) if goaway.by == Direction::ToClient => return Outcome::Reset,
            // The answer may have been sent before.
            _ if response.may_have_ended || silent[1] => return Outcome::Unknown,
            Why::Reset(_) | Why::GoAway(_) => return Outcome::Reset,
            Why::End(ends, goaway) => (ends, goaway),
            Why::Settled | Why::Limit(_) => return Outcome::Unknown,
        };
        if ends.iter().any(|end| matches!(end, Some(End::Reset(_)))) {
            return Outcome::Reset;
        }
        match ends[1] {
            Some(End::Fin) if response.message.is_some() => Outcome::Reset,
            // Its end, or all of it, may have been missed.
            Some(End::Fin) if request.may_have_ended || silent[0] => Outcome::Unknown,
            Some(End::Fin) if !request.ended => Outcome::Reset,
            Some(End::Fin) if goaway.is_some_and(|g| g.by == Direction::ToClient) => Outcome::Reset,
            Some(End::Fin) => Outcome::Unanswered,
            _ => Outcome::Unknown,
        }
    }

    /// Whether unknown fields may hide that it is a gRPC call, and its status.
    fn may_be_call(&self) -> bool {
        let [request, response] = &self.sides;
        let typed = |side: &Side| {
            side.message.as_ref().is_some_and(|m| m.head.value("content-type").is_some())
        };
        self.call.is_none() && response.unknown.is_some() && !typed(request) && !typed(response)
    }

    fn completeness(&self, why: Why, silent: [bool; 2]) -> Completeness {
        let [request, response] = &self.sides;
        let losses = [request.loss, request.unknown, response.loss, response.unknown];
        // A request alone, because no answer was sent.
        let refused = match why {
            Why::Reset(_) | Why::GoAway(_) => true,
            Why::End([_, end], _) => matches!(end, Some(End::Fin | End::Reset(_))),
            Why::Settled | Why::Limit(_) => false,
        };
        let alone = request.ended && response.message.is_none() && refused;
        let unheard = response.message.is_none() && silent[1];
        // Bytes of a body alone: no sender leaves the head out, so it was not seen.
        let headless = |side: &Side| side.message.is_some() && !side.head;
        if unheard && request.loss.is_none() && request.unknown.is_none() && request.head {
            Completeness::Unpaired
        } else if losses.contains(&Some(Loss::Late)) {
            Completeness::LateJoin
        } else if losses.contains(&Some(Loss::Gap)) || headless(request) || headless(response) {
            Completeness::Gap
        } else if matches!(why, Why::Limit(_)) {
            Completeness::Truncated
        } else if request.message.is_none() || alone {
            Completeness::Unpaired
        } else if self.anomalies.contains(&LIMIT_HEAD) || !(request.ended && response.ended) {
            Completeness::Truncated
        } else {
            Completeness::Complete
        }
    }

    fn attributes(&self, why: Why, t: &mut Transaction) {
        let mut put = |name, value| t.attributes.push((name, value));
        let code = |reset: Reset| reset.code.map(error_name);
        match why {
            Why::Reset(reset) => {
                if let Some(code) = code(reset) {
                    put("http2.reset.code", Value::Text(code));
                }
                put("http2.reset.by", Value::Text(sender(reset.by).to_owned()));
            }
            Why::GoAway(goaway) | Why::End(_, Some(goaway)) if !self.sides[1].ended => {
                if let Some(code) = code(goaway) {
                    put("http2.goaway.code", Value::Text(code));
                }
                put("http2.goaway.by", Value::Text(sender(goaway.by).to_owned()));
            }
            _ => {}
        }
        if let Why::End(ends, _) = why
            && !(self.sides[0].ended && self.sides[1].ended)
            && let Some((how, by)) = closed(ends)
        {
            put("connection.end", Value::Text(how.to_owned()));
            put("connection.end.by", Value::Text(sender(by).to_owned()));
        }
        if self.pushed {
            put("http2.pushed", Value::Number(1));
        }
        if self.informational > 0 {
            put("http.informational", Value::Number(self.informational));
        }
    }
}

/// Anomaly of a header block larger than the limit.
pub const LIMIT_HEAD: &str = "limit-head-bytes";

/// Who sends that way.
pub const fn sender(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "client",
        Direction::ToClient => "server",
    }
}

/// How the connection was closed, and by whom, where TCP tells.
fn closed(ends: [Option<End>; 2]) -> Option<(&'static str, Direction)> {
    let reset = ends.iter().find_map(|end| match end {
        Some(End::Reset(by)) => Some(("reset", *by)),
        _ => None,
    });
    reset.or(match ends {
        [_, Some(End::Fin)] => Some(("fin", Direction::ToClient)),
        [Some(End::Fin), _] => Some(("fin", Direction::ToServer)),
        _ => None,
    })
}

impl Stream {
    /// Whether a header block is a head or trailers; `lossy` where what came
    /// before it may have been lost.
    pub fn place(
        &self,
        direction: Direction,
        end_stream: bool,
        lossy: bool,
        decoded: &Decoded,
    ) -> Place {
        let response = direction == Direction::ToClient;
        let [request, _] = &self.sides;
        let Some(side) = self.sides.get(direction.index()) else { return Place::Unknown };
        let status = |m: &Message| m.status.is_some();
        if side.head {
            // An interim response whose status is not known comes before.
            let final_head = response
                && decoded.message.status.is_some()
                && !side.message.as_ref().is_some_and(status);
            return if final_head { Place::Head } else { Place::Trailers };
        }
        // Nothing of this direction was missed since the request.
        let followed = response && request.head && side.loss.is_none();
        if decoded.pseudo || !end_stream || !lossy || followed {
            Place::Head
        } else if side.message.is_some() || decoded.regular {
            Place::Trailers
        } else {
            Place::Unknown
        }
    }

    /// The head of a message: what came before it in this direction was not
    /// of the message, so that nothing of its body was lost.
    pub fn head(&mut self, direction: Direction, seen: Seen, decoded: &mut Decoded) {
        let before = self.side(direction).message.take();
        let (head, call) = (std::mem::take(&mut decoded.message), decoded.call);
        let side = self.side(direction);
        side.message = Some(Message { packet: seen.packet, ..head });
        side.head = true;
        side.may_have_ended = false;
        let begun = before.is_some_and(|m| m.body_bytes > 0);
        // Before a response there may have been interim ones.
        if !begun && direction == Direction::ToServer {
            side.loss = None;
        }
        side.seen(seen);
        if !begun && let Some(call) = &mut self.call {
            call.begin(direction);
        }
        if self.call.is_none()
            && let Some(mut call) = call.map(Call::new)
        {
            if begun {
                call.lost(direction);
            }
            if direction == Direction::ToClient
                && self.sides[0].message.as_ref().is_none_or(|m| m.body_bytes > 0)
            {
                // Request bytes went by before the call was known to be one.
                call.lost(Direction::ToServer);
            }
            self.call = Some(call);
        }
    }

    /// A call of which only the trailers tell.
    pub fn detect_trailers(&mut self, direction: Direction) {
        if self.call.is_none()
            && direction == Direction::ToClient
            && let Some(message) = &self.sides[1].message
            && message.head.is_empty()
            && let Some(mut call) = Call::detect(message)
        {
            call.lost(Direction::ToServer);
            call.lost(Direction::ToClient);
            self.call = Some(call);
        }
    }
}
