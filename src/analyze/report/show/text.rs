//! The transaction for people. All that comes from the wire or from a file is
//! escaped before it reaches a terminal.

use super::content::{Block, codings};
use super::messages::Timed;
use super::{BOTH, Shown, name_of};
use crate::analyze::body::Rendered;
use crate::analyze::body::proto::status_details;
use crate::analyze::decode::Direction;
use crate::analyze::fields::{Field, Fields};
use crate::analyze::join::Joined;
use crate::analyze::kept::Kept;
use crate::analyze::owner::{End, Process};
use crate::analyze::report::text::style::{Paint, Style};
use crate::analyze::report::text::units::{count, duration, escape, plural, wrap};
use crate::analyze::report::{address_text, named, text_of};
use crate::analyze::transaction::{Completeness, Message, Outcome, Value};
use std::net::SocketAddr;

/// Columns of what a fact is called.
const NAMES: usize = 12;

/// Columns of the name and the frame of a bar.
const BAR_FRAME: usize = 14;

/// The transaction as text.
pub fn render(shown: &Shown<'_>, style: Style) -> String {
    let mut page = Page { shown, style, text: String::new() };
    page.headline();
    page.facts();
    page.timeline();
    for direction in BOTH {
        if direction == Direction::ToClient {
            page.interim();
        }
        page.message(direction);
    }
    page.text
}

/// Text of the wire, safe for a terminal.
fn safe(bytes: &[u8]) -> String {
    escape(&text_of(bytes))
}

struct Page<'a, 'b> {
    shown: &'b Shown<'a>,
    style: Style,
    text: String,
}

impl Page<'_, '_> {
    fn put(&mut self, paint: Option<Paint>, text: &str) {
        match self.style.ascii {
            true => {
                let plain = crate::analyze::report::text::plain(text);
                self.style.push(paint, &plain, &mut self.text);
            }
            false => self.style.push(paint, text, &mut self.text),
        }
    }

    fn line(&mut self, paint: Option<Paint>, text: &str) {
        self.put(paint, text);
        self.text.push('\n');
    }

    fn title(&mut self, text: &str, note: &str) {
        self.text.push('\n');
        self.put(Some(Paint::Bold), text);
        if !note.is_empty() {
            self.put(Some(Paint::Dim), &format!("  {note}"));
        }
        self.text.push('\n');
    }

    fn fact(&mut self, name: &str, paint: Option<Paint>, text: &str) {
        self.put(Some(Paint::Dim), &format!("  {name:NAMES$}"));
        self.line(paint, text);
    }

    fn headline(&mut self) {
        let t = self.shown.transaction();
        let text = |text: Option<&[u8]>| text.map_or("?".to_owned(), safe);
        let method = text(t.request_text(|m| m.method));
        let authority = t.request_text(|m| m.authority).map(safe).unwrap_or_default();
        let path = text(t.request_text(|m| m.path));
        // A target in absolute form, or that of CONNECT, says it itself.
        let host = if path.starts_with('/') || path == "*" { authority } else { String::new() };
        let id = self.shown.id();
        self.line(Some(Paint::Bold), &format!("{id}  {method} {host}{path}"));
    }

    fn facts(&mut self) {
        let watched = self.shown.watched;
        let t = self.shown.transaction();
        let [client, server] = &watched.ends;
        self.end("client", watched.client, client.end());
        self.end("server", watched.server, server.end());
        if let Some(joined) = &watched.joined {
            self.joined(joined);
        }
        let stream = t.stream.map_or(String::new(), |stream| format!(", stream {stream}"));
        self.fact("connection", None, &format!("{}{stream}", watched.connection));
        let over = match (t.protocol, t.stream) {
            ("grpc", Some(_)) => " over http/2",
            ("grpc", None) => " over http/1.1",
            _ => "",
        };
        self.fact("protocol", None, &format!("{}{over}", t.protocol));
        self.outcome();
        let paint = (t.completeness != Completeness::Complete).then_some(Paint::Alarm);
        self.fact("seen", paint, completeness(t.completeness));
        for (index, name) in t.anomalies.iter().enumerate() {
            self.fact(if index == 0 { "anomalies" } else { "" }, Some(Paint::Yellow), name);
        }
        for (name, value) in &t.attributes {
            let value = match value {
                Value::Number(value) => count(*value),
                Value::Text(text) => escape(text),
            };
            self.fact("attribute", None, &format!("{name}: {value}"));
        }
        if let Some(interface) = &watched.interface {
            self.fact("interface", None, &escape(interface));
        }
        if let Some(comment) = &watched.comment {
            self.fact("comment", None, &escape(comment));
        }
    }

