//! What rounds have told, in order: numbers of connections, lines, events, and what
//! somebody looks at.
//!
//! Between two rounds, on one thread; so it does as little as it can, and writes
//! when the next round has begun. That the output does not depend on how many threads there are is decided here.

use std::sync::Mutex;

use crate::analyze::crew::lock;
use crate::analyze::join::{Ended, Joining, Points};
use crate::analyze::options::Options;
use crate::analyze::pipeline::{AnalyzeError, Control};
use crate::analyze::report::log::LogLine;
use crate::analyze::report::sorter::{SortError, Sorter};
use crate::analyze::report::{Destinations, Format, write_begin};
use crate::analyze::shard::{Lines, LogEvent, Shard, TransactionLines};
use crate::analyze::watch::{Coverage, Progress, Watch, Watched};
use crate::time::{Timestamp, earliest};

/// Bytes of sorted lines kept in memory before they go to a temporary file, as
/// they do where an old transaction stays open and all later ones wait for it.
/// Formats share them evenly, less [`FORMAT_BYTES`].
const SORT_BYTES: usize = 144 << 20;

/// What a second or third format with lines takes besides them: buffers in the
/// shards, open runs, lists that have room to grow.
const FORMAT_BYTES: usize = 16 << 20;

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
    /// The earliest time seen.
    pub first: Option<Timestamp>,
    /// The latest time seen.
    pub time: Option<Timestamp>,
    /// Whether packets come as they are captured.
    pub live: bool,
    /// Packets that the capturer says it lost, packets cut by the snap length, and
    /// damaged inputs.
    pub lost: [u64; 3],
}

impl Now {
    /// What who looks on is told of it.
    fn progress(&self) -> Progress {
        let Self {
            first, time, position, last_packet, lost: [drops, cut_packets, damaged], ..
        } = *self;
        Progress { first, time, position, packets: last_packet, drops, cut_packets, damaged }
    }
}

/// Lines of one format on their way out.
struct Sorting {
    format: Format,
    /// Which of a shard's lines they are.
    at: usize,
    /// None where sorting has failed, and they go nowhere.
    sorter: Option<Sorter>,
}

impl Sorting {
    /// For all formats that have lines for transactions.
    fn all(options: &Options) -> Vec<Self> {
        let formats = Format::TRANSACTIONS.into_iter().enumerate();
        let formats: Vec<_> = formats.filter(|(_, format)| options.formats.has(*format)).collect();
        let count = formats.len().max(1);
        let share = SORT_BYTES.saturating_sub((count - 1) * FORMAT_BYTES) / count;
        let new = |(at, format)| Self { format, at, sorter: Some(Sorter::new(share)) };
        formats.into_iter().map(new).collect()
    }

    /// Does something with the sorter. Where that fails, the format is given up
    /// and the others go on.
    fn with(
        &mut self,
        destinations: &mut Destinations<'_>,
        f: impl FnOnce(&mut Sorter, &mut Destinations<'_>) -> Result<(), SortError>,
    ) {
        let Some(sorter) = &mut self.sorter else { return };
        if let Err(error) = f(sorter, destinations) {
            let why = format!("{error}: {}", error.io());
            destinations.fail(self.format, error.io().kind(), &why);
            self.sorter = None;
        }
    }
}

/// Numbers connections and lets lines out.
pub struct Outlet<'a, 'w> {
    options: &'a Options,
    shards: &'a [Mutex<Shard>],
    control: &'a Control<'a>,
    destinations: &'a mut Destinations<'w>,
    watch: Option<&'a dyn Watch>,
    /// Transactions on their way to it.
    watched: Vec<Watched>,
    connections: u64,
    /// Connections that began in the round: first packet and shard.
    fresh: Vec<(u64, usize)>,
    sortings: Vec<Sorting>,
    /// What joins what several points have seen, where there are several.
    joining: Option<Joining<'a>>,
    /// Rounds since lines were last let out.
    rounds: u64,
    /// Lines of transactions that began before this may go out; None where
    /// nobody has looked since they last did.
    due: Option<Timestamp>,
    /// Whether each round's lines are wanted at once.
    live: bool,
}

impl<'a, 'w> Outlet<'a, 'w> {
    /// From these shards to the destinations, which get what their formats begin with,
    /// and to who looks on.
    pub fn new(
        options: &'a Options,
        shards: &'a [Mutex<Shard>],
        control: &'a Control<'a>,
        destinations: &'a mut Destinations<'w>,
        watch: Option<&'a dyn Watch>,
        points: Option<Points>,
    ) -> Self {
        for destination in destinations.iter_mut() {
            let mut begin = Vec::new();
            write_begin(destination.format(), &mut begin);
            destination.with(|out| out.write_all(&begin));
        }
        Self {
            options,
            shards,
            control,
            destinations,
            watch,
            watched: Vec::new(),
            connections: 0,
            fresh: Vec::new(),
            sortings: Sorting::all(options),
            joining: points.map(|points| Joining::new(points, options, shards)),
            rounds: 0,
            due: None,
            live: false,
        }
    }

    /// After a round: takes what the shards of these bits have to tell.
    pub fn settle(&mut self, told: u64, now: &Now) {
        if told != 0 {
            self.number(told, now.last_packet);
            self.take(told, false);
        }
        if let Some(joining) = &mut self.joining {
            joining.take(shards_of(self.shards, told));
            joining.settle(now.time, &mut self.watched);
        }
        self.tell(told, now);
        self.rounds += 1;
        if now.live || self.rounds >= FLUSH_ROUNDS || self.is_worth_a_look() {
            self.rounds = 0;
            (self.control.progress)(now.position);
            self.look(now);
        }
        self.live = now.live;
    }

