//! Pods that run here: a cgroup and a network namespace as a container runtime
//! makes them, known to a fake node, and recorded by an agent that sees that
//! node's folders, socket and token where they are on a real one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::cgroup::{Cgroup, inside};
use super::fake_node::Node;
use super::live::{self, Out, Place, Running, run, skip};

/// This node's network namespace, another node's, and who knows the pods.
pub struct Cluster {
    pub here: Place,
    pub there: Place,
    pub node: Node,
    /// What is known of its pods on the other node, where that is recorded too.
    other: Option<Node>,
    cgroup: Cgroup,
    /// Cgroups made.
    made: usize,
}

/// A pod and where its processes run.
pub struct Pod {
    pub name: String,
    pub address: String,
    cgroup: Option<PathBuf>,
}

/// Addresses of this node's pods, of the other's, and of Services.
pub const ADDRESSES: &[&str] = &["10.1.0.7", "10.1.0.8", "10.1.0.9"];
pub const REMOTE: &[&str] = &["10.2.0.7", "10.2.0.8"];

/// Puts the fake node where a real one's things are, for one process.
const ON_NODE: &str = r#"
set -e
mount -t tmpfs tmpfs /var/log
mkdir /var/log/pods /var/log/containers
mount --bind "$0/pods" /var/log/pods
mount --bind "$0/containers" /var/log/containers
mount -t tmpfs tmpfs /run
mkdir -p /run/containerd /run/secrets/kubernetes.io/serviceaccount
touch /run/containerd/containerd.sock
mount --bind "$0/cri.sock" /run/containerd/containerd.sock
mount --bind "$0/serviceaccount" /run/secrets/kubernetes.io/serviceaccount
if [ -n "${ONLY_CGROUP2:-}" ]; then
  echo 0::/ >/run/cgroup
  mount --bind /run/cgroup "/proc/$$/cgroup"
fi
exec "$@"
"#;

impl Cluster {
    /// Makes one, or says why the test cannot run here.
    pub fn new() -> Option<Self> {
        let peers = ["/usr/bin/python3", "nft", "unshare", "tshark"];
        let (here, there) = (live::place(&peers)?, live::place(&peers)?);
        let cgroup = Cgroup::new(&here)?;
        let node = Node::start()?;
        if fs::canonicalize("/var/run").ok().as_deref() != Some("/run".as_ref()) {
            return skip("/var/run is not /run");
        }
        let cluster = Self { here, there, node, other: None, cgroup, made: 0 };
        cluster.connect();
        Some(cluster)
    }

    /// One whose other node has a runtime and pods with cgroups as well, but no API server.
    pub fn of_two_nodes() -> Option<Self> {
        Some(Self { other: Some(Node::named("there")?), ..Self::new()? })
    }

    /// A link between the nodes, and the pods' addresses on each.
    fn connect(&self) {
        let (here, there) = (self.here.netns(), self.there.netns());
        let link = ["link", "add", "name", "node", "netns", here, "type", "veth"];
        run(Command::new("ip").args(link).args(["peer", "name", "node", "netns", there]));
        for (place, pods, own, other) in [
            (&self.here, ADDRESSES, "192.168.7.1", "192.168.7.2"),
            (&self.there, REMOTE, "192.168.7.2", "192.168.7.1"),
        ] {
            let ip = |words: &[&str]| run(place.command("ip").args(words));
            ip(&["addr", "add", &format!("{own}/24"), "dev", "node"]);
            ip(&["link", "set", "node", "up"]);
            ip(&["route", "add", "default", "via", other]);
            for address in pods {
                ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"]);
            }
        }
    }

    /// What kube-proxy does for a Service's address, on this node.
    pub fn translate(&self, service: &str, endpoint: &str) {
        let nft = |words: &str| run(self.here.command("nft").args(words.split(' ')));
        nft("add table ip nat");
        nft("add chain ip nat output { type nat hook output priority -100 ; }");
        nft(&format!("add rule ip nat output ip daddr {service} tcp dport 80 dnat to {endpoint}"));
    }

    /// A pod of a Deployment: `NAME-7d9f8b6c5d-SUFFIX`, on this node or the other.
    pub fn pod(&mut self, name: &str, address: &str) -> Pod {
        let here = ADDRESSES.contains(&address);
        let app = name.split('-').next().expect("a name");
        let pod = json!({
            "do": "pod", "name": name, "ip": address, "age": 60, "node": if here { "here" } else { "there" },
            "labels": {"app": app, "pod-template-hash": "7d9f8b6c5d"},
            "owner": format!("ReplicaSet/{app}-7d9f8b6c5d"),
        });
        let told = self.node.tell(pod.clone());
        let told = match &mut self.other {
            Some(other) if !here => Some(other.tell(pod)),
            _ => here.then_some(told),
        };
        let cgroup = told.map(|told| self.cgroup_of(&told));
        Pod { name: name.to_owned(), address: address.to_owned(), cgroup }
    }

    /// A pod of this node in a network namespace of its own: the one that is the other node's elsewhere.
    pub fn pod_apart(&mut self, name: &str, address: &str) -> Pod {
        let told = self.node.tell(json!({"do": "pod", "name": name, "ip": address, "age": 60}));
        let cgroup = Some(self.cgroup_of(&told));
        Pod { name: name.to_owned(), address: address.to_owned(), cgroup }
    }

