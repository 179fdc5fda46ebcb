//! Triggers of a flight recorder: what fires, what is kept of it, and what becomes of the
//! recording when the process that looks does not.
#![cfg(feature = "record")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::command::perisco;
use common::compared::curl;
use common::live::{self, Place, Running, run, wait_for};
use common::ring::{self, comments, packets, saved, segments, transactions};
use common::text_of;
use serde_json::Value;

const PORT: &str = "8090";

fn site() -> Option<(Place, Running)> {
    let place = live::place(&["curl", "tshark", "capinfos", "python3", "h2load", "nginx"])?;
    let server = place.serve(&mut place.python("trouble.py", &[PORT]), "ready");
    Some((place, server))
}

fn get(place: &Place, path: &str) {
    curl(place, &["-o", "/dev/null", &format!("http://127.0.0.1:{PORT}{path}")]);
}

/// Processes that a recorder has started, and theirs, by name of the subcommand.
fn child(recorder: u32, name: &str) -> Option<u32> {
    let children = |pid: u32| -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let lists =
            tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        lists
            .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .filter_map(|pid| pid.parse().ok())
            .collect()
    };
    let mut all = children(recorder);
    all.extend(all.clone().into_iter().flat_map(children));
    all.into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == name.as_bytes())
    })
}

fn status(pid: u32, key: &str) -> String {
    let all = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
    let line = all.lines().find(|line| line.starts_with(key)).expect("such a line");
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

fn paths(found: &[Value]) -> Vec<String> {
    found.iter().map(|line| text_of(line, "path").to_owned()).collect()
}

/// Waits until so many captures are kept.
fn kept(folder: &Path, count: usize) -> Vec<PathBuf> {
    wait_for("captures", || saved(folder).len() >= count);
    saved(folder)
}

#[test]
fn what_goes_wrong_under_load_is_kept_with_its_time_before() {
    let Some((place, _server)) = site() else { return };
    let nginx = place.nginx();
    let folder = place.file("ring");
    let recorder = ring::record(
        &place,
        &folder,
        &[
            "--keep",
            "64MiB",
            "--before",
            "4s",
            "--after",
            "2s",
            "--trigger",
            "status >= 500",
            "--trigger",
            "latency > duration(\"1s\")",
        ],
    );
    let mut load = place.command("timeout");
    // nginx ends a connection after a thousand requests.
    load.args(["25", "h2load", "--h1", "-c", "4", "--rps", "40", "-n", "100000000"]);
    let mut load = load
        .arg("http://127.0.0.1:8080/hello")
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it runs");
    let mut planted = Vec::new();
    for round in 0..3 {
        get(&place, &format!("/before/{round}"));
        std::thread::sleep(Duration::from_secs(2));
        let (fail, slow) = (format!("/fail/{round}"), format!("/slow/{round}"));
        get(&place, &fail);
        get(&place, &slow);
        planted.push([format!("/before/{round}"), fail, slow, format!("/after/{round}")]);
        std::thread::sleep(Duration::from_millis(500));
        get(&place, &format!("/after/{round}"));
        kept(&folder, round + 1);
    }
    let _ = load.kill();
    let _ = load.wait();
    let (_, told) = recorder.stop();
    let files = saved(&folder);
    assert_eq!(files.len(), 3, "joined by time: {told}");
    for (file, planted) in files.iter().zip(&planted) {
        let found = transactions(std::slice::from_ref(file));
        let there = paths(&found);
        for path in planted {
            let count = there.iter().filter(|one| *one == path).count();
            assert_eq!(count, 1, "{path} in {}\n{told}", file.display());
        }
        let load = found.iter().filter(|line| text_of(line, "path") == "/hello").count();
        assert!(load > 300, "the load of the time before: {load}");
        assert!(packets(file) > 600);
        let about = comments(file);
        for part in
            ["perisco.trigger=status >= 500", "latency > duration", "perisco.triggered_by=500"]
        {
            assert!(about.contains(part), "{part} in\n{about}");
        }
    }
    for part in ["triggered: status >= 500 by 500", "its capture is being kept", "kept "] {
        assert!(told.contains(part), "{part} in {told}");
    }
    drop(nginx);
}

#[test]
fn the_process_that_looks_has_no_privileges() {
    let Some((place, _server)) = site() else { return };
    let folder = place.file("ring");
    let recorder =
        ring::record(&place, &folder, &["--keep", "16MiB", "--trigger", "status >= 500"]);
    for name in ["flight-host", "flight-judge"] {
        wait_for(name, || child(recorder.pid(), name).is_some());
        let pid = child(recorder.pid(), name).expect("there");
        wait_for("another user", || !status(pid, "Uid:").starts_with("0 "));
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(status(pid, set), "0000000000000000", "{name} {set}");
        }
        assert_eq!(status(pid, "NoNewPrivs:"), "1", "{name}");
        assert_eq!(status(pid, "Groups:"), "", "{name}");
    }
    let judge = child(recorder.pid(), "flight-judge").expect("there");
    let limits = std::fs::read_to_string(format!("/proc/{judge}/limits")).expect("there");
    let limit =
        |name: &str| limits.lines().find(|line| line.starts_with(name)).expect(name).to_owned();
    for (name, most) in
        [("Max processes", " 0 "), ("Max file size", " 0 "), ("Max open files", " 16 ")]
    {
        assert!(limit(name).contains(most), "{}", limit(name));
    }
    // Nothing of the recorder's is open there: programs, maps, files, sockets.
    for file in std::fs::read_dir(format!("/proc/{judge}/fd")).expect("there") {
        let file = std::fs::read_link(file.expect("an entry").path()).expect("a link");
        let file = file.to_string_lossy();
        assert!(file.starts_with("pipe:") || file == "/dev/null", "{file}");
    }
    recorder.stop();
    wait_for("it to end with the recorder", || !Path::new(&format!("/proc/{judge}")).exists());
}

