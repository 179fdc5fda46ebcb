//! Packets → blocks in the sink's buffer: interfaces, times, counts, and when
//! a file ends.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashMap;

use super::clock::Clock;
use super::options::WriteOptions;
use super::summary::{Loss, Summary};
use crate::record::connection::GapChange;
use crate::record::flight::{CLOCK_KEY, SEGMENT_KEY};
use crate::record::owner::Owner;
use crate::record::pcapng::{self, Direction, PacketHead, Statistics};
use crate::record::sink::{Sink, SoFar, WriteError, Written};
use crate::record::synth::Segment;

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// HTTP/2 ports kept for the summary: more fit no command line.
const MAX_HTTP2_PORTS: usize = 64;

/// Time after which all that was recorded is readable, nanoseconds.
const FLUSH_TIME: u64 = 1_000_000_000;

/// Interface 0 of each section: packets of processes that are not known, and
/// all that was lost, since a lost event has no process either.
const UNKNOWN: &str = "unknown";

/// Addresses named in a file at most: more than a cluster has pods (150,000 is
/// Kubernetes' own limit).
const MAX_NAMES: usize = 262_144;

/// Bytes of an address's names at most: what Wireshark keeps of one (MAXDNSNAMELEN).
const MAX_NAME: usize = 255;

/// Between two names of an address that was used again.
const OR: &str = "_or_";

/// What a packet has besides its bytes.
#[derive(Debug)]
pub struct Draft<'a> {
    /// Interface in the present file.
    pub interface: u32,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub at: u64,
    /// Sent by a local end.
    pub sent: bool,
    /// Events lost since the last packet that said so.
    pub drops: u64,
    /// Comments.
    pub comments: &'a [String],
}

/// The packet writer.
#[derive(Debug)]
pub struct Packets {
    sink: Sink,
    clock: Clock,
    /// Time of a packet or tick, nanoseconds of CLOCK_BOOTTIME.
    now: u64,
    os: String,
    section: Vec<String>,
    /// Number of the ring's segment that the first file is, where it is a ring.
    first_segment: Option<u64>,
    /// Number of the present file, from 1.
    file: u32,
    file_start: u64,
    flushed: u64,
    /// Packets of each interface of this file.
    interfaces: Vec<u64>,
    packet_limit: Option<u64>,
    rotate_size: Option<u64>,
    rotate_time: Option<u64>,
    flush_always: bool,
    both_ends: bool,
    told_lost: u32,
    losses: Vec<Loss>,
    /// The losses that earlier files tell.
    told_losses: Vec<Loss>,
    http2_ports: BTreeSet<u16>,
    /// Names that this file tells.
    names: HashMap<IpAddr, String, foldhash::fast::RandomState>,
    /// What the summary counts here.
    pub counts: Summary,
}

impl Packets {
    /// Opens the first file and writes its section header.
    pub fn create(options: &WriteOptions, clock: Clock, os: String) -> Result<Self, WriteError> {
        let now = clock.start();
        let first_segment = options.ring.as_ref().map(|link| link.store.next_number());
        let sink = Sink::create(options, clock.wall(now))?;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut packets = Self {
            sink,
            now,
            os,
            section: comments(options),
            first_segment,
            file: 0,
            file_start: now,
            flushed: now,
            interfaces: Vec::new(),
            packet_limit: options.packet_limit,
            rotate_size: options.rotate_size,
            rotate_time: options.rotate_time.map(nanos),
            flush_always: !matches!(options.output, super::options::Output::File(_)),
            both_ends: options.both_ends,
            told_lost: 0,
            losses: Vec::new(),
            told_losses: Vec::new(),
            http2_ports: BTreeSet::new(),
            names: HashMap::default(),
            counts: Summary::default(),
            clock,
        };
        packets.begin_file();
        packets.sink.hand_over(true)?;
        Ok(packets)
    }

    /// Number of the present file, from 1.
    pub fn file(&self) -> u32 {
        self.file
    }

    /// The interface of a process in the present file, described now if it is
    /// not yet. With both ends kept, a process has one for each role.
    pub fn interface(&mut self, owner: Option<&Owner>, server: bool) -> Result<u32, WriteError> {
        let Some(owner) = owner else { return Ok(0) };
        let role = usize::from(server && self.both_ends);
        if let Some(interface) = owner.interface(self.file, role) {
            return Ok(interface);
        }
        let interface = self.interfaces.len() as u32;
        let mut description = owner.description.clone();
        if self.both_ends {
            description.push_str(if server { "role=server " } else { "role=client " });
        }
        pcapng::interface(self.sink.buffer(), &owner.name, &description, &self.os);
        self.interfaces.push(0);
        owner.set_interface(self.file, role, interface);
        Ok(interface)
    }

