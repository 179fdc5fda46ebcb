//! A connection that is quiet, in less than two cache lines where a [`Flow`] is
//! twenty, and its decoder eight more: where there are very many connections,
//! most wait most of the time.
//!
//! It is all that the future of the connection depends on, so that the next
//! segment finds the same [`Flow`] that would have been there. Of the last
//! segments, which tell copies and bytes sent again, nothing is kept: it is
//! parked when too much time and too many rounds went by for that. (Where
//! the time of a capture goes back past that, a copy counts as sent again.)

use crate::analyze::decode::rest::{self, Rest};
use crate::analyze::decode::{Decoder, Direction};
use crate::analyze::flow::key::{FlowKey, Side, SmallKey};
use crate::analyze::flow::{Context, Flow, FlowCounts};
use crate::analyze::owner::Owners;
use crate::analyze::reassembly::half::{COPY_NANOS, Half, HalfCounts};
use crate::analyze::reassembly::seq::SeqNum;
use crate::analyze::round::REMEMBERED;
use crate::analyze::watch::Coverage;
use crate::time::Timestamp;

/// A connection that is quiet.
pub struct Parked {
    key: SmallKey,
    /// Number of its first packet.
    pub first_packet: u64,
    number: u64,
    first: Option<Timestamp>,
    /// Its latest capture time.
    pub last: Option<Timestamp>,
    kept: Option<Box<Kept>>,
    /// How long before `last` the time of its decoder's rest is, in nanoseconds;
    /// of a connection without a decoder the number of its kind.
    rest_before: u32,
    segments: u32,
    transactions: u32,
    bytes: [u32; 2],
    next: [u32; 2],
    isn: [u32; 2],
    acked: [u32; 2],
    interface: u16,
    flags: u16,
}

/// Of these a million take half of what the analysis may take.
const _: () = assert!(size_of::<Parked>() <= 104);

/// What most have not.
struct Kept {
    kind: Option<&'static str>,
    /// None where it is at rest, or there is none.
    decoder: Option<Box<dyn Decoder>>,
    told: Option<Box<Told>>,
}

/// What is told of few.
struct Told {
    gap_bytes: [u64; 3],
    gaps: [u64; 3],
    halves: [HalfCounts; 2],
    anomalies: Vec<(&'static str, u64)>,
    findings: Vec<(Direction, u64, String)>,
    comments: Vec<(u64, String)>,
    owners: Owners,
}

/// Whether a flow may be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// It may.
    Yes,
    /// Not yet, if no more of it comes.
    Soon,
    /// More of it came, or it waits for more.
    No,
}

/// Bits of [`Parked::flags`], the second of a pair for side B.
mod flag {
    pub const SYN_SEEN: [u16; 2] = [1, 1 << 1];
    pub const ACKED: [u16; 2] = [1 << 2, 1 << 3];
    pub const ACKED_ONE: [u16; 2] = [1 << 4, 1 << 5];
    pub const SEEN: [u16; 2] = [1 << 6, 1 << 7];
    pub const GUESS_B: u16 = 1 << 8;
    pub const SWAPPED: u16 = 1 << 9;
    pub const OPAQUE: u16 = 1 << 10;
    /// The decoder rests, and this has its time.
    pub const REST_AT: u16 = 1 << 11;
    /// Where the bits of the decoder begin, and its number behind them.
    pub const REST_BITS: u32 = 12;
    pub const REST_KIND: u32 = 14;
}

/// Numbers of decoders that find room, below that of none.
const KINDS: u8 = NONE;

/// Stands for no decoder: the connection is counted and not decoded.
const NONE: u8 = 3;

/// The decoder of a connection that is parked: at rest, of this number.
type AtRest = (u8, u32, Rest);

/// What a connection is that has a decoder of this number, or none.
fn kind_of(number: u8, before: u32) -> Option<&'static str> {
    if number == NONE { rest::counted_kind(before) } else { rest::kind(number) }
}

impl Flow {
    /// Whether the flow is quiet in this round: nothing is missing, held or
    /// closing, and nothing that was remembered could be asked for any more.
    pub fn quiet(&self, round: u64, now: Option<Timestamp>) -> Quiet {
        let open = self.settled
            && self.closed.is_none()
            && self.reset.is_none()
            && self.number > 0
            && !(self.over || self.listed || self.waiting || self.close_told);
        let steady = |half: &Half| half.is_steady() && (self.opaque || !half.hole_acked());
        let rounds = self.halves.iter().map(Half::last_round);
        let Some(last) = rounds.reduce(|a, b| Some(a?.max(b?))).flatten() else { return Quiet::No };
        if !(open && self.halves.iter().all(steady) && self.fits()) {
            return Quiet::No;
        }
        if last + REMEMBERED as u64 >= round {
            return Quiet::No;
        }
        let past = self.last.zip(now).is_some_and(|(last, now)| now.since(last) > COPY_NANOS);
        if past { Quiet::Yes } else { Quiet::Soon }
    }

