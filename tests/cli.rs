//! The command as a user meets it: arguments, exit codes, pipes, signals.

mod common;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::command::{Live, analyze, end, path, perisco};
use common::model::{FILE_HEADER, Packet, write_pcap};
use common::synth::{self, Shape, Writer};
use serde_json::Value;

fn case(name: &str) -> PathBuf {
    let case = common::cases().into_iter().find(|case| case.name == name);
    case.unwrap_or_else(|| panic!("no testdata/{name}")).capture
}

fn keepalive() -> PathBuf {
    case("http1/nginx-keepalive")
}

/// A capture of one connection with many exchanges.
fn synthetic(exchanges: usize) -> Vec<Packet> {
    let ends = ["10.0.0.1:40000", "10.0.0.2:80"].map(|end| end.parse().expect("an address"));
    let conversation = synth::http1(ends, 1_700_000_000_000_000_000, exchanges);
    let written = Writer::new(&conversation, Shape::default()).write(&conversation);
    written.into_iter().map(|written| written.packet).collect()
}

fn json_lines(text: &str) -> Vec<Value> {
    common::lines(text.as_bytes())
}

#[test]
fn help_and_version() {
    for (args, expected) in [
        (&["--help"][..], &["analyze", "--version"][..]),
        (&["analyze", "--help"], &["--format", "--output", "--no-headers", "jsonl", "Exit code"]),
        (&["--version"], &[env!("CARGO_PKG_VERSION")]),
    ] {
        let output = perisco().args(args).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        for part in expected {
            assert!(text.contains(part), "{args:?} does not mention {part}:\n{text}");
        }
    }
}

#[test]
fn a_whole_capture_is_exit_code_0_and_silent_on_stderr() {
    let ran = analyze(&[path(&keepalive())], b"");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains("http/1.1"), "{}", ran.out);
    for line in ran.out.lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line}");
    }
}

#[test]
fn a_truncated_file_is_exit_code_1_with_what_came_before() {
    let packets = synthetic(5);
    let whole = write_pcap(&packets);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cut.pcap");
    std::fs::write(&file, &whole[..whole.len() - 30]).expect("written");
    let last = whole.len() - packets.last().expect("one").bytes.len() - 16;
    for format in ["jsonl", "text", "json", "csv", "log"] {
        let ran = analyze(&["-f", format, path(&file)], b"");
        assert_eq!(ran.code, Some(1), "{format}: {}", ran.err);
        assert!(ran.err.contains(path(&file)), "{format}: no file named: {}", ran.err);
        assert!(ran.err.contains(&last.to_string()), "{format}: not at byte {last}: {}", ran.err);
        assert!(ran.err.contains("cut short"), "{format}: not what is wrong: {}", ran.err);
        assert!(ran.out.contains("/item/") || format == "json", "{format}: {}", ran.out);
    }
    let ran = analyze(&["-f", "jsonl", path(&file)], b"");
    let paths: Vec<_> = json_lines(&ran.out).iter().map(|t| t["path"].clone()).collect();
    assert_eq!(paths, ["/item/0", "/item/1", "/item/2", "/item/3", "/item/4"]);
}

#[test]
fn damage_in_one_of_several_files_keeps_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cut.pcap");
    let whole = write_pcap(&synthetic(5));
    std::fs::write(&file, &whole[..whole.len() - 30]).expect("written");
    let good = analyze(&["-f", "jsonl", path(&keepalive())], b"");
    let both = analyze(&["-f", "jsonl", path(&file), path(&keepalive())], b"");
    assert_eq!(both.code, Some(1), "{}", both.err);
    assert_eq!(json_lines(&both.out).len(), json_lines(&good.out).len() + 5);
}

#[test]
fn what_cannot_be_used_is_exit_code_2_and_one_clear_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "These are notes, not packets.\n".repeat(50)).expect("written");
    let empty = folder.path().join("empty.pcap");
    std::fs::write(&empty, "").expect("written");
    let missing = folder.path().join("missing.pcap");
    for (input, says) in [
        (text.as_path(), "not a capture"),
        (&empty, "empty"),
        (&missing, "No such file"),
        (folder.path(), "directory"),
    ] {
        let ran = analyze(&[path(input)], b"");
        assert_eq!(ran.code, Some(2), "{}: {}", input.display(), ran.err);
        assert_eq!(ran.out, "", "{}", input.display());
        assert_eq!(ran.err.lines().count(), 1, "not one line: {}", ran.err);
        assert!(ran.err.starts_with("perisco: "), "{}", ran.err);
        assert!(ran.err.contains(path(input)), "no file named: {}", ran.err);
        assert!(
            ran.err.to_lowercase().contains(&says.to_lowercase()),
            "does not say {says:?}: {}",
            ran.err
        );
    }
    let ran = analyze(&["-"], b"plain text\n");
    assert_eq!((ran.code, ran.err.lines().count()), (Some(2), 1), "{}", ran.err);
}

