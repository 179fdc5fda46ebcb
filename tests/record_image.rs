//! The container image, run as the DaemonSet of deploy/perisco.yaml runs it,
//! with that file's own settings, arguments and capabilities, but without a
//! container engine (tests/live/container.sh).
//!
//! `scripts/test` makes the image and says where by PERISCO_IMAGE.
#![cfg(feature = "record")]

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use common::cgroup::Cgroup;
use common::live::{self, Place, Running, run, wait_for};

// Numbers of capabilities (linux/capability.h).
const NET_ADMIN: u32 = 12;
const SYS_CHROOT: u32 = 18;
const SYS_PTRACE: u32 = 19;
const SYS_RESOURCE: u32 = 24;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

fn image() -> Option<PathBuf> {
    match std::env::var_os("PERISCO_IMAGE") {
        Some(root) => Some(PathBuf::from(root)),
        None => live::skip("PERISCO_IMAGE does not say where the image is (scripts/image --dev)"),
    }
}

fn manifest() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/perisco.yaml");
    std::fs::read_to_string(path).expect("deploy/perisco.yaml")
}

/// The lines of a block that are further in than its head, less that.
fn block<'m>(manifest: &'m str, head: &str) -> Vec<&'m str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = manifest.lines().skip_while(|line| line.trim() != head);
    let head = depth(lines.next().unwrap_or_else(|| panic!("no {head} in the manifest")));
    lines.take_while(|line| depth(line) > head).map(str::trim).collect()
}

/// A list in the manifest.
fn list<'m>(manifest: &'m str, head: &str) -> Vec<&'m str> {
    let lines = block(manifest, head).into_iter();
    lines.map(|line| line.strip_prefix("- ").unwrap_or_else(|| panic!("{line}"))).collect()
}

struct Agent {
    place: Place,
    _cgroup: Cgroup,
    recorder: Running,
    _nginx: Running,
}

fn agent() -> Option<Agent> {
    let root = image()?;
    let place = live::place(&["curl", "nginx", "unshare", "setpriv"])?;
    let cgroup = Cgroup::new(&place)?;
    let nginx = place.nginx();
    let manifest = manifest();
    // As the chart has it; only this test's traffic, and a port that nobody else has.
    let netns = std::fs::metadata(format!("/run/netns/{}", place.netns())).expect("there").ino();
    let mut config = block(&manifest, "perisco.toml: |").join("\n");
    assert!(config.contains("metrics = \"0.0.0.0:9464\""), "{config}");
    config = config.replace("0.0.0.0:9464", "127.0.0.1:0") + &format!("\nnetns = {netns}\n");
    for folder in ["data", "config"] {
        std::fs::create_dir(place.file(folder)).expect("made");
    }
    std::fs::write(place.file("config/perisco.toml"), config).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/container.sh");
    let mut command = Command::new(script);
    command.arg(root).arg(place.file("data")).arg(place.file("config"));
    command.arg(cgroup.add("kubepods/pod1/perisco"));
    command.args(list(&manifest, "args:"));
    command.env("CAPABILITIES", list(&manifest, "add:").join(" "));
    let recorder = place.watch(&mut command, "recording to");
    Some(Agent { place, _cgroup: cgroup, recorder, _nginx: nginx })
}

fn get(place: &Place, path: &str) {
    let url = format!("http://127.0.0.1:8080{path}");
    run(place.command("curl").args(["-s", "-o", "/dev/null", &url]));
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).expect("a folder");
    found.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn the_image_records_with_the_rights_that_the_chart_gives() {
    let Some(agent) = agent() else { return };
    let Agent { place, recorder, .. } = agent;
    get(&place, "/hello");
    let status = std::fs::read_to_string(format!("/proc/{}/status", recorder.pid()));
    let status = status.expect("it runs");
    let set = |name: &str| {
        let hex = status.lines().find_map(|line| line.strip_prefix(name)).expect("there");
        u64::from_str_radix(hex.trim(), 16).expect("hexadecimal")
    };
    // What it was given; the recorder itself has given it up.
    let given = set("CapBnd:");
    assert_eq!((set("CapPrm:"), set("CapEff:"), set("NoNewPrivs:")), (0, 0, 1));
    let bits = |numbers: &[u32]| numbers.iter().fold(0, |all, number| all | 1u64 << number);
    // SYS_CHROOT is this test's; SYS_RESOURCE, for old kernels, may be more than this machine has.
    let needed = bits(&[NET_ADMIN, SYS_PTRACE, PERFMON, BPF]);
    assert_eq!(given & needed, needed, "{given:x}");
    assert_eq!(given & !(needed | bits(&[SYS_CHROOT, SYS_RESOURCE])), 0, "{given:x}");
    let (status, said) = recorder.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    assert!(!said.contains("is not the root of the cgroups"), "{said}");
    let files = captures(&place.file("data"));
    assert_eq!(files.len(), 1, "{said}");
    let name = files[0].file_name().expect("a name").to_string_lossy().into_owned();
    assert!(name.starts_with("cap_00001_") && name.ends_with(".pcapng.zst"), "{name}");
    let found = common::transactions_of(&files[0]);
    assert_eq!(found.len(), 1, "{said}");
    assert_eq!(found[0]["completeness"], "complete");
    assert_eq!(found[0]["process"]["client"]["comm"], "curl");
    // Which file a process runs is what SYS_PTRACE is for.
    let bytes = zstd::decode_all(std::fs::File::open(&files[0]).expect("there")).expect("zstd");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("comm=nginx exe=/usr/sbin/nginx "), "no path of nginx");
}

#[test]
fn what_is_run_by_exec_beside_the_agent_is_a_recording_of_its_own() {
    let Some(agent) = agent() else { return };
    let Agent { place, recorder, .. } = agent;
    let pid = recorder.pid().to_string();
    let mut exec = Command::new("nsenter");
    // The agent's environment, as an exec in Kubernetes has it.
    exec.args(["--target", &pid, "--mount", "--root", "--cgroup"]).env_clear();
    exec.env("PERISCO_NODE_NAME", "node-1").env("PATH", "/bin");
    exec.args(["perisco", "record", "-o", "-", "--port", "8080", "--duration", "4s"]);
    let out = std::fs::File::create(place.file("exec.pcapng")).expect("made");
    let exec = place.watch(exec.stdout(out), "recording to standard output");
    get(&place, "/hello");
    let (status, said) = exec.wait();
    assert!(status.success(), "{said}");
    let whole = |file: &Path| {
        let found = common::transactions_of(file);
        found.iter().any(|line| line["path"] == "/hello" && line["completeness"] == "complete")
    };
    assert!(whole(&place.file("exec.pcapng")), "{said}");
    let files = captures(&place.file("data"));
    wait_for("the agent to have it, too", || whole(&files[0]));
    sleep(Duration::from_millis(100));
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    assert_eq!(captures(&place.file("data")), files, "the agent's file is its own");
}
