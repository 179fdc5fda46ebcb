//! Records of the ring buffer as the kernel side may write them, and as it may not.
#![no_main]

use libfuzzer_sys::fuzz_target;

// Not by way of the library: there it comes with the recorder, which needs libbpf.
#[path = "../../src/record/event.rs"]
#[allow(dead_code, unreachable_pub)]
mod event;

use event::{Event, HEADER_BYTES};

fuzz_target!(|input: &[u8]| {
    // The header may be of any bytes, the payload of any length.
    let Ok(event) = Event::parse(input) else { return };
    assert!(input.len() >= HEADER_BYTES, "an event without its header");
    assert!(event.payload.len() <= input.len() - HEADER_BYTES, "more than there is");
    // A byte that is no UTF-8 becomes a character of three.
    let comm = event.comm();
    assert!(comm.len() <= event.payload.len() * 3, "a name of nothing");
});
