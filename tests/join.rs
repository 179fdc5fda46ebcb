//! Recordings of several nodes analysed as one: each transaction once, with both ends, and
//! its latency split between network and server.

mod common;

use common::nodes::{DELAY, MS, Node, START, Talk, request, response};
use common::{analyze, in_memory, lines, options, without};
use perisco::analyze::options::Options;
use perisco::analyze::report::Format;
use serde_json::{Value, json};

const SERVICE: &str = "10.96.0.10:80";
const POD: &str = "10.1.2.3:8080";
const CLIENT: &str = "10.1.1.9:41000";

fn files(nodes: &[Node]) -> Vec<Vec<u8>> {
    nodes.iter().map(Node::file).collect()
}

fn run(files: &[Vec<u8>], options: &Options) -> String {
    let named = files.iter().enumerate();
    let inputs = named.map(|(index, file)| in_memory(&format!("{index}.pcapng"), file.clone()));
    String::from_utf8(analyze(inputs.collect(), options).bytes).expect("UTF-8")
}

fn transactions(files: &[Vec<u8>]) -> Vec<Value> {
    lines(run(files, &options(Format::Jsonl, 2)).as_bytes())
}

fn report(files: &[Vec<u8>]) -> Value {
    serde_json::from_str(&run(files, &options(Format::Json, 2))).expect("JSON")
}

fn two(skew: i64) -> Vec<Node> {
    vec![Node::new("node-a", 0), Node::new("node-b", skew)]
}

/// A client behind nothing, a server behind a Service, and so many requests.
fn by_service(skew: i64, requests: i64) -> Vec<Node> {
    let mut nodes = two(skew);
    let mut talk = Talk::new([Some(0), Some(1)], CLIENT, POD).by_service(SERVICE);
    let mut at = talk.open(&mut nodes, START);
    for number in 0..requests {
        talk.delay = DELAY + number % 7 * 50_000;
        at = talk.get(&mut nodes, at + MS, &format!("/items/{number}"), number % 5 * MS + MS / 2);
    }
    talk.close(&mut nodes, at + MS);
    nodes
}

