//! Captures that miss bytes: what is left is right or labelled.

use std::collections::HashMap;

use proptest::prelude::*;

use super::oracle::{exchanges, record, split};
use super::scripted::*;
use super::*;
use crate::analyze::transaction::{Completeness, Outcome};

/// Removes `holes` (start and length per direction's bytes); late directions
/// lose their beginning without a trace.
fn damage(inputs: &[Input], holes: &[(Direction, usize, usize)], join: [usize; 2]) -> Vec<Input> {
    let mut at = [0usize; 2];
    let mut result = Vec::new();
    for input in inputs {
        let Input::Bytes(way, bytes) = input else {
            result.push(input.clone());
            continue;
        };
        let start = at[way.index()];
        at[way.index()] += bytes.len();
        let lost = |n: usize| {
            holes.iter().any(|(w, from, len)| w == way && (*from..from + len).contains(&n))
        };
        let mut piece = Vec::new();
        for (nth, byte) in bytes.iter().enumerate() {
            let offset = start + nth;
            if offset < join[way.index()] {
                continue;
            }
            if lost(offset) {
                if !piece.is_empty() {
                    result.push(Input::Bytes(*way, std::mem::take(&mut piece)));
                }
                match result.last_mut() {
                    Some(Input::Gap(w, len)) if w == way => *len += 1,
                    _ => result.push(Input::Gap(*way, 1)),
                }
            } else {
                piece.push(*byte);
            }
        }
        if !piece.is_empty() {
            result.push(Input::Bytes(*way, piece));
        }
    }
    result
}

/// Whether `some` are, in order, among `all`, where they are known.
fn is_part(some: &[(String, Option<String>)], all: &[(String, Option<String>)]) -> bool {
    let mut rest = all.iter();
    some.iter().all(|(name, value)| {
        rest.any(|(n, v)| (name.starts_with('?') || n == name) && (value.is_none() || v == value))
    })
}

/// The promise: nothing that is said is wrong.
fn check_message(got: &Option<Message>, intact: &Option<Message>) -> Result<(), TestCaseError> {
    let Some(got) = got else { return Ok(()) };
    prop_assert!(intact.is_some(), "made up: {}", show(&Some(got.clone())));
    let intact = intact.as_ref().unwrap();
    let picks: [fn(&Message) -> Option<crate::analyze::fields::Span>; 4] =
        [|m| m.method, |m| m.path, |m| m.authority, |m| m.scheme];
    for pick in picks {
        let value = text(got, pick(got));
        prop_assert!(value.is_none() || value == text(intact, pick(intact)));
    }
    prop_assert!(got.status.is_none() || got.status == intact.status);
    prop_assert!(is_part(&fields(&got.head), &with_pseudo(intact)));
    let both = [with_pseudo(intact), fields(&intact.trailers)].concat();
    prop_assert!(is_part(&fields(&got.trailers), &both), "{:?} {:?}", fields(&got.trailers), both);
    prop_assert!(got.body_bytes <= intact.body_bytes);
    Ok(())
}

/// Unknown fields may be pseudo-headers, so those count as fields here.
fn with_pseudo(m: &Message) -> Vec<(String, Option<String>)> {
    let pseudo = [
        (":method", m.method),
        (":scheme", m.scheme),
        (":authority", m.authority),
        (":path", m.path),
    ];
    let mut all: Vec<_> = pseudo
        .into_iter()
        .filter(|(_, span)| span.is_some())
        .map(|(name, span)| (name.to_owned(), text(m, span)))
        .collect();
    if let Some(status) = m.status {
        all.push((":status".to_owned(), Some(status.to_string())));
    }
    // Repeated, since their order among each other is not kept.
    let mut result: Vec<_> = (0..4).flat_map(|_| all.clone()).collect();
    result.extend(fields(&m.head));
    result
}

