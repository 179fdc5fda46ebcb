//! What of a recording can change while it runs: the members of the filters'
//! sets, which are maps. Whether a filter is used at all, ports and roles are
//! constants that the verifier has seen, and stay.

use std::io;
use std::time::Duration;

use libbpf_rs::{MapCore, MapFlags};

use super::backend::{Recorder, io_error};
use super::filter::{Comm, Exe, Filter, Net};
use super::targets::Targets;

/// What shall be otherwise from now on; None stays as it is. A set that is
/// exchanged must have had members, and must have some again.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Processes, with the children that they have now and will have.
    pub pids: Option<Vec<u32>>,
    /// Process names.
    pub comms: Option<Vec<Comm>>,
    /// Executable files.
    pub exes: Option<Vec<Exe>>,
    /// Users.
    pub uids: Option<Vec<u32>>,
    /// Networks.
    pub nets: Option<Vec<Net>>,
    /// Network namespaces.
    pub netns: Option<Vec<u32>>,
    /// Containers and cgroups.
    pub targets: Option<Targets>,
    /// When to stop, counted from the beginning.
    pub duration: Option<Option<Duration>>,
}

impl Change {
    /// Exchanges the members of sets but pids and targets, and notes that in
    /// `filter`, which is what is in force.
    ///
    /// # Errors
    ///
    /// A set is full; the others are exchanged all the same.
    pub(super) fn sets(&self, recorder: &Recorder, filter: &mut Filter) -> io::Result<()> {
        let maps = recorder.maps();
        let mut done = Ok(());
        let mut note = |result: io::Result<()>| {
            if done.is_ok() {
                done = result;
            }
        };
        if let Some(comms) = &self.comms {
            note(exchange(&maps.comms, &filter.comms, comms, |comm| comm.bytes().to_vec()));
            filter.comms.clone_from(comms);
        }
        if let Some(exes) = &self.exes {
            note(exchange(&maps.exes, &filter.exes, exes, |exe| exe.bytes().to_vec()));
            filter.exes.clone_from(exes);
        }
        if let Some(uids) = &self.uids {
            note(exchange(&maps.uids, &filter.uids, uids, number));
            filter.uids.clone_from(uids);
        }
        if let Some(netns) = &self.netns {
            note(exchange(&maps.netnses, &filter.netns, netns, number));
            filter.netns.clone_from(netns);
        }
        if let Some(nets) = &self.nets {
            let of = |all: &[Net], v4: bool| -> Vec<Net> {
                all.iter().filter(|net| net.is_ipv4() == v4).copied().collect()
            };
            let (old4, new4) = (of(&filter.nets, true), of(nets, true));
            let (old6, new6) = (of(&filter.nets, false), of(nets, false));
            note(exchange(&maps.nets4, &old4, &new4, Net::bytes));
            note(exchange(&maps.nets6, &old6, &new6, Net::bytes));
            filter.nets.clone_from(nets);
        }
        done
    }
}

fn number(number: &u32) -> Vec<u8> {
    number.to_ne_bytes().to_vec()
}

/// First what comes, then away with what goes: what is in both is never out.
fn exchange<T: PartialEq>(
    map: &dyn MapCore,
    old: &[T],
    new: &[T],
    key: impl Fn(&T) -> Vec<u8>,
) -> io::Result<()> {
    for value in new {
        map.update(&key(value), &[1], MapFlags::ANY).map_err(|error| io_error(&error))?;
    }
    for value in old.iter().filter(|value| !new.contains(value)) {
        // Gone is gone.
        let _ = map.delete(&key(value));
    }
    Ok(())
}

/// Bytes of a `struct process` of `bpf/maps.h`, as far as filters ask.
struct Process<'a> {
    cgroup: &'a [u8],
    pid: &'a [u8],
    uid: &'a [u8],
    exe_device: &'a [u8],
    exe_inode: &'a [u8],
    comm: &'a [u8],
}

impl<'a> Process<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            cgroup: bytes.get(..8)?,
            pid: bytes.get(8..12)?,
            uid: bytes.get(16..20)?,
            exe_device: bytes.get(20..24)?,
            exe_inode: bytes.get(24..32)?,
            comm: bytes.get(32..48)?,
        })
    }
}

/// Where `wanted` is in a `struct listener`, and what it says.
const LISTENER_WANTED: usize = 56;
const YES: u8 = 1;
const NO: u8 = 2;

impl Recorder {
    /// Decides again whose listeners are wanted, by the sets as they are now:
    /// what they accept from now on goes by that until its first call, and was
    /// decided when they were first seen. `filter` says which sets count.
    ///
    /// # Errors
    ///
    /// A map or the iterator can't be read.
    pub(super) fn look_at_listeners_again(&mut self, filter: &Filter) -> io::Result<()> {
        if !filter.asks_for_process() {
            return Ok(());
        }
        let maps = self.maps();
        let keys: Vec<Vec<u8>> = maps.listeners.keys().collect();
        for key in keys {
            let found = maps.listeners.lookup(&key, MapFlags::ANY).ok().flatten();
            let Some(mut listener) = found else { continue };
            let wanted = match Process::new(&listener) {
                Some(process) if self.wants(filter, &process) => YES,
                _ => NO,
            };
            if let Some(place) = listener.get_mut(LISTENER_WANTED)
                && *place != wanted
            {
                *place = wanted;
                // Not if it was closed meanwhile.
                let _ = maps.listeners.update(&key, &listener, MapFlags::EXIST);
            }
        }
        // A listener of several processes is wanted if any of them is.
        self.scan()
    }

    /// `wants_process` of `bpf/filter.h`.
    fn wants(&self, filter: &Filter, process: &Process<'_>) -> bool {
        let maps = self.maps();
        let has = |map: &dyn MapCore, key: &[u8]| {
            map.lookup(key, MapFlags::ANY).is_ok_and(|found| found.is_some())
        };
        let exe = || [process.exe_inode, process.exe_device, &[0; 4]].concat();
        (!filter.by_pid() || has(&maps.pids, process.pid))
            && (filter.comms.is_empty() || has(&maps.comms, process.comm))
            && (filter.exes.is_empty() || has(&maps.exes, &exe()))
            && (filter.uids.is_empty() || has(&maps.uids, process.uid))
            && (!filter.by_cgroup() || has(&maps.cgroups, process.cgroup))
    }
}
