//! The transaction for programs: the line of `jsonl` and what show adds.

use super::content::Block;
use super::{Shown, name_of};
use crate::analyze::body::Rendered;
use crate::analyze::decode::Direction;
use crate::analyze::fields::Fields;
use crate::analyze::kept::Kept;
use crate::analyze::report::json::write_document;
use crate::analyze::report::jsonl::bodies;
use crate::analyze::report::{Parts, jsonl, text_of};
use crate::analyze::transaction::Message;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Version of the document; raised when a name changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// Writes the document: all transactions of one id.
///
/// # Errors
/// What `out` returns.
pub fn write(all: &[Shown<'_>], out: &mut dyn Write) -> io::Result<()> {
    let transactions: Vec<_> = all.iter().map(transaction).collect();
    write_document(&json!({ "schema": SCHEMA, "transactions": transactions }), out)
}

fn transaction(shown: &Shown<'_>) -> Value {
    let mut line = Vec::new();
    jsonl::write(&shown.item(), Parts { headers: true, bodies: false }, &mut line);
    // Our own line is JSON; null would show that it is not.
    let line: Value = serde_json::from_slice(&line).unwrap_or_default();
    let interim: Vec<_> = shown.transaction().interim.iter().map(interim).collect();
    let stalls = shown.stalls().into_iter().map(|stall| {
        json!({
            "message": name_of(stall.direction),
            "after_bytes": stall.after,
            "from": stall.from.to_string(),
            "to": stall.to.to_string(),
            "ns": stall.nanos(),
        })
    });
    json!({
        "transaction": line,
        "interim": interim,
        "stall_ns": shown.stall_nanos,
        "stalls": stalls.collect::<Vec<_>>(),
        "request": body(shown, Direction::ToServer),
        "response": body(shown, Direction::ToClient),
    })
}

/// What was kept of a message's body: null where nothing of the message was seen,
/// and where bodies are not shown.
fn body(shown: &Shown<'_>, direction: Direction) -> Value {
    let Some(message) = shown.message(direction).filter(|_| shown.bodies) else {
        return Value::Null;
    };
    let none = Kept::default();
    let kept = message.body.as_deref().unwrap_or(&none);
    let mut body = Vec::new();
    bodies::body(message, &mut body);
    let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let pieces = kept.pieces().iter().map(|piece| {
        json!({
            "at": piece.at,
            "first": piece.first.to_string(),
            "last": piece.last.to_string(),
        })
    });
    let shown: Vec<_> = shown.blocks(direction).into_iter().map(block).collect();
    if let Some(body) = body.as_object_mut() {
        body.insert("pieces".to_owned(), pieces.collect());
        body.insert("pieces_within_ns".to_owned(), kept.grain().into());
        body.insert("shown".to_owned(), shown.into());
    }
    body
}

/// A part of a body: `what` says which.
fn block(block: Block<'_>) -> Value {
    match block {
        Block::Message(nth, timed, lines) => json!({
            "what": if timed.message.is_trailers() { "trailers" } else { "message" },
            "number": nth,
            "at": timed.message.at,
            "bytes": timed.message.len,
            "missing": timed.message.missing(),
            "compressed": timed.message.is_compressed(),
            "first": timed.first.map(|at| at.to_string()),
            "last": timed.last.map(|at| at.to_string()),
            "rendered": rendered(&lines),
        }),
        Block::Bytes(at, lines) => json!({
            "what": "bytes",
            "at": at,
            "rendered": rendered(&lines),
        }),
        Block::Note(text) => json!({ "what": "note", "text": text }),
    }
}

fn rendered(rendered: &Rendered) -> Value {
    json!({
        "kind": rendered.kind.name(),
        "lines": rendered.lines,
        "notes": rendered.notes,
    })
}

fn interim(head: &Message) -> Value {
    json!({
        "status": head.status,
        "start": head.start.map(|at| at.to_string()),
        "headers": fields(&head.head),
    })
}

fn fields(fields: &Fields) -> Value {
    fields.iter().map(|field| json!([text_of(field.name), field.value.map(text_of)])).collect()
}
