//! Finds out what a connection speaks, then hands it to that decoder.
//!
//! The first bytes of each direction are shown to the probes of
//! [`PROTOCOLS`]. A connection that is something known and uninteresting
//! (TLS, a database) is named and dropped; one that is unknown is probed
//! again at each chunk, since a proxy handshake may come before HTTP.

use crate::analyze::decode::rest::Rest;
use crate::analyze::decode::spare;
use crate::analyze::decode::{
    Chunk, Content, Decoder, Direction, Late, PROTOCOLS, Probe, Protocol, Role, Sink,
};
use crate::time::Timestamp;

/// Bytes of one direction that a probe may ask for before the answer is no:
/// twice the longest preface (HTTP/2's 24 bytes) and a method with its space.
const PROBE_BYTES: usize = 512;

/// A chunk kept while undecided: its bytes are `from..to` of the buffer of
/// its direction.
#[derive(Debug)]
struct Held {
    direction: Direction,
    at: Option<Timestamp>,
    packet: u64,
    seq: u32,
    bytes: Vec<u8>,
}

/// Decides on a protocol by content and becomes its decoder.
pub struct Detector {
    late: Late,
    held: Vec<Held>,
    ended: [Option<(Option<Timestamp>, u64, crate::analyze::decode::End)>; 2],
    state: State,
}

enum State {
    Undecided,
    Decided { decoder: Box<dyn Decoder>, swapped: bool },
    Opaque,
}

impl Detector {
    /// For a connection of which nothing is known but whether it was joined late.
    pub fn new(late: Late) -> Self {
        Self { late, held: Vec::new(), ended: [None; 2], state: State::Undecided }
    }

    /// The same, as flows take it.
    pub fn boxed(late: Late) -> Box<dyn Decoder> {
        Box::new(Self::new(late))
    }

    #[inline(never)]
    fn undecided(&mut self, direction: Direction, chunk: Chunk<'_>, out: &mut Sink<'_>) {
        match chunk.content {
            Content::Data(data) => self.data(direction, chunk, data, out),
            Content::Gap(..) => {
                self.held.retain(|held| held.direction != direction);
                self.late.0[direction.index()] = true;
            }
            Content::End(end) => {
                self.ended[direction.index()] = Some((chunk.at, chunk.packet, end));
                self.held.retain(|held| held.direction != direction);
            }
        }
    }

    fn data(&mut self, direction: Direction, chunk: Chunk<'_>, data: &[u8], out: &mut Sink<'_>) {
        let waiting: usize =
            self.held.iter().filter(|h| h.direction == direction).map(|h| h.bytes.len()).sum();
        let (verdict, enough) = if waiting == 0 {
            (probe_all(data, self.late.is(direction)), data.len() >= PROBE_BYTES)
        } else {
            let mut bytes = Vec::with_capacity(waiting + data.len());
            for held in self.held.iter().filter(|h| h.direction == direction) {
                bytes.extend_from_slice(&held.bytes);
            }
            bytes.extend_from_slice(data);
            (probe_all(&bytes, self.late.is(direction)), bytes.len() >= PROBE_BYTES)
        };
        match verdict {
            Verdict::Match(protocol, role) => {
                self.decide(protocol, role, direction, out);
                self.push(direction, chunk, out);
            }
            Verdict::Kind(kind) => {
                out.kind(kind);
                out.opaque();
                self.held = Vec::new();
                self.state = State::Opaque;
            }
            Verdict::More if !enough => {
                let Chunk { at, packet, seq, .. } = chunk;
                self.held.push(Held { direction, at, packet, seq, bytes: data.to_vec() });
            }
            Verdict::More | Verdict::No => {
                self.held.retain(|held| held.direction != direction);
            }
        }
    }

    fn decide(
        &mut self,
        protocol: &Protocol,
        role: Role,
        direction: Direction,
        out: &mut Sink<'_>,
    ) {
        let swapped = (role == Role::Client) != (direction == Direction::ToServer);
        let mut late = self.late;
        if swapped {
            late.0.swap(0, 1);
        }
        out.kind(protocol.name);
        out.turned(swapped);
        self.state = State::Decided { decoder: out.decoder(protocol, late), swapped };
        for held in std::mem::take(&mut self.held) {
            let Held { direction, at, packet, seq, ref bytes } = held;
            self.push(direction, Chunk { at, packet, seq, content: Content::Data(bytes) }, out);
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            if let Some((at, packet, end)) = self.ended[direction.index()] {
                self.push(direction, Chunk { at, packet, seq: 0, content: Content::End(end) }, out);
            }
        }
    }
}

impl Decoder for Detector {
    fn push(&mut self, direction: Direction, chunk: Chunk<'_>, out: &mut Sink<'_>) {
        match &mut self.state {
            State::Decided { decoder, swapped: false } => decoder.push(direction, chunk, out),
            State::Decided { decoder, swapped: true } => swapped(decoder, direction, chunk, out),
            State::Undecided => self.undecided(direction, chunk, out),
            State::Opaque => {}
        }
    }

