//! The recorder's events as they come, in a file: what `scripts/kernels` checks
//! byte by byte, without the packets and blocks that `perisco record` makes of
//! them.
//!
//! ```text
//! record-events socket|cgroup FILE [CALL-BYTES|filling]
//! ```
//!
//! CALL-BYTES: how much of one call the socket back end copies. `filling`: the
//! ring is small, and read when all is over. Prints the programs that are
//! loaded, then `recording`; ends with SIGINT or SIGTERM and prints the counters. Each record in FILE is a
//! `struct perisco_event` (`bpf/event.h`) and its payload, after their length in
//! 32 bits; fields that `scripts/kernels.d/check.py` does not read are zero.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;

use anyhow::{Context, bail};
use perisco::record::backend::{Choice, Recorder, Settings, verified};
use perisco::record::event::{Event, HEADER_BYTES, Kind, Way};
use perisco::record::ring::POLL_INTERVAL;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Sizes of the ring in bytes: so that none of the workload is lost, and so that
/// a few calls fill it to where payload is cut, and not further.
const LARGE_RING: u32 = 128 << 20;
const SMALL_RING: u32 = 4 << 20;

/// The most instructions that the verifier may process for one program; its
/// own limit is a million, and it counts differently from kernel to kernel.
const VERIFIED_LIMIT: u32 = 100_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [back_end, file, rest @ ..] = arguments.as_slice() else {
        bail!("usage: record-events socket|cgroup FILE [CALL-BYTES|filling]")
    };
    let choice = match back_end.as_str() {
        "socket" => Choice::Socket,
        "cgroup" => Choice::Cgroup,
        other => bail!("no back end is called {other}"),
    };
    let filling = rest.first().is_some_and(|text| text == "filling");
    let number = rest.first().filter(|_| !filling);
    let call_bytes = number.map_or(Ok(0), |text| text.parse())?;
    let mut out = BufWriter::new(File::create(file)?);
    let buffer_bytes = if filling { SMALL_RING } else { LARGE_RING };
    let settings =
        Settings { choice, buffer_bytes, call_bytes, both_ends: true, ..Settings::default() };
    let mut recorder = Recorder::start(&settings)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    for note in recorder.notes() {
        println!("note: {note}");
    }
    print_programs()?;
    recorder.scan()?;
    println!("recording");
    while filling && !stop.load(Ordering::Relaxed) {
        sleep(POLL_INTERVAL);
    }
    let mut failed = None;
    // Once more after the signal: what is queued by then belongs to it.
    let mut last = false;
    while !last {
        last = stop.load(Ordering::Relaxed);
        recorder.poll(POLL_INTERVAL, &mut |event| {
            if let Err(error) = write_event(&mut out, &event) {
                failed = Some(error);
            }
        })?;
    }
    failed.map_or(Ok(()), Err).context(file.clone())?;
    out.flush()?;
    let counters = recorder.counters();
    println!("{counters:?}");
    if counters.missed_runs > 0 {
        println!("MISSED {} runs of programs", counters.missed_runs);
    }
    Ok(())
}

/// How many instructions the verifier processed for each program.
fn print_programs() -> anyhow::Result<()> {
    let programs = verified();
    if programs.is_empty() {
        bail!("the verifier did not say how much it processed");
    }
    let mut too_large = Vec::new();
    for (name, count) in programs {
        println!("program {name}: {count} instructions verified");
        if count > VERIFIED_LIMIT {
            too_large.push(name);
        }
    }
    if !too_large.is_empty() {
        bail!("more than {VERIFIED_LIMIT} instructions: {}", too_large.join(", "));
    }
    Ok(())
}

fn write_event(out: &mut impl Write, event: &Event<'_>) -> io::Result<()> {
    let (Some(local), Some(remote)) = (event.local, event.remote) else { return Ok(()) };
    let mut header = [0; HEADER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &event.at.to_le_bytes());
    put(8, &event.socket.to_le_bytes());
    put(28, &event.pid.to_le_bytes());
    put(40, &event.seq.to_le_bytes());
    put(48, &event.length.to_le_bytes());
    put(52, &u32::try_from(event.payload.len()).unwrap_or(0).to_le_bytes());
    put(60, &local.port().to_le_bytes());
    put(62, &remote.port().to_le_bytes());
    put(64, &[u8::from(event.kind == Kind::Data), u8::from(event.way == Way::Received)]);
    put(66, &[if local.is_ipv4() { 4 } else { 6 }, event.tcp_flags]);
    let size = u32::try_from(HEADER_BYTES + event.payload.len()).unwrap_or(0);
    out.write_all(&size.to_le_bytes())?;
    out.write_all(&header)?;
    out.write_all(event.payload)
}
