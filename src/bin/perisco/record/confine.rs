//! What a running recorder may still do, from its settings: the paths and
//! connections behind each of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::{Args as ClapArgs, ValueEnum};
use perisco::record::backend::cgroup_mount;
use perisco::record::confine::{Calls, Confine, Mode, Rules, User, Wish};
use perisco::record::kube;
use perisco::record::run::Options;
use perisco::record::writer::Output;

/// Where cgroups are, mounted as a whole or by version.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Names of users and hosts.
const USERS: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];
const HOSTS: [&str; 4] = ["/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf"];

/// What is left of the recorder's privileges.
#[derive(ClapArgs)]
#[group(id = "privileges")]
pub struct ConfineArgs {
    /// Become this user once all is attached: a name, or UID:GID
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Give up privileges once all is attached: docs/security.md
    #[arg(long, value_enum, value_name = "HOW", default_value_t = ConfineArg::Auto)]
    confine: ConfineArg,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ConfineArg {
    /// As far as the kernel can: capabilities, Landlock, seccomp
    Auto,
    /// As auto; where any of it cannot be had nothing is recorded
    Strict,
    /// Keep everything
    Off,
}

impl ConfineArgs {
    /// The plan for a recording with these options; None: keep everything.
    /// `kube` says where names are asked, if they are; `config` is read again.
    pub fn plan(
        &self,
        options: &Options,
        kube: &kube::Options,
        config: Option<&Path>,
    ) -> anyhow::Result<Option<Confine>> {
        let mode = match self.confine {
            ConfineArg::Auto => Mode::Auto,
            ConfineArg::Strict => Mode::Strict,
            ConfineArg::Off if self.user.is_some() => {
                bail!("--user gives up privileges: not with --confine=off")
            }
            ConfineArg::Off => return Ok(None),
        };
        let user = self.user.as_deref().map(User::find).transpose();
        let user = user.map_err(|why| anyhow!("--user: {why}"))?;
        let mut plan = Confine { mode, user, ..Confine::default() };
        output(&options.write.output, &mut plan.rules);
        plan.rules.read.push("/proc".into());
        plan.rules.read.extend(USERS.map(PathBuf::from));
        plan.rules.list.push(CGROUPS.into());
        plan.rules.list.extend(cgroup_mount());
        for path in options.targets.reads() {
            let without = "containers are found by their ids only";
            plan.wishes.push(Wish { path: path.clone(), write: false, without });
            plan.rules.read.push(path);
        }
        if let Some(config) = config {
            let without = "SIGHUP cannot read it again";
            plan.wishes.push(Wish { path: config.to_owned(), write: false, without });
        }
        if options.source.is_some() {
            names(kube, &mut plan);
        }
        Ok(Some(plan))
    }
}

/// The folder of the files, or the pipe or device that is written to.
fn output(output: &Output, rules: &mut Rules) {
    let Output::File(path) = output else { return };
    let special = |found: fs::Metadata| !found.is_file() && !found.is_symlink();
    if path.symlink_metadata().is_ok_and(special) {
        rules.write_to.push(path.clone());
        return;
    }
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    rules.write.push(folder.unwrap_or(Path::new(".")).to_owned());
}

/// Where names of pods come from.
fn names(kube: &kube::Options, plan: &mut Confine) {
    plan.rules.list.extend([kube.pod_logs.clone(), kube.container_logs.clone()]);
    if !cfg!(feature = "kube") {
        return;
    }
    plan.calls = Calls { connect: true, ..plan.calls };
    for socket in &kube.runtimes {
        let without = "it is not asked for names of containers";
        plan.wishes.push(Wish { path: socket.clone(), write: true, without });
    }
    let Some(port) = kube::Names::api_port(kube) else { return };
    let token = kube.service_account.join("token");
    let without = "the Kubernetes API is not asked for names";
    plan.wishes.push(Wish { path: token, write: false, without });
    plan.rules.read.push(kube.service_account.clone());
    plan.rules.read.extend(HOSTS.map(PathBuf::from));
    plan.rules.connect.push(port);
}
