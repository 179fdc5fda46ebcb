//! The root of the cgroup2 hierarchy, to which the cgroup back end attaches:
//! where it is mounted, or a mount of our own that nobody else can see.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Inode number of the true root (`kernfs` numbers from 1). In a cgroup
/// namespace the root that is seen is a cgroup further down.
const TRUE_ROOT: u64 = 1;

/// The directory to attach to.
#[derive(Debug)]
pub(super) struct Root {
    pub directory: OwnedFd,
    /// Whether every process of the host is in or below it.
    pub whole_host: bool,
    /// What the user should know of it.
    pub note: Option<String>,
}

/// Finds or makes it.
pub(super) fn root() -> io::Result<Root> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    if let Some(path) = whole(&mounts) {
        let directory = File::open(&path)?;
        let whole_host = directory.metadata()?.ino() == TRUE_ROOT;
        let note = (!whole_host).then(|| {
            format!(
                "{} is not the root of the cgroups (a container's cgroup namespace): only processes in and below it are recorded",
                path.display()
            )
        });
        return Ok(Root { directory: directory.into(), whole_host, note });
    }
    let directory = detached()?;
    let whole_host = File::from(directory.try_clone()?).metadata()?.ino() == TRUE_ROOT;
    let note = Some("cgroup2 is not mounted: perisco uses a mount of its own, which is in no directory and ends with it".to_owned());
    Ok(Root { directory, whole_host, note })
}

/// Where cgroup2 is mounted, if it is.
pub fn cgroup_mount() -> Option<PathBuf> {
    whole(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The mount that shows the true root; else the topmost. In a container with a
/// cgroup namespace of its own the host's mount has a root of `/../../..`,
/// longer than that of the container's own.
fn whole(mounts: &str) -> Option<PathBuf> {
    let all = mounted(mounts);
    let is_root = |path: &&PathBuf| fs::metadata(path).is_ok_and(|found| found.ino() == TRUE_ROOT);
    all.iter().find(is_root).or(all.first()).cloned()
}

/// The mount points of cgroup2 in `/proc/self/mountinfo` (proc(5)), the topmost
/// first: `36 35 98:0 /root /point options tags - type source options`.
fn mounted(mounts: &str) -> Vec<PathBuf> {
    let found = mounts.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        (kind.split(' ').next() == Some("cgroup2")).then_some(())?;
        Some((fields.nth(3)?, fields.next()?))
    });
    // A bind mount of a part of it has another root: the whole comes first.
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|(root, _)| root.len());
    found.into_iter().map(|(_, point)| PathBuf::from(unescape(point))).collect()
}

/// Spaces and the like stand as three octal digits there.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// A mount that is attached nowhere, so that nobody's view of the files changes.
fn detached() -> io::Result<OwnedFd> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
";

    #[test]
    fn cgroup2_is_found_beside_version_1() {
        assert_eq!(mounted(HYBRID)[0], PathBuf::from("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn the_whole_is_preferred_to_a_bind_mount_of_a_part() {
        let mounts =
            format!("50 1 0:38 /pod1/c\\040d /mnt/a\\040b rw - cgroup2 cgroup2 rw\n{HYBRID}");
        assert_eq!(mounted(&mounts)[0], PathBuf::from("/sys/fs/cgroup/unified"));
        let only = mounts.lines().next().unwrap();
        assert_eq!(mounted(only)[0], PathBuf::from("/mnt/a b"));
        assert_eq!(mounted("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw"), [] as [PathBuf; 0]);
    }
}
