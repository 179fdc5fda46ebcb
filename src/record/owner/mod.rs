//! Who uses a socket: processes by pid, from events and `/proc`.
//!
//! An [`Owner`] never changes: exec or a reused pid makes a new one, and
//! connections keep the old one until they are told. Names interfaces; writes
//! none.

pub mod container;
mod proc;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hashbrown::{HashMap, HashSet};

use super::event::Event;
use super::kube::{Member, Pod};
use super::naming::{Naming, Source};
use container::Container;
use proc::Details;
pub use proc::Proc;

/// Processes known at once. Linux allows 4 Mi pids; of more than these that
/// use sockets, some are looked up again.
const MAX_OWNERS: usize = 65_536;

/// Hexadecimal digits of a container id in an interface's name, as `docker ps` shows them.
const SHORT_ID: usize = 12;

/// A process with sockets, as it was when it was first seen.
#[derive(Debug)]
pub struct Owner {
    /// Process id in the initial namespace.
    pub pid: u32,
    /// `<container or "host">/<comm>[<pid>]`.
    pub name: String,
    /// `key=value ` pairs, each with a blank behind it.
    pub description: String,
    details: Details,
    container: Option<Container>,
    /// Its pod, where it is in one that is known.
    member: Option<Member>,
    netns: u32,
    /// It called exec or its pid was given to another: look it up again.
    stale: AtomicBool,
    /// File number and interface in that file, see [`Owner::interface`].
    interfaces: [AtomicU64; 2],
}

impl Owner {
    fn new(pid: u32, netns: u32, details: Details, source: Option<&dyn Naming>) -> Self {
        let container = Container::of(&details.cgroups);
        let pod = container.as_ref().and_then(|found| found.pod.as_deref());
        let member = source.zip(container.as_ref());
        let member = member.and_then(|(source, found)| source.container(Some(&found.id), pod));
        let place = match (&member, &container) {
            (Some(Member { pod, .. }), _) => format!("{}/{}", pod.namespace, pod.name),
            (None, Some(found)) => found.id[..found.id.floor_char_boundary(SHORT_ID)].to_owned(),
            (None, None) => "host".to_owned(),
        };
        let name = format!("{}/{}[{pid}]", printable(&place), printable(&details.comm));
        let description = describe(pid, netns, &details, container.as_ref(), member.as_ref());
        let (stale, interfaces) = (AtomicBool::new(false), Default::default());
        Self { pid, name, description, details, container, member, netns, stale, interfaces }
    }

    /// The pod that it is in.
    pub fn pod(&self) -> Option<&Arc<Pod>> {
        self.member.as_ref().map(|member| &member.pod)
    }

    /// Whether later news may tell more of its pod.
    fn may_be_told_more(&self) -> bool {
        let known = |member: &Member| member.pod.workload.is_some() && member.container.is_some();
        self.container.is_some() && !self.member.as_ref().is_some_and(known)
    }

    /// Its interface in file `file` (counted from 1), where it has one; `role`
    /// 0 or 1 keeps two apart.
    pub fn interface(&self, file: u32, role: usize) -> Option<u32> {
        let held = self.interfaces[role].load(Ordering::Relaxed);
        (held >> 32 == u64::from(file)).then_some(held as u32)
    }

    /// Notes its interface in file `file`.
    pub fn set_interface(&self, file: u32, role: usize, interface: u32) {
        let held = u64::from(file) << 32 | u64::from(interface);
        self.interfaces[role].store(held, Ordering::Relaxed);
    }

    /// Whether it is another process now.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    fn retire(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }
}

/// The processes seen so far.
#[derive(Debug)]
pub struct Owners {
    by_pid: HashMap<u32, Arc<Owner>, foldhash::fast::RandomState>,
    proc: Proc,
    source: Source,
    /// What the source had told when it was last asked for more.
    generation: u64,
    /// Processes of which it may tell more.
    unnamed: HashSet<u32, foldhash::fast::RandomState>,
}

impl Owners {
    /// Processes are looked up in `proc`, and their pods are asked of `source`.
    pub fn new(proc: Proc, source: Source) -> Self {
        Self {
            by_pid: HashMap::default(),
            proc,
            source,
            generation: 0,
            unnamed: HashSet::default(),
        }
    }

    /// Who knows pods and addresses.
    pub fn source(&self) -> Option<&dyn Naming> {
        self.source.as_deref()
    }

    /// Takes news of pods: processes of which more is known now are described
    /// anew. To be called now and then.
    pub fn tick(&mut self) {
        let Some(source) = self.source.as_deref() else { return };
        let generation = source.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        for pid in std::mem::take(&mut self.unnamed) {
            let Some(old) = self.by_pid.get(&pid).cloned() else { continue };
            let new = Owner::new(pid, old.netns, old.details.clone(), self.source.as_deref());
            if new.may_be_told_more() {
                self.unnamed.insert(pid);
            }
            if new.description != old.description {
                // One that is to be looked up again still is.
                new.stale.store(old.is_stale(), Ordering::Relaxed);
                old.retire();
                self.by_pid.insert(pid, Arc::new(new));
            }
        }
    }

