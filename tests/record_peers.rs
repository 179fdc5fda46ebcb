//! Peers of other languages, recorded with tcpdump beside: Go's net/http in
//! HTTP/2 without TLS, Python's http.server.
#![cfg(feature = "record")]

mod common;

use std::path::Path;

use common::compared::{assert_nothing_odd, compare, curl};
use common::live::{self, Place, run};
use common::text_of;
use serde_json::Value;

/// What the peer itself says of its exchanges.
fn truth(file: &Path) -> Vec<Value> {
    common::lines(&std::fs::read(file).expect("the peer has written it"))
}

/// Every exchange that the peer had an answer to is there as it says.
fn assert_told(said: &[Value], found: &[Value]) {
    for exchange in said.iter().filter(|exchange| !exchange["status"].is_null()) {
        let fields = ["method", "authority", "path", "status"];
        let same = |line: &&Value| fields.iter().all(|field| line[field] == exchange[field]);
        let line = found.iter().find(same);
        let line = line.unwrap_or_else(|| panic!("{exchange} is not in {found:#?}"));
        // A note says why its bytes are not to be compared.
        if exchange["note"].is_null() {
            assert_eq!(line["completeness"], "complete", "{line}");
            assert_eq!(line["response_body_bytes"], exchange["response_body_bytes"], "{line}");
        }
    }
}

/// What `httppeer` can do, each case with a server and a connection of its own.
const GO_CASES: &[&str] = &[
    "basic",
    "trailers",
    "hints",
    "events",
    "concurrent",
    "abort",
    "refuse",
    "cancel",
    "methods",
    "shutdown",
];

#[test]
fn go_without_tls() {
    let Some(place) = live::place(&["go", "tshark"]) else { return };
    let Some(peer) = live::go_peer(&place) else { return };
    let run_case = |place: &Place, number: usize, case: &str| {
        let address = format!("127.0.0.1:{}", 9000 + number);
        let mut command = place.command(peer.to_str().expect("UTF-8"));
        run(command.args([&format!("{case}-h2"), &address]).arg(place.file(case)));
    };
    let found = compare(&place, |place| {
        for (number, case) in GO_CASES.iter().enumerate() {
            run_case(place, number, case);
        }
    });
    assert_nothing_odd(&place);
    let said: Vec<Value> = GO_CASES.iter().flat_map(|case| truth(&place.file(case))).collect();
    assert!(said.len() > 20, "{said:?}");
    assert_eq!(found.len(), said.len(), "{found:#?}");
    assert!(found.iter().all(|line| line["protocol"] == "http/2"), "{found:#?}");
    assert_told(&said, &found);
    // A handler that breaks off resets its stream.
    let aborted: Vec<_> =
        found.iter().filter(|line| text_of(line, "path").starts_with("/abort")).collect();
    assert!(aborted.iter().all(|line| line["outcome"] == "reset"), "{aborted:#?}");
    assert_eq!(aborted.len(), 2);
}

#[test]
fn go_and_curl_upgrade_to_http2() {
    let Some(place) = live::place(&["go", "tshark", "curl"]) else { return };
    let Some(peer) = live::go_peer(&place) else { return };
    let mut server = place.command(peer.to_str().expect("UTF-8"));
    let _server = place.serve_http(server.args(["serve", "127.0.0.1:8090"]), "127.0.0.1:8090");
    let found = compare(&place, |place| {
        for version in ["--http1.1", "--http2", "--http2-prior-knowledge"] {
            let said = curl(place, &[version, "http://127.0.0.1:8090/new"]);
            assert_eq!(said, "you have arrived\n", "{version}");
            // Of no known length: curl waits for its end.
            let stream = "http://127.0.0.1:8090/stream?n=5&size=9000&ms=1";
            assert_eq!(curl(place, &[version, stream]).len(), 45_000, "{version}");
        }
    });
    assert_nothing_odd(&place);
    assert_eq!(found.len(), 6, "{found:#?}");
    assert!(found.iter().all(|line| line["completeness"] == "complete"), "{found:#?}");
    assert!(found.iter().all(|line| line["process"]["client"]["comm"] == "curl"), "{found:#?}");
    let second = found.iter().filter(|line| line["protocol"] == "http/2").count();
    assert!(second >= 3, "one upgraded, two from the beginning: {found:#?}");
}

/// Four threads of a client, each with an exchange of each kind.
fn python_speaks(version: &str, protocol: &str, connections: usize) {
    let Some(place) = live::place(&["/usr/bin/python3", "tshark"]) else { return };
    let serve = ["serve", "127.0.0.1", "8000", version];
    let _server = place.serve(&mut place.python("http_peer.py", &serve), "ready");
    let mut said = String::new();
    let found = compare(&place, |place| {
        said = run(&mut place.python("http_peer.py", &["call", "127.0.0.1", "8000", version]));
    });
    assert_nothing_odd(&place);
    let mut told: Vec<&str> = said.lines().collect();
    let mut heard: Vec<String> = found
        .iter()
        .map(|line| {
            let (method, path) = (text_of(line, "method"), text_of(line, "path"));
            format!("{method} {path} {} {}", line["status"], line["response_body_bytes"])
        })
        .collect();
    told.sort_unstable();
    heard.sort();
    assert_eq!(heard, told);
    assert_eq!(told.len(), 24);
    assert!(found.iter().all(|line| line["completeness"] == "complete"), "{found:#?}");
    assert!(found.iter().all(|line| line["protocol"] == protocol), "{found:#?}");
    let numbers: std::collections::BTreeSet<_> =
        found.iter().filter_map(|line| line["connection"].as_u64()).collect();
    assert_eq!(numbers.len(), connections, "connections");
}

#[test]
fn python_in_http_1_0_a_connection_for_each() {
    python_speaks("HTTP/1.0", "http/1.0", 24);
}

#[test]
fn python_in_http_1_1_on_connections_that_stay() {
    python_speaks("HTTP/1.1", "http/1.1", 4);
}
