//! What `json` and `jsonl` of analyses and `json` of comparisons write against their schemas in `docs/schema/`.
//!
//! Published schemas are open, since new names may come. Here they are closed:
//! what is written and what they list must be the same, so that neither changes
//! without the other.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::nodes::{MS, Node, START, Talk, request, response};
use common::{analyze, cases, options};
use perisco::analyze::diff::{self, Order, Rule, compare};
use perisco::analyze::filter::{Filter, Window};
use perisco::analyze::options::Options;
use perisco::analyze::report::{By, Format, model};
use perisco::pcap::Input;
use serde_json::{Map, Value, json};

/// Names that may be missing: with `--no-headers`, without `--bodies`, and where nothing is joined.
const OPTIONAL: [&str; 7] = [
    "joined",
    "request_headers",
    "response_headers",
    "request_trailers",
    "response_trailers",
    "request_body",
    "response_body",
];

fn published(name: &str) -> Value {
    let file = format!("docs/schema/{name}.schema.json");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
    let schema: Value = serde_json::from_str(&text.expect("a schema")).expect("JSON");
    assert_eq!(schema["title"], name);
    jsonschema::meta::validate(&schema).expect("a schema that is one");
    schema
}

/// Does something with each object that lists properties.
fn each_object(schema: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Object(object) => {
            if object.get("properties").is_some_and(Value::is_object) {
                visit(object);
            }
            object.values_mut().for_each(|value| each_object(value, visit));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| each_object(value, visit)),
        _ => {}
    }
}

/// The schema with nothing allowed that it does not list.
fn closed(name: &str) -> jsonschema::Validator {
    let mut schema = published(name);
    each_object(&mut schema, &mut |object| {
        object.insert("additionalProperties".to_owned(), json!(false));
    });
    jsonschema::validator_for(&schema).expect("a schema")
}

fn check(validator: &jsonschema::Validator, what: &str, value: &Value) {
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}: {}\n{value}", errors.join("\n"));
}

/// All captures of `testdata/`, and what unit tests print of things that none
/// of them has: processes, containers, findings, damage.
fn written(format: Format, snapshot: &str) -> Vec<(String, String)> {
    let mut all: Vec<_> = cases()
        .into_iter()
        .map(|case| {
            let bytes = analyze(vec![Input::Path(case.capture)], &options(format, 1)).bytes;
            (case.name, String::from_utf8(bytes).expect("UTF-8"))
        })
        .collect();
    let file =
        format!("src/analyze/report/snapshots/perisco__analyze__report__tests__{snapshot}.snap");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file));
    let text = text.expect("a snapshot");
    // Behind a head between two lines of dashes.
    let body = text.splitn(3, "---\n").nth(2).expect("a body").to_owned();
    all.push((file, body));
    all
}

fn lines() -> Vec<(String, Value)> {
    let all = [Format::Jsonl].into_iter().flat_map(|format| {
        let with = written(format, "jsonl_with_headers");
        let without = written(format, "jsonl_without_headers").pop();
        with.into_iter().chain(without)
    });
    let all = all.chain(with_bodies()).chain([joined(Format::Jsonl)]);
    let parse = |line: &str| serde_json::from_str(line).expect("JSON");
    all.flat_map(|(name, text)| {
        let lines: Vec<_> = text.lines().map(|line| (name.clone(), parse(line))).collect();
        lines
    })
    .collect()
}

/// The captures with `--bodies`, some of which are cut.
fn with_bodies() -> impl Iterator<Item = (String, String)> {
    cases().into_iter().map(|case| {
        let mut options = Options { bodies: true, ..options(Format::Jsonl, 1) };
        options.limits.bodies.limit = 100;
        let bytes = analyze(vec![Input::Path(case.capture)], &options).bytes;
        (case.name, String::from_utf8(bytes).expect("UTF-8"))
    })
}