#[test]
fn a_connection_through_a_service_is_one_with_both_ends() {
    let skew = 3_141_592_653;
    let nodes = by_service(skew, 20);
    let lines = transactions(&files(&nodes));
    assert_eq!(lines.len(), 20);
    for (number, line) in lines.iter().enumerate() {
        let joined = &line["joined"];
        assert_eq!(line["path"], format!("/items/{number}"));
        assert_eq!((&line["client"], &line["server"]), (&json!(CLIENT), &json!(POD)));
        assert_eq!(
            (&joined["client_node"], &joined["server_node"]),
            (&json!("node-a"), &json!("node-b"))
        );
        assert_eq!(
            (&joined["by"], &joined["server_as_seen"]),
            (&json!("sequence"), &json!(SERVICE))
        );
        assert_eq!(joined["client_as_seen"], CLIENT);
        let names = ["client", "server"].map(|end| line["process"][end]["comm"].clone());
        assert_eq!(names, [json!("curl"), json!("nginx")]);
        assert_eq!(line["completeness"], "complete");
        // The latency is the client's, and adds up.
        let nanos = |name: &str| joined[name].as_i64().unwrap_or_else(|| panic!("{name}: {line}"));
        let delay = DELAY + number as i64 % 7 * 50_000;
        let server = number as i64 % 5 * MS + MS / 2;
        assert_eq!(line["latency_ns"], 2 * delay + server);
        assert_eq!(nanos("server_ns"), server);
        assert_eq!(nanos("request_ns") + nanos("response_ns"), 2 * delay);
        let error = nanos("error_ns");
        assert!((nanos("offset_ns") - skew).abs() <= error, "{line}");
        assert!((nanos("request_ns") - delay).abs() <= error, "{line}");
        // The fastest packets take 200 µs each way, and clocks may drift a little.
        assert!(error <= 220_000, "{line}");
    }
    let report = report(&files(&nodes));
    assert_eq!(report["flows"]["count"], 1);
    assert_eq!(report["flows"]["retransmissions"], 0);
    assert_eq!(report["transactions"]["count"], 20);
    let joined = &report["joined"];
    assert_eq!(joined["nodes"], json!(["node-a", "node-b"]));
    assert_eq!(
        (&joined["connections_joined"], &joined["connections_alone"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        (&joined["transactions_joined"], &joined["transactions_alone"]),
        (&json!(20), &json!(0))
    );
    let clock = &joined["clocks"][0];
    assert_eq!((&clock["node"], &clock["with"]), (&json!("node-b"), &json!("node-a")));
    let off = clock["offset_ns"].as_i64().expect("an offset") - skew;
    assert!(off.abs() <= clock["error_ns"].as_i64().expect("an error"));
    assert_eq!((&clock["transactions"], &clock["steps"]), (&json!(20), &json!(0)));
    assert_eq!(report["edges"].as_array().expect("pairs").len(), 1);
    assert_eq!(report["edges"][0]["server"], POD);
}

/// What does not depend on clocks.
fn timeless(line: &Value) -> Value {
    let mut line = without(line, &["connection", "id"]);
    if let Some(joined) = line["joined"].as_object_mut() {
        joined.remove("offset_ns");
    }
    line
}

#[test]
fn skew_changes_nothing_but_the_offset() {
    let none = transactions(&files(&by_service(0, 40)));
    let none: Vec<_> = none.iter().map(timeless).collect();
    for skew in [-20_000_000_000, -7_000_000, -1, 300_000, 50_000_000, 12_345_678_901] {
        let lines = transactions(&files(&by_service(skew, 40)));
        for line in &lines {
            let joined = &line["joined"];
            let off = joined["offset_ns"].as_i64().expect("an offset") - skew;
            assert!(off.abs() <= joined["error_ns"].as_i64().expect("an error"), "{skew}: {line}");
        }
        assert_eq!(lines.iter().map(timeless).collect::<Vec<_>>(), none, "{skew}");
    }
}

#[test]
fn without_one_of_the_files_each_transaction_is_there_once() {
    let files = files(&by_service(2_000_000_000, 9));
    let both = report(&files);
    for (file, server) in files.iter().zip([SERVICE, POD]) {
        let alone = report(std::slice::from_ref(file));
        assert_eq!(alone["transactions"]["count"], both["transactions"]["count"]);
        assert_eq!(alone["flows"]["count"], 1);
        assert_eq!(alone.get("joined"), None);
        let lines = transactions(std::slice::from_ref(file));
        assert!(lines.iter().all(|line| line["server"] == server && line.get("joined").is_none()));
    }
}

/// Connections of all kinds between three nodes.
fn busy() -> Vec<Node> {
    let mut nodes =
        vec![Node::new("a", 0), Node::new("b", -1_500_000_000), Node::new("c", 800_000_000)];
    for number in 0..60_i64 {
        let [from, to] = [(0, 1), (1, 2), (2, 0), (1, 0)][number as usize % 4].into();
        let recorded = [(number % 11 != 0).then_some(from), (number % 13 != 0).then_some(to)];
        let client = format!("10.1.{from}.{}:{}", number % 5 + 1, 42_000 + number);
        let mut talk = Talk::new(recorded, &client, &format!("10.1.{to}.200:8080"));
        if number % 3 > 0 {
            talk = talk.by_service("10.96.0.1:80");
        }
        if number % 3 > 1 {
            talk = talk.masqueraded(&format!("10.0.0.{from}:{}", 50_000 + number));
        }
        talk.segment = [[100, 37], [60_000, 11]][number as usize % 2];
        let at = START + number * 17 * MS;
        let mut at = talk.open(&mut nodes, at);
        for request in 0..number % 9 + 1 {
            at = talk.get(&mut nodes, at + 3 * MS, &format!("/{number}/{request}"), MS);
        }
        if number % 4 > 0 {
            talk.close(&mut nodes, at);
        }
    }
    nodes
}

#[test]
fn threads_and_the_order_of_files_change_nothing() {
    let nodes = busy();
    let in_order = files(&nodes);
    let jsonl = run(&in_order, &options(Format::Jsonl, 1));
    let text = run(&in_order, &options(Format::Text, 1));
    for threads in [2, 3, 7] {
        assert!(run(&in_order, &options(Format::Jsonl, threads)) == jsonl, "{threads} threads");
        assert!(run(&in_order, &options(Format::Text, threads)) == text, "{threads} threads");
    }
    let turned: Vec<_> = in_order.iter().rev().cloned().collect();
    let sorted = |files: &[Vec<u8>]| {
        let mut lines: Vec<_> =
            transactions(files).iter().map(|line| timeless(line).to_string()).collect();
        lines.sort();
        lines
    };
    // Drift is told of the lower point's clock, which is another one then.
    let rough = |lines: Vec<String>| -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str::<Value>(line).expect("JSON");
        lines.iter().map(|line| without(&parse(line), &["joined"])).collect()
    };
    assert_eq!(rough(sorted(&turned)), rough(sorted(&in_order)));
}

#[test]
fn three_nodes_are_joined_in_pairs() {
    let nodes = busy();
    let report = report(&files(&nodes));
    let joined = &report["joined"];
    assert_eq!((&joined["ambiguous"], &joined["contradicting"]), (&json!(0), &json!(0)));
    assert_eq!((&joined["unmatched"], &joined["given_up"]), (&json!(0), &json!(0)));
    // Connection 0 was recorded nowhere; 11, 22, … at the server only, 13, 26, … at the client.
    assert_eq!(joined["connections_joined"], 50);
    assert_eq!(joined["connections_alone"], 9);
    assert_eq!(report["flows"]["count"], 59);
    let count: i64 = (1..60).map(|number| number % 9 + 1).sum();
    assert_eq!(report["transactions"]["count"], count);
    let clocks = joined["clocks"].as_array().expect("clocks");
    assert_eq!(clocks.len(), 3);
    let skew = |name: &Value| match name.as_str() {
        Some("a") => 0,
        Some("b") => -1_500_000_000,
        _ => 800_000_000,
    };
    for clock in clocks {
        let off = clock["offset_ns"].as_i64().expect("an offset");
        let off = off - (skew(&clock["node"]) - skew(&clock["with"]));
        assert!(off.abs() <= clock["error_ns"].as_i64().expect("an error"), "{clock}");
    }
    assert_eq!(joined["links"].as_array().expect("links").len(), 4);
}

#[test]
fn pipelined_requests_find_their_copies_however_they_are_cut() {
    let mut nodes = two(1_000_000_000);
    let mut talk = Talk::new([Some(0), Some(1)], CLIENT, POD).by_service(SERVICE);
    talk.segment = [60_000, 23];
    let at = talk.open(&mut nodes, START);
    let paths: Vec<_> = (0..12).map(|number| format!("/same/{}", number / 6)).collect();
    let requests: Vec<_> = paths.iter().flat_map(|path| request(path)).collect();
    let responses: Vec<_> = paths.iter().flat_map(|path| response(path)).collect();
    let at = talk.send(&mut nodes, 0, at, &requests);
    talk.segment = [19, 60_000];
    let at = talk.send(&mut nodes, 1, at + MS, &responses);
    talk.close(&mut nodes, at);
    let lines = transactions(&files(&nodes));
    assert_eq!(lines.len(), 12);
    assert!(lines.iter().all(|line| line["joined"]["by"] == "sequence"), "{lines:?}");
}

#[test]
fn what_one_node_has_missed_comes_from_the_other() {
    for missed in [0, 1] {
        let mut nodes = two(-4_000_000_000);
        let mut talk = Talk::new([Some(0), Some(1)], CLIENT, POD).by_service(SERVICE);
        let mut at = talk.open(&mut nodes, START);
        for number in 0..8 {
            talk.lost[missed] = number == 3;
            at = talk.send(&mut nodes, 0, at + MS, &request(&format!("/{number}")));
            // Of the fourth one node has nothing, of the sixth not the answer.
            talk.lost[missed] = number == 3 || number == 5;
            at = talk.send(&mut nodes, 1, at + MS, &response(&format!("/{number}")));
        }
        talk.lost = [false; 2];
        talk.close(&mut nodes, at + MS);
        let alone = transactions(&[nodes[missed].file()]);
        assert!(alone.iter().filter(|line| line["completeness"] == "complete").count() < 8);
        let lines = transactions(&files(&nodes));
        let mut paths: Vec<_> =
            lines.iter().map(|line| line["path"].as_str().unwrap_or("?")).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"], "missed by {missed}");
        for line in &lines {
            assert_eq!(line["completeness"], "complete", "missed by {missed}: {line}");
            assert_eq!(line["server"], POD);
        }
        // Where the client's node has missed it, the client's latency is not known.
        let unknown = lines.iter().filter(|line| line["latency_ns"].is_null()).count();
        let joined = lines.iter().filter(|line| line.get("joined").is_some()).count();
        assert_eq!(joined, 7, "missed by {missed}");
        assert_eq!(unknown, [1, 0][missed], "missed by {missed}");
        let report = report(&files(&nodes));
        assert_eq!(report["flows"]["count"], 1);
        assert_eq!(report["loss"]["gap_bytes"], 0);
        assert_eq!(report["joined"]["unmatched"], 1);
    }
}

#[test]
fn who_comes_late_is_joined_by_addresses_but_not_behind_a_nat() {
    for (unseen, service) in [([true, false], false), ([true, true], false), ([false, true], true)]
    {
        let mut nodes = two(700_000_000);
        let mut talk = Talk::new([Some(0), Some(1)], CLIENT, POD);
        if service {
            talk = talk.by_service(SERVICE);
        }
        let mut at = talk.open_unseen(&mut nodes, START, unseen);
        for number in 0..5 {
            at = talk.get(&mut nodes, at + MS, &format!("/{number}"), MS);
        }
        talk.close(&mut nodes, at + MS);
        let lines = transactions(&files(&nodes));
        let report = report(&files(&nodes));
        if service {
            assert_eq!(lines.len(), 10);
            assert_eq!(report["joined"]["connections_alone"], 2);
            assert_eq!(report["joined"]["connections_midway"], 1);
        } else {
            assert_eq!(lines.len(), 5, "{unseen:?}: {lines:?}");
            assert!(lines.iter().all(|line| line["joined"]["by"] == "address"));
            assert_eq!(report["flows"]["count"], 1);
        }
    }
}

#[test]
fn ports_that_are_used_again_are_other_connections() {
    let mut nodes = two(0);
    for round in 0..4_u32 {
        let mut talk = Talk::new([Some(0), Some(1)], CLIENT, POD).by_service(SERVICE);
        talk.next = talk.next.map(|next| next.wrapping_add(round * 1_000_003));
        let at = talk.open(&mut nodes, START + i64::from(round) * 40 * MS);
        let at = talk.get(&mut nodes, at, &format!("/{round}"), MS);
        talk.close(&mut nodes, at);
    }
    let lines = transactions(&files(&nodes));
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line.get("joined").is_some()));
    assert_eq!(report(&files(&nodes))["flows"]["count"], 4);
}

