//! Handing bytes, gaps and ends to the decoder, in order.

use crate::analyze::decode::{Chunk, Content, End, GapCause, Output, Sink};
use crate::analyze::flow::key::Side;
use crate::analyze::flow::{Context, Flow};
use crate::analyze::packet::flags;
use crate::analyze::reassembly::half::{Half, Placed};
use crate::time::Timestamp;

impl Flow {
    /// Delivers a segment whose first new byte is the next one.
    pub(super) fn deliver_segment(
        &mut self,
        side: Side,
        place: &Placed,
        payload: &[u8],
        context: &mut Context<'_, '_>,
    ) {
        let half = self.half_mut(side);
        let next = half.next.unwrap_or(place.start);
        let known = next.distance(place.start).max(0).unsigned_abs();
        if known >= place.wire_len {
            return;
        }
        self.was_no_fin(side, place.at, place.packet, context);
        let half = self.half_mut(side);
        half.next = Some(place.start.plus(place.wire_len));
        half.hole_since = None;
        let fresh = payload.get(known as usize..).unwrap_or_default();
        half.counts.bytes += fresh.len() as u64;
        let (at, packet) = (place.at, place.packet);
        if !fresh.is_empty() {
            let seq = place.start.plus(known).0;
            self.push(side, Chunk { at, packet, seq, content: Content::Data(fresh) }, context);
        }
        let captured = known.max(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        let cut = u64::from(place.wire_len.saturating_sub(captured));
        if cut > 0 {
            self.count_gap(cut, GapCause::Snaplen as usize);
            let content = Content::Gap(cut, GapCause::Snaplen);
            self.push(side, Chunk { at, packet, seq: 0, content }, context);
        }
    }

    /// More of a direction follows what may have been its FIN: so it was a
    /// byte, and it is missing.
    fn was_no_fin(
        &mut self,
        side: Side,
        at: Option<Timestamp>,
        packet: u64,
        context: &mut Context<'_, '_>,
    ) {
        if std::mem::take(&mut self.half_mut(side).maybe_fin) {
            self.count_gap(1, GapCause::Lost as usize);
            self.push(
                side,
                Chunk { at, packet, seq: 0, content: Content::Gap(1, GapCause::Lost) },
                context,
            );
        }
    }

    /// Delivers all that has become deliverable in either direction.
    pub(super) fn pump(&mut self, context: &mut Context<'_, '_>) {
        if !self.settled {
            return;
        }
        loop {
            let mut progress = self.pump_side(self.guess, context);
            progress |= self.pump_side(self.guess.other(), context);
            if !progress && !self.untie(context) {
                break;
            }
        }
        if self.closed.is_none() && self.halves.iter().all(|half| half.ended) {
            self.let_go(context.output);
        }
    }

    /// Both directions have ended: what is remembered of the connection needs
    /// no decoder, and nothing that came behind the end.
    pub(super) fn let_go(&mut self, output: &mut Output) {
        self.closed.get_or_insert(self.last);
        if let Some(decoder) = self.decoder.take() {
            output.spares.keep(decoder);
        }
        self.halves.iter_mut().for_each(Half::let_go);
    }

    fn pump_side(&mut self, side: Side, context: &mut Context<'_, '_>) -> bool {
        let mut progress = false;
        while self.first_is_due(side) && !self.first_is_blocked(side) {
            progress |= self.deliver_first(side, context);
        }
        let half = self.half(side);
        if let (Some((at, end)), Some(next)) = (half.close, half.next)
            && !half.ended
            && !at.after(next)
            && half.held.is_empty()
        {
            if at == next && end == End::Fin {
                self.was_no_fin(side, self.last, 0, context);
            }
            self.half_mut(side).next = Some(next.plus(1));
            self.end_side(side, end, self.last, context);
            progress = true;
        }
        progress
    }

    /// Both directions wait for each other: a segment was captured only when
    /// it was sent again, with an acknowledgement newer than its bytes. The
    /// copy is the one captured later, and its bytes come first.
    fn untie(&mut self, context: &mut Context<'_, '_>) -> bool {
        let sides = [Side::A, Side::B];
        if !sides.iter().all(|side| self.first_is_due(*side)) {
            return false;
        }
        let packet = |side: &Side| self.half(*side).held.front().map(|held| held.place.packet);
        let Some(later) = sides.into_iter().max_by_key(packet) else { return false };
        self.deliver_first(later, context)
    }

    fn deliver_first(&mut self, side: Side, context: &mut Context<'_, '_>) -> bool {
        let Some(held) = self.half_mut(side).take_first() else { return false };
        self.deliver_segment(side, &held.place, &held.data, context);
        true
    }

    /// Ends both directions because of a reset: first what can be delivered,
    /// with gaps for what is missing.
    pub(super) fn end_by_reset(&mut self, context: &mut Context<'_, '_>) {
        let Some(reset) = self.reset else { return };
        let end = End::Reset(self.direction(reset.side));
        self.flush(GapCause::Lost, context);
        // The number of a reset that answers tells of a FIN not captured.
        let next = self.half(reset.side).next;
        if reset.answers && next.is_some_and(|next| reset.at.distance(next) == 1) {
            self.end_side(reset.side, End::Fin, self.last, context);
        }
        for side in [reset.side, reset.side.other()] {
            self.end_side(side, end, self.last, context);
        }
        self.pump(context);
    }

    fn first_is_blocked(&self, side: Side) -> bool {
        let first = self.half(side).held.front();
        first.is_some_and(|first| self.blocked(side, first.place.ack))
    }

    fn first_is_due(&self, side: Side) -> bool {
        let half = self.half(side);
        let (Some(next), Some(first)) = (half.next, half.held.front()) else { return false };
        !half.ended && !first.place.start.after(next)
    }

    /// Ends a direction, once.
    pub(super) fn end_side(
        &mut self,
        side: Side,
        end: End,
        at: Option<Timestamp>,
        context: &mut Context<'_, '_>,
    ) {
        if !self.half(side).ended {
            self.half_mut(side).ended = true;
            self.push(side, Chunk { at, packet: 0, seq: 0, content: Content::End(end) }, context);
        }
    }

    /// Counts missing bytes.
    pub(super) fn count_gap(&mut self, bytes: u64, cause: usize) {
        self.counts.gap_bytes[cause] += bytes;
        self.counts.gaps[cause] += 1;
    }

    /// Gives a chunk to the decoder and takes what the decoder says of the
    /// connection.
    #[inline(never)]
    pub(super) fn push(&mut self, side: Side, chunk: Chunk<'_>, context: &mut Context<'_, '_>) {
        self.push_here(side, chunk, context);
    }

    /// The same without a call, for where it happens most.
    #[inline(always)]
    pub(super) fn push_here(
        &mut self,
        side: Side,
        chunk: Chunk<'_>,
        context: &mut Context<'_, '_>,
    ) {
        let direction = self.direction(side);
        let Some(decoder) = &mut self.decoder else { return };
        let mut sink = Sink::new(context.wants, context.limits, context.output);
        decoder.push(direction, chunk, &mut sink);
        let output = &*context.output;
        let told = output.kind.is_some()
            || output.opaque
            || !output.anomalies.is_empty()
            || !output.findings.is_empty();
        if told {
            self.learn_from_decoder(context.output);
        }
    }

    #[inline(never)]
    fn learn_from_decoder(&mut self, output: &mut Output) {
        if let Some(kind) = output.kind.take() {
            self.kind = Some(kind);
            self.swapped = output.turned.take().unwrap_or(self.swapped);
            if let Some(decoder) = &mut self.decoder
                && let Some(successor) = decoder.successor()
            {
                output.spares.keep(std::mem::replace(decoder, successor));
            }
        }
        for (name, count) in output.anomalies.drain(..) {
            match self.anomalies.iter_mut().find(|(known, _)| *known == name) {
                Some((_, total)) => *total += count,
                None => self.anomalies.push((name, count)),
            }
        }
        if !output.findings.is_empty() {
            self.findings.append(&mut output.findings);
        }
        if output.opaque {
            output.opaque = false;
            self.become_opaque(output);
        }
    }

    /// Nothing more will be decoded: lets go of all that was held.
    fn become_opaque(&mut self, output: &mut Output) {
        self.opaque = true;
        self.calm = false;
        if let Some(decoder) = self.decoder.take_if(|decoder| decoder.is_done()) {
            output.spares.keep(decoder);
        }
        for side in [Side::A, Side::B] {
            while let Some(held) = self.half_mut(side).take_first() {
                self.count_opaque(side, &held.place);
            }
            self.half_mut(side).hole_since = None;
        }
    }

    /// Whether this flow could start from this segment: a segment without
    /// payload and SYN tells nothing that a report could show.
    pub fn may_start_with(flag_bits: u8, wire_len: u32) -> bool {
        flag_bits & flags::SYN != 0 && flag_bits & flags::RST == 0 || wire_len > 0
    }
}
