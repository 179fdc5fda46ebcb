use std::net::SocketAddr;

use super::*;
use crate::pcap::{Batch, Capture, Input, OpenOptions};
use crate::record::pcapng::{Direction, PacketHead, Statistics};
use crate::record::synth::Segment;

const SECOND: i64 = 1_000_000_000;
const CLIENT: &str = "10.0.0.1:40000";

/// A segment of a ring as the recorder writes it.
struct Ring {
    bytes: Vec<u8>,
}

impl Ring {
    fn new(number: u64, offset: i64, boot: &str) -> Self {
        let mut bytes = Vec::new();
        let comments = [
            format!("perisco.boot={boot}"),
            format!("perisco.segment={number}"),
            format!("perisco.clock={offset}"),
        ];
        pcapng::section(&mut bytes, "perisco 1", "Linux", &comments);
        pcapng::interface(&mut bytes, "unknown", "owner=unknown ", "Linux");
        pcapng::interface(&mut bytes, "host/nginx[1]", "pid=1 comm=nginx ", "Linux");
        Self { bytes }
    }

    /// A packet of a connection at this second of the wall clock.
    fn packet(mut self, client: &str, second: i64, text: &str, comments: &[&str]) -> Self {
        let (from, to): (SocketAddr, SocketAddr) =
            (client.parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let (payload, length) = (text.as_bytes(), text.len());
        let segment = Segment {
            from,
            to,
            side: 0,
            seq: second as u32,
            ack: Some(1),
            flags: 0,
            payload,
            length,
        };
        let size = (segment.headers() + length) as u32;
        let time = (second * SECOND) as u64;
        let head = PacketHead { interface: 1, time, captured: size, original: size };
        let comments: Vec<String> = comments.iter().map(|text| (*text).to_owned()).collect();
        pcapng::packet(&mut self.bytes, head, Direction::Outbound, 0, &comments, |out| {
            segment.write(out);
        });
        self
    }

    fn ended(mut self) -> Self {
        let statistics =
            Statistics { interface: 0, start: 0, end: 0, received: 0, dropped: 2, comments: &[] };
        pcapng::statistics(&mut self.bytes, &statistics);
        self
    }

    fn write(self, folder: &Path, number: u64) -> PathBuf {
        let path = folder.join(super::super::names::segment(number, 0, ".pcapng"));
        std::fs::write(&path, self.bytes).unwrap();
        path
    }
}

/// What a reader finds: payloads in order, and comments each with its packet.
fn read(inputs: Vec<Input>) -> (Vec<String>, Vec<(usize, String)>) {
    let mut capture = Capture::open(inputs, OpenOptions::default()).unwrap();
    let (mut batch, mut texts, mut comments) = (Batch::default(), Vec::new(), Vec::new());
    loop {
        let more = capture.next_batch(&mut batch).unwrap();
        assert!(batch.damage.is_empty(), "{:?}", batch.damage);
        let all = batch.comments.drain(..);
        comments
            .extend(all.map(|comment| (texts.len() + comment.packet, comment.text.to_string())));
        for packet in &batch.packets {
            let chunk: &[u8] = (*batch.chunks[packet.chunk as usize]).as_ref();
            let bytes = &chunk[packet.offset as usize..][..packet.captured as usize];
            texts.push(String::from_utf8_lossy(&bytes[54..]).into_owned());
        }
        if !more {
            return (texts, comments);
        }
    }
}

fn saved(paths: &[PathBuf], window: Window) -> (Done, Vec<String>, Vec<(usize, String)>) {
    let mut out = Vec::new();
    let done = cut(paths, window, &["perisco.trigger=x".to_owned()], &mut out).unwrap();
    let first = blocks::all(&out).next().unwrap();
    let said: Vec<&str> = first.comments().take(2).collect();
    assert_eq!(said, ["perisco.saved=true", "perisco.trigger=x"]);
    let bytes = Input::Bytes { name: "saved".to_owned(), bytes: out };
    let (texts, comments) = read(vec![bytes]);
    (done, texts, comments)
}

fn wall(from: i64, to: i64) -> Window {
    Window::Wall { from: from * SECOND, to: to * SECOND }
}

#[test]
fn what_is_within_is_there_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let first = Ring::new(1, 0, "b")
        .packet(CLIENT, 10, "old", &["client=host/curl[9]", "joined=midway"])
        .packet(CLIENT, 12, "older", &["client=host/wget[9]"])
        .packet(CLIENT, 20, "one", &[])
        .packet("10.0.0.3:1", 21, "two", &["client=new"])
        .ended()
        .write(folder.path(), 1);
    let second = Ring::new(2, 0, "b")
        .packet(CLIENT, 30, "three", &["client=host/wget[9]"])
        .packet(CLIENT, 40, "late", &[])
        .write(folder.path(), 2);
    let third = Ring::new(3, 0, "b").packet(CLIENT, 50, "later", &[]).write(folder.path(), 3);
    let paths = [first, second, third];
    let (done, texts, comments) = saved(&paths, wall(20, 30));
    assert_eq!(texts, ["one", "two", "three"]);
    // Who the connection is of was said before; the last word holds.
    let said = |list: &[(usize, &str)]| -> Vec<(usize, String)> {
        list.iter().map(|(packet, text)| (*packet, (*text).to_owned())).collect()
    };
    let expected = [
        (0, "joined=midway"),
        (0, "client=host/wget[9]"),
        (1, "client=new"),
        (2, "client=host/wget[9]"),
    ];
    assert_eq!(comments, said(&expected));
    let span = Span { packets: 3, segments: 2, first: Some(20 * SECOND), last: Some(30 * SECOND) };
    assert_eq!((done.span, done.reaches), (span, true));
    // Nothing in that time: a capture all the same.
    let (done, texts, _) = saved(&paths, wall(22, 23));
    assert!(texts.is_empty() && done.span == Span::default());
    let (done, texts, _) = saved(&paths, wall(0, 99));
    assert_eq!((texts.len(), done.reaches, done.oldest), (7, false, Some(10 * SECOND)));
}

