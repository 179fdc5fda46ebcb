//! What the integration tests share: the analyzer in-process, the test
//! captures, a small model of TCP conversations and a way to write them anew.
//!
//! Each test binary uses a part of it, hence the lint below.
#![allow(dead_code, missing_docs)]

#[cfg(feature = "record")]
pub mod cgroup;
pub mod command;
#[cfg(feature = "record")]
pub mod compared;
pub mod contradict;
#[cfg(feature = "kube")]
pub mod fake_node;
#[cfg(feature = "record")]
pub mod live;
pub mod model;
pub mod nodes;
#[cfg(feature = "kube")]
pub mod pods;
pub mod recording;
#[cfg(feature = "record")]
pub mod ring;
pub mod shop;
pub mod streams;
pub mod synth;
pub mod tmux;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Analysis, AnalyzeError, Control};
use perisco::analyze::report::{Destination, Destinations, Format, Style, write_end};
use perisco::pcap::{Capture, Input, OpenOptions};
use serde_json::Value;

/// What one run gave.
pub struct Output {
    /// Everything it wrote, formats one behind the other.
    pub bytes: Vec<u8>,
    /// The same by format.
    pub formats: Vec<(Format, Vec<u8>)>,
    /// What it returned.
    pub analysis: Analysis,
}

/// Options for a format and a number of threads, all else as by default.
pub fn options(format: Format, threads: usize) -> Options {
    Options { formats: format.into(), threads, ..Options::default() }
}

/// A capture in memory, under the name that messages give it.
pub fn in_memory(name: &str, bytes: Vec<u8>) -> Input {
    Input::Bytes { name: name.to_owned(), bytes }
}

/// Analyses `inputs` as the command does, reports 80 columns wide and
/// without colours.
pub fn try_analyze(inputs: Vec<Input>, options: &Options) -> Result<Output, AnalyzeError> {
    let stop = AtomicBool::new(false);
    let control = Control { stop: &stop, progress: &|_| () };
    let capture = Capture::open(inputs, OpenOptions::default())?;
    let mut formats: Vec<_> = options.formats.iter().map(|format| (format, Vec::new())).collect();
    let destinations = formats.iter_mut().map(|(format, out)| Destination::new(*format, out));
    let mut destinations = Destinations::new(destinations.collect());
    let analysis = pipeline::run(capture, options, &control, &mut destinations)?;
    for destination in destinations.iter_mut() {
        let format = destination.format();
        destination.with(|out| write_end(format, &analysis.report, Style::default(), out));
    }
    assert!(destinations.into_errors().iter().all(Option::is_none), "memory can be written");
    let bytes = formats.iter().flat_map(|(_, bytes)| bytes).copied().collect();
    Ok(Output { bytes, formats, analysis })
}

/// As [`try_analyze`], for captures that must be readable.
pub fn analyze(inputs: Vec<Input>, options: &Options) -> Output {
    try_analyze(inputs, options).unwrap_or_else(|error| panic!("the analysis failed: {error}"))
}

/// The transactions of a capture in memory, on one thread.
pub fn transactions(capture: Vec<u8>) -> Vec<Value> {
    lines(&analyze(vec![in_memory("test.pcap", capture)], &options(Format::Jsonl, 1)).bytes)
}

/// The transactions of a capture file, on one thread.
pub fn transactions_of(path: &Path) -> Vec<Value> {
    lines(&analyze(vec![Input::Path(path.to_owned())], &options(Format::Jsonl, 1)).bytes)
}

/// Parses jsonl; every line must be an object and end in a line feed.
pub fn lines(jsonl: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(jsonl).expect("jsonl is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no line feed");
    text.lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("not JSON ({error}): {line}"));
            assert!(value.is_object(), "not an object: {line}");
            value
        })
        .collect()
}

