//! All that the sources said so far, put together: pods by uid, containers by
//! id, and who holds which address. Sources write, readers look up; no I/O.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use super::feed::Feed;
use super::logs::{LoggedContainer, LoggedPod};
use super::services::Services;
use super::table::{Answer, Evidence, Holding, Reach, Table};
use super::types::{Holder, Member, Pod, Service};

/// Pods known at once, gone ones that are remembered included. Kubernetes is
/// made for 150 000.
const MAX_PODS: usize = 200_000;

/// Containers of this node known at once. Kubelets run up to some hundred pods.
const MAX_CONTAINERS: usize = 65_536;

/// How long gone pods are remembered, in nanoseconds: connections that they
/// had may be looked up late.
pub const REMEMBERED: i64 = 15 * 60 * 1_000_000_000;

/// How often it is looked for what is gone for long, in nanoseconds.
const TIDY_EVERY: i64 = 60 * 1_000_000_000;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Whose address it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A pod, by uid.
    Pod(Arc<str>),
    /// A Service, by `namespace/name`.
    Service(Arc<str>),
    /// A node, by name.
    Node(Arc<str>),
}

impl Holding for Key {
    fn kind(&self) -> usize {
        match self {
            Self::Pod(_) => Source::Pods as usize,
            Self::Service(_) => Source::Services as usize,
            Self::Node(_) => Source::Nodes as usize,
        }
    }
}

/// Who tells. The first three also tell of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The API's pods.
    Pods,
    /// The API's Services.
    Services,
    /// The API's nodes.
    Nodes,
    /// The API's EndpointSlices.
    Endpoints,
    /// The container runtime.
    Runtime,
    /// The kubelet's logs.
    Logs,
}

const SOURCES: [&str; 6] =
    ["api pods", "api services", "api nodes", "api endpoints", "runtime", "kubelet logs"];

/// What is known of a pod, by source.
#[derive(Debug, Default)]
struct Entry {
    api: Option<Arc<Pod>>,
    runtime: Option<Arc<Pod>>,
    logged: Option<Arc<Pod>>,
    pod: Arc<Pod>,
    /// It runs, or ran, on this node.
    local: bool,
    /// No source has it any more since then.
    gone: Option<i64>,
    /// When its end was asked for first, by the API.
    asked: Option<i64>,
    /// The list that had it last.
    list: u32,
}

/// What is known of a container.
#[derive(Debug)]
struct Contained {
    /// Its pod's uid.
    pod: Arc<str>,
    name: Option<Box<str>>,
}

/// How a pod lives, as the API tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Not before.
    pub possible_from: i64,
    /// All that runs was started since then; the clock is another machine's.
    pub running_since: Option<i64>,
    /// Its end was asked for then.
    pub asked: Option<i64>,
    /// It will not run again, and ended then if that is said.
    pub over: Option<Option<i64>>,
}

/// Everything.
#[derive(Debug)]
pub struct Store {
    pub node: Arc<str>,
    pub cluster_wide: bool,
    /// Nanoseconds, see [`super::types::Options::silence`].
    pub silence: i64,
    pub feeds: [Feed; 6],
    pub services: Services,
    pub table: Table<Key>,
    pub left_out: u64,
    /// Something is new since the last [`Self::take_changed`].
    pub changed: bool,
    pods: Map<Arc<str>, Entry>,
    containers: Map<Box<str>, Contained>,
    list: u32,
    tidied: i64,
}

impl Store {
    /// An empty one for this node.
    pub fn new(node: &str, cluster_wide: bool, silence: i64) -> Self {
        Self {
            node: node.into(),
            cluster_wide,
            silence,
            feeds: SOURCES.map(Feed::new),
            services: Services::default(),
            table: Table::default(),
            left_out: 0,
            changed: false,
            pods: Map::default(),
            containers: Map::default(),
            list: 0,
            tidied: 0,
        }
    }

    /// Whether anything is new since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The feed of a source.
    pub fn feed(&mut self, source: Source) -> &mut Feed {
        &mut self.feeds[source as usize]
    }

