//! The judge's stream: one section for as long as a judge lives.
//!
//! The recording begins a section with every segment, and describes every process
//! in each of them. A judge that lives for months would gather them all; so it is
//! told of each interface once, and packets get the number that it has there. A
//! judge that is started later is told of the present segment's interfaces first.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use super::blocks::{
    self, Block, ENHANCED_PACKET, INTERFACE_DESCRIPTION, NAME_RESOLUTION, SECTION_HEADER,
};
use super::figures::Figures;
use super::tee::Stream;

/// Interfaces of one judge: some 20 MB there. With more a new one takes over.
const MAX_INTERFACES: usize = 50_000;

/// Names of addresses that one judge is told.
const MAX_NAMES: usize = 100_000;

/// The way to the present judge, which changes when another is started.
#[derive(Debug, Default)]
pub struct Slot(Mutex<(u64, Option<Arc<File>>)>);

impl Slot {
    /// Another judge listens there; None: nobody does.
    pub fn set(&self, pipe: Option<File>) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = (slot.0 + 1, pipe.map(Arc::new));
    }

    fn get(&self) -> (u64, Option<Arc<File>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This judge listens no more.
    fn end(&self, generation: u64) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.0 == generation {
            slot.1 = None;
        }
    }
}

/// Feeds judges until the recording ends.
pub fn feed(stream: &Stream, slot: &Slot, figures: &Figures) {
    let mut line = Line::default();
    let mut out = Vec::new();
    while let Some(buffer) = stream.next() {
        let (generation, pipe) = slot.get();
        out.clear();
        let dropped = line.take(&buffer, generation, pipe.is_some(), &mut out);
        figures.unjudged.fetch_add(dropped, Relaxed);
        stream.give_back(buffer);
        let Some(pipe) = pipe else { continue };
        // A judge that takes nothing makes this thread wait, and the tee drop.
        let is_worn = line.interfaces.len() > MAX_INTERFACES;
        if (&*pipe).write_all(&out).is_err() || is_worn {
            slot.end(generation);
        }
    }
    slot.set(None);
}

/// What a judge was told, and what the present segment says.
#[derive(Debug, Default)]
struct Line {
    generation: u64,
    /// Interface descriptions that it has, and their numbers there.
    interfaces: HashMap<Box<[u8]>, u32>,
    names: HashSet<Box<[u8]>>,
    /// From the segment's interfaces to the judge's.
    map: Vec<u32>,
    /// Section, interfaces and names of the segment.
    segment: Vec<u8>,
}

impl Line {
    /// Writes what a buffer is to the judge. Returns packets that it does not get.
    fn take(&mut self, buffer: &[u8], generation: u64, is_there: bool, out: &mut Vec<u8>) -> u64 {
        if is_there && generation != self.generation {
            self.generation = generation;
            self.interfaces.clear();
            self.names.clear();
            self.map.clear();
            let segment = std::mem::take(&mut self.segment);
            blocks::all(&segment).for_each(|block| self.tell(block, true, out));
            self.segment = segment;
        }
        let mut dropped = 0;
        for block in blocks::all(buffer) {
            match block.kind {
                ENHANCED_PACKET => {
                    let known = self.map.get(block.interface() as usize).filter(|_| is_there);
                    let Some(number) = known else {
                        dropped += 1;
                        continue;
                    };
                    let begin = out.len();
                    out.extend_from_slice(block.bytes);
                    out[begin + 8..begin + 12].copy_from_slice(&number.to_le_bytes());
                }
                _ => {
                    self.remember(block);
                    self.tell(block, is_there, out);
                }
            }
        }
        dropped
    }

    fn remember(&mut self, block: Block<'_>) {
        match block.kind {
            SECTION_HEADER => self.segment.clear(),
            INTERFACE_DESCRIPTION | NAME_RESOLUTION => {}
            _ => return,
        }
        self.segment.extend_from_slice(block.bytes);
    }

