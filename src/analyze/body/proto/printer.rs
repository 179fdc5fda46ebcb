//! Messages in protobuf's text format: what is known by name, what is not by number.
//!
//! All that is added to what the format says (values read in another way, names of
//! status codes, places of faults) stands behind a `#`, as a comment.

use std::fmt::Write as _;

use super::wire::{Fault, Field, Fields, Value};
use crate::analyze::body::lines::{Lines, plural};
use crate::analyze::body::{Context, MessageType, Schemas, hex};
use crate::analyze::report::{escape, must_be_spelled};

/// Bytes of a value of unknown meaning that are shown.
const UNKNOWN_BYTES: usize = 64;

/// Numbers between these look like what somebody meant when they are read as floating point.
const SENSIBLE: std::ops::Range<f64> = 1e-6..1e15;

/// Prints messages.
#[derive(Debug)]
pub struct Printer<'p, 'c> {
    pub ctx: &'p Context<'c>,
    pub lines: &'p mut Lines,
}

/// Where a message is: its first byte in the whole body, the level of its lines, and how
/// many messages are around it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub base: usize,
    pub level: usize,
    pub depth: usize,
}

impl Place {
    /// Of a message within, whose first byte is at `base`.
    pub fn within(self, base: usize) -> Self {
        Self { base, level: self.level + 1, depth: self.depth + 1 }
    }
}

impl Printer<'_, '_> {
    /// A message of this type, or of none that is known.
    pub fn message(&mut self, bytes: &[u8], known: Option<&MessageType>, place: Place) {
        match known {
            Some(known) => self.typed(bytes, known, place),
            None => self.untyped(bytes, place),
        }
    }

    /// Without definitions (feature `proto`) there are no types.
    #[cfg(not(feature = "proto"))]
    fn typed(&mut self, _bytes: &[u8], known: &MessageType, _place: Place) {
        match *known {}
    }

    /// Fields by their numbers.
    fn untyped(&mut self, bytes: &[u8], place: Place) {
        for field in Fields::new(bytes, place.base) {
            match field {
                Ok(field) => self.unknown(&field, "", place),
                Err(fault) => self.fault(bytes, fault, place),
            }
        }
    }

    /// A field by its number, with what is to be said of it.
    pub fn unknown(&mut self, field: &Field<'_>, remark: &str, place: Place) {
        let number = field.number;
        let (text, reading) = match field.value {
            Value::Varint(value) => (value.to_string(), signed(value)),
            Value::Fixed64(value) => (format!("{value:#018x}"), fixed64(value)),
            Value::Fixed32(value) => (format!("{value:#010x}"), fixed32(value)),
            Value::Group(bytes) => return self.nested(number, bytes, field, remark, place),
            Value::Bytes(bytes) if is_message(bytes) => {
                return self.nested(number, bytes, field, remark, place);
            }
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if is_text(text) => (quoted(bytes), String::new()),
                _ => {
                    let digits = hex::digits(bytes, UNKNOWN_BYTES);
                    (format!("0x{digits}"), plural(bytes.len(), "byte"))
                }
            },
        };
        let remarks = [reading.as_str(), remark].map(str::trim);
        let remarks: Vec<_> = remarks.into_iter().filter(|text| !text.is_empty()).collect();
        let comment = comment(&remarks.join(", "));
        self.lines.push(place.level, &format!("{number}: {text}{comment}"));
    }

    fn nested(&mut self, number: u32, bytes: &[u8], field: &Field<'_>, remark: &str, place: Place) {
        let head = number.to_string();
        if self.open(&head, remark, bytes, field.value_at, place) {
            self.untyped(bytes, place.within(field.value_at));
            self.lines.push(place.level, "}");
        }
    }

    /// Writes the line that opens a message; false where it is nested too deep, and shown as bytes.
    pub fn open(
        &mut self,
        head: &str,
        remark: &str,
        bytes: &[u8],
        at: usize,
        place: Place,
    ) -> bool {
        let comment = comment(remark);
        if place.depth < self.ctx.limits.depth {
            self.lines.push(place.level, &format!("{head} {{{comment}"));
            return true;
        }
        let digits = hex::digits(bytes, UNKNOWN_BYTES);
        self.lines.push(place.level, &format!("{head}: 0x{digits}{comment}"));
        self.lines.note(format!("at byte {at}: nested too deep to be shown"));
        false
    }

    /// What cannot be read as a field, and all behind it.
    pub fn fault(&mut self, bytes: &[u8], fault: Fault, place: Place) {
        let rest = bytes.get(fault.at.saturating_sub(place.base)..).unwrap_or_default();
        let count = plural(rest.len(), "byte");
        let digits = hex::digits(rest, UNKNOWN_BYTES);
        self.lines.push(place.level, &format!("# {count} from byte {}: {digits}", fault.at));
        let cut = if fault.early && self.ctx.cut { ", where the body is cut" } else { "" };
        self.lines.note(format!("at byte {}: {}{cut}", fault.at, fault.what));
    }

    /// A `google.protobuf.Any` by what it holds; false where it is none in the usual form.
    pub fn any(&mut self, bytes: &[u8], place: Place) -> bool {
        let (mut url, mut value) = (None, None);
        for field in Fields::new(bytes, place.base) {
            match field {
                Ok(Field { number: 1, value: Value::Bytes(bytes), .. }) if url.is_none() => {
                    url = std::str::from_utf8(bytes).ok();
                }
                Ok(Field { number: 2, value: Value::Bytes(bytes), value_at, .. })
                    if value.is_none() =>
                {
                    value = Some((bytes, value_at));
                }
                _ => return false,
            }
        }
        let Some(url) = url.filter(|url| is_type_url(url)) else { return false };
        let (value, at) = value.unwrap_or((&[], place.base + bytes.len()));
        let name = url.rsplit('/').next().unwrap_or_default();
        let known = self.known(name);
        let remark = if known.is_some() { "" } else { "of a type that is not known here" };
        if self.open(&format!("[{}]", escape(url)), remark, value, at, place) {
            self.message(value, known.as_ref(), place.within(at));
            self.lines.push(place.level, "}");
        }
        true
    }

    /// A type by its full name, of those loaded or built in.
    fn known(&self, name: &str) -> Option<MessageType> {
        let loaded = self.ctx.schemas.and_then(|schemas| schemas.message(name));
        loaded.or_else(|| Schemas::built_in().message(name))
    }
}

