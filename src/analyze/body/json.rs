//! JSON (RFC 8259) indented, without understanding it: keys stay in order and stay twice,
//! numbers and strings stay as they are spelled.

use std::fmt::Write as _;

use super::lines::Lines;
use super::{Kind, Limits};
use crate::analyze::report::must_be_spelled;

/// Why printing ended before the text did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The text ends within a value.
    Early,
    /// This byte cannot be here.
    Bad {
        /// Where, in bytes.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// More levels than are shown.
    Deep {
        /// Where, in bytes.
        at: usize,
    },
}

/// Prints JSON; if it is none, nothing is written and the text is to be shown otherwise.
/// What ends early is printed as far as it goes.
///
/// # Errors
///
/// Why it is no JSON.
pub fn print(text: &str, limits: &Limits, level: usize, lines: &mut Lines) -> Result<Kind, Stop> {
    // Looked at first: what is written cannot be taken back.
    let values = match values(text, limits, level, None) {
        Ok(values) => values,
        Err(Stop::Early) => 1,
        Err(stop) => return Err(stop),
    };
    let ended = self::values(text, limits, level, Some(lines));
    match ended {
        Err(Stop::Early) => {
            lines.note(format!("the JSON ends early, at byte {}", text.len()));
            Ok(Kind::Json)
        }
        _ if values > 1 => Ok(Kind::JsonLines),
        _ => Ok(Kind::Json),
    }
}

/// Whether a text is one JSON value or several.
///
/// # Errors
///
/// Why it is none.
pub fn check(text: &str, limits: &Limits) -> Result<(), Stop> {
    values(text, limits, 0, None).map(|_| ())
}

/// Values until the end of the text, some with whitespace between; says how many.
fn values(
    text: &str,
    limits: &Limits,
    level: usize,
    lines: Option<&mut Lines>,
) -> Result<usize, Stop> {
    let mut printer = Printer {
        text,
        at: 0,
        line: String::new(),
        below: level,
        level,
        lines,
        open: Vec::new(),
        fresh: false,
        depth: limits.depth,
    };
    let mut count = 0;
    loop {
        let before = printer.at;
        printer.space();
        let spaced = printer.at > before;
        if count > 0 && printer.at == text.len() {
            return Ok(count);
        }
        let after = printer.previous();
        if count > 0 && !spaced && !matches!(after, Some(b'}' | b']')) {
            return Err(printer.bad("the end"));
        }
        let ended = printer.document();
        printer.flush();
        ended?;
        count += 1;
    }
}

struct Printer<'a, 'l> {
    text: &'a str,
    at: usize,
    /// The line that is being made, and its level.
    line: String,
    level: usize,
    /// The level of the values.
    below: usize,
    /// None: only looked at.
    lines: Option<&'l mut Lines>,
    /// Of each open bracket, whether it is an object's.
    open: Vec<bool>,
    /// A bracket has just been opened.
    fresh: bool,
    depth: usize,
}

