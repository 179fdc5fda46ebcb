//! A command that is recorded from its first instruction: it is started
//! stopped, and goes on when the recorder watches.
//!
//! The child is this binary again ([`hold`]), which stops itself and then
//! becomes the command: its process id stays the same.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{self, Pid, Signal, WaitOptions};

/// Exit code when the command cannot be run, as shells have it: not
/// executable, or not found.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

/// The hidden subcommand that [`Held::start`] calls.
pub const HOLD: &str = "hold-exec";

/// A command that has not begun yet, or runs.
pub struct Held {
    child: Child,
    pid: Pid,
    name: String,
}

/// Where a command prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prints {
    /// Where the recorder does.
    #[default]
    Here,
    /// Standard output is the capture's, so all on standard error.
    OnStderr,
    /// Nowhere, and it reads nothing: the terminal is somebody else's.
    Nowhere,
}

impl Held {
    /// Starts it, stopped.
    ///
    /// # Errors
    ///
    /// This binary cannot be run again, or was killed at once.
    pub fn start(words: &[OsString], prints: Prints) -> io::Result<Self> {
        let name = words.first().map(|word| word.to_string_lossy().into_owned());
        let mut command = Command::new("/proc/self/exe");
        command.arg0("perisco").arg(HOLD).arg("--").args(words);
        match prints {
            Prints::Here => {}
            Prints::OnStderr => {
                command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
            }
            Prints::Nowhere => {
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            }
        }
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let status = process::waitpid(Some(pid), WaitOptions::UNTRACED)?;
        if !status.is_some_and(|(_, status)| status.stopped()) {
            return Err(io::Error::other("the command ended before it began"));
        }
        Ok(Self { child, pid, name: name.unwrap_or_default() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its first word.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets it begin.
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn go(&self) -> io::Result<()> {
        Ok(process::kill_process(self.pid, Signal::CONT)?)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    ///
    /// Somebody else has waited for it.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to end, as Ctrl-C of the recorder does to a command that is
    /// not in the terminal's foreground.
    pub fn interrupt(&self) {
        // One that has ended meanwhile needs no signal.
        let _ = process::kill_process(self.pid, Signal::INT);
    }
}

/// Stops this process until the recorder is ready, then becomes the command.
/// Returns the exit code only when that failed.
pub fn hold(words: &[OsString]) -> i32 {
    let Some((program, arguments)) = words.split_first() else { return NOT_FOUND };
    if process::kill_process(process::getpid(), Signal::STOP).is_err() {
        return CANNOT_RUN;
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("perisco: cannot run {}: {error}", program.to_string_lossy());
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
}
