//! The API's objects, of each only what is used, and what it says for names.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use super::super::logs::{is_id, is_name, is_uid};
use super::super::services::{KEPT_ENDPOINTS, Slice};
use super::super::store::Life;
use super::super::types::{Pod, Service, ServicePort};
use super::super::workload;

/// Addresses, ports and containers of one object that are looked at.
const MAX_PARTS: usize = 256;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    deletion_grace_period_seconds: Option<i64>,
    labels: Option<HashMap<String, String>>,
    annotations: Option<Annotations>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    /// Of a static pod's mirror: the uid that the kubelet uses.
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OwnerReference {
    kind: String,
    name: String,
    controller: Option<bool>,
}

/// Parts that API servers leave out where they have nothing to say, or say null.
macro_rules! parts {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct $name { $($field: Option<$type>),* }
    )*};
}

parts! {
    PodSpec { node_name: String, host_network: bool }
    PodStatus {
        phase: String, start_time: String, pod_i_ps: Vec<PodIp>,
        container_statuses: Vec<ContainerStatus>,
        init_container_statuses: Vec<ContainerStatus>,
        ephemeral_container_statuses: Vec<ContainerStatus>,
    }
    PodIp { ip: String }
    ContainerState { running: Running, terminated: Terminated }
    Running { started_at: String }
    Terminated { finished_at: String }
    ServiceSpec {
        cluster_i_ps: Vec<String>, cluster_i_p: String, ports: Vec<Port>, external_i_ps: Vec<String>,
    }
    Port { name: String, port: u16, node_port: u16, protocol: String }
    ServiceStatus { load_balancer: Balancer }
    Balancer { ingress: Vec<Ingress> }
    Ingress { ip: String }
    Endpoint { addresses: Vec<String>, conditions: Conditions }
    Conditions { ready: bool }
    NodeStatus { addresses: Vec<NodeAddress> }
    NodeAddress { address: String }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: Option<String>,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    state: Option<ContainerState>,
}

macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { pub metadata: Meta, $($field: Option<$type>),* }
    )*};
}

objects! {
    /// `v1.Pod`
    PodObject { spec: PodSpec, status: PodStatus }
    /// `v1.Service`
    ServiceObject { spec: ServiceSpec, status: ServiceStatus }
    /// `discovery.k8s.io/v1.EndpointSlice`
    SliceObject { address_type: String, endpoints: Vec<Endpoint>, ports: Vec<Port> }
    /// `v1.Node`
    NodeObject { status: NodeStatus }
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct Page<T> {
    #[serde(default)]
    pub metadata: ListMeta,
    pub items: Option<Vec<T>>,
}

/// Where a list stands.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    pub resource_version: Option<String>,
    pub r#continue: Option<String>,
}

/// What an event of a watch is of.
#[derive(Debug, Deserialize)]
pub struct Kind {
    #[serde(default)]
    pub r#type: String,
}

/// An event's object.
#[derive(Debug, Deserialize)]
pub struct Event<T> {
    pub object: T,
}

/// `v1.Status`: why something failed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Failed {
    pub code: Option<u16>,
    pub message: Option<String>,
}

impl Meta {
    /// `namespace/name`
    pub fn full_name(&self) -> Option<String> {
        let (namespace, name) = (self.namespace.as_deref()?, self.name.as_deref()?);
        (is_name(namespace) && is_name(name)).then(|| format!("{namespace}/{name}"))
    }

    /// When it was made; 0 where that is not said.
    pub fn created(&self) -> i64 {
        time(self.creation_timestamp.as_deref()).unwrap_or(0)
    }

    /// When its end was asked for.
    fn asked(&self) -> Option<i64> {
        let grace = self.deletion_grace_period_seconds.unwrap_or(0).clamp(0, 1 << 30);
        time(self.deletion_timestamp.as_deref()).map(|at| at - grace * 1_000_000_000)
    }
}

impl PodObject {
    /// The pod's uid as its cgroups have it.
    pub fn uid(&self) -> Option<&str> {
        let mirrored = self.metadata.annotations.as_ref().and_then(|own| own.mirror.as_deref());
        mirrored.or(self.metadata.uid.as_deref()).filter(|uid| is_uid(uid))
    }

