//! What `analyze` makes of a recording of perisco: processes and containers
//! at both ends, files of a rotated set as one, losses as they are said.

mod common;

use std::time::Duration;

use common::command::Live;
use common::model::Packet;
use common::recording::{CURL, NGINX, Recording, Way};
use common::synth::{self, Shape, Writer};
use common::{analyze, in_memory, lines, options};
use perisco::analyze::report::Format;
use serde_json::{Value, json};

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "10.0.0.2:80";
const CLIENT_SAYS: &str = "client=host/curl[812]";
const SERVER_SAYS: &str = "server=4f1c4f1c4f1c/nginx[33]";

/// The packets of one connection: three of the handshake, two an exchange,
/// and those of the end.
fn connection(ends: [&str; 2], exchanges: usize) -> Vec<Packet> {
    let ends = ends.map(|end| end.parse().expect("an address"));
    let conversation = synth::http1(ends, 1_700_000_000_000_000_000, exchanges);
    let written = Writer::new(&conversation, Shape::default()).write(&conversation);
    written.into_iter().map(|written| written.packet).collect()
}

/// Whether the end with the address 10.0.0.1 sent it.
fn from_first(packet: &Packet) -> bool {
    packet.bytes[26..30] == [10, 0, 0, 1]
}

/// The packets on the interfaces of their senders, client 0 and server 1.
fn append(recording: &mut Recording, packets: &[Packet], first: &[&str]) {
    for (index, packet) in packets.iter().enumerate() {
        let comments = if index == 0 { first } else { &[] };
        recording.packet(u32::from(!from_first(packet)), packet, Way::Outbound, comments);
    }
}

fn both_known(packets: &[Packet]) -> Recording {
    let mut recording = Recording::new();
    recording.interface(CURL[0], CURL[1]).interface(NGINX[0], NGINX[1]);
    append(&mut recording, packets, &[CLIENT_SAYS, SERVER_SAYS]);
    recording
}

fn read(files: &[&Recording]) -> Vec<Value> {
    lines(&text(files, Format::Jsonl).into_bytes())
}

fn text(files: &[&Recording], format: Format) -> String {
    let named = files.iter().enumerate();
    let inputs = named.map(|(index, file)| in_memory(&format!("{index}"), file.bytes.clone()));
    String::from_utf8(analyze(inputs.collect(), &options(format, 2)).bytes).expect("UTF-8")
}

fn pids(transactions: &[Value], end: &str) -> Vec<Value> {
    transactions.iter().map(|one| one["process"][end]["pid"].clone()).collect()
}

#[test]
fn transactions_carry_both_ends() {
    let recording = both_known(&connection([CLIENT, SERVER], 2));
    let found = read(&[&recording]);
    assert_eq!(found.len(), 2);
    for one in &found {
        assert_eq!(
            one["process"],
            json!({
                "client": {"pid": 812, "comm": "curl", "exe": "/usr/bin/curl", "uid": 1000},
                "server": {"pid": 33, "comm": "nginx", "exe": "/opt/a b/nginx", "uid": 0},
            })
        );
        assert_eq!(one["container"], json!({"client": null, "server": "4f1c".repeat(16)}));
        assert_eq!((&one["comment"], &one["interface"]), (&json!(null), &json!(CURL[0])));
        assert_eq!((&one["client"], &one["server"]), (&json!(CLIENT), &json!(SERVER)));
    }
}

#[test]
fn people_see_the_processes() {
    let recording = both_known(&connection([CLIENT, SERVER], 2));
    let report = text(&[&recording], Format::Text);
    assert!(report.contains("curl 10.0.0.1 → nginx 10.0.0.2:80 (http/1)"), "{report}");
    let log = text(&[&recording], Format::Log);
    assert!(log.contains(" CONN client=curl[812] server=nginx[33]\n"), "{log}");
    let csv = text(&[&recording], Format::Csv);
    let ends = format!("\"curl[812]\",\"nginx[33]\",,\"{}\",\"1.2\",,,,,,,\r\n", "4f1c".repeat(16));
    assert!(csv.lines().count() == 3 && csv.ends_with(&ends), "{csv}");
    let report: Value = serde_json::from_str(&text(&[&recording], Format::Json)).expect("JSON");
    let edge = &report["edges"][0];
    assert_eq!(edge["client_processes"], json!(["curl"]));
    assert_eq!(edge["server_processes"], json!(["nginx"]));
}

#[test]
fn an_end_that_is_not_on_this_host_has_no_owner() {
    let packets = connection([CLIENT, SERVER], 1);
    let mut recording = Recording::new();
    recording.interface(CURL[0], CURL[1]);
    for (index, packet) in packets.iter().enumerate() {
        let way = if from_first(packet) { Way::Outbound } else { Way::Inbound };
        let comments: &[&str] = if index == 0 { &[CLIENT_SAYS] } else { &[] };
        recording.packet(0, packet, way, comments);
    }
    let found = read(&[&recording]);
    assert_eq!(
        (pids(&found, "client"), pids(&found, "server")),
        (vec![json!(812)], vec![json!(null)])
    );
    assert_eq!(found[0]["process"]["server"], json!(null));
    assert_eq!(found[0]["container"], json!(null));
}