    /// An end: its address and process, and where that runs.
    fn end(&mut self, name: &str, address: SocketAddr, end: End<'_>) {
        let process = end.process.map_or(String::new(), owner);
        self.fact(name, None, &(address_text(address) + &process));
        let further = [named::described(end), named::labels(end)];
        for text in further.into_iter().flatten() {
            for part in wrap(&escape(&text), ENDS) {
                self.fact("", None, &part);
            }
        }
    }

    /// The nodes of both ends, and where the latency went.
    fn joined(&mut self, joined: &Joined) {
        let [client, server] = joined.nodes.each_ref().map(|node| escape(node));
        let mut text = format!("{client} → {server}");
        if joined.server_as_seen != self.shown.watched.server {
            text += &format!(", called {}", address_text(joined.server_as_seen));
        }
        if joined.client_as_seen != self.shown.watched.client {
            text += &format!(", called by {}", address_text(joined.client_as_seen));
        }
        self.fact("nodes", None, &text);
        if let Some(split) = &joined.split {
            let [request, server, response, error] =
                [split.request_ns, split.server_ns, split.response_ns, split.error_ns]
                    .map(duration);
            let text = format!("request {request}, server {server}, response {response}");
            self.fact("", None, &format!("{text} (on the way give or take {error})"));
        }
    }

    /// Status, outcome and what gRPC says.
    fn outcome(&mut self) {
        let t = self.shown.transaction();
        let paint = match t.outcome {
            Outcome::Ok => None,
            Outcome::Unknown => Some(Paint::Yellow),
            _ => Some(Paint::Red),
        };
        let status = match t.status() {
            Some(status) => format!("{status}{}", reason(status)),
            None => "not seen".to_owned(),
        };
        self.fact("status", None, &status);
        if let Some(grpc) = &t.grpc {
            let code = grpc.status.map_or(String::new(), |code| format!("{code} "));
            self.fact("grpc status", paint, &format!("{code}{}", grpc.status_name()));
            if let Some(message) = grpc.message.as_ref().filter(|message| !message.is_empty()) {
                self.fact("", None, &escape(message));
            }
            let sent = plural(grpc.request_messages, "message", "messages");
            let kind = grpc.kind.unwrap_or("kind unknown");
            let text = format!("{kind}: {sent} sent, {} received", count(grpc.response_messages));
            self.fact("grpc call", None, &text);
            if let Some(timeout) = grpc.timeout_ns {
                self.fact("deadline", None, &duration(timeout));
            }
        }
        self.fact("outcome", paint, t.outcome.name());
    }

    fn timeline(&mut self) {
        let room = self.style.width.saturating_sub(BAR_FRAME + MAX_SAYS);
        let bars = self.shown.timeline(room, self.style.ascii);
        let start = self.shown.transaction().rank();
        let mut note = start.map_or("no time is known".to_owned(), |start| start.to_string());
        if let Some(span) = self.shown.span() {
            note += &format!(", {} in all", duration(span));
        }
        if let (Some(first), Some(start)) = (self.shown.capture_start, start) {
            let nanos = u64::try_from(start.since(first)).unwrap_or(0);
            note += &format!(", +{} into the capture", duration(nanos));
        }
        self.title("Timeline", &note);
        for bar in bars {
            self.put(Some(Paint::Dim), &format!("  {:9}|", bar.name));
            // Already in ASCII where that is asked for.
            let paint = if bar.stall { Some(Paint::Red) } else { None };
            self.style.push(paint, &bar.bar, &mut self.text);
            self.put(Some(Paint::Dim), "| ");
            self.line(paint, &bar.says);
        }
        let threshold = duration(self.shown.stall_nanos.unsigned_abs());
        let left_out = self.shown.stalls_left_out();
        let kept = BOTH.iter().any(|d| self.shown.message(*d).is_some_and(|m| m.body.is_some()));
        if left_out > 0 {
            let text = format!("  {left_out} shorter stalls are not shown; --format json has all");
            self.line(Some(Paint::Dim), &text);
        } else if self.shown.stalls().is_empty() && kept {
            let text = format!("  no pause of {threshold} or more within a message");
            self.line(Some(Paint::Dim), &text);
        }
    }

