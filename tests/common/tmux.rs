//! A terminal for tests: a tmux server of its own, ended with the test.
//!
//! Elsewhere than in CI a test says that it is skipped where tmux is not
//! installed; with PERISCO_LIVE=1 it fails instead.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is on the terminal before the program begins: it must be there again.
pub const BEFORE: &str = "this was here before";

/// A terminal with a shell that runs one command in it.
pub struct Tmux {
    socket: String,
    pane: u32,
}

impl Tmux {
    /// Runs `perisco` with these words of a shell; None where there is no tmux.
    /// Then the shell says how it ended and what the terminal is like.
    pub fn start(words: &str, (columns, rows): (u16, u16)) -> Option<Self> {
        Self::start_after("", words, (columns, rows))
    }

    /// The same behind something: `cat cap.pcap |`, `NO_COLOR=1`.
    pub fn start_after(before: &str, words: &str, (columns, rows): (u16, u16)) -> Option<Self> {
        if !Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_ok_and(|s| s.success())
        {
            assert!(std::env::var_os("PERISCO_LIVE").is_none(), "tmux is not installed");
            eprintln!("skipped: tmux is not installed");
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("perisco-test-{}-{number}", std::process::id());
        let program = env!("CARGO_BIN_EXE_perisco");
        let script = format!(
            "echo '{BEFORE}'; {before} '{program}' {words}; echo \"ended with $?\"; \
             stty -a | grep -o -- '-\\?icanon'; exec sleep 1000"
        );
        let mut tmux = Self { socket, pane: 0 };
        let size = [columns.to_string(), rows.to_string()];
        let mut start = Command::new("tmux");
        start.args(["-u", "-f", "/dev/null", "-L", &tmux.socket, "new-session", "-d"]);
        start.args(["-x", &size[0], "-y", &size[1], "sh", "-c", &script]);
        // A locale of UTF-8, and nothing of a tmux that the tests may run in.
        start.env("LC_ALL", "C.UTF-8").env_remove("TMUX").env_remove("NO_COLOR");
        assert!(start.status().expect("tmux runs").success());
        tmux.tmux(&["set-option", "-g", "window-size", "manual"]);
        let pane = tmux.tmux(&["list-panes", "-F", "#{pane_pid}"]);
        tmux.pane = pane.trim().parse().expect("a process id");
        Some(tmux)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.socket]).args(args).output();
        String::from_utf8_lossy(&output.expect("tmux runs").stdout).into_owned()
    }

    /// Presses keys, as tmux calls them: `q`, `Enter`, `C-c`.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// What is on the terminal, line by line.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with lines that were too long in one piece.
    pub fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-J"])
    }

    /// The same with the colours as escape sequences.
    pub fn screen_with_colours(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Makes the terminal another size.
    pub fn resize(&self, (columns, rows): (u16, u16)) {
        let size = [columns.to_string(), rows.to_string()];
        self.tmux(&["resize-window", "-x", &size[0], "-y", &size[1]]);
    }

    /// Waits until the screen is as it should be, and gives it.
    pub fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for a text.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// The process of perisco: the shell's child of that name.
    pub fn perisco(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.pane);
        let children = std::fs::read_to_string(children).expect("the shell's children");
        let is_perisco = |pid: &&str| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm.trim() == "perisco")
        };
        let pid = children.split_whitespace().find(is_perisco).expect("perisco runs");
        pid.parse().expect("a process id")
    }

    /// Ends the terminal, as when a window is closed.
    pub fn close(&self) {
        self.tmux(&["kill-server"]);
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits until a process has ended.
pub fn wait_for_end(pid: u32) {
    let begun = Instant::now();
    let path = format!("/proc/{pid}/stat");
    // One that nobody waits for stays as a zombie.
    while std::fs::read_to_string(Path::new(&path)).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(begun.elapsed() < PATIENCE, "process {pid} does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}
