//! The command run as a user runs it: to its end, or on a pipe that stays open.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The command, whatever the environment of the tests says.
pub fn perisco() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perisco"));
    command.env_remove("NO_COLOR").env_remove("COLUMNS");
    command
}

/// What a run came to.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs `perisco` to its end.
pub fn run(args: &[&str], stdin: &[u8]) -> Ran {
    let (code, out, err) = run_bytes(args, stdin);
    Ran { code, out: String::from_utf8(out).expect("UTF-8"), err }
}

/// As [`run`], for output that is no text.
pub fn run_bytes(args: &[&str], stdin: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let output = assert_cmd::Command::from(perisco())
        .args(args)
        .write_stdin(stdin)
        .timeout(PATIENCE)
        .output()
        .expect("it runs");
    let err = String::from_utf8(output.stderr).expect("UTF-8");
    (output.status.code(), output.stdout, err)
}

/// Runs `perisco analyze` to its end.
pub fn analyze(args: &[&str], stdin: &[u8]) -> Ran {
    run(&[&["analyze"], args].concat(), stdin)
}

/// A path as an argument.
pub fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Waits for the end; kills what does not end.
pub fn end(mut child: Child) -> (Option<i32>, String) {
    let begun = std::time::Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            let mut err = String::new();
            child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut err));
            return (status.code(), err);
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("still running after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A run that reads from a pipe that stays open.
pub struct Live {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Live {
    /// `perisco analyze` with these arguments on its standard input.
    pub fn start(args: &[&str]) -> Self {
        let mut child = perisco()
            .arg("analyze")
            .args(args)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines() {
                let Ok(line) = line else { return };
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines }
    }

    /// Writes to its standard input.
    pub fn feed(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("still open");
        stdin.write_all(bytes).expect("it reads");
        stdin.flush().expect("it reads");
    }

    /// The next line of output, while the input is still open.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line before the stream has ended")
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("sh runs").success());
    }

    /// Waits for its end: exit code, standard error, and the lines that are left.
    pub fn end(self) -> (Option<i32>, String, Vec<String>) {
        let (code, err) = end(self.child);
        (code, err, self.lines.iter().collect())
    }
}
