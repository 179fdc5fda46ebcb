//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical (codes of one length ascend with their symbol), so
//! the code lengths below are all there is to it. Two symbols at a time come
//! from a table of the next [`TABLE_BITS`] bits; longer codes, rare in
//! headers, are found by length.

/// Length in bits of the code of each byte, and of EOS at 256 (appendix B).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The symbol that must not occur (RFC 7541 section 5.2).
pub(crate) const EOS: u16 = 256;
/// Longest code.
const LONGEST: usize = 30;
/// Two common letters (5 or 6 bits each) fit; the table is 16 KiB.
const TABLE_BITS: usize = 12;

/// What the next [`TABLE_BITS`] bits begin with: `first | second << 8 |
/// bits << 16 | symbols << 24`; 0 symbols where the code is longer.
static TABLE: [u32; 1 << TABLE_BITS] = build_table();
/// For each code length: its first code and the place of that in [`SYMBOLS`].
static FIRST: [(u32, u16); LONGEST + 2] = build_first();
/// Symbols in the order of their codes.
static SYMBOLS: [u16; 257] = build_symbols();

const fn build_symbols() -> [u16; 257] {
    let mut symbols = [0; 257];
    let mut at = 0;
    let mut length = 1;
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                symbols[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
}

const fn build_first() -> [(u32, u16); LONGEST + 2] {
    let mut first = [(0, 0); LONGEST + 2];
    let symbols = build_symbols();
    let (mut code, mut at, mut length) = (0u32, 0usize, 1usize);
    while length <= LONGEST {
        first[length] = (code, at as u16);
        while at < symbols.len() && LENGTHS[symbols[at] as usize] as usize == length {
            code += 1;
            at += 1;
        }
        code <<= 1;
        length += 1;
    }
    first[LONGEST + 1] = (code, at as u16);
    first
}

/// Code and length of the symbol at a place of [`SYMBOLS`].
const fn code_at(first: &[(u32, u16); LONGEST + 2], symbols: &[u16; 257], at: usize) -> (u32, u32) {
    let length = LENGTHS[symbols[at] as usize] as usize;
    (first[length].0 + (at as u32 - first[length].1 as u32), length as u32)
}

const fn build_table() -> [u32; 1 << TABLE_BITS] {
    let mut table = [0; 1 << TABLE_BITS];
    let (symbols, first) = (build_symbols(), build_first());
    let bits = TABLE_BITS as u32;
    let mut one = 0;
    while LENGTHS[symbols[one] as usize] <= TABLE_BITS as u8 {
        let (code, length) = code_at(&first, &symbols, one);
        let (from, to) = (code << (bits - length), (code + 1) << (bits - length));
        let mut slot = from;
        while slot < to {
            table[slot as usize] = symbols[one] as u32 | length << 16 | 1 << 24;
            slot += 1;
        }
        let mut two = 0;
        while LENGTHS[symbols[two] as usize] as u32 + length <= bits {
            let (second, more) = code_at(&first, &symbols, two);
            let both = length + more;
            let mut slot = from | second << (bits - both);
            let to = from | (second + 1) << (bits - both);
            while slot < to {
                table[slot as usize] =
                    symbols[one] as u32 | (symbols[two] as u32) << 8 | both << 16 | 2 << 24;
                slot += 1;
            }
            two += 1;
        }
        one += 1;
    }
    table
}

/// Appends the decoded text to `out`. False where the input is not a valid
/// string: EOS in it, or padding that is longer than 7 bits or not all ones
/// (RFC 7541 section 5.2). `out` then holds what came before.
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    let begin = out.len();
    // The shortest code has 5 bits; symbols are written two at a time.
    out.resize(begin + input.len() * 8 / 5 + 2, 0);
    let place = out.get_mut(begin..).unwrap_or_default();
    let (len, valid) = decode_into(input, place);
    out.truncate(begin + len);
    valid
}