    /// The process of an event that has one, looked up at first sight.
    pub fn of(&mut self, event: &Event<'_>, comm: &str) -> Arc<Owner> {
        if let Some(owner) = self.by_pid.get(&event.pid)
            && !owner.is_stale()
            && (comm.is_empty() || !owner.details.comm.is_empty())
            // Looked up at its exec, before it had a socket.
            && (owner.netns != 0 || event.netns == 0)
        {
            return Arc::clone(owner);
        }
        let inherited = self.by_pid.get(&event.pid).map(|owner| owner.details.clone());
        let mut details = self.proc.read(event.pid, inherited);
        if details.comm.is_empty() {
            comm.clone_into(&mut details.comm);
        }
        details.uid = details.uid.or(Some(event.uid));
        self.insert(event.pid, event.netns, details)
    }

    /// What became of a process: exec or a reused pid. None where it is gone.
    pub fn again(&self, pid: u32) -> Option<Arc<Owner>> {
        self.by_pid.get(&pid).filter(|owner| !owner.is_stale()).map(Arc::clone)
    }

    /// A process runs another program now. It is looked up at once, whether it
    /// has sockets or not: many live shorter than their events wait.
    pub fn exec(&mut self, event: &Event<'_>) {
        let old = self.by_pid.get(&event.pid).cloned();
        let comm = event.comm();
        let netns = old.as_ref().map_or(0, |old| old.netns);
        // What /proc says may be of a yet later program; the comm is of this one.
        let mut details = self.proc.read(event.pid, None);
        if !comm.is_empty() && details.comm != comm {
            details.comm = comm;
            details.exe.clear();
        }
        if let Some(old) = old {
            old.retire();
            if details.cgroups.is_empty() {
                details.cgroups.clone_from(&old.details.cgroups);
            }
        }
        details.uid = details.uid.or(Some(event.uid));
        self.insert(event.pid, netns, details);
    }

    /// A child starts as a copy of its parent; if it lives too short to be
    /// looked up, this is what is known.
    pub fn fork(&mut self, child: u32, parent: u32) {
        if let Some(old) = self.by_pid.remove(&child) {
            old.retire();
        }
        if let Some(parent) = self.by_pid.get(&parent) {
            let (netns, details) = (parent.netns, parent.details.clone());
            // To be looked up when it uses a socket.
            self.insert(child, netns, details).retire();
        }
    }

    /// A process ended: its pid may be given to another.
    pub fn exit(&mut self, pid: u32) {
        self.by_pid.remove(&pid);
        self.unnamed.remove(&pid);
    }

    fn insert(&mut self, pid: u32, netns: u32, details: Details) -> Arc<Owner> {
        if self.by_pid.len() >= MAX_OWNERS {
            self.by_pid.clear();
            self.unnamed.clear();
        }
        let owner = Arc::new(Owner::new(pid, netns, details, self.source.as_deref()));
        if self.source.is_some() && owner.may_be_told_more() {
            self.unnamed.insert(pid);
        }
        self.by_pid.insert(pid, Arc::clone(&owner));
        owner
    }
}

/// `key=value ` pairs of all that is known of a process, each with a blank
/// behind it, so that a filter can tell where a value ends.
fn describe(
    pid: u32,
    netns: u32,
    details: &Details,
    container: Option<&Container>,
    member: Option<&Member>,
) -> String {
    let mut description = String::new();
    let mut pair = |key: &str, value: &str| {
        if !value.is_empty() {
            description.push_str(key);
            description.push('=');
            percent_encode(value, &mut description);
            description.push(' ');
        }
    };
    pair("pid", &pid.to_string());
    pair("comm", &details.comm);
    pair("exe", &details.exe);
    pair("uid", &details.uid.map_or(String::new(), |uid| uid.to_string()));
    pair("cgroup", container::deepest(&details.cgroups));
    if let Some(container) = container {
        pair("container", &container.id);
        pair("pod_uid", container.pod.as_deref().unwrap_or_default());
    }
    if let Some(Member { pod, container }) = member {
        pair("pod", &format!("{}/{}", pod.namespace, pod.name));
        pair("namespace", &pod.namespace);
        pair("container_name", container.as_deref().unwrap_or_default());
        if let Some(workload) = &pod.workload {
            pair("workload", &format!("{}/{}", workload.kind, workload.name));
        }
        let labels = pod.labels.iter().map(|(key, value)| format!("{key}={value}"));
        pair("labels", &labels.collect::<Vec<_>>().join(","));
    }
    if netns != 0 {
        pair("netns", &netns.to_string());
    }
    description
}

/// Text for a name: control characters would break a reader's line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Appends `value` with blanks, control characters and `%` as `%XX` of their
/// UTF-8 bytes.
fn percent_encode(value: &str, out: &mut String) {
    for c in value.chars() {
        if c.is_whitespace() || c.is_control() || c == '%' {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
}
