//! Huffman code of HPACK (RFC 7541, section 5.2) read symbol by symbol, and
//! overwritten by other code of as many bits.

use crate::analyze::decode::http2::hpack::huffman::{EOS, first_code, one};

/// Eight bits that are `*`: octets of this are a string of stars without padding.
pub const STARS: u8 = 0xf9;

/// Codes that stand for what is redacted, by their length in bits: `o`, `-`, `x`, `*`, and `>`
/// and `$`, where the first of their length is none of a value.
const CODES: [(u32, u32); 6] =
    [(5, 0x7), (6, 0x16), (7, 0x79), (8, STARS as u32), (12, 0xffb), (13, 0x1ff9)];

/// Lengths of code that few symbols have: for text that is longer coded than plain.
const LONG: [usize; 4] = [10, 12, 13, 15];

/// Reads symbols as octets come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Symbols {
    /// Bits that no symbol was made of yet, at the top.
    bits: u64,
    held: u32,
    /// What came is no code: no symbol comes any more.
    pub bad: bool,
}

impl Symbols {
    /// Takes the next octet; the symbols before it must have been taken.
    pub fn feed(&mut self, octet: u8) {
        if self.held <= 56 {
            self.bits |= u64::from(octet) << (56 - self.held);
            self.held += 8;
        }
    }

    /// The next symbol, and how many bits it has.
    pub fn next(&mut self) -> Option<(u8, u32)> {
        let (symbol, bits) = one(self.bits).filter(|(_, bits)| *bits <= self.held && !self.bad)?;
        if symbol == EOS {
            self.bad = true;
            return None;
        }
        self.bits <<= bits;
        self.held -= bits;
        u8::try_from(symbol).ok().map(|symbol| (symbol, bits))
    }

    /// Bits of the last octet that belong to no symbol yet.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Begins within an octet, at the bit `at` of its eight from the left.
    pub fn within(octet: u8, at: u32) -> Self {
        let mut symbols = Self::default();
        symbols.feed(octet);
        let at = at.min(8);
        symbols.bits <<= at;
        symbols.held -= at;
        symbols
    }
}

/// Overwrites the code between two bits by as many symbols of as many bits: what is left to
/// see is these two numbers.
pub fn exact(data: &mut [u8], from: usize, to: usize, symbols: usize) {
    match lengths(to - from, symbols) {
        Some(lengths) => {
            let mut at = from;
            for bits in lengths {
                write(data, at, code(bits), bits);
                at += bits as usize;
            }
        }
        None => one_by_one(data, from, to),
    }
}

/// Overwrites a whole string by so many symbols and padding. False where there is no such code.
pub fn whole(data: &mut [u8], symbols: usize) -> bool {
    let end = data.len() * 8;
    // Padding is ones, of at most seven bits.
    for padding in 0..8 {
        let Some(bits) = end.checked_sub(padding) else { return false };
        if let Some(lengths) = lengths(bits, symbols) {
            data.fill(0xff);
            let mut at = 0;
            for bits in lengths {
                write(data, at, code(bits), bits);
                at += bits as usize;
            }
            return true;
        }
    }
    false
}

/// What follows the bit `from`, up to the end of a string that goes on for `after` octets behind
/// `octet`: what the octet becomes, and the one or two behind it. All others become [`STARS`].
pub fn tail(octet: u8, from: u32, after: usize) -> (u8, Vec<u8>) {
    let left = 8 - from.min(8);
    let ones = u8::MAX.checked_shr(from).unwrap_or(0);
    // Padding, or nothing: there is no value.
    if left == 0 || (after == 0 && (octet & ones == ones || left < 5)) {
        return (octet, Vec::new());
    }
    let (lengths, octets): (&[u32], usize) = match (left, after) {
        (1, 1) => (&[8], 1),
        (1, _) => (&[5, 6, 6], 2),
        (2, _) => (&[5, 5], 1),
        (3, _) => (&[5, 6], 1),
        (4, _) => (&[6, 6], 1),
        (5, _) => (&[5], 0),
        (6, _) => (&[6], 0),
        (7, _) => (&[7], 0),
        _ => (&[8], 0),
    };
    let mut bytes = vec![0xff; 1 + octets];
    bytes[0] = octet | ones;
    let mut at = from as usize;
    for bits in lengths {
        write(&mut bytes, at, code(*bits), *bits);
        at += *bits as usize;
    }
    let rest = bytes.split_off(1);
    (bytes[0], rest)
}

fn code(bits: u32) -> u32 {
    let known = CODES.iter().find(|(length, _)| *length == bits);
    known.map_or_else(|| first_code(bits), |(_, code)| *code)
}

