//! Capture files, plain and compressed, mapped and as a stream.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use perisco::pcap::{Batch, Capture, Input, OpenOptions};

/// A packet as far as it must not depend on how the file is read.
type Seen = (Vec<u8>, u32, u32, Option<i64>);

/// More packets than any input of the fuzzer's size holds, compressed or not.
const MOST: usize = 1 << 22;

fn read(input: Input) -> Option<(Vec<Seen>, Vec<(u64, String)>)> {
    let mut capture = Capture::open(vec![input], OpenOptions::default()).ok()?;
    let (mut seen, mut damage, mut interfaces) = (Vec::new(), Vec::new(), 0);
    let mut batch = Batch::default();
    let mut rounds = 0;
    loop {
        let more = capture.next_batch(&mut batch).ok()?;
        interfaces += batch.interfaces.len();
        for packet in &batch.packets {
            let bytes = batch.bytes(packet);
            assert_eq!(bytes.len(), packet.captured as usize, "bytes of a packet");
            assert!(packet.captured <= packet.original, "more captured than there was");
            assert!((packet.interface as usize) < interfaces, "no such interface");
            let at = packet.at.map(|at| at.nanos());
            seen.push((bytes.to_vec(), packet.original, packet.interface, at));
        }
        let indices = batch.comments.iter().map(|comment| comment.packet);
        assert!(
            indices.clone().is_sorted() && indices.max().is_none_or(|i| i < batch.packets.len())
        );
        damage.extend(batch.damage.drain(..).map(|damage| (damage.offset, damage.what)));
        rounds += 1;
        assert!(seen.len() + rounds < MOST, "reads for ever");
        if !more {
            return Some((seen, damage));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let name = || "fuzz".to_owned();
    let mapped = read(Input::Bytes { name: name(), bytes: input.to_vec() });
    let reader = Box::new(Cursor::new(input.to_vec()));
    let stream = read(Input::Reader { name: name(), reader });
    assert_eq!(mapped, stream, "a file and a stream differ");
});
