//! Event texts: one line per frame, one per header field.

use std::fmt::Write as _;

use crate::analyze::decode::http2::frame::{
    ACK, END_HEADERS, END_STREAM, Head, Kind, PADDED, PRIORITY, error_name, goaway, number,
    setting_name, settings, stream_id,
};
use crate::analyze::decode::http2::hpack::Field;
use crate::analyze::decode::http2::hpack::table::Name;

/// Bytes of DATA that are shown.
const DATA_BYTES: usize = 64;
/// Settings that are shown of one frame.
const SETTINGS: usize = 32;

/// `HEADERS END_STREAM|END_HEADERS stream=1 len=45`, and what a control
/// frame says.
pub fn frame(head: &Head, payload: &[u8]) -> String {
    let mut text = String::from(head.kind.name());
    if let Kind::Unknown(kind) = head.kind {
        let _ = write!(text, "(0x{kind:02x})");
    }
    flags(head, &mut text);
    let _ = write!(text, " stream={} len={}", head.stream, head.length);
    match head.kind {
        Kind::Settings => {
            for (id, value) in settings(payload).take(SETTINGS) {
                let _ = match setting_name(id) {
                    Some(name) => write!(text, " {name}={value}"),
                    None => write!(text, " 0x{id:x}={value}"),
                };
            }
        }
        Kind::RstStream => {
            if let Some(code) = number(payload) {
                let _ = write!(text, " {}", error_name(code));
            }
        }
        Kind::GoAway => {
            if let Some((last, code)) = goaway(payload) {
                let _ = write!(text, " last={last} {} ", error_name(code));
                escape(payload.get(8..).unwrap_or_default(), &mut text);
                text.truncate(text.trim_end().len());
            }
        }
        Kind::WindowUpdate => {
            if let Some(increment) = stream_id(payload) {
                let _ = write!(text, " +{increment}");
            }
        }
        _ => {}
    }
    text
}

/// As [`frame`], with the beginning of the content.
pub fn data(head: &Head, content: &[u8]) -> String {
    let mut text = frame(head, &[]);
    if !content.is_empty() {
        text.push(' ');
        escape(content.get(..DATA_BYTES).unwrap_or(content), &mut text);
    }
    text
}

/// `  :method: GET`; `(unknown)` for a value that is not known.
pub fn field(field: Field<'_>) -> String {
    let mut text = String::from("  ");
    match field.name {
        Name::Known(name) => escape(name, &mut text),
        Name::Unknown(id) => {
            let _ = write!(text, "?n{id}");
        }
    }
    text.push_str(": ");
    match field.value {
        Some(value) => escape(value, &mut text),
        None => text.push_str("(unknown)"),
    }
    text
}

fn flags(head: &Head, text: &mut String) {
    let names: &[(u8, &str)] = match head.kind {
        Kind::Settings | Kind::Ping => &[(ACK, "ACK")],
        _ => &[
            (END_STREAM, "END_STREAM"),
            (END_HEADERS, "END_HEADERS"),
            (PADDED, "PADDED"),
            (PRIORITY, "PRIORITY"),
        ],
    };
    let (mut before, mut rest) = (' ', head.flags);
    for (flag, name) in names {
        if head.has(*flag) && head.kind.flags() & flag != 0 {
            text.push(before);
            text.push_str(name);
            (before, rest) = ('|', rest & !flag);
        }
    }
    if rest != 0 {
        let _ = write!(text, "{before}0x{rest:02x}");
    }
}

/// Printable ASCII as it is, all else escaped.
fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_frames_and_escapes_what_the_wire_says() {
        let head = Head::parse(&[0, 0, 45, 1, 5, 0, 0, 0, 1]).unwrap();
        assert_eq!(frame(&head, &[]), "HEADERS END_STREAM|END_HEADERS stream=1 len=45");
        let head = Head::parse(&[0, 0, 6, 4, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(
            frame(&head, &[0, 3, 0, 0, 0, 100]),
            "SETTINGS stream=0 len=6 MAX_CONCURRENT_STREAMS=100"
        );
        let head = Head::parse(&[0, 0, 4, 3, 0x80, 0, 0, 0, 7]).unwrap();
        assert_eq!(frame(&head, &[0, 0, 0, 8]), "RST_STREAM 0x80 stream=7 len=4 CANCEL");
        let head = Head::parse(&[0, 0, 5, 0, 1, 0, 0, 0, 7]).unwrap();
        assert_eq!(data(&head, b"a\x1b[2J\n"), "DATA END_STREAM stream=7 len=5 a\\x1b[2J\\n");
        let name = Name::Known(b"x");
        assert_eq!(field(Field { name, value: Some(b"a\r\nb") }), "  x: a\\r\\nb");
        assert_eq!(field(Field { name: Name::Unknown(3), value: None }), "  ?n3: (unknown)");
    }
}