/// Keeps a capture for which a test fails, and says where.
pub fn keep(name: &str, capture: &[u8]) -> String {
    let name = format!("failed-{}.pcap", name.replace('/', "-"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    match std::fs::write(&path, capture) {
        Ok(()) => format!("  capture: {}\n", path.display()),
        Err(error) => format!("  the capture could not be kept: {error}\n"),
    }
}

/// Fields that tell when; the same bytes cut otherwise may change them.
pub const TIMES: [&str; 6] =
    ["start", "request_end", "response_start", "response_end", "latency_ns", "duration_ns"];

/// Fields that depend on how the capture was made, not on what was said.
pub const ORIGIN: [&str; 7] =
    ["connection", "id", "interface", "comment", "process", "container", "names"];

/// A transaction without the fields named.
pub fn without(transaction: &Value, fields: &[&str]) -> Value {
    let mut copy = transaction.clone();
    let object = copy.as_object_mut().expect("an object");
    for field in fields {
        object.remove(*field);
    }
    copy
}

/// A text field, empty where it is null.
pub fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The text at an index of a list, empty where there is none.
pub fn text_of_index(value: &Value, index: usize) -> &str {
    value[index].as_str().unwrap_or_default()
}

/// One folder of `testdata/`.
#[derive(Clone, Debug)]
pub struct Case {
    /// `http1/nginx-chunked`.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// The capture in it.
    pub capture: PathBuf,
}

impl Case {
    /// `http1`, `h2`, `grpc`, `broken`.
    pub fn kind(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// A file of the folder, None where there is none.
    pub fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(file)).ok()
    }
}

/// Where the committed captures are.
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let mut all: Vec<_> = entries.map(|entry| entry.expect("a folder entry").path()).collect();
    all.sort();
    all
}

/// All folders of `testdata/` by name.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in folders(&testdata()).into_iter().filter(|path| path.is_dir()) {
        for folder in folders(&kind).into_iter().filter(|path| path.is_dir()) {
            let captures: Vec<_> = folders(&folder)
                .into_iter()
                .filter(|path| name_of(path).starts_with("cap."))
                .collect();
            let [capture] = captures.as_slice() else {
                panic!("{} holds {} captures, not one", folder.display(), captures.len());
            };
            let name = format!("{}/{}", name_of(&kind), name_of(&folder));
            cases.push(Case { name, capture: capture.clone(), folder });
        }
    }
    assert!(cases.len() >= 10, "only {} cases in {}", cases.len(), testdata().display());
    cases
}

/// The intact cases: everything but `broken/`.
pub fn intact_cases() -> Vec<Case> {
    cases().into_iter().filter(|case| case.kind() != "broken").collect()
}

/// The last part of a path.
pub fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The lines in which two texts differ, `-` expected and `+` found, cut to a
/// readable number.
pub fn difference(expected: &str, found: &str) -> String {
    const SHOWN: usize = 40;
    let (expected, found): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let head = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let tail = expected[head..].iter().rev().zip(found[head..].iter().rev());
    let tail = tail.take_while(|(a, b)| a == b).count();
    let mut out = format!("first difference in line {}\n", head + 1);
    for (sign, side) in [('-', &expected), ('+', &found)] {
        let differing = &side[head..side.len() - tail];
        for line in differing.iter().take(SHOWN) {
            out.push_str(&format!("{sign} {line}\n"));
        }
        if differing.len() > SHOWN {
            out.push_str(&format!("{sign} … {} more lines\n", differing.len() - SHOWN));
        }
    }
    out
}

/// Which fields of two transactions differ, for messages.
pub fn fields_that_differ(expected: &Value, found: &Value) -> String {
    let (Some(a), Some(b)) = (expected.as_object(), found.as_object()) else {
        return format!("expected {expected}\nfound    {found}\n");
    };
    let mut out = String::new();
    let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    for name in names {
        let (left, right) = (a.get(name), b.get(name));
        if left != right {
            let show = |value: Option<&Value>| value.map_or("(none)".into(), Value::to_string);
            out.push_str(&format!("  {name}: expected {}, found {}\n", show(left), show(right)));
        }
    }
    out
}
