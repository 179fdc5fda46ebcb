//! The recorder on a thread of its own, and its packets through a pipe: the
//! same stream as `perisco record -o -`.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context, anyhow};
use perisco::pcap::Input;
use perisco::record::command::Prints;
use perisco::record::counters::Counters;
use perisco::record::run::{Control, Note, Options};
use perisco::record::writer::{Output, WriteOptions};

use super::pace::Speed;
use super::source::{Recorder, Source, Told};
use crate::record::{LiveArgs, lost_lines};

/// What to do where recording cannot begin.
const HINT: &str = "\nperisco top records this host: run it as root, look at what `perisco doctor` says, \
                    or replay a file (perisco top cap.pcapng)";

/// Starts the recorder, and waits until it records.
pub fn start(args: &LiveArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<Source> {
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let output = Output::Pipe(Arc::new(OwnedFd::from(writer)));
    let options = args.options(WriteOptions::new(output))?;
    let options = Options { command_prints: Prints::Nowhere, ..options };
    let ask = Arc::new(AtomicBool::new(false));
    let (begun, has_begun) = channel();
    let (tell, told) = channel();
    let (stop, asked) = (Arc::clone(stop), Arc::clone(&ask));
    std::thread::Builder::new()
        .name("record".to_owned())
        .spawn(move || record(options, &stop, &asked, &begun, &tell))
        .context("cannot start a thread")?;
    let back_end = match has_begun.recv() {
        Ok(Ok(back_end)) => back_end,
        Ok(Err(why)) => return Err(anyhow!("{why}{HINT}")),
        Err(_) => return Err(anyhow!("the recorder ended before it began{HINT}")),
    };
    Ok(Source {
        input: Input::Open { name: "recorder".to_owned(), file: File::from(OwnedFd::from(reader)) },
        title: format!("recording with the {back_end} back end"),
        speed: Speed::Times(1.0),
        recorder: Some(Recorder { ask, told }),
    })
}

/// The thread: until the recording ends.
fn record(
    options: Options,
    stop: &AtomicBool,
    asked: &AtomicBool,
    begun: &Sender<Result<String, String>>,
    tell: &Sender<Told>,
) {
    // Nobody to tell: top has ended.
    let mut say = |note: Note<'_>| match note {
        Note::Begun { recorder, .. } => drop(begun.send(Ok(recorder.back_end().to_string()))),
        Note::Status { counters, .. } => drop(tell.send(Told::Lost(events_lost(&counters)))),
        // Nothing is asked to change.
        Note::Names(_) | Note::NotChanged { .. } => {}
    };
    let control = Control { stop, status: asked, say: &mut say, reload: None };
    let outcome = match perisco::record::run(options, control) {
        Ok(outcome) => outcome,
        Err(error) => return drop(begun.send(Err(crate::told(&error.into())))),
    };
    let _ = tell.send(Told::Lost(events_lost(&outcome.counters)));
    let mut trouble = lost_lines(&outcome);
    let failed = outcome.write_error.as_ref().filter(|error| !error.is_broken_pipe());
    trouble.extend(failed.map(|error| format!("recording ended early: {error}")));
    trouble.extend(
        outcome
            .ring_error
            .as_ref()
            .map(|error| format!("recording ended early: cannot read the events: {error}")),
    );
    let status = outcome.command.filter(|status| !status.success());
    trouble.extend(status.map(|status| format!("the command ended with {status}")));
    let code = if outcome.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let _ = tell.send(Told::Ended { trouble, code });
}

/// Events that were to be in the stream and are not. The ends that were cut off
/// while the buffer was filling are gaps in it.
fn events_lost(counters: &Counters) -> u64 {
    let Counters { lost, recovered, lost_other, unreadable, .. } = counters;
    let Counters { over_share, over_limit, table_full, missed_runs, malformed, .. } = counters;
    let more = [lost_other, over_share, unreadable, over_limit, table_full, missed_runs, malformed];
    more.into_iter().fold(lost.saturating_sub(*recovered), |sum, count| sum.saturating_add(*count))
}
