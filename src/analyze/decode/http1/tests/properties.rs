//! What holds for every conversation, however it is cut and damaged.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::analyze::transaction::{Completeness, Outcome};

/// Rounds of a conversation: the client sends its requests, then the server
/// answers them all. Every message tells its number.
#[derive(Clone)]
pub(super) struct Round {
    client: Vec<u8>,
    server: Vec<u8>,
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [client, server] = [&self.client, &self.server].map(|b| String::from_utf8_lossy(b));
        write!(f, "{client:?} => {server:?}")
    }
}

fn exchange(number: usize, kind: u8, filler: usize) -> (String, String) {
    let body = "b".repeat(filler);
    let (method, request) = match kind % 8 {
        0 => ("POST", format!("Content-Length: {filler}\r\n\r\n{body}")),
        1 => (
            "POST",
            format!("Transfer-Encoding: chunked\r\n\r\n{filler:x}\r\n{body}\r\n0\r\nT: 1\r\n\r\n"),
        ),
        2 => ("HEAD", "\r\n".to_owned()),
        3 => ("GET", format!("X: {body}\r\n  folded\r\n\r\n")),
        _ => ("GET", "\r\n".to_owned()),
    };
    // A chunk of size 0 would be the last one.
    let request = if kind % 8 == 1 && filler == 0 { "\r\n".to_owned() } else { request };
    let request = format!("{method} /{number} HTTP/1.1\r\nHost: h\r\n{request}");
    let head = format!("X-Number: {number}\r\n");
    let response = match kind / 8 % 6 {
        _ if method == "HEAD" => format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 7777\r\n\r\n"),
        0 => format!("HTTP/1.1 204 None\r\n{head}\r\n"),
        1 => format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\n{head}Content-Length: 1\r\n\r\nx"
        ),
        2 if filler > 0 => {
            format!(
                "HTTP/1.1 200 OK\r\n{head}Transfer-Encoding: chunked\r\n\r\n{filler:x};e\r\n{body}\r\n0\r\n\r\n"
            )
        }
        3 => format!("HTTP/1.1 503 Bad\n{head}Content-Length: 0\n\n"),
        _ => format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {filler}\r\n\r\n{body}"),
    };
    (request, response)
}

/// Up to five rounds of up to `pipelined` requests.
pub(super) fn rounds(pipelined: usize) -> impl Strategy<Value = Vec<Round>> {
    let burst = prop::collection::vec((any::<u8>(), 0usize..60), 1..=pipelined);
    prop::collection::vec(burst, 1..5).prop_map(|bursts| {
        let mut number = 0;
        let mut round = |burst: Vec<(u8, usize)>| {
            let mut round = Round { client: Vec::new(), server: Vec::new() };
            for (kind, filler) in burst {
                number += 1;
                let (request, response) = exchange(number, kind, filler);
                round.client.extend_from_slice(request.as_bytes());
                round.server.extend_from_slice(response.as_bytes());
            }
            round
        };
        bursts.into_iter().map(&mut round).collect()
    })
}

/// Bytes of one direction that are not captured, from offset to offset.
pub(super) type Hole = Option<(Direction, usize, usize)>;

/// Chunks of at most `sizes` (in turn) bytes, with a hole.
pub(super) fn steps(rounds: &[Round], sizes: &[usize], hole: Hole) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut offsets = [0usize; 2];
    for round in rounds {
        for (direction, bytes) in [(ToServer, &round.client), (ToClient, &round.server)] {
            let mut at = 0;
            while at < bytes.len() {
                let len = (*sizes.next().unwrap_or(&1)).clamp(1, bytes.len() - at);
                piece(
                    &mut steps,
                    direction,
                    &bytes[at..at + len],
                    offsets[direction.index()],
                    hole,
                );
                at += len;
                offsets[direction.index()] += len;
            }
        }
    }
    steps
}

