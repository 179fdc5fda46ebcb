//! System calls: a list of those that a recorder makes (seccomp(2)); all
//! others fail with EPERM.
//!
//! They fail instead of killing, so that a C library that tries something new
//! first and falls back, as they do, does not end a recording of months. A
//! call that is always allowed costs next to nothing: since Linux 5.11 the
//! kernel has a bit for it and does not run the list.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// What is allowed beyond what every recorder does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Opening sockets and connecting them: for the Kubernetes API and the container runtime.
    pub connect: bool,
    /// Starting processes: for the analyzer behind triggers.
    pub spawn: bool,
    /// Sending signals to this process: the recorded command.
    pub signal: Option<u32>,
}

/// A list in the making.
struct List(BTreeMap<i64, Vec<SeccompRule>>);

/// Commands of bpf(2) on what is open already (include/uapi/linux/bpf.h):
/// elements of maps, facts of programs, running an iterator. Nothing can be
/// loaded, made, attached or opened with them.
const BPF_COMMANDS: [u64; 6] = [
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    15, // BPF_OBJ_GET_INFO_BY_FD
    33, // BPF_ITER_CREATE
];

/// Options of prctl(2): names of threads and memory, and what only restricts.
const PRCTL_OPTIONS: [c_long; 8] = [
    libc::PR_SET_NAME as c_long,
    libc::PR_GET_NAME as c_long,
    libc::PR_SET_PDEATHSIG as c_long,
    libc::PR_SET_NO_NEW_PRIVS as c_long,
    libc::PR_GET_NO_NEW_PRIVS as c_long,
    libc::PR_SET_SECCOMP as c_long,
    libc::PR_CAPBSET_READ as c_long,
    libc::PR_SET_VMA as c_long,
];

/// Requests of ioctl(2): is it a terminal, how wide, and waiting or not. Not TIOCSTI, which types.
const IOCTL_REQUESTS: [u64; 6] =
    [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::FIONCLEX];

/// Flags of clone(2) that make namespaces: never.
const NAMESPACES: u64 = 0x7e02_0000;

impl List {
    fn any(&mut self, calls: &[c_long]) {
        for call in calls {
            self.0.insert(*call, Vec::new());
        }
    }

    /// Allows `call` where all of `conditions` hold; called again, where any of them does.
    fn when(&mut self, call: c_long, conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<(), String> {
        let conditions = conditions.iter().map(|(argument, operator, value)| {
            // The kernel takes an int of each of these.
            let length = SeccompCmpArgLen::Dword;
            SeccompCondition::new(*argument, length, operator.clone(), *value)
        });
        let conditions: Result<Vec<_>, _> = conditions.collect();
        let rule = conditions.and_then(SeccompRule::new).map_err(|error| error.to_string())?;
        self.0.entry(call).or_default().push(rule);
        Ok(())
    }
}

impl Calls {
    /// Puts the list in force for the calling thread and those that it starts.
    /// Sets no_new_privs.
    ///
    /// # Errors
    ///
    /// The kernel has no seccomp filters, or somebody forbids them; in words.
    pub(super) fn enforce(self) -> Result<(), String> {
        let mut list = List(BTreeMap::new());
        list.any(EVERY);
        if self.connect {
            list.any(CONNECT);
        }
        let own = u64::from(std::process::id());
        for command in BPF_COMMANDS {
            list.when(libc::SYS_bpf, &[(0, SeccompCmpOp::Eq, command)])?;
        }
        for option in PRCTL_OPTIONS {
            list.when(libc::SYS_prctl, &[(0, SeccompCmpOp::Eq, option as u64)])?;
        }
        for request in IOCTL_REQUESTS {
            list.when(libc::SYS_ioctl, &[(1, SeccompCmpOp::Eq, request)])?;
        }
        // Only of this process itself: limits of others could be changed with it.
        list.when(libc::SYS_prlimit64, &[(0, SeccompCmpOp::Eq, 0)])?;
        if self.spawn {
            list.any(SPAWN);
            list.when(libc::SYS_clone, &[(0, SeccompCmpOp::MaskedEq(NAMESPACES), 0)])?;
        } else {
            let thread = libc::CLONE_THREAD as u64;
            let masked = SeccompCmpOp::MaskedEq(thread | NAMESPACES);
            list.when(libc::SYS_clone, &[(0, masked, thread)])?;
            list.when(libc::SYS_tgkill, &[(0, SeccompCmpOp::Eq, own)])?;
            if let Some(pid) = self.signal {
                list.when(libc::SYS_kill, &[(0, SeccompCmpOp::Eq, u64::from(pid))])?;
            }
        }
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        apply(list.0, refuse, SeccompAction::Allow)?;
        // Its flags are in memory, where no filter sees them. Who is told that there is none takes
        // clone(2), as glibc does. Where two filters refuse, the error is that of the later one.
        let none = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        apply(none, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))
    }
}

/// The list of the process that looks up links (`lookup.rs`): `reads` where it
/// also reads a file.
pub(super) fn enforce_lookup(reads: bool) -> Result<(), String> {
    let mut list = List(BTreeMap::new());
    list.any(LOOK_UP);
    if reads {
        list.any(&[libc::SYS_openat, libc::SYS_statx, libc::SYS_fstat, libc::SYS_lseek]);
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    apply(list.0, refuse, SeccompAction::Allow)
}

fn apply(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let filter = SeccompFilter::new(rules, otherwise, then, arch);
    let program: seccompiler::BpfProgram =
        filter.and_then(TryInto::try_into).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

/// What a process that answers from links makes.
const LOOK_UP: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What opens connections and asks for names of hosts.
const CONNECT: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind, // of the resolver's netlink socket; TCP is Landlock's
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
];

/// What starts processes and waits for them.
const SPAWN: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_vfork,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_arch_prctl,
    libc::SYS_set_tid_address,
    libc::SYS_chdir,
    libc::SYS_close_range,
];

/// Files, memory, threads, time, and sockets that are there already.
const EVERY: &[c_long] = &[
    // Files.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_stat,
    libc::SYS_fstat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_fadvise64,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    // Not chmod(2), chown(2) and the like by name: Landlock does not know them.
    libc::SYS_fchmod,
    libc::SYS_umask,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // Waiting.
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // Sockets that are there: answering for --metrics, reading what was opened before.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_socketpair,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Threads, signals, time.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The command that is recorded, when it has ended.
    libc::SYS_wait4,
    libc::SYS_waitid,
    // What only restricts further.
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    libc::SYS_capset,
];
