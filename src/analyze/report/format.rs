//! The formats by name, and the set of them that one run writes.

use std::str::FromStr;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Format {
    /// Summary for people.
    #[default]
    Text,
    /// The same summary for programs, one JSON document.
    Json,
    /// The same summary and more as one page for a browser.
    Html,
    /// One JSON object per transaction and line, by start time.
    Jsonl,
    /// One row per transaction, comma-separated, by start time.
    Csv,
    /// One line per event, as it happened.
    Log,
    /// HTTP Archive 1.2 for browsers and other tools, by start time.
    Har,
    /// The service map for Graphviz.
    Dot,
}

/// A format's name that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}: there are {all}", all = Format::names(", "))]
pub struct UnknownFormat(pub String);

impl Format {
    /// All, in the order of the help.
    pub const ALL: [Self; 8] = [
        Self::Text,
        Self::Json,
        Self::Html,
        Self::Jsonl,
        Self::Csv,
        Self::Log,
        Self::Har,
        Self::Dot,
    ];

    /// Those with something for each transaction, by its start.
    pub const TRANSACTIONS: [Self; 3] = [Self::Jsonl, Self::Csv, Self::Har];

    /// As it stands on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Html => "html",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Log => "log",
            Self::Har => "har",
            Self::Dot => "dot",
        }
    }

    /// How names of files end that hold it, without the dot.
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["txt"],
            Self::Json => &["json"],
            Self::Html => &["html", "htm"],
            Self::Jsonl => &["jsonl", "ndjson"],
            Self::Csv => &["csv"],
            Self::Log => &["log"],
            Self::Har => &["har"],
            Self::Dot => &["dot", "gv"],
        }
    }

    /// The format of files whose names end so.
    pub fn of_extension(extension: &str) -> Option<Self> {
        let is = |known: &&str| known.eq_ignore_ascii_case(extension);
        Self::ALL.into_iter().find(|format| format.extensions().iter().any(is))
    }

    /// The names of all.
    pub fn names(separator: &str) -> String {
        Self::ALL.map(Self::name).join(separator)
    }

    /// Whether it is a [`Report`](super::Report) at the end rather than something
    /// for each transaction or event.
    pub const fn is_summary(self) -> bool {
        matches!(self, Self::Text | Self::Json | Self::Html | Self::Dot)
    }

    /// Whether it is of use only when its end has been written; of the others
    /// each line is.
    pub const fn is_document(self) -> bool {
        self.is_summary() || matches!(self, Self::Har)
    }

    /// What each transaction begins with, the first excepted.
    pub const fn separator(self) -> &'static [u8] {
        match self {
            Self::Har => super::har::SEPARATOR,
            _ => b"",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// The formats of one run.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Formats(u8);

impl Formats {
    const SUMMARIES: u8 =
        Format::Text.bit() | Format::Json.bit() | Format::Html.bit() | Format::Dot.bit();
    const TRANSACTIONS: u8 = Format::Jsonl.bit() | Format::Csv.bit() | Format::Har.bit();

    /// Whether this one is among them.
    pub const fn has(self, format: Format) -> bool {
        self.0 & format.bit() != 0
    }

    /// Whether one is a summary.
    pub const fn has_summary(self) -> bool {
        self.0 & Self::SUMMARIES != 0
    }

    /// Whether all are summaries.
    pub const fn are_summaries(self) -> bool {
        self.0 & !Self::SUMMARIES == 0
    }

    /// Whether one has something for each transaction.
    pub const fn has_transactions(self) -> bool {
        self.0 & Self::TRANSACTIONS != 0
    }

    /// All of them, in the order of the help.
    pub fn iter(self) -> impl Iterator<Item = Format> {
        Format::ALL.into_iter().filter(move |format| self.has(*format))
    }
}

impl From<Format> for Formats {
    fn from(format: Format) -> Self {
        Self(format.bit())
    }
}

impl FromIterator<Format> for Formats {
    fn from_iter<I: IntoIterator<Item = Format>>(formats: I) -> Self {
        Self(formats.into_iter().fold(0, |all, format| all | format.bit()))
    }
}

impl std::fmt::Debug for Formats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
            let value = clap::ValueEnum::to_possible_value(&format).unwrap();
            assert_eq!(value.get_name(), format.name());
            for extension in format.extensions() {
                assert_eq!(Format::of_extension(extension), Some(format));
                assert_eq!(Format::of_extension(&extension.to_uppercase()), Some(format));
            }
        }
        assert_eq!("xml".parse::<Format>(), Err(UnknownFormat("xml".to_owned())));
        assert_eq!(Format::of_extension("xml"), None);
        let all = UnknownFormat("xml".to_owned()).to_string();
        assert!(Format::ALL.iter().all(|format| all.contains(format.name())), "{all}");
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        for format in Format::ALL {
            let one = Formats::from(format);
            assert_eq!(one.iter().collect::<Vec<_>>(), [format]);
            assert_eq!(one.has_summary(), format.is_summary());
            assert_eq!(one.are_summaries(), format.is_summary());
            assert_eq!(one.has_transactions(), Format::TRANSACTIONS.contains(&format));
        }
        let all: Formats = Format::ALL.into_iter().collect();
        assert_eq!(all.iter().collect::<Vec<_>>(), Format::ALL);
        assert!(all.has_summary() && !all.are_summaries());
        assert_eq!(Formats::default().iter().count(), 0);
    }
}
