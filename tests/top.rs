//! `perisco top` in a terminal: keys in, what is on the screen out.
#![cfg(feature = "top")]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::command::{path, run};
use common::model::{Act, Conversation, Step, write_pcap};
use common::synth::{self, Shape, Writer};
use common::tmux::{BEFORE, Tmux, wait_for_end};

/// The usual terminal.
const SIZE: (u16, u16) = (80, 24);

fn capture(name: &str) -> String {
    let case = common::cases().into_iter().find(|case| case.name == name);
    path(&case.unwrap_or_else(|| panic!("no testdata/{name}")).capture).to_owned()
}

/// A file of that name with a capture.
fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    std::fs::write(&file, bytes).expect("written");
    let name = path(&file).to_owned();
    (folder, name)
}

fn ends() -> [std::net::SocketAddr; 2] {
    ["10.0.0.1:40000", "10.0.0.2:80"].map(|end| end.parse().expect("an address"))
}

fn pcap(conversation: &Conversation) -> Vec<u8> {
    synth::pcap(&Writer::new(conversation, Shape::default()).write(conversation))
}

/// The line of the table with this in it.
fn row<'a>(screen: &'a str, text: &str) -> &'a str {
    let found = screen.lines().find(|line| line.contains(text));
    found.unwrap_or_else(|| panic!("no row {text}:\n{screen}"))
}

fn place(screen: &str, text: &str) -> usize {
    let at = screen.lines().position(|line| line.contains(text));
    at.unwrap_or_else(|| panic!("no row {text}:\n{screen}"))
}

#[test]
fn a_replay_says_what_the_report_says() {
    let file = capture("http1/nginx-errors");
    let Some(tmux) = Tmux::start(&format!("top --speed max {file}"), SIZE) else { return };
    let screen = tmux.wait_for("ENDED");
    // 18 transactions, 8 of which failed: tests/tables.rs counts the same.
    assert!(screen.contains("18 transactions, 44.4% failed"), "{screen}");
    assert!(screen.contains("nothing is known to be missing; 100%"), "{screen}");
    tmux.press(&["q"]);
    tmux.wait_for("ended with 0");
    let screen = tmux.text();
    assert!(screen.contains("perisco top: 18 transactions in "), "{screen}");
    assert!(screen.contains("55.5% ok, 44.4% failed") || screen.contains("55.6% ok"), "{screen}");
}

#[test]
fn rows_are_sorted_filtered_and_opened() {
    let file = capture("http1/nginx-errors");
    let Some(tmux) = Tmux::start(&format!("top --speed max {file}"), (160, 30)) else { return };
    let screen = tmux.wait_for("ENDED");
    assert!(screen.contains("RATE▼"), "{screen}");
    tmux.press(&[">", ">"]);
    let screen = tmux.wait_for("ERR▼");
    let first = screen.lines().nth(4).expect("a row").to_owned();
    assert!(first.contains("100%"), "{screen}");
    tmux.press(&["r"]);
    let screen = tmux.wait_for("ERR▲");
    let at = screen.lines().position(|line| line == first).expect("it is still there");
    assert!(at > 4, "{screen}");
    tmux.press(&["S", "S", "r", "/"]);
    tmux.press(&["-l", "users"]);
    let screen =
        tmux.wait("only users", |screen| screen.contains("/users") && !screen.contains("ERR▲"));
    let rows = screen.lines().skip(4).filter(|line| line.contains("/s "));
    assert!(rows.into_iter().all(|line| line.contains("users")), "{screen}");
    tmux.press(&["Enter", "Enter"]);
    let screen = tmux.wait_for("TRANSACTIONS [last]");
    assert!(screen.contains("STATUS") && screen.contains("LATENCY"), "{screen}");
    tmux.press(&["Tab"]);
    tmux.wait_for("[slowest]");
    tmux.press(&["Down", "Enter"]);
    let screen = tmux.wait_for("outcome");
    for text in ["protocol", "http/1.1", "Times", "latency", "Request, 0 bytes of body", "curl/"] {
        assert!(screen.contains(text), "{text}:\n{screen}");
    }
    tmux.press(&["Escape"]);
    tmux.wait_for("[slowest]");
    tmux.press(&["BSpace"]);
    tmux.wait_for("only with \"users\"");
    tmux.press(&["Escape"]);
    tmux.wait("all rows", |screen| screen.contains("ENDPOINT") && !screen.contains("only with"));
}

#[test]
fn a_filter_of_transactions_is_said() {
    let file = capture("http1/nginx-errors");
    let words = format!("top --speed max --where 'status >= 500' {file}");
    let Some(tmux) = Tmux::start(&words, (120, 24)) else { return };
    let screen = tmux.wait_for("ENDED");
    assert!(screen.contains("where status >= 500"), "{screen}");
    assert!(screen.contains("5 transactions, 100% failed"), "{screen}");
    tmux.press(&["q"]);
    tmux.wait_for("ended with 0");
    let screen = tmux.text();
    assert!(screen.contains("the filter left 13 out and could not decide on 0"), "{screen}");
}

