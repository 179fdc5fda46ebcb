//! Which file a process runs: a process of its own that does nothing but
//! answer that.
//!
//! `/proc/PID/exe` of others takes CAP_SYS_PTRACE, with which all of their
//! memory could be read, and Landlock forbids it whatever the capabilities. So
//! a child keeps the capability, can read links and nothing else (seccomp), and
//! is told process ids over a socket; the recorder keeps nothing.
//!
//! The same child reads the configuration file again, where there is one: of a
//! file that an editor puts into the place of another Landlock knows nothing.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{self, DumpableBehavior};
use rustix::thread::{self, CapabilitySet};

use super::{User, calls, capabilities};

/// The hidden subcommand that [`Lookup::start`] calls.
pub const LOOK_UP: &str = "look-up";

/// Largest answer: a link is a page at most, a configuration file a megabyte.
const MAX_ANSWER: u32 = 1 << 20;

/// Said instead of a length: there is no answer.
const NOTHING: u32 = u32::MAX;

/// Asks for the configuration file; process ids begin at 1.
const CONFIG: u32 = 0;

/// An answer takes some microseconds. Who does not answer in this time is asked
/// no more: the recorder waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The near end of the process; it ends with this.
#[derive(Debug)]
pub struct Lookup {
    socket: Mutex<Option<UnixStream>>,
}

impl Lookup {
    /// Starts the process, as `user`; it can read `config`, too.
    ///
    /// # Errors
    ///
    /// This binary cannot be run again.
    pub fn start(user: Option<&User>, config: Option<&Path>) -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_read_timeout(Some(PATIENCE))?;
        near.set_write_timeout(Some(PATIENCE))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("perisco").arg(LOOK_UP);
        if let Some(user) = user {
            command.arg(format!("--user={}:{}", user.uid, user.gid));
        }
        if let Some(config) = config {
            command.arg("--config").arg(std::path::absolute(config)?);
        }
        command.stdin(Stdio::from(OwnedFd::from(far))).stdout(Stdio::null());
        // Ctrl-C is the recorder's: there may be something to be asked until its end.
        command.current_dir("/").process_group(0);
        // It ends by itself when the recorder does, and is left to init then.
        drop(command.spawn()?);
        Ok(Self { socket: Mutex::new(Some(near)) })
    }

    /// The path of the file that process `pid` runs, in its own mount
    /// namespace. None if it is gone, or nobody may know.
    pub fn exe(&self, pid: u32) -> Option<String> {
        let path = self.ask(pid).filter(|_| pid != CONFIG)?;
        Some(String::from_utf8_lossy(&path).into_owned())
    }

    /// The configuration file as it is now.
    ///
    /// # Errors
    ///
    /// It cannot be read as the user who records.
    pub fn config(&self) -> io::Result<String> {
        let cannot = || io::Error::from(io::ErrorKind::PermissionDenied);
        let bytes = self.ask(CONFIG).ok_or_else(cannot)?;
        String::from_utf8(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn ask(&self, what: u32) -> Option<Vec<u8>> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        match exchange(socket.as_ref()?, what) {
            Ok(answer) => answer,
            Err(_) => {
                // A late answer would be taken for that to the next question.
                *socket = None;
                None
            }
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let socket = self.socket.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = socket {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn exchange(mut socket: &UnixStream, what: u32) -> io::Result<Option<Vec<u8>>> {
    socket.write_all(&what.to_le_bytes())?;
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = match u32::from_le_bytes(length) {
        NOTHING => return Ok(None),
        length if length > MAX_ANSWER => return Err(io::ErrorKind::InvalidData.into()),
        length => length,
    };
    let mut answer = vec![0; length as usize];
    socket.read_exact(&mut answer)?;
    Ok(Some(answer))
}

/// The process: answers on standard input until its other end is closed.
///
/// # Errors
///
/// It cannot shut itself in, and then answers nothing; or the socket fails.
pub fn answer(user: Option<&User>, config: Option<PathBuf>) -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        // systemd sends these to all processes of a service at once; the recorder has an end to write.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    shut_in(user, config.is_some())?;
    let mut socket = &socket;
    loop {
        let mut what = [0; 4];
        match socket.read_exact(&mut what) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            done => done?,
        }
        let answer = match u32::from_le_bytes(what) {
            CONFIG => config.as_deref().and_then(read),
            pid => std::fs::read_link(format!("/proc/{pid}/exe"))
                .ok()
                .map(|path| path.into_os_string().into_encoded_bytes()),
        };
        let length = answer.as_ref().map_or(NOTHING, |bytes| bytes.len() as u32);
        socket.write_all(&length.to_le_bytes())?;
        socket.write_all(answer.as_deref().unwrap_or_default())?;
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(u64::from(MAX_ANSWER) + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= MAX_ANSWER as usize).then_some(bytes)
}

/// CAP_SYS_PTRACE alone, if it is there at all, and a dozen system calls.
fn shut_in(user: Option<&User>, reads: bool) -> io::Result<()> {
    capabilities::drop_bounding();
    if let Some(user) = user {
        user.become_it()?;
    }
    let keep = capabilities::current()?.permitted & CapabilitySet::SYS_PTRACE;
    capabilities::set(keep, keep)?;
    process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    thread::set_no_new_privs(true)?;
    // Where the kernel has no filters the capability is still the only one.
    let _ = calls::enforce_lookup(reads);
    Ok(())
}
