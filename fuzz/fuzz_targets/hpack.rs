//! Header blocks of one direction, as seen from its start and by someone who
//! joined later or missed blocks: what the latter says must be what the
//! former says, or "unknown".
//!
//! Input: the block from which on the second decoder sees the direction, then
//! blocks: an operation (1: a block missed by the second), two bytes of
//! length, the block.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perisco::analyze::decode::http2::hpack::table::Name;
use perisco::analyze::decode::http2::hpack::{Decoder, Field, HpackError, plausible};
use perisco_fuzz::bytes::Bytes;

/// Some tables, and the strings of the largest field.
const MEMORY: usize = 1 << 20;

type Owned = (Option<Vec<u8>>, Option<Vec<u8>>);

fn owned(field: Field<'_>) -> Owned {
    let name = match field.name {
        Name::Known(name) => Some(name.to_vec()),
        Name::Unknown(_) => None,
    };
    (name, field.value.map(<[u8]>::to_vec))
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> (Vec<Owned>, Result<(), HpackError>) {
    let mut fields = Vec::new();
    let result = decoder.decode(block, &mut |field| fields.push(owned(field)));
    assert!(fields.len() <= block.len(), "more fields than bytes");
    assert!(decoder.memory() <= MEMORY, "table of {} bytes", decoder.memory());
    (fields, result)
}

fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let join = usize::from(input.u8() % 8);
    let mut truth = Decoder::new(false);
    let mut observer = Decoder::new(join > 0);
    let mut sound = true;
    let mut index = 0;
    while !input.is_empty() {
        let op = input.u8();
        let len = input.u16();
        let block = input.take(usize::from(len));
        let _ = plausible(block);
        let (exact, result) = decode(&mut truth, block);
        if index < join {
            // Not seen by the observer.
        } else if op == 1 {
            observer.invalidate();
        } else {
            let (seen, _) = decode(&mut observer, block);
            sound &= result.is_ok();
            if sound {
                assert_eq!(seen.len(), exact.len(), "other fields");
                for (seen, exact) in seen.iter().zip(&exact) {
                    assert!(seen.0.is_none() || seen.0 == exact.0, "{seen:?} was {exact:?}");
                    assert!(seen.1.is_none() || seen.1 == exact.1, "{seen:?} was {exact:?}");
                }
            }
        }
        // Past an error the sender's table is not known to anyone.
        sound &= result.is_ok();
        index += 1;
    }
});
