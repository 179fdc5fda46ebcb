//! A running recorder has no privileges left, and everything still works.
#![cfg(feature = "record")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::live::{self, Place, run, wait_for};

/// `nobody` of every distribution.
const NOBODY: u32 = 65_534;

/// CAP_SYS_PTRACE alone, as /proc has it.
const ONLY_PTRACE: &str = "0000000000080000";
const NONE: &str = "0000000000000000";

/// Fields of a status file in /proc.
fn status(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

/// The status of every thread of a process, by its name.
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks.map(|task| status(&task.expect("listed").path().join("status"))).collect()
}

/// The process that looks up links for recorder `pid`.
fn lookup_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("CONFIG_PROC_CHILDREN");
    let words = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let found = children.split_whitespace().find(|pid| words(pid).contains("look-up"));
    found.expect("there is one").parse().expect("a number")
}

/// A folder of the place, whose it is to be.
fn folder(place: &Place, name: &str, uid: u32) -> PathBuf {
    let folder = place.file(name);
    fs::create_dir(&folder).expect("made");
    chown(&folder, Some(uid), Some(uid)).expect("changed");
    // The temporary folder itself is its maker's alone.
    let above = folder.parent().expect("there is one");
    fs::set_permissions(above, fs::Permissions::from_mode(0o755)).expect("changed");
    folder
}

fn fetch(place: &Place, path: &str) {
    let url = format!("http://127.0.0.1:8080{path}");
    run(place.command("curl").args(["-s", "--max-time", "20", "-o", "/dev/null", &url]));
}

/// Captures in a folder, oldest first.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut found: Vec<_> = entries.map(|entry| entry.expect("listed").path()).collect();
    found.sort();
    found
}

/// Paths of all transactions in these files.
fn paths(files: &[PathBuf]) -> Vec<String> {
    let all = files.iter().flat_map(|file| common::transactions_of(file));
    all.filter_map(|line| line["path"].as_str().map(str::to_owned)).collect()
}

/// Descriptions of the interfaces in a capture.
fn descriptions(file: &Path) -> String {
    let fields = ["-T", "fields", "-e", "frame.interface_description"];
    run(Command::new("tshark").arg("-r").arg(file).args(fields))
}

fn landlock() -> bool {
    let doctor = Command::new(env!("CARGO_BIN_EXE_perisco")).arg("doctor").output();
    let said = String::from_utf8_lossy(&doctor.expect("it runs").stdout).into_owned();
    said.contains("Landlock ABI")
}

#[test]
fn no_thread_of_a_running_recorder_has_any_privilege() {
    let Some(place) = live::place(&["curl", "nginx"]) else { return };
    let _nginx = place.nginx();
    let mut recorder = place.record("cap.pcapng", &["--metrics", "127.0.0.1:0", "-G", "1s"]);
    let said = recorder.said().to_owned();
    fetch(&place, "/hello");
    sleep(Duration::from_millis(1200));
    let threads = threads(recorder.pid());
    let names: Vec<_> = threads.iter().map(|thread| thread["Name"].as_str()).collect();
    for name in ["write", "sync", "metrics"] {
        assert!(names.contains(&name), "no thread {name}: {names:?}");
    }
    for thread in &threads {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"] {
            assert_eq!(thread[set], NONE, "{set} of {}", thread["Name"]);
        }
        assert_eq!(thread["NoNewPrivs"], "1", "{}", thread["Name"]);
        assert_eq!(thread["Seccomp"], "2", "{}", thread["Name"]);
    }
    assert!(said.contains("confined: capabilities: none; no_new_privs"), "{said}");
    assert!(said.contains(", seccomp"), "{said}");
    assert_eq!(said.contains(", Landlock (ABI "), landlock(), "{said}");
    let lookup = status(Path::new(&format!("/proc/{}/status", lookup_of(recorder.pid()))));
    for (set, value) in [("CapPrm", ONLY_PTRACE), ("CapEff", ONLY_PTRACE), ("CapBnd", NONE)] {
        assert_eq!(lookup[set], value, "{set}");
    }
    assert_eq!((&*lookup["NoNewPrivs"], &*lookup["Seccomp"]), ("1", "2"));
    let (status, said) = recorder.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
}

