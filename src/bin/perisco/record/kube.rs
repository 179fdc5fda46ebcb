//! Where names of pods come from: the flags, and who is asked.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args as ClapArgs, ValueEnum};
use perisco::record::kube::{Mode, Names, Options};
use perisco::record::naming::Source;
use perisco::record::writer::WriteOptions;

/// Names of pods and Services.
#[derive(ClapArgs)]
#[group(id = "kubernetes")]
pub struct KubeArgs {
    /// Where names of pods and Services come from
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = KubeArg::Auto)]
    kube: KubeArg,

    /// Whose addresses the Kubernetes API is asked for
    #[arg(long, value_enum, value_name = "WHOSE", default_value_t = AddressesArg::Cluster)]
    kube_addresses: AddressesArg,

    /// Name of this node, as Kubernetes has it [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KubeArg {
    /// The kubelet's folders, the container runtime, and the API where there is a token
    Auto,
    /// Nowhere
    Off,
    /// As auto; without the API nothing is recorded
    Api,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AddressesArg {
    /// Of this node's pods, and of Services
    Node,
    /// Of all pods
    Cluster,
}

impl KubeArgs {
    /// Where names are asked.
    pub fn options(&self) -> Options {
        Options {
            mode: match self.kube {
                KubeArg::Auto => Mode::Auto,
                KubeArg::Off => Mode::Off,
                KubeArg::Api => Mode::Api,
            },
            node_name: self.node_name.clone(),
            cluster_wide: self.kube_addresses == AddressesArg::Cluster,
            ..Options::default()
        }
    }

    /// Who will be asked, where there is anybody to ask. `needed`: pods are to be
    /// selected.
    pub fn source(&self, needed: bool) -> anyhow::Result<Source> {
        let options = self.options();
        if options.mode == Mode::Off {
            if needed {
                bail!("--pod, --namespace and --label need names: not --kube off");
            }
            return Ok(None);
        }
        if options.mode == Mode::Auto && !is_node(&options) {
            if needed {
                bail!(
                    "--pod, --namespace and --label: no pods here: there is no {}, no socket of a \
                     container runtime and no token for the Kubernetes API",
                    options.pod_logs.display()
                );
            }
            return Ok(None);
        }
        Ok(Some(Arc::new(Names::prepare(&options)?)))
    }

    /// Says in the file where it is made.
    pub fn place(&self, write: WriteOptions) -> WriteOptions {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let node = self.node_name.clone().unwrap_or_else(|| host.trim().to_owned());
        WriteOptions { node, boot: boot.trim().to_owned(), ..write }
    }
}

/// Whether anything of Kubernetes is here.
fn is_node(options: &Options) -> bool {
    let token = options.service_account.join("token");
    let sockets = options.runtimes.iter().map(|path| path.as_path());
    std::iter::once(options.pod_logs.as_path())
        .chain(std::iter::once(token.as_path()))
        .chain(sockets)
        .any(Path::exists)
}
