//! `perisco cat`: captures as they are, without compression.

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use common::command::{PATIENCE, analyze, end, path, perisco, run_bytes};
use common::model::{Packet, write_pcap};
use common::recording::{CURL, NGINX, Recording, Way};
use common::synth::{self, Shape, Writer};

fn cat(args: &[&str], stdin: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    run_bytes(&[&["cat"], args].concat(), stdin)
}

fn packets(exchanges: usize) -> Vec<Packet> {
    let ends = ["10.0.0.1:40000", "10.0.0.2:80"].map(|end| end.parse().expect("an address"));
    let conversation = synth::http1(ends, 1_700_000_000_000_000_000, exchanges);
    let written = Writer::new(&conversation, Shape::default()).write(&conversation);
    written.into_iter().map(|written| written.packet).collect()
}

/// The packets as perisco records them; the second interface is described
/// only after the first packet.
fn recording(packets: &[Packet]) -> Vec<u8> {
    let mut recording = Recording::new();
    recording.interface(CURL[0], CURL[1]);
    for (index, packet) in packets.iter().enumerate() {
        if index == 1 {
            recording.interface(NGINX[0], NGINX[1]);
        }
        let comments: &[&str] = if index == 0 { &["client=host/curl[812]"] } else { &[] };
        recording.packet(u32::from(index % 2 == 1), packet, Way::Outbound, comments);
    }
    recording.statistics(0, 0);
    recording.bytes
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, bytes).expect("written");
        file
    }
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).expect("compressed")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("compressed")
}

/// What tcpdump makes of a capture: its exit code, the packets it prints and
/// what it complains of. None where there is no tcpdump.
fn tcpdump(capture: &[u8]) -> Option<(bool, usize, String)> {
    if Command::new("tcpdump").arg("--version").output().is_err() {
        println!("skipped: tcpdump not found");
        return None;
    }
    let output = assert_cmd::Command::new("tcpdump")
        .args(["-nr", "-"])
        .write_stdin(capture)
        .timeout(PATIENCE)
        .output()
        .expect("tcpdump runs");
    let lines = String::from_utf8_lossy(&output.stdout).lines().count();
    Some((output.status.success(), lines, String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn every_capture_comes_out_as_it_is() {
    let folder = Folder::new();
    for case in common::cases() {
        let stored = std::fs::read(&case.capture).expect("readable");
        // Some are kept compressed.
        let mut bytes = Vec::new();
        if flate2::read::MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut bytes).is_err() {
            bytes = zstd::decode_all(stored.as_slice()).unwrap_or(stored);
        }
        // What analyze calls damaged is cut at the same place.
        let whole = analyze(&["-f", "jsonl", path(&case.capture)], b"").code == Some(0);
        for (name, packed) in [("a", bytes.clone()), ("b", zstd(&bytes)), ("c", gzip(&bytes))] {
            let file = folder.write(name, &packed);
            let (code, out, err) = cat(&[path(&file)], b"");
            assert_eq!(code, Some(i32::from(!whole)), "{} {name}: {err}", case.name);
            let same = if whole { out == bytes } else { bytes.starts_with(&out) };
            assert!(same, "{} {name}: other bytes", case.name);
            assert_eq!(err.is_empty(), whole, "{} {name}: {err}", case.name);
        }
    }
}

#[test]
fn tcpdump_reads_what_perisco_records() {
    let packets = packets(5);
    let bytes = recording(&packets);
    let (code, out, err) = cat(&["-"], &zstd(&bytes));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, bytes);
    let Some((success, lines, complaints)) = tcpdump(&out) else { return };
    assert!(success && lines == packets.len(), "{lines} packets: {complaints}");
}

#[test]
fn a_cut_file_ends_after_its_last_whole_block() {
    let bytes = recording(&packets(5));
    let folder = Folder::new();
    let mut block = 0;
    let mut ends = Vec::new();
    while block < bytes.len() {
        let length = bytes[block + 4..block + 8].try_into().map(u32::from_le_bytes);
        block += length.expect("four bytes") as usize;
        ends.push(block);
    }
    for cut in (30..bytes.len()).step_by(67) {
        let file = folder.write("cut.pcapng", &bytes[..cut]);
        let last = ends.iter().rev().find(|end| **end <= cut).copied().unwrap_or(0);
        let (code, out, err) = cat(&[path(&file)], b"");
        assert_eq!(out, bytes[..last], "cut at {cut}");
        assert_eq!(code, Some(i32::from(last < cut)), "cut at {cut}: {err}");
        if last < cut {
            assert!(err.contains(path(&file)) && err.contains(&last.to_string()), "{err}");
            assert_eq!(err.lines().count(), 1, "{err}");
        }
    }
    // A recording that was killed: flushed now and then, no end of the frame.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    let flushed = ends[ends.len() / 2];
    encoder.write_all(&bytes[..flushed]).and_then(|()| encoder.flush()).expect("compressed");
    encoder.write_all(&bytes[flushed..]).expect("compressed");
    let (code, out, err) = cat(&["-"], encoder.get_ref());
    assert_eq!((code, out.len()), (Some(1), flushed), "{err}");
    assert!(bytes.starts_with(&out) && err.contains("zstd"), "{err}");
}

#[test]
fn several_recordings_become_one_capture() {
    let packets = packets(9);
    let folder = Folder::new();
    let files = [&packets[..4], &packets[4..9], &packets[9..]];
    let files: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(index, packets)| folder.write(&format!("{index}"), &zstd(&recording(packets))))
        .collect();
    let names: Vec<_> = files.iter().map(|file| path(file)).collect();
    let (code, out, err) = cat(&names, b"");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let from_files = analyze(&[&["-f", "jsonl"], names.as_slice()].concat(), b"");
    let from_one = analyze(&["-f", "jsonl", "-"], &out);
    assert_eq!(from_one.out, from_files.out);
    assert_eq!(from_one.out.lines().count(), 9);
    let Some((success, lines, complaints)) = tcpdump(&out) else { return };
    assert!(success && lines == packets.len(), "{lines} packets: {complaints}");
}

