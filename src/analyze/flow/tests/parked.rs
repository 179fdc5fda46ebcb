//! A flow that was parked is the flow that it was.

use proptest::prelude::*;

use super::short_way::conversation;
use super::*;
use crate::analyze::decode::detect::Detector;
use crate::analyze::flow::parked::Quiet;

/// All that is told of a connection, and how often it was parked on the way:
/// wherever it could be, if `park`.
fn told(
    packets: &[Packet],
    new_decoder: crate::analyze::flow::NewDecoder,
    park: bool,
) -> (String, usize) {
    let limits = Limits::default();
    let mut output = Output::default();
    let bytes = |_: PayloadRef| None;
    let mut context = Context {
        limits: &limits,
        wants: Wants { log: true, headers: true, ..Wants::default() },
        new_decoder,
        output: &mut output,
        bytes: &bytes,
    };
    let mut flow: Option<Flow> = None;
    let mut parked = 0;
    for (index, packet) in packets.iter().enumerate() {
        let (segment, captured) = segment(packet, index);
        let flow = flow.get_or_insert_with(|| Flow { number: 7, ..Flow::new(&segment) });
        flow.segment(&segment, captured, &mut context);
        let late = flow.last.map(|last| last.plus(1_000_000_000));
        if park && flow.quiet(1_000, late) == Quiet::Yes {
            let (small, memory) = flow.park(&mut context);
            assert_eq!(memory, small.memory());
            *flow = small.flow(&mut context);
            parked += 1;
        }
    }
    let mut flow = flow.unwrap();
    flow.finish(End::CaptureEnd, &mut context);
    let halves = [Side::A, Side::B].map(|side| (flow.end(side), flow.half(side).counts));
    let close = flow.take_close_text();
    let flow_told = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {halves:?}",
        (flow.number, flow.first_packet, flow.interface, flow.handshake()),
        (flow.first, flow.last, flow.client()),
        (flow.kind, flow.closed, &flow.findings),
        (&flow.anomalies, &flow.comments, &flow.counts),
        close,
        output.transactions,
        output.events.iter().map(|(event, _)| event).collect::<Vec<_>>(),
        output.anomalies,
    );
    (flow_told, parked)
}

proptest! {
    #[test]
    fn it_goes_on_as_if_it_had_not_been(
        steps in prop::collection::vec((any::<bool>(), 0..8_usize, 0..60_u8), 0..40),
        opening in prop::collection::vec(0..3_usize, 1..4),
        plain in any::<bool>(),
        end in prop::collection::vec((any::<bool>(), 0..8_usize, any::<bool>()), 0..6),
    ) {
        let end = end.into_iter().map(|(client, len, fin)| (client, len, if fin { 1 } else { 10 }));
        let steps: Vec<_> = steps.into_iter().chain(end).collect();
        let mut packets = conversation(&steps);
        if !plain {
            let shuffled: Vec<_> = opening.iter().map(|at| packets[*at].clone()).collect();
            packets.splice(..3, shuffled);
        }
        let echo: crate::analyze::flow::NewDecoder = |late| Box::new(Echo(late));
        for decoder in [echo, Detector::boxed] {
            prop_assert_eq!(told(&packets, decoder, true).0, told(&packets, decoder, false).0);
        }
    }

    #[test]
    fn messages_go_on_as_if_it_had_not_been(
        messages in prop::collection::vec((0..6_usize, 1..30_usize, 0..40_u8), 1..12),
        handshake in any::<bool>(),
        tls in any::<bool>(),
    ) {
        let packets = messages_of(&messages, handshake, tls);
        let (one, parked) = told(&packets, Detector::boxed, true);
        let (two, _) = told(&packets, Detector::boxed, false);
        prop_assert_eq!(one, two);
        prop_assert!(!handshake || parked > 0, "never parked");
    }
}

/// Requests and responses, cut after so many bytes; what is odd may be that a
/// segment is lost or sent again.
fn messages_of(messages: &[(usize, usize, u8)], handshake: bool, tls: bool) -> Vec<Packet> {
    const HELLO: &[u8] = &[0x16, 3, 1, 0, 4, 1, 0, 0, 0];
    const MESSAGES: [(bool, &[u8]); 6] = [
        (true, b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (false, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (true, b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        (false, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (false, b"HTTP/1.1 100 Continue\r\n\r\n"),
        (true, b"HEAD /c HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    let mut packets = exchange();
    packets.truncate(if handshake { 3 } else { 0 });
    let mut next = [1_u32, 1];
    for (at, &(kind, cut, odd)) in messages.iter().enumerate() {
        // Mostly in turn, as they are on real connections.
        let kind = if odd > 4 { at % 2 } else { kind };
        let (from_client, bytes) = if tls && at == 0 { (true, HELLO) } else { MESSAGES[kind] };
        let (me, other) = if from_client { (0, 1) } else { (1, 0) };
        let (head, tail) = bytes.split_at(if odd % 3 == 0 { cut.min(bytes.len()) } else { 0 });
        for part in [head, tail] {
            let mut packet = packet(from_client, ACK, next[me], next[other], part);
            packet.millis = at as i64 * 400;
            next[me] += part.len() as u32;
            let copies = match odd {
                1 if !packets.is_empty() => 0,
                2 => 2,
                _ => usize::from(!part.is_empty()),
            };
            packets.extend(std::iter::repeat_n(packet, copies));
        }
    }
    packets
}

#[test]
fn what_is_open_or_fresh_is_not_parked() {
    let (first, captured) = segment(&exchange()[0], 0);
    let mut flow = Flow { number: 1, ..Flow::new(&first) };
    let limits = Limits::default();
    let (mut output, bytes) = (Output::default(), |_: PayloadRef| None);
    let mut context = Context {
        limits: &limits,
        wants: Wants::default(),
        new_decoder: Detector::boxed,
        output: &mut output,
        bytes: &bytes,
    };
    let late = Some(Timestamp::from_nanos(1_000_000_000));
    flow.segment(&first, captured, &mut context);
    assert_eq!(flow.quiet(1_000, late), Quiet::No, "it has only begun");
    for (index, packet) in exchange().iter().enumerate().take(8).skip(1) {
        let (segment, captured) = segment(packet, index);
        flow.segment(&segment, captured, &mut context);
    }
    assert_eq!(flow.quiet(1_000, late), Quiet::Yes);
    let remembered = crate::analyze::round::REMEMBERED as u64;
    assert_eq!(flow.quiet(1 + remembered, late), Quiet::No, "its bytes are still at hand");
    assert_eq!(flow.quiet(2 + remembered, late), Quiet::Yes);
    let soon = Some(Timestamp::from_nanos(100_000_000));
    assert_eq!(flow.quiet(1_000, soon), Quiet::Soon, "a copy of a packet may still come");
    assert_eq!(flow.quiet(1_000, None), Quiet::Soon);
    flow.number = 0;
    assert_eq!(flow.quiet(1_000, late), Quiet::No, "it has no number yet");
    flow.number = 1;
    let (fin, _) = segment(&exchange()[8], 8);
    flow.segment(&fin, &[], &mut context);
    assert_eq!(flow.quiet(1_000, late), Quiet::No, "it is closing");
}
