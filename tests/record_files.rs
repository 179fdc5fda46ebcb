//! The files that recordings are written to: frames, compressions, and
//! rotation on a disk that is full.
#![cfg(feature = "record")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::compared::{assert_same_streams, assert_same_transactions, curl};
use common::live::{self, Place, Running, run};
use common::text_of;

fn site() -> Option<(Place, Running)> {
    let place = live::place(&["curl", "nginx", "tshark", "zstd", "gzip"])?;
    let nginx = place.nginx();
    Some((place, nginx))
}

fn get(place: &Place, path: &str) {
    curl(place, &["-o", "/dev/null", &format!("http://127.0.0.1:8080{path}")]);
}

/// Records some megabytes with these options, a tcpdump beside, and holds the
/// two against each other.
fn record(place: &Place, args: &[&str]) {
    let dump = place.tcpdump("dump.pcap");
    let recorder = place.record("cap.pcapng", args);
    for path in ["/hello", "/big.bin", "/copied/big.bin", "/proxied/mid.bin"] {
        get(place, path);
    }
    let (status, said) = recorder.stop();
    dump.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
}

/// Packets that tshark finds; it must not complain.
fn packets(file: &Path) -> usize {
    let output = Command::new("tshark").arg("-r").arg(file).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let odd = said.lines().any(|line| !line.starts_with("Running as user"));
    assert!(output.status.success() && !odd, "{}: {said}", file.display());
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// What a shell command prints goes to a file beside.
fn piped(place: &Place, command: &str) -> PathBuf {
    let out = place.file("plain.pcapng");
    let capture = place.file("cap.pcapng");
    let line = format!("{command} \"$0\" >\"$1\"");
    run(Command::new("sh").args(["-ec", &line]).arg(capture).arg(&out));
    out
}

/// Major and minor version of the tshark that is installed.
fn tshark_version() -> (u32, u32) {
    let said = run(Command::new("tshark").arg("--version"));
    let digits = said.split(|c: char| !c.is_ascii_digit());
    let mut numbers = digits.filter_map(|word| word.parse().ok());
    (numbers.next().expect("a version"), numbers.next().expect("a version"))
}

#[test]
fn many_frames_are_one_capture() {
    let Some((place, _nginx)) = site() else { return };
    record(&place, &["--frame-size", "256KiB"]);
    let capture = place.file("cap.pcapng");
    // Its table has the number of frames first.
    let list = run(Command::new("zstd").arg("--list").arg(&capture));
    let frames = list.lines().nth(1).and_then(|line| line.split_whitespace().next());
    let frames: u32 = frames.and_then(|word| word.parse().ok()).expect("a number");
    assert!(frames > 10, "{list}");
    assert_same_streams(&capture, &place.file("dump.pcap"));
    assert_same_transactions(&capture, &place.file("dump.pcap"));
    let all = packets(&piped(&place, "zstd -dc"));
    let cat = piped(&place, &format!("{} cat", env!("CARGO_BIN_EXE_perisco")));
    assert_eq!(packets(&cat), all);
    assert_same_streams(&cat, &place.file("dump.pcap"));
    // As docs/recording.md has it.
    if tshark_version() >= (4, 4) {
        assert_eq!(packets(&capture), all);
    } else {
        let output = Command::new("tshark").arg("-r").arg(&capture).output().expect("it runs");
        let shown = String::from_utf8_lossy(&output.stdout).lines().count();
        assert!(shown > 0 && shown < all, "the first frame: {shown} of {all}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("damaged"));
    }
}

#[test]
fn one_frame_by_default() {
    let Some((place, _nginx)) = site() else { return };
    record(&place, &["--level", "3"]);
    let capture = place.file("cap.pcapng");
    let list = run(Command::new("zstd").arg("--list").arg(&capture));
    assert_eq!(list.lines().nth(1).and_then(|line| line.split_whitespace().next()), Some("1"));
    assert_same_transactions(&capture, &place.file("dump.pcap"));
    assert_eq!(packets(&capture), packets(&piped(&place, "zstd -dc")));
}

#[test]
fn gzip_is_read_by_all() {
    let Some((place, _nginx)) = site() else { return };
    record(&place, &["--compress", "gzip"]);
    let capture = place.file("cap.pcapng");
    assert!(std::fs::read(&capture).expect("there").starts_with(&[0x1f, 0x8b]));
    assert_same_transactions(&capture, &place.file("dump.pcap"));
    let plain = piped(&place, "gzip -dcf");
    assert_eq!(packets(&capture), packets(&plain));
    assert_same_streams(&plain, &place.file("dump.pcap"));
}

#[test]
fn uncompressed_is_read_by_tcpdump_too() {
    let Some((place, _nginx)) = site() else { return };
    record(&place, &["--compress", "none"]);
    let capture = place.file("cap.pcapng");
    assert!(std::fs::read(&capture).expect("there").starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
    assert_same_streams(&capture, &place.file("dump.pcap"));
    assert_same_transactions(&capture, &place.file("dump.pcap"));
    let listed = run(Command::new("tcpdump").arg("-nr").arg(&capture));
    assert_eq!(listed.lines().count(), packets(&capture));
}

#[test]
fn frames_are_of_zstd_only() {
    for compress in ["gzip", "none"] {
        let mut command = common::command::perisco();
        command.args(["record", "-o", "/nonexistent/cap.pcapng", "--frame-size", "1MiB"]);
        let output = command.args(["--compress", compress]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--frame-size") && said.contains("zstd"), "{said}");
    }
}

/// A file system of so many megabytes, for as long as this is there.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(place: &Place, megabytes: u32) -> Self {
        let folder = place.file("small");
        std::fs::create_dir(&folder).expect("made");
        let size = format!("size={megabytes}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder));
        Self(folder)
    }

    /// The files there, oldest first.
    fn captures(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).expect("a folder");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_rotation_makes_room_where_it_may() {
    let Some((place, _nginx)) = site() else { return };
    let disk = SmallDisk::new(&place, 8);
    let args = ["--compress", "none", "-C", "1", "--keep", "1000"];
    let recorder = place.record("small/cap.pcapng", &args);
    for _ in 0..6 {
        get(&place, "/big.bin");
    }
    get(&place, "/small.txt");
    let (status, said) = recorder.stop();
    assert!(said.contains("the disk was full: ") && !said.contains("LOST"), "{said}");
    assert_eq!(status.code(), Some(1), "files that were to be kept are gone: {said}");
    let files = disk.captures();
    assert!(files.len() >= 3, "{files:?}");
    for file in &files {
        assert!(packets(file) > 0, "{}", file.display());
    }
    // The set is one capture, of the end of the recording.
    let mut analyze = common::command::perisco();
    let lines = run(analyze.args(["analyze", "--format", "jsonl"]).args(&files));
    let found = common::lines(lines.as_bytes());
    let last = found.last().expect("transactions");
    assert_eq!((text_of(last, "path"), text_of(last, "completeness")), ("/small.txt", "complete"));
    let whole = found
        .iter()
        .filter(|line| line["path"] == "/big.bin" && line["completeness"] == "complete");
    assert!((1..6).contains(&whole.count()), "{found:#?}");
}

#[test]
fn on_a_full_disk_rotation_ends_where_all_is_to_be_kept() {
    let Some((place, _nginx)) = site() else { return };
    let disk = SmallDisk::new(&place, 4);
    let recorder = place.record("small/cap.pcapng", &["--compress", "none", "-C", "1"]);
    get(&place, "/hello");
    for _ in 0..3 {
        get(&place, "/big.bin");
    }
    let (status, said) = recorder.stop();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("No space left") && !said.contains("nothing lost"), "{said}");
    let files = disk.captures();
    assert!(files.len() >= 2, "{files:?}");
    let first = common::transactions_of(&files[0]);
    assert_eq!(
        (text_of(&first[0], "path"), text_of(&first[0], "completeness")),
        ("/hello", "complete")
    );
    // The last may have been begun when there was no room for a packet any more.
    let (last, earlier) = files.split_last().expect("files");
    packets(last);
    for file in earlier {
        assert!(packets(file) > 0, "{}", file.display());
    }
}
