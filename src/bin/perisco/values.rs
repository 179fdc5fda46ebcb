//! Values of flags that several subcommands take: sizes, and when to use colours.

use std::io::IsTerminal;

use clap::ValueEnum;

/// When text has colours.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

impl ColorArg {
    /// Whether text has colours that goes to standard output, or elsewhere.
    pub fn decide(self, to_stdout: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                to_stdout && std::io::stdout().is_terminal() && !no_color
            }
        }
    }
}

/// Bytes with an optional unit: 65536, 64k, 64KiB, 4M, 1GiB (powers of 1024),
/// 64kB, 4MB (powers of 1000).
pub fn bytes(text: &str) -> Result<usize, String> {
    sized(text, 1)
}

/// Bytes with an optional unit; `bare` is the unit of a number without one.
pub fn sized(text: &str, bare: usize) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: usize = digits.parse().map_err(|_| format!("`{text}` is not a size"))?;
    let unit = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" => bare,
        "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => {
            return Err(format!("`{text}` has no known unit (k, M, G, KiB, MiB, GiB, kB, MB, GB)"));
        }
    };
    number.checked_mul(unit).ok_or_else(|| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_have_units() {
        assert_eq!(super::bytes("64k"), Ok(65_536));
        assert_eq!(super::bytes("64kB"), Ok(64_000));
        assert_eq!(super::sized("3", 1_000_000), Ok(3_000_000));
        assert_eq!(super::sized("3MiB", 1_000_000), Ok(3 << 20));
        assert!(super::bytes("3 apples").is_err());
        assert!(super::bytes("99999999999999G").is_err());
    }
}
