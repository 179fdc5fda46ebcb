//! Pods, Services and nodes, as far as names of connections need them.

use std::net::IpAddr;
use std::sync::Arc;

/// What is known of a pod. Never changes: news make a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The topmost known owner.
    pub workload: Option<Workload>,
    /// Labels, sorted by key.
    pub labels: Vec<(String, String)>,
    /// The node that it runs on.
    pub node: Option<String>,
    /// It has the node's addresses.
    pub host_network: bool,
    /// Its own.
    pub addresses: Vec<IpAddr>,
}

/// What owns pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, …
    pub kind: String,
    /// Its name in the pod's namespace.
    pub name: String,
}

/// A container of a pod on this node.
#[derive(Clone, Debug)]
pub struct Member {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container's name in it.
    pub container: Option<String>,
}

/// Whom an address belongs to.
#[derive(Clone, Debug)]
pub enum Holder {
    /// A pod's own address.
    Pod(Arc<Pod>),
    /// A Service's.
    Service(Arc<Service>),
    /// A node's.
    Node(Arc<str>),
}

/// A Service.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
