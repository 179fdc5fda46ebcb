//! A recording's ring, as the recording thread tends it: once a round, and never waiting.

use std::sync::atomic::Ordering;

use super::{Control, Note, Session};
use crate::record::writer::WriteError;

/// What a capture is called that a signal asked for.
const SIGNAL: &str = "SIGUSR1";

impl Session {
    /// What the ring and its triggers ask, and what they have to say.
    pub(super) fn tend_flight(&mut self, control: &mut Control<'_>) {
        let Some(flight) = &self.flight else { return };
        if let (Some(ticket), Some(writer)) = (flight.asked(), &mut self.writer)
            && let Err(error) = writer.reach(ticket, &self.counted.1)
        {
            self.fail(error);
            return;
        }
        if control.trigger.is_some_and(|asked| asked.swap(false, Ordering::Relaxed)) {
            flight.call(SIGNAL);
        }
        flight.said().for_each(|said| (control.say)(Note::Flight { said: &said }));
    }

    /// Writing has failed: the recording is over.
    pub(super) fn fail(&mut self, error: WriteError) {
        if let Some(writer) = self.writer.take() {
            self.trouble.written = writer.summary().clone();
        }
        self.trouble.write = Some(error);
        self.watch.fail();
    }
}
