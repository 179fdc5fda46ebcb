//! Much goes one way, and a hole is in it.

use super::*;

static BULK: [u8; 60_000] = [b'x'; 60_000];

/// An upload of which four bytes are missing and 4.2 MB follow in no time;
/// `acked`: the server says that it has what is missing.
fn upload(acked: bool) -> Flow {
    let mut packets = exchange();
    packets.truncate(4);
    for count in 0..70 {
        if acked && count == 0 {
            packets.push(packet(false, ACK, 1, 9, b""));
        }
        packets.push(packet(true, ACK, 9 + 60_000 * count, 1, &BULK));
    }
    replay(&packets).1
}

#[test]
fn what_the_receiver_has_was_lost_by_the_capture_whatever_finds_that_out() {
    let counts = upload(true).counts;
    assert_eq!((counts.gaps, counts.gap_bytes), ([1, 0, 0], [4, 0, 0]));
}

#[test]
fn what_may_still_come_is_given_up_by_the_limit() {
    let counts = upload(false).counts;
    assert_eq!((counts.gaps, counts.gap_bytes), ([0, 0, 1], [0, 0, 4]));
}
