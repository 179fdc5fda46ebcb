//! Transcripts: what a user would see of a conversation, whole or damaged.

mod doubt;
mod losses;
mod properties;
mod rest;
mod transcripts;

use std::fmt::Write as _;

use super::{PROTOCOL, log};
use crate::analyze::decode::{
    Chunk, Content, Decoder, Direction, End, Finished, GapCause, Late, Output, Sink, Wants,
};
use crate::analyze::limits::Limits;
use crate::analyze::transaction::{Message, Transaction, Value};
use crate::time::Timestamp;

use Direction::{ToClient, ToServer};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK5: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// One step of a conversation. Step `n` (from 1) is packet `n`, captured at
/// `n` milliseconds.
#[derive(Clone, Debug)]
enum Step {
    /// The client sends.
    C(Vec<u8>),
    /// The server sends.
    S(Vec<u8>),
    /// Bytes to the server are missing.
    GapC(u64),
    /// Bytes to the client are missing.
    GapS(u64),
    /// A direction ends.
    End(Direction, End),
}

fn c(text: impl AsRef<[u8]>) -> Step {
    Step::C(text.as_ref().to_vec())
}

fn s(text: impl AsRef<[u8]>) -> Step {
    Step::S(text.as_ref().to_vec())
}

/// Both directions end alike.
fn both(end: End) -> [Step; 2] {
    [Step::End(ToServer, end), Step::End(ToClient, end)]
}

struct Run {
    decoder: Box<dyn Decoder>,
    output: Output,
    limits: Limits,
    wants: Wants,
    packet: u64,
}

impl Run {
    fn new(late: Late) -> Self {
        Self {
            decoder: (PROTOCOL.decoder)(late),
            output: Output::default(),
            limits: Limits::default(),
            wants: Wants {
                headers: true,
                log: true,
                conformance: false,
                bodies: false,
                pauses: false,
            },
            packet: 0,
        }
    }

    fn push(&mut self, step: &Step) {
        self.packet += 1;
        self.push_at(step, self.packet);
    }

    fn push_at(&mut self, step: &Step, packet: u64) {
        let (direction, content) = match step {
            Step::C(data) => (ToServer, Content::Data(data)),
            Step::S(data) => (ToClient, Content::Data(data)),
            Step::GapC(len) => (ToServer, Content::Gap(*len, GapCause::Lost)),
            Step::GapS(len) => (ToClient, Content::Gap(*len, GapCause::Lost)),
            Step::End(direction, end) => (*direction, Content::End(*end)),
        };
        let at = Some(Timestamp::from_nanos(packet as i64 * 1_000_000));
        let chunk = Chunk { at, packet, seq: 0, content };
        let mut sink = Sink::new(self.wants, &self.limits, &mut self.output);
        self.decoder.push(direction, chunk, &mut sink);
    }
}

fn run(late: Late, steps: &[Step]) -> Output {
    let mut run = Run::new(late);
    steps.iter().for_each(|step| run.push(step));
    run.output
}

/// One line for each transaction.
fn shown(output: &Output) -> Vec<String> {
    output.transactions.iter().map(|Finished { transaction, .. }| line(transaction)).collect()
}

fn text(message: &Message, span: Option<crate::analyze::fields::Span>) -> String {
    let mut shown = String::new();
    log::escape(&mut shown, message.text(span).unwrap_or(b"?"));
    shown
}

/// When the longest pause of the first response began and how long it was,
/// in milliseconds, where each step comes at its time.
fn pause(steps: &[(u64, Step)]) -> Option<(i64, u64)> {
    let mut run = Run::new(Late::default());
    run.wants.pauses = true;
    steps.iter().for_each(|(at, step)| run.push_at(step, *at));
    let pause =
        run.output.transactions.first()?.transaction.response.as_ref()?.pauses.as_ref()?.longest?;
    Some((pause.from.nanos() / 1_000_000, pause.nanos / 1_000_000))
}

#[test]
fn the_longest_pause_of_a_response_is_known() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab";
    let steps = [(1, c(GET)), (50, s(head)), (53, s("c")), (60, s("de")), (62, s("fghi"))];
    assert_eq!(pause(&steps), Some((53, 7)), "waiting is no pause");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n";
    let steps = [(1, c(GET)), (2, s(chunked)), (9, s("ab\r\n")), (11, s("0\r\n\r\n"))];
    assert_eq!(pause(&steps), Some((2, 7)));
    let whole = [(1, c(GET)), (9, s(OK5))];
    assert_eq!(pause(&whole), None);
}

