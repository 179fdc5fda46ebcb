//! What decoders get to see, whatever way packets come.

mod closed;
mod one_way;
mod parked;
mod short_way;

use proptest::prelude::*;

use super::*;
use crate::analyze::decode::{Chunk, Content, Sink};
use crate::analyze::packet::flags::{ACK, FIN, RST, SYN};

/// Tells what it is pushed, through the event log.
struct Echo(Late);

impl Decoder for Echo {
    fn push(&mut self, direction: Direction, chunk: Chunk<'_>, out: &mut Sink<'_>) {
        let way = if direction == Direction::ToServer { '>' } else { '<' };
        let late = if self.0.is(direction) { "late " } else { "" };
        out.event(direction, chunk.at, || match chunk.content {
            Content::Data(data) => format!("{way}{late}{}", String::from_utf8_lossy(data)),
            Content::Gap(len, cause) => format!("{way}{late}gap {len} {cause:?}"),
            Content::End(end) => format!("{way}{late}{end:?}"),
        });
    }

    fn oldest_open(&self) -> Option<Timestamp> {
        None
    }

    fn memory(&self) -> usize {
        0
    }
}

#[derive(Clone, Debug)]
struct Packet {
    from_client: bool,
    flags: u8,
    seq: u32,
    ack: u32,
    data: &'static [u8],
    cut: usize,
    millis: i64,
}

const CLIENT_ISN: u32 = 1000;
const SERVER_ISN: u32 = u32::MAX - 3;

fn packet(from_client: bool, flags: u8, seq: u32, ack: u32, data: &'static [u8]) -> Packet {
    let isn = |client: bool| if client { CLIENT_ISN } else { SERVER_ISN };
    Packet {
        from_client,
        flags,
        seq: isn(from_client).wrapping_add(seq),
        ack: isn(!from_client).wrapping_add(ack),
        data,
        cut: 0,
        millis: 0,
    }
}

/// A request of 8 bytes in two segments, a response of 12 in three.
fn exchange() -> Vec<Packet> {
    vec![
        packet(true, SYN, 0, 0, b""),
        packet(false, SYN | ACK, 0, 1, b""),
        packet(true, ACK, 1, 1, b""),
        packet(true, ACK, 1, 1, b"GET "),
        packet(true, ACK, 5, 1, b"/abc"),
        packet(false, ACK, 1, 9, b"200 "),
        packet(false, ACK, 5, 9, b"OK, "),
        packet(false, ACK, 9, 9, b"fine"),
        packet(true, FIN | ACK, 9, 13, b""),
        packet(false, FIN | ACK, 13, 10, b""),
        packet(true, ACK, 10, 14, b""),
    ]
}

/// A packet as flows take it, with its payload.
fn segment(packet: &Packet, index: usize) -> (SegmentRef, &'static [u8]) {
    let ends = [("10.0.0.1".parse().unwrap(), 40000), ("10.0.0.2".parse().unwrap(), 80)];
    let (from, to) = if packet.from_client { (0, 1) } else { (1, 0) };
    let (key, side) = FlowKey::new(ends[from], ends[to]);
    let captured = &packet.data[..packet.data.len() - packet.cut];
    let segment = SegmentRef {
        key,
        side,
        flags: packet.flags,
        seq: packet.seq,
        ack: packet.ack,
        window: 100,
        ip_id: index as u16 + 1,
        wire_len: packet.data.len() as u32,
        payload: PayloadRef { round: 1, chunk: 0, offset: 0, len: captured.len() as u32 },
        at: Some(Timestamp::from_nanos(packet.millis * 1_000_000)),
        packet: index as u64 + 1,
        interface: 0,
    };
    (segment, captured)
}

/// Chunks as text, neighbouring data of one direction joined.
fn replay(packets: &[Packet]) -> (Vec<String>, Flow) {
    replay_with(packets, true)
}

