//! Values of flags: sizes, ports, networks, users.

use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Bytes with an optional unit: 65536, 64k, 64KiB, 4M, 1GiB (powers of 1024),
/// 64kB, 4MB (powers of 1000).
pub fn bytes(text: &str) -> Result<usize, String> {
    sized(text, 1)
}

/// As [`bytes`]; a number without a unit is millions of bytes, as `tcpdump -C` counts.
pub fn megabytes(text: &str) -> Result<u64, String> {
    sized(text, 1_000_000).map(|bytes| bytes as u64)
}

fn sized(text: &str, bare: usize) -> Result<usize, String> {
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

/// A time with a unit as in `30s`, `5m`, `1h 30m`; a number alone is seconds,
/// as `tcpdump -G` counts. Never zero.
pub fn time(text: &str) -> Result<std::time::Duration, String> {
    let time = match text.parse::<u64>() {
        Ok(seconds) => std::time::Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    if time.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(time) }
}

/// A port or a range: `8080`, `9000-9010`.
pub fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| {
        text.trim()
            .parse::<u16>()
            .ok()
            .filter(|&port| port != 0)
            .ok_or_else(|| format!("`{text}` is not a port (1 to 65535)"))
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first > last {
        return Err(format!("`{text}` ends before it begins"));
    }
    Ok(first..=last)
}

/// An address or a network: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
pub fn net(text: &str) -> Result<(IpAddr, u8), String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok((ip, if ip.is_ipv4() { 32 } else { 128 }));
    }
    let bad = || format!("`{text}` is not an address or network (10.0.0.0/8, 2001:db8::/32)");
    let (ip, length) = text.split_once('/').ok_or_else(bad)?;
    let ip: IpAddr = ip.parse().map_err(|_| bad())?;
    let length: u8 = length.parse().map_err(|_| bad())?;
    if length > if ip.is_ipv4() { 32 } else { 128 } { Err(bad()) } else { Ok((ip, length)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn sizes_have_units() {
        assert_eq!(super::bytes("64k"), Ok(65_536));
        assert_eq!(super::bytes("64kB"), Ok(64_000));
        assert_eq!(super::megabytes("3"), Ok(3_000_000));
        assert_eq!(super::megabytes("3MiB"), Ok(3 << 20));
        assert!(super::bytes("3 apples").is_err());
        assert!(super::bytes("99999999999999G").is_err());
    }

    #[test]
    fn times_are_seconds_or_have_units() {
        assert_eq!(super::time("30"), Ok(Duration::from_secs(30)));
        assert_eq!(super::time("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(super::time("0").is_err());
        assert!(super::time("soon").is_err());
    }

    #[test]
    fn ports_may_be_ranges() {
        assert_eq!(super::ports("8080"), Ok(8080..=8080));
        assert_eq!(super::ports("9000-9010"), Ok(9000..=9010));
        for bad in ["", "0", "70000", "5-4", "a-b", "1-"] {
            assert!(super::ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_may_be_single_addresses() {
        assert_eq!(super::net("10.0.0.0/8"), Ok(("10.0.0.0".parse().unwrap(), 8)));
        assert_eq!(super::net("::1"), Ok(("::1".parse().unwrap(), 128)));
        for bad in ["10.0.0.0/33", "10.0.0/8", "::/129", "host"] {
            assert!(super::net(bad).is_err(), "{bad}");
        }
    }
}
