//! Cut, damaged and hostile captures.

use proptest::prelude::*;

use super::build::{Ng, pcap, varied};
use super::*;

fn classic() -> Vec<u8> {
    let packets = [(1, 2, 9, &b"abc"[..]), (2, 3, 4, b""), (3, 4, 5, b"hello")];
    pcap(0xa1b2_c3d4, true, 100, 1, &packets)
}

/// Cuts `bytes` everywhere; packets before a cut stay the same, and a cut
/// within a packet is always told.
fn cut_everywhere(bytes: &[u8], ends: &[usize]) {
    let whole = Everything::of(bytes);
    assert_eq!(whole.damage, []);
    for cut in 4..bytes.len() {
        let part = Everything::of(&bytes[..cut]);
        assert!(whole.packets.starts_with(&part.packets), "cut at {cut}");
        let expected = usize::from(!ends.contains(&cut));
        assert_eq!(part.damage.len(), expected, "cut at {cut}: {:?}", part.damage);
        if let Some((offset, what)) = part.damage.first() {
            let last = ends.iter().rev().find(|end| **end < cut).copied().unwrap_or(0);
            assert_eq!(*offset, last as u64, "cut at {cut}");
            assert!(what.contains("cut short"), "{what}");
        }
        // As a file in small windows and byte by byte it is the same.
        let file = file_of(&bytes[..cut]);
        let options = OpenOptions { window_bytes: Some(16), ..OpenOptions::default() };
        let mut mapped = Capture::open(vec![path_input(&file)], options).unwrap();
        let mapped = Everything::read(&mut mapped);
        assert_eq!((mapped.packets, mapped.damage), (part.packets, part.damage));
    }
}

#[test]
fn every_cut_of_pcap() {
    cut_everywhere(&classic(), &[24, 43, 59]);
}

#[test]
fn every_cut_of_pcapng() {
    let bytes = varied();
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let little = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        at += if little < 1 << 16 { little } else { little.swap_bytes() } as usize;
        ends.push(at);
    }
    cut_everywhere(&bytes, &ends);
}

#[test]
fn a_cut_is_named_with_its_place() {
    let bytes = classic();
    let all = Everything::of(&bytes[..bytes.len() - 2]);
    assert_eq!(all.packets.len(), 2);
    let what = "the last packet is cut short: 19 of 21 bytes";
    assert_eq!(all.damage, [(59, what.to_owned())]);
}

#[test]
fn a_damaged_packet_length_ends_pcap() {
    let mut bytes = classic();
    bytes[59 + 8] = 0x7f;
    let all = Everything::of(bytes);
    assert_eq!(all.packets.len(), 2);
    assert_eq!(all.damage.len(), 1);
    assert_eq!(all.damage[0].0, 59);
    assert!(all.damage[0].1.contains("claims 2130706437 captured bytes"), "{:?}", all.damage);
}

#[test]
fn bad_blocks_are_left_out_and_named() {
    let mut ng = Ng::new(false);
    ng.interface(1, 0, b"").enhanced(0, 1, b"one", b"");
    let first = ng.bytes.len() as u64;
    ng.enhanced(7, 2, b"lost", b"");
    let second = ng.bytes.len();
    ng.enhanced(0, 3, b"lost", b"");
    ng.bytes[second + 20] = 200;
    let third = ng.bytes.len() as u64;
    ng.block(6, b"short").enhanced(0, 4, b"four", b"");
    let all = Everything::of(ng.bytes);
    assert_eq!(all.payloads(), [&b"one"[..], b"four"]);
    let expected = [
        (first, "a packet block names interface 7, but 1 are described; it is left out"),
        (
            second as u64,
            "a packet block claims 200 captured bytes and has room for 4; it is left out",
        ),
        (third, "a block of type 0x6 is too short (20 bytes); it is left out"),
    ];
    let found: Vec<(u64, &str)> = all.damage.iter().map(|(at, what)| (*at, &**what)).collect();
    assert_eq!(found, expected);
}

#[test]
fn many_bad_blocks_do_not_fill_memory() {
    let mut ng = Ng::new(false);
    for _ in 0..10_000 {
        ng.enhanced(3, 0, b"", b"");
    }
    let all = Everything::of(ng.bytes);
    assert_eq!(all.damage.len(), 17);
    assert_eq!(all.damage[16].1, "9984 more damaged blocks follow, the last one here");
}

