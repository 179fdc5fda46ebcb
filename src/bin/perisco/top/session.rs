//! One run of `perisco top`, from its threads to its last line.

use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Control};
use perisco::analyze::report::Report;
use perisco::analyze::report::route::Routes;
use perisco::analyze::report::text::units::{count, escape, plural, share};
use perisco::analyze::watch::Coverage;
use perisco::pcap::{Capture, Input, OpenOptions};

use super::app::{App, Does};
use super::keys::{self, Key};
use super::pace::{Pace, Speed};
use super::screen::{Look, Screen};
use super::source::{Recorder, Source, Told};
use super::state::series::Window;
use super::state::{Feed, Model};
use super::view::{self, About};
use super::watcher::{Shared, Watcher};

/// How often the screen is drawn where no key asks for it.
const FRAME: Duration = Duration::from_millis(250);

/// How long an input may take to be opened before the screen comes without it:
/// one that is no capture is told without.
const OPEN_WAIT: Duration = Duration::from_millis(300);

/// How often the recorder is asked what it has lost: it counts that anyway.
const ASK: Duration = Duration::from_secs(1);

/// How long the end of a recording may take to come through the pipe.
const LAST_PACKETS: Duration = Duration::from_secs(4);

/// How long the analysis may take to end after that.
const END: Duration = Duration::from_secs(5);

/// How long the recorder may take to say what it came to, after its packets.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What happens.
enum Event {
    Key(Key),
    /// The terminal is gone.
    Gone,
    /// The input is open.
    Opened {
        live: bool,
        size: Option<u64>,
    },
    /// The analysis has ended.
    Ended(Result<Box<Report>, String>),
}

/// What is left when it has ended.
pub struct Ended {
    /// One line: what was seen, and what was lost.
    pub summary: String,
    pub errors: Vec<String>,
    pub code: ExitCode,
}

/// A run under way.
pub struct Session {
    shared: Arc<Shared>,
    events: Receiver<Event>,
    send: Sender<Event>,
    /// Set by signals; ends the recorder, too.
    stop: Arc<AtomicBool>,
    recorder: Option<Recorder>,
    about: About,
    app: App,
    /// What is shown while it is paused.
    frozen: Option<Box<Model>>,
    report: Option<Result<Box<Report>, String>>,
    errors: Vec<String>,
    code: ExitCode,
}

impl Session {
    /// Starts the analysis.
    pub fn start(
        source: Source,
        options: Options,
        routes: Routes,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let Source { input, title, speed, recorder } = source;
        // The analysis of a recording goes on until that has ended.
        let analysis_stop = if recorder.is_some() { Arc::default() } else { Arc::clone(&stop) };
        let shared = Arc::new(Shared::new(Model::new(routes), analysis_stop));
        let filter = options.filter.expression().map(str::to_owned);
        let about = About { title, feed: Feed::Live, speed, size: None, filter };
        let (send, events) = channel();
        let (to, theirs) = (send.clone(), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("analyze".to_owned())
            .spawn(move || {
                let ended = analyse(input, &options, &theirs, speed, &to);
                // Nobody to tell: top has ended.
                let _ = to.send(Event::Ended(ended));
            })
            .context("cannot start a thread")?;
        Ok(Self {
            shared,
            events,
            send,
            stop,
            recorder,
            about,
            app: App::default(),
            frozen: None,
            report: None,
            errors: Vec::new(),
            code: ExitCode::SUCCESS,
        })
    }

    /// Shows it until the end.
    ///
    /// # Errors
    /// Where nothing could be shown.
    pub fn run(mut self, terminal: File) -> anyhow::Result<Ended> {
        if let Ok(event) = self.events.recv_timeout(OPEN_WAIT) {
            self.take(event);
        }
        if let Some(Err(why)) = &self.report {
            return Err(anyhow!("{why}"));
        }
        let mut screen = Screen::open().context("cannot draw on this terminal")?;
        let send = self.send.clone();
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || {
                keys::read(terminal, |key| send.send(Event::Key(key)).is_ok());
                let _ = send.send(Event::Gone);
            })
            .context("cannot start a thread")?;
        // A terminal that cannot be drawn on is gone.
        let shown = self.show(&mut screen);
        drop(screen);
        if let Some(Err(why)) = &self.report
            && shown.is_ok()
            && self.shared.model().packets == 0
        {
            return Err(anyhow!("{why}"));
        }
        Ok(self.finish())
    }

