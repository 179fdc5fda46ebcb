//! Services, their endpoints, and nodes, as the API tells.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use super::feed::NEWS_LAG;
use super::store::{CLOCK_MARGIN, Key, Source, Store};
use super::table::Evidence;
use super::types::Service;

/// Services known at once. Kubernetes is made for 10 000.
const MAX_SERVICES: usize = 65_536;

/// EndpointSlices known at once: one for each 100 endpoints, one at least for each Service.
const MAX_SLICES: usize = 131_072;

/// Nodes known at once. Kubernetes is made for 5 000.
const MAX_NODES: usize = 65_536;

/// Ready endpoints of a slice that are kept: it matters only whether there is one.
pub const KEPT_ENDPOINTS: usize = 2;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

#[derive(Debug)]
struct Entry {
    service: Arc<Service>,
    /// It has its ports since then.
    since: i64,
    gone: Option<i64>,
    list: u32,
}

/// Endpoints of a Service, or some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// `namespace/name` of the Service.
    pub service: String,
    /// Its addresses are IPv6.
    pub v6: bool,
    /// TCP ports by name.
    pub ports: Vec<(String, u16)>,
    /// Addresses that are ready, at most [`KEPT_ENDPOINTS`].
    pub ready: Vec<IpAddr>,
}

/// All Services.
#[derive(Debug, Default)]
pub struct Services {
    by_name: Map<Arc<str>, Entry>,
    external: Map<(IpAddr, u16), Arc<str>>,
    node_ports: Map<u16, Arc<str>>,
    slices: Map<Box<str>, (Slice, u32)>,
    /// Slices of each Service, and when what they say changed last.
    of_service: Map<Box<str>, (Vec<Box<str>>, i64)>,
    nodes: Map<Arc<str>, (Vec<IpAddr>, u32)>,
    list: u32,
}

impl Services {
    /// A Service by `namespace/name`, also one that is gone since a while.
    pub fn by_name(&self, name: &str) -> Option<Arc<Service>> {
        self.by_name.get(name).map(|entry| Arc::clone(&entry.service))
    }

    /// The Service that has this port at an address of its own or a load balancer's.
    pub fn external(
        &self,
        address: IpAddr,
        port: u16,
        at: i64,
        certain: i64,
    ) -> Option<Arc<Service>> {
        self.present(self.external.get(&(address, port))?, at, certain)
    }

    /// The Service that has this port at all nodes.
    pub fn node_port(&self, port: u16, at: i64, certain: i64) -> Option<Arc<Service>> {
        self.present(self.node_ports.get(&port)?, at, certain)
    }

    fn present(&self, name: &str, at: i64, certain: i64) -> Option<Arc<Service>> {
        let entry = self.by_name.get(name).filter(|entry| entry.gone.is_none())?;
        (entry.since..=certain).contains(&at).then(|| Arc::clone(&entry.service))
    }

    /// The only ready endpoint behind a port, if it was the only one at that time already.
    pub fn endpoint(
        &self,
        service: &Service,
        v6: bool,
        port: u16,
        at: i64,
    ) -> Option<(IpAddr, u16)> {
        let wanted = service.ports.iter().find(|known| known.port == port)?;
        let name = format!("{}/{}", service.namespace, service.name);
        let (slices, since) = self.of_service.get(&*name)?;
        // What forwards connections learns of changes as we do, not at the same moment.
        if at < since + NEWS_LAG {
            return None;
        }
        let slices = slices.iter().filter_map(|slice| self.slices.get(slice));
        let mut ready = slices.filter(|(slice, _)| slice.v6 == v6).flat_map(|(slice, _)| {
            let port = slice.ports.iter().find(|port| port.0 == wanted.name).map(|port| port.1);
            slice.ready.iter().filter_map(move |&address| Some((address, port?)))
        });
        let first = ready.next()?;
        ready.all(|other| other == first).then_some(first)
    }

