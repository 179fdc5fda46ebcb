//! Whose the ends of a connection are, as perisco's recorder wrote it down.
//!
//! A recording has an interface per process, and the first packet of a
//! connection names the interfaces of both ends in its comments, as does a
//! later one when an owner changes. Where ends run (pods, Services, nodes) is said by
//! interfaces and by comments ([`place`]). [`Registry`] turns that into [`Note`]s
//! while packets are read, [`Owners`] keeps them with a flow. Comments of
//! captures that perisco did not write are comments, whatever they say.

mod container;
pub mod place;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use place::{End, OwnedEnd};

use container::Container;
use place::Place;

use crate::analyze::flow::key::Side;
use crate::pcap::{Comment, Interface};

/// Bytes kept of each value of a description: as long as a path can be on
/// Linux (PATH_MAX).
const VALUE_BYTES: usize = 4096;

/// Changes of owners kept per connection. Workers accept a connection once;
/// past this the oldest are forgotten.
const CHANGES_PER_FLOW: usize = 64;

/// Places that connections share: their ends are few pods, Services and nodes. Past
/// that each connection has its own.
const SHARED_PLACES: usize = 4096;

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
#[derive(Clone, Debug)]
pub enum Note {
    /// Something for people.
    Comment(String),
    /// An end of the connection is this process's from here on.
    Owner(Owner),
    /// Where an end of the connection runs.
    Place(Role, Arc<Place>),
}

/// The owner of one end.
#[derive(Clone, Debug)]
pub struct Owner {
    role: Role,
    process: Option<Arc<Local>>,
    /// Whether the client sent the packet, where the packet tells.
    client_sends: Option<bool>,
}

/// A process on the recorder's host.
#[derive(Debug)]
struct Local {
    process: Option<Process>,
    /// Where it runs; that of all processes of a container.
    container: Arc<Container>,
}

/// Processes by name of the interface; None where the recorder knew none.
type Section = HashMap<String, Option<Arc<Local>>>;

/// The processes that interfaces of recordings stand for.
#[derive(Default)]
pub struct Registry {
    /// By input and section.
    sections: HashMap<(usize, u32), Section>,
    /// By container id.
    containers: HashMap<String, Arc<Container>>,
    /// What was said of containers that processes were known of before, by interface:
    /// it holds from the first packet there on.
    news: HashMap<u32, (Arc<Container>, Place)>,
    /// Places of connections, each once.
    places: HashSet<Arc<Place>>,
}

impl Registry {
    /// Takes the interface of this number; only those that perisco wrote are kept.
    pub fn describe(&mut self, number: u32, interface: &Interface) {
        let (true, Some(name)) = (interface.is_recording(), &interface.name) else { return };
        let description = interface.description.as_deref().unwrap_or_default();
        let process = Process::read(description);
        let mut place = Place::read(description);
        if let Some(place) = &mut place {
            // A process runs on the node of who recorded it.
            place.node = place.node.take().or_else(|| node_of(interface));
        }
        let local = (process.is_some() || place.is_some()).then(|| {
            let id = process.as_ref().and_then(|process| process.container.as_ref());
            let known = id.and_then(|id| self.containers.get(id)).cloned();
            let container = known.clone().unwrap_or_default();
            if let (Some(id), None) = (id, &known) {
                self.containers.insert(id.clone(), Arc::clone(&container));
            }
            match (place, known) {
                // Nobody can have asked before.
                (Some(place), None) => container.learn(0, &place),
                (Some(place), Some(known)) if !known.knows(&place) => {
                    self.news.insert(number, (known, place));
                }
                _ => {}
            }
            Arc::new(Local { process, container })
        });
        let section = self.sections.entry((interface.file, interface.section)).or_default();
        section.insert(name.clone(), local);
    }

    /// Takes the interfaces of the next packets, the first of which has this number.
    pub fn follow(&mut self, first: u64, interfaces: impl Iterator<Item = u32>) {
        if self.news.is_empty() {
            return;
        }
        for (packet, interface) in (first..).zip(interfaces) {
            if let Some((container, place)) = self.news.remove(&interface) {
                container.learn(packet, &place);
            }
        }
    }

    /// Adds what a comment of packet number `packet`, on `interface`, says to the notes of
    /// all packets so far; nothing where it is perisco's own and tells of no end.
    pub fn note(
        &mut self,
        packet: u64,
        interface: Option<&Interface>,
        comment: Comment,
        notes: &mut Vec<(u64, Note)>,
    ) {
        let Some(interface) = interface.filter(|interface| interface.is_recording()) else {
            return notes.push((packet, Note::Comment(comment.text)));
        };
        let (role, name) = match comment.text.split_once('=') {
            Some(("client", name)) => (Role::Client, name),
            Some(("server", name)) => (Role::Server, name),
            Some(("joined", "midway")) => return,
            Some((key, value)) if note_place(packet, key, value, notes) => return,
            _ => return notes.push((packet, Note::Comment(comment.text))),
        };
        let section = self.sections.get(&(interface.file, interface.section));
        let process = section.and_then(|names| names.get(name)).cloned().flatten();
        // A packet lies on the interface of one end: that of its sender if it
        // is outbound, of its receiver if it is inbound.
        let holder_is_client = (interface.name.as_deref() == Some(name)) == (role == Role::Client);
        let client_sends = comment.outbound.map(|outbound| outbound == holder_is_client);
        notes.push((packet, Note::Owner(Owner { role, process, client_sends })));
    }

