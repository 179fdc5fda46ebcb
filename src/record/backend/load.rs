//! One object, opened with settings, loaded with the programs that are wanted
//! and possible. What the kernel does not have is left out beforehand (by its
//! type information); what it refuses, by trying each program alone.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;

use libbpf_rs::btf::{Btf, types};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, OpenObject, ReferencesType};

use super::refusal::{Facts, Failure, Hook, Refusal, Step, explain};
use super::{BackEnd, CALL_BYTES, Settings, io_error, log};
use crate::record::filter::Filter;
use crate::record::skel::{OpenRecordSkel, RecordSkel, RecordSkelBuilder};

/// The reader is woken when this much is queued: waking for each event tripled
/// the cost of recording.
const WAKE_BYTES: u32 = 256 << 10;

/// A ring buffer for trying programs only: one page, the least that the kernel takes.
const TRIAL_RING: u32 = 4096;

/// A program of the object.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub name: String,
    pub hook: Hook,
    /// Function or tracepoint; empty for the others.
    pub target: String,
    pub part: Part,
}

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Owners of sockets, and their opening and closing.
    Owner,
    /// Owners, seen in calls: the socket back end sees the calls itself.
    Call,
    /// Sockets older than the recorder.
    Scan,
    /// Payload, of one back end.
    Payload(BackEnd),
}

/// Without these there is nothing to record.
const NEEDED: [&str; 6] = [
    "socket_state_changed",
    "packet_sent",
    "packet_received",
    "message_begins",
    "message_sent",
    "message_received",
];

impl Program {
    fn new(name: &str, section: &str) -> Option<Self> {
        let (kind, target) = section.split_once('/').unwrap_or((section, ""));
        let (hook, part) = match kind {
            "tp_btf" if target.starts_with("sock_") => (Hook::Tracepoint, Part::Call),
            "tp_btf" => (Hook::Tracepoint, Part::Owner),
            "iter" => (Hook::Iterator, Part::Scan),
            "cgroup_skb" => (Hook::Packets, Part::Payload(BackEnd::Cgroup)),
            "fentry" | "fexit" => (Hook::Function, Part::Payload(BackEnd::Socket)),
            _ => return None,
        };
        let target = if matches!(hook, Hook::Tracepoint | Hook::Function) { target } else { "" };
        Some(Self { name: name.to_owned(), hook, target: target.to_owned(), part })
    }

    /// Whether `back_end` uses it.
    pub fn serves(&self, back_end: BackEnd) -> bool {
        match self.part {
            Part::Owner | Part::Scan => true,
            Part::Call => back_end == BackEnd::Cgroup,
            Part::Payload(of) => of == back_end,
        }
    }

    /// Whether `back_end` is nothing without it.
    pub fn needed(&self) -> bool {
        NEEDED.contains(&self.name.as_str())
    }

    /// Whether the kernel has what it hooks on to.
    pub fn exists(&self, btf: &Btf<'_>) -> bool {
        match self.hook {
            Hook::Tracepoint => btf
                .type_by_name::<types::Typedef<'_>>(&format!("btf_trace_{}", self.target))
                .is_some(),
            // `_again`: see bpf/socket.bpf.c.
            Hook::Function if self.name.ends_with("_again") && !preemptible() => false,
            Hook::Function => btf.type_by_name::<types::Func<'_>>(&self.target).is_some(),
            Hook::Iterator | Hook::Packets => true,
        }
    }

    /// What is missing of a recording without it.
    pub fn without(&self) -> &'static str {
        match self.part {
            Part::Call => {
                "the process of an accepted connection is taken to be the one that listens, and is not corrected"
            }
            Part::Owner if self.name == "process_fork" => {
                "children of a process given by --pid are not recorded"
            }
            Part::Owner => "names of processes may be out of date",
            Part::Scan => {
                "connections that are older than perisco are joined unannounced, their process unknown"
            }
            Part::Payload(_) => "what passes there is missing and shows as gaps",
        }
    }
}

