//! What names rest on, for the recorder: a source of names, and how they are
//! written.
//!
//! Knows no packet and asks nobody: where names come from is [`super::kube`]'s,
//! where they go is the owners' and connections'.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::kube::{Holder, Member, Names, Pod, Service, Status};

/// Somebody who knows pods and addresses. Answers at once, from memory or with
/// a short look at files of this machine.
pub trait Naming: Debug + Send + Sync {
    /// Starts the threads that ask, where there are any and they do not run yet.
    ///
    /// # Errors
    ///
    /// One could not be started.
    fn begin(&self) -> io::Result<()> {
        Ok(())
    }

    /// The pod of a container, by its id or the pod's uid.
    fn container(&self, id: Option<&str>, pod: Option<&str>) -> Option<Member>;

    /// Who had an address when a connection with it opened: `at` in nanoseconds
    /// since 1970; `port` is 0 for a client's end. None where nobody knows for sure.
    fn address(&self, address: IpAddr, port: u16, at: i64) -> Option<Holder>;

    /// Where connections to an address of a Service lead that opened then, if
    /// there is one place only.
    fn endpoint(&self, service: &Service, to: SocketAddr, at: i64) -> Option<SocketAddr>;

    /// The pods of this node.
    fn local_pods(&self) -> Vec<Arc<Pod>>;

    /// Grows with all that changes.
    fn generation(&self) -> u64;

    /// How it does; None where there is nothing to say.
    fn status(&self) -> Option<Status> {
        None
    }
}

impl Naming for Names {
    fn begin(&self) -> io::Result<()> {
        Self::begin(self).map_err(io::Error::other)
    }

    fn container(&self, id: Option<&str>, pod: Option<&str>) -> Option<Member> {
        Self::container(self, id, pod)
    }

    fn address(&self, address: IpAddr, port: u16, at: i64) -> Option<Holder> {
        Self::address(self, address, port, at)
    }

    fn endpoint(&self, service: &Service, to: SocketAddr, at: i64) -> Option<SocketAddr> {
        self.endpoint_at(service, to, at)
    }

    fn local_pods(&self) -> Vec<Arc<Pod>> {
        Self::local_pods(self)
    }

    fn generation(&self) -> u64 {
        Self::generation(self)
    }

    fn status(&self) -> Option<Status> {
        Some(Self::status(self))
    }
}

/// The source of names of a recording; none where that is not Kubernetes.
pub type Source = Option<Arc<dyn Naming>>;

/// What the name of an end rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The cgroup of the process at this end.
    Cgroup,
    /// The address, whose holder Kubernetes tells.
    Address,
    /// It is the only endpoint of the Service that was addressed.
    Endpoint,
    /// Both ends of a NAT were seen, with equal sequence numbers.
    Sequence,
}

impl By {
    /// As comments have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Address => "address",
            Self::Endpoint => "endpoint",
            Self::Sequence => "sequence",
        }
    }
}

/// An end of a connection in Kubernetes' terms. What is not known is None.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The pod.
    pub pod: Option<Arc<Pod>>,
    /// The Service that the client addressed.
    pub service: Option<Arc<Service>>,
    /// The node whose address it is.
    pub node: Option<Arc<str>>,
    /// What that rests on.
    pub by: Option<By>,
}

impl Named {
    /// Whoever has an address, as `source` knows it.
    pub fn of_address(source: &dyn Naming, address: SocketAddr, at: i64) -> Self {
        let by = Some(By::Address);
        match source.address(address.ip(), address.port(), at) {
            None => Self::default(),
            Some(Holder::Pod(pod)) => Self { pod: Some(pod), by, ..Self::default() },
            Some(Holder::Node(node)) => Self { node: Some(node), by, ..Self::default() },
            Some(Holder::Service(service)) => {
                let behind = source.endpoint(&service, address, at);
                let behind = behind.and_then(|to| source.address(to.ip(), to.port(), at));
                let pod = match behind {
                    Some(Holder::Pod(pod)) => Some(pod),
                    _ => None,
                };
                let by = if pod.is_some() { Some(By::Endpoint) } else { by };
                Self { pod, service: Some(service), by, ..Self::default() }
            }
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.pod.is_none() && self.service.is_none() && self.node.is_none()
    }

    /// Comments of a packet, one `key=value` each, so that a filter of
    /// Wireshark can ask for a whole one.
    pub fn comments(&self, role: &str, comments: &mut Vec<String>) {
        if let Some(pod) = &self.pod {
            comments.push(format!("{role}.pod={}/{}", pod.namespace, pod.name));
            if let Some(workload) = &pod.workload {
                let (kind, name) = (&workload.kind, &workload.name);
                comments.push(format!("{role}.workload={}/{kind}/{name}", pod.namespace));
            }
        }
        if let Some(service) = &self.service {
            comments.push(format!("{role}.service={}/{}", service.namespace, service.name));
        }
        if let Some(node) = &self.node {
            comments.push(format!("{role}.node={node}"));
        }
        if let (Some(by), false) = (self.by, self.is_empty()) {
            comments.push(format!("{role}.by={}", by.name()));
        }
    }
}

/// The name of a pod's address in name resolution blocks.
pub fn host_of_pod(pod: &Pod) -> String {
    format!("{}.{}", pod.name, pod.namespace)
}

/// The name of a Service's address there.
pub fn host_of_service(service: &Service) -> String {
    format!("{}.{}.svc", service.name, service.namespace)
}