#[test]
fn a_judge_that_dies_is_started_again_and_the_recording_goes_on() {
    let Some((place, _server)) = site() else { return };
    let folder = place.file("ring");
    let args = ["--keep", "16MiB", "--before", "2s", "--after", "1s", "--trigger", "status >= 500"];
    let mut recorder = ring::record(&place, &folder, &args);
    get(&place, "/fail/1");
    kept(&folder, 1);
    for round in 0..2 {
        let judge = child(recorder.pid(), "flight-judge").expect("there");
        run(Command::new("kill").args(["-9", &judge.to_string()]));
        get(&place, &format!("/meanwhile/{round}"));
        let other = |pid: &u32| *pid != judge;
        wait_for("another", || child(recorder.pid(), "flight-judge").filter(other).is_some());
    }
    assert!(recorder.said().contains("has ended (signal: 9 (SIGKILL))"), "{}", recorder.said());
    // It takes up where the recording is: a segment that began long before.
    std::thread::sleep(Duration::from_secs(1));
    get(&place, "/fail/2");
    kept(&folder, 2);
    // The host is nothing more to it than its children are.
    let host = child(recorder.pid(), "flight-host").expect("there");
    run(Command::new("kill").args(["-9", &host.to_string()]));
    get(&place, "/without");
    std::thread::sleep(Duration::from_millis(1500));
    let (status, told) = recorder.stop();
    assert!(status.success(), "{told}");
    let there = paths(&transactions(&segments(&folder)));
    for path in ["/fail/1", "/meanwhile/0", "/meanwhile/1", "/fail/2", "/without"] {
        assert!(there.iter().any(|one| one == path), "{path} in {there:?}");
    }
}

/// A judge that stands still: packets are dropped on the way to it, not from the recording.
#[test]
fn a_judge_that_stands_still_holds_nothing_up() {
    let Some((place, _server)) = site() else { return };
    let nginx = place.nginx();
    let folder = place.file("ring");
    let args = ["--keep", "256MiB", "--trigger", "status >= 500", "--buffer", "128MiB"];
    let mut recorder = ring::record(&place, &folder, &args);
    get(&place, "/hello");
    std::thread::sleep(Duration::from_millis(1500));
    let judge = child(recorder.pid(), "flight-judge").expect("there");
    run(Command::new("kill").args(["-STOP", &judge.to_string()]));
    for _ in 0..12 {
        curl(&place, &["-o", "/dev/null", "http://127.0.0.1:8080/big.bin"]);
    }
    wait_for("it to be said", || recorder.said().contains("triggers have not seen"));
    run(Command::new("kill").args(["-CONT", &judge.to_string()]));
    let (status, told) = recorder.stop();
    assert!(status.success() && told.contains("nothing lost"), "{told}");
    let found = transactions(&segments(&folder));
    let whole = |line: &&Value| line["path"] == "/big.bin" && line["completeness"] == "complete";
    assert_eq!(found.iter().filter(whole).count(), 12);
    drop(nginx);
}

