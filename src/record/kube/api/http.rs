//! HTTP/1.1 as far as lists and watches need it: one GET a connection, over
//! TLS with the cluster's own CA, with a deadline on every wait. Blocking, for
//! threads of its own.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::super::Shared;

/// To connect, and for each step of TLS.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Until the head of an answer is here. API servers under load take their time.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// How often a wait looks whether it is still wanted.
const TICK: Duration = Duration::from_millis(500);

/// Largest head of an answer.
const MAX_HEAD: usize = 32 << 10;

/// Longest line before a chunk.
const MAX_CHUNK_LINE: usize = 256;

/// Largest token; those of service accounts have some thousand characters.
const MAX_TOKEN: usize = 16 << 10;

/// A peer that vanished is noticed after ten seconds and three probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// The API server, and who we are to it.
pub struct Server {
    host: String,
    port: u16,
    tls: bool,
    account: PathBuf,
    /// The CA's file as it was read, and what was made of it.
    config: Mutex<Option<(Vec<u8>, Arc<ClientConfig>)>>,
}

impl Server {
    /// From `https://HOST:PORT` and the folder of the service account; `http` is
    /// for proxies on the same host.
    pub fn new(url: &str, account: &Path) -> Result<Self, String> {
        let (tls, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(format!("{url} is not the address of an API server")),
        };
        let authority = rest.trim_end_matches('/');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (authority, Some(if tls { 443 } else { 80 })),
        };
        let port = port.ok_or_else(|| format!("{url} has no valid port"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let near =
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if !tls && !near {
            return Err(format!("{url}: the token goes to another host over TLS only"));
        }
        Ok(Self { host, port, tls, account: account.into(), config: Mutex::new(None) })
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The token, read each time: the kubelet replaces it.
    pub fn token(&self) -> Result<String, String> {
        let path = self.account.join("token");
        let token = std::fs::read_to_string(&path).map_err(|error| said(&path, error))?;
        let token = token.trim();
        if token.is_empty()
            || token.len() > MAX_TOKEN
            || !token.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(format!("{} is not a token", path.display()));
        }
        Ok(token.to_owned())
    }

    /// TLS by the CA's file as it is now.
    pub fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let path = self.account.join("ca.crt");
        let pem = std::fs::read(&path).map_err(|error| said(&path, error))?;
        let mut held = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((old, config)) = held.as_ref()
            && *old == pem
        {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| said(&path, error))?;
            roots.add(certificate).map_err(|error| said(&path, error))?;
        }
        if roots.is_empty() {
            return Err(format!("{} has no certificate", path.display()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        *held = Some((pem, Arc::clone(&config)));
        Ok(config)
    }

    /// Asks for `target`; gives the answer's status and body. Gives up when
    /// `wanted` is gone.
    pub fn get(&self, target: &str, wanted: &Weak<Shared>) -> Result<(u16, Body), String> {
        let token = self.token()?;
        let mut wire = Wire {
            stream: self.connect(wanted)?,
            buffer: Vec::new(),
            start: 0,
            wanted: wanted.clone(),
            deadline: Instant::now() + HEAD_PATIENCE,
        };
        let bracketed =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: {bracketed}:{}\r\nauthorization: Bearer {token}\r\n\
             accept: application/json\r\nuser-agent: perisco/{}\r\nconnection: close\r\n\r\n",
            self.port,
            env!("CARGO_PKG_VERSION"),
        );
        wire.stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        wire.stream.flush().map_err(|error| error.to_string())?;
        let (status, framing) = wire.head()?;
        Ok((status, Body { wire, framing }))
    }

    fn connect(&self, wanted: &Weak<Shared>) -> Result<Box<dyn Stream>, String> {
        let addresses = (self.host.as_str(), self.port).to_socket_addrs();
        let addresses = addresses.map_err(|error| format!("{}: {error}", self.host))?;
        let mut failure = format!("{} has no address", self.host);
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
                Ok(socket) => {
                    prepare(&socket).map_err(|error| error.to_string())?;
                    return if self.tls {
                        self.shake(socket, wanted)
                    } else {
                        Ok(Box::new(socket))
                    };
                }
                Err(error) => failure = format!("{address}: {error}"),
            }
        }
        Err(failure)
    }

    fn shake(
        &self,
        mut socket: TcpStream,
        wanted: &Weak<Shared>,
    ) -> Result<Box<dyn Stream>, String> {
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let mut tls =
            ClientConnection::new(self.tls()?, name).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + CONNECT_PATIENCE;
        while tls.is_handshaking() {
            match tls.complete_io(&mut socket) {
                Ok(_) => {}
                Err(error)
                    if is_tick(&error)
                        && Instant::now() < deadline
                        && wanted.strong_count() > 0 => {}
                Err(error) => return Err(format!("TLS: {error}")),
            }
        }
        Ok(Box::new(StreamOwned::new(tls, socket)))
    }
}

