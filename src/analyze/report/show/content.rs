//! Bodies as they are shown: decoded and rendered by `analyze/body`, up to what is
//! missing and behind it.

use super::Shown;
use super::messages::{Split, Timed, split};
use crate::analyze::body::{Context, Decoded, Rendered, Schemas, State, decode, render};
use crate::analyze::decode::Direction;
use crate::analyze::kept::{Cut, Kept, Part};
use crate::analyze::report::text_of;
use crate::analyze::transaction::Message;

/// A part of a body.
pub enum Block<'a> {
    /// A gRPC message, and what it came to.
    Message(usize, Timed<'a>, Rendered),
    /// Bytes that were captured, from a place in the body on.
    Bytes(u64, Rendered),
    /// Something to say.
    Note(String),
}

impl<'a> Shown<'a> {
    /// What is shown of a message's body; nothing where it has none or none is
    /// kept.
    pub fn blocks(&self, direction: Direction) -> Vec<Block<'a>> {
        let Some(message) = self.message(direction) else { return Vec::new() };
        let Some(kept) = message.body.as_deref().filter(|_| message.body_bytes > 0) else {
            return Vec::new();
        };
        let mut blocks = Vec::new();
        if self.is_call() {
            self.messages(direction, message, kept, &mut blocks);
        } else {
            self.plain(message, kept, &mut blocks);
        }
        if let Some(Cut::Limit | Cut::Total) = kept.cut() {
            let (kept, all) = (kept.bytes().len(), message.body_bytes);
            blocks.push(Block::Note(format!(
                "only {kept} of {all} bytes were kept (--bodies=LIMIT)"
            )));
        }
        if message.end.is_none() {
            blocks.push(Block::Note("its end was not seen".to_owned()));
        }
        blocks
    }

    /// Whether bodies are length-prefixed messages; those of gRPC-Web's text form
    /// are base64.
    fn is_call(&self) -> bool {
        let of = |message: &Message| {
            let value = message.head.value("content-type").unwrap_or_default();
            memchr::memmem::find(&value.to_ascii_lowercase(), b"grpc-web-text").is_some()
        };
        let t = self.transaction();
        t.grpc.is_some() && !t.request.iter().chain(&t.response).any(of)
    }

    fn messages(
        &self,
        direction: Direction,
        message: &Message,
        kept: &'a Kept,
        blocks: &mut Vec<Block<'a>>,
    ) {
        let Split { messages, stopped } = split(kept);
        for (index, timed) in messages.into_iter().enumerate() {
            let rendered = self.rendered(direction, message, &timed);
            blocks.push(Block::Message(index + 1, timed, rendered));
        }
        if let Some(why) = stopped {
            blocks.push(Block::Note(format!("no more messages are told apart: {why}")));
        }
    }

    /// What a gRPC message comes to.
    pub fn rendered(&self, direction: Direction, message: &Message, timed: &Timed<'_>) -> Rendered {
        let encoding = message.head.value("grpc-encoding").map(text_of);
        let decoded = timed.message.decode(encoding.as_deref(), &self.context.limits);
        let kind = message.head.value("content-type").map(|kind| kind.to_ascii_lowercase());
        let kind = match kind {
            _ if timed.message.is_trailers() => "text/plain",
            Some(kind) if kind.ends_with(b"+json") => "application/json",
            _ => "application/x-protobuf",
        };
        let path = self.transaction().request_text(|m| m.path).map(text_of);
        let schemas = self.context.schemas.zip(path);
        let of = schemas.and_then(|(schemas, path)| match direction {
            Direction::ToServer => schemas.request(&path),
            Direction::ToClient => schemas.response(&path),
        });
        let unknown = of.is_none() && self.context.schemas.is_some_and(Schemas::are_given);
        let context = Context { message: of, ..self.context.clone() };
        let mut rendered = self.lines(&decoded, Some(kind), context);
        if unknown && kind == "application/x-protobuf" {
            rendered.notes.push("its method is not in the definitions given".to_owned());
        }
        rendered
    }

    /// A body that is not of messages.
    fn plain(&self, message: &Message, kept: &'a Kept, blocks: &mut Vec<Block<'a>>) {
        let kind = message.head.value("content-type").map(text_of);
        let codings = codings(message);
        let coded = !codings.is_empty();
        let mut first = true;
        for part in kept.parts() {
            match part {
                Part::Missing(gap) => blocks.push(Block::Note(match gap.bytes {
                    Some(bytes) => format!("{bytes} bytes at byte {} were not captured", gap.at),
                    None => {
                        format!("bytes at byte {} were not captured, nobody knows how many", gap.at)
                    }
                })),
                Part::Bytes(at, bytes) if !first && coded => blocks.push(Block::Note(format!(
                    "{} bytes from byte {at} on cannot be decoded without those before",
                    bytes.len()
                ))),
                Part::Bytes(at, bytes) => {
                    let decoded = decode(bytes, &codings, &self.context.limits);
                    let rest = kept.len() > at + bytes.len() as u64 || message.end.is_none();
                    let context = Context { cut: rest, ..self.context.clone() };
                    // Behind a gap nothing is a whole document any more.
                    let kind = if first { kind.as_deref() } else { Some("text/plain") };
                    blocks.push(Block::Bytes(at, self.lines(&decoded, kind, context)));
                }
            }
            first = false;
        }
    }

    /// Decoded bytes as lines, with a note where decoding ended early.
    fn lines(&self, decoded: &Decoded<'_>, kind: Option<&str>, context: Context<'_>) -> Rendered {
        let cut = context.cut || decoded.state != State::Whole;
        let mut rendered = render(&decoded.bytes, kind, &Context { cut, ..context });
        rendered.notes.extend(state(&decoded.state));
        rendered
    }
}

/// What to say of how far a body could be decoded.
pub fn state(state: &State) -> Option<String> {
    let escape = crate::analyze::report::text::escape;
    match state {
        State::Whole => None,
        State::Truncated => Some("it ends early".to_owned()),
        State::Capped => Some("it is longer when decoded than is shown".to_owned()),
        State::Damaged { coding, at } => Some(format!("it is no {coding} any more at byte {at}")),
        State::Unknown(name) => Some(format!("its coding `{}` is not known", escape(name))),
    }
}

/// All content codings of a message, in order.
pub fn codings(message: &Message) -> String {
    let fields =
        message.head.iter().filter(|field| field.name.eq_ignore_ascii_case(b"content-encoding"));
    let values: Vec<_> = fields.filter_map(|field| field.value.map(text_of)).collect();
    values.join(",")
}
