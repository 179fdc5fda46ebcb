//! List, then watch from where the list was: a resource's objects as they come
//! and go. Broken watches are taken up where they broke off; where the server
//! has forgotten that (410 Gone), all is listed again.

use std::io::{BufRead, BufReader, Read};
use std::sync::Weak;
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::super::store::{Source, Store};
use super::super::{Shared, now};
use super::http::{Body, Server};
use super::objects::{
    Event, Failed, Kind, Meta, NodeObject, Page, PodObject, ServiceObject, SliceObject,
};

/// Objects in a page of a list.
const PAGE_OBJECTS: usize = 500;

/// Pages of a list: more objects than any cluster has.
const MAX_PAGES: usize = 4096;

/// Largest page, and how long it may take.
const MAX_PAGE_BYTES: u64 = 256 << 20;
const PAGE_PATIENCE: Duration = Duration::from_secs(120);

/// Longest event: etcd holds objects of up to 1.5 MiB, JSON is larger.
const MAX_LINE: u64 = 8 << 20;

/// An event that has begun is here by then.
const LINE_PATIENCE: Duration = Duration::from_secs(30);

/// A watch is asked to end after so long, and up to as many seconds more.
const WATCH_SECONDS: u64 = 240;
const WATCH_JITTER: u64 = 60;

/// Waits after failures: doubled from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Whoever is refused (403) is refused until someone changes the role.
const FORBIDDEN_WAIT: Duration = Duration::from_secs(300);

/// How often a wait looks whether it is still wanted.
const TICK: Duration = Duration::from_millis(200);

/// A watch that ended so soon without a word is not asked for again at once.
const SHORT_WATCH: Duration = Duration::from_secs(1);

/// Bytes of a message from the server that are said again.
const MAX_SAID: usize = 300;

/// A kind of object, and where it goes.
pub trait Resource: DeserializeOwned + Send + 'static {
    /// Where it is listed.
    const PATH: &'static str;
    /// Its feed.
    const SOURCE: Source;
    /// Its metadata.
    fn meta(&self) -> &Meta;
    /// A list begins; gives its number.
    fn listing(store: &mut Store) -> u32;
    /// It is there. False where it is not as it must be.
    fn put(&self, store: &mut Store, list: u32, now: i64) -> bool;
    /// It is gone.
    fn gone(&self, store: &mut Store, now: i64);
    /// A list is whole.
    fn listed(store: &mut Store, list: u32, now: i64);
}

/// Why a watch is over.
enum Over {
    /// The server ended it in time.
    Ended,
    /// What came before is forgotten.
    Gone,
    /// 403
    Forbidden(String),
    Broken(String),
}

/// Lists and watches until nobody wants to know any more.
pub fn run<R: Resource>(server: &Server, shared: &Weak<Shared>, selector: Option<&str>) {
    let mut watch = Watch { server, shared, selector, list: 0, version: None, spoke: false };
    let mut wait = FIRST_WAIT;
    loop {
        let over = watch.once::<R>();
        let Some(strong) = shared.upgrade() else { return };
        if std::mem::take(&mut watch.spoke) {
            wait = FIRST_WAIT;
        }
        let pause = match over {
            Over::Ended => Duration::ZERO,
            Over::Gone => {
                watch.version = None;
                let error = "the server has forgotten where the watch was".to_owned();
                strong.write(|store| store.feed(R::SOURCE).lost(error, false));
                wait
            }
            Over::Forbidden(error) => {
                strong.write(|store| store.feed(R::SOURCE).lost(error, true));
                FORBIDDEN_WAIT
            }
            Over::Broken(error) => {
                strong.write(|store| store.feed(R::SOURCE).lost(error, false));
                jittered(wait)
            }
        };
        drop(strong);
        if !pause.is_zero() {
            wait = (wait * 2).min(MAX_WAIT);
            pause_for(pause, shared);
        }
    }
}

struct Watch<'a> {
    server: &'a Server,
    shared: &'a Weak<Shared>,
    selector: Option<&'a str>,
    /// The number of the last list.
    list: u32,
    /// What is known already.
    version: Option<String>,
    /// The server said something useful since the last failure.
    spoke: bool,
}

