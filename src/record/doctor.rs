//! `perisco doctor`: what this machine grants, in words.
//!
//! Facts read from the system; whether programs load is tried for real by
//! [`super::backend`]. Changes nothing.

use std::fs;
use std::path::Path;

use super::kube::Options;

/// Capabilities that recording needs, with their numbers
/// (include/uapi/linux/capability.h) and what for.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (39, "CAP_BPF", "loading BPF programs and maps (Linux 5.8 and later)"),
    (38, "CAP_PERFMON", "tracing programs and reading kernel memory in them (5.8 and later)"),
    (12, "CAP_NET_ADMIN", "attaching to the cgroup2 root (the cgroup back end)"),
    (19, "CAP_SYS_PTRACE", "naming the processes of other users (/proc/PID/exe)"),
    (21, "CAP_SYS_ADMIN", "stands for CAP_BPF and CAP_PERFMON, and is needed below 5.8"),
];

/// One line of the doctor's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What is asked.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// Whether that stands in nobody's way.
    pub good: bool,
}

/// What the system says of itself.
pub fn facts() -> Vec<Fact> {
    vec![kernel(), btf(), lockdown(), capabilities(), pid_namespace(), names()]
}

fn kernel() -> Fact {
    let uname = rustix::system::uname();
    let found = format!(
        "{} {} ({})",
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy()
    );
    Fact { name: "kernel", found, good: true }
}

fn btf() -> Fact {
    let path = "/sys/kernel/btf/vmlinux";
    match fs::metadata(path) {
        Ok(meta) => Fact {
            name: "type information",
            found: format!("{path}, {} KiB", meta.len() / 1024),
            good: true,
        },
        Err(error) => Fact {
            name: "type information",
            found: format!(
                "{path}: {error}; the kernel needs CONFIG_DEBUG_INFO_BTF=y, and /sys must be mounted"
            ),
            good: false,
        },
    }
}

fn lockdown() -> Fact {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").ok();
    // The mode in force stands in brackets.
    let mode = text.as_deref().and_then(|text| {
        let (_, rest) = text.split_once('[')?;
        rest.split_once(']').map(|(mode, _)| mode.to_owned())
    });
    let found = match mode.as_deref() {
        None => "not told (securityfs is not mounted, or the kernel has no lockdown)".to_owned(),
        Some("confidentiality") => "confidentiality: only the cgroup back end can work".to_owned(),
        Some(mode) => mode.to_owned(),
    };
    Fact { name: "lockdown", found, good: true }
}

fn capabilities() -> Fact {
    let effective = fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    let Some(effective) = effective else {
        return Fact {
            name: "capabilities",
            found: "not told: /proc is not mounted".into(),
            good: false,
        };
    };
    let has = |number: &u32| effective >> number & 1 == 1;
    // The old capability stands for the new ones, and is not needed beside them.
    let stands_in = |name: &str| has(&21) && ["CAP_BPF", "CAP_PERFMON"].contains(&name);
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(number, name, _)| *number != 21 && !has(number) && !stands_in(name))
        .map(|(_, name, purpose)| format!("{name} is missing: {purpose}"))
        .collect();
    let good = missing.is_empty();
    let found = if good { "all that recording needs".to_owned() } else { missing.join("; ") };
    Fact { name: "capabilities", found, good }
}

/// Inode number of the initial pid namespace (PROC_PID_INIT_INO,
/// include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

fn pid_namespace() -> Fact {
    let link = fs::read_link("/proc/self/ns/pid");
    let initial = link.as_deref().is_ok_and(|link| link == Path::new(INITIAL_PID_NAMESPACE));
    let found = if initial {
        "the initial one".to_owned()
    } else {
        "a nested one: the kernel speaks of other process ids than are seen here; \
         run in the host's (docker run --pid=host, hostPID: true)"
            .to_owned()
    };
    Fact { name: "pid namespace", found, good: initial }
}

/// Who could tell names of pods here; nothing is asked.
fn names() -> Fact {
    let options = Options::default();
    let socket = options.runtimes.iter().find(|path| path.exists());
    let mut found = Vec::new();
    if options.pod_logs.exists() {
        found.push(format!("the kubelet's folders ({})", options.pod_logs.display()));
    }
    found.extend(socket.map(|path| format!("the container runtime ({})", path.display())));
    if options.service_account.join("token").exists() {
        found.push("the Kubernetes API (a token is here)".to_owned());
    }
    let found = match found.is_empty() {
        true => "nobody to ask: this is no node of Kubernetes, or its folders are not mounted here"
            .into(),
        false => found.join(", "),
    };
    Fact { name: "names of pods", found, good: true }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_fact_says_something() {
        for fact in super::facts() {
            assert!(!fact.found.is_empty(), "{}", fact.name);
        }
    }
}
