//! When files begin and end, and what of them is there after a kill or on a full disk.

use super::*;

/// Killed: nothing is finished, the last second may be lost, the rest is fine.
#[test]
fn what_is_a_second_old_survives_a_kill() {
    for compression in [ZSTD, Compression::Gzip, Compression::None] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(&options(dir.path(), compression));
        let mut talk = Talk::local();
        write_all(&mut writer, &exchange(&mut talk, 50, 30_000));
        writer.tick(START + 2000 * MS, &[]).unwrap();
        write_all(&mut writer, &exchange(&mut Talk::new("127.0.0.1:1", "127.0.0.1:2"), 1, 100));
        let (file, cut) = (dir.path().join("cap.pcapng"), dir.path().join("cut.pcapng"));
        // As the kernel would have it at a kill: never finished.
        let mut found = Vec::new();
        for _ in 0..500 {
            std::thread::sleep(Duration::from_millis(10));
            if fs::copy(&file, &cut).unwrap() == 0 {
                // The thread that writes has not come to it.
                continue;
            }
            found = match compression {
                Compression::None | Compression::Zstd { .. } => read_file(&cut),
                // Our reader reports a gzip file without its end, rightly.
                Compression::Gzip => gunzip(&cut),
            };
            let bytes: usize = found.iter().map(|packet| packet.payload.len()).sum();
            if bytes >= 50 * (REQUEST.len() + response(30_000).len()) {
                break;
            }
        }
        // The end of the flush may be written by itself.
        std::thread::sleep(Duration::from_millis(100));
        fs::copy(&file, &cut).unwrap();
        assert_eq!(stream(&found, talk.addresses[0], 0).len(), 50 * REQUEST.len());
        // Of gzip without its end Wireshark says so, after the packets.
        let filter = ["-Y", "http.response.code == 200"];
        if compression != Compression::Gzip
            && let Some(codes) = tshark(&cut, &filter)
        {
            assert_eq!(codes.lines().count(), 50, "{compression:?}");
        }
        drop(writer);
    }
}

fn gunzip(path: &Path) -> Vec<crate::record::testkit::Packet> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let _ = flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes);
    if bytes.is_empty() { Vec::new() } else { read(bytes) }
}

#[test]
fn each_rotated_file_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        WriteOptions { rotate_time: Some(Duration::from_secs(10)), ..options(dir.path(), ZSTD) };
    let mut writer = writer(&options);
    let mut talk = Talk::local();
    write_all(&mut writer, &talk.open_both());
    for round in 1..=3 {
        write_all(&mut writer, &talk.send(0, REQUEST));
        write_all(&mut writer, &talk.send(1, &response(100)));
        talk.at = START + round * 10_000 * MS;
        writer.tick(talk.at, &[]).unwrap();
    }
    let summary = writer.finish(&[]).unwrap();
    assert_eq!(summary.files, 4);
    let mut files: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 4);
    assert!(files[0].ends_with("cap_00001_20231114223000.pcapng"), "{files:?}");
    for file in &files[..3] {
        let packets = read_file(file);
        assert_eq!(
            packets[0].comments,
            ["client=host/curl[4000001]", "server=host/nginx[4000002]"]
        );
        // Joined late, the analyzer does not pair the two; it has both.
        let found = serde_json::Value::from(transactions(vec![input(file)])).to_string();
        assert!(found.contains("/users?id=1") && found.contains("\"status\":200"), "{found}");
        assert_eq!(expert(file).unwrap_or_default(), [""; 0]);
    }
    assert!(read_file(&files[3]).is_empty());
    let all = files.iter().map(|file| input(file)).collect();
    assert_eq!(transactions(all).len(), 3);
}

#[test]
fn files_rotate_by_their_size_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        WriteOptions { rotate_size: Some(1_000_000), ..options(dir.path(), Compression::None) };
    let mut writer = writer(&options);
    let mut talk = Talk::local();
    write_all(&mut writer, &talk.open_both());
    for _ in 0..100 {
        write_all(&mut writer, &talk.send(0, REQUEST));
        for part in response(100_000).chunks(32_768) {
            write_all(&mut writer, &talk.send(1, part));
        }
        // The thread has time to tell how far it is.
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(writer.finish(&[]).unwrap().files >= 4);
    let mut files: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let sizes: Vec<u64> = files.iter().map(|file| fs::metadata(file).unwrap().len()).collect();
    assert!(sizes[..sizes.len() - 1].iter().all(|&size| size >= 1_000_000), "{sizes:?}");
    // Looked at for each buffer; a few of them are under way.
    let most = 1_000_000 + 12 * (crate::record::sink::BUFFER_BYTES as u64);
    assert!(sizes.iter().all(|&size| size <= most), "{sizes:?}");
}

/// A disk of 1 MiB, where root may mount one.
#[test]
fn on_a_full_disk_what_was_flushed_is_valid() {
    for keep in [None, Some(8)] {
        let dir = tempfile::tempdir().unwrap();
        let Some(_disk) = Disk::mount(dir.path()) else { return };
        let options =
            WriteOptions { keep, rotate_size: keep.map(|_| 200_000), ..options(dir.path(), ZSTD) };
        let mut writer = writer(&options);
        let mut talk = Talk::local();
        write_all(&mut writer, &talk.open_both());
        let mut noise = 12_345_u64;
        let mut error = None;
        for round in 0..400 {
            let mut body = response(32_000);
            // No compressor makes this smaller.
            for byte in &mut body[60..] {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (noise >> 56) as u8;
            }
            let events = [talk.send(0, REQUEST).to_vec(), talk.send(1, &body).to_vec()].concat();
            let mut result = events.iter().try_for_each(|event| writer.event(&event.event()));
            talk.at = START + round * 1000 * MS;
            result = result.and_then(|()| writer.tick(talk.at, &[]));
            std::thread::sleep(Duration::from_millis(1));
            if let Err(found) = result {
                error = Some(found);
                break;
            }
        }
        let mut files: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        if keep.is_some() {
            assert!(error.is_none(), "{error:?}");
            let summary = writer.finish(&[]).unwrap();
            assert!(summary.removed_for_space > 0, "{summary:?}");
        } else {
            let error = error.expect("12 MB fit 1 MiB");
            assert!(error.is_disk_full() && error.to_string().contains("cap.pcapng"), "{error}");
            let found = transactions(vec![input(&files[0])]);
            assert!(found.len() > 15, "{}", found.len());
        }
        for file in &files {
            if file.exists() {
                read_file(file);
                tshark(file, &["-q"]);
            }
        }
    }
}

/// A small tmpfs, gone with the value.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(path: &'a Path) -> Option<Self> {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        if status.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        eprintln!("skipped: no tmpfs can be mounted");
        None
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
