//! Every capture of `testdata/` against its expected output and against what
//! the peers themselves said.
//!
//! `UPDATE_EXPECT=1 cargo test --test golden` writes the expected output anew;
//! read the difference before committing it. `truth.json` comes from the
//! peers and is never rewritten by a test.

mod common;

use common::{Case, analyze, cases, difference, lines, options};
use perisco::analyze::report::Format;
use perisco::pcap::Input;
use serde_json::Value;

/// Runs a check on every case and reports all that fail.
fn on_every_case(check: impl Fn(&Case) -> Result<(), String>) {
    let mut failures = Vec::new();
    for case in cases() {
        if let Err(what) = check(&case) {
            failures.push(format!("── {}\n{what}", case.name));
        }
    }
    assert!(failures.is_empty(), "{} cases fail\n{}", failures.len(), failures.join("\n"));
}

/// The output on a case, under the name of its file without the folder.
fn output(case: &Case, format: Format) -> Vec<u8> {
    let bytes = std::fs::read(&case.capture).expect("a readable capture");
    let name = common::name_of(&case.capture);
    analyze(vec![Input::Bytes { name, bytes }], &options(format, 1)).bytes
}

fn compare(case: &Case, file: &str, found: Vec<u8>) -> Result<(), String> {
    let found = String::from_utf8(found).map_err(|error| format!("{file}: {error}"))?;
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        return std::fs::write(case.folder.join(file), found).map_err(|error| error.to_string());
    }
    let Some(expected) = case.read(file) else {
        return Err(format!("{file} is missing; UPDATE_EXPECT=1 writes it"));
    };
    if expected == found {
        return Ok(());
    }
    Err(format!("{file}: {}", difference(&expected, &found)))
}

#[test]
fn transactions_are_as_expected() {
    on_every_case(|case| compare(case, "expected.jsonl", output(case, Format::Jsonl)));
}

#[test]
fn reports_are_as_expected_and_fit_80_columns() {
    on_every_case(|case| {
        let report = output(case, Format::Text);
        let text = String::from_utf8_lossy(&report);
        match text.lines().find(|line| line.chars().count() > 80) {
            Some(line) => Err(format!("wider than 80 columns: {line}")),
            None => compare(case, "expected.txt", report),
        }
    });
}

/// Cases of which every format is kept, not just lines and text: cookies and
/// queries, pushes, calls, a tunnel, bytes missing, responses that stall, names.
const ALL_FORMATS: [&str; 7] = [
    "http1/go-events",
    "http1/nginx-auth-form",
    "h2/nghttp-push",
    "grpc/py-errors",
    "http1/connect-proxy",
    "broken/loss",
    "recorded/shop",
];

/// What is in every output alike and would drown the rest: the program's
/// version, and a page's style, script and their hashes.
fn without_what_is_always_so(output: Vec<u8>) -> String {
    let mut text = String::from_utf8(output).expect("UTF-8");
    let version = env!("CARGO_PKG_VERSION");
    for (from, to) in [
        (format!("\"version\":\"{version}\""), "\"version\":\"VERSION\""),
        (format!("perisco {version}"), "perisco VERSION"),
    ] {
        text = text.replace(&from, to);
    }
    for (open, close) in [("<style>", "</style>"), ("<script>", "</script>"), ("'sha256-", "'")] {
        let mut kept = String::new();
        let mut rest = text.as_str();
        while let Some((before, inside)) = rest.split_once(open) {
            let (_, after) = inside.split_once(close).expect("what begins ends");
            kept += before;
            kept += &format!("{open}…{close}");
            rest = after;
        }
        text = kept + rest;
    }
    text
}

#[test]
fn other_formats_are_as_expected() {
    on_every_case(|case| {
        if !ALL_FORMATS.contains(&case.name.as_str()) {
            return Ok(());
        }
        for (format, file) in [
            (Format::Har, "expected.har"),
            (Format::Csv, "expected.csv"),
            (Format::Json, "expected.json"),
            (Format::Html, "expected.html"),
            (Format::Log, "expected.log"),
            (Format::Dot, "expected.dot"),
        ] {
            compare(case, file, without_what_is_always_so(output(case, format)).into_bytes())?;
        }
        Ok(())
    });
}

