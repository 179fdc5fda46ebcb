//! Redaction of any capture, and of one connection in any pieces: nothing moves, and how bytes
//! were cut makes no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perisco::redact::{Redactor, Report, Settings, Source, Unparsed};
use perisco_fuzz::bytes::Bytes;

fuzz_target!(|input: &[u8]| {
    let mut bytes = Bytes(input);
    let choice = bytes.u8();
    let unparsed = if choice & 2 == 0 { Unparsed::Keep } else { Unparsed::Drop };
    let settings = Settings { headers_only: choice & 4 != 0, ..Settings::new(unparsed) };
    if choice & 1 == 0 {
        capture(&settings, bytes.0);
    } else {
        connection(&settings, choice & 8 != 0, bytes);
    }
});

fn redact(settings: &Settings, input: &[u8], piece: usize) -> (Vec<u8>, Report) {
    let mut redactor = Redactor::new(settings, Source::Any);
    let mut out = Vec::new();
    for piece in input.chunks(piece) {
        redactor.feed(piece);
        out.extend(redactor.take());
    }
    redactor.end();
    out.extend(redactor.take());
    (out, redactor.report())
}

fn capture(settings: &Settings, input: &[u8]) {
    let whole = redact(settings, input, input.len().max(1));
    assert_eq!(whole, redact(settings, input, 61), "how a pipe cuts it makes a difference");
}

/// What one side says: where in what it says, in what pieces.
type Piece<'a> = (usize, &'a [u8]);

fn connection(settings: &Settings, late: bool, mut bytes: Bytes<'_>) {
    let (mut pieces, mut missing): (Vec<Piece<'_>>, _) = (Vec::new(), false);
    while !bytes.is_empty() {
        let side = usize::from(bytes.u8() & 1);
        let gap = bytes.u8();
        missing |= gap > 200;
        if gap > 200 {
            // A byte that no packet holds.
            pieces.push((side, &[]));
        }
        pieces.push((side, bytes.string()));
    }
    let (input, said) = written(&pieces, late, usize::MAX);
    let (out, report) = redact(settings, &input, 4096);
    let found = payloads(&out);
    for (side, said) in said.iter().enumerate() {
        for (place, byte) in &found[side] {
            let before = said.get(*place).copied().flatten();
            assert!(before.is_some(), "a byte that nobody sent");
            // Only redaction changes bytes, and it is counted.
            assert!(before == Some(*byte) || report.total() > 0 || report.counts.kept > 0);
        }
    }
    let http1 = !said.iter().any(|said| {
        let bytes: Vec<u8> = said.iter().copied().flatten().collect();
        bytes.windows(5).any(|w| w == b"PRI *") || bytes.first() == Some(&0)
    });
    // In what is not HTTP, messages are looked for where segments begin.
    if http1 && !late && !missing && report.counts.kept + report.counts.dropped == 0 {
        let (input, _) = written(&pieces, late, 3);
        let (out, again) = redact(settings, &input, 4096);
        if again.counts.kept + again.counts.dropped == 0 {
            assert_eq!(payloads(&out), found, "how segments cut it makes a difference");
        }
    }
}

/// All bytes of both sides; None was not captured.
type Said = [Vec<Option<u8>>; 2];

/// A pcapng of the connection in segments of at most `size` bytes, and all that was said.
fn written(pieces: &[Piece<'_>], late: bool, size: usize) -> (Vec<u8>, Said) {
    let mut out = Vec::new();
    let header = [0x1a2b_3c4d_u32, 1, u32::MAX, u32::MAX];
    block(&mut out, 0x0a0d_0d0a, &header.map(u32::to_le_bytes).concat());
    block(&mut out, 1, &[101, 0, 0, 0, 0, 0, 0, 0]);
    let mut said = Said::default();
    if !late {
        (0..2).for_each(|side| packet(&mut out, side, u32::MAX, 2, &[]));
    }
    for (side, bytes) in pieces {
        if bytes.is_empty() {
            said[*side].push(None);
        }
        for piece in bytes.chunks(size.min(bytes.len().max(1))) {
            packet(&mut out, *side, said[*side].len() as u32, 16, piece);
            said[*side].extend(piece.iter().copied().map(Some));
        }
    }
    (out, said)
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let length = (padded as u32 + 12).to_le_bytes();
    out.extend(
        [&kind.to_le_bytes()[..], &length, body, &[0; 3][..padded - body.len()], &length].concat(),
    );
}

/// Raw IP: 20 bytes of IPv4, 20 of TCP.
fn packet(out: &mut Vec<u8>, side: usize, seq: u32, flags: u8, payload: &[u8]) {
    let length = 40 + payload.len();
    let mut packet = vec![0x45, 0, (length >> 8) as u8, length as u8, 0, 0, 0, 0, 64, 6, 0, 0];
    let ends = [[10, 0, 0, 1], [10, 0, 0, 2]];
    let ports = [[0x99, 0x99], [0, 80]];
    packet.extend([ends[side], ends[1 - side]].concat());
    packet.extend([ports[side], ports[1 - side]].concat());
    packet.extend(seq.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend_from_slice(payload);
    let length = packet.len() as u32;
    let head = [0, 0, 0, length, length].map(u32::to_le_bytes).concat();
    block(out, 6, &[head, packet].concat());
}

/// Bytes of both sides with their places, once all blocks are known to be sound.
fn payloads(mut capture: &[u8]) -> [Vec<(usize, u8)>; 2] {
    let word = |bytes: &[u8], at: usize| {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let mut found = [Vec::new(), Vec::new()];
    while !capture.is_empty() {
        let (block, rest) = capture.split_at(word(capture, 4) as usize);
        assert_eq!(word(block, 4), word(block, block.len() - 4), "lengths of a block");
        capture = rest;
        if word(block, 0) != 6 {
            continue;
        }
        let (captured, original) = (word(block, 20) as usize, word(block, 24) as usize);
        let packet = &block[28..28 + captured];
        let length = usize::from(packet[2]) << 8 | usize::from(packet[3]);
        assert!(
            captured <= original && length == original,
            "a packet that is not as long as it says"
        );
        let seq = u32::from_be_bytes([packet[24], packet[25], packet[26], packet[27]]);
        let side = usize::from(packet[20] == 0);
        let bytes = packet[40..].iter().enumerate();
        found[side].extend(bytes.map(|(nth, byte)| (seq as usize + nth, *byte)));
    }
    found
}
