//! Where an end of a connection runs, as perisco's recorder learnt it: pod, workload,
//! Service and node, and what that rests on.
//!
//! A [`Place`] is what one description or the comments of one packet say; [`End`] is all
//! that is known of an end of a connection, by reference. What contradicts itself is
//! decided here: the process at an end knows its own pod best. Nothing is guessed:
//! a name that cannot be read is none.

use std::fmt;
use std::net::SocketAddr;

use super::{Process, text};

/// Bytes kept of a name: those of Kubernetes have at most 253 (RFC 1123 subdomains).
const NAME_BYTES: usize = 512;
/// Labels kept of a pod, and bytes of all of them: who has more uses them for data.
const LABELS: usize = 64;
/// See [`LABELS`].
const LABEL_BYTES: usize = 4096;

/// A name in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Qualified {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Qualified {
    /// From `NS/NAME`; None where one of them is missing.
    fn read(value: &str) -> Option<Self> {
        let (namespace, name) = value.split_once('/')?;
        Some(Self { namespace: name_of(namespace)?, name: name_of(name)? })
    }
}

impl fmt::Display for Qualified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace, which is the pod's.
    pub namespace: Option<String>,
}

/// What a name rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// The control group of the process itself.
    Cgroup,
    /// The Kubernetes API says that this pod, Service or node has this address.
    Address,
    /// The Kubernetes API says that it is the Service's only endpoint.
    Endpoint,
    /// The same sequence numbers on both sides of an address translation.
    Sequence,
}

impl Basis {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cgroup, Self::Address, Self::Endpoint, Self::Sequence];

    /// As recordings and reports say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Address => "address",
            Self::Endpoint => "endpoint",
            Self::Sequence => "sequence",
        }
    }
}

/// What was said of where an end runs. What was not is None.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The pod.
    pub pod: Option<Qualified>,
    /// The namespace, where it was said by itself.
    pub namespace: Option<String>,
    /// The pod's uid.
    pub pod_uid: Option<String>,
    /// Name of the container within the pod.
    pub container: Option<String>,
    /// What the pod belongs to.
    pub workload: Option<Workload>,
    /// The Service that was addressed.
    pub service: Option<Qualified>,
    /// The node.
    pub node: Option<String>,
    /// The address behind an address translation.
    pub address: Option<SocketAddr>,
    /// The pod's labels, sorted; None where they were not said.
    pub labels: Option<Vec<(String, String)>>,
    /// What the names rest on.
    pub basis: Option<Basis>,
}

impl Place {
    /// From an `if_description`, whose keys of a process are passed over.
    /// None where it says nothing of a pod or a container's name.
    pub(super) fn read(description: &str) -> Option<Self> {
        let mut place = Self::default();
        let mut workload = None;
        for (key, value) in description.split(' ').filter_map(|pair| pair.split_once('=')) {
            match key {
                // Before names there was the uid here, without a slash.
                "pod" => place.pod = Qualified::read(value),
                "namespace" => place.namespace = name_of(value),
                "pod_uid" => place.pod_uid = name_of(value),
                "container_name" => place.container = name_of(value),
                "workload" => workload = value.split_once('/'),
                "labels" => place.labels = Some(labels(value)),
                _ => {}
            }
        }
        place.workload = workload.and_then(|(kind, name)| {
            let namespace = place.pod.as_ref().map(|pod| &pod.namespace);
            let namespace = namespace.or(place.namespace.as_ref()).cloned();
            Some(Workload { kind: name_of(kind)?, name: name_of(name)?, namespace })
        });
        (place != Self::default()).then_some(place)
    }

