//! Recording for real: peers in a network namespace, `perisco record` and
//! tcpdump beside each other, and both files compared.
#![cfg(feature = "record")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::live::{self, Place, run};
use common::streams::streams;
use serde_json::Value;

/// What differs between a recording and a tcpdump of the same traffic: times,
/// and what only one of them knows.
const DIFFERENT: &[&str] = &[
    "start",
    "request_end",
    "response_start",
    "response_end",
    "latency_ns",
    "duration_ns",
    "connection",
    "interface",
    "comment",
    "process",
    "container",
];

/// The transactions of a capture without times, in an order of their own.
fn transactions(path: &Path) -> Vec<String> {
    let mut lines: Vec<String> = common::transactions_of(path)
        .into_iter()
        .map(|mut line| {
            let object = line.as_object_mut().expect("an object");
            for name in DIFFERENT {
                object.remove(*name);
            }
            line.to_string()
        })
        .collect();
    lines.sort();
    lines
}

/// The recording has every byte that tcpdump has, in the same streams, and
/// the same transactions.
fn assert_equal(place: &Place) {
    let (recorded, dumped) = (place.file("cap.pcapng"), place.file("dump.pcap"));
    let (ours, theirs) = (streams(&recorded), streams(&dumped));
    assert!(!theirs.is_empty(), "tcpdump saw nothing");
    let sizes = |streams: &common::streams::Streams| -> BTreeMap<_, _> {
        streams.iter().map(|(key, stream)| (*key, (stream.bytes.len(), stream.missing))).collect()
    };
    assert_eq!(sizes(&ours), sizes(&theirs), "other streams, or other lengths");
    for (key, stream) in &theirs {
        assert_eq!(stream.missing, 0, "tcpdump lost bytes of {key:?}");
        assert!(ours[key].bytes == stream.bytes, "other bytes in {key:?}");
    }
    assert_eq!(transactions(&recorded), transactions(&dumped));
}

/// Records what `traffic` does, with tcpdump beside, and compares.
fn compare(place: &Place, traffic: impl FnOnce(&Place)) -> Vec<Value> {
    let dump = place.tcpdump("dump.pcap");
    let recorder = place.record("cap.pcapng", &[]);
    traffic(place);
    let (status, said) = recorder.stop();
    dump.stop();
    assert!(status.success(), "{said}");
    assert!(said.contains("nothing lost"), "{said}");
    assert_equal(place);
    common::transactions_of(&place.file("cap.pcapng"))
}

fn curl(place: &Place, args: &[&str]) -> String {
    run(place.command("curl").args(["-s", "--max-time", "20"]).args(args))
}

/// tshark complains of nothing but the notes that every closing FIN brings.
fn assert_nothing_odd(place: &Place) {
    let said = run(Command::new("tshark").arg("-r").arg(place.file("cap.pcapng")).args([
        "-o",
        "tcp.try_heuristic_first:TRUE",
        "-q",
        "-z",
        "expert",
    ]));
    let mut kind = "";
    for line in said.lines() {
        if let Some((first, _)) = line.split_once(" (") {
            kind = first;
        }
        let odd = matches!(kind, "Errors" | "Warns")
            || kind == "Notes" && line.contains("Sequence") && !line.contains("connection closing");
        assert!(!odd, "{said}");
    }
    assert!(said.contains("Chats ("), "tshark has read it: {said}");
}

#[test]
fn curl_and_nginx_in_all_their_ways() {
    let Some(place) = live::place(&["curl", "nginx", "tshark"]) else { return };
    let _nginx = place.nginx();
    let found = compare(&place, |place| {
        let base = "http://127.0.0.1:8080";
        let null = ["-o", "/dev/null"];
        // writev, keep-alive, sendfile of 3 MB, copied, proxied.
        for path in ["/hello", "/small.txt", "/big.bin", "/copied/big.bin", "/proxied/mid.bin"] {
            curl(place, &[&null[..], &[&format!("{base}{path}")]].concat());
        }
        curl(place, &["-o", "/dev/null", "http://[::1]:8080/mid.bin"]);
        let upload = format!("@{}", place.file("www/big.bin").display());
        curl(
            place,
            &["-o", "/dev/null", "--data-binary", &upload, &format!("{base}/proxied/sink")],
        );
        let hello = format!("{base}/hello");
        curl(place, &[&hello, &hello, &format!("{base}/missing")]);
    });
    assert_nothing_odd(&place);
    // Of the proxied ones both connections.
    assert_eq!(found.len(), 12);
    assert!(found.iter().all(|line| line["completeness"] == "complete"), "{found:#?}");
    let big = found.iter().filter(|line| line["response_body_bytes"] == 3 << 20).count();
    assert_eq!(big, 2);
}