    /// Services that are there.
    pub fn count(&self) -> usize {
        self.by_name.values().filter(|entry| entry.gone.is_none()).count()
    }

    /// Nodes that are there.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Forgets Services that are gone since before `until`.
    pub fn forget(&mut self, until: i64) {
        self.by_name.retain(|_, entry| entry.gone.is_none_or(|gone| gone >= until));
    }

    /// Ports and external addresses to the Service; `held`: they are its own from now on.
    fn claim_ports(&mut self, name: &Arc<str>, service: &Service, held: bool) {
        for port in &service.ports {
            let keys = service.external.iter().map(|&address| (address, port.port));
            for key in keys {
                put(&mut self.external, key, name, held);
            }
            if let Some(node_port) = port.node_port {
                put(&mut self.node_ports, node_port, name, held);
            }
        }
    }

    fn touch(&mut self, slice: &str, service: &str, there: bool, now: i64) {
        let (slices, since) = self.of_service.entry(service.into()).or_default();
        slices.retain(|known| **known != *slice);
        if there {
            slices.push(slice.into());
        }
        *since = now;
        if slices.is_empty() {
            self.of_service.remove(service);
        }
    }
}

fn put<K: std::hash::Hash + Eq>(map: &mut Map<K, Arc<str>>, key: K, name: &Arc<str>, held: bool) {
    if held {
        map.insert(key, Arc::clone(name));
    } else if map.get(&key).is_some_and(|holder| holder == name) {
        map.remove(&key);
    }
}

impl Store {
    /// A list of Services, slices or nodes begins.
    pub fn listing(&mut self) -> u32 {
        self.services.list += 1;
        self.services.list
    }

    /// What the API says of a Service that was made at `created`.
    pub fn service(&mut self, service: Service, created: i64, list: u32, now: i64) {
        let name: Arc<str> = format!("{}/{}", service.namespace, service.name).into();
        let old = self.services.by_name.get(&name);
        if old.is_none() && self.services.by_name.len() >= MAX_SERVICES {
            self.left_out += 1;
            self.feed(Source::Services).incomplete();
            return;
        }
        let same = old.is_some_and(|old| old.gone.is_none() && *old.service == service);
        let since = old.filter(|_| same).map_or(now.min(created + CLOCK_MARGIN), |old| old.since);
        let old = old.filter(|old| old.gone.is_none()).map(|old| Arc::clone(&old.service));
        // Ports that it was given later are its own since now only.
        let since = if !same && old.is_some() { now } else { since };
        let service = Arc::new(service);
        if !same {
            self.changed = true;
            if let Some(old) = &old {
                self.services.claim_ports(&name, old, false);
                let dropped = |address: &&IpAddr| !service.addresses.contains(address);
                let dropped: Vec<IpAddr> = old.addresses.iter().filter(dropped).copied().collect();
                self.release(&Key::Service(Arc::clone(&name)), &dropped, Source::Services, now);
            }
            self.services.claim_ports(&name, &service, true);
        }
        let says = Evidence {
            possible_from: created - CLOCK_MARGIN,
            sure_from: if old.is_some() { now } else { since },
            sure_until: i64::MIN,
            alive: Some(true),
            running_since: Some(i64::MAX),
        };
        for &address in &service.addresses {
            self.table.hold(address, &Key::Service(Arc::clone(&name)), says);
        }
        self.services.by_name.insert(name, Entry { service, since, gone: None, list });
    }

    /// A Service is gone.
    pub fn service_gone(&mut self, name: &str, now: i64) {
        let Some((name, _)) = self.services.by_name.get_key_value(name) else { return };
        let name = Arc::clone(name);
        let Some(entry) = self.services.by_name.get_mut(&name) else { return };
        if entry.gone.replace(now).is_none() {
            let service = Arc::clone(&entry.service);
            self.services.claim_ports(&name, &service, false);
            self.release(&Key::Service(name), &service.addresses, Source::Services, now);
        }
    }

