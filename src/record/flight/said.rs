//! What a flight recorder has to say while it runs, for the terminal.

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::cut::Span;
use super::incident::Fate;

/// One thing to say.
#[derive(Clone, Debug)]
pub enum Said {
    /// A trigger has fired.
    Fired {
        /// The expression, or who called.
        name: String,
        /// The transaction; empty where it was called.
        text: String,
        /// What came of it.
        fate: Fate,
    },
    /// A capture was kept.
    Saved {
        /// Where.
        path: PathBuf,
        /// What is in it.
        span: Span,
        /// Why it is less than was asked for, if it is.
        short: Option<String>,
    },
    /// A capture could not be kept.
    NotSaved {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
    /// The process that looks at transactions has ended.
    JudgeEnded {
        /// How.
        how: String,
        /// When another is started.
        again: Duration,
    },
    /// It did not get all packets since this was last said.
    Unjudged {
        /// How many it did not get.
        packets: u64,
    },
}

impl Said {
    /// Whether something is lost by it.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Fired { .. } => false,
            Self::Saved { short, .. } => short.is_some(),
            Self::NotSaved { .. } | Self::JudgeEnded { .. } | Self::Unjudged { .. } => true,
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fired { name, text, fate } => {
                let by = if text.is_empty() { String::new() } else { format!(" by {text}") };
                let then = match fate {
                    Fate::Begun => "its capture is being kept",
                    Fate::Joined => "it is in the capture that is being kept",
                    Fate::Refused => "nothing is kept: --trigger-limit is reached",
                };
                write!(f, "triggered: {name}{by}; {then}")
            }
            Self::Saved { path, span, short } => {
                write!(f, "kept {}: {span}", path.display())?;
                short.as_ref().map_or(Ok(()), |why| write!(f, "; {why}"))
            }
            Self::NotSaved { name, why } => write!(f, "NOT KEPT, the capture of {name}: {why}"),
            Self::JudgeEnded { how, again } => write!(
                f,
                "the process that triggers look with has ended ({how}); recording goes on, and it \
                 is started again in {again:?}: what fires until then is missed"
            ),
            Self::Unjudged { packets } => write!(
                f,
                "triggers have not seen {packets} packets: the process that looks was behind or \
                 gone; they are recorded, but what should have fired may not have"
            ),
        }
    }
}

/// Says it to whoever listens; never waits.
#[derive(Clone, Debug)]
pub struct Speaker(pub SyncSender<Said>);

impl Speaker {
    /// Says it. When too much waits to be said it is only counted, in the metrics.
    pub fn say(&self, said: Said) {
        let _ = self.0.try_send(said);
    }
}
