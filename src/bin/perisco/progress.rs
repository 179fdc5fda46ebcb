//! A progress bar on standard error: only on a terminal, only after a second.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use perisco::pcap::Capture;

/// Shorter work is done before a bar could be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows how far the input has been read.
pub struct Progress {
    begun: Instant,
    total: Option<u64>,
    bar: RefCell<Option<ProgressBar>>,
    wanted: bool,
}

impl Progress {
    /// For a capture; shows nothing for live streams.
    pub fn new(capture: &Capture, wanted: bool) -> Self {
        let wanted = wanted && !capture.is_live() && std::io::stderr().is_terminal();
        Self { begun: Instant::now(), total: capture.size_hint(), bar: RefCell::new(None), wanted }
    }

    /// The input has been read up to `position`.
    pub fn tick(&self, position: u64) {
        if !self.wanted || self.begun.elapsed() < PATIENCE {
            return;
        }
        let mut bar = self.bar.borrow_mut();
        bar.get_or_insert_with(|| self.new_bar()).set_position(position);
    }

    fn new_bar(&self) -> ProgressBar {
        let Some(total) = self.total else { return ProgressBar::new_spinner() };
        let style = ProgressStyle::with_template(
            "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
        );
        let bar = ProgressBar::new(total);
        style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}
