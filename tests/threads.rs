//! The same bytes out for any number of threads, and each time.

mod common;

use common::model::{Packet, write_pcap};
use common::{analyze, cases, difference, options};
use perisco::analyze::options::Options;
use perisco::analyze::report::Format;
use perisco::pcap::Input;

const FORMATS: [Format; Format::ALL.len()] = Format::ALL;

/// All captures of `testdata/` merged by time, and with a synthetic capture
/// of many connections, so that all shards have work.
fn inputs() -> Vec<Input> {
    let mut inputs: Vec<Input> =
        cases().into_iter().map(|case| Input::Path(case.capture)).collect();
    inputs.push(common::in_memory("many.pcap", many_connections()));
    inputs
}

fn run(format: Format, threads: usize) -> String {
    let bytes = analyze(inputs(), &options(format, threads)).bytes;
    // The report names the folder of the checkout; nothing depends on it.
    String::from_utf8(bytes).expect("UTF-8")
}

fn many_connections() -> Vec<u8> {
    common::synth::pcap(&packets_of_many_connections())
}

fn packets_of_many_connections() -> Vec<common::synth::Written> {
    let conversations = (0..60u16).map(|index| {
        let client = format!("10.0.{}.{}:{}", index % 7, index % 50 + 1, 40_000 + index * 17);
        let ends = [client.parse().expect("an address"), "10.9.9.9:80".parse().expect("one")];
        let opened = 1_700_000_000_000_000_000 + i64::from(index % 9) * 1_000_000;
        let conversation = common::synth::http1(ends, opened, 40);
        common::synth::Writer::new(&conversation, Default::default()).write(&conversation)
    });
    common::synth::by_time(conversations.collect())
}

/// An Ethernet packet of IPv4 as two fragments (RFC 791 section 3.2).
fn in_two(packet: &Packet, identification: u16) -> [Packet; 2] {
    const ETHERNET: usize = 14;
    /// Ethernet and IPv4 without options.
    const HEADERS: usize = ETHERNET + 20;
    /// Where the second begins, in units of 8 bytes: behind the TCP header.
    const OFFSET: usize = 3;
    let (headers, data) = packet.bytes.split_at(HEADERS);
    let (first, second) = data.split_at(OFFSET * 8);
    [(first, 0x2000), (second, OFFSET as u16)].map(|(data, place)| {
        let mut bytes = headers.to_vec();
        let length = (bytes.len() - ETHERNET + data.len()) as u16;
        bytes[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&length.to_be_bytes());
        bytes[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&identification.to_be_bytes());
        bytes[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&place.to_be_bytes());
        bytes.extend_from_slice(data);
        let original = bytes.len() as u32;
        Packet { at: packet.at, link: packet.link, bytes, original }
    })
}

/// A single thread works on segments as it reads them, but not on those that
/// were in fragments: nobody must see that.
#[test]
fn fragments_change_nothing_for_any_number_of_threads() {
    let whole: Vec<Packet> =
        packets_of_many_connections().into_iter().map(|written| written.packet).collect();
    let cut = whole.iter().enumerate().flat_map(|(index, packet)| {
        // Long stretches without any: a round is 1,024 packets.
        match index % 97 == 0 && index % 5000 < 2500 && packet.bytes.len() > 80 {
            true => in_two(packet, index as u16).to_vec(),
            false => vec![packet.clone()],
        }
    });
    let cut: Vec<Packet> = cut.collect();
    assert!(cut.len() > whole.len() + 10, "hardly any fragments");
    let jsonl = |packets: &[Packet], threads| {
        let inputs = vec![common::in_memory("one.pcap", write_pcap(packets))];
        String::from_utf8(analyze(inputs, &options(Format::Jsonl, threads)).bytes).expect("UTF-8")
    };
    let expected = jsonl(&whole, 2);
    assert!(expected.lines().count() > 2_000);
    for threads in [1, 2] {
        let found = jsonl(&cut, threads);
        assert!(expected == found, "{threads} threads: {}", difference(&expected, &found));
    }
    // A summary lets the thread that reads work ahead.
    let summary = |threads| {
        let inputs = vec![common::in_memory("one.pcap", write_pcap(&cut))];
        String::from_utf8(analyze(inputs, &options(Format::Json, threads)).bytes).expect("UTF-8")
    };
    let expected = summary(1);
    for threads in [2, 3, 4] {
        let found = summary(threads);
        assert!(expected == found, "{threads} threads: {}", difference(&expected, &found));
    }
}

/// Gives a few bytes at a time, so that a round has a packet or two.
struct Trickle {
    bytes: std::io::Cursor<Vec<u8>>,
    reads: usize,
}

impl std::io::Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reads += 1;
        let few = buffer.len().min(1 + self.reads * 7919 % 900);
        self.bytes.read(&mut buffer[..few])
    }
}