impl Printer<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn previous(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at.checked_sub(1)?).copied()
    }

    fn due(&self) -> Result<u8, Stop> {
        self.peek().ok_or(Stop::Early)
    }

    fn bad(&self, expected: &'static str) -> Stop {
        Stop::Bad { at: self.at, expected }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn put(&mut self, text: &str) {
        if self.lines.is_some() {
            self.line.push_str(text);
        }
    }

    fn flush(&mut self) {
        if let Some(lines) = &mut self.lines
            && !self.line.is_empty()
        {
            lines.push(self.level, &self.line);
            self.line.clear();
        }
        self.level = self.below + self.open.len();
    }

    fn document(&mut self) -> Result<(), Stop> {
        self.value()?;
        while let Some(&object) = self.open.last() {
            self.space();
            match self.due()? {
                b'}' if object => self.close("}"),
                b']' if !object => self.close("]"),
                b',' if !self.fresh => {
                    self.at += 1;
                    self.put(",");
                    self.flush();
                    self.member(object)?;
                }
                _ if self.fresh => {
                    self.flush();
                    self.member(object)?;
                }
                _ if object => return Err(self.bad("a comma or }")),
                _ => return Err(self.bad("a comma or ]")),
            }
        }
        Ok(())
    }

    fn close(&mut self, bracket: &str) {
        self.at += 1;
        self.open.pop();
        if !self.fresh {
            self.flush();
        }
        self.fresh = false;
        self.put(bracket);
    }

    fn member(&mut self, object: bool) -> Result<(), Stop> {
        self.space();
        if object {
            if self.due()? != b'"' {
                return Err(self.bad("a name in quotes"));
            }
            self.string()?;
            self.space();
            if self.due()? != b':' {
                return Err(self.bad("a colon"));
            }
            self.at += 1;
            self.put(": ");
            self.space();
        }
        self.value()
    }

    fn value(&mut self) -> Result<(), Stop> {
        self.fresh = false;
        match self.due()? {
            first @ (b'{' | b'[') => {
                if self.open.len() >= self.depth {
                    return Err(Stop::Deep { at: self.at });
                }
                self.at += 1;
                self.put(if first == b'{' { "{" } else { "[" });
                self.open.push(first == b'{');
                self.fresh = true;
                Ok(())
            }
            b'"' => self.string(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.bad("a value")),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Stop> {
        let begin = self.at;
        for expected in word.bytes() {
            match self.peek() {
                None => {
                    self.put_from(begin);
                    return Err(Stop::Early);
                }
                Some(byte) if byte == expected => self.at += 1,
                Some(_) => return Err(self.bad("true, false or null")),
            }
        }
        self.put(word);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stop> {
        let begin = self.at;
        let ended = self.number_parts();
        if !matches!(ended, Err(Stop::Bad { .. })) {
            self.put_from(begin);
        }
        ended
    }

    fn number_parts(&mut self) -> Result<(), Stop> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.due()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Stop> {
        if !self.due()?.is_ascii_digit() {
            return Err(self.bad("a digit"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Stop> {
        let begin = self.at;
        self.at += 1;
        let ended = loop {
            match self.peek() {
                None => break Err(Stop::Early),
                Some(b'"') => {
                    self.at += 1;
                    break Ok(());
                }
                Some(b'\\') => match self.escape() {
                    Ok(()) => {}
                    Err(stop) => break Err(stop),
                },
                Some(0..0x20) => break Err(self.bad("no control character in a string")),
                Some(_) => self.at += 1,
            }
        };
        if !matches!(ended, Err(Stop::Bad { .. })) {
            self.put_from(begin);
        }
        ended
    }

    fn escape(&mut self) -> Result<(), Stop> {
        self.at += 1;
        match self.due()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.due()?.is_ascii_hexdigit() {
                        return Err(self.bad("a hexadecimal digit"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.bad("an escape that JSON has")),
        }
        Ok(())
    }

    /// Writes what was read since `begin`; what a terminal would act on as JSON spells it.
    fn put_from(&mut self, begin: usize) {
        if self.lines.is_none() {
            return;
        }
        let mut units = [0; 2];
        for c in self.text.get(begin..self.at).unwrap_or_default().chars() {
            if must_be_spelled(c) {
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a String cannot fail.
                    let _ = write!(self.line, "\\u{unit:04x}");
                }
            } else {
                self.line.push(c);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn printed(text: &str) -> Result<Vec<String>, Stop> {
        let limits = Limits::default();
        let mut lines = Lines::new(&limits);
        print(text, &limits, 0, &mut lines).map(|kind| {
            let rendered = lines.finish(kind);
            [rendered.lines, rendered.notes].concat()
        })
    }

    #[test]
    fn indents_and_keeps_all_as_sent() {
        let text = "{\"b\":[1,-0.10e+2,{}],\"a\" : [ ],\"b\":\"\\u00e9\u{202e}\u{e0001}/\"}";
        assert_eq!(
            printed(text).expect("JSON"),
            [
                "{",
                "  \"b\": [",
                "    1,",
                "    -0.10e+2,",
                "    {}",
                "  ],",
                "  \"a\": [],",
                "  \"b\": \"\\u00e9\\u202e\\udb40\\udc01/\"",
                "}"
            ]
        );
    }

    #[test]
    fn what_ends_early_is_printed_as_far_as_it_goes() {
        assert_eq!(
            printed("{\"a\": [tru").expect("begins as JSON"),
            ["{", "  \"a\": [", "    tru", "the JSON ends early, at byte 10"]
        );
        assert_eq!(printed("[\"ab\\").expect("begins as JSON")[1], "  \"ab\\");
    }

    #[test]
    fn what_is_no_json_says_where() {
        let bad = |at, expected| Err(Stop::Bad { at, expected });
        assert_eq!(printed("{\"a\" 1}"), bad(5, "a colon"));
        assert_eq!(printed("[1 2]"), bad(3, "a comma or ]"));
        assert_eq!(printed("[1,]"), bad(3, "a value"));
        assert_eq!(printed("[01]"), bad(2, "a comma or ]"));
        assert_eq!(printed("\"\n\""), bad(1, "no control character in a string"));
        assert_eq!(printed("nulll"), bad(4, "the end"));
        assert_eq!(printed(&"[".repeat(101)), Err(Stop::Deep { at: 100 }));
    }

    #[test]
    fn several_values_follow_each_other() {
        assert_eq!(printed("{}{}\n[]").expect("JSON"), ["{}", "{}", "[]"]);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn keeps_its_meaning(value in json(), pretty: bool) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let lines = printed(&text).expect("JSON");
            prop_assert!(lines.iter().all(|line| !line.chars().any(must_be_spelled)));
            let back: serde_json::Value = serde_json::from_str(&lines.join("\n")).expect("JSON");
            // Both from text, since a float may not come back from it bit by bit.
            let expected: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn each_cut_is_printed(value in json(), at: prop::sample::Index) {
            let text = value.to_string();
            let mut end = at.index(text.len());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let cut = printed(&text[..end]).expect("the beginning of JSON");
            let squeeze = |text: &str| text.replace([' ', '\n'], "");
            let (said, cut) = match cut.split_last() {
                Some((last, lines)) if last.starts_with("the JSON ends") => (true, lines.join("")),
                _ => (false, cut.join("")),
            };
            let whole = printed(&text).expect("JSON").join("");
            prop_assert!(squeeze(&whole).starts_with(&squeeze(&cut)), "{} of {}", cut, whole);
            // A number may be cut to another number: only the caller knows.
            prop_assert!(said || value.is_number(), "{}", cut);
        }

        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}:,\"a0-1.eE+ntrufalse \\\\]{0,12}") {
            let ours = check(&text, &Limits::default()).is_ok();
            let stream = serde_json::Deserializer::from_str(&text);
            let mut theirs = stream.into_iter::<serde_json::Value>();
            let mut count = 0;
            let fine = theirs.by_ref().all(|value| { count += 1; value.is_ok() });
            // Several values need nothing between for serde_json where a word would do.
            prop_assert!(!ours || (fine && count > 0), "{:?}", text);
            if count == 1 && fine {
                prop_assert!(ours, "{:?}", text);
            }
        }
    }
}
