//! Bytes from a pipe, a device, a file or a test, without waiting for ever.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long to wait for a stream before giving the caller a turn: short
/// enough that a report on a terminal looks live and that a stop is obeyed
/// within 100 ms (this and [`STOP_GRACE`]).
pub(super) const TICK: Duration = Duration::from_millis(40);

/// After a stop, how long a stream may still bring bytes: a capturer in the
/// same pipeline gets the same Ctrl-C and writes what it holds back.
const STOP_GRACE: Duration = Duration::from_millis(50);

/// Whether to end early.
#[derive(Clone, Default)]
pub(super) struct Stop {
    flag: Option<Arc<AtomicBool>>,
    since: Option<Instant>,
}

impl Stop {
    /// Ends when `flag` is true.
    pub(super) fn new(flag: Option<Arc<AtomicBool>>) -> Self {
        Self { flag, since: None }
    }

    /// Whether a stop was asked for.
    pub(super) fn asked(&self) -> bool {
        self.flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Whether a stop was asked for and the time of grace is over.
    pub(super) fn due(&mut self) -> bool {
        self.asked() && self.since.get_or_insert_with(Instant::now).elapsed() >= STOP_GRACE
    }
}

/// What one look at a stream brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The end.
    End,
}

/// A place that bytes come from.
pub(super) struct ByteInput {
    kind: Kind,
    /// Bytes already taken from it, to be given out first.
    prefix: Vec<u8>,
    given: usize,
}

enum Kind {
    /// Always has bytes or is at its end.
    File(File),
    /// Likewise.
    Memory(Cursor<Vec<u8>>),
    /// May have nothing for a long time.
    Pipe(File),
    /// Whatever a caller brings; its `read` may block.
    Reader(Box<dyn Read + Send>),
}

impl ByteInput {
    /// A regular file, from its current position.
    pub(super) fn file(file: File) -> Self {
        Self::of(Kind::File(file))
    }

    /// Bytes in memory.
    pub(super) fn memory(bytes: Vec<u8>) -> Self {
        Self::of(Kind::Memory(Cursor::new(bytes)))
    }

    /// A pipe, socket or device.
    pub(super) fn pipe(file: File) -> Self {
        Self::of(Kind::Pipe(file))
    }

    /// Any reader.
    pub(super) fn reader(reader: Box<dyn Read + Send>) -> Self {
        Self::of(Kind::Reader(reader))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, prefix: Vec::new(), given: 0 }
    }

    /// Puts bytes that were read from it back before all others.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        let mut prefix = bytes.to_vec();
        prefix.extend_from_slice(self.prefix.get(self.given..).unwrap_or_default());
        self.prefix = prefix;
        self.given = 0;
    }

    /// Whether bytes may come at any time and for ever.
    pub(super) fn live(&self) -> bool {
        !matches!(self.kind, Kind::File(_) | Kind::Memory(_))
    }

    /// Whether a read would bring something (or the end) at once. A caller's
    /// reader cannot be asked, so it never says so.
    pub(super) fn ready(&self) -> bool {
        self.given < self.prefix.len()
            || match &self.kind {
                Kind::File(_) | Kind::Memory(_) => true,
                Kind::Pipe(file) => wait_readable(file, Duration::ZERO).unwrap_or(true),
                Kind::Reader(_) => false,
            }
    }

    /// Reads what there is into `buffer`, waiting up to `wait` for the first
    /// byte. `buffer` must not be empty.
    ///
    /// # Errors
    /// What the operating system or the reader says; never `Interrupted`.
    pub(super) fn read_within(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<Got> {
        if let Some(rest) = self.prefix.get(self.given..).filter(|rest| !rest.is_empty()) {
            let count = rest.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(rest) {
                *to = *from;
            }
            self.given += count;
            return Ok(Got::Bytes(count));
        }
        loop {
            let result = match &mut self.kind {
                Kind::File(file) => file.read(buffer),
                Kind::Memory(bytes) => bytes.read(buffer),
                Kind::Pipe(file) => {
                    if !wait_readable(file, wait)? {
                        return Ok(Got::Nothing);
                    }
                    file.read(buffer)
                }
                Kind::Reader(reader) => reader.read(buffer),
            };
            return match result {
                Ok(0) => Ok(Got::End),
                Ok(count) => Ok(Got::Bytes(count.min(buffer.len()))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A descriptor that was made non-blocking by its other users.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
                Err(error) => Err(error),
            };
        }
    }
}

/// Waits until `file` has bytes, is at its end or has an error to tell.
fn wait_readable(file: &File, wait: Duration) -> io::Result<bool> {
    let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    match poll(&mut polled, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_silent_pipe_gives_the_caller_a_turn() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut input = ByteInput::pipe(File::from(std::os::fd::OwnedFd::from(reader)));
        let mut buffer = [0; 8];
        assert_eq!(input.read_within(&mut buffer, Duration::from_millis(1)).unwrap(), Got::Nothing);
        writer.write_all(b"abc").unwrap();
        assert!(input.ready());
        assert_eq!(input.read_within(&mut buffer, TICK).unwrap(), Got::Bytes(3));
        input.unread(b"bc");
        assert_eq!(input.read_within(&mut buffer, TICK).unwrap(), Got::Bytes(2));
        assert_eq!(&buffer[..2], b"bc");
        drop(writer);
        assert_eq!(input.read_within(&mut buffer, TICK).unwrap(), Got::End);
    }

    #[test]
    fn a_stop_is_due_after_its_grace() {
        let flag = Arc::new(AtomicBool::new(false));
        let mut stop = Stop::new(Some(flag.clone()));
        assert!(!stop.due());
        flag.store(true, Ordering::Relaxed);
        assert!(stop.asked() && !stop.due());
        std::thread::sleep(STOP_GRACE);
        assert!(stop.due());
    }
}
