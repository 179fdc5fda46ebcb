//! A fake Kubernetes node, see `tests/live/fake_node.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// Debian's Python has grpc; another one in the path may not.
const PYTHON: &str = "/usr/bin/python3";

/// The node's folders and servers; they end with it.
pub struct Node {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    /// The API server's address.
    pub server: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// The node `here`; None where the peers are missing; in CI they are there.
    pub fn start() -> Option<Self> {
        Self::named("here")
    }

    /// A node of that name.
    pub fn named(name: &str) -> Option<Self> {
        let has_grpc =
            Command::new(PYTHON).args(["-c", "import grpc"]).stderr(Stdio::null()).status();
        let has_openssl = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
        if !has_grpc.is_ok_and(|status| status.success()) || has_openssl.is_err() {
            assert!(
                std::env::var_os("PERISCO_LIVE").is_none(),
                "python3-grpcio or openssl is missing"
            );
            eprintln!("skipped: python3-grpcio or openssl is missing");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/fake_node.py");
        let mut child = Command::new(PYTHON)
            .arg(script)
            .arg(folder.path())
            .args(["--bookmarks", "0.5", "--node", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let input = child.stdin.take().expect("stdin");
        let mut output = BufReader::new(child.stdout.take().expect("stdout"));
        let mut line = String::new();
        output.read_line(&mut line).expect("its first line");
        let server = line.trim().strip_prefix("ready ").expect("ready").to_owned();
        Some(Self { child, input, output, folder, server })
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has something happen; what it answers.
    pub fn tell(&mut self, command: Value) -> Value {
        writeln!(self.input, "{command}").expect("it listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }
}
