//! Which sockets are recorded: validated, ready to be written into the BPF
//! programs (`bpf/filter.h` decides by it). OR within a dimension, AND between
//! them. Knows nothing of the command line, nor of how maps are written.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::event::Role;

/// Bytes of a comm that the kernel keeps (`TASK_COMM_LEN`, less the zero at its end).
pub const COMM_BYTES: usize = 15;

/// Entries that each set but the pids and cgroups holds (`SET` in `bpf/maps.h`).
pub const SET_ENTRIES: usize = 1024;

/// Networks of one address family (`nets4`, `nets6`).
pub const NET_ENTRIES: usize = 4096;

/// Pids or cgroups (`pids`, `cgroups`); children forked later need room too.
pub const ID_ENTRIES: usize = 65_536;

/// What to record. Empty (the default): everything but perisco itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Processes, with all their children; numbers of the initial pid namespace.
    pub pids: Vec<u32>,
    /// Process names, as in `/proc/PID/comm`.
    pub comms: Vec<Comm>,
    /// Executable files.
    pub exes: Vec<Exe>,
    /// Users; numbers of the initial user namespace.
    pub uids: Vec<u32>,
    /// cgroup2 ids: the inode numbers of their directories. Not their descendants.
    pub cgroups: Vec<u64>,
    /// Ports of either end.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Networks in which either end is.
    pub nets: Vec<Net>,
    /// Network namespaces: inode numbers, as in `/proc/PID/ns/net`.
    pub netns: Vec<u32>,
    /// Sockets that connected, or that accepted.
    pub role: Option<Side>,
    /// `pids` is asked for, though none may be known yet.
    pub pids_later: bool,
    /// `cgroups` is asked for, though none may be known yet.
    pub cgroups_later: bool,
}

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It connected.
    Client,
    /// It accepted.
    Server,
}

impl From<Side> for Role {
    fn from(side: Side) -> Self {
        match side {
            Side::Client => Self::Client,
            Side::Server => Self::Server,
        }
    }
}

/// A process name as the kernel keeps it: cut to [`COMM_BYTES`], padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comm([u8; 16]);

impl Comm {
    /// Longer names are cut as the kernel cuts them.
    pub fn new(name: &str) -> Self {
        let mut comm = [0; 16];
        let bytes = &name.as_bytes()[..name.len().min(COMM_BYTES)];
        comm[..bytes.len()].copy_from_slice(bytes);
        Self(comm)
    }

    /// Key of the map `comms`.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// An executable file: what the kernel compares, which no renaming changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exe {
    device: u32,
    inode: u64,
}

impl Exe {
    /// The file that `path` names now (symbolic links are followed).
    ///
    /// # Errors
    ///
    /// There is no such file, or it can't be looked at.
    pub fn new(path: &Path) -> Result<Self, FilterError> {
        let meta = path
            .metadata()
            .map_err(|source| FilterError::Executable { path: path.to_owned(), source })?;
        Ok(Self { device: kernel_device(meta.dev()), inode: meta.ino() })
    }

    /// Key of the map `exes` (`struct exe_key`).
    pub fn bytes(&self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.inode.to_ne_bytes());
        key[8..12].copy_from_slice(&self.device.to_ne_bytes());
        key
    }
}

/// The kernel's own `dev_t` (12 bits of major, 20 of minor number) from that of stat(2).
fn kernel_device(device: u64) -> u32 {
    rustix::fs::major(device) << 20 | rustix::fs::minor(device) & 0xf_ffff
}

/// A network: address and length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    address: IpAddr,
    prefix: u8,
}

impl Net {
    /// A v4-mapped IPv6 network is made IPv4, as addresses of sockets are.
    ///
    /// # Errors
    ///
    /// The prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, FilterError> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(FilterError::Prefix { address, prefix, bits });
        }
        Ok(match address.to_canonical() {
            v4 @ IpAddr::V4(_) if bits == 128 && prefix >= 96 => {
                Self { address: v4, prefix: prefix - 96 }
            }
            _ => Self { address, prefix },
        })
    }

    /// Whether it belongs into the map `nets4`.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Key of the map `nets4` or `nets6`: length of the prefix, then the address.
    pub fn bytes(&self) -> Vec<u8> {
        let mut key = u32::from(self.prefix).to_ne_bytes().to_vec();
        match self.address {
            IpAddr::V4(address) => key.extend(address.octets()),
            IpAddr::V6(address) => key.extend(address.octets()),
        }
        key
    }
}

/// Why a filter can't be.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The executable can't be looked at.
    #[error("{}: {source}", path.display())]
    Executable {
        /// As given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More bits than the address has.
    #[error("{address}/{prefix}: the prefix has at most {bits} bits")]
    Prefix {
        /// As given.
        address: IpAddr,
        /// As given.
        prefix: u8,
        /// Bits of an address of this family.
        bits: u8,
    },
    /// More values than the programs hold.
    #[error("{count} values for {dimension}: at most {limit} are possible")]
    TooMany {
        /// Which set.
        dimension: &'static str,
        /// How many were asked for.
        count: usize,
        /// Room in the map.
        limit: usize,
    },
}

