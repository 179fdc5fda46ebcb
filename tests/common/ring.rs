//! A flight recorder under test: started on a folder, and what is in that folder.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::live::{Place, Running, run};

/// Starts the recorder of a ring on a test's namespace.
pub fn record(place: &Place, folder: &Path, args: &[&str]) -> Running {
    place.watch(&mut recorder(place, folder, args), "recording to")
}

/// Its command.
pub fn recorder(place: &Place, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perisco"));
    command.arg("record").arg("--ring").arg(folder).args(["--netns", place.netns()]).args(args);
    command.stdin(Stdio::null());
    command
}

/// The segments, oldest first.
pub fn segments(folder: &Path) -> Vec<PathBuf> {
    captures(folder, "perisco_")
}

/// The captures that triggers have kept, oldest first.
pub fn saved(folder: &Path) -> Vec<PathBuf> {
    captures(&folder.join("saved"), "")
}

fn captures(folder: &Path, stem: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            name.starts_with(stem) && name.contains(".pcapng") && !name.ends_with(".part")
        })
        .collect();
    files.sort();
    files
}

/// What the ring takes on disk, as du(1) counts: without what triggers have kept.
pub fn taken(folder: &Path) -> u64 {
    let own = folder.metadata().map_or(0, |about| about.blocks());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    // One that is removed meanwhile takes nothing.
    let files = entries.filter_map(|entry| entry.metadata().ok()).filter(|about| about.is_file());
    (files.map(|about| about.blocks()).sum::<u64>() + own) * 512
}

/// Packets that tshark finds in a file; it must not complain.
pub fn packets(file: &Path) -> usize {
    let mut command = Command::new("tshark");
    let output = command.arg("-n").arg("-r").arg(file).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let odd = said.lines().any(|line| !line.starts_with("Running as user"));
    assert!(output.status.success() && !odd, "{}: {said}", file.display());
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// The transactions of files, read as one capture.
pub fn transactions(files: &[PathBuf]) -> Vec<Value> {
    let mut analyze = super::command::perisco();
    super::lines(run(analyze.args(["analyze", "--format", "jsonl"]).args(files)).as_bytes())
}

/// Comments of a capture's section headers.
pub fn comments(file: &Path) -> String {
    run(Command::new("capinfos").arg(file))
}
