//! WebSocket frames (RFC 6455), counted by type and size.
//!
//! Begins behind the 101 response that `http1` saw. Payloads are passed over
//! (and unmasked only where a close code is wanted), so a compressed or
//! masked message costs nothing.

use crate::analyze::decode::{Direction, Sink};
use crate::analyze::transaction::{Transaction, Value};
use crate::time::Timestamp;

/// Longest frame header: 2 bytes, 8 of length, 4 of mask (section 5.2).
const HEADER_BYTES: usize = 14;

/// Frame types counted: data, then control.
const KINDS: [&str; 6] = ["continuation", "text", "binary", "close", "ping", "pong"];

/// Attribute names by direction and type: frames, payload bytes.
const NAMES: [[(&str, &str); 6]; 2] = [
    [
        ("websocket.client.continuation.frames", "websocket.client.continuation.bytes"),
        ("websocket.client.text.frames", "websocket.client.text.bytes"),
        ("websocket.client.binary.frames", "websocket.client.binary.bytes"),
        ("websocket.client.close.frames", "websocket.client.close.bytes"),
        ("websocket.client.ping.frames", "websocket.client.ping.bytes"),
        ("websocket.client.pong.frames", "websocket.client.pong.bytes"),
    ],
    [
        ("websocket.server.continuation.frames", "websocket.server.continuation.bytes"),
        ("websocket.server.text.frames", "websocket.server.text.bytes"),
        ("websocket.server.binary.frames", "websocket.server.binary.bytes"),
        ("websocket.server.close.frames", "websocket.server.close.bytes"),
        ("websocket.server.ping.frames", "websocket.server.ping.bytes"),
        ("websocket.server.pong.frames", "websocket.server.pong.bytes"),
    ],
];

/// Attribute names by direction.
const CLOSE_CODE: [&str; 2] = ["websocket.client.close.code", "websocket.server.close.code"];
const MASKED: [&str; 2] = ["websocket.client.masked.frames", "websocket.server.masked.frames"];
const COMPRESSED: [&str; 2] =
    ["websocket.client.compressed.frames", "websocket.server.compressed.frames"];

/// Both directions of a connection.
#[derive(Debug)]
pub struct Connection {
    halves: [Half; 2],
    deflate: bool,
}

#[derive(Debug, Default)]
struct Half {
    /// Header bytes so far.
    header: [u8; HEADER_BYTES],
    filled: usize,
    payload: Option<Payload>,
    /// Frames can no longer be told apart.
    stopped: bool,
    frames: [u64; 6],
    bytes: [u64; 6],
    masked: u64,
    compressed: u64,
    close_code: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Payload {
    left: u64,
    mask: [u8; 4],
    /// Bytes of a close code still to come, while there are any.
    code: Option<Code>,
}

#[derive(Clone, Copy, Debug)]
struct Code {
    taken: usize,
    value: u16,
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// Index into [`KINDS`].
    kind: usize,
    fin: bool,
    compressed: bool,
    mask: Option<[u8; 4]>,
    len: u64,
    /// Bytes of the header itself.
    size: usize,
}

/// Why a header cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BadHeader;

impl Connection {
    /// After a 101 that did or did not agree on permessage-deflate (RFC 7692).
    pub fn new(deflate: bool) -> Self {
        Self { halves: Default::default(), deflate }
    }

    /// Takes bytes of one direction.
    pub fn data(
        &mut self,
        direction: Direction,
        at: Option<Timestamp>,
        data: &[u8],
        transaction: &mut Transaction,
        out: &mut Sink<'_>,
    ) {
        let half = &mut self.halves[direction.index()];
        let mut rest = data;
        while !rest.is_empty() && !half.stopped {
            if half.payload.is_some() {
                rest = half.take_payload(rest);
                continue;
            }
            match half.take_header(rest, self.deflate) {
                Ok((after, Some(header))) => {
                    rest = after;
                    out.event(direction, at, || describe(&header));
                }
                Ok((after, None)) => rest = after,
                Err(BadHeader) => {
                    transaction.anomaly("bad-websocket-frame");
                    half.stopped = true;
                }
            }
        }
    }

    /// That many bytes of one direction are missing.
    pub fn gap(&mut self, direction: Direction, len: u64, transaction: &mut Transaction) {
        let half = &mut self.halves[direction.index()];
        match &mut half.payload {
            Some(payload) if len <= payload.left => {
                payload.left -= len;
                // The code is unknown where its bytes are missing.
                payload.code = None;
                if payload.left == 0 {
                    half.payload = None;
                }
            }
            _ if half.stopped => {}
            _ => {
                half.stopped = true;
                transaction.anomaly("websocket-frames-lost");
            }
        }
    }

    /// Whether the last frame of a direction is whole.
    pub fn is_whole(&self, direction: Direction) -> bool {
        let half = &self.halves[direction.index()];
        half.payload.is_none() && half.filled == 0 && !half.stopped
    }