fn check(damaged: &Output, intact: &[Transaction]) -> Result<(), TestCaseError> {
    let by_id: HashMap<_, _> = intact.iter().map(|t| (t.stream, t)).collect();
    let mut seen = std::collections::HashSet::new();
    for finished in &damaged.transactions {
        let t = &finished.transaction;
        prop_assert!(seen.insert(t.stream), "twice: {:?}", t.stream);
        let whole = by_id.get(&t.stream);
        prop_assert!(whole.is_some(), "no such stream: {}", show_all(t));
        let whole = whole.unwrap();
        if t.completeness == Completeness::Complete {
            prop_assert_eq!(show_all(t), show_all(whole));
            continue;
        }
        check_message(&t.request, &whole.request)?;
        check_message(&t.response, &whole.response)?;
        if t.outcome != Outcome::Unknown {
            prop_assert_eq!(t.outcome, whole.outcome, "{} {}", show_all(t), show_all(whole));
        }
        if let (Some(got), Some(expected)) = (&t.grpc, &whole.grpc) {
            prop_assert!(got.status.is_none() || got.status == expected.status);
            prop_assert!(got.kind.is_none() || got.kind == expected.kind);
        }
    }
    Ok(())
}

const WANTS: Wants =
    Wants { headers: true, log: true, conformance: false, bodies: false, pauses: false };

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn holes_are_never_papered_over(
        exchanges in exchanges(10),
        cuts in proptest::collection::vec(1usize..2000, 1..10),
        holes in proptest::collection::vec((any::<bool>(), 0usize..20_000, 1usize..3000), 1..4),
    ) {
        let inputs = split(&record(&exchanges, 4096), &cuts);
        let intact = transactions(&inputs);
        let way = |up| if up { UP } else { DOWN };
        let holes: Vec<_> = holes.iter().map(|(up, at, len)| (way(*up), *at, *len)).collect();
        let damaged = damage(&inputs, &holes, [0; 2]);
        check(&decode(&damaged, [false; 2], &Limits::default(), WANTS), &intact)?;
    }

    #[test]
    fn late_joins_are_right_or_unknown(
        exchanges in exchanges(10),
        cuts in proptest::collection::vec(1usize..2000, 1..10),
        join in (0usize..20_000, 0usize..20_000),
        small in any::<bool>(),
    ) {
        let inputs = split(&record(&exchanges, 4096), &cuts);
        let intact = transactions(&inputs);
        let join = if small { [join.0 % 400, join.1 % 400] } else { [join.0, join.1] };
        let damaged = damage(&inputs, &[], join);
        let output = decode(&damaged, [true; 2], &Limits::default(), WANTS);
        check(&output, &intact)?;
    }

    #[test]
    fn cut_captures_are_labelled(
        exchanges in exchanges(8),
        cuts in proptest::collection::vec(1usize..2000, 1..10),
        keep in 0usize..200,
    ) {
        let inputs = split(&record(&exchanges, 4096), &cuts);
        let intact = transactions(&inputs);
        let damaged = inputs.get(..keep).unwrap_or(&inputs);
        check(&decode(damaged, [false; 2], &Limits::default(), WANTS), &intact)?;
    }

    #[test]
    fn hostile_bytes_never_panic(
        inputs in proptest::collection::vec(
            (any::<bool>(), 0u8..12, any::<u8>(), 0u32..6,
             proptest::collection::vec(any::<u8>(), 0..40), 0u8..10), 0..40),
        late in any::<[bool; 2]>(),
    ) {
        let mut all = vec![up(&[preface()])];
        for (way, kind, flags, stream, payload, gap) in inputs {
            let way = if way { UP } else { DOWN };
            all.push(match gap {
                0 => Input::Gap(way, u64::from(flags) + 1),
                1 => Input::Bytes(way, payload),
                _ => Input::Bytes(way, frame(kind, flags, stream, &payload)),
            });
        }
        decode(&all, late, &Limits::default(), WANTS);
    }
}

