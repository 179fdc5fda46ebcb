//! `--where`, `--since` and `--until` as a user meets them.

mod common;

use common::command::{analyze, path};
use common::{analyze as run, cases, lines, options};
use perisco::analyze::filter::{Bound, Filter, Window};
use perisco::analyze::options::Options;
use perisco::analyze::report::Format;
use perisco::pcap::Input;
use serde_json::Value;

fn case(name: &str) -> String {
    let case = cases().into_iter().find(|case| case.name == name);
    path(&case.unwrap_or_else(|| panic!("no testdata/{name}")).capture).to_owned()
}

/// The words of a command line in which single quotes keep words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("a word").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_examples_of_the_documentation_take_what_they_say() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let text = std::fs::read_to_string(format!("{folder}/docs/filter.md")).expect("docs/filter.md");
    let examples: Vec<_> = text.lines().filter_map(|line| line.split_once(" # ")).collect();
    assert!(examples.len() > 9, "no examples in docs/filter.md");
    let mut wrong = String::new();
    for (command, takes) in examples {
        let args: Vec<_> = words(command).into_iter().skip(2).collect();
        let args: Vec<_> = args
            .iter()
            .map(|word| word.replace("testdata", &format!("{folder}/testdata")))
            .collect();
        let args: Vec<_> = args.iter().map(String::as_str).chain(["-qf", "jsonl"]).collect();
        let ran = analyze(&args, b"");
        let (taken, all) = takes.split_once(" of ").expect("n of m");
        let told = format!("{taken} of {all} transactions");
        let count = ran.out.lines().count().to_string();
        if ran.code != Some(0) || count != taken || !ran.err.contains(&told) {
            wrong += &format!("{command}: {count} for {takes}: {}\n", ran.err);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_slip_is_exit_code_2_before_the_capture_is_opened() {
    let ran = analyze(&["no-such-file.pcap", "--where", "latancy_ns > 5"], b"");
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    let told = "perisco: --where: there is no field latancy_ns; did you mean latency_ns?\n  \
                latancy_ns > 5\n  ^^^^^^^^^^\n";
    assert_eq!(ran.err, told);
    let ran = analyze(&["no-such-file.pcap", "--since", "soon"], b"");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("RFC 3339"), "{}", ran.err);
}

#[test]
fn the_log_is_not_filtered() {
    for filter in [["--where", "status > 5"], ["--until", "+1s"]] {
        let ran = analyze(&[&["-f", "log", &case("broken/loss")][..], &filter].concat(), b"");
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
        assert!(ran.err.contains("log"), "{}", ran.err);
    }
}

#[test]
fn all_formats_have_the_same_transactions_and_the_loss_of_all() {
    let file = case("broken/loss");
    let filter = ["--where", "status == 404", file.as_str()];
    let of = |format: &str| analyze(&[&["-f", format][..], &filter].concat(), b"");
    let report: Value = serde_json::from_str(&of("json").out).expect("JSON");
    let whole = analyze(&["-f", "json", &file], b"");
    let whole: Value = serde_json::from_str(&whole.out).expect("JSON");
    assert_eq!(whole["filter"], Value::Null);
    for name in ["capture", "loss", "flows"] {
        assert_eq!(report[name], whole[name], "{name}");
    }
    assert_eq!(report["transactions"]["count"], 1);
    assert_eq!(report["endpoints"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["edges"][0]["transactions"]["count"], 1);
    assert_eq!(report["edges"][0]["connections"], whole["edges"][0]["connections"]);
    let filtered = serde_json::json!({
        "where": "status == 404", "since": null, "until": null,
        "taken": 1, "left_out": 5, "undecided": 0,
    });
    assert_eq!(report["filter"], filtered);
    let text = of("text").out;
    for part in ["ARE MISSING", "1 transaction in", "status == 404", "1 of 6 transactions"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let har: Value = serde_json::from_str(&of("har").out).expect("JSON");
    assert_eq!(har["log"]["entries"].as_array().map(Vec::len), Some(1));
    assert_eq!(har["log"]["_filter"], report["filter"]);
    let comment = har["log"]["comment"].as_str().expect("a comment");
    assert!(comment.contains("1 of 6 transactions") && comment.contains("ARE MISSING"));
    for (format, count) in [("jsonl", 1), ("csv", 2)] {
        let ran = of(format);
        assert_eq!(ran.out.lines().count(), count, "{}", ran.out);
        assert!(ran.out.contains("/missing/42"), "{}", ran.out);
        assert!(ran.err.contains("1 of 6 transactions") && ran.err.contains("ARE MISSING"));
    }
}

#[test]
fn a_filter_that_takes_nothing_says_so() {
    let ran = analyze(&["--where", "status == 999", &case("http1/nginx-errors")], b"");
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.starts_with("No transaction is within the filter\n"), "{}", ran.out);
    assert!(
        ran.out.contains("0 of 18 transactions") && !ran.out.contains("No HTTP"),
        "{}",
        ran.out
    );
}

#[test]
fn what_was_not_seen_is_counted_and_not_taken() {
    let file = case("http1/no-answer");
    let of = |expression: &str| {
        let ran = analyze(&["-f", "json", "--where", expression, &file], b"");
        let report: Value = serde_json::from_str(&ran.out).expect("JSON");
        report["filter"]["undecided"].as_u64().zip(report["filter"]["taken"].as_u64())
    };
    let (undecided, taken) = of("status >= 500").expect("counts");
    assert!(undecided > 0 && taken == 0);
    assert_eq!(of("!(status >= 500)").map(|(undecided, _)| undecided), Some(undecided));
    assert_eq!(of("status == null"), Some((0, undecided)));
    let text = analyze(&["--where", "status >= 500", &file], b"").out;
    assert!(text.contains("undecided"), "{text}");
}

#[test]
fn header_fields_are_looked_at_though_no_output_has_them() {
    let file = case("http1/nginx-keepalive");
    for format in ["csv", "jsonl", "text", "json"] {
        let filter = ["-qf", format, "--where", "request.header(\"host\") != \"\"", &file];
        let ran = analyze(&filter, b"");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert!(ran.out.contains("/small.txt"), "{format}: {}{}", ran.out, ran.err);
        assert!(!ran.out.contains("request_headers"), "{}", ran.out);
    }
}

/// Fields that a limit left out may be any; before, they were taken for not sent.
#[test]
fn a_field_past_a_limit_may_have_been_sent() {
    let file = case("h2/nginx-mix");
    let count = |args: &[&str]| {
        let ran = analyze(&[&["-qf", "jsonl", &file][..], args].concat(), b"");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        (ran.out.lines().count(), ran.err.contains("7 transactions left out, since what decides"))
    };
    let none = "request.header(\"x\") == \"\"";
    assert_eq!(count(&["--where", none]), (7, false));
    assert_eq!(count(&["--where", none, "--head-bytes", "150"]), (0, true));
    let listed = "!request_headers.exists(h, h[0] == \"x\")";
    assert_eq!(count(&["--where", listed]), (7, false));
    assert_eq!(count(&["--where", listed, "--head-bytes", "150"]), (0, true));
    assert_eq!(count(&["--where", "path != \"\"", "--head-bytes", "150"]), (7, false));
}

#[test]
fn times_are_told_from_both_ends_of_files_only() {
    // Six requests between .0019 and .0076 seconds after 16:02:33.
    let file = case("broken/loss");
    let count = |args: &[&str]| {
        let ran = analyze(&[&["-qf", "jsonl", &file][..], args].concat(), b"");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out.lines().count()
    };
    assert_eq!(count(&["--since", "16:02:33.007"]), 2);
    assert_eq!(count(&["--since=2026-11-22T17:02:33.0023+01:00", "--until", "16:02:33.003"]), 3);
    assert_eq!(count(&["--since", "+1h"]), 0);
    assert_eq!(count(&["--until", "+1h"]), 6);
    assert_eq!(count(&["--since", "-1h"]), 6);
    assert_eq!(count(&["--until", "-1h"]), 0);
    let bytes = std::fs::read(&file).expect("a capture");
    let ran = analyze(&["-", "--since", "-1h"], &bytes);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("pipe"), "{}", ran.err);
    let ran = analyze(&["-", "-qf", "jsonl", "--since", "+5ms"], &bytes);
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 2), "{}", ran.err);
}