/// Where not `calm`, every segment takes the long way.
fn replay_with(packets: &[Packet], calm: bool) -> (Vec<String>, Flow) {
    let limits = Limits::default();
    let mut output = Output::default();
    let bytes = |_: PayloadRef| None;
    let mut context = Context {
        limits: &limits,
        wants: Wants { log: true, ..Wants::default() },
        new_decoder: |late| Box::new(Echo(late)),
        output: &mut output,
        bytes: &bytes,
    };
    let mut flow = None;
    for (index, packet) in packets.iter().enumerate() {
        let (segment, captured) = segment(packet, index);
        let flow = flow.get_or_insert_with(|| Flow::new(&segment));
        match calm {
            true => flow.segment(&segment, captured, &mut context),
            false => flow.long_way(&segment, captured, &mut context),
        }
    }
    let mut flow = flow.unwrap();
    flow.finish(End::CaptureEnd, &mut context);
    let mut lines: Vec<String> = Vec::new();
    for (event, _) in output.events {
        let data = event
            .text
            .chars()
            .nth(1)
            .is_some_and(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "/f".contains(c))
            && !event.text.contains("Fin")
            && !event.text.contains("Reset")
            && !event.text.contains("CaptureEnd");
        match lines.last_mut() {
            Some(last) if data && last.starts_with(&event.text[..1]) && !last.contains("gap") => {
                last.push_str(&event.text[1..]);
            }
            _ => lines.push(event.text),
        }
    }
    (lines, flow)
}

const WHOLE: [&str; 4] = [">GET /abc", "<200 OK, fine", ">Fin", "<Fin"];

#[test]
fn in_order() {
    let (lines, flow) = replay(&exchange());
    assert_eq!(lines, WHOLE);
    assert_eq!(flow.counts.gap_bytes, [0; 3]);
    assert!(flow.handshake());
}

/// Bytes without any acknowledgement were handed on before a SYN tells who is the client.
#[test]
fn a_late_handshake_does_not_turn_the_directions() {
    let later = |millis, packet| Packet { millis, ..packet };
    let (lines, flow) = replay(&[
        packet(false, 0, 1, 0, b"200 "),
        later(200, packet(false, 0, 5, 0, b"OK, ")),
        later(201, packet(true, SYN | ACK, 0, 1, b"")),
        later(202, packet(false, 0, 9, 0, b"fine")),
    ]);
    assert_eq!(lines[..3], ["<late 200 ", "<late OK, ", "<late fine"]);
    assert_eq!(flow.half(flow.client().other()).counts.bytes, 12);
}

#[test]
fn a_response_captured_before_its_request_waits() {
    let mut packets = exchange();
    let request = packets.remove(4);
    packets.insert(7, request);
    assert_eq!(replay(&packets).0, WHOLE);
}

#[test]
fn a_lost_segment_is_an_exact_gap() {
    for (index, gap) in [(4, ">gap 4 Lost"), (6, "<gap 4 Lost"), (7, "<gap 4 Lost")] {
        let mut packets = exchange();
        packets.remove(index);
        let (lines, flow) = replay(&packets);
        assert!(lines.contains(&gap.to_owned()), "{index}: {lines:?}");
        assert_eq!(flow.counts.gap_bytes, [4, 0, 0]);
        assert_eq!(flow.counts.gaps, [1, 0, 0]);
    }
}

#[test]
fn a_lost_tail_is_told_by_the_last_acknowledgement() {
    let mut packets = exchange();
    packets.truncate(5);
    packets.remove(4);
    packets.push(packet(false, ACK, 1, 9, b""));
    assert_eq!(replay(&packets).0, [">GET ", ">gap 4 Lost", ">CaptureEnd", "<CaptureEnd"]);
}

#[test]
fn a_lost_end_with_its_fin_is_counted_without_the_fin() {
    let mut packets = exchange();
    let fin = packets.remove(9);
    packets.remove(7);
    let last = packets.len() - 1;
    packets[last].millis = 900;
    packets[last - 1].ack = packets[last - 1].ack.wrapping_add(1);
    let (lines, flow) = replay(&packets);
    assert_eq!(flow.counts.gap_bytes, [4, 0, 0], "{lines:?} {fin:?}");
}

