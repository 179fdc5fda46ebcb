//! Where zstd frames end, by their headers alone (RFC 8878, section 3.1), so
//! that several can be decompressed at a time. Nothing is decompressed here,
//! and nothing is judged: what is no frame is left to the decoder.

use std::io::{self, BufRead};

use super::decoder::Feed;

/// Compressed bytes after which whole frames make a [`Job`]: small frames
/// together are worth handing over.
const JOB_BYTES: usize = 256 << 10;

/// The longest frame that is kept in memory for a job of its own, in
/// compressed bytes. `perisco record --frame-size` writes less than its size.
const MAX_FRAME: usize = 16 << 20;

/// Of a frame's header: its magic number and descriptor.
const DESCRIPTOR_END: usize = 5;

/// Bytes of a block's header.
const BLOCK_HEADER: usize = 3;

/// Bytes of the checksum behind the last block.
const CHECKSUM: usize = 4;

/// Magic number and length of a skippable frame.
const SKIPPABLE_HEADER: usize = 8;

/// Whole frames.
pub(super) struct Job {
    /// The frames.
    pub bytes: Vec<u8>,
    /// Where in the compressed file they begin.
    pub begin: u64,
    /// Bytes that they decompress to, if all of them say so.
    pub content: Option<u64>,
}

/// What follows a [`Job`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Perhaps more frames.
    More,
    /// Nothing.
    End,
    /// Something that one decoder has to go on with: a frame that is long, or
    /// cut, or none.
    Rest,
}

/// Takes whole frames from `feed`, into the memory of `bytes`: as many as make
/// a job, or as there are.
///
/// # Errors
/// What reading says; `feed` has given out what was read until then.
pub(super) fn gather(feed: &mut Feed, mut bytes: Vec<u8>) -> io::Result<(Job, Then)> {
    let begin = feed.consumed();
    bytes.clear();
    let mut whole = 0;
    let mut content = Some(0_u64);
    let mut frame = Frame::default();
    let then = loop {
        if whole >= JOB_BYTES {
            break Then::More;
        }
        match frame.step(bytes.get(whole..).unwrap_or_default()) {
            Step::Ends(length) => {
                whole += length;
                content = content.zip(frame.content).and_then(|(all, one)| all.checked_add(one));
                frame = Frame::default();
            }
            Step::Needs(length) if length <= MAX_FRAME => {
                if !take(feed, &mut bytes, whole + length)? {
                    break if bytes.len() == whole { Then::End } else { Then::Rest };
                }
            }
            Step::Needs(_) | Step::Unknown => break Then::Rest,
        }
    };
    feed.unread(bytes.get(whole..).unwrap_or_default());
    bytes.truncate(whole);
    Ok((Job { bytes, begin, content }, then))
}

/// Moves bytes from `feed` to `bytes` until there are `length`; false if it
/// ends before.
fn take(feed: &mut Feed, bytes: &mut Vec<u8>, length: usize) -> io::Result<bool> {
    while let Some(missing) = length.checked_sub(bytes.len()).filter(|missing| *missing > 0) {
        let here = feed.fill_buf()?;
        let part = here.get(..missing).unwrap_or(here);
        if part.is_empty() {
            return Ok(false);
        }
        let count = part.len();
        bytes.extend_from_slice(part);
        feed.consume(count);
    }
    Ok(true)
}

/// How far a frame is known.
#[derive(Default)]
struct Frame {
    /// Where its next header begins, or where it ends.
    at: usize,
    part: Part,
    /// What it says that it decompresses to.
    content: Option<u64>,
}

#[derive(Default)]
enum Part {
    #[default]
    Header,
    Block {
        checksum: bool,
    },
    End,
}

/// What is known of a frame of which some bytes are at hand.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// So many of its bytes are needed to know more.
    Needs(usize),
    /// It has this length, and is at hand.
    Ends(usize),
    /// It is no frame, or damaged.
    Unknown,
}

impl Frame {
    /// Goes on through the headers in `bytes`, which begin with the frame.
    fn step(&mut self, bytes: &[u8]) -> Step {
        loop {
            let next = match self.part {
                Part::Header => self.header(bytes),
                Part::Block { checksum } => self.block(bytes, checksum),
                Part::End if self.at <= bytes.len() => Some(Step::Ends(self.at)),
                Part::End => Some(Step::Needs(self.at)),
            };
            if let Some(step) = next {
                return step;
            }
        }
    }

