//! A recorder that has begun shuts itself in: it gives up every capability
//! that it needs no more, becomes another user if asked, and lets the kernel
//! refuse it all files, connections, processes and system calls but those of
//! its work. What it reads is hostile; what it holds is secret.
//!
//! [`Confine::apply`] is to be called while the process has one thread: all of
//! it is per thread, and inherited by threads that come later. Knows nothing of
//! what is recorded. Who attacks and what is in force when: `docs/security.md`.

mod calls;
pub mod capabilities;
pub mod check;
mod files;
mod lookup;
mod user;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::process::DumpableBehavior;
use rustix::thread::{self, CapabilitySet};

pub use calls::Calls;
pub use files::{Landlock, Rules};
pub use lookup::{LOOK_UP, Lookup, answer};
pub use user::User;

/// What of it is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As much as the kernel has.
    #[default]
    Auto,
    /// All of it, or no recording.
    Strict,
}

/// What a recorder may still do when it has begun.
#[derive(Clone, Debug, Default)]
pub struct Confine {
    /// Whether less than all is enough.
    pub mode: Mode,
    /// Become this user.
    pub user: Option<User>,
    /// Files and connections.
    pub rules: Rules,
    /// System calls.
    pub calls: Calls,
    /// What is useful and not needed, as far as the user can get at it: with
    /// what is missing without it.
    pub wishes: Vec<Wish>,
}

/// A path that the user should be able to read, or write if it is a socket.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Where.
    pub path: PathBuf,
    /// Needs writing, as connecting to a socket does.
    pub write: bool,
    /// What is missing else.
    pub without: &'static str,
}

