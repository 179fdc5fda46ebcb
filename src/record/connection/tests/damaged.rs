//! Properties: any loss, repetition and disorder.

use proptest::prelude::*;

use super::*;

/// Side and length.
type Write = (usize, usize);
/// Kept, told twice, how far it is put off.
type Fate = (bool, bool, u8);

/// A connection of `writes` bytes each way in turn; then the same events with
/// losses, repeats and disorder within what may wait.
fn damaged() -> impl Strategy<Value = (Vec<Write>, Vec<Fate>, bool)> {
    let writes = prop::collection::vec((0_usize..2, 1_usize..200), 1..30);
    let fates =
        prop::collection::vec((prop::bool::weighted(0.8), prop::bool::weighted(0.2), 0_u8..6), 60);
    (writes, fates, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is lost, repeated or disordered: each byte that any event
    /// carried is in the file once, at its place, and nothing else; what none
    /// carried is the gaps, to the byte.
    #[test]
    fn each_byte_once_and_exact_gaps((writes, fates, both) in damaged()) {
        let mut talk = Talk::local();
        let base = talk.next;
        let mut events = Vec::new();
        let mut expected = [vec![], vec![]];
        let mut fates = fates.into_iter().cycle();
        for (count, (side, length)) in writes.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + count) as u8).collect();
            let mut told = false;
            for event in talk.send(side, &bytes).into_iter().take(1 + usize::from(both)) {
                let (kept, twice, shift) = fates.next().unwrap();
                for _ in 0..usize::from(kept) * (1 + usize::from(twice)) {
                    told = true;
                    events.push((events.len() + usize::from(shift), event.clone()));
                }
            }
            expected[side].extend(bytes.into_iter().map(|byte| told.then_some(byte)));
        }
        events.sort_by_key(|(at, _)| *at);
        let mut all = Talk::local().open_both();
        all.extend(events.into_iter().map(|(_, event)| event));
        all.extend(talk.close(0));
        let (packets, summary) = file(&all);
        let mut missing = 0;
        for side in 0..2 {
            let found = stream(&packets, talk.addresses[side], base[side]);
            let known = expected[side].iter().enumerate();
            let known: Vec<(i32, u8)> =
                known.filter_map(|(at, byte)| byte.map(|byte| (at as i32, byte))).collect();
            missing += expected[side].len() - known.len();
            prop_assert_eq!(found.into_iter().collect::<Vec<_>>(), known);
        }
        prop_assert_eq!(summary.gap_bytes, missing as u64);
        prop_assert_eq!(summary.gaps == 0, missing == 0);
        prop_assert_eq!(summary.connections, 1);
        // Both FINs stand where the streams ended.
        for side in 0..2 {
            let fin = packets.iter().find(|packet| packet.from == talk.addresses[side] && packet.flags == tcp::FIN);
            prop_assert_eq!(fin.unwrap().seq, talk.next[side].wrapping_sub(1));
        }
    }

    /// No event breaks it, and what waits is bounded.
    #[test]
    fn any_event_is_taken(heads in prop::collection::vec(
        (0_u8..4, 0_usize..2, any::<u32>(), any::<Option<u32>>(), 0_u32..70_000, any::<u8>(), any::<bool>(), 0_u64..50), 1..60)) {
        let mut talk = Talk::local();
        let mut events = Vec::new();
        for (kind, side, seq, ack, length, flags, midway, later) in heads {
            let kind = [Kind::Data, Kind::Open, Kind::Close, Kind::Owner][usize::from(kind)];
            talk.at += later * MS;
            let mut event = talk.head(kind, side);
            (event.head.seq, event.head.ack, event.head.length) = (seq, ack, length);
            (event.head.tcp_flags, event.head.midway) = (flags, midway);
            event.payload = vec![b'x'; (length as usize).min(32_768)];
            event.head.gap = (length > 32_768).then_some(GapReason::CallLimit);
            events.push(event);
        }
        file(&events);
    }
}
