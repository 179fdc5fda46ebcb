//! Blocks seen before say the same as those that are decoded.

use proptest::prelude::*;

use super::scripted::{frame, preface};
use super::*;

/// Pieces of header blocks: static and dynamic indices, literals that are
/// inserted or not, with names of either table, size updates, and faults.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let literal = |first: u8, name: &'static [u8], value: &'static [u8]| {
        let mut piece = vec![first];
        if first & 0x0f == 0 {
            piece.push(name.len() as u8);
            piece.extend_from_slice(name);
        }
        piece.push(value.len() as u8);
        piece.extend_from_slice(value);
        piece
    };
    prop_oneof![
        6 => prop::sample::select(&[0x82_u8, 0x83, 0x84, 0x86, 0x88, 0x8d]).prop_map(|b| vec![b]),
        6 => (0xbe_u8..0xc4).prop_map(|b| vec![b]),
        2 => Just(literal(0x41, b"", b"a.example")),
        2 => Just(literal(0x41, b"", b"b.example")),
        2 => Just(literal(0x04, b"", b"/users/1")),
        1 => Just(literal(0x44, b"", b"/users/2")),
        1 => Just(literal(0x5f, b"", b"application/grpc")),
        1 => Just(literal(0x40, b"grpc-status", b"0")),
        1 => Just(literal(0x40, b"x-id", b"17")),
        1 => Just(literal(0x00, b"host", b"c.example")),
        1 => Just(literal(0x7e, b"", b"name of the newest")),
        1 => Just(vec![0x44, 0x83, 0x1c, 0x64, 0x5d]),
        1 => Just(vec![0x20 | 20]),
        1 => Just(vec![0x3f, 0x41]),
        1 => Just(vec![0x3f, 0xe1, 0x1f]),
        1 => Just(vec![0x80]),
    ]
}

/// A connection of exchanges whose blocks are some of a few.
fn connection(blocks: &[Vec<u8>], picks: &[(usize, usize)]) -> Vec<Input> {
    let mut inputs = vec![Input::Bytes(UP, preface())];
    for (nth, (request, response)) in picks.iter().enumerate() {
        let id = 2 * nth as u32 + 1;
        for (way, pick) in [(UP, request), (DOWN, response)] {
            let block = blocks.get(pick % blocks.len()).map(Vec::as_slice).unwrap_or_default();
            inputs.push(Input::Bytes(way, frame(1, 0x5, id, block)));
        }
    }
    inputs
}

/// All of the transactions, with their times.
fn shown(output: &Output) -> Vec<String> {
    let place = |m: &Option<Message>| m.as_ref().map(|m| (m.start, m.end, m.packet));
    let all = output.transactions.iter().map(|finished| {
        let t = &finished.transaction;
        format!("{} {:?} {:?}", show_all(t), place(&t.request), place(&t.response))
    });
    all.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// With the log on every block is decoded.
    #[test]
    fn seen_before_or_not(
        blocks in prop::collection::vec(
            prop::collection::vec(piece(), 1..6).prop_map(|pieces| pieces.concat()), 1..5),
        picks in prop::collection::vec((0_usize..5, 0_usize..5), 1..24),
        late in any::<[bool; 2]>(),
        headers in any::<bool>(),
        room in prop_oneof![3 => Just(1 << 20), 1 => 100_usize..400],
    ) {
        let limits = Limits { head_bytes: room, ..Limits::default() };
        let inputs = connection(&blocks, &picks);
        let long = decode(&inputs, late, &limits, Wants { headers, log: true, ..Wants::default() });
        for _ in 0..3 {
            let short = decode(&inputs, late, &limits, Wants { headers, ..Wants::default() });
            prop_assert_eq!(shown(&short), shown(&long));
            prop_assert_eq!(&short.anomalies, &long.anomalies);
        }
    }
}
