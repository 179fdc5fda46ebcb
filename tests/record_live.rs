//! Recording for real: peers in a network namespace, `perisco record` and
//! tcpdump beside each other, and both files compared.
#![cfg(feature = "record")]

mod common;

use std::process::Command;

use common::compared::{assert_nothing_odd, compare, curl};
use common::live::{self, run};

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
    assert_eq!(count("OK"), 7, "{found:#?}");
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
