//! What users name and the kernel does not know by that name: containers and
//! cgroups by path, resolved to cgroup ids and process ids, again and again
//! while recording, because containers come and go.
//!
//! Where cgroup2 is only mounted beside version 1 (hybrid), all processes
//! share its root: then a container is its processes.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::kube::Member;
use super::naming::Naming;
use super::owner::container::{self, Container};
use super::selector::Selector;

/// How deep a tree of cgroups is followed; the kernel has no limit, and
/// systemd with Kubernetes and a container inside makes some ten.
const MAX_DEPTH: usize = 32;

/// Shortest prefix of a container id that is taken for one. Shorter ones
/// would hit parts of other names.
const MIN_ID_PREFIX: usize = 4;

/// Docker's own notes about each container, in a file of each.
const DOCKER_CONTAINERS: &str = "/var/lib/docker/containers";

/// Podman's and CRI-O's notes: one list for all.
const CONTAINERS_LISTS: &[&str] =
    &["/var/lib/containers/storage/overlay-containers/containers.json"];

/// What is to be watched, as the user said it: of each kind that is given, one
/// has to fit.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Container ids, id prefixes or name prefixes; names of containers in pods.
    pub containers: Vec<String>,
    /// cgroup directories, absolute or below the cgroup2 mount.
    pub cgroups: Vec<PathBuf>,
    /// Pods.
    pub pods: Selector,
}

/// What it is at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// cgroup2 ids, those below included.
    pub cgroups: HashSet<u64>,
    /// Processes.
    pub pids: HashSet<u32>,
}

/// A user's words, looked up: what decides about a cgroup by its path.
pub struct Wanted<'a> {
    targets: &'a Targets,
    /// Ids of containers, or their beginnings.
    ids: Vec<String>,
    /// cgroups below the mount, as `/proc/PID/cgroup` has them.
    below: Vec<PathBuf>,
    source: Option<&'a dyn Naming>,
}

impl Targets {
    /// Whether nothing was named.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.cgroups.is_empty() && self.pods.is_empty()
    }

    /// Where runtimes file the names of containers, if any was named.
    pub fn reads(&self) -> Vec<PathBuf> {
        if self.containers.is_empty() {
            return Vec::new();
        }
        let folders = CONTAINERS_LISTS.iter().filter_map(|list| Path::new(list).parent());
        folders.chain([Path::new(DOCKER_CONTAINERS)]).map(Path::to_owned).collect()
    }

    /// Looks the words up; `source` knows pods.
    pub fn wanted<'a>(&'a self, source: Option<&'a dyn Naming>) -> Wanted<'a> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = self.cgroups.iter().map(|path| below_mount(path, &mounts)).collect();
        Wanted { targets: self, ids: self.container_ids(), below, source }
    }

    /// Looks for them now: cgroups where they tell processes apart, else processes.
    /// `mount` is where cgroup2 is mounted, if it is.
    pub fn find(&self, mount: Option<&Path>, source: Option<&dyn Naming>) -> Found {
        let mut found = Found::default();
        let wanted = self.wanted(source);
        if !has_cgroups() {
            wanted.processes(&mut found.pids);
        } else if let Some(mount) = mount {
            tree(mount, MAX_DEPTH, &mut |path, id| {
                let below = path.strip_prefix(mount).unwrap_or(path);
                if wanted.takes(&[Path::new("/").join(below).to_string_lossy().into_owned()]) {
                    found.cgroups.insert(id);
                }
            });
        }
        // The root is every process of a hybrid host: that is not what was asked.
        found.cgroups.remove(&1);
        found
    }

    /// Ids as given, and those that runtimes file under a name that begins so.
    fn container_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> =
            self.containers.iter().filter(|word| is_id_prefix(word)).cloned().collect();
        if !self.containers.is_empty() {
            for (id, name) in named_containers() {
                if self.containers.iter().any(|word| name.starts_with(word.as_str())) {
                    ids.push(id);
                }
            }
        }
        ids
    }
}

impl Wanted<'_> {
    /// Whether a process in these cgroups (v1 has one for each hierarchy), or
    /// the cgroup of this path, is asked for.
    pub fn takes(&self, paths: &[String]) -> bool {
        let Targets { containers, cgroups, pods } = self.targets;
        let within = |wanted: &PathBuf| {
            paths.iter().any(|path| path != "/" && Path::new(path).starts_with(wanted))
        };
        if !cgroups.is_empty() && !self.below.iter().any(within) {
            return false;
        }
        let named = containers.is_empty() || paths.iter().any(|path| names_one(path, &self.ids));
        if named && pods.is_empty() {
            return true;
        }
        // Only then: it may have to look at files.
        let Some(member) = self.member(paths) else { return false };
        let called = |name: &String| containers.contains(name);
        (named || member.container.as_ref().is_some_and(called)) && pods.takes(&member.pod)
    }

    /// The container or pod that these cgroups are of.
    fn member(&self, paths: &[String]) -> Option<Member> {
        let source = self.source?;
        let id = Container::of(paths).map(|container| container.id);
        let pod = container::pod_of(paths);
        if id.is_none() && pod.is_none() {
            return None;
        }
        source.container(id.as_deref(), pod.as_deref())
    }

    fn processes(&self, pids: &mut HashSet<u32>) {
        let Ok(entries) = fs::read_dir("/proc") else { return };
        for entry in entries.flatten() {
            if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
                && self.takes_process(pid)
            {
                pids.insert(pid);
            }
        }
    }

    /// Whether a process is asked for; not where it is gone.
    pub fn takes_process(&self, pid: u32) -> bool {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return false };
        let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        self.takes(&paths.map(str::to_owned).collect::<Vec<_>>())
    }
}

