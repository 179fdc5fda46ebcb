//! gzip (RFC 1952) and deflate (RFC 1950 and 1951).

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::State;

/// Bytes that are written at a time: the decoder's window, so that it holds nothing back
/// when it finds damage.
const BUFFER: usize = 32 << 10;

/// Bytes of a gzip header without its optional fields.
const HEADER: usize = 10;
/// Bytes of a gzip trailer: checksum and length.
const TRAILER: usize = 8;

/// Members of one body. One is usual; each costs the clearing of a window, whatever is in it.
const MEMBERS: usize = 1000;

/// Flags of a gzip header.
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

const GZIP: &str = "gzip";
const DEFLATE: &str = "deflate";

/// Where a stream of deflate stopped.
enum Stop {
    End,
    Early,
    Full,
    Damage,
}

/// Members of gzip, one after the other.
pub fn gzip(coded: &[u8], limit: usize) -> (Vec<u8>, State) {
    let mut out = Vec::new();
    let mut at = 0;
    let mut decoder = Decompress::new(false);
    for _ in 0..MEMBERS {
        let rest = coded.get(at..).unwrap_or_default();
        match header(rest) {
            Ok(Some(len)) => at += len,
            Ok(None) => return (out, State::Truncated),
            Err(()) => return (out, State::Damaged { coding: GZIP, at }),
        }
        decoder.reset(false);
        let begin = out.len();
        match inflate(&mut decoder, coded, &mut at, limit, &mut out) {
            Stop::End => {}
            Stop::Early => return (out, State::Truncated),
            Stop::Full => return (out, State::Capped),
            Stop::Damage => return (out, State::Damaged { coding: GZIP, at }),
        }
        let rest = coded.get(at..).unwrap_or_default();
        let Some(&[a, b, c, d, e, f, g, h]) = rest.first_chunk::<TRAILER>() else {
            return (out, State::Truncated);
        };
        at += TRAILER;
        let mut crc = Crc::new();
        crc.update(out.get(begin..).unwrap_or_default());
        let sums = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if sums != (crc.sum(), crc.amount()) {
            return (out, State::Damaged { coding: GZIP, at });
        }
        if at == coded.len() {
            return (out, State::Whole);
        }
    }
    (out, State::Capped)
}

/// Bytes of the header of a member; none where it is not all here.
fn header(bytes: &[u8]) -> Result<Option<usize>, ()> {
    const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
    if bytes.iter().zip(MAGIC).any(|(byte, magic)| *byte != magic) {
        return Err(());
    }
    if bytes.len() < HEADER {
        return Ok(None);
    }
    let flags = bytes.get(3).copied().unwrap_or_default();
    if flags & RESERVED != 0 {
        return Err(());
    }
    let mut at = HEADER;
    if flags & EXTRA != 0 {
        let Some(&[low, high]) = bytes.get(at..).and_then(|b| b.first_chunk()) else {
            return Ok(None);
        };
        at += 2 + usize::from(u16::from_le_bytes([low, high]));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let end = bytes.get(at..).and_then(|b| memchr::memchr(0, b));
            let Some(end) = end else { return Ok(None) };
            at += end + 1;
        }
    }
    if flags & HEADER_CRC != 0 {
        at += 2;
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// A stream of zlib, as the specification says, or of bare deflate, as some servers send it
/// and browsers take it.
pub fn deflate(coded: &[u8], limit: usize) -> (Vec<u8>, State) {
    let Some(&[method, flags]) = coded.first_chunk() else {
        return (Vec::new(), State::Truncated);
    };
    let zlib = method & 0xf == 8
        && method >> 4 <= 7
        && u16::from_be_bytes([method, flags]).is_multiple_of(31);
    if !zlib {
        return stream(coded, false, limit);
    }
    let (out, state) = stream(coded, true, limit);
    if out.is_empty() && matches!(state, State::Damaged { .. }) {
        let bare = stream(coded, false, limit);
        if !matches!(bare.1, State::Damaged { .. }) {
            return bare;
        }
    }
    (out, state)
}

fn stream(coded: &[u8], zlib: bool, limit: usize) -> (Vec<u8>, State) {
    let (mut out, mut at) = (Vec::new(), 0);
    let state = match inflate(&mut Decompress::new(zlib), coded, &mut at, limit, &mut out) {
        Stop::End if at == coded.len() => State::Whole,
        Stop::End | Stop::Damage => State::Damaged { coding: DEFLATE, at },
        Stop::Early => State::Truncated,
        Stop::Full => State::Capped,
    };
    (out, state)
}

/// Decodes from `at`, which moves on, as long as `out` is not longer than `limit`.
fn inflate(
    decoder: &mut Decompress,
    coded: &[u8],
    at: &mut usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Stop {
    let mut buffer = vec![0; BUFFER];
    let totals = |d: &Decompress| {
        // Both count bytes of slices.
        (d.total_in() as usize, d.total_out() as usize)
    };
    loop {
        let before = totals(decoder);
        let input = coded.get(*at..).unwrap_or_default();
        let status = decoder.decompress(input, &mut buffer, FlushDecompress::None);
        let after = totals(decoder);
        let (read, written) = (after.0 - before.0, after.1 - before.1);
        *at += read;
        let room = limit.saturating_sub(out.len());
        out.extend_from_slice(buffer.get(..written.min(room)).unwrap_or_default());
        match status {
            _ if written > room => return Stop::Full,
            Err(_) => return Stop::Damage,
            Ok(Status::StreamEnd) => return Stop::End,
            Ok(_) if read == 0 && written == 0 => {
                return if *at == coded.len() { Stop::Early } else { Stop::Damage };
            }
            Ok(_) => {}
        }
    }
}