    /// Tells it what it does not know yet.
    fn tell(&mut self, block: Block<'_>, is_there: bool, out: &mut Vec<u8>) {
        match block.kind {
            SECTION_HEADER => {
                self.map.clear();
                if is_there && self.interfaces.is_empty() {
                    out.extend_from_slice(block.bytes);
                }
            }
            INTERFACE_DESCRIPTION if is_there => {
                let next = self.interfaces.len() as u32;
                let number = match self.interfaces.get(block.bytes) {
                    Some(number) => *number,
                    None => {
                        out.extend_from_slice(block.bytes);
                        *self.interfaces.entry(block.bytes.into()).or_insert(next)
                    }
                };
                self.map.push(number);
            }
            NAME_RESOLUTION
                if is_there
                    && self.names.len() < MAX_NAMES
                    && self.names.insert(block.bytes.into()) =>
            {
                out.extend_from_slice(block.bytes);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::pcapng::{self, Direction, PacketHead};

    fn packet(interface: u32, text: &[u8], out: &mut Vec<u8>) {
        let size = text.len() as u32;
        let head = PacketHead { interface, time: 1, captured: size, original: size };
        pcapng::packet(out, head, Direction::Inbound, 0, &[], |out| out.extend_from_slice(text));
    }

    fn segment(interfaces: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        pcapng::section(&mut out, "perisco", "Linux", &[]);
        interfaces.iter().for_each(|name| pcapng::interface(&mut out, name, "", "Linux"));
        out
    }

    /// Each packet with the name of its interface, as a reader takes them.
    fn read(stream: &[u8]) -> Vec<(String, String)> {
        let input = crate::pcap::Capture::from_bytes("judge", stream.to_vec());
        let mut batch = crate::pcap::Batch::default();
        let mut capture = input.unwrap();
        let (mut names, mut found) = (Vec::new(), Vec::new());
        loop {
            let more = capture.next_batch(&mut batch).unwrap();
            assert!(batch.damage.is_empty(), "{:?}", batch.damage);
            names.extend(batch.interfaces.iter().map(|of| of.name.clone().unwrap_or_default()));
            for packet in &batch.packets {
                let chunk: &[u8] = (*batch.chunks[packet.chunk as usize]).as_ref();
                let text = &chunk[packet.offset as usize..][..packet.captured as usize];
                let name = names[packet.interface as usize].clone();
                found.push((name, String::from_utf8_lossy(text).into_owned()));
            }
            if !more {
                return found;
            }
        }
    }

    fn said(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn segments_are_one_section_with_each_interface_once() {
        let (mut line, mut out) = (Line::default(), Vec::new());
        let mut first = segment(&["a", "b"]);
        packet(1, b"one", &mut first);
        let mut second = segment(&["b", "c", "a"]);
        packet(0, b"two", &mut second);
        packet(2, b"three", &mut second);
        packet(1, b"four", &mut second);
        assert_eq!(line.take(&first, 1, true, &mut out), 0);
        assert_eq!(line.take(&second, 1, true, &mut out), 0);
        let all = said(&[("b", "one"), ("b", "two"), ("a", "three"), ("c", "four")]);
        assert_eq!(read(&out), all);
        let sections = blocks::all(&out).filter(|block| block.kind == SECTION_HEADER).count();
        assert_eq!((sections, line.interfaces.len()), (1, 3));
    }

    #[test]
    fn another_judge_is_told_what_the_segment_has_said() {
        let (mut line, mut out) = (Line::default(), Vec::new());
        let mut first = segment(&["a", "b"]);
        packet(1, b"before", &mut first);
        assert_eq!(line.take(&first, 1, false, &mut out), 1, "nobody listens");
        assert!(out.is_empty());
        let mut more = Vec::new();
        packet(1, b"one", &mut more);
        assert_eq!(line.take(&more, 2, true, &mut out), 0);
        assert_eq!(read(&out), said(&[("b", "one")]));
        out.clear();
        assert_eq!(line.take(&more, 3, true, &mut out), 0);
        assert_eq!(read(&out), said(&[("b", "one")]));
        // Of an interface that nobody has described.
        let mut odd = Vec::new();
        packet(9, b"x", &mut odd);
        assert_eq!(line.take(&odd, 3, true, &mut out), 1);
    }
}
