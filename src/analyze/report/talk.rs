//! The service map as data: the part of the report that goes by names.

use serde::Serialize;

use super::model::EdgeFigures;

/// Who talks to whom by workload: the service map.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Talk {
    /// Who sends requests.
    pub client: Party,
    /// Who answers.
    pub server: Party,
    /// The Service that the client addressed, `NS/NAME`, where that is known.
    pub service: Option<String>,
    /// What they add up to.
    #[serde(flatten)]
    pub figures: EdgeFigures,
}

impl Talk {
    /// Whether one of its ends has a name.
    pub fn has_name(&self) -> bool {
        self.client.name.is_some() || self.server.name.is_some()
    }
}

/// A workload, or another end of connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Party {
    /// "Deployment", … of a workload; "Pod", "Service" or "Node" where no more is known;
    /// null where nothing is.
    pub kind: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// Address of a client, address and port of a server: where no name is known.
    pub address: Option<String>,
    /// Name of the address, where the capture carries one.
    pub host: Option<String>,
    /// Pods, `NS/NAME`: the first by name, up to a limit.
    pub pods: Vec<String>,
    /// Names of processes, likewise.
    pub processes: Vec<String>,
    /// What the names rest on: "cgroup", "address", "endpoint", "sequence".
    pub by: Vec<&'static str>,
}
