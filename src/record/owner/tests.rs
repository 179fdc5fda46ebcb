use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::event::{Kind, Role, Way};
use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn event(kind: Kind, pid: u32, comm: &'static [u8]) -> Event<'static> {
    Event {
        at: 0,
        socket: 0,
        cgroup: 0,
        netns: 4_026_531_840,
        pid,
        tid: pid,
        uid: 33,
        seq: 0,
        ack: None,
        length: 0,
        lost: 0,
        kind,
        way: Way::Sent,
        role: Role::Unknown,
        tcp_flags: 0,
        gap: None,
        midway: false,
        packet: false,
        in_process: true,
        local: None,
        remote: None,
        payload: comm,
    }
}

fn process(proc: &Path, pid: u32, comm: &str, exe: &str, cgroup: &str) {
    let base = proc.join(pid.to_string());
    fs::create_dir_all(&base).unwrap();
    fs::write(base.join("comm"), format!("{comm}\n")).unwrap();
    fs::write(base.join("cgroup"), cgroup).unwrap();
    fs::write(base.join("status"), "Name:\tx\nUid:\t1\t1000\t2\t3\n").unwrap();
    let _ = fs::remove_file(base.join("exe"));
    symlink(exe, base.join("exe")).unwrap();
}

#[test]
fn containers_of_all_runtimes_are_found() {
    let uid = "12345678-9abc-def0-1234-56789abcdef0";
    let slice = uid.replace('-', "_");
    for (path, pod) in [
        (format!("/system.slice/docker-{ID}.scope"), None),
        (format!("/docker/{ID}"), None),
        (format!("/docker/{ID}/init.scope"), None),
        (format!("/machine.slice/libpod-{ID}.scope/container"), None),
        (
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{ID}.scope"
            ),
            Some(uid),
        ),
        (format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-{ID}.scope"), Some(uid)),
        (format!("/kubepods/besteffort/pod{uid}/{ID}"), Some(uid)),
        (
            format!(
                "/system.slice/containerd.service/kubepods-pod{slice}.slice:cri-containerd:{ID}"
            ),
            None,
        ),
    ] {
        let found = Container::of(&["/".to_owned(), path.clone()]);
        let expected = Container { id: ID.to_owned(), pod: pod.map(str::to_owned) };
        assert_eq!(found, Some(expected), "{path}");
    }
    for path in ["/", "/user.slice/user-0.slice/session-1.scope", "/a/podcast", "/docker/abc"] {
        assert_eq!(Container::of(&[path.to_owned()]), None, "{path}");
    }
    let conmon = format!("/machine.slice/libpod-conmon-{ID}.scope");
    assert_eq!(Container::of(&[conmon]), None);
}

#[test]
fn a_process_is_described_by_proc() {
    let proc = tempfile::tempdir().unwrap();
    let cgroup = format!("12:pids:/docker/{ID}\n0::/\n");
    process(proc.path(), 42, "my server", "/opt/my server/100%", &cgroup);
    let mut owners = Owners::new(Proc::new(proc.path(), None), None);
    let owner = owners.of(&event(Kind::Owner, 42, b""), "thread");
    assert_eq!(owner.name, "0123456789ab/my server[42]");
    assert_eq!(
        owner.description,
        format!(
            "pid=42 comm=my%20server exe=/opt/my%20server/100%25 uid=1000 cgroup=/docker/{ID} \
             container={ID} netns=4026531840 "
        )
    );
}

#[test]
fn of_a_process_that_is_gone_the_event_tells() {
    let proc = tempfile::tempdir().unwrap();
    let mut owners = Owners::new(Proc::new(proc.path(), None), None);
    let owner = owners.of(&event(Kind::Owner, 7, b""), "curl\n\u{7f}x");
    assert_eq!(owner.name, "host/curl??x[7]");
    assert_eq!(owner.description, "pid=7 comm=curl%0A%7Fx uid=33 netns=4026531840 ");
}

#[test]
fn exec_and_a_reused_pid_make_another_owner() {
    let proc = tempfile::tempdir().unwrap();
    process(proc.path(), 42, "sh", "/bin/sh", "0::/a\n");
    let mut owners = Owners::new(Proc::new(proc.path(), None), None);
    let shell = owners.of(&event(Kind::Owner, 42, b""), "");
    process(proc.path(), 42, "nc", "/bin/nc", "0::/a\n");
    owners.exec(&event(Kind::Exec, 42, b"nc\0\0"));
    assert!(shell.is_stale());
    assert_eq!(owners.again(42).unwrap().name, "host/nc[42]");

    owners.exit(42);
    process(proc.path(), 42, "later", "/bin/later", "0::/b\n");
    assert_eq!(owners.of(&event(Kind::Owner, 42, b""), "").name, "host/later[42]");
}

/// A worker that is gone before it could be looked up is what its parent was.
#[test]
fn a_fork_inherits_what_is_known_of_its_parent() {
    let proc = tempfile::tempdir().unwrap();
    process(proc.path(), 1, "nginx", "/usr/sbin/nginx", "0::/web\n");
    let mut owners = Owners::new(Proc::new(proc.path(), None), None);
    owners.of(&event(Kind::Owner, 1, b""), "");
    owners.fork(2, 1);
    let worker = owners.of(&event(Kind::Owner, 2, b""), "nginx");
    assert_eq!(worker.name, "host/nginx[2]");
    assert!(worker.description.contains("exe=/usr/sbin/nginx "), "{}", worker.description);
}

#[test]
fn the_table_is_bounded() {
    let proc = tempfile::tempdir().unwrap();
    let mut owners = Owners::new(Proc::new(proc.path(), None), None);
    for pid in 1..=MAX_OWNERS as u32 + 10 {
        owners.insert(pid, 0, Details::default());
    }
    assert!(owners.by_pid.len() <= MAX_OWNERS);
}