#[test]
fn a_filter_takes_the_same_for_any_number_of_threads() {
    let expression = "status >= 400 || grpc.status != 0 || request.header(\"x\") == \"y\"";
    for format in [Format::Text, Format::Json, Format::Jsonl, Format::Csv] {
        let of = |threads: usize| {
            let since: Bound = "+10ms".parse().expect("a bound");
            let window = Window::new(Some(since), None, None);
            let filter = Filter::new(Some(expression), Some(window)).expect("a filter");
            let inputs = cases().into_iter().map(|case| Input::Path(case.capture)).collect();
            run(inputs, &Options { filter, ..options(format, threads) }).bytes
        };
        let one = of(1);
        assert!(one.len() > 1000, "{format:?} gives next to nothing");
        for threads in [2, 3, 8] {
            assert!(of(threads) == one, "{format:?}: 1 and {threads} threads differ");
        }
    }
}

/// What is taken is what one would take from all lines.
#[test]
fn what_is_taken_and_left_is_all() {
    let inputs = || cases().into_iter().map(|case| Input::Path(case.capture)).collect::<Vec<_>>();
    let all = lines(&run(inputs(), &options(Format::Jsonl, 2)).bytes);
    let by_hand = |keep: fn(&Value) -> bool| all.iter().filter(|line| keep(line)).count();
    for (expression, expected) in [
        ("status >= 400", by_hand(|t| t["status"].as_u64() >= Some(400))),
        ("status == null", by_hand(|t| t["status"].is_null())),
        ("outcome == \"reset\"", by_hand(|t| t["outcome"] == "reset")),
        ("latency_ns > 1000000", by_hand(|t| t["latency_ns"].as_u64() > Some(1_000_000))),
        ("grpc.status_name == \"CANCELLED\"", by_hand(|t| t["grpc"]["status_name"] == "CANCELLED")),
        (
            "anomalies.size() > 0",
            by_hand(|t| t["anomalies"].as_array().is_some_and(|a| !a.is_empty())),
        ),
    ] {
        let filter = Filter::new(Some(expression), None).expect("a filter");
        let ran = run(inputs(), &Options { filter, ..options(Format::Jsonl, 2) });
        assert_eq!(lines(&ran.bytes).len(), expected, "{expression}");
        let filter = ran.analysis.report.filter.expect("a filter");
        assert_eq!(filter.taken + filter.left_out + filter.undecided, all.len() as u64);
    }
}
