//! Names from the kubelet's folders of logs, which every node has:
//! `/var/log/pods/<namespace>_<pod>_<uid>/` and
//! `/var/log/containers/<pod>_<namespace>_<container>-<id>.log`, links into
//! the former. Only names of files are read, never a log.

use std::fs;
use std::path::Path;

/// Entries of a folder that are read. A node has some hundred pods.
const MAX_ENTRIES: usize = 65_536;

/// Digits of a container id.
const ID_DIGITS: usize = 64;

/// A pod as a folder names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedPod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A container as a link names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedContainer {
    pub id: String,
    pub name: String,
    /// Of the folder that the link leads to.
    pub pod: LoggedPod,
}

/// All that has logs on this node; empty where there are no such folders.
pub fn scan(pods: &Path, containers: &Path) -> (Vec<LoggedPod>, Vec<LoggedContainer>) {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES).flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let found = names(pods).iter().filter_map(|name| pod(name)).collect();
    let links = names(containers);
    (found, links.iter().filter_map(|name| container(containers, name)).collect())
}

/// `<namespace>_<pod>_<uid>`.
fn pod(folder: &str) -> Option<LoggedPod> {
    let mut parts = folder.split('_');
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let valid = parts.next().is_none() && is_name(namespace) && is_name(name) && is_uid(uid);
    valid.then(|| LoggedPod { namespace: namespace.into(), name: name.into(), uid: uid.into() })
}

/// `<pod>_<namespace>_<container>-<id>.log`, a link to
/// `<…>/<namespace>_<pod>_<uid>/<container>/<count>.log`.
fn container(folder: &Path, link: &str) -> Option<LoggedContainer> {
    let (name, id) = link.strip_suffix(".log")?.rsplit_once('-')?;
    let mut parts = name.split('_');
    let (pod_name, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    let target = fs::read_link(folder.join(link)).ok()?;
    let pod = pod(target.parent()?.parent()?.file_name()?.to_str()?)?;
    let agree = pod.name == pod_name && pod.namespace == namespace && parts.next().is_none();
    (agree && is_name(name) && is_id(id)).then(|| LoggedContainer {
        id: id.to_owned(),
        name: name.to_owned(),
        pod,
    })
}

/// A name that Kubernetes allows for pods, namespaces, Services and containers.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| allowed(byte) || byte == b'.')
        && !text.starts_with(['-', '.'])
}

/// A UUID, or a static pod's hash.
pub fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
}

/// A container's id.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_links_name_pods_and_containers() {
        let root = tempfile::tempdir().unwrap();
        let (pods, containers) = (root.path().join("pods"), root.path().join("containers"));
        let uid = "0f5d0a3e-1111-4222-8333-444455556666";
        let folder = pods.join(format!("shop_web-1.a_{uid}"));
        fs::create_dir_all(folder.join("app")).unwrap();
        fs::create_dir_all(pods.join("kube-system_etcd-n1_0123456789abcdef0123456789abcdef"))
            .unwrap();
        fs::create_dir_all(pods.join("not a pod")).unwrap();
        fs::create_dir_all(pods.join("shop_we\x1bb_uid")).unwrap();
        fs::create_dir_all(&containers).unwrap();
        let id = "ab".repeat(32);
        let link = |name: &str| {
            let target = folder.join("app/0.log");
            std::os::unix::fs::symlink(target, containers.join(name)).unwrap();
        };
        link(&format!("web-1.a_shop_app-{id}.log"));
        link(&format!("other_shop_app-{}.log", "cd".repeat(32)));
        link("web-1.a_shop_app-short.log");
        let (mut found, linked) = scan(&pods, &containers);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<_> =
            found.iter().map(|pod| (&*pod.namespace, &*pod.name, &*pod.uid)).collect();
        let hash = "0123456789abcdef0123456789abcdef";
        assert_eq!(names, [("kube-system", "etcd-n1", hash), ("shop", "web-1.a", uid)]);
        assert_eq!(linked.len(), 1, "the link and what it leads to must agree: {linked:?}");
        assert_eq!((&*linked[0].id, &*linked[0].name, &*linked[0].pod.uid), (&*id, "app", uid));
    }

    #[test]
    fn without_folders_there_are_no_names() {
        let root = tempfile::tempdir().unwrap();
        let (pods, containers) = scan(&root.path().join("a"), &root.path().join("b"));
        assert!(pods.is_empty() && containers.is_empty());
    }
}
