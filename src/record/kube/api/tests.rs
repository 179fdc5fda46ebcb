//! What objects say, and answers that are not as they must be.

use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::super::store::Life;
use super::super::types::{Mode, Options};
use super::super::{Names, Shared};
use super::http::{Body, Server, Stream};
use super::objects::{Event, PodObject, ServiceObject, SliceObject};

const S: i64 = 1_000_000_000;

/// 2024-01-02T03:00:00Z
const THREE: i64 = 1_704_164_400 * S;

fn pod(value: serde_json::Value) -> PodObject {
    serde_json::from_value(value).expect("a pod")
}

fn life(changes: serde_json::Value) -> Life {
    let running =
        json!([{"name": "app", "state": {"running": {"startedAt": "2024-01-02T03:00:05Z"}}}]);
    let mut object = json!({
        "metadata": {"name": "a", "namespace": "shop", "uid": "u", "creationTimestamp": "2024-01-02T03:00:00Z"},
        "status": {"phase": "Running", "startTime": "2024-01-02T03:00:01Z", "containerStatuses": running},
    });
    for (part, fields) in changes.as_object().expect("parts") {
        for (key, value) in fields.as_object().expect("fields") {
            object[part][key] = value.clone();
        }
    }
    pod(object).life()
}

fn ended(at: &str) -> serde_json::Value {
    json!([{"name": "app", "state": {"terminated": {"finishedAt": at}}}])
}

#[test]
fn how_a_pod_lives() {
    let alive = Life {
        possible_from: THREE + S,
        running_since: Some(THREE + 5 * S),
        asked: None,
        over: None,
    };
    assert_eq!(life(json!({})), alive);
    let deleting = json!({"metadata": {"deletionTimestamp": "2024-01-02T03:10:30Z", "deletionGracePeriodSeconds": 30}});
    assert_eq!(life(deleting.clone()), Life { asked: Some(THREE + 600 * S), ..alive });
    let mut over = deleting;
    over["status"] = json!({"containerStatuses": ended("2024-01-02T03:10:04Z")});
    let end = Some(Some(THREE + 604 * S));
    assert_eq!(
        life(over),
        Life { asked: Some(THREE + 600 * S), over: end, running_since: None, ..alive }
    );
    // It will be started again.
    let crashed = json!({"status": {"containerStatuses": ended("2024-01-02T03:10:04Z")}});
    assert_eq!(life(crashed).over, None);
    let done = json!({"status": {"phase": "Succeeded", "containerStatuses": ended("2024-01-02T03:10:04Z")}});
    assert_eq!(life(done).over, end);
    assert_eq!(
        life(json!({"status": {"phase": "Failed", "containerStatuses": []}})).over,
        Some(None)
    );
    // Said by who does not reach its node: it may still run.
    let lost = life(json!({"status": {"phase": "Failed"}}));
    assert!(lost.over.is_none() && lost.asked.is_some());
    // Of years in which nothing is.
    assert_eq!(life(json!({"status": {"startTime": "0001-01-01T00:00:00Z"}})).possible_from, THREE);
}

#[test]
fn only_what_kubernetes_allows_is_a_name() {
    let named = |name: &str, namespace: &str, uid: &str| {
        pod(json!({"metadata": {"name": name, "namespace": namespace, "uid": uid}}))
            .pod("here")
            .is_some()
    };
    assert!(named("a-1.b", "shop", "u-1"));
    for (name, namespace, uid) in [
        ("", "shop", "u"),
        ("a b", "shop", "u"),
        ("a\u{1b}[2J", "shop", "u"),
        ("a", "shop/x", "u"),
        ("a", "", "u"),
        ("a", "shop", "../u"),
        (&*"a".repeat(300), "shop", "u"),
    ] {
        assert!(!named(name, namespace, uid), "{name} {namespace} {uid}");
    }
    let labels = json!({"app": "a", "x": "a,b=c", "long": "l".repeat(5000)});
    let object = json!({"metadata": {"name": "a", "namespace": "shop", "uid": "u", "labels": labels},
        "spec": {"nodeName": "here"}});
    assert_eq!(
        pod(object.clone()).pod("here").unwrap().labels,
        [("app".to_owned(), "a".to_owned())]
    );
    assert!(pod(object).pod("other").unwrap().labels.is_empty());
}

