//! The node's container runtime, asked over its socket every few seconds and
//! when a container is not known: pods' labels and addresses, and containers'
//! names. Each answer proves who held an address until it was asked.

mod cri;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::logs::{is_id, is_name, is_uid};
use super::store::{Key, Source, Store};
use super::table::Evidence;
use super::types::Pod;
use super::{Shared, now, workload};
use cri::{Client, Container, Sandbox};

/// Between two answers, whoever calls for more.
const AT_MOST_EVERY: Duration = Duration::from_millis(500);

/// Longest wait for a runtime that does not answer.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Sandboxes looked at. Kubelets run up to some hundred.
const MAX_SANDBOXES: usize = 8192;

/// Sandboxes whose addresses are asked for at once; the others' come with the next answers.
const MAX_ASKED: usize = 512;

/// And for so long at most: a runtime may be slow.
const ASKED_FOR: Duration = Duration::from_secs(5);

/// `PodSandboxState.SANDBOX_READY`
const READY: i32 = 0;

/// `NamespaceMode.NODE`
const NODE_NETWORK: i32 = 2;

/// A sandbox that was ready.
struct Known {
    uid: Arc<str>,
    /// None until the runtime said.
    addresses: Option<Vec<IpAddr>>,
    host_network: bool,
    created: i64,
    /// The last time that it was asked for and was ready.
    ready: i64,
    /// Its addresses are its own since then.
    sure_from: i64,
}

/// Asks until the last handle is gone. `wake` asks at once.
pub fn run(shared: &Weak<Shared>, wake: &Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    let Some(options) = shared.upgrade().map(|shared| shared.options.clone()) else { return };
    let mut client: Option<Client> = None;
    let mut known = HashMap::new();
    let mut wait = AT_MOST_EVERY;
    let mut turn = 0;
    loop {
        let began = Instant::now();
        let asked = runtime.block_on(async {
            let client = connected(&mut client, &options.runtimes, turn).await?;
            ask(client, &mut known).await.map_err(Some)
        });
        let Some(shared) = shared.upgrade() else { return };
        let pause = match asked {
            Ok(polled) => {
                shared.write(|store| polled.tell(store, &mut known));
                wait = AT_MOST_EVERY;
                options.runtime_every
            }
            Err(error) => {
                client = None;
                // Not every socket that is there answers: Docker's containerd does not.
                turn += 1;
                if let Some(error) = error {
                    shared.write(|store| store.feed(Source::Runtime).lost(error, false));
                }
                wait = (wait * 2).min(MAX_WAIT);
                wait
            }
        };
        drop(shared);
        match wake.recv_timeout(pause) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) => thread::sleep(wait.min(pause).saturating_sub(began.elapsed())),
        }
    }
}

/// One round of answers.
struct Polled {
    asked: i64,
    answered: i64,
    sandboxes: Vec<Sandbox>,
    containers: Vec<Container>,
}

/// The runtime that is asked: of the sockets that are there the one whose turn
/// it is. Err(None): there is none.
async fn connected<'a>(
    client: &'a mut Option<Client>,
    sockets: &[PathBuf],
    turn: usize,
) -> Result<&'a Client, Option<String>> {
    if client.is_none() {
        let there: Vec<&PathBuf> = sockets.iter().filter(|socket| socket.exists()).collect();
        let socket = there.get(turn % there.len().max(1)).ok_or(None)?;
        let connected = Client::connect(socket).await;
        *client = Some(connected.map_err(|error| Some(format!("{}: {error}", socket.display())))?);
    }
    client.as_ref().ok_or(None)
}

async fn ask(client: &Client, known: &mut HashMap<String, Known>) -> Result<Polled, String> {
    let asked = now();
    let mut sandboxes = client.sandboxes().await?;
    let answered = now();
    let containers = client.containers().await?;
    sandboxes.truncate(MAX_SANDBOXES);
    sandboxes.retain(is_plausible);
    let mut first: HashMap<&str, i64> = HashMap::new();
    for container in &containers {
        let time = first.entry(&container.sandbox).or_insert(i64::MAX);
        *time = container.created_at.min(*time);
    }
    let mut left = MAX_ASKED;
    let until = Instant::now() + ASKED_FOR;
    for sandbox in sandboxes.iter().filter(|sandbox| sandbox.state == READY) {
        let entry = known.entry(sandbox.id.clone()).or_insert_with(|| Known {
            uid: sandbox.metadata.as_ref().map_or("", |metadata| &metadata.uid).into(),
            addresses: None,
            host_network: false,
            created: sandbox.created_at,
            ready: asked,
            sure_from: i64::MAX,
        });
        entry.ready = asked;
        let unknown = entry.addresses.as_ref().is_none_or(Vec::is_empty) && !entry.host_network;
        if unknown && left > 0 && Instant::now() < until {
            left -= 1;
            // It may be gone again.
            let Ok(status) = client.status(&sandbox.id).await else { continue };
            entry.host_network = is_host_network(&status);
            entry.addresses = Some(addresses(&status));
            entry.sure_from = now();
        }
        let first = first.get(&*sandbox.id).copied().unwrap_or(i64::MAX);
        entry.sure_from = entry.sure_from.min(first).max(sandbox.created_at);
    }
    Ok(Polled { asked, answered, sandboxes, containers })
}

