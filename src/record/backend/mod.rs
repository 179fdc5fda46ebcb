//! The BPF programs, loaded and attached: [`Recorder`]. Two back ends deliver
//! payload (`bpf/socket.bpf.c`, `bpf/cgroup.bpf.c`), one set of programs tells
//! owners (`bpf/owner.bpf.c`). What comes out are [`Event`](super::event::Event)s;
//! what they mean for connections is not known here.

mod info;
mod load;
mod log;
mod mount;
mod probe;
mod refusal;
mod start;
#[cfg(feature = "record-events")]
mod verified;

#[cfg(test)]
mod live;

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use libbpf_rs::skel::Skel;
use libbpf_rs::{Iter, Link, MapCore, MapFlags};

pub use mount::cgroup_mount;
pub use probe::{ProbeReport, ProgramReport, probe};
pub use refusal::Refusal;
#[cfg(feature = "record-events")]
pub use verified::verified;

use super::counters::{COUNTERS, Counters};
use super::filter::{Filter, FilterError};
use super::ring::{On, Ring};
use super::skel::{RecordMaps, RecordSkel};

/// Default size of the ring buffer in bytes: a quarter of a second of the
/// 250 MB/s that one reader was measured to keep up with.
pub const BUFFER_BYTES: u32 = 64 << 20;

/// Bytes that the socket back end copies of one call at least: what the default
/// ring buffer can hold at once.
pub const CALL_BYTES: u32 = BUFFER_BYTES;

/// Where the payload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackEnd {
    /// Calls on sockets, by fentry and fexit of the kernel's functions.
    Socket,
    /// Packets of sockets, by cgroup_skb at the root of cgroup2.
    Cgroup,
}

impl BackEnd {
    /// `back_end` of `bpf/maps.h`.
    fn code(self) -> u32 {
        match self {
            Self::Socket => 1,
            Self::Cgroup => 2,
        }
    }
}

impl fmt::Display for BackEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "socket",
            Self::Cgroup => "cgroup",
        })
    }
}

/// Which back end is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The socket back end, else the cgroup back end.
    #[default]
    Auto,
    /// The socket back end or none.
    Socket,
    /// The cgroup back end or none.
    Cgroup,
}

/// How to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which back end.
    pub choice: Choice,
    /// Size of the ring buffer in bytes: a power of two, at least a page.
    pub buffer_bytes: u32,
    /// Bytes to keep of each write or packet; 0: all.
    pub snaplen: u32,
    /// Bytes of one call that the socket back end copies, the rest is a gap;
    /// 0: [`CALL_BYTES`], or the size of the ring buffer where that is larger.
    pub call_bytes: u32,
    /// Both ends of a connection that are on this host deliver its bytes.
    pub both_ends: bool,
    /// What to record.
    pub filter: Filter,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            choice: Choice::Auto,
            buffer_bytes: BUFFER_BYTES,
            snaplen: 0,
            call_bytes: 0,
            both_ends: false,
            filter: Filter::default(),
        }
    }
}

/// Why recording can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not a size that a ring buffer can have.
    #[error("a buffer of {0} bytes is not possible: it must be a power of two and at least {page} (one page)", page = rustix::param::page_size())]
    Buffer(u32),
    /// A filter that does not fit.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// No back end that was asked for works here.
    #[error("no back end works on this system:{}", list(.0))]
    Refused(Vec<Refusal>),
    /// The ring buffer or a map can't be used.
    #[error("the programs are loaded, but not reachable: {0}")]
    Io(#[from] io::Error),
}

/// libbpf-rs shows the number of an error only in its text.
pub(super) fn io_error(error: &libbpf_rs::Error) -> io::Error {
    let text = format!("{error:#}");
    match text.rsplit_once("(os error ").and_then(|(_, rest)| rest.split(')').next()?.parse().ok())
    {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(text),
    }
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| format!("\n  {refusal}")).collect()
}

/// Programs that are loaded and attached; detached when dropped.
pub struct Recorder {
    // Dropped first: nothing runs while the rest is taken down.
    _links: Vec<Link>,
    scan: Option<Link>,
    ring: Ring,
    skeleton: RecordSkel<'static>,
    back_end: BackEnd,
    refusals: Vec<Refusal>,
    notes: Vec<String>,
    programs: Vec<info::Held>,
}

impl Recorder {
    /// Which back end it is.
    pub fn back_end(&self) -> BackEnd {
        self.back_end
    }

