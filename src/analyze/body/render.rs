//! Lines for a terminal, by content type.

#[cfg(test)]
mod tests;

use super::lines::Lines;
use super::text::{self, Charset, Odd};
use super::{Limits, MessageType, Schemas, hex, json, multipart, proto};
use crate::analyze::report::escape;

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
    let mut lines = Lines::new(&ctx.limits);
    let kind = write(bytes, &Media::parse(content_type), ctx, 0, &mut lines);
    lines.finish(kind)
}

/// What a content type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    sort: Sort,
    charset: Option<String>,
}

/// Content types that are shown alike.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sort {
    Json,
    JsonLines,
    Events,
    Form,
    Multipart(String),
    Text,
    Protobuf,
    Unknown,
}

impl Media {
    /// By the value of `Content-Type`.
    pub fn parse(value: Option<&str>) -> Self {
        let mut parts = value.unwrap_or_default().split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let (mut charset, mut boundary) = (None, None);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("charset") => charset = Some(value.to_owned()),
                name if name.eq_ignore_ascii_case("boundary") => boundary = Some(value.to_owned()),
                _ => {}
            }
        }
        Self { sort: Sort::of(&essence, boundary), charset }
    }

    /// The same, but not in parts.
    pub fn within(self) -> Self {
        match self.sort {
            Sort::Multipart(_) => Self { sort: Sort::Text, ..self },
            _ => self,
        }
    }
}

impl Sort {
    fn of(essence: &str, boundary: Option<String>) -> Self {
        match essence {
            "application/json" | "text/json" | "application/csp-report" => Self::Json,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/json-seq" => Self::JsonLines,
            "text/event-stream" => Self::Events,
            "application/x-www-form-urlencoded" => Self::Form,
            "application/protobuf"
            | "application/x-protobuf"
            | "application/proto"
            | "application/vnd.google.protobuf"
            | "application/grpc"
            | "application/grpc-web" => Self::Protobuf,
            "application/xml"
            | "application/javascript"
            | "application/x-javascript"
            | "application/ecmascript"
            | "application/yaml"
            | "application/x-yaml"
            | "application/toml"
            | "application/graphql"
            | "application/sql"
            | "application/x-sh"
            | "image/svg+xml" => Self::Text,
            _ if essence.ends_with("+json") => Self::Json,
            _ if essence.ends_with("+proto") || essence.ends_with("+protobuf") => Self::Protobuf,
            _ if essence.ends_with("+xml") || essence.ends_with("+yaml") => Self::Text,
            _ if essence.starts_with("text/") => Self::Text,
            _ if essence.starts_with("multipart/") => {
                boundary.filter(|name| !name.is_empty()).map_or(Self::Unknown, Self::Multipart)
            }
            _ => Self::Unknown,
        }
    }
}

/// Writes a body, or a part of one; says as what.
pub fn write(
    bytes: &[u8],
    media: &Media,
    ctx: &Context<'_>,
    level: usize,
    lines: &mut Lines,
) -> Kind {
    if bytes.is_empty() {
        return Kind::Empty;
    }
    let known = media.charset.as_deref().map(Charset::by_name);
    let charset = known.flatten().unwrap_or(Charset::Utf8);
    let odd = Odd::count(bytes, charset, ctx.cut);
    match &media.sort {
        Sort::Protobuf => {
            proto::print(bytes, ctx, level, lines);
            return Kind::Protobuf;
        }
        Sort::Multipart(boundary) if multipart::print(bytes, boundary, ctx, level, lines) => {
            return Kind::Multipart;
        }
        Sort::Unknown if !odd.is_none() => {}
        _ if odd.is_much(bytes.len()) => {
            lines.note(
                "not shown as the text that the content type says: too few of its \
                        bytes are"
                    .to_owned(),
            );
        }
        sort => {
            if let Some(None) = known {
                let name = escape(media.charset.as_deref().unwrap_or_default());
                lines.note(format!("charset {name} is not known here: shown as UTF-8"));
            }
            return text_like(bytes, sort, (charset, odd), ctx, level, lines);
        }
    }
    hex::dump(bytes, 0, level, &ctx.limits, lines);
    Kind::Hex
}

/// Writes what is text at least.
fn text_like(
    bytes: &[u8],
    sort: &Sort,
    (charset, odd): (Charset, Odd),
    ctx: &Context<'_>,
    level: usize,
    lines: &mut Lines,
) -> Kind {
    // A character that the end cuts is left to the text; JSON is UTF-8 whatever is said.
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let whole = odd.invalid == 0 && charset == Charset::Utf8;
    let kind = match sort {
        Sort::Json => match if whole { Ok(valid) } else { Err(valid.len()) } {
            Ok(text) => match json::print(bare(text), &ctx.limits, level, lines) {
                Ok(kind) => return kind,
                Err(stop) => {
                    lines.note(format!("no JSON: {}", place(text, stop)));
                    Kind::Text
                }
            },
            Err(at) => {
                lines.note(format!("no JSON: not UTF-8 at byte {at}"));
                Kind::Text
            }
        },
        Sort::JsonLines if whole => {
            text::json_lines(valid, ctx.cut, &ctx.limits, level, lines);
            return Kind::JsonLines;
        }
        Sort::Form if odd.is_none() && charset == Charset::Utf8 => {
            text::form(bytes, level, lines);
            return Kind::Form;
        }
        Sort::Unknown
            if bytes.trim_ascii_start().starts_with(b"{")
                || bytes.trim_ascii_start().starts_with(b"[") =>
        {
            if json::check(valid, &ctx.limits).is_ok()
                && let Ok(kind) = json::print(valid, &ctx.limits, level, lines)
            {
                return kind;
            }
            Kind::Text
        }
        Sort::Events => Kind::Events,
        _ => Kind::Text,
    };
    text::print(bytes, charset, odd, level, lines);
    kind
}

/// Without a byte order mark, which RFC 8259 lets a reader ignore.
fn bare(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Why a text is no JSON, with line and column.
fn place(text: &str, stop: json::Stop) -> String {
    let mark = text.len() - bare(text).len();
    let stop = match stop {
        json::Stop::Bad { at, expected } => json::Stop::Bad { at: at + mark, expected },
        json::Stop::Deep { at } => json::Stop::Deep { at: at + mark },
        json::Stop::Early => json::Stop::Early,
    };
    let (json::Stop::Bad { at, .. } | json::Stop::Deep { at }) = stop else {
        return text::why(stop);
    };
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{} (line {line}, column {column})", text::why(stop))
}