    /// Nanoseconds since 1970 of a time of CLOCK_BOOTTIME.
    pub fn wall(&self, at: u64) -> u64 {
        self.clock.wall(at)
    }

    /// Says the name of an address, once in each file. An address that had
    /// another one gets both: readers have one name for an address, whatever
    /// the time of the packet.
    pub fn name(&mut self, address: IpAddr, name: &str) {
        let full = self.names.len() >= MAX_NAMES;
        match self.names.get_mut(&address) {
            Some(known) if known.split(OR).any(|known| known == name) => return,
            Some(known) if known.len() + name.len() > MAX_NAME => return,
            Some(known) => {
                known.push_str(OR);
                known.push_str(name);
            }
            None if full => return,
            None => {
                self.names.insert(address, name.to_owned());
            }
        }
        if let Some(name) = self.names.get(&address) {
            pcapng::name(self.sink.buffer(), address, name);
        }
    }

    /// Whether the asked number of packets is written.
    pub fn is_full(&self) -> bool {
        self.packet_limit.is_some_and(|limit| self.counts.packets >= limit)
    }

    /// Writes a packet, unless there are as many as asked for.
    pub fn packet(&mut self, draft: &Draft<'_>, segment: &Segment<'_>) -> Result<(), WriteError> {
        if self.is_full() {
            return Ok(());
        }
        self.now = self.now.max(draft.at);
        let headers = segment.headers();
        let head = PacketHead {
            interface: draft.interface,
            time: self.clock.wall(draft.at),
            captured: (headers + segment.payload.len()) as u32,
            original: (headers + segment.length) as u32,
        };
        let direction = if draft.sent { Direction::Outbound } else { Direction::Inbound };
        let buffer = self.sink.buffer();
        pcapng::packet(buffer, head, direction, draft.drops, draft.comments, |out| {
            segment.write(out);
        });
        self.counts.packets += 1;
        self.counts.bytes += segment.payload.len() as u64;
        self.counts.snapped_bytes += (segment.length - segment.payload.len()) as u64;
        if let Some(received) = self.interfaces.get_mut(draft.interface as usize) {
            *received += 1;
        }
        if self.sink.is_due() {
            self.sink.hand_over(false)?;
        }
        Ok(())
    }

    /// Events lost since the last packet that told of any. `lost` is the
    /// running count.
    pub fn newly_lost(&mut self, lost: u32) -> u64 {
        let new = lost.wrapping_sub(self.told_lost);
        // Events of several CPUs may tell their counts out of order.
        if new > u32::MAX / 2 {
            return 0;
        }
        self.told_lost = lost;
        u64::from(new)
    }

    /// A gap was left, or filled. What comes after the last packet asked for is
    /// none.
    pub fn gaps(&mut self, change: GapChange) {
        if self.is_full() {
            return;
        }
        self.counts.gaps = self.counts.gaps.saturating_add_signed(change.ranges);
        self.counts.gap_bytes = self.counts.gap_bytes.saturating_add_signed(change.bytes);
    }

    /// A connection has its first packet.
    pub fn connection(&mut self) {
        self.counts.connections += 1;
    }

    /// A client of HTTP/2 spoke to this port.
    pub fn saw_http2(&mut self, port: u16) {
        if self.http2_ports.len() < MAX_HTTP2_PORTS {
            self.http2_ports.insert(port);
        }
    }

    /// Flushes once a second, rotates by time. `losses` are running counts.
    pub fn tick(&mut self, now: u64, losses: &[Loss]) -> Result<(), WriteError> {
        self.now = self.now.max(now);
        self.losses.clear();
        self.losses.extend_from_slice(losses);
        if self.flush_always || self.now.saturating_sub(self.flushed) >= FLUSH_TIME {
            self.flushed = self.now;
            self.sink.hand_over(true)?;
        }
        let age = self.now.saturating_sub(self.file_start);
        if self.rotate_time.is_some_and(|time| age >= time) { self.rotate() } else { Ok(()) }
    }

