//! Asks the recording to flush, and is told when what was recorded until then is in
//! the files. The recording looks here once a round and waits for nobody.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    /// The last number that was asked for.
    asked: AtomicU64,
    /// The last that the recording has taken up.
    taken: AtomicU64,
    /// The last that is on disk.
    reached: Mutex<u64>,
    news: Condvar,
}

impl Gate {
    /// Asks, and waits within `patience`. Whether it was done.
    pub fn flush(&self, patience: Duration) -> bool {
        let ticket = self.asked.fetch_add(1, Release) + 1;
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let until = |reached: &mut u64| *reached < ticket;
        let waited = self.news.wait_timeout_while(reached, patience, until);
        waited.is_ok_and(|(_, waited)| !waited.timed_out())
    }

    /// Whether somebody asks, and as what number. Costs two loads.
    pub fn asked(&self) -> Option<u64> {
        let asked = self.asked.load(Acquire);
        // Only the recording's thread takes.
        (self.taken.swap(asked, Relaxed) != asked).then_some(asked)
    }

    /// All that was recorded when `ticket` was taken is in the files.
    pub fn reach(&self, ticket: u64) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        *reached = ticket.max(*reached);
        self.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told() {
        let gate = Gate::default();
        assert_eq!(gate.asked(), None);
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| gate.flush(Duration::from_secs(60)));
            let ticket = loop {
                if let Some(ticket) = gate.asked() {
                    break ticket;
                }
            };
            gate.reach(ticket);
            assert!(asks.join().unwrap());
        });
        assert_eq!(gate.asked(), None);
        assert!(!gate.flush(Duration::from_millis(10)), "nobody does it");
    }
}
