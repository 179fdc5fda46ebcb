//! Finds frame boundaries where the capture joined a connection or lost
//! bytes, and tells HTTP/2 from other protocols there.
//!
//! A boundary is taken only where headers follow each other at the distances
//! that they name, until all of them together are beyond chance
//! ([`Head::evidence`]). Bytes are kept while a candidate is alive.

use crate::analyze::decode::http2::frame::{
    ACK, DEFAULT_MAX_FRAME, END_HEADERS, Expected, HEAD_BYTES, Head, Kind, PREFACE,
    is_known_setting, settings, unwrap,
};
use crate::analyze::decode::http2::framer::Seen;
use crate::analyze::decode::http2::hpack;
use crate::analyze::decode::{Probe, Role};

/// Bits of evidence needed at the start of a segment, where senders begin
/// most frames: one chance hit in 2^60 segments.
const BITS_AT_START: u32 = 60;
/// Bits needed elsewhere: there are a thousand such places in each segment,
/// and their bytes come from senders who may choose them.
const BITS_INSIDE: u32 = 110;
/// Headers in a row that those bits must come from.
const HEADERS_INSIDE: u32 = 3;
/// Bits needed of the frame after a server's empty SETTINGS: what an
/// acknowledgement of the client's settings or a window update has.
const BITS_SECOND: u32 = 48;
/// Bits that a header block adds which decodes to its end, by field of it.
const BITS_PER_FIELD: u32 = 4;
/// Bits that a pseudo-header or `grpc-status` adds.
const BITS_PER_SENDER: u32 = 8;
/// Most that a header block adds.
const BITS_PER_BLOCK: u32 = 24;
/// Bytes kept while searching: two of the largest DATA frames of most peers.
const KEPT_BYTES: usize = 64 << 10;
/// Candidates followed at once. Real data has one or two.
const CANDIDATES: usize = 64;

/// A place where frames may begin, in offsets of all bytes searched.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    start: u64,
    /// Where its next header must be.
    next: u64,
    bits: u32,
    headers: u32,
    at_start: bool,
    /// Whether a frame of it was seen to end where a segment does.
    aligned: bool,
}

impl Candidate {
    fn is_found(&self) -> bool {
        if self.at_start {
            // One small control frame alone looks like many binary formats.
            self.bits >= BITS_AT_START && (self.headers >= 2 || self.aligned)
        } else {
            self.bits >= BITS_INSIDE && self.headers >= HEADERS_INSIDE
        }
    }
}

/// Bytes of one packet, from a frame boundary on.
#[derive(Debug)]
pub struct Piece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where they were captured.
    pub seen: Seen,
}

/// Searches one direction for frames.
#[derive(Debug, Default)]
pub struct Sync {
    /// Bytes from offset `base` on.
    bytes: Vec<u8>,
    base: u64,
    /// Offsets at which packets begin in `bytes`.
    packets: Vec<(u64, Seen)>,
    candidates: Vec<Candidate>,
    /// First offset at which no candidate was tried yet.
    tried: u64,
}

