//! Why the kernel does not take a program, in words, and what to do: never a
//! bare message of libbpf. Pure, but for [`Facts::read`].

use std::fmt;
use std::fs;
use std::path::Path;

/// Why something can't be used, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What can't be used: `socket back end`, `owner program socket_sent`, …
    pub what: String,
    /// Why: the missing capability, kernel option or version.
    pub why: String,
    /// What to do.
    pub remedy: String,
    /// What libbpf and the verifier said; for `--verbose`.
    pub log: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.why, self.remedy)
    }
}

/// What a program hooks on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Entry or exit of a kernel function (fentry, fexit).
    Function,
    /// A tracepoint with types (tp_btf).
    Tracepoint,
    /// An iterator (iter/task_file).
    Iterator,
    /// The packets of a cgroup (cgroup_skb).
    Packets,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Loading: maps and the verifier.
    Load,
    /// Attaching a loaded program.
    Attach,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub hook: Hook,
    pub step: Step,
    /// errno.
    pub code: i32,
    pub log: String,
}

/// What of this machine explains a failure.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Effective capabilities, as in `/proc/self/status`.
    pub capabilities: u64,
    /// The kernel has no CAP_BPF and CAP_PERFMON yet (before Linux 5.8).
    pub old: bool,
    /// The kernel's lockdown mode: `none`, `integrity`, `confidentiality`, or empty.
    pub lockdown: String,
    /// Whether the kernel has type information.
    pub btf: bool,
    /// `kernel.ftrace_enabled`; None where the kernel has no ftrace.
    pub ftrace: Option<bool>,
}

const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

const EPERM: i32 = 1;
const E2BIG: i32 = 7;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;
/// `ENOTSUPP` of the kernel, which no C library knows.
const ENOTSUPP: i32 = 524;

impl Facts {
    /// Of the running system; what can't be read counts as absent.
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let capabilities = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
        let chosen = lockdown.split(['[', ']']).nth(1).unwrap_or_default();
        let ftrace = fs::read_to_string("/proc/sys/kernel/ftrace_enabled").ok();
        let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
        let last = last.and_then(|text| text.trim().parse().ok());
        Self {
            capabilities: capabilities.unwrap_or(0),
            old: last.is_some_and(|last: u32| last < BPF),
            lockdown: chosen.to_owned(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            ftrace: ftrace.map(|text| text.trim() != "0"),
        }
    }

    /// The names of the capabilities that are needed and missing.
    pub fn missing(&self) -> Vec<&'static str> {
        let has = |number: u32| self.capabilities >> number & 1 == 1;
        let either = |number: u32| has(number) || has(SYS_ADMIN);
        let admin = (!self.old || has(SYS_ADMIN), "CAP_SYS_ADMIN (Linux 5.8 has CAP_BPF for it)");
        [
            (self.old || either(BPF), "CAP_BPF"),
            (self.old || either(PERFMON), "CAP_PERFMON"),
            admin,
            (has(NET_ADMIN), "CAP_NET_ADMIN"),
        ]
        .into_iter()
        .filter(|(has, _)| !has)
        .map(|(_, name)| name)
        .collect()
    }
}

/// `failure` in words: why, and what to do.
pub(super) fn explain(failure: &Failure, facts: &Facts) -> (String, String) {
    let missing = facts.missing();
    let tracing = failure.hook != Hook::Packets;
    if !missing.is_empty() && matches!(failure.code, EPERM | EACCES) {
        return said(
            format!("perisco lacks {}", missing.join(", ")),
            "run it as root (sudo), or grant them to the file: \
             setcap cap_bpf,cap_perfmon,cap_net_admin,cap_sys_ptrace+ep perisco; \
             in a container add these capabilities",
        );
    }
    if !facts.btf {
        return said(
            "the kernel has no type information (/sys/kernel/btf/vmlinux)",
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions have since Linux 5.10",
        );
    }
    if tracing && facts.lockdown == "confidentiality" {
        return said(
            "the kernel is locked down (lockdown=confidentiality): programs may not read its memory",
            "use --backend cgroup, or boot with lockdown=integrity",
        );
    }
    match (failure.step, failure.code) {
        (_, ENOMEM) => said(
            "the kernel has no memory for the ring buffer and tables",
            "use a smaller --buffer; before Linux 5.11 the limit of locked memory (ulimit -l) counts too",
        ),
        (_, ENOSYS) => said("the kernel has no bpf(2)", "use a kernel with CONFIG_BPF_SYSCALL=y"),
        (_, ENOTSUPP) => said(
            "the kernel can't attach to functions (no BPF trampolines)",
            "use a kernel with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y, or --backend cgroup",
        ),
        (_, EPERM) => forbidden(failure.hook, facts),
        (Step::Load, EACCES | EINVAL | E2BIG) => said(
            format!("the kernel's verifier refuses the program: {}", last_words(&failure.log)),
            "please report it with the kernel's version and the log of --verbose",
        ),
        (Step::Attach, EBUSY) => {
            said("something else is attached there alone", "stop it, or use the other back end")
        }
        (_, code) => said(
            std::io::Error::from_raw_os_error(code).to_string(),
            "please report it with the kernel's version and the log of --verbose",
        ),
    }
}

