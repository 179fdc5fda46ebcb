use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::record::writer::options::{Compression, Output};

const ZSTD: Compression = Compression::Zstd { level: 1 };

fn options(path: &Path, compression: Compression) -> WriteOptions {
    WriteOptions { compression, ..WriteOptions::new(Output::File(path.to_owned())) }
}

fn put(sink: &mut Sink, bytes: &[u8], flush: bool) {
    sink.buffer().extend_from_slice(bytes);
    sink.hand_over(flush).unwrap();
}

/// What a reader gets of a file that may not have its end yet.
fn decompress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    use std::io::Read;
    let mut out = Vec::new();
    // The missing end of the frame is an error of these readers, after the data.
    let _ = match compression {
        Compression::Zstd { .. } => {
            zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out)
        }
        Compression::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        Compression::None => (&mut &*bytes).read_to_end(&mut out),
    };
    out
}

fn wait_for(path: &Path, compression: Compression, length: usize) -> Vec<u8> {
    for _ in 0..500 {
        let found = decompress(&fs::read(path).unwrap_or_default(), compression);
        if found.len() >= length {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} has not come to {length} bytes", path.display());
}

#[test]
fn what_is_flushed_is_readable_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    for (name, compression) in [("z", ZSTD), ("g", Compression::Gzip), ("n", Compression::None)] {
        let path = dir.path().join(name);
        let mut sink = Sink::create(&options(&path, compression), 0).unwrap();
        put(&mut sink, &[b'a'; 100_000], false);
        put(&mut sink, b"flushed", true);
        let found = wait_for(&path, compression, 100_007);
        assert!(found.ends_with(b"aflushed") && found.len() == 100_007);
        let written = sink.finish().unwrap();
        assert_eq!((written.files, written.bytes), (1, fs::metadata(&path).unwrap().len()));
    }
}

/// One frame: Wireshark before 4.4 shows no more than that.
#[test]
fn a_file_is_one_zstd_frame_unless_asked() {
    let dir = tempfile::tempdir().unwrap();
    for (frame_size, frames) in [(None, 1), (Some(1000), 4)] {
        let path = dir.path().join(format!("{frames}"));
        let options = WriteOptions { frame_size, ..options(&path, ZSTD) };
        let mut sink = Sink::create(&options, 0).unwrap();
        for round in 0..4 {
            put(&mut sink, &[b'a'; 1000], round == 2);
        }
        sink.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        let mut rest = &bytes[..];
        let mut found = 0;
        while !rest.is_empty() {
            assert_eq!(rest[..4], [0x28, 0xb5, 0x2f, 0xfd], "a frame, not a skippable one");
            // Bit 2 of the descriptor: a checksum is there (RFC 8878, section 3.1.1.1.1).
            assert_ne!(rest[4] & 4, 0);
            rest = &rest[zstd::zstd_safe::find_frame_compressed_size(rest).unwrap()..];
            found += 1;
        }
        assert_eq!(found, frames);
        assert_eq!(decompress(&bytes, ZSTD).len(), 4000);
    }
}

#[test]
fn files_are_private_and_never_overwritten_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cap.pcapng");
    fs::write(&path, "precious").unwrap();
    let error = Sink::create(&options(&path, ZSTD), 0).unwrap_err().to_string();
    assert!(error.contains("cap.pcapng") && error.contains("--force"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    let forced = WriteOptions { force: true, ..options(&path, Compression::None) };
    let mut sink = Sink::create(&forced, 0).unwrap();
    put(&mut sink, b"new", true);
    sink.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// As root, a link in a directory of others must not lead us elsewhere.
#[test]
fn force_does_not_follow_links() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(Sink::create(&options(&link, ZSTD), 0).is_err());
    let forced = WriteOptions { force: true, ..options(&link, ZSTD) };
    Sink::create(&forced, 0).unwrap().finish().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

#[test]
fn a_missing_directory_is_named() {
    let error = Sink::create(&options(Path::new("/nonexistent/x"), ZSTD), 0).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/x"), "{error}");
}

#[test]
fn a_full_device_is_told_at_the_next_write() {
    let mut sink = Sink::create(&options(Path::new("/dev/full"), ZSTD), 0).unwrap();
    sink.buffer().extend_from_slice(b"x");
    let error = sink.hand_over(true).and_then(|()| sink.finish().map(|_| ())).unwrap_err();
    assert!(error.is_disk_full() && error.to_string().contains("/dev/full"), "{error}");
}

#[test]
fn only_the_newest_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cap.pcapng");
    let options =
        WriteOptions { rotate_size: Some(1), keep: Some(2), ..options(&path, Compression::None) };
    let mut sink = Sink::create(&options, 1_700_000_000_000_000_000).unwrap();
    for file in 0..5_u8 {
        put(&mut sink, &[file], false);
        if file < 4 {
            sink.next_file(1_700_000_001_000_000_000).unwrap();
        }
    }
    let written = sink.finish().unwrap();
    assert_eq!((written.files, written.removed), (5, 3));
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["cap_00004_20231114221321.pcapng", "cap_00005_20231114221321.pcapng"]);
    assert_eq!(written.last, Some(dir.path().join(&names[1])));
    assert_eq!(fs::read(dir.path().join(&names[0])).unwrap(), [3]);
}

#[test]
fn a_slow_disk_makes_the_sender_wait_and_memory_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(status.success());
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || fs::File::open(path).unwrap())
    };
    let mut sink = Sink::create(&options(&path, Compression::None), 0).unwrap();
    let mut reader = reader.join().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let sender = std::thread::spawn(move || {
        for _ in 0..100 {
            put(&mut sink, &[0; BUFFER_BYTES], false);
            count.fetch_add(1, Ordering::Relaxed);
        }
        sink.finish().unwrap()
    });
    std::thread::sleep(Duration::from_millis(500));
    let under_way = sent.load(Ordering::Relaxed);
    assert!(under_way <= BUFFERS as u64 + 2, "{under_way} buffers were taken");
    let read = std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    assert_eq!(read, 100 * BUFFER_BYTES as u64);
    assert_eq!(sender.join().unwrap().bytes, read);
}

#[test]
fn files_of_earlier_recordings_count_only_if_they_are_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let pattern = folder.path().join("cap.pcapng");
    let names = || {
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let other = "cap_notes.txt".to_owned();
    fs::write(folder.path().join(&other), "mine").unwrap();
    // Two recordings, one hour apart; the newest file is not that of the highest number.
    let old = ["cap_00001_19700101000001.pcapng", "cap_00009_19700101000000.pcapng"];
    for name in old {
        fs::write(folder.path().join(name), "old").unwrap();
    }
    let options = |adopt| WriteOptions {
        rotate_size: Some(1),
        keep: Some(2),
        adopt,
        ..options(&pattern, Compression::None)
    };
    let hour = 3_600_000_000_000;
    let sink = Sink::create(&options(false), hour).unwrap();
    assert_eq!(sink.finish().unwrap().removed, 0);
    assert_eq!(names().len(), 4, "not ours");
    let sink = Sink::create(&options(true), 2 * hour).unwrap();
    assert_eq!(sink.so_far().disk_files, 2);
    let written = sink.finish().unwrap();
    assert_eq!(written.removed, 2);
    let left = ["cap_00001_19700101010000.pcapng", "cap_00001_19700101020000.pcapng"];
    assert_eq!(names(), [left[0], left[1], &other]);
}
