//! What `/proc/PID` says of a process (proc(5)). The process may be gone or
//! be another by now: whatever cannot be read is left as it was known.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::record::confine::Lookup;

/// Bytes read of a file of `/proc`: a cgroup file of the v1 hierarchies has
/// some dozen lines; paths may have up to 4096 bytes each.
const MAX_BYTES: u64 = 65_536;

/// What is known of a process besides its pid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Name of the main thread, at most 15 bytes.
    pub comm: String,
    /// Path of the executable in its own mount namespace.
    pub exe: String,
    /// Effective user id in the initial user namespace.
    pub uid: Option<u32>,
    /// Paths of `/proc/PID/cgroup`: one for cgroup2, several for v1.
    pub cgroups: Vec<String>,
}

/// Where it is read.
#[derive(Debug)]
pub struct Proc {
    folder: Box<Path>,
    /// Reads the link to the executable, which takes a right that a recorder
    /// gives up.
    lookup: Option<Arc<Lookup>>,
}

impl Proc {
    /// `folder` is `/proc`, but for tests.
    pub fn new(folder: &Path, lookup: Option<Arc<Lookup>>) -> Self {
        Self { folder: folder.into(), lookup }
    }

    /// Reads what can be read of a process; the rest is as `known`.
    pub fn read(&self, pid: u32, known: Option<Details>) -> Details {
        let mut details = known.unwrap_or_default();
        let base = self.folder.join(pid.to_string());
        if let Some(comm) = text(&base.join("comm")) {
            comm.trim_end_matches('\n').clone_into(&mut details.comm);
        }
        let exe = match &self.lookup {
            Some(lookup) => lookup.exe(pid),
            None => std::fs::read_link(base.join("exe"))
                .ok()
                .map(|path| path.to_string_lossy().into_owned()),
        };
        if let Some(exe) = exe {
            details.exe = exe;
        }
        if let Some(status) = text(&base.join("status")) {
            details.uid = effective_uid(&status).or(details.uid);
        }
        if let Some(cgroup) = text(&base.join("cgroup")) {
            details.cgroups = cgroups(&cgroup);
        }
        details
    }
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    // A process that is ending has empty files.
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// `Uid:` has the real, effective, saved and file system ids.
fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The third field of each `id:controllers:path`.
fn cgroups(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned).collect()
}
