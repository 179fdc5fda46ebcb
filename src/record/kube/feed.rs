//! How far a watch's word can be believed: a connection that broke, a server
//! that went silent and news that are still being caught up with end certainty.

use super::table::Reach;
use super::types::SourceStatus;

/// News are here this long after what they tell of, unless their watch is
/// lost: kubelets report within a second or two.
pub const NEWS_LAG: i64 = 3_000_000_000;

/// One watch, or the runtime. Times are unix nanoseconds of this machine.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    name: &'static str,
    connected: bool,
    heard: Option<i64>,
    /// The last word before the connection was lost, until all is caught up with.
    before_loss: i64,
    caught_up_at: i64,
    /// Since then nothing was missed; None: it does not tell of everything.
    complete_from: Option<i64>,
    /// The list that is being read had something that could not be used.
    partial: bool,
    news: u64,
    error: Option<String>,
    forbidden: bool,
}

impl Feed {
    /// One that has not said anything.
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Anything was said: an event, a bookmark, an answer.
    pub fn heard(&mut self, now: i64) {
        self.heard = Some(now);
        self.news += 1;
        if now < self.caught_up_at {
            self.caught_up_at = now + NEWS_LAG;
        }
    }

    /// A bookmark: everything until now was told.
    pub fn bookmarked(&mut self, now: i64) {
        self.caught_up_at = self.caught_up_at.min(now);
    }

    /// A list begins.
    pub fn listing(&mut self) {
        self.partial = false;
    }

    /// All that there is was told at `now`.
    pub fn listed(&mut self, now: i64) {
        // What is gone meanwhile was found out with the list itself.
        (self.connected, self.caught_up_at) = (true, now);
        (self.error, self.forbidden) = (None, false);
        self.complete_from = (!self.partial).then_some(now);
        self.heard(now);
    }

    /// Something had to be left out: others may hold what it would have held.
    pub fn incomplete(&mut self) {
        (self.complete_from, self.partial) = (None, true);
    }

    /// The server took the watch up again, from where it broke off: what was
    /// missed is told now, until a bookmark or until there is nothing more.
    pub fn resumed(&mut self, now: i64) {
        (self.error, self.forbidden) = (None, false);
        if !self.connected {
            self.connected = true;
            self.caught_up_at = now + NEWS_LAG;
            self.heard = Some(now);
        }
    }

    /// The connection broke, or could not be made.
    pub fn lost(&mut self, error: String, forbidden: bool) {
        if self.connected && self.heard.is_some_and(|heard| heard >= self.caught_up_at) {
            self.before_loss = self.heard.unwrap_or(i64::MIN);
        }
        self.connected = false;
        (self.error, self.forbidden) = (Some(error), forbidden);
    }

    /// What was alive as of the last word was surely alive until then, as of `now`.
    pub fn certain_until(&self, now: i64, silence: i64) -> i64 {
        let Some(heard) = self.heard else { return i64::MIN };
        if !self.connected || now < self.caught_up_at {
            self.before_loss
        } else if now - heard > silence {
            heard
        } else {
            i64::MAX
        }
    }

    /// Until when something that is said now to be gone was surely there.
    pub fn surely_there_until(&self, now: i64) -> i64 {
        let Some(heard) = self.heard else { return i64::MIN };
        let before = if now < self.caught_up_at { self.before_loss } else { heard };
        before.min(now - NEWS_LAG)
    }

    /// For [`super::table::Table::at`]; `everything`: it tells of all holders of its kind.
    pub fn reach(&self, now: i64, silence: i64, everything: bool) -> Reach {
        let complete_until = match self.certain_until(now, silence) {
            i64::MAX => self.heard.unwrap_or(i64::MIN),
            until => until,
        };
        Reach {
            certain_until: self.certain_until(now, silence),
            complete_from: self.complete_from.filter(|_| everything).unwrap_or(i64::MAX),
            complete_until: complete_until.saturating_sub(NEWS_LAG),
        }
    }

    /// For people.
    pub fn status(&self, now: i64, silence: i64) -> SourceStatus {
        SourceStatus {
            name: self.name,
            fresh: self.certain_until(now, silence) == i64::MAX,
            heard: self.heard,
            news: self.news,
            error: self.error.clone(),
            forbidden: self.forbidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;
    const SILENCE: i64 = 90 * S;

    #[test]
    fn a_watch_is_believed_while_it_speaks() {
        let mut feed = Feed::new("test");
        assert_eq!(feed.certain_until(0, SILENCE), i64::MIN);
        feed.listed(100 * S);
        assert_eq!(feed.certain_until(150 * S, SILENCE), i64::MAX);
        assert_eq!(feed.certain_until(191 * S, SILENCE), 100 * S, "silent since then");
        feed.heard(195 * S);
        assert_eq!(feed.certain_until(200 * S, SILENCE), i64::MAX);
    }

    #[test]
    fn a_lost_watch_is_believed_until_its_last_word_and_again_when_caught_up() {
        let mut feed = Feed::new("test");
        feed.listed(100 * S);
        feed.heard(110 * S);
        feed.lost("cut".into(), false);
        assert_eq!(feed.certain_until(111 * S, SILENCE), 110 * S);
        assert_eq!(feed.status(111 * S, SILENCE).error.as_deref(), Some("cut"));
        feed.resumed(120 * S);
        feed.heard(121 * S);
        assert_eq!(feed.certain_until(121 * S, SILENCE), 110 * S, "catching up");
        assert_eq!(
            feed.surely_there_until(121 * S),
            110 * S,
            "it may have gone while nobody heard"
        );
        // Lost again before all was caught up with: the first loss counts.
        feed.lost("cut".into(), false);
        feed.resumed(122 * S);
        feed.heard(124 * S);
        assert_eq!(feed.certain_until(126 * S, SILENCE), 110 * S, "there was more");
        feed.bookmarked(126 * S);
        feed.heard(126 * S);
        assert_eq!(feed.certain_until(126 * S, SILENCE), i64::MAX);
        assert_eq!(feed.surely_there_until(127 * S), 124 * S);
        assert_eq!(feed.reach(126 * S, SILENCE, true).complete_from, 100 * S, "nothing was missed");
        assert_eq!(feed.reach(126 * S, SILENCE, false).complete_from, i64::MAX);
    }
}
