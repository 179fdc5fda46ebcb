//! Keeps captures: takes what fires, waits for the time after it, and has the span
//! copied out of the ring.
//!
//! Two threads, so that what fires while one capture is being copied is noted, and its
//! time before held fast, at once. Neither is ever waited for by the recording.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::cut::{self, Window};
use super::figures::Figures;
use super::gate::Gate;
use super::incident::{Fate, Fired, Incident, Incidents, Rules};
use super::now::Now;
use super::said::{Said, Speaker};
use super::saved::Saved;
use super::store::{Pinned, Store};

/// Events that may wait. A judge that tells more of them waits itself.
const EVENTS: usize = 64;

/// Captures that may wait to be copied; the hour's limit is below that, as a rule.
const CAPTURES: usize = 16;

/// How long the recording may take to flush. One that takes longer stands still, and
/// what is on disk is all there is.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// What is said of one trigger again and again is said so often.
const SAY_EVERY: i64 = 10_000_000_000;

/// How often it is said that packets were not looked at.
const UNJUDGED_EVERY: i64 = 10_000_000_000;

/// How often it is looked whether there is something of that kind to say.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// zstd's level for captures: kept for long, and not in a hurry.
const LEVEL: i32 = 3;

/// Something for the keeper.
#[derive(Debug)]
pub enum Event {
    /// The judge has found something.
    Fired(Fired),
    /// Somebody calls: by signal, or on the control socket, where it is told the fate.
    Called {
        /// Who, or as what.
        name: String,
        /// Takes the answer.
        answer: Option<SyncSender<Fate>>,
    },
    /// The recording has ended: what waits is kept as it is.
    End,
}

/// What both threads have.
#[derive(Clone)]
pub struct Keeper {
    /// The ring.
    pub store: Arc<Store>,
    /// Where captures go.
    pub saved: Arc<Saved>,
    /// Asks the recording to flush.
    pub gate: Arc<Gate>,
    /// Counts.
    pub figures: Arc<Figures>,
    /// For the user.
    pub speaker: Speaker,
}

/// A capture to be copied.
struct Order {
    incident: Incident,
    /// What it may be in.
    pinned: Vec<Pinned>,
    /// Why its end is not there.
    ended: bool,
}

/// The way to the keeper.
pub fn events() -> (SyncSender<Event>, Receiver<Event>) {
    sync_channel(EVENTS)
}

impl Keeper {
    /// Takes events until the end, and waits until all captures are copied.
    pub fn run(self, rules: Rules, events: &Receiver<Event>) {
        let (orders, work) = sync_channel::<Order>(CAPTURES);
        let copier = self.clone();
        let copying = std::thread::Builder::new()
            .name("save".to_owned())
            .spawn(move || work.into_iter().for_each(|order| copier.keep(order)));
        let mut desk = Desk {
            incidents: Incidents::new(rules),
            pinned: Vec::new(),
            said: Vec::new(),
            unjudged: (0, 0),
            keeper: self,
        };
        desk.work(events, &orders);
        drop(orders);
        if let Ok(copying) = copying {
            // A bug there is no reason to fail here.
            let _ = copying.join();
        }
    }

    fn keep(&self, order: Order) {
        let name = order.incident.name.clone();
        match self.copy(order) {
            Ok(said) => {
                self.figures.saved.fetch_add(1, Relaxed);
                self.speaker.say(said);
            }
            Err(error) => {
                self.figures.failed.fetch_add(1, Relaxed);
                self.speaker.say(Said::NotSaved { name, why: error.to_string() });
            }
        }
    }

    fn copy(&self, order: Order) -> std::io::Result<Said> {
        let Order { incident, mut pinned, ended } = order;
        if !ended {
            self.gate.flush(FLUSH_PATIENCE);
        }
        pinned.push(self.store.pin(incident.from, incident.to));
        let held = || pinned.iter().flat_map(|pinned| &pinned.segments);
        let oldest = held().map(|segment| segment.begin).chain(self.store.figures().oldest).min();
        let reaches = oldest.is_some_and(|oldest| oldest <= incident.from);
        let mut segments: Vec<_> = held().map(|one| (one.number, one.path.clone())).collect();
        segments.sort();
        segments.dedup();
        let paths: Vec<_> = segments.into_iter().map(|(_, path)| path).collect();
        let offset = Now::read().offset();
        let at = u64::try_from(incident.at.saturating_add(offset)).unwrap_or(0);
        let capture = self.saved.begin(at, &incident.name)?;
        let mut out = zstd::Encoder::new(capture, LEVEL)?;
        out.include_checksum(true)?;
        let window = Window::Boot { from: incident.from, to: incident.to };
        let done = cut::cut(&paths, window, &incident.comments(), &mut out)?;
        let path = out.finish()?.finish()?;
        let mut short = Vec::new();
        if !done.reaches && !reaches {
            short.push("the ring does not reach back to all of the time before".to_owned());
        }
        if !done.torn.is_empty() {
            let count = done.torn.len();
            short.push(format!("{count} segments had to leave the ring while it was being kept"));
        }
        short.extend(done.damaged.iter().map(|(path, why)| format!("{}: {why}", path.display())));
        if ended {
            short.push("the recording ended before the time after".to_owned());
        }
        let short = if short.is_empty() { None } else { Some(short.join("; ")) };
        Ok(Said::Saved { path, span: done.span, short })
    }
}

