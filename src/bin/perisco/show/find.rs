//! From an id to its transactions.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use perisco::analyze::filter::Filter;
use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Control};
use perisco::analyze::report::{Destination, Destinations, Format, Id, Parts, Report, jsonl};
use perisco::analyze::transaction::Message;
use perisco::analyze::watch::{Progress, Watch, Watched};

use super::Passes;

/// Transactions of one id that are shown: only a connection that uses streams
/// again has more than one or two.
pub const SHOWN: usize = 16;

/// Transactions of a connection that are named where the one asked for is none of
/// them.
const NAMED: usize = 20;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The transactions of an id.
    Id(Id),
    /// A line of jsonl, from 1.
    Line(u64),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(0) => Err("lines of jsonl count from 1".to_owned()),
            Ok(line) if digits => Ok(Self::Line(line)),
            _ => text.parse().map(Self::Id).map_err(|_| {
                format!(
                    "`{text}` is neither an id, such as 12.3 (connection 12, stream or \
                     transaction 3), nor the number of a line of jsonl"
                )
            }),
        }
    }
}

/// Finds the transactions of an id, and reads their bodies. Says what the last
/// pass came to as well.
///
/// # Errors
/// Where there is none, which says what there is; where files cannot be read.
pub fn find(passes: &Passes<'_>, wanted: Wanted) -> anyhow::Result<(Vec<Watched>, Report)> {
    let (id, line) = match wanted {
        Wanted::Id(id) => (id, None),
        Wanted::Line(nth) => line_of(passes, nth)?,
    };
    let looker = Looker::new(id);
    let report = looker.pass(passes, None)?;
    let (found, others) = looker.end();
    if found.is_empty() {
        return Err(nothing(id, &others, &report));
    }
    let packet = |message: &Option<Message>| message.as_ref().map(|message| message.packet);
    let packets: Arc<[u64]> = found
        .iter()
        .flat_map(|one| [packet(&one.transaction.request), packet(&one.transaction.response)])
        .flatten()
        .collect();
    let looker = Looker::new(id);
    let report = looker.pass(passes, Some(packets))?;
    let (mut found, _) = looker.end();
    if let Some(line) = line {
        // Of those that share an id the one of this line.
        let is = |one: &Watched| bare_line(one) == line;
        if found.iter().any(is) {
            found.retain(is);
        }
    }
    Ok((found, report))
}

/// A transaction as the line that [`line_of`] looks for.
fn bare_line(watched: &Watched) -> Vec<u8> {
    let mut line = Vec::new();
    jsonl::write(&watched.item(), Parts::default(), &mut line);
    line
}

/// Why nothing was found, and what there is.
fn nothing(id: Id, others: &BTreeSet<u64>, report: &Report) -> anyhow::Error {
    let connections = report.flows.count;
    if id.connection == 0 || id.connection > connections {
        return anyhow!(
            "no transaction {id}: connections are counted from 1, and the capture has {connections}"
        );
    }
    if others.is_empty() {
        return anyhow!(
            "no transaction {id}: connection {} has no transaction that is decoded",
            id.connection
        );
    }
    let mut names: Vec<_> =
        others.iter().take(NAMED).map(|nth| Id { nth: *nth, ..id }.to_string()).collect();
    if others.len() > NAMED {
        names.push("…".to_owned());
    }
    anyhow!("no transaction {id}: connection {} has {}", id.connection, names.join(", "))
}

/// Looks on for the transactions of an id.
struct Looker {
    id: Id,
    found: RefCell<Vec<Watched>>,
    /// What else the connection has: some more than are named.
    others: RefCell<BTreeSet<u64>>,
}

impl Looker {
    fn new(id: Id) -> Self {
        Self { id, found: RefCell::default(), others: RefCell::default() }
    }

    /// A pass over the files that looks at the connection alone.
    fn pass(&self, passes: &Passes<'_>, bodies: Option<Arc<[u64]>>) -> anyhow::Result<Report> {
        let only = format!("connection == {}", self.id.connection);
        let filter = Filter::new(Some(&only), None).map_err(|error| anyhow!("{error}"))?;
        let options = Options { filter, ..passes.options(bodies) };
        let control = Control { stop: passes.stop, progress: &|_| {} };
        Ok(pipeline::watch(passes.open()?, &options, &control, self)?.report)
    }

    fn end(self) -> (Vec<Watched>, BTreeSet<u64>) {
        let mut found = self.found.into_inner();
        found.sort_by_key(Watched::sort_key);
        (found, self.others.into_inner())
    }
}

impl Watch for Looker {
    fn round(&self, finished: &mut Vec<Watched>, _: &Progress) {
        let (mut found, mut others) = (self.found.borrow_mut(), self.others.borrow_mut());
        for one in finished.drain(..) {
            let id = one.item().id();
            if id == self.id && found.len() < SHOWN {
                found.push(one);
            } else if others.len() <= NAMED {
                others.insert(id.nth);
            }
        }
    }
}

/// The id of a line of jsonl, and the line.
fn line_of(passes: &Passes<'_>, nth: u64) -> anyhow::Result<(Id, Option<Vec<u8>>)> {
    let mut lines = Lines { nth, seen: 0, line: Vec::new() };
    let options = Options { formats: Format::Jsonl.into(), headers: false, ..passes.options(None) };
    let control = Control { stop: passes.stop, progress: &|_| {} };
    let mut destinations = Destinations::new(vec![Destination::new(Format::Jsonl, &mut lines)]);
    pipeline::run(passes.open()?, &options, &control, &mut destinations)?;
    drop(destinations);
    if lines.seen < nth {
        bail!("no line {nth}: transactions are counted from 1, and the capture has {}", lines.seen);
    }
    let value: serde_json::Value = serde_json::from_slice(&lines.line)?;
    let id = value["id"].as_str().unwrap_or_default().parse()?;
    Ok((id, Some(lines.line)))
}

/// Keeps one line of those that are written to it.
struct Lines {
    nth: u64,
    /// Lines that have ended.
    seen: u64,
    line: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.seen + 1 == self.nth {
                self.line.extend_from_slice(part);
            }
            self.seen += u64::from(part.ends_with(b"\n"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
