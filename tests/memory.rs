//! Peak memory of `perisco analyze`, whatever comes: long pipes, very many
//! connections at once, a reader of the output that stops.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a run may take at most besides mapped files, in KiB.
const LIMIT: u64 = 200 << 10;

/// A capture that is made while it is read: packets of Ethernet, IPv4 and TCP.
struct Stream<W: Write> {
    to: W,
    nanos: u64,
    /// Nanoseconds from one packet to the next.
    pace: u64,
    written: Arc<AtomicU64>,
    buffer: Vec<u8>,
}

/// Address and port of one end.
type End = ([u8; 4], u16);

impl<W: Write> Stream<W> {
    fn new(to: W, written: Arc<AtomicU64>) -> Self {
        let mut buffer = Vec::new();
        for word in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, 1_u32] {
            buffer.extend(word.to_le_bytes());
        }
        Self { to, nanos: 1_700_000_000_000_000_000, pace: 1_000, written, buffer }
    }

    fn packet(&mut self, from: End, to: End, seq: u32, ack: u32, flags: u8, payload: &[u8]) {
        self.nanos += self.pace;
        let length = 54 + payload.len() as u32;
        let seconds = (self.nanos / 1_000_000_000) as u32;
        let fraction = (self.nanos % 1_000_000_000) as u32;
        for word in [seconds, fraction, length, length] {
            self.buffer.extend(word.to_le_bytes());
        }
        let total = 40 + payload.len() as u16;
        self.buffer.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
        self.buffer.extend(total.to_be_bytes());
        self.buffer.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        self.buffer.extend(from.0);
        self.buffer.extend(to.0);
        self.buffer.extend(from.1.to_be_bytes());
        self.buffer.extend(to.1.to_be_bytes());
        self.buffer.extend(seq.to_be_bytes());
        self.buffer.extend(ack.to_be_bytes());
        self.buffer.extend([0x50, flags, 2, 0, 0, 0, 0, 0]);
        self.buffer.extend(payload);
        if self.buffer.len() >= 128 << 10 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.to.write_all(&self.buffer).expect("perisco reads on");
        self.written.fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
        self.buffer.clear();
    }
}

const SYN: u8 = 2;
const ACK: u8 = 0x10;
const SERVER: End = ([10, 0, 0, 1], 80);

/// The end of the client with this number.
fn client(index: u32) -> End {
    let [_, a, b, c] = (index / 50_000).to_be_bytes();
    ([10, 1 + a, b, c], (10_000 + index % 50_000) as u16)
}

/// A run that reads what `make` writes.
struct Run {
    child: Child,
    feeder: JoinHandle<()>,
    written: Arc<AtomicU64>,
    peak: Arc<AtomicU64>,
}

