//! The judge's life, as the recorder sees it: started, fed, listened to, and started
//! again when it ends. Whatever becomes of it, the recording goes on.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::answers::{Answer, next_line};
use super::child::Host;
use super::feed::Slot;
use super::figures::Figures;
use super::incident::Fired;
use super::keeper::Event;
use super::now::Now;
use super::said::{Said, Speaker};

/// Until it is started again, doubled each time.
const BREATHER: Duration = Duration::from_millis(500);

/// The longest time until then.
const MAX_BREATHER: Duration = Duration::from_secs(60);

/// One that lived so long had no trouble from the start.
const HEALTHY: Duration = Duration::from_secs(120);

/// It says that it is alive once a second. One that says nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(60);

/// How long the host may take to say how one ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Room of the pipe to it, bytes: what an unprivileged process may have.
const PIPE_BYTES: usize = 1 << 20;

/// The thread's things.
pub struct Watcher {
    /// Starts it.
    pub host: Host,
    /// Expressions, for what is said.
    pub triggers: Vec<String>,
    /// Where the feeder finds it.
    pub slot: Arc<Slot>,
    /// Who keeps captures.
    pub events: SyncSender<Event>,
    /// Counts.
    pub figures: Arc<Figures>,
    /// For the user.
    pub speaker: Speaker,
    /// The recording ends.
    pub ending: Arc<AtomicBool>,
}

impl Watcher {
    /// Until the recording ends.
    pub fn run(mut self) {
        let mut breather = BREATHER;
        let mut earlier = [0; 2];
        loop {
            let begun = Instant::now();
            let how = self.one(&mut earlier);
            self.slot.set(None);
            if self.ending.load(Relaxed) {
                return;
            }
            // Its stream ended: with the recording, or because it was told too much.
            let planned = matches!(&how, Ok(how) if how == "exit status: 0");
            if begun.elapsed() >= HEALTHY || planned {
                breather = BREATHER;
            }
            let how = how.unwrap_or_else(|error| {
                // What starts judges is gone. Another is as good, where one may be started.
                match Host::start(&self.triggers) {
                    Ok(host) => self.host = host,
                    Err(why) => return format!("{error}; {why}"),
                }
                error.to_string()
            });
            self.figures.restarts.fetch_add(1, Relaxed);
            if !planned {
                self.speaker.say(Said::JudgeEnded { how, again: breather });
            }
            let until = Instant::now() + breather;
            while Instant::now() < until && !self.ending.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
            breather = (breather * 2).min(MAX_BREATHER);
        }
    }

    /// One judge, from its start to its end; how it ended. `earlier`: what those before
    /// have looked at, and did not know.
    fn one(&self, earlier: &mut [u64; 2]) -> io::Result<String> {
        let (theirs, ours) = io::pipe()?;
        let (answers, say) = io::pipe()?;
        let stream = OwnedFd::from(ours);
        // A smaller one does as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&stream, PIPE_BYTES);
        self.host.judge(theirs.as_fd(), say.as_fd())?;
        drop((theirs, say));
        self.slot.set(Some(File::from(stream)));
        let heard = AtomicU64::new(0);
        let over = AtomicBool::new(false);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| self.look_after(&heard, &over, begun));
            let mut answers = BufReader::new(answers);
            let mut now = [0; 2];
            while let Some(line) = next_line(&mut answers) {
                heard.store(begun.elapsed().as_millis() as u64, Relaxed);
                match Answer::parse(&line, self.triggers.len()) {
                    Some(answer) => self.take(answer, *earlier, &mut now),
                    // It says what no judge says.
                    None => break,
                }
            }
            over.store(true, Relaxed);
            for (sum, count) in earlier.iter_mut().zip(now) {
                *sum = sum.saturating_add(count);
            }
        });
        // Without its stream it ends by itself; one that does not is ended.
        self.slot.set(None);
        match self.host.hear(LAST_WORDS) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.host.kill()?;
                self.host.hear(LAST_WORDS)
            }
            heard => heard,
        }
    }

    /// Ends one that has been silent for too long.
    fn look_after(&self, heard: &AtomicU64, over: &AtomicBool, begun: Instant) {
        while !over.load(Relaxed) {
            let last = Duration::from_millis(heard.load(Relaxed));
            if begun.elapsed().saturating_sub(last) >= SILENCE {
                let _ = self.host.kill();
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn take(&self, answer: Answer, earlier: [u64; 2], counts: &mut [u64; 2]) {
        match answer {
            Answer::Alive { judged, undecided } => {
                *counts = [judged, undecided];
                self.figures.judged.store(earlier[0].saturating_add(judged), Relaxed);
                self.figures.undecided.store(earlier[1].saturating_add(undecided), Relaxed);
            }
            Answer::Fired { trigger, count, first, last, text } => {
                if let Some(fired) = self.figures.fired.get(trigger) {
                    fired.fetch_add(count, Relaxed);
                }
                let offset = Now::read().offset();
                let name = self.triggers.get(trigger).cloned().unwrap_or_default();
                let [first, last] = [first, last].map(|at| at.saturating_sub(offset));
                // When all have to wait, so does the judge.
                let _ = self.events.send(Event::Fired(Fired { name, text, count, first, last }));
            }
        }
    }
}
