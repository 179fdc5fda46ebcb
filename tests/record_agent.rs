//! The recorder as an agent that others look after: its metrics and its health
//! under real traffic.
#![cfg(feature = "record")]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::live::{self, Place, Running, run, wait_for};
use indicatif::{BinaryBytes, HumanCount};
use serde_json::Value;

/// In which what was said is in the counts that are served.
const COUNTED: Duration = Duration::from_millis(1700);

fn site() -> Option<(Place, Running)> {
    let place = live::place(&["curl", "nginx", "/usr/bin/python3"])?;
    let known = Command::new("/usr/bin/python3").args(["-c", "import prometheus_client"]).output();
    if !known.is_ok_and(|output| output.status.success()) {
        return live::skip("python3-prometheus-client is not installed");
    }
    let nginx = place.nginx();
    Some((place, nginx))
}

fn fetch(place: &Place, path: &str) {
    let url = format!("http://127.0.0.1:8080{path}");
    run(place.command("curl").args(["-s", "--max-time", "20", "-o", "/dev/null", &url]));
}

/// Where the recorder says that its metrics are: `127.0.0.1:PORT`.
fn address(recorder: &mut Running) -> String {
    let said = recorder.said();
    let place =
        said.split_once("metrics are at http://").and_then(|(_, rest)| rest.split_once('/'));
    place.unwrap_or_else(|| panic!("no metrics: {said}")).0.to_owned()
}

/// Status and body of an answer.
fn get(address: &str, path: &str, accept: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// The metrics as Prometheus' own client reads them, in both formats: names
/// with the values of their labels, and what they count.
fn metrics(place: &Place, address: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for (format, accept) in [("text", "*/*"), ("openmetrics", "application/openmetrics-text")] {
        let (status, text) = get(address, "/metrics", accept);
        assert_eq!(status, 200);
        let mut reader = place.python("metrics.py", &[format]);
        reader.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut reader = reader.spawn().expect("it runs");
        reader.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
        let output = reader.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{format}: {said}\n{text}");
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (name, labels, value): (String, BTreeMap<String, String>, f64) =
                serde_json::from_str(line).expect("json");
            let labels: Vec<String> = labels.into_values().collect();
            all.insert([vec![name], labels].concat().join(" "), value);
        }
    }
    all
}

fn count(of: &BTreeMap<String, f64>, name: &str) -> u64 {
    *of.get(name).unwrap_or_else(|| panic!("no {name} in {of:#?}")) as u64
}

#[test]
fn metrics_are_what_the_summary_says() {
    let Some((place, _nginx)) = site() else { return };
    let mut recorder = place.record("cap.pcapng", &["--metrics", "127.0.0.1:0"]);
    let address = address(&mut recorder);
    assert_eq!(get(&address, "/readyz", "*/*"), (200, "ok\n".to_owned()));
    let before = metrics(&place, &address);
    assert_eq!(count(&before, "perisco_packets_total"), 0);
    for path in ["/hello", "/big.bin", "/proxied/mid.bin"] {
        fetch(&place, path);
    }
    sleep(COUNTED);
    let found = metrics(&place, &address);
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    let of = |name: &str| count(&found, name);
    let told = format!(
        "{} connections, {} packets, {} of payload",
        HumanCount(of("perisco_connections_total")),
        HumanCount(of("perisco_packets_total")),
        BinaryBytes(of("perisco_payload_bytes_total"))
    );
    assert!(said.contains(&told), "{told} is not in\n{said}");
    assert!(of("perisco_payload_bytes_total") > 3 << 20);
    let report = Command::new(env!("CARGO_BIN_EXE_perisco"))
        .args(["analyze", "-f", "json"])
        .arg(place.file("cap.pcapng"))
        .output()
        .expect("it runs");
    let report: Value = serde_json::from_slice(&report.stdout).expect("json");
    assert_eq!(report["capture"]["packets"], of("perisco_packets_total"), "{report:#}");
    for (name, expected) in [
        ("perisco_lost_events_total ring", 0),
        ("perisco_lost_bytes_total filling", 0),
        ("perisco_gaps", 0),
        ("perisco_malformed_events_total", 0),
        ("perisco_open_connections", 0),
        ("perisco_files_total", 1),
        ("perisco_disk_files", 1),
        ("perisco_write_errors_total", 0),
        ("perisco_ring_size_bytes", 64 << 20),
        ("perisco_ready", 1),
    ] {
        assert_eq!(of(name), expected, "{name}");
    }
    assert!(of("perisco_events_total") >= of("perisco_packets_total") / 2);
    let size = place.file("cap.pcapng").metadata().expect("there").len();
    let disk = of("perisco_disk_bytes");
    assert!(disk <= size && disk > size - 8192, "{disk} of {size}");
    assert_eq!(disk, of("perisco_written_bytes_total"));
    let named = |name: &str| found.keys().any(|key| key.contains(name));
    assert!(named(&format!("perisco_build_info {}", "")), "{found:#?}");
    assert!(named(env!("CARGO_PKG_VERSION")) && (named("cgroup") || named("socket")));
}

