//! The recording itself: probe, load, attach; then ring → writer until the
//! end; then the counts.
//!
//! One thread reads the ring and makes packets; compressing and writing are
//! the sink's thread. Prints nothing: what a user should know goes to `say`.

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::backend::{Recorder, Settings, StartError, cgroup_mount};
use super::change::Change;
use super::command::{Held, Prints};
use super::confine::{Confine, ConfineError, Confined};
use super::counters::Counters;
use super::event::Kind;
use super::metrics::{Board, Watch};
use super::naming::Source;
use super::ring::POLL_INTERVAL;
use super::sources::{SourceNews, Sources};
use super::targets::{self, Found, Targets};
use super::writer::{Clock, Loss, Summary, WriteError, WriteOptions, Writer};

/// How often containers and cgroups are looked for again.
const TARGET_INTERVAL: Duration = Duration::from_secs(1);

/// After a command has ended, its last packets may be under way.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// Rounds in which what is queued at the end is read: one takes 65,536 events.
const LAST_ROUNDS: usize = 64;

/// Processes that have called exec and are looked at before the next round of
/// events: more than can in 20 ms; the others are found a second later.
const MAX_EXECS: usize = 4096;

/// Reasons for a loss.
const LOSSES: usize = 8;

/// How often the programs' counts are read while recording: reading takes as
/// long as some hundred events, and the file needs them when it ends.
const COUNT_INTERVAL: Duration = Duration::from_millis(500);

/// How long a command may take to end after Ctrl-C before the recording does.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(2);

/// What is to be recorded, how, and until when.
pub struct Options {
    /// For the kernel side.
    pub settings: Settings,
    /// For the file.
    pub write: WriteOptions,
    /// Containers, cgroups and pods to be resolved while recording.
    pub targets: Targets,
    /// Who knows pods and addresses.
    pub source: Source,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// Record this command; empty is none.
    pub command: Vec<OsString>,
    /// Where it prints.
    pub command_prints: Prints,
    /// Where counts and health are put for others, if they are asked for.
    pub board: Option<Arc<Board>>,
    /// How the process shuts itself in when all is attached; None: not at all.
    /// Then it has one thread until then.
    pub confine: Option<Confine>,
    /// Starts threads of others, which would not be shut in if they were there before.
    pub threads: Vec<Start>,
}

/// Starts a thread.
pub type Start = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// What the user may ask for while it runs.
pub struct Control<'a> {
    /// Set to end.
    pub stop: &'a AtomicBool,
    /// Set to be told the counts so far; cleared then.
    pub status: &'a AtomicBool,
    /// Takes lines for the user.
    pub say: &'a mut dyn FnMut(Note<'_>),
    /// What else may be asked, where it may.
    pub reload: Option<Reload<'a>>,
}

/// How settings are read again while it runs.
pub struct Reload<'a> {
    /// Set to ask; cleared then.
    pub asked: &'a AtomicBool,
    /// Reads them; None if nothing is to change.
    pub read: &'a mut dyn FnMut() -> Option<Change>,
}

/// Something a user should know while it runs.
#[derive(Debug)]
pub enum Note<'a> {
    /// Recording has begun: all programs are attached.
    Begun {
        /// The running recorder.
        recorder: &'a Recorder,
        /// How it is shut in, if it is.
        confined: Option<&'a Confined>,
    },
    /// The counts so far, as asked for.
    Status {
        /// Of the programs.
        counters: Counters,
        /// Of the writer.
        summary: &'a Summary,
    },
    /// A source of names fails, or answers again.
    Names(SourceNews),
    /// A part of what was to change could not.
    NotChanged {
        /// Why.
        error: io::Error,
    },
}

/// How a recording ended.
#[derive(Debug)]
pub struct Outcome {
    /// What was written.
    pub summary: Summary,
    /// What the programs counted.
    pub counters: Counters,
    /// Why writing ended early, if it did.
    pub write_error: Option<WriteError>,
    /// Why reading the ring ended early, if it did.
    pub ring_error: Option<io::Error>,
    /// How the command ended, if there was one and it did.
    pub command: Option<ExitStatus>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Whether all that the filters let through is in the file.
    pub fn is_complete(&self) -> bool {
        self.write_error.is_none()
            && self.ring_error.is_none()
            && !self.counters.any_lost()
            && self.summary.gap_bytes == 0
            && self.summary.malformed == 0
            && self.summary.evicted == 0
            && self.summary.removed_for_space == 0
    }
}

