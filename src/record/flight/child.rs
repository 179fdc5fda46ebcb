//! Every process that a flight recorder starts, and how they lose their privileges.
//!
//! ```text
//! recorder ──starts once, before it locks itself in──→ host ──starts, and again──→ judge
//!    └──────────── socket: "start", with two pipes; "kill" ──┘                      │
//!    └──────────── pipes: blocks of the recording in, answers out ──────────────────┘
//! ```
//!
//! The recorder executes nothing after [`Host::start`]: it may drop capabilities and
//! forbid itself execve(2) and all files but the ring's then. The host is this binary
//! again; before it listens it has become another user, given up every capability and
//! what could bring one back. It starts judges from itself, one at a time, so they are
//! as little as it is, and hands over pipes that the recorder has made. It reads
//! nothing of the recording. Both end when the recorder does, however it ends.
//!
//! All of `std::process` for the flight recorder is in this file.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, pidfd_open, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// The hidden subcommand of the host.
pub const HOST: &str = "flight-host";

/// The hidden subcommand of a judge.
pub const JUDGE: &str = "flight-judge";

/// The user that owns nothing, where it has no name here.
const NOBODY: u32 = 65_534;

/// The longest message on the socket.
const MAX_MESSAGE: usize = 256;

/// The host is there within this, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// Memory of a judge: several times what an analysis takes with its usual limits.
const JUDGE_MEMORY: u64 = 2 << 30;

/// Open files of a judge: its pipes and what a library may open.
const JUDGE_FILES: u64 = 16;

/// The last capability that may exist: 63 of a mask of 64 bits.
const CAPABILITIES: u32 = 64;

/// The recorder's end.
#[derive(Debug)]
pub struct Host {
    socket: OwnedFd,
    child: Child,
}

impl Host {
    /// Starts it for judges of these expressions.
    ///
    /// # Errors
    ///
    /// This binary cannot be run, or does not get rid of its privileges.
    pub fn start(triggers: &[String]) -> io::Result<Self> {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("perisco").arg(HOST).arg("--").args(triggers);
        command.env_clear().current_dir("/");
        command.stdin(theirs).stdout(Stdio::null());
        // A signal to the terminal's foreground is the recorder's to act on.
        command.process_group(0);
        let child = command.spawn()?;
        drop(command);
        let host = Self { socket, child };
        match host.hear(PATIENCE)?.as_str() {
            "ready" => Ok(host),
            "" => Err(io::Error::other("the process for triggers ended before it began")),
            why => Err(io::Error::other(format!("the process for triggers: {why}"))),
        }
    }

