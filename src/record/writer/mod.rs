//! Events in, a capture file out: the recorder's half that needs no kernel.
//!
//! One thread calls [`Writer`]; compression and writing are on another.
//! [`Writer::event`] is the hot path: an event in order is copied once, from
//! the ring into the buffer that goes to the compressor.

mod clock;
pub mod options;
pub(super) mod packets;
mod summary;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub use clock::Clock;
pub use options::{Compression, Output, WriteOptions};
pub use summary::{Loss, Summary};

pub use super::sink::{SoFar, WriteError};

use super::connection::Connections;
use super::event::{Event, Kind};
use super::naming::Source;
use super::owner::{Owner, Owners, Proc};
use packets::Packets;

/// Writes a recording.
#[derive(Debug)]
pub struct Writer {
    pub(super) connections: Connections,
    owners: Owners,
    packets: Packets,
    malformed: u64,
}

impl Writer {
    /// Opens the output and writes its head. `source` knows pods and addresses.
    ///
    /// # Errors
    ///
    /// The output cannot be created: it exists, the directory does not, …
    pub fn create(
        options: &WriteOptions,
        clock: Clock,
        source: Source,
    ) -> Result<Self, WriteError> {
        Self::with_proc(options, clock, Path::new("/proc"), source)
    }

    /// As [`Self::create`], with another `/proc`.
    pub(super) fn with_proc(
        options: &WriteOptions,
        clock: Clock,
        proc: &Path,
        source: Source,
    ) -> Result<Self, WriteError> {
        Ok(Self {
            connections: Connections::new(options.both_ends),
            owners: Owners::new(Proc::new(proc, options.lookup.clone()), source),
            packets: Packets::create(options, clock, os())?,
            malformed: 0,
        })
    }

    /// Takes one event. What it makes writable is in the buffer afterwards. Once
    /// [`Self::is_full`], nothing more is.
    ///
    /// # Errors
    ///
    /// The output cannot be written; the recording is over.
    pub fn event(&mut self, event: &Event<'_>) -> Result<(), WriteError> {
        if self.is_full() {
            return Ok(());
        }
        match event.kind {
            Kind::Exec => self.owners.exec(event),
            Kind::Fork => self.owners.fork(event.pid, event.tid),
            Kind::Exit => self.owners.exit(event.pid),
            Kind::Listen => self.connections.listen(event),
            Kind::Data | Kind::Open | Kind::Close | Kind::Owner => return self.socket(event),
        }
        Ok(())
    }

    fn socket(&mut self, event: &Event<'_>) -> Result<(), WriteError> {
        if event.kind == Kind::Data {
            self.packets.rotate_if_large()?;
        }
        let family = |address: Option<std::net::SocketAddr>| address.map(|found| found.is_ipv4());
        let owner = self.owner(event);
        let sound = family(event.local) == family(event.remote);
        if !sound || !self.connections.event(event, owner, &mut self.packets, &self.owners)? {
            self.malformed += 1;
        }
        Ok(())
    }

    /// The process of an event, where it has one.
    fn owner(&mut self, event: &Event<'_>) -> Option<Arc<Owner>> {
        if event.pid == 0 {
            return None;
        }
        match event.kind {
            Kind::Owner => Some(self.owners.of(event, &event.comm())),
            // Found by the iterator in a process's table of files.
            Kind::Open if event.midway => Some(self.owners.of(event, "")),
            Kind::Data if event.in_process => Some(self.owners.of(event, "")),
            _ => None,
        }
    }

    /// To be called every 20 ms or so, after the ring was read to its end.
    /// `now`: CLOCK_BOOTTIME in nanoseconds **before** that reading began, so
    /// that no event before it is still to come; `losses`: running counts.
    ///
    /// # Errors
    ///
    /// The output cannot be written; the recording is over.
    pub fn tick(&mut self, now: u64, losses: &[Loss]) -> Result<(), WriteError> {
        self.owners.tick();
        self.connections.tick(now, &mut self.packets, &self.owners)?;
        self.packets.tick(now, losses)
    }

    /// Whether the asked number of packets is written.
    pub fn is_full(&self) -> bool {
        self.packets.is_full()
    }

    /// The figures so far, but for those of the files.
    pub fn summary(&self) -> &Summary {
        &self.packets.counts
    }

    /// The figures so far, all that there will be at the end but for
    /// `losses`, `http2_ports` and `last_file`; and what is on disk.
    pub fn so_far(&self) -> (Summary, SoFar) {
        let files = self.packets.so_far();
        let summary = Summary {
            malformed: self.malformed,
            evicted: self.connections.evicted,
            files: files.files,
            removed_files: files.removed,
            removed_for_space: files.removed_for_space,
            written_bytes: files.bytes,
            ..self.packets.counts.clone()
        };
        (summary, files)
    }

    /// Connections that are followed: open, or ended a second ago at most.
    pub fn open_connections(&self) -> u64 {
        self.connections.open() as u64
    }

    /// Writes what waits, and ends the file. Connections that are still open
    /// get no end.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn finish(mut self, losses: &[Loss]) -> Result<Summary, WriteError> {
        self.connections.finish(&mut self.packets, &self.owners)?;
        let (mut summary, written) = self.packets.finish(losses)?;
        summary.malformed = self.malformed;
        summary.evicted = self.connections.evicted;
        summary.files = written.files;
        summary.removed_files = written.removed;
        summary.removed_for_space = written.removed_for_space;
        summary.written_bytes = written.bytes;
        summary.last_file = written.last;
        Ok(summary)
    }
}

/// `Linux 6.12.1 x86_64`, as capture tools say it.
fn os() -> String {
    let name = rustix::system::uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    format!("{} {} {}", part(name.sysname()), part(name.release()), part(name.machine()))
}
