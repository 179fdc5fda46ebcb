//! `/metrics`, `/healthz` and `/readyz` over HTTP/1.1, for whoever asks.
//!
//! One thread takes connections and starts a small one for each. All is
//! bounded: connections at once, the size of a request's head, and the time
//! that a connection may take. Nothing here holds up the recording
//! ([`Board`]).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Board;
use super::text::{self, Format};

/// Connections at once: some scrapers and probes. One more ends the oldest, so
/// that who opens many and says nothing shuts nobody out.
const MAX_CONNECTIONS: usize = 16;

/// What a request's head may have: Prometheus' is 500 bytes.
const MAX_HEAD: usize = 8 << 10;

/// Headers of a request.
const MAX_HEADERS: usize = 64;

/// A connection may take this long, whatever is said on it.
const PATIENCE: Duration = Duration::from_secs(5);

/// After a failed accept (no file descriptors): it would fail at once again.
const BREATHER: Duration = Duration::from_millis(200);

/// Between two looks whether a thread that was told to end has.
const ENDING: Duration = Duration::from_millis(1);

/// The thread of a connection needs no more.
const STACK: usize = 128 << 10;

/// An address that is listened at; whoever comes waits until it is answered.
#[derive(Debug)]
pub struct Listening(TcpListener);

impl Listening {
    /// Listens on `address`.
    ///
    /// # Errors
    ///
    /// It is taken, or not this machine's.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).map(Self)
    }

    /// The address with its port, which may have been 0.
    ///
    /// # Errors
    ///
    /// None that is known (getsockname(2)).
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    ///
    /// There is no thread.
    pub fn answer(self, board: Arc<Board>) -> io::Result<()> {
        thread("metrics", move || accept(&self.0, &board))
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run).map(drop)
}

fn accept(listener: &TcpListener, board: &Arc<Board>) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut recent: VecDeque<TcpStream> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(BREATHER);
            continue;
        };
        // A second handle, by which another connection can end this one.
        let Ok(handle) = stream.try_clone() else { continue };
        recent.push_back(handle);
        if recent.len() > MAX_CONNECTIONS
            && let Some(oldest) = recent.pop_front()
        {
            let _ = oldest.shutdown(Shutdown::Both);
        }
        // Threads that were told to end and have not yet: not too many of those.
        while open.load(Ordering::Relaxed) >= 2 * MAX_CONNECTIONS {
            std::thread::sleep(ENDING);
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (board, left) = (Arc::clone(board), Arc::clone(&open));
        let answer = move || {
            // Whoever is gone or slow gets nothing.
            let _ = talk(&stream, &board);
            let _ = stream.shutdown(Shutdown::Both);
            left.fetch_sub(1, Ordering::Relaxed);
        };
        if thread("scrape", answer).is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Reads one request and answers it.
fn talk(mut stream: &TcpStream, board: &Board) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let answer = loop {
        match parse(&head, board) {
            Some(answer) => break answer,
            None if head.len() >= MAX_HEAD => break plain("431 Request Header Fields Too Large"),
            None => {}
        }
        stream.set_read_timeout(Some(left(until)?))?;
        let mut bytes = [0; 1024];
        let room = bytes.len().min(MAX_HEAD - head.len());
        match stream.read(&mut bytes[..room])? {
            0 => return Ok(()),
            count => head.extend_from_slice(&bytes[..count]),
        }
    };
    let mut rest = answer.as_slice();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        let count = stream.write(rest)?;
        rest = &rest[count..];
    }
    Ok(())
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The answer to a request; None while its head is not whole.
fn parse(head: &[u8], board: &Board) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some(plain("400 Bad Request")),
    }
    let method = request.method.unwrap_or_default();
    if method != "GET" && method != "HEAD" {
        return Some(plain("405 Method Not Allowed"));
    }
    let accepts = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("accept"));
    let accept = accepts.map_or("", |header| std::str::from_utf8(header.value).unwrap_or_default());
    let target = request.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let mut answer = answer(path, accept, board);
    if method == "HEAD" {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        answer.truncate(end.map_or(answer.len(), |end| end + 4));
    }
    Some(answer)
}

fn answer(path: &str, accept: &str, board: &Board) -> Vec<u8> {
    match path {
        "/metrics" => {
            let format = Format::asked_for(accept);
            response("200 OK", format.content_type(), &text::render(board, format))
        }
        "/healthz" => state(board.health()),
        "/readyz" => state(board.readiness()),
        _ => response("404 Not Found", PLAIN, "try /metrics, /healthz or /readyz\n"),
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn state(state: Result<(), String>) -> Vec<u8> {
    match state {
        Ok(()) => response("200 OK", PLAIN, "ok\n"),
        Err(why) => response("503 Service Unavailable", PLAIN, &format!("{why}\n")),
    }
}

fn plain(status: &str) -> Vec<u8> {
    response(status, PLAIN, &format!("{status}\n"))
}

fn response(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