    /// Lets the places of these notes be shared with those of others that are equal.
    pub fn share(&mut self, notes: &mut [(u64, Note)]) {
        for (_, note) in notes {
            let Note::Place(_, place) = note else { continue };
            match self.places.get(place) {
                Some(known) => *place = Arc::clone(known),
                None if self.places.len() < SHARED_PLACES => {
                    self.places.insert(Arc::clone(place));
                }
                None => {}
            }
        }
    }
}

/// The node that an interface's section was recorded on.
fn node_of(interface: &Interface) -> Option<String> {
    let mut notes = interface.notes.iter().flat_map(|notes| notes.iter());
    place::name_of(notes.find_map(|note| note.strip_prefix("perisco.node="))?)
}

/// Takes what is said of where an end of the connection runs, one note for all of a packet
/// and end; false where it is nothing of that.
fn note_place(packet: u64, key: &str, value: &str, notes: &mut Vec<(u64, Note)>) -> bool {
    let (role, key) = match key.split_once('.') {
        Some(("client", key)) => (Role::Client, key),
        Some(("server", key)) => (Role::Server, key),
        _ => return false,
    };
    let of_packet = notes.iter_mut().rev().take_while(|(number, _)| *number == packet);
    for (_, note) in of_packet {
        if let Note::Place(known, place) = note
            && *known == role
        {
            return Arc::make_mut(place).take(key, value);
        }
    }
    let mut place = Place::default();
    let taken = place.take(key, value);
    if taken {
        notes.push((packet, Note::Place(role, Arc::new(place))));
    }
    taken
}

/// The owners of the two ends of a connection, and since when.
#[derive(Debug, Default)]
pub struct Owners {
    /// The end of whom the recorder calls client.
    client: Option<Side>,
    changes: Vec<Change>,
    /// What was said of where ends run: each says all that was said of its side so far.
    places: Vec<(u64, Side, Arc<Place>)>,
}

#[derive(Debug)]
struct Change {
    packet: u64,
    side: Side,
    process: Option<Arc<Local>>,
}

impl Owners {
    /// None yet; `client` is the end of whom the recorder calls client, where
    /// it has named an owner before.
    pub fn new(client: Option<Side>) -> Self {
        Self { client, ..Self::default() }
    }

    /// Whether no packet said anything of an end.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.places.is_empty()
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
        let side = self.side(owner.role, sender, syn.or(owner.client_sends), client);
        if self.changes.len() >= CHANGES_PER_FLOW {
            self.changes.remove(0);
        }
        self.changes.push(Change { packet, side, process: owner.process.clone() });
    }

    /// Takes where packet number `packet` says that an end runs; the rest as of
    /// [`Owners::keep`].
    pub fn keep_place(
        &mut self,
        (role, place): (Role, &Arc<Place>),
        packet: u64,
        sender: Side,
        syn: Option<bool>,
        client: Side,
    ) {
        let side = self.side(role, sender, syn, client);
        let before = self.places.iter().rev().find(|(_, known, _)| *known == side);
        let place = match before {
            None => Arc::clone(place),
            Some((_, _, known)) if known == place => return,
            Some((_, _, known)) => match known.and_later(place) {
                same if same == **known => return,
                more if more == **place => Arc::clone(place),
                more => Arc::new(more),
            },
        };
        if self.places.len() >= CHANGES_PER_FLOW {
            self.places.remove(0);
        }
        self.places.push((packet, side, place));
    }

    /// The end that has a role. Said once: which end an interface is of does not
    /// change.
    fn side(&mut self, role: Role, sender: Side, client_sends: Option<bool>, client: Side) -> Side {
        let client = *self.client.get_or_insert_with(|| match client_sends {
            Some(true) => sender,
            Some(false) => sender.other(),
            None => client,
        });
        if role == Role::Client { client } else { client.other() }
    }

    /// Who owned the end when packet number `packet` came; who first did,
    /// where that is said only later.
    fn at(&self, side: Side, packet: u64) -> Option<&Local> {
        let mut of_side = self.changes.iter().filter(|change| change.side == side);
        let first = of_side.next()?;
        let last = of_side.take_while(|change| change.packet <= packet).last();
        last.unwrap_or(first).process.as_deref()
    }

    /// Whether a process of the recorder's host is known to own the end.
    pub fn has_owner(&self, side: Side) -> bool {
        self.at(side, u64::MAX).is_some()
    }

    /// All that is known of the end when packet number `packet` came, as far as it was
    /// said up to packet number `said`: where an end runs holds for all of a connection.
    #[inline]
    pub fn end(&self, side: Side, packet: u64, said: u64) -> End<'_> {
        if self.is_empty() { End::default() } else { self.known(side, packet, said) }
    }

    fn known(&self, side: Side, packet: u64, said: u64) -> End<'_> {
        let local = self.at(side, packet);
        let of_side = self.places.iter().filter(|(_, known, _)| *known == side);
        let place = of_side.take_while(|(packet, ..)| *packet <= said).last();
        End {
            process: local.and_then(|local| local.process.as_ref()),
            runs: local.and_then(|local| local.container.at(said)),
            said: place.map(|(_, _, place)| place.as_ref()),
        }
    }

    /// The names of all that owned the end, each once, sorted.
    pub fn names(&self, side: Side) -> Vec<String> {
        let of_side = self.changes.iter().filter(|change| change.side == side);
        let names =
            of_side.filter_map(|change| change.process.as_deref()?.process.as_ref()?.comm.clone());
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
