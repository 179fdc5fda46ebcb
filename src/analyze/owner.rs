//! Whose the ends of a connection are, as perisco's recorder wrote it down.
//!
//! A recording has an interface per process, and the first packet of a
//! connection names the interfaces of both ends in its comments, as does a
//! later one when an owner changes. [`Registry`] turns that into [`Note`]s
//! while packets are read, [`Owners`] keeps them with a flow. Comments of
//! captures that perisco did not write are comments, whatever they say.

use std::collections::HashMap;
use std::sync::Arc;

use crate::analyze::flow::key::Side;
use crate::pcap::{Comment, Interface};

/// Bytes kept of each value of a description: as long as a path can be on
/// Linux (PATH_MAX).
const VALUE_BYTES: usize = 4096;

/// Changes of owners kept per connection. Workers accept a connection once;
/// past this the oldest are forgotten.
const CHANGES_PER_FLOW: usize = 64;

/// A process at the end of a connection. What the recorder did not know is None.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Process id, in the recorder's pid namespace.
    pub pid: Option<u32>,
    /// Name of the process as in `/proc/PID/comm`.
    pub comm: Option<String>,
    /// Path of the executable.
    pub exe: Option<String>,
    /// User id.
    pub uid: Option<u32>,
    /// Container id, as long as the recorder found it.
    pub container: Option<String>,
}

impl Process {
    /// From an `if_description`: `key=value` pairs, each ended by a blank,
    /// values percent-encoded. Unknown keys are passed over. None where it
    /// says nothing of a process.
    fn read(description: &str) -> Option<Self> {
        let mut process = Self::default();
        for (key, value) in description.split(' ').filter_map(|pair| pair.split_once('=')) {
            match key {
                "pid" => process.pid = value.parse().ok(),
                "comm" => process.comm = text(value),
                "exe" => process.exe = text(value),
                "uid" => process.uid = value.parse().ok(),
                "container" => process.container = text(value),
                _ => {}
            }
        }
        (process != Self::default()).then_some(process)
    }

    /// `comm[pid]`, as interfaces are named; None where neither is known.
    pub fn label(&self) -> Option<String> {
        match (&self.comm, self.pid) {
            (Some(comm), Some(pid)) => Some(format!("{comm}[{pid}]")),
            (Some(comm), None) => Some(comm.clone()),
            (None, Some(pid)) => Some(format!("[{pid}]")),
            (None, None) => None,
        }
    }

    /// Whether anything but the container is known.
    pub fn is_known(&self) -> bool {
        self.pid.is_some() || self.comm.is_some() || self.exe.is_some() || self.uid.is_some()
    }
}

/// A value without its percent-encoding (RFC 3986 section 2.1); None if empty.
pub(super) fn text(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first()
        && bytes.len() < VALUE_BYTES
    {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Who of a connection an owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It connected.
    Client,
    /// It accepted.
    Server,
}

/// What the comments of a packet say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Something for people.
    Comment(String),
    /// An end of the connection is this process's from here on.
    Owner(Owner),
}

/// The owner of one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    role: Role,
    process: Option<Arc<Process>>,
    /// Whether the client sent the packet, where the packet tells.
    client_sends: Option<bool>,
}

/// Processes by name of the interface; None where the recorder knew none.
type Section = HashMap<String, Option<Arc<Process>>>;

/// The processes that interfaces of recordings stand for.
#[derive(Default)]
pub struct Registry {
    /// By input and section.
    sections: HashMap<(usize, u32), Section>,
}

impl Registry {
    /// Takes an interface; only those that perisco wrote are kept.
    pub fn describe(&mut self, interface: &Interface) {
        let (true, Some(name)) = (interface.is_recording(), &interface.name) else { return };
        let description = interface.description.as_deref().unwrap_or_default();
        let process = Process::read(description).map(Arc::new);
        let section = self.sections.entry((interface.file, interface.section)).or_default();
        section.insert(name.clone(), process);
    }

    /// What a comment of a packet of `interface` says; None where it is
    /// perisco's own and tells of no owner.
    pub fn note(&self, interface: Option<&Interface>, comment: Comment) -> Option<Note> {
        let Some(interface) = interface.filter(|interface| interface.is_recording()) else {
            return Some(Note::Comment(comment.text));
        };
        let (role, name) = match comment.text.split_once('=') {
            Some(("client", name)) => (Role::Client, name),
            Some(("server", name)) => (Role::Server, name),
            Some(("joined", "midway")) => return None,
            _ => return Some(Note::Comment(comment.text)),
        };
        let section = self.sections.get(&(interface.file, interface.section));
        let process = section.and_then(|names| names.get(name)).cloned().flatten();
        // A packet lies on the interface of one end: that of its sender if it
        // is outbound, of its receiver if it is inbound.
        let holder_is_client = (interface.name.as_deref() == Some(name)) == (role == Role::Client);
        let client_sends = comment.outbound.map(|outbound| outbound == holder_is_client);
        Some(Note::Owner(Owner { role, process, client_sends }))
    }
}

/// The owners of the two ends of a connection, and since when.
#[derive(Debug, Default)]
pub struct Owners {
    /// The end of whom the recorder calls client.
    client: Option<Side>,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    packet: u64,
    side: Side,
    process: Option<Arc<Process>>,
}

impl Owners {
    /// None yet; `client` is the end of whom the recorder calls client, where
    /// it has named an owner before.
    pub fn new(client: Option<Side>) -> Self {
        Self { client, changes: Vec::new() }
    }

