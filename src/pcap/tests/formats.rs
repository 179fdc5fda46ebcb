//! Every variant of the formats, built by hand.

use super::build::{Ng, pcap, varied};
use super::*;

const SECOND: i64 = 1_000_000_000;

#[test]
fn pcap_in_all_variants() {
    for (magic, factor, text) in
        [(0xa1b2_c3d4, 1000, "µs"), (0xa1b2_3c4d, 1, "ns"), (0xa1b2_cd34, 1000, "µs, modified")]
    {
        for big in [false, true] {
            let packets =
                [(7, 123, 60, &b"abc"[..]), (u32::MAX, 999_999, 0, b""), (8, 0, 2, b"xy")];
            let bytes = pcap(magic, big, 65_535, 0xf400_0001, &packets);
            let mut capture = Capture::from_bytes("test", bytes).unwrap();
            let order = if big { ", big-endian" } else { "" };
            assert_eq!(capture.inputs()[0].format, format!("pcap ({text}{order})"));
            assert!(!capture.is_live());
            let all = Everything::read(&mut capture);
            assert_eq!(all.payloads(), [&b"abc"[..], b"", b"xy"]);
            assert_eq!(
                all.times(),
                [
                    Some(7 * SECOND + 123 * factor),
                    Some(i64::from(u32::MAX) * SECOND + 999_999 * factor),
                    Some(8 * SECOND)
                ]
            );
            assert_eq!(all.packets[0].original, 60);
            assert_eq!(all.interfaces.len(), 1);
            assert_eq!(all.interfaces[0].link, LinkType(1), "FCS bits are masked");
            assert_eq!(all.damage, []);
        }
    }
}

#[test]
fn pcap_snap_lengths_are_not_believed_too_much() {
    for snaplen in [0, 4] {
        let bytes = pcap(0xa1b2_c3d4, false, snaplen, 1, &[(1, 0, 9, b"more than")]);
        let all = Everything::of(bytes);
        assert_eq!(all.payloads(), [b"more than"]);
        assert_eq!(all.damage, []);
    }
}

#[test]
fn old_pcap_versions_have_their_lengths_swapped() {
    let mut bytes = pcap(0xa1b2_c3d4, false, 100, 1, &[(1, 0, 0, b"abcd")]);
    // Version 2.2: original length first.
    bytes[6] = 2;
    bytes[32..36].copy_from_slice(&50u32.to_le_bytes());
    bytes[36..40].copy_from_slice(&4u32.to_le_bytes());
    let old = Everything::of(bytes.clone());
    assert_eq!((old.payloads(), old.packets[0].original), (vec![&b"abcd"[..]], 50));
    bytes[6] = 3;
    assert_eq!(Everything::of(bytes).packets, old.packets);
}

#[test]
fn pcapng_sections_interfaces_and_packets() {
    let all = Everything::of(varied());
    assert_eq!(all.payloads(), [&b"first packet"[..], b"second", b"three", b"fourth", b"fifth"]);
    assert_eq!(all.times(), [Some(5), Some(6), None, Some(7000), Some(SECOND)]);
    let interfaces: Vec<u32> = all.packets.iter().map(|packet| packet.interface).collect();
    assert_eq!(interfaces, [0, 0, 0, 1, 2]);
    assert_eq!(all.packets[2].original, 40);
    assert_eq!(all.comments, [(1, "a comment".to_owned())]);
    assert_eq!(all.interfaces[0].name.as_deref(), Some("eth0"));
    let links: Vec<u16> = all.interfaces.iter().map(|interface| interface.link.0).collect();
    assert_eq!(links, [1, 101, 1]);
    assert_eq!(all.interfaces[1].snaplen, 8);
    assert_eq!(all.damage, []);
}

#[test]
fn simple_packets_take_their_length_from_the_snap_length() {
    let mut ng = Ng::new(true);
    ng.interface(1, 4, b"").simple(100, b"abcd").simple(3, b"xyz");
    let all = Everything::of(ng.bytes);
    assert_eq!(all.payloads(), [&b"abcd"[..], b"xyz"]);
    assert_eq!(all.times(), [None, None]);
    let mut unlimited = Ng::new(false);
    unlimited.interface(1, 0, b"").simple(5, b"abcde");
    assert_eq!(Everything::of(unlimited.bytes).payloads(), [b"abcde"]);
}

#[test]
fn time_resolution_and_offset() {
    for big in [false, true] {
        let mut ng = Ng::new(big);
        let binary = ng.option(9, &[0x94]);
        let shifted = [ng.option(9, &[6]), ng.option(14, &ng.u64(-10i64 as u64))].concat();
        ng.interface(1, 0, &binary).interface(1, 0, &shifted);
        ng.enhanced(0, 3 << 19, b"", b"").enhanced(1, 12_000_000, b"", b"");
        ng.enhanced(1, u64::MAX, b"", b"");
        assert_eq!(Everything::of(ng.bytes).times(), [Some(1_500_000_000), Some(2 * SECOND), None]);
    }
}