/// Lengths of so many codes that add up to so many bits.
fn lengths(bits: usize, symbols: usize) -> Option<impl Iterator<Item = u32>> {
    let with = |length: usize| {
        (0..=symbols).find_map(move |long| {
            let bits = bits.checked_sub(long * length)?;
            let symbols = symbols - long;
            let fits = (5 * symbols..=8 * symbols).contains(&bits);
            fits.then_some((length, long, bits, symbols))
        })
    };
    let (length, long, bits, symbols) = LONG.into_iter().find_map(with)?;
    let each = bits.checked_div(symbols).unwrap_or(0);
    let more = bits.checked_rem(symbols).unwrap_or(0);
    let plain = (0..symbols).map(move |nth| (each + usize::from(nth < more)) as u32);
    Some(std::iter::repeat_n(length as u32, long).chain(plain))
}

/// Each symbol by the first of its length: for code that is far longer than text has.
fn one_by_one(data: &mut [u8], from: usize, to: usize) {
    let octet = |at: usize, data: &[u8]| data.get(at).copied().unwrap_or(0xff);
    let mut symbols = Symbols::within(octet(from / 8, data), (from % 8) as u32);
    let (mut at, mut next) = (from, from / 8 + 1);
    while at < to {
        match symbols.next() {
            Some((_, bits)) => {
                write(data, at, code(bits), bits);
                at += bits as usize;
            }
            None if next * 8 < to && !symbols.bad => {
                symbols.feed(octet(next, data));
                next += 1;
            }
            None => return,
        }
    }
}

/// Writes the lowest `bits` of `code` from the bit `at` on.
fn write(data: &mut [u8], at: usize, code: u32, bits: u32) {
    for nth in 0..bits {
        let place = at + nth as usize;
        let bit = (code >> (bits - 1 - nth) & 1) as u8;
        if let Some(byte) = data.get_mut(place / 8) {
            let shift = 7 - place % 8;
            *byte = *byte & !(1 << shift) | bit << shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::decode::http2::hpack::huffman::{decode, encode};
    use proptest::prelude::*;

    fn text(code: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(code, &mut out).then_some(out)
    }

    #[test]
    fn the_mask_is_a_star() {
        assert_eq!(encode(b"*"), [STARS]);
        assert_eq!(text(&[STARS; 5]).as_deref(), Some(&b"*****"[..]));
        for (bits, char) in [(5, b'o'), (6, b'-'), (7, b'x'), (8, b'*')] {
            let mut data = [0xff];
            write(&mut data, 0, code(bits), bits);
            assert_eq!(text(&data), Some(vec![char]));
        }
    }

    proptest! {
        /// Between any two symbols of a string, what is overwritten says nothing but how long it
        /// was, and all else is as it was.
        #[test]
        fn a_part_is_overwritten(
            before in "[ -~]{0,12}", secret in "[ -~]{1,40}", after in "[ -~]{0,12}",
        ) {
            let bits = |text: &str| -> usize {
                text.bytes().map(|b| {
                    let mut symbols = Symbols::default();
                    encode(&[b, b, b]).iter().for_each(|octet| symbols.feed(*octet));
                    symbols.next().map_or(0, |(_, bits)| bits as usize)
                }).sum()
            };
            let whole = format!("{before}{secret}{after}");
            let mut code = encode(whole.as_bytes());
            let from = bits(&before);
            exact(&mut code, from, from + bits(&secret), secret.len());
            let text = text(&code).expect("still code");
            prop_assert_eq!(text.len(), whole.len());
            prop_assert!(text.starts_with(before.as_bytes()));
            prop_assert!(text.ends_with(after.as_bytes()));
            let masked = &text[before.len()..before.len() + secret.len()];
            prop_assert!(masked.iter().all(|b| b"o-x*!'>$^<\\".contains(b)), "{:?}", masked);
        }

        #[test]
        fn a_tail_is_overwritten(text_in in "[ -~]{1,40}", from in 0usize..320) {
            let mut code = encode(text_in.as_bytes());
            let mut symbols = Symbols::default();
            // The nearest end of a symbol.
            let (mut at, mut nth, mut ends) = (0, 0, vec![0]);
            for octet in &code {
                symbols.feed(*octet);
                while let Some((_, bits)) = symbols.next() {
                    at += bits as usize;
                    nth += 1;
                    ends.push(at);
                }
            }
            prop_assert_eq!(nth, text_in.len());
            let kept = from % ends.len();
            let from = ends[kept];
            if from < code.len() * 8 {
                let place = from / 8;
                let after = code.len() - place - 1;
                let (octet, next) = tail(code[place], (from % 8) as u32, after);
                code[place] = octet;
                let next = next.into_iter().chain(std::iter::repeat(STARS));
                code[place + 1..].iter_mut().zip(next).for_each(|(to, octet)| *to = octet);
            }
            let text = text(&code).expect("still code");
            prop_assert!(text.starts_with(&text_in.as_bytes()[..kept]));
            prop_assert!(text[kept..].iter().all(|b| b"o-x*".contains(b)), "{:?}", text);
        }

        #[test]
        fn a_whole_string_keeps_its_lengths(text_in in proptest::collection::vec(any::<u8>(), 1..60)) {
            let mut code = encode(&text_in);
            if whole(&mut code, text_in.len()) {
                prop_assert_eq!(text(&code).map(|text| text.len()), Some(text_in.len()));
            }
        }
    }
}