#[test]
fn wrong_use_is_exit_code_2() {
    let file = keepalive();
    let file = path(&file);
    for args in [
        &["--no-such-flag", file][..],
        &["--format", "xml", file],
        &["-j", "0", file],
        &["--reorder-bytes", "lots", file],
        &["--idle-timeout", "never ever", file],
        &[],
    ] {
        let ran = analyze(args, b"");
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(ran.err.contains("Usage") || ran.err.contains("--help"), "{args:?}: {}", ran.err);
    }
    let unwritable = analyze(&["-o", "/no/such/folder/out", file], b"");
    assert_eq!(unwritable.code, Some(2));
    assert!(unwritable.err.contains("/no/such/folder/out"), "{}", unwritable.err);
}

#[test]
fn stdin_is_the_same_as_the_file() {
    let bytes = std::fs::read(keepalive()).expect("readable");
    let compressed = zstd::bulk::compress(&bytes, 3).expect("compressed");
    let file = analyze(&["-f", "jsonl", path(&keepalive())], b"");
    assert!(!file.out.is_empty());
    for input in [bytes, compressed] {
        let piped = analyze(&["-f", "jsonl", "-"], &input);
        assert_eq!((piped.code, piped.err.as_str()), (Some(0), ""));
        assert_eq!(piped.out, file.out);
    }
}

#[test]
fn files_are_merged_by_time() {
    let packets = synthetic(6);
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, packets: Vec<&Packet>| {
        let file = folder.path().join(name);
        std::fs::write(&file, write_pcap(packets)).expect("written");
        file
    };
    let whole = write("whole.pcap", packets.iter().collect());
    let odd = write("odd.pcap", packets.iter().skip(1).step_by(2).collect());
    let even = write("even.pcap", packets.iter().step_by(2).collect());
    let expected = analyze(&["-f", "jsonl", path(&whole)], b"");
    assert_eq!(json_lines(&expected.out).len(), 6);
    for pair in [[&odd, &even], [&even, &odd]] {
        let found = analyze(&["-f", "jsonl", path(pair[0]), path(pair[1])], b"");
        assert_eq!((found.code, found.out), (Some(0), expected.out.clone()));
    }
}

#[test]
fn output_goes_to_the_file_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("out.jsonl");
    let to_stdout = analyze(&["-f", "jsonl", path(&keepalive())], b"");
    let to_file = analyze(&["-f", "jsonl", "-o", path(&file), path(&keepalive())], b"");
    assert_eq!((to_file.code, to_file.out.as_str(), to_file.err.as_str()), (Some(0), "", ""));
    assert_eq!(std::fs::read_to_string(&file).expect("written"), to_stdout.out);
}

#[test]
fn headers_can_be_left_out() {
    let with = json_lines(&analyze(&["-f", "jsonl", path(&keepalive())], b"").out);
    assert!(with.iter().any(|t| !t["request_headers"].as_array().expect("a list").is_empty()));
    let lists = ["request_headers", "response_headers", "request_trailers", "response_trailers"];
    for flag in ["-q", "--no-headers"] {
        let without = json_lines(&analyze(&["-f", "jsonl", flag, path(&keepalive())], b"").out);
        assert!(without.iter().all(|t| lists.iter().all(|list| t.get(list).is_none())));
        let stripped: Vec<_> = with.iter().map(|t| common::without(t, &lists)).collect();
        assert_eq!(without, stripped);
    }
}

