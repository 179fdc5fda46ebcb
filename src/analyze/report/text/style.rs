//! How wide and how colourful text may be.

use std::io::IsTerminal as _;

/// Columns where there is no terminal to ask, and the fewest that text is
/// laid out for.
pub const COLUMNS: usize = 80;

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of a line; below 80 it is taken for 80.
    pub width: usize,
    /// Whether to use ANSI colours.
    pub color: bool,
    /// Rows of the main table.
    pub rows: usize,
    /// Whether there is no more than ASCII: what is not becomes `?`, but for
    /// what we write ourselves.
    pub ascii: bool,
}

/// Rows of the main table unless somebody asks for another number; all are in
/// `json`.
pub const ROWS: usize = 20;

impl Default for Style {
    /// For a file: 80 columns, no colour, UTF-8.
    fn default() -> Self {
        Self { width: COLUMNS, color: false, rows: ROWS, ascii: false }
    }
}

impl Style {
    /// For standard output as it is: the terminal's width, colour unless
    /// `NO_COLOR` is set (no-color.org) or the terminal is dumb, and ASCII unless
    /// the locale is one of UTF-8; where it is no terminal, as for a file.
    pub fn for_stdout() -> Self {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let width = size.map_or(COLUMNS, |size| usize::from(size.ws_col));
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = !set("NO_COLOR") && !dumb;
        Self { width: width.max(COLUMNS), color, ascii: !is_utf8(), ..Self::default() }
    }

    /// Appends text, painted where colour is wanted.
    pub fn push(self, paint: Option<Paint>, text: &str, out: &mut String) {
        match paint {
            Some(paint) if self.color && !text.is_empty() => {
                out.push_str(paint.code());
                out.push_str(text);
                out.push_str("\x1b[0m");
            }
            _ => out.push_str(text),
        }
    }
}

/// Whether the locale's characters are those of UTF-8 (POSIX.1-2024, section
/// 8.2: the first of these variables that is set and not empty).
fn is_utf8() -> bool {
    let mut set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os);
    let locale = set.find(|value| !value.is_empty()).unwrap_or_default();
    let name = locale.to_string_lossy().to_ascii_lowercase();
    name.ends_with("utf-8") || name.ends_with("utf8") || name.contains("utf-8@")
}

/// What stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Headings and names.
    Bold,
    /// Column heads and notes.
    Dim,
    /// Errors.
    Red,
    /// What is unknown or odd.
    Yellow,
    /// Loss and damage.
    Alarm,
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Red => "\x1b[31m",
            Self::Yellow => "\x1b[33m",
            Self::Alarm => "\x1b[1;31m",
        }
    }
}
