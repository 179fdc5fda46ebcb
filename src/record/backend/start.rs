//! [`Recorder::start`]: chooses a back end by loading and attaching it for
//! real, and says why not the other.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use libbpf_rs::btf::Btf;
use libbpf_rs::skel::Skel;
use libbpf_rs::{IterOpts, Link, ProgramMut};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::load::{self, Part, Plan, Program};
use super::refusal::{Facts, Failure, Hook, Refusal, Step};
use super::{BackEnd, Choice, Recorder, Settings, StartError, info, mount};
use crate::record::ring::Ring;
use crate::record::skel::RecordSkel;

impl Recorder {
    /// Loads and attaches the back end that is asked for; of `Auto`, the first that works.
    ///
    /// # Errors
    ///
    /// The settings are not possible, or no back end works: then each says why.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let size = settings.buffer_bytes;
        if !size.is_power_of_two() || (size as usize) < rustix::param::page_size() {
            return Err(StartError::Buffer(size));
        }
        settings.filter.check()?;
        lift_memory_limit();
        let facts = Facts::read();
        let back_ends: &[BackEnd] = match settings.choice {
            Choice::Auto => &[BackEnd::Socket, BackEnd::Cgroup],
            Choice::Socket => &[BackEnd::Socket],
            Choice::Cgroup => &[BackEnd::Cgroup],
        };
        let mut refusals = Vec::new();
        for &back_end in back_ends {
            match Attached::new(back_end, settings, &facts) {
                Ok(attached) => return Ok(attached.into_recorder(back_end, refusals)?),
                Err(refusal) => refusals.push(refusal),
            }
        }
        Err(StartError::Refused(refusals))
    }
}

