//! What this kernel grants, program by program: for `perisco doctor`. Loads and
//! attaches each alone and takes it down again; nothing is recorded.

use libbpf_rs::btf::Btf;
use libbpf_rs::skel::Skel;
use std::os::fd::AsFd;

use super::load::{self, Plan, Program};
use super::refusal::{Facts, Refusal, Step};
use super::start::{lift_memory_limit, link};
use super::{BackEnd, Settings, info, mount};

/// One back end, or what both use.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// Which; None: the owner programs that serve both.
    pub back_end: Option<BackEnd>,
    /// Its programs, in the order of the object.
    pub programs: Vec<ProgramReport>,
}

/// One program on this kernel.
#[derive(Clone, Debug)]
pub struct ProgramReport {
    /// Its name, as `bpftool prog` shows it.
    pub name: String,
    /// What it hooks on to, if that has a name.
    pub target: String,
    /// Instructions that the verifier processed (its limit is a million); None
    /// if it is not loaded, or before Linux 5.16, which does not tell.
    pub verified: Option<u32>,
    /// Why it can't be used.
    pub refusal: Option<Refusal>,
    /// The back end works without it.
    pub optional: bool,
}

impl ProbeReport {
    /// Whether all that is needed works.
    pub fn works(&self) -> bool {
        self.programs.iter().any(|program| program.refusal.is_none())
            && self.programs.iter().all(|program| program.optional || program.refusal.is_none())
    }
}

/// Tries every program. Without the rights to, each says which are missing.
pub fn probe() -> Vec<ProbeReport> {
    lift_memory_limit();
    let facts = Facts::read();
    let programs = load::programs().unwrap_or_default();
    [Some(BackEnd::Socket), Some(BackEnd::Cgroup), None]
        .into_iter()
        .map(|back_end| ProbeReport {
            back_end,
            programs: programs
                .iter()
                .filter(|program| payload_of(program) == back_end)
                .map(|program| report(program, &facts))
                .collect(),
        })
        .filter(|report| !report.programs.is_empty())
        .collect()
}

fn payload_of(program: &Program) -> Option<BackEnd> {
    match program.part {
        load::Part::Payload(back_end) => Some(back_end),
        _ => None,
    }
}

fn report(program: &Program, facts: &Facts) -> ProgramReport {
    let mut report = ProgramReport {
        name: program.name.clone(),
        target: program.target.clone(),
        verified: None,
        refusal: None,
        optional: !program.needed(),
    };
    if Btf::from_vmlinux().is_ok_and(|btf| !program.exists(&btf)) {
        report.refusal = Some(Refusal {
            what: format!("program {}", program.name),
            why: format!("this kernel has no {}", program.target),
            remedy: program.without().to_owned(),
            log: String::new(),
        });
        return report;
    }
    let settings = Settings::default();
    let back_end = payload_of(program).unwrap_or(BackEnd::Cgroup);
    let plan = Plan { back_end, settings: &settings, skip_loopback_ingress: true };
    let refused =
        |failure| Some(load::refuse(format!("program {}", program.name), &failure, facts));
    let skeleton = match load::load(&plan, std::slice::from_ref(program), true) {
        Ok(skeleton) => skeleton,
        Err(failure) => {
            report.refusal = refused(failure);
            return report;
        }
    };
    let Some(loaded) = skeleton.object().progs_mut().find(|one| *one.name() == *program.name)
    else {
        return report;
    };
    report.verified = info::verified(loaded.as_fd());
    let root = mount::root().ok();
    if let Err(error) = link(&loaded, program, root.as_ref()) {
        report.refusal = refused(load::failure(&error, program.hook, Step::Attach));
    }
    report
}
