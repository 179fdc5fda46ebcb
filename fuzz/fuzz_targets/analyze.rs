//! The whole pipeline over capture bytes; the first byte chooses the format.
#![no_main]

use std::sync::atomic::AtomicBool;

use libfuzzer_sys::fuzz_target;
use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Control};
use perisco::analyze::report::{Destination, Destinations, Format, Style, har, html, json, text};
use perisco::pcap::Capture;
use perisco_fuzz::check;

fuzz_target!(|input: &[u8]| {
    let Some((&first, capture)) = input.split_first() else { return };
    let Ok(capture) = Capture::from_bytes("fuzz", capture.to_vec()) else { return };
    let format = Format::ALL[usize::from(first & 7) % Format::ALL.len()];
    let options = Options {
        threads: 1,
        formats: format.into(),
        headers: first & 8 == 0,
        conformance: first & 16 != 0,
        ..Options::default()
    };
    let stop = AtomicBool::new(false);
    let control = Control { stop: &stop, progress: &|_| {} };
    let mut out = Vec::new();
    let mut destinations = Destinations::new(vec![Destination::new(format, &mut out)]);
    let analysis =
        pipeline::run(capture, &options, &control, &mut destinations).expect("bytes can be read");
    let out = String::from_utf8(out).expect("output is UTF-8");
    match format {
        Format::Jsonl => out.split_inclusive('\n').for_each(|line| {
            check::json_line(line);
        }),
        Format::Csv => check::csv_rows(&out),
        Format::Log => check::terminal(&out),
        Format::Har => {
            let mut whole = out.into_bytes();
            har::write_end(&analysis.report, &mut whole).expect("memory can be written");
            serde_json::from_slice::<serde_json::Value>(&whole).expect("the archive is JSON");
        }
        Format::Html => {
            let page = html::render(&analysis.report);
            // Markup of the wire: these stand in the page's own script and style only once.
            assert!(page.matches("<script").count() == 1 && page.matches("<style").count() == 1);
            assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "control characters");
        }
        Format::Text | Format::Json | Format::Dot => assert!(out.is_empty()),
    }
    let mut report = Vec::new();
    json::write(&analysis.report, &mut report).expect("memory can be written");
    serde_json::from_slice::<serde_json::Value>(&report).expect("the report is JSON");
    check::terminal(&text::render(&analysis.report, Style::default()));
});
