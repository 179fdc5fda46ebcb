//! Whole files: as Wireshark, `perisco analyze` and the disk see them.

mod files;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::analyze::options::Options;
use crate::analyze::pipeline::{self, Control};
use crate::analyze::report::{Destination, Destinations, Format};
use crate::pcap::{Capture, Input, OpenOptions};
use crate::record::event::GapReason;
use crate::record::testkit::{
    MS, OFFSET, Owned, START, Talk, options, read, read_file, record, stream, writer,
};

const ZSTD: Compression = Compression::Zstd { level: 1 };

const REQUEST: &[u8] = b"GET /users?id=1 HTTP/1.1\r\nHost: example.test\r\n\r\n";

fn response(length: usize) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    response.extend((0..length).map(|at| (at % 61) as u8 + b'0'));
    response
}

/// Requests and responses of both ends, opened and closed.
fn exchange(talk: &mut Talk, rounds: usize, length: usize) -> Vec<Owned> {
    let mut events = talk.open_both();
    for _ in 0..rounds {
        events.extend(talk.send(0, REQUEST));
        for part in response(length).chunks(32_768) {
            events.extend(talk.send(1, part));
        }
    }
    events.extend(talk.close(0));
    events
}

fn write_all(writer: &mut Writer, events: &[Owned]) {
    for event in events {
        writer.event(&event.event()).unwrap();
    }
}