    fn release(&mut self, key: &Key, addresses: &[IpAddr], source: Source, now: i64) {
        let before = self.feeds[source as usize].surely_there_until(now);
        for &address in addresses {
            self.table.end(address, key, before, now);
        }
        self.changed = true;
    }

    /// A list is whole: what it did not have is gone.
    pub fn services_listed(&mut self, list: u32, now: i64) {
        let stays = |entry: &Entry| entry.gone.is_some() || entry.list == list;
        let gone = self.services.by_name.iter().filter(|(_, entry)| !stays(entry));
        for name in gone.map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>() {
            self.service_gone(&name, now);
        }
        self.feed(Source::Services).listed(now);
    }

    /// What the API says of an EndpointSlice, by `namespace/name`.
    pub fn slice(&mut self, name: &str, slice: Slice, list: u32, now: i64) {
        let old = self.services.slices.get_mut(name);
        if let Some((old, seen)) = old {
            *seen = list;
            if *old == slice {
                return;
            }
        } else if self.services.slices.len() >= MAX_SLICES {
            self.left_out += 1;
            // The Service may have more endpoints than are known: it has none that is the only one.
            self.services.touch("", &slice.service, true, i64::MAX - NEWS_LAG);
            return;
        }
        let service = slice.service.clone();
        if let Some((old, _)) = self.services.slices.insert(name.into(), (slice, list))
            && old.service != service
        {
            self.services.touch(name, &old.service, false, now);
        }
        self.services.touch(name, &service, true, now);
        self.changed = true;
    }

    /// An EndpointSlice is gone.
    pub fn slice_gone(&mut self, name: &str, now: i64) {
        if let Some((slice, _)) = self.services.slices.remove(name) {
            self.services.touch(name, &slice.service, false, now);
            self.changed = true;
        }
    }

    /// A list is whole: what it did not have is gone.
    pub fn slices_listed(&mut self, list: u32, now: i64) {
        let gone = self.services.slices.iter().filter(|(_, (_, seen))| *seen != list);
        for name in gone.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.slice_gone(&name, now);
        }
        self.feed(Source::Endpoints).listed(now);
    }

    /// What the API says of a node that was made at `created`.
    pub fn node(&mut self, name: &str, addresses: Vec<IpAddr>, created: i64, list: u32, now: i64) {
        let name: Arc<str> = name.into();
        let old = self.services.nodes.get(&name);
        if old.is_none() && self.services.nodes.len() >= MAX_NODES {
            self.left_out += 1;
            self.feed(Source::Nodes).incomplete();
            return;
        }
        let old = old.map(|(old, _)| old.clone()).unwrap_or_default();
        let dropped: Vec<IpAddr> =
            old.iter().filter(|old| !addresses.contains(old)).copied().collect();
        if !dropped.is_empty() {
            self.release(&Key::Node(Arc::clone(&name)), &dropped, Source::Nodes, now);
        }
        let says = Evidence {
            possible_from: created - CLOCK_MARGIN,
            sure_from: now,
            sure_until: i64::MIN,
            alive: Some(true),
            running_since: Some(i64::MAX),
        };
        for &address in &addresses {
            self.changed |= self.table.hold(address, &Key::Node(Arc::clone(&name)), says);
        }
        self.services.nodes.insert(name, (addresses, list));
    }

    /// A node is gone.
    pub fn node_gone(&mut self, name: &str, now: i64) {
        if let Some((name, (addresses, _))) = self.services.nodes.remove_entry(name) {
            self.release(&Key::Node(name), &addresses, Source::Nodes, now);
        }
    }

    /// A list is whole: what it did not have is gone.
    pub fn nodes_listed(&mut self, list: u32, now: i64) {
        let gone = self.services.nodes.iter().filter(|(_, (_, seen))| *seen != list);
        for name in gone.map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>() {
            self.node_gone(&name, now);
        }
        self.feed(Source::Nodes).listed(now);
    }
}
