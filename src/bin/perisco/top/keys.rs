//! Keys of the terminal, read on a thread of their own.
//!
//! Read here and not by crossterm, whose reader goes round for ever once the
//! terminal is gone (0.29: it takes neither the end of input nor an error for one).

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long the rest of an escape sequence may take before it is the key Esc.
const ESCAPE_WAIT: Duration = Duration::from_millis(25);

/// Bytes of a sequence that is not known; past it they are keys again.
const SEQUENCE_BYTES: usize = 16;

/// A key that somebody pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    /// With the control key: a lower case letter.
    Ctrl(char),
    Enter,
    Esc,
    Backspace,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// The terminal that keys come from: standard input, or the controlling
/// terminal where a capture comes from there.
///
/// # Errors
/// Where there is none.
pub fn terminal() -> io::Result<File> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return stdin.as_fd().try_clone_to_owned().map(File::from);
    }
    File::options().read(true).write(true).open("/dev/tty")
}

/// Reads keys until `take` wants no more or the terminal is gone.
pub fn read(mut terminal: File, mut take: impl FnMut(Key) -> bool) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 256];
    loop {
        let patience = (!bytes.is_empty()).then_some(ESCAPE_WAIT);
        let Some(ready) = wait(terminal.as_fd(), patience) else { return };
        if ready {
            match terminal.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        // Nothing more comes of what is not whole yet.
        while let Some((key, used)) = next(&bytes, !ready) {
            bytes.drain(..used);
            if !key.is_none_or(&mut take) {
                return;
            }
        }
    }
}

/// Waits for bytes; false where none came in time, None where the terminal is
/// gone.
fn wait(terminal: BorrowedFd<'_>, patience: Option<Duration>) -> Option<bool> {
    let timeout = patience.map(|wait| Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() });
    loop {
        let mut polled = [PollFd::from_borrowed_fd(terminal, PollFlags::IN)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(count) => {
                let is = polled.first().map_or(PollFlags::empty(), PollFd::revents);
                let gone = is.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
                return (!gone).then_some(count > 0);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// The first key of these bytes, None where they are no key that is known, and
/// how many bytes it has; None where more have to come first. `all`: no more do.
fn next(bytes: &[u8], all: bool) -> Option<(Option<Key>, usize)> {
    let first = *bytes.first()?;
    let key = match first {
        0x1b => return escape(bytes, all),
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x7f | 0x08 => Key::Backspace,
        1..=26 => Key::Ctrl(char::from(first + b'a' - 1)),
        0..0x20 => return Some((None, 1)),
        0x20..0x80 => Key::Char(char::from(first)),
        _ => return character(bytes, all),
    };
    Some((Some(key), 1))
}

/// A character of more than one byte.
fn character(bytes: &[u8], all: bool) -> Option<(Option<Key>, usize)> {
    let head = bytes.get(..4).unwrap_or(bytes);
    let chunk = head.utf8_chunks().next()?;
    if let Some(char) = chunk.valid().chars().next() {
        return Some((Some(Key::Char(char)), char.len_utf8()));
    }
    let is_whole = all || head.len() == 4 || chunk.invalid().len() < head.len();
    is_whole.then(|| (None, chunk.invalid().len().max(1)))
}

/// What begins with ESC: a sequence (ECMA-48 section 5.4, and SS3 of xterm), or the key.
fn escape(bytes: &[u8], all: bool) -> Option<(Option<Key>, usize)> {
    let key = Some((Some(Key::Esc), 1));
    match bytes.get(1) {
        None => return key.filter(|_| all),
        Some(b'[' | b'O') => {}
        Some(_) => return key,
    }
    let rest = bytes.get(2..).unwrap_or_default();
    let Some(at) = rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) else {
        return key.filter(|_| all || rest.len() > SEQUENCE_BYTES);
    };
    let number = rest.get(..at).unwrap_or_default();
    let key = match (rest.get(at).copied().unwrap_or_default(), number) {
        (b'A', _) => Some(Key::Up),
        (b'B', _) => Some(Key::Down),
        (b'C', _) => Some(Key::Right),
        (b'D', _) => Some(Key::Left),
        (b'H', _) | (b'~', b"1" | b"7") => Some(Key::Home),
        (b'F', _) | (b'~', b"4" | b"8") => Some(Key::End),
        (b'~', b"5") => Some(Key::PageUp),
        (b'~', b"6") => Some(Key::PageDown),
        (b'Z', _) => Some(Key::BackTab),
        (b'M', _) if bytes.get(1) == Some(&b'O') => Some(Key::Enter),
        _ => None,
    };
    Some((key, at + 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(mut bytes: &[u8], all: bool) -> Vec<Key> {
        let mut keys = Vec::new();
        while let Some((key, used)) = next(bytes, all) {
            keys.extend(key);
            bytes = &bytes[used..];
        }
        keys
    }

    #[test]
    fn keys_and_sequences() {
        assert_eq!(keys(b"q\x1b[A\x1bOB", false), [Key::Char('q'), Key::Up, Key::Down]);
        assert_eq!(keys(b"\x1b[5~\x1b[6~", false), [Key::PageUp, Key::PageDown]);
        assert_eq!(keys(b"\x1b[H\x1b[4~\x1b[Z", false), [Key::Home, Key::End, Key::BackTab]);
        assert_eq!(
            keys(b"\x03\r\x7f\t", false),
            [Key::Ctrl('c'), Key::Enter, Key::Backspace, Key::Tab]
        );
        assert_eq!(keys("é→".as_bytes(), false), [Key::Char('é'), Key::Char('→')]);
        // A mouse, a function key: nothing.
        assert_eq!(keys(b"\x1b[<0;1;1M\x1b[15~j", false), [Key::Char('j')]);
    }

    #[test]
    fn escape_waits_for_its_sequence() {
        assert_eq!(keys(b"\x1b", false), []);
        assert_eq!(keys(b"\x1b", true), [Key::Esc]);
        assert_eq!(keys(b"\x1b/", false), [Key::Esc, Key::Char('/')]);
        assert_eq!(keys(b"\x1b[", false), []);
        assert_eq!(keys(b"\x1b[", true), [Key::Esc, Key::Char('[')]);
        assert_eq!(keys(b"\xc3", false), []);
        assert_eq!(keys(b"\xc3", true), []);
        assert_eq!(keys(b"\xc3x", false), [Key::Char('x')]);
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while let Some((_, used)) = next(rest, true) {
                prop_assert!(used > 0);
                rest = &rest[used..];
            }
            prop_assert!(rest.is_empty());
        }
    }
}