    /// How far each kind of holder is known, as of now.
    fn reaches(&self, now: i64) -> [Reach; 3] {
        let everything = [self.cluster_wide, true, true];
        std::array::from_fn(|kind| self.feeds[kind].reach(now, self.silence, everything[kind]))
    }

    /// A container by id or by its pod's uid.
    pub fn member(&self, id: Option<&str>, uid: Option<&str>) -> Option<Member> {
        let known = id.and_then(|id| self.containers.get(id));
        let uid = known.map(|known| &*known.pod).or(uid)?;
        let pod = Arc::clone(&self.pods.get(uid)?.pod);
        let container = known.and_then(|known| known.name.as_deref().map(str::to_owned));
        Some(Member { pod, container })
    }

    /// Whether the container itself is known, by name.
    pub fn knows_container(&self, id: &str) -> bool {
        self.containers.get(id).is_some_and(|known| known.name.is_some())
    }

    /// Whom an address belonged to at a time; `now` says how old all news are.
    pub fn holder(&self, address: IpAddr, port: u16, at: i64, now: i64) -> Answer<Holder> {
        let reach = self.reaches(now);
        let certain = reach[Source::Services as usize].certain_until;
        if let Some(service) = self.services.external(address, port, at, certain) {
            return Answer::One(Holder::Service(service));
        }
        match self.table.at(address, at, &reach) {
            Answer::Nobody => Answer::Nobody,
            Answer::Unsure => Answer::Unsure,
            Answer::One(Key::Pod(uid)) => self
                .pods
                .get(&*uid)
                .map_or(Answer::Nobody, |entry| Answer::One(Holder::Pod(Arc::clone(&entry.pod)))),
            Answer::One(Key::Service(name)) => self
                .services
                .by_name(&name)
                .map_or(Answer::Nobody, |service| Answer::One(Holder::Service(service))),
            Answer::One(Key::Node(name)) => {
                let service = self.services.node_port(port, at, certain);
                Answer::One(service.map_or(Holder::Node(name), Holder::Service))
            }
        }
    }

    /// The only endpoint of a Service, see [`super::Names::endpoint`].
    pub fn endpoint(
        &self,
        service: &Service,
        v6: bool,
        port: u16,
        at: i64,
        now: i64,
    ) -> Option<(IpAddr, u16)> {
        let feed = &self.feeds[Source::Endpoints as usize];
        let certain = feed.certain_until(now, self.silence);
        (at <= certain).then(|| self.services.endpoint(service, v6, port, at)).flatten()
    }

    /// Pods of this node that are not gone.
    pub fn local_pods(&self) -> Vec<Arc<Pod>> {
        let local = self.pods.values().filter(|entry| entry.local && entry.gone.is_none());
        local.map(|entry| Arc::clone(&entry.pod)).collect()
    }

    /// Pods, and those of this node.
    pub fn counts(&self) -> (usize, usize) {
        (self.pods.len(), self.pods.values().filter(|entry| entry.local).count())
    }

    /// What the kubelet's folders say now: all of it.
    pub fn logs(&mut self, pods: Vec<LoggedPod>, containers: Vec<LoggedContainer>, now: i64) {
        self.feed(Source::Logs).heard(now);
        let mut there: Map<String, LoggedPod> = Map::default();
        there.extend(pods.into_iter().map(|pod| (pod.uid.clone(), pod)));
        for container in containers {
            self.container(&container.id, &container.pod.uid, Some(&container.name));
            there.entry(container.pod.uid.clone()).or_insert(container.pod);
        }
        let gone: Vec<Arc<str>> = self
            .pods
            .iter()
            .filter(|(uid, entry)| entry.logged.is_some() && !there.contains_key(&***uid))
            .map(|(uid, _)| Arc::clone(uid))
            .collect();
        for uid in gone {
            self.set(&uid, now, |entry| entry.logged = None);
        }
        for (uid, pod) in there {
            if self.pods.get(&*uid).is_some_and(|entry| entry.logged.is_some()) {
                continue;
            }
            let named =
                Pod { namespace: pod.namespace, name: pod.name, uid: pod.uid, ..Pod::default() };
            self.set(&uid, now, |entry| (entry.logged, entry.local) = (Some(named.into()), true));
        }
    }

