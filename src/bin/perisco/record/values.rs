//! Values of the recorder's flags: sizes, times, ports, networks, users,
//! processes, namespaces.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use perisco::record::confine::User;

use crate::values::sized;

/// A size; a number without a unit is millions of bytes, as `tcpdump -C` counts.
pub fn megabytes(text: &str) -> Result<u64, String> {
    sized(text, 1_000_000).map(|bytes| bytes as u64)
}

/// A time with a unit as in `30s`, `5m`, `1h 30m`; a number alone is seconds,
/// as `tcpdump -G` counts. Never zero.
pub fn time(text: &str) -> Result<Duration, String> {
    let time = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
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

/// Where to listen: `127.0.0.1:9464`, `[::]:9464`; a port alone (`9464`,
/// `:9464`) is on localhost, so that nobody opens one to the world unasked.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse()
        .map_err(|_| format!("`{text}` is not a place to listen (9464, 0.0.0.0:9464, [::]:9464)"))
}

/// Whom to become: a name, a number, `UID:GID`.
pub fn account(text: &str) -> Result<User, String> {
    User::find(text)
}

/// The kernel keeps 15 bytes of a name.
pub fn comm(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("a name is needed".to_owned()),
        1..=15 => Ok(text.to_owned()),
        _ => Err(format!("the kernel keeps 15 bytes of a name: try `{}`", cut(text, 15))),
    }
}

fn cut(text: &str, mut end: usize) -> &str {
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub fn user(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    uzers::get_user_by_name(text)
        .map(|user| user.uid())
        .ok_or_else(|| format!("there is no user `{text}`"))
}

/// Where `ip netns` keeps its names.
const NETNS_FOLDER: &str = "/var/run/netns";

pub fn netns(text: &str) -> Result<u32, String> {
    if let Ok(inode) = text.parse() {
        return Ok(inode);
    }
    let path = if text.contains('/') {
        PathBuf::from(text)
    } else {
        PathBuf::from(NETNS_FOLDER).join(text)
    };
    let inode =
        std::fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.ino();
    u32::try_from(inode).map_err(|_| format!("{} is no network namespace", path.display()))
}
#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    #[test]
    fn a_port_alone_is_on_localhost() {
        for (text, place) in [
            ("9464", "127.0.0.1:9464"),
            (":9464", "127.0.0.1:9464"),
            ("localhost:1", "127.0.0.1:1"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::1]:9464", "[::1]:9464"),
        ] {
            assert_eq!(super::listen(text), Ok(place.parse().unwrap()), "{text}");
        }
        for bad in ["", "70000", "host:80", "127.0.0.1"] {
            assert!(super::listen(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_as_the_kernel_keeps_them() {
        assert_eq!(super::comm("nginx"), Ok("nginx".to_owned()));
        assert!(super::comm("a-name-of-sixteen").unwrap_err().contains("`a-name-of-sixte`"));
        assert_eq!(super::user("0"), Ok(0));
        assert_eq!(super::user("root"), Ok(0));
        assert!(super::user("nobody-of-that-name").is_err());
    }
}
