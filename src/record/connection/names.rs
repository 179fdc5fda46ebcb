//! Who the ends of a connection are, for the comments of its packets: their
//! processes, and the pods, Services and nodes of their addresses.
//!
//! An address is named as it was held when the connection opened, and it is
//! asked for again while nobody knows its holder.

use std::net::SocketAddr;
use std::sync::Arc;

use super::state::{Connection, Context};
use crate::record::naming::{By, Named, Naming, host_of_pod, host_of_service};
use crate::record::sink::WriteError;

/// What is known of a connection's ends besides their processes.
#[derive(Debug, Default)]
pub struct Names {
    /// What the source had told when it was last asked; None before.
    generation: Option<u64>,
    /// Holders of the addresses.
    ends: [Named; 2],
    /// The address of a side as the other end of a NAT has it.
    pub(super) behind: [Option<SocketAddr>; 2],
}

impl Names {
    /// There is another address to ask for.
    pub(super) fn ask_again(&mut self) {
        self.generation = None;
    }
}

impl Connection {
    /// Comments for the next packet: at first in each file, who the ends are;
    /// later, who changed. Their interfaces are described before.
    pub(super) fn comments(&mut self, cx: &mut Context<'_>) -> Result<Vec<String>, WriteError> {
        let file = cx.packets.file();
        let first = self.told_in != file;
        self.look_up(cx);
        if !first && self.changed == [false; 2] {
            return Ok(Vec::new());
        }
        let mut comments = Vec::new();
        if let Some(client) = self.client {
            for (side, role) in [(client, "client"), (1 - client, "server")] {
                if first || self.changed[side] {
                    self.describe(side, role, &mut comments, cx)?;
                }
            }
        }
        if first && self.midway {
            comments.push("joined=midway".to_owned());
        }
        self.told_in = file;
        self.changed = [false; 2];
        Ok(comments)
    }

    /// All that is known of an end.
    fn describe(
        &self,
        side: usize,
        role: &str,
        comments: &mut Vec<String>,
        cx: &mut Context<'_>,
    ) -> Result<(), WriteError> {
        let owner = self.ends[side].as_ref().and_then(|end| end.owner.as_deref());
        if let Some(owner) = owner {
            cx.packets.interface(Some(owner), role == "server")?;
            comments.push(format!("{role}={}", owner.name));
        }
        let named = self.named(side);
        named.comments(role, comments);
        let behind = self.names.as_ref().and_then(|names| names.behind[side]);
        if let Some(address) = behind {
            comments.push(format!("{role}.address={address}"));
        }
        self.resolve(side, &named, behind, cx);
        Ok(())
    }

    /// An end by its process, else by its address.
    fn named(&self, side: usize) -> Named {
        let names = self.names.as_deref();
        let holder = names.map(|names| names.ends[side].clone()).unwrap_or_default();
        let owner = self.ends[side].as_ref().and_then(|end| end.owner.as_deref());
        match owner.and_then(|owner| owner.pod()) {
            None => holder,
            Some(pod) => {
                let behind = names.is_some_and(|names| names.behind[side].is_some());
                let by = Some(if behind { By::Sequence } else { By::Cgroup });
                Named { pod: Some(Arc::clone(pod)), service: holder.service, node: None, by }
            }
        }
    }

    /// Names of an end's addresses, for readers that resolve them by the file.
    fn resolve(
        &self,
        side: usize,
        named: &Named,
        behind: Option<SocketAddr>,
        cx: &mut Context<'_>,
    ) {
        let addresses = [Some(self.addresses[side]), behind];
        for address in addresses.into_iter().flatten().map(|address| address.ip()) {
            let pod = named.pod.as_deref().filter(|pod| !pod.host_network);
            // Of two addresses one is the Service's; a pod's are known, or it has but this one.
            let of_pod = |pod: &&crate::record::kube::Pod| {
                pod.addresses.contains(&address)
                    || (pod.addresses.is_empty() && named.service.is_none())
            };
            let name = match (pod.filter(of_pod), &named.service, &named.node) {
                (Some(pod), _, _) => host_of_pod(pod),
                (None, Some(service), _) => host_of_service(service),
                (None, None, Some(node)) => node.to_string(),
                (None, None, None) => continue,
            };
            cx.packets.name(address, &name);
        }
    }

    /// Asks who holds the addresses, where that is not known and there is news.
    fn look_up(&mut self, cx: &Context<'_>) {
        let Some(source) = cx.owners.source() else { return };
        let generation = source.generation();
        let names = self.names.get_or_insert_default();
        if names.generation == Some(generation) {
            return;
        }
        names.generation = Some(generation);
        let at = i64::try_from(cx.packets.wall(self.since)).unwrap_or(i64::MAX);
        for side in 0..2 {
            let local = self.ends[side].as_ref().and_then(|end| end.owner.as_ref());
            // Of its own processes this host knows better; a NAT's address is a Service's.
            let address = match names.behind[side] {
                Some(_) => names.behind[side],
                None if local.is_some() => None,
                None => Some(self.addresses[side]),
            };
            let Some(mut address) = address else { continue };
            let mut other = self.addresses[side];
            if self.client == Some(side) {
                // A client's port says nothing.
                address.set_port(0);
                other.set_port(0);
            }
            let found = look_up_both(source, [address, other], at);
            // What was told is not taken back by silence, but later news may be better.
            if !found.is_empty() && found != names.ends[side] {
                names.ends[side] = found;
                self.changed[side] = true;
            }
        }
    }
}

/// The holder of the first address that has one; of both ends of a NAT one is
/// the Service's.
fn look_up_both(source: &dyn Naming, addresses: [SocketAddr; 2], at: i64) -> Named {
    let [first, second] = addresses.map(|address| Named::of_address(source, address, at));
    if first.service.is_some() || second.service.is_none() { first } else { second }
}