/// The thread that takes events.
struct Desk {
    keeper: Keeper,
    incidents: Incidents,
    /// What the incident that waits needs of the ring.
    pinned: Vec<Pinned>,
    /// When it was last said that a trigger fired.
    said: Vec<(String, i64)>,
    /// Packets that were not looked at: how many were told of, and when.
    unjudged: (u64, i64),
}

impl Desk {
    fn work(&mut self, events: &Receiver<Event>, orders: &SyncSender<Order>) {
        loop {
            let now = Now::read().boot;
            if let Some(incident) = self.incidents.due(now, false) {
                self.order(incident, orders, false);
            }
            self.tell_unjudged(now);
            let wait = self.incidents.wait(now).unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
            match events.recv_timeout(wait) {
                Ok(Event::Fired(fired)) => {
                    self.fire(fired);
                }
                Ok(Event::Called { name, answer }) => {
                    self.keeper.figures.called.fetch_add(1, Relaxed);
                    let now = Now::read().boot;
                    let text = String::new();
                    let fate = self.fire(Fired { name, text, count: 1, first: now, last: now });
                    // Whoever called may be gone.
                    if let Some(answer) = answer {
                        let _ = answer.try_send(fate);
                    }
                }
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let now = Now::read().boot;
        if let Some(incident) = self.incidents.due(now, true) {
            let ended = incident.to > now;
            self.order(incident, orders, ended);
        }
        self.tell_unjudged(i64::MAX);
    }

    fn fire(&mut self, fired: Fired) -> Fate {
        let now = Now::read().boot;
        let (name, text) = (fired.name.clone(), fired.text.clone());
        let fate = self.incidents.fire(now, fired);
        if fate == Fate::Refused {
            self.keeper.figures.refused.fetch_add(1, Relaxed);
        } else if let Some(incident) = self.incidents.waiting() {
            let held = self.pinned.iter().flat_map(|pinned| &pinned.segments);
            let oldest = held.map(|segment| segment.begin).min();
            if oldest.is_none_or(|oldest| incident.from < oldest) {
                self.pinned.push(self.keeper.store.pin(incident.from, now));
            }
        }
        let last = self.said.iter_mut().find(|(known, _)| *known == name);
        let is_new = match last {
            Some((_, at)) if now.saturating_sub(*at) < SAY_EVERY && fate != Fate::Begun => false,
            Some((_, at)) => {
                *at = now;
                true
            }
            None => {
                // Names of callers: not all that there ever were.
                self.said.truncate(EVENTS);
                self.said.insert(0, (name.clone(), now));
                true
            }
        };
        if is_new {
            self.keeper.speaker.say(Said::Fired { name, text, fate });
        }
        fate
    }

    fn order(&mut self, incident: Incident, orders: &SyncSender<Order>, ended: bool) {
        let pinned = std::mem::take(&mut self.pinned);
        let name = incident.name.clone();
        if orders.try_send(Order { incident, pinned, ended }).is_err() {
            self.keeper.figures.failed.fetch_add(1, Relaxed);
            let why = "too many captures are being kept at once".to_owned();
            self.keeper.speaker.say(Said::NotSaved { name, why });
        }
    }

    fn tell_unjudged(&mut self, now: i64) {
        let packets = self.keeper.figures.unjudged.load(Relaxed);
        let (told, at) = self.unjudged;
        if packets > told && now.saturating_sub(at) >= UNJUDGED_EVERY {
            self.unjudged = (packets, now);
            self.keeper.speaker.say(Said::Unjudged { packets: packets - told });
        }
    }
}
