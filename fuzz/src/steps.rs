//! Steps of a connection as bytes that a fuzzer can cut and paste.
//!
//! A step begins with [`MARK`] and an operation byte: bit 0 the way, bits 1
//! and 2 what it is (data, data, gap, end), bits 3 to 6 how much time went
//! by. Data runs to the next mark; a mark inside it is doubled. So bytes put
//! in or taken out leave the other steps alone.

use perisco::analyze::decode::{Chunk, Content, Direction, End, GapCause};
use perisco::time::Timestamp;

/// Begins a step. Rare in HTTP.
pub const MARK: u8 = 0xfe;

/// Capture time of the first step, in nanoseconds.
pub const EPOCH: i64 = 1_700_000_000_000_000_000;

/// What a step is.
#[derive(Clone, Debug)]
pub enum What {
    /// Bytes.
    Data(Vec<u8>),
    /// Missing bytes.
    Gap(u64, GapCause),
    /// The end.
    End(End),
}

/// One step of one direction.
#[derive(Clone, Debug)]
pub struct Step {
    /// The way.
    pub direction: Direction,
    /// Capture time.
    pub at: Option<Timestamp>,
    /// Packet number.
    pub packet: u64,
    /// What it is.
    pub what: What,
}

impl Step {
    /// As a decoder gets it.
    pub fn chunk(&self) -> Chunk<'_> {
        let content = match &self.what {
            What::Data(data) => Content::Data(data),
            What::Gap(len, cause) => Content::Gap(*len, *cause),
            What::End(end) => Content::End(*end),
        };
        Chunk { at: self.at, packet: self.packet, seq: 0, content }
    }
}

fn direction(op: u8) -> Direction {
    if op & 1 == 0 { Direction::ToServer } else { Direction::ToClient }
}

/// Length of a gap from two bytes: any up to 255, powers of two above.
fn gap_len(small: u8, shift: u8) -> u64 {
    u64::from(small.max(1)) << (shift & 0x1f).min(23)
}

const CAUSES: [GapCause; 3] = [GapCause::Lost, GapCause::Snaplen, GapCause::Limit];

fn end_of(code: u8) -> End {
    match code % 7 {
        0 => End::Fin,
        1 => End::Reset(Direction::ToServer),
        2 => End::Reset(Direction::ToClient),
        3 => End::Replaced,
        4 => End::Idle,
        5 => End::Limit,
        _ => End::CaptureEnd,
    }
}

/// Reads steps, as the contract of decoders wants them: no empty data, one
/// end for each direction and nothing after it.
pub fn parse(input: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut ended = [false; 2];
    let (mut nanos, mut packet) = (EPOCH, 0);
    let mut rest = input;
    let mut op = 0;
    loop {
        // Bytes before the first mark are data to the server.
        let (data, next) = unescape(rest);
        let direction = direction(op);
        let what = match op >> 1 & 3 {
            0 | 1 => What::Data(data),
            2 => {
                let byte = |at: usize| data.get(at).copied().unwrap_or_default();
                What::Gap(gap_len(byte(0), byte(1)), CAUSES[usize::from(byte(1) >> 5) % 3])
            }
            _ => What::End(end_of(data.first().copied().unwrap_or_default())),
        };
        nanos += (1_i64 << (op >> 3 & 15)) * 1_000;
        packet += 1;
        let empty = matches!(&what, What::Data(data) if data.is_empty());
        if !empty && !ended[direction.index()] {
            ended[direction.index()] = matches!(what, What::End(_));
            let at = (op < 0x80).then(|| Timestamp::from_nanos(nanos));
            steps.push(Step { direction, at, packet, what });
        }
        let Some((next_op, next_rest)) = next else { break };
        (op, rest) = (next_op, next_rest);
    }
    for (direction, ended) in [Direction::ToServer, Direction::ToClient].into_iter().zip(ended) {
        if !ended {
            let at = Some(Timestamp::from_nanos(nanos));
            steps.push(Step { direction, at, packet, what: What::End(End::CaptureEnd) });
        }
    }
    steps
}

/// Data up to the next step, and that step's operation and rest.
fn unescape(input: &[u8]) -> (Vec<u8>, Option<(u8, &[u8])>) {
    let mut data = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.iter().position(|byte| *byte == MARK) {
        data.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(&MARK) | None => data.push(MARK),
            Some(&op) => return (data, Some((op, &rest[at + 2..]))),
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    data.extend_from_slice(rest);
    (data, None)
}

/// Writes a step, for seeds.
pub fn write(direction: Direction, what: &What, out: &mut Vec<u8>) {
    let way = direction.index() as u8;
    match what {
        What::Data(data) => {
            out.extend([MARK, way]);
            for &byte in data {
                out.push(byte);
                if byte == MARK {
                    out.push(MARK);
                }
            }
        }
        What::Gap(len, _) => {
            let shift = (64 - len.leading_zeros()).saturating_sub(8) as u8;
            out.extend([MARK, way | 4, (len >> shift) as u8, shift]);
        }
        What::End(end) => {
            let code = (0..7).find(|code| end_of(*code) == *end).unwrap_or(6);
            out.extend([MARK, way | 6, code]);
        }
    }
}