    /// Begins the next file if this one is large enough. Called before there
    /// is more to write, so that no file is empty.
    pub fn rotate_if_large(&mut self) -> Result<(), WriteError> {
        if self.rotate_size.is_some_and(|size| self.sink.file_size() >= size) {
            self.rotate()?;
        }
        Ok(())
    }

    /// Makes all up to here readable with what was lost until now, and tells whoever waits
    /// for `ticket`.
    pub fn reach(&mut self, ticket: u64, losses: &[Loss]) -> Result<(), WriteError> {
        self.losses.clear();
        self.losses.extend_from_slice(losses);
        let losses = self.new_losses();
        if losses.iter().any(|loss| loss.events > 0) {
            self.statistics(0, &losses);
        }
        self.sink.reach(ticket)
    }

    /// What the writing thread has written so far.
    pub fn so_far(&self) -> SoFar {
        self.sink.so_far()
    }

    /// Ends the last file.
    pub fn finish(mut self, losses: &[Loss]) -> Result<(Summary, Written), WriteError> {
        self.losses = losses.to_vec();
        self.end_file();
        self.counts.lost_events = self.losses.iter().map(Loss::dropped).sum();
        self.counts.losses = self.losses;
        self.counts.http2_ports = self.http2_ports.into_iter().collect();
        Ok((self.counts, self.sink.finish()?))
    }

    fn rotate(&mut self) -> Result<(), WriteError> {
        self.end_file();
        self.clock.take_again();
        self.file_start = self.now;
        self.sink.next_file(self.clock.wall(self.now))?;
        self.begin_file();
        Ok(())
    }

    fn begin_file(&mut self) {
        self.file += 1;
        self.interfaces.clear();
        self.interfaces.push(0);
        self.names.clear();
        let application = concat!("perisco ", env!("CARGO_PKG_VERSION"));
        let mut comments = self.section.clone();
        if let Some(first) = self.first_segment {
            let number = first + u64::from(self.file - 1);
            comments.push(format!("{SEGMENT_KEY}={number}"));
            comments.push(format!("{CLOCK_KEY}={}", self.clock.offset()));
        }
        let buffer = self.sink.buffer();
        pcapng::section(buffer, application, &self.os, &comments);
        let description = "owner=unknown ";
        pcapng::interface(buffer, UNKNOWN, description, &self.os);
    }

    /// Statistics: the packets of each interface; all losses stand at the first
    /// one, since there is one count for all of them.
    fn end_file(&mut self) {
        let losses = self.new_losses();
        self.told_losses.clone_from(&self.losses);
        for interface in 0..self.interfaces.len() {
            self.statistics(interface, if interface == 0 { &losses } else { &[] });
        }
    }

    fn statistics(&mut self, interface: usize, losses: &[Loss]) {
        let comments: Vec<String> = losses.iter().flat_map(Loss::comments).collect();
        let statistics = Statistics {
            interface: interface as u32,
            start: self.clock.wall(self.file_start),
            end: self.clock.wall(self.now),
            received: self.interfaces.get(interface).copied().unwrap_or(0),
            dropped: losses.iter().map(Loss::dropped).sum(),
            comments: &comments,
        };
        pcapng::statistics(self.sink.buffer(), &statistics);
    }

    /// What was lost since the file began.
    fn new_losses(&self) -> Vec<Loss> {
        let earlier = |reason: &str| {
            self.told_losses
                .iter()
                .find(|told| told.reason == reason)
                .map_or((0, 0), |told| (told.events, told.bytes))
        };
        let since = |loss: &Loss| {
            let (events, bytes) = earlier(loss.reason);
            Loss {
                reason: loss.reason,
                events: loss.events.saturating_sub(events),
                bytes: loss.bytes.saturating_sub(bytes),
                whole: loss.whole,
            }
        };
        self.losses.iter().map(since).collect()
    }
}

/// The section's comments.
fn comments(options: &WriteOptions) -> Vec<String> {
    let mut comments = vec![
        format!("perisco.backend={}", options.back_end),
        format!("perisco.backend_reason={}", options.back_end_reason),
    ];
    for (key, value) in [("node", &options.node), ("boot", &options.boot)] {
        if !value.is_empty() {
            comments.push(format!("perisco.{key}={value}"));
        }
    }
    if options.snaplen > 0 {
        comments.push(format!("perisco.snaplen={}", options.snaplen));
    }
    if options.both_ends {
        comments.push("perisco.both_ends=true".to_owned());
    }
    comments
}
