//! Pipes: slow, fast, silent, endless, stopped.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::build::{Ng, pcap, varied};
use super::*;

/// Gives one byte at a time.
struct Drip(io::Cursor<Vec<u8>>);

impl Read for Drip {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let end = out.len().min(1);
        self.0.read(&mut out[..end])
    }
}

fn drip(bytes: Vec<u8>) -> Everything {
    let reader = Box::new(Drip(io::Cursor::new(bytes)));
    let input = Input::Reader { name: "-".to_owned(), reader };
    let mut capture = Capture::open(vec![input], OpenOptions::default()).unwrap();
    assert!(capture.is_live());
    assert_eq!(capture.size_hint(), None);
    Everything::read(&mut capture)
}

/// A FIFO with one end for each side.
struct Fifo {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl Fifo {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        Self { _directory: directory, path }
    }

    fn open(&self, stop: &Arc<AtomicBool>) -> Capture {
        let options = OpenOptions { stop: Some(stop.clone()), ..OpenOptions::default() };
        Capture::open(vec![Input::Path(self.path.clone())], options).unwrap()
    }
}

#[test]
fn byte_by_byte_is_the_same() {
    let bytes = varied();
    let whole = Everything::of(bytes.clone());
    let slow = drip(bytes.clone());
    assert_eq!(slow.packets, whole.packets);
    assert_eq!((slow.comments, slow.damage), (whole.comments, vec![]));
    assert!(slow.batches >= 4, "packets come as they are complete");
    let zipped = zstd::encode_all(&bytes[..], 1).unwrap();
    assert_eq!(drip(zipped).packets, whole.packets);
    let cut = drip(bytes[..bytes.len() - 1].to_vec());
    assert!(cut.faults()[0].contains("cut short"));
}

#[test]
fn a_large_packet_that_trickles_in() {
    let large = vec![9u8; 3 << 20];
    let bytes = pcap(0xa1b2_c3d4, false, 0, 1, &[(1, 0, 0, &large), (2, 0, 0, b"x")]);
    let all = drip(bytes);
    assert_eq!(all.payloads(), [&large[..], b"x"]);
}

#[test]
fn a_huge_claim_in_a_pipe_takes_no_memory() {
    let mut ng = Ng::new(false);
    ng.bytes.extend([6, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff]);
    let endless = io::Cursor::new(ng.bytes).chain(io::repeat(0));
    let input = Input::Reader { name: "-".to_owned(), reader: Box::new(endless) };
    let mut capture = Capture::open(vec![input], OpenOptions::default()).unwrap();
    let all = Everything::read(&mut capture);
    assert!(all.faults()[0].contains("a block claims a length of 4294967292 bytes"));
}

#[test]
fn a_slow_pipe_is_delivered_at_once() {
    let fifo = Fifo::new();
    let path = fifo.path.clone();
    let bytes = varied();
    let (first, rest) = (bytes[..160].to_vec(), bytes[160..].to_vec());
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, go) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        pipe.write_all(&first).unwrap();
        go.recv().unwrap();
        pipe.write_all(&rest).unwrap();
    });
    let mut capture = fifo.open(&stop);
    assert!(capture.is_live());
    let mut batch = Batch::default();
    let mut all = Everything::default();
    let begin = Instant::now();
    while all.packets.is_empty() {
        assert!(capture.next_batch(&mut batch).unwrap());
        all.add(&batch);
    }
    assert_eq!(all.packets[0].bytes, b"first packet");
    // Silence gives the caller a turn.
    while begin.elapsed() < Duration::from_millis(150) {
        assert!(capture.next_batch(&mut batch).unwrap());
        all.add(&batch);
    }
    sender.send(()).unwrap();
    while capture.next_batch(&mut batch).unwrap() {
        all.add(&batch);
    }
    all.add(&batch);
    writer.join().unwrap();
    assert_eq!(all.packets, Everything::of(bytes).packets);
    assert_eq!(all.damage, []);
}

