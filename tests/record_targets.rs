//! Which connections are recorded, by cgroup and by container, and both
//! copies of a local one.
#![cfg(feature = "record")]

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::cgroup::{Cgroup, inside};
use common::compared::{assert_same_streams, assert_same_transactions, curl};
use common::live::{self, Place, run, wait_for};
use common::text_of;

/// The id of no container.
const ID: &str = "c0ffee0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

const URL: &str = "http://127.0.0.1:7001";

/// The packets of a recording that `filter` of Wireshark selects, as a file.
fn selected(place: &Place, file: &str, filter: &str, name: &str) -> std::path::PathBuf {
    let out = place.file(name);
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(place.file(file)).args(["-Y", filter, "-F", "pcapng", "-w"]).arg(&out);
    run(&mut tshark);
    out
}

#[test]
fn both_ends_are_two_copies_and_one_transaction() {
    let Some(place) = live::place(&["curl", "nginx", "tshark"]) else { return };
    let _nginx = place.nginx();
    let dump = place.tcpdump("dump.pcap");
    let recorder = place.record("cap.pcapng", &["--both-ends"]);
    // nginx is server and client here.
    for path in ["/hello", "/big.bin", "/proxied/mid.bin"] {
        curl(&place, &["-o", "/dev/null", &format!("http://127.0.0.1:8080{path}")]);
    }
    let (status, said) = recorder.stop();
    dump.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    assert!(said.contains("8 connections"), "two copies of each: {said}");
    // Either copy alone is everything.
    for role in ["client", "server"] {
        let filter = format!("frame.interface_description contains \"role={role} \"");
        let copy = selected(&place, "cap.pcapng", &filter, &format!("{role}.pcapng"));
        assert_same_streams(&copy, &place.file("dump.pcap"));
        assert_same_transactions(&copy, &place.file("dump.pcap"));
    }
    assert_same_transactions(&place.file("cap.pcapng"), &place.file("dump.pcap"));
    let found = common::transactions_of(&place.file("cap.pcapng"));
    assert_eq!(found.len(), 4, "{found:#?}");
    for line in &found {
        let (client, server) = (&line["process"]["client"], &line["process"]["server"]);
        let expected = if text_of(line, "server") == "127.0.0.1:8081" { "nginx" } else { "curl" };
        assert_eq!(
            (client["comm"].as_str(), server["comm"].as_str()),
            (Some(expected), Some("nginx"))
        );
    }
}

/// A place with a server in it, and a cgroup. Dropped in this order: the
/// server, the place, then the cgroup, when it is empty.
fn served() -> Option<(live::Running, Place, Cgroup)> {
    let place = live::place(&["curl", "/usr/bin/python3"])?;
    let cgroup = Cgroup::new(&place)?;
    let server =
        place.serve(&mut place.python("connections.py", &["echo", "127.0.0.1", "7001"]), "ready");
    Some((server, place, cgroup))
}

fn ask(place: &Place, cgroup: &Path, path: &str) {
    let mut command = place.command("curl");
    command.args(["-s", "--max-time", "20", &format!("{URL}{path}")]);
    assert_eq!(run(&mut inside(cgroup, &command)), "ok\n");
}

fn paths(place: &Place, file: &str) -> Vec<String> {
    let found = common::transactions_of(&place.file(file));
    found.iter().map(|line| text_of(line, "path").to_owned()).collect()
}

/// A shell in a cgroup that asks the server for each path that it is told.
fn asking_shell(place: &Place, cgroup: &Path) -> live::Running {
    let script =
        "echo ready; while read -r path; do curl -s --max-time 20 -o /dev/null \"$0$path\"; done";
    let mut command = inside(cgroup, place.command("sh").args(["-c", script, URL]));
    place.serve(command.stdin(Stdio::piped()), "ready")
}