    fn fits(&self) -> bool {
        let [a, b] = &self.halves;
        u16::try_from(self.interface).is_ok()
            && [self.counts.segments, self.transactions, a.counts.bytes, b.counts.bytes]
                .iter()
                .all(|count| u32::try_from(*count).is_ok())
    }

    /// The number of its decoder, how long before its last packet the time
    /// is, and what it comes to, where it is at rest.
    fn at_rest(&self) -> Option<AtRest> {
        let Some(decoder) = &self.decoder else {
            return Some((NONE, rest::number_counted(self.kind?)?, Rest::default()));
        };
        let rest = decoder.rest()?;
        let number = rest::number(decoder.kind()?).filter(|number| *number < KINDS)?;
        let before = match rest.at {
            Some(at) => u32::try_from(self.last?.since(at)).ok()?,
            None => 0,
        };
        (rest.bits >> rest::BITS == 0).then_some((number, before, rest))
    }

    /// Takes out of a flow that is quiet all that its future depends on, and
    /// says how many bytes of its decoder are kept.
    pub fn park(&mut self, context: &mut Context<'_, '_>) -> (Parked, usize) {
        let rest = self.at_rest();
        let told = self.told().then(|| {
            Box::new(Told {
                gap_bytes: self.counts.gap_bytes,
                gaps: self.counts.gaps,
                halves: [self.halves[0].counts, self.halves[1].counts],
                anomalies: std::mem::take(&mut self.anomalies),
                findings: std::mem::take(&mut self.findings),
                comments: std::mem::take(&mut self.comments),
                owners: std::mem::take(&mut self.owners),
            })
        });
        let kind = rest.and_then(|(number, before, _)| kind_of(number, before));
        let decoder = self.decoder.take();
        let memory = match (&decoder, rest) {
            (Some(decoder), None) => decoder.memory(),
            _ => 0,
        };
        let plain = rest.is_some() && told.is_none() && kind == self.kind;
        let mut parked = self.small(rest);
        let decoder = match (rest, decoder) {
            (Some(_), Some(decoder)) => {
                context.output.spares.keep(decoder);
                None
            }
            (_, decoder) => decoder,
        };
        parked.kept = (!plain).then(|| Box::new(Kept { kind: self.kind, decoder, told }));
        (parked, memory)
    }

    /// Whether there is anything to tell that most connections have not.
    fn told(&self) -> bool {
        let counts = |half: &Half| HalfCounts { bytes: 0, ..half.counts } != HalfCounts::default();
        self.counts.gaps != [0; 3]
            || self.counts.gap_bytes != [0; 3]
            || self.halves.iter().any(counts)
            || !self.anomalies.is_empty()
            || !self.findings.is_empty()
            || !self.comments.is_empty()
            || !self.owners.is_empty()
            || self.owners.client().is_some()
    }

    fn small(&self, rest: Option<AtRest>) -> Parked {
        let [a, b] = &self.halves;
        let mut flags = 0;
        let mut set = |bit: u16, on: bool| flags |= if on { bit } else { 0 };
        for (index, half) in self.halves.iter().enumerate() {
            set(flag::SYN_SEEN[index], half.isn.is_some());
            set(flag::ACKED[index], half.acked.is_some());
            set(flag::ACKED_ONE[index], half.acked_one);
            set(flag::SEEN[index], half.seen);
        }
        set(flag::GUESS_B, self.guess == Side::B);
        set(flag::SWAPPED, self.swapped);
        set(flag::OPAQUE, self.opaque);
        if let Some((number, _, rest)) = rest {
            set(flag::REST_AT, rest.at.is_some());
            set(u16::from(rest.bits) << flag::REST_BITS, true);
            set(u16::from(number) << flag::REST_KIND, true);
        }
        let number = |seq: Option<SeqNum>| seq.map_or(0, |seq| seq.0);
        Parked {
            key: SmallKey::from(&self.key),
            first_packet: self.first_packet,
            number: self.number,
            first: self.first,
            last: self.last,
            kept: None,
            rest_before: rest.map_or(0, |(_, before, _)| before),
            segments: self.counts.segments as u32,
            transactions: self.transactions as u32,
            bytes: [a.counts.bytes as u32, b.counts.bytes as u32],
            next: [number(a.next), number(b.next)],
            isn: [number(a.isn), number(b.isn)],
            acked: [number(a.acked), number(b.acked)],
            interface: self.interface as u16,
            flags,
        }
    }
}

