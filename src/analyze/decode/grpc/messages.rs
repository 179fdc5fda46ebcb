//! Length-prefixed messages of one direction (gRPC over HTTP/2, "Requests"
//! and "Responses"; gRPC-Web, "Message framing").

/// Bytes before each message: flags and length.
const PREFIX_BYTES: usize = 5;
/// Flag of a compressed message.
const COMPRESSED: u8 = 0x01;
/// Flag of a gRPC-Web frame that holds trailers.
const TRAILERS: u8 = 0x80;
/// Bytes kept of such trailers; status and message fit.
const TRAILER_BYTES: usize = 64 << 10;

/// How a gRPC-Web body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// The first byte will tell.
    Unknown,
    Binary,
    Base64,
}

/// Counts the messages of one direction, however its bytes are split.
#[derive(Debug)]
pub struct Messages {
    web: bool,
    coding: Coding,
    /// Base64 digits of an unfinished group, and how many.
    group: (u32, u8),
    prefix: [u8; PREFIX_BYTES],
    prefix_have: usize,
    /// Bytes left of the message at hand, and whether it is trailers.
    left: u64,
    in_trailers: bool,
    /// Messages begun.
    pub count: u64,
    /// Bytes of messages, as transferred, without prefixes.
    pub bytes: u64,
    /// Messages with the compressed flag.
    pub compressed: u64,
    /// Trailers in the body (gRPC-Web).
    pub trailers: Vec<u8>,
    /// Whether all messages were counted.
    pub certain: bool,
    /// Whether the bytes are not length-prefixed messages.
    pub malformed: bool,
}

impl Messages {
    /// At the start of a body; `web` where it may hold trailers and be text.
    pub fn new(web: bool) -> Self {
        Self {
            web,
            coding: if web { Coding::Unknown } else { Coding::Binary },
            group: (0, 0),
            prefix: [0; PREFIX_BYTES],
            prefix_have: 0,
            left: 0,
            in_trailers: false,
            count: 0,
            bytes: 0,
            compressed: 0,
            trailers: Vec::new(),
            certain: true,
            malformed: false,
        }
    }

    /// Bytes are missing whose place in the messages is not known: nothing
    /// after them can be counted.
    pub fn lost(&mut self) {
        self.certain = false;
    }

    /// So many bytes of the body are missing.
    pub fn gap(&mut self, len: u64) {
        if self.coding == Coding::Binary && len <= self.left && !self.in_trailers {
            self.left -= len;
        } else {
            self.lost();
        }
    }

    /// Takes body bytes in order.
    pub fn data(&mut self, data: &[u8]) {
        if self.coding == Coding::Unknown
            && let Some(first) = data.first()
        {
            // Flags are control bytes, base64 digits are not.
            let text = first.is_ascii_alphanumeric() || matches!(first, b'+' | b'/');
            self.coding = if text { Coding::Base64 } else { Coding::Binary };
        }
        if self.coding == Coding::Base64 {
            for chunk in data.chunks(BASE64_STEP) {
                let mut bytes = Vec::with_capacity(chunk.len());
                self.base64(chunk, &mut bytes);
                self.binary(&bytes);
            }
        } else {
            self.binary(data);
        }
    }

    fn binary(&mut self, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() && self.certain && !self.malformed {
            if self.left > 0 {
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                let (taken, after) = rest.split_at(take);
                if self.in_trailers {
                    let room = TRAILER_BYTES.saturating_sub(self.trailers.len()).min(take);
                    self.trailers.extend_from_slice(taken.get(..room).unwrap_or_default());
                }
                self.left -= take as u64;
                rest = after;
                continue;
            }
            if self.prefix_have == 0
                && let Some((prefix, after)) = rest.split_first_chunk()
            {
                self.prefix = *prefix;
                rest = after;
                self.begin();
                continue;
            }
            let (taken, after) = rest.split_at((PREFIX_BYTES - self.prefix_have).min(rest.len()));
            for byte in taken {
                if let Some(place) = self.prefix.get_mut(self.prefix_have) {
                    *place = *byte;
                }
                self.prefix_have += 1;
            }
            rest = after;
            if self.prefix_have == PREFIX_BYTES {
                self.prefix_have = 0;
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        let [flags, length @ ..] = self.prefix;
        self.left = u64::from(u32::from_be_bytes(length));
        self.in_trailers = self.web && flags & TRAILERS != 0;
        if self.in_trailers {
            return;
        }
        if flags & !COMPRESSED != 0 {
            self.malformed = true;
            return;
        }
        self.count += 1;
        self.bytes += self.left;
        self.compressed += u64::from(flags & COMPRESSED);
    }

    /// Whether the body ended between two messages.
    pub fn is_whole(&self) -> bool {
        self.left == 0 && self.prefix_have == 0 && !self.malformed
    }

    /// Decodes base64, of which each flushed part may be padded.
    fn base64(&mut self, text: &[u8], out: &mut Vec<u8>) {
        for byte in text {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                b'=' => {
                    let (bits, have) = self.group;
                    match have {
                        2 => out.push((bits >> 4) as u8),
                        3 => out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
                        _ => {}
                    }
                    self.group = (0, 0);
                    continue;
                }
                _ => continue,
            };
            let (bits, have) = (self.group.0 << 6 | u32::from(digit), self.group.1 + 1);
            self.group = (bits, have);
            if have == 4 {
                out.extend_from_slice(&[(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
                self.group = (0, 0);
            }
        }
    }
}

/// Base64 digits decoded at a time, which bounds the scratch.
const BASE64_STEP: usize = 4096;
