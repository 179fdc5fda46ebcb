//! What the judge says to the recorder: lines of text, the contract of the two.
//!
//! The judge reads hostile bytes, so the recorder believes it nothing: lines are
//! short, numbers are checked, text has no control characters, and a judge that
//! says anything else is ended.

use std::io::{BufRead, Read};

/// The longest line, bytes. A judge that says more is not one.
const MAX_LINE: usize = 1024;

/// The longest description of a transaction, bytes.
pub const MAX_TEXT: usize = 400;

/// Something that a judge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Transactions that a trigger asks for.
    Fired {
        /// Number of the trigger, from 0.
        trigger: usize,
        /// How many transactions; at least 1.
        count: u64,
        /// Start of the first of them, nanoseconds since 1970.
        first: i64,
        /// End of the last.
        last: i64,
        /// The first of them, for people.
        text: String,
    },
    /// It is at work.
    Alive {
        /// Transactions that it has looked at.
        judged: u64,
        /// Of which it does not know whether a trigger asks for them.
        undecided: u64,
    },
}

impl Answer {
    /// As a line.
    pub fn line(&self) -> String {
        match self {
            Self::Fired { trigger, count, first, last, text } => {
                format!("fired {trigger} {count} {first} {last} {}\n", plain(text))
            }
            Self::Alive { judged, undecided } => format!("alive {judged} {undecided}\n"),
        }
    }

    /// Of a line; `triggers` is how many there are.
    pub fn parse(line: &str, triggers: usize) -> Option<Self> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let mut words = line.splitn(6, ' ');
        let kind = words.next()?;
        match kind {
            "fired" => {
                let trigger = words.next()?.parse().ok().filter(|trigger| *trigger < triggers)?;
                let count = words.next()?.parse().ok().filter(|count| *count > 0)?;
                let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let text = plain(words.next()?);
                (first <= last).then_some(Self::Fired { trigger, count, first, last, text })
            }
            "alive" => {
                let judged = words.next()?.parse().ok()?;
                let undecided = words.next()?.parse().ok()?;
                words.next().is_none().then_some(Self::Alive { judged, undecided })
            }
            _ => None,
        }
    }
}

/// The next line, within [`MAX_LINE`]; None at the end, and for what is no line.
pub fn next_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line).ok()?;
    if line.last() == Some(&b'\n') { String::from_utf8(line).ok() } else { None }
}

/// Text of at most [`MAX_TEXT`] bytes that no terminal and no file of lines acts on.
pub fn plain(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(MAX_TEXT)];
    let odd = |c: char| c.is_control() || is_unseen(c);
    cut.chars().map(|c| if odd(c) { '?' } else { c }).collect()
}

/// What turns the direction of text, or cannot be seen.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let fired = Answer::Fired {
            trigger: 1,
            count: 3,
            first: -5,
            last: 1_700_000_000_000_000_000,
            text: "GET /pay → 500 in 12 ms".to_owned(),
        };
        let alive = Answer::Alive { judged: 10, undecided: 2 };
        for answer in [fired, alive] {
            assert_eq!(Answer::parse(&answer.line(), 2), Some(answer));
        }
    }

    #[test]
    fn nothing_else_is_believed() {
        for line in [
            "",
            "fired",
            "fired 2 1 0 0 x\n",
            "fired 0 0 0 0 x\n",
            "fired 0 1 5 4 x\n",
            "fired 0 1 99999999999999999999 4 x\n",
            "alive 1\n",
            "alive 1 2 3\n",
            "alive -1 2\n",
            "other 1 2\n",
        ] {
            assert_eq!(Answer::parse(line, 2), None, "{line:?}");
        }
        let parsed = Answer::parse("fired 0 1 0 0 \x1b[2J\u{202e}x\n", 2);
        let Some(Answer::Fired { text, .. }) = parsed else { panic!("{parsed:?}") };
        assert_eq!(text, "?[2J?x");
    }

    #[test]
    fn a_line_without_an_end_is_none() {
        let mut long = &[b'x'; 5000][..];
        assert_eq!(next_line(&mut long), None);
        let mut lines = &b"one\ntwo"[..];
        assert_eq!(next_line(&mut lines).as_deref(), Some("one\n"));
        assert_eq!(next_line(&mut lines), None);
    }
}