    /// The pod; its labels only where it is on `node`.
    pub fn pod(&self, node: &str) -> Option<Pod> {
        let (spec, meta) = (self.spec.as_ref(), &self.metadata);
        let own_node = spec.and_then(|spec| spec.node_name.clone());
        let host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
        meta.full_name()?;
        let get = |key: &str| meta.labels.as_ref()?.get(key).map(String::as_str);
        let mut owners = meta.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.controller == Some(true));
        let owner = owner.filter(|owner| is_name(&owner.name) && is_kind(&owner.kind));
        let local = own_node.as_deref() == Some(node);
        let labels = meta.labels.iter().flatten().filter(|_| local);
        let ips = self.status.iter().flat_map(|status| status.pod_i_ps.iter().flatten());
        let ips = ips.filter(|_| !host_network).filter_map(|ip| ip.ip.as_ref()?.parse().ok());
        Some(Pod {
            namespace: meta.namespace.clone()?,
            name: meta.name.clone()?,
            uid: self.uid()?.to_owned(),
            workload: owner.and_then(|owner| {
                workload::of_owner(&owner.kind, &owner.name, &get, meta.created())
            }),
            labels: workload::kept_labels(labels.map(|(key, value)| (&**key, &**value))),
            node: own_node.filter(|node| is_name(node)),
            host_network,
            addresses: ips.take(8).collect(),
        })
    }

    fn statuses(&self) -> impl Iterator<Item = &ContainerStatus> {
        let status = self.status.as_ref();
        let all = status.map(|status| {
            [
                &status.container_statuses,
                &status.init_container_statuses,
                &status.ephemeral_container_statuses,
            ]
        });
        all.into_iter().flatten().flatten().flat_map(|list| list.iter().take(MAX_PARTS))
    }

    /// How it lives.
    pub fn life(&self) -> Life {
        let status = self.status.as_ref();
        let states = || self.statuses().filter_map(|status| status.state.as_ref());
        let running = states().filter_map(|state| state.running.as_ref());
        let ends = states().filter_map(|state| state.terminated.as_ref());
        let runs = states().any(|state| state.running.is_some());
        let main = status.and_then(|status| status.container_statuses.as_ref());
        let ended = main.is_some_and(|main| {
            let over =
                |one: &ContainerStatus| one.state.as_ref().is_some_and(|s| s.terminated.is_some());
            !main.is_empty() && main.iter().all(over)
        });
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let asked = self.metadata.asked();
        // Containers that ended may be started again, unless the whole pod ends.
        let over = !runs && (matches!(phase, "Succeeded" | "Failed") || ended && asked.is_some());
        let last = ends.filter_map(|end| time(end.finished_at.as_deref())).max();
        let started = time(status.and_then(|status| status.start_time.as_deref()));
        // A phase that was set by another than the kubelet: its node may be lost, the pod alive.
        let lost = matches!(phase, "Succeeded" | "Failed") && runs;
        Life {
            possible_from: started.unwrap_or_else(|| self.metadata.created()),
            running_since: running.filter_map(|run| time(run.started_at.as_deref())).min(),
            asked: asked.or(lost.then(|| self.metadata.created())),
            over: over.then_some(last.filter(|_| ended)),
        }
    }

    /// Ids and names of its containers.
    pub fn containers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.statuses().filter_map(|status| {
            // `containerd://<id>`
            let (_, id) = status.container_id.as_deref()?.split_once("://")?;
            let name = status.name.as_deref()?;
            (is_id(id) && is_name(name)).then_some((id, name))
        })
    }
}

impl ServiceObject {
    /// The Service.
    pub fn service(&self) -> Option<Service> {
        let spec = self.spec.as_ref()?;
        self.metadata.full_name()?;
        // `None` is a headless Service's.
        let all = spec.cluster_i_ps.iter().flatten().chain(&spec.cluster_i_p);
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in all.take(8).filter_map(|text| text.parse().ok()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let balancer = self.status.iter().filter_map(|status| status.load_balancer.as_ref());
        let ingress = balancer.flat_map(|balancer| balancer.ingress.iter().flatten());
        let ingress = ingress.filter_map(|ingress| ingress.ip.as_ref());
        let external = spec.external_i_ps.iter().flatten().chain(ingress);
        Some(Service {
            namespace: self.metadata.namespace.clone()?,
            name: self.metadata.name.clone()?,
            addresses,
            external: external.take(MAX_PARTS).filter_map(|text| text.parse().ok()).collect(),
            ports: tcp(spec.ports.as_deref())
                .filter_map(|port| {
                    let node_port = port.node_port.filter(|&port| port != 0);
                    let name = port.name.clone().unwrap_or_default();
                    Some(ServicePort { name, port: port.port?, node_port })
                })
                .collect(),
        })
    }
}

impl SliceObject {
    /// The slice of a Service; None where it is of none.
    pub fn slice(&self) -> Option<Slice> {
        let service = self.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
        let namespace = self.metadata.namespace.as_deref()?;
        // Not said is ready: then nobody knows better.
        let ready =
            |one: &&Endpoint| one.conditions.as_ref().and_then(|known| known.ready).unwrap_or(true);
        let ready = self.endpoints.iter().flatten().filter(ready);
        // All addresses of an endpoint are alike; the first is used.
        let ready = ready.filter_map(|one| one.addresses.as_ref()?.first()?.parse().ok());
        (is_name(service) && is_name(namespace)).then(|| Slice {
            service: format!("{namespace}/{service}"),
            v6: self.address_type.as_deref() == Some("IPv6"),
            ports: tcp(self.ports.as_deref())
                .filter_map(|port| Some((port.name.clone().unwrap_or_default(), port.port?)))
                .collect(),
            ready: ready.take(KEPT_ENDPOINTS).collect(),
        })
    }
}

impl NodeObject {
    /// Its addresses, names left out.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let all = self.status.iter().flat_map(|status| status.addresses.iter().flatten());
        all.take(MAX_PARTS).filter_map(|one| one.address.as_ref()?.parse().ok()).collect()
    }
}

fn tcp(ports: Option<&[Port]>) -> impl Iterator<Item = &Port> {
    let all = ports.unwrap_or_default().iter().take(MAX_PARTS);
    all.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
}

fn is_kind(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// RFC 3339 to unix nanoseconds.
fn time(text: Option<&str>) -> Option<i64> {
    let time = humantime::parse_rfc3339(text?).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}
