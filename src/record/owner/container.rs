//! Container and pod ids from cgroup paths, as the container runtimes name
//! their cgroups.
//!
//! `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`,
//! `libpod-<id>.scope` (systemd drivers), `/docker/<id>` and
//! `/kubepods/…/pod<uid>/<id>` (cgroupfs drivers).

/// Hexadecimal digits of a container id in every runtime.
const ID_DIGITS: usize = 64;

/// A pod's uid is a UUID; systemd's names have `_` in place of `-`.
const UID_LENGTH: usize = 36;

/// Where a process is contained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The runtime's id, 64 hexadecimal digits.
    pub id: String,
    /// The Kubernetes pod's uid.
    pub pod: Option<String>,
}

impl Container {
    /// The container that any of the paths names; v1 has a path for each
    /// hierarchy, of which some may be the root.
    pub fn of(paths: &[String]) -> Option<Self> {
        let id = paths.iter().find_map(|path| container_id(path))?;
        let pod = pod_of(paths);
        Some(Self { id: id.to_owned(), pod })
    }
}

/// The uid of the pod that any of the paths names.
pub fn pod_of(paths: &[String]) -> Option<String> {
    paths.iter().find_map(|path| pod_uid(path))
}

/// The innermost container id of a path: containers may run in containers.
fn container_id(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let id = part.rsplit(['-', ':']).next()?;
        // conmon's scope has the id of the container that it watches.
        let watcher = part.starts_with("crio-conmon-") || part.starts_with("libpod-conmon-");
        (is_hex(id, ID_DIGITS) && !watcher).then_some(id)
    })
}

/// The pod's uid of a path, with dashes.
fn pod_uid(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".slice").unwrap_or(part);
        // `pod<uid>`, `kubepods-besteffort-pod<uid>`; static pods have a hash
        // of 32 digits for a uid.
        let at = part.rfind("pod")?;
        let uid = part[at + 3..].replace('_', "-");
        let uuid = uid.len() == UID_LENGTH
            && uid.split('-').map(str::len).eq([8, 4, 4, 4, 12])
            && uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        (uuid || is_hex(&uid, 32)).then_some(uid)
    })
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The path that says most: on hybrid hosts the cgroup2 path may be the root.
pub fn deepest(paths: &[String]) -> &str {
    // The first of the longest: v1's list has several that are equal.
    paths.iter().rev().max_by_key(|path| path.split('/').count()).map_or("", String::as_str)
}