#[test]
fn what_others_write_in_comments_is_a_comment() {
    let packets = connection([CLIENT, SERVER], 1);
    for application in ["Dumpcap (Wireshark) 4.0.17", "perisco-like 1", ""] {
        let mut foreign = Recording::by(application);
        foreign.interface(CURL[0], CURL[1]).interface(NGINX[0], NGINX[1]);
        append(&mut foreign, &packets, &[CLIENT_SAYS, "joined=midway"]);
        let found = read(&[&foreign]);
        assert_eq!(found[0]["comment"], json!(format!("{CLIENT_SAYS}\njoined=midway")));
        assert_eq!((&found[0]["process"], &found[0]["container"]), (&json!(null), &json!(null)));
    }
    // A person's remark in a recording stays one, beside the owners.
    let mut own = Recording::new();
    own.interface(CURL[0], CURL[1]).interface(NGINX[0], NGINX[1]);
    append(&mut own, &packets, &["look here", SERVER_SAYS, "a=b"]);
    let found = read(&[&own]);
    assert_eq!(found[0]["comment"], json!("look here\na=b"));
    assert_eq!(pids(&found, "server"), [json!(33)]);
}

/// Joined midway, between ports of which the server's is the higher one: only
/// the direction of the packet tells whose end the named interface is.
#[test]
fn midway_the_direction_of_the_packet_tells_whose_end_it_is() {
    let packets = connection(["10.0.0.1:8000", "10.0.0.2:50051"], 2);
    let midway = &packets[3..];
    for local_is_client in [true, false] {
        let mut recording = Recording::new();
        let [name, description] = if local_is_client { CURL } else { NGINX };
        recording.interface(name, description);
        for (index, packet) in midway.iter().enumerate() {
            let outbound = from_first(packet) == local_is_client;
            let way = if outbound { Way::Outbound } else { Way::Inbound };
            let says = if local_is_client { CLIENT_SAYS } else { SERVER_SAYS };
            let comments: &[&str] = if index == 0 { &[says, "joined=midway"] } else { &[] };
            recording.packet(0, packet, way, comments);
        }
        let found = read(&[&recording]);
        let (known, other) =
            if local_is_client { ("client", "server") } else { ("server", "client") };
        assert_eq!(found.len(), 2);
        for one in &found {
            assert_eq!(one["client"], "10.0.0.1:8000");
            assert!(one["process"][known]["pid"].is_number(), "{known}: {}", one["process"]);
            assert_eq!((&one["process"][other], &one["comment"]), (&json!(null), &json!(null)));
        }
        let log = text(&[&recording], Format::Log);
        assert!(log.contains(&format!(" CONN joined midway {known}=")), "{log}");
    }
}

#[test]
fn an_end_that_changes_hands_belongs_to_each_in_turn() {
    let packets = connection([CLIENT, SERVER], 3);
    let mut recording = both_known(&packets[..5]);
    recording.interface("host/worker[34]", "pid=34 comm=worker ");
    for (index, packet) in packets[5..].iter().enumerate() {
        // A worker has taken it when the second answer is sent.
        let interface = if from_first(packet) { 0 } else { 2 };
        let comments: &[&str] = if index == 1 { &["server=host/worker[34]"] } else { &[] };
        recording.packet(interface, packet, Way::Outbound, comments);
    }
    let found = read(&[&recording]);
    assert_eq!(pids(&found, "server"), [json!(33), json!(34), json!(34)]);
    assert_eq!(pids(&found, "client"), [json!(812), json!(812), json!(812)]);
    let report = text(&[&recording], Format::Text);
    assert!(report.contains("→ nginx,worker 10.0.0.2:80"), "{report}");
}

#[test]
fn an_owner_that_became_unknown_is_unknown() {
    let packets = connection([CLIENT, SERVER], 2);
    let mut recording = both_known(&packets[..5]);
    recording.interface("unknown", "");
    append(&mut recording, &packets[5..], &["client=unknown"]);
    let found = read(&[&recording]);
    assert_eq!(pids(&found, "client"), [json!(812), json!(null)]);
    assert_eq!(pids(&found, "server"), [json!(33), json!(33)]);
}

/// Each file describes its interfaces anew, in an order of its own, and says
/// the owners of a connection that goes on once more.
#[test]
fn a_rotated_set_is_one_capture() {
    let packets = connection([CLIENT, SERVER], 6);
    let whole = read(&[&both_known(&packets)]);
    for cut in 1..packets.len() {
        let first = both_known(&packets[..cut]);
        let mut second = Recording::new();
        second.interface(NGINX[0], NGINX[1]).interface(CURL[0], CURL[1]);
        for (index, packet) in packets[cut..].iter().enumerate() {
            let comments: &[&str] = if index == 0 { &[CLIENT_SAYS, SERVER_SAYS] } else { &[] };
            second.packet(u32::from(from_first(packet)), packet, Way::Outbound, comments);
        }
        assert_eq!(read(&[&first, &second]), whole, "cut before packet {cut}");
        // As a shell may sort them, and one after another in one file.
        assert_eq!(read(&[&second, &first]).len(), whole.len(), "cut before packet {cut}");
        let joined = Recording { bytes: [first.bytes, second.bytes].concat() };
        assert_eq!(read(&[&joined]), whole, "cut before packet {cut}, in one file");
    }
    assert!(whole.iter().all(|one| one["connection"] == 1 && one["completeness"] == "complete"));
}

