//! Connections that were never opened, recorded with tcpdump beside: refused
//! ones, and ones that nobody answered.
#![cfg(feature = "record")]

mod common;

use std::process::{Command, Stdio};

use common::live::{self, Place, run, wait_for};

/// Fields of the packets of a capture that `filter` selects, a line each.
fn fields(place: &Place, file: &str, filter: &str, names: &[&str]) -> Vec<String> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(place.file(file)).args(["-Y", filter, "-T", "fields"]);
    tshark.args(["-o", "tcp.relative_sequence_numbers:FALSE"]);
    tshark.args(names.iter().flat_map(|name| ["-e", name]));
    run(&mut tshark).lines().map(str::to_owned).collect()
}

/// What of a packet without payload must be true.
const TRUE: &[&str] = &[
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "tcp.seq_raw",
    "tcp.ack_raw",
];

/// curl that must fail, with this exit code.
fn curl_fails(place: &Place, code: i32, args: &[&str]) {
    let status = place.command("curl").args(["-s"]).args(args).status().expect("it runs");
    assert_eq!(status.code(), Some(code), "{args:?}");
}

/// curl's exit codes.
const REFUSED: i32 = 7;
const TIMED_OUT: i32 = 28;

#[test]
fn a_refused_connection_is_its_syn_and_the_reset() {
    let Some(place) = live::place(&["curl", "tshark"]) else { return };
    let dump = place.tcpdump("dump.pcap");
    let recorder = place.record("cap.pcapng", &["--backend", "cgroup"]);
    curl_fails(&place, REFUSED, &["http://127.0.0.1:9/"]);
    curl_fails(&place, REFUSED, &["http://[::1]:9/"]);
    let (status, said) = recorder.stop();
    dump.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    let seen = fields(&place, "cap.pcapng", "tcp", TRUE);
    assert_eq!(seen, fields(&place, "dump.pcap", "tcp", TRUE));
    assert_eq!(seen.len(), 4, "a SYN and a reset of each: {seen:#?}");
    let who = fields(&place, "cap.pcapng", "tcp", &["frame.interface_name"]);
    assert!(who.iter().all(|name| name.contains("/curl[")), "{who:?}");
    assert_eq!(common::transactions_of(&place.file("cap.pcapng")).len(), 0);
    let report = run(common::command::perisco().arg("analyze").arg(place.file("cap.pcapng")));
    assert!(report.contains("No HTTP found: 2 flows"), "{report}");
}

/// A place in which nobody answers at port 9.
fn silent() -> Option<(Place, live::Running)> {
    let place = live::place(&["/usr/bin/python3", "curl", "tshark"])?;
    let mut listener = place.python("full_queue.py", &["127.0.0.1", "9"]);
    let listener = place.serve(listener.stdin(Stdio::piped()), "ready");
    Some((place, listener))
}

#[test]
fn an_unanswered_connection_is_its_syn() {
    let Some((place, _listener)) = silent() else { return };
    let dump = place.tcpdump("dump.pcap");
    let recorder = place.record("cap.pcapng", &["--backend", "cgroup"]);
    // The SYN is repeated after a second.
    let ask = ["--local-port", "45001", "--connect-timeout", "1.5", "http://127.0.0.1:9/"];
    curl_fails(&place, TIMED_OUT, &ask);
    let (status, said) = recorder.stop();
    dump.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    let filter = "tcp.port == 45001";
    let (seen, dumped) =
        (fields(&place, "cap.pcapng", filter, TRUE), fields(&place, "dump.pcap", filter, TRUE));
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert_eq!(seen[0], dumped[0]);
    let at = |file: &str| -> f64 {
        fields(&place, file, filter, &["frame.time_epoch"])[0].parse().expect("seconds")
    };
    // When it was sent, not when it was given up.
    assert!(
        (at("cap.pcapng") - at("dump.pcap")).abs() < 0.5,
        "{} {}",
        at("cap.pcapng"),
        at("dump.pcap")
    );
    let who = fields(&place, "cap.pcapng", filter, &["frame.interface_name", "frame.comment"]);
    assert!(who[0].contains("/curl[") && who[0].contains("client=host/curl["), "{who:?}");
    assert_eq!(common::transactions_of(&place.file("cap.pcapng")).len(), 0);
}

#[test]
fn a_syn_is_shown_before_its_answer_and_a_late_answer_too() {
    let Some((place, mut listener)) = silent() else { return };
    let recorder = place.record("cap.pcapng", &["--backend", "cgroup", "--compress", "none"]);
    let mut ask = place.command("curl");
    ask.args(["-s", "--local-port", "45001", "--max-time", "60", "http://127.0.0.1:9/late"]);
    let asking = std::thread::spawn(move || run(&mut ask));
    wait_for("the SYN", || {
        !fields(&place, "cap.pcapng", "tcp.port == 45001", &["tcp.flags"]).is_empty()
    });
    assert!(!asking.is_finished());
    // From now on SYNs are answered: the next one that curl repeats.
    drop(listener.stdin());
    assert_eq!(asking.join().expect("curl has its answer"), "ok\n");
    let (status, said) = recorder.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    let flags = fields(&place, "cap.pcapng", "tcp.port == 45001", &["tcp.flags"]);
    assert_eq!(flags[..3], ["0x0002", "0x0012", "0x0010"], "{flags:?}");
    let found = common::transactions_of(&place.file("cap.pcapng"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["path"], "/late");
    assert_eq!(found[0]["completeness"], "complete");
    assert_eq!(found[0]["process"]["client"]["comm"], "curl");
}
