//! What rounds have told, in order: numbers of connections, lines, events.
//!
//! Between two rounds, on one thread; so it does as little as it can. That
//! the output does not depend on how many threads there are is decided here.

use std::io::Write;
use std::sync::Mutex;

use crate::analyze::crew::lock;
use crate::analyze::options::Options;
use crate::analyze::pipeline::{AnalyzeError, Control};
use crate::analyze::report::log::LogLine;
use crate::analyze::report::sorter::{SortError, Sorter};
use crate::analyze::report::{Format, csv};
use crate::analyze::shard::{Lines, LogEvent, Shard};
use crate::time::{Timestamp, earliest};

/// Bytes of sorted lines kept in memory before they go to a temporary file, as
/// they do where an old transaction stays open and all later ones wait for it.
const SORT_BYTES: usize = 144 << 20;

/// Rounds between two looks for lines that may go out, at most.
const FLUSH_ROUNDS: u64 = 256;

/// Connections of which each is looked at, for open transactions, in about a
/// third of the time that a round takes.
const LOOK_CONNECTIONS: u64 = 1024;

/// Lines wait this long for earlier ones, in nanoseconds: captures from
/// several CPUs mix by milliseconds. A longer wait is dear: what was written
/// before it is no more in the processor's caches when it goes out.
const LATE_NANOS: i64 = 100_000_000;

/// A transaction open longer than this does not hold back the lines of
/// others on a live stream, in nanoseconds; it comes out of order.
const LIVE_OPEN_NANOS: i64 = 10_000_000_000;

/// Where the input stands when a round is done.
pub struct Now {
    /// Bytes of input read.
    pub position: u64,
    /// Number of the last packet.
    pub last_packet: u64,
    /// The latest time seen.
    pub time: Option<Timestamp>,
    /// Whether packets come as they are captured.
    pub live: bool,
}

/// Numbers connections and lets lines out.
pub struct Outlet<'a> {
    options: &'a Options,
    shards: &'a [Mutex<Shard>],
    control: &'a Control<'a>,
    out: &'a mut dyn Write,
    connections: u64,
    /// Connections that began in the round: first packet and shard.
    fresh: Vec<(u64, usize)>,
    sorter: Sorter,
    /// Rounds since lines were last let out.
    rounds: u64,
    buffer: Vec<u8>,
}

impl<'a> Outlet<'a> {
    /// From these shards to `out`, which gets its first line if the format has
    /// one.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn new(
        options: &'a Options,
        shards: &'a [Mutex<Shard>],
        control: &'a Control<'a>,
        out: &'a mut dyn Write,
    ) -> std::io::Result<Self> {
        let mut outlet = Self {
            options,
            shards,
            control,
            out,
            connections: 0,
            fresh: Vec::new(),
            sorter: Sorter::new(SORT_BYTES),
            rounds: 0,
            buffer: Vec::new(),
        };
        if options.format == Format::Csv {
            csv::write_header(&mut outlet.buffer);
            outlet.write_buffer()?;
        }
        Ok(outlet)
    }

    /// After a round: takes what the shards of these bits have to tell, and
    /// lets out what is ready.
    ///
    /// # Errors
    /// When the output cannot be written or lines cannot be sorted.
    pub fn settle(&mut self, told: u64, now: &Now) -> Result<(), AnalyzeError> {
        if told != 0 {
            self.number(told, now.last_packet);
            self.take(told, false)?;
        }
        self.rounds += 1;
        if now.live || self.rounds >= FLUSH_ROUNDS || self.is_worth_a_look() {
            self.rounds = 0;
            (self.control.progress)(now.position);
            self.let_out(now)?;
        }
        if now.live {
            self.out.flush()?;
        }
        Ok(())
    }

    /// After the last round and the end of all connections: lets out all.
    /// Returns how many lines came after later ones.
    ///
    /// # Errors
    /// When the output cannot be written or lines cannot be sorted.
    pub fn finish(mut self) -> Result<u64, AnalyzeError> {
        self.take(u64::MAX, true)?;
        let late = self.sorter.late();
        self.sorter.finish(self.out)?;
        Ok(late)
    }

    /// Whether many lines wait, and all connections are soon looked at for open
    /// transactions, beside what the rounds took.
    fn is_worth_a_look(&self) -> bool {
        self.sorter.is_filling() && {
            let connections = self.shards.iter().map(|shard| lock(shard).connections());
            connections.sum::<usize>() as u64 <= self.rounds * LOOK_CONNECTIONS
        }
    }

    fn shards(&self, bits: u64) -> impl Iterator<Item = &'a Mutex<Shard>> + use<'a> {
        let shards = self.shards.iter().enumerate();
        shards.filter(move |(index, _)| bits >> index & 1 == 1).map(|(_, shard)| shard)
    }

    /// Numbers connections up to this packet in the order of their first packets.
    fn number(&mut self, told: u64, last: u64) {
        for shard in self.shards(told) {
            lock(shard).list_fresh(last, &mut self.fresh);
        }
        self.fresh.sort_unstable();
        for (_, shard) in self.fresh.drain(..) {
            self.connections += 1;
            if let Some(shard) = self.shards.get(shard) {
                lock(shard).number(self.connections);
            }
        }
    }

    /// Takes events, and lines as [`Outlet::take_lines`] does.
    fn take(&mut self, told: u64, all: bool) -> Result<(), AnalyzeError> {
        match self.options.format {
            Format::Text | Format::Json => Ok(()),
            Format::Jsonl | Format::Csv => Ok(self.take_lines(told, all)?),
            Format::Log => Ok(self.write_events(told)?),
        }
    }

    /// Hands finished lines to the sorter; unless `all`, only where that is
    /// many, which then change hands without a copy.
    fn take_lines(&mut self, told: u64, all: bool) -> Result<(), SortError> {
        for shard in self.shards(told) {
            let Lines { keys, bytes } = &mut lock(shard).lines;
            self.sorter.take(keys, bytes, all)?;
        }
        Ok(())
    }

    fn write_events(&mut self, told: u64) -> std::io::Result<()> {
        let mut events: Vec<LogEvent> = Vec::new();
        for shard in self.shards(told) {
            events.append(&mut lock(shard).events);
        }
        events.sort_by_key(|event| event.packet);
        for LogEvent { at, server, client, kind, text, .. } in &events {
            let line = LogLine { at: *at, server: *server, client: *client, kind: *kind, text };
            line.write(self.control.color, &mut self.buffer);
        }
        self.write_buffer()
    }

    fn write_buffer(&mut self) -> std::io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn let_out(&mut self, now: &Now) -> Result<(), SortError> {
        if !matches!(self.options.format, Format::Jsonl | Format::Csv) {
            return Ok(());
        }
        let Some(time) = now.time else { return Ok(()) };
        self.take_lines(u64::MAX, true)?;
        let since = now.live.then(|| time.plus(-LIVE_OPEN_NANOS));
        let open = self.shards.iter().map(|shard| lock(shard).watermark(since));
        let open = open.fold(None, earliest);
        let watermark = earliest(open, Some(time.plus(-LATE_NANOS)));
        self.sorter.advance(watermark, self.out)
    }
}
