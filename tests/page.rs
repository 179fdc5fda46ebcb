//! The page in a browser: headless Chromium, driven by `tests/page/browse.mjs`.
//!
//! `scripts/test` installs what it takes and says where by `PERISCO_PLAYWRIGHT`;
//! without that the test says that it is skipped.

mod common;

use std::path::Path;
use std::process::Command;

use common::model::Act;
use common::{analyze, cases, options};
use perisco::analyze::report::Format;
use perisco::pcap::Input;

#[test]
fn a_reader_finds_their_way_in_a_browser() {
    let Some(playwright) = std::env::var_os("PERISCO_PLAYWRIGHT") else {
        eprintln!("skipped: PERISCO_PLAYWRIGHT does not say where playwright-core is");
        return;
    };
    let names = ["http1/nginx-errors", "grpc/go-errors", "broken/loss", "h2/nginx-goaway"];
    let mut inputs: Vec<Input> = cases()
        .into_iter()
        .filter(|case| names.contains(&case.name.as_str()))
        .map(|case| Input::Path(case.capture))
        .collect();
    assert_eq!(inputs.len(), names.len());
    inputs.push(hostile());
    let page = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.html");
    std::fs::write(&page, analyze(inputs, &options(Format::Html, 2)).bytes).expect("written");
    let status = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/browse.mjs"))
        .arg(&page)
        .env("PERISCO_PLAYWRIGHT", playwright)
        .status()
        .expect("node");
    assert!(status.success(), "{} does not behave", page.display());
}

/// A request whose target would run a script where it becomes markup.
fn hostile() -> Input {
    let ends = ["10.6.6.6:40000", "10.9.9.9:80"].map(|end| end.parse().expect("an address"));
    let mut conversation = common::synth::http1(ends, 1_700_000_000_000_000_000, 3);
    for step in &mut conversation.steps {
        if let Act::Data(bytes) = &mut step.act
            && bytes.starts_with(b"GET ")
        {
            *bytes = b"GET /<img/src=x/onerror=alert(1)>\"' HTTP/1.1\r\n\
                Host: \"><script>alert(1)</script>\r\nX-A: <svg onload=alert(1)>\r\n\r\n"
                .to_vec();
        }
    }
    let written =
        common::synth::Writer::new(&conversation, Default::default()).write(&conversation);
    common::in_memory("<script>alert(1)<pcap", common::synth::pcap(&written))
}
