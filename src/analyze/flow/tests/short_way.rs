//! The short way is the long way.

use proptest::prelude::*;

use super::*;

/// A conversation that is mostly in order: who sends how many bytes, and what
/// is odd about it.
pub(super) fn conversation(steps: &[(bool, usize, u8)]) -> Vec<Packet> {
    const BYTES: &[u8] = b"abcdefgh";
    let mut next = [1_u32, 1];
    let mut packets = exchange();
    packets.truncate(3);
    for (index, &(from_client, len, odd)) in steps.iter().enumerate() {
        let (me, other) = if from_client { (0, 1) } else { (1, 0) };
        let lost = u32::from(odd == 0) * 3;
        let flags = match odd {
            1 => FIN | ACK,
            2 => RST | ACK,
            3 => RST,
            4 => 0,
            _ => ACK,
        };
        let ahead = u32::from(odd == 5) * 2;
        next[me] += lost;
        let end = u32::from(odd == 1);
        let mut packet = packet(from_client, flags, next[me], next[other] + ahead, &BYTES[..len]);
        packet.cut = usize::from(odd == 6).min(len);
        packet.millis = if odd == 7 { 500 } else { 0 } + index as i64;
        next[me] += if odd == 8 { 0 } else { len as u32 + end };
        let copies = if odd == 9 { 2 } else { 1 };
        packets.extend(std::iter::repeat_n(packet, copies));
    }
    packets
}

proptest! {
    #[test]
    fn the_short_way_is_the_long_way(
        steps in prop::collection::vec((any::<bool>(), 0..8_usize, 0..60_u8), 0..40),
        // Of the handshake, and what becomes of its packets.
        opening in prop::collection::vec(0..3_usize, 1..4),
        plain in any::<bool>(),
        end in prop::collection::vec((any::<bool>(), 0..8_usize, any::<bool>()), 0..6),
    ) {
        // FIN is likely only where the end is near.
        let end = end.into_iter().map(|(client, len, fin)| (client, len, if fin { 1 } else { 10 }));
        let steps: Vec<_> = steps.into_iter().chain(end).collect();
        let mut packets = conversation(&steps);
        if !plain {
            let shuffled: Vec<_> = opening.iter().map(|at| packets[*at].clone()).collect();
            packets.splice(..3, shuffled);
        }
        let (short, one) = replay_with(&packets, true);
        let (long, two) = replay_with(&packets, false);
        prop_assert_eq!(short, long);
        prop_assert_eq!(&one.anomalies, &two.anomalies);
        prop_assert_eq!((one.first, one.last), (two.first, two.last));
        let counts = |flow: &Flow| {
            let halves = [Side::A, Side::B].map(|side| flow.half(side).counts);
            format!("{:?} {halves:?}", flow.counts)
        };
        prop_assert_eq!(counts(&one), counts(&two));
    }
}
