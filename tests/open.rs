//! `perisco open`: tshark dissects with what it is told, and did not without.
//!
//! Needs tshark, which `scripts/test` installs; elsewhere tests that run it say
//! that they are skipped, and with PERISCO_LIVE=1 they fail instead.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::command::{path, perisco, run};

fn capture(name: &str) -> PathBuf {
    let case = common::cases().into_iter().find(|case| case.name == name);
    case.unwrap_or_else(|| panic!("no case {name}")).capture
}

fn has_tshark() -> bool {
    let found = Command::new("tshark").arg("--version").output().is_ok();
    let must = std::env::var_os("PERISCO_LIVE").is_some();
    assert!(found || !must, "PERISCO_LIVE is set, but tshark is not installed");
    if !found {
        eprintln!("skipped: tshark is not installed");
    }
    found
}

/// Protocols that tshark found, one a packet.
fn protocols(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

const FIELDS: [&str; 5] = ["-n", "-T", "fields", "-e", "_ws.col.Protocol"];

fn tshark_alone(file: &Path) -> Vec<String> {
    protocols(&Command::new("tshark").arg("-r").arg(file).args(FIELDS).output().unwrap())
}

fn opened(file: &Path) -> (Vec<String>, String) {
    let mut command = perisco();
    let output = command.args(["open", "--tshark", path(file), "--"]).args(FIELDS).output();
    let output = output.unwrap();
    (protocols(&output), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn count(protocols: &[String], name: &str) -> usize {
    protocols.iter().filter(|protocol| protocol.starts_with(name)).count()
}

#[test]
fn http2_and_grpc_on_odd_ports_are_dissected() {
    if !has_tshark() {
        return;
    }
    for (name, protocol, least) in [
        ("h2/curl-prior-knowledge", "HTTP2", 20),
        ("h2/go-h2c", "HTTP2", 10),
        ("grpc/go-unary", "GRPC", 8),
        ("grpc/nginx-proxy", "GRPC", 10),
        // Without a preface.
        ("broken/h2-late-start", "HTTP2", 30),
    ] {
        let file = capture(name);
        let alone = tshark_alone(&file);
        // Only 4.0 is sure not to find them itself.
        let old = count(&alone, protocol) == 0;
        let (found, said) = opened(&file);
        assert!(count(&found, protocol) >= least, "{name}: {found:?}");
        assert!(old || count(&found, protocol) >= count(&alone, protocol), "{name}: {alone:?}");
        assert!(said.contains("perisco: HTTP/2 on port"), "{said}");
    }
}

#[test]
fn what_is_dissected_without_help_stays_so() {
    if !has_tshark() {
        return;
    }
    for name in ["h2/curl-upgrade", "http1/nginx-keepalive", "http1/websocket", "grpc/web"] {
        let file = capture(name);
        assert_eq!(opened(&file).0, tshark_alone(&file), "{name}");
    }
}

#[test]
fn several_zstd_frames_are_all_there() {
    if !has_tshark() {
        return;
    }
    let plain = fs::read(capture("h2/go-h2c")).unwrap();
    let all = count(&opened(&capture("h2/go-h2c")).0, "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("frames.pcap.zst");
    // Incompressible frames before the next one: what 4.0 shows the first of only.
    let frames =
        plain.chunks(plain.len() / 2 + 1).map(|part| zstd::bulk::compress(part, 1).unwrap());
    fs::write(&file, frames.collect::<Vec<_>>().concat()).unwrap();
    let (found, said) = opened(&file);
    assert_eq!(found.len(), all, "{said}");
    // Nothing stays behind.
    if let Some((_, rest)) = said.split_once("decompressing to ") {
        let temporary = rest.split(' ').next().unwrap();
        assert!(!Path::new(temporary).exists(), "{temporary}");
    }
}

#[test]
fn the_command_is_printed() {
    let file = capture("grpc/go-unary");
    let printed = run(&["open", "--print", path(&file), "--", "-Y", "grpc && frame"], b"");
    assert_eq!(printed.code, Some(0), "{}", printed.err);
    let expected = format!(
        "wireshark -d tcp.port==8092,http2 -o tcp.reassemble_out_of_order:TRUE -r {} -Y 'grpc && frame'\n",
        path(&file)
    );
    assert_eq!(printed.out, expected);
    assert_eq!(printed.err, "perisco: HTTP/2 on port 8092\nperisco: gRPC on port 8092\n");
}

#[test]
fn without_wireshark_it_says_what_to_install_and_what_to_run() {
    let file = capture("grpc/go-unary");
    let folder = tempfile::tempdir().unwrap();
    let output = perisco().args(["open", path(&file)]).env("PATH", folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("wireshark is not installed: `apt install wireshark`"), "{said}");
    assert!(said.contains("tshark -d tcp.port==8092,http2"), "{said}");
}

/// A program of that name in a folder of its own.
fn fake(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wireshark");
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn wireshark_is_run_and_its_exit_code_is_ours() {
    let file = capture("grpc/go-unary");
    let folder = fake(
        "[ \"$1\" = --version ] && { echo 'Wireshark 3.6.2, with zlib'; exit; }\n\
         for last; do :; done\nhead -c4 \"$last\" | od -An -tx1\necho \"$@\"\nexit 7",
    );
    let zst = folder.path().join("cap.pcap.zst");
    fs::write(&zst, zstd::bulk::compress(&fs::read(&file).unwrap(), 1).unwrap()).unwrap();
    let path_variable = format!("{}:/usr/bin:/bin", folder.path().display());
    let output = perisco().args(["open", path(&zst)]).env("PATH", &path_variable).output().unwrap();
    let (out, said) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert_eq!(output.status.code(), Some(7), "{said}");
    // Decompressed for it, and said.
    assert!(said.contains("decompressing to ") && said.contains("it reads no zstd"), "{said}");
    assert!(out.contains("d4 c3 b2 a1") || out.contains("4d 3c b2 a1"), "{out}");
    assert!(out.contains("-d tcp.port==8092,http2"), "{out}");
}

#[test]
fn what_cannot_be_opened_is_said() {
    for (arguments, code, said) in [
        (&["open", "-"][..], 2, "Wireshark needs a file"),
        (&["open", "/nonexistent.pcap"], 2, "/nonexistent.pcap"),
        (&["open", "Cargo.toml"], 2, "not a capture"),
        (&["open", "a.pcap", "b.pcap"], 2, "unexpected argument"),
    ] {
        let ran = run(arguments, b"");
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
    }
}
