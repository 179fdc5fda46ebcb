//! Settings of `perisco record` from flags, variables and a file, and what
//! SIGHUP does with them.
#![cfg(feature = "record")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use common::live::{self, Place, Running, run, wait_for};

fn folder(config: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("perisco.toml");
    std::fs::write(&path, config).expect("written");
    (folder, path)
}

/// `perisco record` with these words and variables, in an environment without others.
fn record(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perisco"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PERISCO_") {
            command.env_remove(name);
        }
    }
    command.arg("record").args(words).envs(variables.iter().copied()).output().expect("it runs")
}

fn refused(words: &[&str], variables: &[(&str, &str)]) -> String {
    let output = record(words, variables);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_line() {
    let (_folder, path) = folder(
        "output = \"cap.pcapng\"\n\
         rotate-sice = \"1MB\"\n\
         duration = \"soon\"\n\
         quiet = 3\n\
         port = [80, \"x\"]\n\
         level = [1, 2]\n\
         config = \"other.toml\"\n\
         compress = \"rar\"\n",
    );
    let path = path.to_str().expect("UTF-8");
    let said = refused(&["--config", path], &[]);
    for line in [
        ":2: there is no setting \"rotate-sice\"; did you mean `rotate-size`?",
        ":3: duration: invalid value 'soon': expected number at 0",
        ":4: quiet is true or false",
        ":5: port: invalid value 'x': `x` is not a port (1 to 65535)",
        ":6: level takes one value",
        ":7: there is no setting \"config\"",
        ":8: compress: invalid value 'rar' [possible values: zstd, gzip, none]",
    ] {
        assert!(said.contains(&format!("{path}{line}")), "{line} is not in\n{said}");
    }
    assert_eq!(said.lines().count(), 7, "{said}");
    let (_folder, path) = folder("output = \"x\"\nport = = 3\n");
    let said = refused(&["--config", path.to_str().expect("UTF-8")], &[]);
    assert!(said.contains("perisco.toml:2: "), "{said}");
    let said = refused(&["--config", "/there/is/no.toml"], &[]);
    assert!(said.contains("/there/is/no.toml: No such file"), "{said}");
}

#[test]
fn a_variable_is_checked_like_its_flag() {
    let said = refused(&["-o", "cap.pcapng"], &[("PERISCO_ROTATE_SIZE", "much")]);
    assert!(said.contains("PERISCO_ROTATE_SIZE: rotate-size: invalid value 'much'"), "{said}");
    let said = refused(&["-o", "cap.pcapng"], &[("PERISCO_QUIET", "maybe")]);
    assert!(said.contains("PERISCO_QUIET: quiet is true or false"), "{said}");
    // --keep alone is refused later, so it was taken; a Service's own variable is not.
    let said = refused(
        &["-o", "cap.pcapng"],
        &[("PERISCO_KEEP", "3"), ("PERISCO_PORT", "tcp://10.0.0.1:9464"), ("PERISCO_COMM", "")],
    );
    assert!(said.contains("--keep needs --rotate-size"), "{said}");
}

#[test]
fn flags_beat_variables_and_variables_the_file() {
    // What is refused says which value it was.
    let (_folder, path) = folder("output = \"/nowhere/file.pcapng\"\nsnaplen = 1\nquiet = true\n");
    let path = path.to_str().expect("UTF-8");
    let level = |words: &[&str], variables: &[(&str, &str)]| {
        let said = refused(&[&["--config", path][..], words].concat(), variables);
        ["file", "variable", "flag"]
            .into_iter()
            .find(|name| said.contains(&format!("/nowhere/{name}.pcapng")))
            .unwrap_or_else(|| panic!("{said}"))
    };
    if live::place(&[]).is_none() {
        return;
    }
    let variable = [("PERISCO_OUTPUT", "/nowhere/variable.pcapng")];
    assert_eq!(level(&[], &[]), "file");
    assert_eq!(level(&[], &variable), "variable");
    assert_eq!(level(&["-o", "/nowhere/flag.pcapng"], &variable), "flag");
    // --verbose goes before the file's quiet, with which it cannot be.
    assert_eq!(level(&["--verbose"], &[]), "file");
    let said = refused(&[], &[("PERISCO_CONFIG", path)]);
    assert!(said.contains("/nowhere/file.pcapng"), "{said}");
    let other = [("PERISCO_CONFIG", path), ("PERISCO_VERBOSE", "yes")];
    assert!(refused(&[], &other).contains("/nowhere/file.pcapng"));
}

#[test]
fn other_commands_take_no_variables() {
    let output = Command::new(env!("CARGO_BIN_EXE_perisco"))
        .args(["analyze", "testdata/http1/requests.pcap"])
        .env("PERISCO_OUTPUT", "/nowhere/report")
        .env("PERISCO_CONFIG", "/nowhere/perisco.toml")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("nowhere/report") && !said.contains("perisco.toml"), "{said}");
}

