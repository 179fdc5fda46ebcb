//! How recordings end, by themselves and by force, and what must be in the
//! file then; and what is lost on purpose.
#![cfg(feature = "record")]

mod common;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use common::live::{self, Place, Running, run};
use common::streams::streams;
use perisco::analyze::report::Format;
use perisco::pcap::Input;
use serde_json::Value;

/// A place with nginx in it.
fn site() -> Option<(Place, Running)> {
    let place = live::place(&["curl", "nginx", "tshark"])?;
    let nginx = place.nginx();
    Some((place, nginx))
}

fn get(place: &Place, path: &str) {
    let url = format!("http://127.0.0.1:8080{path}");
    run(place.command("curl").args(["-s", "--max-time", "20", "-o", "/dev/null", &url]));
}

/// The packets that tshark sees; it must not complain.
fn tshark(file: &Path) -> Vec<String> {
    let output = Command::new("tshark").arg("-r").arg(file).output().expect("tshark runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> =
        said.lines().filter(|line| !line.starts_with("Running as user")).collect();
    assert!(output.status.success() && complaints.is_empty(), "{}: {said}", file.display());
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn paths(file: &Path) -> Vec<String> {
    let found = common::transactions_of(file);
    found.iter().map(|line| line["path"].as_str().unwrap_or("?").to_owned()).collect()
}

#[test]
fn every_signal_that_asks_ends_it_cleanly() {
    let Some((place, _nginx)) = site() else { return };
    for signal in ["INT", "TERM", "HUP"] {
        let file = format!("{signal}.pcapng");
        let recorder = place.record(&file, &[]);
        get(&place, "/hello");
        let (status, said) = recorder.signal(signal);
        assert!(status.success(), "{signal}: {said}");
        assert!(said.contains("1 connection,") && said.contains("nothing lost"), "{said}");
        assert_eq!(paths(&place.file(&file)), ["/hello"], "{signal}");
        tshark(&place.file(&file));
    }
}

#[test]
fn after_a_kill_all_that_is_older_than_a_second_is_there() {
    let Some((place, _nginx)) = site() else { return };
    let recorder = place.record("cap.pcapng", &[]);
    get(&place, "/hello");
    get(&place, "/big.bin");
    sleep(Duration::from_millis(1500));
    let (status, _) = recorder.signal("KILL");
    assert!(!status.success());
    assert_eq!(paths(&place.file("cap.pcapng")), ["/hello", "/big.bin"]);
    assert!(!tshark(&place.file("cap.pcapng")).is_empty());
}

#[test]
fn a_full_disk_ends_it_and_leaves_a_valid_file() {
    let Some((place, _nginx)) = site() else { return };
    let small = place.file("small");
    std::fs::create_dir(&small).expect("made");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&small));
    let recorder = place.record("small/cap.pcapng", &["--compress", "none"]);
    get(&place, "/hello");
    sleep(Duration::from_millis(1300));
    get(&place, "/big.bin");
    let (status, said) = recorder.stop();
    let found = paths(&small.join("cap.pcapng"));
    let packets = tshark(&small.join("cap.pcapng"));
    run(Command::new("umount").arg(&small));
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("No space left") && said.contains("cap.pcapng"), "{said}");
    assert!(!said.contains("nothing lost"), "what came after the end is lost: {said}");
    assert_eq!(found.first().map(String::as_str), Some("/hello"));
    assert!(!packets.is_empty());
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let Some((place, _nginx)) = site() else { return };
    let mut recorder = place.record_to_pipe(&[]);
    let mut begin = [0; 4];
    recorder.stdout().read_exact(&mut begin).expect("a head");
    assert_eq!(begin, [0x0a, 0x0d, 0x0d, 0x0a], "plain pcapng");
    get(&place, "/hello");
    let (status, said) = recorder.wait();
    assert!(status.success(), "{said}");
    assert!(!said.contains("error"), "{said}");
}

#[test]
fn a_command_is_recorded_from_its_first_byte_to_its_end() {
    let Some((place, _nginx)) = site() else { return };
    let url = "http://127.0.0.1:8080/hello";
    let entry = place.entry();
    let words = ["--", "nsenter", &entry, "curl", "-s", "-o", "/dev/null", url];
    let recorder = place.record("cap.pcapng", &words);
    // Not of the command: not recorded.
    get(&place, "/small.txt");
    let (status, said) = recorder.wait();
    assert!(status.success(), "{said}");
    assert_eq!(paths(&place.file("cap.pcapng")), ["/hello"]);
    let missing = place.record("none.pcapng", &["--", "there-is-no-such-command"]);
    let (_, said) = missing.wait();
    assert!(said.contains("cannot run there-is-no-such-command"), "{said}");
}

