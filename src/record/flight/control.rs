//! The control socket of a ring: `.control` in its folder.
//!
//! A line is asked, a line is answered, and that is all of a connection. Only the
//! recorder's own user and root are heard: the socket is theirs by its mode, and the
//! kernel says who is at the other end (SO_PEERCRED, unix(7)).
//!
//! | asked | answered |
//! |---|---|
//! | `flush FROM` | `ok flushed`, when all until now is in the files; `ok late` if the recording stands still. Segments from FROM on (nanoseconds of CLOCK_BOOTTIME) leave last while the connection is open |
//! | `trigger NAME` | `ok begun`, `ok joined` or `ok refused`, when it is known what is kept |
//!
//! Anything else is answered by `error` and why.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with, sockopt,
};

use super::answers::{next_line, plain};
use super::gate::Gate;
use super::incident::Fate;
use super::keeper::Event;
use super::store::Store;

/// The socket's name: hidden, so that `DIR/*` has captures only.
const SOCKET: &str = ".control";

/// For the recorder's user only.
const MODE: u32 = 0o600;

/// Connections at once: savers of some people.
const MAX_CONNECTIONS: usize = 8;

/// Connections that wait for those.
const BACKLOG: i32 = 16;

/// How long a question or an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the recording may take to flush.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// How long a saver may hold segments.
const HOLD: Duration = Duration::from_secs(600);

/// The longest name of a caller, characters.
const MAX_NAME: usize = 64;

/// After a failed accept (no file descriptors): it would fail at once again.
const BREATHER: Duration = Duration::from_millis(200);

/// The thread of a connection needs no more.
const STACK: usize = 256 << 10;

/// What a connection may do.
#[derive(Clone)]
pub struct Control {
    /// The ring.
    pub store: Arc<Store>,
    /// Asks the recording to flush.
    pub gate: Arc<Gate>,
    /// Who keeps captures.
    pub events: SyncSender<Event>,
}

/// The socket by a path that is short enough (108 bytes, unix(7)), whatever the folder's is.
/// The folder is to stay open while the path is used.
fn short(folder: &Path) -> io::Result<(File, PathBuf)> {
    let open = File::open(folder)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd()));
    Ok((open, path))
}

impl Control {
    /// Listens in the ring's folder until the process ends.
    ///
    /// # Errors
    ///
    /// There can be no socket.
    pub fn serve(self) -> io::Result<()> {
        let (folder, path) = short(self.store.folder())?;
        // The folder is locked: what is there is of a recorder that has ended.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Before it has a name: it is never anybody else's, not for a moment.
        rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(MODE))?;
        bind(&socket, &SocketAddrUnix::new(&path)?)?;
        listen(&socket, BACKLOG)?;
        drop(folder);
        let listener = UnixListener::from(socket);
        let run = move || self.accept(&listener);
        std::thread::Builder::new().name("control".to_owned()).stack_size(STACK).spawn(run)?;
        Ok(())
    }

    fn accept(self, listener: &UnixListener) {
        let open = Arc::new(AtomicUsize::new(0));
        loop {
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(BREATHER);
                continue;
            };
            if open.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
                let _ = (&stream).write_all(b"error too many at once\n");
                continue;
            }
            open.fetch_add(1, Ordering::Relaxed);
            let (control, left) = (self.clone(), Arc::clone(&open));
            let talk = move || {
                // Whoever is gone or slow gets nothing.
                let _ = control.talk(&stream);
                left.fetch_sub(1, Ordering::Relaxed);
            };
            let thread = std::thread::Builder::new().name("caller".to_owned()).stack_size(STACK);
            if thread.spawn(talk).is_err() {
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn talk(&self, stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut out = stream;
        if !is_ours(stream) {
            return out.write_all(b"error only the recorder's user and root are heard\n");
        }
        let Some(line) = next_line(&mut BufReader::new(stream)) else {
            return out.write_all(b"error no line of at most 1024 bytes\n");
        };
        let line = line.trim_end();
        match line.split_once(' ').unwrap_or((line, "")) {
            ("flush", from) => match from.parse() {
                Ok(from) => self.flush(from, stream),
                Err(_) => out.write_all(b"error flush: a number of nanoseconds\n"),
            },
            ("trigger", name) => out.write_all(self.trigger(name).as_bytes()),
            _ => out.write_all(b"error there are: flush FROM, trigger NAME\n"),
        }
    }

    fn flush(&self, from: i64, mut stream: &UnixStream) -> io::Result<()> {
        let held = self.store.pin(from, i64::MAX);
        let done = self.gate.flush(FLUSH_PATIENCE);
        stream.write_all(if done { b"ok flushed\n" } else { b"ok late\n" })?;
        // Until the other end is closed: nothing more is said on it.
        stream.set_read_timeout(Some(HOLD))?;
        let _ = stream.read(&mut [0])?;
        drop(held);
        Ok(())
    }

    fn trigger(&self, name: &str) -> String {
        let name: String = plain(name.trim()).chars().take(MAX_NAME).collect();
        let name = if name.is_empty() { "call".to_owned() } else { name };
        let (tell, answer) = sync_channel(1);
        if self.events.try_send(Event::Called { name, answer: Some(tell) }).is_err() {
            return "error the recorder is busy or ends\n".to_owned();
        }
        match answer.recv_timeout(PATIENCE) {
            Ok(Fate::Begun) => "ok begun\n".to_owned(),
            Ok(Fate::Joined) => "ok joined\n".to_owned(),
            Ok(Fate::Refused) => "ok refused\n".to_owned(),
            Err(_) => "error the recorder does not answer\n".to_owned(),
        }
    }
}

/// Whether the other end is this user, or root.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid();
    sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}

/// A recorder that was asked, and has answered.
#[derive(Debug)]
pub struct Asked {
    /// What comes after `ok`.
    pub answer: String,
    /// While it is open segments are held.
    _stream: UnixStream,
}

/// Asks the recorder of this folder; None if none is running.
///
/// # Errors
///
/// It cannot be asked, or refuses.
pub fn ask(folder: &Path, line: &str) -> io::Result<Option<Asked>> {
    let (open, path) = short(folder)?;
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) => {
            use io::ErrorKind::{ConnectionRefused, NotFound};
            let nobody = matches!(error.kind(), ConnectionRefused | NotFound);
            return if nobody { Ok(None) } else { Err(error) };
        }
    };
    stream.set_read_timeout(Some(PATIENCE * 2))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A recorder is whose the folder is, where it was not made by this user or root.
    let owner = rustix::process::Uid::from_raw(open.metadata()?.uid());
    let is_owner = sockopt::socket_peercred(&stream).is_ok_and(|peer| peer.uid == owner);
    if !is_owner && !is_ours(&stream) {
        return Err(io::Error::other("somebody else listens there"));
    }
    (&stream).write_all(format!("{line}\n").as_bytes())?;
    let Some(said) = next_line(&mut BufReader::new(&stream)) else {
        return Err(io::Error::other("the recorder does not answer"));
    };
    match said.trim_end().split_once(' ') {
        Some(("ok", answer)) => Ok(Some(Asked { answer: answer.to_owned(), _stream: stream })),
        Some(("error", why)) => Err(io::Error::other(format!("the recorder says: {why}"))),
        _ => Err(io::Error::other("what answers is no recorder")),
    }
}