    fn interim(&mut self) {
        let t = self.shown.transaction();
        for head in &t.interim {
            let status = head.status.map_or("?".to_owned(), |status| status.to_string());
            let note = self.shown.since(head.start);
            self.title(&format!("Interim response {status}"), &note);
            self.fields(&head.head, "  ");
        }
        let all = t.attributes.iter().find(|(name, _)| *name == "http.informational");
        if let Some((_, Value::Number(all))) = all
            && *all > t.interim.len() as u64
        {
            let left = *all - t.interim.len() as u64;
            let text = format!("  {left} more interim responses are not shown");
            self.line(Some(Paint::Dim), &text);
        }
    }

    fn message(&mut self, direction: Direction) {
        let name = match direction {
            Direction::ToServer => "Request",
            Direction::ToClient => "Response",
        };
        let Some(message) = self.shown.message(direction) else {
            self.title(name, "");
            let text = format!("  no byte of the {} was seen", name_of(direction));
            return self.line(Some(Paint::Alarm), &text);
        };
        let end = match message.end {
            Some(end) => {
                format!("{} to {}", self.shown.since(message.start), self.shown.since(Some(end)))
            }
            None => format!("{}, its end was not seen", self.shown.since(message.start)),
        };
        self.title(name, &end);
        self.first_lines(direction, message);
        self.fields(&message.head, "  ");
        if !message.trailers.is_empty() || message.trailers.is_cut() {
            self.line(Some(Paint::Dim), "  trailers");
            self.fields(&message.trailers, "    ");
        }
        self.body(direction, message);
    }

    fn body(&mut self, direction: Direction, message: &Message) {
        if message.body_bytes == 0 && message.body.as_deref().is_none_or(Kept::is_empty) {
            return;
        }
        let mut note = plural(message.body_bytes, "byte", "bytes");
        let codings = codings(message);
        if !codings.is_empty() {
            note += &format!(", coded: {}", escape(&codings));
        }
        if !self.shown.bodies {
            note += ", not shown (--no-bodies)";
        }
        self.line(Some(Paint::Dim), &format!("  body  {note}"));
        if !self.shown.bodies {
            return;
        }
        for block in self.shown.blocks(direction) {
            match block {
                Block::Message(nth, timed, rendered) => {
                    self.grpc(direction, nth, &timed, &rendered)
                }
                Block::Bytes(at, rendered) => {
                    let kind = rendered.kind.name();
                    let from = if at > 0 { format!(", from byte {at}") } else { String::new() };
                    self.line(Some(Paint::Dim), &format!("    {kind}{from}"));
                    self.rendered(&rendered);
                }
                Block::Note(note) => self.line(Some(Paint::Alarm), &format!("    {note}")),
            }
        }
    }

    fn grpc(&mut self, direction: Direction, nth: usize, timed: &Timed<'_>, rendered: &Rendered) {
        let message = &timed.message;
        let what = if message.is_trailers() { "trailers" } else { "message" };
        let compressed = if message.is_compressed() { ", compressed" } else { "" };
        let mut at = self.shown.since(timed.first);
        match timed.last {
            Some(last) if timed.first != timed.last => {
                at += &format!(" to {}", self.shown.since(Some(last)))
            }
            Some(_) => {}
            None => at += ", its end was not seen",
        }
        let sender = if direction == Direction::ToServer { "client" } else { "server" };
        let size = plural(u64::from(message.len), "byte", "bytes");
        self.put(Some(Paint::Bold), &format!("    {what} {nth} of the {sender}"));
        self.line(Some(Paint::Dim), &format!("  {at}, {size}{compressed}"));
        self.rendered(rendered);
        if message.missing() > 0 {
            let missing = plural(message.missing() as u64, "byte of it is", "bytes of it are");
            self.line(Some(Paint::Alarm), &format!("      {missing} not here"));
        }
    }

