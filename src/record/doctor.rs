//! `perisco doctor`: what this machine grants, in words.
//!
//! Facts read from the system; whether programs load is tried for real by
//! [`super::backend`]. Changes nothing.

use std::fs;
use std::path::Path;

use rustix::thread::CapabilitySet;

use super::confine::{Landlock, capabilities};
use super::kube::Options;

/// Capabilities that recording needs, and what for.
const NEEDED: &[(CapabilitySet, &str)] = &[
    (CapabilitySet::BPF, "loading BPF programs and maps"),
    (CapabilitySet::PERFMON, "tracing programs and reading kernel memory in them"),
    (CapabilitySet::NET_ADMIN, "attaching to the cgroup2 root (the cgroup back end)"),
    (CapabilitySet::SYS_PTRACE, "the file that a process of another user runs (/proc/PID/exe)"),
];

/// Stands for CAP_BPF and CAP_PERFMON, and is needed where the kernel has none.
const ADMIN: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// The last of them to come, with Linux 5.8, is CAP_BPF; two more came until 5.9.
const CAP_BPF: u32 = 39;

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
    let privileges = [capabilities(), droppable(), confinement()];
    let mut facts = vec![kernel(), btf(), lockdown()];
    facts.extend(privileges);
    facts.extend([pid_namespace(), names()]);
    facts
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

/// What it has of what it needs.
fn capabilities() -> Fact {
    let name = "capabilities";
    let Ok(sets) = capabilities::current() else {
        return Fact { name, found: "not told".into(), good: false };
    };
    let (found, good) = needed(sets.effective, kernel_has_bpf());
    Fact { name, found, good }
}

fn needed(has: CapabilitySet, kernel_has_bpf: bool) -> (String, bool) {
    // The old capability stands for the new ones, and is not needed beside them.
    let new = CapabilitySet::BPF | CapabilitySet::PERFMON;
    let standing_in = if has.contains(ADMIN) { new } else { CapabilitySet::empty() };
    let mut missing: Vec<String> = NEEDED
        .iter()
        .filter(|(one, _)| kernel_has_bpf || !new.contains(*one))
        .filter(|(one, _)| !(has | standing_in).contains(*one))
        .map(|(one, purpose)| format!("{} is missing: {purpose}", capabilities::names(*one)))
        .collect();
    if !kernel_has_bpf && !has.contains(ADMIN) {
        missing.push(
            "CAP_SYS_ADMIN is missing: before Linux 5.8 there is no CAP_BPF and no CAP_PERFMON"
                .to_owned(),
        );
    }
    let all = NEEDED.iter().fold(ADMIN, |all, (one, _)| all | *one);
    let found = format!("{} of what recording needs", capabilities::names(has & all));
    if missing.is_empty() {
        (found, true)
    } else {
        let grant = "run it as root, or: setcap cap_bpf,cap_perfmon,cap_net_admin,cap_sys_ptrace+ep perisco";
        (format!("{found}; {}; {grant}", missing.join("; ")), false)
    }
}

fn kernel_has_bpf() -> bool {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
    last.and_then(|text| text.trim().parse().ok()).is_none_or(|last: u32| last >= CAP_BPF)
}

/// What it could do without from the beginning.
fn droppable() -> Fact {
    let name = "not needed";
    let Ok(sets) = capabilities::current() else {
        return Fact { name, found: "not told".into(), good: true };
    };
    let needed = NEEDED.iter().fold(CapabilitySet::empty(), |all, (one, _)| all | *one);
    let needed = if kernel_has_bpf() { needed } else { needed | ADMIN };
    let more = sets.permitted.difference(needed);
    let found = if more.is_empty() {
        "nothing that it has".to_owned()
    } else {
        format!("{}: could be dropped before the start", capabilities::names(more))
    };
    Fact { name, found, good: true }
}

/// What a running recorder is shut in with.
fn confinement() -> Fact {
    let landlock = match Landlock::of_kernel() {
        Landlock::Abi(abi) => format!("Landlock ABI {abi}"),
        Landlock::Absent => "no Landlock in this kernel (CONFIG_SECURITY_LANDLOCK)".to_owned(),
        Landlock::Disabled => "Landlock is switched off (lsm= of the kernel's line)".to_owned(),
    };
    let lacks = Landlock::of_kernel().lacks();
    let lacks = if lacks.is_empty() {
        String::new()
    } else {
        format!(" (not shut off by it: {})", lacks.join(", "))
    };
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    let seccomp = if actions.is_ok_and(|text| text.contains("errno")) { "" } else { "no " };
    let found = format!("{landlock}{lacks}, {seccomp}seccomp; perisco doctor --confine tries it");
    Fact { name: "confinement", found, good: true }
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
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_purpose_and_how_to_grant_it() {
        let (found, good) = needed(CapabilitySet::BPF | CapabilitySet::PERFMON, true);
        assert!(!good && found.starts_with("CAP_PERFMON, CAP_BPF of what"), "{found}");
        assert!(found.contains("CAP_NET_ADMIN is missing: attaching"), "{found}");
        assert!(found.contains("setcap cap_bpf"), "{found}");
        let (found, good) = needed(CapabilitySet::NET_ADMIN | CapabilitySet::SYS_PTRACE, false);
        assert!(!good && found.contains("CAP_SYS_ADMIN is missing: before Linux 5.8"), "{found}");
        assert!(!found.contains("CAP_BPF is missing"), "{found}");
        let old = ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::SYS_PTRACE;
        assert!(needed(old, false).1 && needed(old, true).1);
    }

    #[test]
    fn every_fact_says_something() {
        for fact in super::facts() {
            assert!(!fact.found.is_empty(), "{}", fact.name);
        }
    }
}
