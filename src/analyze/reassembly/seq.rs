//! TCP sequence numbers: 32 bits that wrap (RFC 9293 section 3.4).

/// A sequence number. Two of them compare within half the number space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// Signed distance from `from` to `self`, in bytes.
    pub const fn distance(self, from: Self) -> i32 {
        self.0.wrapping_sub(from.0).cast_signed()
    }

    /// `len` bytes further.
    pub const fn plus(self, len: u32) -> Self {
        Self(self.0.wrapping_add(len))
    }

    /// Whether it lies after `other`.
    pub const fn after(self, other: Self) -> bool {
        self.distance(other) > 0
    }

    /// The later of two.
    pub const fn max(self, other: Self) -> Self {
        if self.after(other) { self } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps() {
        let before = SeqNum(u32::MAX - 1);
        let after = before.plus(5);
        assert_eq!(after, SeqNum(3));
        assert_eq!(after.distance(before), 5);
        assert!(after.after(before) && !before.after(after));
        assert_eq!(before.max(after), after);
    }
}