/// All programs of the object.
pub(super) fn programs() -> io::Result<Vec<Program>> {
    let skeleton = open()?;
    let programs = skeleton
        .open_object()
        .progs()
        .filter_map(|program| Program::new(program.name().to_str()?, program.section().to_str()?));
    Ok(programs.collect())
}

fn open() -> io::Result<OpenRecordSkel<'static>> {
    log::collect();
    // The skeleton borrows the room for a pointer; a recorder that owned it too
    // would borrow from itself. 16 bytes for each start of a recording.
    let room: &'static mut MaybeUninit<OpenObject> = Box::leak(Box::new(MaybeUninit::uninit()));
    RecordSkelBuilder::default().open(room).map_err(|error| io_error(&error))
}

/// What a load is to do.
pub(super) struct Plan<'a> {
    pub back_end: BackEnd,
    pub settings: &'a Settings,
    /// What arrives over loopback need not be copied ([`Filter::is_symmetric`]).
    pub skip_loopback_ingress: bool,
}

/// Loads exactly `programs`.
pub(super) fn load(
    plan: &Plan<'_>,
    programs: &[Program],
    trial: bool,
) -> Result<RecordSkel<'static>, Failure> {
    let hook = programs.first().map_or(Hook::Packets, |program| program.hook);
    let failed = |error: libbpf_rs::Error| failure(&error, hook, Step::Load);
    log::taken();
    let mut skeleton = open().map_err(|error| Failure {
        hook,
        step: Step::Load,
        code: error.raw_os_error().unwrap_or(0),
        log: log::taken(),
    })?;
    for mut program in skeleton.open_object_mut().progs_mut() {
        let wanted =
            program.name().to_str().is_some_and(|name| programs.iter().any(|one| one.name == name));
        program.set_autoload(wanted);
        #[cfg(feature = "record-events")]
        program.set_log_level(super::verified::STATISTICS);
    }
    let bytes = if trial { TRIAL_RING } else { plan.settings.buffer_bytes };
    skeleton.maps.events.set_max_entries(bytes).map_err(failed)?;
    configure(&mut skeleton, plan, bytes);
    skeleton.load().map_err(failed)
}

/// The settings that the verifier sees.
fn configure(skeleton: &mut OpenRecordSkel<'_>, plan: &Plan<'_>, ring: u32) {
    let filter = &plan.settings.filter;
    if let Some(state) = skeleton.maps.bss_data.as_deref_mut() {
        // Right in the initial pid namespace; the iterator corrects it in others.
        state.self_tgid = std::process::id();
    }
    let Some(settings) = skeleton.maps.rodata_data.as_deref_mut() else { return };
    settings.back_end = plan.back_end.code();
    if let Some(parameters) = parameters_of("tcp_recvmsg") {
        settings.tcp_recvmsg_parameters = parameters;
    }
    settings.snaplen = plan.settings.snaplen;
    settings.call_bytes = match plan.settings.call_bytes {
        0 => CALL_BYTES.max(ring),
        bytes => bytes,
    };
    settings.wake_shift = WAKE_BYTES.min(ring / 4).ilog2();
    settings.ring_bytes = ring;
    settings.skip_loopback_ingress = plan.skip_loopback_ingress;
    settings.filter_pids = filter.by_pid();
    settings.filter_comms = !filter.comms.is_empty();
    settings.filter_exes = !filter.exes.is_empty();
    settings.filter_uids = !filter.uids.is_empty();
    settings.filter_cgroups = filter.by_cgroup();
    settings.filter_ports = !filter.ports.is_empty();
    settings.filter_nets = !filter.nets.is_empty();
    settings.filter_netns = !filter.netns.is_empty();
    settings.filter_role = filter.role.map_or(0, |side| match side {
        crate::record::filter::Side::Client => 1,
        crate::record::filter::Side::Server => 2,
    });
    settings.ports = filter.port_bits();
}