#[test]
fn a_replay_keeps_the_pace_of_its_capture_and_can_be_paused() {
    // A transaction each 100 ms for 10 minutes.
    let mut conversation = synth::http1(ends(), 1_700_000_000_000_000_000, 6_000);
    let opened = conversation.opened;
    for step in &mut conversation.steps {
        step.at = opened + (step.at - opened) * 100;
    }
    let (_folder, file) = written("slow.pcap", &pcap(&conversation));
    let Some(tmux) = Tmux::start(&format!("top {file}"), SIZE) else { return };
    let seen = |screen: &str| -> u64 {
        let before = screen.split(" transaction").next().unwrap_or_default();
        let digits = before.rsplit(' ').next().unwrap_or_default();
        digits.parse().unwrap_or(0)
    };
    // Not all at once, although the first ones are read at once.
    let begun = Instant::now();
    tmux.wait("some", |screen| (3..50).contains(&seen(screen)));
    tmux.wait("more", |screen| seen(screen) >= 20);
    assert!(begun.elapsed() >= Duration::from_millis(1_000), "too fast");
    tmux.press(&["p"]);
    let still = tmux.wait_for("PAUSED");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(tmux.screen(), still);
    tmux.press(&["Space"]);
    let on = tmux.wait("it to go on", |screen| seen(screen) > seen(&still));
    // It waited, and has not jumped.
    assert!(seen(&on) < seen(&still) + 40, "{still}\n{on}");
    // Ten minutes of waiting do not hold up quitting.
    let asked = Instant::now();
    tmux.press(&["q"]);
    tmux.wait_for("ended with 0");
    let screen = tmux.text();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(screen.contains("quit when"), "{screen}");
}

#[test]
fn help_says_what_keys_do() {
    let file = capture("http1/nginx-errors");
    let Some(tmux) = Tmux::start(&format!("top --speed max {file}"), SIZE) else { return };
    tmux.wait_for("ENDED");
    tmux.press(&["?"]);
    let screen = tmux.wait_for("any key goes back");
    for text in ["last, slowest or failed", "sort by the next column", "nothing", "quit"] {
        assert!(screen.contains(text), "{text}:\n{screen}");
    }
    tmux.press(&["x"]);
    tmux.wait_for("ENDPOINT");
}

#[test]
fn the_terminal_is_given_back() {
    let file = capture("http1/nginx-errors");
    for end in ["q", "C-c", "TERM", "HUP", "INT"] {
        let Some(tmux) = Tmux::start(&format!("top {file}"), SIZE) else { return };
        tmux.wait_for("transactions");
        assert!(!tmux.screen().contains(BEFORE));
        if end.len() < 4 && end != "HUP" && end != "INT" {
            tmux.press(&[end]);
        } else {
            let pid = tmux.perisco().to_string();
            let kill = Command::new("kill").args([&format!("-{end}"), &pid]).status();
            assert!(kill.expect("kill runs").success());
        }
        tmux.wait_for("icanon");
        let screen = tmux.text();
        assert!(screen.contains(BEFORE), "{end}: {screen}");
        assert!(screen.contains("perisco top: ") && screen.contains("ended with 0"), "{screen}");
        assert!(!screen.contains("-icanon"), "{end}: {screen}");
    }
}

#[test]
fn a_terminal_that_goes_away_ends_it() {
    let file = capture("http1/nginx-errors");
    // Once with the signal that tells of it, and once without.
    for ignored in ["", "trap '' HUP;"] {
        let words = format!("top {file} --speed 0.0001");
        let Some(tmux) = Tmux::start_after(ignored, &words, SIZE) else { return };
        tmux.wait_for("read");
        let pid = tmux.perisco();
        tmux.close();
        wait_for_end(pid);
    }
}

#[test]
fn any_size_of_terminal_will_do() {
    let file = capture("http1/nginx-errors");
    let Some(tmux) = Tmux::start(&format!("top --speed max {file}"), SIZE) else { return };
    tmux.wait_for("ENDED");
    tmux.resize((20, 5));
    tmux.wait("a small screen", |screen| {
        screen.lines().count() <= 5 && screen.contains("last 60 s")
    });
    tmux.press(&["Enter", "Enter", "Down", "Escape", "Escape", "?", "x"]);
    tmux.resize((160, 40));
    let screen = tmux.wait_for("RATE OVER TIME");
    assert!(screen.contains("P90") && screen.contains("UNKN"), "{screen}");
    tmux.press(&["q"]);
    tmux.wait_for("ended with 0");
}

