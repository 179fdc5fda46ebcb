use std::io::Write;

use super::*;

const SECOND: i64 = 1_000_000_000;
const NOW: Now = Now { boot: 1_000 * SECOND, wall: 1_700_000_000 * SECOND };
const EXTENSION: &str = ".pcapng";

fn at(seconds: i64) -> Now {
    Now { boot: NOW.boot + seconds * SECOND, wall: NOW.wall + seconds * SECOND }
}

fn open(folder: &Path, limits: Limits, now: Now) -> Arc<Store> {
    Store::open(folder, limits, EXTENSION, now).unwrap()
}

/// Writes a whole segment, a megabyte at a time as a recorder does; what the folder
/// takes is looked at before and after each of them.
fn segment(store: &Store, megabytes: u64, now: Now, limit: u64) {
    let (_, mut file) = store.begin(now).unwrap();
    let mut length = 0;
    for _ in 0..megabytes {
        length += 1 << 20;
        store.room_for(&file, length).unwrap();
        file.write_all(&vec![7; 1 << 20]).unwrap();
        assert!(taken(store.folder()) <= limit, "{} of {limit}", taken(store.folder()));
    }
    store.close(&file, length, now);
}

/// What du(1) would say.
fn taken(folder: &Path) -> u64 {
    let own = folder.metadata().unwrap().blocks();
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|entry| entry.unwrap().metadata().unwrap().blocks());
    (files.sum::<u64>() + own) * 512
}

fn numbers(folder: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut all: Vec<_> =
        entries.filter_map(|entry| names::number(&entry.unwrap().file_name())).collect();
    all.sort_unstable();
    all
}

#[test]
fn the_limit_of_bytes_holds_at_every_write() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: Some(MIN_BYTES), time: None };
    let store = open(folder.path(), limits, NOW);
    for round in 0..12 {
        segment(&store, 3, at(round), MIN_BYTES);
    }
    assert_eq!(numbers(folder.path()), [8, 9, 10, 11, 12]);
    assert_eq!((store.figures().removed, store.figures().segments), (7, 5));
    assert!(store.figures().bytes <= MIN_BYTES);
}

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: Some(MIN_BYTES), time: None };
    let store = open(folder.path(), limits, NOW);
    (0..4).for_each(|round| segment(&store, 3, at(round), MIN_BYTES));
    drop(store);
    // Less is to be kept by now, and something else lies there.
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let empty = folder.path().join(names::segment(5, 0, EXTENSION));
    std::fs::write(&empty, "").unwrap();
    let smaller = Limits { bytes: Some(8 << 20), time: None };
    let store = open(folder.path(), smaller, at(9));
    assert_eq!(numbers(folder.path()), [3, 4], "the oldest left, and what never had a byte");
    assert_eq!(store.next_number(), 6);
    segment(&store, 1, at(10), 8 << 20);
    assert_eq!(numbers(folder.path()), [3, 4, 6]);
    assert!(folder.path().join("notes.txt").exists());
}

/// Hours back or forth: the order is that of the numbers, ages are by the clock that goes on.
#[test]
fn a_wall_clock_that_is_set_changes_neither_order_nor_age() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: None, time: Some(Duration::from_secs(60)) };
    let store = open(folder.path(), limits, NOW);
    let hour = 3_600 * SECOND;
    for (seconds, jump) in [(0, 0), (10, -hour), (20, 5 * hour), (30, -9 * hour)] {
        let now = Now { wall: at(seconds).wall + jump, ..at(seconds) };
        segment(&store, 1, now, u64::MAX);
        store.flushed(0, now);
    }
    assert_eq!(numbers(folder.path()), [1, 2, 3, 4]);
    let pinned = store.pin(at(15).boot, at(40).boot);
    let found: Vec<_> = pinned.segments.iter().map(|segment| segment.number).collect();
    assert_eq!(found, [3, 4], "by the clock that nobody sets");
    drop(pinned);
    for (seconds, left) in [(59, vec![1, 2, 3, 4]), (65, vec![2, 3, 4]), (95, vec![])] {
        store.expire(Now { wall: 0, ..at(seconds) });
        assert_eq!(numbers(folder.path()), left, "after {seconds} s");
    }
}

#[test]
fn nothing_older_than_the_limit_of_time_is_kept_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: None, time: Some(Duration::from_secs(60)) };
    segment(&open(folder.path(), limits, Now::read()), 1, Now::read(), u64::MAX);
    let later = |seconds: i64| {
        let now = Now::read();
        // Another start of the machine: its clock began anew.
        Now { boot: 5 * SECOND, wall: now.wall + seconds * SECOND }
    };
    let store = open(folder.path(), limits, later(30));
    assert_eq!(numbers(folder.path()), [1]);
    store.expire(Now { boot: 30 * SECOND, wall: 0 });
    assert_eq!(numbers(folder.path()), [1]);
    store.expire(Now { boot: 40 * SECOND, wall: 0 });
    assert_eq!(numbers(folder.path()), [0_u64; 0]);
    drop(store);
    segment(&open(folder.path(), limits, Now::read()), 1, Now::read(), u64::MAX);
    // A clock that was set back: what is from the future is new.
    drop(open(folder.path(), limits, later(-3_600)));
    assert_eq!(numbers(folder.path()).len(), 1);
    drop(open(folder.path(), limits, later(90)));
    assert_eq!(numbers(folder.path()).len(), 0);
}

#[test]
fn what_is_being_read_leaves_last_and_gives_its_blocks_back() {
    use std::io::Read;
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: Some(MIN_BYTES), time: None };
    let store = open(folder.path(), limits, NOW);
    (0..3).for_each(|round| segment(&store, 3, at(round), MIN_BYTES));
    let pinned = store.pin(at(0).boot, at(1).boot);
    assert_eq!(pinned.segments.len(), 2);
    let mut reader = File::open(&pinned.segments[0].path).unwrap();
    (3..6).for_each(|round| segment(&store, 3, at(round), MIN_BYTES));
    assert_eq!(numbers(folder.path()), [1, 2, 4, 5, 6]);
    // Nothing but what is being read is left to make room.
    let all = store.pin(i64::MIN, i64::MAX);
    segment(&store, 3, at(7), MIN_BYTES);
    assert_eq!(numbers(folder.path()), [2, 4, 5, 6, 7]);
    assert_eq!(reader.metadata().unwrap().blocks(), 0);
    assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(store.figures().torn, 1);
    drop((all, pinned));
    segment(&store, 3, at(8), MIN_BYTES);
    assert_eq!(numbers(folder.path()), [4, 5, 6, 7, 8]);
}

#[test]
fn segments_are_a_sixteenth_of_what_is_kept() {
    let hour = Duration::from_secs(3_600);
    let limits = Limits { bytes: Some(160 << 20), time: Some(hour) };
    assert_eq!((limits.segment_bytes(), limits.segment_time()), (10 << 20, hour / 16));
    let large = Limits { bytes: Some(1 << 40), time: Some(hour * 24 * 365) };
    assert_eq!((large.segment_bytes(), large.segment_time()), (128 << 20, hour / 2));
}
