//! The command that is recorded, if there is one: let go when all is attached, and waited
//! for at the end.

use std::time::{Duration, Instant};

use super::Session;

/// How long a command may take to end after Ctrl-C before the recording does.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(2);

impl Session {
    pub(super) fn go(&mut self) {
        if let Some(command) = &self.command
            && let Err(error) = command.go()
        {
            self.trouble.ring.get_or_insert(error);
        }
    }

    pub(super) fn command_has_ended(&mut self) -> bool {
        self.command.as_mut().is_some_and(|command| !matches!(command.ended(), Ok(None)))
    }

    /// After Ctrl-C a command that runs is given the time to end too.
    pub(super) fn waits_for_command(
        &self,
        interrupted: &mut Option<Instant>,
        ended: Option<Instant>,
    ) -> bool {
        let Some(command) = &self.command else { return false };
        let at = *interrupted.get_or_insert_with(|| {
            command.interrupt();
            Instant::now()
        });
        ended.is_none() && at.elapsed() < INTERRUPT_PATIENCE
    }
}
