//! Packets of any link type to TCP segments; fragments among them.
//!
//! Input: link type (one byte, an index, or 255 and two bytes), then packets:
//! a byte by how much it was cut, two bytes of length, its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perisco::analyze::packet::{Dissected, Dissector};
use perisco::pcap::LinkType;
use perisco::time::Timestamp;
use perisco_fuzz::bytes::Bytes;
use perisco_fuzz::steps::EPOCH;

const ETHERNET: u16 = 1;
const RAW_IP: u16 = 101;

/// What is said where a limit ends the way from header to header.
const TOO_MANY: &str = "too many headers";

/// LINKTYPE_… values, to be found quickly.
const LINKS: [u16; 20] = [
    ETHERNET, 0, 108, RAW_IP, 12, 14, 228, 229, 113, 276, 9, 50, 51, 104, 105, 127, 7, 129, 239,
    117,
];

fn check(dissected: &Dissected<'_>) {
    match dissected {
        Dissected::Segment(segment) => {
            assert!(segment.payload.len() <= segment.wire_len as usize, "more than the wire had");
        }
        Dissected::Malformed(what) => assert!(!what.is_empty()),
        Dissected::Other(kind) => assert!(!kind.is_empty()),
        Dissected::Fragment | Dissected::UnsupportedLink(_) => {}
    }
}

fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let link = match input.u8() {
        255 => input.u16(),
        index => LINKS[usize::from(index) % LINKS.len()],
    };
    let (mut one, mut two) = (Dissector::new(), Dissector::new());
    let mut nanos = EPOCH;
    while !input.is_empty() {
        let cut = u32::from(input.u8());
        let len = input.u16();
        let packet = input.take(usize::from(len));
        nanos += 1 << (cut % 40);
        let at = (cut != 200).then(|| Timestamp::from_nanos(nanos));
        let original = packet.len() as u32 + if cut < 128 { 0 } else { cut };
        let dissected = one.dissect(LinkType(link), packet, original, at);
        check(&dissected);
        // The fast path and the general one must agree. Both see all packets, since what becomes
        // of a fragment depends on those before it, with tags or tunnels around them too.
        if link == ETHERNET {
            let inner = match packet.split_at_checked(14) {
                Some(([.., 8, 0], ip)) => two.dissect(LinkType(RAW_IP), ip, original - 14, at),
                _ => two.dissect(LinkType(ETHERNET), packet, original, at),
            };
            // Headers are counted from the outermost one, so that one side may reach the limit
            // alone, and its fragments are then fewer.
            if [&dissected, &inner].contains(&&Dissected::Malformed(TOO_MANY)) {
                return;
            }
            if let (Dissected::Segment(fast), Dissected::Segment(slow)) = (&dissected, &inner) {
                assert_eq!(format!("{fast:?}"), format!("{slow:?}"));
            } else {
                assert_eq!(
                    std::mem::discriminant(&dissected),
                    std::mem::discriminant(&inner),
                    "{dissected:?} and {inner:?}"
                );
            }
        }
    }
});
