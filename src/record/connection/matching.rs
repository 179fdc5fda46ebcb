//! Is this event of that connection? Ends are merged, and incarnations of one
//! pair of addresses told apart, by their sequence numbers.

use super::half::Half;
use super::state::{Connection, End};
use crate::record::event::{Event, Kind, Way, tcp};

/// How far the numbers of two ends of one connection may differ: a reader may
/// lag behind by as much as buffers hold. By chance two connections match in
/// one of 32, for each direction, and only if their addresses are equal in two
/// namespaces.
const CLOSE_BY: u32 = 64 << 20;

/// Bytes that may have moved between SYN and the open event (TCP Fast Open).
const OPENING_BYTES: u32 = 65_536;

/// Whether `event` of local side `side` belongs to `connection`.
pub fn belongs(connection: &Connection, side: usize, event: &Event<'_>) -> bool {
    let Some(end) = &connection.ends[side] else {
        return is_other_end(connection, side, event);
    };
    if end.netns != event.netns {
        return false;
    }
    let numbers = Numbers::of(side, event);
    if numbers.opening {
        return numbers.opens(connection);
    }
    // The address of a socket is given again when it is gone.
    let other_socket = event.socket != 0 && end.socket != 0 && event.socket != end.socket;
    if event.kind == Kind::Close {
        return !other_socket || (!end.closed && numbers.are_close(connection).unwrap_or(false));
    }
    if event.kind == Kind::Data && (end.closed || connection.is_over()) {
        return !is_later(end, other_socket, connection, &numbers);
    }
    true
}

/// Data of a socket that is closed: of the next one with these addresses?
fn is_later(end: &End, other_socket: bool, connection: &Connection, numbers: &Numbers) -> bool {
    (end.closed && other_socket)
        || numbers.seq.is_some_and(|(from, seq)| {
            let half = &connection.halves[from];
            let beyond = half.next().is_some_and(|next| !super::half::is_old(seq, next));
            half.ended && beyond && half.next() != Some(seq)
        })
}

/// A first event of the connection's other side: is it the other end?
fn is_other_end(connection: &Connection, side: usize, event: &Event<'_>) -> bool {
    let Some(known) = &connection.ends[1 - side] else { return false };
    let numbers = Numbers::of(side, event);
    if numbers.opening {
        return numbers.opens(connection);
    }
    match numbers.are_close(connection) {
        Some(close) => close,
        // Loopback addresses mean the same to both only within a namespace.
        None => known.netns == event.netns && connection.addresses[0].ip().is_loopback(),
    }
}

/// What an event says about sequence numbers.
struct Numbers {
    /// SYN, or an open event of a connection that opened now.
    opening: bool,
    /// A side and the next number it sends.
    seq: Option<(usize, u32)>,
    /// The other one.
    ack: Option<(usize, u32)>,
}

impl Numbers {
    fn of(side: usize, event: &Event<'_>) -> Self {
        let syn = event.kind == Kind::Data && event.tcp_flags & tcp::SYN != 0;
        let opening = syn || (event.kind == Kind::Open && !event.midway);
        let from = if event.way == Way::Sent || event.kind != Kind::Data { side } else { 1 - side };
        let told = matches!(event.kind, Kind::Data | Kind::Open | Kind::Close);
        let seq = event.seq.wrapping_add(u32::from(syn));
        Self {
            opening,
            seq: told.then_some((from, seq)),
            ack: event.ack.filter(|_| told).map(|ack| (1 - from, ack)),
        }
    }

    /// Whether these could open the connection as it is known so far.
    fn opens(&self, connection: &Connection) -> bool {
        [self.seq, self.ack].into_iter().flatten().all(|(from, seq)| {
            let half: &Half = &connection.halves[from];
            match (half.isn, half.next()) {
                (Some(isn), _) => seq.wrapping_sub(isn.seq.wrapping_add(1)) < OPENING_BYTES,
                // Data overtook the event.
                (None, Some(next)) => !half.is_fixed() && next.wrapping_sub(seq) < OPENING_BYTES,
                (None, None) => true,
            }
        })
    }

    /// Whether the numbers are near those of the connection; None if nothing
    /// can be compared.
    fn are_close(&self, connection: &Connection) -> Option<bool> {
        let close = |(from, seq): (usize, u32)| {
            let next = connection.halves[from].next()?;
            Some(seq.wrapping_sub(next).wrapping_add(CLOSE_BY) <= 2 * CLOSE_BY)
        };
        match (self.seq.and_then(close), self.ack.and_then(close)) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(true) && b.unwrap_or(true)),
        }
    }
}
