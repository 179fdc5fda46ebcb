//! Does confinement hold here? Tries, in a process that has shut itself in as
//! a recorder does, what a recorder must not be able to do (`perisco doctor
//! --confine`). What it tries does no harm if it is let.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libbpf_rs::libbpf_sys::bpf_map_create_opts;
use libbpf_rs::{MapHandle, MapType};
use rustix::fs::Uid;
use rustix::process;

use crate::record::backend::io_error;

/// Something that was tried.
#[derive(Debug)]
pub struct Attempt {
    /// In words.
    pub what: String,
    /// Whether it should work.
    pub allowed: bool,
    /// How it went.
    pub result: io::Result<()>,
}

impl Attempt {
    /// Whether it went as it should.
    pub fn good(&self) -> bool {
        match &self.result {
            Ok(()) => self.allowed,
            Err(error) => !self.allowed && error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

/// Nobody listens there; a connection is never made.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// A file that every system has and all may read.
const READABLE: &str = "/etc/passwd";

/// Tries everything; `folder` is the one in which files may be made, `spawn`
/// whether this binary may be run again ([`super::Confine::allow_own_binary`]).
pub fn check(folder: &Path, spawn: bool) -> Vec<Attempt> {
    let parent = process::getppid();
    let parent_id = parent.map_or(1, |pid| pid.as_raw_nonzero().get());
    let mut attempts = Vec::new();
    let mut attempt = |allowed: bool, what: String, result: io::Result<()>| {
        attempts.push(Attempt { what, allowed, result });
    };
    let inside = folder.join("made-by-doctor");
    attempt(true, "make a file in the output folder".to_owned(), make(&inside));
    attempt(true, "remove it again".to_owned(), fs::remove_file(&inside));
    let comm = format!("/proc/{parent_id}/comm");
    attempt(true, format!("read {comm}"), File::open(&comm).map(drop));
    let thread = std::thread::Builder::new().spawn(|| ()).map(drop);
    attempt(true, "start a thread".to_owned(), thread);
    let again = Command::new("/proc/self/exe").arg("--version").output();
    attempt(spawn, "run perisco again".to_owned(), again.map(drop));
    for path in ["/etc/shadow", "/etc/hostname", "/bin/sh"].map(Path::new) {
        if path.symlink_metadata().is_ok() {
            attempt(false, format!("read {}", path.display()), File::open(path).map(drop));
        }
    }
    for folder in [Path::new("/"), Path::new("/tmp"), Path::new("/etc"), Path::new("/dev/shm")] {
        let path = folder.join("perisco-doctor-was-here");
        attempt(false, format!("make a file in {}", folder.display()), make(&path));
    }
    let write = OpenOptions::new().append(true).open(READABLE).map(drop);
    attempt(false, format!("write to {READABLE}"), write);
    attempt(false, format!("change the mode of {READABLE}"), same_mode(Path::new(READABLE)));
    attempt(false, "run a program".to_owned(), Command::new("/bin/true").status().map(drop));
    let exe = format!("/proc/{parent_id}/exe");
    attempt(false, format!("read where {exe} leads"), fs::read_link(&exe).map(drop));
    let memory = format!("/proc/{parent_id}/mem");
    attempt(false, format!("read {memory}"), File::open(&memory).map(drop));
    let signal = parent.map_or(Ok(()), process::test_kill_process);
    attempt(false, "send a signal".to_owned(), signal.map_err(io::Error::from));
    let connect = TcpStream::connect_timeout(&NOWHERE, Duration::from_secs(1)).map(drop);
    attempt(false, format!("connect to {NOWHERE}"), connect);
    let user = rustix::thread::set_thread_uid(Uid::ROOT).map_err(io::Error::from);
    attempt(false, "become root".to_owned(), user);
    attempt(false, "make a BPF map".to_owned(), map());
    attempts
}

fn make(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(b"perisco doctor --confine\n")
}

fn same_mode(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777))
}

fn map() -> io::Result<()> {
    let options = bpf_map_create_opts {
        sz: size_of::<bpf_map_create_opts>() as libbpf_rs::libbpf_sys::size_t,
        ..bpf_map_create_opts::default()
    };
    MapHandle::create(MapType::Array, Some("doctor"), 4, 4, 1, &options)
        .map(drop)
        .map_err(|error| io_error(&error))
}
