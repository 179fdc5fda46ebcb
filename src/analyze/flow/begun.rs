//! A connection of which nothing but its first SYN was seen, in a cache line
//! and a bit, where a [`Flow`] is twenty: a scan or a flood of SYNs leaves
//! hundreds of thousands of them. It is the SYN itself, so that the flow can
//! be made of it when more is to be known.

use crate::analyze::flow::key::{FlowKey, Side};
use crate::analyze::flow::{Context, Flow, SegmentRef};
use crate::analyze::packet::flags;
use crate::analyze::reassembly::half::PayloadRef;
use crate::time::Timestamp;

/// The SYN that began a connection.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// Both ends.
    pub key: FlowKey,
    /// Number of its packet.
    pub packet: u64,
    /// Connection number; 0 before it has one.
    pub number: u64,
    /// Its capture time.
    pub at: Option<Timestamp>,
    seq: u32,
    interface: u32,
    window: u16,
    ip_id: u16,
    flags: u8,
    side: Side,
}

impl Begun {
    /// Of a segment, if it is a SYN without payload or acknowledgement.
    pub fn of(segment: &SegmentRef) -> Option<Self> {
        let SegmentRef { key, side, flags, seq, window, ip_id, at, packet, interface, .. } =
            *segment;
        let decisive = flags::SYN | flags::ACK | flags::RST | flags::FIN;
        let bare = flags & decisive == flags::SYN && segment.wire_len == 0;
        bare.then_some(Self {
            key,
            packet,
            number: 0,
            at,
            seq,
            interface,
            window,
            ip_id,
            flags,
            side,
        })
    }

    /// The flow that it began.
    pub fn flow(&self, context: &mut Context<'_, '_>) -> Flow {
        let segment = SegmentRef {
            key: self.key,
            side: self.side,
            flags: self.flags,
            seq: self.seq,
            // Not said without the flag.
            ack: 0,
            window: self.window,
            ip_id: self.ip_id,
            wire_len: 0,
            payload: PayloadRef { round: 0, chunk: 0, offset: 0, len: 0 },
            at: self.at,
            packet: self.packet,
            interface: self.interface,
        };
        let mut flow = Flow::new(&segment);
        flow.segment(&segment, &[], context);
        flow.number = self.number;
        flow
    }

    /// Whether it has been without a packet for too long.
    pub fn is_idle(&self, now: Option<Timestamp>, limit: i64) -> bool {
        self.at.zip(now).is_some_and(|(at, now)| now.since(at) > limit)
    }
}