#[test]
fn a_lost_byte_that_may_have_been_a_fin_is_told_by_what_follows() {
    let mut packets = exchange();
    packets.truncate(8);
    let wait = |mut packet: Packet, millis| {
        packet.millis = millis;
        packet
    };
    // Byte 13 of the server is missing, and nothing but an acknowledgement
    // tells of it.
    packets.push(packet(true, ACK, 9, 13, b""));
    packets.push(packet(true, ACK, 9, 14, b""));
    packets.push(wait(packet(true, ACK, 9, 14, b"X"), 900));
    let open = replay(&packets);
    assert_eq!(open.1.counts.gap_bytes, [0; 3], "{:?}", open.0);
    for (last, chunk) in [
        (packet(false, ACK, 14, 10, b"OK, "), "<OK, "),
        (packet(false, ACK, 15, 10, b"OK, "), "<OK, "),
        (packet(false, FIN | ACK, 14, 10, b""), "<Fin"),
    ] {
        let missing = last.seq.wrapping_sub(SERVER_ISN) - 13;
        let mut packets = packets.clone();
        packets.push(wait(last, 1000));
        let (lines, flow) = replay(&packets);
        assert_eq!(flow.counts.gap_bytes[0], u64::from(missing), "{lines:?}");
        let gap = format!("<gap {missing} Lost");
        let at = lines.iter().position(|line| *line == gap);
        assert_eq!(
            at.and_then(|at| lines.get(at + 1)).map(String::as_str),
            Some(chunk),
            "{lines:?}"
        );
    }
    // The FIN itself, captured late.
    packets.push(wait(packet(false, FIN | ACK, 13, 10, b""), 1000));
    assert_eq!(replay(&packets).1.counts.gap_bytes, [0; 3]);
}

#[test]
fn snaplen_cuts_are_gaps() {
    let mut packets = exchange();
    packets[6].cut = 3;
    let (lines, flow) = replay(&packets);
    assert_eq!(lines[1..4], ["<200 O", "<gap 3 Snaplen", "<fine"]);
    assert_eq!(flow.counts.gap_bytes, [0, 3, 0]);
}

#[test]
fn overlaps_keep_the_first_copy() {
    let mut packets = exchange();
    packets.insert(5, packet(true, ACK, 3, 1, b"T /XX"));
    packets.insert(6, packet(false, ACK, 1, 9, b"200 O"));
    let (lines, flow) = replay(&packets);
    assert_eq!(lines, WHOLE);
    let retransmitted: u64 =
        [Side::A, Side::B].iter().map(|s| flow.half(*s).counts.retransmissions).sum();
    assert_eq!(retransmitted, 2);
}

#[test]
fn keep_alive_probes_are_nothing() {
    let mut packets = exchange();
    packets.insert(8, packet(true, ACK, 8, 13, b"?"));
    packets.insert(8, packet(true, ACK, 8, 13, b""));
    let (lines, flow) = replay(&packets);
    assert_eq!(lines, WHOLE);
    assert_eq!(flow.half(Side::A).counts.retransmissions, 0);
}

#[test]
fn reset_ends_both_after_what_came_before() {
    let mut packets = exchange();
    packets.truncate(7);
    packets.push(packet(false, RST | ACK, 9, 9, b""));
    assert_eq!(
        replay(&packets).0,
        [">GET /abc", "<200 OK, ", "<Reset(ToClient)", ">Reset(ToClient)"]
    );
}

#[test]
fn joined_midway_is_late_and_has_no_gap() {
    let packets = &exchange()[4..];
    let (lines, flow) = replay(packets);
    assert_eq!(lines.first().unwrap(), ">late /abc");
    assert_eq!(flow.counts.gaps, [0; 3]);
    assert!(!flow.handshake());
}

