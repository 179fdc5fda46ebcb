//! A flight recorder's ring: its limit, what survives a kill, and what `save` takes out of it.
#![cfg(feature = "record")]

mod common;

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::command::perisco;
use common::compared::curl;
use common::live::{self, Place, Running, run};
use common::ring::{self, packets, segments, taken, transactions};
use common::text_of;

/// The least that a ring may keep.
const KEEP: u64 = 16 << 20;

fn site() -> Option<(Place, Running)> {
    let place = live::place(&["curl", "nginx", "tshark", "h2load"])?;
    let nginx = place.nginx();
    Some((place, nginx))
}

fn get(place: &Place, path: &str) {
    curl(place, &["-o", "/dev/null", &format!("http://127.0.0.1:8080{path}")]);
}

/// Load of 3 MB answers that do not compress, 24 MB a second, for so long.
fn load(place: &Place, seconds: u32) -> Running {
    let mut command = place.command("sh");
    let line = format!(
        "timeout {seconds} h2load --h1 -c 4 --rps 2 -n 100000000 http://127.0.0.1:8080/big.bin >/dev/null"
    );
    place.serve(command.args(["-c", &format!("echo loading; {line}")]), "loading")
}

/// Resident memory of a process, bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    kib.expect("a number") << 10
}

fn save(folder: &Path, args: &[&str]) -> Output {
    perisco().arg("save").arg(folder).args(args).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The short form of scripts/soak.
#[test]
fn a_ring_at_its_limit_stays_there() {
    let Some((place, _nginx)) = site() else { return };
    let folder = place.file("ring");
    let recorder = ring::record(&place, &folder, &["--keep", "16MiB", "--buffer", "128MiB"]);
    let load = load(&place, 15);
    let (mut most, mut memory, begun) = (0, 0, Instant::now());
    while begun.elapsed() < Duration::from_secs(16) {
        let now = taken(&folder);
        assert!(now <= KEEP, "{now} bytes on disk, {KEEP} are allowed");
        most = most.max(now);
        if memory == 0 && begun.elapsed() > Duration::from_secs(6) {
            memory = resident(recorder.pid());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let grown = resident(recorder.pid());
    assert!(grown < memory + memory / 4, "memory grows: {memory} bytes, then {grown}");
    drop(load);
    assert!(most > KEEP / 4 * 3, "the limit was never near: {most}");
    let (status, said) = recorder.stop();
    assert!(status.success() && said.contains("older removed"), "{said}");
    assert!(said.contains("nothing lost"), "{said}");
    let files = segments(&folder);
    assert!(files.len() >= 3, "{files:?}");
    for file in &files {
        assert!(packets(file) > 0, "{}", file.display());
    }
    // The set is one capture: what goes on from one segment to the next is whole.
    let found = transactions(&files);
    let whole = found.iter().filter(|line| line["response_body_bytes"] == 3 << 20).count();
    let seen: Vec<&str> = found.iter().map(|line| text_of(line, "completeness")).collect();
    assert!(whole >= 2 && !seen.contains(&"gap"), "{seen:?}");
}

#[test]
fn a_restart_goes_on_and_two_recorders_do_not_share() {
    let Some((place, _nginx)) = site() else { return };
    let folder = place.file("ring");
    let first = ring::record(&place, &folder, &["--keep", "16MiB"]);
    get(&place, "/hello?first");
    let refused = ring::recorder(&place, &folder, &["--keep", "16MiB"]).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(2));
    let pid = format!("process {}", first.pid());
    assert!(said(&refused).contains("another recorder") && said(&refused).contains(&pid));
    let (status, told) = first.stop();
    assert!(status.success(), "{told}");
    assert_eq!(folder.metadata().expect("there").mode() & 0o777, 0o700);
    let second = ring::record(&place, &folder, &["--keep", "16MiB"]);
    get(&place, "/hello?second");
    let (status, told) = second.stop();
    assert!(status.success(), "{told}");
    let files = segments(&folder);
    assert_eq!(files.len(), 2);
    let paths: Vec<_> =
        transactions(&files).iter().map(|line| text_of(line, "path").to_owned()).collect();
    assert_eq!(paths, ["/hello?first", "/hello?second"]);
    assert!(files.iter().all(|file| file.metadata().expect("there").mode() & 0o777 == 0o600));
}

/// Twenty times, at another moment of each second: what was answered a second before the kill
/// is there, and all that is there can be read.
#[test]
fn a_kill_loses_a_second_at_most() {
    let Some((place, _nginx)) = site() else { return };
    let folder = place.file("ring");
    let mut answered: Vec<(u32, Instant)> = Vec::new();
    let mut due = Vec::new();
    let mut number = 0;
    for round in 0..20_u32 {
        let recorder = ring::record(&place, &folder, &["--keep", "1h"]);
        let begun = Instant::now();
        let lives = Duration::from_millis(1200 + u64::from(round * 7919 % 1000));
        while begun.elapsed() < lives {
            number += 1;
            get(&place, &format!("/hello?{number}"));
            get(&place, "/mid.bin");
            answered.push((number, Instant::now()));
        }
        run(Command::new("kill").args(["-9", &recorder.pid().to_string()]));
        let killed = Instant::now();
        let safe = |at: &Instant| killed.duration_since(*at) > Duration::from_millis(1300);
        due.extend(answered.drain(..).filter(|(_, at)| safe(at)).map(|(number, _)| number));
        drop(recorder);
    }
    // The last one is as its recorder left it; the others were repaired by the next.
    let (last, others) =
        segments(&folder).split_last().map(|(l, o)| (l.clone(), o.to_vec())).expect("segments");
    for file in &others {
        assert!(packets(file) > 0, "{}", file.display());
    }
    // Its tail may be cut in the middle of a packet: exit code 1, and all before it.
    let mut analyze = perisco();
    let output = analyze.args(["analyze", "--format", "jsonl"]).args(&others).arg(&last).output();
    let output = output.expect("it runs");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", said(&output));
    let found = common::lines(&output.stdout);
    let there: std::collections::HashSet<&str> = found
        .iter()
        .filter(|line| line["completeness"] == "complete")
        .map(|line| text_of(line, "path"))
        .collect();
    assert!(due.len() > 20, "{}", due.len());
    for number in due {
        assert!(there.contains(&*format!("/hello?{number}")), "{number} is not there");
    }
}

#[test]
fn what_just_happened_is_saved_while_it_records() {
    let Some((place, _nginx)) = site() else { return };
    let folder = place.file("ring");
    let recorder = ring::record(&place, &folder, &["--keep", "16MiB"]);
    let control = folder.join(".control").symlink_metadata().expect("a socket");
    assert!(control.file_type().is_socket() && control.mode() & 0o777 == 0o600);
    get(&place, "/hello?before");
    std::thread::sleep(Duration::from_secs(4));
    get(&place, "/hello?after");
    // What waits for missing bytes waits 0.2 s.
    std::thread::sleep(Duration::from_millis(300));
    for (file, compressed) in [("a.pcapng", false), ("b.pcapng.zst", true)] {
        let out = place.file(file);
        let output = save(&folder, &["--last", "3s", "-o", out.to_str().expect("UTF-8")]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("saved "), "{}", said(&output));
        let found = transactions(std::slice::from_ref(&out));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(text_of(&found[0], "path"), "/hello?after");
        assert_eq!(text_of(&found[0], "completeness"), "complete");
        assert!(packets(&out) > 5);
        let begins = std::fs::read(&out).expect("there");
        assert_eq!(begins.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), compressed);
        assert_eq!(out.metadata().expect("there").mode() & 0o777, 0o600);
        let again = save(&folder, &["--last", "3s", "-o", out.to_str().expect("UTF-8")]);
        assert!(again.status.code() == Some(2) && said(&again).contains("--force"));
    }
    // Further back than the ring reaches, and to a pipe.
    let output = save(&folder, &["--last", "1h", "-o", "-"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("does not reach back so far"), "{}", said(&output));
    let all = place.file("all.pcapng");
    std::fs::write(&all, &output.stdout).expect("written");
    assert_eq!(transactions(&[all]).len(), 2);
    let (status, told) = recorder.stop();
    assert!(status.success(), "{told}");
    // Nobody records any more: what is there is read.
    let out = place.file("later.pcapng");
    let output = save(&folder, &["-o", out.to_str().expect("UTF-8")]);
    assert!(output.status.success() && said(&output).contains("no recorder is running"));
    assert_eq!(transactions(&[out]).len(), 2);
    let none = save(&place.file("www"), &["-o", "-"]);
    assert!(
        none.status.code() == Some(2) && said(&none).contains("is not a ring"),
        "{}",
        said(&none)
    );
}

/// A connection that began before what is saved has its processes' names all the same.
#[test]
fn connections_that_began_before_keep_their_names() {
    let Some((place, _nginx)) = site() else { return };
    let folder = place.file("ring");
    let recorder = ring::record(&place, &folder, &["--keep", "16MiB"]);
    let mut command = place.python("http_keep.py", &["8080", "6"]);
    let client = place.serve(&mut command, "ready");
    client.wait();
    std::thread::sleep(Duration::from_millis(300));
    let out = place.file("a.pcapng");
    let output = save(&folder, &["--last", "3s", "-o", out.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", said(&output));
    let found = transactions(&[out]);
    assert!(!found.is_empty());
    for line in &found {
        assert_eq!(line["process"]["server"]["comm"], "nginx", "{line:#}");
        assert_eq!(line["process"]["client"]["comm"], "python3", "{line:#}");
    }
    recorder.stop();
}

fn mounted(place: &Place, options: &str) -> std::path::PathBuf {
    let folder = place.file("disk");
    std::fs::create_dir(&folder).expect("made");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&folder));
    folder
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The disk is smaller than what is to be kept: the ring is shorter, and says so.
#[test]
fn a_full_disk_makes_the_ring_shorter() {
    let Some((place, _nginx)) = site() else { return };
    let disk = Unmount(mounted(&place, "size=12m"));
    let folder = disk.0.join("ring");
    let args = ["--keep", "16MiB", "--compress", "none"];
    let recorder = ring::record(&place, &folder, &args);
    for _ in 0..8 {
        get(&place, "/big.bin");
    }
    get(&place, "/hello?last");
    let (status, told) = recorder.stop();
    assert!(told.contains("the disk was full: ") && !told.contains("ended early"), "{told}");
    assert_eq!(status.code(), Some(1), "{told}");
    let found = transactions(&segments(&folder));
    let last = found.last().expect("transactions");
    assert_eq!((text_of(last, "path"), text_of(last, "completeness")), ("/hello?last", "complete"));
}

#[test]
fn a_disk_that_becomes_read_only_ends_it_with_what_is_there() {
    let Some((place, _nginx)) = site() else { return };
    let disk = Unmount(mounted(&place, "size=64m"));
    let folder = disk.0.join("ring");
    let recorder = ring::record(&place, &folder, &["--keep", "16MiB"]);
    get(&place, "/hello?kept");
    std::thread::sleep(Duration::from_millis(1500));
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk.0).status();
    // A file system on which something is open for writing stays writable: the recorder is one.
    if remounted.is_ok_and(|status| status.success()) {
        get(&place, "/hello?lost");
        let (status, told) = recorder.wait();
        assert_eq!(status.code(), Some(1), "{told}");
        assert!(told.contains("Read-only") && told.contains("ended early"), "{told}");
    } else {
        recorder.stop();
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&disk.0));
    }
    let refused = ring::recorder(&place, &folder, &["--keep", "16MiB"]).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("Read-only file system"), "{}", said(&refused));
    let found = transactions(&segments(&folder));
    assert_eq!(text_of(&found[0], "path"), "/hello?kept");
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = folder.path().to_str().expect("UTF-8");
    for (args, why) in [
        (vec!["--ring", ring], "--ring needs --keep"),
        (vec!["--ring", ring, "--keep", "5"], "not a number of files"),
        (vec!["--ring", ring, "--keep", "1MiB"], "at least 16 MiB"),
        (vec!["--ring", ring, "--keep", "1s"], "at least 10 s"),
        (vec!["--ring", ring, "--keep", "2GiB,3GiB"], "one size and one time"),
        (vec!["--ring", ring, "--keep", "much"], "24h"),
        (vec!["--ring", ring, "--keep", "1h", "-o", "x"], "cannot be used with"),
        (vec!["--ring", ring, "--keep", "1h", "-C", "5"], "cannot be used with"),
        (vec!["--ring", ring, "--keep", "1h", "--trigger", "status >="], "--trigger"),
        (vec!["--ring", ring, "--keep", "1h", "--trigger", "statis > 5"], "did you mean status"),
        (vec!["-o", "x.pcapng", "--trigger", "status > 5"], "--trigger needs --ring"),
        (vec!["-o", "x.pcapng", "-C", "1", "--keep", "1h"], "for --ring DIR"),
        (vec![], "-o FILE, or --ring DIR"),
    ] {
        let output = perisco().arg("record").args(&args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(said(&output).contains(why), "{args:?}: {}", said(&output));
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
    let none = perisco().args(["trigger", ring]).output().expect("it runs");
    assert!(none.status.code() == Some(2) && said(&none).contains("no recorder is running"));
}