#[test]
fn what_was_lost_is_in_the_metrics_by_reason() {
    let Some((place, _nginx)) = site() else { return };
    let mut recorder =
        place.record("cap.pcapng", &["--buffer", "256KiB", "--metrics", "127.0.0.1:0"]);
    let address = address(&mut recorder);
    run(Command::new("kill").args(["-STOP", &recorder.pid().to_string()]));
    fetch(&place, "/big.bin");
    run(Command::new("kill").args(["-CONT", &recorder.pid().to_string()]));
    sleep(COUNTED);
    let found = metrics(&place, &address);
    let (_, said) = recorder.stop();
    let of = |name: &str| count(&found, name);
    // nginx alone filled it: that is more than its share.
    let events = of("perisco_lost_events_total share");
    let told = format!(
        "LOST {} events with {} of payload: the buffer was nearly full",
        HumanCount(events),
        BinaryBytes(of("perisco_lost_bytes_total share"))
    );
    assert!(events > 0 && said.contains(&told), "{told} is not in\n{said}");
    let told = format!(
        "{} gaps in the streams, {} in all",
        HumanCount(of("perisco_gaps")),
        BinaryBytes(of("perisco_gap_bytes"))
    );
    assert!(of("perisco_gap_bytes") > 1 << 20 && said.contains(&told), "{told} is not in\n{said}");
}

#[test]
fn a_recorder_that_cannot_write_is_not_healthy_until_it_can() {
    let Some((place, _nginx)) = site() else { return };
    let mut recorder = place.record_to_pipe(&["--metrics", "127.0.0.1:0"]);
    let address = address(&mut recorder);
    // Nobody reads the pipe: it fills, and so does all before it.
    fetch(&place, "/big.bin");
    wait_for("it to be unhealthy", || get(&address, "/healthz", "*/*").0 == 503);
    let (_, why) = get(&address, "/readyz", "*/*");
    assert!(why.contains("stood still for 1"), "{why}");
    let mut pipe = recorder.stdout();
    let reader = std::thread::spawn(move || std::io::copy(&mut pipe, &mut std::io::sink()));
    wait_for("it to be healthy", || get(&address, "/healthz", "*/*").0 == 200);
    recorder.stop();
    assert!(reader.join().expect("it ends").expect("read") > 3 << 20);
}

#[test]
fn an_address_that_is_taken_is_said_before_anything_is_recorded() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("free");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cap.pcapng");
    let output = Command::new(env!("CARGO_BIN_EXE_perisco"))
        .args(["record", "--metrics", &address, "-d", "1", "-o"])
        .arg(&file)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("--metrics: cannot listen on {address}")), "{said}");
    assert!(!file.exists());
}

/// Segments with RST and connections that ended by one, in the place's namespace.
fn resets(place: &Place) -> Vec<String> {
    let text = run(place.command("cat").arg("/proc/net/snmp"));
    let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (tcp.next().expect("names"), tcp.next().expect("values"));
    let pairs = names.split(' ').zip(values.split(' '));
    let resets = pairs.filter(|(name, _)| ["EstabResets", "OutRsts"].contains(name));
    resets.map(|(name, value)| format!("{name}={value}")).collect()
}

/// Four clients, each with one connection for fifteen seconds.
fn load(place: &Place, kind: &[&str], url: &str) -> std::process::Child {
    let mut command = place.command("h2load");
    command.args(kind).args(["-c", "4", "--duration=15", "--rps=40", url]);
    command.stdout(Stdio::piped()).spawn().expect("it runs")
}

#[test]
fn a_restart_disturbs_nobody_and_finds_the_open_connections() {
    let Some(place) = live::place(&["curl", "nginx", "nghttpd", "h2load", "tshark"]) else {
        return;
    };
    let _nginx = place.nginx();
    let www = place.file("www");
    let mut nghttpd = place.command("nghttpd");
    nghttpd.args(["--no-tls", "-d"]).arg(&www).args(["-a", "127.0.0.1", "8082"]);
    let mut nghttpd = nghttpd.stdout(Stdio::null()).spawn().expect("it runs");
    wait_for("nghttpd to listen", || {
        let sockets = run(place.command("cat").arg("/proc/net/tcp"));
        sockets.contains(&format!(":{:04X} 00000000:0000 0A", 8082))
    });
    let first = place.record("first.pcapng", &[]);
    let loads = [
        load(&place, &["--h1"], "http://127.0.0.1:8080/hello"),
        load(&place, &["-p", "h2c"], "http://127.0.0.1:8082/small.txt"),
    ];
    sleep(Duration::from_secs(2));
    let before = resets(&place);
    let (status, _) = first.signal("KILL");
    assert!(!status.success());
    let second = place.record("second.pcapng", &[]);
    sleep(Duration::from_secs(1));
    assert_eq!(resets(&place), before);
    for load in loads {
        let output = load.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(" 0 failed, 0 errored, 0 timeout"), "{said}");
    }
    let (status, said) = second.stop();
    nghttpd.kill().expect("it runs");
    nghttpd.wait().expect("it ends");
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    let midway = run(Command::new("tshark").arg("-r").arg(place.file("second.pcapng")).args([
        "-Y",
        "frame.comment == \"joined=midway\"",
        "-T",
        "fields",
        "-e",
        "tcp.srcport",
        "-e",
        "tcp.dstport",
    ]));
    for port in ["8080", "8082"] {
        let joined = midway.lines().filter(|line| line.contains(port)).count();
        assert_eq!(joined, 4, "each of the clients' connections to {port}: {midway}");
    }
    for (file, least) in [("first.pcapng", 30), ("second.pcapng", 100)] {
        let found = common::transactions_of(&place.file(file));
        let http1: Vec<_> = found.iter().filter(|line| line["path"] == "/hello").collect();
        let of = |what: &str| http1.iter().filter(|line| line["completeness"] == what).count();
        // The analyzer takes the first sixteen of a connection that it joins for a guess; nothing
        // but those is short of anything.
        let (whole, late) = (of("complete"), of("late-join"));
        assert!(whole >= least && late <= 64, "{whole} and {late} of {} in {file}", http1.len());
        // The kill may have left each connection with a request and no answer.
        assert!(whole + late + 4 >= http1.len(), "{whole} and {late} of {} in {file}", http1.len());
        assert!(found.len() > http1.len(), "no HTTP/2 in {file}");
    }
}