/// Its number was taken for the begin of its direction, and what had come
/// before, of which nothing was handed on yet, for old.
#[test]
fn a_reset_soon_after_a_late_join_loses_nothing() {
    for from_client in [true, false] {
        for server_closes in [true, false] {
            let mut packets = exchange()[3..8].to_vec();
            if server_closes {
                packets.push(packet(false, FIN | ACK, 13, 9, b""));
            }
            let seq = if from_client { 9 } else { 13 + u32::from(server_closes) };
            let ack = if from_client { 13 } else { 9 };
            packets.push(packet(from_client, RST | ACK, seq, ack, b""));
            let (lines, flow) = replay(&packets);
            let data = |line: &&String| !line.contains("Reset") && !line.contains("Fin");
            let data: Vec<&String> = lines.iter().filter(data).collect();
            let expected = [">late GET ", ">late /abc", "<late 200 ", "<late OK, ", "<late fine"];
            assert_eq!(data, expected);
            assert_eq!(flow.counts.gap_bytes, [0; 3]);
        }
    }
}

#[test]
fn one_direction_alone_has_exact_gaps_for_the_other() {
    let packets: Vec<_> = exchange().into_iter().filter(|p| p.from_client).collect();
    let (lines, flow) = replay(&packets);
    assert_eq!(lines[..3], [">GET /abc", ">Fin", "<gap 12 Lost"]);
    assert_eq!(flow.counts.gap_bytes, [12, 0, 0]);
}

/// The answer to the first was lost, or the server had no time: an incident
/// is full of them.
#[test]
fn a_handshake_whose_syn_was_sent_again_is_whole() {
    for answered in [1_001, 3_500, 7_001] {
        let again = [1_000, 3_000, 7_000].into_iter().filter(|at| *at < answered);
        let again = again.map(|millis| Packet { millis, ..packet(true, SYN, 0, 0, b"") });
        let rest = exchange().into_iter().skip(1);
        let rest = rest.map(|packet| Packet { millis: answered, ..packet });
        let packets: Vec<_> = exchange().into_iter().take(1).chain(again).chain(rest).collect();
        let (lines, flow) = replay(&packets);
        assert_eq!(lines.first().unwrap(), ">GET /abc", "{answered} ms: {lines:?}");
        assert_eq!(lines.iter().filter(|line| line.contains("late")).count(), 0, "{lines:?}");
        assert_eq!(flow.counts.gap_bytes, [0; 3]);
    }
}

#[test]
fn data_in_the_syn_counts() {
    let packets = [
        packet(true, SYN, 0, 0, b"GET "),
        packet(false, SYN | ACK, 0, 5, b""),
        packet(true, FIN | ACK, 5, 1, b"/abc"),
    ];
    assert_eq!(replay(&packets).0, [">GET /abc", ">Fin", "<CaptureEnd"]);
}

#[test]
fn a_hole_is_given_up_after_its_time() {
    let mut packets = exchange();
    packets.remove(6);
    packets.truncate(7);
    packets.push(packet(true, ACK, 9, 13, b""));
    let mut late = packet(true, ACK, 9, 13, b"Zzzz");
    late.millis = 5000;
    packets.push(late);
    let (lines, _) = replay(&packets);
    assert_eq!(lines[..5], [">GET /abc", "<200 ", "<gap 4 Lost", "<fine", ">Zzzz"]);
}

#[test]
fn a_reset_that_is_ignored_ends_nothing() {
    let mut packets = exchange();
    packets.insert(5, packet(true, RST | ACK, 9, 1, b""));
    packets.insert(6, packet(true, ACK, 9, 1, b"/more"));
    for later in &mut packets[7..] {
        if later.from_client {
            later.seq = later.seq.wrapping_add(5);
        } else {
            later.ack = later.ack.wrapping_add(5);
        }
    }
    let (lines, flow) = replay(&packets);
    assert_eq!(lines, [">GET /abc/more", "<200 OK, fine", ">Fin", "<Fin"]);
    assert_eq!(flow.anomalies, [("reset-ignored", 1)]);
}

#[test]
fn a_segment_of_which_only_the_second_copy_was_captured_is_no_deadlock() {
    let mut packets = exchange();
    let mut again = packets.remove(4);
    again.ack = again.ack.wrapping_add(12);
    packets.insert(7, again);
    assert_eq!(replay(&packets).0, WHOLE);
}

#[test]
fn a_late_second_direction_of_a_late_joined_connection_is_decoded() {
    let mut packets = exchange()[3..8].to_vec();
    for later in &mut packets[2..] {
        later.millis = 700;
    }
    let (lines, _) = replay(&packets);
    let pieces = [">late GET ", ">late /abc", "<late 200 ", "<late OK, ", "<late fine"];
    assert_eq!(lines[..5], pieces);
}