fn site() -> Option<(Place, Running)> {
    let place = live::place(&["curl", "nginx"])?;
    let nginx = place.nginx();
    Some((place, nginx))
}

/// What was captured of a path: asked for until it is, or for a while.
fn get(place: &Place, path: &str) {
    let url = format!("http://127.0.0.1:8080{path}");
    run(place.command("curl").args(["-s", "-o", "/dev/null", &url]));
}

fn hang_up(recorder: &mut Running, expected: &str) {
    run(Command::new("kill").args(["-HUP", &recorder.pid().to_string()]));
    wait_for(expected, || recorder.said().contains(expected));
}

fn paths(file: &Path) -> Vec<String> {
    let found = common::transactions_of(file);
    found.iter().map(|line| line["path"].as_str().unwrap_or("?").to_owned()).collect()
}

#[test]
fn a_hang_up_changes_what_can_be_changed_and_says_what_cannot() {
    let Some((place, _nginx)) = site() else { return };
    let config = place.file("perisco.toml");
    let write = |text: &str| std::fs::write(&config, text).expect("written");
    write("net = \"10.0.0.0/8\"\ncomm = [\"curl\", \"nginx\"]\n");
    let path = config.to_str().expect("UTF-8").to_owned();
    let mut recorder = place.record("cap.pcapng", &["--config", &path]);
    get(&place, "/hello?before");
    write("net = \"127.0.0.0/8\"\ncomm = [\"curl\", \"nginx\"]\n");
    hang_up(&mut recorder, "net: 10.0.0.0/8 -> 127.0.0.0/8\n");
    get(&place, "/hello?net");
    // Broken: nothing changes.
    write("net = \"10.0.0.0/8\"\ncom = \"x\"\n");
    hang_up(&mut recorder, "nothing is changed: ");
    assert!(recorder.said().contains("perisco.toml:2: there is no setting \"com\""));
    get(&place, "/hello?broken");
    write("net = \"127.0.0.0/8\"\ncomm = \"nobody\"\nport = 1\nrotate-size = \"1MB\"\n");
    hang_up(&mut recorder, "rotate-size: nothing -> 1MB needs a restart");
    let said = recorder.said();
    assert!(said.contains("comm: curl,nginx -> nobody, for connections from now on"), "{said}");
    assert!(
        said.contains("port: nothing -> 1 needs a restart: it is part of the loaded"),
        "{said}"
    );
    get(&place, "/hello?nobody");
    // A filter cannot be switched off while recording.
    write("net = \"127.0.0.0/8\"\n");
    hang_up(&mut recorder, "comm: nobody -> nothing needs a restart: whether the filter");
    get(&place, "/hello?still");
    write("net = \"127.0.0.0/8\"\ncomm = \"nginx\"\nduration = \"1s\"\n");
    hang_up(&mut recorder, "comm: nobody -> nginx");
    let (status, said) = recorder.wait();
    assert!(status.success(), "the duration holds, too: {said}");
    let found = paths(&place.file("cap.pcapng"));
    assert_eq!(found, ["/hello?net", "/hello?broken"], "{said}");
}

#[test]
fn processes_are_exchanged_by_a_hang_up() {
    let Some((place, nginx)) = site() else { return };
    let config = place.file("perisco.toml");
    let write = |pid: u32| std::fs::write(&config, format!("pid = {pid}\n")).expect("written");
    let mut other = Command::new("sleep").arg("100").spawn().expect("it runs");
    write(other.id());
    let path = config.to_str().expect("UTF-8").to_owned();
    let mut recorder = place.record("cap.pcapng", &["--config", &path, "--role", "server"]);
    get(&place, "/hello?other");
    write(nginx.pid());
    hang_up(&mut recorder, "pid: ");
    get(&place, "/hello?nginx");
    std::thread::sleep(Duration::from_millis(300));
    write(other.id());
    hang_up(&mut recorder, &format!("pid: {} -> {}", nginx.pid(), other.id()));
    get(&place, "/hello?other-again");
    other.kill().expect("it runs");
    other.wait().expect("it ends");
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    assert_eq!(paths(&place.file("cap.pcapng")), ["/hello?nginx"], "{said}");
}
