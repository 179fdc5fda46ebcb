//! `perisco diff` as a user runs it: what it says of captures whose difference is known,
//! and the exit codes that scripts go by.

mod common;

use std::path::{Path, PathBuf};

use common::command::{Ran, path, run};
use common::model::{Act, Conversation, Step};
use common::synth::{self, Shape, Writer};
use serde_json::Value;

const MILLISECOND: i64 = 1_000_000;

/// Exchanges with one endpoint.
#[derive(Clone, Copy)]
struct Load {
    target: &'static str,
    count: usize,
    /// How long an answer takes at least; every so many take up to twice as long.
    millis: i64,
    /// Of how many one fails; 0 where none does.
    failing: usize,
}

const fn load(target: &'static str, count: usize, millis: i64, failing: usize) -> Load {
    Load { target, count, millis, failing }
}

/// A capture of ten connections for each load, at most 40 ms apart from each other.
fn capture(loads: &[Load], host: &str, server: &str) -> Vec<u8> {
    let mut conversations = Vec::new();
    for (index, load) in loads.iter().enumerate() {
        for connection in 0..10_usize {
            let client = format!("10.0.{index}.1:{}", 40_000 + connection);
            let ends = [client, server.to_owned()].map(|end| end.parse().expect("an address"));
            let opened = 1_700_000_000_000_000_000 + (connection as i64) * 4 * MILLISECOND;
            let conversation = exchanges(ends, opened, load, host, connection);
            let written = Writer::new(&conversation, Shape::default()).write(&conversation);
            conversations.push(written);
        }
    }
    synth::pcap(&synth::by_time(conversations))
}

/// The exchanges of one of ten connections.
fn exchanges(
    ends: [std::net::SocketAddr; 2],
    opened: i64,
    load: &Load,
    host: &str,
    connection: usize,
) -> Conversation {
    let (mut at, mut steps) = (opened, Vec::new());
    for index in (connection..load.count).step_by(10) {
        let fails = load.failing > 0 && index % load.failing == 0;
        let status = if fails { "503 Service Unavailable" } else { "200 OK" };
        let request = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n\r\n", load.target);
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        // The same in each run, and spread over twice the least.
        let spread = (index * 37 % 100) as i64 * load.millis * MILLISECOND / 100;
        let takes = load.millis * MILLISECOND + spread;
        steps.push(Step { way: 0, at, act: Act::Data(request.into_bytes()) });
        steps.push(Step { way: 1, at: at + takes, act: Act::Data(response.into_bytes()) });
        at += 100 * MILLISECOND;
    }
    for way in [0, 1] {
        steps.push(Step { way, at, act: Act::Fin });
    }
    Conversation { ends, opened, steps }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.at(name), bytes).expect("written");
        path(&self.at(name)).to_owned()
    }
}

const BEFORE: [Load; 4] = [
    load("/cart", 1_000, 10, 0),
    load("/search", 1_000, 10, 0),
    load("/old", 100, 10, 0),
    load("/rare", 5, 10, 0),
];
const AFTER: [Load; 4] = [
    load("/cart", 1_000, 30, 0),
    load("/search", 1_000, 10, 20),
    load("/new", 100, 10, 0),
    load("/rare", 5, 10, 0),
];

/// Both sides in a folder.
fn sides(folder: &Folder) -> [String; 2] {
    let server = "10.9.9.9:80";
    [("before.pcap", BEFORE), ("after.pcap", AFTER)]
        .map(|(name, loads)| folder.put(name, &capture(&loads, "shop", server)))
}

fn diff(args: &[&str]) -> Ran {
    run(&[&["diff"], args].concat(), b"")
}

fn json(args: &[&str]) -> Value {
    let ran = diff(&[args, &["-f", "json"]].concat());
    serde_json::from_str(&ran.out)
        .unwrap_or_else(|error| panic!("{error}: {} {}", ran.out, ran.err))
}

/// The outcome of each endpoint, in the order of the report.
fn outcomes(diff: &Value) -> Vec<String> {
    let endpoints = diff["endpoints"].as_array().expect("a list");
    let told = |e: &Value| {
        format!("{} {}", e["path"].as_str().unwrap_or("?"), e["outcome"].as_str().unwrap_or("?"))
    };
    endpoints.iter().map(told).collect()
}