    /// A container's name and pod.
    pub fn container(&mut self, id: &str, uid: &str, name: Option<&str>) {
        let known = self.containers.get(id);
        if known.is_some_and(|known| known.name.is_some() || name.is_none()) {
            return;
        }
        if known.is_none() && self.containers.len() >= MAX_CONTAINERS {
            self.containers.clear();
        }
        let uid =
            self.pods.get_key_value(uid).map_or_else(|| uid.into(), |(uid, _)| Arc::clone(uid));
        self.containers.insert(id.into(), Contained { pod: uid, name: name.map(Box::from) });
        self.changed = true;
    }

    /// What the runtime says of a pod; None: it has none any more.
    pub fn runtime_pod(&mut self, uid: &str, pod: Option<Pod>, now: i64) {
        let known = self.pods.get(uid).and_then(|entry| entry.runtime.as_deref());
        if known == pod.as_ref() {
            return;
        }
        self.set(uid, now, |entry| {
            entry.local |= pod.is_some();
            entry.runtime = pod.map(Arc::new);
        });
    }

    /// The runtime has these pods and no others.
    pub fn runtime_only(&mut self, there: &[Arc<str>], now: i64) {
        let gone = self.pods.iter().filter(|(uid, entry)| {
            entry.runtime.is_some() && there.binary_search_by(|other| (**other).cmp(uid)).is_err()
        });
        for uid in gone.map(|(uid, _)| Arc::clone(uid)).collect::<Vec<_>>() {
            self.runtime_pod(&uid, None, now);
        }
    }

    /// A list of the API's pods begins.
    pub fn pods_listing(&mut self) {
        self.list += 1;
    }

    /// A list is whole: what it did not have is gone.
    pub fn pods_listed(&mut self, now: i64) {
        let list = self.list;
        let gone: Vec<Arc<str>> = self
            .pods
            .iter()
            .filter(|(_, entry)| entry.api.is_some() && entry.list != list)
            .map(|(uid, _)| Arc::clone(uid))
            .collect();
        let before = self.feeds[Source::Pods as usize].surely_there_until(now);
        for uid in gone {
            self.api_gone(&uid, Life::default(), before, now);
        }
        self.feed(Source::Pods).listed(now);
    }

    /// What the API says of a pod, told at `now`.
    pub fn api_pod(&mut self, pod: Pod, life: Life, now: i64) {
        let uid = pod.uid.clone();
        let before = self.feeds[Source::Pods as usize].surely_there_until(now);
        let (addresses, list) = (pod.addresses.clone(), self.list);
        let local = pod.node.as_deref() == Some(&*self.node);
        let old = self.pods.get(&*uid).and_then(|entry| entry.api.as_ref());
        let old_addresses = old.map(|pod| pod.addresses.clone()).unwrap_or_default();
        let known = self.set(&uid, now, |entry| {
            entry.asked = entry.asked.into_iter().chain(life.asked).min();
            (entry.api, entry.local, entry.list) = (Some(pod.into()), entry.local || local, list);
        });
        if !known {
            self.feed(Source::Pods).incomplete();
            return;
        }
        let Some((uid, entry)) = self.pods.get_key_value(&*uid) else { return };
        let life = Life { asked: entry.asked, ..life };
        let key = Key::Pod(Arc::clone(uid));
        for &address in &addresses {
            self.changed |= self.table.hold(address, &key, life.evidence(now));
            if let Some((sure, gone)) = life.ended(before, now) {
                self.changed |= self.table.end(address, &key, sure, gone);
            }
        }
        for address in old_addresses.into_iter().filter(|old| !addresses.contains(old)) {
            let (sure, gone) = life.ended(before, now).unwrap_or((before, now));
            self.changed |= self.table.end(address, &key, sure, gone);
        }
    }

    /// The API says that a pod is gone, with its last state.
    pub fn api_pod_gone(&mut self, uid: &str, life: Life, now: i64) {
        let before = self.feeds[Source::Pods as usize].surely_there_until(now);
        self.api_gone(uid, life, before, now);
    }

