//! Bodies in an archive: `postData` of a request and the text of a response's
//! `content`, decoded as far as their codings are known.

use std::borrow::Cow;

use crate::analyze::body::{Limits, decode};
use crate::analyze::kept::{Cut, Kept};
use crate::analyze::report::jsonl::bodies::{push_base64, text};
use crate::analyze::report::show::{codings, state};
use crate::analyze::report::write::{push_json, push_json_text};
use crate::analyze::transaction::Message;

/// The content of a message as an archive has it.
pub struct Text<'a> {
    bytes: Cow<'a, [u8]>,
    /// Whether it is all of the content.
    whole: bool,
    remark: String,
}

/// Whether a message says that its content is not coded.
pub fn is_plain(message: &Message) -> bool {
    let encoding = message.head.value("content-encoding");
    encoding.is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"))
}

impl<'a> Text<'a> {
    /// What is kept of it; None where there is none.
    pub fn of(message: &'a Message) -> Option<Self> {
        let kept = message.body.as_deref().filter(|kept| !kept.is_empty())?;
        let mut text =
            Self { bytes: Cow::Borrowed(kept.bytes()), whole: true, remark: String::new() };
        text.missing(message, kept);
        if !is_plain(message) {
            text.decode(message, kept);
        }
        Some(text)
    }

    /// Says what is not there.
    fn missing(&mut self, message: &Message, kept: &Kept) {
        for gap in kept.gaps() {
            self.remark(&match gap.bytes {
                Some(bytes) => format!("{bytes} bytes are missing at byte {}", gap.at),
                None => format!("bytes are missing at byte {}, nobody knows how many", gap.at),
            });
        }
        match kept.cut() {
            Some(Cut::Limit | Cut::Total) => {
                let (there, all) = (kept.bytes().len(), message.body_bytes);
                self.remark(&format!("only {there} of {all} bytes were kept"));
            }
            Some(Cut::Gaps) => self.remark("it has more gaps than are kept"),
            None => {}
        }
        if message.end.is_none() {
            self.remark("its end was not seen");
        }
    }

    fn remark(&mut self, remark: &str) {
        self.whole = false;
        if !self.remark.is_empty() {
            self.remark.push_str("; ");
        }
        self.remark.push_str(remark);
    }

    /// Takes the codings off, as far as what is there before a gap allows.
    fn decode(&mut self, message: &Message, kept: &'a Kept) {
        let decoded = decode(kept.head(), &codings(message), &Limits::default());
        self.bytes = decoded.bytes;
        if kept.head().len() < kept.bytes().len() {
            self.remark("what is behind the gap cannot be decoded");
        }
        if let Some(remark) = state(&decoded.state) {
            self.remark(&remark);
        }
    }

    /// How long the content is, where that is known.
    pub fn size(&self) -> Option<u64> {
        self.whole.then_some(self.bytes.len() as u64)
    }

    /// Appends text, encoding and comment as further members of an object.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"text\":\"");
        match text(&self.bytes) {
            Some(text) => {
                push_json_text(out, text.as_bytes());
                out.push(b'"');
            }
            None => {
                push_base64(&self.bytes, out);
                out.extend_from_slice(b"\",\"encoding\":\"base64\"");
            }
        }
        if !self.remark.is_empty() {
            out.extend_from_slice(b",\"comment\":");
            push_json(out, self.remark.as_bytes());
        }
    }
}

/// Appends `postData` of a request that has a body.
pub fn post_data(message: &Message, out: &mut Vec<u8>) {
    let Some(text) = Text::of(message) else { return };
    out.extend_from_slice(b",\"postData\":{\"mimeType\":");
    push_json(out, message.head.value("content-type").unwrap_or_default());
    text.write(out);
    out.push(b'}');
}
