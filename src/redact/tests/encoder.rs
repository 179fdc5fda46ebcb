//! An encoder of HTTP/2 that picks among all representations as told. Used by the tests of the
//! library and of the command.
#![allow(dead_code, missing_docs)]

use super::{ENTRIES, encode};

/// How a field is written.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub insert: bool,
    pub never: bool,
    pub name_index: bool,
    pub name_coded: bool,
    pub value_coded: bool,
    pub whole_index: bool,
}

impl How {
    pub fn of(bits: u8) -> Self {
        let bit = |n: u8| bits >> n & 1 != 0;
        Self {
            insert: bit(0),
            never: bit(1),
            name_index: bit(2),
            name_coded: bit(3),
            value_coded: bit(4),
            whole_index: bit(5),
        }
    }
}

/// A peer's encoder, with its table.
#[derive(Default)]
pub struct Encoder {
    table: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Encoder {
    pub fn field(&mut self, name: &[u8], value: &[u8], how: How, out: &mut Vec<u8>) {
        let fixed = ENTRIES.iter();
        let fixed = fixed.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
        let known: Vec<_> = fixed.chain(self.table.iter().rev().cloned()).collect();
        let whole = known.iter().position(|(n, v)| n == name && v == value);
        if let (Some(at), true) = (whole, how.whole_index) {
            return int(0x80, 7, at + 1, out);
        }
        let (first, bits) = if how.insert { (0x40, 6) } else { (u8::from(how.never) * 0x10, 4) };
        match known.iter().rposition(|(n, _)| n == name).filter(|_| how.name_index) {
            Some(at) => int(first, bits, at + 1, out),
            None => {
                int(first, bits, 0, out);
                text(name, how.name_coded, out);
            }
        }
        text(value, how.value_coded, out);
        if how.insert {
            self.table.push((name.to_vec(), value.to_vec()));
            let size = |t: &[(Vec<u8>, Vec<u8>)]| -> usize {
                t.iter().map(|(n, v)| n.len() + v.len() + 32).sum()
            };
            while size(&self.table) > 4096 {
                self.table.remove(0);
            }
        }
    }
}

pub fn int(first: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        return out.push(first | value as u8);
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub fn text(text: &[u8], coded: bool, out: &mut Vec<u8>) {
    let coded_text = if coded { encode(text) } else { text.to_vec() };
    int(u8::from(coded) << 7, 7, coded_text.len(), out);
    out.extend(coded_text);
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A header block as frames: padded, with a priority, continued, as `cut` says.
pub fn headers(block: &[u8], stream: u32, cut: u8, out: &mut Vec<u8>) {
    let (padded, priority) = (cut & 1 != 0, cut & 2 != 0);
    let at = if cut & 4 != 0 { block.len() * usize::from(cut >> 3) / 32 } else { block.len() };
    let (now, later) = block.split_at(at);
    let mut payload = Vec::new();
    let padding = if padded { 3 + (cut >> 4) } else { 0 };
    payload.extend(padded.then_some(padding));
    if priority {
        payload.extend([0, 0, 0, 0, 16]);
    }
    payload.extend_from_slice(now);
    payload.resize(payload.len() + usize::from(padding), 0);
    let end = if later.is_empty() { 4 } else { 0 };
    frame(1, 1 | end | u8::from(padded) << 3 | u8::from(priority) << 5, stream, &payload, out);
    if !later.is_empty() {
        let (now, last) = later.split_at(later.len() / 2);
        frame(9, 0, stream, now, out);
        frame(9, 4, stream, last, out);
    }
}