#[test]
fn what_was_changed_is_told() {
    let folder = Folder::new();
    let [before, after] = sides(&folder);
    let diff = json(&[&before, &after]);
    let expected =
        ["/search worse", "/cart worse", "/new new", "/old vanished", "/rare not_enough"];
    assert_eq!(outcomes(&diff), expected);
    let cart = &diff["endpoints"][1];
    for metric in ["p50", "p90", "p99"] {
        assert_eq!(cart[metric]["verdict"], "worse", "{cart}");
        assert!(cart[metric]["p_adjusted"].as_f64().expect("tested") < 0.001, "{cart}");
        let ratio = cart[metric]["ratio"].as_f64().expect("a ratio");
        assert!((2.9..3.1).contains(&ratio), "{metric} {ratio}");
    }
    assert_eq!(cart["error_rate"]["verdict"], "not_significant");
    assert_eq!(diff["endpoints"][0]["error_rate"]["after"], 0.05);
    assert_eq!(diff["endpoints"][4]["p99"]["verdict"], "not_enough");
    // Exchanged, it is the same exchanged.
    let back = json(&[&after, &before]);
    let expected =
        ["/old new", "/new vanished", "/search better", "/cart better", "/rare not_enough"];
    let mut found = outcomes(&back);
    found.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn text_is_as_it_was() {
    let folder = Folder::new();
    sides(&folder);
    // In the folder: its name has another length each time, and lines would break elsewhere.
    let ran = common::command::perisco()
        .current_dir(folder.0.path())
        .args(["diff", "before.pcap", "after.pcap", "--all"])
        .args(["p99 > +20%", "new > 0", "error_rate > 10%"].iter().flat_map(|r| ["--fail-on", r]))
        .output()
        .expect("it runs");
    assert_eq!((ran.status.code(), ran.stderr.as_slice()), (Some(1), &b""[..]));
    let text = String::from_utf8(ran.stdout).expect("UTF-8");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!("diff_text", text);
}

/// Testdata against itself and against another one, in text.
#[test]
fn testdata_is_compared_as_it_was() {
    let shown = |name: &str| {
        // Tests run in the folder of the package.
        let [a, b] = ["http1/nginx-keepalive", name].map(|n| format!("testdata/{n}/cap.pcap"));
        let ran = diff(&[&a, &b, "--all"]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
        ran.out
    };
    insta::assert_snapshot!("diff_testdata", shown("http1/nginx-errors"));
    insta::assert_snapshot!("diff_loss", shown("broken/loss"));
}

#[test]
fn a_capture_does_not_differ_from_itself() {
    let folder = Folder::new();
    let [before, _] = sides(&folder);
    let mut first = None;
    for threads in ["1", "2", "8"] {
        for format in ["text", "json", "html"] {
            let ran = diff(&[&before, &before, "--all", "-j", threads, "-f", format]);
            assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
            if format == "text" {
                let first = first.get_or_insert_with(|| ran.out.clone());
                assert_eq!(*first, ran.out, "{threads} threads");
            }
        }
    }
    let diff = json(&[&before, &before]);
    let is_quiet = |e: &String| e.ends_with(" not_significant") || e.ends_with(" not_enough");
    assert!(outcomes(&diff).iter().all(is_quiet), "{diff}");
    assert_eq!(diff["edges"]["new"].as_array().map(Vec::len), Some(0));
    let text = first.expect("ran");
    assert!(!text.contains("no change"), "{text}");
}

#[test]
fn any_number_of_threads_says_the_same() {
    let folder = Folder::new();
    let [before, after] = sides(&folder);
    for format in ["text", "json", "html"] {
        let told = ["1", "2", "8"].map(|n| diff(&[&before, &after, "-j", n, "-f", format]).out);
        assert!(!told[0].is_empty());
        assert!(told.iter().all(|other| *other == told[0]), "{format} differs");
    }
}

/// Exit codes: 1 where a threshold was passed, 3 where nobody can say that none was.
#[test]
fn exit_codes_are_for_scripts() {
    let folder = Folder::new();
    let [before, after] = sides(&folder);
    let damaged = std::fs::read(&after).expect("a capture");
    let damaged = folder.put("damaged.pcap", &damaged[..damaged.len() - 7]);
    let empty = folder.put("empty.pcap", &common::model::write_pcap([]));
    let (damaged, empty) = (damaged.as_str(), empty.as_str());
    for (args, code) in [
        (&["--fail-on", "p99 > +20%"][..], 1),
        (&["--fail-on", "p99 > +20%", "--significant"], 1),
        (&["--fail-on", "p99 > +500%"], 0),
        (&["--fail-on", "p50 > +5ms"], 1),
        (&["--fail-on", "p50 > +50ms"], 0),
        (&["--fail-on", "error_rate > 1%"], 1),
        (&["--fail-on", "error_rate > 1%", "--where", "path == '/cart'"], 0),
        (&["--fail-on", "new > 0"], 1),
        (&["--fail-on", "new > 1"], 0),
        (&["--fail-on", "vanished > 0"], 1),
        (&["--fail-on", "rate < -50%"], 0),
        (&["--fail-on", "p99 > +500%", "--fail-on", "errors > 0"], 1),
        // Nothing is taken, so nothing was held against it.
        (&["--fail-on", "errors > 0", "--where", "path == '/none'"], 3),
        (&[], 0),
    ] {
        let ran = diff(&[&[before.as_str(), &after], args].concat());
        assert_eq!(ran.code, Some(code), "{args:?}: {}{}", ran.out, ran.err);
    }
    for (args, code) in [
        (&[damaged, "--fail-on", "p99 > +500%"][..], 3),
        (&[damaged, "--fail-on", "p99 > +20%"], 1),
        (&[damaged], 3),
        (&[empty, "--fail-on", "p99 > +20%"], 3),
        (&[empty], 0),
    ] {
        let ran = diff(&[&[before.as_str()], args].concat());
        assert_eq!(ran.code, Some(code), "{args:?}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn wrong_use_is_told_before_anything_is_read() {
    let folder = Folder::new();
    let [before, after] = sides(&folder);
    let none = folder.at("none.pcap");
    let (before, after, none) = (before.as_str(), after.as_str(), path(&none));
    for (args, says) in [
        (
            &[before, after, "--fail-on", "pp99 > +20%"][..],
            "did you mean p99?\n  pp99 > +20%\n  ^^^^",
        ),
        (&[none, none, "--fail-on", "p99 > 20%"], "it needs a sign"),
        (&[none, none, "--where", "statu == 1"], "did you mean status?"),
        (&[before, none], "none.pcap"),
        (&[before], "there is no AFTER"),
        (&["-", "-"], "standard input"),
        (&[before, after, "-f", "csv"], "text, json, html"),
        (&[before, after, "-o", "rows.csv"], "text, json, html"),
        (&[before, after, "-o", "/nowhere/diff.json"], "/nowhere/diff.json"),
    ] {
        let ran = diff(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{args:?}: {}", ran.err);
    }
    let text = folder.put("text.pcap", b"no capture at all, but text");
    let ran = diff(&[before, &text]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{}", ran.err);
}

#[test]
fn sides_are_pipes_several_files_and_parts_of_one() {
    let folder = Folder::new();
    let [before, after] = sides(&folder);
    let expected = outcomes(&json(&[&before, &after]));
    let bytes = std::fs::read(&after).expect("a capture");
    let piped = run(&["diff", &before, "-", "-f", "json"], &bytes);
    let piped: Value = serde_json::from_str(&piped.out).expect("JSON");
    assert_eq!(outcomes(&piped), expected);
    // One side in two files, by flags.
    let one = folder.put("one", &capture(&AFTER[..2], "shop", "10.9.9.9:80"));
    let two = folder.put("two", &capture(&AFTER[2..], "shop", "10.9.9.7:80"));
    let split = json(&["--before", &before, "--after", &one, "--after", &two]);
    assert_eq!(outcomes(&split), expected);
    assert_eq!(split["after"]["inputs"].as_array().map(Vec::len), Some(2));
    // One capture before and after a time.
    let parted = json(&[&before, &before, "--before-until", "+2050ms", "--after-since", "+2050ms"]);
    let counts = ["before", "after"].map(|s| parted[s]["transactions"]["count"].as_u64());
    let whole = json(&[&before, &before])["before"]["transactions"]["count"].as_u64();
    assert!(counts.iter().all(|count| count.is_some_and(|count| count > 100)), "{counts:?}");
    assert_eq!(counts[0].zip(counts[1]).map(|(a, b)| a + b), whole);
}

#[test]
fn outputs_go_where_they_are_told() {
    let folder = Folder::new();
    let [before, after] = sides(&folder);
    let outputs = ["d.txt", "d.json", "d.html"].map(|name| path(&folder.at(name)).to_owned());
    let [text, document, page] = &outputs;
    let ran = diff(&[&before, &after, "-o", text, "-o", document, "-o", page]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    for (file, format) in outputs.iter().zip(["text", "json", "html"]) {
        let written = std::fs::read_to_string(file).expect("written");
        assert_eq!(written, diff(&[&before, &after, "-f", format]).out, "{file}");
    }
}

/// What the wire says is text, in each format.
#[test]
fn hostile_names_are_inert() {
    let folder = Folder::new();
    let host = "\"><script>alert(1)</script>\x1b[2J";
    let loads = [load("/<img/src=x/onerror=alert(1)>\u{9b}31m", 30, 10, 3)];
    let before = folder.put("<b>.pcap", &capture(&loads, host, "10.9.9.9:80"));
    let after = folder.put("b.pcap", &capture(&AFTER, host, "10.9.9.8:80"));
    for args in [[&before, &after], [&after, &before], [&before, &before]] {
        let args = args.map(String::as_str);
        let rules = ["--fail-on", "new > 0", "--fail-on", "errors > 0", "--all"];
        let shown = |format| diff(&[&args[..], &rules, &["-f", format]].concat()).out;
        for format in ["text", "json", "html"] {
            let told = shown(format);
            let is_inert = |c: char| !c.is_control() || c == '\n';
            // The style sheet of a page is ours.
            assert!(told.chars().all(is_inert), "{format}: {told}");
        }
        let page = shown("html");
        for markup in ["<script", "<img", "onerror=alert(1)>", "<b>"] {
            assert!(!page.contains(markup), "{markup}: {page}");
        }
        serde_json::from_str::<Value>(&shown("json")).expect("JSON");
    }
}

/// A page needs nothing else, and no script.
#[test]
fn a_page_is_read_without_network_and_script() {
    let folder = Folder::new();
    let [before, after] = sides(&folder);
    let page = diff(&[&before, &after, "-f", "html", "--fail-on", "new > 0"]).out;
    assert!(page.contains("default-src 'none'; style-src 'sha256-"), "{page:.600}");
    assert!(page.contains("color-scheme: light dark"));
    let body = page.split("<body>").nth(1).expect("a body");
    for loads in ["script", "src=", "http://", "https://", "url(", "style=", "@import"] {
        assert!(!body.contains(loads), "{loads}");
    }
    for told in ["/cart", "slower", "vanished", "failed"] {
        assert!(body.contains(told), "{told}");
    }
    let ids: Vec<_> = body.split("href=\"#").skip(1).map(|rest| rest.split('"').next()).collect();
    for id in ids.into_iter().flatten() {
        assert!(body.contains(&format!("id=\"{id}\"")), "{id}");
    }
}

/// A diff of loss is no diff of behaviour, and that comes first.
#[test]
fn loss_is_told_before_everything_else() {
    let folder = Folder::new();
    let [before, after] = sides(&folder);
    let mut packets = common::model::read_packets(Path::new(&after));
    packets.retain({
        let mut index = 0;
        move |packet| {
            index += 1;
            packet.bytes.len() < 80 || index % 50 != 0
        }
    });
    let lossy = folder.put("lossy.pcap", &common::model::write_pcap(&packets));
    let ran = diff(&[&before, &lossy]);
    assert!(ran.out.starts_with("DATA IS MISSING"), "{}", ran.out);
    let told = json(&[&before, &lossy]);
    assert_eq!(told["caveats"][0]["side"], "after");
    let endpoints = told["endpoints"].as_array().expect("a list").clone();
    let both = endpoints.iter().filter(|e| !e["before"].is_null() && !e["after"].is_null());
    for endpoint in both {
        assert_eq!(endpoint["rate"]["verdict"], "not_tested", "{endpoint}");
    }
}
