//! Numbers for people, none wider than its column: durations and sizes with
//! three digits and a unit, counts with thousands separators, shares in
//! percent that never round to all or nothing.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A count with thousands separators: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of at most nine columns: `1,234,567`, `12.3 M`.
pub fn short_count(value: u64) -> String {
    if value < 10_000_000 {
        count(value)
    } else {
        scaled(value as f64, &[" M", " G", " T", " P", " E"], 1e6)
    }
}

/// "1 gap", "1,234 gaps".
pub fn plural(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// Three significant digits and the unit that fits, from `first` on in steps
/// of a thousand.
fn scaled(value: f64, units: &[&str], first: f64) -> String {
    let mut value = value / first;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // 999.5 would print as 1000.
    while value >= 999.5 {
        match units.next() {
            Some(next) => (value, unit) = (value / 1000.0, next),
            None => break,
        }
    }
    format!("{}{unit}", three_digits(value))
}

fn three_digits(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// A duration of at most seven columns: `123 ns`, `1.23 ms`, `59.9 s`, `2m 03s`.
pub fn duration(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    match seconds {
        _ if nanos < 1000 => format!("{nanos} ns"),
        // 59.95 s would print as 60.0 s.
        _ if nanos < 59_950_000_000 => scaled(nanos as f64, &[" µs", " ms", " s"], 1e3),
        0..60 => "60.0 s".to_owned(),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ if seconds < 100 * 86_400 => {
            format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24)
        }
        _ if seconds < 1000 * 86_400 => format!("{} d", seconds / 86_400),
        // Years of 365.25 days: no clock was right for so long.
        _ => format!("{} y", three_digits(seconds as f64 / 31_557_600.0)),
    }
}

/// A size of at most seven columns: `123 B`, `4.50 MB` (decimal units).
pub fn size(bytes: u64) -> String {
    if bytes < 1000 {
        format!("{bytes} B")
    } else {
        scaled(bytes as f64, &[" kB", " MB", " GB", " TB", " PB", " EB"], 1e3)
    }
}

/// A rate of at most seven columns: `1,234/s`, `12.3k/s`, `0.25/s`.
pub fn rate(per_second: f64) -> String {
    if per_second < 0.005 {
        "<0.01/s".to_owned()
    } else if per_second < 999.5 {
        format!("{}/s", three_digits(per_second))
    } else if per_second < 9999.5 {
        format!("{}/s", count(per_second.round() as u64))
    } else {
        scaled(per_second, &["k/s", "M/s", "G/s"], 1e3)
    }
}

/// A share of at most six columns: `12.3%`; `0%` and `100%` only where it is
/// nothing or all.
pub fn share(part: u64, all: u64) -> String {
    let percent = if all == 0 { 0.0 } else { part as f64 / all as f64 * 100.0 };
    match part {
        0 => "0%".to_owned(),
        _ if part == all => "100%".to_owned(),
        _ if percent < 0.05 => "<0.1%".to_owned(),
        _ if percent >= 99.95 => ">99.9%".to_owned(),
        _ => format!("{percent:.1}%"),
    }
}

/// How much of the payload was there: rounded down, so that a lost byte
/// shows, and with as many digits as that takes.
pub fn coverage(there: u64, missing: u64) -> String {
    let all = u128::from(there) + u128::from(missing);
    if missing == 0 || there == 0 {
        return if there == 0 { "0%" } else { "100%" }.to_owned();
    }
    for (digits, scale) in [(2, 10_000_u128), (4, 1_000_000), (6, 100_000_000)] {
        let part = u128::from(there) * scale / all;
        // All nines says that rounding down is all that keeps it below 100.
        if part + 1 < scale {
            return format!("{:.*}%", digits, part as f64 / (scale / 100) as f64);
        }
    }
    ">99.999999%".to_owned()
}

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text in at most `columns`, with `…` in its middle where it is longer:
/// the beginning names the host and the end the resource.
pub fn elide(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        let fits = |c: &char| {
            used += c.width().unwrap_or(0);
            used <= room
        };
        chars.take_while(fits).collect::<String>()
    };
    let head = take(&mut text.chars(), room - room / 2);
    let tail = take(&mut text.chars().rev(), room / 2);
    format!("{head}…{}", tail.chars().rev().collect::<String>())
}

