//! Names of a Kubernetes node: what a container, an address and a Service's
//! endpoint are called. From the kubelet's folders of logs, the container
//! runtime's socket and the Kubernetes API, as far as each can be had.
//!
//! [`Names`] is what the recorder asks; it answers from memory. A name is given
//! where it is proven for the time that is asked for, see `table.rs`; news may
//! make more names known, or show that an early answer was another's: then
//! [`Names::generation`] has grown and the recorder asks again. Knows nothing
//! of connections and writes nothing.

// Without the feature only the kubelet's folders tell, and most of what others would is not used.
#![cfg_attr(not(feature = "kube"), allow(dead_code))]

#[cfg(feature = "kube")]
mod api;
mod feed;
mod logs;
#[cfg(feature = "kube")]
mod runtime;
mod services;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod types;
mod workload;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "kube")]
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use types::{
    Holder, Member, Mode, Options, Pod, Service, ServicePort, SourceStatus, StartError, Status,
    Workload,
};

use store::Store;
use table::Answer;

/// Between two looks into the kubelet's folders.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Until an id that was not found is looked for again, doubled each time: its
/// link is made after it starts, and not everything is a pod's.
const MISSED_FOR: Duration = Duration::from_secs(1);

/// Longest time until an id is looked for again.
const MAX_MISSED_FOR: Duration = Duration::from_secs(60);

/// Ids not found that are remembered.
const MAX_MISSED: usize = 4096;

/// What all handles and sources share.
struct Shared {
    options: Options,
    guessed: bool,
    store: RwLock<Store>,
    generation: AtomicU64,
    /// An answer was refused because its proof is not there yet.
    wanting: AtomicBool,
    looks: Mutex<Looks>,
    /// Calls for the runtime's answer; nobody listens where it is not asked.
    wake: SyncSender<()>,
    /// Hears them; gone when the threads run.
    woken: Mutex<Option<Receiver<()>>>,
}

/// When the kubelet's folders were looked into.
#[derive(Default)]
struct Looks {
    last: Option<Instant>,
    /// When to look for it again, and how long that was.
    missed: HashMap<String, (Instant, Duration)>,
}

/// The names of a node's cluster. Handles are cheap to clone; sources are
/// asked until the last one is gone.
#[derive(Clone)]
pub struct Names {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Names").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

impl Names {
    /// Starts to ask the sources.
    ///
    /// # Errors
    /// Where the API is asked for by [`Mode::Api`] and there is no token, no CA
    /// or no address of the server; where no thread can be started.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let names = Self::prepare(options)?;
        names.begin()?;
        Ok(names)
    }

    /// As [`Self::start`], but the kubelet's folders are all that is asked until
    /// [`Self::begin`].
    ///
    /// # Errors
    /// Those of the API.
    pub fn prepare(options: &Options) -> Result<Self, StartError> {
        let guessed = options.node_name.is_none();
        let node = options.node_name.clone().unwrap_or_else(host_name);
        let silence = i64::try_from(options.silence.as_nanos()).unwrap_or(i64::MAX);
        let (wake, woken) = sync_channel(1);
        let names = Self {
            shared: Arc::new(Shared {
                options: options.clone(),
                guessed,
                store: RwLock::new(Store::new(&node, options.cluster_wide, silence)),
                generation: AtomicU64::new(0),
                wanting: AtomicBool::new(false),
                looks: Mutex::default(),
                wake,
                woken: Mutex::new(Some(woken)),
            }),
        };
        if options.mode != Mode::Off {
            names.shared.look();
            Self::check(options)?;
        }
        Ok(names)
    }

    /// Starts the threads that ask, if they do not run yet.
    ///
    /// # Errors
    /// One cannot be started; or what [`Self::prepare`] found is there no more.
    pub fn begin(&self) -> Result<(), StartError> {
        let woken = self.shared.woken.lock().unwrap_or_else(PoisonError::into_inner).take();
        match woken {
            Some(woken) if self.shared.options.mode != Mode::Off => self.ask(woken),
            _ => Ok(()),
        }
    }

    /// The port of the Kubernetes API, where that is asked.
    #[cfg(feature = "kube")]
    pub fn api_port(options: &Options) -> Option<u16> {
        api::port(options)
    }

    /// The port of the Kubernetes API: this build does not ask it.
    #[cfg(not(feature = "kube"))]
    pub fn api_port(_options: &Options) -> Option<u16> {
        None
    }

    #[cfg(feature = "kube")]
    fn check(options: &Options) -> Result<(), StartError> {
        api::check(options)
    }

    /// Starts the threads that ask.
    #[cfg(feature = "kube")]
    fn ask(&self, woken: Receiver<()>) -> Result<(), StartError> {
        let shared = Arc::downgrade(&self.shared);
        let runtime = std::thread::Builder::new().name("kube-runtime".to_owned());
        let mine = Weak::clone(&shared);
        runtime.spawn(move || runtime::run(&mine, &woken))?;
        let node = self.shared.read().node.to_string();
        api::start(&self.shared.options, &node, &shared)
    }