    /// Lines, which the renderer has escaped.
    fn rendered(&mut self, rendered: &Rendered) {
        for line in &rendered.lines {
            let indent = if line.is_empty() { "" } else { "      " };
            self.line(None, &format!("{indent}{line}"));
        }
        for note in &rendered.notes {
            self.line(Some(Paint::Yellow), &format!("      ({note})"));
        }
    }

    /// The first line of HTTP/1, the pseudo-headers of HTTP/2.
    fn first_lines(&mut self, direction: Direction, message: &Message) {
        let t = self.shown.transaction();
        let text = |text: Option<&[u8]>| text.map_or("?".to_owned(), safe);
        let status = || message.status.map_or("?".to_owned(), |status| status.to_string());
        if t.stream.is_none() {
            // The protocol is the request's, and an answer may be of another version.
            let asked = direction == Direction::ToServer;
            let minor = message.minor.or(asked.then(|| u8::from(t.protocol != "http/1.0")));
            let version = minor.map_or("HTTP/1.?".to_owned(), |minor| format!("HTTP/1.{minor}"));
            let line = match direction {
                Direction::ToServer => {
                    let method = text(message.text(message.method));
                    format!("  {method} {} {version}", text(message.text(message.path)))
                }
                Direction::ToClient => format!("  {version} {}", status()),
            };
            return self.line(Some(Paint::Bold), &line);
        }
        let pseudo = match direction {
            Direction::ToServer => [
                (":method", message.method),
                (":scheme", message.scheme),
                (":authority", message.authority),
                (":path", message.path),
            ]
            .into_iter()
            .filter_map(|(name, span)| Some((name, safe(message.text(span)?))))
            .collect(),
            Direction::ToClient => vec![(":status", status())],
        };
        for (name, value) in pseudo {
            self.put(Some(Paint::Bold), &format!("  {name}"));
            self.line(None, &format!(": {value}"));
        }
    }

    /// Field lines as they were sent.
    fn fields(&mut self, fields: &Fields, indent: &str) {
        for Field { name, value } in fields.iter() {
            self.put(Some(Paint::Bold), &format!("{indent}{}", safe(name)));
            match value {
                Some([]) => self.line(None, ":"),
                Some(value) => self.line(None, &format!(": {}", safe(value))),
                None => self.line(Some(Paint::Yellow), ": (its value could not be resolved)"),
            }
            if let Some(value) = value.filter(|_| name.eq_ignore_ascii_case(STATUS_DETAILS)) {
                self.rendered(&status_details(value, self.shown.context));
            }
        }
        if fields.is_cut() {
            let text = format!("{indent}more fields were sent than are here");
            self.line(Some(Paint::Alarm), &text);
        }
    }
}

/// Holds a message of its own: what went wrong, for programs.
const STATUS_DETAILS: &[u8] = b"grpc-status-details-bin";

/// Columns that are left for what a bar says.
const MAX_SAYS: usize = 36;

/// Columns of a line of what is known of an end.
const ENDS: usize = 100;

/// The process at an end, for behind its address.
fn owner(process: &Process) -> String {
    let mut text = String::new();
    if let Some(label) = process.label() {
        text += &format!("  {}", escape(&label));
    }
    if let Some(exe) = &process.exe {
        text += &format!("  {}", escape(exe));
    }
    if let Some(uid) = process.uid {
        text += &format!("  uid {uid}");
    }
    if let Some(container) = &process.container {
        text += &format!("  container {}", escape(container));
    }
    text
}

/// The name of a status, with a blank before it.
fn reason(status: u16) -> String {
    let code = http::StatusCode::from_u16(status).ok();
    let reason = code.and_then(|code| code.canonical_reason());
    reason.map_or(String::new(), |reason| format!(" {reason}"))
}

/// What completeness means.
const fn completeness(completeness: Completeness) -> &'static str {
    match completeness {
        Completeness::Complete => "complete: every byte of both messages",
        Completeness::Gap => "gap: bytes inside it were not captured",
        Completeness::Truncated => {
            "truncated: cut by the end of the capture or connection, or by a limit"
        }
        Completeness::LateJoin => {
            "late-join: it, or a header table that it needs, began before the capture"
        }
        Completeness::Unpaired => "unpaired: only one of request and response was seen",
    }
}