/// Breaks a text between words, and within words that are wider than a line.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let mut word = word.to_owned();
        if let Some(last) = lines.last_mut()
            && width(last) + 1 + width(&word) <= room
        {
            last.push(' ');
            last.push_str(&word);
            continue;
        }
        while width(&word) > room {
            let mut used = 0;
            let at = word.char_indices().find(|(_, c)| {
                used += c.width().unwrap_or(0);
                used > room
            });
            let Some((at, _)) = at.filter(|(at, _)| *at > 0) else { break };
            let rest = word.split_off(at);
            lines.push(std::mem::replace(&mut word, rest));
        }
        lines.push(word);
    }
    lines
}

/// Text of the wire for a terminal: control characters, and those that
/// reorder or hide what follows, are spelled out.
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let written = match c {
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if c.is_control() => write!(out, "\\x{:02x}", u32::from(c)),
            c if must_be_spelled(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
            c => out.write_char(c),
        };
        // Writing to a String cannot fail.
        debug_assert!(written.is_ok());
    }
    out
}

/// Whether a terminal must not get a character as it is: it acts on it, or the
/// character reorders or hides what follows.
pub fn must_be_spelled(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_sizes_and_rates() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1000, "1.00 µs"),
            (1_234_567, "1.23 ms"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (12_345_678_901, "12.3 s"),
            (59_949_000_000, "59.9 s"),
            (59_990_000_000, "60.0 s"),
            (123_000_000_000, "2m 03s"),
            (7_500_000_000_000, "2h 05m"),
            (180_000_000_000_000, "2d 02h"),
            (8_640_000_000_000_000, "100 d"),
            (u64::MAX, "585 y"),
        ] {
            assert_eq!(duration(nanos), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (4_500_000, "4.50 MB"),
            (999_999, "1.00 MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (per_second, text) in [
            (0.001, "<0.01/s"),
            (0.25, "0.25/s"),
            (999.4, "999/s"),
            (1234.0, "1,234/s"),
            (12_345.0, "12.3k/s"),
        ] {
            assert_eq!(rate(per_second), text);
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
        assert_eq!(short_count(12_345_678), "12.3 M");
    }

    #[test]
    fn shares_never_round_to_all_or_nothing() {
        assert_eq!(share(0, 0), "0%");
        assert_eq!(share(1, 100_000), "<0.1%");
        assert_eq!(share(99_999, 100_000), ">99.9%");
        assert_eq!(share(3, 3), "100%");
        assert_eq!(share(1, 3), "33.3%");
        assert_eq!(coverage(99_999, 1), "99.9990%");
        assert_eq!(coverage(1_000_000_000_000, 1), ">99.999999%");
        assert_eq!(coverage(1, 1), "50.00%");
        assert_eq!(coverage(5, 0), "100%");
        assert_eq!(coverage(0, 5), "0%");
    }

    #[test]
    fn elides_in_the_middle_by_columns() {
        assert_eq!(elide("abcdefghij", 10), "abcdefghij");
        assert_eq!(elide("abcdefghijk", 10), "abcde…hijk");
        assert_eq!(elide("日本語日本語", 7), "日…語");
        assert_eq!(elide("abc", 0), "");
    }

    #[test]
    fn wraps_between_words_and_within_long_ones() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn escapes_what_a_terminal_acts_on() {
        assert_eq!(escape("\x1b[31m\u{9b}\u{202e}a\n"), "\\x1b[31m\\x9b\\u{202e}a\\n");
    }

    proptest! {
        #[test]
        fn cells_fit_their_columns(value: u64, other: u64, text: String, columns in 0..50_usize) {
            prop_assert!(width(&duration(value)) <= 7, "{}", duration(value));
            prop_assert!(width(&size(value)) <= 7, "{}", size(value));
            prop_assert!(width(&short_count(value)) <= 9, "{}", short_count(value));
            prop_assert!(width(&share(value.min(other), value.max(other))) <= 6);
            let text = escape(&text);
            prop_assert!(width(&elide(&text, columns)) <= columns);
            prop_assert!(wrap(&text, columns.max(2)).iter().all(|l| width(l) <= columns.max(2)));
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