    /// Takes what a comment says of an end under this key; false where that is
    /// nothing that it knows.
    pub(super) fn take(&mut self, key: &str, value: &str) -> bool {
        fn put<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
            let known = value.is_some();
            *slot = value.or(slot.take());
            known
        }
        match key {
            "pod" => put(&mut self.pod, Qualified::read(value)),
            "service" => put(&mut self.service, Qualified::read(value)),
            "node" => put(&mut self.node, name_of(value)),
            "address" => put(&mut self.address, value.parse().ok()),
            "by" => {
                let known = Basis::ALL.into_iter().find(|basis| basis.name() == value);
                // A basis of a later version is none of these, and no remark either.
                self.basis = known;
                true
            }
            "workload" => put(&mut self.workload, of_namespace(value)),
            _ => false,
        }
    }

    fn memory(&self) -> usize {
        let qualified =
            |of: &Option<Qualified>| of.as_ref().map_or(0, |of| of.namespace.len() + of.name.len());
        let text = |of: &Option<String>| of.as_ref().map_or(0, String::len);
        let workload = |of: &Workload| of.kind.len() + of.name.len() + text(&of.namespace);
        let label = |(key, value): &(String, String)| {
            size_of::<(String, String)>() + key.len() + value.len()
        };
        let labels = self.labels.iter().flatten().map(label).sum::<usize>();
        let texts = [&self.namespace, &self.pod_uid, &self.container, &self.node];
        size_of::<Self>()
            + qualified(&self.pod)
            + qualified(&self.service)
            + self.workload.as_ref().map_or(0, workload)
            + texts.map(text).iter().sum::<usize>()
            + labels
    }

    /// The same with all that a later one says.
    pub(super) fn and_later(&self, later: &Self) -> Self {
        let Self { pod, namespace, pod_uid, container, .. } = later.clone();
        let Self { workload, service, node, address, labels, basis, .. } = later.clone();
        let before = self.clone();
        Self {
            pod: pod.or(before.pod),
            namespace: namespace.or(before.namespace),
            pod_uid: pod_uid.or(before.pod_uid),
            container: container.or(before.container),
            workload: workload.or(before.workload),
            service: service.or(before.service),
            node: node.or(before.node),
            address: address.or(before.address),
            labels: labels.or(before.labels),
            basis: basis.or(before.basis),
        }
    }
}

/// From `NS/KIND/NAME`.
fn of_namespace(value: &str) -> Option<Workload> {
    let (namespace, rest) = value.split_once('/')?;
    let (kind, name) = rest.split_once('/')?;
    let namespace = Some(name_of(namespace)?);
    Some(Workload { kind: name_of(kind)?, name: name_of(name)?, namespace })
}

/// A name without its percent-encoding, bounded; None if empty.
pub(super) fn name_of(value: &str) -> Option<String> {
    let mut name = text(value)?;
    let end = name.floor_char_boundary(NAME_BYTES);
    name.truncate(end);
    Some(name)
}

/// From `k=v,k2=v2`, sorted by key.
fn labels(value: &str) -> Vec<(String, String)> {
    let mut left = LABEL_BYTES;
    let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
    let pairs =
        pairs.filter_map(|(key, value)| Some((name_of(key)?, text(value).unwrap_or_default())));
    let pairs = pairs.take_while(|(key, value)| {
        let rest = left.checked_sub(key.len() + value.len());
        left = rest.unwrap_or(0);
        rest.is_some()
    });
    let mut pairs: Vec<_> = pairs.take(LABELS).collect();
    pairs.sort_unstable();
    pairs.dedup_by(|later, first| later.0 == first.0);
    pairs
}

/// Who an end is, by the best name that is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name<'a> {
    /// `Deployment`, …, or `Pod`, `Service`, `Node`.
    pub kind: &'a str,
    /// None of a node.
    pub namespace: Option<&'a str>,
    /// The name.
    pub name: &'a str,
}

impl fmt::Display for Name<'_> {
    /// `NS/NAME`; of a Service and a node with that word before it, since they are
    /// not who runs there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            "Service" => f.write_str("Service ")?,
            "Node" => f.write_str("node ")?,
            _ => {}
        }
        if let Some(namespace) = self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(self.name)
    }
}

/// What is known of an end of a connection: its process, where that runs, and what
/// was said of the connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct End<'a> {
    /// The process.
    pub process: Option<&'a Process>,
    /// Where that runs.
    pub runs: Option<&'a Place>,
    /// What was said of this end of the connection.
    pub said: Option<&'a Place>,
}

impl<'a> End<'a> {
    /// Of which only the process is known, or nothing.
    pub fn of(process: Option<&'a Process>) -> Self {
        Self { process, ..Self::default() }
    }

    /// Whether more is known than a process.
    #[inline]
    pub fn is_named(&self) -> bool {
        self.runs.is_some() || self.said.is_some()
    }

    fn either<T: ?Sized>(&self, pick: fn(&'a Place) -> Option<&'a T>) -> Option<&'a T> {
        self.runs.and_then(pick).or_else(|| self.said.and_then(pick))
    }

