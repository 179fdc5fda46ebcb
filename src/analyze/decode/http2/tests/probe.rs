//! What is and what is not taken for HTTP/2.

use proptest::prelude::*;

use super::scripted::{frame, preface, settings};
use crate::analyze::decode::http2::PROTOCOL;
use crate::analyze::decode::{Probe, Role};

fn probe(bytes: &[u8], late: bool) -> Probe {
    (PROTOCOL.probe)(bytes, late)
}

#[test]
fn connections_from_their_start() {
    let client = [&preface()[..], &settings(&[(3, 100)])].concat();
    let server = [&settings(&[(3, 100), (5, 16_384)])[..], &frame(4, 1, 0, &[])].concat();
    let empty = frame(4, 0, 0, &[]);
    let two = [&empty[..], &frame(8, 0, 0, &[0, 0, 255, 255])].concat();
    for late in [false, true] {
        assert_eq!(probe(&client, late), Probe::Match(Role::Client));
        assert_eq!(probe(&client[..10], late), Probe::More);
        assert_eq!(probe(&server[..12], late), Probe::More);
        assert_eq!(probe(&empty, late), Probe::More);
        // Where a preface may have come before, a client sends the same.
        let role = if late { Probe::More } else { Probe::Match(Role::Server) };
        assert_eq!(probe(&server, late), role);
        // Empty settings need a second frame.
        assert_eq!(probe(&two, late), role);
    }
}

#[test]
fn connections_joined_midway() {
    // :method GET, :scheme http, :path /, :authority x, two literals.
    let head = [0x82, 0x86, 0x84, 0x01, 1, b'x', 0xbe, 0x40, 2, b'x', b'a', 1, b'1'];
    let request = [&frame(1, 4, 9, &head)[..], &frame(0, 1, 9, b"body")].concat();
    assert_eq!(probe(&request, true), Probe::Match(Role::Client));
    assert_eq!(probe(&request, false), Probe::No);
    let response = [&frame(1, 4, 9, &[0x88, 0xbe, 0xbf])[..], &frame(0, 1, 9, b"body")].concat();
    assert_eq!(probe(&response, true), Probe::Match(Role::Server));
    // A bad chain is none.
    let broken = [&request[..], b"\0\0\x04\x03\0\0\0\0\0????"].concat();
    assert_eq!(probe(&broken, true), Probe::No);
    // Who sent this cannot be told.
    let ping = frame(6, 0, 0, &[0; 8]);
    assert_eq!(probe(&[&ping[..], &frame(8, 0, 0, &[0, 0, 1, 0])].concat(), true), Probe::More);
}

#[test]
fn other_protocols_are_not_taken() {
    let kafka = [&[0, 0, 0, 30, 0, 3, 0, 9, 0, 0, 0, 1, 0, 6][..], b"client", &[0; 14]].concat();
    let others: [&[u8]; 12] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"\x17\x03\x03\x00\x40aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"\x4a\x00\x00\x00\x0a5.7.33\x00\x08\x00\x00\x00aaaaaaaa\x00\xff\xf7\x08\x02\x00",
        b"\x03\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"AMQP\x00\x00\x09\x01",
        b"\x01\x00\x00\x00\x00\x00\x08\x00\x0a\x00\x0b\x00\x00\x00\x00\xce\x01\x00\x00\x00\x00",
        &kafka,
        &[0; 600],
        b"*1\r\n$4\r\nPING\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    ];
    for bytes in others {
        for late in [false, true] {
            for from in 0..bytes.len() {
                let verdict = probe(&bytes[from..], late);
                assert!(!matches!(verdict, Probe::Match(_)), "{:?} {late}", &bytes[from..]);
            }
        }
    }
}

/// Random segments, and ones made of the small numbers that real protocols
/// are full of. Two million in all, none of which may match.
#[test]
fn noise_is_not_taken() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = [0u8; 64];
    for round in 0..1_000_000 {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random().to_le_bytes());
        }
        if round % 2 == 0 {
            for (byte, choice) in bytes.iter_mut().zip((0..).map(|_| random())) {
                *byte = match choice % 8 {
                    0..=4 => 0,
                    5 => 1,
                    _ => *byte & 0x0f,
                };
            }
        }
        let verdict = probe(&bytes, true);
        assert!(!matches!(verdict, Probe::Match(_)), "{bytes:?}");
        let verdict = probe(&bytes, false);
        assert!(!matches!(verdict, Probe::Match(_)), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..200), late: bool) {
        prop_assert!(!matches!(probe(&bytes, late), Probe::Match(_)));
    }
}