impl Polled {
    /// Puts it to what is known.
    fn tell(self, store: &mut Store, known: &mut HashMap<String, Known>) {
        self.end_others(store, known);
        let mut newest: BTreeMap<&str, &Sandbox> = BTreeMap::new();
        for sandbox in &self.sandboxes {
            let uid = sandbox.metadata.as_ref().map_or("", |metadata| &metadata.uid);
            let newest = newest.entry(uid).or_insert(sandbox);
            if (sandbox.state == READY, sandbox.created_at)
                > (newest.state == READY, newest.created_at)
            {
                *newest = sandbox;
            }
        }
        for (uid, sandbox) in &newest {
            store.runtime_pod(
                uid,
                Some(pod(sandbox, known.get(&sandbox.id), &store.node)),
                self.answered,
            );
        }
        for entry in known.values().filter(|entry| !entry.host_network) {
            let key = Key::Pod(Arc::clone(&entry.uid));
            let says = Evidence {
                possible_from: entry.created,
                sure_from: entry.sure_from,
                sure_until: self.asked,
                alive: None,
                running_since: Some(entry.created),
            };
            for &address in entry.addresses.iter().flatten() {
                // That it is still there is no news.
                store.table.hold(address, &key, says);
            }
        }
        let uids: HashMap<&str, &str> = self
            .sandboxes
            .iter()
            .filter_map(|sandbox| Some((&*sandbox.id, &*sandbox.metadata.as_ref()?.uid)))
            .collect();
        for container in &self.containers {
            let name = container.metadata.as_ref().map(|metadata| &*metadata.name);
            if let Some(uid) = uids.get(&*container.sandbox)
                && is_id(&container.id)
            {
                store.container(&container.id, uid, name.filter(|name| is_name(name)));
            }
        }
        let there: Vec<Arc<str>> = newest.keys().map(|&uid| uid.into()).collect();
        store.runtime_only(&there, self.answered);
        store.feed(Source::Runtime).listed(self.answered);
        store.tidy(self.answered);
    }

    /// Sandboxes that are not ready any more have lost their addresses.
    fn end_others(&self, store: &mut Store, known: &mut HashMap<String, Known>) {
        let ready = |id: &str| {
            self.sandboxes.iter().any(|sandbox| sandbox.state == READY && sandbox.id == id)
        };
        let over: Vec<String> = known.keys().filter(|id| !ready(id)).cloned().collect();
        for id in over {
            let Some(old) = known.remove(&id) else { continue };
            for &address in old.addresses.iter().flatten() {
                // Whoever has it now cannot have it from before it was given up.
                let next = known
                    .values()
                    .filter(|other| other.addresses.iter().flatten().any(|&held| held == address));
                let next = next.map(|other| other.created).min().unwrap_or(i64::MAX);
                let gone = self.answered.min(next).max(old.ready.min(next));
                let key = Key::Pod(Arc::clone(&old.uid));
                store.changed |= store.table.end(address, &key, old.ready.min(next), gone);
            }
        }
    }
}

fn is_plausible(sandbox: &Sandbox) -> bool {
    sandbox.metadata.as_ref().is_some_and(|metadata| {
        is_name(&metadata.name) && is_name(&metadata.namespace) && is_uid(&metadata.uid)
    })
}

fn is_host_network(status: &cri::Status) -> bool {
    let namespaces = status.linux.as_ref().and_then(|linux| linux.namespaces.as_ref());
    let options = namespaces.and_then(|namespaces| namespaces.options.as_ref());
    options.is_some_and(|options| options.network == NODE_NETWORK)
}

fn addresses(status: &cri::Status) -> Vec<IpAddr> {
    let Some(network) = status.network.as_ref().filter(|_| !is_host_network(status)) else {
        return Vec::new();
    };
    let texts = std::iter::once(&network.ip).chain(network.more.iter().map(|more| &more.ip));
    texts.take(8).filter_map(|text| text.parse().ok()).collect()
}

/// A sandbox as the pod that it is of.
fn pod(sandbox: &Sandbox, known: Option<&Known>, node: &str) -> Pod {
    let metadata = sandbox.metadata.clone().unwrap_or_default();
    let get = |key: &str| sandbox.labels.get(key).map(String::as_str);
    // Those of the kubelet itself say what is said elsewhere.
    let own = sandbox.labels.iter().filter(|(key, _)| !key.starts_with("io.kubernetes."));
    Pod {
        workload: workload::of_labels(&metadata.name, &get, sandbox.created_at),
        labels: workload::kept_labels(own.map(|(key, value)| (&**key, &**value))),
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        node: Some(node.to_owned()),
        host_network: known.is_some_and(|known| known.host_network),
        addresses: known.and_then(|known| known.addresses.clone()).unwrap_or_default(),
    }
}