#[test]
fn what_cannot_follow_one_another_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    let pcapng = folder.write("a.pcapng", &recording(&packets(1)));
    let pcap = folder.write("b.pcap", &write_pcap(&packets(1)));
    let mut big = Vec::new();
    for word in [0x0a0d_0d0a, 28, 0x1a2b_3c4d, 0x0001_0000, u32::MAX, u32::MAX, 28_u32] {
        big.extend(word.to_be_bytes());
    }
    let big = folder.write("c.pcapng", &big);
    for (other, says) in [(&pcap, "only pcapng"), (&big, "byte order")] {
        let target = folder.0.path().join("out");
        let args = [path(&pcapng), path(other), "-o", path(&target)];
        let (code, out, err) = cat(&args, b"");
        assert_eq!((code, out.len(), target.exists()), (Some(2), 0, false), "{err}");
        assert!(
            err.contains(says) && err.contains("mergecap") && err.contains(path(other)),
            "{err}"
        );
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let (code, out, err) = cat(&["-"], b"no capture at all");
    assert_eq!((code, out.len()), (Some(2), 0), "{err}");
}

/// libpcap stops at the first interface that is unlike the first one.
#[test]
fn interfaces_that_libpcap_will_not_read_are_told() {
    let mut bytes = recording(&packets(1));
    // The snap length of the first interface.
    let at = bytes.windows(4).position(|four| four == 262_144_u32.to_le_bytes()).expect("one");
    bytes[at..at + 4].copy_from_slice(&65_535_u32.to_le_bytes());
    let (code, out, err) = cat(&["-"], &bytes);
    assert_eq!((code, out), (Some(0), bytes.clone()), "{err}");
    assert!(err.contains("snap length 65535") && err.contains("262144"), "{err}");
    if let Some((success, lines, complaints)) = tcpdump(&bytes) {
        assert!(!success && lines == 1, "the note is no longer true: {lines}: {complaints}");
    }
}

