//! What holds for any bytes.

use etherparse::{LaxSlicedPacket, LenSource, TransportSlice};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::encapsulations::around4;
use super::fragments::{fragment4, fragment6};
use super::*;

const LINKS: &[u16] = &[
    0, 1, 7, 9, 12, 14, 50, 51, 101, 104, 105, 108, 109, 113, 117, 127, 129, 219, 228, 229, 239,
    276,
];

fn any_link() -> impl Strategy<Value = LinkType> {
    select(LINKS).prop_map(LinkType)
}

/// A payload in any of the encapsulations.
fn any_frame() -> impl Strategy<Value = (LinkType, Vec<u8>)> {
    (vec(any::<u8>(), 0..80), any::<Index>()).prop_map(|(payload, index)| {
        let mut frames = around4(&payload);
        let (_, link, frame) = frames.swap_remove(index.index(frames.len()));
        (link, frame)
    })
}

fn check_sane(dissected: &Dissected<'_>) {
    if let Dissected::Segment(segment) = dissected {
        assert!(segment.payload.len() <= segment.wire_len as usize, "{segment:?}");
    }
}

#[test]
fn every_cut_gives_a_prefix_or_malformed() {
    for (name, link, frame) in around4(PAYLOAD) {
        let mut least = PAYLOAD.len();
        for kept in (0..frame.len()).rev() {
            let cut = &frame[..kept];
            match Dissector::new().dissect(link, cut, frame.len() as u32, None) {
                Dissected::Segment(segment) => {
                    assert!(PAYLOAD.starts_with(&segment.payload), "{name} cut at {kept}");
                    assert!(segment.payload.len() <= least);
                    least = segment.payload.len();
                    let whole = segment4(PAYLOAD);
                    let window = segment.window;
                    assert_eq!(
                        Segment { window, payload: segment.payload.clone(), ..whole },
                        segment
                    );
                }
                Dissected::Malformed(_) => least = 0,
                other => panic!("{name} cut at {kept}: {other:?}"),
            }
        }
    }
}

/// What etherparse's own dissection of a frame says, where it is sure, and
/// whether the IP header told of more bytes.
fn by_etherparse(frame: &[u8]) -> Option<(Segment<'_>, bool)> {
    let sliced = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
    let net = sliced.net?;
    let ip = net.ip_payload_ref()?;
    if ip.len_source == LenSource::Slice && !ip.incomplete {
        // An IP length below the header, of which it makes the frame's.
        return None;
    }
    let incomplete = ip.incomplete;
    let (source, destination, ip_id) = match net {
        etherparse::LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), header.identification())
        }
        etherparse::LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), 0)
        }
        _ => return None,
    };
    let segment = Segment {
        source,
        destination,
        source_port: tcp.source_port(),
        destination_port: tcp.destination_port(),
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        flags: tcp.slice()[13],
        window: tcp.window_size(),
        ip_id,
        wire_len: tcp.payload().len() as u32,
        payload: Cow::Borrowed(tcp.payload()),
    };
    Some((segment, incomplete))
}

