//! What was redacted, for the user at the end.

use super::rules::Rules;

/// What was done, in values and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Redacted values, by the number of their names.
    by_number: Vec<u64>,
    /// Redacted values whose names are not known.
    pub unknown: u64,
    /// Bytes that could not be read and stayed.
    pub kept: u64,
    /// Bytes that could not be read and left.
    pub dropped: u64,
    /// Bytes of bodies that left.
    pub bodies: u64,
    /// Packets without TCP, or in fragments, that lost what they held.
    pub other_packets: u64,
    /// Blocks that left: secrets of TLS, and those that are not understood.
    pub blocks: u64,
}

/// The same, with names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Redacted values by name, most first; parameters begin with `?`.
    pub values: Vec<(String, u64)>,
    /// All else.
    pub counts: Counts,
}

impl Counts {
    /// A value with this name is redacted.
    pub fn value(&mut self, number: u16) {
        let place = usize::from(number);
        if self.by_number.len() <= place {
            self.by_number.resize(place + 1, 0);
        }
        self.by_number[place] += 1;
    }

    /// With names.
    pub fn report(&self, rules: &Rules) -> Report {
        let named = (0..).zip(&self.by_number).filter(|(_, count)| **count > 0);
        let mut values: Vec<_> =
            named.map(|(number, count)| (rules.name(number).to_owned(), *count)).collect();
        if self.unknown > 0 {
            values.push(("names that are not known".to_owned(), self.unknown));
        }
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Report { values, counts: self.clone() }
    }
}

impl Report {
    /// Redacted values in all.
    pub fn total(&self) -> u64 {
        self.values.iter().map(|(_, count)| count).sum()
    }

    /// Lines for a user; `bytes` writes a number of bytes.
    pub fn lines(&self, bytes: impl Fn(u64) -> String) -> Vec<String> {
        let plural =
            |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let names: Vec<_> =
            self.values.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let mut lines = vec![match names.is_empty() {
            true => "no value was redacted".to_owned(),
            false => format!("{} redacted: {}", plural(self.total(), "value"), names.join(", ")),
        }];
        let counts = &self.counts;
        let mut say = |count: u64, text: String| {
            if count > 0 {
                lines.push(text);
            }
        };
        let unread = "that could not be read";
        say(counts.kept, format!("{} {unread} stayed (--unparsed keep)", bytes(counts.kept)));
        say(counts.dropped, format!("{} {unread} left as gaps", bytes(counts.dropped)));
        say(counts.bodies, format!("{} of bodies left as gaps", bytes(counts.bodies)));
        let packets = plural(counts.other_packets, "packet");
        say(counts.other_packets, format!("{packets} without whole TCP segments were emptied"));
        let blocks = plural(counts.blocks, "block");
        say(counts.blocks, format!("{blocks} left: TLS secrets or of unknown kinds"));
        lines
    }
}