#[test]
fn a_damaged_block_is_passed_on_and_told() {
    let mut bytes = recording(&packets(2));
    let whole = bytes.clone();
    // A packet of an interface that nobody described.
    let at = (0..bytes.len() - 12)
        .step_by(4)
        .filter(|at| bytes[*at..at + 4] == [6, 0, 0, 0] && bytes[at + 8..at + 12] == [1, 0, 0, 0])
        .nth(1)
        .expect("a packet of interface 1");
    bytes[at + 8] = 9;
    let (code, out, err) = cat(&["-"], &bytes);
    assert_eq!((code, out.len()), (Some(1), whole.len()), "{err}");
    assert_eq!(out, bytes);
    assert!(err.contains(&format!("at byte {at}")), "{err}");
}

#[test]
fn a_file_is_made_for_its_owner_alone_and_never_overwritten() {
    let folder = Folder::new();
    let bytes = recording(&packets(1));
    let input = folder.write("in.pcapng", &zstd(&bytes));
    let output = folder.0.path().join("out.pcapng");
    let (code, out, err) = cat(&[path(&input), "-o", path(&output)], b"");
    assert_eq!((code, out.len(), err.as_str()), (Some(0), 0, ""));
    assert_eq!(std::fs::read(&output).expect("written"), bytes);
    let mode = std::fs::metadata(&output).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for target in [&output, &input] {
        let before = std::fs::read(target).expect("there");
        let (code, _, err) = cat(&[path(&input), "-o", path(target)], b"");
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(path(target)), "{err}");
        assert_eq!(std::fs::read(target).expect("there"), before);
    }
}

#[test]
fn a_terminal_is_refused() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: script(1) not found");
        return;
    }
    let folder = Folder::new();
    let file = folder.write("in.pcapng", &recording(&packets(1)));
    let command = format!("{} cat {}", env!("CARGO_BIN_EXE_perisco"), path(&file));
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .expect("script runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("not for a terminal") && text.lines().count() == 1, "{text}");
}

#[test]
fn blocks_of_a_live_stream_are_passed_on_at_once() {
    let mut child = perisco()
        .args(["cat", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut out = child.stdout.take().expect("a pipe");
    let (send, received) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = out.read(&mut buffer) {
            if send.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut stdin = child.stdin.take().expect("a pipe");
    let bytes = recording(&packets(2));
    let mut block = 0;
    while block < bytes.len() {
        let length = bytes[block + 4..block + 8].try_into().map(u32::from_le_bytes);
        let next = block + length.expect("four bytes") as usize;
        // Half a block is nothing yet; the rest makes it whole.
        stdin.write_all(&bytes[block..block + 6]).expect("it reads");
        stdin.write_all(&bytes[block + 6..next]).expect("it reads");
        let mut got = Vec::new();
        while got.len() < next - block {
            got.extend(received.recv_timeout(PATIENCE).expect("a block before the stream ends"));
        }
        assert_eq!(got, bytes[block..next]);
        block = next;
    }
    drop(stdin);
    let (code, err) = end(child);
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let folder = Folder::new();
    let file = folder.write("large.pcapng", &zstd(&recording(&packets(5_000))));
    let mut child = perisco()
        .args(["cat", path(&file)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut out = child.stdout.take().expect("a pipe");
    out.read_exact(&mut [0; 100]).expect("some bytes");
    drop(out);
    let (code, err) = end(child);
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn missing_files_are_named() {
    let (code, _, err) = cat(&["/no/such/file"], b"");
    assert_eq!((code, err.lines().count()), (Some(2), 1));
    assert!(err.contains("/no/such/file"), "{err}");
    let (code, ..) = cat(&[], b"");
    assert_eq!(code, Some(2));
}