/// More compressed files than are decompressed far ahead at a time.
#[test]
fn a_long_rotated_set_is_one_capture() {
    let packets = connection([CLIENT, SERVER], 40);
    let whole = read(&[&both_known(&packets)]);
    let files: Vec<_> = packets
        .chunks(2)
        .map(|packets| zstd::bulk::compress(&both_known(packets).bytes, 1).expect("compressed"))
        .collect();
    assert_eq!(files.len(), 43);
    let named = files.into_iter().enumerate();
    let inputs = named.map(|(index, file)| in_memory(&format!("{index}"), file)).collect();
    assert_eq!(lines(&analyze(inputs, &options(Format::Jsonl, 2)).bytes), whole);
}

#[test]
fn what_the_recorder_lost_is_told() {
    let packets = connection([CLIENT, SERVER], 3);
    let mut recording = both_known(&packets[..5]);
    // The second answer never came out of the ring.
    append(&mut recording, &packets[5..6], &[]);
    recording.packet_after_loss(0, &packets[7], Way::Outbound, &[], 2);
    recording.packet_after_loss(1, &packets[8], Way::Outbound, &[], 1);
    append(&mut recording, &packets[9..], &[]);
    // One count for all interfaces, which stands with the first: the packets
    // have told of three.
    recording.statistics(0, 7).statistics(1, 0);
    let report = text(&[&recording], Format::Json);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["loss"]["dropped_packets"], 7);
    assert_eq!(report["loss"]["gaps"]["lost"]["count"], 1);
    let payload = packets[6].bytes.len() - 14 - 20 - 20;
    assert_eq!(report["loss"]["gap_bytes"], payload);
    let found = read(&[&recording]);
    // Which request the last answer belongs to can no longer be told.
    let complete: Vec<_> = found.iter().filter(|one| one["completeness"] == "complete").collect();
    assert_eq!(complete.len(), 1);
    assert_eq!(complete[0]["path"], "/item/0");
}

#[test]
fn any_number_of_threads_gives_the_same() {
    let recording = both_known(&connection([CLIENT, SERVER], 40));
    for format in [Format::Jsonl, Format::Log, Format::Text] {
        let run = |threads| {
            let input = in_memory("a", recording.bytes.clone());
            analyze(vec![input], &options(format, threads)).bytes
        };
        assert_eq!(run(1), run(4), "{format:?}");
    }
}

/// `perisco record -o - | perisco analyze -`: blocks come one at a time, in
/// pieces, and processes appear between packets.
#[test]
fn a_live_recording_is_followed_block_by_block() {
    let packets = connection([CLIENT, SERVER], 3);
    let mut live = Live::start(&["-f", "log"]);
    let mut recording = Recording::new();
    let mut fed = 0;
    let mut feed = |live: &mut Live, recording: &Recording| {
        let (begin, end) = recording.bytes[fed..].split_at((recording.bytes.len() - fed) / 2);
        live.feed(begin);
        std::thread::sleep(Duration::from_millis(5));
        live.feed(end);
        fed = recording.bytes.len();
    };
    feed(&mut live, &recording);
    recording.interface(CURL[0], CURL[1]);
    feed(&mut live, &recording);
    recording.packet(0, &packets[0], Way::Outbound, &[CLIENT_SAYS]);
    feed(&mut live, &recording);
    assert!(live.line().ends_with(" CONN client=curl[812]"));
    recording.interface(NGINX[0], NGINX[1]);
    feed(&mut live, &recording);
    let mut expected = [" REQUEST ", " RESPONSE "].into_iter().cycle();
    for (index, packet) in packets.iter().enumerate().skip(1).take(8) {
        let comments: &[&str] = if index == 1 { &[SERVER_SAYS] } else { &[] };
        recording.packet(u32::from(!from_first(packet)), packet, Way::Outbound, comments);
        feed(&mut live, &recording);
        if index >= 3 {
            let (line, expected) = (live.line(), expected.next().expect("endless"));
            assert!(line.contains(expected), "{expected} expected, {line} found");
        }
    }
    recording.statistics(0, 0);
    feed(&mut live, &recording);
    drop(live.stdin.take());
    let (code, err, _) = live.end();
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn the_end_of_a_live_recording_is_its_report() {
    let packets = connection([CLIENT, SERVER], 3);
    let recording = both_known(&packets);
    let mut live = Live::start(&[]);
    for block in recording.bytes.chunks(100) {
        live.feed(block);
    }
    drop(live.stdin.take());
    let (code, err, out) = live.end();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let out = out.join("\n");
    assert!(out.contains("curl 10.0.0.1 → nginx 10.0.0.2:80 (http/1)"), "{out}");
}