#[test]
fn nobody_knows_who_paused_where_bytes_are_missing() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab";
    let steps =
        [(1, c(GET)), (2, s(head)), (3, Step::GapS(2)), (60, s("e")), (65, s("fg")), (67, s("hi"))];
    assert_eq!(pause(&steps), Some((60, 5)));
}

/// Of each transaction how many interim responses it had, and the links that
/// their heads, which are kept where bodies are, told.
fn hints(late: Late, steps: &[Step]) -> Vec<(u64, Vec<String>)> {
    let mut run = Run::new(late);
    run.wants.bodies = true;
    steps.iter().for_each(|step| run.push(step));
    let told = |t: &Transaction| {
        let count = t.attributes.iter().find_map(|(name, value)| match value {
            Value::Number(count) if *name == "http.informational" => Some(*count),
            _ => None,
        });
        let link = |head: &Message| {
            let link = head.head.value("link").unwrap_or(b"?");
            String::from_utf8_lossy(link).into_owned()
        };
        (count.unwrap_or(0), t.interim.iter().map(link).collect())
    };
    run.output.transactions.iter().map(|finished| told(&finished.transaction)).collect()
}

/// A response that comes after a hint.
fn hinted(link: &str) -> Step {
    s(format!("HTTP/1.1 103 Early Hints\r\nLink: {link}\r\n\r\n{OK5}"))
}

#[test]
fn interim_heads_are_those_of_their_response() {
    let steps = [c(GET), hinted("a"), c(GET), s(OK5), c(GET), hinted("b")];
    let all = [(1, vec!["a".to_owned()]), (0, vec![]), (1, vec!["b".to_owned()])];
    assert_eq!(hints(Late::default(), &steps), all);
}

#[test]
fn interim_heads_before_a_gap_are_nobodys() {
    let lost = s("HTTP/1.1 103 Early Hints\r\nLink: lost\r\n\r\n");
    // Whether the answer was in the gap is not known: what comes behind it stands alone.
    let steps = [c(GET), lost, Step::GapS(70), c(GET), hinted("b")];
    let told = hints(Late::default(), &steps);
    assert_eq!(told.first(), Some(&(1, vec!["b".to_owned()])), "{told:?}");
    assert!(told[1..].iter().all(|heads| *heads == (0, vec![])), "{told:?}");
}

#[test]
fn interim_heads_stay_with_a_response_that_was_joined_midway() {
    let steps = [&[c(GET), hinted("a")][..], &both(End::Fin)].concat();
    assert_eq!(hints(Late([true, true]), &steps), [(1, vec!["a".to_owned()])]);
}

/// `GET h /path 0 -> 200 5 | ok complete | anomalies | attributes`.
fn line(t: &Transaction) -> String {
    let mut line = String::new();
    if t.protocol != "http/1.1" {
        let _ = write!(line, "{} ", t.protocol);
    }
    match &t.request {
        Some(m) => {
            let [method, host, path] = [m.method, m.authority, m.path].map(|span| text(m, span));
            let _ = write!(line, "{method} {host} {path} {}", m.body_bytes);
        }
        None => line.push('-'),
    }
    match &t.response {
        Some(m) => {
            let status = m.status.map_or("?".to_owned(), |status| status.to_string());
            let _ = write!(line, " -> {status} {}", m.body_bytes);
        }
        None => line.push_str(" -> -"),
    }
    let _ = write!(line, " | {} {}", t.outcome.name(), t.completeness.name());
    for anomaly in &t.anomalies {
        let _ = write!(line, " !{anomaly}");
    }
    for (name, value) in &t.attributes {
        match value {
            Value::Number(n) => drop(write!(line, " {name}={n}")),
            Value::Text(text) => drop(write!(line, " {name}={text}")),
        }
    }
    line
}

/// Start and end of a message in milliseconds, and its packet.
fn times(message: &Option<Message>) -> (Option<i64>, Option<i64>, u64) {
    let millis = |at: Option<Timestamp>| at.map(|at| at.nanos() / 1_000_000);
    message.as_ref().map_or((None, None, 0), |m| (millis(m.start), millis(m.end), m.packet))
}

#[track_caller]
fn check(steps: &[Step], expected: &[&str]) -> Output {
    check_late(Late::default(), steps, expected)
}

#[track_caller]
fn check_late(late: Late, steps: &[Step], expected: &[&str]) -> Output {
    let output = run(late, steps);
    assert_eq!(shown(&output), expected);
    output
}

fn get(path: &str) -> Step {
    c(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
}

/// An answer that tells its request by its status.
fn ok(status: u16) -> Step {
    s(format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok"))
}

fn with_end(mut steps: Vec<Step>, end: End) -> Vec<Step> {
    steps.extend(both(end));
    steps
}