/// EPERM although nothing that is asked of perisco is missing.
fn forbidden(hook: Hook, facts: &Facts) -> (String, String) {
    match hook {
        Hook::Function if facts.ftrace == Some(false) => said(
            "attaching to kernel functions is switched off (kernel.ftrace_enabled=0)",
            "switch it on (sysctl kernel.ftrace_enabled=1), or use --backend cgroup",
        ),
        Hook::Function => said(
            "this kernel forbids attaching to its functions (fentry: EPERM), although all capabilities are there",
            "use --backend cgroup; a security module or the kernel's builder has decided so",
        ),
        Hook::Packets => said(
            "a cgroup on the way has a program that admits no other (attached without BPF_F_ALLOW_MULTI)",
            "detach it (bpftool cgroup tree shows it), or use --backend socket",
        ),
        Hook::Tracepoint | Hook::Iterator => said(
            "this kernel forbids tracing programs (EPERM), although all capabilities are there",
            "a security module or the kernel's builder has decided so",
        ),
    }
}

fn said(why: impl Into<String>, remedy: &str) -> (String, String) {
    (why.into(), remedy.to_owned())
}

/// The verifier's reason: its last line that is not a statistic.
fn last_words(log: &str) -> &str {
    let statistics = ["processed ", "verification time", "stack depth", "-- END", "libbpf:"];
    log.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !statistics.iter().any(|start| line.starts_with(start)))
        .unwrap_or("no reason is given")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Facts {
        Facts {
            capabilities: u64::MAX,
            old: false,
            lockdown: "none".into(),
            btf: true,
            ftrace: Some(true),
        }
    }

    fn failure(hook: Hook, step: Step, code: i32) -> Failure {
        Failure { hook, step, code, log: String::new() }
    }

    #[test]
    fn missing_capabilities_are_named() {
        let facts = Facts { capabilities: 1 << BPF, ..root() };
        let (why, remedy) = explain(&failure(Hook::Packets, Step::Load, EPERM), &facts);
        assert_eq!(why, "perisco lacks CAP_PERFMON, CAP_NET_ADMIN");
        assert!(remedy.contains("sudo"), "{remedy}");
        // CAP_SYS_ADMIN stands for the first two only.
        let admin = Facts { capabilities: 1 << SYS_ADMIN, ..root() };
        assert_eq!(admin.missing(), ["CAP_NET_ADMIN"]);
        // Before 5.8 there is nothing else.
        let old = Facts { capabilities: 1 << NET_ADMIN, old: true, ..root() };
        assert_eq!(old.missing(), ["CAP_SYS_ADMIN (Linux 5.8 has CAP_BPF for it)"]);
        assert_eq!(Facts { old: true, ..root() }.missing(), [""; 0]);
    }

    #[test]
    fn a_kernel_that_forbids_fentry_is_said_so() {
        let (why, remedy) = explain(&failure(Hook::Function, Step::Attach, EPERM), &root());
        assert!(why.starts_with("this kernel forbids attaching to its functions"), "{why}");
        assert!(remedy.contains("--backend cgroup"), "{remedy}");
        let off = Facts { ftrace: Some(false), ..root() };
        let (why, _) = explain(&failure(Hook::Function, Step::Attach, EPERM), &off);
        assert!(why.contains("kernel.ftrace_enabled=0"), "{why}");
    }

    #[test]
    fn lockdown_and_missing_types_come_before_errno() {
        let locked = Facts { lockdown: "confidentiality".into(), ..root() };
        let (why, _) = explain(&failure(Hook::Function, Step::Load, EINVAL), &locked);
        assert!(why.contains("lockdown=confidentiality"), "{why}");
        let bare = Facts { btf: false, ..root() };
        let (_, remedy) = explain(&failure(Hook::Packets, Step::Load, EINVAL), &bare);
        assert!(remedy.contains("CONFIG_DEBUG_INFO_BTF"), "{remedy}");
    }

    #[test]
    fn the_verifier_is_quoted_by_its_reason() {
        let mut failed = failure(Hook::Packets, Step::Load, EACCES);
        failed.log = "12: (79) r1 = *(u64 *)(r6 +168)\nR6 invalid mem access\nprocessed 12 insns (limit 1000000)\n".into();
        let (why, _) = explain(&failed, &root());
        assert_eq!(why, "the kernel's verifier refuses the program: R6 invalid mem access");
    }
}