/// `tshark -r file` and more, or None where there is no tshark.
fn tshark(file: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("tshark").arg("-r").arg(file).args(arguments).output();
    let Ok(output) = output else {
        eprintln!("skipped: there is no tshark");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> =
        errors.lines().filter(|line| !line.starts_with("Running as user")).collect();
    assert!(output.status.success() && errors.is_empty(), "{errors:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The expert items that are no chat and no comment, one line each.
fn expert(file: &Path) -> Option<Vec<String>> {
    let notes = tshark(file, &["-q", "-z", "expert"])?;
    assert!(!notes.contains("Errors (") && !notes.contains("Warns ("), "{notes}");
    let mut section = "";
    let mut found = Vec::new();
    for line in notes.lines() {
        if let Some((name, _)) = line.split_once(" (")
            && !line.starts_with(' ')
        {
            section = name;
        } else if section == "Notes" && line.contains("TCP") {
            found.push(line.split_once("TCP").unwrap().1.trim().to_owned());
        }
    }
    Some(found)
}

fn transactions(inputs: Vec<Input>) -> Vec<serde_json::Value> {
    let stop = AtomicBool::new(false);
    let control = Control { stop: &stop, progress: &|_| () };
    let capture = Capture::open(inputs, OpenOptions::default()).unwrap();
    let mut out = Vec::new();
    let options = Options { formats: Format::Jsonl.into(), threads: 1, ..Options::default() };
    let mut destinations = Destinations::new(vec![Destination::new(Format::Jsonl, &mut out)]);
    pipeline::run(capture, &options, &control, &mut destinations).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn input(path: &Path) -> Input {
    Input::Path(path.to_owned())
}

#[test]
fn wireshark_opens_it_without_complaint() {
    for (client, server) in [("127.0.0.1:40000", "127.0.0.1:8080"), ("[::1]:40000", "[::1]:8080")] {
        for compression in [ZSTD, Compression::Gzip, Compression::None] {
            let dir = tempfile::tempdir().unwrap();
            let options = options(dir.path(), compression);
            let mut writer = writer(&options);
            write_all(&mut writer, &exchange(&mut Talk::new(client, server), 3, 300_000));
            let summary = writer.finish(&[]).unwrap();
            assert_eq!((summary.connections, summary.gaps, summary.files), (1, 0, 1));
            let file = dir.path().join("cap.pcapng");
            let Some(notes) = expert(&file) else { return };
            assert_eq!(notes.len(), 2, "{notes:?}");
            assert!(notes.iter().all(|note| note.contains("connection closing")), "{notes:?}");
            let codes =
                tshark(&file, &["-Y", "http.response", "-T", "fields", "-e", "http.response.code"]);
            assert_eq!(codes.unwrap(), "200\n".repeat(3));
            let bodies = tshark(
                &file,
                &["-Y", "http.response", "-T", "fields", "-e", "http.content_length"],
            );
            assert_eq!(bodies.unwrap(), "300000\n".repeat(3));
            let bad = "tcp.checksum.status == 0 || ip.checksum.status == 0";
            let check =
                ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y", bad];
            assert_eq!(tshark(&file, &check).unwrap(), "");
        }
    }
}

#[test]
fn wireshark_reads_it_from_a_pipe() {
    let (bytes, _) = record(&exchange(&mut Talk::local(), 1, 100), |_| ());
    let child = Command::new("tshark")
        .args(["-r", "-", "-Y", "http"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: there is no tshark");
        return;
    };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
}

#[test]
fn the_documented_filters_select() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&options(dir.path(), ZSTD));
    write_all(&mut writer, &exchange(&mut Talk::local(), 1, 100));
    write_all(&mut writer, &exchange(&mut Talk::new("127.0.0.1:40001", "127.0.0.1:9"), 2, 100));
    writer.finish(&[Loss { reason: "ring", events: 5, bytes: 700, whole: true }]).unwrap();
    let file = dir.path().join("cap.pcapng");
    for (filter, count) in [
        ("frame.interface_name == \"host/curl[4000001]\"", 11),
        ("frame.interface_name contains \"nginx\" && http", 3),
        ("frame.interface_description contains \"comm=nginx \" && http", 3),
        ("frame.comment == \"client=host/curl[4000001]\"", 2),
        ("frame.comment contains \"server=\"", 2),
        ("frame.packet_flags_direction == 2", 18),
        ("frame.packet_flags_direction == 1", 0),
    ] {
        let Some(found) = tshark(&file, &["-Y", filter]) else { return };
        assert_eq!(found.lines().count(), count, "{filter}\n{found}");
    }
    let info = Command::new("capinfos").arg(&file).output().unwrap();
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    for part in [
        concat!("perisco ", env!("CARGO_PKG_VERSION")),
        "perisco.backend=test",
        "perisco.backend_reason=no kernel needed",
        "Linux",
        "nanoseconds (9)",
    ] {
        assert!(info.contains(part), "{part} in\n{info}");
    }
}

#[test]
fn a_gap_is_marked_in_wireshark_with_the_count_of_drops() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&options(dir.path(), ZSTD));
    let mut talk = Talk::local();
    write_all(&mut writer, &talk.open_both());
    write_all(&mut writer, &talk.send(0, REQUEST));
    talk.send(1, &response(1000));
    talk.lost = 2;
    write_all(&mut writer, &talk.send(1, &response(10)));
    let summary =
        writer.finish(&[Loss { reason: "ring", events: 2, bytes: 2 * 1039, whole: true }]).unwrap();
    let size = response(1000).len() as u64;
    assert_eq!((summary.gaps, summary.gap_bytes, summary.lost_events), (1, size, 2));
    let file = dir.path().join("cap.pcapng");
    let fields = [
        "-Y",
        "tcp.analysis.lost_segment",
        "-T",
        "fields",
        "-e",
        "frame.drop_count",
        "-e",
        "tcp.seq",
    ];
    let Some(found) = tshark(&file, &fields) else { return };
    assert_eq!(found, format!("2\t{}\n", size + 1));
}

/// Every file tells of its own losses, and each lost event is told once.
#[test]
fn losses_are_counted_once_over_all_files() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        WriteOptions { rotate_time: Some(Duration::from_secs(1)), ..options(dir.path(), ZSTD) };
    let mut writer = writer(&options);
    let mut talk = Talk::local();
    let ring = |events| [Loss { reason: "ring", events, bytes: 10 * events, whole: true }];
    write_all(&mut writer, &talk.open_both());
    talk.send(0, b"lost");
    talk.lost = 3;
    write_all(&mut writer, &talk.send(0, b"after"));
    writer.tick(START + 900 * MS, &ring(5)).unwrap();
    writer.tick(START + 1200 * MS, &ring(5)).unwrap();
    let summary = writer.finish(&ring(7)).unwrap();
    assert_eq!((summary.lost_events, summary.losses), (7, ring(7).to_vec()));
    let mut files: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for (file, drops) in files.iter().zip([5, 2]) {
        let mut capture = Capture::open(vec![input(file)], OpenOptions::default()).unwrap();
        let (mut batch, mut found) = (crate::pcap::Batch::default(), 0);
        while capture.next_batch(&mut batch).unwrap() {
            found += batch.drops;
        }
        assert_eq!(found + batch.drops, drops, "{file:?}");
    }
}