fn piece(steps: &mut Vec<Step>, direction: Direction, bytes: &[u8], offset: usize, hole: Hole) {
    let data = |steps: &mut Vec<Step>, bytes: &[u8]| {
        if !bytes.is_empty() {
            steps.push(if direction == ToServer { c(bytes) } else { s(bytes) });
        }
    };
    let Some((_, from, to)) = hole.filter(|(way, ..)| *way == direction) else {
        return data(steps, bytes);
    };
    let from = from.clamp(offset, offset + bytes.len()) - offset;
    let to = to.clamp(offset, offset + bytes.len()) - offset;
    data(steps, &bytes[..from]);
    if to > from {
        // One hole is told as one gap.
        match (steps.last_mut(), direction) {
            (Some(Step::GapC(len)), ToServer) => *len += (to - from) as u64,
            (Some(Step::GapS(len)), ToClient) => *len += (to - from) as u64,
            (_, ToServer) => steps.push(Step::GapC((to - from) as u64)),
            (_, ToClient) => steps.push(Step::GapS((to - from) as u64)),
        }
    }
    data(steps, &bytes[to..]);
}

fn transactions(late: Late, steps: &[Step]) -> Vec<Transaction> {
    let mut run = Run::new(late);
    steps.iter().chain(&both(End::Fin)).for_each(|step| run.push(step));
    run.output.transactions.into_iter().map(|finished| *finished.transaction).collect()
}

/// Transactions in full. The log, which they do not depend on, keeps messages
/// from being read at once.
fn in_full(late: Late, steps: &[Step], headers: bool, log: bool) -> Vec<String> {
    let mut run = Run::new(late);
    run.wants = Wants { headers, log, ..Wants::default() };
    steps.iter().chain(&both(End::Fin)).for_each(|step| run.push(step));
    run.output.transactions.iter().map(|finished| format!("{:?}", finished.transaction)).collect()
}

/// The number in the request's path and in the response's head.
fn numbers(t: &Transaction) -> (Option<String>, Option<String>) {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let request = t.request_text(|m| m.path).map(|path| lossy(&path[1..]));
    let response = t.response.as_ref().and_then(|m| m.head.value("x-number")).map(lossy);
    (request, response)
}

/// Nothing in `damaged` may contradict `intact`.
fn honest(intact: &[Transaction], damaged: &[Transaction]) -> Result<(), TestCaseError> {
    let by_number: HashMap<_, _> = intact.iter().map(|t| (numbers(t).0, line(t))).collect();
    for t in damaged {
        let (request, response) = numbers(t);
        if t.completeness == Completeness::Complete {
            prop_assert_eq!(Some(&line(t)), by_number.get(&request));
        }
        if let (Some(request), Some(response)) = (&request, &response) {
            prop_assert_eq!(request, response, "{}", line(t));
        }
        let number = request.or(response);
        if number.is_none() {
            continue;
        }
        let known = intact.iter().find(|i| numbers(i).0 == number);
        prop_assert!(known.is_some(), "made up: {}", line(t));
        let Some(known) = known else { continue };
        if let (Some(status), Some(true)) = (t.status(), known.status().map(|s| s != 0)) {
            prop_assert_eq!(Some(status), known.status());
        }
        if t.outcome != Outcome::Unknown {
            prop_assert_eq!(t.outcome, known.outcome, "{}", line(t));
        }
        for (got, all) in [(&t.request, &known.request), (&t.response, &known.response)] {
            if let (Some(got), Some(all)) = (got, all) {
                prop_assert!(got.body_bytes <= all.body_bytes, "{} {}", line(t), line(known));
                for (got_text, all_text) in
                    [(got.method, all.method), (got.path, all.path), (got.authority, all.authority)]
                {
                    if let Some(text) = got.text(got_text) {
                        prop_assert_eq!(Some(text), all.text(all_text));
                    }
                }
            }
        }
    }
    Ok(())
}

