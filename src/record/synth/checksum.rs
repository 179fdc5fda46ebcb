//! The Internet checksum (RFC 1071), eight bytes at a time.

/// A running one's complement sum. Parts of an odd length may only be last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes.
    ///
    /// Summed in words of 32 bits, which 64 bits hold without a carry for
    /// 2³² words: far more than a packet (RFC 1071, section 2, "deferred carries").
    pub fn add(&mut self, bytes: &[u8]) -> &mut Self {
        let (words, rest) = bytes.as_chunks::<4>();
        self.0 += words.iter().map(|&word| u64::from(u32::from_be_bytes(word))).sum::<u64>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        self.0 += u64::from(u32::from_be_bytes(last));
        self
    }

    /// The checksum of what was added.
    pub fn fold(&self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}
