//! Where packets come from: a file, a stream, or the recorder.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;

use anyhow::bail;
use perisco::pcap::Input;

use super::pace::Speed;

/// What is to be analysed.
pub struct Source {
    pub input: Input,
    /// What it is called.
    pub title: String,
    /// Of a file.
    pub speed: Speed,
    /// The recorder, where packets come from it.
    pub recorder: Option<Recorder>,
}

/// A recorder that runs.
#[cfg_attr(not(feature = "record"), allow(dead_code, reason = "there is no recorder"))]
pub struct Recorder {
    /// Set to be told what it has lost so far.
    pub ask: Arc<AtomicBool>,
    /// What it tells.
    pub told: Receiver<Told>,
}

/// What a recorder tells.
#[cfg_attr(not(feature = "record"), allow(dead_code, reason = "there is no recorder"))]
pub enum Told {
    /// Events that it has lost so far.
    Lost(u64),
    /// It has ended: what is to be said of that, and the exit code.
    Ended { trouble: Vec<String>, code: ExitCode },
}

impl Source {
    /// A file, or a stream on standard input.
    pub fn of_file(path: &Path, speed: Option<Speed>) -> anyhow::Result<Self> {
        let input = Input::from_arg(path.as_os_str());
        let is_stream = matches!(input, Input::Stdin);
        if is_stream && speed.is_some() {
            bail!("--speed is for files: a stream comes as it comes");
        }
        if is_stream && std::io::stdin().is_terminal() {
            bail!("standard input is a terminal: tcpdump -i lo -U -w - | perisco top -");
        }
        let title = if is_stream { "standard input".to_owned() } else { input.name() };
        Ok(Self { input, title, speed: speed.unwrap_or(Speed::Times(1.0)), recorder: None })
    }
}
