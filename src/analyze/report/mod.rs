//! Reports: tables over transactions and the formats that print them.
//!
//! Knows nothing of packets. Everything a report shows comes from an
//! [`Item`], a [`FlowTotals`] or the [`CaptureTotals`].
//!
//! - [`jsonl`], [`csv`] and [`log`] write a line per transaction or event,
//!   which [`Sorter`] brings into order in bounded memory.
//! - [`Aggregate`] sums up to a [`Report`], which [`json`] and [`text`] print.
//!
//! The formats are documented for users in `docs/output.md`.

pub mod aggregate;
pub mod csv;
pub mod fold;
pub mod json;
pub mod jsonl;
pub mod log;
pub mod model;
pub mod sorter;
pub mod text;
mod write;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::str::FromStr;

pub use aggregate::Aggregate;
pub use log::{LogKind, LogLine};
pub use model::Report;
pub use sorter::{SortError, SortKey, Sorter};
pub use text::Style;

use crate::analyze::owner::Process;
use crate::analyze::transaction::Transaction;
use crate::pcap::Damage;
use crate::time::Timestamp;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Format {
    /// Summary for people.
    #[default]
    Text,
    /// The same summary for programs, one JSON document.
    Json,
    /// One JSON object per transaction and line.
    Jsonl,
    /// One row per transaction, comma-separated.
    Csv,
    /// One line per event, as it happened.
    Log,
}

/// A format's name that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}: there are text, json, jsonl, csv and log")]
pub struct UnknownFormat(pub String);

impl Format {
    /// All, in the order of the help.
    pub const ALL: [Self; 5] = [Self::Text, Self::Json, Self::Jsonl, Self::Csv, Self::Log];

    /// As it stands on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Log => "log",
        }
    }

    /// Whether it is a [`Report`] at the end rather than a line for each
    /// transaction or event.
    pub const fn is_summary(self) -> bool {
        matches!(self, Self::Text | Self::Json)
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// One finished transaction and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// Who sent the request.
    pub client: SocketAddr,
    /// Who answered.
    pub server: SocketAddr,
    /// Number of the connection, from 1, in the order of first packets.
    pub connection: u64,
    /// Order of the transaction within its connection: with start and
    /// connection a total order over all transactions.
    pub index: u64,
    /// Name of the interface, where the capture has one.
    pub interface: Option<&'a str>,
    /// Comment of the packet that began it, or of its connection.
    pub comment: Option<&'a str>,
    /// The client's process, where the capture says it.
    pub client_process: Option<&'a Process>,
    /// The server's process, where the capture says it.
    pub server_process: Option<&'a Process>,
}

impl Item<'_> {
    /// Its place among all transactions.
    pub fn sort_key(&self) -> SortKey {
        SortKey { start: self.transaction.rank(), connection: self.connection, index: self.index }
    }
}

/// What one connection added up to, given once when it is over.
#[derive(Clone, Debug)]
pub struct FlowTotals {
    /// Client and server (who sent the SYN, or else as the content says).
    pub client: SocketAddr,
    /// See `client`.
    pub server: SocketAddr,
    /// Number of the connection.
    pub connection: u64,
    /// What it spoke: "http/1", "http/2", "websocket", "tls", …; None if not recognised.
    pub kind: Option<&'static str>,
    /// First and last packet.
    pub first: Option<Timestamp>,
    /// See `first`.
    pub last: Option<Timestamp>,
    /// Whether its start (SYN) was seen.
    pub handshake: bool,
    /// Segments seen, copies on other interfaces not counted.
    pub segments: u64,
    /// Payload bytes delivered in order, to the server and to the client.
    pub payload_bytes: [u64; 2],
    /// Bytes known to have been sent and not captured, by cause: lost,
    /// cut by the snap length, given up by a limit.
    pub gap_bytes: [u64; 3],
    /// Number of gaps by the same causes.
    pub gaps: [u64; 3],
    /// Segments that brought nothing new.
    pub retransmissions: u64,
    /// Segments that arrived after later ones.
    pub out_of_order: u64,
    /// Packets that are copies of one seen on another interface.
    pub duplicates: u64,
    /// Names of the client's processes and of the server's, where the capture
    /// says them.
    pub processes: [Vec<String>; 2],
    /// Anomalies that belong to no transaction: name and count.
    pub anomalies: Vec<(&'static str, u64)>,
    /// Way ("to server"/"to client"), packet number and text of what a real
    /// endpoint would have refused.
    pub findings: Vec<(&'static str, u64, String)>,
}

/// An input as it was read.
#[derive(Clone, Debug)]
pub struct InputTotals {
    /// As the user named it.
    pub name: String,
    /// "pcapng (zstd)", "pcap".
    pub format: String,
}

/// What the capture held, besides transactions.
#[derive(Clone, Debug, Default)]
pub struct CaptureTotals {
    /// Inputs in the order given.
    pub inputs: Vec<InputTotals>,
    /// Packets read.
    pub packets: u64,
    /// Bytes of packets on the wire.
    pub bytes: u64,
    /// Bytes of packets in the capture.
    pub captured_bytes: u64,
    /// Packets cut by the snap length.
    pub cut_packets: u64,
    /// TCP segments among them.
    pub segments: u64,
    /// Packets that are not TCP or could not be dissected, by kind:
    /// "udp", "icmp", "arp", "malformed", "unsupported link type 195", …
    pub other: Vec<(String, u64)>,
    /// Earliest and latest packet.
    pub first: Option<Timestamp>,
    /// See `first`.
    pub last: Option<Timestamp>,
    /// Packets that the capturer says it lost.
    pub drops: u64,
    /// Damaged inputs.
    pub damage: Vec<Damage>,
    /// What limits cost: name of the limit's flag and how often it bit.
    pub limits: Vec<(&'static str, u64)>,
    /// Names of addresses that the capture carries.
    pub names: std::collections::BTreeMap<std::net::IpAddr, String>,
    /// Whether it was ended by a signal.
    pub interrupted: bool,
}