#[test]
fn tiny_batches_give_the_same_for_any_number_of_threads() {
    let capture = many_connections();
    let trickle = |format, threads| {
        let bytes = std::io::Cursor::new(capture.clone());
        let reader = Box::new(Trickle { bytes, reads: 0 });
        let input = Input::Reader { name: "many.pcap".to_owned(), reader };
        String::from_utf8(analyze(vec![input], &options(format, threads)).bytes).expect("UTF-8")
    };
    // On a stream a line may come before an earlier one that is still open.
    let sorted = |text: &str| {
        // Of an archive the last entry has no comma behind it.
        let lines = text.lines().map(|line| line.trim_end_matches(',').to_owned());
        let mut lines: Vec<_> = lines.collect();
        lines.sort_unstable();
        lines
    };
    for format in FORMATS {
        let at_once = vec![common::in_memory("many.pcap", capture.clone())];
        let at_once = analyze(at_once, &options(format, 1)).bytes;
        let at_once = sorted(std::str::from_utf8(&at_once).expect("UTF-8"));
        let one = trickle(format, 1);
        assert_eq!(sorted(&one), at_once, "{format:?}");
        for threads in [2, 3, 4, 8] {
            let many = trickle(format, threads);
            assert!(one == many, "{format:?}, {threads} threads: {}", difference(&one, &many));
        }
    }
}

#[test]
fn one_two_three_and_eight_threads_give_the_same_bytes() {
    for format in FORMATS {
        let one = run(format, 1);
        assert!(one.lines().count() > 20, "{format:?} gives next to nothing:\n{one}");
        for threads in [2, 3, 4, 8] {
            let many = run(format, threads);
            assert!(
                one == many,
                "{format:?}: 1 and {threads} threads differ: {}",
                difference(&one, &many)
            );
        }
    }
}

/// Formats do not change each other, whatever the number of threads.
#[test]
fn formats_in_one_pass_are_what_each_is_alone() {
    let alone: Vec<_> = FORMATS.into_iter().map(|format| run(format, 1)).collect();
    for threads in [1, 2, 3, 8] {
        for several in [&FORMATS[..], &[Format::Jsonl, Format::Har], &[Format::Text, Format::Csv]] {
            let formats = several.iter().copied().collect();
            let options = Options { formats, threads, ..Options::default() };
            for (format, bytes) in analyze(inputs(), &options).formats {
                let found = String::from_utf8(bytes).expect("UTF-8");
                let at = FORMATS.iter().position(|other| *other == format).expect("one of them");
                let expected = &alone[at];
                let same = *expected == found;
                assert!(
                    same,
                    "{format:?} of {several:?}, {threads} threads: {}",
                    difference(expected, &found)
                );
            }
        }
    }
}

#[test]
fn repeated_runs_give_the_same_bytes() {
    for format in FORMATS {
        let first = run(format, 3);
        for _ in 0..2 {
            let again = run(format, 3);
            assert!(first == again, "{format:?}: runs differ: {}", difference(&first, &again));
        }
    }
}

#[test]
fn jsonl_is_in_order_of_start_time() {
    let jsonl = run(Format::Jsonl, 2);
    let lines = common::lines(jsonl.as_bytes());
    assert!(lines.len() > 2_400, "only {} transactions", lines.len());
    let starts: Vec<_> = lines.iter().map(|line| common::text_of(line, "start")).collect();
    for pair in starts.windows(2) {
        assert!(pair[0] <= pair[1], "{} comes before {}", pair[0], pair[1]);
    }
}

/// Short connections one after the other, from ports that are used again as
/// soon as the `ports` of them were, or later.
fn short_connections(ports: u16) -> Vec<u8> {
    let conversations = (0..600u16).map(|index| {
        let client = format!("10.0.0.1:{}", 40_000 + index % ports);
        let ends = [client.parse().expect("an address"), "10.9.9.9:80".parse().expect("one")];
        let opened = 1_700_000_000_000_000_000 + i64::from(index) * 20_000_000;
        let conversation = common::synth::http1(ends, opened, 2);
        let isn = [u32::from(index) * 1_000_003, u32::from(index) * 2_000_003];
        let shape = common::synth::Shape { isn, ..Default::default() };
        common::synth::Writer::new(&conversation, shape).write(&conversation)
    });
    common::synth::pcap(&common::synth::by_time(conversations.collect()))
}

#[test]
fn ports_that_are_used_again_change_nothing() {
    let run = |ports, format| {
        let input = common::in_memory("short.pcap", short_connections(ports));
        analyze(vec![input], &options(format, 1)).bytes
    };
    let transactions = |ports| -> Vec<_> {
        let lines = common::lines(&run(ports, Format::Jsonl));
        lines.iter().map(|line| common::without(line, &["client"])).collect()
    };
    let totals = |ports| {
        let report: serde_json::Value =
            serde_json::from_slice(&run(ports, Format::Json)).expect("json");
        ["flows", "transactions", "endpoints", "edges"].map(|part| report[part].clone())
    };
    let (lines, sums) = (transactions(600), totals(600));
    assert_eq!(sums[0]["count"], 600);
    // Used again at once, while the last ones are remembered, and after that.
    for ports in [1, 3, 100, 300] {
        assert_eq!(transactions(ports), lines, "{ports} ports");
        assert_eq!(totals(ports), sums, "{ports} ports");
    }
}
