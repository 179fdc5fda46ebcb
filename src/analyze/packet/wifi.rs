//! IEEE 802.11 data frames that are not encrypted, with or without radiotap.

use super::captured::Captured;
use super::{Layer, Next, malformed, other};

/// Radiotap: its length, in little endian, tells where the frame begins.
pub(super) fn parse_radiotap(bytes: Captured<'_>) -> Next<'_> {
    const HEADER_BYTES: usize = 8;
    let Some(&[_, _, l0, l1]) = bytes.head() else { return malformed("radiotap header cut") };
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    let Some(rest) = bytes.skip(length).filter(|_| length >= HEADER_BYTES) else {
        return malformed("radiotap length");
    };
    frame(rest, radiotap_pads(bytes.data))
}

/// Whether the flags field says that the header is padded to four bytes.
fn radiotap_pads(header: &[u8]) -> bool {
    const TIME_PRESENT: u8 = 0x01;
    const FLAGS_PRESENT: u8 = 0x02;
    const MORE_WORDS: u8 = 0x80;
    const DATA_PAD: u8 = 0x20;
    // Words that say which fields are present, as long as their top bit is set.
    let (words, _) = header.get(4..).unwrap_or_default().as_chunks::<4>();
    let Some(present) = words.first().map(|word| word[0]).filter(|it| it & FLAGS_PRESENT != 0)
    else {
        return false;
    };
    let more = words.iter().take_while(|word| word[3] & MORE_WORDS != 0).count();
    let mut at = 4 + (more + 1) * 4;
    if present & TIME_PRESENT != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    header.get(at).is_some_and(|flags| flags & DATA_PAD != 0)
}

/// An 802.11 frame.
pub(super) fn parse_wifi(bytes: Captured<'_>) -> Next<'_> {
    frame(bytes, false)
}

/// Reads a MAC header (IEEE 802.11-2020 section 9.3.2.1); data has LLC inside.
fn frame(bytes: Captured<'_>, padded: bool) -> Next<'_> {
    const TO_DS: u8 = 0x01;
    const FROM_DS: u8 = 0x02;
    const MORE_FRAGMENTS: u8 = 0x04;
    const PROTECTED: u8 = 0x40;
    const HAS_HT_CONTROL: u8 = 0x80;
    const NO_DATA: u8 = 0x40;
    const QOS: u8 = 0x80;
    const AGGREGATE: u8 = 0x80;
    let Some(&[control, flags]) = bytes.head() else { return malformed("802.11 header cut") };
    if control & 0x0f != 0x08 {
        return other("802.11 management");
    }
    if control & NO_DATA != 0 {
        return other("802.11 without data");
    }
    if flags & PROTECTED != 0 {
        return other("802.11 encrypted");
    }
    let mut length = 24;
    if flags & TO_DS != 0 && flags & FROM_DS != 0 {
        length += 6;
    }
    let Some(fragment) = bytes.byte(22) else { return malformed("802.11 header cut") };
    if flags & MORE_FRAGMENTS != 0 || fragment & 0x0f != 0 {
        return other("802.11 fragment");
    }
    if control & QOS != 0 {
        match bytes.byte(length) {
            Some(qos) if qos & AGGREGATE != 0 => return other("802.11 aggregate"),
            Some(_) => length += 2,
            None => return malformed("802.11 header cut"),
        }
        if flags & HAS_HT_CONTROL != 0 {
            length += 4;
        }
    }
    if padded {
        length = length.next_multiple_of(4);
    }
    match bytes.skip(length) {
        Some(rest) => Next::Layer(Layer::Llc, rest),
        None => malformed("802.11 header cut"),
    }
}