/// Why a recording could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No back end could be loaded and attached.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It could not give up its privileges.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The output could not be created.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The command could not be started.
    #[error("cannot start {name}: {source}")]
    Command {
        /// Its first word.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Records until the end.
///
/// # Errors
///
/// Only what stops it from beginning; later trouble is in the [`Outcome`].
pub fn run(mut options: Options, mut control: Control<'_>) -> Result<Outcome, RunError> {
    let command = start_command(&options.command, options.command_prints)?;
    let mut found = Found::default();
    let filter = &mut options.settings.filter;
    let asked = std::mem::take(&mut filter.pids);
    filter.pids = targets::with_children(&asked);
    filter.pids.extend(command.iter().map(Held::pid));
    if !options.targets.is_empty() {
        let mount = cgroup_mount();
        found = options.targets.find(mount.as_deref(), options.source.as_deref());
        filter.cgroups.extend(&found.cgroups);
        filter.pids.extend(&found.pids);
        // Those that come later are of the same kind as would be found now.
        let whole = targets::has_cgroups();
        filter.cgroups_later |= whole;
        filter.pids_later |= !whole;
    }
    let recorder = Recorder::start(&options.settings)?;
    options.write.back_end = recorder.back_end().to_string();
    options.write.back_end_reason = reason(&recorder);
    let confined = shut_in(&mut options, &recorder, command.as_ref())?;
    let writer = Writer::create(&options.write, Clock::now(), options.source.clone())?;
    let begun = Instant::now();
    let counted = (begun, losses(&Counters::default()));
    let (writer, trouble) = (Some(writer), Trouble::default());
    let source = options.source.clone();
    let (execs, generation) = (Vec::new(), 0);
    let watch = Watch::new(options.board.take());
    let mut session = Session {
        recorder,
        writer,
        command,
        found,
        asked,
        trouble,
        counted,
        source,
        execs,
        generation,
        sources: Sources::default(),
        news: Vec::new(),
        watch,
    };
    // Those that were forked while the programs were being loaded.
    for pid in targets::with_children(&session.asked) {
        // A full set is told by the counters of what the filters kept out.
        let _ = session.recorder.add_pid(pid);
    }
    session.trouble.ring = session.recorder.scan().err();
    let confined = confined.as_ref();
    (control.say)(Note::Begun { recorder: &session.recorder, confined });
    session.go();
    let ring = u64::from(options.settings.buffer_bytes);
    session.watch.begin(session.recorder.back_end().to_string(), ring);
    session.publish(Counters::default());
    session.record(&mut options, &mut control, begun);
    Ok(session.finish(begun))
}

impl Reload<'_> {
    /// What is to change, if it was asked and anything is.
    fn asked(&mut self) -> Option<Change> {
        if self.asked.swap(false, Ordering::Relaxed) { (self.read)() } else { None }
    }
}

fn start_command(words: &[OsString], prints: Prints) -> Result<Option<Held>, RunError> {
    let Some(name) = words.first() else { return Ok(None) };
    let name = name.to_string_lossy().into_owned();
    Held::start(words, prints).map(Some).map_err(|source| RunError::Command { name, source })
}

/// From here on only what a running recorder needs; then the threads begin.
fn shut_in(
    options: &mut Options,
    recorder: &Recorder,
    command: Option<&Held>,
) -> Result<Option<Confined>, RunError> {
    let mut confined = None;
    if let Some(mut confine) = options.confine.take() {
        confine.calls.signal = command.map(Held::pid);
        confine.rules.signals |= command.is_some();
        confined = Some(confine.apply(&|| recorder.answers())?);
    }
    for start in options.threads.drain(..) {
        start().map_err(RunError::Thread)?;
    }
    if let Some(source) = &options.source {
        source.begin().map_err(RunError::Thread)?;
    }
    Ok(confined)
}

/// Why this back end and no other, for the file.
fn reason(recorder: &Recorder) -> String {
    let refusals: Vec<String> = recorder.refusals().iter().map(ToString::to_string).collect();
    if refusals.is_empty() { "the first choice".to_owned() } else { refusals.join("; ") }
}

/// What ended a part of it early.
#[derive(Default)]
struct Trouble {
    write: Option<WriteError>,
    ring: Option<io::Error>,
    /// What was written until then.
    written: Summary,
}

/// A recording under way.
struct Session {
    recorder: Recorder,
    /// None once writing has failed.
    writer: Option<Writer>,
    command: Option<Held>,
    found: Found,
    /// Processes as given.
    asked: Vec<u32>,
    trouble: Trouble,
    /// The programs' counts, and when they were read.
    counted: (Instant, [Loss; LOSSES]),
    source: Source,
    /// Processes that have called exec since it was last looked for targets, and their cgroups.
    execs: Vec<(u32, u64)>,
    /// What the source had told by then.
    generation: u64,
    sources: Sources,
    /// What is to be said of the sources.
    news: Vec<SourceNews>,
    watch: Watch,
}