/// What two nodes have recorded, of one transaction not all.
fn joined(format: Format) -> (String, String) {
    let mut nodes = [Node::new("a", 0), Node::new("b", 7_000_000)];
    let mut talk = Talk::new([Some(0), Some(1)], "10.0.0.1:41000", "10.0.0.2:80");
    let mut at = talk.open(&mut nodes, START);
    for number in 0..3 {
        talk.lost[0] = number == 1;
        let read = talk.send(&mut nodes, 0, at + MS, &request("/"));
        talk.lost[0] = false;
        at = talk.send(&mut nodes, 1, read + MS, &response("/"));
    }
    talk.close(&mut nodes, at + MS);
    let inputs = nodes.iter().map(|node| common::in_memory(&node.name, node.file()));
    let bytes = analyze(inputs.collect(), &options(format, 1)).bytes;
    ("joined".to_owned(), String::from_utf8(bytes).expect("UTF-8"))
}

/// A report with what only flags bring: `--where`, `--since`, `--by`.
fn asked_for() -> (String, String) {
    let window = Window::new(Some("+0s".parse().expect("a bound")), None, None);
    let filter = Filter::new(Some("status != 404"), Some(window)).expect("a filter");
    let options = Options { filter, by: By::Status, ..options(Format::Json, 1) };
    let case = cases().into_iter().find(|case| case.name == "http1/nginx-errors");
    let capture = case.expect("testdata/http1/nginx-errors").capture;
    let bytes = analyze(vec![Input::Path(capture)], &options).bytes;
    ("with flags".to_owned(), String::from_utf8(bytes).expect("UTF-8"))
}

/// Comparisons of captures with others: with filters, loss, new and vanished endpoints,
/// rules that were passed, held and neither.
fn diffs() -> Vec<(String, Value)> {
    let rules = ["new > 0", "p99 > +1%", "errors > 1000", "p50 < -1%"];
    let rules = rules.map(|rule| rule.parse::<Rule>().expect("a rule"));
    let cases = cases();
    let report = |index: usize, filter: Filter| {
        let options = Options { compared: true, filter, ..options(Format::Json, 1) };
        let case = cases.get(index % cases.len()).expect("a case");
        (case.name.clone(), analyze(vec![Input::Path(case.capture.clone())], &options).analysis)
    };
    let pair = |index: usize| {
        let window = Window::new(Some("+0s".parse().expect("a bound")), None, None);
        let filter = Filter::new(Some("status != 404"), Some(window)).expect("a filter");
        let (name, before) = report(index, filter);
        let (other, after) = report(index + index % 3, Filter::default());
        let diff =
            compare(&before.report, &after.report, Order::Worst, &rules, index.is_multiple_of(2));
        (format!("{name} and {other}"), serde_json::to_value(diff).expect("JSON"))
    };
    (0..cases.len()).map(pair).collect()
}

fn reports() -> Vec<(String, Value)> {
    let all =
        [asked_for(), joined(Format::Json)].into_iter().chain(written(Format::Json, "json_report"));
    all.map(|(name, text)| (name, serde_json::from_str(&text).expect("JSON"))).collect()
}

#[test]
fn every_line_is_as_the_schema_says() {
    let validator = closed("jsonl-transaction-1");
    let lines = lines();
    assert!(lines.len() > 300, "only {} lines", lines.len());
    lines.iter().for_each(|(name, line)| check(&validator, name, line));
}

#[test]
fn every_report_is_as_the_schema_says() {
    let validator = closed("json-report-1");
    reports().iter().for_each(|(name, report)| check(&validator, name, report));
    assert_eq!(published("json-report-1")["properties"]["schema"]["const"], model::SCHEMA);
}

#[test]
fn every_comparison_is_as_the_schema_says() {
    let validator = closed("diff-1");
    let diffs = diffs();
    diffs.iter().for_each(|(name, diff)| check(&validator, name, diff));
    assert_eq!(published("diff-1")["properties"]["schema"]["const"], diff::model::SCHEMA);
    // All that there is came up.
    for path in ["/rules/0/failed/0", "/edges/new/0", "/edges/vanished/0", "/caveats/0"] {
        assert!(diffs.iter().any(|(_, diff)| diff.pointer(path).is_some()), "no {path}");
    }
}

