//! The joiner against scripts: whatever comes, each transaction goes out once.

use super::*;
use crate::analyze::transaction::{Completeness, Message, Outcome, Transaction};
use crate::pcap::SectionNotes;

const SECOND: i64 = 1_000_000_000;

fn points(names: &[&str]) -> Points {
    let points = Points::default();
    for name in names {
        let notes: SectionNotes = [Box::from(format!("perisco.node={name}"))].into();
        points.number(&notes);
    }
    points
}

fn seen(point: u16, connection: u64, initial: u32) -> Seen {
    Seen {
        point,
        connection,
        ends: [([10, 0, 0, point as u8], 40_000).into(), ([10, 0, 1, point as u8], 80).into()],
        initial: Some([initial, !initial]),
        reached: [None; 2],
        first: Some(Timestamp::from_nanos(SECOND)),
        owned: [point == 1, point != 1],
    }
}

/// What an end has of the transaction whose request begins at `seq`.
fn copy(seen: &Seen, seq: u32, at: i64, parts: [bool; 2], status: u16) -> Told {
    let message = |seq, at| Message {
        seq: Some(seq),
        start: Some(Timestamp::from_nanos(at)),
        end: Some(Timestamp::from_nanos(at)),
        ..Message::default()
    };
    let inside = if seen.owned[0] { 0 } else { 300_000 };
    let request = parts[0].then(|| message(seq, at + inside));
    let response = parts[1].then(|| Message {
        status: Some(status),
        ..message(seq ^ 0xffff, at + 2_000_000 - inside)
    });
    let whole = parts == [true; 2];
    let transaction = Transaction {
        request,
        response,
        outcome: if parts[1] { Outcome::of_status(status) } else { Outcome::Unknown },
        completeness: if whole { Completeness::Complete } else { Completeness::Gap },
        ..Transaction::new("http/1.1")
    };
    let watched = Watched {
        transaction,
        client: seen.ends[0],
        server: seen.ends[1],
        connection: seen.connection,
        index: u64::from(seq) + u64::from(!parts[0]),
        interface: None,
        comment: None,
        ends: Default::default(),
        joined: None,
    };
    Told { seen: *seen, what: What::Transaction(Box::new(watched)) }
}

fn over(seen: &Seen) -> Told {
    let totals = FlowTotals {
        client: seen.ends[0],
        server: seen.ends[1],
        connection: seen.connection,
        kind: Some("http/1"),
        first: seen.first,
        last: None,
        handshake: true,
        segments: 1,
        payload_bytes: [1, 1],
        gap_bytes: [0; 3],
        gaps: [0; 3],
        retransmissions: 0,
        out_of_order: 0,
        reset: false,
        duplicates: 0,
        processes: [Vec::new(), Vec::new()],
        ends: Default::default(),
        anomalies: Vec::new(),
        findings: Vec::new(),
    };
    Told { seen: *seen, what: What::Over(Box::new(totals)) }
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_nanos(seconds * SECOND))
}

#[test]
fn who_is_alone_waits_for_a_minute_and_then_no_more() {
    let mut joiner = Joiner::new(points(&["a", "b"]));
    let flow = seen(1, 1, 7);
    joiner.take(&mut vec![copy(&flow, 1, SECOND, [true; 2], 200)], at(1));
    assert_eq!((joiner.ready.len(), joiner.watermark()), (0, at(1)));
    joiner.take(&mut Vec::new(), at(60));
    assert_eq!(joiner.ready.len(), 0);
    joiner.take(&mut Vec::new(), at(61));
    assert_eq!((joiner.ready.len(), joiner.watermark()), (1, None));
    joiner.take(&mut vec![copy(&flow, 2, 61 * SECOND, [true; 2], 200), over(&flow)], at(61));
    assert_eq!((joiner.ready.len(), joiner.over.len()), (2, 1));
    let counts = joiner.totals().counts;
    assert_eq!((counts.transactions_alone, counts.connections_alone), (2, 1));
}

#[test]
fn copies_that_contradict_each_other_stay_two() {
    let mut joiner = Joiner::new(points(&["a", "b"]));
    let [one, other] = [seen(1, 1, 7), seen(2, 2, 7)];
    joiner.take(&mut vec![copy(&one, 1, SECOND, [true; 2], 200)], at(1));
    joiner.take(&mut vec![copy(&other, 1, SECOND, [true; 2], 500)], at(1));
    assert_eq!(joiner.ready.len(), 2);
    let counts = joiner.totals().counts;
    assert_eq!((counts.contradicting, counts.transactions_joined), (1, 0));
    // Addresses are those of both nodes even so.
    assert!(joiner.ready.iter().all(|watched| watched.client == one.ends[0]));
    assert!(joiner.ready.iter().all(|watched| watched.server == other.ends[1]));
}

