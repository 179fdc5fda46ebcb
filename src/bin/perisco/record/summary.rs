//! What `perisco record` says on standard error: how it began, how it goes,
//! and what was recorded and lost.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use perisco::record::backend::Recorder;
use perisco::record::confine::Confined;
use perisco::record::counters::Counters;
use perisco::record::run::Outcome;
use perisco::record::sources::SourceNews;
use perisco::record::writer::Summary;

/// Recording has begun.
pub fn begun(recorder: &Recorder, output: &str, verbose: bool) {
    let to = if output == "-" { "standard output" } else { output };
    for refusal in recorder.refusals() {
        eprintln!("perisco: {refusal}");
        if verbose && !refusal.log.is_empty() {
            eprintln!("{}", refusal.log.trim_end());
        }
    }
    for note in recorder.notes() {
        eprintln!("perisco: {note}");
    }
    eprintln!(
        "perisco: recording to {to} with the {} back end; Ctrl-C ends it",
        recorder.back_end()
    );
}

/// How the recorder is shut in; with `quiet` only what is not in force.
pub fn confined(confined: Option<&Confined>, quiet: bool) {
    let Some(confined) = confined else { return };
    if !quiet {
        eprintln!("perisco: confined: {confined}");
    } else if let Some(missing) = confined.missing() {
        eprintln!("perisco: not confined as it could be: {missing}");
    }
    for note in &confined.notes {
        eprintln!("perisco: {note}");
    }
}

/// The counts so far (SIGUSR1).
pub fn status(counters: &Counters, summary: &Summary) {
    eprintln!("perisco: so far {}", counted(summary));
    for line in lost(counters, summary) {
        eprintln!("perisco: {line}");
    }
}

/// A source of names fails, or answers again.
pub fn names(news: &SourceNews) {
    match &news.error {
        Some(error) => eprintln!(
            "perisco: names: {} cannot be asked, so some ends have addresses only: {error}",
            news.name
        ),
        None => eprintln!("perisco: names: {} can be asked again", news.name),
    }
}

/// The end: the counts, what is missing, and the exit code.
pub fn ended(outcome: &Outcome, output: &str, quiet: bool) -> ExitCode {
    let Outcome { summary, counters, write_error, ring_error, command, elapsed } = outcome;
    let mut complete = outcome.is_complete();
    if let Some(error) = write_error {
        if error.is_broken_pipe() {
            // A reader that has seen enough is no error.
            complete = !counters.any_lost();
        } else {
            let valid = "what was written until then is valid";
            eprintln!("perisco: recording ended early: {error}; {valid}");
        }
    }
    if let Some(error) = ring_error {
        eprintln!("perisco: recording ended early: cannot read the events: {error}");
    }
    if let Some(status) = command
        && !status.success()
    {
        eprintln!("perisco: the command ended with {status}");
    }
    if !quiet {
        let time = humantime::format_duration(Duration::from_millis(elapsed.as_millis() as u64));
        // After a failure the sizes are not known, and nobody should read them as 0.
        let place = if write_error.is_none() { written(summary, output) } else { String::new() };
        eprintln!("perisco: {} in {time}{place}", counted(summary));
        hints(summary, output);
    }
    let missing = lost(counters, summary);
    for line in &missing {
        eprintln!("perisco: {line}");
    }
    if counters.unowned > 0 {
        eprintln!(
            "perisco: {} calls or packets were left out by the filters because their process was not known",
            HumanCount(counters.unowned)
        );
    }
    if missing.is_empty() && outcome.is_complete() && !quiet {
        eprintln!("perisco: nothing lost");
    }
    if complete { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn counted(summary: &Summary) -> String {
    let plural = |count: u64, one: &str| {
        format!("{} {one}{}", HumanCount(count), if count == 1 { "" } else { "s" })
    };
    format!(
        "{}, {}, {} of payload",
        plural(summary.connections, "connection"),
        plural(summary.packets, "packet"),
        BinaryBytes(summary.bytes)
    )
}

/// Where it is.
fn written(summary: &Summary, output: &str) -> String {
    let size = BinaryBytes(summary.written_bytes);
    let mut text = match (&summary.last_file, summary.files) {
        (None, _) => String::new(),
        (Some(_), 0 | 1) => format!(", {size} in {output}"),
        (Some(last), files) => {
            format!(", {size} in {} files, the last {}", HumanCount(files), last.display())
        }
    };
    if summary.removed_files > 0 {
        text += &format!(", {} older removed", HumanCount(summary.removed_files));
    }
    text
}

/// What Wireshark cannot know from the file.
fn hints(summary: &Summary, output: &str) {
    if summary.http2_ports.is_empty() {
        return;
    }
    let rules: Vec<String> =
        summary.http2_ports.iter().map(|port| format!("-d tcp.port=={port},http2")).collect();
    eprintln!("perisco: HTTP/2 was seen: wireshark {} {output}", rules.join(" "));
}

/// What is missing, and why; one line each.
#[cfg(feature = "top")]
pub fn lost_lines(outcome: &Outcome) -> Vec<String> {
    lost(&outcome.counters, &outcome.summary)
}

/// What is missing in the file, and why; one line each.
fn lost(counters: &Counters, summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |count: u64, what: String| {
        if count > 0 {
            lines.push(what);
        }
    };
    let ring = counters.lost.saturating_sub(counters.recovered);
    let ring_bytes = counters.lost_bytes.saturating_sub(counters.recovered_bytes);
    say(
        ring + counters.lost_other,
        format!(
            "LOST {} events with {} of payload: the buffer was full; a larger --buffer, filters or --snaplen help",
            HumanCount(ring + counters.lost_other),
            BinaryBytes(ring_bytes)
        ),
    );
    say(
        counters.over_share,
        format!(
            "LOST {} events with {} of payload: the buffer was nearly full, and the processes had had their share of it",
            HumanCount(counters.over_share),
            BinaryBytes(counters.over_share_bytes)
        ),
    );
    say(
        counters.cut,
        format!(
            "LOST the ends of {} packets or calls, {}: the buffer was filling; a larger --buffer, filters or --snaplen help",
            HumanCount(counters.cut),
            BinaryBytes(counters.cut_bytes)
        ),
    );
    say(
        counters.unreadable,
        format!(
            "LOST {} events with {}: their memory could not be read",
            HumanCount(counters.unreadable),
            BinaryBytes(counters.unreadable_bytes)
        ),
    );
    say(
        counters.over_limit,
        format!(
            "LOST the ends of {} calls, {}: longer than the programs copy",
            HumanCount(counters.over_limit),
            BinaryBytes(counters.over_limit_bytes)
        ),
    );
    say(
        counters.table_full + counters.missed_runs,
        format!(
            "MISSED {} calls: a table of the programs was full, or one interrupted another",
            HumanCount(counters.table_full + counters.missed_runs)
        ),
    );
    say(
        counters.malformed + summary.malformed,
        "MALFORMED events: please report this as a bug".to_owned(),
    );
    say(
        summary.gaps,
        format!(
            "{} gaps in the streams, {} in all",
            HumanCount(summary.gaps),
            BinaryBytes(summary.gap_bytes)
        ),
    );
    say(
        summary.evicted,
        format!(
            "{} connections forgotten, too many at once: what they said later is there as joined midway",
            HumanCount(summary.evicted)
        ),
    );
    say(
        summary.removed_for_space,
        format!("the disk was full: {} older files removed", HumanCount(summary.removed_for_space)),
    );
    lines
}
