//! Files, TCP ports, signals: shut off with Landlock, but for what is named.
//!
//! Landlock also forbids to look into any process outside of it (`ptrace`
//! access: memory, environment, open files, even which file it runs), whatever
//! the capabilities.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

/// The newest interface that is asked for; of older ones as much as they have.
const NEWEST: ABI = ABI::V6;

/// What stays possible.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Folders in which files are made, written, renamed, removed and listed.
    pub write: Vec<PathBuf>,
    /// Files that are there and are written: pipes, devices.
    pub write_to: Vec<PathBuf>,
    /// Files that are read, and folders of which all is.
    pub read: Vec<PathBuf>,
    /// Folders of which only the names are read, and of all below.
    pub list: Vec<PathBuf>,
    /// Files that may be run, with what they load.
    pub run: Vec<PathBuf>,
    /// The TCP ports to which connections are opened. None is bound.
    pub connect: Vec<u16>,
    /// Processes outside may be sent signals, as far as their users allow.
    pub signals: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// In force, with this version of its interface.
    Abi(u32),
    /// The kernel has none.
    Absent,
    /// The kernel has it, and its boot parameters (`lsm=`) leave it out.
    Disabled,
}

impl Landlock {
    /// What the running kernel has.
    // The crate tells it only of what it has put in force.
    #[allow(unsafe_code)]
    pub fn of_kernel() -> Self {
        const VERSION: libc::c_int = 1; // LANDLOCK_CREATE_RULESET_VERSION
        let nothing = std::ptr::null::<libc::c_void>();
        // SAFETY: with this flag the call takes no ruleset, makes none, and returns a number.
        let abi =
            unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0usize, VERSION) };
        match u32::try_from(abi) {
            Ok(abi) => Self::Abi(abi),
            Err(_) => match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::EOPNOTSUPP) => Self::Disabled,
                _ => Self::Absent,
            },
        }
    }

    /// What an older interface does not shut off.
    pub fn lacks(self) -> Vec<&'static str> {
        let Self::Abi(abi) = self else { return vec!["files", "TCP", "signals"] };
        let since = [(3, "cutting files short"), (4, "TCP"), (6, "signals")];
        since.into_iter().filter(|(first, _)| abi < *first).map(|(_, what)| what).collect()
    }
}

impl Rules {
    /// The rules as the kernel takes them. Opens what they name, so this is to
    /// be called while that is still possible; what is not there is left out.
    ///
    /// # Errors
    ///
    /// The kernel refuses, which it does for want of memory only.
    pub(super) fn prepare(&self) -> Result<RulesetCreated, RulesetError> {
        let mut scope = BitFlags::from(Scope::AbstractUnixSocket);
        if !self.signals {
            scope |= Scope::Signal;
        }
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(scope)?
            .create()?;
        let reads = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        let writes = make_bitflags!(AccessFs::{
            WriteFile | Truncate | ReadDir | MakeReg | RemoveFile | MakeDir | RemoveDir | Refer
        });
        let runs = make_bitflags!(AccessFs::{ReadFile | Execute});
        let all = [
            (&self.write, writes | AccessFs::ReadFile),
            (&self.write_to, make_bitflags!(AccessFs::{WriteFile | ReadFile | Truncate})),
            (&self.read, reads),
            (&self.list, AccessFs::ReadDir.into()),
            (&self.run, runs),
        ];
        for (paths, rights) in all {
            for path in paths {
                rules = add(rules, path, rights)?;
            }
        }
        for port in &self.connect {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        Ok(rules)
    }
}

fn add(
    rules: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(open) = PathFd::new(path) else { return Ok(rules) };
    // Of a file only these mean anything, and the kernel takes no others.
    let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(NEWEST) };
    rules.add_rule(PathBeneath::new(open, rights))
}

/// Puts the rules in force for the calling thread and those that it starts.
/// no_new_privs must be set.
///
/// # Errors
///
/// The kernel refuses; not known to happen.
pub(super) fn enforce(rules: RulesetCreated) -> Result<Landlock, RulesetError> {
    Ok(rules.restrict_self()?.landlock.into())
}

impl From<LandlockStatus> for Landlock {
    fn from(status: LandlockStatus) -> Self {
        match status {
            LandlockStatus::Available { effective_abi, kernel_abi } => {
                Self::Abi(kernel_abi.map_or(effective_abi as u32, i32::unsigned_abs))
            }
            LandlockStatus::NotEnabled => Self::Disabled,
            LandlockStatus::NotImplemented => Self::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_kernels_lack_is_said() {
        assert_eq!(Landlock::Abi(7).lacks(), [""; 0]);
        assert_eq!(Landlock::Abi(3).lacks(), ["TCP", "signals"]);
        assert_eq!(Landlock::Absent.lacks(), ["files", "TCP", "signals"]);
    }
}