impl Session {
    fn go(&mut self) {
        if let Some(command) = &self.command
            && let Err(error) = command.go()
        {
            self.trouble.ring.get_or_insert(error);
        }
    }

    /// Until the end: asked for, reached, or forced by trouble.
    fn record(&mut self, options: &mut Options, control: &mut Control<'_>, begun: Instant) {
        let mut looked = begun;
        let mut interrupted: Option<Instant> = None;
        let mut ended: Option<Instant> = None;
        while self.writer.is_some() && self.trouble.ring.is_none() {
            self.round();
            self.news.drain(..).for_each(|news| (control.say)(Note::Names(news)));
            if control.status.swap(false, Ordering::Relaxed) {
                self.status(control);
            }
            let mut more = self.look_at_execs(&options.targets);
            if let Some(change) = control.reload.as_mut().and_then(Reload::asked)
                && let Err(error) = self.change(change, options)
            {
                (control.say)(Note::NotChanged { error });
            }
            if looked.elapsed() >= TARGET_INTERVAL || self.has_news() {
                looked = Instant::now();
                more |= self.look_again(&options.targets);
            }
            if more {
                let filter = &options.settings.filter;
                self.trouble.ring = self.recorder.look_at_listeners_again(filter).err();
            }
            if ended.is_none() && self.command_has_ended() {
                ended = Some(Instant::now());
            }
            let full = self.writer.as_ref().is_some_and(Writer::is_full);
            let over = options.duration.is_some_and(|duration| begun.elapsed() >= duration);
            if full || over || ended.is_some_and(|at| at.elapsed() >= AFTERWARDS) {
                return;
            }
            if control.stop.load(Ordering::Relaxed)
                && !self.waits_for_command(&mut interrupted, ended)
            {
                return;
            }
        }
    }

    /// What is queued goes to the writer; then it may flush. Returns how many
    /// events that was.
    fn round(&mut self) -> usize {
        let now = Clock::boottime();
        if self.counted.0.elapsed() >= COUNT_INTERVAL {
            let counters = self.recorder.counters();
            self.counted = (Instant::now(), losses(&counters));
            self.publish(counters);
        }
        let Session { recorder, writer, trouble, counted, execs, watch, .. } = self;
        watch.turn(|| recorder.ring_used());
        let Some(open) = writer else { return 0 };
        let mut failed = None;
        let polled = recorder.poll(POLL_INTERVAL, &mut |event| {
            if event.kind == Kind::Exec && execs.len() < MAX_EXECS {
                execs.push((event.pid, event.cgroup));
            }
            if failed.is_none() {
                failed = open.event(&event).err();
            }
        });
        let failed = failed.or_else(|| open.tick(now, &counted.1).err());
        if let Some(error) = failed {
            trouble.written = open.summary().clone();
            trouble.write = Some(error);
            *writer = None;
            watch.fail();
        }
        let events = polled.unwrap_or_else(|error| {
            trouble.ring = Some(error);
            0
        });
        watch.read(events);
        events
    }

    /// Counts and health, for others.
    fn publish(&mut self, counters: Counters) {
        let (more, news) = self.sources.look(&self.source);
        self.news.extend(news);
        self.watch.publish(counters, &self.counted.1, self.writer.as_ref(), more);
    }

    fn status(&self, control: &mut Control<'_>) {
        if let Some(writer) = &self.writer {
            let counters = self.recorder.counters();
            (control.say)(Note::Status { counters, summary: writer.summary() });
        }
    }

    /// Whether more is known of pods than when it was last looked for them.
    fn has_news(&mut self) -> bool {
        let generation = self.source.as_ref().map_or(0, |source| source.generation());
        std::mem::replace(&mut self.generation, generation) != generation
    }

    /// A container begins with an exec: one that is asked for is recorded from
    /// then on, not only when it is looked for again. Whether there is any.
    fn look_at_execs(&mut self, targets: &Targets) -> bool {
        let execs = std::mem::take(&mut self.execs);
        if targets.is_empty() || execs.is_empty() {
            return false;
        }
        let mut more = false;
        let wanted = targets.wanted(self.source.as_deref());
        let by_cgroup = targets::has_cgroups();
        for (pid, cgroup) in execs {
            if !wanted.takes_process(pid) {
                continue;
            }
            // 1 is the root: nobody's in particular.
            if by_cgroup && cgroup > 1 {
                if self.found.cgroups.insert(cgroup) {
                    more |= self.recorder.add_cgroup(cgroup).is_ok();
                }
            } else if self.found.pids.insert(pid) {
                more |= self.recorder.add_pid(pid).is_ok();
            }
        }
        more
    }