#[test]
fn what_a_command_prints_is_not_in_the_capture() {
    let Some((place, _nginx)) = site() else { return };
    let entry = place.entry();
    let url = "http://127.0.0.1:8080/small.txt";
    let words = [
        "--",
        "nsenter",
        &entry,
        "sh",
        "-c",
        "echo from the command; curl -s -o /dev/null \"$0\"",
        url,
    ];
    let mut recorder = place.record_to_pipe(&words);
    let mut capture = Vec::new();
    recorder.stdout().read_to_end(&mut capture).expect("a capture");
    let (status, said) = recorder.wait();
    assert!(status.success() && said.contains("from the command"), "{said}");
    std::fs::write(place.file("cap.pcapng"), capture).expect("written");
    assert_eq!(paths(&place.file("cap.pcapng")), ["/small.txt"]);
}

#[test]
fn what_the_full_buffer_cost_is_an_exact_gap() {
    let Some((place, _nginx)) = site() else { return };
    let dump = place.tcpdump("dump.pcap");
    let recorder = place.record("cap.pcapng", &["--buffer", "256KiB"]);
    get(&place, "/hello");
    sleep(Duration::from_millis(200));
    // The reader stands still while more comes than the buffer holds.
    run(Command::new("kill").args(["-STOP", &recorder.pid().to_string()]));
    get(&place, "/big.bin");
    run(Command::new("kill").args(["-CONT", &recorder.pid().to_string()]));
    sleep(Duration::from_millis(500));
    get(&place, "/small.txt");
    let (status, said) = recorder.stop();
    dump.stop();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("LOST"), "{said}");
    let (ours, theirs) = (streams(&place.file("cap.pcapng")), streams(&place.file("dump.pcap")));
    let mut missing = 0;
    for (key, whole) in &theirs {
        let Some(stream) = ours.get(key) else { continue };
        assert_eq!(stream.bytes.len(), whole.bytes.len(), "the end of {key:?} is known");
        missing += stream.missing;
    }
    assert!(missing > 1 << 20, "a buffer of 256 KiB cannot hold 3 MiB");
    let found = common::transactions_of(&place.file("cap.pcapng"));
    let of = |path: &str| found.iter().find(|line| line["path"] == path);
    assert_eq!(of("/hello").expect("there")["completeness"], "complete");
    assert_eq!(of("/small.txt").expect("there")["completeness"], "complete");
    if let Some(big) = of("/big.bin") {
        assert_ne!(big["completeness"], "complete");
    }
}

#[test]
fn an_upload_with_holes_was_lost_by_the_recording_not_by_a_limit_of_the_analysis() {
    let Some(place) = live::place(&["/usr/bin/python3", "tshark"]) else { return };
    let length = 200 << 20;
    let recorder = place.record("cap.pcapng", &["--buffer", "64KiB"]);
    run(&mut place.python("upload.py", &["127.0.0.1", "7003", &length.to_string()]));
    let (status, said) = recorder.stop();
    assert!(status.code() == Some(1) && said.contains("LOST"), "{said}");
    let file = place.file("cap.pcapng");
    let missing: u64 = streams(&file).values().map(|stream| stream.missing as u64).sum();
    let inputs = vec![Input::Path(file.clone())];
    let report = common::analyze(inputs, &common::options(Format::Json, 2)).bytes;
    let report: Value = serde_json::from_slice(&report).expect("json");
    let gaps = &report["loss"]["gaps"];
    assert_eq!(gaps["limit"]["count"], 0, "{gaps}");
    assert!(missing > 0);
    assert_eq!(gaps["lost"]["bytes"], missing, "{gaps}");
    let found = common::transactions_of(&file);
    if let Some(upload) = found.iter().find(|line| line["path"] == "/upload") {
        assert_ne!(upload["completeness"], "complete");
    }
    tshark(&file);
}

