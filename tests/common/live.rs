//! What the live recording tests share: a network namespace of their own,
//! peers in it, and the recorder and tcpdump beside them.
//!
//! They need root, eBPF, and the peers that `scripts/test` installs. Elsewhere
//! each says that it is skipped and passes; with PERISCO_LIVE=1, as in CI, it
//! fails instead.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Time in which what was said has passed the hooks and the ring.
const SETTLE: Duration = Duration::from_millis(300);

/// A test's own place: a network namespace with loopback up, and a folder.
pub struct Place {
    name: String,
    folder: tempfile::TempDir,
}

/// Why a test cannot run here; where it must, it fails.
pub fn skip<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("PERISCO_LIVE").is_none(), "PERISCO_LIVE is set, but {why}");
    eprintln!("skipped: {why}");
    None
}

/// Makes one, or says why the test cannot run here.
pub fn place(peers: &[&str]) -> Option<Place> {
    if !rustix::process::geteuid().is_root() {
        return skip("recording needs root");
    }
    let doctor = Command::new(env!("CARGO_BIN_EXE_perisco")).arg("doctor").output();
    if !doctor.as_ref().is_ok_and(|output| output.status.success()) {
        return skip(&format!("no back end loads here (perisco doctor): {doctor:?}"));
    }
    for peer in ["ip", "nsenter", "tcpdump"].iter().chain(peers) {
        if !in_path(peer) {
            return skip(&format!("{peer} is not installed"));
        }
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("perisco-test-{}-{number}", std::process::id());
    run(Command::new("ip").args(["netns", "add", &name]));
    let place = Place { name, folder: tempfile::tempdir().expect("a folder") };
    run(place.command("ip").args(["link", "set", "lo", "up"]));
    Some(place)
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|dir| dir.join(program).is_file())
}

/// Runs a command that must succeed, and gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Where Debian has the sources of Go's packages.
const GO_SOURCES: &str = "/usr/share/gocode";