#[test]
fn colours_only_where_asked_for_or_on_a_terminal() {
    for format in ["text", "log"] {
        let colours = |when: &[&str]| {
            let file = keepalive();
            let mut args = vec!["-f", format, path(&file)];
            args.extend(when);
            let ran = analyze(&args, b"");
            assert_eq!(ran.code, Some(0));
            assert!(!ran.err.contains('\x1b'), "progress where there is no terminal");
            ran.out.contains('\x1b')
        };
        assert!(!colours(&[]), "{format}: colours without a terminal");
        assert!(!colours(&["--color", "never"]), "{format}");
        assert!(colours(&["--color", "always"]), "{format}: no colours where asked for");
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    // More output than any buffer between holds.
    let capture = write_pcap(&synthetic(4_000));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("large.pcap");
    std::fs::write(&file, capture).expect("written");
    for format in ["jsonl", "csv", "log"] {
        let mut child = perisco()
            .args(["analyze", "-f", format, path(&file)])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut first = String::new();
        let mut out = BufReader::with_capacity(64, child.stdout.take().expect("a pipe"));
        out.read_line(&mut first).expect("a line");
        drop(out);
        assert!(first.ends_with('\n'), "{first}");
        let (code, err) = end(child);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{format}");
    }
}

/// A capture that seems to be made just now, as on a live stream.
fn just_now(exchanges: usize) -> Vec<Packet> {
    let mut packets = synthetic(exchanges);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let shift = now.as_nanos() as i64 - packets.last().expect("one").at;
    packets.iter_mut().for_each(|packet| packet.at += shift);
    packets
}

#[test]
fn log_lines_of_a_live_stream_come_at_once() {
    let packets = just_now(3);
    // Without the end of the connection.
    let bytes = write_pcap(&packets[..packets.len() - 2]);
    let mut live = Live::start(&["-f", "log"]);
    live.feed(&bytes);
    assert!(live.line().contains(" CONN"));
    let request = live.line();
    assert!(request.contains(" REQUEST ") && request.contains("/item/0"), "{request}");
    assert!(live.line().contains(" RESPONSE "));
    drop(live.stdin.take());
    let (code, err, _) = live.end();
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn transactions_of_a_live_stream_come_before_its_end() {
    let packets = just_now(3);
    let bytes = write_pcap(&packets[..packets.len() - 2]);
    let mut live = Live::start(&["-f", "jsonl"]);
    live.feed(&bytes[..FILE_HEADER]);
    live.feed(&bytes[FILE_HEADER..]);
    let first: Value = serde_json::from_str(&live.line()).expect("JSON");
    assert_eq!(first["path"], "/item/0");
    live.line();
    drop(live.stdin.take());
    let (code, err, rest) = live.end();
    assert_eq!((code, err.as_str(), rest.len()), (Some(0), "", 1));
}

#[test]
fn an_interrupt_ends_a_live_stream_with_the_report() {
    for signal in ["INT", "TERM"] {
        let packets = just_now(7);
        let mut live = Live::start(&[]);
        live.feed(&write_pcap(&packets));
        // It has read what was fed once the pipe is empty; the report says.
        std::thread::sleep(Duration::from_millis(400));
        live.signal(signal);
        let (code, err, out) = live.end();
        let out = out.join("\n");
        assert_eq!(code, Some(0), "{signal}: {err}");
        assert!(out.contains("/item/"), "{signal}: no report:\n{out}");
        assert!(out.contains('7'), "{signal}: not all transactions:\n{out}");
    }
}

#[test]
fn an_interrupt_before_the_first_byte_ends_it() {
    let live = Live::start(&[]);
    std::thread::sleep(Duration::from_millis(300));
    live.signal("INT");
    let (code, ..) = live.end();
    assert!(code.is_some(), "it was killed by the signal");
}

#[test]
fn one_packet_after_another_is_followed() {
    let packets = just_now(4);
    let mut live = Live::start(&["-f", "log"]);
    live.feed(&write_pcap(&packets[..0]));
    let mut seen = 0;
    for (index, packet) in packets.iter().enumerate() {
        let record = write_pcap([packet]);
        live.feed(&record[FILE_HEADER..]);
        // The handshake is three packets; then each packet makes a line.
        if (3..packets.len() - 2).contains(&index) {
            while seen < index - 1 {
                live.line();
                seen += 1;
            }
        }
    }
    drop(live.stdin.take());
    let (code, ..) = live.end();
    assert_eq!((code, seen), (Some(0), 9));
}

#[test]
fn the_report_widens_with_the_terminal_and_has_colours_there() {
    // script(1) gives a terminal; it is part of every Debian.
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: script(1) not found");
        return;
    }
    let file = case("http1/nginx-errors");
    let binary = env!("CARGO_BIN_EXE_perisco");
    let width = |columns: u32| {
        let command = format!("stty cols {columns}; {binary} analyze {}", path(&file));
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output()
            .expect("script runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains('\x1b'), "no colours on a terminal:\n{text}");
        text.lines().map(visible).max().unwrap_or(0)
    };
    let (narrow, wide) = (width(80), width(140));
    assert!(narrow <= 80, "{narrow} columns on 80");
    assert!(wide > narrow && wide <= 140, "{wide} columns on 140, {narrow} on 80");
}

/// Characters of a line without colour sequences.
fn visible(line: &str) -> usize {
    let mut count = 0;
    let mut escape = false;
    for c in line.chars().filter(|c| *c != '\r') {
        match (escape, c) {
            (false, '\x1b') => escape = true,
            (false, _) => count += 1,
            (true, 'm') => escape = false,
            (true, _) => {}
        }
    }
    count
}