#[test]
fn schemas_demand_all_that_they_list() {
    for name in ["jsonl-transaction-1", "json-report-1", "diff-1"] {
        let mut objects = 0;
        each_object(&mut published(name), &mut |object| {
            objects += 1;
            let listed: BTreeSet<_> = object["properties"]
                .as_object()
                .expect("an object")
                .keys()
                .map(String::as_str)
                .collect();
            let demanded = object["required"].as_array().expect("a list");
            let demanded: BTreeSet<_> = demanded.iter().filter_map(Value::as_str).collect();
            let free: Vec<_> = listed.symmetric_difference(&demanded).copied().collect();
            assert!(free.iter().all(|name| OPTIONAL.contains(name)), "{name}: {free:?}");
        });
        assert!(objects > 3, "{name}: {objects} objects");
    }
}

/// A field that is added, goes or changes its type is noticed.
#[test]
fn changes_do_not_go_unnoticed() {
    let (_, line) = lines().into_iter().find(|(_, line)| !line["grpc"].is_null()).expect("a call");
    let all = lines();
    let (_, joined_line) =
        all.iter().rev().find(|(_, line)| line.get("joined").is_some()).expect("a joined one");
    let reports = reports();
    let [(_, asked), (_, both_ends), .., (_, report)] = &reports[..] else { panic!("no reports") };
    let diffs = diffs();
    let has = |path: &str| {
        let mut there = diffs.iter().filter(|(_, diff)| diff.pointer(path).is_some());
        &there.next().unwrap_or_else(|| panic!("no {path}")).1
    };
    for (schema, value, path) in [
        ("jsonl-transaction-1", &line, ""),
        ("jsonl-transaction-1", &line, "/grpc"),
        ("json-report-1", report, ""),
        ("json-report-1", report, "/loss"),
        ("json-report-1", report, "/endpoints/0"),
        ("json-report-1", report, "/slowest/0"),
        ("json-report-1", report, "/edges/0/transactions"),
        ("json-report-1", report, "/errors/0/samples/0"),
        ("json-report-1", report, "/findings/listed/0"),
        ("json-report-1", asked, "/filter"),
        ("json-report-1", asked, "/filter/since"),
        ("json-report-1", asked, "/groups"),
        ("json-report-1", asked, "/groups/rows/0"),
        ("json-report-1", both_ends, "/joined"),
        ("json-report-1", both_ends, "/joined/clocks/0"),
        ("json-report-1", both_ends, "/joined/links/0"),
        ("jsonl-transaction-1", joined_line, "/joined"),
        ("diff-1", has(""), ""),
        ("diff-1", has(""), "/counts"),
        ("diff-1", has(""), "/after"),
        ("diff-1", has(""), "/before/filter/since"),
        ("diff-1", has("/caveats/0"), "/caveats/0"),
        ("diff-1", has("/endpoints/0"), "/endpoints/0"),
        ("diff-1", has("/endpoints/0"), "/endpoints/0/p99"),
        ("diff-1", has("/edges/new/0"), "/edges/new/0"),
        ("diff-1", has("/rules/0"), "/rules/0"),
        ("diff-1", has("/rules/0/failed/0"), "/rules/0/failed/0"),
    ] {
        let validator = closed(schema);
        assert!(validator.is_valid(value), "{schema}");
        let object = value.pointer(path).and_then(Value::as_object).expect("an object");
        let changed = |change: &dyn Fn(&mut Map<String, Value>)| {
            let mut value = value.clone();
            let object = value.pointer_mut(path).and_then(Value::as_object_mut);
            change(object.expect("an object"));
            validator.is_valid(&value)
        };
        assert!(
            !changed(&|object| drop(object.insert("never heard of".into(), json!(1)))),
            "{path}"
        );
        for name in object.keys().filter(|name| !OPTIONAL.contains(&name.as_str())) {
            assert!(!changed(&|object| drop(object.remove(name))), "{path}/{name} has gone");
            let other = json!([[{"of": "another type"}]]);
            let of = &other;
            let retyped = changed(&|object| drop(object.insert(name.clone(), of.clone())));
            assert!(!retyped, "{path}/{name} is of another type");
        }
    }
}
