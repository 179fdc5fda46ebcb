//! Frames as RFC 9113 section 4 lays them out.
//!
//! Pure functions from bytes to values; [`Head::evidence`] says how unlikely
//! other bytes would be to look like this frame, for finding frames in the
//! middle of a connection.

/// Bytes of a frame header (RFC 9113 section 4.1).
pub const HEAD_BYTES: usize = 9;
/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest payload until SETTINGS_MAX_FRAME_SIZE says otherwise.
pub const DEFAULT_MAX_FRAME: u32 = 16_384;

/// END_STREAM of DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// ACK of SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// END_HEADERS of HEADERS, PUSH_PROMISE and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;
/// PADDED of DATA, HEADERS and PUSH_PROMISE.
pub const PADDED: u8 = 0x8;
/// PRIORITY of HEADERS.
pub const PRIORITY: u8 = 0x20;

/// Identifier of the setting that bounds the peer's frames.
pub const SETTINGS_MAX_FRAME_SIZE: u16 = 5;

/// Frame types (RFC 9113 section 6; RFC 7838, 8336 and 9218).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Body bytes.
    Data,
    /// Opens a stream, answers on it or ends it with trailers.
    Headers,
    /// Dependency of a stream; obsolete.
    Priority,
    /// Ends a stream early.
    RstStream,
    /// Parameters of the connection.
    Settings,
    /// Announces a request that the server makes up.
    PushPromise,
    /// Round-trip probe.
    Ping,
    /// No more streams.
    GoAway,
    /// Flow control.
    WindowUpdate,
    /// More of a header block.
    Continuation,
    /// Alternative services.
    AltSvc,
    /// Origins that the server answers for.
    Origin,
    /// Priority of a request.
    PriorityUpdate,
    /// Any other type: to be ignored (RFC 9113 section 4.1).
    Unknown(u8),
}

impl Kind {
    /// From the type byte.
    pub const fn new(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            0xa => Self::AltSvc,
            0xc => Self::Origin,
            0x10 => Self::PriorityUpdate,
            other => Self::Unknown(other),
        }
    }

    /// The name of the RFCs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "DATA",
            Self::Headers => "HEADERS",
            Self::Priority => "PRIORITY",
            Self::RstStream => "RST_STREAM",
            Self::Settings => "SETTINGS",
            Self::PushPromise => "PUSH_PROMISE",
            Self::Ping => "PING",
            Self::GoAway => "GOAWAY",
            Self::WindowUpdate => "WINDOW_UPDATE",
            Self::Continuation => "CONTINUATION",
            Self::AltSvc => "ALTSVC",
            Self::Origin => "ORIGIN",
            Self::PriorityUpdate => "PRIORITY_UPDATE",
            Self::Unknown(_) => "UNKNOWN",
        }
    }

    /// Flags that are defined for it.
    pub const fn flags(self) -> u8 {
        match self {
            Self::Data => END_STREAM | PADDED,
            Self::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Self::Settings | Self::Ping => ACK,
            Self::PushPromise => END_HEADERS | PADDED,
            Self::Continuation => END_HEADERS,
            _ => 0,
        }
    }

    /// Whether it carries a piece of a header block.
    pub const fn has_block(self) -> bool {
        matches!(self, Self::Headers | Self::PushPromise | Self::Continuation)
    }

    /// Whether it belongs to a stream (Some(true)), to the connection
    /// (Some(false)) or to either (None).
    const fn on_stream(self) -> Option<bool> {
        match self {
            Self::Settings | Self::Ping | Self::GoAway | Self::Origin | Self::PriorityUpdate => {
                Some(false)
            }
            Self::WindowUpdate | Self::AltSvc | Self::Unknown(_) => None,
            _ => Some(true),
        }
    }
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of payload.
    pub length: u32,
    /// Type.
    pub kind: Kind,
    /// Flags, undefined ones included.
    pub flags: u8,
    /// Stream id without the reserved bit.
    pub stream: u32,
    /// The reserved bit, which senders leave unset.
    pub reserved: bool,
}

/// What is known about the frames to expect.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// Largest payload.
    pub max_frame: u32,
    /// Whether a client sends them; None where that is not known.
    pub client: Option<bool>,
    /// Whether a stream is open.
    pub is_open: &'a dyn Fn(u32) -> bool,
}

