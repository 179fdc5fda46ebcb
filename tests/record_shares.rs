//! A hostile process on the host, and what it costs others: nothing.
#![cfg(feature = "record")]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::compared::curl;
use common::live::{self, Place, Running, run, wait_for};
use serde_json::Value;

const URL: &str = "http://127.0.0.1:8080";

/// Starts tests/live/greedy.py.
fn greedy(place: &Place, args: &[&str]) -> Running {
    let mut command = place.python("greedy.py", args);
    place.serve(command.stdin(Stdio::piped()), "ready")
}

/// Lets it do what it wants, and gives the bytes that it has sent.
fn let_go(greedy: &mut Running, during: impl FnOnce()) -> u64 {
    let mut input = greedy.stdin();
    input.write_all(b"\n").expect("it reads");
    during();
    wait_for("it to be done", || greedy.said().contains("done"));
    let said = greedy.said();
    let sent = said.rsplit(' ').next().and_then(|word| word.trim().parse().ok());
    // It lives on: its end would be told, too.
    std::mem::forget(input);
    sent.expect("a number")
}

fn stop_and_go(recorder: &Running, signal: &str) {
    run(Command::new("kill").args([signal, &recorder.pid().to_string()]));
}

/// The transactions with nginx.
fn honest(place: &Place, file: &str) -> Vec<Value> {
    let found = common::transactions_of(&place.file(file));
    found.into_iter().filter(|line| line["server"] == "127.0.0.1:8080").collect()
}

/// A metric of the recorder at this address.
fn metric(address: &str, name: &str) -> u64 {
    let text = run(Command::new("curl").args(["-s", &format!("http://{address}/metrics")]));
    let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}")) as u64
}

/// The recorder stands still, as on a machine that has no time for it, and one
/// process says more than the buffer holds.
#[test]
fn a_flood_fills_the_share_of_its_process_and_no_more() {
    let Some(place) = live::place(&["curl", "nginx", "python3"]) else { return };
    let _nginx = place.nginx();
    let mut flood = greedy(&place, &["flood", "40000"]);
    let args = ["--buffer", "4MiB", "--metrics", "127.0.0.1:0"];
    let mut recorder = place.record("cap.pcapng", &args);
    let said = recorder.said().to_owned();
    let place_of =
        said.split_once("metrics are at http://").and_then(|(_, rest)| rest.split_once('/'));
    let address = place_of.expect("it says so").0.to_owned();
    stop_and_go(&recorder, "-STOP");
    let sent = let_go(&mut flood, || ());
    for path in ["/hello", "/small.txt", "/hello"] {
        curl(&place, &["-o", "/dev/null", &format!("{URL}{path}")]);
    }
    stop_and_go(&recorder, "-CONT");
    wait_for("the losses to be told", || {
        metric(&address, "perisco_lost_bytes_total{reason=\"share\"}") > 0
    });
    sleep(Duration::from_millis(1700));
    let lost = metric(&address, "perisco_lost_bytes_total{reason=\"share\"}");
    let cut = metric(&address, "perisco_lost_bytes_total{reason=\"filling\"}");
    let gaps = metric(&address, "perisco_gap_bytes");
    let (status, said) = recorder.stop();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the processes had had their share of it"), "{said}");
    assert!(!said.contains("the buffer was full"), "{said}");
    assert_eq!(lost + cut, gaps, "what was lost is a gap of exactly that length: {said}");
    assert!(lost > sent / 4, "most of {sent} did not fit: {lost}");
    let found = honest(&place, "cap.pcapng");
    assert_eq!(found.len(), 3, "{found:#?}");
    for line in &found {
        assert_eq!(line["completeness"], "complete", "{line:#}");
        assert_eq!(line["process"]["client"]["comm"], "curl", "{line:#}");
    }
}

/// 100,000 connections of one process, while others talk.
#[test]
fn connections_without_end_cost_others_nothing() {
    let Some(place) = live::place(&["curl", "nginx", "h2load", "python3", "tshark"]) else {
        return;
    };
    let _nginx = place.nginx();
    // What a name may be: an escape sequence, a newline, a quote.
    let mut churn = greedy(&place, &["churn", "100000", "\\x1b[31m\\n\"=%"]);
    let recorder = place.record("cap.pcapng", &[]);
    let mut steady = place.command("h2load");
    steady.args(["--h1", "-c", "2", "--duration=5", "--rps=20", &format!("{URL}/hello")]);
    let steady = steady.stdout(Stdio::piped()).spawn().expect("it runs");
    sleep(Duration::from_millis(500));
    let_go(&mut churn, || {
        for _ in 0..20 {
            curl(&place, &["-o", "/dev/null", &format!("{URL}/small.txt")]);
        }
    });
    let output = steady.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stdout);
    let asked = told.lines().find_map(|line| {
        let rest = line.strip_prefix("requests: ")?;
        let done = rest.split(", ").find(|part| part.ends_with(" succeeded"))?;
        done.split(' ').next()?.parse::<usize>().ok()
    });
    let (_, said) = recorder.stop();
    let found = honest(&place, "cap.pcapng");
    let of = |path: &str| found.iter().filter(|line| line["path"] == path).count();
    assert_eq!(of("/small.txt"), 20, "{said}");
    assert_eq!(Some(of("/hello")), asked, "{said}\n{told}");
    for line in &found {
        assert_eq!(line["completeness"], "complete", "{line:#}");
        let client = line["process"]["client"]["comm"].as_str();
        assert!(matches!(client, Some("curl" | "h2load")), "{line:#}");
        assert_eq!(line["process"]["server"]["comm"], "nginx", "{line:#}");
    }
    let fields =
        ["-c", "2000", "-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment"];
    let names = run(Command::new("tshark").arg("-r").arg(place.file("cap.pcapng")).args(fields));
    assert!(names.contains("host/?[31m?\"=%["), "{}", &names[..names.len().min(2000)]);
    assert!(!names.contains('\x1b'));
}