impl Sync {
    /// Begins anew behind missing bytes.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.candidates.capacity() * size_of::<Candidate>()
    }

    /// When the oldest byte kept was captured.
    pub fn began(&self) -> Option<crate::time::Timestamp> {
        self.packets.iter().filter_map(|(_, seen)| seen.first).min()
    }

    /// Takes the next segment. Gives back all bytes from the first frame on
    /// once one is found.
    pub fn feed(&mut self, segment: &[u8], seen: Seen, expected: Expected<'_>) -> Vec<Piece> {
        let start = self.end();
        self.packets.push((start, seen));
        self.bytes.extend_from_slice(segment);
        self.follow(expected);
        self.try_all(expected);
        if let Some(found) = self.candidates.iter().filter(|c| c.is_found()).min_by_key(|c| c.start)
        {
            let start = found.start;
            return self.take(start);
        }
        self.drop_unused();
        Vec::new()
    }

    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    fn from(&self, offset: u64) -> &[u8] {
        let at = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.bytes.get(at..).unwrap_or_default()
    }

    /// Follows the candidates to the headers that they name.
    fn follow(&mut self, expected: Expected<'_>) {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.retain_mut(|candidate| self.advance(candidate, expected));
        self.candidates = candidates;
    }

    /// False where the candidate is none.
    fn advance(&self, candidate: &mut Candidate, expected: Expected<'_>) -> bool {
        while candidate.next < self.end() && !candidate.is_found() {
            let rest = self.from(candidate.next);
            let Some(head) = Head::parse(rest) else { return true };
            let payload = rest.get(HEAD_BYTES..).unwrap_or_default();
            let Some(bits) = weigh(&head, payload, expected) else { return false };
            let next = candidate.next + HEAD_BYTES as u64 + u64::from(head.length);
            if candidate.headers == 0 {
                match stands_alone(&head, payload, expected) {
                    Some(true) => {}
                    Some(false) => {
                        candidate.start = next;
                        candidate.next = next;
                        continue;
                    }
                    None => return true,
                }
            }
            candidate.bits += bits;
            candidate.headers += 1;
            candidate.next = next;
        }
        if candidate.headers > 0 && candidate.next == self.end() && !candidate.aligned {
            // Its length is no chance.
            candidate.aligned = true;
            candidate.bits += expected.max_frame.ilog2();
        }
        true
    }

    /// Tries each offset that has become long enough for a header.
    fn try_all(&mut self, expected: Expected<'_>) {
        let end = self.end().saturating_sub(HEAD_BYTES as u64 - 1);
        // The first byte of the length is 0 below 64 KiB.
        let large = expected.max_frame >= 1 << 16;
        let mut at = self.tried;
        while at < end {
            let rest = self.from(at);
            if !large {
                let Some(skip) = memchr::memchr(0, rest) else { break };
                at += skip as u64;
                if at >= end {
                    break;
                }
            }
            let at_start = self.packets.binary_search_by_key(&at, |(packet, _)| *packet).is_ok();
            let (start, next, aligned) = (at, at, false);
            let mut candidate = Candidate { start, next, bits: 0, headers: 0, at_start, aligned };
            if self.advance(&mut candidate, expected) && self.candidates.len() < CANDIDATES {
                self.candidates.push(candidate);
            }
            at += 1;
        }
        self.tried = self.tried.max(end);
    }

    /// Hands out the bytes from `start` on, by packet.
    fn take(&mut self, start: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let end = self.end();
        for (nth, (packet, seen)) in self.packets.iter().enumerate() {
            let until = self.packets.get(nth + 1).map_or(end, |(next, _)| *next);
            let from = start.max(*packet);
            if from < until {
                let bytes = self.from(from);
                let length = usize::try_from(until - from).unwrap_or(0).min(bytes.len());
                let bytes = bytes.get(..length).unwrap_or_default().to_vec();
                pieces.push(Piece { bytes, seen: *seen });
            }
        }
        self.reset();
        pieces
    }

    /// Drops bytes before the first candidate, and candidates that would
    /// need more than the bound.
    fn drop_unused(&mut self) {
        if self.bytes.len() > KEPT_BYTES {
            let oldest = self.end() - KEPT_BYTES as u64;
            self.candidates.retain(|candidate| candidate.start >= oldest);
        }
        let keep = self.candidates.iter().map(|c| c.start).min().unwrap_or(self.tried);
        let keep = keep.min(self.tried);
        let unused = usize::try_from(keep - self.base).unwrap_or(0).min(self.bytes.len());
        self.bytes.drain(..unused);
        self.base = keep;
        // The packet that the first byte kept is in stays.
        let first = self.packets.partition_point(|(packet, _)| *packet <= keep).saturating_sub(1);
        self.packets.drain(..first);
    }
}

/// Whether a frame can be the first that is trusted. What follows a frame
/// proves where it ends, not where it began: payload bytes that look like a
/// header whose length happens to lead to the next frame would pass. None
/// where more of the payload is needed.
fn stands_alone(head: &Head, payload: &[u8], expected: Expected<'_>) -> Option<bool> {
    let whole = payload.get(..head.length as usize);
    Some(match head.kind {
        Kind::Headers if head.has(END_HEADERS) && head.length as usize <= KEPT_BYTES => {
            let told = unwrap(head, whole?, false).and_then(hpack::plausible);
            told.is_some_and(|told| told.client || told.server || told.fields > 1)
        }
        Kind::Data | Kind::RstStream => (expected.is_open)(head.stream),
        Kind::WindowUpdate => head.stream == 0 || (expected.is_open)(head.stream),
        Kind::Settings | Kind::Ping | Kind::GoAway => true,
        _ => false,
    })
}

/// Evidence of a header and, as far as it is there, its payload.
fn weigh(head: &Head, payload: &[u8], expected: Expected<'_>) -> Option<u32> {
    let bits = head.evidence(expected)?;
    let Some(payload) = payload.get(..head.length as usize) else { return Some(bits) };
    match head.kind {
        Kind::Settings => settings(payload).all(is_known_setting).then_some(bits),
        Kind::Headers if head.has(END_HEADERS) => {
            let told = hpack::plausible(unwrap(head, payload, false)?)?;
            let fields = u32::try_from(told.fields).unwrap_or(u32::MAX);
            let fields = fields.saturating_mul(BITS_PER_FIELD).min(BITS_PER_BLOCK);
            let sender = if told.client || told.server { BITS_PER_SENDER } else { 0 };
            Some(bits + fields + sender)
        }
        _ => Some(bits),
    }
}

