//! `perisco show`: one transaction whole, by the real binary.
//!
//! `UPDATE_EXPECT=1 cargo test --test show` writes the expected output anew; read
//! the difference before committing it.

mod common;

use std::path::{Path, PathBuf};

use common::command::{Ran, path, run};
use common::model::{Act, Conversation, Step};
use common::synth::{self, Shape, Writer};
use serde_json::Value;

/// Transactions whose output is kept: captures of each kind, and what is special
/// about them.
const KEPT: &[(&str, &str, &[&str])] = &[
    // A form in the request.
    ("http1/nginx-auth-form", "3", &[]),
    // Interim responses.
    ("http1/go-early-hints", "1", &[]),
    // An answer of another version than its request.
    ("http1/http10", "4", &[]),
    // Chunks that come slowly.
    ("http1/go-events", "1", &[]),
    // Trailers.
    ("h2/go-trailers", "1", &["--bodies", "200"]),
    // Coded content.
    ("http1/nginx-gzip", "1", &["--bodies", "400"]),
    // Streams of messages both ways.
    ("grpc/go-streams", "3", &[]),
    // A status with a message.
    ("grpc/py-errors", "1", &["--no-bodies"]),
    // Bytes missing inside.
    ("broken/loss", "3", &["--bodies", "150"]),
    ("broken/h2-loss", "2", &["--bodies", "150"]),
    // Of HTTP/2 streams joined midway.
    ("broken/h2-late-start", "1", &[]),
    // Pods, a Service and what is behind it.
    ("recorded/shop", "2.1", &[]),
];

fn capture(name: &str) -> PathBuf {
    let case = common::cases().into_iter().find(|case| case.name == name);
    case.unwrap_or_else(|| panic!("no case {name}")).capture
}

fn show(args: &[&str]) -> Ran {
    run(&[&["show"], args].concat(), b"")
}

