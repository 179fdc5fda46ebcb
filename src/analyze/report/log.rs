//! `log`: one line per event, as it happened.
//!
//! `TIME SERVER CLIENT KIND TEXT`, single spaces between, the text last. The
//! text comes from the wire: whatever a terminal could act on is escaped here
//! once more, whoever built it.

use std::net::SocketAddr;

use super::write::{push_address, push_time};
use crate::time::Timestamp;

/// What a line of the log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// A connection was seen for the first time.
    Conn,
    /// Something went from the client to the server.
    Request,
    /// Something went from the server to the client.
    Response,
    /// A connection is over.
    Close,
}

impl LogKind {
    /// As it stands in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conn => "CONN",
            Self::Request => "REQUEST",
            Self::Response => "RESPONSE",
            Self::Close => "CLOSE",
        }
    }

    /// The ANSI colour sequence of the kind.
    const fn color(self) -> &'static str {
        match self {
            Self::Conn => "\x1b[32m",
            Self::Request => "\x1b[36m",
            Self::Response => "\x1b[35m",
            Self::Close => "\x1b[33m",
        }
    }
}

/// One event of the log.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// Capture time; `-` in the log where the capture has none.
    pub at: Option<Timestamp>,
    /// The server's address and port.
    pub server: SocketAddr,
    /// The client's address and port.
    pub client: SocketAddr,
    /// What it is about.
    pub kind: LogKind,
    /// The decoded line.
    pub text: &'a str,
}

impl LogLine<'_> {
    /// Appends the line, its line feed included; `color` asks for ANSI colours.
    pub fn write(&self, color: bool, out: &mut Vec<u8>) {
        let paint = |code: &str, out: &mut Vec<u8>| {
            if color {
                out.extend_from_slice(code.as_bytes());
            }
        };
        paint("\x1b[2m", out);
        match self.at {
            Some(at) => push_time(out, at),
            None => out.push(b'-'),
        }
        paint("\x1b[0m", out);
        out.push(b' ');
        push_address(out, self.server);
        out.push(b' ');
        push_address(out, self.client);
        out.push(b' ');
        paint(self.kind.color(), out);
        out.extend_from_slice(self.kind.name().as_bytes());
        paint("\x1b[0m", out);
        if !self.text.is_empty() {
            out.push(b' ');
            push_escaped(out, self.text);
        }
        out.push(b'\n');
    }
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let safe = |byte: &u8| (0x20..0x7f).contains(byte);
    if text.as_bytes().iter().all(safe) {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.extend_from_slice(super::text::escape(text).as_bytes());
    }
}