impl Parked {
    fn has(&self, bit: u16) -> bool {
        self.flags & bit != 0
    }

    /// Both ends.
    pub fn key(&self) -> FlowKey {
        self.key.key()
    }

    /// Its decoder, where it is not at rest.
    pub fn decoder(&self) -> Option<&dyn Decoder> {
        self.kept.as_ref()?.decoder.as_deref()
    }

    /// Whether it has been without a packet for too long.
    pub fn is_idle(&self, now: Option<Timestamp>, limit: i64) -> bool {
        self.last.zip(now).is_some_and(|(last, now)| now.since(last) > limit)
    }

    /// How much of its payload was there.
    pub fn coverage(&self) -> Coverage {
        let told = self.kept.as_ref().and_then(|kept| kept.told.as_deref());
        let (gap_bytes, gaps) = told.map_or(([0; 3], [0; 3]), |told| (told.gap_bytes, told.gaps));
        Coverage {
            payload_bytes: self.bytes.into_iter().map(u64::from).sum(),
            gap_bytes: gap_bytes.into_iter().sum(),
            gaps: gaps.into_iter().sum(),
            limits: 0,
        }
    }

    /// Bytes of its decoder.
    pub fn memory(&self) -> usize {
        self.decoder().map_or(0, |decoder| decoder.memory())
    }

    /// The flow that was parked.
    pub fn flow(mut self, context: &mut Context<'_, '_>) -> Flow {
        let kept = self.kept.take().map(|kept| *kept);
        let (number, rest) = self.rest();
        let (kind, decoder, told) = match kept {
            Some(Kept { kind, decoder, told }) => (kind, decoder, told),
            None => (kind_of(number, self.rest_before), None, None),
        };
        let spares = &mut context.output.spares;
        let decoder =
            decoder.or_else(|| (number != NONE).then(|| rest::wake(number, rest, spares)));
        let key = self.key();
        let mut flow = Flow {
            key,
            guess: if self.has(flag::GUESS_B) { Side::B } else { Side::A },
            first_packet: self.first_packet,
            interface: u32::from(self.interface),
            number: self.number,
            first: self.first,
            last: self.last,
            kind,
            counts: FlowCounts { segments: u64::from(self.segments), ..FlowCounts::default() },
            anomalies: Vec::new(),
            findings: Vec::new(),
            closed: None,
            listed: false,
            over: false,
            waiting: false,
            comments: Vec::new(),
            owners: Owners::default(),
            transactions: u64::from(self.transactions),
            ends: [key.end(Side::A), key.end(Side::B)],
            halves: [self.half(0), self.half(1)],
            settled: true,
            opaque: self.has(flag::OPAQUE),
            swapped: self.has(flag::SWAPPED),
            close_told: false,
            calm: !self.has(flag::OPAQUE),
            reset: None,
            decoder,
        };
        if let Some(told) = told {
            flow.tell(*told);
        }
        flow
    }

    fn rest(&self) -> (u8, Rest) {
        let bits = (self.flags >> flag::REST_BITS) as u8 & ((1 << rest::BITS) - 1);
        let at = self.last.filter(|_| self.has(flag::REST_AT));
        let at = at.map(|last| last.plus(-i64::from(self.rest_before)));
        ((self.flags >> flag::REST_KIND) as u8, Rest { bits, at })
    }

    fn half(&self, index: usize) -> Half {
        let some = |bit, seq| Some(SeqNum(seq)).filter(|_| self.has(bit));
        let mut half = Half::default();
        half.next = Some(SeqNum(self.next[index]));
        half.isn = some(flag::SYN_SEEN[index], self.isn[index]);
        half.acked = some(flag::ACKED[index], self.acked[index]);
        half.acked_one = self.has(flag::ACKED_ONE[index]);
        half.seen = self.has(flag::SEEN[index]);
        half.counts.bytes = u64::from(self.bytes[index]);
        half
    }
}

impl Flow {
    fn tell(&mut self, told: Told) {
        let Told { gap_bytes, gaps, halves, anomalies, findings, comments, owners } = told;
        (self.counts.gap_bytes, self.counts.gaps) = (gap_bytes, gaps);
        for (half, counts) in self.halves.iter_mut().zip(halves) {
            half.counts = counts;
        }
        (self.anomalies, self.findings) = (anomalies, findings);
        (self.comments, self.owners) = (comments, owners);
    }
}