/// Segment 2 was begun when the clock had been set an hour back.
#[test]
fn a_clock_that_was_set_moves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (now, boot) = (Now::read(), crate::record::flight::boot_id());
    let hour = 3_600;
    let at = |seconds_ago: i64| now.boot / SECOND - seconds_ago;
    let offset = 7_200;
    let first = Ring::new(1, offset * SECOND, &boot)
        .packet(CLIENT, at(30) + offset, "before", &[])
        .packet(CLIENT, at(20) + offset, "one", &[])
        .write(folder.path(), 1);
    let second = Ring::new(2, (offset - hour) * SECOND, &boot)
        .packet(CLIENT, at(10) + offset - hour, "two", &[])
        .write(folder.path(), 2);
    let paths = [first, second];
    let window = Window::Boot { from: at(25) * SECOND, to: i64::MAX };
    let (done, texts, _) = saved(&paths, window);
    assert_eq!((texts, done.reaches), (vec!["one".to_owned(), "two".to_owned()], true));
    assert_eq!(begin(&paths[1], window), Some(at(10) * SECOND));
    // The whole ring, in any order of its files: by numbers, not by times.
    let inputs = paths.iter().rev().map(|path| Input::Path(path.clone())).collect();
    assert_eq!(read(inputs).0, ["before", "one", "two"]);
}

/// Elsewhere there is nothing but the wall clock: files of two rings go by their times.
#[test]
fn segments_of_two_rings_are_merged_by_time() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let texts = [["a1", "a3"], ["b2", "b4"]];
    let mut inputs = Vec::new();
    for (ring, (folder, texts)) in folders.iter().zip(texts).enumerate() {
        for (number, text) in texts.iter().enumerate() {
            let second = 10 + 2 * number as i64 + ring as i64;
            let number = number as u64 + 1;
            let path = Ring::new(number, 0, "b")
                .packet(CLIENT, second, text, &[])
                .write(folder.path(), number);
            inputs.push(Input::Path(path));
        }
    }
    assert_eq!(read(inputs).0, ["a1", "b2", "a3", "b4"]);
}

#[test]
fn a_segment_that_breaks_off_is_there_up_to_that() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Ring::new(1, 0, "b").packet(CLIENT, 10, "one", &[]).packet(CLIENT, 11, "two", &[]);
    let length = whole.bytes.len();
    let path = whole.write(folder.path(), 1);
    let cut_at = |length: usize| {
        File::options().write(true).open(&path).unwrap().set_len(length as u64).unwrap();
        saved(std::slice::from_ref(&path), wall(0, 99))
    };
    let (done, texts, _) = cut_at(length - 5);
    assert_eq!((texts, done.damaged.len()), (vec!["one".to_owned()], 0));
    let (done, texts, _) = cut_at(0);
    assert!(texts.is_empty() && done.damaged.is_empty(), "{done:?}");
    std::fs::write(&path, "no capture at all").unwrap();
    let (done, _, _) = saved(std::slice::from_ref(&path), wall(0, 99));
    assert_eq!(done.damaged.len(), 1);
    std::fs::remove_file(&path).unwrap();
    let (done, _, _) = saved(std::slice::from_ref(&path), wall(0, 99));
    assert_eq!(done.torn, [path]);
}