#[test]
fn who_said_it_is_known_at_both_ends() {
    let Some(place) = live::place(&["curl", "nginx"]) else { return };
    let _nginx = place.nginx();
    let found = compare(&place, |place| {
        curl(place, &["-o", "/dev/null", "http://127.0.0.1:8080/hello"]);
    });
    let process = &found[0]["process"];
    assert_eq!(process["client"]["comm"], "curl", "{process}");
    let exe = process["client"]["exe"].as_str().expect("looked up while it was there");
    assert!(exe.ends_with("/curl"), "{process}");
    assert_eq!(process["server"]["comm"], "nginx", "{process}");
    let pid = process["server"]["pid"].as_u64().expect("a pid");
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).expect("it still runs");
    assert_eq!(process["server"]["exe"].as_str(), exe.to_str());
}

#[test]
fn http2_of_nghttp2() {
    let Some(place) = live::place(&["nghttpd", "h2load"]) else { return };
    let folder = place.file("www");
    std::fs::create_dir(&folder).expect("made");
    std::fs::write(folder.join("a.bin"), live::noise(50_000)).expect("written");
    let mut server = place.command("nghttpd");
    server.args(["-v", "--no-tls", "-d"]).arg(&folder).arg("8443");
    let _server = place.serve(&mut server, "listen");
    let found = compare(&place, |place| {
        run(place.command("h2load").args([
            "-n",
            "200",
            "-c",
            "4",
            "-m",
            "8",
            "http://127.0.0.1:8443/a.bin",
        ]));
    });
    assert_eq!(found.len(), 200);
    assert!(found.iter().all(|line| line["protocol"] == "http/2" && line["status"] == 200));
}

#[test]
fn grpc_of_every_kind() {
    let Some(place) = live::place(&["/usr/bin/python3"]) else { return };
    if !Command::new("/usr/bin/python3")
        .args(["-c", "import grpc"])
        .status()
        .is_ok_and(|s| s.success())
    {
        assert!(std::env::var_os("PERISCO_LIVE").is_none(), "python3-grpcio is not installed");
        eprintln!("skipped: python3-grpcio is not installed");
        return;
    }
    let _server =
        place.serve(&mut place.python("grpc_peer.py", &["serve", "127.0.0.1:50051"]), "ready");
    let found = compare(&place, |place| {
        run(&mut place.python("grpc_peer.py", &["call", "127.0.0.1:50051"]));
    });
    let count =
        |name: &str| found.iter().filter(|line| line["grpc"]["status_name"] == name).count();
    assert_eq!(count("OK"), 5, "{found:#?}");
    assert_eq!(count("UNAVAILABLE"), 1);
    let kinds: std::collections::BTreeSet<_> =
        found.iter().filter_map(|line| line["grpc"]["kind"].as_str()).collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}

#[test]
fn a_thousand_short_connections() {
    let Some(place) = live::place(&["/usr/bin/python3"]) else { return };
    let _server =
        place.serve(&mut place.python("connections.py", &["echo", "127.0.0.1", "7001"]), "ready");
    let found = compare(&place, |place| {
        run(&mut place.python("connections.py", &["short", "127.0.0.1", "7001", "1000"]));
    });
    assert_eq!(found.len(), 1000);
    assert!(found.iter().all(|line| line["completeness"] == "complete"));
}

#[test]
fn ten_thousand_connections_at_once() {
    let Some(place) = live::place(&["/usr/bin/python3"]) else { return };
    let _server =
        place.serve(&mut place.python("connections.py", &["echo", "127.0.0.1", "7001"]), "ready");
    let recorder = place.record("cap.pcapng", &[]);
    run(&mut place.python("connections.py", &["open", "127.0.0.1", "7001", "10000"]));
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    assert!(said.contains("10,000 connections") || said.contains("10000 connections"), "{said}");
    let found = common::transactions_of(&place.file("cap.pcapng"));
    assert_eq!(found.len(), 10_000);
    assert!(found.iter().all(|line| line["completeness"] == "complete"));
}

#[test]
fn a_connection_older_than_the_recorder_is_joined_midway() {
    let Some(place) = live::place(&["/usr/bin/python3"]) else { return };
    let _server =
        place.serve(&mut place.python("connections.py", &["echo", "127.0.0.1", "7001"]), "ready");
    let mut command = place.python("connections.py", &["hold", "127.0.0.1", "7001"]);
    command.stdin(std::process::Stdio::piped());
    let mut client = place.serve(&mut command, "ready");
    let recorder = place.record("cap.pcapng", &[]);
    drop(client.stdin());
    client.wait();
    let (_, said) = recorder.stop();
    let found = common::transactions_of(&place.file("cap.pcapng"));
    assert_eq!(found.len(), 1, "{said}");
    assert_eq!(found[0]["path"], "/n/1");
    assert_eq!(found[0]["completeness"], "late-join", "one pair alone may be a wrong one");
    assert_eq!(found[0]["process"]["client"]["comm"], "python3");
    assert_eq!(found[0]["process"]["server"]["comm"], "python3");
    let tshark = run(Command::new("tshark")
        .arg("-r")
        .arg(place.file("cap.pcapng"))
        .args(["-Y", "tcp.flags.syn == 1"]));
    assert_eq!(tshark, "", "no handshake is invented");
}