impl Watch<'_> {
    fn once<R: Resource>(&mut self) -> Over {
        let listed = match self.version {
            Some(_) => Ok(()),
            None => self.list::<R>(),
        };
        match listed.and_then(|()| self.watch::<R>()) {
            Ok(()) => Over::Ended,
            Err(over) => over,
        }
    }

    /// All there is, page by page.
    fn list<R: Resource>(&mut self) -> Result<(), Over> {
        let list = self.write(|store| {
            store.feed(R::SOURCE).listing();
            R::listing(store)
        })?;
        let (mut token, mut told) = (None::<String>, None);
        for _ in 0..MAX_PAGES {
            let mut query = format!("limit={PAGE_OBJECTS}");
            if let Some(token) = &token {
                query += &format!("&continue={}", encoded(token));
            }
            let mut body = self.get::<R>(&query)?;
            body.set_deadline(Instant::now() + PAGE_PATIENCE);
            let page: Page<R> = serde_json::from_reader(BufReader::new(body.take(MAX_PAGE_BYTES)))
                .map_err(|error| Over::Broken(format!("a list: {error}")))?;
            // All pages are of the moment of the first.
            let told = *told.get_or_insert_with(now);
            self.write(|store| {
                for object in page.items.iter().flatten() {
                    if !object.put(store, list, told) {
                        left_out::<R>(store);
                    }
                }
            })?;
            self.list = list;
            token = page.metadata.r#continue.filter(|token| !token.is_empty());
            if token.is_none() {
                self.version = page.metadata.resource_version;
                self.spoke = true;
                return self.write(|store| R::listed(store, list, told));
            }
        }
        Err(Over::Broken("a list without an end".to_owned()))
    }

    fn watch<R: Resource>(&mut self) -> Result<(), Over> {
        let silence = self.shared.upgrade().ok_or_else(unwanted)?.options.silence;
        let version = self.version.clone().unwrap_or_default();
        let seconds = WATCH_SECONDS + random() % WATCH_JITTER;
        let body = self.get::<R>(&format!(
            "watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={seconds}",
            encoded(&version)
        ))?;
        let began = Instant::now();
        self.write(|store| store.feed(R::SOURCE).resumed(now()))?;
        let mut lines = BufReader::new(body);
        let mut line = Vec::new();
        let mut events = 0_u64;
        while read_line(&mut lines, &mut line, silence).map_err(Over::Broken)? {
            self.event::<R>(&line)?;
            events += 1;
        }
        if events == 0 && began.elapsed() < SHORT_WATCH {
            return Err(Over::Broken("watches end as soon as they begin".to_owned()));
        }
        Ok(())
    }

    fn event<R: Resource>(&mut self, line: &[u8]) -> Result<(), Over> {
        let broken = |error: serde_json::Error| Over::Broken(format!("an event: {error}"));
        let kind: Kind = serde_json::from_slice(line).map_err(broken)?;
        if kind.r#type == "ERROR" {
            let failed: Event<Failed> = serde_json::from_slice(line).map_err(broken)?;
            return Err(match failed.object.code {
                Some(410) => Over::Gone,
                code => Over::Broken(refusal(code.unwrap_or(0), failed.object)),
            });
        }
        let event: Event<R> = serde_json::from_slice(line).map_err(broken)?;
        let (object, list, time) = (event.object, self.list, now());
        self.write(|store| {
            let fits = match kind.r#type.as_str() {
                "ADDED" | "MODIFIED" => object.put(store, list, time),
                "DELETED" => {
                    object.gone(store, time);
                    true
                }
                "BOOKMARK" => {
                    store.feed(R::SOURCE).bookmarked(time);
                    true
                }
                // What later servers may say.
                _ => true,
            };
            if !fits {
                left_out::<R>(store);
            }
            store.feed(R::SOURCE).heard(time);
            store.tidy(time);
        })?;
        self.spoke = true;
        if let Some(version) = &object.meta().resource_version {
            self.version = Some(version.clone());
        }
        Ok(())
    }

    /// Asks, with the selector; anything but 200 is why it is over.
    fn get<R: Resource>(&self, query: &str) -> Result<Body, Over> {
        let selector =
            self.selector.map(|selector| format!("&fieldSelector={}", encoded(selector)));
        let target = format!("{}?{query}{}", R::PATH, selector.unwrap_or_default());
        let (status, mut body) = self.server.get(&target, self.shared).map_err(Over::Broken)?;
        if status == 200 {
            return Ok(body);
        }
        body.set_deadline(Instant::now() + LINE_PATIENCE);
        let mut text = Vec::new();
        // Only for people: what there is of it will do.
        let _ = body.take(64 << 10).read_to_end(&mut text);
        let why = refusal(status, serde_json::from_slice(&text).unwrap_or_default());
        Err(match status {
            410 => Over::Gone,
            403 => Over::Forbidden(why),
            _ => Over::Broken(why),
        })
    }

    fn write<T>(&self, change: impl FnOnce(&mut Store) -> T) -> Result<T, Over> {
        Ok(self.shared.upgrade().ok_or_else(unwanted)?.write(change))
    }
}

/// It is not as it must be: whatever it holds is not known.
fn left_out<R: Resource>(store: &mut Store) {
    store.left_out += 1;
    store.feed(R::SOURCE).incomplete();
}

fn unwanted() -> Over {
    Over::Broken("not wanted any more".to_owned())
}

/// What the server says about why not, fit for a terminal.
fn refusal(status: u16, failed: Failed) -> String {
    let message = failed.message.unwrap_or_default();
    let plain: String = message.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect();
    if plain.is_empty() { format!("status {status}") } else { format!("status {status}: {plain}") }
}