    fn oldest_open(&self) -> Option<Timestamp> {
        match &self.state {
            State::Decided { decoder, .. } => decoder.oldest_open(),
            _ => self.held.iter().filter_map(|held| held.at).min(),
        }
    }

    fn memory(&self) -> usize {
        let held: usize = self.held.iter().map(|h| h.bytes.len() + size_of::<Held>()).sum();
        match &self.state {
            State::Decided { decoder, .. } => decoder.memory() + held,
            _ => held,
        }
    }

    fn successor(&mut self) -> Option<Box<dyn Decoder>> {
        match std::mem::replace(&mut self.state, State::Opaque) {
            State::Decided { decoder, swapped: false } => Some(decoder),
            state => {
                self.state = state;
                None
            }
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Opaque)
    }

    fn rest(&self) -> Option<Rest> {
        let new = matches!(self.state, State::Undecided) && self.held.is_empty();
        let bits = u8::from(self.late.0[0]) | u8::from(self.late.0[1]) << 1;
        (new && self.ended == [None; 2]).then_some(Rest { bits, at: None })
    }

    fn wake(&mut self, rest: Rest) {
        self.late = Late([rest.bits & 1 != 0, rest.bits & 2 != 0]);
    }

    fn kind(&self) -> Option<&'static str> {
        Some(spare::FIRST)
    }

    fn renew(&mut self, late: Late) {
        *self = Self::new(late);
    }
}

/// Gives a chunk to a decoder for which the directions are turned.
#[inline(never)]
fn swapped(
    decoder: &mut Box<dyn Decoder>,
    direction: Direction,
    chunk: Chunk<'_>,
    out: &mut Sink<'_>,
) {
    let chunk = Chunk { content: turn_around(chunk.content), ..chunk };
    out.with_swap(true, |out| decoder.push(direction.opposite(), chunk, out));
}

/// A reset names the way it went, which turns with the directions.
fn turn_around(content: Content<'_>) -> Content<'_> {
    use crate::analyze::decode::End;
    match content {
        Content::End(End::Reset(direction)) => Content::End(End::Reset(direction.opposite())),
        other => other,
    }
}

enum Verdict {
    Match(&'static Protocol, Role),
    Kind(&'static str),
    No,
    More,
}

fn probe_all(bytes: &[u8], late: bool) -> Verdict {
    let mut more = false;
    for protocol in PROTOCOLS {
        match (protocol.probe)(bytes, late) {
            Probe::Match(role) => return Verdict::Match(protocol, role),
            Probe::More => more = true,
            Probe::No => {}
        }
    }
    match identify(bytes) {
        Some(kind) if !more => Verdict::Kind(kind),
        _ if more => Verdict::More,
        _ => Verdict::No,
    }
}

/// A signature: what the first bytes of a direction look like.
struct Signature {
    kind: &'static str,
    matches: fn(&[u8]) -> bool,
}

/// Protocols that are counted and not decoded. Each test is strict enough to
/// not take a proxy handshake or an HTTP message for it.
const SIGNATURES: &[Signature] = &[
    // RFC 8446 section 5.1: handshake record, version 3.x, length at most 2^14 + 256.
    Signature { kind: "tls", matches: |b| matches!(b, [0x16, 3, 0..=4, hi, ..] if *hi <= 0x41) },
    Signature { kind: "ssh", matches: |b| b.starts_with(b"SSH-") },
    // Handshake V10: 3-byte length, sequence number 0, protocol version 10, a digit.
    Signature { kind: "mysql", matches: |b| matches!(b, [_, 0, 0, 0, 0x0a, b'0'..=b'9', ..]) },
    // StartupMessage 3.0 or SSLRequest, after a 4-byte length.
    Signature {
        kind: "postgresql",
        matches: |b| {
            matches!(b, [0, 0, _, _, 0, 3, 0, 0, ..] | [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f, ..])
        },
    },
    Signature {
        kind: "redis",
        matches: |b| matches!(b, [b'*', b'1'..=b'9', b'\r', b'\n', b'$', b'0'..=b'9', ..]),
    },
    // OP_MSG (2013) or OP_QUERY (2004) at offset 12 of the header.
    Signature {
        kind: "mongodb",
        matches: |b| matches!(b.get(12..16), Some([0xdd, 7, 0, 0] | [0xd4, 7, 0, 0])),
    },
    Signature { kind: "amqp", matches: |b| b.starts_with(b"AMQP") },
    Signature {
        kind: "smb",
        matches: |b| matches!(b.get(4..8), Some([0xfe | 0xff, b'S', b'M', b'B'])),
    },
];

/// Names of protocols that are counted and not decoded.
pub fn counted() -> impl Iterator<Item = &'static str> {
    SIGNATURES.iter().map(|signature| signature.kind)
}

fn identify(bytes: &[u8]) -> Option<&'static str> {
    SIGNATURES.iter().find(|s| (s.matches)(bytes)).map(|s| s.kind)
}
