//! Processes that talk: both ends of a connection as their own processes,
//! since perisco never records itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/record/backend/live/peer.py");

/// A running `peer.py`; killed when dropped.
pub(super) struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Of a server the port it listens at, of a client its own.
    pub port: u16,
}

/// What both ends of a connection do.
#[derive(Clone, Copy)]
pub(super) struct Talk {
    pub host: &'static str,
    pub up: usize,
    pub down: usize,
    pub rounds: usize,
}

impl Peer {
    /// At any port.
    pub fn server(talk: Talk) -> Self {
        Self::spawn(Command::new("python3"), "server", talk, 0)
    }

    pub fn client(talk: Talk, port: u16) -> Self {
        Self::spawn(Command::new("python3"), "client", talk, port)
    }

    /// A server in a network namespace of its own.
    pub fn server_apart(talk: Talk, port: u16) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && exec python3 \"$@\"", "sh"]);
        Self::spawn(command, "server", talk, port)
    }

    /// A client in the network namespace of this server.
    pub fn client_beside(&self, talk: Talk) -> Self {
        let mut command = Command::new("nsenter");
        command.args(["--net", "-t", &self.pid().to_string(), "python3"]);
        Self::spawn(command, "client", talk, self.port)
    }

    /// Segments that were sent again in its network namespace (`RetransSegs`).
    pub fn sent_again(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/net/snmp", self.pid())).unwrap();
        let mut lines =
            text.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        names.zip(values).find(|(name, _)| *name == "RetransSegs").unwrap().1.parse().unwrap()
    }

    /// Like the others, run by `command` (which is given the rest of the line).
    pub fn spawn(mut command: Command, role: &str, talk: Talk, port: u16) -> Self {
        let Talk { host, up, down, rounds } = talk;
        command.args([PEER, role, host]).args([up, down, rounds].map(|number| number.to_string()));
        command.arg(port.to_string());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is there");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, input, output, port: 0 };
        peer.port = peer.line().trim().parse().expect("a peer prints its port first");
        peer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// Waits until a client's round is over.
    pub fn round_over(&mut self) {
        assert_eq!(self.line(), "round\n");
    }

    /// Lets a client go on with its next round.
    pub fn next_round(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    /// Waits for a client to end.
    pub fn finish(mut self) {
        assert!(self.child.wait().unwrap().success());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free at this moment.
pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
