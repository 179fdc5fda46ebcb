//! Messages by their definitions.
//!
//! The wire is read here and not by a reflecting parser, which gives no places, no order
//! of fields, and nothing at all of a message that is cut.

use prost_reflect::{Cardinality, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::printer::{Place, Printer, comment, quoted, zigzag};
use super::schemas::MessageType;
use super::wire::{Field, Fields, Value, little, varint};
use crate::time::Timestamp;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// What a definition says of a field.
struct Known {
    /// Its name as the text format has it.
    name: String,
    kind: Kind,
    repeated: bool,
    group: bool,
}

impl Known {
    fn of(message: &MessageDescriptor, number: u32) -> Option<Self> {
        let field = message.get_field(number).map(|field| Self::field(&field));
        field.or_else(|| message.get_extension(number).map(|field| Self::extension(&field)))
    }

    fn field(field: &FieldDescriptor) -> Self {
        let (kind, group) = (field.kind(), field.is_group());
        // A group goes by the name of its type.
        let name = match &kind {
            Kind::Message(message) if group => message.name().to_owned(),
            _ => field.name().to_owned(),
        };
        Self { name, kind, repeated: field.cardinality() == Cardinality::Repeated, group }
    }

    fn extension(field: &ExtensionDescriptor) -> Self {
        Self {
            name: format!("[{}]", field.full_name()),
            kind: field.kind(),
            repeated: field.cardinality() == Cardinality::Repeated,
            group: field.is_group(),
        }
    }
}

impl Printer<'_, '_> {
    /// Fields by their names.
    pub(super) fn typed(&mut self, bytes: &[u8], known: &MessageType, place: Place) {
        let message = &known.0;
        if message.full_name() == "google.protobuf.Any" && self.any(bytes, place) {
            return;
        }
        for field in Fields::new(bytes, place.base) {
            match field {
                Ok(field) => self.field(&field, message, place),
                Err(fault) => self.fault(bytes, fault, place),
            }
        }
    }

    fn field(&mut self, field: &Field<'_>, message: &MessageDescriptor, place: Place) {
        let Some(known) = Known::of(message, field.number) else {
            let remark = format!("at byte {}: not in {}", field.at, message.full_name());
            return self.unknown(field, &remark, place);
        };
        if let (Kind::Message(within), Value::Bytes(bytes) | Value::Group(bytes)) =
            (&known.kind, field.value)
            && known.group == matches!(field.value, Value::Group(_))
        {
            let remark = meaning(within, bytes);
            if self.open(&known.name, &remark, bytes, field.value_at, place) {
                let within = MessageType(within.clone());
                self.typed(bytes, &within, place.within(field.value_at));
                self.lines.push(place.level, "}");
            }
            return;
        }
        let line = match field.value {
            Value::Bytes(bytes) if known.repeated && is_packed(&known.kind) => {
                packed(&known, bytes)
            }
            value => scalar(&known.kind, value).map(|text| format!("{}: {text}", known.name)),
        };
        match line {
            Some(line) => self.lines.push(place.level, &line),
            None => {
                let name = &known.name;
                let remark = format!("at byte {}: not as {name} is defined", field.at);
                self.lines.note(remark.clone());
                self.unknown(field, &remark, place);
            }
        }
        if let (Kind::String, Value::Bytes(bytes)) = (&known.kind, field.value)
            && std::str::from_utf8(bytes).is_err()
        {
            self.lines.note(format!("at byte {}: {} is not UTF-8", field.value_at, known.name));
        }
    }
}

/// A value as its kind is written; none where its wire type is another.
fn scalar(kind: &Kind, value: Value<'_>) -> Option<String> {
    Some(match (kind, value) {
        // Parsers drop the upper half of what should be 32 bits.
        (Kind::Int32, Value::Varint(v)) => (v as u32).cast_signed().to_string(),
        (Kind::Int64, Value::Varint(v)) => v.cast_signed().to_string(),
        (Kind::Uint32, Value::Varint(v)) => (v as u32).to_string(),
        (Kind::Uint64, Value::Varint(v)) => v.to_string(),
        (Kind::Sint32, Value::Varint(v)) => zigzag(u64::from(v as u32)).to_string(),
        (Kind::Sint64, Value::Varint(v)) => zigzag(v).to_string(),
        (Kind::Bool, Value::Varint(v)) => (v != 0).to_string(),
        (Kind::Enum(known), Value::Varint(v)) => {
            let number = (v as u32).cast_signed();
            match known.get_value(number) {
                Some(value) => value.name().to_owned(),
                None => format!("{number}{}", comment(&format!("not in {}", known.full_name()))),
            }
        }
        (Kind::Fixed32, Value::Fixed32(v)) => v.to_string(),
        (Kind::Sfixed32, Value::Fixed32(v)) => v.cast_signed().to_string(),
        (Kind::Float, Value::Fixed32(v)) => float(f32::from_bits(v)),
        (Kind::Fixed64, Value::Fixed64(v)) => v.to_string(),
        (Kind::Sfixed64, Value::Fixed64(v)) => v.cast_signed().to_string(),
        (Kind::Double, Value::Fixed64(v)) => float(f64::from_bits(v)),
        (Kind::String | Kind::Bytes, Value::Bytes(bytes)) => quoted(bytes),
        _ => return None,
    })
}

/// As Rust writes it, but for NaN.
fn float(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").replace("NaN", "nan")
}

/// Whether repeated values of a kind may stand in one field.
fn is_packed(kind: &Kind) -> bool {
    !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_))
}

/// Values that stand in one field; none where they do not end with it.
fn packed(known: &Known, bytes: &[u8]) -> Option<String> {
    let mut texts = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (value, len) = match known.kind {
            Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => {
                (Value::Fixed32(little(rest.get(..4)?) as u32), 4)
            }
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
                (Value::Fixed64(little(rest.get(..8)?)), 8)
            }
            _ => {
                let (value, len) = varint(rest).ok()?;
                (Value::Varint(value), len)
            }
        };
        rest = rest.get(len..)?;
        let text = scalar(&known.kind, value)?;
        // A comment would hide what follows.
        texts.push(text.split("  #").next().unwrap_or_default().to_owned());
    }
    Some(format!("{}: [{}]", known.name, texts.join(", ")))
}

/// What a well-known message stands for.
fn meaning(message: &MessageDescriptor, bytes: &[u8]) -> String {
    let name = message.full_name();
    if !matches!(name, "google.protobuf.Timestamp" | "google.protobuf.Duration") {
        return String::new();
    }
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for field in Fields::new(bytes, 0) {
        match field {
            Ok(Field { number: 1, value: Value::Varint(v), .. }) => seconds = v.cast_signed(),
            Ok(Field { number: 2, value: Value::Varint(v), .. }) => {
                nanos = i64::from((v as u32).cast_signed());
            }
            _ => return String::new(),
        }
    }
    let Some(all) = seconds.checked_mul(SECOND).and_then(|all| all.checked_add(nanos)) else {
        return String::new();
    };
    if name == "google.protobuf.Timestamp" {
        let mut text = Vec::new();
        Timestamp::from_nanos(all).write_rfc3339(&mut text);
        return String::from_utf8(text).unwrap_or_default();
    }
    let sign = if all < 0 { "-" } else { "" };
    let (whole, part) = (all.unsigned_abs() / 1_000_000_000, all.unsigned_abs() % 1_000_000_000);
    let part = format!("{part:09}");
    let part = part.trim_end_matches('0');
    let dot = if part.is_empty() { "" } else { "." };
    format!("{sign}{whole}{dot}{part} s")
}