/// Name and value of header fields in an archive, as jsonl has them.
fn fields_of(headers: &Value) -> Value {
    let pair = |field: &Value| match field["comment"].is_null() {
        true => serde_json::json!([field["name"], field["value"]]),
        false => serde_json::json!([field["name"], null]),
    };
    headers.as_array().expect("a list").iter().map(pair).collect()
}

/// An entry of an archive as the line of the same transaction, without the
/// times in which an archive says it in another way.
fn as_line(entry: &Value) -> Value {
    let (request, response) = (&entry["request"], &entry["response"]);
    let mut line = serde_json::Map::new();
    for object in [entry, request] {
        let own = object.as_object().expect("an object").iter();
        let own = own.filter_map(|(name, value)| Some((name.strip_prefix('_')?, value)));
        line.extend(own.map(|(name, value)| (name.to_owned(), value.clone())));
    }
    line.remove("trailers");
    // A text in an archive.
    let connection = common::text_of(entry, "connection").parse::<u64>();
    line.insert("connection".to_owned(), connection.expect("a number").into());
    for (name, value, unseen) in [
        ("method", &request["method"], Value::from("")),
        ("status", &response["status"], 0.into()),
        ("request_body_bytes", &request["bodySize"], (-1).into()),
        ("response_body_bytes", &response["bodySize"], (-1).into()),
    ] {
        let value = if *value == unseen { Value::Null } else { value.clone() };
        line.insert(name.to_owned(), value);
    }
    for (message, name) in [(request, "request"), (response, "response")] {
        line.insert(format!("{name}_headers"), fields_of(&message["headers"]));
        line.insert(format!("{name}_trailers"), fields_of(&message["_trailers"]));
    }
    line.into()
}

#[test]
fn archives_say_what_lines_say() {
    on_every_case(|case| {
        let archive: Value = serde_json::from_slice(&output(case, Format::Har)).expect("JSON");
        let lines = lines(&output(case, Format::Jsonl));
        let entries = archive["log"]["entries"].as_array().expect("a list");
        assert_eq!(entries.len(), lines.len(), "{}", case.name);
        for (entry, line) in entries.iter().zip(&lines) {
            let expected =
                common::without(line, &["request_end", "response_start", "response_end"]);
            let found = as_line(entry);
            if found != expected {
                return Err(common::fields_that_differ(&expected, &found));
            }
            for (name, phases) in [
                ("latency_ns", &["send", "wait"][..]),
                ("duration_ns", &["send", "wait", "receive"]),
            ] {
                let phases = phases.iter().map(|phase| entry["timings"][phase].as_f64());
                let phases: Vec<_> = phases.map(|phase| phase.expect("a number")).collect();
                if let Some(nanos) = line[name].as_f64().filter(|_| !phases.contains(&-1.0)) {
                    let sum: f64 = phases.iter().sum();
                    assert!((sum - nanos / 1e6).abs() < 1e-5, "{name}: {entry}");
                }
            }
        }
        Ok(())
    });
}

/// Truth that a passive observer cannot see as the peers do, by case: which
/// fields of which path are not compared, and why.
const UNSEEN: &[(&str, &str, &[&str], &str)] = &[];

/// The cases of `broken/` have the truth of the whole conversation, of which
/// the capture holds less.
fn is_whole(case: &Case) -> bool {
    matches!(case.name.as_str(), "broken/duplicated" | "broken/reordered" | "broken/retransmitted")
        || case.kind() != "broken"
}

