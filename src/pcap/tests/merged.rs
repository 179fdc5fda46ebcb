//! Several inputs by time.

use proptest::collection::vec;
use proptest::prelude::*;

use super::build::{Ng, pcap};
use super::*;

fn bytes_input(name: &str, bytes: Vec<u8>) -> Input {
    Input::Bytes { name: name.to_owned(), bytes }
}

fn merge(files: Vec<Vec<u8>>) -> Everything {
    let inputs = files.into_iter().enumerate();
    let inputs = inputs.map(|(index, bytes)| bytes_input(&index.to_string(), bytes)).collect();
    Everything::read(&mut Capture::open(inputs, OpenOptions::default()).unwrap())
}

/// A pcapng file with a packet per time; None is a simple packet.
fn timed(file: u8, times: &[Option<u32>]) -> Vec<u8> {
    let mut ng = Ng::new(file % 2 == 1);
    let options = [ng.option(2, &[b'a' + file]), ng.option(9, &[9])].concat();
    ng.interface(1, 0, &options);
    for (index, time) in times.iter().enumerate() {
        let data = [file, index as u8];
        let comment = ng.option(1, &[b'a' + file]);
        match time {
            Some(time) if index % 3 == 0 => ng.enhanced(0, (*time).into(), &data, &comment),
            Some(time) => ng.enhanced(0, (*time).into(), &data, b""),
            None => ng.simple(2, &data),
        };
    }
    ng.bytes
}

#[test]
fn by_time_ties_by_order_of_inputs() {
    let all = merge(vec![
        timed(0, &[Some(10), Some(30), None, Some(50)]),
        timed(1, &[Some(10), Some(20), Some(30), Some(60)]),
        pcap(0xa1b2_3c4d, true, 0, 1, &[(0, 5, 0, b"pc"), (0, 55, 0, b"ap")]),
    ]);
    let expected: [&[u8]; 10] =
        [b"pc", &[0, 0], &[1, 0], &[1, 1], &[0, 1], &[0, 2], &[1, 2], &[0, 3], b"ap", &[1, 3]];
    assert_eq!(all.payloads(), expected);
    let names: Vec<Option<&str>> = all.interfaces.iter().map(|one| one.name.as_deref()).collect();
    assert_eq!(names, [Some("a"), Some("b"), None]);
    let files: Vec<usize> = all.interfaces.iter().map(|one| one.file).collect();
    assert_eq!(files, [0, 1, 2]);
    for packet in &all.packets {
        let file = if packet.bytes[0] > 2 { 2 } else { packet.bytes[0] };
        assert_eq!(packet.interface, u32::from(file));
    }
    let comments: Vec<(usize, &str)> =
        all.comments.iter().map(|(packet, text)| (*packet, &**text)).collect();
    assert_eq!(comments, [(1, "a"), (2, "b"), (7, "a"), (9, "b")]);
}

#[test]
fn disorder_within_an_input_stays() {
    let all = merge(vec![timed(0, &[Some(50), Some(10), Some(70)]), timed(1, &[Some(40)])]);
    assert_eq!(all.payloads(), [[1, 0], [0, 0], [0, 1], [0, 2]]);
}

#[test]
fn damage_in_one_does_not_end_the_others() {
    let mut cut = timed(0, &[Some(1), Some(5)]);
    cut.truncate(cut.len() - 3);
    let inputs = vec![bytes_input("cut", cut), bytes_input("whole", timed(1, &[Some(2), Some(9)]))];
    let mut capture = Capture::open(inputs, OpenOptions::default()).unwrap();
    let mut batch = Batch::default();
    assert!(!capture.next_batch(&mut batch).unwrap());
    assert_eq!(batch.packets.len(), 3);
    assert_eq!((batch.damage.len(), &*batch.damage[0].file), (1, "cut"));
}

proptest! {
    #[test]
    fn any_files(files in vec(vec(proptest::option::weighted(0.9, 0..50u32), 0..40), 2..5), window in 40..400usize) {
        let bytes: Vec<Vec<u8>> = files.iter().enumerate()
            .map(|(index, times)| timed(index as u8, times))
            .collect();
        // Each packet counts at its time, or that of the one before.
        let mut expected = Vec::new();
        for (file, times) in files.iter().enumerate() {
            // Before the first time of a file is before all times.
            let mut time = -1;
            for (index, at) in times.iter().enumerate() {
                // Only heads compete, so nothing overtakes in its own file.
                time = at.map_or(time, i64::from).max(time);
                expected.push((time, file, vec![file as u8, index as u8]));
            }
        }
        expected.sort_by_key(|(time, file, _)| (*time, *file));
        let sorted: Vec<Vec<Option<u32>>> = files.iter().map(|times| {
            let mut latest = 0;
            times.iter().map(|at| at.map(|at| { latest = latest.max(at); latest })).collect()
        }).collect();
        let bytes_sorted: Vec<Vec<u8>> = sorted.iter().enumerate()
            .map(|(index, times)| timed(index as u8, times))
            .collect();
        let all = merge(bytes_sorted.clone());
        let wanted: Vec<&[u8]> = expected.iter().map(|(.., bytes)| &**bytes).collect();
        prop_assert_eq!(all.payloads(), wanted);
        // From mapped files with tiny windows it is the same.
        let files: Vec<_> = bytes_sorted.iter().map(|bytes| file_of(bytes)).collect();
        let options = OpenOptions { window_bytes: Some(window), ..OpenOptions::default() };
        let inputs = files.iter().map(path_input).collect();
        let mapped = Everything::read(&mut Capture::open(inputs, options).unwrap());
        prop_assert_eq!(mapped.packets, all.packets);
        prop_assert_eq!(mapped.comments, all.comments);
        // Disorder within a file loses nothing.
        let count: usize = merge(bytes).packets.len();
        prop_assert_eq!(count, expected.len());
    }
}
