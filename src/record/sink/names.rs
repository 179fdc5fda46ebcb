//! Names of rotated files: `cap_00001_20261122213000.pcapng`, as dumpcap makes
//! them, but in UTC.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::time::Timestamp;

/// Digits of a time to the second.
const TIME_DIGITS: usize = 14;

/// Extensions that stay at the end, longest first.
const EXTENSIONS: [&str; 8] =
    [".pcapng.zst", ".pcapng.gz", ".pcap.zst", ".pcap.gz", ".pcapng", ".pcap", ".zst", ".gz"];

/// The `number`th file (from 1) of `pattern`, begun at `time` (nanoseconds
/// since 1970).
pub fn rotated(pattern: &Path, number: u64, time: u64) -> PathBuf {
    let (mut name, extension) = parts(pattern);
    name.push(format!("_{number:05}_{}", digits(time)));
    name.push(extension);
    pattern.with_file_name(name)
}

/// The order of a file among the rotated ones of `pattern`, if `name` is one
/// of them: its time and its number.
pub fn order(pattern: &Path, name: &OsStr) -> Option<(u64, u64)> {
    let (stem, extension) = parts(pattern);
    let name = name.as_encoded_bytes();
    let middle = name.strip_prefix(stem.as_encoded_bytes())?.strip_suffix(extension.as_bytes())?;
    let (number, time) = std::str::from_utf8(middle).ok()?.strip_prefix('_')?.split_once('_')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let ours = number.len() >= 5 && time.len() == TIME_DIGITS && digits(number) && digits(time);
    if ours { Some((time.parse().ok()?, number.parse().ok()?)) } else { None }
}

/// A file's name without what stays at the end, and that.
fn parts(pattern: &Path) -> (OsString, &'static str) {
    let name = pattern.file_name().unwrap_or_default();
    let bytes = name.as_encoded_bytes();
    let extension = EXTENSIONS
        .iter()
        .find(|extension| bytes.len() > extension.len() && bytes.ends_with(extension.as_bytes()));
    match (extension, name.to_str()) {
        (Some(extension), Some(text)) => {
            (OsString::from(&text[..text.len() - extension.len()]), extension)
        }
        // Not UTF-8: cut off by path, which takes the last extension only.
        (Some(extension), None) if extension.rfind('.') == Some(0) => {
            (pattern.file_stem().unwrap_or_default().to_owned(), extension)
        }
        _ => (name.to_owned(), ""),
    }
}

/// `20261122213000`: the UTC time to the second.
pub fn digits(time: u64) -> String {
    let time = Timestamp::from_nanos(i64::try_from(time).unwrap_or(i64::MAX)).to_string();
    time.chars().filter(char::is_ascii_digit).take(TIME_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_and_the_time_stand_before_the_extension() {
        let time = 1_700_000_000_123_456_789;
        for (pattern, name) in [
            ("cap.pcapng", "cap_00001_20231114221320.pcapng"),
            ("/a.b/cap.pcapng.zst", "/a.b/cap_00001_20231114221320.pcapng.zst"),
            ("cap", "cap_00001_20231114221320"),
            ("cap.2", "cap.2_00001_20231114221320"),
            (".pcapng", ".pcapng_00001_20231114221320"),
        ] {
            assert_eq!(rotated(Path::new(pattern), 1, time), Path::new(name));
        }
        assert_eq!(rotated(Path::new("x.gz"), 123_456, 0), Path::new("x_123456_19700101000000.gz"));
    }

    #[test]
    fn only_files_that_were_named_so_are_of_the_pattern() {
        let pattern = Path::new("/var/cap.pcapng.zst");
        let order = |name: &str| order(pattern, OsStr::new(name));
        assert_eq!(order("cap_00002_20231114221320.pcapng.zst"), Some((20_231_114_221_320, 2)));
        assert_eq!(
            order("cap_123456_20231114221320.pcapng.zst"),
            Some((20_231_114_221_320, 123_456))
        );
        for other in [
            "cap.pcapng.zst",
            "cap_00002_20231114221320.pcapng",
            "cap_2_20231114221320.pcapng.zst",
            "cap_00002_2023.pcapng.zst",
            "other_00002_20231114221320.pcapng.zst",
            "cap_old_00002_20231114221320.pcapng.zst",
            "cap_00002_20231114221320.pcapng.zst.part",
        ] {
            assert_eq!(order(other), None, "{other}");
        }
    }
}