    /// Draws and does what keys say, until one or a signal ends it.
    fn show(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        let look = Look::of_stdout();
        let mut asked = Instant::now();
        loop {
            self.listen();
            self.draw(screen, look)?;
            let mut next = Instant::now() + FRAME;
            // Keys that come together are done together.
            loop {
                let wait = next.saturating_duration_since(Instant::now());
                match self.events.recv_timeout(wait) {
                    Ok(Event::Gone) => return Ok(()),
                    Ok(Event::Key(key)) => {
                        match self.key(key) {
                            Does::Quit => return Ok(()),
                            Does::Redraw => screen.clear()?,
                            Does::Nothing | Does::Pause => {}
                        }
                        next = Instant::now();
                    }
                    Ok(event) => self.take(event),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if asked.elapsed() >= ASK {
                asked = Instant::now();
                self.recorder.iter().for_each(|of| of.ask.store(true, Ordering::Relaxed));
            }
        }
    }

    fn draw(&mut self, screen: &mut Screen, look: Look) -> std::io::Result<()> {
        let Self { app, about, frozen, shared, .. } = self;
        // It is drawn into memory while nobody else has it, and is short.
        match frozen {
            Some(model) => {
                // What is missing is never hidden, not even while nothing moves.
                let loss = shared.model().loss.clone();
                if loss.parts() != model.loss.parts() {
                    model.loss = loss;
                }
                screen.draw(|frame| view::draw(frame, app, model, about, look))
            }
            None => {
                let model = shared.model();
                screen.draw(|frame| view::draw(frame, app, &model, about, look))
            }
        }
    }

    fn key(&mut self, key: Key) -> Does {
        let does = match &self.frozen {
            Some(model) => self.app.key(key, model),
            None => self.app.key(key, &self.shared.model()),
        };
        if does == Does::Pause {
            let paused = self.app.paused;
            self.shared.paused.store(paused, Ordering::Relaxed);
            self.frozen = paused.then(|| Box::new(self.shared.model().clone()));
        }
        does
    }

    /// Takes what the recorder has told.
    fn listen(&mut self) {
        while let Some(told) = self.recorder.as_ref().and_then(|of| of.told.try_recv().ok()) {
            self.hear(told);
        }
    }

    /// Takes all that the recorder has to tell, for which it ends.
    fn listen_to_the_end(&mut self) {
        let told = |of: &Recorder| of.told.recv_timeout(LAST_WORDS).ok();
        while let Some(told) = self.recorder.as_ref().and_then(told) {
            self.hear(told);
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Lost(events) => self.shared.model().loss.recorder = events,
            Told::Ended { trouble, code } => {
                self.errors.extend(trouble);
                self.code = code;
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Key(_) | Event::Gone => {}
            Event::Opened { live, size } => {
                (self.about.feed, self.about.size) =
                    (if live { Feed::Live } else { Feed::File }, size);
            }
            Event::Ended(ended) => {
                let mut model = self.shared.model();
                model.ended = true;
                match &ended {
                    Ok(report) => take_loss(&mut model, report),
                    Err(why) => model.loss.trouble.push(why.clone()),
                }
                if let Some(frozen) = &mut self.frozen {
                    frozen.ended = true;
                }
                drop(model);
                self.report = Some(ended);
            }
        }
    }

    /// Ends what still runs, and says what it came to.
    fn finish(mut self) -> Ended {
        let was_ended = self.report.is_some();
        self.stop.store(true, Ordering::Relaxed);
        self.shared.paused.store(false, Ordering::Relaxed);
        // From here on there is no screen: another signal ends it at once.
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let _ = signal_hook::flag::register_conditional_shutdown(
                signal,
                130,
                Arc::clone(&self.stop),
            );
        }
        let patience = if self.recorder.is_some() { LAST_PACKETS } else { Duration::ZERO };
        if !self.wait(patience) {
            self.shared.stop.store(true, Ordering::Relaxed);
            self.wait(END);
        }
        self.listen_to_the_end();
        self.ended(was_ended)
    }

    /// Waits for the end of the analysis.
    fn wait(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.report.is_none() {
            let wait = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(wait) {
                Ok(event) => self.take(event),
                Err(_) => return false,
            }
        }
        true
    }

    /// The last lines.
    fn ended(mut self, was_ended: bool) -> Ended {
        let model = self.shared.model();
        let figures = model.figures(Window::All);
        let (first, now) = model.ends();
        let went = Duration::from_nanos(now.saturating_sub(first).max(0).unsigned_abs());
        let ok = figures.count.saturating_sub(figures.errors).saturating_sub(figures.unknown);
        let of = |part: u64| share(part, figures.count);
        let seen = match figures.count {
            0 => String::new(),
            _ => format!(
                ": {} ok, {} failed, {} unknown",
                of(ok),
                of(figures.errors),
                count(figures.unknown)
            ),
        };
        let part = match (was_ended, self.about.percent(model.position)) {
            (false, Some(percent)) => format!(" (quit when {percent}% were read)"),
            _ => String::new(),
        };
        let loss = match (model.loss.parts(), model.loss.coverage_text()) {
            (parts, Some(coverage)) if parts.is_empty() => {
                format!("nothing is known to be missing, {coverage}")
            }
            (parts, None) if parts.is_empty() => "nothing is known to be missing".to_owned(),
            (parts, coverage) => {
                let coverage = coverage.map_or(String::new(), |text| format!(", {text}"));
                format!("{}{coverage}", escape(&parts.join(", ")))
            }
        };
        let left_out = match self.report.as_ref() {
            Some(Ok(report)) => report.filter.as_ref().map_or(String::new(), |filter| {
                let [left, undecided] = [filter.left_out, filter.undecided].map(count);
                format!("; the filter left {left} out and could not decide on {undecided}")
            }),
            _ => "; the analysis did not end in time".to_owned(),
        };
        let summary = format!(
            "perisco top: {} in {} of {}{part}{seen}; {loss}{left_out}",
            plural(figures.count, "transaction", "transactions"),
            view::lasting(went),
            escape(&self.about.title),
        );
        if model.loss.damaged > 0 || matches!(self.report, Some(Err(_)) | None) {
            self.code = ExitCode::FAILURE;
        }
        if let Some(Ok(report)) = &self.report {
            let damage = report.loss.damage.iter();
            self.errors
                .extend(damage.map(|d| format!("{}: at byte {}: {}", d.file, d.offset, d.what)));
        }
        drop(model);
        Ended { summary, errors: self.errors, code: self.code }
    }
}

/// What the report knows of what is missing is the last word.
fn take_loss(model: &mut Model, report: &Report) {
    let loss = &report.loss;
    let gaps = [loss.gaps.lost, loss.gaps.snaplen, loss.gaps.limit];
    model.loss.coverage = Coverage {
        payload_bytes: loss.payload_bytes,
        gap_bytes: loss.gap_bytes,
        gaps: gaps.iter().map(|gap| gap.count).sum(),
        limits: loss.limits.iter().map(|limit| limit.count).sum(),
    };
    (model.loss.drops, model.loss.cut_packets) = (loss.dropped_packets, loss.cut_packets);
    model.loss.damaged = loss.damage.len() as u64;
}

/// The thread that opens the input and analyses it.
fn analyse(
    input: Input,
    options: &Options,
    shared: &Shared,
    speed: Speed,
    to: &Sender<Event>,
) -> Result<Box<Report>, String> {
    let stop = Arc::clone(&shared.stop);
    let open =
        OpenOptions { stop: Some(stop), threads: Some(options.threads), ..Default::default() };
    let capture = Capture::open(vec![input], open).map_err(|error| crate::told(&error.into()))?;
    let (live, size) = (capture.is_live(), capture.size_hint());
    let _ = to.send(Event::Opened { live, size });
    let feed = if live { Feed::Live } else { Feed::File };
    let watcher = Watcher::new(shared, feed, (!live).then(|| Pace::new(speed)));
    let control = Control { stop: &shared.stop, progress: &|_| {} };
    let analysis = pipeline::watch(capture, options, &control, &watcher);
    watcher.finish();
    analysis.map(|done| Box::new(done.report)).map_err(|error| crate::told(&error.into()))
}
