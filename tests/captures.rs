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
const DIFFERENCES: &[Difference] = &[];

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
    for stream in list(&of["http2"]) {
        let known = addresses.get(&stream["tcp_stream"].to_string()).cloned();
        let ends =
            if stream["client"].is_null() { known.unwrap_or_default() } else { ends(&stream) };
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
            if meant == json!(ours) {
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