/// What is in force.
#[derive(Clone, Debug)]
pub struct Confined {
    /// What was kept, permitted and effective.
    pub capabilities: CapabilitySet,
    /// Of the bounding set, what could not be dropped: no_new_privs makes it worthless.
    pub bounding: CapabilitySet,
    /// Files, TCP, signals.
    pub landlock: Landlock,
    /// Why the list of system calls is not in force, if it is not.
    pub calls: Option<String>,
    /// As whom, if that was asked for.
    pub user: Option<User>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Why a recorder cannot shut itself in; it does not record then.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A thread would be left out.
    #[error("there are {0} threads where there should be one: please report this as a bug")]
    Threads(usize),
    /// `--user` without the right to.
    #[error(
        "cannot become user {name}: {source}; that takes CAP_SETUID and CAP_SETGID, as root has"
    )]
    User {
        /// Who.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The output is in a folder that the user cannot write to.
    #[error("{} is not writable by user {user}: {source}; chown {user} {}, or give a folder that is", folder.display(), folder.display())]
    Folder {
        /// Where.
        folder: PathBuf,
        /// For whom.
        user: String,
        /// Why.
        source: io::Error,
    },
    /// What was loaded cannot be read without capabilities that are not there.
    #[error("cannot read the counts of the programs without CAP_BPF: {0}")]
    Maps(io::Error),
    /// A step failed that does not depend on what the kernel has.
    #[error("cannot give up privileges ({step}): {source}")]
    Step {
        /// Which.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Not all is there, and all was asked for.
    #[error("not all of --confine=strict is possible here: {0}")]
    NotAll(String),
}

fn step(step: &'static str) -> impl FnOnce(io::Error) -> ConfineError {
    move |source| ConfineError::Step { step, source }
}

impl Confine {
    /// Lets the process start this binary again, and no other program: as
    /// `/proc/self/exe`, with all restrictions that it has itself.
    pub fn allow_own_binary(&mut self) {
        self.calls.spawn = true;
        // What is mapped to be run: the binary, and of a dynamic one its loader and libraries.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mapped = maps.lines().filter(|line| line.contains(" r-xp "));
        let paths = mapped.filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
        self.rules.run.extend(paths);
        self.rules.read.push("/etc/ld.so.cache".into());
        self.rules.write_to.push("/dev/null".into());
    }

    /// Shuts the process in. `maps` reads what was loaded: without CAP_BPF
    /// kernels before 5.19 let nobody (`kernel.unprivileged_bpf_disabled`), and
    /// then it is kept.
    ///
    /// # Errors
    ///
    /// What is wrong with the request, or fails although every kernel has it.
    /// The process may have given up some of its privileges by then.
    pub fn apply(self, maps: &dyn Fn() -> io::Result<()>) -> Result<Confined, ConfineError> {
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads != 1 {
            return Err(ConfineError::Threads(threads));
        }
        let mut notes = Vec::new();
        let rules = self.rules.prepare().map_err(|error| ConfineError::Step {
            step: "Landlock",
            source: io::Error::other(error),
        })?;
        let bounding = capabilities::drop_bounding();
        if let Some(user) = &self.user {
            user.become_it()
                .map_err(|source| ConfineError::User { name: user.name.clone(), source })?;
        }
        let keep = self.keep(maps)?;
        capabilities::set(keep, keep).map_err(step("capabilities"))?;
        notes.extend(self.wishes.iter().filter_map(|wish| self.unfulfilled(wish)));
        // No core dump has what was recorded, and no other process of the user reads it.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| step("core dumps")(error.into()))?;
        thread::set_no_new_privs(true).map_err(|error| step("no_new_privs")(error.into()))?;
        let landlock = files::enforce(rules).map_err(|error| ConfineError::Step {
            step: "Landlock",
            source: io::Error::other(error),
        })?;
        let calls = self.calls.enforce().err();
        let confined =
            Confined { capabilities: keep, bounding, landlock, calls, user: self.user, notes };
        match confined.missing() {
            Some(missing) if self.mode == Mode::Strict => Err(ConfineError::NotAll(missing)),
            _ => Ok(confined),
        }
    }

    /// The capabilities without which the work cannot go on: found by trying.
    fn keep(&self, maps: &dyn Fn() -> io::Result<()>) -> Result<CapabilitySet, ConfineError> {
        let permitted = capabilities::current().map_err(step("capabilities"))?.permitted;
        let mut keep = CapabilitySet::empty();
        let none = CapabilitySet::empty();
        capabilities::set(permitted, none).map_err(step("capabilities"))?;
        if let Err(error) = maps() {
            let one = [CapabilitySet::BPF, CapabilitySet::SYS_ADMIN].into_iter().find(|one| {
                permitted.contains(*one)
                    && capabilities::set(permitted, *one).is_ok()
                    && maps().is_ok()
            });
            keep |= one.ok_or(ConfineError::Maps(error))?;
            capabilities::set(permitted, none).map_err(step("capabilities"))?;
        }
        for folder in &self.rules.write {
            let Err(source) = accessible(folder, Access::WRITE_OK | Access::EXEC_OK) else {
                continue;
            };
            if let Some(user) = &self.user {
                let (folder, user) = (folder.clone(), user.name.clone());
                return Err(ConfineError::Folder { folder, user, source });
            }
            // As root in somebody's folder. Without the capability either creating the file says why.
            keep |= permitted & CapabilitySet::DAC_OVERRIDE;
        }
        // A command may have become another user.
        if self.calls.signal.is_some() {
            keep |= permitted & CapabilitySet::KILL;
        }
        Ok(keep)
    }

    fn unfulfilled(&self, wish: &Wish) -> Option<String> {
        let Wish { path, write, without } = wish;
        let how = if *write { Access::WRITE_OK } else { Access::READ_OK };
        let error = accessible(path, how).err()?;
        if error.kind() == io::ErrorKind::NotFound {
            return None;
        }
        let who = self.user.as_ref().map_or("this user", |user| &user.name);
        Some(format!("{}: {error} for {who}: {without}", path.display()))
    }
}

/// By the effective user, groups and capabilities.
fn accessible(path: &Path, how: Access) -> io::Result<()> {
    Ok(rustix::fs::accessat(CWD, path, how, AtFlags::EACCESS)?)
}

impl Confined {
    /// What is not in force, in words.
    pub fn missing(&self) -> Option<String> {
        let mut missing = Vec::new();
        match self.landlock {
            Landlock::Absent => missing.push("this kernel has no Landlock".to_owned()),
            Landlock::Disabled => {
                missing.push("Landlock is not in the kernel's lsm= list".to_owned());
            }
            landlock @ Landlock::Abi(abi) if !landlock.lacks().is_empty() => {
                missing.push(format!("Landlock ABI {abi} leaves {}", landlock.lacks().join(", ")));
            }
            Landlock::Abi(_) => {}
        }
        missing.extend(self.calls.as_ref().map(|why| format!("no seccomp filter: {why}")));
        if missing.is_empty() { None } else { Some(missing.join("; ")) }
    }
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "user {} ({}:{}), ", user.name, user.uid, user.gid)?;
        }
        write!(f, "capabilities: {}; no_new_privs", capabilities::names(self.capabilities))?;
        if let Landlock::Abi(abi) = self.landlock {
            write!(f, ", Landlock (ABI {abi})")?;
        }
        if self.calls.is_none() {
            write!(f, ", seccomp")?;
        }
        match self.missing() {
            Some(missing) => write!(f, "; not in force: {missing}"),
            None => Ok(()),
        }
    }
}
