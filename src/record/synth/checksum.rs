//! The Internet checksum (RFC 1071).

/// A running one's complement sum. Parts of an odd length may only be last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes.
    ///
    /// Summed in words of 32 bits as this machine reads them, which is the sum
    /// in its byte order (RFC 1071, section 2 (B)) and lets the compiler take
    /// many at once. 64 bits hold 2³² words without a carry: far more than a
    /// packet.
    pub fn add(&mut self, bytes: &[u8]) -> &mut Self {
        let (words, rest) = bytes.as_chunks::<4>();
        self.0 += words.iter().map(|&word| u64::from(u32::from_ne_bytes(word))).sum::<u64>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        self.0 += u64::from(u32::from_ne_bytes(last));
        self
    }

    /// The checksum of what was added, as it stands in a header.
    pub fn fold(&self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_ne_bytes()
    }
}
