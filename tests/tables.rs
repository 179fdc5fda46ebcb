//! `--by`, `--sort` and `--top`: the main table as a user asks for it.

mod common;

use common::command::{analyze, path};
use common::{analyze as run, cases, in_memory, options, synth};
use perisco::analyze::options::Options;
use perisco::analyze::report::{By, Format, Sort};
use perisco::pcap::Input;
use serde_json::Value;

fn case(name: &str) -> String {
    let case = cases().into_iter().find(|case| case.name == name);
    path(&case.unwrap_or_else(|| panic!("no testdata/{name}")).capture).to_owned()
}

fn report(args: &[&str]) -> Value {
    let ran = analyze(&[&["-f", "json"], args].concat(), b"");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).expect("JSON")
}

fn rows(report: &Value) -> Vec<(&str, u64)> {
    let rows = report["groups"]["rows"].as_array().expect("rows");
    let row = |row: &'_ Value| row["count"].as_u64().expect("a count");
    rows.iter().map(|r| (r["name"].as_str().unwrap_or("null"), row(r))).collect()
}

#[test]
fn rows_stand_for_what_was_asked() {
    let errors = case("http1/nginx-errors");
    let of = |by: &str| report(&["--by", by, &errors]);
    assert_eq!(rows(&of("status")), [("200", 10), ("404", 3), ("500", 2), ("502", 2), ("503", 1)]);
    assert_eq!(rows(&of("method")), [("GET", 16), ("POST", 2)]);
    assert_eq!(rows(&of("client")), [("127.0.0.1", 18)]);
    assert_eq!(rows(&of("server")), [("127.0.0.1:8080", 18)]);
    let hosts = of("host");
    assert_eq!(rows(&hosts).iter().map(|(_, count)| count).sum::<u64>(), 18);
    assert!(rows(&hosts).iter().any(|(name, _)| *name == "shop.example"), "{hosts}");
    assert!(rows(&of("connection"))[0].0.starts_with("#1 127.0.0.1:"));
    // Nobody knows the processes of a capture that perisco did not record.
    assert_eq!(rows(&of("process")), [("null", 18)]);
    assert_eq!(of("endpoint")["groups"], Value::Null);
    let calls = report(&["--by", "status", &case("grpc/go-errors")]);
    assert_eq!(rows(&calls)[0], ("grpc UNIMPLEMENTED", 2));
}

#[test]
fn the_order_is_what_was_asked() {
    let errors = case("http1/nginx-errors");
    let sorted = |by: &str, sort: &str| report(&["--by", by, "--sort", sort, &errors]);
    let names =
        |report: &Value| rows(report).iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&sorted("status", "errors")), ["404", "500", "502", "503", "200"]);
    for (sort, figure) in [("p50", "p50_ns"), ("p99", "p99_ns"), ("max", "max_ns")] {
        let report = sorted("status", sort);
        let rows = report["groups"]["rows"].as_array().expect("rows");
        let figures: Vec<_> = rows.iter().map(|row| row["latency"][figure].as_u64()).collect();
        assert!(figures.is_sorted_by(|a, b| a >= b), "{sort}: {figures:?}");
    }
    let endpoints = report(&["--sort", "bytes", &errors]);
    let endpoints = endpoints["endpoints"].as_array().expect("endpoints");
    let bytes = endpoints.iter().map(|e| e["response_body_bytes"].as_u64());
    assert!(bytes.is_sorted_by(|a, b| a >= b));
}

#[test]
fn top_bounds_the_tables_and_says_what_it_leaves_out() {
    let errors = case("http1/nginx-errors");
    let ran = analyze(&["--top", "2", "--by", "status", &errors], b"");
    assert!(ran.out.contains("By status"), "{}", ran.out);
    assert!(ran.out.contains("and 3 rows more with 5 transactions"), "{}", ran.out);
    assert_eq!(report(&["--top", "2", &errors])["slowest"].as_array().map(Vec::len), Some(2));
}

/// More groups than are kept: the rest is in one row, and nothing is lost.
#[test]
fn groups_are_bounded_and_the_rest_is_exact_for_any_number_of_threads() {
    let conversations = (0..12_000u32).map(|index| {
        let client = format!("10.{}.{}.{}:40000", index >> 16, index >> 8 & 255, index & 255);
        let ends = [client.parse().expect("an address"), "10.9.9.9:80".parse().expect("one")];
        let opened = 1_700_000_000_000_000_000 + i64::from(index) * 100_000;
        let conversation = synth::http1(ends, opened, 1);
        synth::Writer::new(&conversation, Default::default()).write(&conversation)
    });
    let capture = synth::pcap(&synth::by_time(conversations.collect()));
    let of = |threads: usize| {
        let inputs: Vec<Input> = vec![in_memory("many.pcap", capture.clone())];
        let options = Options { by: By::Client, sort: Sort::Max, ..options(Format::Json, threads) };
        run(inputs, &options).bytes
    };
    let one = of(1);
    let report: Value = serde_json::from_slice(&one).expect("JSON");
    let other = report["groups"]["other"]["count"].as_u64().expect("a rest");
    assert_eq!(rows(&report).iter().map(|(_, count)| count).sum::<u64>() + other, 12_000);
    assert!(rows(&report).len() <= 16 * 512);
    assert_eq!(report["loss"]["limits"]["groups in the report"], other);
    for threads in [2, 3, 8] {
        assert!(of(threads) == one, "{threads} threads differ");
    }
}