fn lines(transactions: &[Transaction]) -> Vec<String> {
    transactions.iter().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_split_gives_the_same(rounds in rounds(3), sizes in prop::collection::vec(1usize..80, 1..20)) {
        let whole = transactions(Late::default(), &steps(&rounds, &[usize::MAX], None));
        for t in &whole {
            prop_assert_eq!(t.completeness, Completeness::Complete);
        }
        for sizes in [&sizes[..], &[1]] {
            let split = transactions(Late::default(), &steps(&rounds, sizes, None));
            prop_assert_eq!(lines(&split), lines(&whole));
        }
    }

    #[test]
    fn at_once_or_step_by_step_is_the_same(
        rounds in rounds(3),
        sizes in prop::collection::vec(prop_oneof![1usize..200, Just(usize::MAX)], 1..10),
        to_server: bool,
        hole in prop::option::of((0usize..700, 1usize..300)),
        late in prop_oneof![4 => Just([false, false]), 1 => any::<[bool; 2]>()],
        headers: bool,
    ) {
        let direction = if to_server { ToServer } else { ToClient };
        let hole = hole.map(|(from, len)| (direction, from, from + len));
        let steps = steps(&rounds, &sizes, hole);
        let [fast, slow] = [false, true].map(|log| in_full(Late(late), &steps, headers, log));
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn a_hole_never_lies(
        rounds in rounds(3),
        sizes in prop::collection::vec(1usize..200, 1..10),
        to_server: bool,
        from in 0usize..700,
        len in 1usize..300,
    ) {
        let direction = if to_server { ToServer } else { ToClient };
        let intact = transactions(Late::default(), &steps(&rounds, &sizes, None));
        let hole = Some((direction, from, from + len));
        let damaged = transactions(Late::default(), &steps(&rounds, &sizes, hole));
        honest(&intact, &damaged)?;
    }

    #[test]
    fn a_missing_prefix_never_lies(
        rounds in rounds(3),
        sizes in prop::collection::vec(1usize..200, 1..10),
        cut in 0usize..100,
    ) {
        let all = steps(&rounds, &sizes, None);
        let intact = transactions(Late::default(), &all);
        let cut = cut.min(all.len());
        let damaged = transactions(Late([true, true]), &all[cut..]);
        honest(&intact, &damaged)?;
    }

    #[test]
    fn a_hole_costs_a_sequential_client_little(
        // Who answers a HEAD is told late; that costs more.
        rounds in rounds(1).prop_filter("HEAD", |rounds| rounds.iter().all(|r| r.client[0] != b'H')),
        sizes in prop::collection::vec(1usize..200, 1..10),
        to_server: bool,
        from in 0usize..200,
    ) {
        let direction = if to_server { ToServer } else { ToClient };
        let intact = transactions(Late::default(), &steps(&rounds, &sizes, None));
        let hole = Some((direction, from, from + 1));
        let damaged = transactions(Late::default(), &steps(&rounds, &sizes, hole));
        let paired = damaged.iter().filter(|t| t.request.is_some() && t.status().is_some()).count();
        // The one that was hit, and at most one more.
        prop_assert!(paired + 2 >= intact.len(), "{:?}", lines(&damaged));
    }

    #[test]
    fn random_bytes_do_no_harm(
        pieces in prop::collection::vec((0u8..6, prop::collection::vec(any::<u8>(), 1..50)), 0..40),
        late: [bool; 2],
    ) {
        let heads = ["GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "CONNECT h:1 HTTP/1.1\r\n\r\n",
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"];
        let mut run = Run::new(Late(late));
        for (kind, bytes) in pieces {
            let head = heads[usize::from(bytes[0]) % heads.len()];
            run.push(&match kind {
                0 => Step::C(bytes),
                1 => Step::S(bytes),
                2 => c(head),
                3 => s(head),
                4 => Step::GapC(u64::from(bytes[0]) + 1),
                _ => Step::GapS(u64::from(bytes[0]) + 1),
            });
        }
        both(End::CaptureEnd).iter().for_each(|step| run.push(step));
        prop_assert_eq!(run.decoder.oldest_open(), None);
    }
}