/// Reads until a stop and returns how long the end took after it.
fn stop_after_first(mut capture: Capture, stop: &AtomicBool) -> (Everything, Duration) {
    let mut batch = Batch::default();
    let mut all = Everything::default();
    while all.packets.is_empty() {
        assert!(capture.next_batch(&mut batch).unwrap());
        all.add(&batch);
    }
    stop.store(true, Ordering::Relaxed);
    let asked = Instant::now();
    while capture.next_batch(&mut batch).unwrap() {
        all.add(&batch);
    }
    all.add(&batch);
    (all, asked.elapsed())
}

#[test]
fn a_stop_ends_a_silent_pipe_within_100_ms() {
    for compressed in [false, true] {
        let fifo = Fifo::new();
        let path = fifo.path.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let (over, wait) = std::sync::mpsc::channel::<()>();
        let writer = std::thread::spawn(move || {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            let mut bytes = varied();
            // In the middle of a packet: that is no damage after a stop.
            bytes.truncate(bytes.len() - 5);
            if compressed {
                let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
                encoder.write_all(&bytes).unwrap();
                encoder.flush().unwrap();
                bytes = encoder.get_ref().clone();
            }
            pipe.write_all(&bytes).unwrap();
            wait.recv().ok();
        });
        let (all, took) = stop_after_first(fifo.open(&stop), &stop);
        assert_eq!(all.packets.len(), 4);
        assert_eq!(all.damage, []);
        assert!(took < Duration::from_millis(130), "{took:?}");
        drop(over);
        writer.join().unwrap();
    }
}

#[test]
fn a_stop_ends_an_endless_pipe() {
    let fifo = Fifo::new();
    let path = fifo.path.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn(move || {
        let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let section = varied();
        while pipe.write_all(&section).is_ok() {}
    });
    let (all, took) = stop_after_first(fifo.open(&stop), &stop);
    assert!(all.packets.len() >= 4);
    assert!(took < Duration::from_millis(250), "{took:?}");
    writer.join().unwrap();
}

#[test]
fn a_stop_before_the_first_byte() {
    let stop = Arc::new(AtomicBool::new(true));
    let (reader, _writer) = io::pipe().unwrap();
    let fd = std::os::fd::OwnedFd::from(reader);
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    let options = OpenOptions { stop: Some(stop), ..OpenOptions::default() };
    let mut capture = Capture::open(vec![Input::Path(path.into())], options).unwrap();
    assert_eq!(capture.inputs()[0].format, "nothing read");
    let all = Everything::read(&mut capture);
    assert_eq!((all.packets.len(), all.damage.len()), (0, 0));
}

#[test]
fn a_stop_ends_a_file_at_the_next_batch() {
    let mut packets: Vec<(u32, u32, u32, &[u8])> = Vec::new();
    packets.resize(2 * BATCH_PACKETS, (1, 2, 4, b"abcd"));
    let file = file_of(&pcap(0xa1b2_c3d4, false, 100, 1, &packets));
    let stop = Arc::new(AtomicBool::new(false));
    let options = OpenOptions { stop: Some(stop.clone()), ..OpenOptions::default() };
    let mut capture = Capture::open(vec![path_input(&file)], options).unwrap();
    let mut batch = Batch::default();
    assert!(capture.next_batch(&mut batch).unwrap());
    assert_eq!(batch.packets.len(), BATCH_PACKETS);
    stop.store(true, Ordering::Relaxed);
    assert!(!capture.next_batch(&mut batch).unwrap());
    assert!(batch.packets.is_empty() && batch.damage.is_empty());
}

#[test]
fn batches_of_files_are_bounded() {
    let large = vec![1u8; 100_000];
    let mut packets: Vec<(u32, u32, u32, &[u8])> = Vec::new();
    packets.resize(60, (1, 2, 4, &large));
    let file = file_of(&pcap(0xa1b2_c3d4, false, 0, 1, &packets));
    let mut capture = Capture::open(vec![path_input(&file)], OpenOptions::default()).unwrap();
    let mut batch = Batch::default();
    let mut sizes = Vec::new();
    while capture.next_batch(&mut batch).unwrap() {
        sizes.push(batch.packets.len());
    }
    sizes.push(batch.packets.len());
    // The one that a batch ends with may go over.
    let full = BATCH_BYTES.div_ceil(large.len() + 16);
    assert_eq!(sizes.iter().sum::<usize>(), 60);
    assert!(sizes.iter().rev().skip(2).all(|size| *size == full), "{sizes:?}");
}
