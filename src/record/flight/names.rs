//! Names of a ring's segments: `perisco_0000000042_20261122213000.pcapng.zst`.
//!
//! The number alone orders them: it goes on over restarts and whatever the
//! wall clock does. It is as long as no ring lives, so that a shell's `*` has
//! the same order. The time (UTC, when the segment was begun) is for people.

use std::ffi::OsStr;

use crate::record::sink::names::digits;
use crate::record::writer::options::Compression;

/// What they begin with.
const STEM: &str = "perisco_";

/// Digits of a number: one segment a second for 300 years.
const NUMBER_DIGITS: usize = 10;

/// Digits of a time to the second.
const TIME_DIGITS: usize = 14;

/// What they end in, by compression.
const EXTENSIONS: [&str; 3] = [".pcapng.zst", ".pcapng.gz", ".pcapng"];

/// What a file of this compression ends in.
pub fn extension(compression: Compression) -> &'static str {
    let [zstd, gzip, plain] = EXTENSIONS;
    match compression {
        Compression::Zstd { .. } => zstd,
        Compression::Gzip => gzip,
        Compression::None => plain,
    }
}

/// The name of a segment that is begun at `time` (nanoseconds since 1970).
pub fn segment(number: u64, time: u64, extension: &str) -> String {
    format!("{STEM}{number:010}_{}{extension}", digits(time))
}

/// The number of a segment, if `name` is one's.
pub fn number(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?.strip_prefix(STEM)?;
    let middle = EXTENSIONS.iter().find_map(|extension| name.strip_suffix(extension))?;
    let (number, time) = middle.split_once('_')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let ours = number.len() == NUMBER_DIGITS && time.len() == TIME_DIGITS;
    if ours && digits(number) && digits(time) { number.parse().ok() } else { None }
}

/// `20261122T213000Z`, for names of saved captures. `time`: nanoseconds since 1970.
pub fn stamp(time: u64) -> String {
    let digits = digits(time);
    let (day, second) = digits.split_at(digits.len().min(8));
    format!("{day}T{second}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_number() {
        let time = 1_700_000_000_123_456_789;
        let name = segment(42, time, extension(Compression::Zstd { level: 1 }));
        assert_eq!(name, "perisco_0000000042_20231114221320.pcapng.zst");
        assert_eq!(number(OsStr::new(&name)), Some(42));
        assert_eq!(number(OsStr::new("perisco_0000000007_20231114221320.pcapng")), Some(7));
        for other in [
            "perisco_0000000042_20231114221320.pcapng.zst.part",
            "perisco_42_20231114221320.pcapng.zst",
            "perisco_0000000042.pcapng.zst",
            "cap_00042_20231114221320.pcapng.zst",
            "saved",
            ".ring",
        ] {
            assert_eq!(number(OsStr::new(other)), None, "{other}");
        }
        assert_eq!(stamp(time), "20231114T221320Z");
    }
}
