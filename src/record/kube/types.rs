//! What the rest of the recorder sees of a cluster: pods, Services, whom an
//! address belongs to, and how the sources are.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a pod. Never changes; news make a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name, unique in the namespace at one time.
    pub name: String,
    /// Its uid as cgroups have it: a UUID, or the 32 digits of a static pod.
    pub uid: String,
    /// What it belongs to, as far up as is certain.
    pub workload: Option<Workload>,
    /// Sorted by key; only of pods on this node.
    pub labels: Vec<(String, String)>,
    /// The node that it runs on.
    pub node: Option<String>,
    /// It shares the node's network: its addresses are the node's.
    pub host_network: bool,
    /// Its addresses, the first is the primary one; none with the node's network.
    pub addresses: Vec<IpAddr>,
}

/// The topmost owner of a pod that is known, within the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob`, `Job`, or another kind as it is said.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A container of a pod on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its pod.
    pub pod: Arc<Pod>,
    /// The container's name, where it is known.
    pub container: Option<String>,
}

/// Whom an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A pod that has a network of its own.
    Pod(Arc<Pod>),
    /// A Service: its cluster address, an external one with its port, or a
    /// node's address with its node port.
    Service(Arc<Service>),
    /// A node, by name.
    Node(Arc<str>),
}

/// What is known of a Service. Never changes; news make a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name, unique in the namespace.
    pub name: String,
    /// Cluster addresses, the first is the primary one; none where it is headless.
    pub addresses: Vec<IpAddr>,
    /// External and load balancer addresses; they are its own only with its ports.
    pub external: Vec<IpAddr>,
    /// Its TCP ports.
    pub ports: Vec<ServicePort>,
}

/// A TCP port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name, by which endpoints have theirs; empty where there is one port.
    pub name: String,
    /// Port at the Service's addresses.
    pub port: u16,
    /// Port at every node's address.
    pub node_port: Option<u16>,
}

/// Where names may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The node's own sources, and the Kubernetes API where there is a token.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// As Auto; that there is no token is an error.
    Api,
}

/// Where to look. The defaults are those of a real node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which sources.
    pub mode: Mode,
    /// This node's name in Kubernetes; None: the host's name.
    pub node_name: Option<String>,
    /// All pods' addresses, not only this node's.
    pub cluster_wide: bool,
    /// The kubelet's tree of logs by pod.
    pub pod_logs: PathBuf,
    /// The kubelet's links to logs by container.
    pub container_logs: PathBuf,
    /// Sockets of container runtimes; the first that answers is asked.
    pub runtimes: Vec<PathBuf>,
    /// How often the runtime is asked while nothing calls for it.
    pub runtime_every: Duration,
    /// Folder with `token` and `ca.crt`.
    pub service_account: PathBuf,
    /// `https://HOST:PORT` of the API server; None: from `KUBERNETES_SERVICE_HOST` and `_PORT`.
    pub server: Option<String>,
    /// A watch that says nothing for so long is not believed any more. Servers
    /// send bookmarks about once a minute.
    pub silence: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            node_name: None,
            cluster_wide: false,
            pod_logs: "/var/log/pods".into(),
            container_logs: "/var/log/containers".into(),
            runtimes: [
                "/run/containerd/containerd.sock",
                "/run/crio/crio.sock",
                "/run/cri-dockerd.sock",
                "/run/k3s/containerd/containerd.sock",
                "/var/snap/microk8s/common/run/containerd.sock",
            ]
            .map(PathBuf::from)
            .to_vec(),
            runtime_every: Duration::from_secs(5),
            service_account: "/var/run/secrets/kubernetes.io/serviceaccount".into(),
            server: None,
            silence: Duration::from_secs(90),
        }
    }
}

/// Why names cannot be had although they were asked for.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The API is asked for and cannot be reached from here.
    #[error("the Kubernetes API cannot be asked: {0}")]
    Api(String),
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// How the sources are, for metrics and `doctor`.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// This node's name, and whether it was only taken from the host's.
    pub node: String,
    /// Nobody said the node's name: it is the host's.
    pub node_is_guessed: bool,
    /// Pods known, gone ones that are remembered included.
    pub pods: usize,
    /// Of these, on this node.
    pub local_pods: usize,
    /// Services known.
    pub services: usize,
    /// Nodes known.
    pub nodes: usize,
    /// Objects that were left out, for a limit or because they are not as they must be.
    pub left_out: u64,
    /// Each source that is in use.
    pub sources: Vec<SourceStatus>,
}

/// How one source is.
#[derive(Clone, Debug, Default)]
pub struct SourceStatus {
    /// `kubelet logs`, `runtime`, `api pods`, `api services`, `api endpoints`, `api nodes`.
    pub name: &'static str,
    /// It answers, and what it says is believed for new connections.
    pub fresh: bool,
    /// Its last word, in unix nanoseconds; None: it said nothing yet.
    pub heard: Option<i64>,
    /// Answers and events so far.
    pub news: u64,
    /// The last error, while it is not over.
    pub error: Option<String>,
    /// The API refuses it (403): asked again now and then only.
    pub forbidden: bool,
}
