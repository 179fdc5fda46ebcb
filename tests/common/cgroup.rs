//! A cgroup of a test's own, and commands that run in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::live::{Place, skip, wait_for};

/// A cgroup2 directory and some below it; removed when the test ends.
pub struct Cgroup {
    mount: PathBuf,
    top: PathBuf,
}

impl Cgroup {
    /// Makes one named as the namespace of `place`, or says why it cannot.
    pub fn new(place: &Place) -> Option<Self> {
        let Some(mount) = mount() else { return skip("cgroup2 is not mounted") };
        let top = mount.join(place.netns());
        if let Err(error) = fs::create_dir(&top) {
            return skip(&format!("{}: {error}", top.display()));
        }
        Some(Self { mount, top })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.top
    }

    /// As `/proc/PID/cgroup` has it.
    pub fn below_mount(&self) -> PathBuf {
        Path::new("/").join(self.top.strip_prefix(&self.mount).expect("below"))
    }

    /// Makes another one inside.
    pub fn add(&self, name: &str) -> PathBuf {
        let path = self.top.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What a failed test left behind.
        let _ = fs::write(self.top.join("cgroup.kill"), "1");
        if !std::thread::panicking() {
            wait_for("the cgroup to be empty", || remove(&self.top).is_ok());
        } else {
            let _ = remove(&self.top);
        }
    }
}

/// Removes a cgroup and those below. Their files go with them.
fn remove(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut words = mounts.lines().map(|line| line.split(' '));
    words.find_map(|mut line| {
        let path = line.nth(1)?;
        (line.next()? == "cgroup2").then(|| PathBuf::from(path))
    })
}

/// The command, in a cgroup from before its first instruction on.
pub fn inside(cgroup: &Path, command: &Command) -> Command {
    let enter = "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"";
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut inside = Command::new("sh");
    inside.arg("-c").arg(enter).arg::<&OsStr>(cgroup.as_ref()).args(words).stdin(Stdio::null());
    inside
}