    /// A container's cgroup as runtimes and kubelets name it: each next one by another.
    fn cgroup_of(&mut self, pod: &Value) -> PathBuf {
        let uid = pod["uid"].as_str().expect("a uid");
        let id = pod["ids"]["app"].as_str().expect("an id");
        let slice = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
        let systemd = |scope: &str| {
            format!("kubepods.slice/kubepods-burstable.slice/{slice}/{scope}-{id}.scope")
        };
        self.made += 1;
        self.cgroup.add(&match self.made % 5 {
            0 => format!("kubepods/burstable/pod{uid}/{id}"),
            1 => systemd("cri-containerd"),
            2 => systemd("crio"),
            3 => systemd("docker"),
            _ => format!("kubepods/pod{uid}/crio-{id}"),
        })
    }

    /// The number of the other network namespace, for another `--netns`.
    pub fn apart(&self) -> String {
        number(&self.there)
    }

    /// A Service and what it leads to, in the cluster and on the node.
    pub fn service(&mut self, name: &str, address: &str, endpoint: &str) {
        self.node.tell(json!({"do": "service", "name": name, "ips": [address]}));
        self.node.tell(json!({"do": "endpoints", "service": name, "ready": [endpoint]}));
        self.translate(address, &format!("{endpoint}:8080"));
    }

    /// A command in a pod.
    fn within(&self, pod: &Pod, words: &[&str]) -> Command {
        let here = ADDRESSES.contains(&&*pod.address);
        let place = if here { &self.here } else { &self.there };
        let command = place.python("pod_peer.py", words);
        match &pod.cgroup {
            Some(cgroup) => inside(cgroup, &command),
            None => command,
        }
    }

    /// A pod's server on port 8080, which answers with `status`.
    pub fn serve(&self, pod: &Pod, status: u16) -> Running {
        let words = ["serve", &pod.address, "8080", &status.to_string()];
        self.here.serve(&mut self.within(pod, &words), "ready")
    }

    /// A pod calls `count` times, at once one behind the other; the statuses.
    pub fn call(&self, pod: &Pod, to: (&str, u16), path: &str, count: u32) -> String {
        let (port, count) = (to.1.to_string(), count.to_string());
        run(&mut self.within(pod, &["call", &pod.address, to.0, &port, path, &count, "0.01"]))
    }

    /// The agent of this node, which records its network namespace.
    pub fn record(&self, file: &str, args: &[&str]) -> Running {
        Running::start(&mut self.agent_here(file, args), "recording", Out::Stderr)
    }

    /// The same where there is no cgroup v1, as on most nodes, whatever this machine has:
    /// pods are chosen by the ids of their cgroups there, else by their processes.
    pub fn record_by_cgroup(&self, file: &str, args: &[&str]) -> Running {
        let mut command = self.agent_here(file, args);
        Running::start(command.env("ONLY_CGROUP2", "1"), "recording", Out::Stderr)
    }

    fn agent_here(&self, file: &str, args: &[&str]) -> Command {
        let (address, port) = self.node.server.rsplit_once(':').expect("a port");
        let mut command = self.agent(&self.here, &self.node, "here", file, args);
        command.env("KUBERNETES_SERVICE_HOST", address.trim_start_matches("https://"));
        command.env("KUBERNETES_SERVICE_PORT", port);
        command
    }

    /// The agent of the other node, whose clock is so many seconds fast.
    pub fn record_there(&self, file: &str, fast: u32) -> Running {
        let node = self.other.as_ref().expect("of two nodes");
        let agent = self.agent(&self.there, node, "there", file, &[]);
        // The recorder adds the wall clock's distance from this clock to the kernel's times of events.
        let mut command = Command::new("unshare");
        command.args(["--time", "--boottime", &format!("-{fast}")]);
        command.arg(agent.get_program()).args(agent.get_args());
        Running::start(command.stdin(Stdio::null()), "recording", Out::Stderr)
    }

    fn agent(&self, at: &Place, node: &Node, name: &str, file: &str, args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", ON_NODE]).arg(node.path(""));
        command.arg(env!("CARGO_BIN_EXE_perisco")).args(["record", "--node-name", name, "-o"]);
        command.arg(self.here.file(file)).args(["--netns", &number(at)]).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Waits until the agent listens for news of pods.
    pub fn known(&mut self) {
        let node = &mut self.node;
        let mut watched = 0;
        live::wait_for("the agent to know the cluster", || {
            let asked = node.tell(json!({"do": "requests"}));
            let asked = asked.as_array().expect("a list").iter().filter_map(Value::as_str);
            watched += asked.filter(|path| path.contains("watch=")).count();
            watched >= 4
        });
    }

    /// The transactions of some files.
    pub fn transactions(&self, files: &[&str]) -> Vec<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perisco"));
        command
            .args(["analyze", "-f", "jsonl"])
            .args(files.iter().map(|file| self.here.file(file)));
        let text = run(&mut command);
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// The inode number of a network namespace: whoever has another /run does not see its name.
fn number(place: &Place) -> String {
    fs::metadata(format!("/run/netns/{}", place.netns())).expect("there").ino().to_string()
}
