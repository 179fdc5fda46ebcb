//! Bytes of the ring buffer → [`Event`]: the user side of `bpf/event.h`.
//!
//! Runs inside a C callback, so it never panics: what does not fit the layout
//! is [`Malformed`] and counted by the caller. Knows nothing of connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `sizeof(struct perisco_event)`; payload follows.
pub const HEADER_BYTES: usize = 112;

/// Payload of the largest event, in bytes (`PERISCO_LARGE`).
pub const MAX_PAYLOAD: usize = 32_768;

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes moved, or a packet with SYN, FIN or RST was seen.
    Data,
    /// The socket became established, or was found so.
    Open,
    /// The socket is gone; `seq` and `ack` are its final numbers.
    Close,
    /// A process uses the socket; the payload is its comm.
    Owner,
    /// A process called exec; the payload is its comm.
    Exec,
    /// A process (`pid`) was forked by another (`tid`).
    Fork,
    /// A process ended.
    Exit,
    /// A socket listens.
    Listen,
}

/// Which way bytes went, as seen from the local end of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// The local end sent them.
    Sent,
    /// The local end received them.
    Received,
}

/// Who of a connection the local end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Not known.
    Unknown,
    /// It connected.
    Client,
    /// It accepted.
    Server,
}

/// Why fewer bytes were copied than moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The snap length, as asked.
    Snaplen,
    /// The memory could not be read.
    Unreadable,
    /// One call moved more than the programs copy.
    CallLimit,
    /// Pages whose address cannot be computed on this kernel.
    Pages,
    /// The ring was filling, so only the beginning was kept.
    Filling,
}

/// TCP flags of a packet's header (RFC 9293, section 3.1).
pub mod tcp {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
}

/// What [`Event::tcp_flags`] holds in a close event.
pub mod close {
    /// The local end had sent its FIN.
    pub const FIN_SENT: u8 = 1;
    /// The other end's FIN had come.
    pub const FIN_RECEIVED: u8 = 2;
    /// A reset ended it.
    pub const RESET: u8 = 4;
}

/// One record of the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub at: u64,
    /// Identity among live sockets; 0 is none. Used again after a close.
    pub socket: u64,
    /// cgroup2 id; 0 is unknown.
    pub cgroup: u64,
    /// Inode number of the network namespace; 0 is unknown.
    pub netns: u32,
    /// Process; 0 is unknown.
    pub pid: u32,
    /// Thread; in fork events the parent process.
    pub tid: u32,
    /// User.
    pub uid: u32,
    /// Sequence number of the first byte that moved; in open and close events
    /// the next byte to be sent.
    pub seq: u32,
    /// Next byte expected from the other side, where known.
    pub ack: Option<u32>,
    /// Bytes that moved.
    pub length: u32,
    /// Events lost so far, running over all CPUs; wraps.
    pub lost: u32,
    /// What it tells.
    pub kind: Kind,
    /// Which way the bytes went.
    pub way: Way,
    /// Who the local end is.
    pub role: Role,
    /// Flags of [`tcp`], in close events of [`close`].
    pub tcp_flags: u8,
    /// Why `payload` is shorter than `length`, where it is.
    pub gap: Option<GapReason>,
    /// The connection is older than the recorder.
    pub midway: bool,
    /// Seen as a packet: repeats and disorder are possible.
    pub packet: bool,
    /// The event is of a call of process `pid`.
    pub in_process: bool,
    /// The local end; None in events of processes.
    pub local: Option<SocketAddr>,
    /// The remote end.
    pub remote: Option<SocketAddr>,
    /// What was copied, or a comm.
    pub payload: &'a [u8],
}

/// A record that does not fit the layout: program and reader differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Event<'a> {
    /// Reads one record.
    ///
    /// # Errors
    ///
    /// The record is shorter than it says, or has unknown codes.
    pub fn parse(record: &'a [u8]) -> Result<Self, Malformed> {
        let (header, rest) = record.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed)?;
        let captured = u32_at(header, 52) as usize;
        let payload = rest.get(..captured).ok_or(Malformed)?;
        let flags = header[70];
        let length = u32_at(header, 48);
        let kind = kind(header[64])?;
        let short = kind == Kind::Data && captured < length as usize;
        Ok(Self {
            at: u64_at(header, 0),
            socket: u64_at(header, 8),
            cgroup: u64_at(header, 16),
            netns: u32_at(header, 24),
            pid: u32_at(header, 28),
            tid: u32_at(header, 32),
            uid: u32_at(header, 36),
            seq: u32_at(header, 40),
            ack: (flags & 2 != 0).then(|| u32_at(header, 44)),
            length,
            lost: u32_at(header, 56),
            kind,
            way: if header[65] == 0 { Way::Sent } else { Way::Received },
            role: match header[68] {
                1 => Role::Client,
                2 => Role::Server,
                _ => Role::Unknown,
            },
            tcp_flags: header[67],
            gap: if short { Some(gap(header[69])?) } else { None },
            midway: flags & 1 != 0,
            packet: flags & 4 != 0,
            in_process: flags & 8 != 0,
            local: address(header[66], &header[72..88], u16_at(header, 60)),
            remote: address(header[66], &header[88..104], u16_at(header, 62)),
            payload,
        })
    }

    /// The comm of an owner or exec event, as text.
    pub fn comm(&self) -> String {
        let end = self.payload.iter().position(|&byte| byte == 0).unwrap_or(self.payload.len());
        String::from_utf8_lossy(&self.payload[..end]).into_owned()
    }
}

fn kind(code: u8) -> Result<Kind, Malformed> {
    Ok(match code {
        1 => Kind::Data,
        2 => Kind::Open,
        3 => Kind::Close,
        4 => Kind::Owner,
        5 => Kind::Exec,
        6 => Kind::Fork,
        7 => Kind::Exit,
        8 => Kind::Listen,
        _ => return Err(Malformed),
    })
}

fn gap(code: u8) -> Result<GapReason, Malformed> {
    Ok(match code {
        0 => GapReason::Snaplen,
        1 => GapReason::Unreadable,
        2 => GapReason::CallLimit,
        3 => GapReason::Pages,
        4 => GapReason::Filling,
        _ => return Err(Malformed),
    })
}

fn address(family: u8, bytes: &[u8], port: u16) -> Option<SocketAddr> {
    let ip = match family {
        4 => IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
        6 => IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

// The kernel writes in the byte order of the machine, which is ours.
fn u64_at(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    header[at..].first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    header[at..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

fn u16_at(header: &[u8; HEADER_BYTES], at: usize) -> u16 {
    header[at..].first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}
