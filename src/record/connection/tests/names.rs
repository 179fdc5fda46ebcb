//! Who ends are, where Kubernetes says it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::record::event::Role;
use crate::record::kube::{Holder, Member, Pod, Service, Workload};
use crate::record::naming::Naming;
use crate::record::testkit::record_with;

/// A cluster: a frontend and a checkout behind a Service, and a node.
#[derive(Debug, Default)]
struct Cluster {
    generation: AtomicU64,
    /// From this generation on it knows anything.
    since: u64,
}

fn pod(name: &str, address: &str) -> Arc<Pod> {
    let workload = name.split_once('-').map(|(workload, _)| workload.to_owned());
    Arc::new(Pod {
        namespace: "shop".into(),
        name: name.into(),
        workload: workload.map(|name| Workload { kind: "Deployment".into(), name }),
        addresses: vec![address.parse().unwrap()],
        ..Pod::default()
    })
}

impl Naming for Cluster {
    fn container(&self, _: Option<&str>, _: Option<&str>) -> Option<Member> {
        None
    }

    fn address(&self, address: IpAddr, port: u16, _: i64) -> Option<Holder> {
        if self.generation() < self.since {
            return None;
        }
        match (address.to_string().as_str(), port) {
            ("10.244.0.5", _) => Some(Holder::Pod(pod("frontend-1", "10.244.0.5"))),
            ("10.244.1.7", _) => Some(Holder::Pod(pod("checkout-1", "10.244.1.7"))),
            ("10.96.0.10", 80) => Some(Holder::Service(Arc::new(Service {
                namespace: "shop".into(),
                name: "checkout".into(),
                ..Service::default()
            }))),
            ("192.168.1.1", _) => Some(Holder::Node("node-1".into())),
            _ => None,
        }
    }

    fn endpoint(&self, _: &Service, _: SocketAddr, _: i64) -> Option<SocketAddr> {
        Some("10.244.1.7:8080".parse().unwrap())
    }

    fn local_pods(&self) -> Vec<Arc<Pod>> {
        Vec::new()
    }

    fn generation(&self) -> u64 {
        // Each look is news.
        self.generation.fetch_add(1, Ordering::Relaxed)
    }
}

/// What the file says, where only the client's end is on this host.
fn comments(server: &str, cluster: Cluster) -> Vec<Vec<String>> {
    let mut talk = Talk::new("10.250.0.1:4000", server);
    let mut events = talk.open(0);
    events.extend(talk.send(0, b"request"));
    events.extend(talk.send(1, b"response"));
    events.retain(|event| event.head.role == Role::Client);
    let (bytes, _) = record_with(&events, Some(Arc::new(cluster)), |_| ());
    read(bytes).into_iter().map(|packet| packet.comments).collect()
}

#[test]
fn a_remote_end_has_the_name_of_who_holds_its_address() {
    let of = |server| comments(server, Cluster::default()).remove(0);
    assert_eq!(
        of("10.244.1.7:8080")[1..],
        [
            "server.pod=shop/checkout-1",
            "server.workload=shop/Deployment/checkout",
            "server.by=address"
        ]
    );
    assert_eq!(
        of("10.96.0.10:80")[1..],
        [
            "server.pod=shop/checkout-1",
            "server.workload=shop/Deployment/checkout",
            "server.service=shop/checkout",
            "server.by=endpoint"
        ]
    );
    assert_eq!(of("192.168.1.1:10250")[1..], ["server.node=node-1", "server.by=address"]);
    assert_eq!(of("10.9.9.9:80").len(), 1, "of whom nobody knows nothing is said");
}

#[test]
fn news_that_come_late_are_told_with_the_next_packet() {
    let cluster = Cluster { since: 3, ..Cluster::default() };
    let told = comments("10.244.1.7:8080", cluster);
    assert_eq!(told[0], ["client=host/curl[4000001]"]);
    let later: Vec<_> = told[1..].iter().filter(|comments| !comments.is_empty()).collect();
    assert_eq!(later.len(), 1, "once: {told:?}");
    assert!(later[0].contains(&"server.pod=shop/checkout-1".to_owned()), "{later:?}");
}