#[test]
fn transactions_are_what_the_peers_say() {
    on_every_case(|case| {
        let truth = case.read("truth.json").ok_or("truth.json is missing")?;
        let truth: Vec<Value> = serde_json::from_str(&truth).map_err(|error| error.to_string())?;
        if truth.is_empty() {
            return Err("truth.json is empty".into());
        }
        let mut left = lines(&output(case, Format::Jsonl));
        let mut problems = String::new();
        for expected in &truth {
            let fits = |found: &Value| disagreement(case, expected, found).is_none();
            match left.iter().position(fits) {
                Some(index) => drop(left.remove(index)),
                None if is_whole(case) => {
                    problems.push_str(&format!(
                        "not found: {expected}\n{}",
                        nearest(case, expected, &left)
                    ));
                }
                None => {}
            }
        }
        if is_whole(case) {
            for found in &left {
                problems.push_str(&format!("not said by the peers: {}\n", brief(found)));
            }
        } else {
            // What is left of a damaged capture may know less, not other.
            for found in &left {
                if !truth.iter().any(|expected| may_be(expected, found)) {
                    problems.push_str(&format!("contradicts the peers: {}\n", brief(found)));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    });
}

fn brief(found: &Value) -> String {
    let fields = [
        "protocol",
        "client",
        "stream",
        "method",
        "authority",
        "path",
        "status",
        "request_body_bytes",
        "response_body_bytes",
        "grpc",
        "outcome",
        "completeness",
        "anomalies",
    ];
    fields.map(|field| format!("{field}={}", found[field])).join(" ")
}

/// The transaction of the same method and path, with what differs.
fn nearest(case: &Case, expected: &Value, left: &[Value]) -> String {
    left.iter()
        .filter(|found| found["path"] == expected["path"] && found["method"] == expected["method"])
        .map(|found| {
            let why = disagreement(case, expected, found).unwrap_or_default();
            format!("  near: {why}: {}\n", brief(found))
        })
        .collect()
}

/// `h2` of the truth is "http/2", or "grpc" where there was a call.
fn protocol_fits(expected: &Value, found: &Value) -> bool {
    let found = common::text_of(found, "protocol");
    match common::text_of(expected, "protocol") {
        _ if !expected["grpc"].is_null() => found == "grpc",
        "h2" => found == "http/2",
        version => found == version,
    }
}

fn disagreement(case: &Case, expected: &Value, found: &Value) -> Option<String> {
    if !protocol_fits(expected, found) {
        return Some("protocol".into());
    }
    let path = common::text_of(expected, "path");
    let unseen = |field: &str| {
        UNSEEN.iter().any(|(name, of, fields, _)| {
            *name == case.name && (*of == path || *of == "*") && fields.contains(&field)
        })
    };
    let fields =
        ["method", "authority", "path", "status", "request_body_bytes", "response_body_bytes"];
    for field in fields.into_iter().filter(|field| !unseen(field)) {
        // Null in the truth: the peer does not know. But where the client saw
        // no answer, an observer may still have seen one.
        if !expected[field].is_null() && !same(field, expected, found) {
            return Some(format!("{field}: {} for {}", found[field], expected[field]));
        }
    }
    let grpc = expected["grpc"].as_object()?;
    for (field, value) in grpc.iter().filter(|(field, _)| !unseen(field)) {
        if field == "status" && value.is_null() {
            continue;
        }
        if !value.is_null() && found["grpc"][field] != *value {
            return Some(format!("grpc {field}: {} for {value}", found["grpc"][field]));
        }
    }
    None
}

fn same(field: &str, expected: &Value, found: &Value) -> bool {
    if expected["method"] == "CONNECT" && field == "path" {
        // The truth names the target of CONNECT as authority.
        return found["path"].is_null()
            || found["path"] == ""
            || found["path"] == expected["authority"];
    }
    // No answer has no body: some peers write 0.
    let none =
        field == "response_body_bytes" && found["status"].is_null() && expected["status"].is_null();
    found[field] == expected[field] || (none && found[field].is_null() && expected[field] == 0)
}

/// Whether a transaction of a damaged capture can be what was seen of this.
fn may_be(expected: &Value, found: &Value) -> bool {
    let known = ["method", "authority", "path", "status"];
    let sizes = ["request_body_bytes", "response_body_bytes"];
    known.iter().all(|field| found[*field].is_null() || found[*field] == expected[*field])
        && sizes.iter().all(|field| found[*field].as_u64() <= expected[*field].as_u64())
}

#[test]
fn nothing_unseen_is_called_fine() {
    on_every_case(|case| {
        for found in lines(&output(case, Format::Jsonl)) {
            let grpc = &found["grpc"];
            let called_ok = grpc["status_name"] == "OK" && grpc["status"] != 0;
            let no_answer = found["outcome"] == "ok" && found["status"].is_null();
            let half = found["completeness"] == "complete"
                && (found["method"].is_null() || found["start"].is_null());
            let no_grpc_status = !grpc.is_null() && found["outcome"] == "ok" && grpc["status"] != 0;
            if called_ok || no_answer || half || no_grpc_status {
                return Err(brief(&found));
            }
        }
        Ok(())
    });
}
