//! What is kept of a closed connection tells its last segments from the next
//! one's first, as the connection itself did.

use proptest::prelude::*;

use super::short_way::conversation;
use super::*;
use crate::analyze::flow::closed::Closed;
use crate::analyze::limits::CLOSED_NANOS;

proptest! {
    #[test]
    fn what_is_kept_of_a_closed_connection_tells_what_it_told(
        steps in prop::collection::vec((any::<bool>(), 0..8_usize, 0..12_u8), 0..6),
        from in 0..3_usize,
        later in (any::<bool>(), 0..32_u8, 0..12_u32, prop::bool::ANY, 0..4_i64),
        short in any::<bool>(),
    ) {
        let (_, flow) = replay(&conversation(&steps)[from..]);
        let (from_client, flags, seq, empty, times) = later;
        let data: &[u8] = if empty { b"" } else { b"again" };
        let mut packet = packet(from_client, flags, seq, 0, data);
        packet.millis = times * CLOSED_NANOS / 2_000_000;
        let (segment, _) = segment(&packet, 99);
        let limit = if short { CLOSED_NANOS / 3 } else { i64::MAX };
        let closed = Closed::of(&flow).unwrap();
        prop_assert_eq!(closed.goes_on(&segment, limit), flow.goes_on(&segment, limit));
        prop_assert_eq!((closed.key, closed.client), (flow.key, flow.client()));
    }
}
