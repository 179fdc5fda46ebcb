//! Windows of capture files in memory, and prefetching. The only unsafe code
//! of the library is here.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Mmap, MmapOptions};

use super::{BATCH_BYTES, PacketRef};

/// Of each packet this much is loaded ahead: most of a small one will be
/// read, of a large one hardly more than its headers.
const PREFETCH_LENGTH: usize = 768;

/// Behind packets longer than this nothing is loaded: where the headers of
/// the next ones are cannot be guessed.
pub(super) const DENSE_PACKET: usize = 4096;

/// Processors load lines of 64 bytes in pairs.
const PREFETCH_STEP: usize = 128;

/// A part of a file in memory; unmapped when dropped.
pub(super) struct Window(Mmap);

impl Window {
    /// Maps `length` bytes of `file` from `offset`, which needs no alignment.
    ///
    /// A file that another process shortens while its window is in use makes
    /// the kernel raise SIGBUS on access. Callers ask for the length of the
    /// file before each batch, which leaves the time within one batch.
    pub(super) fn map(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        // SAFETY: the map is read-only and private to this struct. Bytes that
        // another process changes meanwhile are bytes of a capture: every
        // reader checks what it reads before use and keeps no reference
        // whose meaning depends on an earlier read of the same bytes.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file)? };
        Ok(Self(map))
    }
}

impl Window {
    /// Puts the pages of a range into place, so that they can be prefetched.
    /// Where that fails they come one by one, as they are touched.
    pub(super) fn load(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        self.0.advise_range(memmap2::Advice::PopulateRead, range.start, range.len()).ok();
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }
}

impl AsRef<[u8]> for Window {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Asks the processor to load the cache line `ahead` bytes from the start of
/// `data`, which may lie beyond its end.
#[inline(always)]
pub(crate) fn prefetch(data: &[u8], ahead: usize) {
    prefetch_line(data.as_ptr().wrapping_add(ahead));
}

/// The same of what a packet of a batch says.
#[inline(always)]
pub(crate) fn prefetch_ref(packet: &PacketRef) {
    prefetch_line(std::ptr::from_ref(packet).cast());
}

#[inline(always)]
fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it reads nothing that the program
        // sees and faults on no address. SSE is part of x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Loads what lies a batch behind a packet: packets are too far apart for the
/// processor to guess the next header, and while this batch is worked on
/// memory has the time to send the next.
#[inline(always)]
pub(crate) fn prefetch_next_batch(packet: &[u8]) {
    if packet.len() <= DENSE_PACKET {
        for at in (0..packet.len().min(PREFETCH_LENGTH)).step_by(PREFETCH_STEP) {
            prefetch(packet, BATCH_BYTES + at);
        }
    }
}

/// Loads the beginning of a packet that is looked at soon.
#[inline(always)]
pub(crate) fn prefetch_packet(packet: &[u8]) {
    for at in (0..packet.len().min(PREFETCH_LENGTH)).step_by(PREFETCH_STEP) {
        prefetch(packet, at);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn maps_from_any_offset() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        file.write_all(&bytes).unwrap();
        let window = Window::map(&file, 4_999, 10_000).unwrap();
        assert_eq!(window.as_ref(), &bytes[4_999..14_999]);
        window.load(100..10_000);
        assert_eq!(window.as_ref(), &bytes[4_999..14_999]);
        prefetch(window.as_ref(), 1 << 40);
    }
}