#[test]
fn impossible_blocks_end_the_input() {
    let begin = |edit: &dyn Fn(&mut Vec<u8>, usize)| {
        let mut ng = Ng::new(false);
        ng.interface(1, 0, b"").enhanced(0, 1, b"good", b"");
        let at = ng.bytes.len();
        ng.enhanced(0, 1, b"bad!", b"").enhanced(0, 1, b"never", b"");
        edit(&mut ng.bytes, at);
        let all = Everything::of(ng.bytes);
        assert_eq!(all.payloads(), [b"good"]);
        assert_eq!((all.damage.len(), all.damage[0].0), (1, at as u64));
        all.damage[0].1.clone()
    };
    let length = |value: u32| {
        begin(&move |bytes: &mut Vec<u8>, at| {
            bytes[at + 4..at + 8].copy_from_slice(&value.to_le_bytes());
        })
    };
    assert!(length(0).contains("claims a length of 0 bytes"));
    assert!(length(38).contains("claims a length of 38 bytes"));
    assert!(length(0xffff_fffc).contains("more than the limit of 16842752"));
    assert!(length(40).contains("its length is 40 at its begin"));
    let zeros = begin(&|bytes, at| bytes[at..].fill(0));
    assert!(zeros.contains("claims a length of 0 bytes"));
    let section = begin(&|bytes, at| bytes[at..at + 4].copy_from_slice(&[10, 13, 13, 10]));
    assert!(section.contains("no byte-order mark"));
}

#[test]
fn versions_that_are_not_known() {
    let mut bytes = varied();
    bytes[12] = 2;
    assert_eq!(Everything::of(bytes).faults(), ["version 2.0 of the format is not known"]);
    let mut bytes = classic();
    bytes[5] = 3;
    assert_eq!(Everything::of(bytes).faults(), ["version 3.4 of the format is not known"]);
}

#[test]
fn descriptions_do_not_fill_memory() {
    let mut ng = Ng::new(false);
    let name = ng.option(2, &[b'x'; 60_000]);
    ng.interface(1, 0, &name);
    let block = ng.bytes.split_off(Ng::new(false).bytes.len());
    let bytes = [ng.bytes, block.repeat(1200)].concat();
    let all = Everything::of(bytes);
    assert!(all.interfaces.len() < 1200);
    assert_eq!(all.damage.len(), 1);
    assert!(all.damage[0].1.contains("beyond the limit of 67108864 bytes"));
}

#[test]
fn a_file_that_is_shortened_meanwhile() {
    let mut packets: Vec<(u32, u32, u32, &[u8])> = Vec::new();
    packets.resize(100_000, (1, 2, 40, &[7; 40]));
    let bytes = pcap(0xa1b2_c3d4, false, 100, 1, &packets);
    let file = file_of(&bytes);
    let options = OpenOptions { window_bytes: Some(1 << 20), ..OpenOptions::default() };
    let mut capture = Capture::open(vec![path_input(&file)], options).unwrap();
    let mut batch = Batch::default();
    assert!(capture.next_batch(&mut batch).unwrap());
    let mut before = batch.packets.len();
    assert!(before > 0);
    file.as_file().set_len(1_000_000).unwrap();
    while capture.next_batch(&mut batch).unwrap() {
        before += batch.packets.len();
        assert!(batch.packets.iter().all(|packet| batch.bytes(packet) == [7; 40]));
    }
    assert_eq!(batch.damage.len(), 1);
    let what = &batch.damage[0].what;
    assert_eq!(what, "the file was shortened to 1000000 bytes while it was read");
    assert_eq!(before, (1_000_000 - 24) / 56);
}

proptest! {
    /// Flipped bits never panic, hang, or point outside of the input.
    #[test]
    fn flipped_bits(flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8u32), 1..6), ng: bool) {
        let mut bytes = if ng { varied() } else { classic() };
        for (index, bit) in flips {
            *index.get_mut(&mut bytes) ^= 1 << bit;
        }
        if let Ok(mut capture) = Capture::from_bytes("test", bytes) {
            Everything::read(&mut capture);
        }
    }

    #[test]
    fn noise_after_a_magic(noise in proptest::collection::vec(any::<u8>(), 0..400), which in 0..5usize) {
        let magic: [&[u8]; 5] = [
            b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x01\0\0\0",
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\0\0\0\0\0\0\0\0\x1c\0\0\0",
            b"\x28\xb5\x2f\xfd",
            b"\x1f\x8b\x08",
            b"\x04\x22\x4d\x18",
        ];
        let bytes = [magic[which], &noise].concat();
        if let Ok(mut capture) = Capture::from_bytes("test", bytes) {
            Everything::read(&mut capture);
        }
    }
}