#[test]
fn transactions_are_shown_as_expected() {
    let mut failures = String::new();
    for (name, id, flags) in KEPT {
        let capture = capture(name);
        let ran = show(&[&[path(&capture), id], *flags].concat());
        // Captures that are damaged on purpose have a code of their own.
        assert!(matches!(ran.code, Some(0 | 1)), "{name} {id}: {}", ran.err);
        assert!(!ran.out.contains('\x1b'), "colours without a terminal");
        let file = capture.with_file_name(format!("expected-show-{id}.txt"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &ran.out).expect("a file");
            continue;
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if expected != ran.out {
            failures += &format!("── {name} {id}\n{}", common::difference(&expected, &ran.out));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[cfg(feature = "proto")]
#[test]
fn messages_have_the_names_that_their_definitions_say() {
    let capture = capture("grpc/py-kinds");
    let shown = |file: &str| show(&[path(&capture), "1", "--proto", file]);
    let folder = env!("CARGO_MANIFEST_DIR");
    // Not below the folder that the test runs in, and no --proto-path.
    let ran = shown(&format!("{folder}/scripts/gen/proto/shop.proto"));
    assert!(ran.out.contains("\n      name: \"item 1\"\n      price: 1.25\n"), "{}", ran.out);
    let other = shown(&format!("{folder}/src/analyze/body/proto/schemas/error_details.proto"));
    assert!(other.out.contains("(its method is not in the definitions given)"), "{}", other.out);
    assert!(other.out.contains("\n      2: \"item 1\"\n"), "{}", other.out);
    let none = shown("none.proto");
    assert_eq!((none.code, none.out.as_str()), (Some(2), ""));
    assert!(none.err.contains("none.proto: No such file"), "{}", none.err);
}

/// The transactions in a document.
fn transactions(document: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(document).expect("JSON");
    assert_eq!(document["schema"], 1);
    document["transactions"].as_array().expect("a list").clone()
}

#[test]
fn ids_and_numbers_name_the_same() {
    for name in ["http1/nginx-keepalive", "h2/nginx-mix", "grpc/go-streams", "broken/loss"] {
        let capture = capture(name);
        let lines = common::transactions_of(&capture);
        let ids: std::collections::BTreeSet<_> =
            lines.iter().map(|line| line["id"].to_string()).collect();
        assert_eq!(ids.len(), lines.len(), "{name}: ids are not names");
        for (index, line) in lines.iter().enumerate().step_by(lines.len().div_ceil(4)) {
            let id = line["id"].as_str().expect("an id");
            for wanted in [id.to_owned(), (index + 1).to_string()] {
                let ran = show(&[path(&capture), &wanted, "--format", "json"]);
                let shown = transactions(&ran.out);
                assert_eq!(shown.len(), 1, "{name} {wanted}");
                assert_eq!(shown[0]["transaction"], *line, "{name} {wanted}");
            }
        }
    }
}

#[test]
fn ids_do_not_depend_on_filters_or_threads() {
    let capture = capture("h2/nginx-mix");
    let ids = |args: &[&str]| {
        let args = [&[path(&capture), "-f", "csv"], args].concat();
        let ran = common::command::analyze(&args, b"");
        let ids: Vec<_> = ran
            .out
            .lines()
            .skip(1)
            // Behind it are seven columns of names, which are empty here.
            .filter_map(|line| Some(line.rsplit(',').nth(7)?.to_owned()))
            .collect();
        ids
    };
    let all = ids(&["--threads", "1"]);
    assert!(all.len() > 3 && all.iter().all(|id| id.starts_with('"')), "{all:?}");
    assert_eq!(ids(&["--threads", "3"]), all);
    let some = ids(&["--where", "stream > 3"]);
    assert!(some.len() < all.len() && some.iter().all(|id| all.contains(id)), "{some:?}");
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let capture = capture("http1/nginx-keepalive");
    let file = path(&capture);
    for (wanted, says) in [
        ("1.99", "connection 1 has 1.1, 1.2"),
        ("99.1", "connections are counted from 1"),
        ("0.1", "connections are counted from 1"),
        ("100000", "transactions are counted from 1"),
        ("0", "count from 1"),
        ("first", "neither an id"),
        ("1.x", "neither an id"),
    ] {
        let ran = show(&[file, wanted]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{wanted}: {}", ran.err);
        assert!(ran.err.contains(says), "{wanted}: {}", ran.err);
    }
    let ran = show(&["-", "1.1"]);
    assert!(ran.code == Some(2) && ran.err.contains("twice"), "{}", ran.err);
    let ran = show(&["no/such/file", "1.1"]);
    assert_eq!(ran.code, Some(2));
}

/// One exchange with these bytes, on disk.
fn exchange(folder: &Path, steps: Vec<Step>) -> PathBuf {
    let ends = ["10.0.0.1:40000", "10.0.0.2:80"].map(|end| end.parse().expect("an address"));
    let conversation = Conversation { ends, opened: 1_700_000_000_000_000_000, steps };
    let capture = synth::pcap(&Writer::new(&conversation, Shape::default()).write(&conversation));
    let file = folder.join("cap.pcap");
    std::fs::write(&file, capture).expect("a file");
    file
}

fn said(way: usize, millis: i64, bytes: &[u8]) -> Step {
    let at = 1_700_000_000_000_000_000 + millis * 1_000_000;
    Step { way, at, act: Act::Data(bytes.to_vec()) }
}

#[test]
fn hostile_bytes_do_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = exchange(
        folder.path(),
        vec![
            said(0, 1, b"POST /\x1b[2J HTTP/1.1\r\nHost: \x1b]0;owned\x07\r\nX: \xe2\x80\xae\x9b31m\r\nContent-Length: 9\r\n\r\n\x1b[31mred\x07"),
            said(1, 2, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\x1b[5m\r\nContent-Encoding: \x1b[6n\r\nContent-Length: 4\r\n\r\n\x1b[2J"),
        ],
    );
    for format in ["text", "json"] {
        let ran = show(&[path(&file), "1.1", "-f", format]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let odd = ran
            .out
            .chars()
            .find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}' && format == "text");
        assert_eq!(odd, None, "{}", ran.out);
    }
    let ran = show(&[path(&file), "1.1", "--color", "always"]);
    let own = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[1;31m"];
    let rest = own.iter().fold(ran.out, |out, code| out.replace(code, ""));
    assert!(!rest.contains('\x1b'), "{rest}");
}

#[test]
fn pauses_are_told_with_time_and_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = exchange(
        folder.path(),
        vec![
            said(0, 0, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            said(1, 10, b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nfirst"),
            said(1, 310, b"and"),
            said(1, 315, b"more"),
        ],
    );
    let stalls = |args: &[&str]| {
        let ran = show(&[&[path(&file), "1.1", "-f", "json"], args].concat());
        let shown = transactions(&ran.out).remove(0);
        let stalls = shown["stalls"].as_array().expect("a list").clone();
        stalls.iter().map(|s| (s["after_bytes"].as_u64(), s["ns"].as_u64())).collect::<Vec<_>>()
    };
    let long = (Some(5), Some(300_000_000));
    assert_eq!(stalls(&[]), [long]);
    assert_eq!(stalls(&["--stall", "5ms"]), [long, (Some(8), Some(5_000_000))]);
    assert_eq!(stalls(&["--stall", "1s"]), []);
    let text = show(&[path(&file), "1.1"]).out;
    assert!(text.contains("300 ms at response byte 5"), "{text}");
}

#[test]
fn bodies_can_be_short_or_left_out() {
    let capture = capture("http1/nginx-auth-form");
    let lines = common::transactions_of(&capture);
    let with = lines.iter().position(|line| line["response_body_bytes"].as_u64() > Some(3));
    let number = (with.expect("a body") + 1).to_string();
    let body = |args: &[&str]| {
        let ran = show(&[&[path(&capture), &number, "-f", "json"], args].concat());
        transactions(&ran.out).remove(0)["response"].clone()
    };
    assert_eq!(body(&[])["whole"], true);
    let short = body(&["--bodies", "3"]);
    assert_eq!((&short["cut"], &short["whole"]), (&"limit".into(), &false.into()));
    assert!(body(&["--no-bodies"]).is_null());
    let text = show(&[path(&capture), &number, "--no-bodies"]).out;
    assert!(text.contains("not shown (--no-bodies)"), "{text}");
}

/// The schema with nothing allowed that it does not list.
fn closed() -> jsonschema::Validator {
    fn close(schema: &mut Value) {
        match schema {
            Value::Object(object) => {
                if object.get("properties").is_some_and(Value::is_object) {
                    object.insert("additionalProperties".to_owned(), false.into());
                }
                object.values_mut().for_each(close);
            }
            Value::Array(list) => list.iter_mut().for_each(close),
            _ => {}
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/show-1.schema.json");
    let mut schema: Value =
        serde_json::from_str(&std::fs::read_to_string(file).expect("a schema")).expect("JSON");
    jsonschema::meta::validate(&schema).expect("a schema that is one");
    assert_eq!(schema["title"], "show-1");
    close(&mut schema);
    jsonschema::validator_for(&schema).expect("a schema")
}

#[test]
fn documents_are_as_the_schema_says() {
    let validator = closed();
    for (name, id, _) in KEPT {
        let ran = show(&[path(&capture(name)), id, "--format", "json"]);
        let document: Value = serde_json::from_str(&ran.out).expect("JSON");
        let errors: Vec<_> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name} {id}: {}", errors.join("\n"));
        // What goes or comes is noticed.
        let mut changed = document.clone();
        changed["transactions"][0]["new"] = 1.into();
        assert!(!validator.is_valid(&changed));
        let mut changed = document;
        changed["transactions"][0].as_object_mut().expect("an object").remove("stalls");
        assert!(!validator.is_valid(&changed));
    }
}