/// Dissects header by header, without the hot path.
fn by_steps(link: LinkType, frame: &[u8]) -> Dissected<'_> {
    let mut layer = link::first_layer(link).unwrap();
    let mut bytes = Captured::new(frame, frame.len());
    loop {
        match step(layer, bytes) {
            Next::Layer(next, rest) => (layer, bytes) = (next, rest),
            Next::Done(dissected) => return dissected,
            Next::Fragment(_) => return Dissected::Fragment,
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(link in any_link(), bytes in vec(any::<u8>(), 0..200), original in 0..400u32) {
        check_sane(&Dissector::new().dissect(link, &bytes, original, None));
    }

    #[test]
    fn damaged_frames_are_survived(
        (link, mut frame) in any_frame(),
        damage in vec((any::<Index>(), any::<u8>()), 0..6),
        kept in any::<Index>(),
    ) {
        for (index, value) in damage {
            let index = index.index(frame.len());
            frame[index] = value;
        }
        let mut dissector = Dissector::new();
        check_sane(&dissector.dissect(link, &frame, frame.len() as u32, None));
        let cut = &frame[..kept.index(frame.len())];
        check_sane(&dissector.dissect(link, cut, frame.len() as u32, None));
    }

    #[test]
    fn both_paths_agree(
        payload in vec(any::<u8>(), 0..80),
        frame in any::<Index>(),
        six in any::<bool>(),
        damage in vec((0..80usize, any::<u8>()), 0..4),
        kept in any::<Index>(),
    ) {
        let (kind, packet) = if six { (0x86dd_u16, packet6(&payload)) } else { (0x0800, packet4(&payload)) };
        let [high, low] = kind.to_be_bytes();
        let mut frames = [
            (ETHERNET, ethernet(kind, &packet)),
            (ETHERNET, ethernet(0x8100, &join(&[&[0, 7, high, low], &packet]))),
            (RAW, packet.clone()),
            (LinkType(113), join(&[&[0; 14], &[high, low], &packet])),
            (LinkType(113), join(&[&[0; 14], &[0x81, 0, 0, 7, high, low], &packet])),
            (LinkType(276), join(&[&[high, low], &[0; 18], &packet])),
        ];
        let index = frame.index(frames.len());
        let (link, frame) = &mut frames[index];
        prop_assert!(plain::parse(*link, frame).is_some());
        for (index, value) in damage {
            if let Some(byte) = frame.get_mut(index) {
                *byte = value;
            }
        }
        frame.truncate(frame.len() - kept.index(frame.len()) / 4);
        if let Some(plain) = plain::parse(*link, frame) {
            prop_assert_eq!(by_steps(*link, frame), Dissected::Segment(plain.segment(frame)));
        }
    }

    #[test]
    fn etherparse_agrees(
        six in any::<bool>(),
        tags in 0..3usize,
        payload in vec(any::<u8>(), 0..80),
        damage in vec((any::<Index>(), any::<u8>()), 0..3),
        padding in 0..9usize,
    ) {
        let (mut kind, mut packet) =
            if six { (0x86dd_u16, packet6(&payload)) } else { (0x0800, packet4(&payload)) };
        for _ in 0..tags {
            packet = join(&[&[0, 7], &kind.to_be_bytes(), &packet]);
            kind = 0x8100;
        }
        let mut frame = ethernet(kind, &packet);
        frame.resize(frame.len() + padding, 0xee);
        let intact = damage.is_empty();
        for (index, value) in damage {
            let index = index.index(frame.len());
            frame[index] = value;
        }
        let theirs = by_etherparse(&frame);
        if intact {
            prop_assert!(theirs.is_some());
        }
        if let Some((theirs, incomplete)) = theirs {
            let Dissected::Segment(mut ours) = by_steps(ETHERNET, &frame) else {
                return Err(TestCaseError::fail(format!("no segment in {frame:02x?}")));
            };
            if incomplete {
                // A length beyond the frame: etherparse tells only what is there.
                prop_assert!(ours.wire_len > theirs.wire_len);
                ours.wire_len = theirs.wire_len;
            }
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn fragments_in_any_order_are_the_packet(
        six in any::<bool>(),
        payload in vec(any::<u8>(), 1..3000),
        cuts in vec(any::<Index>(), 1..8),
        order in vec(any::<u32>(), 20),
        copies in vec(any::<Index>(), 0..4),
    ) {
        let packet = if six { packet6(&payload) } else { packet4(&payload) };
        let body = packet.len() - if six { 40 } else { 20 };
        let mut edges: Vec<_> = cuts.iter().map(|cut| cut.index(body / 8 + 1) * 8).collect();
        edges.extend([0, body]);
        edges.sort();
        edges.dedup();
        prop_assume!(edges.len() > 2);
        let cut = if six { fragment6 } else { fragment4 };
        let mut parts: Vec<_> = edges.windows(2).map(|pair| cut(&packet, pair[0], pair[1])).collect();
        for copy in copies {
            parts.push(parts[copy.index(parts.len())].clone());
        }
        let mut keyed: Vec<_> = order.iter().zip(parts).collect();
        keyed.sort();
        let mut dissector = Dissector::new();
        let mut segments = Vec::new();
        for (_, part) in keyed {
            match dissector.dissect(RAW, &part, part.len() as u32, None).into_owned() {
                Dissected::Segment(segment) => segments.push(segment),
                other => prop_assert_eq!(other, Dissected::Fragment),
            }
        }
        let expected = if six { segment6(&payload) } else { segment4(&payload) };
        prop_assert_eq!(segments, [expected]);
        prop_assert_eq!(dissector.unfinished_datagrams(), 0);
    }

    #[test]
    fn noise_on_a_tunnels_port_is_udp(
        port in select(&[2152u16, 3544, 4789, 4790, 6081, 8472][..]),
        payload in vec(any::<u8>(), 0..200),
    ) {
        let packet = udp(1, port, &payload);
        prop_assert_eq!(dissect(RAW, &packet), Dissected::Other("udp"));
    }
}