proptest! {
    #[test]
    fn any_order_and_duplication_gives_the_same(
        order in Just((1..11usize).collect::<Vec<_>>()).prop_shuffle(),
        copies in prop::collection::vec(0..11usize, 0..6),
    ) {
        // The first packet stays first: what comes before it is another matter.
        let packets = exchange();
        let mut shuffled = vec![packets[0].clone()];
        shuffled.extend(order.iter().map(|i| packets[*i].clone()));
        for copy in copies {
            shuffled.insert(shuffled.len().min(copy + 1), packets[copy].clone());
        }
        let (lines, flow) = replay(&shuffled);
        let joined = |way: char| -> String {
            lines.iter().filter(|l| l.starts_with(way)).map(|l| &l[1..]).collect()
        };
        prop_assert_eq!(joined('>'), "GET /abcFin");
        prop_assert_eq!(joined('<'), "200 OK, fineFin");
        prop_assert_eq!(flow.counts.gap_bytes, [0; 3]);
        let request = lines.iter().position(|l| l.contains("/abc")).unwrap();
        let response = lines.iter().position(|l| l.contains("200")).unwrap();
        prop_assert!(request < response, "{:?}", lines);
    }

    #[test]
    fn any_loss_is_counted_exactly(lost in prop::collection::vec(any::<bool>(), 5)) {
        let packets = exchange();
        let mut kept = Vec::new();
        let mut bytes = 0;
        for (index, packet) in packets.into_iter().enumerate() {
            if (3..8).contains(&index) && lost[index - 3] {
                bytes += packet.data.len() as u64;
            } else {
                kept.push(packet);
            }
        }
        let (_, flow) = replay(&kept);
        prop_assert_eq!(flow.counts.gap_bytes, [bytes, 0, 0]);
    }
}

#[test]
fn bytes_lost_right_after_a_late_join_are_a_gap() {
    let request = packet(true, ACK, 5, 1, b"/abc");
    let bare = packet(false, ACK, 1, 9, b"");
    let answer = packet(false, ACK, 5, 9, b"OK, ");
    // Its own bare segment, or the request's acknowledgement, tells.
    for packets in [vec![bare, request.clone(), answer.clone()], vec![request.clone(), answer]] {
        let (lines, _) = replay(&packets);
        assert_eq!(lines[..3], [">late /abc", "<late gap 4 Lost", "<late OK, "]);
    }
    // A keep-alive probe stands one byte before the next.
    let probe = packet(false, ACK, 4, 9, b"");
    let (lines, _) = replay(&[probe, request, packet(false, ACK, 5, 9, b"OK, ")]);
    assert!(lines.iter().all(|line| !line.contains("gap")), "{lines:?}");
}

#[test]
fn a_request_inside_of_a_hole_comes_inside_of_it() {
    let packets = [
        packet(true, SYN, 0, 0, b""),
        packet(false, SYN | ACK, 0, 1, b""),
        // Lost: `GET ` and `200 `, and what follows this up to `fine`.
        packet(true, ACK, 5, 5, b"/abc"),
        packet(false, ACK, 9, 13, b"fine"),
    ];
    let (lines, _) = replay(&packets);
    let expected = [">gap 4 Lost", "<gap 4 Lost", ">/abc", ">gap 4 Lost", "<gap 4 Lost", "<fine"];
    assert_eq!(lines[..6], expected);
}

#[test]
fn a_reset_that_answers_tells_of_a_lost_fin() {
    let mut packets = exchange();
    packets.truncate(8);
    let mut aborted = packets.clone();
    aborted.push(packet(true, RST | ACK, 9, 13, b""));
    let (lines, _) = replay(&aborted);
    assert_eq!(lines[2..], [">Reset(ToServer)", "<Reset(ToServer)"]);
    packets.push(packet(true, RST, 10, 0, b""));
    let (lines, _) = replay(&packets);
    assert_eq!(lines[2..], [">Fin", "<Reset(ToServer)"]);
}