/// Before Linux 5.11 maps count as locked memory. Where it can't be lifted, the
/// load fails for want of memory and says so.
pub(super) fn lift_memory_limit() {
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// Time for packets that were sent, but not received when recording began: they
/// are in no one's copy, and a connection found after that begins behind them.
const UNDER_WAY: Duration = Duration::from_millis(5);

/// Programs of one back end at their places.
struct Attached {
    skeleton: RecordSkel<'static>,
    links: Vec<Link>,
    scan: Option<Link>,
    programs: Vec<info::Held>,
    notes: Vec<String>,
}

impl Attached {
    fn new(back_end: BackEnd, settings: &Settings, facts: &Facts) -> Result<Self, Refusal> {
        let what = || format!("{back_end} back end");
        let all = load::programs().map_err(|error| io_refusal(what(), &error, facts))?;
        let (programs, mut notes) = choose(all, back_end, facts)?;
        let root = match back_end {
            BackEnd::Cgroup => Some(mount::root().map_err(|error| no_cgroup2(&error))?),
            BackEnd::Socket => None,
        };
        notes.extend(root.as_ref().and_then(|root| root.note.clone()));
        let whole_host = root.as_ref().is_some_and(|root| root.whole_host);
        let skip = whole_host && !settings.both_ends && settings.filter.is_symmetric();
        let plan = Plan { back_end, settings, skip_loopback_ingress: skip };

        let load::Loaded { skeleton, programs, refused } = load::load_what_goes(&plan, programs)
            .map_err(|(program, failure)| {
                load::refuse(format!("{} ({})", what(), program.name), &failure, facts)
            })?;
        for (name, failure) in &refused {
            notes.push(format!(
                "not used: {}",
                load::refuse(format!("program {name}"), failure, facts)
            ));
        }
        load::fill_sets(&skeleton, &settings.filter).map_err(|error| {
            load::refuse(what(), &load::failure(&error, Hook::Packets, Step::Load), facts)
        })?;
        let mut attached =
            Self { skeleton, links: Vec::new(), scan: None, programs: Vec::new(), notes };
        attached.attach(&programs, root.as_ref()).map_err(|(program, failure)| {
            load::refuse(format!("{} ({})", what(), program.name), &failure, facts)
        })?;
        Ok(attached)
    }

    /// Owners first: what is seen of a socket before its state is known would
    /// have none. What is sent before what is received: a packet over loopback
    /// that is not copied on arrival was copied when it was sent.
    fn attach(
        &mut self,
        programs: &[Program],
        root: Option<&mount::Root>,
    ) -> Result<(), (Program, Failure)> {
        let mut ordered: Vec<&Program> = programs.iter().collect();
        ordered.sort_by_key(|program| match program.part {
            Part::Owner => 0,
            Part::Call => 1,
            Part::Scan => 2,
            Part::Payload(_) if program.name.ends_with("_received") => 4,
            Part::Payload(_) => 3,
        });
        for program in ordered {
            let Some(loaded) =
                self.skeleton.object().progs_mut().find(|one| *one.name() == *program.name)
            else {
                continue;
            };
            self.programs.extend(info::Held::new(loaded.as_fd(), &program.name));
            match link(&loaded, program, root) {
                Ok(link) if program.part == Part::Scan => self.scan = Some(link),
                Ok(link) => self.links.push(link),
                Err(error) => {
                    let failure = load::failure(&error, program.hook, Step::Attach);
                    if program.needed() || matches!(program.part, Part::Payload(_)) {
                        return Err((program.clone(), failure));
                    }
                    self.notes.push(format!(
                        "not attached: program {}; {}",
                        program.name,
                        program.without()
                    ));
                }
            }
        }
        Ok(())
    }

    fn into_recorder(mut self, back_end: BackEnd, refusals: Vec<Refusal>) -> io::Result<Recorder> {
        let ring = Ring::new(&self.skeleton.maps.events)?;
        if let Some(state) = self.skeleton.maps.bss_data.as_deref_mut() {
            state.begun = 1;
        }
        // What was under way over loopback when that was set arrives.
        std::thread::sleep(UNDER_WAY);
        Ok(Recorder {
            _links: self.links,
            scan: self.scan,
            ring,
            skeleton: self.skeleton,
            back_end,
            refusals,
            notes: self.notes,
            programs: self.programs,
        })
    }
}

/// Attaches one program.
pub(super) fn link(
    loaded: &ProgramMut<'_>,
    program: &Program,
    root: Option<&mount::Root>,
) -> libbpf_rs::Result<Link> {
    match (program.hook, root) {
        (Hook::Packets, Some(root)) => loaded.attach_cgroup(root.directory.as_raw_fd()),
        (Hook::Iterator, _) => loaded.attach_iter_with_opts(IterOpts::None),
        _ => loaded.attach(),
    }
}

/// The programs of `back_end` that this kernel has a place for, and notes on
/// those that it has not.
pub(super) fn choose(
    all: Vec<Program>,
    back_end: BackEnd,
    facts: &Facts,
) -> Result<(Vec<Program>, Vec<String>), Refusal> {
    let btf = Btf::from_vmlinux().map_err(|error| {
        let facts = Facts { btf: false, ..facts.clone() };
        load::refuse(
            format!("{back_end} back end"),
            &load::failure(&error, Hook::Tracepoint, Step::Load),
            &facts,
        )
    })?;
    let serving: Vec<Program> =
        all.into_iter().filter(|program| program.serves(back_end)).collect();
    if !serving.iter().any(|program| program.part == Part::Payload(back_end)) {
        return Err(Refusal {
            what: format!("{back_end} back end"),
            why: "this build of perisco does not have it".to_owned(),
            remedy: "use the other back end".to_owned(),
            log: String::new(),
        });
    }
    let (here, missing): (Vec<_>, Vec<_>) =
        serving.into_iter().partition(|program| program.exists(&btf));
    if let Some(program) = missing.iter().find(|program| program.needed()) {
        return Err(Refusal {
            what: format!("{back_end} back end"),
            why: format!("this kernel has no {}", program.target),
            remedy: "use the other back end, or Linux 5.10 or newer with TCP built in".to_owned(),
            log: String::new(),
        });
    }
    // Functions come and go with kernel versions: programs for all of them are
    // there, and those of another version are missed by nobody.
    let notes = missing.iter().filter(|program| program.hook == Hook::Tracepoint).map(|program| {
        let since = if program.part == Part::Call { " (Linux 6.3 has it)" } else { "" };
        format!("this kernel has no tracepoint {}{since}: {}", program.target, program.without())
    });
    Ok((here, notes.collect()))
}

fn no_cgroup2(error: &io::Error) -> Refusal {
    Refusal {
        what: "cgroup back end".to_owned(),
        why: format!("cgroup2 is not mounted, and a mount of perisco's own is refused ({error})"),
        remedy: "mount it (mount -t cgroup2 none /sys/fs/cgroup), or use --backend socket"
            .to_owned(),
        log: String::new(),
    }
}

fn io_refusal(what: String, error: &io::Error, facts: &Facts) -> Refusal {
    let failure = Failure {
        hook: Hook::Tracepoint,
        step: Step::Load,
        code: error.raw_os_error().unwrap_or(0),
        log: error.to_string(),
    };
    load::refuse(what, &failure, facts)
}