    /// Whether a direction ended with a close frame (section 5.5.1).
    pub fn is_closed(&self, direction: Direction) -> bool {
        self.halves[direction.index()].frames[3] > 0 && self.is_whole(direction)
    }

    /// Adds the counts to the transaction of the handshake.
    pub fn finish(&self, transaction: &mut Transaction) {
        let total = self.halves.iter().flat_map(|half| half.frames).sum();
        let mut add = |name, value| transaction.attributes.push((name, Value::Number(value)));
        add("websocket.frames", total);
        for (index, half) in self.halves.iter().enumerate() {
            for (kind, (frames, bytes)) in NAMES[index].iter().enumerate() {
                if half.frames[kind] > 0 {
                    add(frames, half.frames[kind]);
                    add(bytes, half.bytes[kind]);
                }
            }
            let rest = [(MASKED[index], half.masked), (COMPRESSED[index], half.compressed)];
            rest.into_iter().filter(|(_, n)| *n > 0).for_each(|(name, n)| add(name, n));
            if let Some(code) = half.close_code {
                add(CLOSE_CODE[index], u64::from(code));
            }
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
    }
}

impl Half {
    /// Takes header bytes; the header once it is whole.
    fn take_header<'a>(
        &mut self,
        input: &'a [u8],
        deflate: bool,
    ) -> Result<(&'a [u8], Option<Header>), BadHeader> {
        let before = self.filled;
        let space = self.header.get_mut(before..).unwrap_or_default();
        let len = space.len().min(input.len());
        for (to, from) in space.iter_mut().zip(input) {
            *to = *from;
        }
        let bytes = self.header.get(..before + len).unwrap_or_default();
        let Some(header) = parse_header(bytes, deflate)? else {
            self.filled += len;
            return Ok((&[], None));
        };
        self.filled = 0;
        self.count(&header);
        Ok((input.get(header.size.saturating_sub(before)..).unwrap_or_default(), Some(header)))
    }

    fn count(&mut self, header: &Header) {
        self.frames[header.kind] += 1;
        self.bytes[header.kind] = self.bytes[header.kind].saturating_add(header.len);
        self.masked += u64::from(header.mask.is_some());
        self.compressed += u64::from(header.compressed);
        let close = KINDS[header.kind] == "close" && header.len >= 2 && !header.compressed;
        self.payload = (header.len > 0).then(|| Payload {
            left: header.len,
            mask: header.mask.unwrap_or_default(),
            code: close.then_some(Code { taken: 0, value: 0 }),
        });
    }

    fn take_payload<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let Some(payload) = &mut self.payload else { return input };
        let len = usize::try_from(payload.left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at_checked(len).unwrap_or_default();
        if let Some(code) = &mut payload.code {
            for (byte, mask) in
                data.iter().zip(payload.mask.iter().skip(code.taken)).take(2 - code.taken)
            {
                code.value = code.value << 8 | u16::from(byte ^ mask);
                code.taken += 1;
            }
            if code.taken == 2 {
                self.close_code = Some(code.value);
                payload.code = None;
            }
        }
        payload.left -= len as u64;
        if payload.left == 0 {
            self.payload = None;
        }
        rest
    }
}

/// Reads a frame header (section 5.2); None where more bytes are needed.
///
/// ```text
///  FIN RSV1-3 opcode(4) | MASK len(7) | len 16 or 64 | mask key 32
/// ```
fn parse_header(bytes: &[u8], deflate: bool) -> Result<Option<Header>, BadHeader> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    let kind = match first & 0x0f {
        opcode @ 0..=2 => usize::from(opcode),
        opcode @ 8..=10 => usize::from(opcode) - 5,
        _ => return Err(BadHeader),
    };
    let (fin, compressed) = (first & 0x80 != 0, first & 0x40 != 0);
    let control = kind >= 3;
    let short = u64::from(second & 0x7f);
    // RSV bits need an extension; control frames are short and whole (section 5.5).
    if first & 0x30 != 0 || (compressed && !deflate) || (control && (!fin || short > 125)) {
        return Err(BadHeader);
    }
    let (len, size) = match (short, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, _) => match rest.first_chunk::<8>() {
            Some(len) => (u64::from_be_bytes(*len), 10),
            None => return Ok(None),
        },
        (126, _) => return Ok(None),
        _ => (short, 2),
    };
    if len >> 63 != 0 {
        return Err(BadHeader);
    }
    if second & 0x80 == 0 {
        return Ok(Some(Header { kind, fin, compressed, mask: None, len, size }));
    }
    let mask = bytes.get(size..).and_then(<[u8]>::first_chunk::<4>);
    Ok(mask.map(|mask| Header { kind, fin, compressed, mask: Some(*mask), len, size: size + 4 }))
}

fn describe(header: &Header) -> String {
    let kind = KINDS[header.kind];
    let mut text = format!("WebSocket {kind} length {}", header.len);
    for (set, word) in [
        (header.fin, " fin"),
        (header.mask.is_some(), " masked"),
        (header.compressed, " compressed"),
    ] {
        if set {
            text.push_str(word);
        }
    }
    text
}
