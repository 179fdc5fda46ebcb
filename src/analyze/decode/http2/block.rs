//! Header blocks: put together from HEADERS, PUSH_PROMISE and CONTINUATION
//! frames (RFC 9113 section 4.3), then decoded into a message.

use crate::analyze::decode::grpc;
use crate::analyze::decode::http2::framer::Seen;
use crate::analyze::decode::http2::hpack::table::Name;
use crate::analyze::decode::http2::hpack::{Decoder, Field};
use crate::analyze::decode::http2::{log, memo};
use crate::analyze::decode::{Direction, Sink};
use crate::analyze::transaction::Message;

/// A header block on its way in.
#[derive(Debug)]
pub struct Block {
    /// Stream of its frames.
    pub stream: u32,
    /// The stream that PUSH_PROMISE promises.
    pub promised: Option<u32>,
    /// END_STREAM of its HEADERS frame.
    pub end_stream: bool,
    /// When its frames were captured.
    pub seen: Seen,
    /// What is there of it.
    pub bytes: Vec<u8>,
    /// Whether the rest of it is not to be had.
    pub broken: bool,
}

/// A block and what its fields say.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Fields without the pseudo-headers that have a place of their own.
    pub message: Message,
    /// Whether there was a pseudo-header.
    pub pseudo: bool,
    /// Whether the first field is a regular one, so that there is no
    /// pseudo-header (RFC 9113 section 8.3).
    pub regular: bool,
    /// Number of fields.
    pub count: usize,
    /// What its fields count against the limit.
    pub cost: usize,
    /// Set where it says that it is of a gRPC call: whether of gRPC-Web.
    pub call: Option<bool>,
    /// Whether a name or a value is unknown, or fields are missing.
    pub unknown: bool,
    /// Whether the fields were cut by the limit.
    pub limited: bool,
    /// Whether it could not be decoded to its end.
    pub malformed: bool,
}

/// Decodes `bytes` into `decoded`, of which nothing is set; after a `broken`
/// block the table is unknown.
#[inline]
pub fn decode(
    decoder: &mut Decoder,
    bytes: &[u8],
    broken: bool,
    (direction, seen): (Direction, Seen),
    decoded: &mut Decoded,
    out: &mut Sink<'_>,
) {
    decoded.message.head = out.fields();
    decoded.message.packet = seen.packet;
    let ask = memo::Ask { keep_all: out.wants.headers, room: out.limits.head_bytes };
    let again = !broken && !out.wants.log;
    if again && memo::recall(decoder, bytes, ask, decoded) {
        return;
    }
    read(decoder, bytes, (direction, seen), decoded, out);
    if broken || decoded.malformed {
        decoder.invalidate();
        decoded.unknown = true;
        decoded.malformed = !broken;
    } else if again && !decoded.unknown {
        memo::learn(decoder, bytes, ask, decoded);
    }
}

/// Decodes `bytes` field by field.
#[inline(never)]
fn read(
    decoder: &mut Decoder,
    bytes: &[u8],
    (direction, seen): (Direction, Seen),
    decoded: &mut Decoded,
    out: &mut Sink<'_>,
) {
    let room = out.limits.head_bytes;
    let mut collector = Collector { keep_all: out.wants.headers, room, decoded };
    let result = if out.wants.log {
        let mut room = room;
        decoder.decode(bytes, &mut |field| {
            collector.field(field);
            let size = field.value.map_or(0, <[u8]>::len) + FIELD_BYTES;
            if room >= size {
                room -= size;
                out.event(direction, seen.last, || log::field(field));
            }
        })
    } else {
        decoder.decode(bytes, &mut |field| collector.field(field))
    };
    let left = collector.room;
    decoded.malformed = result.is_err();
    decoded.cost = room - left;
    decoded.call = grpc::kind_of(&decoded.message);
}

/// What a field costs besides its text: the overhead that RFC 9113 section
/// 6.5.2 counts for SETTINGS_MAX_HEADER_LIST_SIZE.
const FIELD_BYTES: usize = 32;

/// Puts fields where they belong.
struct Collector<'a> {
    keep_all: bool,
    /// Decoded bytes that may still be kept: one byte of a block can stand
    /// for a whole entry of the table.
    room: usize,
    decoded: &'a mut Decoded,
}

impl Collector<'_> {
    fn field(&mut self, field: Field<'_>) {
        self.decoded.count += 1;
        let Name::Known(name) = field.name else { return self.unknown(field) };
        let size = name.len() + field.value.map_or(0, <[u8]>::len) + FIELD_BYTES;
        let Some(room) = self.room.checked_sub(size) else {
            self.decoded.limited = true;
            self.decoded.unknown = true;
            return;
        };
        self.room = room;
        self.decoded.regular |= self.decoded.count == 1 && !name.starts_with(b":");
        match (name, field.value) {
            ([b':', ..], Some(value)) => self.pseudo(name, value),
            (_, Some(value)) => {
                if self.keep_all || is_needed(name) {
                    self.decoded.message.head.push(name, value);
                }
            }
            (_, None) => {
                self.decoded.unknown = true;
                self.decoded.message.head.push_unknown(name);
            }
        }
    }

    fn unknown(&mut self, field: Field<'_>) {
        let Name::Unknown(id) = field.name else { return };
        self.decoded.unknown = true;
        let size = field.value.map_or(0, <[u8]>::len) + FIELD_BYTES;
        let Some(room) = self.room.checked_sub(size) else {
            self.decoded.limited = true;
            return;
        };
        self.room = room;
        let name = format!("?n{id}");
        let head = &mut self.decoded.message.head;
        match field.value {
            Some(value) => head.push(name.as_bytes(), value),
            None => head.push_unknown(name.as_bytes()),
        }
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) {
        self.decoded.pseudo = true;
        let message = &mut self.decoded.message;
        let place = match name {
            b":method" => &mut message.method,
            b":scheme" => &mut message.scheme,
            b":authority" => &mut message.authority,
            b":path" => &mut message.path,
            b":status" if message.status.is_none() => {
                match status(value) {
                    Some(status) => message.status = Some(status),
                    None => message.head.push(name, value),
                }
                return;
            }
            _ => return message.head.push(name, value),
        };
        if place.is_none() {
            *place = Some(message.head.store(value));
        } else {
            message.head.push(name, value);
        }
    }
}

/// Three digits (RFC 9113 section 8.3.2).
fn status(value: &[u8]) -> Option<u16> {
    match value {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => None,
    }
}

/// Fields that decide about a transaction and are kept in any case.
fn is_needed(name: &[u8]) -> bool {
    name == b"content-type" || name == b"host" || name.starts_with(b"grpc-")
}

/// Takes the authority from the Host field where no `:authority` was sent
/// (RFC 9113 section 8.3.1).
pub fn host(message: &mut Message) {
    if message.authority.is_none()
        && let Some(host) = message.head.value("host")
    {
        let host = host.to_vec();
        message.authority = Some(message.head.store(&host));
    }
}