    /// What was said of the connection, unless the process is in another pod.
    fn said_of_pod(&self) -> Option<&'a Place> {
        let own = self.runs.and_then(|runs| runs.pod.as_ref());
        self.said.filter(|said| own.is_none() || said.pod.is_none() || said.pod.as_ref() == own)
    }

    /// The pod.
    pub fn pod(&self) -> Option<&'a Qualified> {
        self.either(|place| place.pod.as_ref())
    }

    /// The workload.
    pub fn workload(&self) -> Option<&'a Workload> {
        let own = self.runs.and_then(|runs| runs.workload.as_ref());
        own.or_else(|| self.said_of_pod()?.workload.as_ref())
    }

    /// The namespace of pod or workload.
    pub fn namespace(&self) -> Option<&'a str> {
        let pod = self.pod().map(|pod| pod.namespace.as_str());
        let workload = || self.workload()?.namespace.as_deref();
        pod.or_else(workload).or_else(|| self.either(|place| place.namespace.as_deref()))
    }

    /// The pod's uid.
    pub fn pod_uid(&self) -> Option<&'a str> {
        self.either(|place| place.pod_uid.as_deref())
    }

    /// Name of the container within its pod.
    pub fn container(&self) -> Option<&'a str> {
        self.either(|place| place.container.as_deref())
    }

    /// The pod's labels.
    pub fn labels(&self) -> Option<&'a [(String, String)]> {
        self.either(|place| place.labels.as_deref())
    }

    /// The Service that was addressed.
    pub fn service(&self) -> Option<&'a Qualified> {
        self.said.and_then(|said| said.service.as_ref())
    }

    /// The node that has the address, or that it runs on.
    pub fn node(&self) -> Option<&'a str> {
        let said = self.said.and_then(|said| said.node.as_deref());
        said.or_else(|| self.runs?.node.as_deref())
    }

    /// The address behind an address translation.
    pub fn address(&self) -> Option<SocketAddr> {
        self.said.and_then(|said| said.address)
    }

    /// What the names rest on.
    pub fn basis(&self) -> Option<Basis> {
        let said = self.said.and_then(|said| said.basis);
        let runs = self.runs.is_some_and(|runs| runs.pod.is_some() || runs.container.is_some());
        // That its process is known says who it is, not that it is this connection's end.
        if runs && said != Some(Basis::Sequence) { Some(Basis::Cgroup) } else { said }
    }

    /// The best name there is: what the pod belongs to, the pod, the Service, or the node
    /// whose address it is.
    pub fn name(&self) -> Option<Name<'a>> {
        if !self.is_named() {
            return None;
        }
        let workload = self.workload().map(|workload| Name {
            kind: &workload.kind,
            namespace: workload.namespace.as_deref(),
            name: &workload.name,
        });
        let of = |kind, named: &'a Qualified| Name {
            kind,
            namespace: Some(&named.namespace),
            name: &named.name,
        };
        // On which node a pod runs is not who it is.
        let node = || self.said.and_then(|said| said.node.as_deref());
        workload
            .or_else(|| self.pod().map(|pod| of("Pod", pod)))
            .or_else(|| self.service().map(|service| of("Service", service)))
            .or_else(|| node().map(|name| Name { kind: "Node", namespace: None, name }))
    }

    /// The Service that was addressed, where that is not all that is known of the end: by
    /// its name alone where it is in the same namespace.
    pub fn service_text(&self) -> Option<String> {
        let service = self.service()?;
        match self.name() {
            Some(Name { kind: "Service", .. }) => None,
            Some(Name { namespace, .. }) if namespace == Some(&service.namespace) => {
                Some(service.name.clone())
            }
            _ => Some(service.to_string()),
        }
    }

    /// The same, owned.
    pub fn to_owned(self) -> OwnedEnd {
        let place = |place: Option<&Place>| place.cloned().map(Box::new);
        OwnedEnd {
            process: self.process.cloned().map(Box::new),
            runs: place(self.runs),
            said: place(self.said),
        }
    }
}

/// An [`End`] that belongs to whoever has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedEnd {
    process: Option<Box<Process>>,
    runs: Option<Box<Place>>,
    said: Option<Box<Place>>,
}

impl OwnedEnd {
    /// With what another copy of the same end says besides: what this one knows of the
    /// process and of the connection comes first.
    pub fn or(self, other: Self) -> Self {
        let said = match (self.said, other.said) {
            (Some(own), Some(other)) => Some(Box::new(other.and_later(&own))),
            (own, other) => own.or(other),
        };
        // Both of one copy: a process and where it runs belong together.
        let (process, runs) = match (&self.process, &self.runs) {
            (None, None) => (other.process, other.runs),
            _ => (self.process, self.runs),
        };
        Self { process, runs, said }
    }

    /// Bytes of memory held, near enough.
    pub fn memory(&self) -> usize {
        let place = |place: &Option<Box<Place>>| place.as_ref().map_or(0, |place| place.memory());
        place(&self.runs) + place(&self.said)
    }

    /// By reference.
    pub fn end(&self) -> End<'_> {
        End {
            process: self.process.as_deref(),
            runs: self.runs.as_deref(),
            said: self.said.as_deref(),
        }
    }
}