#[test]
fn a_static_pods_mirror_is_the_static_pod() {
    let own = "0123456789abcdef0123456789abcdef";
    let object = json!({"metadata": {"name": "etcd-here", "namespace": "kube-system", "uid": "of-the-mirror",
        "annotations": {"kubernetes.io/config.mirror": own, "other": {"not": "used"}},
        "ownerReferences": [{"kind": "Node", "name": "here", "controller": true}]},
        "spec": {"nodeName": "here", "hostNetwork": true},
        "status": {"podIPs": [{"ip": "192.0.2.1"}], "podIP": "192.0.2.1"}});
    let pod = pod(object).pod("here").unwrap();
    assert_eq!((&*pod.uid, pod.workload.is_none(), pod.addresses.is_empty()), (own, true, true));
}

#[test]
fn what_has_no_cluster_address_or_is_not_tcp_is_left_out() {
    let object = json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"clusterIP": "None",
        "clusterIPs": ["None"], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 80, "name": null}]}});
    let service: ServiceObject = serde_json::from_value(object).unwrap();
    let service = service.service().unwrap();
    assert!(service.addresses.is_empty());
    assert_eq!(service.ports.iter().map(|port| port.port).collect::<Vec<_>>(), [80]);
    let bare: SliceObject =
        serde_json::from_value(json!({"metadata": {"name": "a"}, "endpoints": null})).unwrap();
    assert!(bare.slice().is_none());
}

/// Bytes that are there, then the end.
struct Said(Cursor<Vec<u8>>, usize);

impl Read for Said {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let most = out.len().min(self.1.max(1));
        self.0.read(&mut out[..most])
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn nobody() -> Arc<Shared> {
    let options = Options { mode: Mode::Off, ..Options::default() };
    Names::start(&options).expect("asks nobody").shared
}

/// The status and body of bytes that come in pieces; Err where they end too early or are no answer.
fn answer(bytes: &[u8], piece: usize) -> Result<(u16, Vec<u8>), String> {
    let shared = nobody();
    let stream: Box<dyn Stream> = Box::new(Said(Cursor::new(bytes.to_vec()), piece));
    let (status, mut body) = Body::of(stream, &Arc::downgrade(&shared))?;
    let mut out = Vec::new();
    body.read_to_end(&mut out).map_err(|error| error.to_string())?;
    Ok((status, out))
}

#[test]
fn bodies_end_where_they_say() {
    for piece in [1, 7, 4096] {
        let of = |text: &str| answer(text.as_bytes(), piece);
        let ok = |body: &str| Ok((200, body.as_bytes().to_vec()));
        let head = "HTTP/1.1 200 OK\r\n";
        assert_eq!(of(&format!("{head}Content-Length: 3\r\n\r\nabcdef")), ok("abc"));
        assert_eq!(of(&format!("{head}\r\nabc")), ok("abc"));
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(of(&format!("{chunked}3;x=y\r\nabc\r\n02\r\nde\r\n0\r\n\r\n")), ok("abcde"));
        assert_eq!(
            of(&format!("HTTP/1.1 100 Continue\r\n\r\n{head}Content-Length: 1\r\n\r\na")),
            ok("a")
        );
        for cut in [
            format!("{chunked}3\r\nab"),
            format!("{chunked}3\r\nabc\r\n"),
            format!("{head}Content-Length: 3\r\n\r\nab"),
            format!("{chunked}zz\r\nabc"),
            format!("{chunked}{}\r\n", "0".repeat(1000)),
            format!("{head}Transfer-Encoding: gzip\r\n\r\n"),
            format!("{head}x: {}\r\n\r\n", "y".repeat(40_000)),
            "SSH-2.0-x\r\n".to_owned(),
            String::new(),
        ] {
            assert!(of(&cut).is_err(), "{cut:.60}");
        }
    }
}

#[test]
fn addresses_of_servers() {
    let account = std::path::Path::new("/nonexistent");
    for good in [
        "https://10.96.0.1:443",
        "https://[fd00::1]:6443",
        "https://localhost",
        "http://127.0.0.1:8001",
    ] {
        assert!(Server::new(good, account).is_ok(), "{good}");
    }
    for bad in ["10.96.0.1:443", "ftp://a", "https://a:x", "https://a:99999", "http://10.0.0.1:80"]
    {
        assert!(Server::new(bad, account).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_answer_breaks_anything(
        start in prop_oneof![Just(""), Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
        piece in 1..50_usize,
    ) {
        let _ = answer(&[start.as_bytes(), &rest].concat(), piece);
    }

    #[test]
    fn no_event_breaks_anything(text in "[\\[\\]{}\":,a-z0-9 ]{0,80}", time in "[0-9TZ:.-]{0,30}") {
        let _ = serde_json::from_str::<Event<PodObject>>(&text);
        let object = json!({"metadata": {"name": "a", "namespace": "b", "uid": "c", "deletionTimestamp": time,
            "deletionGracePeriodSeconds": i64::MAX}, "status": {"startTime": time}});
        let _ = pod(object).life();
    }
}