/// Reads a line into `line`, which may take `silence` to begin. False at the end.
fn read_line(
    lines: &mut BufReader<Body>,
    line: &mut Vec<u8>,
    silence: Duration,
) -> Result<bool, String> {
    line.clear();
    if lines.buffer().is_empty() {
        lines.get_mut().set_deadline(Instant::now() + silence);
        if lines.fill_buf().map_err(|error| error.to_string())?.is_empty() {
            return Ok(false);
        }
    }
    lines.get_mut().set_deadline(Instant::now() + LINE_PATIENCE);
    let mut bounded = lines.take(MAX_LINE);
    bounded.read_until(b'\n', line).map_err(|error| error.to_string())?;
    if line.last() == Some(&b'\n') {
        return Ok(true);
    }
    Err(if bounded.limit() == 0 { "an event that is too long" } else { "cut off" }.to_owned())
}

/// As much as 50 % more or less: nodes that lost a server must not return to it at once.
fn jittered(wait: Duration) -> Duration {
    let percent = u32::try_from(50 + random() % 100).unwrap_or(100);
    wait * percent / 100
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

fn pause_for(pause: Duration, shared: &Weak<Shared>) {
    let until = Instant::now() + pause;
    while shared.strong_count() > 0 && Instant::now() < until {
        thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
    }
}

/// For a query.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl Resource for PodObject {
    const PATH: &'static str = "/api/v1/pods";
    const SOURCE: Source = Source::Pods;
    fn meta(&self) -> &Meta {
        &self.metadata
    }
    fn listing(store: &mut Store) -> u32 {
        store.pods_listing();
        0
    }
    fn put(&self, store: &mut Store, _list: u32, now: i64) -> bool {
        let Some(pod) = self.pod(&store.node) else { return false };
        let local = pod.node.as_deref() == Some(&*store.node);
        let uid = pod.uid.clone();
        store.api_pod(pod, self.life(), now);
        for (id, name) in self.containers().filter(|_| local) {
            store.container(id, &uid, Some(name));
        }
        true
    }
    fn gone(&self, store: &mut Store, now: i64) {
        if let Some(uid) = self.uid() {
            store.api_pod_gone(uid, self.life(), now);
        }
    }
    fn listed(store: &mut Store, _list: u32, now: i64) {
        store.pods_listed(now);
    }
}

impl Resource for ServiceObject {
    const PATH: &'static str = "/api/v1/services";
    const SOURCE: Source = Source::Services;
    fn meta(&self) -> &Meta {
        &self.metadata
    }
    fn listing(store: &mut Store) -> u32 {
        store.listing()
    }
    fn put(&self, store: &mut Store, list: u32, now: i64) -> bool {
        let service = self.service();
        service.map(|service| store.service(service, self.metadata.created(), list, now)).is_some()
    }
    fn gone(&self, store: &mut Store, now: i64) {
        if let Some(name) = self.metadata.full_name() {
            store.service_gone(&name, now);
        }
    }
    fn listed(store: &mut Store, list: u32, now: i64) {
        store.services_listed(list, now);
    }
}

impl Resource for SliceObject {
    const PATH: &'static str = "/apis/discovery.k8s.io/v1/endpointslices";
    const SOURCE: Source = Source::Endpoints;
    fn meta(&self) -> &Meta {
        &self.metadata
    }
    fn listing(store: &mut Store) -> u32 {
        store.listing()
    }
    fn put(&self, store: &mut Store, list: u32, now: i64) -> bool {
        let Some(name) = self.metadata.full_name() else { return false };
        match self.slice() {
            Some(slice) => store.slice(&name, slice, list, now),
            // It was a Service's, maybe.
            None => store.slice_gone(&name, now),
        }
        true
    }
    fn gone(&self, store: &mut Store, now: i64) {
        if let Some(name) = self.metadata.full_name() {
            store.slice_gone(&name, now);
        }
    }
    fn listed(store: &mut Store, list: u32, now: i64) {
        store.slices_listed(list, now);
    }
}

impl Resource for NodeObject {
    const PATH: &'static str = "/api/v1/nodes";
    const SOURCE: Source = Source::Nodes;
    fn meta(&self) -> &Meta {
        &self.metadata
    }
    fn listing(store: &mut Store) -> u32 {
        store.listing()
    }
    fn put(&self, store: &mut Store, list: u32, now: i64) -> bool {
        let name = self.metadata.name.as_deref().filter(|name| super::super::logs::is_name(name));
        name.map(|name| store.node(name, self.addresses(), self.metadata.created(), list, now))
            .is_some()
    }
    fn gone(&self, store: &mut Store, now: i64) {
        if let Some(name) = &self.metadata.name {
            store.node_gone(name, now);
        }
    }
    fn listed(store: &mut Store, list: u32, now: i64) {
        store.nodes_listed(list, now);
    }
}