#[test]
fn the_snap_length_cuts_as_tcpdump_does() {
    let Some((place, _nginx)) = site() else { return };
    let recorder = place.record("cap.pcapng", &["--snaplen", "1000"]);
    get(&place, "/big.bin");
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    let lengths = run(Command::new("tshark").arg("-r").arg(place.file("cap.pcapng")).args([
        "-T",
        "fields",
        "-e",
        "frame.len",
        "-e",
        "frame.cap_len",
    ]));
    let mut cut = 0;
    for line in lengths.lines() {
        let (length, captured) = line.split_once('\t').expect("two fields");
        let (length, captured): (u32, u32) = (length.parse().unwrap(), captured.parse().unwrap());
        assert!(captured <= length && captured <= 1054 + 20, "{line}");
        cut += u32::from(captured < length);
    }
    assert!(cut > 10, "{lengths}");
    let found = common::transactions_of(&place.file("cap.pcapng"));
    assert_eq!(found[0]["response_body_bytes"], 3 << 20, "its length is known all the same");
}

#[test]
fn files_rotate_and_are_read_as_one() {
    let Some((place, _nginx)) = site() else { return };
    let recorder = place.record("cap.pcapng", &["-C", "1", "-W", "3"]);
    for _ in 0..6 {
        get(&place, "/big.bin");
        sleep(Duration::from_millis(200));
    }
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    let mut files: Vec<_> = std::fs::read_dir(place.file(""))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|name| name == "pcapng"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 3, "{said}");
    for file in &files {
        assert!(!tshark(file).is_empty(), "{}", file.display());
        let mode = file.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[test]
fn a_file_is_not_overwritten_unless_asked() {
    let Some((place, _nginx)) = site() else { return };
    std::fs::write(place.file("cap.pcapng"), "precious").expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_perisco"));
    command.args(["record", "-d", "1", "-o"]).arg(place.file("cap.pcapng"));
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(said.matches("File exists").count(), 1, "{said}");
    assert_eq!(std::fs::read(place.file("cap.pcapng")).expect("there"), b"precious");
    assert!(command.arg("--force").status().expect("it runs").success());
    assert_ne!(std::fs::read(place.file("cap.pcapng")).expect("there"), b"precious");
}

#[test]
fn what_was_written_but_never_left_is_not_missing() {
    let Some(place) = live::place(&["/usr/bin/python3", "tshark"]) else { return };
    let recorder = place.record("cap.pcapng", &["--backend", "cgroup"]);
    run(&mut place.python("unread.py", &["127.0.0.1", "7002"]));
    let (status, said) = recorder.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    assert!(!tshark(&place.file("cap.pcapng")).is_empty());
}

#[test]
fn duration_and_count_end_it() {
    let Some((place, _nginx)) = site() else { return };
    let (status, said) = place.record("time.pcapng", &["--duration", "1s"]).wait();
    assert!(status.success(), "{said}");
    let recorder = place.record("count.pcapng", &["--count", "5"]);
    get(&place, "/hello");
    get(&place, "/hello");
    let (status, said) = recorder.wait();
    assert!(status.success(), "{said}");
    assert_eq!(tshark(&place.file("count.pcapng")).len(), 5);
}

#[test]
fn filters_let_through_what_they_name() {
    let Some((place, nginx)) = site() else { return };
    let pid = nginx.pid().to_string();
    for (name, filter, expected) in [
        ("port", &["--port", "8081"][..], 1),
        ("other port", &["--port", "1-1000"], 0),
        ("net", &["--net", "127.0.0.0/8"], 2),
        ("other net", &["--net", "10.0.0.0/8,::1"], 0),
        ("comm", &["--comm", "curl"], 1),
        ("pid with children", &["--pid", &pid], 2),
        ("client", &["--role", "client", "--comm", "nginx"], 1),
        ("exe", &["--exe", "/usr/sbin/nginx", "--port", "8081"], 1),
        ("nobody", &["--uid", "nobody"], 0),
    ] {
        let file = format!("{name}.pcapng");
        let recorder = place.record(&file, filter);
        // curl → nginx:8080 → nginx:8081
        get(&place, "/proxied/small.txt");
        let (status, said) = recorder.stop();
        assert!(status.success(), "{name}: {said}");
        let found = common::transactions_of(&place.file(&file));
        assert_eq!(found.len(), expected, "{name}: {said}");
        assert!(found.iter().all(|line| line["completeness"] == "complete"), "{name}: {found:#?}");
    }
}