    /// Section 3.1.1.1: magic, descriptor, window, dictionary, content size.
    fn header(&mut self, bytes: &[u8]) -> Option<Step> {
        let (Some(magic), Some(descriptor)) = (bytes.first_chunk(), bytes.get(4)) else {
            return Some(Step::Needs(DESCRIPTOR_END));
        };
        match u32::from_le_bytes(*magic) {
            0xfd2f_b528 => {}
            0x184d_2a50..=0x184d_2a5f => return self.skippable(bytes),
            _ => return Some(Step::Unknown),
        }
        let single = descriptor >> 5 & 1 == 1;
        let window = usize::from(!single);
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content = [usize::from(single), 2, 4, 8][usize::from(descriptor >> 6)];
        let end = DESCRIPTOR_END + window + dictionary + content;
        let Some(size) = bytes.get(end - content..end) else { return Some(Step::Needs(end)) };
        self.content = match *size {
            [] => None,
            [a] => Some(u64::from(a)),
            // Section 3.1.1.1.4: of two bytes 256 is subtracted.
            [a, b] => Some(u64::from(u16::from_le_bytes([a, b])) + 256),
            [a, b, c, d] => Some(u64::from(u32::from_le_bytes([a, b, c, d]))),
            _ => size.first_chunk().map(|size| u64::from_le_bytes(*size)),
        };
        self.at = end;
        self.part = Part::Block { checksum: descriptor >> 2 & 1 == 1 };
        None
    }

    /// Section 3.1.2.
    fn skippable(&mut self, bytes: &[u8]) -> Option<Step> {
        let Some(length) = bytes.get(4..).and_then(|rest| rest.first_chunk()) else {
            return Some(Step::Needs(SKIPPABLE_HEADER));
        };
        self.content = Some(0);
        self.at = SKIPPABLE_HEADER + u32::from_le_bytes(*length) as usize;
        self.part = Part::End;
        None
    }

    /// Section 3.1.1.2: whether it is the last, its type and its size.
    fn block(&mut self, bytes: &[u8], checksum: bool) -> Option<Step> {
        let header = bytes.get(self.at..).and_then(|rest| rest.first_chunk::<BLOCK_HEADER>());
        let Some(&[low, middle, high]) = header else {
            return Some(Step::Needs(self.at + BLOCK_HEADER));
        };
        let word = u32::from_le_bytes([low, middle, high, 0]);
        let content = match word >> 1 & 3 {
            0 | 2 => (word >> 3) as usize,
            // One byte, repeated.
            1 => 1,
            _ => return Some(Step::Unknown),
        };
        self.at += BLOCK_HEADER + content;
        if word & 1 == 1 {
            self.at += if checksum { CHECKSUM } else { 0 };
            self.part = Part::End;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn frame(bytes: &[u8], checksum: bool, size: bool) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(checksum).unwrap();
        encoder.set_pledged_src_size(size.then_some(bytes.len() as u64)).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn noise(length: usize) -> Vec<u8> {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 24) as u8)
        };
        std::iter::repeat_n((), length).scan(7, |state, ()| next(state)).collect()
    }

    #[test]
    fn every_frame_ends_where_it_ends() {
        let contents = [vec![], b"abc".to_vec(), vec![9; 300_000], noise(70_000), noise(300_000)];
        for content in contents {
            for (checksum, size) in [(false, false), (true, false), (false, true), (true, true)] {
                let whole = frame(&content, checksum, size);
                let mut stepwise = Frame::default();
                for length in (0..whole.len()).step_by(1 + whole.len() / 999) {
                    let step = stepwise.step(&whole[..length]);
                    let Step::Needs(needed) = step else { panic!("{step:?} at {length}") };
                    assert!((length + 1..=whole.len()).contains(&needed));
                }
                let more = [&whole[..], b"what follows"].concat();
                assert_eq!(stepwise.step(&more), Step::Ends(whole.len()));
                let mut at_once = Frame::default();
                assert_eq!(at_once.step(&more), Step::Ends(whole.len()));
                let told = (size || content.is_empty()).then_some(content.len() as u64);
                assert_eq!(at_once.content, told, "{} {size}", content.len());
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_left() {
        assert_eq!(Frame::default().step(b"\x1f\x8b\x08\0\0"), Step::Unknown);
        let mut reserved = frame(b"abc", false, false);
        reserved[6] |= 6;
        assert_eq!(Frame::default().step(&reserved), Step::Unknown);
    }
}
