//! Which connection a segment belongs to.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One end of a connection, by order of address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The smaller address and port.
    A,
    /// The larger one.
    B,
}

impl Side {
    /// The other end.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// 0 or 1.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Both ends of a connection, the same for both directions. IPv4 addresses
/// are kept in their IPv4-mapped form (RFC 4291 section 2.5.5.2), apart from
/// IPv6 packets between such addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Halves of an address rather than a `u128`, whose alignment would
    /// make each segment of a round larger.
    a: [u64; 2],
    b: [u64; 2],
    ports: u32,
    /// [`V6`], and above it where it was observed, 0 where that makes no difference.
    rest: u32,
}

/// Set in a key of IPv6.
const V6: u32 = 1;

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(whole(self.a) ^ u128::from(self.ports));
        state.write_u128(whole(self.b));
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => 0xffff_0000_0000 | u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(bits: [u64; 2], v6: bool) -> IpAddr {
    let address = Ipv6Addr::from_bits(whole(bits));
    if v6 { IpAddr::V6(address) } else { address.to_canonical() }
}

const fn whole([high, low]: [u64; 2]) -> u128 {
    (high as u128) << 64 | low as u128
}

const fn split(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

impl FlowKey {
    /// The key of a segment and the side that sent it.
    #[inline]
    pub fn new(source: (IpAddr, u16), destination: (IpAddr, u16)) -> (Self, Side) {
        let end = |(address, port)| (split(bits(address)), port);
        Self::of(end(source), end(destination), source.0.is_ipv6())
    }

    /// The same of addresses as numbers, upper and lower half; IPv4 ones in
    /// their IPv4-mapped form.
    #[inline]
    pub fn of(from: ([u64; 2], u16), to: ([u64; 2], u16), v6: bool) -> (Self, Side) {
        let (a, b, side) = if from <= to { (from, to, Side::A) } else { (to, from, Side::B) };
        (
            Self { a: a.0, b: b.0, ports: u32::from(a.1) << 16 | u32::from(b.1), rest: v6.into() },
            side,
        )
    }

    /// The same as observed at this point: a connection that is seen at two points of
    /// observation is two flows. Point 0 is where there is no more than one.
    #[inline(always)]
    pub fn at(self, point: u16) -> Self {
        Self { rest: self.rest & V6 | u32::from(point) << 1, ..self }
    }

    /// Where it was observed.
    pub fn point(&self) -> u16 {
        (self.rest >> 1) as u16
    }

    fn is_v6(&self) -> bool {
        self.rest & V6 != 0
    }

    /// Address and port of one end.
    pub fn end(&self, side: Side) -> SocketAddr {
        match side {
            Side::A => SocketAddr::new(address(self.a, self.is_v6()), (self.ports >> 16) as u16),
            Side::B => SocketAddr::new(address(self.b, self.is_v6()), (self.ports & 0xffff) as u16),
        }
    }

    /// The port of one end.
    pub fn port(&self, side: Side) -> u16 {
        match side {
            Side::A => (self.ports >> 16) as u16,
            Side::B => (self.ports & 0xffff) as u16,
        }
    }

    /// Spreads flows over `shards`, the same way in every run, so that what a
    /// limit costs does not depend on the run.
    #[inline]
    pub fn shard(&self, shards: usize) -> usize {
        ((u128::from(self.mix()) * shards as u128) >> 64) as usize
    }

    /// One of `places` for each key, likewise, of all keys of a shard.
    #[inline]
    pub fn place(&self, places: usize) -> usize {
        ((u128::from(self.mix() << 16) * places as u128) >> 64) as usize
    }

    /// A cheap hash, the same in every run; and at every point, of which there are few.
    #[inline(always)]
    pub fn mix(&self) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let fold = |[high, low]: [u64; 2]| low ^ high;
        (fold(self.a).wrapping_mul(ODD) ^ fold(self.b))
            .wrapping_mul(ODD)
            .wrapping_add(u64::from(self.ports))
            .wrapping_mul(ODD)
    }
}

/// A key in 16 bytes where a [`FlowKey`] has 40, for where there are very many:
/// of IPv4 at point 0, which most are; that of others is apart.
#[derive(Debug, PartialEq, Eq)]
pub enum SmallKey {
    /// Addresses and ports.
    V4([u32; 3]),
    /// Whole.
    V6(Box<FlowKey>),
}

impl From<&FlowKey> for SmallKey {
    fn from(key: &FlowKey) -> Self {
        if key.rest != 0 {
            return Self::V6(Box::new(*key));
        }
        // What is above is that of every IPv4-mapped address.
        Self::V4([key.a[1] as u32, key.b[1] as u32, key.ports])
    }
}

impl SmallKey {
    /// The whole key.
    pub fn key(&self) -> FlowKey {
        match self {
            Self::V4([a, b, ports]) => {
                let mapped = |address: u32| split(bits(IpAddr::V4(address.into())));
                FlowKey { a: mapped(*a), b: mapped(*b), ports: *ports, rest: 0 }
            }
            Self::V6(key) => **key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_keys_are_whole() {
        let ends = ["10.0.0.1", "255.255.255.255", "fe80::1", "::ffff:10.0.0.1", "::", "0.0.0.0"];
        for (one, two) in ends.iter().zip(ends.iter().rev()).chain(ends.iter().zip(&ends)) {
            let (one, two): (IpAddr, IpAddr) = (one.parse().unwrap(), two.parse().unwrap());
            for (one, two) in [(one, one), (two, two), (two, one)] {
                let (key, _) = FlowKey::new((one, 80), (two, 65_535));
                if one.is_ipv4() == two.is_ipv4() {
                    for key in [key, key.at(1), key.at(u16::MAX)] {
                        assert_eq!(SmallKey::from(&key).key(), key);
                    }
                }
            }
        }
    }

    #[test]
    fn points_are_apart() {
        for address in ["10.0.0.1", "fe80::1"] {
            let address: IpAddr = address.parse().unwrap();
            let (key, _) = FlowKey::new((address, 80), (address, 4000));
            assert_eq!((key.point(), key.at(0)), (0, key));
            assert_eq!((key.at(7).point(), key.at(7).at(0)), (7, key));
            assert_ne!(key.at(1), key);
            assert_ne!(key.at(1), key.at(2));
            // They may share a shard and a place there.
            assert_eq!(key.at(1).end(Side::A), key.end(Side::A));
        }
    }

    #[test]
    fn both_directions_have_one_key() {
        for address in ["10.0.0.1", "fe80::1", "::ffff:10.0.0.1"] {
            let address: IpAddr = address.parse().unwrap();
            let (one, side) = FlowKey::new((address, 80), (address, 4000));
            let (two, other) = FlowKey::new((address, 4000), (address, 80));
            assert_eq!((one, side), (two, other.other()));
            assert_eq!(one.end(side), SocketAddr::new(address, 80));
            assert_eq!(one.port(other), 4000);
        }
    }

    #[test]
    fn shards_are_spread() {
        let server: IpAddr = "10.0.0.1".parse().unwrap();
        let mut counts = [0; 16];
        for port in 1000..1600 {
            counts[FlowKey::new((server, 80), (server, port)).0.shard(16)] += 1;
        }
        assert!(counts.iter().all(|count| (15..80).contains(count)), "{counts:?}");
    }
}