#[test]
fn signals_and_calls_are_triggers_within_the_limit() {
    let Some((place, _server)) = site() else { return };
    let folder = place.file("ring");
    let metrics = ["--metrics", "127.0.0.1:0"];
    let args = ["--keep", "16MiB", "--before", "5s", "--after", "1s", "--trigger-limit", "2"];
    let args: Vec<_> = args.into_iter().chain(metrics).collect();
    let mut recorder = ring::record(&place, &folder, &args);
    let call = |name: &str| {
        let output = perisco().arg("trigger").arg(&folder).args(["--name", name]).output();
        let output = output.expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    get(&place, "/one");
    let (code, said) = call("deploy 17");
    assert!(code == Some(0) && said.contains("is being kept"), "{said}");
    let (code, said) = call("again");
    assert!(code == Some(0) && said.contains("in the capture that is being kept"), "{said}");
    let files = kept(&folder, 1);
    assert!(files[0].to_string_lossy().ends_with("-deploy-17.pcapng.zst"), "{files:?}");
    assert_eq!(paths(&transactions(&files)), ["/one"]);
    run(Command::new("kill").args(["-USR1", &recorder.pid().to_string()]));
    let files = kept(&folder, 2);
    assert!(files.iter().any(|file| file.to_string_lossy().contains("SIGUSR1")), "{files:?}");
    assert_eq!(call("third").0, Some(1), "two an hour");
    // Counts on either signal, a capture on one of them only.
    run(Command::new("kill").args(["-USR2", &recorder.pid().to_string()]));
    wait_for("counts", || recorder.said().matches("so far ").count() == 2);
    let at = recorder
        .said()
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .expect("a place")
        .to_owned();
    for line in [
        "perisco_triggers_total{trigger=\"call\"} 4",
        "perisco_triggers_refused_total 1",
        "perisco_saved_total 2",
        "perisco_saved_failed_total 0",
        "perisco_keep_bytes 16777216",
    ] {
        // The figures are half a second old.
        let url = format!("http://{at}/metrics");
        wait_for(line, || run(Command::new("curl").args(["-s", &url])).contains(line));
    }
    let (status, told) = recorder.stop();
    assert!(status.success(), "{told}");
    assert_eq!(saved(&folder).len(), 2, "{told}");
}

#[test]
fn what_waits_is_kept_when_the_recording_ends() {
    let Some((place, _server)) = site() else { return };
    let folder = place.file("ring");
    let recorder = ring::record(
        &place,
        &folder,
        &["--keep", "16MiB", "--after", "60s", "--trigger", "status >= 500"],
    );
    get(&place, "/fail/last");
    std::thread::sleep(Duration::from_millis(500));
    let (status, told) = recorder.stop();
    assert!(status.success(), "{told}");
    assert!(told.contains("ended before the time after"), "{told}");
    assert_eq!(paths(&transactions(&saved(&folder))), ["/fail/last"]);
}

/// Another user, of whom the socket is not.
#[test]
fn the_control_socket_hears_its_own_user_only() {
    let Some((place, _server)) = site() else { return };
    let folder = place.file("ring");
    let recorder = ring::record(&place, &folder, &["--keep", "16MiB"]);
    // The way is open, and the socket for all: the kernel still says who asks.
    for path in [place.file(""), folder.clone()] {
        run(Command::new("chmod").arg("755").arg(path));
    }
    run(Command::new("chmod").arg("666").arg(folder.join(".control")));
    let script = |asks: &str| {
        let folder = folder.display();
        format!(
            "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{folder}/.control')\n\
             {asks}print(s.recv(100).decode())"
        )
    };
    let ask = |program: &[&str], asks: &str| {
        let words = [program, &["/usr/bin/python3", "-c"]].concat();
        run(Command::new(words[0]).args(&words[1..]).arg(script(asks)))
    };
    // Before anything is asked.
    let said = ask(&["setpriv", "--reuid=65534", "--clear-groups"], "");
    assert!(said.contains("error only the recorder's user and root"), "{said}");
    assert!(ask(&["env"], "s.sendall(b'trigger x\\n')\n").contains("ok begun"));
    recorder.stop();
}