#[test]
fn the_analyzer_finds_the_transactions() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&options(dir.path(), ZSTD));
    write_all(&mut writer, &exchange(&mut Talk::local(), 20, 70_000));
    writer.finish(&[]).unwrap();
    let found = transactions(vec![input(&dir.path().join("cap.pcapng"))]);
    assert_eq!(found.len(), 20);
    for transaction in &found {
        let text = transaction.to_string();
        assert!(text.contains("/users"), "{text}");
        assert!(text.contains("200") && text.contains("70000"), "{text}");
        assert!(!text.contains("\"anomalies\":[{"), "{text}");
    }
}

#[test]
fn ports_of_http2_are_told() {
    let mut talk = Talk::new("127.0.0.1:1", "127.0.0.1:50051");
    let mut events = talk.open_both();
    events.extend(talk.send(0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    assert_eq!(record(&events, |_| ()).1.http2_ports, [50_051]);
}

#[test]
fn the_limit_of_packets_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = WriteOptions { packet_limit: Some(4), ..options(dir.path(), ZSTD) };
    let mut writer = writer(&options);
    let mut talk = Talk::local();
    write_all(&mut writer, &talk.open_both());
    assert!(!writer.is_full());
    for _ in 0..3 {
        write_all(&mut writer, &talk.send(0, b"x"));
        assert!(writer.is_full());
    }
    assert_eq!(writer.finish(&[]).unwrap().packets, 4);
}

#[test]
fn a_snapped_file_opens() {
    let dir = tempfile::tempdir().unwrap();
    let options = WriteOptions { snaplen: 100, ..options(dir.path(), ZSTD) };
    let mut writer = writer(&options);
    let mut events = exchange(&mut Talk::local(), 2, 20_000);
    for event in &mut events {
        if event.payload.len() > 100 {
            event.payload.truncate(100);
            event.head.gap = Some(GapReason::Snaplen);
        }
    }
    write_all(&mut writer, &events);
    let summary = writer.finish(&[]).unwrap();
    assert_eq!((summary.gaps, summary.gap_bytes), (0, 0));
    let file = dir.path().join("cap.pcapng");
    let filter = [
        "-Y",
        "http.request || http.response",
        "-T",
        "fields",
        "-e",
        "http.request.uri",
        "-e",
        "tcp.len",
    ];
    let Some(found) = tshark(&file, &filter) else { return };
    assert!(found.lines().count() >= 2, "{found}");
    let found = transactions(vec![input(&file)]);
    assert_eq!(found.len(), 2);
}

#[test]
fn times_are_those_of_the_wall_clock() {
    let clock = Clock::now();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let distance = clock.wall(Clock::boottime()).abs_diff(now.as_nanos() as u64);
    assert!(distance < 1_000_000_000, "{distance} ns");
    assert_eq!(Clock::fixed(OFFSET, 0).wall(5), OFFSET as u64 + 5);
}