#[test]
fn a_hole_in_a_body_touches_nothing_else() {
    let body = vec![7; 5000];
    let inputs = [
        begin(),
        vec![
            up(&[headers(5, 1, GET), headers(5, 3, GET)]),
            // The second answer uses what the first put into the table.
            down(&[frame(1, 4, 1, &[0x88, 0x40, 1, b'x', 1, b'y']), frame(0, 1, 1, &body)]),
            down(&[frame(1, 5, 3, &[0x88, 0xbe])]),
        ],
    ]
    .concat();
    let damaged = damage(&inputs, &[(DOWN, 100, 3000)], [0; 2]);
    let output = decode(&damaged, [false; 2], &Limits::default(), WANTS);
    let all: Vec<_> = output.transactions.iter().map(|f| &f.transaction).collect();
    assert_eq!(all[0].completeness, Completeness::Gap);
    assert_eq!(all[0].response.as_ref().unwrap().body_bytes, 5000);
    assert_eq!(all[0].outcome, Outcome::Ok);
    assert_eq!(all[1].completeness, Completeness::Complete);
    let response = all[1].response.as_ref().unwrap();
    assert_eq!(response.head.value("x"), Some(&b"y"[..]));
}

#[test]
fn after_a_hole_in_a_head_later_streams_are_decoded() {
    let inputs = [
        begin(),
        vec![
            up(&[headers(5, 1, GET)]),
            up(&[headers(5, 3, GET)]),
            up(&[headers(5, 5, GET), frame(8, 0, 0, &[0, 0, 1, 0])]),
            down(&[headers(5, 1, OK), headers(5, 3, OK), headers(5, 5, OK)]),
        ],
    ]
    .concat();
    // Inside the second request, from its length field to its end.
    let hole = (UP, 24 + 9 + 60 + 2, 56);
    let output = decode(&damage(&inputs, &[hole], [0; 2]), [false; 2], &Limits::default(), WANTS);
    let mut found: Vec<_> = output
        .transactions
        .iter()
        .map(|f| &f.transaction)
        .map(|t| (t.stream.unwrap(), t.completeness, t.request.is_some(), t.status()))
        .collect();
    found.sort_by_key(|t| t.0);
    assert_eq!(
        found,
        [
            // Its RST_STREAM may have been in the hole.
            (1, Completeness::Gap, true, Some(200)),
            (3, Completeness::Gap, false, Some(200)),
            (5, Completeness::Complete, true, Some(200)),
        ]
    );
}

/// The rest of a SETTINGS frame reads as HEADERS that ends where the next
/// frame begins.
#[test]
fn bytes_that_lead_to_a_frame_are_none() {
    let rest = [0, 0, 4, 1, 0, 0, 0, 0, 5, 0, 0, 0x4e, 0x20];
    let inputs = [
        up(&[rest.to_vec(), frame(4, 1, 0, &[]), headers(5, 1, GET)]),
        down(&[headers(5, 1, OK), frame(6, 0, 0, &[0; 8])]),
    ];
    let output = decode(&inputs, [true; 2], &Limits::default(), WANTS);
    let found: Vec<_> = output.transactions.iter().map(|f| f.transaction.stream).collect();
    assert_eq!(found, [Some(1)]);
}

/// As when a packet of the connection's own frames is lost: interim responses
/// may be missing, messages are not.
#[test]
fn a_call_after_a_hole_is_counted() {
    let message = [0, 0, 0, 0, 2, 8, 1];
    let inputs = [
        begin(),
        vec![
            up(&[headers(4, 1, GRPC), frame(0, 1, 1, &message)]),
            Input::Gap(DOWN, 30),
            down(&[headers(4, 1, GRPC_OK), frame(0, 0, 1, &message)]),
            down(&[headers(5, 1, &[("grpc-status", "0")])]),
        ],
    ]
    .concat();
    let t = &transactions(&inputs)[0];
    assert_eq!((t.completeness, t.outcome), (Completeness::Gap, Outcome::Ok));
    let grpc = t.grpc.as_ref().unwrap();
    assert_eq!((grpc.response_messages, grpc.kind), (1, Some("unary")));
}

