use std::io;

use proptest::prelude::*;

use super::*;

fn key(start: Option<i64>, connection: u64, index: u64) -> SortKey {
    SortKey { start: start.map(Timestamp::from_nanos), connection, index }
}

/// A line that names its key, padded to make runs of different lengths.
fn line(key: &SortKey, pad: usize) -> Vec<u8> {
    format!("{:?} {} {}{}\n", key.start, key.connection, key.index, "x".repeat(pad)).into_bytes()
}

/// A writer that fails like a closed pipe.
struct Closed;

impl io::Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that takes a few bytes at a time, now and then none because of a
/// signal.
#[derive(Default)]
struct Slow {
    bytes: Vec<u8>,
    calls: usize,
}

impl io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(7)]);
        Ok(bytes.len().min(7))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn buffers_that_change_hands_come_out_in_order_through_a_slow_writer() {
    let mut sorter = Sorter::new(1 << 20);
    let (mut keys, mut lines) = (Vec::new(), Vec::new());
    let mut all = Vec::new();
    for n in 0..4000_u64 {
        let key = key(Some((n * 7919 % 4000) as i64), n, 0);
        lines.extend_from_slice(&line(&key, n as usize % 90));
        keys.push((key, lines.len()));
        all.push((key, n as usize % 90));
        sorter.take(&mut keys, &mut lines, n % 1000 == 999).unwrap();
        assert_eq!(keys.is_empty(), lines.is_empty());
    }
    assert!(sorter.runs.is_empty() && keys.is_empty());
    let mut out = Slow::default();
    sorter.finish(&mut out).unwrap();
    all.sort_by_key(|(key, _)| *key);
    let sorted: Vec<u8> = all.iter().flat_map(|(key, pad)| line(key, *pad)).collect();
    assert!(out.bytes == sorted);
}

#[test]
fn lines_are_let_out_before_memory_is_full() {
    let mut sorter = Sorter::new(1 << 20);
    let (mut keys, mut lines) = (Vec::new(), Vec::new());
    let mut out = Vec::new();
    for n in 0..40_000_i64 {
        let key = key(Some(n), 1, n as u64);
        lines.extend_from_slice(&line(&key, 60));
        keys.push((key, lines.len()));
        sorter.take(&mut keys, &mut lines, false).unwrap();
        if sorter.is_filling() {
            sorter.take(&mut keys, &mut lines, true).unwrap();
            sorter.advance(Some(Timestamp::from_nanos(n - 100)), &mut out).unwrap();
        }
        assert!(sorter.held() <= 1 << 20 && sorter.runs.is_empty());
    }
    sorter.take(&mut keys, &mut lines, true).unwrap();
    sorter.finish(&mut out).unwrap();
    let sorted: Vec<u8> = (0..40_000).flat_map(|n| line(&key(Some(n), 1, n as u64), 60)).collect();
    assert!(out == sorted);
}

#[test]
fn unknown_starts_come_first_and_late_lines_are_counted() {
    let mut sorter = Sorter::default();
    let mut out = Vec::new();
    sorter.push(key(Some(5), 2, 0), b"5.2\n").unwrap();
    sorter.push(key(Some(5), 1, 7), b"5.1\n").unwrap();
    sorter.push(key(Some(9), 1, 0), b"9\n").unwrap();
    sorter.push(key(None, 9, 0), b"none\n").unwrap();
    sorter.advance(None, &mut out).unwrap();
    assert_eq!(out, b"");
    sorter.advance(Some(Timestamp::from_nanos(9)), &mut out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), "none\n5.1\n5.2\n");
    assert_eq!(sorter.late(), 0);
    sorter.push(key(Some(9), 0, 0), b"9.0\n").unwrap();
    sorter.push(key(Some(6), 1, 1), b"late\n").unwrap();
    sorter.push(key(None, 1, 1), b"late too\n").unwrap();
    assert_eq!(sorter.late(), 2);
    out.clear();
    sorter.finish(&mut out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), "late too\nlate\n9.0\n9\n");
}

#[test]
fn a_watermark_that_goes_back_changes_nothing() {
    let mut sorter = Sorter::default();
    let mut out = Vec::new();
    sorter.push(key(Some(10), 0, 0), b"10\n").unwrap();
    sorter.advance(Some(Timestamp::from_nanos(20)), &mut out).unwrap();
    sorter.advance(Some(Timestamp::from_nanos(1)), &mut out).unwrap();
    sorter.push(key(Some(15), 0, 1), b"15\n").unwrap();
    assert_eq!(sorter.late(), 1);
    sorter.finish(&mut out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), "10\n15\n");
}

#[test]
fn a_closed_output_is_told_from_a_full_disk() {
    let mut sorter = Sorter::default();
    sorter.push(key(None, 0, 0), b"x").unwrap();
    match sorter.finish(&mut Closed) {
        Err(SortError::Output(error)) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_stays_bounded_and_runs_few() {
    let limit = 4096;
    let mut sorter = Sorter::new(limit);
    for n in 0..20_000_u64 {
        let key = key(Some((n * 7919 % 20_000) as i64), n, 0);
        sorter.push(key, &line(&key, 0)).unwrap();
        assert!(sorter.held() <= limit, "{}", sorter.held());
        assert!(sorter.runs.len() < 3 * FAN_IN, "{}", sorter.runs.len());
    }
    assert!(!sorter.runs.is_empty());
    let mut out = Vec::new();
    sorter.finish(&mut out).unwrap();
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 20_000);
}

proptest! {
    /// Pushes in any order with watermarks that hold give the plain sort, in
    /// memory or in runs.
    #[test]
    fn equals_a_plain_sort(
        keys in prop::collection::vec((prop::option::of(-50..1000_i64), 0..4_u64, 0..80_usize), 0..200),
        limit in 1..20_000_usize,
        lag in 0..400_i64,
        every in 1..20_usize,
    ) {
        // Starts grow with disorder bounded by `lag`, as those of traffic do.
        let mut pushes: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(n, (start, connection, pad))| {
                let start = start.map(|start| n as i64 * 20 + start * lag / 1000);
                (key(start, *connection, n as u64), *pad)
            })
            .collect();
        let mut sorter = Sorter::new(limit);
        let mut out = Vec::new();
        let mut any_none_late = 0;
        for n in 0..pushes.len() {
            let (key, pad) = pushes[n];
            any_none_late += u64::from(key.start.is_none() && sorter.written.is_some());
            sorter.push(key, &line(&key, pad)).unwrap();
            if n % every == 0 {
                let rest = pushes[n + 1..].iter().filter_map(|(key, _)| key.start).min();
                sorter.advance(rest, &mut out).unwrap();
            }
        }
        prop_assert_eq!(sorter.late(), any_none_late);
        let late = sorter.late();
        sorter.finish(&mut out).unwrap();
        pushes.sort_by_key(|(key, _)| *key);
        let sorted: Vec<u8> = pushes.iter().flat_map(|(key, pad)| line(key, *pad)).collect();
        if late == 0 {
            prop_assert_eq!(out, sorted);
        } else {
            // Late lines are out of place, none is missing.
            let lines = |bytes: &[u8]| {
                let mut lines: Vec<_> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                lines.sort();
                lines
            };
            prop_assert_eq!(lines(&out), lines(&sorted));
        }
    }
}
