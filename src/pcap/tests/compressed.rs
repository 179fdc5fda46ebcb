//! zstd, gzip and lz4, whole and cut, in one frame and in many.

use std::io::Write;

use super::build::pcap;
use super::*;

/// Some hundred kilobytes that do not compress well.
fn plain() -> Vec<u8> {
    let mut state = 1u32;
    let payloads: Vec<Vec<u8>> = (0..3000)
        .map(|index| {
            (0..100 + index % 57)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect()
        })
        .collect();
    let packets: Vec<(u32, u32, u32, &[u8])> = payloads
        .iter()
        .enumerate()
        .map(|(index, bytes)| (index as u32, 0, bytes.len() as u32, &**bytes))
        .collect();
    pcap(0xa1b2_c3d4, false, 65_535, 1, &packets)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().block_checksums(true).content_checksum(true);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const ALL: [(&str, Compress); 3] = [("zstd", zstd), ("gzip", gzip), ("lz4", lz4)];

/// The same bytes in frames of 10,000 bytes, `between` between them.
fn in_frames(bytes: &[u8], compress: Compress, between: &[u8]) -> Vec<u8> {
    let frames = bytes.chunks(10_000).map(|part| [&compress(part), between].concat());
    frames.collect::<Vec<_>>().concat()
}

fn skippable() -> Vec<u8> {
    [&0x184d_2a53u32.to_le_bytes()[..], &9u32.to_le_bytes(), b"something"].concat()
}

#[test]
fn one_frame_or_many() {
    let plain = plain();
    let expected = Everything::of(plain.clone());
    assert_eq!(expected.packets.len(), 3000);
    for (name, compress) in ALL {
        for bytes in [compress(&plain), in_frames(&plain, compress, b"")] {
            let file = file_of(&bytes);
            let mut capture =
                Capture::open(vec![path_input(&file)], OpenOptions::default()).unwrap();
            assert_eq!(capture.inputs()[0].format, format!("pcap (µs, {name})"));
            assert!(!capture.is_live());
            assert_eq!(capture.size_hint(), Some(bytes.len() as u64));
            let mut batch = Batch::default();
            let mut all = Everything::default();
            while capture.next_batch(&mut batch).unwrap() {
                all.add(&batch);
            }
            all.add(&batch);
            assert_eq!(batch.position, bytes.len() as u64, "{name}");
            assert!(all.packets == expected.packets && all.damage.is_empty(), "{name}");
        }
    }
}

#[test]
fn skippable_frames_and_padding() {
    let plain = plain();
    let expected = Everything::of(plain.clone());
    for (name, compress) in [ALL[0], ALL[2]] {
        let all = Everything::of(in_frames(&plain, compress, &skippable()));
        assert!(all.packets == expected.packets && all.damage.is_empty(), "{name}");
    }
    let all = Everything::of([skippable(), zstd(&plain)].concat());
    assert!(all.packets == expected.packets && all.damage.is_empty());
    let all = Everything::of([gzip(&plain), vec![0; 1000]].concat());
    assert!(all.packets == expected.packets && all.damage.is_empty());
}

#[test]
fn something_else_behind() {
    let plain = plain();
    for (name, compress) in ALL {
        let whole = compress(&plain);
        let all = Everything::of([&whole[..], b"what is this?"].concat());
        assert_eq!(all.packets.len(), 3000, "{name}");
        assert_eq!(all.damage.len(), 1, "{name}");
        assert!(all.damage[0].1.starts_with(&format!("the {name} data is damaged: ")));
        assert_eq!(all.damage[0].0, whole.len() as u64, "{name}");
    }
}

#[test]
fn a_cut_gives_all_that_was_flushed() {
    let plain = plain();
    let whole = Everything::of(plain.clone());
    for (name, compress) in ALL {
        let frames = in_frames(&plain, compress, b"");
        let complete = in_frames(&plain[..300_000], compress, b"").len();
        for cut in (complete + 1..frames.len()).step_by(611).take(40) {
            let all = Everything::of(&frames[..cut]);
            assert!(whole.packets.starts_with(&all.packets), "{name} cut at {cut}");
            let bytes: usize = all.packets.iter().map(|packet| packet.bytes.len() + 16).sum();
            assert!(bytes + 24 + 200 > 300_000, "{name} cut at {cut}: {bytes}");
            let ends = format!("the {name} data ends in the middle of a frame");
            let boundary = plain
                .chunks(10_000)
                .scan(0, |sum, part| {
                    *sum += compress(part).len();
                    Some(*sum)
                })
                .any(|end| end == cut);
            if !boundary {
                assert_eq!(all.faults(), [ends], "{name} cut at {cut}");
                assert_eq!(all.damage[0].0, cut as u64, "{name}");
            }
        }
    }
}

#[test]
fn every_cut_of_a_small_file_is_told() {
    let plain = pcap(0xa1b2_c3d4, false, 65_535, 1, &[(1, 2, 3, b"abc"), (2, 3, 4, b"defg")]);
    for (name, compress) in ALL {
        let bytes = compress(&plain);
        for cut in 4..bytes.len() {
            match Capture::from_bytes("test", bytes[..cut].to_vec()) {
                Ok(mut capture) => {
                    let all = Everything::read(&mut capture);
                    assert_eq!(all.damage.len(), 1, "{name} cut at {cut}");
                }
                Err(error) => {
                    assert!(error.to_string().contains("middle of a frame"), "{name}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_flushed_frame_without_an_end_is_complete_but_told() {
    let plain = plain();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&plain).unwrap();
    encoder.flush().unwrap();
    let all = Everything::of(encoder.get_ref().clone());
    assert_eq!(all.packets.len(), 3000);
    assert_eq!(all.faults(), ["the zstd data ends in the middle of a frame"]);
}

#[test]
fn damage_within_costs_only_what_follows() {
    let plain = plain();
    let whole = Everything::of(plain.clone());
    for (name, compress) in ALL {
        let mut frames = in_frames(&plain, compress, b"");
        let at = in_frames(&plain[..200_000], compress, b"").len() + 5000;
        frames[at..at + 16].fill(0xa5);
        let all = Everything::of(frames);
        let bytes: usize = all.packets.iter().map(|packet| packet.bytes.len() + 16).sum();
        assert!(bytes > 160_000, "{name}: {bytes}");
        assert!(!all.damage.is_empty(), "{name}");
        let intact = whole.packets.iter().zip(&all.packets).take_while(|(a, b)| a == b).count();
        assert!(intact > 1000, "{name}: {intact}");
    }
}

#[test]
fn a_packet_larger_than_the_headroom() {
    let large = vec![3u8; 5 << 20];
    let bytes = pcap(
        0xa1b2_c3d4,
        false,
        0,
        1,
        &[(1, 0, 0, b"before"), (2, 0, 0, &large), (3, 0, 0, b"after")],
    );
    let all = Everything::of(zstd(&bytes));
    assert_eq!(all.payloads(), [&b"before"[..], &large, b"after"]);
    assert_eq!(all.damage, []);
}

#[test]
fn an_unread_rest_does_not_hang() {
    let mut plain = plain();
    let packets = plain.split_off(24);
    plain.extend(packets.repeat(30));
    let mut capture = Capture::from_bytes("test", zstd(&plain)).unwrap();
    let mut batch = Batch::default();
    assert!(capture.next_batch(&mut batch).unwrap());
    drop(capture);
    assert!(!batch.packets.is_empty());
    assert!(batch.packets.iter().all(|packet| batch.bytes(packet).len() >= 100));
}

/// Several frames are decompressed at a time: it must not matter how many, nor
/// that one of them is too long for that.
#[test]
fn any_number_of_decompressing_threads_is_the_same() {
    let small = plain();
    let noise: Vec<u8> = small.iter().cycle().skip(1000).take(60_000).copied().collect();
    // 24 MB, in which no match is near enough for a window of 32 KiB.
    let large: Vec<&[u8]> = std::iter::repeat_n(&noise[..], 400).collect();
    let packets: Vec<(u32, u32, u32, &[u8])> =
        large.iter().map(|bytes| (9, 0, bytes.len() as u32, *bytes)).collect();
    let long = pcap(0xa1b2_c3d4, false, 65_535, 1, &packets).split_off(24);
    let mut narrow = zstd::Encoder::new(Vec::new(), 1).unwrap();
    narrow.set_parameter(zstd::zstd_safe::CParameter::WindowLog(15)).unwrap();
    narrow.write_all(&long).unwrap();
    let long = narrow.finish().unwrap();
    assert!(long.len() > 17 << 20, "{}", long.len());
    let frames = in_frames(&small, zstd, &skippable());
    let behind = in_frames(&small[24..], zstd, b"");
    let whole = [&frames[..], &long, &behind].concat();
    let mut damaged = whole.clone();
    damaged[frames.len() / 2..][..16].fill(0xa5);
    let files = [&whole[..], &whole[..whole.len() - 7], &frames[..frames.len() - 30], &damaged];
    for bytes in files {
        let file = file_of(bytes);
        let read = |threads| {
            let options = OpenOptions { threads: Some(threads), ..OpenOptions::default() };
            let mut capture = Capture::open(vec![path_input(&file)], options).unwrap();
            let (mut all, mut batch, mut cuts) = (Everything::default(), Batch::default(), vec![]);
            loop {
                let more = capture.next_batch(&mut batch).unwrap();
                cuts.push(batch.packets.len());
                all.add(&batch);
                if !more {
                    return (all, cuts);
                }
            }
        };
        let (one, cuts) = read(1);
        assert!(one.packets.len() > 1000);
        for threads in [2, 3, 8] {
            let (several, same) = read(threads);
            assert!(several.packets == one.packets, "{threads} threads");
            assert_eq!(several.damage, one.damage, "{threads} threads");
            assert_eq!(same, cuts, "{threads} threads");
        }
    }
    let mut capture =
        Capture::open(vec![path_input(&file_of(&whole))], OpenOptions::default()).unwrap();
    let all = Everything::read(&mut capture);
    assert_eq!((all.packets.len(), all.damage.len()), (3000 + 400 + 3000, 0));
}
