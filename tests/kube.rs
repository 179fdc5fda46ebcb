//! Names of a fake node: the kubelet's folders, a container runtime and an API
//! server that speak the real protocols, and misbehave (`tests/live/fake_node.py`).
#![cfg(feature = "kube")]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::fake_node::Node;
use perisco::record::kube::{Holder, Mode, Names, Options, StartError};
use serde_json::json;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked of the node's names.
trait Named {
    fn options(&self) -> Options;
    fn names(&self) -> Names;
    fn asked_for(&mut self, what: &str) -> usize;
}

impl Named for Node {
    fn options(&self) -> Options {
        Options {
            node_name: Some("here".into()),
            cluster_wide: true,
            pod_logs: self.path("pods"),
            container_logs: self.path("containers"),
            runtimes: vec![self.path("cri.sock")],
            runtime_every: Duration::from_secs(1),
            service_account: self.path("serviceaccount"),
            server: Some(self.server.clone()),
            silence: Duration::from_secs(5),
            ..Options::default()
        }
    }

    fn names(&self) -> Names {
        let names = Names::start(&self.options()).expect("started");
        until("all is listed", || {
            names.status().sources.iter().filter(|one| one.fresh).count() == 5
        });
        names
    }

    fn asked_for(&mut self, what: &str) -> usize {
        let asked = self.tell(json!({"do": "requests"}));
        asked
            .as_array()
            .expect("a list")
            .iter()
            .filter(|one| one.to_string().contains(what))
            .count()
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    i64::try_from(since.as_nanos()).expect("this century")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A short form of whom an address belongs to.
fn who(names: &Names, address: &str, port: u16, at: i64) -> Option<String> {
    names.address(ip(address), port, at).map(|holder| match holder {
        Holder::Pod(pod) => format!("{}/{}", pod.namespace, pod.name),
        Holder::Service(service) => format!("{}/{}.svc", service.namespace, service.name),
        Holder::Node(name) => format!("node {name}"),
    })
}

fn source(names: &Names, name: &str) -> perisco::record::kube::SourceStatus {
    let found = names.status().sources.into_iter().find(|source| source.name == name);
    found.unwrap_or_default()
}

const SECOND: i64 = 1_000_000_000;

#[test]
fn containers_have_names_at_first_sight_and_labels_soon() {
    let Some(mut node) = Node::start() else { return };
    let options = Options { service_account: node.path("none"), ..node.options() };
    let names = Names::start(&options).expect("started");
    let before = names.generation();
    let labels = json!({"app": "web", "pod-template-hash": "7d9f8b6c5d"});
    let name = "web-7d9f8b6c5d-x2b4z";
    let made = node.tell(json!({"do": "pod", "name": name, "ip": "10.0.0.7", "labels": labels,
        "containers": ["app", "side"]}));
    let id = made["ids"]["side"].as_str().expect("an id").to_owned();
    // Whoever looks right after another waits for the next look.
    std::thread::sleep(Duration::from_millis(300));
    let member = names.container(Some(&id), None).expect("from the folders, at once");
    assert_eq!((&*member.pod.namespace, &*member.pod.name), ("shop", name));
    assert_eq!(member.container.as_deref(), Some("side"));
    let by_uid = names.container(None, made["uid"].as_str()).expect("by the pod's uid");
    assert_eq!(by_uid.pod, member.pod);
    until("the runtime's labels", || {
        names.container(Some(&id), None).is_some_and(|member| !member.pod.labels.is_empty())
    });
    assert!(names.generation() > before);
    let pod = names.container(Some(&id), None).expect("known").pod;
    let labels = [("app", "web"), ("pod-template-hash", "7d9f8b6c5d")];
    assert_eq!(pod.labels, labels.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let workload = pod.workload.clone().expect("certain");
    assert_eq!((&*workload.kind, &*workload.name), ("Deployment", "web"));
    assert_eq!(pod.addresses, [ip("10.0.0.7")]);
    let opened = now();
    until("proof of the address", || who(&names, "10.0.0.7", 0, opened).is_some());
    assert_eq!(who(&names, "10.0.0.7", 0, opened).as_deref(), Some(&*format!("shop/{name}")));
    assert_eq!(names.local_pods(), [pod]);
    assert!(names.container(Some(&"0".repeat(64)), None).is_none());
}

#[test]
fn the_runtime_alone_does_not_mistake_a_reused_address() {
    let Some(mut node) = Node::start() else { return };
    let deaf = node.path("deaf.sock");
    let _deaf = std::os::unix::net::UnixListener::bind(&deaf).expect("a socket");
    let options = Options {
        service_account: node.path("none"),
        runtimes: vec![node.path("none.sock"), deaf, node.path("cri.sock")],
        ..node.options()
    };
    let names = Names::start(&options).expect("started");
    node.tell(json!({"do": "pod", "name": "old", "ip": "10.0.0.7"}));
    let first = now();
    until("old", || who(&names, "10.0.0.7", 0, first).as_deref() == Some("shop/old"));
    node.tell(json!({"do": "delete", "name": "old"}));
    std::thread::sleep(Duration::from_millis(20));
    node.tell(json!({"do": "pod", "name": "new", "ip": "10.0.0.7"}));
    std::thread::sleep(Duration::from_millis(20));
    let second = now();
    until("new", || {
        let found = who(&names, "10.0.0.7", 0, second);
        assert_ne!(found.as_deref(), Some("shop/old"), "opened when it was another's");
        found.is_some()
    });
    assert_eq!(who(&names, "10.0.0.7", 0, second).as_deref(), Some("shop/new"));
    assert_eq!(who(&names, "10.0.0.7", 0, first).as_deref(), Some("shop/old"), "late, but true");
    // With the node's network its addresses are the node's.
    node.tell(json!({"do": "pod", "name": "agent", "ip": "192.0.2.1", "host_network": true}));
    until("agent", || names.local_pods().iter().any(|pod| pod.name == "agent" && pod.host_network));
    assert_eq!(who(&names, "192.0.2.1", 0, now()), None);
}

#[test]
fn the_api_names_remote_pods_services_and_nodes() {
    let Some(mut node) = Node::start() else { return };
    node.tell(json!({"do": "set", "page": 2}));
    for number in 0..5 {
        node.tell(json!({"do": "pod", "name": format!("far-{number}"), "node": "far", "age": 60,
            "ips": [format!("10.0.1.{number}"), format!("fd00::{number}")], "owner": "DaemonSet/far"}));
    }
    node.tell(json!({"do": "node", "name": "far", "ips": ["192.0.2.9"]}));
    let names = node.names();
    assert!(node.asked_for("/pods?limit") >= 3, "in pages");
    let opened = now();
    assert_eq!(who(&names, "10.0.1.3", 0, opened).as_deref(), Some("shop/far-3"));
    assert_eq!(who(&names, "fd00::4", 8080, opened).as_deref(), Some("shop/far-4"));
    assert_eq!(who(&names, "::ffff:10.0.1.4", 8080, opened).as_deref(), Some("shop/far-4"));
    assert_eq!(
        who(&names, "10.0.1.3", 0, opened - 30 * SECOND).as_deref(),
        Some("shop/far-3"),
        "it ran"
    );
    assert_eq!(who(&names, "10.0.1.3", 0, opened - 90 * SECOND), None, "before it was there");
    assert_eq!(who(&names, "192.0.2.9", 22, opened).as_deref(), Some("node far"));
    let Some(Holder::Pod(pod)) = names.address(ip("10.0.1.3"), 0, opened) else { panic!("a pod") };
    assert_eq!(pod.workload.as_ref().map(|workload| &*workload.kind), Some("DaemonSet"));
    assert!(pod.labels.is_empty() && pod.node.as_deref() == Some("far"));

    node.tell(json!({"do": "service", "name": "web", "ips": ["10.96.0.5"], "ports": [[80, 8080]],
        "external": ["198.51.100.1"], "balancer": ["198.51.100.2"], "node_port": 30080}));
    node.tell(json!({"do": "endpoints", "service": "web", "ready": ["10.0.1.3"], "not_ready": ["10.0.1.4"]}));
    until("the Service", || who(&names, "10.96.0.5", 80, now()).is_some());
    let opened = now();
    let of = |address, port| who(&names, address, port, opened);
    for (address, port) in
        [("10.96.0.5", 80), ("198.51.100.1", 80), ("198.51.100.2", 80), ("192.0.2.9", 30080)]
    {
        assert_eq!(of(address, port).as_deref(), Some("shop/web.svc"), "{address}:{port}");
    }
    assert_eq!(of("198.51.100.1", 81), None, "another's, maybe");
    let Some(Holder::Service(web)) = names.address(ip("10.96.0.5"), 80, opened) else {
        panic!("a Service")
    };
    let only = SocketAddr::new(ip("10.0.1.3"), 8080);
    until("its endpoint", || names.endpoint(&web, 80) == Some(only));
    assert_eq!(names.endpoint(&web, 81), None);
    node.tell(
        json!({"do": "endpoints", "service": "web", "name": "web-more", "ready": ["10.0.1.2"]}),
    );
    until("more endpoints", || names.endpoint(&web, 80).is_none());
    node.tell(json!({"do": "remove", "kind": "Service", "name": "web"}));
    until("no Service", || who(&names, "10.96.0.5", 80, now()).is_none());
    until("it is remembered", || of("10.96.0.5", 80).as_deref() == Some("shop/web.svc"));
}

/// Old and new with one address, one after the other, by the API alone.
fn reuse(node: &mut Node, names: &Names, address: &str, old: &str, new: &str) {
    let here = json!({"do": "pod", "name": old, "node": "far", "ip": address});
    node.tell(here);
    until("old is there", || who(names, address, 0, now()).is_some_and(|name| name.ends_with(old)));
    std::thread::sleep(Duration::from_secs(4));
    let first = now() - SECOND / 2;
    node.tell(json!({"do": "ask", "name": old, "grace": 2}));
    std::thread::sleep(Duration::from_millis(300));
    node.tell(json!({"do": "over", "name": old}));
    std::thread::sleep(Duration::from_millis(300));
    node.tell(json!({"do": "pod", "name": new, "node": "far", "ip": address}));
    node.tell(json!({"do": "delete", "name": old}));
    std::thread::sleep(Duration::from_secs(2));
    let second = now();
    until("new is there", || {
        let found = who(names, address, 0, second);
        assert!(
            !found.as_ref().is_some_and(|name| name.ends_with(old)),
            "{old} is gone, not {found:?}"
        );
        found.is_some_and(|name| name.ends_with(new))
    });
    let late = who(names, address, 0, first);
    assert!(late.as_ref().is_none_or(|name| name.ends_with(old)), "{late:?} was not there yet");
}

#[test]
fn a_reused_address_is_its_new_pods() {
    let Some(mut node) = Node::start() else { return };
    let names = node.names();
    reuse(&mut node, &names, "10.0.1.7", "old", "new");
}

/// Pods come and go on three addresses; each connection is of the pod that had
/// the address when it was opened, whatever is known when it is asked for.
#[test]
fn pods_that_come_and_go_keep_their_connections() {
    let Some(mut node) = Node::start() else { return };
    let names = node.names();
    let mut opened: Vec<(String, i64, String)> = Vec::new();
    for round in 0..18 {
        let here = round % 3 != 0;
        let (name, address) = (format!("pod-{round}"), format!("10.0.0.{}", round % 3));
        node.tell(json!({"do": "pod", "name": name, "ip": address, "node": if here { "here" } else { "far" }}));
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(40));
            let at = now();
            // Too early to be asked, but asking calls for an answer.
            let _ = who(&names, &address, 0, at);
            opened.push((address.clone(), at, format!("shop/{name}")));
        }
        std::thread::sleep(Duration::from_millis(700));
        node.tell(json!({"do": "ask", "name": name, "grace": 1}));
        node.tell(json!({"do": "over", "name": name}));
        node.tell(json!({"do": "delete", "name": name}));
        if round % 8 == 5 {
            node.tell(json!({"do": "cut", "half": true}));
        }
    }
    std::thread::sleep(Duration::from_secs(7));
    let mut named = 0;
    for (address, at, name) in &opened {
        let found = who(&names, address, 0, *at);
        assert!(found.as_ref().is_none_or(|found| found == name), "{found:?}, not {name}");
        named += usize::from(found.is_some() && !address.ends_with(".0"));
    }
    // The runtime's clock is ours: of this node's pods hardly any is in doubt.
    assert!(named >= 36, "of 48 connections only {named} have names");
}

#[test]
fn a_pod_that_gets_another_address_gives_up_the_first() {
    let Some(mut node) = Node::start() else { return };
    node.tell(json!({"do": "pod", "name": "a", "ip": "10.0.0.7", "age": 60}));
    let names = node.names();
    let first = now();
    until("the first", || who(&names, "10.0.0.7", 0, first).as_deref() == Some("shop/a"));
    node.tell(json!({"do": "restart", "name": "a", "ip": "10.0.0.8"}));
    until("the second", || who(&names, "10.0.0.8", 0, now()).as_deref() == Some("shop/a"));
    assert_eq!(who(&names, "10.0.0.7", 0, now()), None, "nobody's");
    node.tell(json!({"do": "pod", "name": "b", "ip": "10.0.0.7"}));
    until("another's", || who(&names, "10.0.0.7", 0, now()).as_deref() == Some("shop/b"));
    assert_eq!(who(&names, "10.0.0.7", 0, first - SECOND).as_deref(), Some("shop/a"), "remembered");
    assert_eq!(who(&names, "10.0.0.8", 0, now()).as_deref(), Some("shop/a"));
}

#[test]
fn broken_watches_are_taken_up_again() {
    let Some(mut node) = Node::start() else { return };
    node.tell(json!({"do": "pod", "name": "a", "node": "far", "ip": "10.0.1.1", "age": 60}));
    let names = node.names();
    for half in [false, true] {
        node.tell(json!({"do": "requests"}));
        node.tell(json!({"do": "cut", "half": half}));
        let name = format!("after-{half}");
        let address = format!("10.0.2.{}", u8::from(half));
        node.tell(json!({"do": "pod", "name": name, "node": "far", "ip": address, "age": 60}));
        until("news after the cut", || who(&names, &address, 0, now()).is_some());
        assert_eq!(node.asked_for("/pods?limit"), 0, "from where it broke off, not all again");
    }
    for in_stream in [false, true] {
        node.tell(json!({"do": "set", "refusing": !in_stream}));
        node.tell(json!({"do": "requests"}));
        if !in_stream {
            node.tell(json!({"do": "cut"}));
        }
        node.tell(json!({"do": "delete", "name": format!("after-{in_stream}"), "quiet": true}));
        node.tell(json!({"do": "expire", "in_stream": in_stream}));
        node.tell(json!({"do": "set", "refusing": false}));
        let address = format!("10.0.2.{}", u8::from(in_stream));
        until("it is found to be gone", || {
            who(&names, &address, 0, now()).is_none() && source(&names, "api pods").fresh
        });
        assert!(node.asked_for("/pods?limit") >= 1, "410 Gone: all again");
        assert_eq!(who(&names, "10.0.1.1", 0, now()).as_deref(), Some("shop/a"));
    }
}

#[test]
fn what_a_silent_or_lost_server_said_is_not_certain() {
    let Some(mut node) = Node::start() else { return };
    node.tell(json!({"do": "pod", "name": "a", "node": "far", "ip": "10.0.1.1", "age": 60}));
    let names = node.names();
    let before = now();
    assert_eq!(who(&names, "10.0.1.1", 0, before).as_deref(), Some("shop/a"));
    node.tell(json!({"do": "set", "silent": true}));
    until("silence is noticed", || who(&names, "10.0.1.1", 0, now()).is_none());
    assert_eq!(who(&names, "10.0.1.1", 0, before - SECOND).as_deref(), Some("shop/a"));
    node.tell(json!({"do": "set", "silent": false}));
    until("it speaks", || who(&names, "10.0.1.1", 0, now()).is_some());

    let since = names.generation();
    node.tell(json!({"do": "set", "refusing": true}));
    node.tell(json!({"do": "cut"}));
    until("the loss is noticed", || who(&names, "10.0.1.1", 0, now()).is_none());
    assert!(source(&names, "api pods").error.is_some());
    node.tell(json!({"do": "set", "refusing": false, "slow": 1}));
    until("it is back", || who(&names, "10.0.1.1", 0, now()).is_some());
    until("and said so", || {
        source(&names, "api pods").error.is_none() && names.generation() > since
    });
}

#[test]
fn tokens_rotate_and_roles_forbid() {
    let Some(mut node) = Node::start() else { return };
    node.tell(json!({"do": "set", "forbidden": ["/api/v1/nodes"]}));
    let names = Names::start(&node.options()).expect("started");
    until("refused", || source(&names, "api nodes").forbidden);
    until("the others", || source(&names, "api pods").fresh);
    assert!(source(&names, "api nodes").error.is_some_and(|error| error.contains("403")));
    node.tell(json!({"do": "requests"}));
    node.tell(json!({"do": "token"}));
    node.tell(json!({"do": "cut"}));
    node.tell(json!({"do": "pod", "name": "a", "node": "far", "ip": "10.0.1.1", "age": 60}));
    until("by the new token", || who(&names, "10.0.1.1", 0, now()).is_some());
    assert_eq!(node.asked_for("/nodes"), 0, "refused once, not asked again soon");
}

#[test]
fn the_api_is_needed_only_where_it_was_asked_for() {
    let nowhere = PathBuf::from("/nonexistent");
    let folder = tempfile::tempdir().expect("a folder");
    let options = |mode| Options {
        mode,
        pod_logs: nowhere.clone(),
        container_logs: nowhere.clone(),
        runtimes: Vec::new(),
        service_account: folder.path().to_owned(),
        server: Some("https://127.0.0.1:1".into()),
        ..Options::default()
    };
    let refused = Names::start(&options(Mode::Api)).expect_err("no token");
    assert!(matches!(&refused, StartError::Api(why) if why.contains("token")), "{refused}");
    std::fs::write(folder.path().join("token"), "abc\n").expect("a file");
    let refused = Names::start(&options(Mode::Api)).expect_err("no CA");
    assert!(refused.to_string().contains("ca.crt"), "{refused}");
    let names = Names::start(&options(Mode::Auto)).expect("does without");
    assert_eq!(names.address(ip("10.0.0.1"), 80, now()), None);
    let names = Names::start(&options(Mode::Off)).expect("asks nobody");
    assert!(names.status().sources.is_empty() && names.local_pods().is_empty());
}

#[test]
fn a_server_of_another_ca_is_told_nothing() {
    let (Some(mut node), Some(other)) = (Node::start(), Node::start()) else { return };
    let options = Options { service_account: other.path("serviceaccount"), ..node.options() };
    let names = Names::start(&options).expect("started");
    until("it is refused", || {
        source(&names, "api pods").error.is_some_and(|error| error.contains("TLS"))
    });
    assert_eq!(node.asked_for("/"), 0, "the token went nowhere");
}