    /// Whether no packet named an owner.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Takes what packet number `packet`, sent by `sender`, says. `syn` is
    /// whether the client sent it, where its handshake flags tell; `client` is
    /// who is taken for the client otherwise.
    pub fn keep(
        &mut self,
        owner: &Owner,
        packet: u64,
        sender: Side,
        syn: Option<bool>,
        client: Side,
    ) {
        // Said once: which end an interface is of does not change.
        let client = *self.client.get_or_insert_with(|| match syn.or(owner.client_sends) {
            Some(true) => sender,
            Some(false) => sender.other(),
            None => client,
        });
        let side = if owner.role == Role::Client { client } else { client.other() };
        if self.changes.len() >= CHANGES_PER_FLOW {
            self.changes.remove(0);
        }
        self.changes.push(Change { packet, side, process: owner.process.clone() });
    }

    /// Who owned the end when packet number `packet` came; who first did,
    /// where that is said only later.
    pub fn at(&self, side: Side, packet: u64) -> Option<&Process> {
        let mut of_side = self.changes.iter().filter(|change| change.side == side);
        let first = of_side.next()?;
        let last = of_side.take_while(|change| change.packet <= packet).last();
        last.unwrap_or(first).process.as_deref()
    }

    /// The names of all that owned the end, each once, sorted.
    pub fn names(&self, side: Side) -> Vec<String> {
        let of_side = self.changes.iter().filter(|change| change.side == side);
        let names = of_side.filter_map(|change| change.process.as_deref()?.comm.clone());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The end of whom the recorder calls client, where it named an owner.
    pub fn client(&self) -> Option<Side> {
        self.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcap::LinkType;

    fn interface(application: Option<&str>, name: &str, description: &str) -> Interface {
        Interface {
            file: 0,
            section: 0,
            application: application.map(Arc::from),
            notes: None,
            name: Some(name.to_owned()),
            description: Some(description.to_owned()),
            link: LinkType(1),
            snaplen: 0,
        }
    }

    fn comment(text: &str, outbound: Option<bool>) -> Comment {
        Comment { packet: 0, text: text.to_owned(), outbound }
    }

    #[test]
    fn descriptions_are_read_leniently() {
        let read = |text| Process::read(text);
        let full = "pid=7 comm=a%20b%25%zz%e9 exe=/bin/a uid=0 new=1 container=abc =x junk ";
        let process = read(full).unwrap();
        assert_eq!((process.pid, process.uid), (Some(7), Some(0)));
        assert_eq!(process.comm.as_deref(), Some("a b%%zz\u{fffd}"));
        assert_eq!(process.container.as_deref(), Some("abc"));
        assert_eq!(process.label().as_deref(), Some("a b%%zz\u{fffd}[7]"));
        assert_eq!(read("pid=-1 comm= uid=99999999999 "), None);
        assert_eq!(read(""), None);
        let long = format!("exe={} ", "x".repeat(VALUE_BYTES + 9));
        assert_eq!(read(&long).unwrap().exe.unwrap().len(), VALUE_BYTES);
    }

    #[test]
    fn only_sections_of_perisco_name_owners() {
        let mut registry = Registry::default();
        let own = interface(Some("perisco 0.1.0"), "host/curl[7]", "pid=7 comm=curl ");
        registry.describe(&own);
        for other in [None, Some("periscope 1"), Some("dumpcap")] {
            let other = interface(other, "host/curl[7]", "pid=7 comm=curl ");
            let text = "client=host/curl[7]";
            assert_eq!(
                registry.note(Some(&other), comment(text, None)),
                Some(Note::Comment(text.into()))
            );
        }
        let note = registry.note(Some(&own), comment("client=host/curl[7]", Some(true)));
        let Some(Note::Owner(owner)) = note else { panic!("{note:?}") };
        assert_eq!((owner.role, owner.client_sends), (Role::Client, Some(true)));
        assert_eq!(owner.process.unwrap().pid, Some(7));
        assert_eq!(registry.note(Some(&own), comment("joined=midway", None)), None);
        let note = registry.note(Some(&own), comment("look=here", None));
        assert_eq!(note, Some(Note::Comment("look=here".into())));
        // The same name in another section stands for nothing there.
        let later = Interface { section: 1, ..own };
        let note = registry.note(Some(&later), comment("client=host/curl[7]", None));
        assert!(matches!(note, Some(Note::Owner(Owner { process: None, .. }))), "{note:?}");
    }

    #[test]
    fn an_owner_holds_from_its_packet_on() {
        let process = |pid| Some(Arc::new(Process { pid: Some(pid), ..Process::default() }));
        let owner = |role, pid, client_sends| Owner { role, process: process(pid), client_sends };
        let mut owners = Owners::default();
        let pid = |owners: &Owners, side, packet| owners.at(side, packet).and_then(|p| p.pid);
        // The server's packet, on the server's interface.
        owners.keep(&owner(Role::Server, 1, Some(false)), 5, Side::A, None, Side::A);
        owners.keep(&owner(Role::Client, 2, Some(true)), 5, Side::A, None, Side::A);
        owners.keep(&owner(Role::Server, 3, None), 9, Side::B, None, Side::A);
        assert_eq!(pid(&owners, Side::A, 4), Some(1));
        assert_eq!(pid(&owners, Side::A, 8), Some(1));
        assert_eq!(pid(&owners, Side::A, 9), Some(3));
        assert_eq!(pid(&owners, Side::B, 9), Some(2));
        for packet in 10..1000 {
            owners.keep(&owner(Role::Server, 4, None), packet, Side::B, None, Side::A);
        }
        assert!(owners.changes.len() <= CHANGES_PER_FLOW);
        assert_eq!(pid(&owners, Side::A, 1000), Some(4));
    }
}