/// A socket, or TLS over one.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    socket.set_read_timeout(Some(TICK))?;
    socket.set_write_timeout(Some(CONNECT_PATIENCE))?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    Ok(())
}

fn said(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn is_tick(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// A connection and what was read ahead.
struct Wire {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    start: usize,
    wanted: Weak<Shared>,
    deadline: Instant,
}

impl Wire {
    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads more; 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let old = self.buffer.len();
        loop {
            if self.wanted.strong_count() == 0 {
                return Err(io::Error::other("not wanted any more"));
            }
            if Instant::now() >= self.deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "nothing was said for too long",
                ));
            }
            self.buffer.resize(old + READ_BYTES, 0);
            let read = self.stream.read(&mut self.buffer[old..]);
            self.buffer.truncate(old + *read.as_ref().unwrap_or(&0));
            match read {
                // rustls and sockets say so when a read's time is over: nothing is lost.
                Err(error) if is_tick(&error) => {}
                other => return other,
            }
        }
    }

    /// A line of at most `most` bytes, without its end.
    fn line(&mut self, most: usize) -> io::Result<Vec<u8>> {
        loop {
            let ahead = self.ahead();
            let end = memchr::memchr(b'\n', ahead);
            if end.unwrap_or(ahead.len()) > most {
                return Err(io::Error::other("a line that is too long"));
            }
            if let Some(end) = end {
                let line = ahead[..end].strip_suffix(b"\r").unwrap_or(&ahead[..end]).to_vec();
                self.start += end + 1;
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn head(&mut self) -> Result<(u16, Framing), String> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(self.ahead()).map_err(|error| format!("not HTTP: {error}"))? {
                httparse::Status::Complete(length) => {
                    let status = response.code.unwrap_or_default();
                    let framing = framing(response.headers)?;
                    self.start += length;
                    // 1xx: the answer is yet to come.
                    if status >= 200 {
                        return Ok((status, framing));
                    }
                }
                httparse::Status::Partial if self.ahead().len() > MAX_HEAD => {
                    return Err("a head that is too large".to_owned());
                }
                httparse::Status::Partial => match self.fill() {
                    Ok(0) => return Err("closed before an answer".to_owned()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                },
            }
        }
    }
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes of a chunk are left; None before the first.
    Chunked(Option<u64>),
    /// With the connection, or it is over.
    Close,
    Over,
}

fn framing(headers: &[httparse::Header<'_>]) -> Result<Framing, String> {
    let value = |name: &str| {
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
    };
    match value("transfer-encoding").as_deref() {
        Some("chunked") => return Ok(Framing::Chunked(None)),
        Some(other) => return Err(format!("transfer-encoding {other}")),
        None => {}
    }
    match value("content-length") {
        Some(length) => {
            let length = length.parse().map_err(|_| format!("content-length {length}"))?;
            Ok(Framing::Length(length))
        }
        None => Ok(Framing::Close),
    }
}

/// The body of an answer. Ends with an error where it was cut off.
pub struct Body {
    wire: Wire,
    framing: Framing,
}

impl Body {
    /// The status and body of an answer that is all there.
    #[cfg(test)]
    pub fn of(stream: Box<dyn Stream>, wanted: &Weak<Shared>) -> Result<(u16, Self), String> {
        let deadline = Instant::now() + HEAD_PATIENCE;
        let wanted = Weak::clone(wanted);
        let mut wire = Wire { stream, buffer: Vec::new(), start: 0, wanted, deadline };
        let (status, framing) = wire.head()?;
        Ok((status, Self { wire, framing }))
    }

    /// Reads fail when nothing was to be had until then.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.wire.deadline = deadline;
    }

    /// Bytes that can be read without waiting for another chunk's line.
    fn left(&mut self) -> io::Result<u64> {
        loop {
            match self.framing {
                Framing::Length(left) => return Ok(left),
                Framing::Close => return Ok(u64::MAX),
                Framing::Over => return Ok(0),
                Framing::Chunked(Some(left)) if left > 0 => return Ok(left),
                Framing::Chunked(ended) => {
                    if ended.is_some() {
                        self.wire.line(2)?;
                    }
                    let line = self.wire.line(MAX_CHUNK_LINE)?;
                    let line = String::from_utf8_lossy(&line);
                    let digits = line.split(';').next().unwrap_or_default().trim();
                    let size = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
                    self.framing =
                        if size == 0 { Framing::Over } else { Framing::Chunked(Some(size)) };
                }
            }
        }
    }
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        if left == 0 || out.is_empty() {
            return Ok(0);
        }
        if self.wire.ahead().is_empty() && self.wire.fill()? == 0 {
            return match self.framing {
                Framing::Close => Ok(0),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let taken = self.wire.ahead().len().min(most);
        out[..taken].copy_from_slice(&self.wire.ahead()[..taken]);
        self.wire.start += taken;
        match &mut self.framing {
            Framing::Length(left) | Framing::Chunked(Some(left)) => *left -= taken as u64,
            _ => {}
        }
        Ok(taken)
    }
}