/// A cgroup as `/proc/PID/cgroup` names it: below the mount, of either
/// version, where it was given with one.
fn below_mount(path: &Path, mounts: &str) -> PathBuf {
    let points = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        matches!(kind, "cgroup" | "cgroup2").then_some(point)
    });
    let below = points.filter_map(|point| path.strip_prefix(point).ok()).next();
    Path::new("/").join(below.unwrap_or(path))
}

/// Whether cgroup2 tells processes apart here: it is the only hierarchy.
pub fn has_cgroups() -> bool {
    fs::read_to_string("/proc/self/cgroup")
        .is_ok_and(|text| text.lines().all(|line| line.starts_with("0::")))
}

/// These processes and all their children by now, grandchildren included.
pub fn with_children(pids: &[u32]) -> Vec<u32> {
    let parents = parents();
    let mut family: Vec<u32> = pids.to_vec();
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        let children = parents.iter().filter(|&&(_, of)| of == parent).map(|&(pid, _)| pid);
        for child in children.collect::<Vec<_>>() {
            if !family.contains(&child) {
                family.push(child);
            }
        }
        next += 1;
    }
    family
}

/// Each process and its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may have blanks and parentheses itself.
        let (_, after) = stat.rsplit_once(')')?;
        after.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect()
}

/// Whether a word can be the beginning of a container id.
fn is_id_prefix(word: &str) -> bool {
    word.len() >= MIN_ID_PREFIX && word.len() <= 64 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a cgroup path has a component that is one of these containers:
/// `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`,
/// `libpod-ID.scope` or `ID` itself.
fn names_one(path: &str, ids: &[String]) -> bool {
    path.split(['/', '\n', ':']).any(|component| {
        let bare = component.strip_suffix(".scope").unwrap_or(component);
        let id = bare.rsplit('-').next().unwrap_or(bare);
        id.len() == 64
            && id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && ids.iter().any(|prefix| id.starts_with(prefix.as_str()))
    })
}

/// Calls `each` with every cgroup below and at `path`.
fn tree(path: &Path, depth: usize, each: &mut dyn FnMut(&Path, u64)) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    if !meta.is_dir() {
        return;
    }
    each(path, meta.ino());
    if depth == 0 {
        return;
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            tree(&entry.path(), depth - 1, each);
        }
    }
}

#[derive(Deserialize)]
struct DockerContainer {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Name")]
    name: String,
}

#[derive(Deserialize)]
struct ListedContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

/// Containers with their names, as the runtimes on this host have filed them.
fn named_containers() -> Vec<(String, String)> {
    let mut named = Vec::new();
    if let Ok(entries) = fs::read_dir(DOCKER_CONTAINERS) {
        for entry in entries.flatten() {
            let text = fs::read(entry.path().join("config.v2.json"));
            if let Ok(container) = text.and_then(parse::<DockerContainer>) {
                named.push((container.id, container.name.trim_start_matches('/').to_owned()));
            }
        }
    }
    for list in CONTAINERS_LISTS {
        if let Ok(containers) = fs::read(list).and_then(parse::<Vec<ListedContainer>>) {
            for container in containers {
                named.extend(container.names.into_iter().map(|name| (container.id.clone(), name)));
            }
        }
    }
    named
}

fn parse<T: for<'de> Deserialize<'de>>(text: Vec<u8>) -> io::Result<T> {
    serde_json::from_slice(&text).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn containers_are_found_in_every_kind_of_cgroup_path() {
        let ids = [ID[..12].to_owned()];
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod1_2.slice/cri-containerd-{ID}.scope"),
            format!("/kubepods/burstable/pod1-2/{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("12:memory:/docker/{ID}\n0::/\n"),
        ] {
            assert!(names_one(&path, &ids), "{path}");
        }
        assert!(!names_one("/system.slice/docker-fff.scope", &ids));
        assert!(!names_one("/user.slice/session-0123456789ab.scope", &ids));
    }

    #[test]
    fn a_cgroup_is_named_with_or_without_its_mount() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        for path in
            ["web/1", "/web/1", "/sys/fs/cgroup/memory/web/1", "/sys/fs/cgroup/unified/web/1"]
        {
            assert_eq!(below_mount(Path::new(path), mounts), Path::new("/web/1"), "{path}");
        }
        assert_eq!(below_mount(Path::new("/sys"), mounts), Path::new("/sys"));
    }

    #[test]
    fn a_word_that_is_no_id_is_only_a_name() {
        assert!(is_id_prefix("0123abcd"));
        assert!(!is_id_prefix("abc"));
        assert!(!is_id_prefix("web-1"));
    }

    #[test]
    fn children_are_found() {
        let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        let family = with_children(&[std::process::id()]);
        assert!(family.contains(&child.id()), "{family:?}");
        assert_eq!(family[0], std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn cgroups_below_belong_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let child = dir.path().join(format!("docker-{ID}.scope/inner"));
        fs::create_dir_all(&child).unwrap();
        let mut found = Vec::new();
        tree(dir.path(), MAX_DEPTH, &mut |path, id| {
            if names_one(&path.to_string_lossy(), &[ID[..8].to_owned()]) {
                found.push(id);
            }
        });
        assert!(found.contains(&fs::metadata(&child).unwrap().ino()));
        assert_eq!(found.len(), 2, "the container and what is inside, not its parent");
    }
}