#[test]
fn names_of_the_wire_cannot_drive_the_terminal() {
    let at = 1_700_000_000_000_000_000;
    let request = "GET /a\u{202e}\x1b[2Jb HTTP/1.1\r\nHost: shop\x1b]0;owned\x07\r\n\
                   X-Odd: \x1b[31mred\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: \u{202e}\x1b[5m\r\n\r\n";
    let steps = vec![
        Step { way: 0, at: at + 1_000, act: Act::Data(request.as_bytes().to_vec()) },
        Step { way: 1, at: at + 2_000, act: Act::Data(response.as_bytes().to_vec()) },
        Step { way: 0, at: at + 3_000, act: Act::Fin },
        Step { way: 1, at: at + 4_000, act: Act::Fin },
    ];
    let conversation = Conversation { ends: ends(), opened: at, steps };
    let (_folder, file) = written("odd.pcap", &pcap(&conversation));
    let words = format!("top --speed max {file}");
    let Some(tmux) = Tmux::start_after("NO_COLOR=1", &words, (120, 40)) else { return };
    let screen = tmux.wait_for("ENDED");
    assert!(row(&screen, "1.1 ").contains("\\u{202e}"), "{screen}");
    tmux.press(&["Enter", "Enter"]);
    let screen = tmux.wait_for("outcome");
    assert!(screen.contains("\\u{202e}") && screen.contains("\\x1b["), "{screen}");
    // With NO_COLOR there is no colour of ours either; SGR 1, 2 and 7 are none.
    let screen = tmux.screen_with_colours();
    for colour in ["\x1b[38;5;", "\x1b[31m", "\x1b[5m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m"] {
        assert!(!screen.contains(colour), "{colour:?}: {screen:?}");
    }
}

#[test]
fn errors_are_red() {
    let file = capture("http1/nginx-errors");
    let Some(tmux) = Tmux::start(&format!("top --speed max {file}"), SIZE) else { return };
    tmux.wait_for("ENDED");
    let screen = tmux.screen_with_colours();
    // However tmux writes it.
    let red = ["\x1b[31m", "\x1b[38;5;1m"].iter().any(|red| screen.contains(red));
    assert!(red, "{screen:?}");
}

#[test]
fn loss_is_said_above_and_in_the_end() {
    let file = capture("broken/loss");
    let Some(tmux) = Tmux::start(&format!("top --speed max {file}"), (120, 24)) else { return };
    let screen = tmux.wait_for("ENDED");
    let ran = run(&["analyze", "-f", "json", &file], b"");
    let report: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let bytes = report["loss"]["gap_bytes"].as_u64().expect("a number");
    assert!(bytes > 0 && screen.contains("MISSING "), "{screen}");
    tmux.press(&["q"]);
    tmux.wait_for("ended with 0");
    let screen = tmux.text();
    assert!(screen.contains("MISSING "), "{screen}");
    // A damaged file is told by its place and by the exit code.
    let file = capture("broken/cut-file");
    let Some(tmux) = Tmux::start(&format!("top --speed max {file}"), (120, 24)) else { return };
    tmux.wait_for("THE CAPTURE IS DAMAGED");
    tmux.wait_for("ENDED");
    tmux.press(&["q"]);
    tmux.wait_for("ended with 1");
    let screen = tmux.text();
    assert!(screen.contains("at byte"), "{screen}");
}

#[test]
fn a_stream_on_standard_input_leaves_the_keys_alone() {
    let file = capture("http1/nginx-errors");
    let Some(tmux) = Tmux::start_after(&format!("cat {file} |"), "top -", SIZE) else { return };
    let screen = tmux.wait_for("ENDED");
    assert!(screen.contains("standard input"), "{screen}");
    tmux.press(&["w", "w"]);
    tmux.wait("ten seconds", |screen| screen.contains("last 10 s"));
    tmux.press(&["w", "w"]);
    let screen = tmux.wait_for("since the start");
    assert!(screen.contains("18 transactions"), "{screen}");
    tmux.press(&["q"]);
    tmux.wait_for("ended with 0");
}

#[test]
fn what_is_no_capture_is_told_without_a_screen() {
    let (_folder, file) = written("notes.txt", "notes\n".repeat(99).as_bytes());
    let Some(tmux) = Tmux::start(&format!("top {file}"), SIZE) else { return };
    tmux.wait_for("ended with 2");
    let screen = tmux.text();
    assert!(screen.contains(BEFORE) && screen.contains("not a capture"), "{screen}");
    let Some(tmux) = Tmux::start("top -", SIZE) else { return };
    tmux.wait_for("standard input is a terminal");
    tmux.wait_for("ended with 2");
}