impl Filter {
    /// Whether any dimension asks for the process behind a socket.
    pub fn asks_for_process(&self) -> bool {
        self.by_pid()
            || self.by_cgroup()
            || !(self.comms.is_empty() && self.exes.is_empty() && self.uids.is_empty())
    }

    /// Whether only some processes are recorded, given by number.
    pub fn by_pid(&self) -> bool {
        self.pids_later || !self.pids.is_empty()
    }

    /// Whether only some cgroups are recorded.
    pub fn by_cgroup(&self) -> bool {
        self.cgroups_later || !self.cgroups.is_empty()
    }

    /// Whether the two ends of a connection on one host always fare alike.
    pub fn is_symmetric(&self) -> bool {
        !self.asks_for_process() && self.role.is_none()
    }

    /// One bit for each port (`ports` in `bpf/maps.h`).
    pub fn port_bits(&self) -> [u64; 1024] {
        let mut bits = [0; 1024];
        for port in self.ports.iter().cloned().flatten() {
            bits[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        bits
    }

    /// That the maps have room for all of it.
    ///
    /// # Errors
    ///
    /// One of the sets is larger than its map.
    pub fn check(&self) -> Result<(), FilterError> {
        let v4 = self.nets.iter().filter(|net| net.is_ipv4()).count();
        let sizes = [
            ("pid", self.pids.len(), ID_ENTRIES),
            ("comm", self.comms.len(), SET_ENTRIES),
            ("exe", self.exes.len(), SET_ENTRIES),
            ("uid", self.uids.len(), SET_ENTRIES),
            ("cgroup", self.cgroups.len(), ID_ENTRIES),
            ("IPv4 network", v4, NET_ENTRIES),
            ("IPv6 network", self.nets.len() - v4, NET_ENTRIES),
            ("netns", self.netns.len(), SET_ENTRIES),
        ];
        match sizes.into_iter().find(|(_, count, limit)| count > limit) {
            Some((dimension, count, limit)) => {
                Err(FilterError::TooMany { dimension, count, limit })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_bits_up_to_the_last() {
        let filter = Filter { ports: vec![0..=0, 63..=64, 65_535..=65_535], ..Filter::default() };
        let bits = filter.port_bits();
        assert_eq!(bits[0], 1 | 1 << 63);
        assert_eq!(bits[1], 1);
        assert_eq!(bits[1023], 1 << 63);
        assert_eq!(bits.iter().map(|word| word.count_ones()).sum::<u32>(), 4);
    }

    #[test]
    fn long_names_are_cut_as_the_kernel_does() {
        assert_eq!(Comm::new("kube-controller-manager").bytes(), b"kube-controller\0");
        assert_eq!(Comm::new("sh").bytes(), b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn networks_are_keys_of_the_right_trie() {
        let net = |text: &str, prefix| Net::new(text.parse().unwrap(), prefix);
        assert_eq!(
            net("10.0.0.0", 8).unwrap().bytes(),
            [8u32.to_ne_bytes(), [10, 0, 0, 0]].concat()
        );
        let mapped = net("::ffff:10.1.0.0", 112).unwrap();
        assert!(mapped.is_ipv4());
        assert_eq!(mapped.bytes()[..4], 16u32.to_ne_bytes());
        assert_eq!(net("fd00::", 8).unwrap().bytes().len(), 20);
        let error = net("10.0.0.0", 33).unwrap_err().to_string();
        assert_eq!(error, "10.0.0.0/33: the prefix has at most 32 bits");
    }

    #[test]
    fn an_executable_is_its_device_and_inode() {
        let exe = Exe::new(Path::new("/proc/self/exe")).unwrap();
        let meta = std::env::current_exe().unwrap().metadata().unwrap();
        assert_eq!(exe.bytes()[..8], meta.ino().to_ne_bytes());
        let error = Exe::new(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(error.starts_with("/no/such/file: No such file"), "{error}");
    }

    #[test]
    fn what_only_one_end_may_pass_is_not_symmetric() {
        let ports = Filter { ports: vec![80..=80], ..Filter::default() };
        assert!(ports.is_symmetric() && Filter::default().is_symmetric());
        assert!(!Filter { pids_later: true, ..Filter::default() }.is_symmetric());
        assert!(!Filter { role: Some(Side::Client), ..Filter::default() }.is_symmetric());
    }

    #[test]
    fn sets_that_do_not_fit_are_refused() {
        let filter = Filter { uids: (0..2000).collect(), ..Filter::default() };
        let error = filter.check().unwrap_err().to_string();
        assert_eq!(error, "2000 values for uid: at most 1024 are possible");
    }
}
