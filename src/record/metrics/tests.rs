use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::text::{Format, render};
use super::watch::settled;
use super::*;

fn loss(reason: &'static str, events: u64, bytes: u64) -> Loss {
    Loss { reason, events, bytes, whole: true }
}

fn snapshot() -> Snapshot {
    let labels = vec![("source", "a \"b\"\\\nc".to_owned())];
    let samples = vec![Sample { labels, value: 0.5 }];
    Snapshot {
        back_end: "socket".to_owned(),
        events: 12,
        losses: vec![loss("ring", 3, 4096), loss("table_full", 1, 0)],
        summary: Summary {
            connections: 2,
            packets: 9,
            bytes: 1 << 40,
            gaps: 1,
            ..Summary::default()
        },
        more: vec![Metric { name: "perisco_names", kind: Kind::Gauge, help: "Odd.", samples }],
        ..Snapshot::default()
    }
}

#[test]
fn both_formats_name_each_family_once_and_end_as_they_must() {
    let board = Board::default();
    board.publish(snapshot());
    let old = render(&board, Format::Prometheus);
    for line in [
        "# HELP perisco_lost_events_total Events lost, or cut short (reason filling), by reason.",
        "# TYPE perisco_lost_events_total counter",
        "perisco_lost_events_total{reason=\"ring\"} 3",
        "perisco_lost_bytes_total{reason=\"ring\"} 4096",
        "perisco_payload_bytes_total 1099511627776",
        "perisco_build_info{version=\"0.1.0\",back_end=\"socket\"} 1",
        "# TYPE perisco_gaps gauge",
        "perisco_ready 0",
        "perisco_names{source=\"a \\\"b\\\"\\\\\\nc\"} 0.5",
    ] {
        let line = line.replace("0.1.0", env!("CARGO_PKG_VERSION"));
        assert!(old.lines().any(|found| found == line), "{line} is not in\n{old}");
    }
    assert!(!old.contains("lost_bytes_total{reason=\"table_full\"}"), "nobody counted those");
    assert!(!old.contains("EOF"));
    let new = render(&board, Format::OpenMetrics);
    assert!(
        new.contains("# TYPE perisco_lost_events counter\nperisco_lost_events_total{"),
        "{new}"
    );
    assert!(new.ends_with("\n# EOF\n"));
    let mut families: Vec<&str> =
        new.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count);
}

#[test]
fn what_is_taken_back_was_never_told() {
    let told = settled(&[loss("ring", 5, 500)], &[], &[]);
    assert_eq!(told, [loss("ring", 0, 0)], "it may be taken back");
    let told = settled(&[loss("ring", 4, 400)], &[loss("ring", 5, 500)], &told);
    assert_eq!(told, [loss("ring", 4, 400)]);
    let told = settled(&[loss("ring", 3, 300)], &[loss("ring", 4, 400)], &told);
    assert_eq!(told, [loss("ring", 4, 400)], "a counter never shrinks");
    let told = settled(&[loss("ring", 9, 900)], &[loss("ring", 9, 900)], &told);
    assert_eq!(told, [loss("ring", 9, 900)]);
}

fn serving(board: Board) -> (Arc<Board>, SocketAddr) {
    let board = Arc::new(board);
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let listening = serve::Listening::at(local).unwrap();
    let address = listening.address().unwrap();
    listening.answer(Arc::clone(&board)).unwrap();
    (board, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// All that is answered to these bytes.
fn said(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    said(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn health_follows_the_recording() {
    let (board, address) = serving(Board::default());
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    let early = get(address, "/readyz");
    assert!(early.starts_with("HTTP/1.1 503 ") && early.contains("being loaded"), "{early}");
    board.enter(Stage::Recording);
    assert!(get(address, "/readyz?verbose").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(address, "/metrics").contains("\nperisco_ready 1\n"));
    board.fail();
    for path in ["/healthz", "/readyz"] {
        let answer = get(address, path);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("failed"), "{answer}");
    }
}

#[test]
fn a_recording_that_stands_still_is_not_healthy() {
    let mut board = Board::default();
    board.enter(Stage::Recording);
    board.turned_ago(STUCK_AFTER - Duration::from_millis(100));
    assert_eq!(board.health(), Ok(()));
    board.turned_ago(STUCK_AFTER);
    assert_eq!(board.health(), Err("the recording has stood still for 10 s".to_owned()));
    board.turn();
    assert_eq!(board.health(), Ok(()));
    board.enter(Stage::Ending);
    assert_eq!(board.readiness(), Err("the recording is ending".to_owned()));
}

#[test]
fn odd_requests_get_an_answer_and_no_more() {
    let (_board, address) = serving(Board::default());
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\n\r\n".to_owned(), "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n".to_owned(), "405"),
        ("\0\x01\r\n\r\n".to_owned(), "400"),
        (format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat((8 << 10) - 26)), "431"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n".to_owned(), "200"),
    ] {
        let answer = said(address, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert_eq!(answer.ends_with("\r\n\r\n"), request.starts_with("HEAD"), "{answer}");
    }
    let open = said(
        address,
        "GET /metrics HTTP/1.1\r\nACCEPT: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\r\n",
    );
    assert!(open.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{open}");
}

#[test]
fn who_opens_connections_and_says_nothing_shuts_nobody_out() {
    let (_board, address) = serving(Board::default());
    let mut silent: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
    let begun = Instant::now();
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // Each is ended, too: at once or when its time is over.
    for stream in &mut silent {
        let mut nothing = Vec::new();
        assert!(matches!(stream.read_to_end(&mut nothing), Ok(0) | Err(_)));
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