    /// Lets out what [`Outlet::settle`] has found to be ready. Asks nothing of
    /// shards, which can be worked on meanwhile.
    ///
    /// # Errors
    /// [`AnalyzeError::Output`] when all destinations have failed.
    pub fn let_out(&mut self) -> Result<(), AnalyzeError> {
        if let Some(watermark) = self.due.take() {
            for sorting in &mut self.sortings {
                let format = sorting.format;
                sorting.with(self.destinations, |sorter, destinations| {
                    sorter.advance(Some(watermark), &mut destinations.of(format))
                });
            }
        }
        if self.live {
            self.destinations.flush();
        }
        if self.destinations.have_all_failed() { Err(AnalyzeError::Output) } else { Ok(()) }
    }

    /// Tells who looks on what has finished.
    fn tell(&mut self, told: u64, now: &Now) {
        let Some(watch) = self.watch else { return };
        for shard in self.shards(told) {
            self.watched.append(&mut lock(shard).watched);
        }
        self.watched.sort_by_key(Watched::sort_key);
        if watch.wants_coverage() {
            let mut coverage = Coverage::default();
            self.shards.iter().for_each(|shard| coverage.add(lock(shard).coverage()));
            watch.coverage(&coverage);
        }
        watch.round(&mut self.watched, &now.progress());
        self.watched.clear();
    }

    /// After the last round and the end of all connections: lets out all.
    /// Returns how many lines of a format came after later ones, and what joining came to.
    ///
    /// # Errors
    /// [`AnalyzeError::Output`] when all destinations have failed.
    pub fn finish(mut self, now: &Now) -> Result<(u64, Option<Ended>), AnalyzeError> {
        if let Some(joining) = &mut self.joining {
            joining.take(self.shards.iter());
            joining.finish(&mut self.watched);
        }
        self.take(u64::MAX, true);
        self.tell(u64::MAX, now);
        let mut late = 0;
        for mut sorting in std::mem::take(&mut self.sortings) {
            // Formats get the same lines at the same times.
            late = late.max(sorting.sorter.as_ref().map_or(0, Sorter::late));
            let format = sorting.format;
            sorting.with(self.destinations, |sorter, destinations| {
                std::mem::take(sorter).finish(&mut destinations.of(format))
            });
        }
        let joined = self.joining.map(Joining::end);
        let failed = self.destinations.have_all_failed();
        if failed { Err(AnalyzeError::Output) } else { Ok((late, joined)) }
    }

    /// Whether many lines wait, and all connections are soon looked at for open
    /// transactions, beside what the rounds took.
    fn is_worth_a_look(&self) -> bool {
        self.sortings.iter().any(|of| of.sorter.as_ref().is_some_and(Sorter::is_filling)) && {
            let connections = self.shards.iter().map(|shard| lock(shard).connections());
            connections.sum::<usize>() as u64 <= self.rounds * LOOK_CONNECTIONS
        }
    }

    fn shards(&self, bits: u64) -> impl Iterator<Item = &'a Mutex<Shard>> + use<'a> {
        shards_of(self.shards, bits)
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
    fn take(&mut self, told: u64, all: bool) {
        self.take_lines(told, all);
        if self.options.formats.has(Format::Log) {
            self.write_events(told);
        }
    }

    /// Hands finished lines to their sorters; unless `all`, only where that is
    /// many, which then change hands without a copy.
    fn take_lines(&mut self, told: u64, all: bool) {
        if self.sortings.is_empty() {
            return;
        }
        for shard in self.shards(told) {
            self.sort(&mut lock(shard).lines, all);
        }
        if let Some(mut joining) = self.joining.take() {
            self.sort(&mut joining.lines, all);
            self.joining = Some(joining);
        }
    }

    fn sort(&mut self, lines: &mut TransactionLines, all: bool) {
        for sorting in &mut self.sortings {
            let Some(Lines { keys, bytes }) = lines.get_mut(sorting.at) else { continue };
            sorting.with(self.destinations, |sorter, _| sorter.take(keys, bytes, all));
            if sorting.sorter.is_none() {
                keys.clear();
                bytes.clear();
            }
        }
    }

    fn write_events(&mut self, told: u64) {
        let mut events: Vec<LogEvent> = Vec::new();
        for shard in self.shards(told) {
            events.append(&mut lock(shard).events);
        }
        if events.is_empty() {
            return;
        }
        events.sort_by_key(|event| event.packet);
        let mut buffer = Vec::new();
        for destination in
            self.destinations.iter_mut().filter(|destination| destination.format() == Format::Log)
        {
            buffer.clear();
            for LogEvent { at, server, client, kind, text, .. } in &events {
                let line = LogLine { at: *at, server: *server, client: *client, kind: *kind, text };
                line.write(destination.color(), &mut buffer);
            }
            destination.with(|out| out.write_all(&buffer));
        }
    }

    /// Takes all lines and looks up to when they may go out.
    fn look(&mut self, now: &Now) {
        if self.sortings.is_empty() {
            return;
        }
        let Some(time) = now.time else { return };
        self.take_lines(u64::MAX, true);
        let since = now.live.then(|| time.plus(-LIVE_OPEN_NANOS));
        let open = self.shards.iter().map(|shard| lock(shard).watermark(since));
        let open = open.fold(None, earliest);
        let open = earliest(open, self.joining.as_ref().and_then(Joining::watermark));
        self.due = earliest(open, Some(time.plus(-LATE_NANOS)));
    }
}

/// The shards of these bits.
fn shards_of(shards: &[Mutex<Shard>], bits: u64) -> impl Iterator<Item = &Mutex<Shard>> {
    let shards = shards.iter().enumerate();
    shards.filter(move |(index, _)| bits >> index & 1 == 1).map(|(_, shard)| shard)
}