    #[cfg(not(feature = "kube"))]
    fn ask(&self, _woken: Receiver<()>) -> Result<(), StartError> {
        Ok(())
    }

    #[cfg(not(feature = "kube"))]
    fn check(options: &Options) -> Result<(), StartError> {
        match options.mode {
            Mode::Api => Err(StartError::Api("this perisco is built without it".to_owned())),
            _ => Ok(()),
        }
    }

    /// The pod of a container, by the container's id or the pod's uid as its
    /// cgroup's path has them. From memory, or at first sight from the names in
    /// the kubelet's folders.
    pub fn container(&self, id: Option<&str>, pod_uid: Option<&str>) -> Option<Member> {
        let shared = &self.shared;
        if shared.options.mode == Mode::Off {
            return None;
        }
        let found = {
            let store = shared.read();
            let found = store.member(id, pod_uid);
            if found.is_some() && id.is_none_or(|id| store.knows_container(id)) {
                return found;
            }
            found
        };
        let wanted = id.or(pod_uid)?;
        if shared.look_for(wanted) {
            let again = shared.read().member(id, pod_uid);
            return again.or(found);
        }
        found
    }

    /// Whom an address belonged to at `at` (unix nanoseconds), when a
    /// connection was opened. `port` finds Services at external addresses and
    /// nodes; 0 for a client's end, whose port says nothing.
    ///
    /// None where nobody is known to have had it, or where it is not proven
    /// who: then [`Self::generation`] grows when it is.
    pub fn address(&self, address: IpAddr, port: u16, at: i64) -> Option<Holder> {
        match self.shared.read().holder(address.to_canonical(), port, at, now()) {
            Answer::One(holder) => Some(holder),
            Answer::Nobody => None,
            Answer::Unsure => {
                self.shared.want();
                None
            }
        }
    }

    /// The Service's only ready endpoint behind `port`, as of now, in the
    /// address family of its first address.
    pub fn endpoint(&self, service: &Service, port: u16) -> Option<SocketAddr> {
        self.endpoint_at(service, SocketAddr::new(*service.addresses.first()?, port), now())
    }

    /// The Service's only ready endpoint for connections to `to`, if it was the
    /// only one at `at` (unix nanoseconds) already and still is.
    pub fn endpoint_at(&self, service: &Service, to: SocketAddr, at: i64) -> Option<SocketAddr> {
        let v6 = to.ip().to_canonical().is_ipv6();
        let found = self.shared.read().endpoint(service, v6, to.port(), at, now());
        found.map(|(address, port)| SocketAddr::new(address, port))
    }

    /// The pods of this node, for filters that follow them.
    pub fn local_pods(&self) -> Vec<Arc<Pod>> {
        if self.shared.options.mode != Mode::Off {
            self.shared.look_now_and_then();
        }
        self.shared.read().local_pods()
    }

    /// Grows with every change: answers may be others now.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// How the sources are.
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let store = shared.read();
        let (pods, local_pods) = store.counts();
        let time = now();
        let used = store.feeds.iter().map(|feed| feed.status(time, store.silence));
        Status {
            node: store.node.to_string(),
            node_is_guessed: shared.guessed,
            pods,
            local_pods,
            services: store.services.count(),
            nodes: store.services.nodes(),
            left_out: store.left_out,
            sources: used.filter(|feed| feed.heard.is_some() || feed.error.is_some()).collect(),
        }
    }
}

impl Shared {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and tells readers where they would see it.
    fn write<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut store);
        let changed = store.take_changed();
        drop(store);
        if changed || self.wanting.swap(false, Ordering::Relaxed) {
            self.generation.fetch_add(1, Ordering::Release);
        }
        result
    }

    /// A proof is missing that may come with the next word.
    fn want(&self) {
        self.wanting.store(true, Ordering::Relaxed);
        // Full: it is called for already.
        let _ = self.wake.try_send(());
    }

    /// Looks for an id in the kubelet's folders, unless that was done just now.
    fn look_for(&self, id: &str) -> bool {
        {
            let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            let time = Instant::now();
            let missed = looks.missed.get(id).copied();
            let early = missed.is_some_and(|(again, _)| time < again);
            if early || looks.last.is_some_and(|last| last.elapsed() < LOOK_EVERY) {
                return false;
            }
            if looks.missed.len() >= MAX_MISSED {
                looks.missed.clear();
            }
            let wait = missed.map_or(MISSED_FOR, |(_, wait)| (wait * 2).min(MAX_MISSED_FOR));
            looks.missed.insert(id.to_owned(), (time + wait, wait));
        }
        self.want();
        self.look();
        true
    }

    fn look_now_and_then(&self) {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let due = looks.last.is_none_or(|last| last.elapsed() >= MISSED_FOR);
        drop(looks);
        if due {
            self.look();
        }
    }

    fn look(&self) {
        let found = logs::scan(&self.options.pod_logs, &self.options.container_logs);
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).last = Some(Instant::now());
        self.write(|store| store.logs(found.0, found.1, now()));
    }
}

/// Unix nanoseconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The host's name as kubelets take it for the node's.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().trim().to_lowercase();
    if name.is_empty() { "unknown".to_owned() } else { name }
}