/// Builds the Go peer of `scripts/gen-testdata`, or says why it cannot.
pub fn go_peer(place: &Place) -> Option<PathBuf> {
    if !Path::new(GO_SOURCES).join("src/golang.org/x/net/http2").is_dir() {
        return skip("golang-golang-x-net-dev is not installed");
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/gen/go/httppeer/main.go");
    let peer = place.file("httppeer");
    run(Command::new("go").args(["build", "-o"]).arg(&peer).arg(source).envs([
        ("GO111MODULE", "off"),
        ("GOFLAGS", ""),
        ("GOPATH", GO_SOURCES),
    ]));
    Some(peer)
}

impl Place {
    /// The name of the network namespace.
    pub fn netns(&self) -> &str {
        &self.name
    }

    /// What nsenter(1) is told to enter it.
    pub fn entry(&self) -> String {
        format!("--net=/run/netns/{}", self.name)
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        // Not `ip netns exec`: that mounts, and needs a root that is a mount.
        let mut command = Command::new("nsenter");
        command.arg(self.entry()).arg(program).stdin(Stdio::null());
        command
    }

    /// A Python script of tests/live.
    pub fn python(&self, script: &str, args: &[&str]) -> Command {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live").join(script);
        // Debian's own Python is the one that Debian's packages (grpcio) are for.
        let mut command = self.command("/usr/bin/python3");
        command.arg(path).args(args);
        command
    }

    /// Starts a peer and waits for a line with `ready` in it.
    pub fn serve(&self, command: &mut Command, ready: &str) -> Running {
        Running::start(command, ready, Out::Stdout)
    }

    /// Starts a command that says on standard error when it is ready.
    pub fn watch(&self, command: &mut Command, ready: &str) -> Running {
        Running::start(command.stdin(Stdio::null()), ready, Out::Stderr)
    }

    /// Starts nginx with tests/live/nginx.conf and some files, and waits for it.
    pub fn nginx(&self) -> Running {
        let work = self.folder.path().to_str().expect("UTF-8");
        let conf = include_str!("../live/nginx.conf").replace("@WORK@", work);
        std::fs::write(self.file("nginx.conf"), conf).expect("written");
        std::fs::create_dir(self.file("www")).expect("made");
        for (name, bytes) in [("small.txt", 300), ("mid.bin", 20_000), ("big.bin", 3 << 20)] {
            std::fs::write(self.file("www").join(name), noise(bytes)).expect("written");
        }
        let mut command = self.command("/usr/sbin/nginx");
        command.arg("-c").arg(self.file("nginx.conf")).arg("-p").arg(work);
        self.serve_http(&mut command, "127.0.0.1:8080/hello")
    }

    /// Starts a peer that says nothing, and waits until it answers there.
    pub fn serve_http(&self, command: &mut Command, place: &str) -> Running {
        let server = Running::spawn(command);
        let url = format!("http://{place}");
        let ask = || self.command("curl").args(["-s", "-o", "/dev/null", &url]).status();
        wait_for("an answer", || ask().is_ok_and(|status| status.success()));
        server
    }

    /// Starts the recorder on this namespace, writing to `file`.
    pub fn record(&self, file: &str, args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perisco"));
        command
            .arg("record")
            .arg("-o")
            .arg(self.file(file))
            .args(["--netns", &self.name])
            .args(args);
        command.stdin(Stdio::null());
        Running::start(&mut command, "recording", Out::Stderr)
    }

    /// The recorder on this namespace, its output piped.
    pub fn record_to_pipe(&self, args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perisco"));
        command.args(["record", "-o", "-", "--netns", &self.name]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Running::start(&mut command, "recording", Out::Stderr)
    }

    /// Starts tcpdump inside, writing to `file`.
    pub fn tcpdump(&self, file: &str) -> Dump {
        let mut command = self.command("tcpdump");
        // Not --immediate-mode: its buffer has a place of 64 KiB for each packet, and so few.
        command.args(["-i", "lo", "-U", "-B", "65536", "-s", "0", "-w"]);
        command.arg(self.file(file)).arg("tcp");
        Dump(Running::start(&mut command, "listening on", Out::Stderr))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Peers that a failed test left behind end with their namespace.
        if let Ok(output) = Command::new("ip").args(["netns", "pids", &self.name]).output() {
            for pid in String::from_utf8_lossy(&output.stdout).split_whitespace() {
                let _ = Command::new("kill").args(["-9", pid]).status();
            }
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Waits until `done`, in vain for [`PATIENCE`] at most.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Bytes that do not compress and are the same in every run.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Where a process says that it is ready.
pub enum Out {
    Stdout,
    Stderr,
}

/// A process that a test started; killed when the test ends.
pub struct Running {
    child: Child,
    lines: Option<Receiver<String>>,
    said: String,
}

impl Running {
    fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, lines: None, said: String::new() }
    }

    /// Starts it and waits for a line with `ready` in it.
    pub fn start(command: &mut Command, ready: &str, out: Out) -> Self {
        match out {
            Out::Stdout => command.stdout(Stdio::piped()),
            Out::Stderr => command.stderr(Stdio::piped()),
        };
        let mut running = Self::spawn(command);
        let pipe: Box<dyn Read + Send> = match out {
            Out::Stdout => Box::new(running.child.stdout.take().expect("piped")),
            Out::Stderr => Box::new(running.child.stderr.take().expect("piped")),
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        running.lines = Some(lines);
        let begun = Instant::now();
        while !running.said.contains(ready) {
            assert!(begun.elapsed() < PATIENCE, "{command:?} is not ready: {}", running.said);
            if !running.hear(Duration::from_millis(100)) && running.ended() {
                panic!("{command:?} has ended: {}", running.said);
            }
        }
        running
    }

    fn hear(&mut self, patience: Duration) -> bool {
        let line = self.lines.as_ref().and_then(|lines| lines.recv_timeout(patience).ok());
        let heard = line.is_some();
        if let Some(line) = line {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        heard
    }

    /// All that an ended process said. Its children may still hold the pipe.
    fn hear_all(&mut self) {
        let until = Instant::now() + Duration::from_secs(5);
        let Some(lines) = &self.lines else { return };
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.said.push_str(&line);
            self.said.push('\n');
        }
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Whether it waits for something.
    fn sleeps(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        stat.is_ok_and(|stat| stat.contains(") S "))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said until it was ready, and what was heard since.
    pub fn said(&mut self) -> &str {
        while self.hear(Duration::ZERO) {}
        &self.said
    }

    /// Its standard output, where piped.
    pub fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("piped")
    }

    /// Its standard input, where piped.
    pub fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("piped")
    }

    /// Waits until it ends by itself; how, and what it said.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        loop {
            while self.hear(Duration::from_millis(20)) {}
            if let Some(status) = self.child.try_wait().expect("a child") {
                self.hear_all();
                return (status, std::mem::take(&mut self.said));
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.said);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets what was said arrive, sends a signal, and waits.
    pub fn signal(self, signal: &str) -> (ExitStatus, String) {
        thread::sleep(SETTLE);
        run(Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]));
        self.wait()
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(self) -> (ExitStatus, String) {
        self.signal("INT")
    }
}

/// A running tcpdump.
pub struct Dump(Running);

impl Dump {
    /// Ends it when it has all that was said until now.
    pub fn stop(self) {
        // At a signal it drops what it has not read yet: what the kernel hands over after a
        // second, and what it has no time for. It sleeps only when nothing is left.
        thread::sleep(Duration::from_millis(1100));
        wait_for("tcpdump to read all", || self.0.sleeps());
        let (status, said) = self.0.stop();
        assert!(
            status.success() && said.contains("\n0 packets dropped by kernel"),
            "{status}: {said}"
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
