//! Lines for a terminal, by content type.

use super::lines::Lines;
use super::{Limits, MessageType, Schemas, hex};

/// What is known of a body besides its bytes and its content type.
#[derive(Clone, Debug, Default)]
pub struct Context<'a> {
    /// The message definitions that were loaded, for messages within messages.
    pub schemas: Option<&'a Schemas>,
    /// The type of a protobuf body: [`Schemas::request`], [`Schemas::response`].
    pub message: Option<MessageType>,
    /// The bytes are the beginning of a longer body: its end is no error.
    pub cut: bool,
    /// How much is shown.
    pub limits: Limits,
}

/// A body as lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// As what it is shown, which need not be what the content type says.
    pub kind: Kind,
    /// Lines without line feeds and other control characters; those that
    /// reorder or hide text are spelled out too.
    pub lines: Vec<String>,
    /// What the lines do not show or what is wrong with the bytes, a
    /// sentence each, with places counted in bytes of the body from 0. Escaped as lines are.
    pub notes: Vec<String>,
}

/// As what a body is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing to show.
    Empty,
    /// One JSON value, indented.
    Json,
    /// JSON values, one on a line (NDJSON, JSON lines, JSON text sequences).
    JsonLines,
    /// Server-sent events.
    Events,
    /// Names and values of a form.
    Form,
    /// Parts, each with its headers.
    Multipart,
    /// Any other text.
    Text,
    /// protobuf, with names or by field numbers.
    Protobuf,
    /// Offset, hexadecimal and ASCII.
    Hex,
}

impl Kind {
    /// Its name, for output that machines read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Json => "json",
            Self::JsonLines => "json-lines",
            Self::Events => "events",
            Self::Form => "form",
            Self::Multipart => "multipart",
            Self::Text => "text",
            Self::Protobuf => "protobuf",
            Self::Hex => "hex",
        }
    }
}

/// A decoded body as lines, by its content type; without one by what it looks like.
///
/// For gRPC (`application/grpc…`) `bytes` are one message without its prefix:
/// see [`super::grpc::messages`].
pub fn render(bytes: &[u8], content_type: Option<&str>, ctx: &Context<'_>) -> Rendered {
    let _ = content_type;
    let mut lines = Lines::new(&ctx.limits);
    hex::dump(bytes, &ctx.limits, &mut lines);
    let kind = if bytes.is_empty() { Kind::Empty } else { Kind::Hex };
    lines.finish(kind)
}