#[test]
fn halves_are_one_with_their_copy_in_any_order() {
    let [client, server] = [seen(1, 1, 7), seen(2, 2, 7)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut joiner = Joiner::new(points(&["a", "b"]));
        for what in order {
            let told = match what {
                0 => copy(&server, 1, SECOND, [true; 2], 200),
                1 => copy(&client, 1, SECOND, [true, false], 200),
                _ => copy(&client, 1, SECOND, [false, true], 200),
            };
            joiner.take(&mut vec![told], at(1));
        }
        joiner.take(&mut vec![over(&client), over(&server)], at(1));
        joiner.finish();
        let [whole] = &joiner.ready[..] else { panic!("{order:?}: {}", joiner.ready.len()) };
        assert_eq!(whole.transaction.completeness, Completeness::Complete, "{order:?}");
        assert_eq!(whole.transaction.latency_ns(), Some(2_000_000), "{order:?}");
        let split = whole.joined.as_ref().and_then(|joined| joined.split).expect("a split");
        assert_eq!((split.request_ns, split.server_ns), (300_000, 1_400_000));
        assert_eq!(joiner.over.len(), 1);
    }
}

#[test]
fn too_much_that_waits_goes_out_alone() {
    let mut joiner = Joiner::new(points(&["a", "b"])).bounded(200_000);
    let flow = seen(1, 1, 7);
    for seq in 0..1000 {
        joiner.take(&mut vec![copy(&flow, seq, SECOND, [true; 2], 200)], at(1));
        assert!(joiner.memory() <= 200_000);
    }
    assert!(joiner.ready.len() > 500);
    let given_up = joiner.totals().counts.given_up;
    assert!(given_up > 0);
    joiner.finish();
    assert_eq!((joiner.ready.len(), joiner.watermark()), (1000, None));
}

/// Numbers without any order, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn whatever_comes_goes_out_once() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let limit = if dice.roll(3) == 0 { 20_000 } else { WAIT_BYTES };
        let mut joiner = Joiner::new(points(&["a", "b", "c"])).bounded(limit);
        let (mut bodies, mut flows) = (0_u64, 0);
        let (mut told, mut open) = (Vec::new(), Vec::new());
        for number in 1..=30 {
            // Some share their initial numbers with several, at one point or at others.
            open.push(seen(1 + dice.roll(3) as u16, number, dice.roll(12) as u32));
        }
        for step in 0..300_i64 {
            if open.is_empty() {
                break;
            }
            let index = dice.roll(open.len() as u64) as usize;
            let flow = open[index];
            let parts = [[true; 2], [true; 2], [true, false], [false, true]][dice.roll(4) as usize];
            let (seq, status) = (dice.roll(20) as u32, 200 + dice.roll(20) as u16 / 19);
            told.push(copy(&flow, seq, step * SECOND / 3, parts, status));
            bodies += parts.iter().filter(|part| **part).count() as u64;
            if dice.roll(12) == 0 {
                told.push(over(&flow));
                open.swap_remove(index);
                flows += 1;
            }
            if dice.roll(3) == 0 {
                joiner.take(&mut told, at(step / 3));
            }
        }
        joiner.take(&mut told, None);
        joiner.finish();
        let counts = joiner.totals().counts;
        let out = joiner.ready.len() as u64;
        assert_eq!(out, counts.transactions_alone + counts.transactions_joined, "seed {seed}");
        assert!(out <= bodies && counts.transactions_joined <= out, "seed {seed}");
        assert_eq!(joiner.memory(), joiner.known() * Joiner::FLOW, "seed {seed}");
        assert_eq!(joiner.watermark(), None, "seed {seed}");
        // Connections that were joined are one, as far as both are over.
        let over = joiner.over.len() as u64;
        assert!(over <= flows && over + counts.connections_joined >= flows, "seed {seed}");
        for watched in &joiner.ready {
            if let Some(split) = watched.joined.as_ref().and_then(|joined| joined.split) {
                let latency = split.request_ns + split.server_ns + split.response_ns;
                assert_eq!(Some(latency), watched.transaction.latency_ns(), "seed {seed}");
            }
        }
    }
}