#[test]
fn of_a_cgroup_and_those_below() {
    let Some((_server, place, cgroup)) = served() else { return };
    let (chosen, other) = (cgroup.add("chosen/inner"), cgroup.add("other"));
    let chosen = (chosen.parent().expect("chosen").to_owned(), chosen);
    let below_mount = cgroup.below_mount().join("chosen");
    for (name, path) in [("below.pcapng", &below_mount), ("whole.pcapng", &chosen.0)] {
        let mut shells = [&chosen.0, &chosen.1, &other].map(|group| asking_shell(&place, group));
        let recorder = place.record(name, &["--cgroup", path.to_str().expect("UTF-8")]);
        for (shell, said) in shells.iter_mut().zip(["/n/top", "/n/inner", "/n/other"]) {
            writeln!(shell.stdin(), "{said}").expect("it reads");
        }
        ask(&place, &other, "/n/later");
        for shell in shells {
            shell.wait();
        }
        let (status, said) = recorder.stop();
        assert!(status.success(), "{name}: {said}");
        let mut found = paths(&place, name);
        found.sort();
        assert_eq!(found, ["/n/inner", "/n/top"], "{name}: {said}");
    }
}

#[test]
fn of_a_container_by_the_beginning_of_its_id() {
    let Some((_server, place, cgroup)) = served() else { return };
    let container = cgroup.add(&format!("docker-{ID}.scope"));
    let other = cgroup.add(&format!("docker-{}.scope", ID.replace('c', "d")));
    let mut shell = asking_shell(&place, &container);
    let mut stranger = asking_shell(&place, &other);
    let recorder = place.record("cap.pcapng", &["--container", &ID[..12]]);
    writeln!(stranger.stdin(), "/n/stranger").expect("it reads");
    writeln!(shell.stdin(), "/n/mine").expect("it reads");
    shell.wait();
    stranger.wait();
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    assert_eq!(paths(&place, "cap.pcapng"), ["/n/mine"], "{said}");
    let found = common::transactions_of(&place.file("cap.pcapng"));
    assert_eq!(found[0]["completeness"], "complete");
    assert_eq!(found[0]["container"]["client"], ID);
    assert_eq!(found[0]["process"]["client"]["comm"], "curl");
    assert!(found[0]["interface"].as_str().is_some_and(|name| name.contains("/curl[")));
}

#[test]
fn of_a_server_in_a_container() {
    let Some(place) = live::place(&["curl", "/usr/bin/python3", "tshark"]) else { return };
    let Some(cgroup) = Cgroup::new(&place) else { return };
    let (container, outside) = (cgroup.add(&format!("kubepods/pod1/{ID}")), cgroup.add("outside"));
    let serve = place.python("connections.py", &["echo", "127.0.0.1", "7001"]);
    let mut server = inside(&container, &serve);
    let server = place.serve(&mut server, "ready");
    let recorder = place.record("cap.pcapng", &["--container", &ID[..4]]);
    ask(&place, &outside, "/n/1");
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    let found = common::transactions_of(&place.file("cap.pcapng"));
    assert_eq!(found.len(), 1, "{said}");
    assert_eq!(found[0]["completeness"], "complete");
    assert_eq!(found[0]["container"]["server"], ID);
    // The filter that docs/recording.md has for it.
    let filter = format!("frame.interface_name contains \"{}/\"", &ID[..12]);
    let packets = selected(&place, "cap.pcapng", &filter, "container.pcapng");
    assert_eq!(common::transactions_of(&packets).len(), 1);
    drop(server);
    drop(place);
}

#[test]
fn a_container_that_comes_while_recording_is_found() {
    let Some((_server, place, cgroup)) = served() else { return };
    let recorder = place.record("cap.pcapng", &["--container", ID, "--compress", "none"]);
    let container = cgroup.add(&format!("libpod-{ID}.scope/container"));
    let mut shell = asking_shell(&place, &container);
    let mut stdin = shell.stdin();
    let mut number = 0;
    wait_for("a request of the new container", || {
        number += 1;
        writeln!(stdin, "/n/{number}").expect("it reads");
        !paths(&place, "cap.pcapng").is_empty()
    });
    drop(stdin);
    shell.wait();
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    let found = common::transactions_of(&place.file("cap.pcapng"));
    assert_eq!(found[0]["container"]["client"], ID);
    // From the one that was found first on, all.
    let first: usize = text_of(&found[0], "path")["/n/".len()..].parse().expect("a number");
    assert_eq!(found.len(), number + 1 - first, "{said}");
}
