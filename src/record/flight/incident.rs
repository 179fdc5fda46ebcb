//! What becomes of triggers that fire: incidents, each of which is one capture.
//!
//! An incident waits until the time after its last transaction has come. What
//! fires meanwhile joins it and makes it longer, up to a bound; what fires later
//! begins another. So many may begin within an hour. Pure: time is told by the
//! caller, in nanoseconds of CLOCK_BOOTTIME.

use std::collections::VecDeque;
use std::time::Duration;

/// The longest that joined triggers make a capture, besides the times before and after.
const MAX_SPAN: i64 = 600 * SECOND;

/// A transaction that took longer is kept from so long before its end.
const MAX_TRANSACTION: i64 = 600 * SECOND;

/// In which so many incidents may begin.
const HOUR: i64 = 3_600 * SECOND;

/// What packets still wait for on their way to the file, and then some.
const SLACK: i64 = 1_500_000_000;

/// Descriptions kept of one incident; the rest is counted.
const MAX_TEXTS: usize = 16;

const SECOND: i64 = 1_000_000_000;

/// How triggers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Time kept before what fired.
    pub before: Duration,
    /// Time kept after it.
    pub after: Duration,
    /// Incidents that may begin within an hour.
    pub an_hour: u32,
}

/// A trigger has fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// The expression, or who called.
    pub name: String,
    /// What it found, for people; empty where it was called.
    pub text: String,
    /// Transactions that it stands for.
    pub count: u64,
    /// When the first of them began.
    pub first: i64,
    /// When the last of them ended.
    pub last: i64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A capture that is kept of it alone, so far.
    Begun,
    /// It is in a capture that waits.
    Joined,
    /// Nothing is kept: the limit of the hour is reached.
    Refused,
}

/// A capture to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What is kept, from here.
    pub from: i64,
    /// To here.
    pub to: i64,
    /// When the trigger fired.
    pub at: i64,
    /// Name of the trigger that fired first.
    pub name: String,
    /// What fired, each with how many transactions.
    pub triggers: Vec<(String, u64)>,
    /// Transactions, as far as they are told one by one.
    pub texts: Vec<String>,
}

/// Incidents of a recording.
#[derive(Debug)]
pub struct Incidents {
    rules: Rules,
    waiting: Option<Incident>,
    /// When the last ones began.
    begun: VecDeque<i64>,
}

impl Incidents {
    /// None yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, waiting: None, begun: VecDeque::new() }
    }

    /// Takes what fired.
    pub fn fire(&mut self, now: i64, fired: Fired) -> Fate {
        // The judge is not believed: nothing ends later than now, or is hours old.
        let last = fired.last.clamp(now.saturating_sub(HOUR), now);
        let first = fired.first.clamp(last.saturating_sub(MAX_TRANSACTION), last);
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let from = first.saturating_sub(nanos(self.rules.before));
        let to = last.saturating_add(nanos(self.rules.after));
        if let Some(incident) = &mut self.waiting {
            let most = incident.at.saturating_add(nanos(self.rules.after)).saturating_add(MAX_SPAN);
            incident.from = incident.from.min(from);
            incident.to = incident.to.max(to).min(most.max(incident.to));
            incident.add(fired);
            return Fate::Joined;
        }
        while self.begun.front().is_some_and(|at| now.saturating_sub(*at) >= HOUR) {
            self.begun.pop_front();
        }
        if self.begun.len() >= self.rules.an_hour as usize {
            return Fate::Refused;
        }
        self.begun.push_back(now);
        let name = fired.name.clone();
        let mut incident =
            Incident { from, to, at: now, name, triggers: Vec::new(), texts: Vec::new() };
        incident.add(fired);
        self.waiting = Some(incident);
        Fate::Begun
    }

    /// The one that waits.
    pub fn waiting(&self) -> Option<&Incident> {
        self.waiting.as_ref()
    }

    /// How long until it is to be kept.
    pub fn wait(&self, now: i64) -> Option<Duration> {
        let due = self.waiting.as_ref()?.to.saturating_add(SLACK);
        Some(Duration::from_nanos(u64::try_from(due.saturating_sub(now)).unwrap_or(0)))
    }

    /// The incident whose time has come; with `all` the one that waits in any case.
    pub fn due(&mut self, now: i64, all: bool) -> Option<Incident> {
        let wait = self.wait(now)?;
        if wait.is_zero() || all { self.waiting.take() } else { None }
    }
}

