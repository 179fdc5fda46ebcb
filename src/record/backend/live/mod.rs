//! The cgroup back end on this kernel, for real: other processes talk, and
//! what is recorded must be what they said. Needs root and eBPF: without them
//! each test says that it is skipped, or fails if `PERISCO_LIVE=1`.

mod exchange;
mod filters;
mod host;
mod peers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Choice, Recorder, Settings};
use crate::record::event::{Event, Kind, Role, Way};
use crate::record::filter::Filter;
use crate::record::ring::POLL_INTERVAL;

/// No test records longer than this.
const LIMIT: Duration = Duration::from_secs(30);

/// An event that outlives the ring buffer.
#[derive(Clone, Debug)]
struct Seen {
    kind: Kind,
    socket: u64,
    way: Way,
    role: Role,
    seq: u32,
    ack: Option<u32>,
    length: u32,
    lost: u32,
    tcp_flags: u8,
    pid: u32,
    netns: u32,
    midway: bool,
    in_process: bool,
    comm: String,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    payload: Vec<u8>,
}

impl Seen {
    fn new(event: Event<'_>) -> Self {
        Self {
            kind: event.kind,
            socket: event.socket,
            way: event.way,
            role: event.role,
            seq: event.seq,
            ack: event.ack,
            length: event.length,
            lost: event.lost,
            tcp_flags: event.tcp_flags,
            pid: event.pid,
            netns: event.netns,
            midway: event.midway,
            in_process: event.in_process,
            comm: event.comm(),
            local: event.local,
            remote: event.remote,
            payload: event.payload.to_vec(),
        }
    }

    fn has_port(&self, port: u16) -> bool {
        [self.local, self.remote].into_iter().flatten().any(|address| address.port() == port)
    }
}

/// Settings of the cgroup back end that deliver both ends of connections to
/// `port`: other tests talk too.
fn both_ends(port: u16) -> Settings {
    let filter = Filter { ports: vec![port..=port], ..Filter::default() };
    Settings {
        choice: Choice::Cgroup,
        both_ends: true,
        buffer_bytes: 16 << 20,
        filter,
        ..Settings::default()
    }
}

/// A recorder, or None (said so) where there can be none.
fn start(settings: &Settings) -> Option<Recorder> {
    match Recorder::start(settings) {
        Ok(recorder) => Some(recorder),
        Err(error) if std::env::var_os("PERISCO_LIVE").is_some() => panic!("{error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Hands over events until `enough` says so of those so far.
fn collect(recorder: &mut Recorder, events: &mut Vec<Seen>, enough: impl Fn(&[Seen]) -> bool) {
    let start = Instant::now();
    while !enough(events) {
        assert!(
            start.elapsed() < LIMIT,
            "what was waited for did not come: {} events",
            events.len()
        );
        recorder.poll(POLL_INTERVAL, &mut |event| events.push(Seen::new(event))).unwrap();
    }
}

/// Whether both ends of the connections to `port` have closed, `times` each.
fn closed(port: u16, times: usize) -> impl Fn(&[Seen]) -> bool {
    move |events| {
        let closes =
            events.iter().filter(|event| event.kind == Kind::Close && event.has_port(port));
        closes.count() >= 2 * times
    }
}

/// The event of `kind` of the end with this `role` of the connection to `port`.
fn one(events: &[Seen], kind: Kind, role: Role, port: u16) -> &Seen {
    let found = events
        .iter()
        .find(|event| event.kind == kind && event.role == role && event.has_port(port));
    found.unwrap_or_else(|| panic!("no {kind:?} of the {role:?} at port {port}"))
}

/// What one end sent or received, by sequence number from `first` on: panics
/// where a byte is missing or two copies differ.
fn stream(events: &[Seen], socket: u64, way: Way, first: u32) -> Vec<u8> {
    let mut pieces: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let data = events
        .iter()
        .filter(|event| event.kind == Kind::Data && event.socket == socket && event.way == way);
    for event in data.filter(|event| !event.payload.is_empty()) {
        let at = event.seq.wrapping_sub(first);
        let old = pieces.insert(at, event.payload.clone());
        assert!(old.is_none_or(|old| old == event.payload), "two different copies at {at}");
    }
    let mut bytes: Vec<u8> = Vec::new();
    for (at, piece) in pieces {
        assert!(at as usize <= bytes.len(), "bytes {} to {at} are missing", bytes.len());
        let known = bytes.len() - at as usize;
        bytes.extend_from_slice(piece.get(known..).unwrap_or_default());
    }
    bytes
}

/// What `peer.py` sends: place in the stream modulo 251, plus `salt`.
fn sent_by_peer(salt: usize, length: usize) -> Vec<u8> {
    (0..length).map(|place| ((place + salt) % 251) as u8).collect()
}

/// Equal, without printing megabytes.
fn assert_same(what: &str, left: &[u8], right: &[u8]) {
    let differ = left.iter().zip(right).position(|(left, right)| left != right);
    assert!(
        left == right,
        "{what}: {} bytes, expected {}; first difference at {differ:?}",
        left.len(),
        right.len()
    );
}