#[test]
fn whoever_is_confined_can_get_at_nothing_else() {
    if !rustix::process::geteuid().is_root() {
        return live::skip("the check needs root").unwrap_or_default();
    }
    if !landlock() {
        return live::skip("this kernel has no Landlock").unwrap_or_default();
    }
    // The second as where the recorder starts the analyzer.
    for args in [&["doctor", "--confine"][..], &["doctor", "--confine", "--spawn"]] {
        check(args);
    }
}

fn check(args: &[&str]) {
    let doctor = Command::new(env!("CARGO_BIN_EXE_perisco")).args(args).output();
    let output = doctor.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    for tried in ["read /etc/shadow", "make a file in /tmp", "run a program", "send a signal"] {
        let line = said.lines().find(|line| line.contains(tried));
        assert!(line.is_some_and(|line| line.starts_with("  yes ")), "{tried}: {said}");
    }
    assert!(!said.contains("  NO "), "{said}");
    for folder in ["/", "/tmp", "/etc", "/dev/shm"] {
        assert!(!Path::new(folder).join("perisco-doctor-was-here").exists(), "{folder}");
    }
}

/// The way to the folder leads elsewhere in the middle of a recording.
#[test]
fn files_are_made_in_the_output_folder_only() {
    let Some(place) = live::place(&["curl", "nginx"]) else { return };
    if !landlock() {
        return live::skip("this kernel has no Landlock").unwrap_or_default();
    }
    let _nginx = place.nginx();
    let (out, other) = (folder(&place, "out", 0), folder(&place, "other", 0));
    let recorder = place.record("out/cap.pcapng", &["-G", "1s"]);
    fetch(&place, "/hello");
    fs::rename(&out, place.file("moved")).expect("renamed");
    std::os::unix::fs::symlink(&other, &out).expect("made");
    let (status, said) = recorder.wait();
    assert!(!status.success(), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    assert_eq!(captures(&other), Vec::<PathBuf>::new());
    assert_eq!(paths(&captures(&place.file("moved"))), ["/hello"], "{said}");
}

#[test]
fn as_another_user_files_rotate_settings_reload_and_processes_are_named() {
    let Some(place) = live::place(&["curl", "nginx", "tshark"]) else { return };
    let _nginx = place.nginx();
    let out = folder(&place, "out", NOBODY);
    let config = out.parent().expect("a folder").join("perisco.toml");
    fs::write(&config, "comm = [\"curl\"]\n").expect("written");
    let mut recorder = place.record(
        "out/cap.pcapng",
        &["--user", "nobody", "-G", "1s", "--config", config.to_str().expect("UTF-8")],
    );
    let pid = recorder.pid();
    assert!(recorder.said().contains("confined: user nobody (65534:"), "{}", recorder.said());
    for thread in threads(pid) {
        assert!(thread["Uid"].split_whitespace().all(|id| id == "65534"), "{thread:?}");
        assert!(thread["Gid"].split_whitespace().all(|id| id != "0"), "{thread:?}");
        assert!(!thread["Groups"].split_whitespace().any(|id| id == "0"), "{thread:?}");
        assert_eq!((&*thread["CapPrm"], &*thread["CapEff"]), (NONE, NONE));
    }
    let lookup = status(Path::new(&format!("/proc/{}/status", lookup_of(pid))));
    assert!(lookup["Uid"].split_whitespace().all(|id| id == "65534"), "{lookup:?}");
    fetch(&place, "/hello");
    sleep(Duration::from_millis(1500));
    // As editors do: another file takes its place.
    let new = config.with_extension("new");
    fs::write(&new, "comm = [\"curl\", \"nginx\"]\n").expect("written");
    fs::rename(&new, &config).expect("renamed");
    run(Command::new("kill").args(["-HUP", &pid.to_string()]));
    wait_for("the new settings", || recorder.said().contains("comm: curl -> curl,nginx"));
    fetch(&place, "/small.txt");
    sleep(Duration::from_millis(1500));
    let (status, said) = recorder.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    let files = captures(&out);
    assert!(files.len() >= 3, "{files:?}");
    for file in &files {
        let about = file.metadata().expect("there");
        assert_eq!((about.uid(), about.mode() & 0o7777), (NOBODY, 0o600), "{file:?}");
    }
    assert_eq!(paths(&files), ["/hello", "/small.txt"]);
    let named = files.iter().map(|file| descriptions(file)).collect::<String>();
    assert!(named.contains("comm=curl exe=/"), "root's processes have their file: {named}");
}

#[test]
fn a_folder_that_the_user_cannot_write_to_is_said_before_anything_is_recorded() {
    let Some(place) = live::place(&[]) else { return };
    let out = folder(&place, "out", 0);
    let output = Command::new(env!("CARGO_BIN_EXE_perisco"))
        .args(["record", "--user", "nobody", "-d", "1", "-o"])
        .arg(out.join("cap.pcapng"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("out is not writable by user nobody"), "{said}");
    assert!(said.contains("; chown nobody "), "{said}");
    assert_eq!(captures(&out), Vec::<PathBuf>::new());
}

/// Root's files in somebody's folder, as with sudo: what that takes is kept and said.
#[test]
fn in_the_folder_of_somebody_else_root_goes_on_making_files() {
    let Some(place) = live::place(&["curl", "nginx"]) else { return };
    let _nginx = place.nginx();
    let out = folder(&place, "out", NOBODY);
    let mut recorder = place.record("out/cap.pcapng", &["-G", "1s", "-W", "2"]);
    let said = recorder.said().to_owned();
    assert!(said.contains("confined: capabilities: CAP_DAC_OVERRIDE; no_new"), "{said}");
    sleep(Duration::from_millis(3200));
    fetch(&place, "/hello");
    let (status, said) = recorder.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    assert!(captures(&out).len() <= 2, "{:?}", captures(&out));
    assert_eq!(paths(&captures(&out)), ["/hello"]);
}

#[test]
fn a_recorded_command_keeps_the_rights_of_its_caller() {
    let Some(place) = live::place(&[]) else { return };
    let show = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    let own = run(Command::new("sh").args(["-c", show]));
    let recorder = Command::new(env!("CARGO_BIN_EXE_perisco"))
        .args(["record", "--user", "nobody", "-o", "-", "--", "sh", "-c"])
        .arg(format!("{show} >&2; echo secret > {}", place.file("made").display()))
        .stdout(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&recorder.stderr);
    assert!(recorder.status.success() && said.contains("confined: user nobody"), "{said}");
    for line in own.lines() {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(place.file("made").exists(), "it may write where its caller may");
}

/// The binary where others than root can run it.
fn copied(place: &Place) -> PathBuf {
    let copy = place.file("perisco");
    fs::copy(env!("CARGO_BIN_EXE_perisco"), &copy).expect("copied");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("changed");
    copy
}

/// As user nobody with these capabilities, and no other.
fn with_capabilities(names: &[&str]) -> Command {
    let list: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
    let list = list.join(",");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    if names.is_empty() {
        command.args(["--inh-caps=-all", "--ambient-caps=-all"]);
    } else {
        command.arg(format!("--inh-caps={list}")).arg(format!("--ambient-caps={list}"));
    }
    command.stdin(Stdio::null());
    command
}

#[test]
fn four_capabilities_are_enough() {
    let Some(place) = live::place(&["curl", "nginx", "setpriv", "tshark"]) else { return };
    let _nginx = place.nginx();
    let out = folder(&place, "out", NOBODY);
    let file = out.join("cap.pcapng");
    let mut command = with_capabilities(&["bpf", "perfmon", "net_admin", "sys_ptrace"]);
    command.arg(copied(&place)).args(["record", "--netns", place.netns(), "-o"]).arg(&file);
    let mut recorder = place.watch(&mut command, "recording");
    assert!(recorder.said().contains("confined: capabilities: none"), "{}", recorder.said());
    fetch(&place, "/hello");
    let (status, said) = recorder.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    assert_eq!(paths(std::slice::from_ref(&file)), ["/hello"]);
    let named = descriptions(&file);
    assert!(named.contains("comm=curl exe=/") && named.contains("uid=0 "), "{named}");
}

#[test]
fn a_missing_capability_is_named_with_how_to_grant_it() {
    let Some(place) = live::place(&["setpriv"]) else { return };
    let (out, perisco) = (folder(&place, "out", NOBODY), copied(&place));
    for (has, missing) in [
        (&["perfmon", "net_admin"][..], "perisco lacks CAP_BPF;"),
        (&["bpf", "net_admin"], "perisco lacks CAP_PERFMON;"),
        (&["bpf", "perfmon"], "perisco lacks CAP_NET_ADMIN;"),
        (&[], "perisco lacks CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN;"),
    ] {
        let mut command = with_capabilities(has);
        command.arg(&perisco).args(["record", "--backend", "cgroup", "-d", "1", "-o"]);
        let output = command.arg(out.join("cap.pcapng")).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{has:?}: {said}");
        assert!(said.contains(missing), "{has:?}: {said}");
        assert!(said.contains("setcap cap_bpf,cap_perfmon,cap_net_admin"), "{said}");
        assert!(!said.contains("libbpf"), "{said}");
    }
    let mut command = with_capabilities(&["bpf"]);
    let doctor = command.arg(&perisco).arg("doctor").output().expect("it runs");
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("NO  capabilities      CAP_BPF of what recording needs"), "{said}");
    assert!(said.contains("CAP_NET_ADMIN is missing: attaching to the cgroup2 root"), "{said}");
}

/// A file may grant them, too.
#[test]
fn file_capabilities_are_enough() {
    let Some(place) = live::place(&["curl", "nginx", "setpriv", "setcap"]) else { return };
    let _nginx = place.nginx();
    let (out, perisco) = (folder(&place, "out", NOBODY), copied(&place));
    let granted = Command::new("setcap")
        .arg("cap_bpf,cap_perfmon,cap_net_admin,cap_sys_ptrace+ep")
        .arg(&perisco)
        .status();
    if !granted.is_ok_and(|status| status.success()) {
        return live::skip("this file system keeps no capabilities").unwrap_or_default();
    }
    let file = out.join("cap.pcapng");
    let mut command = with_capabilities(&[]);
    command.arg(&perisco).args(["record", "--netns", place.netns(), "-o"]).arg(&file);
    let recorder = place.watch(&mut command, "recording");
    for thread in threads(recorder.pid()) {
        assert_eq!((&*thread["CapPrm"], &*thread["NoNewPrivs"]), (NONE, "1"));
    }
    fetch(&place, "/hello");
    let (status, said) = recorder.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    assert_eq!(paths(&[file]), ["/hello"]);
}

#[test]
fn confinement_can_be_left_out() {
    let Some(place) = live::place(&[]) else { return };
    let mut recorder = place.record("cap.pcapng", &["--confine", "off"]);
    assert!(!recorder.said().contains("confined"), "{}", recorder.said());
    let all = status(Path::new(&format!("/proc/{}/status", std::process::id())));
    for thread in threads(recorder.pid()) {
        assert_eq!(thread["CapPrm"], all["CapPrm"]);
        assert_eq!((&*thread["NoNewPrivs"], &*thread["Seccomp"]), ("0", &*all["Seccomp"]));
    }
    recorder.stop();
}