impl Incident {
    fn add(&mut self, fired: Fired) {
        match self.triggers.iter_mut().find(|(name, _)| *name == fired.name) {
            Some((_, count)) => *count = count.saturating_add(fired.count),
            None => self.triggers.push((fired.name, fired.count)),
        }
        if !fired.text.is_empty() && self.texts.len() < MAX_TEXTS {
            self.texts.push(fired.text);
        }
    }

    /// As comments of the capture's section header, one `key=value` each.
    pub fn comments(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for (name, count) in &self.triggers {
            all.push(format!("perisco.trigger={name}"));
            all.push(format!("perisco.trigger_count={count}"));
        }
        all.extend(self.texts.iter().map(|text| format!("perisco.triggered_by={text}")));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { before: Duration::from_secs(60), after: Duration::from_secs(10), an_hour: 2 };

    fn fired(first: i64, last: i64) -> Fired {
        let (name, text) = ("status >= 500".to_owned(), format!("GET /{first}"));
        Fired { name, text, count: 1, first: first * SECOND, last: last * SECOND }
    }

    #[test]
    fn the_time_before_and_after_is_kept() {
        let mut incidents = Incidents::new(RULES);
        assert_eq!(incidents.fire(1_000 * SECOND, fired(997, 999)), Fate::Begun);
        assert_eq!(incidents.due(1_009 * SECOND, false), None, "its time after has not come");
        let incident = incidents.due(1_011 * SECOND, false).unwrap();
        assert_eq!((incident.from, incident.to), (937 * SECOND, 1_009 * SECOND));
        assert_eq!(
            incident.comments(),
            [
                "perisco.trigger=status >= 500",
                "perisco.trigger_count=1",
                "perisco.triggered_by=GET /997"
            ]
        );
        assert_eq!(incidents.wait(0), None);
    }

    #[test]
    fn what_fires_meanwhile_joins_and_makes_it_longer() {
        let mut incidents = Incidents::new(RULES);
        incidents.fire(1_000 * SECOND, fired(1_000, 1_000));
        for second in 1..2_000 {
            let now = (1_000 + second) * SECOND;
            if incidents.due(now, false).is_some() {
                assert_eq!(second, 612, "a bound ends it although triggers go on");
                return;
            }
            assert_eq!(incidents.fire(now, fired(1_000 + second, 1_000 + second)), Fate::Joined);
            let waiting = incidents.waiting().unwrap();
            assert_eq!(waiting.triggers[0].1, second as u64 + 1);
            assert!(waiting.texts.len() <= MAX_TEXTS && waiting.from == 940 * SECOND);
        }
        panic!("it goes on for ever");
    }

    #[test]
    fn so_many_begin_within_an_hour() {
        let mut incidents = Incidents::new(RULES);
        let mut fate = |second: i64| {
            let fate = incidents.fire(second * SECOND, fired(second, second));
            incidents.due(second * SECOND, true);
            fate
        };
        assert_eq!([fate(0), fate(100)], [Fate::Begun, Fate::Begun]);
        assert_eq!([fate(200), fate(3_599)], [Fate::Refused, Fate::Refused]);
        assert_eq!([fate(3_600), fate(3_601)], [Fate::Begun, Fate::Refused]);
    }

    #[test]
    fn times_that_cannot_be_are_bounded() {
        let now = 100_000 * SECOND;
        for (first, last) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, 0)] {
            let mut incidents = Incidents::new(RULES);
            incidents.fire(now, Fired { first, last, ..fired(0, 0) });
            let incident = incidents.due(now, true).unwrap();
            assert!(incident.from <= incident.to && incident.to <= now + 10 * SECOND);
            assert!(incident.from >= now - HOUR - MAX_TRANSACTION - 60 * SECOND);
        }
    }
}
