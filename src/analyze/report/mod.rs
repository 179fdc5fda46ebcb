//! Reports: tables over transactions and the formats that print them.
//!
//! Knows nothing of packets. Everything a report shows comes from an
//! [`Item`], a [`FlowTotals`] or the [`CaptureTotals`].
//!
//! - [`jsonl`], [`csv`], [`har`] and [`log`] write a line per transaction or event,
//!   which [`Sorter`] brings into order in bounded memory.
//! - [`Aggregate`] sums up to a [`Report`], which [`json`], [`text`], [`html`] and [`dot`] print.
//! - A run may write several formats, each to its [`Destination`].
//!
//! The formats are documented for users in `docs/output.md`.

pub mod aggregate;
pub mod csv;
pub mod destination;
pub mod detail;
pub mod dot;
pub mod fold;
pub mod format;
mod graph;
pub mod har;
pub mod html;
pub mod id;
pub mod json;
pub mod jsonl;
pub mod log;
pub mod model;
pub mod named;
pub mod route;
pub mod show;
pub mod sorter;
mod talk;
pub mod text;
mod write;

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::SocketAddr;

pub use aggregate::{Aggregate, By, Sort};
pub use destination::{Destination, Destinations};
pub use format::{Format, Formats, UnknownFormat};
pub use id::{Id, NoId};
pub use log::{LogKind, LogLine};
pub use model::Report;
pub use sorter::{SortError, SortKey, Sorter};
pub use text::Style;
pub(in crate::analyze) use text::{escape, must_be_spelled};
pub use write::text_of;

use crate::analyze::filter::{Filter, Selection, Window};
use crate::analyze::join::{JoinTotals, Joined};
use crate::analyze::owner::{End, OwnedEnd};
use crate::analyze::transaction::Transaction;
use crate::pcap::Damage;
use crate::time::Timestamp;

/// Appends what a format begins with.
pub fn write_begin(format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Csv => csv::write_header(out),
        Format::Har => har::write_begin(out),
        Format::Text | Format::Json | Format::Html | Format::Dot => {}
        Format::Jsonl | Format::Log => {}
    }
}

/// What a line has of a message besides what is always there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// Lists of header and trailer fields in jsonl; har has them.
    pub headers: bool,
    /// Bodies, in jsonl and har.
    pub bodies: bool,
}

/// Appends a transaction in a format of [`Format::TRANSACTIONS`].
#[inline]
pub fn write_transaction(format: Format, item: &Item<'_>, parts: Parts, out: &mut Vec<u8>) {
    match format {
        Format::Jsonl => jsonl::write(item, parts, out),
        Format::Csv => csv::write(item, out),
        Format::Har => har::write(item, parts.bodies, out),
        Format::Text | Format::Json | Format::Html | Format::Dot | Format::Log => {}
    }
}

/// Writes what a format ends with: a summary is nothing else. `style` is that of
/// text.
///
/// # Errors
/// What `out` returns.
pub fn write_end(
    format: Format,
    report: &Report,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Text => text::write(report, style, out),
        Format::Json => json::write(report, out),
        Format::Html => html::write(report, out),
        Format::Dot => dot::write(report, out),
        Format::Har => har::write_end(report, out),
        Format::Jsonl | Format::Csv | Format::Log => Ok(()),
    }
}

/// An address as reports write it: "ip:port", IPv6 in brackets.
pub fn address_text(address: SocketAddr) -> String {
    let mut out = Vec::new();
    write::push_address(&mut out, address);
    text_of(&out)
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
    /// What the capture says of the client's end: its process, where that runs.
    pub client_end: End<'a>,
    /// The same of the server's.
    pub server_end: End<'a>,
    /// What is known of it since both its ends were seen, on two nodes.
    pub joined: Option<&'a Joined>,
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
    /// Whether a reset ended it.
    pub reset: bool,
    /// Packets that are copies of one seen on another interface.
    pub duplicates: u64,
    /// Names of the client's processes and of the server's, where the capture
    /// says them.
    pub processes: [Vec<String>; 2],
    /// What is known of both ends in the end, where that is more than processes.
    pub ends: [OwnedEnd; 2],
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
    /// What was reported of it; None where that is all.
    pub filter: Option<FilterTotals>,
    /// What joining recordings of several nodes came to; None where none was.
    pub joined: Option<JoinTotals>,
}

/// A bound in time as the user wrote it, and as a time where that is known.
pub type BoundTotals = (String, Option<Timestamp>);

/// A filter and what it came to.
#[derive(Clone, Debug, Default)]
pub struct FilterTotals {
    /// The expression.
    pub expression: Option<String>,
    /// Where it begins.
    pub since: Option<BoundTotals>,
    /// Where it ends.
    pub until: Option<BoundTotals>,
    /// How many transactions it took.
    pub selection: Selection,
}

impl FilterTotals {
    /// What a filter came to; None of one that takes all.
    pub fn of(filter: &Filter, selection: Selection) -> Option<Self> {
        if filter.is_all() {
            return None;
        }
        let window = filter.window();
        let [since, until] = window.map_or([None, None], Window::bounds);
        let ends = window.and_then(Window::ends);
        Some(Self {
            expression: filter.expression().map(str::to_owned),
            since: since.map(|bound| (bound.to_string(), ends.and_then(|ends| ends.since))),
            until: until.map(|bound| (bound.to_string(), ends.and_then(|ends| ends.until))),
            selection,
        })
    }
}