/// As [`decode`], into a place that is large enough, and how much of it is taken.
fn decode_into(input: &[u8], out: &mut [u8]) -> (usize, bool) {
    let mut len = 0;
    let mut rest = input;
    let (mut bits, mut held) = (0u64, 0u32);
    loop {
        if held <= 32 {
            if let Some((word, after)) = rest.split_first_chunk::<4>() {
                bits |= u64::from(u32::from_be_bytes(*word)) << (32 - held);
                held += 32;
                rest = after;
            } else {
                while let Some((&byte, after)) = rest.split_first() {
                    bits |= u64::from(byte) << (56 - held);
                    held += 8;
                    rest = after;
                }
            }
        }
        let entry = TABLE.get((bits >> (64 - TABLE_BITS)) as usize).copied().unwrap_or(0);
        let (used, symbols) = (entry >> 16 & 0xff, entry >> 24);
        if symbols > 0
            && used <= held
            && let Some([one, two]) = out.get_mut(len..len + 2)
        {
            (*one, *two) = (entry as u8, (entry >> 8) as u8);
            len += symbols as usize;
            (bits, held) = (bits << used, held - used);
            continue;
        }
        let Some((symbol, used)) = one(bits).filter(|(_, used)| *used <= held) else {
            return (len, held < 8 && bits.leading_ones() >= held);
        };
        if symbol == EOS {
            return (len, false);
        }
        if let Some(place) = out.get_mut(len) {
            *place = symbol as u8;
        }
        len += 1;
        (bits, held) = (bits << used, held - used);
    }
}

/// The first code of a length that has any, in its lowest bits.
pub(crate) fn first_code(length: u32) -> u32 {
    FIRST.get(length as usize).map_or(0, |(code, _)| *code)
}

/// The symbol that the bits begin with, and its length.
pub(crate) fn one(bits: u64) -> Option<(u16, u32)> {
    // From the shortest length on: the code is of that length where it is
    // below the first code of the next length, cut to this length.
    for length in 5..=LONGEST {
        let code = (bits >> (64 - length)) as u32;
        let (first, at) = *FIRST.get(length)?;
        let (next, _) = *FIRST.get(length + 1)?;
        // `next` is the first code of the next length: (last + 1) << 1.
        if code < next >> 1 || (length == LONGEST) {
            let place = usize::from(at) + (code.checked_sub(first)? as usize);
            return Some((*SYMBOLS.get(place)?, length as u32));
        }
    }
    None
}

/// The code of a text, padded (RFC 7541 section 5.2): what tests and searches look for.
pub fn encode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u64, 0u32);
    for byte in text {
        let at = SYMBOLS.iter().position(|s| *s == u16::from(*byte)).unwrap_or(0);
        let (code, length) = code_at(&FIRST, &SYMBOLS, at);
        bits = bits << length | u64::from(code);
        held += length;
        while held >= 8 {
            out.push((bits >> (held - 8)) as u8);
            held -= 8;
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push((bits << (8 - held) | 0xff >> held) as u8);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(input, &mut out).then_some(out)
    }

    #[test]
    fn codes_are_those_of_appendix_b() {
        let at = |symbol: u16| {
            let at = SYMBOLS.iter().position(|s| *s == symbol).unwrap();
            code_at(&FIRST, &SYMBOLS, at)
        };
        assert_eq!(at(u16::from(b'0')), (0, 5));
        assert_eq!(at(u16::from(b'a')), (3, 5));
        assert_eq!(at(u16::from(b'~')), (0x1ffd, 13));
        assert_eq!(at(u16::from(b'\\')), (0x7fff0, 19));
        assert_eq!(at(10), (0x3fff_fffc, 30));
        assert_eq!(at(EOS), (0x3fff_ffff, 30));
    }

    #[test]
    fn padding_is_a_short_run_of_ones() {
        // '0' is five zero bits.
        assert_eq!(decoded(&[0b0000_0111]).as_deref(), Some(&b"0"[..]));
        assert_eq!(decoded(&[0b0000_0110]), None, "padding that is not ones");
        assert_eq!(decoded(&[0b0000_0111, 0xff]), None, "more than 7 bits");
        assert_eq!(decoded(&[0xff]), None, "8 bits of padding alone");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None, "EOS");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), None, "EOS and more");
        assert_eq!(decoded(&[]).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn every_symbol_round_trips() {
        for byte in 0..=255 {
            assert_eq!(decoded(&encode(&[byte])), Some(vec![byte]));
            assert_eq!(decoded(&encode(&[byte, b'a', byte])), Some(vec![byte, b'a', byte]));
        }
    }

    proptest! {
        #[test]
        fn any_text_round_trips(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encode(&text)), Some(text));
        }

        #[test]
        fn what_is_accepted_is_what_is_encoded(input in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Some(text) = decoded(&input) {
                prop_assert_eq!(encode(&text), input);
            }
        }
    }
}
