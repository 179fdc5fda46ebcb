//! HTTP/2 in cleartext, seen from beside the wire (RFC 9113, RFC 7541).
//!
//! Bytes of each direction are cut into frames ([`framer`]), or frames are
//! searched for where bytes are missing ([`sync`]); what the frames mean is
//! [`connection`]'s. No endpoint's library can be used here: an endpoint
//! gives up where this goes on, with what is certain.

mod block;
mod conformance;
mod connection;
mod ending;
pub(crate) mod frame;
pub(crate) mod framer;
mod headers;
pub mod hpack;
mod log;
mod memo;
mod stream;
mod streams;
pub(crate) mod sync;
#[cfg(test)]
mod tests;

use crate::analyze::decode::{Chunk, Content, Decoder, Direction, Late, Protocol, Sink};
use crate::analyze::transaction::Message;
use crate::time::Timestamp;
use conformance::Endpoint;
use connection::Connection;
use frame::{Expected, PREFACE};
use framer::{Framer, Seen, Step};
pub use stream::Loss;
use sync::Sync;

/// HTTP/2 in cleartext.
pub const PROTOCOL: Protocol = Protocol { name: "http/2", probe: sync::probe, decoder };

fn decoder(late: Late) -> Box<dyn Decoder> {
    Box::new(Http2::new(late))
}

/// A decoder for a connection that HTTP/1.1 upgraded to h2c (RFC 7540
/// section 3.2): `request` becomes stream 1, half-closed by the client, and
/// `loss` is what keeps it from being whole or certain. `settings` is the
/// value of HTTP2-Settings (base64url). Those bound what the server may send,
/// which is followed as it is sent, so that only their effect on the search
/// for lost frames is left: none where nothing is lost.
pub fn upgraded(
    request: Message,
    _settings: Option<&[u8]>,
    loss: Option<Loss>,
) -> Box<dyn Decoder> {
    let mut decoder = Http2::new(Late::default());
    decoder.connection.upgraded(request, loss);
    Box::new(decoder)
}

/// One direction's way from chunks to frames.
struct Half {
    framer: Framer,
    /// Set while frame boundaries are unknown.
    search: Option<Sync>,
    /// Whether no byte has come yet.
    fresh: bool,
    endpoint: Option<Endpoint>,
}

struct Http2 {
    halves: [Half; 2],
    connection: Connection,
    begun: bool,
}

impl Http2 {
    fn new(late: Late) -> Self {
        let half = |direction: Direction| Half {
            framer: Framer::new(direction == Direction::ToServer && !late.is(direction)),
            search: late.is(direction).then(Sync::default),
            fresh: true,
            endpoint: None,
        };
        Self {
            halves: [half(Direction::ToServer), half(Direction::ToClient)],
            connection: Connection::new(late.0),
            begun: false,
        }
    }

    fn parts(&mut self, direction: Direction) -> (&mut Half, &mut Connection) {
        let [to_server, to_client] = &mut self.halves;
        let half = match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        };
        (half, &mut self.connection)
    }

    fn data(&mut self, direction: Direction, bytes: &[u8], seen: Seen, out: &mut Sink<'_>) {
        let (half, connection) = self.parts(direction);
        connection.spoke(direction);
        half.framer.bound(out.limits.head_bytes);
        if std::mem::take(&mut half.fresh) {
            if direction == Direction::ToServer && bytes.starts_with(PREFACE) {
                // Joined at the start after all.
                half.search = None;
                half.framer = Framer::new(true);
                half.framer.bound(out.limits.head_bytes);
                connection.search(direction, false);
                connection.not_late(direction);
                connection.spoke(direction);
            }
            if out.wants.conformance && half.search.is_none() {
                half.endpoint = Some(Endpoint::new(direction));
            }
        }
        if let Some(endpoint) = &mut half.endpoint {
            endpoint.feed(bytes, seen.packet, out);
        }
        let Some(search) = &mut half.search else {
            return self.frames(direction, bytes, seen, out);
        };
        let is_open = |id| connection.is_open(id);
        let max_frame = connection.max_frame(direction);
        let client = Some(direction == Direction::ToServer);
        let found = search.feed(bytes, seen, Expected { max_frame, client, is_open: &is_open });
        if direction == Direction::ToServer {
            connection.held_requests = found.is_empty();
        }
        if !found.is_empty() {
            half.search = None;
            half.framer.restart();
            connection.search(direction, false);
        }
        let mut resume = false;
        for piece in found {
            let (half, _) = self.parts(direction);
            if half.search.is_none() {
                self.frames(direction, &piece.bytes, piece.seen, out);
                resume = true;
            }
        }
        if resume && direction == Direction::ToServer {
            self.connection.settle_all(out);
        }
    }

    fn frames(&mut self, direction: Direction, bytes: &[u8], seen: Seen, out: &mut Sink<'_>) {
        let (half, connection) = self.parts(direction);
        let mut rest = bytes;
        loop {
            if let Some((head, payload)) = half.framer.whole(&mut rest, seen) {
                connection.whole(direction, &head, payload, seen, out);
                continue;
            }
            let Some(step) = half.framer.next(&mut rest, seen) else { return };
            if let Step::Implausible = step {
                // The boundary that was found is none. What is left of this
                // packet is given up with what was lost before.
                half.search = Some(Sync::default());
                connection.search(direction, true);
                connection.lost(direction, out);
                return;
            }
            connection.step(direction, step, out);
        }
    }

    fn gap(&mut self, direction: Direction, missing: u64, out: &mut Sink<'_>) {
        let (half, connection) = self.parts(direction);
        half.fresh = false;
        if let Some(endpoint) = &mut half.endpoint {
            endpoint.stop();
        }
        if let Some(search) = &mut half.search {
            search.reset();
            if direction == Direction::ToServer {
                connection.held_requests = false;
            }
            return connection.lost(direction, out);
        }
        match half.framer.gap(missing) {
            Some(step) => {
                if let Some(step) = step {
                    connection.step(direction, step, out);
                }
                self.frames(direction, &[], Seen::default(), out);
            }
            None => {
                // What is there of the frame at hand is still true.
                if let Some(step) = half.framer.abandon() {
                    connection.step(direction, step, out);
                }
                half.search = Some(Sync::default());
                connection.search(direction, true);
                connection.lost(direction, out);
            }
        }
    }
}

impl Decoder for Http2 {
    fn push(&mut self, direction: Direction, chunk: Chunk<'_>, out: &mut Sink<'_>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.kind(PROTOCOL.name);
        }
        match chunk.content {
            Content::Data(bytes) => {
                self.data(direction, bytes, Seen::at(chunk.at, chunk.packet), out);
            }
            Content::Gap(missing, _) => self.gap(direction, missing, out),
            Content::End(end) => {
                let (half, connection) = self.parts(direction);
                if direction == Direction::ToServer {
                    connection.held_requests = false;
                }
                if let Some(search) = &mut half.search {
                    search.reset();
                }
                connection.end(direction, end, half.framer.abandon(), out);
            }
        }
    }

    fn oldest_open(&self) -> Option<Timestamp> {
        let halves = self.halves.iter().filter_map(|half| match &half.search {
            Some(search) => search.began(),
            None => half.framer.began(),
        });
        halves.chain(self.connection.oldest_open()).min()
    }

    fn memory(&self) -> usize {
        let halves = self
            .halves
            .iter()
            .map(|half| half.framer.memory() + half.search.as_ref().map_or(0, Sync::memory));
        size_of::<Self>() + halves.sum::<usize>() + self.connection.memory()
    }
}
