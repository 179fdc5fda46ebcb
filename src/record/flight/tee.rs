//! What the compressor gets, for the judge too: a copy, and never a wait.
//!
//! Where the judge is behind, packets are dropped on their way to it and counted;
//! what later packets need (sections, interfaces, names) is not. The recording
//! has all of them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};

use super::blocks::{self, ENHANCED_PACKET, SECTION_HEADER};
use super::figures::Figures;

/// Buffers of 256 KiB that may wait for the judge: a second of a busy host.
const BUFFERS: usize = 32;

/// The compressor's end.
#[derive(Debug)]
pub struct Tee {
    to: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    /// What packets to come need, of buffers that were dropped.
    owed: Vec<u8>,
    figures: Arc<Figures>,
}

/// The feeder's end.
#[derive(Debug)]
pub struct Stream {
    from: Receiver<Vec<u8>>,
    give_back: Sender<Vec<u8>>,
}

/// Both ends.
pub fn tee(figures: Arc<Figures>) -> (Tee, Stream) {
    let (to, from) = sync_channel(BUFFERS);
    let (give_back, empty) = channel();
    (Tee { to, empty, owed: Vec::new(), figures }, Stream { from, give_back })
}

impl Tee {
    /// Passes whole blocks on, as far as there is room. Nothing at all is passed on, too:
    /// a judge that was started meanwhile is told where it is.
    pub fn offer(&mut self, blocks: &[u8]) {
        let mut copy = self.empty.try_recv().unwrap_or_default();
        copy.clear();
        copy.append(&mut self.owed);
        copy.extend_from_slice(blocks);
        if let Err(TrySendError::Full(copy)) = self.to.try_send(copy) {
            self.drop_packets(&copy);
        }
    }

    fn drop_packets(&mut self, buffer: &[u8]) {
        let mut packets = 0;
        for block in blocks::all(buffer) {
            match block.kind {
                ENHANCED_PACKET => packets += 1,
                kind => {
                    // A section begins all of it anew.
                    if kind == SECTION_HEADER {
                        self.owed.clear();
                    }
                    self.owed.extend_from_slice(block.bytes);
                }
            }
        }
        self.figures.unjudged.fetch_add(packets, Relaxed);
    }
}

impl Stream {
    /// The next buffer; None at the end of the recording.
    pub fn next(&self) -> Option<Vec<u8>> {
        self.from.recv().ok()
    }

    /// A buffer that was used.
    pub fn give_back(&self, buffer: Vec<u8>) {
        // The other end is gone when the recording is.
        let _ = self.give_back.send(buffer);
    }
}
