//! Several outputs of one run: what is in them, and what becomes of them when
//! one cannot be written.

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;

use common::command::{Live, analyze, end, path, perisco};
use common::synth::{self, Shape, Writer};
use perisco::analyze::report::Format;

static CAPTURE: LazyLock<PathBuf> = LazyLock::new(|| {
    let case = common::cases().into_iter().find(|case| case.name == "http1/nginx-keepalive");
    case.expect("a case").capture
});

/// A capture of one connection with many exchanges.
fn synthetic(exchanges: usize) -> Vec<u8> {
    let ends = ["10.0.0.1:40000", "10.0.0.2:80"].map(|end| end.parse().expect("an address"));
    let conversation = synth::http1(ends, 1_700_000_000_000_000_000, exchanges);
    synth::pcap(&Writer::new(&conversation, Shape::default()).write(&conversation))
}

/// What one format alone gives.
fn alone(format: Format, file: &Path) -> String {
    let ran = analyze(&["-f", format.name(), path(file)], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(!ran.out.is_empty(), "{format:?}");
    ran.out
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Files in a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| common::name_of(&entry.expect("an entry").path())).collect();
    names.sort();
    names
}

#[test]
fn all_formats_in_one_pass_are_what_each_gives_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |format: Format| folder.path().join(format!("out.{}", format.extensions()[0]));
    let mut args = vec![path(&CAPTURE).to_owned()];
    for format in Format::ALL {
        args.extend(["-o".to_owned(), path(&place(format)).to_owned()]);
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let ran = analyze(&args, b"");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    for format in Format::ALL {
        assert!(read(&place(format)) == alone(format, &CAPTURE), "{format:?} differs");
    }
    assert_eq!(names(folder.path()).len(), Format::ALL.len(), "{:?}", names(folder.path()));
}

#[test]
fn standard_output_may_be_one_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = folder.path().join("rows.csv");
    for (args, format) in [
        (&["-o", "-"][..], Format::Text),
        (&["-o", "json:-"], Format::Json),
        (&["-o", "-", "-f", "log"], Format::Log),
    ] {
        let args = [&["-o", path(&rows), path(&CAPTURE)], args].concat();
        let ran = analyze(&args, b"");
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{args:?}");
        assert_eq!(ran.out, alone(format, &CAPTURE), "{args:?}");
        assert_eq!(read(&rows), alone(Format::Csv, &CAPTURE), "{args:?}");
    }
}

#[test]
fn one_format_may_go_to_several_places_and_be_compressed() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let all = ["a.jsonl", "b.jsonl.gz", "c.ndjson.zst", "d.json.zst"].map(place);
    let mut args = vec![path(&CAPTURE)];
    all.iter().for_each(|file| args.extend(["-o", path(file)]));
    let ran = analyze(&args, b"");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let lines = alone(Format::Jsonl, &CAPTURE);
    assert_eq!(read(&all[0]), lines);
    let mut unpacked = String::new();
    let gzip = fs::File::open(&all[1]).expect("written");
    flate2::read::GzDecoder::new(gzip).read_to_string(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, lines);
    for (file, format) in [(&all[2], Format::Jsonl), (&all[3], Format::Json)] {
        let unpacked = zstd::decode_all(fs::File::open(file).expect("written")).expect("zstd");
        assert_eq!(String::from_utf8(unpacked).expect("UTF-8"), alone(format, &CAPTURE));
    }
}

#[test]
fn names_that_say_nothing_are_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, odd) = (folder.path().join("good.csv"), folder.path().join("report.pdf"));
    let ran = analyze(&["-o", path(&good), "-o", path(&odd), path(&CAPTURE)], b"");
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    for part in ["report.pdf", ".jsonl", ".csv", "--format"] {
        assert!(ran.err.contains(part), "does not mention {part}: {}", ran.err);
    }
    let nowhere = folder.path().join("missing/report.json");
    let ran = analyze(&["-o", path(&odd), "-f", "json", "-o", path(&nowhere), path(&CAPTURE)], b"");
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("cannot write") && ran.err.contains(path(&nowhere)), "{}", ran.err);
    assert_eq!(names(folder.path()), [""; 0], "something was left behind");
}

#[test]
fn a_full_disk_ends_one_output_and_leaves_the_others_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capture.pcap");
    fs::write(&file, synthetic(4_000)).expect("written");
    let rows = folder.path().join("rows.csv");
    for full in ["jsonl:/dev/full", "json:/dev/full", "log:/dev/full"] {
        let ran = analyze(&["-o", full, "-o", path(&rows), path(&file)], b"");
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{full}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{full}: {}", ran.err);
        assert!(ran.err.contains("cannot write /dev/full"), "{full}: {}", ran.err);
        assert!(ran.err.contains("No space left"), "{full}: {}", ran.err);
        assert!(read(&rows) == alone(Format::Csv, &file), "{full}: the other is not whole");
        let ran = analyze(&["-o", full, path(&file)], b"");
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{full}: {}", ran.err);
        assert!(ran.err.contains("cannot write /dev/full"), "{full}: {}", ran.err);
    }
}

#[test]
fn a_closed_pipe_ends_one_output_quietly_and_leaves_the_others_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capture.pcap");
    fs::write(&file, synthetic(4_000)).expect("written");
    let rows = folder.path().join("rows.csv");
    let mut child = perisco()
        .args(["analyze", "-o", "jsonl:-", "-o", path(&rows), path(&file)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    assert_eq!(end(child), (Some(0), String::new()));
    assert!(read(&rows) == alone(Format::Csv, &file), "the other is not whole");
}

/// Half a report must not be taken for a whole one: what was there stays until
/// the new one is whole.
#[test]
fn a_report_takes_its_place_when_it_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (report, lines) = (folder.path().join("sum.json"), folder.path().join("events.log"));
    fs::write(&report, "before").expect("written");
    fs::set_permissions(&report, fs::Permissions::from_mode(0o640)).expect("an owner");
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink(&report, &link).expect("a link");
    let bytes = fs::read(&*CAPTURE).expect("readable");
    let mut live = Live::start(&["-o", path(&link), "-o", path(&lines), "-o", "log:-"]);
    live.feed(&bytes);
    live.line();
    // Events can be read while they come, the report is not there.
    assert!(read(&lines).contains(" CONN"));
    assert_eq!(read(&report), "before");
    drop(live.stdin.take());
    let (code, err, _) = live.end();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(read(&report).starts_with('{'));
    assert!(link.is_symlink(), "the link was replaced, not what it points to");
    let mode = fs::metadata(&report).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(names(folder.path()), ["events.log", "link.json", "sum.json"]);
}

#[test]
fn a_run_that_ends_early_leaves_no_part_of_a_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("sum.json");
    let ran = analyze(&["-o", path(&report), "-"], b"plain text\n");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn devices_and_pipes_are_written_to_and_not_replaced() {
    let ran = analyze(&["-o", "json:/dev/stdout", path(&CAPTURE)], b"");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(ran.out, alone(Format::Json, &CAPTURE));
    let ran = analyze(&["-o", "json:/dev/null", path(&CAPTURE)], b"");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    assert!(!fs::metadata("/dev/null").expect("there").is_file());
}
