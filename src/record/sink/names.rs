//! Names of rotated files: `cap_00001_20261122213000.pcapng`, as dumpcap makes
//! them, but in UTC.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::time::Timestamp;

/// Extensions that stay at the end, longest first.
const EXTENSIONS: [&str; 8] =
    [".pcapng.zst", ".pcapng.gz", ".pcap.zst", ".pcap.gz", ".pcapng", ".pcap", ".zst", ".gz"];

/// The `number`th file (from 1) of `pattern`, begun at `time` (nanoseconds
/// since 1970).
pub fn rotated(pattern: &Path, number: u64, time: u64) -> PathBuf {
    let name = pattern.file_name().unwrap_or_default().as_encoded_bytes();
    let extension = EXTENSIONS
        .iter()
        .find(|extension| name.len() > extension.len() && name.ends_with(extension.as_bytes()));
    let stem = match extension {
        // The rest of a path whose name ends in ASCII text is text as it was.
        Some(extension) => pattern.as_os_str().to_str().map_or_else(
            || pattern.with_extension("").into_os_string(),
            |path| OsString::from(&path[..path.len() - extension.len()]),
        ),
        None => pattern.as_os_str().to_owned(),
    };
    let mut path = stem;
    path.push(format!("_{number:05}_{}", digits(time)));
    path.push(extension.copied().unwrap_or_default());
    PathBuf::from(path)
}

/// `20261122213000`: the UTC time to the second.
fn digits(time: u64) -> String {
    let time = Timestamp::from_nanos(i64::try_from(time).unwrap_or(i64::MAX)).to_string();
    time.chars().filter(char::is_ascii_digit).take(14).collect()
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
}
