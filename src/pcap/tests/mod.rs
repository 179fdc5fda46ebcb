//! Tests of the capture input as a whole: bytes in, packets out.

mod build;
mod compressed;
mod damage;
mod formats;
mod merged;
mod oracle;
mod real;
mod streams;

use std::ffi::OsStr;
use std::net::IpAddr;

use super::*;

/// A packet with its bytes, for comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    bytes: Vec<u8>,
    original: u32,
    interface: u32,
    nanos: Option<i64>,
}

/// All that a capture holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Everything {
    packets: Vec<Packet>,
    comments: Vec<(usize, String)>,
    interfaces: Vec<Interface>,
    names: Vec<(IpAddr, String)>,
    drops: u64,
    damage: Vec<(u64, String)>,
    /// Batches that were not empty.
    batches: usize,
}

impl Everything {
    fn read(capture: &mut Capture) -> Self {
        let mut all = Self::default();
        let mut batch = Batch::default();
        loop {
            let more = capture.next_batch(&mut batch).unwrap();
            all.add(&batch);
            if !more {
                // Once at its end, a capture stays there.
                assert!(!capture.next_batch(&mut batch).unwrap());
                assert!(batch.packets.is_empty() && batch.damage.is_empty());
                return all;
            }
        }
    }

    fn of(bytes: impl Into<Vec<u8>>) -> Self {
        Self::read(&mut Capture::from_bytes("test", bytes.into()).unwrap())
    }

    fn add(&mut self, batch: &Batch) {
        let before = self.packets.len();
        self.packets.extend(batch.packets.iter().map(|packet| {
            let bytes = batch.bytes(packet).to_vec();
            assert_eq!(bytes.len(), packet.captured as usize, "bytes lie in their chunk");
            assert!(packet.original >= packet.captured);
            Packet {
                bytes,
                original: packet.original,
                interface: packet.interface,
                nanos: packet.at.map(crate::time::Timestamp::nanos),
            }
        }));
        let comments = batch.comments.iter().cloned();
        self.comments.extend(comments.map(|comment| (before + comment.packet, comment.text)));
        self.interfaces.extend(batch.interfaces.iter().cloned());
        self.names.extend(batch.names.iter().cloned());
        self.drops += batch.drops;
        self.damage.extend(batch.damage.iter().map(|damage| (damage.offset, damage.what.clone())));
        self.batches += usize::from(!batch.packets.is_empty());
        for packet in &batch.packets {
            assert!((packet.interface as usize) < self.interfaces.len(), "described before use");
        }
    }

    fn times(&self) -> Vec<Option<i64>> {
        self.packets.iter().map(|packet| packet.nanos).collect()
    }

    fn payloads(&self) -> Vec<&[u8]> {
        self.packets.iter().map(|packet| &*packet.bytes).collect()
    }

    fn faults(&self) -> Vec<&str> {
        self.damage.iter().map(|(_, what)| &**what).collect()
    }
}

/// A temporary file with these contents.
fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn path_input(file: &tempfile::NamedTempFile) -> Input {
    Input::from_arg(OsStr::new(file.path()))
}

fn open_error(bytes: &[u8]) -> String {
    match Capture::from_bytes("cap.txt", bytes.to_vec()) {
        Ok(_) => panic!("this is no capture"),
        Err(error) => error.to_string(),
    }
}