#[test]
fn a_call_whose_answer_was_seen_from_its_middle_has_no_kind() {
    let message = [0, 0, 0, 0, 2, 8, 1];
    let inputs = [
        begin(),
        vec![
            Input::Gap(DOWN, 30),
            up(&[headers(4, 1, GRPC), frame(0, 1, 1, &message)]),
            down(&[frame(0, 0, 1, &message), headers(5, 1, &[("grpc-status", "0")])]),
        ],
    ]
    .concat();
    let t = &transactions(&inputs)[0];
    assert_eq!((t.completeness, t.outcome), (Completeness::Gap, Outcome::Ok));
    assert_eq!(t.grpc.as_ref().unwrap().kind, None);
}

/// A head whose status was in a lost entry of the table, and no more.
#[test]
fn what_may_be_an_interim_response_is_none() {
    let request = up(&[headers(5, 1, GET)]);
    let head = down(&[frame(1, 4, 1, &[0xbe, 0x40, 1, b'x', 1, b'y'])]);
    let start = [begin(), vec![request, Input::Gap(DOWN, 9), head]].concat();
    let t = &transactions(&start)[0];
    assert!(t.response.is_none());
    assert_eq!((t.completeness, t.outcome), (Completeness::Gap, Outcome::Unknown));
    // With a body it is a response.
    let body = [&start[..], &[down(&[frame(0, 0, 1, b"abc")])]].concat();
    let t = &transactions(&body)[0];
    assert!(t.response.as_ref().is_some_and(|m| m.start.is_some() && m.body_bytes == 3));
}

#[test]
fn a_request_without_its_head_has_no_start() {
    let inputs = [
        up(&[frame(6, 0, 0, &[0; 8]), frame(6, 0, 0, &[0; 8])]),
        down(&[headers(4, 1, OK), frame(6, 0, 0, &[0; 8])]),
        up(&[frame(0, 0, 1, b"abc"), frame(0, 1, 1, b"def")]),
        down(&[frame(0, 1, 1, b"x")]),
    ];
    let output = decode(&inputs, [true; 2], &Limits::default(), WANTS);
    let t = &output.transactions[0].transaction;
    assert!(t.request.as_ref().unwrap().end.is_some());
    assert_eq!((t.start(), t.latency_ns()), (None, None));
    assert_eq!(t.rank(), t.response.as_ref().unwrap().start);
}

/// The answer may be among what is missing.
#[test]
fn a_reset_after_lost_answers_is_unknown() {
    let request = up(&[headers(5, 1, GET)]);
    let reset = up(&[frame(3, 0, 1, &[0, 0, 0, 8])]);
    let lost = Input::Gap(DOWN, 100);
    let start = up(&[preface(), settings(&[])]);
    let outcome = |inputs: &[Input]| transactions(inputs)[0].outcome;
    let seen = [begin(), vec![request.clone(), reset.clone()]].concat();
    assert_eq!(outcome(&seen), Outcome::Reset);
    let hole = [begin(), vec![request.clone(), lost, reset.clone()]].concat();
    assert_eq!(outcome(&hole), Outcome::Unknown);
    assert_eq!(outcome(&[start, request.clone(), reset.clone()]), Outcome::Unknown);
    // Nor is it complete where the reset may be lost.
    let answer = down(&[headers(5, 1, OK)]);
    let hole = [begin(), vec![request, Input::Gap(UP, 13), answer]].concat();
    assert_eq!(transactions(&hole)[0].completeness, Completeness::Gap);
    // A FIN after half of a request is no reset where its end may be lost.
    let open = up(&[headers(4, 1, GET)]);
    let ends = vec![Input::End(DOWN, End::Fin), Input::End(UP, End::Fin)];
    let hole = [begin(), vec![open, Input::Gap(UP, 100)], ends].concat();
    assert_eq!(outcome(&hole), Outcome::Unknown);
}