    fn api_gone(&mut self, uid: &str, life: Life, before: i64, now: i64) {
        let Some(entry) = self.pods.get(uid) else { return };
        let life = Life { asked: entry.asked.into_iter().chain(life.asked).min(), ..life };
        let addresses = entry.api.as_ref().map(|pod| pod.addresses.clone()).unwrap_or_default();
        let ended = life.ended(before, now);
        let asked = life.asked.map_or(i64::MAX, |asked| asked - CLOCK_MARGIN);
        let (sure, gone) = ended.unwrap_or((before.min(asked), now));
        let key = Key::Pod(uid.into());
        for address in addresses {
            self.changed |= self.table.end(address, &key, sure, gone);
        }
        self.set(uid, now, |entry| entry.api = None);
    }

    /// Changes an entry and what readers see of it. False where there is no room.
    fn set(&mut self, uid: &str, now: i64, change: impl FnOnce(&mut Entry)) -> bool {
        if !self.pods.contains_key(uid) {
            if self.pods.len() >= MAX_PODS {
                self.left_out += 1;
                return false;
            }
            self.pods.insert(uid.into(), Entry::default());
        }
        let Some(entry) = self.pods.get_mut(uid) else { return false };
        change(entry);
        let known = [&entry.api, &entry.runtime, &entry.logged].into_iter().flatten();
        match together(known, entry.local) {
            Some(pod) => {
                entry.gone = None;
                if entry.pod != pod {
                    entry.pod = pod;
                    self.changed = true;
                }
            }
            // What it was is remembered for a while.
            None => {
                entry.gone.get_or_insert(now);
                self.changed = true;
            }
        }
        true
    }

    /// Forgets what is gone for long, now and then.
    pub fn tidy(&mut self, now: i64) {
        if (now - self.tidied).abs() >= TIDY_EVERY {
            self.tidied = now;
            self.forget(now);
        }
    }

    /// Forgets what is gone for long.
    pub fn forget(&mut self, now: i64) {
        let until = now - REMEMBERED;
        self.pods.retain(|_, entry| entry.gone.is_none_or(|gone| gone >= until));
        let pods = &self.pods;
        self.containers.retain(|_, known| pods.contains_key(&known.pod));
        self.table.forget(until);
        self.services.forget(until);
    }
}

/// Other machines' clocks, and times that are cut to seconds, are right to
/// this, in nanoseconds: nodes are kept in time by NTP.
pub const CLOCK_MARGIN: i64 = 2_000_000_000;

impl Life {
    /// What it proves about the addresses that the pod has as of `now`.
    fn evidence(&self, now: i64) -> Evidence {
        let since = self.running_since.map_or(now, |since| since + CLOCK_MARGIN);
        let asked = self.asked.map_or(i64::MIN, |asked| asked - CLOCK_MARGIN);
        Evidence {
            possible_from: self.possible_from - CLOCK_MARGIN,
            sure_from: since.min(now),
            sure_until: asked,
            alive: Some(self.asked.is_none() && self.over.is_none()),
            running_since: self.running_since.map(|since| since - CLOCK_MARGIN),
        }
    }

    /// Until when it surely had its addresses, and since when surely not.
    fn ended(&self, before: i64, now: i64) -> Option<(i64, i64)> {
        let asked = self.asked.map_or(i64::MAX, |asked| asked - CLOCK_MARGIN);
        Some(match self.over? {
            Some(end) => (end - CLOCK_MARGIN, now.min(end + CLOCK_MARGIN)),
            None => (before.min(asked), now),
        })
    }
}

/// One pod of what sources say, the most certain first. Most pods have one source.
fn together<'a>(sources: impl Iterator<Item = &'a Arc<Pod>>, local: bool) -> Option<Arc<Pod>> {
    let mut sources = sources.peekable();
    let first = sources.next()?;
    if sources.peek().is_none() {
        return Some(Arc::clone(first));
    }
    let mut pod = Pod::clone(first);
    for more in sources {
        pod.workload = pod.workload.take().or_else(|| more.workload.clone());
        if pod.labels.is_empty() && local {
            pod.labels.clone_from(&more.labels);
        }
        if pod.addresses.is_empty() {
            pod.addresses.clone_from(&more.addresses);
        }
        pod.node = pod.node.take().or_else(|| more.node.clone());
        pod.host_network |= more.host_network;
    }
    Some(Arc::new(pod))
}
