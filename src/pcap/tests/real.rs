//! Captures of other projects, where they are present: PERISCO_CAPTURES or
//! `../shared/captures` holds them, each beside its expected results.

use std::path::{Path, PathBuf};

use super::*;

fn captures() -> Vec<PathBuf> {
    let folder = std::env::var_os("PERISCO_CAPTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"),
        PathBuf::from,
    );
    let mut found = Vec::new();
    for project in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(project.path()).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|end| end == "pcap" || end == "pcapng") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_packet_of_real_captures() {
    let captures = captures();
    if captures.is_empty() {
        eprintln!("skipped: no captures (set PERISCO_CAPTURES)");
        return;
    }
    for path in captures {
        let mut beside = path.clone().into_os_string();
        beside.push(".expected.json");
        let expected = std::fs::read(beside).unwrap();
        let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
        let input = Input::Path(path.clone());
        let mut capture = Capture::open(vec![input], OpenOptions::default()).unwrap();
        let all = Everything::read(&mut capture);
        let packets = expected["shape"]["packets"].as_u64().unwrap();
        assert_eq!(all.packets.len() as u64, packets, "{}", path.display());
    }
}
