//! What is wrong with an expression, and where.

use std::fmt;

/// An expression that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What would be right, where that is known.
    pub hint: Option<String>,
    /// The line of the expression that it is in.
    line: String,
    /// The first character of it, counted from 0, and how many it takes.
    mark: (usize, usize),
}

impl Problem {
    /// At these characters of an expression (the first, and how many).
    pub fn new(source: &str, (from, len): (usize, usize), what: impl Into<String>) -> Self {
        let mut left = from;
        let mut lines = source.split('\n');
        let mut line = lines.next().unwrap_or_default();
        while left > line.chars().count() {
            let Some(next) = lines.next() else { break };
            left -= line.chars().count() + 1;
            line = next;
        }
        let room = line.chars().count().saturating_sub(left).max(1);
        let shown = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { what: what.into(), hint: None, line: shown, mark: (left, len.clamp(1, room)) }
    }

    /// The same with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        let (from, len) = self.mark;
        let head: String = self.line.chars().take(from).collect();
        let marked: String = self.line.chars().skip(from).take(len).collect();
        let columns = unicode_width::UnicodeWidthStr::width;
        let (pad, carets) = (columns(head.as_str()), columns(marked.as_str()).max(1));
        write!(f, "\n  {}\n  {:pad$}{:^<carets$}", self.line, "", "")
    }
}

impl std::error::Error for Problem {}

/// The nearest of these names, where one is near: a slip of the finger or two.
pub fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let most = (name.len() / 3).clamp(1, 3);
    let far = |known: &str| strsim::damerau_levenshtein(name, known);
    let near = names.into_iter().map(|known| (far(known), known));
    near.filter(|(far, _)| *far <= most).min().map(|(_, known)| known)
}