/// Whether the kernel may put a task aside while it runs kernel code. It says
/// so in its version (`PREEMPT`, `PREEMPT_DYNAMIC`, `PREEMPT_RT`).
fn preemptible() -> bool {
    rustix::system::uname().version().to_string_lossy().contains("PREEMPT")
}

/// How many parameters a function of the running kernel has.
fn parameters_of(function: &str) -> Option<u32> {
    let btf = Btf::from_vmlinux().ok()?;
    let function = btf.type_by_name::<types::Func<'_>>(function)?;
    let prototype = types::FuncProto::try_from(function.referenced_type()).ok()?;
    u32::try_from(prototype.len()).ok()
}

/// Fills the sets of the filter; before anything is attached.
pub(super) fn fill_sets(skeleton: &RecordSkel<'_>, filter: &Filter) -> libbpf_rs::Result<()> {
    let maps = &skeleton.maps;
    let put = |map: &dyn MapCore, key: &[u8]| map.update(key, &[1], MapFlags::ANY);
    filter.pids.iter().try_for_each(|pid| put(&maps.pids, &pid.to_ne_bytes()))?;
    filter.comms.iter().try_for_each(|comm| put(&maps.comms, comm.bytes()))?;
    filter.exes.iter().try_for_each(|exe| put(&maps.exes, &exe.bytes()))?;
    filter.uids.iter().try_for_each(|uid| put(&maps.uids, &uid.to_ne_bytes()))?;
    filter.cgroups.iter().try_for_each(|id| put(&maps.cgroups, &id.to_ne_bytes()))?;
    filter.netns.iter().try_for_each(|id| put(&maps.netnses, &id.to_ne_bytes()))?;
    filter.nets.iter().try_for_each(|net| {
        if net.is_ipv4() { put(&maps.nets4, &net.bytes()) } else { put(&maps.nets6, &net.bytes()) }
    })
}

/// A call of libbpf that failed, with what it logged.
pub(super) fn failure(error: &libbpf_rs::Error, hook: Hook, step: Step) -> Failure {
    let text = format!("{error:#}");
    Failure {
        hook,
        step,
        code: io_error(error).raw_os_error().unwrap_or(0),
        log: log::taken() + &text,
    }
}

/// A back end in the kernel, attached nowhere yet.
pub(super) struct Loaded {
    pub skeleton: RecordSkel<'static>,
    pub programs: Vec<Program>,
    /// Programs that it does without, because the kernel refuses them.
    pub refused: BTreeMap<String, Failure>,
}

/// Loads the programs of a back end, without those that are not needed and
/// that the kernel refuses: these are told with their failures.
///
/// # Errors
///
/// One that is needed is refused.
pub(super) fn load_what_goes(
    plan: &Plan<'_>,
    mut programs: Vec<Program>,
) -> Result<Loaded, (Program, Failure)> {
    let mut refused = BTreeMap::new();
    let first = match load(plan, &programs, false) {
        Ok(skeleton) => return Ok(Loaded { skeleton, programs, refused }),
        Err(failure) => failure,
    };
    // The kernel says only that one of them failed: try each alone.
    for program in std::mem::take(&mut programs) {
        match load(plan, std::slice::from_ref(&program), true) {
            Ok(_) => programs.push(program),
            Err(failure) if program.needed() => return Err((program, failure)),
            Err(failure) => drop(refused.insert(program.name, failure)),
        }
    }
    let Some(any) = programs.first().cloned() else { return Err((unnamed(), first)) };
    match load(plan, &programs, false) {
        Ok(skeleton) => Ok(Loaded { skeleton, programs, refused }),
        Err(failure) => Err((any, failure)),
    }
}

fn unnamed() -> Program {
    Program {
        name: String::new(),
        hook: Hook::Tracepoint,
        target: String::new(),
        part: Part::Owner,
    }
}

/// A failure as a refusal of `what`.
pub(super) fn refuse(what: String, failure: &Failure, facts: &Facts) -> Refusal {
    let (why, remedy) = explain(failure, facts);
    Refusal { what, why, remedy, log: failure.log.clone() }
}