#[test]
fn without_a_terminal_it_says_so() {
    let file = capture("http1/nginx-errors");
    let ran = run(&["top", &file], b"");
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("draws on a terminal") && ran.err.contains("perisco analyze"),
        "{}",
        ran.err
    );
    let empty = write_pcap([]);
    assert_eq!(run(&["top", "-", "--speed", "fast"], &empty).code, Some(2));
}

#[test]
fn the_order_of_rows_is_that_of_their_numbers() {
    let file = capture("http1/nginx-errors");
    let Some(tmux) = Tmux::start(&format!("top --speed max {file}"), (140, 30)) else { return };
    tmux.wait_for("ENDED");
    tmux.press(&["<"]);
    let screen = tmux.wait_for("ENDPOINT▲");
    let names = |screen: &str| -> Vec<String> {
        let rows = screen.lines().filter_map(|line| line.split_once("1.1  "));
        rows.map(|(_, name)| name.trim().to_owned()).collect()
    };
    let forward = names(&screen);
    assert!(forward.len() > 3 && forward.is_sorted(), "{screen}");
    tmux.press(&["r"]);
    let mut back = names(&tmux.wait_for("ENDPOINT▼"));
    back.reverse();
    assert_eq!(back, forward);
    assert!(place(&screen, forward[0].as_str()) == 4, "{screen}");
}

#[cfg(feature = "record")]
#[test]
fn live_traffic_is_shown_as_it_comes() {
    let Some(place) = common::live::place(&["curl", "nginx", "tmux"]) else { return };
    let _nginx = place.nginx();
    let words = format!("top --netns {} --port 8080", place.netns());
    let Some(tmux) = Tmux::start(&words, (120, 30)) else { return };
    tmux.wait_for("LIVE");
    let curl = |path: &str| {
        let url = format!("http://127.0.0.1:8080{path}");
        common::live::run(place.command("curl").args(["-s", "-o", "/dev/null", &url]));
    };
    for _ in 0..5 {
        curl("/hello");
        curl("/missing");
    }
    let screen = tmux.wait_for("10 transactions, 50.0% failed");
    assert!(screen.contains("nothing is known to be missing"), "{screen}");
    assert!(row(&screen, "/missing").contains("100%"), "{screen}");
    tmux.press(&["/"]);
    tmux.press(&["-l", "hello"]);
    tmux.press(&["Enter", "Enter", "Enter"]);
    let screen = tmux.wait_for("outcome");
    assert!(screen.contains("curl[") && screen.contains("nginx["), "{screen}");
    tmux.press(&["Escape", "Escape", "Escape"]);
    // What comes while it stands still is there afterwards.
    tmux.press(&["p"]);
    tmux.wait_for("PAUSED, recording goes on");
    curl("/hello");
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(tmux.screen().contains("10 transactions"));
    tmux.press(&["p"]);
    tmux.wait_for("11 transactions");
    tmux.press(&["q"]);
    tmux.wait_for("ended with 0");
    let screen = tmux.text();
    assert!(screen.contains("perisco top: 11 transactions in "), "{screen}");
    assert!(screen.contains("nothing is known to be missing"), "{screen}");
}

#[cfg(feature = "record")]
#[test]
fn a_command_is_recorded_to_its_end() {
    let Some(place) = common::live::place(&["curl", "nginx", "tmux"]) else { return };
    let _nginx = place.nginx();
    let words = format!(
        "top --netns {} -- nsenter {} curl -s http://127.0.0.1:8080/hello",
        place.netns(),
        place.entry()
    );
    let Some(tmux) = Tmux::start(&words, (120, 30)) else { return };
    let screen = tmux.wait_for("ENDED");
    assert!(screen.contains("1 transaction") && screen.contains("/hello"), "{screen}");
    tmux.press(&["q"]);
    tmux.wait_for("ended with 0");
}

#[cfg(feature = "record")]
#[test]
fn where_nothing_can_be_recorded_it_says_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        let Some(tmux) = Tmux::start("top", SIZE) else { return };
        tmux.wait_for("ended with 2");
        let screen = tmux.text();
        assert!(screen.contains("perisco doctor") && screen.contains(BEFORE), "{screen}");
        return;
    }
    // Root without its capabilities is a user like others.
    let Some(tmux) = Tmux::start_after("setpriv --bounding-set=-all --inh-caps=-all", "top", SIZE)
    else {
        return;
    };
    tmux.wait_for("ended with 2");
    let screen = tmux.text();
    assert!(screen.contains("perisco doctor") && screen.contains(BEFORE), "{screen}");
}

#[cfg(not(feature = "record"))]
#[test]
fn without_the_recorder_it_says_what_to_do() {
    let Some(tmux) = Tmux::start("top", SIZE) else { return };
    tmux.wait_for("ended with 2");
    let screen = tmux.text();
    assert!(screen.contains("without the recorder"), "{screen}");
}
