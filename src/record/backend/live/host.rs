//! Loss, the verifier, and what is said of this kernel.

use super::peers::{Peer, Talk, free_port};
use super::*;
use crate::record::backend::{BackEnd, probe};
use crate::record::counters::Counters;

/// Times that a test is begun anew because segments were sent twice, whose
/// bytes are lost or kept twice too.
const ATTEMPTS: usize = 8;

/// Lets `times` clients talk to a server in a network namespace of its own
/// while the ring buffer is looked at after each only. None: skipped.
fn overflow(
    settings: impl Fn(Settings) -> Settings,
    talk: Talk,
    times: usize,
) -> Option<(Vec<Seen>, Counters)> {
    for _ in 0..ATTEMPTS {
        let port = free_port();
        let mut recorder = start(&settings(both_ends(port)))?;
        let server = Peer::server_apart(talk, port);
        let mut events = Vec::new();
        for _ in 0..times {
            server.client_beside(talk).finish();
            std::thread::sleep(Duration::from_millis(50));
            recorder.poll(Duration::ZERO, &mut |event| events.push(Seen::new(event))).unwrap();
        }
        if server.sent_again() == 0 {
            return Some((events, recorder.counters()));
        }
    }
    panic!("segments are sent twice all the time: this machine is too busy");
}

/// Bytes of payload in the events.
fn kept(events: &[Seen]) -> u64 {
    events
        .iter()
        .filter(|event| event.kind == Kind::Data)
        .map(|event| event.payload.len() as u64)
        .sum()
}

const LONG: Talk = Talk { host: "127.0.0.1", up: 400_000, down: 300, rounds: 1 };

#[test]
fn a_full_ring_is_counted_to_the_byte() {
    // One page: events of more than 512 bytes never fit.
    let tiny = |settings| Settings { buffer_bytes: 4096, ..settings };
    let Some((events, counters)) = overflow(tiny, LONG, 2) else { return };
    let said = 2 * 2 * (LONG.up + LONG.down) as u64;
    assert!(counters.lost + counters.over_share > 0);
    assert_eq!(
        kept(&events) + counters.lost_bytes + counters.over_share_bytes + counters.cut_bytes,
        said,
        "kept and lost is all that was said: {counters:?}"
    );
    let last = events.iter().map(|event| u64::from(event.lost)).max().unwrap();
    let lost = counters.lost + counters.lost_other + counters.over_share;
    assert!(last > 0 && last <= lost, "{last}: {counters:?}");
}

#[test]
fn a_filling_ring_keeps_the_beginning_of_every_packet() {
    let small = |settings| Settings { buffer_bytes: 1 << 20, ..settings };
    let Some((events, counters)) = overflow(small, LONG, 4) else { return };
    let lost = (counters.lost, counters.lost_other, counters.over_share);
    assert_eq!(lost, (0, 0, 0), "{counters:?}");
    assert!(counters.cut > 0);
    // Several times what the ring holds; the rounds between are read.
    let said = 4 * 2 * (LONG.up + LONG.down) as u64;
    assert_eq!(kept(&events) + counters.cut_bytes, said, "{counters:?}");
    let cut = events.iter().filter(|event| event.payload.len() < event.length as usize);
    let (mut much, mut little) = (0, 0);
    for event in cut.filter(|event| event.kind == Kind::Data) {
        match event.payload.len() {
            4096 => much += 1,
            512 => little += 1,
            other => panic!("{other} bytes kept"),
        }
    }
    assert!(much > 0 && much + little == counters.cut, "{much} {little} {counters:?}");
}

#[test]
fn what_was_lost_at_the_sender_is_copied_once_at_most() {
    let small = |settings| Settings { buffer_bytes: 256 << 10, both_ends: false, ..settings };
    let Some((events, counters)) = overflow(small, LONG, 5) else { return };
    let said = 5 * (LONG.up + LONG.down) as u64;
    let missing = counters.lost_bytes - counters.recovered_bytes
        + counters.over_share_bytes
        + counters.cut_bytes;
    assert!(missing > 0);
    assert_eq!(kept(&events) + missing, said, "once each, or missing: {counters:?}");
}

#[test]
fn all_programs_are_small_to_the_verifier() {
    if start(&both_ends(0)).is_none() {
        return;
    }
    for report in probe() {
        for program in report.programs {
            println!("{:?} {}: {:?} instructions", report.back_end, program.name, program.verified);
            if let Some(refusal) = &program.refusal {
                println!("  {refusal}");
                assert!(!refusal.why.contains("libbpf"), "{refusal}");
            }
            assert!(program.verified.is_none_or(|count| count < 100_000), "{}", program.name);
        }
    }
}

#[test]
fn a_back_end_that_is_refused_is_explained() {
    let Some(recorder) = start(&Settings { choice: Choice::Auto, ..both_ends(0) }) else { return };
    println!("{recorder:?} {:#?}", recorder.notes());
    if recorder.back_end() == BackEnd::Cgroup {
        let refusal = &recorder.refusals()[0];
        println!("{refusal}");
        assert!(refusal.what.starts_with("socket back end"), "{refusal}");
        assert!(!refusal.remedy.is_empty());
    }
}