    /// Starts a judge that reads `stream` and answers on `answers`.
    ///
    /// # Errors
    ///
    /// The host is gone.
    pub fn judge(&self, stream: BorrowedFd<'_>, answers: BorrowedFd<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let both = [stream, answers];
        control.push(SendAncillaryMessage::ScmRights(&both));
        sendmsg(&self.socket, &[IoSlice::new(b"start")], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Ends the judge, whatever it does.
    ///
    /// # Errors
    ///
    /// The host is gone.
    pub fn kill(&self) -> io::Result<()> {
        let none = &mut SendAncillaryBuffer::default();
        sendmsg(&self.socket, &[IoSlice::new(b"kill")], none, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// How the judge ended, as the host says within `patience`.
    ///
    /// # Errors
    ///
    /// It says nothing.
    pub fn hear(&self, patience: Duration) -> io::Result<String> {
        let until = Instant::now() + patience;
        let timeout = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: 0 };
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        if poll(&mut polled, Some(&timeout))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(receive(&self.socket)?.0)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It ends with the other end of the socket; this is for one that does not.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        for _ in 0..50 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message, and the descriptors that came with it.
fn receive(socket: impl AsFd) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut bytes = [0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let length = recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(found) = message {
            files.extend(found);
        }
    }
    let text = bytes.get(..length).unwrap_or_default();
    Ok((String::from_utf8_lossy(text).into_owned(), files))
}

/// A judge that runs, and what becomes readable when it ends.
type Judge = Option<(Child, OwnedFd)>;

/// The host's whole life; its socket is standard input. Returns the exit code.
pub fn host(triggers: &[OsString]) -> u8 {
    let socket = io::stdin();
    if let Err(error) = unprivileged() {
        // Nobody to tell: the recorder has ended.
        let _ = say(&socket, &format!("it cannot give up its privileges: {error}"));
        return 1;
    }
    let mut judge: Judge = None;
    let mut alive = say(&socket, "ready").is_ok();
    while alive {
        alive = turn(&socket, triggers, &mut judge).unwrap_or(false);
    }
    // The recorder has ended: so does the judge, if it has not at the end of its stream.
    if let Some((mut child, _)) = judge {
        let _ = child.kill();
        let _ = child.wait();
    }
    0
}

fn say(socket: impl AsFd, text: &str) -> io::Result<()> {
    let text = &text.as_bytes()[..text.floor_char_boundary(MAX_MESSAGE)];
    let none = &mut SendAncillaryBuffer::default();
    sendmsg(socket, &[IoSlice::new(text)], none, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for one thing and does it. Whether there is a recorder.
fn turn(socket: &io::Stdin, triggers: &[OsString], judge: &mut Judge) -> io::Result<bool> {
    let mut polled = vec![PollFd::new(socket, PollFlags::IN)];
    polled.extend(judge.iter().map(|(_, ended)| PollFd::new(ended, PollFlags::IN)));
    match poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let asked = polled.first().is_some_and(|socket| !socket.revents().is_empty());
    drop(polled);
    if let Some((child, _)) = judge
        && let Some(status) = child.try_wait()?
    {
        *judge = None;
        say(socket, &status.to_string())?;
        return Ok(true);
    }
    if !asked {
        return Ok(true);
    }
    let (message, files) = receive(socket)?;
    match (message.as_str(), <[OwnedFd; 2]>::try_from(files)) {
        ("start", Ok(pipes)) => match start(triggers, pipes) {
            Ok(started) => *judge = Some(started),
            Err(error) => {
                let hint = "everybody must be able to execute perisco";
                say(socket, &format!("it cannot be started: {error} ({hint})"))?;
            }
        },
        ("kill", _) => {
            if let Some((child, _)) = judge {
                child.kill()?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Starts a judge; it, and what becomes readable when it ends.
fn start(triggers: &[OsString], [stream, answers]: [OwnedFd; 2]) -> io::Result<(Child, OwnedFd)> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("perisco").arg(JUDGE).arg("--").args(triggers).env_clear();
    command.stdin(stream).stdout(answers).stderr(Stdio::null());
    let mut child = command.spawn()?;
    match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(ended) => Ok((child, ended)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error.into())
        }
    }
}

/// Becomes nobody, where this process may, and gives up every capability and
/// every way to get one back. To be called while there is one thread: the kernel
/// has these for each thread.
///
/// # Errors
///
/// Something could not be given up.
fn unprivileged() -> io::Result<()> {
    use rustix::process::{Gid, Uid};
    use rustix::thread;

    thread::set_no_new_privs(true)?;
    let held = thread::capabilities(None)?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..CAPABILITIES {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            // Beyond the last that this kernel has.
            if thread::remove_capability_from_bounding_set(one).is_err() {
                break;
            }
        }
    }
    if held.effective.contains(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        let user = uzers::get_user_by_name("nobody");
        let (uid, gid) =
            user.map_or((NOBODY, NOBODY), |user| (user.uid(), user.primary_group_id()));
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        thread::set_thread_groups(&[])?;
        thread::set_thread_res_gid(gid, gid, gid)?;
        thread::set_thread_res_uid(uid, uid, uid)?;
    }
    // Not on kernels before 4.3, which have none.
    let _ = thread::clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(set_capabilities(None, sets)?)
}

/// Bounds what a judge may take. Called by itself, before it reads anything.
///
/// # Errors
///
/// A limit could not be set.
pub fn confine() -> io::Result<()> {
    let limits = [
        (Resource::As, JUDGE_MEMORY),
        (Resource::Nofile, JUDGE_FILES),
        // Neither a process nor another thread.
        (Resource::Nproc, 0),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}