#[test]
fn the_obsolete_packet_block() {
    let mut ng = Ng::new(true);
    ng.interface(1, 0, b"");
    for drops in [3, u16::MAX, 4] {
        let mut body = [ng.u16(0), ng.u16(drops)].concat();
        body.extend([0, 9, 2, 2].map(|word| ng.u32(word)).concat());
        body.extend(b"pb\0\0");
        body.extend(ng.option(1, b"old"));
        ng.block(2, &body);
    }
    let all = Everything::of(ng.bytes);
    assert_eq!(all.payloads(), [b"pb", b"pb", b"pb"]);
    assert_eq!(all.times(), [Some(9000); 3]);
    assert_eq!(all.comments.len(), 3);
    assert_eq!(all.drops, 7, "65535 says that it is not known");
}

#[test]
fn drops_count_once_whoever_tells_of_them() {
    let mut ng = Ng::new(false);
    ng.interface(1, 0, b"").interface(1, 0, b"");
    let lost = |ng: &Ng, count| ng.option(4, &ng.u64(count));
    let statistics = |ng: &mut Ng, interface, interface_drops, system_drops| {
        let options = [
            ng.option(5, &ng.u64(interface_drops)),
            ng.option(7, &ng.u64(system_drops)),
            ng.option(0, b""),
        ];
        let body = [ng.u32(interface), ng.u32(0), ng.u32(0), options.concat()].concat();
        ng.block(5, &body);
    };
    let five = lost(&ng, 5);
    ng.enhanced(0, 1, b"a", &five);
    statistics(&mut ng, 0, 4, 3);
    let one = lost(&ng, 1);
    ng.enhanced(0, 2, b"b", &one);
    statistics(&mut ng, 1, 10, u64::MAX);
    statistics(&mut ng, 0, 4, 4);
    let all = Everything::of(ng.bytes);
    assert_eq!(all.drops, 8 + 10);
    assert_eq!(all.damage, []);
}

#[test]
fn names_of_addresses() {
    let mut ng = Ng::new(true);
    let mut body = ng.option(1, b"\x0a\0\0\x01web.local\0alias\0");
    body.extend(ng.option(0, b""));
    ng.block(4, &body);
    let all = Everything::of(ng.bytes);
    assert_eq!(all.names, [(IpAddr::from([10, 0, 0, 1]), "web.local".to_owned())]);
}

#[test]
fn unknown_blocks_are_passed() {
    let mut ng = Ng::new(false);
    ng.interface(1, 0, b"");
    for kind in [9, 0xa, 0xbad, 0x4000_0bad, 0x8000_0001, 0x7fff_ffff] {
        ng.block(kind, b"").block(kind, &[1; 333]);
    }
    ng.enhanced(0, 1, b"seen", b"");
    let all = Everything::of(ng.bytes);
    assert_eq!(all.payloads(), [b"seen"]);
    assert_eq!(all.damage, []);
}

#[test]
fn descriptions_of_interfaces_survive_bad_options() {
    let mut ng = Ng::new(false);
    let mut options = [ng.option(2, b"lo\0"), ng.option(3, b"\xff loop"), ng.option(9, &[9])];
    options[2].extend([9, 0, 99, 0]);
    ng.interface(1, 0, &options.concat()).enhanced(0, 1, b"x", b"");
    let all = Everything::of(ng.bytes);
    assert_eq!(all.interfaces[0].name.as_deref(), Some("lo"));
    assert_eq!(all.interfaces[0].description.as_deref(), Some("\u{fffd} loop"));
    assert_eq!(all.times(), [Some(1)], "the resolution before the damage is used");
    let expected = "the options of a block of type 0x1 are damaged; those before are used";
    assert_eq!(all.faults(), [expected]);
}

#[test]
fn what_is_no_capture() {
    assert_eq!(
        open_error(b"Hello, world\n"),
        "cap.txt: not a capture file (begins with 48 65 6c 6c 6f 2c 20 77 …; \
         expected pcap, pcapng, zstd, gzip or lz4)"
    );
    assert_eq!(open_error(b""), "cap.txt: not a capture file (it is empty)");
    assert_eq!(
        open_error(b"\xd4\xc3"),
        "cap.txt: not a capture file (begins with d4 c3; expected pcap, pcapng, zstd, gzip or lz4)"
    );
    let zipped = zstd::encode_all(&b"Hello, world\n"[..], 1).unwrap();
    assert_eq!(
        open_error(&zipped),
        "cap.txt: not a capture file (the zstd data begins with 48 65 6c 6c 6f 2c 20 77 …; \
         expected pcap, pcapng)"
    );
    let twice = zstd::encode_all(&zipped[..], 1).unwrap();
    assert!(open_error(&twice).contains("the zstd data begins with 28 b5 2f fd"));
    assert_eq!(
        open_error(&zipped[..6]),
        "cap.txt: not a capture file (the zstd data ends in the middle of a frame)"
    );
}

#[test]
fn what_is_no_file() {
    let open = |path: &str| {
        let input = Input::from_arg(OsStr::new(path));
        match Capture::open(vec![input], OpenOptions::default()) {
            Ok(_) => panic!("{path} opens"),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(open("/nowhere/cap.pcap"), "/nowhere/cap.pcap: no such file");
    assert_eq!(open("/"), "/: is a directory, not a capture file");
    assert!(open("/dev/null").ends_with("not a capture file (it is empty)"));
    let empty = file_of(b"");
    assert!(open(empty.path().to_str().unwrap()).ends_with("(it is empty)"));
}