/// What [`probe`] expects of a connection that it knows nothing of.
const ANY: Expected<'static> =
    Expected { max_frame: DEFAULT_MAX_FRAME, client: None, is_open: &|_| false };

/// See [`crate::analyze::decode::Protocol::probe`]. From the start: the
/// preface of a client, or SETTINGS with known settings, or empty and
/// followed by another frame. Joined late: consistent frames, one of which
/// tells who sends them.
pub fn probe(bytes: &[u8], late: bool) -> Probe {
    let common = bytes.len().min(PREFACE.len());
    if bytes.get(..common) == PREFACE.get(..common) {
        return if common == PREFACE.len() { Probe::Match(Role::Client) } else { Probe::More };
    }
    // Midway, SETTINGS may be what follows a client's preface.
    if late { midway(bytes) } else { first_settings(bytes) }
}

/// SETTINGS as a server sends it first.
fn first_settings(bytes: &[u8]) -> Probe {
    /// Type, flags and stream id of such a header.
    const REST: [u8; 6] = [4, 0, 0, 0, 0, 0];
    let (length, rest) = bytes.split_at(bytes.len().min(3));
    let (fixed, payload) = rest.split_at(rest.len().min(REST.len()));
    if length.iter().take(2).any(|b| *b != 0) || REST.get(..fixed.len()) != Some(fixed) {
        return Probe::No;
    }
    let Some(head) = Head::parse(bytes) else { return Probe::More };
    if head.evidence(ANY).is_none() {
        return Probe::No;
    }
    let whole = payload.get(..head.length as usize);
    if !settings(whole.unwrap_or(payload)).all(is_known_setting) {
        return Probe::No;
    }
    let Some(whole) = whole else { return Probe::More };
    let after = payload.get(whole.len()..).unwrap_or_default();
    if !whole.is_empty() {
        let fits = Head::parse(after).is_none_or(|next| next.evidence(ANY).is_some());
        return if fits { Probe::Match(Role::Server) } else { Probe::No };
    }
    // Nine bytes that are nearly all zero prove little.
    match Head::parse(after) {
        None if after.iter().take(2).all(|b| *b == 0) => Probe::More,
        Some(second) if second.evidence(ANY) >= Some(BITS_SECOND) => Probe::Match(Role::Server),
        _ => Probe::No,
    }
}

/// Frames of a connection that was joined late.
fn midway(bytes: &[u8]) -> Probe {
    let (mut bits, mut role, mut rest) = (0, None, bytes);
    while let Some(head) = Head::parse(rest) {
        let payload = rest.get(HEAD_BYTES..).unwrap_or_default();
        let Some(more) = weigh(&head, payload, ANY) else { return Probe::No };
        bits += more;
        let whole = payload.get(..head.length as usize);
        role = role.or_else(|| sender(&head, whole?));
        match payload.get(head.length as usize..) {
            Some([]) => {
                // The frame ends where the segment does: its length is no chance.
                bits += ANY.max_frame.ilog2();
                rest = &[];
                break;
            }
            Some(after) => rest = after,
            None => {
                rest = &[];
                break;
            }
        }
    }
    match role {
        Some(role) if bits >= BITS_AT_START => Probe::Match(role),
        _ if !rest.is_empty() && rest.first().is_some_and(|b| *b != 0) => Probe::No,
        _ => Probe::More,
    }
}

/// Who sends such a frame, where it tells.
fn sender(head: &Head, payload: &[u8]) -> Option<Role> {
    match head.kind {
        Kind::PushPromise if head.has(END_HEADERS) => {
            let request = unwrap(head, payload, false)?.get(4..)?;
            hpack::plausible(request)?.client.then_some(Role::Server)
        }
        Kind::Headers if head.has(END_HEADERS) => {
            let told = hpack::plausible(unwrap(head, payload, false)?)?;
            match (told.client, told.server) {
                (true, false) => Some(Role::Client),
                (false, true) => Some(Role::Server),
                _ => None,
            }
        }
        // Only a server may not enable push (RFC 9113 section 6.5.2).
        Kind::Settings if !head.has(ACK) => {
            settings(payload).any(|setting| setting == (2, 1)).then_some(Role::Client)
        }
        _ => None,
    }
}
