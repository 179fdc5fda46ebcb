//! The service map by workload: in `json`, and as Graphviz takes it.

mod common;

use std::io::Write as _;
use std::process::{Command, Stdio};

use common::recording::Recording;
use common::shop::{self, append, conversation, hostile};
use common::{analyze, in_memory, options, synth};
use perisco::analyze::report::Format;
use proptest::prelude::*;
use serde_json::{Value, json};

fn written(capture: &[u8], format: Format) -> String {
    let input = in_memory("shop", capture.to_vec());
    String::from_utf8(analyze(vec![input], &options(format, 2)).bytes).expect("UTF-8")
}

#[test]
fn the_service_map_adds_up_by_workload() {
    let report = written(&shop::capture(), Format::Json);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let map = report["workloads"].as_array().expect("a list");
    let place = |end: &Value| end["name"].as_str().or(end["address"].as_str()).unwrap().to_owned();
    let row = |from: &str, to: &str| {
        let is = |talk: &&Value| place(&talk["client"]) == from && place(&talk["server"]) == to;
        map.iter().find(is).unwrap_or_else(|| panic!("no {from} → {to}: {map:?}"))
    };
    assert_eq!(map.len(), 5, "{map:?}");
    // Two pods and two addresses are one server.
    let checkout = row("frontend", "checkout");
    assert_eq!(checkout["service"], "shop/checkout");
    assert_eq!(checkout["connections"], 2);
    assert_eq!(checkout["transactions"]["count"], 5);
    assert_eq!(checkout["transactions"]["errors"], 1);
    assert_eq!(checkout["transactions"]["latency"]["max_ns"], 3_000_000);
    let pods = json!(["shop/checkout-7d9f-1", "shop/checkout-7d9f-2"]);
    assert_eq!(checkout["server"]["pods"], pods);
    assert_eq!(checkout["server"]["by"], json!(["cgroup", "sequence"]));
    assert_eq!(row("checkout", "payments")["protocols"], json!(["grpc"]));
    assert_eq!(row("checkout", "payments")["kinds"], json!(["http/2"]));
    assert_eq!(row("203.0.113.9", "frontend")["transactions"]["count"], 2);
    assert_eq!(row("worker-1", "frontend")["client"]["kind"], "Node");
    let sum = |list: &Value, what: &str| {
        let all = list.as_array().expect("a list").iter();
        all.map(|row| row.pointer(what).and_then(Value::as_u64).expect("a number")).sum::<u64>()
    };
    for what in ["/transactions/count", "/connections", "/payload_bytes_to_client"] {
        assert_eq!(sum(&report["workloads"], what), sum(&report["edges"], what), "{what}");
    }
    let edge = report["edges"].as_array().expect("a list").iter();
    let mut edge = edge.filter(|edge| edge["server"] == "10.96.0.10:80");
    assert_eq!(edge.next().expect("one")["server_workloads"], json!(["shop/checkout"]));
}

/// Asks Graphviz, where it is installed; in CI it has to be.
fn draw(map: &str) -> Option<String> {
    let child = Command::new("dot")
        .arg("-Tplain")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("CI").is_none(), "dot is missing: in CI it has to be there");
        eprintln!("skipped: there is no dot (graphviz)");
        return None;
    };
    child.stdin.take().expect("a pipe").write_all(map.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("an end");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{errors}\n{map}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn graphviz_draws_the_map() {
    for case in common::cases() {
        let map = written(&std::fs::read(&case.capture).expect("a capture"), Format::Dot);
        let lines = map.lines().filter(|line| line.contains(" -> ")).count();
        if let Some(plain) = draw(&map) {
            let drawn = plain.lines().filter(|line| line.starts_with("edge ")).count();
            assert_eq!(drawn, lines, "{}", case.name);
        }
    }
    let map = written(&shop::capture(), Format::Dot);
    for part in [
        "[label=\"shop/frontend\\nDeployment\"]",
        "\\nhttp/1.1\\nService checkout\"",
        "5, 20.0% failed\\np50 2.00 ms, p99 3.00 ms",
        "color=\"#c62828\"",
        "[label=\"worker-1\\nNode\"]",
        "[label=\"198.51.100.7\"]",
    ] {
        assert!(map.contains(part), "{part} is missing:\n{map}");
    }
}

#[test]
fn a_map_says_what_is_missing_and_left_out() {
    let loss = common::cases().into_iter().find(|case| case.name == "broken/loss").expect("a case");
    let map = written(&std::fs::read(loss.capture).expect("a capture"), Format::Dot);
    assert!(map.contains("BYTES ARE MISSING"), "{map}");
    let conversations = (0..300u16).map(|index| {
        let ends = [format!("10.0.0.1:{}", 40_000 + index), format!("10.1.{}.1:80", index % 256)];
        let ends: [std::net::SocketAddr; 2] = ends.map(|end| end.parse().expect("an address"));
        let ends = [ends[0], std::net::SocketAddr::new(ends[1].ip(), 80 + index / 256)];
        let conversation = synth::http1(ends, 1_700_000_000_000_000_000, 1);
        synth::Writer::new(&conversation, Default::default()).write(&conversation)
    });
    let capture = synth::pcap(&synth::by_time(conversations.collect()));
    let map = written(&capture, Format::Dot);
    assert!(map.contains("label=\"the 200 busiest of 300 pairs\""), "{map}");
    assert_eq!(map.lines().filter(|line| line.contains(" -> ")).count(), 200);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn graphviz_takes_hostile_names(names in prop::collection::vec(hostile(), 3)) {
        let says =
            [format!("client.workload=a{}/b{}/c{}", names[0], names[1], names[2])];
        let mut recording = Recording::new();
        recording.interface("x", "pid=1 ");
        append(&mut recording, &[(&conversation("10.0.0.1:40000", 0, 1), 0, &says)]);
        if let Some(plain) = draw(&written(&recording.bytes, Format::Dot)) {
            prop_assert_eq!(plain.lines().filter(|line| line.starts_with("edge ")).count(), 1);
            prop_assert_eq!(plain.lines().filter(|line| line.starts_with("node ")).count(), 2);
        }
    }
}