    /// Containers, cgroups and pods that have come since; whether there are any.
    fn look_again(&mut self, targets: &Targets) -> bool {
        if targets.is_empty() {
            return false;
        }
        let now = targets.find(cgroup_mount().as_deref(), self.source.as_deref());
        // A full set is told by the counters of what the filters kept out.
        for id in now.cgroups.difference(&self.found.cgroups) {
            let _ = self.recorder.add_cgroup(*id);
        }
        for pid in now.pids.difference(&self.found.pids) {
            let _ = self.recorder.add_pid(*pid);
        }
        let more =
            !now.cgroups.is_subset(&self.found.cgroups) || !now.pids.is_subset(&self.found.pids);
        self.found = now;
        more
    }

    /// Makes it so; what a set has no room for is told.
    fn change(&mut self, change: Change, options: &mut Options) -> io::Result<()> {
        let done = change.sets(&self.recorder, &mut options.settings.filter);
        if let Some(duration) = change.duration {
            options.duration = duration;
        }
        if let Some(pids) = change.pids {
            let old = targets::with_children(&std::mem::replace(&mut self.asked, pids));
            old.into_iter().for_each(|pid| self.recorder.remove_pid(pid));
        }
        if let Some(targets) = change.targets {
            options.targets = targets;
            let old = std::mem::take(&mut self.found);
            let source = self.source.as_deref();
            let now = options.targets.find(cgroup_mount().as_deref(), source);
            old.cgroups.difference(&now.cgroups).for_each(|id| self.recorder.remove_cgroup(*id));
            old.pids.difference(&now.pids).for_each(|pid| self.recorder.remove_pid(*pid));
        }
        // What is in both was never out, or comes again at once.
        self.look_again(&options.targets);
        let own = self.command.iter().map(Held::pid);
        let pids = targets::with_children(&self.asked).into_iter().chain(own);
        let by_pid = options.settings.filter.by_pid();
        let added = pids.filter(|_| by_pid).try_for_each(|pid| self.recorder.add_pid(pid));
        let listeners = self.recorder.look_at_listeners_again(&options.settings.filter);
        added.and(listeners).and(done)
    }

    fn command_has_ended(&mut self) -> bool {
        self.command.as_mut().is_some_and(|command| !matches!(command.ended(), Ok(None)))
    }

    /// After Ctrl-C a command that runs is given the time to end too.
    fn waits_for_command(&self, interrupted: &mut Option<Instant>, ended: Option<Instant>) -> bool {
        let Some(command) = &self.command else { return false };
        let at = *interrupted.get_or_insert_with(|| {
            command.interrupt();
            Instant::now()
        });
        ended.is_none() && at.elapsed() < INTERRUPT_PATIENCE
    }

    /// Reads what is still queued, and closes the file.
    fn finish(mut self, begun: Instant) -> Outcome {
        self.watch.end();
        // The ring is read to its end, but not for as long as others fill it.
        for _ in 0..LAST_ROUNDS {
            if self.round() == 0 {
                break;
            }
        }
        let counters = self.recorder.counters();
        let elapsed = begun.elapsed();
        let summary = match self.writer.take() {
            None => std::mem::take(&mut self.trouble.written),
            Some(writer) => {
                let so_far = writer.summary().clone();
                writer.finish(&losses(&counters)).unwrap_or_else(|error| {
                    self.trouble.write = Some(error);
                    so_far
                })
            }
        };
        let command = self.command.as_mut().and_then(|command| command.ended().ok().flatten());
        let Trouble { write: write_error, ring: ring_error, .. } = self.trouble;
        Outcome { summary, counters, write_error, ring_error, command, elapsed }
    }
}

/// The programs' counts, as the file has them.
fn losses(counters: &Counters) -> [Loss; LOSSES] {
    let loss = |reason, events, bytes| Loss { reason, events, bytes, whole: true };
    [
        Loss { whole: false, ..loss("filling", counters.cut, counters.cut_bytes) },
        loss(
            "ring",
            counters.lost.saturating_sub(counters.recovered),
            counters.lost_bytes.saturating_sub(counters.recovered_bytes),
        ),
        loss("ring_other", counters.lost_other, 0),
        loss("share", counters.over_share, counters.over_share_bytes),
        loss("unreadable", counters.unreadable, counters.unreadable_bytes),
        loss("call_limit", counters.over_limit, counters.over_limit_bytes),
        loss("table_full", counters.table_full, 0),
        loss("missed_runs", counters.missed_runs, 0),
    ]
}