#[test]
fn equal_numbers_of_several_connections_join_none() {
    let mut nodes = vec![Node::new("a", 0), Node::new("b", 0), Node::new("c", 0)];
    for (client, server) in [(0, 1), (0, 2)] {
        let pod = format!("10.1.{server}.3:8080");
        let mut talk = Talk::new([Some(client), Some(server)], CLIENT, &pod);
        talk.ends[0][0].set_port(41_000 + server as u16);
        talk.next = [7, 9];
        let at = talk.open(&mut nodes, START);
        let at = talk.get(&mut nodes, at, &format!("/{server}"), MS);
        talk.close(&mut nodes, at);
    }
    let report = report(&files(&nodes));
    assert!(report["joined"]["ambiguous"].as_u64() >= Some(1), "{}", report["joined"]);
    // What is joined is not contradicted; nothing is lost.
    let lines = transactions(&files(&nodes));
    assert!(lines.len() >= 2);
    for line in lines.iter().filter(|line| line.get("joined").is_some()) {
        let as_seen = line["joined"]["server_as_seen"].as_str().expect("an address");
        assert_eq!(line["path"].as_str().map(|path| &path[1..]), as_seen.split('.').nth(2));
    }
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn streams_of_http2_are_told_apart_by_their_numbers() {
    let skew = 5_000_000_000;
    let mut nodes = two(skew);
    let mut talk = Talk::new([Some(0), Some(1)], CLIENT, POD).by_service(SERVICE);
    talk.segment = [1000, 77];
    let at = talk.open(&mut nodes, START);
    let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    begin.extend(frame(4, 0, 0, b""));
    let mut at = talk.send(&mut nodes, 0, at, &begin);
    at = talk.send(&mut nodes, 1, at, &frame(4, 0, 0, b""));
    for batch in 0..20_u32 {
        let streams: Vec<_> = (0..5).map(|nth| (batch * 5 + nth) * 2 + 1).collect();
        for stream in &streams {
            let mut block = vec![0x82, 0x86, 0x04, 5];
            block.extend(format!("/{:04}", stream % 6).bytes());
            block.extend(b"\x41\x04shop");
            at = talk.send(&mut nodes, 0, at + 1000, &frame(1, 5, *stream, &block));
        }
        // The last one is answered first.
        for stream in streams.iter().rev() {
            let mut answer = frame(1, 4, *stream, &[0x88]);
            answer.extend(frame(0, 1, *stream, b"hello"));
            at = talk.send(&mut nodes, 1, at + MS, &answer);
        }
    }
    talk.close(&mut nodes, at + MS);
    let lines = transactions(&files(&nodes));
    assert_eq!(lines.len(), 100);
    for line in &lines {
        let joined = &line["joined"];
        assert_eq!((&line["protocol"], &joined["by"]), (&json!("http/2"), &json!("sequence")));
        let off = joined["offset_ns"].as_i64().expect("an offset") - skew;
        assert!(off.abs() <= joined["error_ns"].as_i64().expect("an error"), "{line}");
        let sum = ["request_ns", "server_ns", "response_ns"].map(|name| joined[name].as_i64());
        assert_eq!(line["latency_ns"].as_i64(), sum.into_iter().sum());
    }
    // Drop events of streams in between: the others are still told apart.
    assert_eq!(report(&files(&nodes))["joined"]["unmatched"], 0);
}

#[test]
fn files_of_a_node_are_one_point() {
    let nodes = by_service(9_000_000_000, 30);
    let half = START + 40 * MS;
    let rotated: Vec<_> = nodes
        .iter()
        .flat_map(|node| [node.part(i64::MIN, half), node.part(half, i64::MAX)])
        .collect();
    let whole = transactions(&files(&nodes));
    let parts = transactions(&rotated);
    let strip = |lines: &[Value]| -> Vec<_> { lines.iter().map(timeless).collect() };
    assert_eq!(strip(&parts), strip(&whole));
}

#[test]
fn the_command_joins_files_unless_told_not_to() {
    let nodes = by_service(2_500_000_000, 25);
    let folder = tempfile::tempdir().expect("a folder");
    let paths: Vec<_> = nodes
        .iter()
        .map(|node| {
            let path = folder.path().join(format!("{}.pcapng", node.name));
            std::fs::write(&path, node.file()).expect("a file");
            path.to_str().expect("UTF-8").to_owned()
        })
        .collect();
    let ran = common::command::analyze(&[&paths[0], &paths[1]], b"");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for line in [
        "25 transactions in ",
        "nodes      node-a, node-b",
        "joined     25 seen at both ends, 0 at one",
        "clocks     node-b is 2.50 s ahead of node-a, give or take ",
        "node-a → node-b",
    ] {
        assert!(ran.out.contains(line), "{line:?} is missing:\n{}", ran.out);
    }
    let shown = common::command::run(&["show", &paths[0], &paths[1], "1.3"], b"");
    let expected = format!("node-a → node-b, called {SERVICE}");
    assert!(shown.out.contains(&expected), "{}{}", shown.out, shown.err);
    assert!(shown.out.contains("request 3"), "{}", shown.out);
    assert!(shown.out.contains(", server 2.50 ms, response 3"), "{}", shown.out);
    let apart = common::command::analyze(&["--join", "off", &paths[0], &paths[1]], b"");
    assert!(apart.out.contains("50 transactions in "), "{}", apart.out);
    assert!(!apart.out.contains("Across nodes"));
    assert_eq!(apart.err, "");
    // A stream is not joined, which is said.
    let both: Vec<u8> = nodes.iter().flat_map(Node::file).collect();
    let stream = common::command::analyze(&["-"], &both);
    assert!(stream.err.contains("recordings of 2 nodes on a stream"), "{}", stream.err);
}
