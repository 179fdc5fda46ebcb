//! Option lists and name records of pcapng blocks, read leniently: what comes
//! before a damaged entry is used.
//!
//! The types of pcap-file are not used here: they refuse a whole block for
//! one bad option, for text that is not UTF-8, or for a name record without
//! names, so that this walk would have to exist beside them.

use std::net::IpAddr;

use crate::pcap::{RECORDER, SectionNotes};

/// `opt_comment`.
pub(super) const COMMENT: u16 = 1;

/// `epb_flags`.
const FLAGS: u16 = 2;

/// `shb_userappl`.
const APPLICATION: u16 = 4;

/// Bytes kept of it: each interface keeps its section's.
const APPLICATION_BYTES: usize = 128;

/// Comments kept of a section header: the recorder writes fewer than 20.
const NOTES: usize = 64;

/// Bytes kept of each of them.
const NOTE_BYTES: usize = 1024;

/// `epb_dropcount`.
pub(super) const DROP_COUNT: u16 = 4;

/// Numbers in the byte order of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Big-endian.
    pub(super) big: bool,
}

impl Order {
    /// The 16-bit number at `at`.
    pub(super) fn u16(self, data: &[u8], at: usize) -> Option<u16> {
        let bytes = *data.get(at..)?.first_chunk()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// The 32-bit number at `at`.
    pub(super) fn u32(self, data: &[u8], at: usize) -> Option<u32> {
        let bytes = *data.get(at..)?.first_chunk()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// The 64-bit number at `at`.
    pub(super) fn u64(self, data: &[u8], at: usize) -> Option<u64> {
        let bytes = *data.get(at..)?.first_chunk()?;
        Some(if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

/// The entries of a list of options or of name records: both are a 16-bit
/// code, a 16-bit length and a value padded to 32 bits, ended by code 0.
pub(super) struct Entries<'a> {
    order: Order,
    rest: &'a [u8],
    damaged: bool,
}

impl<'a> Entries<'a> {
    /// The entries in `list`.
    pub(super) fn new(order: Order, list: &'a [u8]) -> Self {
        Self { order, rest: list, damaged: false }
    }

    /// Whether an entry ran over the end of the list.
    pub(super) fn damaged(&self) -> bool {
        self.damaged
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.damaged {
            return None;
        }
        let code = self.order.u16(self.rest, 0);
        let length = self.order.u16(self.rest, 2).map(usize::from);
        let (Some(code), Some(length)) = (code, length) else {
            self.damaged = true;
            return None;
        };
        let after = self.rest.get(4..).unwrap_or_default();
        let Some(value) = after.get(..length) else {
            self.damaged = true;
            return None;
        };
        // The last padding may be missing: nothing is lost with it.
        self.rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
        if code == 0 { None } else { Some((code, value)) }
    }
}

/// Text of a capture; some writers count a final zero byte in.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// `shb_userappl` of a section header, cut where it is long.
pub(super) fn application(order: Order, list: &[u8]) -> Option<String> {
    let (_, value) = Entries::new(order, list).find(|(code, _)| *code == APPLICATION)?;
    Some(text(value.get(..APPLICATION_BYTES).unwrap_or(value)))
}

/// Comments of a section header that perisco's recorder wrote, cut where they are long or
/// many; None of others.
pub(super) fn section_notes(order: Order, list: &[u8]) -> Option<SectionNotes> {
    application(order, list).filter(|name| name.starts_with(RECORDER))?;
    let comments = Entries::new(order, list).filter(|(code, _)| *code == COMMENT).take(NOTES);
    let cut = |value: &[u8]| text(value.get(..NOTE_BYTES).unwrap_or(value)).into_boxed_str();
    Some(comments.map(|(_, value)| cut(value)).collect())
}

/// Options of an interface description block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InterfaceOptions {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) resolution: Option<u8>,
    pub(super) offset_seconds: Option<i64>,
    pub(super) damaged: bool,
}

impl InterfaceOptions {
    /// Reads `if_name`, `if_description`, `if_tsresol` and `if_tsoffset`.
    pub(super) fn read(order: Order, list: &[u8]) -> Self {
        let mut found = Self::default();
        let mut entries = Entries::new(order, list);
        for (code, value) in entries.by_ref() {
            match (code, value) {
                (2, name) => found.name = Some(text(name)),
                (3, description) => found.description = Some(text(description)),
                (9, [resolution, ..]) => found.resolution = Some(*resolution),
                (14, offset) => match order.u64(offset, 0) {
                    Some(offset) => found.offset_seconds = Some(offset as i64),
                    None => found.damaged = true,
                },
                (9, []) => found.damaged = true,
                _ => {}
            }
        }
        found.damaged |= entries.damaged();
        found
    }
}

/// What options of a packet block say: `opt_comment`, `epb_dropcount` and the
/// direction in `epb_flags`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PacketOptions {
    pub(super) comments: Vec<String>,
    pub(super) drops: u64,
    /// Bits 0 and 1 of `epb_flags`: outbound is 2, inbound 1.
    pub(super) outbound: Option<bool>,
    pub(super) damaged: bool,
}

impl PacketOptions {
    /// Reads them from `list`. `dropcount` is false for the obsolete packet
    /// block, which has a field instead.
    pub(super) fn read(order: Order, list: &[u8], dropcount: bool) -> Self {
        let mut found = Self::default();
        let mut entries = Entries::new(order, list);
        for (code, value) in entries.by_ref() {
            match code {
                COMMENT => found.comments.push(text(value)),
                FLAGS => {
                    found.outbound = match order.u32(value, 0).map(|flags| flags & 3) {
                        Some(1) => Some(false),
                        Some(2) => Some(true),
                        _ => None,
                    }
                }
                DROP_COUNT if dropcount => match order.u64(value, 0) {
                    Some(drops) => found.drops = found.drops.saturating_add(drops),
                    None => found.damaged = true,
                },
                _ => {}
            }
        }
        found.damaged |= entries.damaged();
        found
    }
}

/// `isb_ifdrop` and `isb_osdrop` of an interface statistics block, together:
/// all packets lost on the interface so far. None where it does not say.
pub(super) fn statistics_drops(order: Order, list: &[u8]) -> (Option<u64>, bool) {
    let mut drops: Option<u64> = None;
    let mut entries = Entries::new(order, list);
    for (code, value) in entries.by_ref() {
        if let (5 | 7, Some(count)) = (code, order.u64(value, 0))
            // All bits set is libpcap's "not known".
            && count != u64::MAX
        {
            drops = Some(drops.unwrap_or(0).saturating_add(count));
        }
    }
    (drops, entries.damaged())
}

/// The first name of each address in the records of a name resolution block,
/// and whether the records are damaged.
pub(super) fn names(order: Order, records: &[u8]) -> (Vec<(IpAddr, String)>, bool) {
    let mut found = Vec::new();
    let mut damaged = false;
    let mut entries = Entries::new(order, records);
    for (kind, value) in entries.by_ref() {
        let (address, names) = match (kind, value.first_chunk::<4>(), value.first_chunk::<16>()) {
            (1, Some(address), _) => (IpAddr::from(*address), value.get(4..)),
            (2, _, Some(address)) => (IpAddr::from(*address), value.get(16..)),
            (1 | 2, ..) => {
                damaged = true;
                continue;
            }
            _ => continue,
        };
        let name = names.unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
        if !name.is_empty() {
            found.push((address, text(name)));
        }
    }
    damaged |= entries.damaged();
    (found, damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: Order = Order { big: false };
    const BIG: Order = Order { big: true };

    #[test]
    fn reads_what_comes_before_damage() {
        let mut list = vec![2, 0, 3, 0, b'l', b'o', 0, 0, 9, 0, 1, 0, 9, 0, 0, 0];
        let whole = InterfaceOptions::read(LITTLE, &list);
        assert_eq!(whole.name.as_deref(), Some("lo"));
        assert_eq!(whole.resolution, Some(9));
        assert!(!whole.damaged, "a list without an end is legal");
        list.extend([3, 0, 200, 0, b'x']);
        let cut = InterfaceOptions::read(LITTLE, &list);
        assert_eq!((cut.name, cut.resolution, cut.damaged), (whole.name, Some(9), true));
    }

    #[test]
    fn text_is_never_refused() {
        assert_eq!(text(b"eth0\0\0"), "eth0");
        assert_eq!(text(b"\xffa"), "\u{fffd}a");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn comments_and_drops_of_packets() {
        let list = [
            0, 1, 0, 1, b'a', 0, 0, 0, 0, 4, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2, 0, 1, 0, 2, b'b', b'c',
            0, 0, 0, 0, 0, 0,
        ];
        let options = PacketOptions::read(BIG, &list, true);
        assert_eq!(options.comments, ["a", "bc"]);
        assert_eq!((options.drops, options.damaged), (258, false));
        assert_eq!(PacketOptions::read(BIG, &list, false).drops, 0);
    }

    #[test]
    fn names_of_both_families() {
        let mut records = vec![1, 0, 9, 0, 10, 0, 0, 7, b'w', b'e', b'b', 0, b'x', 0, 0, 0];
        records.extend([2, 0, 18, 0]);
        records.extend(std::net::Ipv6Addr::LOCALHOST.octets());
        records.extend([b'6', 0, 0, 0]);
        records.extend([1, 0, 2, 0, 1, 1, 0, 0]);
        records.extend([0; 4]);
        let (found, damaged) = names(LITTLE, &records);
        let expected: Vec<(IpAddr, String)> =
            vec![([10, 0, 0, 7].into(), "web".into()), ("::1".parse().unwrap(), "6".into())];
        assert_eq!(found, expected);
        assert!(damaged, "an address record of two bytes");
    }
}