impl Run {
    fn start(
        args: &[&str],
        make: impl FnOnce(&mut Stream<std::process::ChildStdin>) + Send + 'static,
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_perisco"))
            .args(["analyze", "--threads", "2", "--no-progress"])
            .args(args)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perisco runs");
        let stdin = child.stdin.take().expect("a pipe");
        let (written, peak) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let mut stream = Stream::new(stdin, written.clone());
        let feeder = thread::spawn(move || {
            make(&mut stream);
            stream.flush();
        });
        let (status, high) = (format!("/proc/{}/status", child.id()), peak.clone());
        // Ends with the process.
        thread::spawn(move || {
            while let Some(now) = field(&status, "VmHWM:") {
                high.fetch_max(now, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { child, feeder, written, peak }
    }

    /// All that it writes, what it fed, and the most memory that it had, in KiB.
    fn end(mut self) -> (Vec<u8>, u64, u64) {
        let mut output = Vec::new();
        self.child.stdout.take().expect("a pipe").read_to_end(&mut output).expect("its output");
        self.feeder.join().expect("fed");
        let code = self.child.wait().expect("an end").code();
        assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&output));
        (output, self.written.load(Ordering::Relaxed), self.peak.load(Ordering::Relaxed))
    }
}

/// A number of KiB in a file of `/proc`; None once the process has ended.
fn field(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn report(output: &[u8]) -> serde_json::Value {
    serde_json::from_slice(output).expect("a report")
}

/// Requests of `connections` in turn, each answered with so many bytes.
fn exchanges<W: Write>(stream: &mut Stream<W>, connections: u32, requests: u32, body: usize) {
    let payload = vec![b'x'; 64_000];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n");
    let mut at = vec![(1_u32, 1_u32); connections as usize];
    for request in 0..requests {
        let index = request % connections;
        let (to_server, to_client) = &mut at[index as usize];
        let asked = format!("GET /{request} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        stream.packet(client(index), SERVER, *to_server, *to_client, ACK, asked.as_bytes());
        *to_server = to_server.wrapping_add(asked.len() as u32);
        let mut send = |bytes: &[u8]| {
            stream.packet(SERVER, client(index), *to_client, *to_server, ACK, bytes);
            *to_client = to_client.wrapping_add(bytes.len() as u32);
        };
        send(head.as_bytes());
        let mut left = body;
        while left > 0 {
            let part = left.min(payload.len());
            send(&payload[..part]);
            left -= part;
        }
    }
}

#[test]
fn a_long_pipe_takes_no_more_than_a_short_one() {
    let run = Run::start(&["--format", "json"], |stream| exchanges(stream, 10, 1_100, 1 << 20));
    let (output, fed, peak) = run.end();
    assert!(fed > 1 << 30, "{fed} bytes");
    assert!((1..100 << 10).contains(&peak), "{peak} KiB for {fed} bytes");
    let report = report(&output);
    assert_eq!(report["transactions"]["outcomes"]["ok"], 1_100, "{report}");
}

#[test]
fn a_million_connections_that_only_begin() {
    const CONNECTIONS: u32 = 1_000_000;
    let run = Run::start(&["--format", "json"], |stream| {
        for index in 0..CONNECTIONS {
            stream.packet(client(index), SERVER, index, 0, SYN, b"");
        }
    });
    let (output, _, peak) = run.end();
    assert!((1..LIMIT).contains(&peak), "{peak} KiB");
    let report = report(&output);
    assert_eq!(report["flows"]["count"], CONNECTIONS, "{report}");
    assert_eq!(report["capture"]["segments"], CONNECTIONS, "{report}");
    assert_eq!(report["loss"]["limits"], serde_json::json!({}), "{report}");
}

/// What is kept small of a connection that has only begun is all that there is
/// to know of it: more than 32,768 are.
#[test]
fn connections_that_begin_long_before_they_go_on_are_whole() {
    const CONNECTIONS: u32 = 50_000;
    let run = Run::start(&["--format", "json"], |stream| {
        for index in 0..CONNECTIONS {
            stream.packet(client(index), SERVER, index, 0, SYN, b"");
        }
        for index in (0..CONNECTIONS).rev() {
            stream.packet(SERVER, client(index), 7, index + 1, SYN | ACK, b"");
            let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            stream.packet(client(index), SERVER, index + 1, 8, ACK, request);
            let next = index + 1 + request.len() as u32;
            let response = b"HTTP/1.1 204 No Content\r\n\r\n";
            stream.packet(SERVER, client(index), 8, next, ACK, response);
        }
    });
    let report = report(&run.end().0);
    let (flows, transactions) = (&report["flows"], &report["transactions"]);
    assert_eq!(flows["count"], CONNECTIONS, "{report}");
    assert_eq!(flows["without_handshake"], 0, "{report}");
    assert_eq!(transactions["completeness"]["complete"], CONNECTIONS, "{report}");
    assert_eq!(transactions["outcomes"]["ok"], CONNECTIONS, "{report}");
    assert_eq!(report["loss"]["none_known"], serde_json::json!(true), "{report}");
}

/// A connection as it goes on in turn: where each side's next byte stands.
#[derive(Clone, Copy)]
struct Turn {
    index: u32,
    to_server: u32,
    to_client: u32,
}

impl Turn {
    fn open<W: Write>(stream: &mut Stream<W>, index: u32) -> Self {
        let turn = Self { index, to_server: index.wrapping_add(1), to_client: 78 };
        stream.packet(client(index), SERVER, index, 0, SYN, b"");
        stream.packet(SERVER, client(index), 77, turn.to_server, SYN | ACK, b"");
        stream.packet(client(index), SERVER, turn.to_server, 78, ACK, b"");
        turn
    }

    /// Asks and is answered.
    fn exchange<W: Write>(&mut self, stream: &mut Stream<W>) {
        let end = client(self.index);
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.packet(end, SERVER, self.to_server, self.to_client, ACK, request);
        self.to_server = self.to_server.wrapping_add(request.len() as u32);
        let response = b"HTTP/1.1 204 No Content\r\n\r\n";
        stream.packet(SERVER, end, self.to_client, self.to_server, ACK, response);
        self.to_client = self.to_client.wrapping_add(response.len() as u32);
    }
}

/// They wait past their handshake, between two requests, or speak TLS; 100,000
/// packets a second.
#[test]
fn a_million_connections_that_wait() {
    const CONNECTIONS: u32 = 1_000_000;
    for (exchanges, tls) in [(0, false), (1, false), (0, true)] {
        let run = Run::start(&["--format", "json"], move |stream| {
            stream.pace = 10_000;
            for index in 0..CONNECTIONS {
                let mut turn = Turn::open(stream, index);
                (0..exchanges).for_each(|_| turn.exchange(stream));
                if tls {
                    let hello = [0x16, 3, 1, 0, 4, 1, 0, 0, 0];
                    stream.packet(client(index), SERVER, turn.to_server, 78, ACK, &hello);
                }
            }
        });
        let (output, _, peak) = run.end();
        assert!((1..LIMIT).contains(&peak), "{peak} KiB, {exchanges} exchanges each, TLS: {tls}");
        let report = report(&output);
        assert_eq!(report["flows"]["count"], CONNECTIONS, "{report}");
        assert_eq!(report["loss"]["limits"], serde_json::json!({}), "{report}");
        assert_eq!(report["loss"]["none_known"], serde_json::json!(true), "{report}");
        let complete = &report["transactions"]["completeness"]["complete"];
        assert_eq!(*complete, CONNECTIONS * exchanges, "{report}");
        let spoken = &report["flows"]["kinds"]["tls"];
        assert_eq!(spoken.as_u64(), tls.then_some(CONNECTIONS.into()), "{report}");
    }
}

/// Of a connection that waits enough is kept to go on: more than 16,384 do,
/// for much longer than what was sent is remembered.
#[test]
fn connections_that_wait_go_on_whole() {
    const CONNECTIONS: u32 = 40_000;
    for format in ["json", "log"] {
        let run = Run::start(&["--format", format], |stream| {
            let mut turns: Vec<_> =
                (0..CONNECTIONS).map(|index| Turn::open(stream, index)).collect();
            for _ in 0..3 {
                turns.iter_mut().for_each(|turn| turn.exchange(stream));
                stream.nanos += 1_000_000_000;
            }
            // The last response again.
            let Turn { index, to_server, to_client } = turns[7];
            let again = b"HTTP/1.1 204 No Content\r\n\r\n";
            let before = to_client.wrapping_sub(again.len() as u32);
            stream.packet(SERVER, client(index), before, to_server, ACK, again);
        });
        let output = run.end().0;
        if format == "log" {
            let lines = String::from_utf8(output).expect("UTF-8");
            let count = |what: &str| lines.lines().filter(|line| line.contains(what)).count();
            assert_eq!(count(" CONN"), CONNECTIONS as usize, "each begins once");
            assert_eq!(count(" REQUEST "), CONNECTIONS as usize * 3);
            continue;
        }
        let report = report(&output);
        let (flows, transactions) = (&report["flows"], &report["transactions"]);
        assert_eq!(flows["count"], CONNECTIONS, "{report}");
        assert_eq!(flows["without_handshake"], 0, "{report}");
        assert_eq!(flows["retransmissions"], 1, "{report}");
        assert_eq!(transactions["completeness"]["complete"], CONNECTIONS * 3, "{report}");
        assert_eq!(report["loss"]["none_known"], serde_json::json!(true), "{report}");
    }
}

#[test]
fn a_reader_that_stops_is_waited_for() {
    const REQUESTS: u32 = 400_000;
    let run = Run::start(&["--format", "jsonl"], |stream| exchanges(stream, 50, REQUESTS, 200));
    let status = format!("/proc/{}/status", run.child.id());
    let begin = Instant::now();
    let (mut before, mut since) = (u64::MAX, begin);
    // Nothing is read any more once nothing can be written.
    while since.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(100));
        let fed = run.written.load(Ordering::Relaxed);
        if fed != before {
            (before, since) = (fed, Instant::now());
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it reads on: {fed} bytes");
    }
    assert!(!run.feeder.is_finished(), "all was read before anything was written");
    let waiting = field(&status, "VmRSS:").expect("it runs");
    thread::sleep(Duration::from_millis(500));
    let later = field(&status, "VmRSS:").expect("it runs");
    assert!(later.abs_diff(waiting) < 1 << 10, "{waiting} KiB, then {later}");
    let (output, _, peak) = run.end();
    assert!((1..LIMIT).contains(&peak), "{peak} KiB");
    let lines = output.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, REQUESTS as usize);
}

/// Lines of a zstd file.
fn lines_of(file: &std::path::Path) -> usize {
    let file = std::fs::File::open(file).expect("written");
    let reader = BufReader::new(zstd::Decoder::new(file).expect("zstd"));
    reader.split(b'\n').map(|line| line.expect("zstd")).filter(|line| !line.is_empty()).count()
}

/// All lines of three formats wait for the first transaction, which stays open.
#[test]
fn a_million_transactions_in_all_formats_at_once() {
    const REQUESTS: u32 = 1_000_000;
    let folder = tempfile::tempdir().expect("a folder");
    let names =
        ["rows.csv.zst", "run.har.zst", "events.log.zst", "sum.json", "sum.txt", "page.html"];
    let files = names.map(|name| folder.path().join(name));
    let mut args = vec!["-o", "jsonl:-"];
    files.iter().for_each(|file| args.extend(["-o", file.to_str().expect("UTF-8")]));
    let run = Run::start(&args, |stream| {
        let open = b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.packet(client(60), SERVER, 1, 1, ACK, open);
        exchanges(stream, 50, REQUESTS, 200);
    });
    let (output, _, peak) = run.end();
    assert!((1..LIMIT).contains(&peak), "{peak} KiB");
    let lines = output.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, REQUESTS as usize + 1);
    // A header row; what comes before and behind the entries; connections.
    assert_eq!(lines_of(&files[0]), lines + 1);
    assert_eq!(lines_of(&files[1]), lines + 2);
    assert!(lines_of(&files[2]) > 2 * REQUESTS as usize);
    let report = report(&std::fs::read(&files[3]).expect("written"));
    assert_eq!(report["transactions"]["count"], REQUESTS + 1, "{report}");
    assert!(std::fs::read_to_string(&files[4]).expect("written").contains("1,000,001"));
    let page = std::fs::read_to_string(&files[5]).expect("written");
    assert!(page.contains("</html>") && page.len() < 2_000_000, "{}", page.len());
}

/// Bodies that are kept and never end: no more of them than all together may have.
#[test]
fn kept_bodies_have_a_bound() {
    const CONNECTIONS: u32 = 300;
    const ROUNDS: u32 = 16;
    let args = ["--format", "jsonl", "--bodies=1MiB", "--bodies-total=32MiB"];
    let run = Run::start(&args, |stream| {
        let asked = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
        for index in 0..CONNECTIONS {
            stream.packet(client(index), SERVER, 1, 1, ACK, asked);
            stream.packet(SERVER, client(index), 1, 1 + asked.len() as u32, ACK, head);
        }
        let body = vec![b'x'; 60_000];
        for round in 0..ROUNDS {
            for index in 0..CONNECTIONS {
                let seq = 1 + head.len() as u32 + round * body.len() as u32;
                stream.packet(SERVER, client(index), seq, 1 + asked.len() as u32, ACK, &body);
            }
        }
    });
    let (output, fed, peak) = run.end();
    assert!(fed > 270 << 20, "{fed} bytes");
    assert!((1..LIMIT).contains(&peak), "{peak} KiB");
    let lines = output.split_inclusive(|byte| *byte == b'\n').map(report);
    // Joined midway, requests are told apart from responses.
    let answers = lines.filter(|line| !line["response_body"].is_null());
    let cuts: Vec<_> = answers.map(|line| line["response_body"]["cut"].clone()).collect();
    assert_eq!(cuts.len(), CONNECTIONS as usize);
    assert!(cuts.iter().any(|cut| cut == "total-limit"), "{cuts:?}");
}