    /// Why not the other back ends that were asked for.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// What the user should know: programs that this kernel lacks, where it is attached.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Finds the sockets that are older than the recorder, in every network
    /// namespace; they come as events of the next [`poll`](Self::poll). Also
    /// finds which process perisco itself is, if it runs in a pid namespace.
    ///
    /// # Errors
    ///
    /// The iterator can't be read. Without one ([`notes`](Self::notes) says so)
    /// nothing is found.
    pub fn scan(&mut self) -> io::Result<()> {
        let Some(link) = &self.scan else { return Ok(()) };
        // First listeners, then connections: their role depends on those.
        for pass in 0..2 {
            if let Some(state) = self.skeleton.maps.bss_data.as_deref_mut() {
                state.scan_pass = pass;
            }
            let mut text = Vec::new();
            Iter::new(link).map_err(|error| io_error(&error))?.read_to_end(&mut text)?;
        }
        Ok(())
    }

    /// Waits until much is queued, `timeout` is over or a signal came, then
    /// hands what is queued to `on`; returns how many events that was. Call it
    /// again at once while it returns many, with
    /// [`POLL_INTERVAL`](super::ring::POLL_INTERVAL) otherwise.
    ///
    /// # Errors
    ///
    /// Waiting failed.
    pub fn poll(&mut self, timeout: Duration, on: &mut On<'_>) -> io::Result<usize> {
        self.ring.poll(timeout, on)
    }

    /// Bytes that are in the ring buffer now.
    pub fn ring_used(&self) -> u64 {
        self.ring.used()
    }

    /// The maps, for what may change while recording.
    pub(super) fn maps(&self) -> &RecordMaps<'static> {
        &self.skeleton.maps
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        let mut values = [0; COUNTERS];
        for (index, value) in (0u32..).zip(&mut values) {
            let cpus =
                self.skeleton.maps.counters.lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY);
            let cpus = cpus.ok().flatten().unwrap_or_default();
            let number =
                |bytes: &Vec<u8>| bytes.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
            *value = cpus.iter().map(number).sum();
        }
        Counters {
            missed_runs: self.missed_runs(),
            malformed: self.ring.malformed(),
            ..Counters::from_array(&values)
        }
    }

    fn missed_runs(&self) -> u64 {
        // What the socket back end's twins (bpf/socket.bpf.c, `_again`) both
        // missed they count themselves, as calls that were not seen.
        let ours = self.programs.iter().filter(|program| !program.twin);
        ours.map(info::Held::missed_runs).sum()
    }

    /// Whether the programs' counts can be read: not on every kernel without
    /// CAP_BPF.
    ///
    /// # Errors
    ///
    /// They cannot.
    pub fn answers(&self) -> io::Result<()> {
        let first = self.skeleton.maps.counters.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY);
        first.map(drop).map_err(|error| io_error(&error))
    }

    /// Records process `pid` (of the initial pid namespace) and its future
    /// children too. Only with [`Filter::pids`] or [`Filter::pids_later`].
    ///
    /// # Errors
    ///
    /// The set is full.
    pub fn add_pid(&self, pid: u32) -> io::Result<()> {
        self.skeleton
            .maps
            .pids
            .update(&pid.to_ne_bytes(), &[1], MapFlags::ANY)
            .map_err(|error| io_error(&error))
    }

    /// Records process `pid` no more; connections that it has go on.
    pub fn remove_pid(&self, pid: u32) {
        // Gone is gone.
        let _ = self.skeleton.maps.pids.delete(&pid.to_ne_bytes());
    }

    /// Records the cgroup no more; connections of its processes go on.
    pub fn remove_cgroup(&self, id: u64) {
        let _ = self.skeleton.maps.cgroups.delete(&id.to_ne_bytes());
    }

    /// Records the cgroup with this cgroup2 id too. Only with
    /// [`Filter::cgroups`] or [`Filter::cgroups_later`].
    ///
    /// # Errors
    ///
    /// The set is full.
    pub fn add_cgroup(&self, id: u64) -> io::Result<()> {
        self.skeleton
            .maps
            .cgroups
            .update(&id.to_ne_bytes(), &[1], MapFlags::ANY)
            .map_err(|error| io_error(&error))
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs = self.skeleton.object().progs().count();
        f.debug_struct("Recorder")
            .field("back_end", &self.back_end)
            .field("programs", &programs)
            .finish()
    }
}