/// A remark as a comment, escaped.
pub fn comment(remark: &str) -> String {
    if remark.is_empty() { String::new() } else { format!("  # {}", escape(remark)) }
}

/// Whether the text format has such a name of a type.
fn is_type_url(url: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    url.contains('/') && !url.ends_with('/') && url.chars().all(plain)
}

/// A string or bytes in quotes: UTF-8 as it is, other bytes as octal digits.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Writing to a String cannot fail.
            let _ = match c {
                '"' => out.write_str("\\\""),
                '\\' => out.write_str("\\\\"),
                '\n' => out.write_str("\\n"),
                '\r' => out.write_str("\\r"),
                '\t' => out.write_str("\\t"),
                c if c.is_ascii_control() => write!(out, "\\{:03o}", u32::from(c)),
                c if must_be_spelled(c) && u32::from(c) > 0xffff => {
                    write!(out, "\\U{:08x}", u32::from(c))
                }
                c if must_be_spelled(c) => write!(out, "\\u{:04x}", u32::from(c)),
                c => out.write_char(c),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\{byte:03o}");
        }
    }
    out.push('"');
    out
}

/// Whether bytes of unknown meaning are better read as a message: they are one from end to
/// end, and no text that somebody would write on one line.
fn is_message(bytes: &[u8]) -> bool {
    let line = std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(char::is_control));
    !bytes.is_empty() && !line && Fields::are_whole(bytes)
}

/// Whether a text has nothing but what text has.
fn is_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
}

/// A varint as a negative number, where it can hardly be another one: int32 and int64 have
/// the upper bits of all negative numbers set. What zigzag (sint64) makes of it is a number
/// as large, so it is as likely.
fn signed(value: u64) -> String {
    let negative = value.cast_signed();
    if negative >= 0 {
        return String::new();
    }
    let zigzag = zigzag(value);
    format!("{negative}, or {zigzag} as zigzag")
}

/// A number of sint32 or sint64.
pub fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn fixed64(value: u64) -> String {
    reading(f64::from_bits(value), value.to_string(), value.cast_signed())
}

fn fixed32(value: u32) -> String {
    // As short as an f32 is written.
    let float = f32::from_bits(value);
    let short = format!("{float:?}").parse().unwrap_or(f64::from(float));
    reading(short, value.to_string(), i64::from(value.cast_signed()))
}

fn reading(float: f64, whole: String, signed: i64) -> String {
    if SENSIBLE.contains(&float.abs()) {
        format!("{float:?}, or {whole}")
    } else if signed < 0 {
        format!("{whole}, or {signed}")
    } else {
        whole
    }
}
