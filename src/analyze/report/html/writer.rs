//! Markup as it grows, with everything that is not a literal escaped.
//!
//! [`put!`] is the only way to write: its format string is a literal of ours,
//! and each of its arguments goes through [`Safe`]. So nothing of the wire can
//! become markup, neither between tags nor within a quoted attribute.

use std::fmt::{self, Display, Write};

use crate::analyze::report::text::escape;

/// Bytes of a page from which on nothing more is added that can be left out:
/// a page is mailed, and browsers are slow with much larger ones.
pub const FULL: usize = 1_700_000;

/// A page being written.
pub struct Html {
    text: String,
    /// Whether times need their day to be told apart.
    pub dated: bool,
}

impl Html {
    /// An empty page.
    pub fn new(dated: bool) -> Self {
        Self { text: String::new(), dated }
    }

    /// Appends markup. Only [`put!`] calls it.
    pub fn write(&mut self, markup: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let written = self.text.write_fmt(markup);
        debug_assert!(written.is_ok());
    }

    /// Appends a constant of ours as it is: the style sheet and the script.
    pub fn constant(&mut self, text: &'static str) {
        self.text.push_str(text);
    }

    /// Whether what can be left out has to be.
    pub fn is_full(&self) -> bool {
        self.text.len() >= FULL
    }

    /// What was written.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Writes markup, a literal, with arguments that are escaped.
macro_rules! put {
    ($page:expr, $markup:literal $(, $value:expr)* $(,)?) => {
        $page.write(format_args!($markup $(, $crate::analyze::report::html::writer::Safe(&$value))*))
    };
}
pub(in crate::analyze) use put;

/// Text that cannot become markup: what HTML gives a meaning is a character
/// reference, control characters and those that reorder or hide others are
/// spelled out.
pub struct Safe<'a, T: ?Sized>(pub &'a T);

impl<T: Display + ?Sized> Display for Safe<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '&' | '<' | '>' | '"' | '\'');
        if text.chars().all(plain) {
            return self.0.write_str(text);
        }
        for c in escape(text).chars() {
            match c {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '"' => self.0.write_str("&quot;")?,
                '\'' => self.0.write_str("&#39;")?,
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_of_the_wire_is_inert() {
        let mut page = Html::new(false);
        put!(page, "<b title=\"{}\">{}</b>", "\" onclick='x()'", "<script>&\x1b\u{202e}");
        assert_eq!(
            page.into_text(),
            "<b title=\"&quot; onclick=&#39;x()&#39;\">&lt;script&gt;&amp;\\x1b\\u{202e}</b>"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_inert(text: String) {
            let safe = Safe(&text).to_string();
            prop_assert!(!safe.contains(['<', '>', '"', '\'']));
            prop_assert!(!safe.chars().any(char::is_control));
        }
    }
}