impl Head {
    /// From the first [`HEAD_BYTES`] of `bytes`; None where there are fewer.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let [a, b, c, kind, flags, s, t, u, v] = *head;
        let stream = u32::from_be_bytes([s, t, u, v]);
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind: Kind::new(kind),
            flags,
            stream: stream & 0x7fff_ffff,
            reserved: stream >> 31 == 1,
        })
    }

    /// Whether a flag is set.
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether length and stream are as RFC 9113 section 6 demands.
    pub fn is_sound(&self) -> bool {
        let length = match self.kind {
            Kind::Priority => self.length == 5,
            Kind::RstStream | Kind::WindowUpdate => self.length == 4,
            Kind::Ping => self.length == 8,
            Kind::GoAway => self.length >= 8,
            Kind::Settings if self.has(ACK) => self.length == 0,
            Kind::Settings => self.length.is_multiple_of(6),
            Kind::PushPromise => self.length >= 4,
            Kind::PriorityUpdate => self.length >= 4,
            _ => true,
        };
        let least = u32::from(self.has(PADDED) && self.kind.flags() & PADDED != 0)
            + if self.kind == Kind::Headers && self.has(PRIORITY) { 5 } else { 0 };
        let stream = self.kind.on_stream().is_none_or(|on| on == (self.stream != 0));
        length && self.length >= least && stream
    }

    /// Bits of evidence that these nine bytes are a frame header and not
    /// chance: log2 of how many random headers it takes to find one that
    /// fits as well. None where no sender in order would send it.
    pub fn evidence(&self, expected: Expected<'_>) -> Option<u32> {
        let undefined = self.flags & !self.kind.flags() != 0;
        if matches!(self.kind, Kind::Unknown(_)) || undefined || self.reserved || !self.is_sound() {
            return None;
        }
        if self.length > expected.max_frame {
            return None;
        }
        // Legal, but of no use; zeros are all over other protocols.
        if self.kind == Kind::Data && self.length == 0 && !self.has(END_STREAM) {
            return None;
        }
        if !self.fits_sender(expected) {
            return None;
        }
        let range = match self.kind {
            Kind::Priority | Kind::RstStream | Kind::WindowUpdate | Kind::Ping => 1,
            Kind::Settings => MAX_SETTINGS,
            Kind::GoAway | Kind::Origin | Kind::AltSvc | Kind::PriorityUpdate => MAX_SMALL,
            _ => expected.max_frame,
        };
        if self.length > range.max(8) && range < expected.max_frame {
            return None;
        }
        let length = 24 - range.ilog2();
        // Thirteen types of 256; defined flags may be set or not.
        let kind = 4 + 8 - self.kind.flags().count_ones();
        let stream = match self.stream {
            0 => 32,
            id if (expected.is_open)(id) => 22,
            // A new stream: ids begin low.
            id if id < LIKELY_STREAMS && self.kind == Kind::Headers => 32 - LIKELY_STREAMS.ilog2(),
            // One that was opened before, or is over.
            _ => 4,
        };
        Some(length + kind + stream)
    }
}

impl Head {
    /// Whether the sender may send it on such a stream: clients use even
    /// streams for nothing but flow control and resets, and servers only
    /// after they promised them (RFC 9113 sections 5.1.1, 6.6 and 8.4).
    fn fits_sender(&self, expected: Expected<'_>) -> bool {
        let even = self.stream.is_multiple_of(2);
        match self.kind {
            Kind::PushPromise => !even && expected.client != Some(true),
            Kind::Data | Kind::Headers | Kind::Continuation if even => {
                expected.client != Some(true) && (expected.is_open)(self.stream)
            }
            _ => true,
        }
    }
}

/// Bytes of the largest SETTINGS that a plausible sender sends: 32 settings.
const MAX_SETTINGS: u32 = 32 * 6;
/// Bytes of other control frames of a plausible sender.
const MAX_SMALL: u32 = 4096;
/// Ids below this are likely: half a million requests on one connection.
const LIKELY_STREAMS: u32 = 1 << 20;

/// What a PADDED or PRIORITY flag wraps around a payload. None where the
/// padding is longer than the frame (RFC 9113 section 6.2).
pub fn unwrap<'a>(head: &Head, payload: &'a [u8], cut: bool) -> Option<&'a [u8]> {
    let mut rest = payload;
    let mut padding = 0;
    if head.has(PADDED) {
        let (&first, after) = rest.split_first()?;
        (padding, rest) = (usize::from(first), after);
    }
    if head.kind == Kind::Headers && head.has(PRIORITY) {
        rest = rest.get(5..)?;
    }
    if cut {
        // The padding lies beyond the cut, or part of it does.
        let missing = (head.length as usize).saturating_sub(payload.len());
        padding = padding.saturating_sub(missing);
    }
    rest.get(..rest.len().checked_sub(padding)?)
}

/// A big-endian 32-bit number at the front.
pub fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<4>().map(|b| u32::from_be_bytes(*b))
}

/// A stream id at the front, without the reserved bit.
pub fn stream_id(payload: &[u8]) -> Option<u32> {
    number(payload).map(|n| n & 0x7fff_ffff)
}

/// A GOAWAY payload: last stream id and error code (RFC 9113 section 6.8).
pub fn goaway(payload: &[u8]) -> Option<(u32, u32)> {
    Some((stream_id(payload)?, number(payload.get(4..)?)?))
}

/// The settings of a SETTINGS payload: identifier and value (section 6.5.1).
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(6).filter_map(|setting| {
        let (id, value) = setting.split_first_chunk::<2>()?;
        Some((u16::from_be_bytes(*id), number(value)?))
    })
}

/// Whether a setting is one that RFCs define, with a value that they allow
/// (RFC 9113 section 6.5.2; RFC 8441, RFC 9218).
pub fn is_known_setting((id, value): (u16, u32)) -> bool {
    match id {
        1 | 3 | 6 => true,
        2 | 8 | 9 => value <= 1,
        4 => value <= 0x7fff_ffff,
        5 => (DEFAULT_MAX_FRAME..1 << 24).contains(&value),
        _ => false,
    }
}

/// Name of a setting.
pub const fn setting_name(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "HEADER_TABLE_SIZE",
        2 => "ENABLE_PUSH",
        3 => "MAX_CONCURRENT_STREAMS",
        4 => "INITIAL_WINDOW_SIZE",
        5 => "MAX_FRAME_SIZE",
        6 => "MAX_HEADER_LIST_SIZE",
        8 => "ENABLE_CONNECT_PROTOCOL",
        9 => "NO_RFC7540_PRIORITIES",
        _ => return None,
    })
}

/// Name of an error code (RFC 9113 section 7), `CODE_n` for one without.
pub fn error_name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES.get(code as usize).map_or_else(|| format!("CODE_{code}"), |name| (*name).to_owned())
}
